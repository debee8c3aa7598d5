"""Invoices and credit notes as readers see them: rows with their lines, taxes, derived amounts and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.billing import queries
from tollgate.billing.models import BillingBlock, CreditNote, CreditNoteLine, CreditNoteTax, Invoice, InvoiceLine
from tollgate.billing.rules import InvoiceState, Line, ReminderStop, TaxCategory, TaxGroup, TaxTreatment, is_overdue, reminder_stop
from tollgate.billing.stripe_problems import sentence
from tollgate.contracts.models import Contract, Milestone
from tollgate.documents.models import Document
from tollgate.errors import Message, NotFound
from tollgate.money.amount import Money
from tollgate.parties.models import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class LineShown:
    """A line of an invoice."""

    id: UUID
    milestone_id: UUID | None
    title: str
    description: str
    quantity: str
    unit_price: Money
    net: Money
    tax: Money
    treatment: TaxTreatment


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteRow:
    """A credit note in a list."""

    id: UUID
    number: str
    kind: str
    issued_on: date
    payable: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeShown:
    """How far the hand-over to Stripe has come."""

    invoice_id: str | None
    hosted_url: str | None
    step: str
    problem: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceShown:
    """An invoice with all that a reader sees. `open` and `overdue` are derived; days are in the seller's zone."""

    id: UUID
    number: str | None
    kind: str
    state: InvoiceState
    contract_id: UUID
    contract_title: str
    client_id: UUID
    client_name: str
    currency: str
    issued_on: date | None
    supplied_on: date | None
    due_on: date | None
    lines: tuple[LineShown, ...]
    taxes: tuple[TaxGroup, ...]
    net: Money
    tax: Money
    gross: Money
    prepaid: Money
    rounding: Money
    amount_due: Money
    retained: Money
    payable: Money
    paid: Money
    credited: Money
    written_off: Money
    open: Money
    pending: Money
    """Bank debits on their way, not counted as paid."""
    disputed_on: date | None
    dispute_reason: str | None
    declined_at: datetime | None
    decline_code: str | None
    overdue: bool
    days_overdue: int
    created_at: datetime
    issued_at: datetime | None
    sent_at: datetime | None
    seen_at: datetime | None
    """Derived: when the page behind one of its links was first opened."""
    voided_at: datetime | None
    void_reason: str | None
    stripe: StripeShown
    credit_notes: tuple[CreditNoteRow, ...]
    document_sha256: str | None
    """Of the PDF; None until it is rendered."""
    version: int

    @property
    def reminders_stopped(self) -> ReminderStop | None:
        """Why nobody is reminded of it now."""
        return reminder_stop(pending=self.pending, disputed=self.disputed_on is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFilter:
    """Which invoices a list shows, newest first; `after` is the last row's (created_at, id)."""

    state: str | None = None
    client_id: UUID | None = None
    contract_id: UUID | None = None
    milestone_id: UUID | None = None
    overdue: bool | None = None
    open: bool = False
    """Only what is issued and not settled."""
    after: tuple[datetime, UUID] | None = None
    limit: int = 50


async def list_invoices(session: AsyncSession, organization_id: UUID, asked: InvoiceFilter) -> list[InvoiceShown]:
    """Up to `limit` + 1 invoices, so that the caller sees whether there are more."""
    seller = await queries.organization(session, organization_id)
    today = clock.today(seller.time_zone)
    query = select(Invoice).where(Invoice.organization_id == organization_id)
    if asked.state is not None:
        query = query.where(Invoice.state == asked.state)
    if asked.open:
        query = query.where(Invoice.state.in_(("issued", "partly_paid")))
    if asked.client_id is not None:
        query = query.where(Invoice.client_id == asked.client_id)
    if asked.contract_id is not None:
        query = query.where(Invoice.contract_id == asked.contract_id)
    if asked.milestone_id is not None:
        billed = select(InvoiceLine.invoice_id).where(
            InvoiceLine.organization_id == organization_id, InvoiceLine.milestone_id == asked.milestone_id
        )
        query = query.where(Invoice.id.in_(billed))
    if asked.overdue is not None:
        late = Invoice.state.in_(("issued", "partly_paid")) & (Invoice.due_on < today)
        query = query.where(late if asked.overdue else ~late | Invoice.due_on.is_(None))
    if asked.after is not None:
        query = query.where(tuple_(Invoice.created_at, Invoice.id) < asked.after)
    rows = await session.execute(query.order_by(Invoice.created_at.desc(), Invoice.id.desc()).limit(asked.limit + 1))
    return await _show(session, organization_id, list(rows.scalars()), today)


async def show_invoice(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> InvoiceShown:
    """One invoice. Raises `NotFound`."""
    invoice = await session.get(Invoice, (organization_id, invoice_id))
    if invoice is None:
        raise NotFound
    seller = await queries.organization(session, organization_id)
    return (await _show(session, organization_id, [invoice], clock.today(seller.time_zone)))[0]


async def _show(session: AsyncSession, organization_id: UUID, invoices: list[Invoice], today: date) -> list[InvoiceShown]:
    if not invoices:
        return []
    ids = [invoice.id for invoice in invoices]
    lines = await queries.lines_by_invoice(session, organization_id, ids)
    taxes = await queries.groups_by_invoice(session, organization_id, ids, {invoice.id: invoice.currency for invoice in invoices})
    notes = await _credit_notes(session, organization_id, ids)
    pdfs = await _pdfs(session, organization_id, ids)
    opens = await queries.first_opens(session, organization_id, ids)
    names = await _names(session, organization_id, {invoice.contract_id for invoice in invoices})
    shown = []
    for invoice in invoices:
        parts = lines[invoice.id], taxes[invoice.id], notes.get(invoice.id, [])
        shown.append(_shown(invoice, *parts, pdfs.get(invoice.id), opens.get(invoice.id), names[invoice.contract_id], today))
    return shown


def _shown(
    invoice: Invoice,
    lines: list[InvoiceLine],
    taxes: tuple[TaxGroup, ...],
    notes: list[CreditNoteRow],
    pdf: str | None,
    seen_at: datetime | None,
    names: tuple[str, str],
    today: date,
) -> InvoiceShown:
    totals = queries.totals_of(invoice, lines, taxes)
    open_ = queries.open_of(invoice)
    late = invoice.due_on is not None and is_overdue(open_, invoice.due_on, today)
    return InvoiceShown(
        id=invoice.id,
        number=invoice.number,
        kind=invoice.kind,
        state=InvoiceState(invoice.state),
        contract_id=invoice.contract_id,
        contract_title=names[0],
        client_id=invoice.client_id,
        client_name=names[1],
        currency=invoice.currency,
        issued_on=invoice.issued_on,
        supplied_on=invoice.supplied_on,
        due_on=invoice.due_on,
        lines=tuple(_line_shown(row, line) for row, line in zip(lines, totals.lines, strict=True)),
        taxes=taxes,
        net=totals.net,
        tax=totals.tax,
        gross=totals.gross,
        prepaid=totals.prepaid,
        rounding=totals.rounding,
        amount_due=totals.amount_due,
        retained=totals.retained,
        payable=totals.payable,
        paid=Money(invoice.paid_minor, invoice.currency),
        credited=Money(invoice.credited_minor, invoice.currency),
        written_off=Money(invoice.written_off_minor, invoice.currency),
        open=open_,
        pending=Money(invoice.pending_minor, invoice.currency),
        disputed_on=invoice.disputed_on,
        dispute_reason=invoice.dispute_reason,
        declined_at=invoice.declined_at,
        decline_code=invoice.decline_code,
        overdue=late,
        days_overdue=(today - invoice.due_on).days if late and invoice.due_on is not None else 0,
        created_at=invoice.created_at,
        issued_at=invoice.issued_at,
        sent_at=invoice.sent_at,
        seen_at=seen_at,
        voided_at=invoice.voided_at,
        void_reason=invoice.void_reason,
        stripe=StripeShown(
            invoice_id=invoice.stripe_invoice_id,
            hosted_url=invoice.stripe_hosted_url,
            step=invoice.stripe_step,
            problem=problem_of(invoice),
        ),
        credit_notes=tuple(notes),
        document_sha256=pdf,
        version=invoice.version,
    )


def problem_of(invoice: Invoice) -> Message | None:
    """What somebody has to look at, as a sentence for the reader."""
    if invoice.stripe_problem is None:
        return None
    return sentence(invoice.stripe_problem_code, invoice.stripe_problem_facts, invoice.stripe_problem)


def _line_shown(row: InvoiceLine, line: Line) -> LineShown:
    return LineShown(
        id=row.id,
        milestone_id=row.milestone_id,
        title=row.title,
        description=row.description,
        quantity=quantity_text(line),
        unit_price=line.unit_price,
        net=line.net,
        tax=line.tax,
        treatment=line.treatment,
    )


def quantity_text(line: Line) -> str:
    """`1`, `-1`, `2.5`: without trailing zeros."""
    text = f"{line.quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


async def _credit_notes(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, list[CreditNoteRow]]:
    found = await queries.credit_notes_of(session, organization_id, ids)
    return {invoice_id: [_row(note) for note in notes] for invoice_id, notes in found.items()}


def _row(note: CreditNote) -> CreditNoteRow:
    payable = Money(note.payable_minor, note.currency)
    return CreditNoteRow(id=note.id, number=note.number, kind=note.kind, issued_on=note.issued_on, payable=payable)


async def _pdfs(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str | None]:
    rows = await session.execute(
        select(Document.subject_id, Document.pdf_sha256_hex).where(
            Document.organization_id == organization_id, Document.kind == "invoice", Document.subject_id.in_(ids)
        )
    )
    return {row.subject_id: row.pdf_sha256_hex for row in rows}


async def _names(session: AsyncSession, organization_id: UUID, contract_ids: set[UUID]) -> dict[UUID, tuple[str, str]]:
    rows = await session.execute(
        select(Contract.id, Contract.title, Client.legal_name)
        .join(Client, (Client.organization_id == Contract.organization_id) & (Client.id == Contract.client_id))
        .where(Contract.organization_id == organization_id, Contract.id.in_(contract_ids))
    )
    return {row.id: (row.title, row.legal_name) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteShown:
    """A credit note with its lines; amounts are positive."""

    note: CreditNote
    invoice_number: str
    lines: tuple[CreditNoteLine, ...]
    taxes: tuple[TaxGroup, ...]
    document_sha256: str | None


async def show_credit_note(session: AsyncSession, organization_id: UUID, credit_note_id: UUID) -> CreditNoteShown:
    """One credit note. Raises `NotFound`."""
    note = await session.get(CreditNote, (organization_id, credit_note_id))
    if note is None:
        raise NotFound
    invoice = await session.get_one(Invoice, (organization_id, note.invoice_id))
    lines = await session.execute(
        select(CreditNoteLine)
        .where(CreditNoteLine.organization_id == organization_id, CreditNoteLine.credit_note_id == credit_note_id)
        .order_by(CreditNoteLine.position)
    )
    taxes = await session.execute(
        select(CreditNoteTax)
        .where(CreditNoteTax.organization_id == organization_id, CreditNoteTax.credit_note_id == credit_note_id)
        .order_by(CreditNoteTax.category, CreditNoteTax.rate_percent.desc())
    )
    pdf = await session.execute(
        select(Document.pdf_sha256_hex).where(
            Document.organization_id == organization_id, Document.kind == "credit_note", Document.subject_id == credit_note_id
        )
    )
    return CreditNoteShown(
        note=note,
        invoice_number=str(invoice.number),
        lines=tuple(lines.scalars()),
        taxes=tuple(
            TaxGroup(
                treatment=TaxTreatment(TaxCategory(row.category), row.rate_percent),
                base=Money(row.base_minor, note.currency),
                tax=Money(row.tax_minor, note.currency),
            )
            for row in taxes.scalars()
        ),
        document_sha256=pdf.scalar_one_or_none(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyToInvoice:
    """An approved milestone that no issued invoice bills, and what it waits for.

    `why`: `review` (its draft waits for finance), `held` (its last invoice was taken back), `blocked` (data is missing, see
    `blocked_because`) or `waiting` (the job will bill it in a moment).
    """

    milestone_id: UUID
    title: str
    amount: Money
    contract_id: UUID
    contract_title: str
    client_id: UUID
    client_name: str
    why: str
    blocked_because: str | None
    blocked_at: str | None
    """Pointer of the field that is wrong: `/seller/tax_id`."""
    draft_id: UUID | None
    since: datetime | None


async def ready_to_invoice(session: AsyncSession, organization_id: UUID, *, contract_id: UUID | None = None) -> list[ReadyToInvoice]:
    """What finance has to bill, longest waiting first."""
    query = (
        select(Milestone, Contract, Client.legal_name, BillingBlock.reason, BillingBlock.pointer, InvoiceLine.invoice_id)
        .join(Contract, (Contract.organization_id == Milestone.organization_id) & (Contract.id == Milestone.contract_id))
        .join(Client, (Client.organization_id == Contract.organization_id) & (Client.id == Contract.client_id))
        .outerjoin(BillingBlock, (BillingBlock.organization_id == Milestone.organization_id) & (BillingBlock.milestone_id == Milestone.id))
        .outerjoin(
            InvoiceLine,
            (InvoiceLine.organization_id == Milestone.organization_id)
            & (InvoiceLine.milestone_id == Milestone.id)
            & (InvoiceLine.round_id == Milestone.round_id)
            & InvoiceLine.live,
        )
        .where(Milestone.organization_id == organization_id, Milestone.state == "approved")
        .order_by(Milestone.approved_at, Milestone.id)
    )
    if contract_id is not None:
        query = query.where(Milestone.contract_id == contract_id)
    rows = await session.execute(query)
    return [_ready(*row) for row in rows]


def _ready(
    milestone: Milestone, contract: Contract, client_name: str, blocked: str | None, blocked_at: str | None, draft_id: UUID | None
) -> ReadyToInvoice:
    review = draft_id is not None or contract.invoicing_on_approval != "issue"
    why = "blocked" if blocked else "held" if milestone.billing_held else "review" if review else "waiting"
    return ReadyToInvoice(
        milestone_id=milestone.id,
        title=milestone.title,
        amount=Money(milestone.amount_minor, milestone.currency),
        contract_id=contract.id,
        contract_title=contract.title,
        client_id=contract.client_id,
        client_name=client_name,
        why=why,
        blocked_because=blocked,
        blocked_at=blocked_at,
        draft_id=draft_id,
        since=milestone.approved_at,
    )
