"""What a client sees without an account: the approval page and what becomes of it, behind a signed link (R10).

GET and HEAD change nothing but the note that the link was opened; every decision is a POST from the page itself.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from tollgate import clock
from tollgate.access import limits
from tollgate.access.shell import csrf_token_for
from tollgate.billing.snapshot import tax_label
from tollgate.db.command import ActorKind, Command, KeyReused
from tollgate.db.database import Database
from tollgate.documents import service as documents
from tollgate.errors import Conflict, Invalid, Message, NotAllowed, NotFound, TooManyAttempts, _
from tollgate.files.storage import Storage
from tollgate.http.commands import command_from, perform_once
from tollgate.http.problems import status_of
from tollgate.i18n import use_locale
from tollgate.screens import client_queries as queries
from tollgate.screens.client_invoice_pages import invoice_handlers
from tollgate.screens.client_links import client_failure, exchange, link_session_id_of, masked, note_open, require_link
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.rules import (
    AlreadyDecided,
    DecisionKind,
    LinkExpired,
    LinkRevoked,
    LinkState,
    LinkSuperseded,
    NotYourTurn,
    RoundClosed,
)
from tollgate.signoff.service import CodeNeeded, LinkDecision, LinkPage, VerifiedLink
from tollgate.web.actions import act
from tollgate.web.downloads import attachment
from tollgate.web.forms import Form, read_form
from tollgate.web.notices import notices_of, shown_cookie
from tollgate.web.rendering import page, see_other

__all__ = ["link_session_id_of", "page_router"]

AnyRequest = Request[Any, Any, Any]

OVER = (AlreadyDecided, RoundClosed, LinkSuperseded, LinkRevoked, LinkExpired)
"""Refusals after which another page of the link says what happened instead."""
REFUSALS = (Invalid, Conflict, NotAllowed, TooManyAttempts)
FRESH_LINK = limits.Limit("fresh-link", 3, timedelta(hours=1))
LINK_CODE = limits.Limit("link-code", 5, timedelta(hours=1))
PROPOSAL = limits.Limit("colleague", 5, timedelta(hours=1))
FORMS = ("approval", "changes", "colleague")


async def load(db: Database, verified: VerifiedLink) -> LinkPage:
    """What the link's page shows now."""
    async with db.reading(verified.organization_id) as session:
        return await signoff.link_page(session, verified)


async def show(
    request: AnyRequest, db: Database, link: LinkPage, *, status: int = 200, filled: tuple[str, Form] | None = None
) -> Response[str]:
    """The page that belongs to the link's state. `filled` names the form that came back with errors. Call it inside `use_locale`."""
    notices = notices_of(request)
    context: dict[str, Any] = {
        "link": link,
        "here": f"/sign/{link.link_id}",
        "seller": queries.seller_of(link),
        "notices": notices,
        "form": Form.empty(csrf_token=csrf_token_for(request)),
        "masked_email": masked(link.approver_email),
        "decision": queries.last_decision(link),
    }
    match link.state:
        case LinkState.OPEN:
            template = "approve"
            context |= _approval_context(request, link, filled)
        case LinkState.USED:
            template, extra = await _used(db, link)
            context |= extra
        case LinkState.SUPERSEDED if link.decisions:
            template = "closed"
        case LinkState.SUPERSEDED:
            template = "superseded"
            async with db.reading(link.organization_id) as session:
                context["newer_at"] = await queries.newer_delivery(session, link)
        case _:
            template = link.state.value
    return page(f"screens/client/{template}.html", status=status, cookies=[shown_cookie()] if notices else [], **context)


def _approval_context(request: AnyRequest, link: LinkPage, filled: tuple[str, Form] | None) -> dict[str, Any]:
    token = csrf_token_for(request)
    forms = {name: Form.empty(csrf_token=token) for name in FORMS}
    if filled is not None:
        forms[filled[0]] = filled[1]
    return {
        "forms": forms,
        "filled": filled[0] if filled else "",
        "deliverables": queries.deliverable_rows(link),
        "tax_label": tax_label(link.tax),
    }


async def _used(db: Database, link: LinkPage) -> tuple[str, dict[str, Any]]:
    own = link.own_decision
    if own is None or own.decision != DecisionKind.APPROVE:
        return "changes_sent", {"own": own}
    async with db.reading(link.organization_id) as session:
        invoice = await queries.invoice_of_round(session, link)
    unfinished = invoice is None or invoice.is_unfinished or link.certificate is None or link.certificate.pdf_sha256_hex is None
    soon = unfinished and not link.reopened_because and clock.now() - own.decided_at < queries.SOON
    return "approved", {"own": own, "invoice": invoice, "looks_again": soon}


async def contact_command(request: AnyRequest, link: LinkPage, form: Form) -> Command:
    """A form of the page as a command of the approver: one form sent twice is carried out once."""
    return await command_from(request, link.organization_id, ActorKind.CONTACT, link.contact_id, "viewer", str(form.form_key))


@get("/a/{token:str}")
async def open_link(
    request: AnyRequest, token: FromPath[str], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """The address in a mail."""

    async def opened(verified: VerifiedLink) -> None:
        await note_open(db, request, verified)

    return await exchange(request, db, settings, token, "approval", opened)


@get("/sign/{link_id:uuid}")
async def sign_page(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[str]:
    """The page of a link, in whatever state it is."""
    link = await load(db, await require_link(request, db, settings, link_id))
    with use_locale(link.locale):
        return await show(request, db, link)


async def _decide(
    request: AnyRequest,
    db: Database,
    link: LinkPage,
    filled: tuple[str, Form],
    verb: Callable[[Command], Awaitable[UUID]],
    *,
    names: dict[str, str],
    code_field: str = "",
) -> Response[Any]:
    """Carry out a form's verb once. A refusal comes back with what was typed, or as the page that says who was quicker."""
    here, form = f"/sign/{link.link_id}", filled[1]
    try:
        await perform_once(verb(await contact_command(request, link, form)))
        return see_other(here)
    except OVER:
        return await _state_now(request, db, link, here)
    except CodeNeeded as refused:
        form.refuse(code_field, refused.detail)
        return await show(request, db, link, status=status_of(refused), filled=filled)
    except KeyReused:
        # The form was sent before and changed since: what counts is what the first sending did.
        return await _state_now(request, db, link, here)
    except NotYourTurn as refused:
        form.refuse("", refused.title)
        return await show(request, db, link, status=status_of(refused), filled=filled)
    except REFUSALS as refused:
        form.take(refused, names=names)
        return await show(request, db, link, status=status_of(refused), filled=filled)


async def _state_now(request: AnyRequest, db: Database, link: LinkPage, here: str) -> Response[Any]:
    fresh = await load(db, await require_link(request, db, request.app.state.settings, link.link_id))
    if fresh.state is LinkState.USED:
        return see_other(here, notice=_stands(fresh), kind="warning")
    if fresh.state is LinkState.OPEN:
        return see_other(here)
    return await show(request, db, fresh, status=409)


def _stands(link: LinkPage) -> Message:
    """What became of a form that came after this approver had decided."""
    own = link.own_decision
    if own is None or link.reopened_because:
        return _("You had decided on this delivery already. What you have just sent was not kept, and nothing was changed.")
    if own.decision == DecisionKind.APPROVE:
        return _("You had approved this already. That decision stands and was not changed; what you have just sent was not kept.")
    return _("You had asked for changes already. That decision stands and was not changed; what you have just sent was not kept.")


async def _incomplete(request: AnyRequest, db: Database, link: LinkPage, filled: tuple[str, Form]) -> Response[Any]:
    """A form with errors of its own: shown again while the link can decide, otherwise the page that says what happened."""
    if link.state is LinkState.OPEN:
        return await show(request, db, link, status=422, filled=filled)
    return await _state_now(request, db, link, f"/sign/{link.link_id}")


@post("/sign/{link_id:uuid}/approval", status_code=303)
async def approve(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Any]:
    """Approve, with a typed name and a tick."""
    verified = await require_link(request, db, settings, link_id)
    link = await load(db, verified)
    with use_locale(link.locale):
        form = await read_form(request, csrf_token=csrf_token_for(request))
        name = form.required("signed_name", _("Type your name"), most=120)
        code = _code(form, link, "code")
        if not form.ticked("agree"):
            form.refuse("agree", _("Tick this to approve"))
        if not form.is_valid:
            return await _incomplete(request, db, link, ("approval", form))
        asked = LinkDecision(content_sha256_hex=form.text("content_sha256"), signed_name=name, code=code)
        return await _decide(
            request,
            db,
            link,
            ("approval", form),
            lambda command: signoff.approve_by_link(db, command, verified, asked),
            names={},
            code_field="code",
        )


@post("/sign/{link_id:uuid}/changes", status_code=303)
async def request_changes(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Any]:
    """Ask for changes, with a reason and a typed name."""
    verified = await require_link(request, db, settings, link_id)
    link = await load(db, verified)
    with use_locale(link.locale):
        form = await read_form(request, csrf_token=csrf_token_for(request))
        reason = form.long_text("reason", most=4000)
        if not reason and form.error("reason") is None:
            form.refuse("reason", _("Say what should change"))
        name = form.required("changes_name", _("Type your name"), most=120)
        code = _code(form, link, "changes_code")
        if not form.is_valid:
            return await _incomplete(request, db, link, ("changes", form))
        asked = LinkDecision(content_sha256_hex=form.text("content_sha256"), signed_name=name, reason=reason, code=code)
        return await _decide(
            request,
            db,
            link,
            ("changes", form),
            lambda command: signoff.request_changes_by_link(db, command, verified, asked),
            names={"/signed_name": "changes_name"},
            code_field="changes_code",
        )


def _code(form: Form, link: LinkPage, field: str) -> str:
    return form.required(field, _("Enter the code that was mailed to you"), most=20) if link.code_needed else ""


@post("/sign/{link_id:uuid}/colleague", status_code=303)
async def name_colleague(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Any]:
    """ "Not me": name who should decide; the seller confirms before anything is sent."""
    verified = await require_link(request, db, settings, link_id)
    link = await load(db, verified)
    with use_locale(link.locale):
        form = await read_form(request, csrf_token=csrf_token_for(request))
        name = form.required("colleague_name", _("Type your colleague's name"), most=120)
        email = form.required("colleague_email", _("Enter your colleague's e-mail address"), most=254)
        if not form.is_valid:
            return await _incomplete(request, db, link, ("colleague", form))

        async def propose(command: Command) -> UUID:
            await limits.attempt(db, PROPOSAL, str(link.link_id), settings.secret_key)
            return await signoff.propose_colleague(db, command, verified, name, email)

        return await _decide(
            request, db, link, ("colleague", form), propose, names={"/signed_name": "colleague_name", "/email": "colleague_email"}
        )


@post("/sign/{link_id:uuid}/code", status_code=303)
async def send_code(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Any]:
    """Mail the code that a copied link asks for."""
    verified = await require_link(request, db, settings, link_id)
    link = await load(db, verified)

    async def ask(command: Command) -> UUID:
        await limits.attempt(db, LINK_CODE, str(link.link_id), settings.secret_key)
        return await signoff.request_code(db, command, verified)

    done = _("A code is on its way to %(email)s; it works for 10 minutes", email=masked(link.approver_email))
    return await _press(request, link, ask, done)


@post("/sign/{link_id:uuid}/fresh-link", status_code=303)
async def fresh_link(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[Any]:
    """Mail a fresh link, to the same approver and nobody else, once this one is too old."""
    link = await load(db, await require_link(request, db, settings, link_id))
    if link.state is not LinkState.EXPIRED:
        return see_other(f"/sign/{link_id}")

    async def ask(command: Command) -> UUID:
        await limits.attempt(db, FRESH_LINK, str(link.link_id), settings.secret_key)
        return await signoff.send_link(db, command, link.round_id, link.contact_id)

    return await _press(request, link, ask, _("A fresh link is on its way to %(email)s", email=masked(link.approver_email)))


async def _press(request: AnyRequest, link: LinkPage, verb: Callable[[Command], Awaitable[UUID]], done: Message) -> Response[Any]:
    """A form that is one button: back to the page, which says what came of it."""
    with use_locale(link.locale):
        form = await read_form(request, csrf_token=csrf_token_for(request))
        return await act(verb(await contact_command(request, link, form)), f"/sign/{link.link_id}", done)


@get("/sign/{link_id:uuid}/files/{sha256_hex:str}")
async def deliverable_file(
    request: AnyRequest,
    link_id: FromPath[UUID],
    sha256_hex: FromPath[str],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """A delivered file, to keep; only while the link may decide, and for whoever decided."""
    verified = await require_link(request, db, settings, link_id)
    if (await load(db, verified)).state not in {LinkState.OPEN, LinkState.USED}:
        raise NotFound
    async with db.reading(verified.organization_id) as session:
        name, content_type = await signoff.link_file(session, verified, sha256_hex)
    return attachment(name, await storage.get(verified.organization_id, sha256_hex), content_type)


@get("/sign/{link_id:uuid}/certificate.pdf")
async def certificate_pdf(
    request: AnyRequest,
    link_id: FromPath[UUID],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """The sign-off certificate, for whoever approved."""
    link = await _approved(request, db, settings, link_id)
    name, content = await documents.pdf(db, storage, link.organization_id, "certificate", link.round_id)
    return attachment(name, content, "application/pdf")


@get("/sign/{link_id:uuid}/invoice.pdf")
async def invoice_pdf(
    request: AnyRequest,
    link_id: FromPath[UUID],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """The invoice of what was approved."""
    link = await _approved(request, db, settings, link_id)
    async with db.reading(link.organization_id) as session:
        invoice = await queries.invoice_of_round(session, link)
    if invoice is None:
        raise NotFound
    name, content = await documents.pdf(db, storage, link.organization_id, "invoice", invoice.shown.id)
    return attachment(name, content, "application/pdf")


async def _approved(request: AnyRequest, db: Database, settings: Settings, link_id: UUID) -> LinkPage:
    link = await load(db, await require_link(request, db, settings, link_id))
    if link.state is not LinkState.USED or link.own_decision is None or link.own_decision.decision != DecisionKind.APPROVE:
        raise NotFound
    return link


page_router = Router(
    path="/",
    route_handlers=[
        open_link,
        sign_page,
        approve,
        request_changes,
        name_colleague,
        send_code,
        fresh_link,
        deliverable_file,
        certificate_pdf,
        invoice_pdf,
        *invoice_handlers,
    ],
    exception_handlers={Exception: client_failure},
    include_in_schema=False,
)
