"""Sums over a list of invoices, for its page. Currencies are never added up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.billing.models import Invoice
from tollgate.billing.service_views import InvoiceFilter
from tollgate.contracts.models import Contract
from tollgate.money.amount import Money

OPEN_STATES = ("issued", "partly_paid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the issued invoices of a list come to, in one currency."""

    currency: str
    count: int
    payable: Money
    paid: Money
    open: Money


async def sums(session: AsyncSession, organization_id: UUID, asked: InvoiceFilter, today: date) -> list[Sums]:
    """The sums of everything that `asked` finds on all its pages, per currency. Drafts and void invoices ask for nothing."""
    open_ = Invoice.payable_minor - Invoice.paid_minor - Invoice.credited_minor - Invoice.written_off_minor
    query = select(
        Invoice.currency,
        func.count().label("documents"),
        func.sum(Invoice.payable_minor).label("payable"),
        func.sum(Invoice.paid_minor).label("paid"),
        func.sum(open_).label("open"),
    ).where(Invoice.organization_id == organization_id, Invoice.state.not_in(("draft", "void")))
    if asked.state is not None:
        query = query.where(Invoice.state == asked.state)
    if asked.open:
        query = query.where(Invoice.state.in_(OPEN_STATES))
    if asked.overdue:
        query = query.where(Invoice.state.in_(OPEN_STATES), Invoice.due_on < today)
    if asked.client_id is not None:
        query = query.where(Invoice.client_id == asked.client_id)
    if asked.contract_id is not None:
        query = query.where(Invoice.contract_id == asked.contract_id)
    rows = await session.execute(query.group_by(Invoice.currency).order_by(Invoice.currency))
    return [
        Sums(
            currency=row.currency,
            count=row.documents,
            payable=Money(int(row.payable), row.currency),
            paid=Money(int(row.paid), row.currency),
            open=Money(int(row.open), row.currency),
        )
        for row in rows
    ]


async def contract_titles(session: AsyncSession, organization_id: UUID) -> list[tuple[str, str]]:
    """Contracts that have an invoice, for a filter."""
    billed = select(Invoice.contract_id).where(Invoice.organization_id == organization_id)
    rows = await session.execute(
        select(Contract.id, Contract.title)
        .where(Contract.organization_id == organization_id, Contract.id.in_(billed))
        .order_by(Contract.title)
        .limit(500)
    )
    return [(str(row.id), row.title) for row in rows]
