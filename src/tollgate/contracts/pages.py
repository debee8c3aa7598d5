"""Members' pages of contracts: the list, the one-page form, activation, and the small steps of a milestone."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.contracts import draft_form, queries, service, step_pages
from tollgate.contracts.draft_form import NEW, ROWS, Draft
from tollgate.contracts.progress import stages, worst_health
from tollgate.contracts.rules import ContractState, PartyFacts, TaxCategory, TaxTreatment
from tollgate.contracts.service_activation import party_facts
from tollgate.contracts.service_views import ContractView, contract_views
from tollgate.contracts.step_pages import shown_contract
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.errors import FieldError, NotFound, TollgateError, _
from tollgate.http.bodies import decode_cursor, instant_key, page_of, uuid_or_none
from tollgate.http.commands import perform_once
from tollgate.money.currencies import digits
from tollgate.parties import queries as parties
from tollgate.parties import service as parties_service
from tollgate.parties.rules import Seller
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, see_other

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
MOST_CLIENTS = 500
STATES = ("draft", "active", "completed")
AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFrame:
    """Everything round the form's own fields."""

    seller: Seller
    clients: list[tuple[str, Any]]
    approvers: list[tuple[str, str, str]]
    default: TaxTreatment


# The list ---------------------------------------------------------------------------------------------------------------


@get("/contracts", guards=READ)
async def contract_list(
    request: AnyRequest,
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    in_state: Annotated[str, QueryParameter(name="state")] = "",
    client_id: FromQuery[str] = "",
    q: FromQuery[str] = "",
    cursor: FromQuery[str] = "",
) -> Response[str]:
    """Contracts, newest first, with their progress by amount."""
    asked = queries.ContractFilter(
        client_id=uuid_or_none(client_id),
        state=in_state if in_state in STATES else None,
        q=q.replace("\x00", "").strip()[:200],
        after=decode_cursor(cursor, instant_key, UUID) if cursor else None,
        limit=25,
    )
    async with db.reading(caller.organization_id) as session:
        rows, following = page_of(
            await queries.list_contracts(session, caller.organization_id, asked), asked.limit, lambda row: (row.created_at, row.id)
        )
        views = await contract_views(session, caller.organization_id, rows, caller.role, caller.id)
        clients = await parties.clients(session, caller.organization_id, archived=None, limit=MOST_CLIENTS)
    chosen = {"state": asked.state or "", "client_id": str(asked.client_id or ""), "q": asked.q}
    kept = {name: value for name, value in chosen.items() if value}
    return page(
        "contracts/list.html",
        shell=shell_for(request, "contracts"),
        contracts=[(view, stages(view), worst_health(view.milestones) if view.state == "active" else None) for view in views],
        clients=[(str(one.id), one.legal_name) for one in clients],
        filters=Form.empty(csrf_token="", values=chosen),
        filtered=bool(kept),
        next_href=f"/contracts?{urlencode({**kept, 'cursor': following})}" if following else None,
        first_href=f"/contracts?{urlencode(kept)}" if cursor else None,
        may_add=caller.may(Permission.MANAGE_CONTRACTS),
        has_clients=bool(clients),
    )


# The form ---------------------------------------------------------------------------------------------------------------


async def frame_of(session: AsyncSession, organization_id: UUID, client_id: UUID | None) -> FormFrame:
    """The seller's defaults, the clients to choose from, and the approvers of the chosen one."""
    seller = await parties.organization(session, organization_id)
    clients = await parties.clients(session, organization_id, limit=MOST_CLIENTS)
    contacts = await parties.contacts_of(session, organization_id, client_id) if client_id else []
    return FormFrame(
        seller=seller,
        clients=[(NEW, _("New client…")), *((str(one.id), one.legal_name) for one in clients)],
        approvers=[(str(one.id), one.name, one.email) for one in contacts if one.is_approver],
        default=TaxTreatment(TaxCategory(seller.default_tax_category), seller.default_tax_rate_percent),
    )


def form_page(
    request: AnyRequest, form: Form, frame: FormFrame, *, contract: ContractView | None = None, preview: Any = None, status: int = 200
) -> Response[str]:
    """The one-page form, with what was typed. `preview` is billing's table, where somebody asked for it."""
    currency = frame.seller.currency
    return page(
        "contracts/form.html",
        status=status,
        shell=shell_for(request, "contracts"),
        form=form,
        frame=frame,
        contract=contract,
        currency=currency,
        digits=digits(currency),
        schedule_preview=draft_form.preview_of(form, currency, frame.default),
        invoices=preview,
        countries=draft_form.country_choices(),
        tax_choices=draft_form.TAX_CHOICES,
        basis_choices=draft_form.BASIS_CHOICES,
        terms_choices=draft_form.TERMS_CHOICES,
        invoicing_choices=draft_form.INVOICING_CHOICES,
    )


def first_values(seller: Seller, client_id: str, *, any_clients: bool) -> dict[str, Any]:
    """A new form: the organization's defaults, and a few empty rows."""
    return {
        "client_id": client_id or ("" if any_clients else NEW),
        "client_country": seller.country,
        "price_basis": "net",
        "tax_category": seller.default_tax_category,
        "tax_rate": draft_form.percent_field(seller.default_tax_rate_percent),
        "payment_days": seller.default_payment_days,
        "payment_from": "issue",
        "invoicing": "issue",
        **{f"{ROWS}-{number}-title": "" for number in range(draft_form.BLANK_ROWS)},
    }


@get("/contracts/new", guards=MANAGE)
async def new_contract(
    request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database], client_id: FromQuery[str] = ""
) -> Response[str]:
    """An empty form."""
    async with db.reading(caller.organization_id) as session:
        frame = await frame_of(session, caller.organization_id, uuid_or_none(client_id))
    known = client_id if client_id in {one[0] for one in frame.clients} else ""
    values = first_values(frame.seller, known, any_clients=len(frame.clients) > 1)
    return form_page(request, Form.empty(csrf_token=csrf_token_for(request), values=values), frame)


@post("/contracts", guards=MANAGE)
async def create_contract(
    request: AnyRequest, caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[Any]:
    """Keep a draft, with its client where that is new: all of it or nothing."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    async with db.reading(caller.organization_id) as session:
        frame = await frame_of(session, caller.organization_id, uuid_or_none(form.raw("client_id")))
    changed = without_script(form)
    if changed is not None:
        return form_page(request, changed, frame)
    draft = draft_form.read_draft(form, frame.seller.currency)
    if draft is not None and form.action("activate") is not None:
        draft_form.take_problems(form, await _problems(db, caller, draft, frame))
    if draft is None or not form.is_valid:
        return form_page(request, form, frame, status=422)
    try:
        contract_id = await perform_once(create_with_client(db, command, draft))
    except TollgateError as refused:
        draft_form.take(form, refused, new=draft.new is not None)
        return form_page(request, form, frame, status=422)
    return _saved(form, contract_id)


async def create_with_client(db: Database, command: Command, draft: Draft) -> UUID:
    """One verb for the whole form: a new client, its approver and the draft in one transaction."""
    async with db.transaction(command.organization_id, command) as session:
        asked = await _with_new_client(session, command, draft)
        return answer(session, await service.create_contract_in(session, command, asked), 201)


async def _problems(db: Database, caller: Caller, draft: Draft, frame: FormFrame) -> list[FieldError]:
    async with db.reading(caller.organization_id) as session:
        seller = party_facts(await queries.organization(session, caller.organization_id))
        if draft.new is not None:
            buyer, approvers = draft_form.buyer_of(draft.new), 1
        else:
            client = await queries.client(session, caller.organization_id, draft.contract.client_id)
            buyer = party_facts(client) if client is not None else PartyFacts()
            asked = draft.contract.approver_ids
            approvers = len(asked) if asked is not None else len(frame.approvers)
    return draft_form.readiness(draft, seller, buyer, approvers, frame.default)


def _saved(form: Form, contract_id: UUID) -> Response[None]:
    if form.action("activate") is not None:
        return see_other(f"/contracts/{contract_id}/activation")
    return see_other(f"/contracts/{contract_id}", notice=_("Draft saved"))


def without_script(form: Form) -> Form | None:
    """The form after one of the buttons that only change what is shown; None when it is to be saved."""
    if form.action("add_row") is not None:
        return form.with_row_added(ROWS)
    if form.action("remove_row") is not None:
        return form.with_row_removed(ROWS, form.action("remove_row"))
    if form.action("choose_client") is not None:
        return Form({**form.values, "approvers": []}, csrf_token=form.csrf_token)
    return None


@post("/contracts/approvers", guards=MANAGE, status_code=200)
async def approver_choice(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """The approvers of the client that was just chosen, for the page to put in place. Changes nothing."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    async with db.reading(caller.organization_id) as session:
        frame = await frame_of(session, caller.organization_id, uuid_or_none(form.raw("client_id")))
    return page("contracts/approvers.html", form=form, frame=frame)


@get("/contracts/{contract_id:uuid}/edit", guards=MANAGE)
async def edit_contract(
    request: AnyRequest, contract_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """A draft in the form it was written in."""
    view = await shown_contract(db, caller, contract_id)
    if view.state is not ContractState.DRAFT:
        return see_other(f"/contracts/{contract_id}", notice=service.NotADraft.title, kind="warning")
    async with db.reading(caller.organization_id) as session:
        frame = await frame_of(session, caller.organization_id, view.client_id)
    return form_page(request, Form.empty(csrf_token=csrf_token_for(request), values=draft_form.values_of(view)), frame, contract=view)


@post("/contracts/{contract_id:uuid}/edit", guards=MANAGE)
async def change_contract(
    request: AnyRequest,
    contract_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Save a draft that was edited."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    view = await shown_contract(db, caller, contract_id)
    async with db.reading(caller.organization_id) as session:
        frame = await frame_of(session, caller.organization_id, uuid_or_none(form.raw("client_id")))
    changed = without_script(form)
    if changed is not None:
        return form_page(request, changed, frame, contract=view)
    draft = draft_form.read_draft(form, frame.seller.currency, {one.id: one for one in view.milestones})
    if draft is not None and form.action("activate") is not None:
        draft_form.take_problems(form, await _problems(db, caller, draft, frame))
    if draft is None or not form.is_valid:
        return form_page(request, form, frame, contract=view, status=422)
    version = form.whole("version") or 0
    try:
        await perform_once(change_with_client(db, command, contract_id, version, draft))
    except NotFound as refused:
        if not refused.errors:
            raise
        draft_form.take(form, refused)
        return form_page(request, form, frame, contract=view, status=422)
    except TollgateError as refused:
        draft_form.take(form, refused, new=draft.new is not None)
        return form_page(request, form, frame, contract=view, status=422)
    return _saved(form, contract_id)


async def change_with_client(db: Database, command: Command, contract_id: UUID, version: int, draft: Draft) -> UUID:
    """The same for an edited draft."""
    async with db.transaction(command.organization_id, command) as session:
        asked = await _with_new_client(session, command, draft)
        change = draft_form.change_of(asked)
        return answer(session, await service.change_contract_in(session, command, contract_id, version, change))


async def _with_new_client(session: AsyncSession, command: Command, draft: Draft) -> service.ContractInput:
    if draft.new is None:
        return draft.contract
    client_id = await parties_service.create_client_in(session, command.organization_id, draft.new.client)
    await parties_service.add_contact_in(session, command.organization_id, client_id, draft.new.contact)
    return draft_form.with_client(draft, client_id)


@post("/contracts/{contract_id:uuid}/deletion", guards=MANAGE)
async def delete_contract(
    request: AnyRequest, contract_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Throw a draft away."""
    form = await read_form(request, csrf_token="")
    try:
        await perform_once(service.delete_contract(db, command, contract_id, form.whole("version") or 0))
    except NotFound:
        raise
    except TollgateError as refused:
        return see_other(f"/contracts/{contract_id}", notice=refused.detail, kind="danger")
    return see_other("/contracts", notice=_("Draft deleted"))


page_router = Router(
    path="/",
    route_handlers=[
        contract_list,
        new_contract,
        create_contract,
        approver_choice,
        edit_contract,
        change_contract,
        delete_contract,
        *step_pages.handlers,
    ],
    include_in_schema=False,
)

__all__ = ["create_with_client", "form_page", "frame_of", "page_router"]
