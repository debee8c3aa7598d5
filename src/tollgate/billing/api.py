"""Invoices, credit notes and schedules over HTTP: thin, every handler calls one verb and shows the resource."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, Parameter, QueryParameter

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.billing import service, service_views
from tollgate.billing.schemas import CreditNoteBody, CreditNoteRequest, InvoiceBody, ReasonRequest, ScheduleBody
from tollgate.contracts.api import show_milestone
from tollgate.contracts.schemas import ContractRequest, MilestoneBody
from tollgate.db.command import Command, Replayed
from tollgate.db.database import Database
from tollgate.documents import service as documents
from tollgate.files.storage import Storage
from tollgate.http.bodies import MOST_ITEMS, ListBody, clean, decode_cursor, etag, instant_key, page_of, version_asked
from tollgate.http.commands import perform
from tollgate.settings import Settings

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
BILL = [requires(Permission.BILL)]
ADMINISTER = [requires(Permission.ADMINISTER)]
Limit = Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]
InvoiceStateName = Literal["draft", "issued", "partly_paid", "paid", "void", "credited", "uncollectible"]


async def show_invoice(db: Database, caller: Caller, invoice_id: UUID) -> InvoiceBody:
    """One invoice as it is now."""
    async with db.reading(caller.organization_id) as session:
        return InvoiceBody.of(await service_views.show_invoice(session, caller.organization_id, invoice_id))


async def show_credit_note(db: Database, caller: Caller, credit_note_id: UUID) -> CreditNoteBody:
    """One credit note."""
    async with db.reading(caller.organization_id) as session:
        return CreditNoteBody.of(await service_views.show_credit_note(session, caller.organization_id, credit_note_id))


def tag(body: InvoiceBody) -> dict[str, str]:
    """The entity tag of what is shown."""
    return {"ETag": etag(body.version)}


async def download(db: Database, storage: Storage, organization_id: UUID, kind: str, subject_id: UUID) -> Response[bytes]:
    """The PDF as a file, named by its number."""
    name, content = await documents.pdf(db, storage, organization_id, kind, subject_id)
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"', "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type="application/pdf", headers=headers)


@get("/invoices", operation_id="ListInvoices", guards=READ)
async def list_invoices(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    in_state: Annotated[InvoiceStateName | None, QueryParameter(name="state")] = None,
    client_id: FromQuery[UUID | None] = None,
    contract_id: FromQuery[UUID | None] = None,
    milestone_id: FromQuery[UUID | None] = None,
    overdue: FromQuery[bool | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[Limit] = 50,
) -> ListBody[InvoiceBody]:
    """Invoices and drafts, newest first."""
    after = decode_cursor(cursor, instant_key, UUID) if cursor else None
    asked = service_views.InvoiceFilter(
        state=in_state, client_id=client_id, contract_id=contract_id, milestone_id=milestone_id, overdue=overdue, after=after, limit=limit
    )
    async with db.reading(caller.organization_id) as session:
        rows, following = page_of(
            await service_views.list_invoices(session, caller.organization_id, asked), limit, lambda row: (row.created_at, row.id)
        )
    return ListBody([InvoiceBody.of(row) for row in rows], following)


@get("/invoices/{invoice_id:uuid}", operation_id="GetInvoice", guards=READ)
async def get_invoice(invoice_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[InvoiceBody]:
    """One invoice with its lines, taxes, credit notes and ETag."""
    body = await show_invoice(db, caller, invoice_id)
    return Response(body, headers=tag(body))


@get("/invoices/{invoice_id:uuid}/pdf", operation_id="GetInvoicePdf", guards=READ, media_type="application/pdf")
async def get_invoice_pdf(
    invoice_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[bytes]:
    """The PDF, written once; 409 with Retry-After while it is being made."""
    return await download(db, storage, caller.organization_id, "invoice", invoice_id)


@post("/milestones/{milestone_id:uuid}/invoice", operation_id="InvoiceMilestone", guards=BILL)
async def invoice_milestone(
    milestone_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[InvoiceBody]:
    """Invoice an approved milestone: where the contract asks for review, or after its last invoice was taken back."""
    verb = service.invoice_milestone(db, command, milestone_id, settings)
    return await perform(verb, lambda found: show_invoice(db, caller, found), status=201, headers=tag)


@post("/milestones/{milestone_id:uuid}/reopening", operation_id="ReopenMilestone", guards=ADMINISTER, status_code=200)
async def reopen_milestone(
    milestone_id: FromPath[UUID],
    data: JSONBody[ReasonRequest],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[MilestoneBody]:
    """Take an approval back while nothing is billed; the client is told why."""
    reason = clean(data.reason, "/reason", lines=True)
    verb = service.reopen_milestone(db, command, milestone_id, reason)
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=lambda body: {"ETag": etag(body.version)})


@post("/invoices/{invoice_id:uuid}/issue", operation_id="IssueInvoice", guards=BILL, status_code=200)
async def issue_invoice(
    invoice_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[InvoiceBody]:
    """Give a draft its number; from then on it is final."""
    verb = service.issue_invoice(db, command, invoice_id, settings)
    return await perform(verb, lambda found: show_invoice(db, caller, found), headers=tag)


@delete("/invoices/{invoice_id:uuid}", operation_id="DeleteInvoiceDraft", guards=MANAGE, status_code=204)
async def delete_draft(
    invoice_id: FromPath[UUID], request: Request[Any, Any, Any], command: NamedDependency[Command], db: NamedDependency[Database]
) -> None:
    """Throw a draft away (If-Match)."""
    try:
        await service.delete_draft(db, command, invoice_id, version_asked(request))
    except Replayed:
        return


@post("/invoices/{invoice_id:uuid}/void", operation_id="VoidInvoice", guards=BILL, status_code=200)
async def void_invoice(
    invoice_id: FromPath[UUID],
    data: JSONBody[ReasonRequest],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[InvoiceBody]:
    """Make an unsent, unpaid, uncredited invoice void; it keeps its number."""
    verb = service.void_invoice(db, command, invoice_id, clean(data.reason, "/reason"))
    return await perform(verb, lambda found: show_invoice(db, caller, found), headers=tag)


@post("/invoices/{invoice_id:uuid}/credit-notes", operation_id="CreditInvoice", guards=BILL)
async def credit_invoice(
    invoice_id: FromPath[UUID],
    data: JSONBody[CreditNoteRequest],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[CreditNoteBody]:
    """Take an invoice back in full by a correction; what was paid becomes client credit."""
    verb = service.credit_invoice(
        db, command, invoice_id, kind=data.kind, reason=clean(data.reason, "/reason"), partial=bool(data.lines), settings=settings
    )
    return await perform(verb, lambda found: show_credit_note(db, caller, found), status=201)


@post("/invoices/{invoice_id:uuid}/send", operation_id="SendInvoice", guards=BILL, status_code=200)
async def send_invoice(
    invoice_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[InvoiceBody]:
    """Mail the invoice to the client's billing contacts, again where it was sent before."""
    return await perform(service.send_invoice(db, command, invoice_id), lambda found: show_invoice(db, caller, found), headers=tag)


@get("/credit-notes/{credit_note_id:uuid}", operation_id="GetCreditNote", guards=READ)
async def get_credit_note(credit_note_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> CreditNoteBody:
    """One credit note with its lines and taxes."""
    return await show_credit_note(db, caller, credit_note_id)


@get("/credit-notes/{credit_note_id:uuid}/pdf", operation_id="GetCreditNotePdf", guards=READ, media_type="application/pdf")
async def get_credit_note_pdf(
    credit_note_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[bytes]:
    """The PDF, written once; 409 with Retry-After while it is being made."""
    return await download(db, storage, caller.organization_id, "credit_note", credit_note_id)


@get("/contracts/{contract_id:uuid}/schedule", operation_id="GetSchedule", guards=READ)
async def get_schedule(contract_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> ScheduleBody:
    """Every document that follows from the contract, with the amounts that issuing will write."""
    async with db.reading(caller.organization_id) as session:
        return ScheduleBody.of(await service.schedule(session, caller.organization_id, contract_id))


@post("/contracts/preview", operation_id="PreviewContract", guards=MANAGE, status_code=200)
async def preview_contract(data: JSONBody[ContractRequest], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> ScheduleBody:
    """The schedule of a draft that is not kept."""
    async with db.reading(caller.organization_id) as session:
        return ScheduleBody.of(await service.preview(session, caller.organization_id, data.read()))


api_router = Router(
    path="/api/v1",
    route_handlers=[
        list_invoices,
        get_invoice,
        get_invoice_pdf,
        invoice_milestone,
        reopen_milestone,
        issue_invoice,
        delete_draft,
        void_invoice,
        credit_invoice,
        send_invoice,
        get_credit_note,
        get_credit_note_pdf,
        get_schedule,
        preview_contract,
    ],
    tags=["Billing"],
)
