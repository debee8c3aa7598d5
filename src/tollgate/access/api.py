"""`/members` and `/api-keys`."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, Parameter
from msgspec import UNSET

from tollgate.access import queries, service
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.schemas import ApiKeyBody, MemberBody, MemberChangesBody, NewApiKeyBody, NewMemberBody
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.http.bodies import MOST_ITEMS, ListBody, clean, decode_cursor, etag, instant_key, page_of, version_asked
from tollgate.http.commands import perform

READ = [requires(Permission.READ)]
ADMINISTER = [requires(Permission.ADMINISTER)]
Limit = Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]


def tag(body: MemberBody | ApiKeyBody) -> dict[str, str]:
    """The entity tag of what is shown."""
    return {"ETag": etag(body.version)}


async def show_member(db: Database, organization_id: UUID, member_id: UUID, secret: dict[str, str | None] | None = None) -> MemberBody:
    """One member; `secret` holds the password that was just generated."""
    async with db.reading(organization_id) as session:
        row = await queries.member(session, organization_id, member_id)
    return MemberBody.of(row, UNSET if secret is None else secret.get("password"))


@get("/members", operation_id="ListMembers", guards=READ)
async def list_members(
    caller: NamedDependency[Caller], db: NamedDependency[Database], limit: FromQuery[Limit] = 50, cursor: FromQuery[str | None] = None
) -> ListBody[MemberBody]:
    """Members, oldest first."""
    after = decode_cursor(cursor, instant_key, UUID) if cursor else None
    async with db.reading(caller.organization_id) as session:
        rows = await queries.members(session, caller.organization_id, limit=limit + 1, after=after)
    kept, following = page_of(rows, limit, lambda row: (row.created_at, row.id))
    return ListBody([MemberBody.of(row) for row in kept], following)


@post("/members", operation_id="CreateMember", guards=ADMINISTER)
async def create_member(
    data: JSONBody[NewMemberBody], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[MemberBody]:
    """Let a person in. The generated password is answered once; a repeat of the request answers null in its place."""
    once: dict[str, str | None] = {}

    async def verb() -> UUID:
        made = await service.create_member(
            db, command, email=clean(data.email, "/email"), name=clean(data.name, "/name"), role=data.role, locale=caller.locale
        )
        once["password"] = made.password
        return made.id

    return _no_store(await perform(verb(), lambda id: show_member(db, caller.organization_id, id, once), status=201, headers=tag))


@get("/members/{member_id:uuid}", operation_id="GetMember", guards=READ)
async def get_member(member_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[MemberBody]:
    """One member."""
    body = await show_member(db, caller.organization_id, member_id)
    return Response(body, headers=tag(body))


@patch("/members/{member_id:uuid}", operation_id="ChangeMember", guards=ADMINISTER)
async def change_member(
    request: Request[Any, Any, Any],
    member_id: FromPath[UUID],
    data: JSONBody[MemberChangesBody],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[MemberBody]:
    """Change a role or a name; a new role signs the member out everywhere."""
    verb = service.change_member(
        db,
        command,
        member_id,
        version_asked(request),
        role=None if data.role is UNSET else data.role,
        name=None if data.name is UNSET else clean(data.name, "/name"),
    )
    return await perform(verb, lambda id: show_member(db, caller.organization_id, id), headers=tag)


@delete("/members/{member_id:uuid}", operation_id="RemoveMember", guards=ADMINISTER, status_code=204)
async def remove_member(
    request: Request[Any, Any, Any], member_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Take a member out, at once. Never the last admin."""
    return await perform(service.remove_member(db, command, member_id, version_asked(request)), _nothing, status=204)


async def show_api_key(db: Database, organization_id: UUID, key_id: UUID, secret: dict[str, str] | None = None) -> ApiKeyBody:
    """One key; `secret` holds what was just made."""
    async with db.reading(organization_id) as session:
        row = await queries.api_key(session, organization_id, key_id)
    return ApiKeyBody.of(row, UNSET if secret is None else secret.get("secret"))


@get("/api-keys", operation_id="ListApiKeys", guards=ADMINISTER)
async def list_api_keys(
    caller: NamedDependency[Caller], db: NamedDependency[Database], limit: FromQuery[Limit] = 50, cursor: FromQuery[str | None] = None
) -> ListBody[ApiKeyBody]:
    """Keys that work, newest first."""
    after = decode_cursor(cursor, instant_key, UUID) if cursor else None
    async with db.reading(caller.organization_id) as session:
        rows = await queries.api_keys(session, caller.organization_id, limit=limit + 1, after=after)
    kept, following = page_of(rows, limit, lambda row: (row.created_at, row.id))
    return ListBody([ApiKeyBody.of(row) for row in kept], following)


@get("/api-keys/{key_id:uuid}", operation_id="GetApiKey", guards=ADMINISTER)
async def get_api_key(key_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[ApiKeyBody]:
    """One key, without its secret."""
    body = await show_api_key(db, caller.organization_id, key_id)
    return Response(body, headers=tag(body))


@post("/api-keys", operation_id="CreateApiKey", guards=ADMINISTER)
async def create_api_key(
    data: JSONBody[NewApiKeyBody], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[ApiKeyBody]:
    """Make a key. Its secret is answered once; a repeat of the request answers null in its place."""
    once: dict[str, str] = {}

    async def verb() -> UUID:
        name = clean(data.name, "/name")
        made = await service.create_api_key(db, command, name=name, role=data.role, scopes=data.scopes, within=caller.scopes)
        once["secret"] = made.secret
        return made.id

    return _no_store(await perform(verb(), lambda id: show_api_key(db, caller.organization_id, id, once), status=201, headers=tag))


@delete("/api-keys/{key_id:uuid}", operation_id="RevokeApiKey", guards=ADMINISTER, status_code=204)
async def revoke_api_key(
    request: Request[Any, Any, Any], key_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Stop a key, at once."""
    return await perform(service.revoke_api_key(db, command, key_id, version_asked(request)), _nothing, status=204)


async def _nothing(_id: UUID) -> None:
    return None


def _no_store(response: Response[Any]) -> Response[Any]:
    # It holds a secret: no cache between us and the caller may keep it.
    response.headers["Cache-Control"] = "no-store"
    return response


api_router = Router(
    path="/api/v1",
    route_handlers=[
        list_members,
        create_member,
        get_member,
        change_member,
        remove_member,
        list_api_keys,
        create_api_key,
        get_api_key,
        revoke_api_key,
    ],
    tags=["Access"],
)
