"""Take a bank transfer back that was recorded wrongly: every step of its recording is undone by a later one, nothing is edited (R14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.billing import queries as billing
from tollgate.billing.models import Invoice
from tollgate.billing.service_credit import required_reason
from tollgate.billing.settlement import lock_invoice, record_gateway, take_back
from tollgate.contracts import service_moves as contracts
from tollgate.contracts.models import Contract
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Conflict, NotFound, TollgateError, _
from tollgate.jobs import enqueue
from tollgate.ledger import queries as journal
from tollgate.ledger import service as ledger
from tollgate.ledger.rules import Account, Posting, payment_reversed
from tollgate.ledger.service import Side
from tollgate.money.amount import Money, total
from tollgate.parties.models import Organization
from tollgate.payments import problems, queries
from tollgate.payments.models import GatewayStep, Payment, PaymentAllocation
from tollgate.payments.news import HandOver
from tollgate.payments.receiving import refill, spare_of
from tollgate.payments.steps import CLOSING, StepState, closed_by


class AlreadyReversed(Conflict):
    """A payment is taken back once; what arrives after all is recorded anew."""

    slug = "payment-already-reversed"
    title = _("This payment was taken back already")


class NotReversible(Conflict):
    """Money at a gateway goes back only there."""

    slug = "payment-not-reversible"
    title = _("Only bank transfers can be taken back here. What Stripe refunds, or loses in a dispute, is taken back by itself")


class CreditUsed(Conflict):
    """The client's credit has become smaller than what the payment left there."""

    slug = "client-credit-used"
    title = _("The client's credit does not hold this money any more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopening:
    """What taking a payment back does to one invoice."""

    invoice_id: UUID
    invoice_number: str
    contract_title: str
    amount: Money
    """By how much it is open again; zero where it no longer stands, for then its money is client credit."""
    refilled: Money
    """What of that is settled at once by other money that was paid on its own page."""
    open: Money
    """What is open of it afterwards."""
    closed_at_gateway: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What taking a payment back will do, or why it cannot be done."""

    reopenings: tuple[Reopening, ...]
    from_client_credit: Money
    refusal: TollgateError | None


async def reverse_payment(db: Database, command: Command, payment_id: UUID, reason: str) -> UUID:
    """Take a bank transfer back: its invoices are open again, the rest goes off the client's credit. Answers the payment's id.

    Raises `NotFound`, `Invalid` without a reason, `NotReversible` for a gateway's payment, `AlreadyReversed`, `CreditUsed`.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        payment, settled = await _lock(session, organization_id, payment_id)
        given = required_reason(reason)
        refusal = _refusal(payment)
        if refusal is not None:
            raise refusal
        taken = [(invoice, await _give_back(session, payment, invoice, minor)) for invoice, minor in settled]
        credit = total([_amount(payment), *(-amount for _invoice, amount in taken)], payment.currency)
        await _require_credit(session, payment, credit)
        seller = await session.get_one(Organization, organization_id)
        # The clock may have run back; nothing is taken back before it came.
        payment.reversed_on = max(clock.today(seller.time_zone), payment.received_on)
        payment.state, payment.reversal_reason = "reversed", given
        await session.flush()
        await _book(session, payment, payment.reversed_on, taken, credit)
        audit.record(session, "payment.reversed", ("payment", payment.id), amount=_amount(payment).decimal_string())
        for invoice, _taken in taken:
            await refill(session, invoice, payment.reversed_on)
            await _tell_gateway(session, invoice)
        return answer(session, payment.id, 200)


async def outlook(session: AsyncSession, organization_id: UUID, payment_id: UUID) -> Outlook:
    """What `reverse_payment` would do now. Raises `NotFound`."""
    payment = await session.get(Payment, (organization_id, payment_id))
    if payment is None:
        raise NotFound
    refusal: TollgateError | None = _refusal(payment)
    found = []
    for contract_id, invoice_id, minor in await queries.settled_by(session, organization_id, payment_id) if refusal is None else []:
        invoice = await session.get_one(Invoice, (organization_id, invoice_id))
        contract = await session.get_one(Contract, (organization_id, contract_id))
        stands = invoice.state in billing.LIVE_STATES
        back = Money(min(minor, invoice.paid_minor) if stands else 0, invoice.currency)
        steps = await queries.steps_of(session, organization_id, invoice_id)
        refilled = min(back, await spare_of(session, invoice)) if stands else back
        found.append(
            Reopening(
                invoice_id=invoice_id,
                invoice_number=str(invoice.number),
                contract_title=contract.title,
                amount=back,
                refilled=refilled,
                open=billing.open_of(invoice) + back - refilled if stands else back,
                closed_at_gateway=stands and refilled < back and _may_be_closed(steps),
            )
        )
    credit = total([_amount(payment), *(-one.amount for one in found)], payment.currency)
    if refusal is None:
        try:
            await _require_credit(session, payment, credit)
        except CreditUsed as used:
            refusal = used
    return Outlook(reopenings=tuple(found), from_client_credit=credit, refusal=refusal)


def _may_be_closed(steps: Mapping[str, GatewayStep]) -> bool:
    """Whether a step that closes it at the gateway was taken, or may have been."""
    return any(steps[name].state != StepState.REFUSED for name in CLOSING if name in steps)


async def _lock(session: AsyncSession, organization_id: UUID, payment_id: UUID) -> tuple[Payment, list[tuple[Invoice, int]]]:
    """The payment and what it settles, locked: all contracts first, in the order of their ids, then milestones, invoices, the payment."""
    found = await queries.settled_by(session, organization_id, payment_id)
    for contract_id in sorted({contract_id for contract_id, _invoice_id, _minor in found}):
        await contracts.lock_contract(session, organization_id, contract_id)
    settled = []
    for _contract_id, invoice_id, minor in found:
        _contract, _milestones, invoice = await lock_invoice(session, organization_id, invoice_id)
        settled.append((invoice, minor))
    payment = await queries.payment_for_update(session, organization_id, payment_id)
    if payment is None:
        raise NotFound
    return payment, settled


def _refusal(payment: Payment) -> Conflict | None:
    if payment.method != "bank_transfer":
        return NotReversible()
    return AlreadyReversed() if payment.state == "reversed" else None


def _amount(payment: Payment) -> Money:
    """What is to go back: all of it but what was refunded."""
    return Money(payment.amount_minor - payment.refunded_minor, payment.currency)


async def _give_back(session: AsyncSession, payment: Payment, invoice: Invoice, minor: int) -> Money:
    """Open the invoice again; answers by how much. A credited one takes nothing: what had settled it is client credit by now."""
    taken = await take_back(session, invoice, minor)
    if taken:
        session.add(
            PaymentAllocation(
                organization_id=payment.organization_id,
                id=uuid7(),
                payment_id=payment.id,
                invoice_id=invoice.id,
                amount_minor=-taken,
                created_at=clock.now(),
            )
        )
        await session.flush()
    return Money(taken, payment.currency)


async def _require_credit(session: AsyncSession, payment: Payment, credit: Money) -> None:
    held = await journal.client_credit(session, payment.organization_id, payment.client_id, payment.currency)
    if credit > held:
        raise CreditUsed(
            _("%(credit)s of this payment is client credit, and only %(held)s is left of the client's", credit=credit, held=held)
        )


async def _book(session: AsyncSession, payment: Payment, booked_on: date, taken: Sequence[tuple[Invoice, Money]], credit: Money) -> None:
    """One entry under the payment, so that its bank postings sum to nothing; each invoice's side names the invoice."""
    sides = [Side(Posting(Account.RECEIVABLE, amount), invoice.id, invoice.contract_id) for invoice, amount in taken if not amount.is_zero]
    allocated = total((amount for _invoice, amount in taken), payment.currency)
    rest = [one for one in payment_reversed(allocated=allocated, client_credit=credit) if one.account is not Account.RECEIVABLE]
    await ledger.post(
        session,
        organization_id=payment.organization_id,
        event="payment_reversed",
        source=f"payment_reversed:{payment.id}",
        booked_on=booked_on,
        subject=("payment", payment.id),
        client_id=payment.client_id,
        postings=[*(Side(one, None, None) for one in rest), *sides],
    )


async def _tell_gateway(session: AsyncSession, invoice: Invoice) -> None:
    """An invoice that is open again is handed over where it never was; what the gateway closed for good stays closed and says so."""
    if invoice.state not in queries.OPEN_STATES or invoice.stripe_step == "none" or invoice.stripe_problem_code == "went_back":
        return
    steps = await queries.steps_of(session, invoice.organization_id, invoice.id)
    closed = closed_by({step.name: StepState(step.state) for step in steps.values()})
    if closed is not None:
        await record_gateway(session, invoice.id, step="voided", problem=problems.closed(str(invoice.number), closed))
    else:
        await enqueue(session, HandOver(organization_id=invoice.organization_id, invoice_id=invoice.id), dedupe=str(invoice.id))
