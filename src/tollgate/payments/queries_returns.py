"""Selects of money that came by an invoice's own page, of its way back, and of attempts that failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.billing.models import Invoice
from tollgate.money.amount import Money
from tollgate.parties.models import Client
from tollgate.payments.models import Payment, PaymentAllocation, PaymentAttempt, PaymentDispute, PaymentRefund


async def invoice_of_payment(session: AsyncSession, organization_id: UUID, provider_payment_id: str) -> UUID | None:
    """The invoice that one of the gateway's payments in our books was made for."""
    found = await session.execute(
        select(Payment.invoice_id).where(Payment.organization_id == organization_id, Payment.provider_payment_id == provider_payment_id)
    )
    return found.scalar_one_or_none()


async def made_for(session: AsyncSession, invoice: Invoice, *, lock: bool = False) -> list[Payment]:
    """Payments made on the page of an invoice, in the order in which they came; locked after their invoice."""
    query = (
        select(Payment)
        .where(Payment.organization_id == invoice.organization_id, Payment.invoice_id == invoice.id)
        .order_by(Payment.received_on, Payment.provider_payment_id)
        .execution_options(populate_existing=True)
    )
    return list(await session.scalars(query.with_for_update() if lock else query))


async def allocated_to(session: AsyncSession, payment: Payment, invoice_id: UUID) -> int:
    """How many minor units of a payment settle an invoice."""
    found = await session.scalar(
        select(func.coalesce(func.sum(PaymentAllocation.amount_minor), 0)).where(
            PaymentAllocation.organization_id == payment.organization_id,
            PaymentAllocation.payment_id == payment.id,
            PaymentAllocation.invoice_id == invoice_id,
        )
    )
    return int(found or 0)


async def settled_elsewhere(session: AsyncSession, invoice: Invoice) -> int:
    """How many minor units of an invoice were settled by money that the gateway knows nothing of."""
    found = await session.scalar(
        select(func.coalesce(func.sum(PaymentAllocation.amount_minor), 0))
        .join(Payment, (Payment.organization_id == PaymentAllocation.organization_id) & (Payment.id == PaymentAllocation.payment_id))
        .where(
            PaymentAllocation.organization_id == invoice.organization_id,
            PaymentAllocation.invoice_id == invoice.id,
            Payment.method != "stripe",
        )
    )
    return int(found or 0)


async def refund_of(session: AsyncSession, organization_id: UUID, provider_refund_id: str) -> PaymentRefund | None:
    """The row of one of the gateway's refunds."""
    found = await session.execute(
        select(PaymentRefund).where(
            PaymentRefund.organization_id == organization_id, PaymentRefund.provider_refund_id == provider_refund_id
        )
    )
    return found.scalar_one_or_none()


async def dispute_of(session: AsyncSession, organization_id: UUID, provider_dispute_id: str) -> PaymentDispute | None:
    """The row of one of the gateway's disputes."""
    found = await session.execute(
        select(PaymentDispute).where(
            PaymentDispute.organization_id == organization_id, PaymentDispute.provider_dispute_id == provider_dispute_id
        )
    )
    return found.scalar_one_or_none()


async def returns_of(session: AsyncSession, payment: Payment) -> tuple[list[PaymentRefund], list[PaymentDispute]]:
    """Every refund and dispute of a payment."""
    mine = (payment.organization_id, payment.id)
    refunds = await session.scalars(
        select(PaymentRefund).where(PaymentRefund.organization_id == mine[0], PaymentRefund.payment_id == mine[1])
    )
    disputes = await session.scalars(
        select(PaymentDispute).where(PaymentDispute.organization_id == mine[0], PaymentDispute.payment_id == mine[1])
    )
    return list(refunds), list(disputes)


async def sent_back(session: AsyncSession, payment: Payment) -> Money:
    """What succeeded refunds and lost disputes of a payment come to, even where that is more than was paid."""
    refunds, disputes = await returns_of(session, payment)
    back = sum(one.amount_minor for one in refunds if one.state == "succeeded") + sum(
        one.amount_minor for one in disputes if one.state == "lost"
    )
    return Money(back, payment.currency)


async def open_disputes_of(session: AsyncSession, invoice: Invoice) -> list[PaymentDispute]:
    """Disputes of an invoice's payments that nobody has decided, oldest first."""
    rows = await session.scalars(
        select(PaymentDispute)
        .join(Payment, (Payment.organization_id == PaymentDispute.organization_id) & (Payment.id == PaymentDispute.payment_id))
        .where(
            PaymentDispute.organization_id == invoice.organization_id,
            PaymentDispute.state == "open",
            Payment.invoice_id == invoice.id,
        )
        .order_by(PaymentDispute.opened_on, PaymentDispute.provider_dispute_id)
    )
    return list(rows)


async def attempts_of(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> list[PaymentAttempt]:
    """Tries to pay an invoice that brought no money at once, oldest first."""
    rows = await session.scalars(
        select(PaymentAttempt)
        .where(PaymentAttempt.organization_id == organization_id, PaymentAttempt.invoice_id == invoice_id)
        .order_by(PaymentAttempt.attempted_at, PaymentAttempt.provider_attempt_id)
    )
    return list(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundShown:
    """A refund of a payment."""

    provider_refund_id: str
    amount: Money
    state: str
    refunded_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeShown:
    """A dispute of a payment."""

    provider_dispute_id: str
    amount: Money
    reason: str
    state: str
    opened_on: date
    respond_by: date | None
    closed_on: date | None


async def shown_returns(
    session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]
) -> tuple[dict[UUID, list[RefundShown]], dict[UUID, list[DisputeShown]]]:
    """Refunds and disputes of some payments, by payment."""
    refunds: dict[UUID, list[RefundShown]] = defaultdict(list)
    disputes: dict[UUID, list[DisputeShown]] = defaultdict(list)
    for refund in await session.scalars(
        select(PaymentRefund)
        .where(PaymentRefund.organization_id == organization_id, PaymentRefund.payment_id.in_(ids))
        .order_by(PaymentRefund.refunded_on, PaymentRefund.id)
    ):
        refunds[refund.payment_id].append(
            RefundShown(
                provider_refund_id=refund.provider_refund_id,
                amount=Money(refund.amount_minor, refund.currency),
                state=refund.state,
                refunded_on=refund.refunded_on,
            )
        )
    for dispute in await session.scalars(
        select(PaymentDispute)
        .where(PaymentDispute.organization_id == organization_id, PaymentDispute.payment_id.in_(ids))
        .order_by(PaymentDispute.opened_on, PaymentDispute.id)
    ):
        disputes[dispute.payment_id].append(
            DisputeShown(
                provider_dispute_id=dispute.provider_dispute_id,
                amount=Money(dispute.amount_minor, dispute.currency),
                reason=dispute.reason,
                state=dispute.state,
                opened_on=dispute.opened_on,
                respond_by=dispute.respond_by,
                closed_on=dispute.closed_on,
            )
        )
    return refunds, disputes


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedShown:
    """A dispute that somebody has to answer at the provider."""

    invoice_id: UUID
    number: str
    client_name: str
    amount: Money
    reason: str
    opened_on: date
    respond_by: date | None
    created_at: datetime


async def disputed(session: AsyncSession, organization_id: UUID, limit: int = 50) -> list[DisputedShown]:
    """Disputes that nobody has decided, the one to be answered first at the top."""
    rows = await session.execute(
        select(PaymentDispute, Invoice, Client.legal_name)
        .join(Payment, (Payment.organization_id == PaymentDispute.organization_id) & (Payment.id == PaymentDispute.payment_id))
        .join(Invoice, (Invoice.organization_id == Payment.organization_id) & (Invoice.id == Payment.invoice_id))
        .join(Client, (Client.organization_id == Payment.organization_id) & (Client.id == Payment.client_id))
        .where(PaymentDispute.organization_id == organization_id, PaymentDispute.state == "open")
        .order_by(PaymentDispute.respond_by.nulls_last(), PaymentDispute.opened_on, PaymentDispute.id)
        .limit(limit)
    )
    return [
        DisputedShown(
            invoice_id=invoice.id,
            number=str(invoice.number),
            client_name=client_name,
            amount=Money(dispute.amount_minor, dispute.currency),
            reason=dispute.reason,
            opened_on=dispute.opened_on,
            respond_by=dispute.respond_by,
            created_at=dispute.created_at,
        )
        for dispute, invoice, client_name in rows
    ]
