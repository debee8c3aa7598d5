"""What was seen of an invoice at the gateway, recorded in one transaction: money, its way back, and the state there.

What is recorded is what was fetched, and what is known only goes forward: money is keyed by payment object, refunds and disputes by
theirs, states go by rank. How much of the invoice is settled follows from the sums alone. So every order of arrival ends the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.billing import queries as billing
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import lock_invoice, record_gateway
from tollgate.billing.stripe_problems import StripeProblem
from tollgate.jobs import enqueue
from tollgate.money.amount import Money
from tollgate.parties.models import Organization
from tollgate.payments import problems, queries, queries_returns
from tollgate.payments.gateway import SeenInvoice, SeenPayment
from tollgate.payments.news import HandOver
from tollgate.payments.receiving import Received, receive, refill
from tollgate.payments.returning import record_attempts, record_returns, signal
from tollgate.payments.rules import (
    ExpectedInvoice,
    NotChargeable,
    ProviderInvoiceState,
    ProviderPaymentState,
    is_chargeable,
    later_invoice_state,
    money_of_provider,
    provider_minor,
)
from tollgate.payments.steps import StepName

_KNOWN_STATES = {"finalized": ProviderInvoiceState.OPEN, "sent": ProviderInvoiceState.OPEN, "voided": ProviderInvoiceState.VOID}


async def apply(session: AsyncSession, organization_id: UUID, invoice_id: UUID, seen: SeenInvoice, payments: Sequence[SeenPayment]) -> str:
    """Record money that is new and states that are further, in one transaction. Answers what came of it, in a few words."""
    _contract, _milestones, invoice = await lock_invoice(session, organization_id, invoice_id)
    ours = ExpectedInvoice(invoice_id=invoice_id, number=str(invoice.number), payable=Money(invoice.payable_minor, invoice.currency))
    foreign = problems.foreign(ours, seen) if seen.state is not ProviderInvoiceState.DRAFT else None
    if foreign is not None:
        await record_gateway(session, invoice_id, step="stopped", problem=foreign)
        return "stopped: not the invoice that was handed over"
    zone = (await session.get_one(Organization, organization_id)).time_zone
    came = [payment for payment in payments if payment.state is ProviderPaymentState.SUCCEEDED and payment.amount > 0]
    known = await queries.known_payments(session, organization_id, [payment.payment_id for payment in came])
    fresh = [payment for payment in came if payment.payment_id not in known]
    # Stable: those of one second stay in the order in which they were begun.
    for payment in sorted(fresh, key=lambda one: one.paid_at or clock.now()):
        await _receive(session, organization_id, invoice, payment, zone)
    await record_attempts(session, invoice, payments)
    steps = await record_returns(session, invoice, payments, zone)
    await refill(session, invoice, clock.today(zone))
    await signal(session, invoice)
    await _follow_state(session, invoice, ours, seen, came)
    await _watch_rest(session, invoice, seen)
    if fresh:
        return f"{len(fresh)} new payments"
    return f"{steps} refunds or disputes went further" if steps else "nothing new"


async def _receive(session: AsyncSession, organization_id: UUID, invoice: Invoice, payment: SeenPayment, zone: str) -> None:
    try:
        amount = money_of_provider(payment.amount, payment.currency)
    except NotChargeable:
        facts = {"count": str(payment.amount), "currency": payment.currency.upper()}
        await record_gateway(session, invoice.id, problem=StripeProblem("no_whole_amount", facts))
        return
    if amount.currency != invoice.currency:
        facts = {"currency": amount.currency, "own": invoice.currency}
        await record_gateway(session, invoice.id, step="stopped", problem=StripeProblem("foreign_money", facts))
        return
    open_ = billing.open_of(invoice) if invoice.state in queries.OPEN_STATES else Money.zero(invoice.currency)
    settles = min(open_, amount)
    received = Received(
        client_id=invoice.client_id,
        method="stripe",
        amount=amount,
        received_on=clock.day_of(payment.paid_at or clock.now(), zone),
        reference=str(invoice.number),
        provider_payment_id=payment.payment_id,
        invoice_id=invoice.id,
    )
    await receive(session, organization_id, received, [(invoice, settles)] if settles.is_positive else [])


async def _follow_state(
    session: AsyncSession, invoice: Invoice, ours: ExpectedInvoice, seen: SeenInvoice, came: Sequence[SeenPayment]
) -> None:
    """The gateway's state, by rank. Void or paid without money, while ours is open, is somebody's doing at Stripe: shown, not followed."""
    state = later_invoice_state(_KNOWN_STATES.get(invoice.stripe_step), seen.state)
    if state is not seen.state:
        return
    wants_money = invoice.state in queries.OPEN_STATES
    if state is ProviderInvoiceState.VOID and wants_money and invoice.stripe_step not in {"voided", "below_minimum"}:
        await record_gateway(session, invoice.id, step="voided", problem=StripeProblem("voided_there"))
        return
    back, twice = await _went_back(session, invoice)
    if twice is not None:
        await record_gateway(session, invoice.id, step="voided" if wants_money else None, problem=twice)
        return
    if state is ProviderInvoiceState.PAID and wants_money and came and back.is_positive:
        # Closed there for good: what is open again comes another way, or not at all.
        await record_gateway(session, invoice.id, step="voided", problem=problems.went_back(back, billing.open_of(invoice)))
        return
    if invoice.stripe_problem_code in {"went_back", "more_back"}:
        # The money is here again, or came another way, or the invoice no longer stands.
        await record_gateway(session, invoice.id, step=await shown_step(session, invoice), problem="")
    # "voided" here: it was marked paid for a transfer that was taken back since, and the invoice says so already.
    closed_there = invoice.stripe_step in {"voided", "below_minimum"}
    unpaid = problems.unpaid(ours, seen) if wants_money and not came and not closed_there else None
    if unpaid is not None:
        await record_gateway(session, invoice.id, step="stopped", problem=unpaid)
    elif seen.hosted_url and invoice.stripe_step in queries.AT_GATEWAY:
        await record_gateway(session, invoice.id, hosted_url=seen.hosted_url)


async def _went_back(session: AsyncSession, invoice: Invoice) -> tuple[Money, StripeProblem | None]:
    """What of the payments made for it went back, and what is wrong where more did than came: refunded, and lost in a dispute as well."""
    back, twice = Money.zero(invoice.currency), None
    for payment in await queries_returns.made_for(session, invoice):
        amount, gone = Money(payment.amount_minor, payment.currency), Money(payment.refunded_minor, payment.currency)
        sent = await queries_returns.sent_back(session, payment)
        back = back + gone
        if sent > gone:
            twice = StripeProblem("more_back", {"back": str(sent), "amount": str(amount)})
    return back, twice


async def shown_step(session: AsyncSession, invoice: Invoice) -> str:
    """The step that an invoice shows by what was taken of the hand-over."""
    steps = await queries.steps_of(session, invoice.organization_id, invoice.id)
    done = {name for name, step in steps.items() if step.state == "done"}
    if StepName.WITHDRAW in done:
        return "voided"
    return "sent" if StepName.SEND in done else "finalized"


async def _watch_rest(session: AsyncSession, invoice: Invoice, seen: SeenInvoice) -> None:
    """What Stripe asks for is what is open of ours: otherwise it is told, or somebody has to know."""
    if seen.state is not ProviderInvoiceState.OPEN or invoice.stripe_step not in queries.AT_GATEWAY:
        return
    open_ = billing.open_of(invoice) if invoice.state in queries.OPEN_STATES else Money.zero(invoice.currency)
    made = await queries_returns.made_for(session, invoice)
    if money_of_provider(seen.facts.amount_paid, invoice.currency).minor < sum(payment.amount_minor for payment in made):
        # An answer of before a payment that is in the books already: what it asks for is not what is asked now.
        return
    try:
        asked, ours = seen.amount_remaining, provider_minor(open_)
    except NotChargeable:
        # A transfer left a rest that Stripe's units cannot say: the hand-over closes it there.
        asked, ours = seen.amount_remaining, 0
    if asked < ours:
        facts = {"theirs": str(money_of_provider(asked, invoice.currency)), "open": str(open_)}
        await record_gateway(session, invoice.id, problem=StripeProblem("asks_less", facts))
        return
    if invoice.stripe_problem_code == "asks_less":
        await record_gateway(session, invoice.id, problem="")
    if asked > ours or (asked and not is_chargeable(open_)):
        # Settled with a transfer's help, or what is left is too little for a card: it must not be asked for there.
        await enqueue(session, HandOver(organization_id=invoice.organization_id, invoice_id=invoice.id), dedupe=str(invoice.id))
