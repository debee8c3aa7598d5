"""Money into the books: one payment, its allocations, the invoices they settle and the journal entry, in the caller's transaction (R14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.billing import queries as billing
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import apply_payment
from tollgate.db.database import command_of
from tollgate.db.types import uuid7
from tollgate.ledger import service as ledger
from tollgate.ledger.rules import Account, Posting, credit_applied
from tollgate.ledger.service import Side
from tollgate.money.amount import Money, total
from tollgate.payments import queries, queries_returns, returns
from tollgate.payments.models import Payment, PaymentAllocation
from tollgate.payments.returns import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Money that came. `provider_payment_id` is the gateway's payment object; None for a bank transfer."""

    client_id: UUID
    method: str
    amount: Money
    received_on: date
    reference: str = ""
    provider_payment_id: str | None = None
    invoice_id: UUID | None = None
    """The invoice on whose page it was paid."""


async def receive(session: AsyncSession, organization_id: UUID, received: Received, settles: Sequence[tuple[Invoice, Money]]) -> UUID:
    """Record a payment and settle the locked invoices; what is left over is client credit. Answers the payment's id.

    The unique index on the gateway's payment object makes a second recording impossible, whoever tries.
    """
    command = command_of(session)
    payment = Payment(
        organization_id=organization_id,
        id=uuid7(),
        client_id=received.client_id,
        invoice_id=received.invoice_id,
        method=received.method,
        provider_payment_id=received.provider_payment_id,
        currency=received.amount.currency,
        amount_minor=received.amount.minor,
        refunded_minor=0,
        received_on=received.received_on,
        reference=received.reference,
        state="received",
        created_by=command.actor_id if command is not None else None,
        created_at=clock.now(),
    )
    session.add(payment)
    await session.flush()
    audit.record(
        session,
        "payment.received",
        ("payment", payment.id),
        method=received.method,
        amount=received.amount.decimal_string(),
        currency=received.amount.currency,
        provider_payment_id=received.provider_payment_id or "",
    )
    sides = [Side(Posting(Account.BANK, received.amount), None, None)]
    credit = received.amount
    for invoice, amount in settles:
        credit = credit - amount
        sides.append(Side(Posting(Account.RECEIVABLE, -amount), invoice.id, invoice.contract_id))
        await _allocate(session, payment, invoice, amount)
    if not credit.is_zero:
        sides.append(Side(Posting(Account.CLIENT_CREDIT, -credit), None, None))
    await ledger.post(
        session,
        organization_id=organization_id,
        event="payment_received",
        source=f"payment_received:{payment.id}",
        booked_on=received.received_on,
        subject=("payment", payment.id),
        client_id=received.client_id,
        postings=sides,
    )
    return payment.id


async def held_by(session: AsyncSession, payment: Payment, invoice: Invoice) -> Held:
    """A gateway's payment as it stands on the locked invoice that it was made for."""
    allocated = await queries_returns.allocated_to(session, payment, invoice.id)
    return Held(
        amount=Money(payment.amount_minor, payment.currency),
        gone=Money(payment.refunded_minor, payment.currency),
        allocated=Money(allocated, payment.currency),
        stands=invoice.state in billing.LIVE_STATES,
    )


async def refill(session: AsyncSession, invoice: Invoice, booked_on: date) -> Money:
    """Settle a locked invoice that is open again with what more was paid on its own page; answers with how much.

    Such money is client credit only because the invoice needed no more when it came.
    """
    if invoice.state not in queries.OPEN_STATES:
        return Money.zero(invoice.currency)
    made = {payment.id: payment for payment in await queries_returns.made_for(session, invoice, lock=True)}
    spare = [(payment.id, (await held_by(session, payment, invoice)).own_credit) for payment in made.values()]
    filled = Money.zero(invoice.currency)
    for payment_id, amount in returns.refill(billing.open_of(invoice), spare):
        payment = made[payment_id]
        filled = filled + amount
        allocation_id = await _allocate(session, payment, invoice, amount)
        credit, receivable = credit_applied(amount)
        await ledger.post(
            session,
            organization_id=payment.organization_id,
            event="credit_applied",
            source=f"credit_applied:{allocation_id}",
            booked_on=max(booked_on, payment.received_on),
            subject=("payment", payment.id),
            client_id=payment.client_id,
            postings=[Side(credit, None, None), Side(receivable, invoice.id, invoice.contract_id)],
        )
    return filled


async def spare_of(session: AsyncSession, invoice: Invoice) -> Money:
    """What `refill` could settle an invoice with."""
    made = await queries_returns.made_for(session, invoice)
    return total([(await held_by(session, payment, invoice)).own_credit for payment in made], invoice.currency)


async def _allocate(session: AsyncSession, payment: Payment, invoice: Invoice, amount: Money) -> UUID:
    allocation_id = uuid7()
    session.add(
        PaymentAllocation(
            organization_id=payment.organization_id,
            id=allocation_id,
            payment_id=payment.id,
            invoice_id=invoice.id,
            amount_minor=amount.minor,
            created_at=clock.now(),
        )
    )
    await session.flush()
    audit.record(
        session,
        "payment.allocated",
        ("payment", payment.id),
        contract_id=invoice.contract_id,
        invoice_id=str(invoice.id),
        amount=amount.decimal_string(),
    )
    await apply_payment(session, invoice, amount.minor)
    return allocation_id
