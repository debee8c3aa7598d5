"""Sign-in, sign-out, members, API keys and one's own account."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tollgate.access import limits, queries, service, sessions
from tollgate.access.callers import Caller, requires
from tollgate.access.emails import email_or_none
from tollgate.access.models import ApiKey, Member
from tollgate.access.rules import NEEDS, Permission, Role
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.db.command import Command, Replayed
from tollgate.db.database import Database
from tollgate.errors import Conflict, Invalid, Message, NotAllowed, NotFound, NotSignedIn, Stale, TollgateError, TooManyAttempts, _
from tollgate.http.commands import client_address, perform_once
from tollgate.http.problems import headers_of, status_of
from tollgate.settings import Settings
from tollgate.web.csrf import CsrfFailed
from tollgate.web.failures import failure_response
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, see_other

AnyRequest = Request[Any, Any, Any]
READ = [requires(Permission.READ)]
ADMINISTER = [requires(Permission.ADMINISTER)]
REFUSALS = (Invalid, Conflict, Stale, NotAllowed, TooManyAttempts)

ROLES: Mapping[Role, tuple[Message, Message]] = {
    Role.VIEWER: (_("Viewer"), _("Reads everything, changes nothing")),
    Role.ACCOUNT_MANAGER: (_("Account manager"), _("Clients, contracts, delivery and invoice drafts")),
    Role.FINANCE: (_("Finance"), _("Also issues invoices, records payments and runs reports")),
    Role.ADMIN: (_("Admin"), _("Also members, settings and API keys")),
}
SCOPES: Mapping[Permission, tuple[Message, Message]] = {
    Permission.READ: (_("Read"), _("See clients, contracts, invoices and reports")),
    Permission.MANAGE_CONTRACTS: (_("Contracts"), _("Enter clients and contracts, deliver milestones")),
    Permission.BILL: (_("Billing"), _("Issue, void and credit invoices, record payments")),
    Permission.ADMINISTER: (_("Administration"), _("Members, settings and API keys")),
}
ROLE_OPTIONS = [(str(role), name, about) for role, (name, about) in ROLES.items()]
SCOPE_OPTIONS = [(str(scope), name, about) for scope, (name, about) in SCOPES.items()]


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as the list shows it."""

    id: UUID
    name: str
    email: str
    role: Message
    is_self: bool


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as the list shows it."""

    id: UUID
    name: str
    prefix: str
    role: Message
    scopes: list[Message]
    created_at: datetime

    @classmethod
    def of(cls, row: ApiKey) -> "KeyRow":
        """What is shown of a row."""
        scopes = [SCOPES[Permission(scope)][0] for scope in row.scopes]
        return cls(row.id, row.name, row.prefix, ROLES[Role(row.role)][0], scopes, row.created_at)


def local_address(wanted: str) -> str:
    """Where to go after signing in: an address of this host, else the home page."""
    unsafe = not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted or not wanted.isprintable() or len(wanted) > 500
    return "/" if unsafe or wanted.startswith(("/sign-in", "/sign-out")) else wanted


def refused(form: Form, error: TollgateError) -> int:
    """Take an error of a verb into the form; the status to show it under."""
    form.take(error)
    return status_of(error)


# Signing in and out


@get("/sign-in")
async def sign_in_form(request: AnyRequest, next: FromQuery[str] = "/") -> Response[Any]:
    """The form; somebody who is signed in already goes on."""
    if request.scope.get("user") is not None:
        return see_other(local_address(next))
    return page("access/sign_in.html", form=Form.empty(csrf_token=csrf_token_for(request), values={"next": local_address(next)}))


def sent_twice(request: AnyRequest, error: CsrfFailed) -> Response[Any]:
    """The sign-in form pressed twice: the first press has opened a session, under which the form's token is stale.

    Whoever is signed in as the person typed goes on (`typed` is kept only for a form of this server); anything else is a
    stale form as on any page.
    """
    caller: Caller | None = request.scope.get("user")
    typed = dict(error.typed)
    if caller is None or email_or_none(typed.get("email", "")) != email_or_none(caller.email):
        return failure_response(request, error)
    return see_other(local_address(typed.get("next", "")))


@post("/sign-in", status_code=200, exception_handlers={CsrfFailed: sent_twice})
async def sign_in(request: AnyRequest, db: NamedDependency[Database], settings: NamedDependency[Settings]) -> Response[Any]:
    """Check the password and open a session."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    email, password = form.raw("email"), form.raw("password")
    if not email.strip():
        form.refuse("email", _("Enter your e-mail address"))
    if not password:
        form.refuse("password", _("Enter your password"))
    if not form.is_valid:
        return page("access/sign_in.html", form=form, status=422)
    before: Caller | None = request.scope.get("user")
    try:
        opened = await sessions.sign_in(
            db,
            email=email,
            password=password,
            ip=client_address(request),
            secret_key=settings.secret_key,
            replaces=before.session_sha256 if before is not None else None,
            user_agent=request.headers.get("user-agent", ""),
        )
    except (NotSignedIn, TooManyAttempts) as error:
        form.take(error)
        retry = {name: value for name, value in headers_of(error).items() if name == "Retry-After"}
        return page("access/sign_in.html", form=form, status=status_of(error), headers=retry)
    return see_other(local_address(form.raw("next")), cookies=[sessions.session_cookie(settings, opened)])


def signed_out_already(request: AnyRequest, error: CsrfFailed) -> Response[Any]:
    """The button pressed twice: the first press has ended the session that the form belonged to, and nothing is left to do."""
    return failure_response(request, error) if request.scope.get("user") is not None else see_other("/sign-in")


@post("/sign-out", status_code=303, exception_handlers={CsrfFailed: signed_out_already})
async def sign_out(request: AnyRequest, db: NamedDependency[Database], settings: NamedDependency[Settings]) -> Response[None]:
    """Close the session; without one there is nothing to do."""
    caller: Caller | None = request.scope.get("user")
    if caller is not None and caller.session_sha256 is not None:
        await sessions.sign_out(db, caller.session_sha256)
    answer = see_other("/sign-in", notice=_("You are signed out"), cookies=[sessions.no_session_cookie(settings)])
    # Not "cookies": the links of a client's mails may be open in the same browser.
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


def switched_already(request: AnyRequest, error: CsrfFailed) -> Response[Any]:
    """The button pressed twice: the first press has brought the person there, under a new session."""
    caller: Caller | None = request.scope.get("user")
    there = caller is not None and dict(error.typed).get("organization_id") == str(caller.organization_id)
    return see_other("/") if there else failure_response(request, error)


@post("/organizations", guards=READ, status_code=303, exception_handlers={CsrfFailed: switched_already})
async def switch_organization(
    request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """Go to another organization of the same person."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    wanted = form.uuid("organization_id")
    if wanted is None:
        raise NotFound
    opened = await sessions.switch(db, caller, wanted)
    return see_other("/", cookies=[sessions.session_cookie(settings, opened)])


# One's own account


async def _account(request: AnyRequest, db: Database, caller: Caller, form: Form, status: int = 200) -> Response[str]:
    async with db.looking_up() as session:
        places = await queries.places(session, caller.identity_id) if caller.identity_id is not None else []
    others = [place for place in places if place.organization_id != caller.organization_id]
    return page(
        "access/account.html",
        shell=shell_for(request, "settings"),
        form=form,
        caller=caller,
        role=ROLES[caller.role][0],
        others=others,
        is_admin=caller.may(Permission.ADMINISTER),
        status=status,
    )


@get("/settings/password", guards=READ)
async def account(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """Password, and the other organizations of this person."""
    return await _account(request, db, caller, Form.empty(csrf_token=csrf_token_for(request)))


@post("/settings/password", guards=READ, status_code=200)
async def change_password(
    request: AnyRequest,
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """Change the password; every other session of this person ends, this one gets a new cookie."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    if not form.raw("current"):
        form.refuse("current", _("Enter your present password"))
    if not form.raw("new"):
        form.refuse("new", _("Enter a new password"))
    if form.raw("again") != form.raw("new"):
        form.refuse("again", _("This is not the same as the new password"))
    if not form.is_valid:
        return await _account(request, db, caller, form, 422)
    # The idempotency row keeps a fast hash of the request; it may not be one that a password could be guessed from.
    command = replace(command, request_sha256=hashlib.sha256(b"change password").digest())
    try:
        guess = await limits.attempt(db, limits.SIGN_IN_EMAIL, caller.email, settings.secret_key)
        verb = service.change_password(db, command, current=form.raw("current"), new=form.raw("new"), keep_session=caller.session_sha256)
        await perform_once(verb)
        await limits.give_back(db, guess)
    except REFUSALS as error:
        return await _account(request, db, caller, form, refused(form, error))
    opened = await sessions.rotate(db, caller)
    notice = _("Your password is changed; other devices were signed out")
    return see_other("/settings/password", notice=notice, cookies=[sessions.session_cookie(settings, opened)])


# Members


@get("/settings/members", guards=READ)
async def member_list(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """Everybody who may sign in."""
    async with db.reading(caller.organization_id) as session:
        rows = await queries.members(session, caller.organization_id)
    shown = [MemberRow(row.id, row.name, row.email, ROLES[Role(row.role)][0], row.id == caller.id) for row in rows]
    is_admin = caller.may(Permission.ADMINISTER)
    return page("access/members.html", shell=shell_for(request, "settings"), members=shown, is_admin=is_admin)


def _new_member(request: AnyRequest, form: Form, status: int = 200) -> Response[str]:
    shell = shell_for(request, "settings")
    return page("access/member_new.html", shell=shell, form=form, roles=ROLE_OPTIONS, is_admin=True, status=status)


@get("/settings/members/new", guards=ADMINISTER)
async def new_member(request: AnyRequest) -> Response[str]:
    """The form for somebody new."""
    return _new_member(request, Form.empty(csrf_token=csrf_token_for(request), values={"role": Role.ACCOUNT_MANAGER}))


@post("/settings/members/new", guards=ADMINISTER, status_code=201)
async def add_member(
    request: AnyRequest, caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[Any]:
    """Add somebody, and show the generated password this once."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    name = form.required("name", _("Enter a name"), most=120)
    email = form.required("email", _("Enter an e-mail address"), most=254)
    role = form.choice("role", list(Role), missing=_("Choose a role"))
    if not form.is_valid or role is None:
        return _new_member(request, form, 422)
    try:
        made = await service.create_member(db, command, email=email, name=name, role=Role(role), locale=caller.locale)
    except Replayed:
        return see_other("/settings/members", notice=_("This person was added already; the password is not shown again"), kind="info")
    except REFUSALS as error:
        return _new_member(request, form, refused(form, error))
    if made.password is None:
        notice = _("%(name)s was added and signs in with the password they have already", name=name)
        return see_other("/settings/members", notice=notice)
    shell = shell_for(request, "settings")
    return page("access/member_added.html", shell=shell, name=name, email=email, password=made.password, is_admin=True, status=201)


async def _member(db: Database, caller: Caller, member_id: UUID) -> Member:
    async with db.reading(caller.organization_id) as session:
        return await queries.member(session, caller.organization_id, member_id)


def _edit_member(request: AnyRequest, member: Member, caller: Caller, form: Form, status: int = 200) -> Response[str]:
    return page(
        "access/member.html",
        shell=shell_for(request, "settings"),
        member=MemberRow(member.id, member.name, member.email, ROLES[Role(member.role)][0], member.id == caller.id),
        form=form,
        roles=ROLE_OPTIONS,
        is_admin=True,
        status=status,
    )


@get("/settings/members/{member_id:uuid}", guards=ADMINISTER)
async def edit_member(
    request: AnyRequest, member_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """Name and role of one member."""
    member = await _member(db, caller, member_id)
    values = {"name": member.name, "role": member.role, "version": member.version}
    return _edit_member(request, member, caller, Form.empty(csrf_token=csrf_token_for(request), values=values))


@post("/settings/members/{member_id:uuid}", guards=ADMINISTER, status_code=200)
async def change_member(
    request: AnyRequest,
    member_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """Save a member's name and role. Whoever changes their own role goes on under a new cookie."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    name = form.required("name", _("Enter a name"), most=120)
    role = form.choice("role", list(Role), missing=_("Choose a role"))
    version = form.whole("version", least=1, most=999_999_999) or 0
    member = await _member(db, caller, member_id)
    if not form.is_valid or role is None:
        return _edit_member(request, member, caller, form, 422)
    own = caller.session_sha256 if member_id == caller.id else None
    try:
        verb = service.change_member(db, command, member_id, version, name=name, role=Role(role), keep_session=own)
        await perform_once(verb)
    except REFUSALS as error:
        return _edit_member(request, member, caller, form, refused(form, error))
    cookies = [sessions.session_cookie(settings, await sessions.rotate(db, caller))] if own is not None else []
    return see_other("/settings/members", notice=_("%(name)s is saved", name=name), cookies=cookies)


@post("/settings/members/{member_id:uuid}/removal", guards=ADMINISTER, status_code=303)
async def remove_member(
    request: AnyRequest,
    member_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Take a member out."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    version = form.whole("version", least=1, most=999_999_999) or 0
    try:
        await perform_once(service.remove_member(db, command, member_id, version))
    except REFUSALS as error:
        member = await _member(db, caller, member_id)
        status = refused(form, error)
        form.values.update(name=[member.name], role=[member.role])
        return _edit_member(request, member, caller, form, status)
    return see_other("/settings/members", notice=_("The member was removed and signed out"))


# API keys


@get("/settings/api-keys", guards=ADMINISTER)
async def key_list(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """Keys that work."""
    async with db.reading(caller.organization_id) as session:
        rows = await queries.api_keys(session, caller.organization_id)
    form = Form.empty(csrf_token=csrf_token_for(request))
    keys = [KeyRow.of(row) for row in rows]
    return page("access/api_keys.html", shell=shell_for(request, "settings"), keys=keys, form=form, is_admin=True)


def _new_key(request: AnyRequest, form: Form, status: int = 200) -> Response[str]:
    shell = shell_for(request, "settings")
    return page("access/api_key_new.html", shell=shell, form=form, scopes=SCOPE_OPTIONS, is_admin=True, status=status)


@get("/settings/api-keys/new", guards=ADMINISTER)
async def new_key(request: AnyRequest) -> Response[str]:
    """The form for a new key."""
    return _new_key(request, Form.empty(csrf_token=csrf_token_for(request), values={"scopes": [Permission.READ]}))


@post("/settings/api-keys/new", guards=ADMINISTER, status_code=201)
async def add_key(request: AnyRequest, command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[Any]:
    """Make a key and show its secret this once."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    name = form.required("name", _("Enter a name, such as the program that will use it"), most=120)
    scopes = [Permission(scope) for scope in form.all_values("scopes") if scope in SCOPES]
    if not scopes:
        form.refuse("scopes", _("Choose at least one"))
    if not form.is_valid:
        return _new_key(request, form, 422)
    # Asked in words of what the key shall do, so the role is the least that may do it all.
    role = max((NEEDS[scope] for scope in scopes), key=list(Role).index)
    try:
        made = await service.create_api_key(db, command, name=name, role=role, scopes=scopes)
    except Replayed:
        return see_other("/settings/api-keys", notice=_("This key was made already; its secret is not shown again"), kind="info")
    except REFUSALS as error:
        return _new_key(request, form, refused(form, error))
    return page("access/api_key_made.html", shell=shell_for(request, "settings"), name=name, secret=made.secret, is_admin=True, status=201)


@post("/settings/api-keys/{key_id:uuid}/revocation", guards=ADMINISTER, status_code=303)
async def revoke_key(key_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Stop a key."""
    try:
        await perform_once(service.revoke_api_key(db, command, key_id))
    except Stale:
        return see_other("/settings/api-keys", notice=_("This key was revoked already"), kind="info")
    return see_other("/settings/api-keys", notice=_("The key is revoked"))


page_router = Router(
    path="/",
    route_handlers=[
        sign_in_form,
        sign_in,
        sign_out,
        switch_organization,
        account,
        change_password,
        member_list,
        new_member,
        add_member,
        edit_member,
        change_member,
        remove_member,
        key_list,
        new_key,
        add_key,
        revoke_key,
    ],
    include_in_schema=False,
)
