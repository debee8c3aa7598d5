"""Money into the books: one payment, its allocations, the invoices they settle and the journal entry, in the caller's transaction (R14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import apply_payment
from tollgate.db.database import command_of
from tollgate.db.types import uuid7
from tollgate.ledger import service as ledger
from tollgate.ledger.rules import Account, Posting
from tollgate.ledger.service import Side
from tollgate.money.amount import Money
from tollgate.payments.models import Payment, PaymentAllocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Money that came. `provider_payment_id` is the gateway's payment object; None for a bank transfer."""

    client_id: UUID
    method: str
    amount: Money
    received_on: date
    reference: str = ""
    provider_payment_id: str | None = None


async def receive(session: AsyncSession, organization_id: UUID, received: Received, settles: Sequence[tuple[Invoice, Money]]) -> UUID:
    """Record a payment and settle the locked invoices; what is left over is client credit. Answers the payment's id.

    The unique index on the gateway's payment object makes a second recording impossible, whoever tries.
    """
    command = command_of(session)
    payment = Payment(
        organization_id=organization_id,
        id=uuid7(),
        client_id=received.client_id,
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


async def _allocate(session: AsyncSession, payment: Payment, invoice: Invoice, amount: Money) -> None:
    session.add(
        PaymentAllocation(
            organization_id=payment.organization_id,
            id=uuid7(),
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
