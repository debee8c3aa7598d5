"""Selects of billing. `lock_…` take row locks in the fixed order: contract, milestones, invoice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.billing.models import BillingBlock, CreditNote, CreditNoteLine, CreditNoteTax, Invoice, InvoiceLine, InvoiceTax
from tollgate.billing.rules import (
    DocumentTotals,
    InvoiceFacts,
    InvoiceState,
    Line,
    TaxCategory,
    TaxGroup,
    TaxTreatment,
    is_overdue,
    open_amount,
)
from tollgate.contracts import service_moves as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.documents.models import Document
from tollgate.errors import NotFound
from tollgate.money.amount import Money
from tollgate.money.rates import percent_of
from tollgate.parties.models import Client, Contact, Organization

LIVE_STATES = ("issued", "partly_paid", "paid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """An invoice with all that stands above it, locked in order."""

    contract: Contract
    milestones: list[Milestone]
    invoice: Invoice


async def organization(session: AsyncSession, organization_id: UUID) -> Organization:
    """The seller. Raises `NotFound`."""
    found = await session.get(Organization, organization_id)
    if found is None:
        raise NotFound
    return found


async def client(session: AsyncSession, organization_id: UUID, client_id: UUID) -> Client:
    """The buyer. Raises `NotFound`."""
    found = await session.get(Client, (organization_id, client_id))
    if found is None:
        raise NotFound
    return found


async def lock_invoice(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> Locked:
    """Contract, milestones and invoice, locked in this order. Raises `NotFound`."""
    where = (Invoice.organization_id == organization_id, Invoice.id == invoice_id)
    contract_id = (await session.execute(select(Invoice.contract_id).where(*where))).scalar_one_or_none()
    if contract_id is None:
        raise NotFound
    contract = await contracts.lock_contract(session, organization_id, contract_id)
    milestones = await session.execute(
        select(Milestone)
        .where(
            Milestone.organization_id == organization_id,
            Milestone.id.in_(
                select(InvoiceLine.milestone_id).where(InvoiceLine.organization_id == organization_id, InvoiceLine.invoice_id == invoice_id)
            ),
        )
        .order_by(Milestone.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = list(milestones.scalars())
    locked = select(Invoice).where(*where).with_for_update().execution_options(populate_existing=True)
    invoice = (await session.execute(locked)).scalar_one_or_none()
    if invoice is None:
        # A draft was deleted while this verb waited for its contract.
        raise NotFound
    return Locked(contract=contract, milestones=found, invoice=invoice)


async def lines_of(session: AsyncSession, invoice: Invoice) -> list[InvoiceLine]:
    """The lines as printed."""
    return (await _lines(session, invoice.organization_id, [invoice.id]))[invoice.id]


async def groups_of(session: AsyncSession, invoice: Invoice) -> tuple[TaxGroup, ...]:
    """The tax groups, by category and rate."""
    return (await _taxes(session, invoice.organization_id, [invoice.id], {invoice.id: invoice.currency}))[invoice.id]


async def live_invoice(session: AsyncSession, milestone: Milestone) -> Invoice | None:
    """The draft or invoice that bills the milestone's newest round; at most one (unique index)."""
    found = await session.execute(
        select(Invoice)
        .join(InvoiceLine, (InvoiceLine.organization_id == Invoice.organization_id) & (InvoiceLine.invoice_id == Invoice.id))
        .where(
            Invoice.organization_id == milestone.organization_id,
            InvoiceLine.milestone_id == milestone.id,
            InvoiceLine.round_id == milestone.round_id,
            InvoiceLine.live,
        )
        .execution_options(populate_existing=True)
    )
    return found.scalars().first()


async def blocked_milestones(session: AsyncSession, organization_id: UUID) -> list[BillingBlock]:
    """Approved milestones whose invoice waits for missing data, oldest first."""
    rows = await session.execute(
        select(BillingBlock).where(BillingBlock.organization_id == organization_id).order_by(BillingBlock.created_at, BillingBlock.milestone_id)
    )
    return list(rows.scalars())


async def billing_contacts(session: AsyncSession, organization_id: UUID, contract: Contract) -> list[Contact]:
    """Who gets the client's documents: its billing contacts, else its approvers, oldest first."""
    rows = await session.execute(
        select(Contact)
        .where(Contact.organization_id == organization_id, Contact.client_id == contract.client_id, Contact.removed_at.is_(None))
        .order_by(Contact.created_at, Contact.id)
    )
    present = list(rows.scalars())
    return [item for item in present if item.is_billing_contact] or [item for item in present if item.is_approver][:1]


def totals_of(invoice: Invoice, lines: Sequence[InvoiceLine], groups: tuple[TaxGroup, ...]) -> DocumentTotals:
    """The stored sums as the rules know them. A line's tax is its share of its group's, for show (R2)."""

    def money(minor: int) -> Money:
        return Money(minor, invoice.currency)

    return DocumentTotals(
        lines=tuple(_with_tax(lines, invoice.currency)),
        groups=groups,
        net=money(invoice.net_minor),
        tax=money(invoice.tax_minor),
        gross=money(invoice.gross_minor),
        prepaid=money(invoice.prepaid_minor),
        rounding=money(invoice.rounding_minor),
        amount_due=money(invoice.amount_due_minor),
        retained=money(invoice.retained_minor),
        payable=money(invoice.payable_minor),
    )


def _with_tax(lines: Sequence[InvoiceLine], currency: str) -> list[Line]:
    running: dict[TaxTreatment, Money] = {}
    found = []
    for row in lines:
        treatment = TaxTreatment(TaxCategory(row.tax_category), row.tax_rate_percent)
        before = running.get(treatment, Money.zero(currency))
        net = Money(row.net_minor, currency)
        running[treatment] = before + net
        tax = percent_of(running[treatment], treatment.rate_percent) - percent_of(before, treatment.rate_percent)
        price = Money(row.unit_price_minor, currency)
        found.append(
            Line(key=str(row.id), description=row.title, quantity=row.quantity, unit_price=price, net=net, tax=tax, treatment=treatment)
        )
    return found


def facts_of(invoice: Invoice) -> InvoiceFacts:
    """What the invoice's state is derived from."""
    return InvoiceFacts(
        payable=Money(invoice.payable_minor, invoice.currency),
        paid=Money(invoice.paid_minor, invoice.currency),
        credited=Money(invoice.credited_minor, invoice.currency),
        written_off=Money(invoice.written_off_minor, invoice.currency),
        issued=invoice.state != "draft",
        void=invoice.state == "void",
        credited_in_full=invoice.state == "credited",
    )


def open_of(invoice: Invoice) -> Money:
    """payable − paid − credited − written off; nothing of a draft or a void invoice."""
    return open_amount(facts_of(invoice))


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
    problem: str | None


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
    overdue: bool
    days_overdue: int
    created_at: datetime
    issued_at: datetime | None
    sent_at: datetime | None
    seen_at: datetime | None
    voided_at: datetime | None
    void_reason: str | None
    stripe: StripeShown
    credit_notes: tuple[CreditNoteRow, ...]
    document_sha256: str | None
    """Of the PDF; None until it is rendered."""
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFilter:
    """Which invoices a list shows, newest first; `after` is the last row's (created_at, id)."""

    state: str | None = None
    client_id: UUID | None = None
    contract_id: UUID | None = None
    milestone_id: UUID | None = None
    overdue: bool | None = None
    after: tuple[datetime, UUID] | None = None
    limit: int = 50


async def list_invoices(session: AsyncSession, organization_id: UUID, asked: InvoiceFilter) -> list[InvoiceShown]:
    """Up to `limit` + 1 invoices, so that the caller sees whether there are more."""
    seller = await organization(session, organization_id)
    today = clock.today(seller.time_zone)
    query = select(Invoice).where(Invoice.organization_id == organization_id)
    if asked.state is not None:
        query = query.where(Invoice.state == asked.state)
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
    seller = await organization(session, organization_id)
    return (await _show(session, organization_id, [invoice], clock.today(seller.time_zone)))[0]


async def _show(session: AsyncSession, organization_id: UUID, invoices: list[Invoice], today: date) -> list[InvoiceShown]:
    if not invoices:
        return []
    ids = [invoice.id for invoice in invoices]
    lines = await _lines(session, organization_id, ids)
    taxes = await _taxes(session, organization_id, ids, {invoice.id: invoice.currency for invoice in invoices})
    notes = await _credit_notes(session, organization_id, ids)
    pdfs = await _pdfs(session, organization_id, ids)
    names = await _names(session, organization_id, {invoice.contract_id for invoice in invoices})
    return [
        _shown(invoice, lines[invoice.id], taxes[invoice.id], notes[invoice.id], pdfs.get(invoice.id), names[invoice.contract_id], today)
        for invoice in invoices
    ]


def _shown(
    invoice: Invoice,
    lines: list[InvoiceLine],
    taxes: tuple[TaxGroup, ...],
    notes: list[CreditNoteRow],
    pdf: str | None,
    names: tuple[str, str],
    today: date,
) -> InvoiceShown:
    totals = totals_of(invoice, lines, taxes)
    open_ = open_of(invoice)
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
        overdue=late,
        days_overdue=(today - invoice.due_on).days if late and invoice.due_on is not None else 0,
        created_at=invoice.created_at,
        issued_at=invoice.issued_at,
        sent_at=invoice.sent_at,
        seen_at=invoice.seen_at,
        voided_at=invoice.voided_at,
        void_reason=invoice.void_reason,
        stripe=StripeShown(
            invoice_id=invoice.stripe_invoice_id,
            hosted_url=invoice.stripe_hosted_url,
            step=invoice.stripe_step,
            problem=invoice.stripe_problem,
        ),
        credit_notes=tuple(notes),
        document_sha256=pdf,
        version=invoice.version,
    )


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


async def _lines(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, list[InvoiceLine]]:
    rows = await session.execute(
        select(InvoiceLine)
        .where(InvoiceLine.organization_id == organization_id, InvoiceLine.invoice_id.in_(ids))
        .order_by(InvoiceLine.invoice_id, InvoiceLine.position)
    )
    found: dict[UUID, list[InvoiceLine]] = defaultdict(list)
    for row in rows.scalars():
        found[row.invoice_id].append(row)
    return found


async def _taxes(
    session: AsyncSession, organization_id: UUID, ids: Sequence[UUID], currencies: dict[UUID, str]
) -> dict[UUID, tuple[TaxGroup, ...]]:
    rows = await session.execute(
        select(InvoiceTax)
        .where(InvoiceTax.organization_id == organization_id, InvoiceTax.invoice_id.in_(ids))
        .order_by(InvoiceTax.category, InvoiceTax.rate_percent.desc())
    )
    found: dict[UUID, tuple[TaxGroup, ...]] = defaultdict(tuple)
    for row in rows.scalars():
        currency = currencies[row.invoice_id]
        group = TaxGroup(
            treatment=TaxTreatment(TaxCategory(row.category), row.rate_percent),
            base=Money(row.base_minor, currency),
            tax=Money(row.tax_minor, currency),
        )
        found[row.invoice_id] = (*found[row.invoice_id], group)
    return found


async def _credit_notes(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, list[CreditNoteRow]]:
    rows = await session.execute(
        select(CreditNote)
        .where(CreditNote.organization_id == organization_id, CreditNote.invoice_id.in_(ids))
        .order_by(CreditNote.created_at, CreditNote.id)
    )
    found: dict[UUID, list[CreditNoteRow]] = defaultdict(list)
    for row in rows.scalars():
        payable = Money(row.payable_minor, row.currency)
        found[row.invoice_id].append(CreditNoteRow(id=row.id, number=row.number, kind=row.kind, issued_on=row.issued_on, payable=payable))
    return found


async def _pdfs(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str | None]:
    rows = await session.execute(
        select(Document.subject_id, Document.pdf_sha256_hex).where(
            Document.organization_id == organization_id, Document.kind == "invoice", Document.subject_id.in_(ids)
        )
    )
    return dict(rows.tuples().all())


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


async def credit_notes_of(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> list[CreditNoteRow]:
    """The credit notes of an invoice, oldest first."""
    return (await _credit_notes(session, organization_id, [invoice_id]))[invoice_id]
