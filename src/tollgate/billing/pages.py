"""Members' pages of billing: the live table of what will follow, the list of invoices, and what is done to one."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from markupsafe import Markup

from tollgate import clock
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.billing import pages_queries, queries, service
from tollgate.billing.rules import InvoiceState, VoidFacts, series_rounding, void_problems
from tollgate.billing.service_issue import totals_for
from tollgate.billing.service_views import CreditNoteShown, InvoiceFilter, InvoiceShown, list_invoices, show_credit_note, show_invoice
from tollgate.contracts import draft_form
from tollgate.contracts.draft_form import Preview
from tollgate.contracts.pages import form_page, frame_of
from tollgate.contracts.rules import Event
from tollgate.contracts.service_views import ContractView, MilestoneView, contract_view, milestone_view
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.documents import service as documents
from tollgate.errors import Message, NotFound, TollgateError, _
from tollgate.files.storage import Storage
from tollgate.http.bodies import decode_cursor, instant_key, page_of, uuid_or_none
from tollgate.http.commands import perform_once
from tollgate.money.amount import Money, total
from tollgate.parties import queries as parties
from tollgate.settings import Settings
from tollgate.web.actions import act
from tollgate.web.downloads import attachment
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, render, see_other

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
BILL = [requires(Permission.BILL)]
ADMINISTER = [requires(Permission.ADMINISTER)]
LIST_STATES = ("draft", "issued", "partly_paid", "paid", "void", "credited")
AnyRequest = Request[Any, Any, Any]


# What will follow -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRow:
    """One invoice that will follow."""

    title: str
    due_on: date | None
    net: Money
    tax: Money
    payable: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewTable:
    """Every invoice of a schedule that is being typed, by the calculation that issuing does, with its sums."""

    schedule: Preview
    rows: tuple[PreviewRow, ...]
    net: Money
    tax: Money
    payable: Money
    series_rounding: Money
    """By how much the taxes differ from tax on the whole (R3): shown, never billed."""


def preview_table(schedule: Preview, currency: str) -> PreviewTable:
    """The table of a schedule, as far as it can be read."""
    totals = [totals_for(amount, schedule.tax, schedule.price_basis) for amount in schedule.amounts]
    rows = tuple(
        PreviewRow(title=row.title, due_on=row.due_on, net=sums.net, tax=sums.tax, payable=sums.payable)
        for row, sums in zip(schedule.milestones, totals, strict=True)
    )
    return PreviewTable(
        schedule=schedule,
        rows=rows,
        net=total((row.net for row in rows), currency),
        tax=total((row.tax for row in rows), currency),
        payable=total((row.payable for row in rows), currency),
        series_rounding=series_rounding([sums.groups for sums in totals], currency),
    )


@post("/contracts/preview-table", guards=MANAGE, status_code=200)
async def preview(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[Any]:
    """Every invoice that will follow from the form as it stands. Changes nothing; without script it comes within the whole form."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    async with db.reading(caller.organization_id) as session:
        frame = await frame_of(session, caller.organization_id, uuid_or_none(form.raw("client_id")))
        contract_id = uuid_or_none(form.raw("contract_id"))
        contract: ContractView | None = None
        if contract_id is not None:
            contract = await contract_view(session, caller.organization_id, contract_id, caller.role, caller.id)
    table = preview_table(draft_form.preview_of(form, frame.seller.currency, frame.default), frame.seller.currency)
    shown = Markup(render("billing/preview_table.html", {"table": table}))
    if request.headers.get("hx-request"):
        return Response(str(shown), media_type="text/html")
    return form_page(request, form, frame, contract=contract, preview=shown)


# The list ---------------------------------------------------------------------------------------------------------------


@get("/invoices", guards=READ)
async def invoice_list(
    request: AnyRequest,
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    in_state: Annotated[str, QueryParameter(name="state")] = "",
    client_id: FromQuery[str] = "",
    contract_id: FromQuery[str] = "",
    cursor: FromQuery[str] = "",
) -> Response[str]:
    """Invoices, newest first, and what is open of them by currency."""
    asked = InvoiceFilter(
        state=in_state if in_state in LIST_STATES else None,
        open=in_state == "open",
        overdue=True if in_state == "overdue" else None,
        client_id=uuid_or_none(client_id),
        contract_id=uuid_or_none(contract_id),
        after=decode_cursor(cursor, instant_key, UUID) if cursor else None,
        limit=30,
    )
    async with db.reading(caller.organization_id) as session:
        rows, following = page_of(
            await list_invoices(session, caller.organization_id, asked), asked.limit, lambda row: (row.created_at, row.id)
        )
        seller = await parties.organization(session, caller.organization_id)
        sums = await pages_queries.sums(session, caller.organization_id, asked, clock.today(seller.time_zone))
        clients = await parties.clients(session, caller.organization_id, archived=None, limit=500)
        contracts = await pages_queries.contract_titles(session, caller.organization_id)
    chosen = {
        "state": in_state if in_state in (*LIST_STATES, "open", "overdue") else "",
        "client_id": str(asked.client_id or ""),
        "contract_id": str(asked.contract_id or ""),
    }
    kept = {name: value for name, value in chosen.items() if value}
    return page(
        "billing/list.html",
        shell=shell_for(request, "invoices"),
        invoices=rows,
        sums=sums,
        clients=[(str(one.id), one.legal_name) for one in clients],
        contracts=contracts,
        filters=Form.empty(csrf_token="", values=chosen),
        filtered=bool(kept),
        next_href=f"/invoices?{urlencode({**kept, 'cursor': following})}" if following else None,
        first_href=f"/invoices?{urlencode(kept)}" if cursor else None,
    )


# One invoice ------------------------------------------------------------------------------------------------------------


def reasons_against_void(invoice: InvoiceShown) -> list[Message]:
    """Why the invoice cannot be made void; empty when it can."""
    facts = VoidFacts(state=invoice.state, sent=invoice.sent_at is not None, paid=invoice.paid, credited=bool(invoice.credit_notes))
    return void_problems(facts)


async def _shown(db: Database, caller: Caller, invoice_id: UUID) -> InvoiceShown:
    async with db.reading(caller.organization_id) as session:
        return await show_invoice(session, caller.organization_id, invoice_id)


@post("/milestones/{milestone_id:uuid}/invoice", guards=BILL)
async def invoice_milestone(
    milestone_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """Invoice an approved milestone that waits for somebody to do so."""
    try:
        invoice_id = await perform_once(service.invoice_milestone(db, command, milestone_id, settings))
    except NotFound:
        raise
    except TollgateError as refused:
        return see_other(
            f"/milestones/{milestone_id}", notice=refused.errors[0].detail if refused.errors else refused.detail, kind="danger"
        )
    return see_other(f"/invoices/{invoice_id}", notice=_("Invoice issued"))


@post("/invoices/{invoice_id:uuid}/issue", guards=BILL)
async def issue_invoice(
    invoice_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """Give a draft its number."""
    to = f"/invoices/{invoice_id}"
    return await act(service.issue_invoice(db, command, invoice_id, settings), to, _("Issued. The PDF is made and mailed now."))


@post("/invoices/{invoice_id:uuid}/deletion", guards=BILL)
async def delete_draft(
    request: AnyRequest, invoice_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Throw a draft away."""
    version = (await read_form(request, csrf_token="")).whole("version")
    try:
        await perform_once(service.delete_draft(db, command, invoice_id, version))
    except NotFound:
        raise
    except TollgateError as refused:
        return see_other(f"/invoices/{invoice_id}", notice=refused.detail, kind="danger")
    return see_other("/invoices", notice=_("Draft deleted. The milestone stays approved and unbilled."))


@post("/invoices/{invoice_id:uuid}/send", guards=BILL)
async def send_invoice(invoice_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Mail it again."""
    return await act(service.send_invoice(db, command, invoice_id), f"/invoices/{invoice_id}", _("The invoice is on its way by mail"))


@get("/invoices/{invoice_id:uuid}/pdf", guards=READ)
async def invoice_pdf(
    invoice_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[Any]:
    """The PDF, byte for byte as it was mailed."""
    return await _pdf(db, storage, caller, "invoice", invoice_id, f"/invoices/{invoice_id}")


@get("/credit-notes/{credit_note_id:uuid}/pdf", guards=READ)
async def credit_note_pdf(
    credit_note_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[Any]:
    """The PDF of a credit note."""
    return await _pdf(db, storage, caller, "credit_note", credit_note_id, f"/credit-notes/{credit_note_id}")


async def _pdf(db: Database, storage: Storage, caller: Caller, kind: str, subject_id: UUID, back: str) -> Response[Any]:
    try:
        name, content = await documents.pdf(db, storage, caller.organization_id, kind, subject_id)
    except documents.BeingRendered as waiting:
        return see_other(back, notice=waiting.detail, kind="info")
    return attachment(name, content, "application/pdf")


# Void and credit: each says what will happen, with the numbers, before it does -------------------------------------------


def _undo_page(request: AnyRequest, invoice: InvoiceShown, form: Form, kind: str, status: int = 200) -> Response[str]:
    return page(
        f"billing/{kind}.html",
        status=status,
        shell=shell_for(request, "invoices"),
        invoice=invoice,
        form=form,
        reasons=reasons_against_void(invoice) if kind == "void" else [],
    )


@get("/invoices/{invoice_id:uuid}/void", guards=BILL)
async def void_page(
    request: AnyRequest, invoice_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """What making it void will do."""
    invoice = await _shown(db, caller, invoice_id)
    return _undo_page(request, invoice, Form.empty(csrf_token=csrf_token_for(request)), "void")


@post("/invoices/{invoice_id:uuid}/void", guards=BILL)
async def void_invoice(
    request: AnyRequest,
    invoice_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Make it void."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    reason = form.required("reason", _("Say why"))
    if form.is_valid:
        try:
            await perform_once(service.void_invoice(db, command, invoice_id, reason))
            return see_other(
                f"/invoices/{invoice_id}", notice=_("The invoice is void. It keeps its number; the milestone is approved again.")
            )
        except NotFound:
            raise
        except TollgateError as refused:
            form.take(refused)
    return _undo_page(request, await _shown(db, caller, invoice_id), form, "void", 422)


@get("/invoices/{invoice_id:uuid}/credit", guards=BILL)
async def credit_page(
    request: AnyRequest, invoice_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """What a credit note over the whole will do."""
    invoice = await _shown(db, caller, invoice_id)
    return _undo_page(request, invoice, Form.empty(csrf_token=csrf_token_for(request)), "credit")


@post("/invoices/{invoice_id:uuid}/credit", guards=BILL)
async def credit_invoice(
    request: AnyRequest,
    invoice_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """Write a credit note over the whole."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    reason = form.required("reason", _("Say why"))
    if form.is_valid:
        try:
            verb = service.credit_invoice(db, command, invoice_id, kind="correction", reason=reason, settings=settings)
            return see_other(f"/credit-notes/{await perform_once(verb)}", notice=_("Credit note issued. It is mailed with its PDF."))
        except NotFound:
            raise
        except TollgateError as refused:
            form.take(refused)
    return _undo_page(request, await _shown(db, caller, invoice_id), form, "credit", 422)


@get("/credit-notes/{credit_note_id:uuid}", guards=READ)
async def credit_note_page(
    request: AnyRequest, credit_note_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """One credit note."""
    async with db.reading(caller.organization_id) as session:
        shown: CreditNoteShown = await show_credit_note(session, caller.organization_id, credit_note_id)
        names = await parties.client_names(session, caller.organization_id, [shown.note.client_id])
    note = shown.note
    return page(
        "billing/credit_note.html",
        shell=shell_for(request, "invoices"),
        shown=shown,
        note=note,
        client_name=names[note.client_id],
        money={name: Money(getattr(note, f"{name}_minor"), note.currency) for name in _NOTE_AMOUNTS},
        lines=[(line.title, Money(line.net_minor, note.currency), line.tax_rate_percent) for line in shown.lines],
    )


_NOTE_AMOUNTS = ("net", "tax", "gross", "rounding", "payable", "from_open", "from_retained", "from_paid")


# Reopening: the one step that sign-off and billing do together -----------------------------------------------------------


async def _reopen_page(
    request: AnyRequest, db: Database, caller: Caller, milestone_id: UUID, form: Form, status: int = 200
) -> Response[Any]:
    async with db.reading(caller.organization_id) as session:
        milestone: MilestoneView = await milestone_view(session, caller.organization_id, milestone_id, caller.role, caller.id)
        drafts = await list_invoices(session, caller.organization_id, InvoiceFilter(state="draft", milestone_id=milestone_id))
    if Event.REOPEN not in milestone.allowed_events:
        return see_other(f"/milestones/{milestone_id}", notice=_("This milestone cannot be reopened now"), kind="warning")
    return page(
        "billing/reopen.html", status=status, shell=shell_for(request, "contracts"), milestone=milestone, form=form, has_draft=bool(drafts)
    )


@get("/milestones/{milestone_id:uuid}/reopening", guards=ADMINISTER)
async def reopen_page(
    request: AnyRequest, milestone_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """What reopening will do."""
    return await _reopen_page(request, db, caller, milestone_id, Form.empty(csrf_token=csrf_token_for(request)))


@post("/milestones/{milestone_id:uuid}/reopening", guards=ADMINISTER)
async def reopen_milestone(
    request: AnyRequest,
    milestone_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Take an approval back."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    reason = form.long_text("reason", most=4000)
    if not reason and not form.error("reason"):
        form.refuse("reason", _("Say why; the client is told"))
    if form.is_valid:
        try:
            await perform_once(service.reopen_milestone(db, command, milestone_id, reason))
            return see_other(f"/milestones/{milestone_id}", notice=_("Reopened. The client is told why."))
        except NotFound:
            raise
        except TollgateError as refused:
            form.take(refused)
    return await _reopen_page(request, db, caller, milestone_id, form, 422)


page_router = Router(
    path="/",
    route_handlers=[
        preview,
        invoice_list,
        invoice_milestone,
        issue_invoice,
        delete_draft,
        send_invoice,
        invoice_pdf,
        credit_note_pdf,
        void_page,
        void_invoice,
        credit_page,
        credit_invoice,
        credit_note_page,
        reopen_page,
        reopen_milestone,
    ],
    include_in_schema=False,
)

__all__ = ["InvoiceState", "page_router", "preview_table", "queries", "reasons_against_void"]
