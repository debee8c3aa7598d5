"""Selects of billing. `lock_…` take row locks in the fixed order: contract, milestones, invoice."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.audit.models import AuditEvent
from tollgate.billing.models import BillingBlock, CreditNote, Invoice, InvoiceLine, InvoiceLink, InvoiceTax
from tollgate.billing.rules import (
    DocumentTotals,
    InvoiceFacts,
    Line,
    TaxCategory,
    TaxGroup,
    TaxTreatment,
    open_amount,
)
from tollgate.contracts import service_moves as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.errors import NotFound
from tollgate.money.amount import Money
from tollgate.money.rates import percent_of
from tollgate.parties.models import Client, Contact, Organization
from tollgate.signoff.models import LinkOpen

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
    return (await lines_by_invoice(session, invoice.organization_id, [invoice.id]))[invoice.id]


async def groups_of(session: AsyncSession, invoice: Invoice) -> tuple[TaxGroup, ...]:
    """The tax groups, by category and rate."""
    return (await groups_by_invoice(session, invoice.organization_id, [invoice.id], {invoice.id: invoice.currency}))[invoice.id]


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


async def issuer_of(session: AsyncSession, invoice: Invoice) -> dict[str, str] | None:
    """Who issued the invoice, as the audit trail has it: `{"kind": "member", "id": …}`; None for a draft."""
    found = await session.scalar(
        select(AuditEvent.content).where(
            AuditEvent.organization_id == invoice.organization_id, AuditEvent.subject_id == invoice.id, AuditEvent.name == "invoice.issued"
        )
    )
    if found is None:
        return None
    actor: dict[str, str] = json.loads(found)["actor"]
    return actor


async def invoice_link(session: AsyncSession, organization_id: UUID, link_id: UUID) -> InvoiceLink:
    """A contact's way to an invoice's page, revoked and expired ones too. Raises `NotFound`."""
    found = await session.get(InvoiceLink, (organization_id, link_id))
    if found is None:
        raise NotFound
    return found


async def contract_of_invoice_link(session: AsyncSession, organization_id: UUID, link_id: UUID) -> UUID:
    """The contract that a link's invoice bills."""
    found = await session.scalars(
        select(Invoice.contract_id)
        .join(InvoiceLink, (InvoiceLink.organization_id == Invoice.organization_id) & (InvoiceLink.invoice_id == Invoice.id))
        .where(InvoiceLink.organization_id == organization_id, InvoiceLink.id == link_id)
    )
    return found.one()


async def first_opens(session: AsyncSession, organization_id: UUID, invoice_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When a client first opened each invoice's page, by any of its links; what nobody opened is left out."""
    rows = await session.execute(
        select(InvoiceLink.invoice_id, func.min(LinkOpen.opened_at).label("first_at"))
        .join(LinkOpen, (LinkOpen.organization_id == InvoiceLink.organization_id) & (LinkOpen.invoice_link_id == InvoiceLink.id))
        .where(InvoiceLink.organization_id == organization_id, InvoiceLink.invoice_id.in_(invoice_ids))
        .group_by(InvoiceLink.invoice_id)
    )
    return {row.invoice_id: row.first_at for row in rows}


async def blocked_milestones(session: AsyncSession, organization_id: UUID) -> list[BillingBlock]:
    """Approved milestones whose invoice waits for missing data, oldest first."""
    rows = await session.execute(
        select(BillingBlock)
        .where(BillingBlock.organization_id == organization_id)
        .order_by(BillingBlock.created_at, BillingBlock.milestone_id)
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


async def lines_by_invoice(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, list[InvoiceLine]]:
    rows = await session.execute(
        select(InvoiceLine)
        .where(InvoiceLine.organization_id == organization_id, InvoiceLine.invoice_id.in_(ids))
        .order_by(InvoiceLine.invoice_id, InvoiceLine.position)
    )
    found: dict[UUID, list[InvoiceLine]] = defaultdict(list)
    for row in rows.scalars():
        found[row.invoice_id].append(row)
    return found


async def groups_by_invoice(
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


async def credit_notes_of(session: AsyncSession, organization_id: UUID, invoice_ids: Sequence[UUID]) -> dict[UUID, list[CreditNote]]:
    """The credit notes of some invoices, oldest first."""
    rows = await session.execute(
        select(CreditNote)
        .where(CreditNote.organization_id == organization_id, CreditNote.invoice_id.in_(invoice_ids))
        .order_by(CreditNote.created_at, CreditNote.id)
    )
    found: dict[UUID, list[CreditNote]] = defaultdict(list)
    for row in rows.scalars():
        found[row.invoice_id].append(row)
    return found
