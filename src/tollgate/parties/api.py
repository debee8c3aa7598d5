"""`/organization`, `/clients` and their contacts."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, Parameter

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.http.bodies import MOST_ITEMS, ListBody, clean, decode_cursor, etag, page_of, version_asked
from tollgate.http.commands import perform
from tollgate.parties import queries, service
from tollgate.parties.schemas import (
    ClientBody,
    ClientChangesBody,
    ContactBody,
    ContactChangesBody,
    NewClientBody,
    NewContactBody,
    OrganizationBody,
    OrganizationChangesBody,
)

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
ADMINISTER = [requires(Permission.ADMINISTER)]
Limit = Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]


def tag(body: OrganizationBody | ClientBody | ContactBody) -> dict[str, str]:
    """The entity tag of what is shown."""
    return {"ETag": etag(body.version)}


async def show_organization(db: Database, organization_id: UUID) -> OrganizationBody:
    """The seller."""
    async with db.reading(organization_id) as session:
        return OrganizationBody.of(await queries.organization(session, organization_id))


async def show_client(db: Database, organization_id: UUID, client_id: UUID) -> ClientBody:
    """One client."""
    async with db.reading(organization_id) as session:
        return ClientBody.of(await queries.client(session, organization_id, client_id))


async def show_contact(db: Database, organization_id: UUID, client_id: UUID, contact_id: UUID) -> ContactBody:
    """One contact."""
    async with db.reading(organization_id) as session:
        row = await queries.contact_row(session, organization_id, client_id, contact_id)
    return ContactBody.of(queries.contact_of(row))


@get("/organization", operation_id="GetOrganization", guards=READ)
async def get_organization(caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[OrganizationBody]:
    """The seller that the key belongs to."""
    body = await show_organization(db, caller.organization_id)
    return Response(body, headers=tag(body))


@patch("/organization", operation_id="ChangeOrganization", guards=ADMINISTER)
async def change_organization(
    request: Request[Any, Any, Any],
    data: JSONBody[OrganizationChangesBody],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[OrganizationBody]:
    """Change the seller; issued documents keep what they were issued with."""
    verb = service.change_organization(db, command, version_asked(request), data.read())
    return await perform(verb, lambda _id: show_organization(db, caller.organization_id), headers=tag)


@get("/clients", operation_id="ListClients", guards=READ)
async def list_clients(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    limit: FromQuery[Limit] = 50,
    cursor: FromQuery[str | None] = None,
    q: FromQuery[str | None] = None,
    archived: FromQuery[bool] = False,
) -> ListBody[ClientBody]:
    """Clients by name; `q` is part of a name or e-mail."""
    after = decode_cursor(cursor, lambda name: clean(name, "/cursor"), UUID) if cursor else None
    search = clean(q or "", "/q", most=200)
    async with db.reading(caller.organization_id) as session:
        found = await queries.clients(session, caller.organization_id, search=search, archived=archived, limit=limit + 1, after=after)
    kept, following = page_of(found, limit, lambda client: (client.legal_name, client.id))
    return ListBody([ClientBody.of(client) for client in kept], following)


@post("/clients", operation_id="CreateClient", guards=MANAGE)
async def create_client(
    data: JSONBody[NewClientBody], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[ClientBody]:
    """Enter a client."""
    verb = service.create_client(db, command, data.read())
    return await perform(verb, lambda id: show_client(db, caller.organization_id, id), status=201, headers=tag)


@get("/clients/{client_id:uuid}", operation_id="GetClient", guards=READ)
async def get_client(client_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[ClientBody]:
    """One client."""
    body = await show_client(db, caller.organization_id, client_id)
    return Response(body, headers=tag(body))


@patch("/clients/{client_id:uuid}", operation_id="ChangeClient", guards=MANAGE)
async def change_client(
    request: Request[Any, Any, Any],
    client_id: FromPath[UUID],
    data: JSONBody[ClientChangesBody],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[ClientBody]:
    """Change a client; issued documents keep what they were issued with."""
    verb = service.change_client(db, command, client_id, version_asked(request), data.read())
    return await perform(verb, lambda id: show_client(db, caller.organization_id, id), headers=tag)


async def _archive(
    request: Request[Any, Any, Any], client_id: UUID, caller: Caller, command: Command, db: Database, archived: bool
) -> Response[ClientBody]:
    verb = service.archive_client(db, command, client_id, version_asked(request), archived=archived)
    return await perform(verb, lambda id: show_client(db, caller.organization_id, id), headers=tag)


@post("/clients/{client_id:uuid}/archival", operation_id="ArchiveClient", guards=MANAGE, status_code=200)
async def archive_client(
    request: Request[Any, Any, Any],
    client_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[ClientBody]:
    """Take a client out of the lists; its contracts and invoices stay."""
    return await _archive(request, client_id, caller, command, db, True)


@delete("/clients/{client_id:uuid}/archival", operation_id="RestoreClient", guards=MANAGE, status_code=200)
async def restore_client(
    request: Request[Any, Any, Any],
    client_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[ClientBody]:
    """Bring an archived client back."""
    return await _archive(request, client_id, caller, command, db, False)


@get("/clients/{client_id:uuid}/contacts", operation_id="ListContacts", guards=READ)
async def list_contacts(client_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> ListBody[ContactBody]:
    """All contacts of a client, oldest first, on one page."""
    async with db.reading(caller.organization_id) as session:
        await queries.client(session, caller.organization_id, client_id)
        found = await queries.contacts_of(session, caller.organization_id, client_id)
    return ListBody([ContactBody.of(contact) for contact in found], None)


@post("/clients/{client_id:uuid}/contacts", operation_id="AddContact", guards=MANAGE)
async def add_contact(
    client_id: FromPath[UUID],
    data: JSONBody[NewContactBody],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[ContactBody]:
    """Add a person at the client."""
    verb = service.add_contact(db, command, client_id, data.read())
    return await perform(verb, lambda id: show_contact(db, caller.organization_id, client_id, id), status=201, headers=tag)


@get("/clients/{client_id:uuid}/contacts/{contact_id:uuid}", operation_id="GetContact", guards=READ)
async def get_contact(
    client_id: FromPath[UUID], contact_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[ContactBody]:
    """One contact."""
    body = await show_contact(db, caller.organization_id, client_id, contact_id)
    return Response(body, headers=tag(body))


@patch("/clients/{client_id:uuid}/contacts/{contact_id:uuid}", operation_id="ChangeContact", guards=MANAGE)
async def change_contact(
    request: Request[Any, Any, Any],
    client_id: FromPath[UUID],
    contact_id: FromPath[UUID],
    data: JSONBody[ContactChangesBody],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[ContactBody]:
    """Change a contact."""
    verb = service.change_contact(db, command, client_id, contact_id, version_asked(request), data.read())
    return await perform(verb, lambda id: show_contact(db, caller.organization_id, client_id, id), headers=tag)


@delete("/clients/{client_id:uuid}/contacts/{contact_id:uuid}", operation_id="RemoveContact", guards=MANAGE, status_code=204)
async def remove_contact(
    request: Request[Any, Any, Any],
    client_id: FromPath[UUID],
    contact_id: FromPath[UUID],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[None]:
    """Take a person out: no more mails to them. Their decisions stay."""
    verb = service.remove_contact(db, command, client_id, contact_id, version_asked(request))
    return await perform(verb, _nothing, status=204)


async def _nothing(_id: UUID) -> None:
    return None


api_router = Router(
    path="/api/v1",
    route_handlers=[
        get_organization,
        change_organization,
        list_clients,
        create_client,
        get_client,
        change_client,
        archive_client,
        restore_client,
        list_contacts,
        add_contact,
        get_contact,
        change_contact,
        remove_contact,
    ],
    tags=["Parties"],
)
