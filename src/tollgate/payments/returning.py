"""Refunds, disputes and failed attempts into the books: what the gateway says of an invoice's payments after they were made (R14).

All of it happens under the invoice's lock. Rows go forward by rank, and what is booked is the difference that a row's step makes to what
went back of its payment: news in another order, news twice and news that others overtook end in the same rows and the same balances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import Signals, record_gateway, record_signals, take_back
from tollgate.billing.stripe_problems import StripeProblem
from tollgate.db.types import uuid7
from tollgate.ledger import rules as entries
from tollgate.ledger import service as ledger
from tollgate.ledger.rules import Account, Posting
from tollgate.ledger.service import Side
from tollgate.money.amount import Money, total
from tollgate.payments import queries_returns
from tollgate.payments.gateway import SeenAttempt, SeenDispute, SeenPayment, SeenRefund
from tollgate.payments.models import Payment, PaymentAllocation, PaymentAttempt, PaymentDispute, PaymentRefund
from tollgate.payments.receiving import held_by
from tollgate.payments.returns import (
    ATTEMPT_RANK,
    DISPUTE_RANK,
    REFUND_RANK,
    AttemptState,
    DisputeState,
    RefundState,
    TakenFrom,
    gone,
    later,
    take_from,
)
from tollgate.payments.rules import NotChargeable, money_of_provider

_EVENTS: dict[object, tuple[str, str]] = {
    (PaymentRefund, True): ("payment_refunded", "payment.refunded"),
    (PaymentRefund, False): ("payment_refund_failed", "payment.refund_failed"),
    (PaymentDispute, True): ("payment_dispute_lost", "payment.dispute_lost"),
    (PaymentDispute, False): ("payment_dispute_won", "payment.dispute_won"),
}
"""The journal's and the audit trail's word for money that goes back (True) and for money that is here again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """A refund or dispute of a payment that is in the books, with the amount in our units."""

    payment: Payment
    seen: SeenRefund | SeenDispute
    amount: Money
    day: date


async def record_returns(session: AsyncSession, invoice: Invoice, payments: Sequence[SeenPayment], zone: str) -> int:
    """Record refunds and disputes of a locked invoice's payments, oldest first. Answers how many went a step further."""
    made = {payment.provider_payment_id: payment for payment in await queries_returns.made_for(session, invoice, lock=True)}
    found: list[tuple[SeenRefund | SeenDispute, Payment]] = []
    for one in payments:
        payment = made.get(one.payment_id)
        if payment is not None:
            found += [(refund, payment) for refund in one.refunds]
            found += [(dispute, payment) for dispute in one.disputes]
    steps = 0
    for seen, paid in sorted(found, key=lambda item: (item[0].at, item[0].id)):
        try:
            amount = money_of_provider(seen.amount, seen.currency)
        except NotChargeable:
            facts = {"count": str(seen.amount), "currency": seen.currency.upper()}
            await record_gateway(session, invoice.id, problem=StripeProblem("no_whole_amount", facts))
            continue
        if amount.currency != paid.currency:
            facts = {"currency": amount.currency, "own": paid.currency}
            await record_gateway(session, invoice.id, problem=StripeProblem("foreign_return", facts))
            continue
        if not amount.is_positive:
            continue
        news = _News(payment=paid, seen=seen, amount=amount, day=max(clock.day_of(seen.at, zone), paid.received_on))
        steps += await _step(session, invoice, news, clock.today(zone), zone)
    return steps


async def _step(session: AsyncSession, invoice: Invoice, news: _News, today: date, zone: str) -> int:
    row = await (_refund(session, news) if isinstance(news.seen, SeenRefund) else _dispute(session, news, today, zone))
    if row is None:
        return 0
    payment = news.payment
    refunds, disputes = await queries_returns.returns_of(session, payment)
    amount, before = Money(payment.amount_minor, payment.currency), Money(payment.refunded_minor, payment.currency)
    after = gone(
        amount,
        [(RefundState(one.state), Money(one.amount_minor, one.currency)) for one in refunds],
        [(DisputeState(one.state), Money(one.amount_minor, one.currency)) for one in disputes],
    )
    if after > before:
        taken = take_from(await held_by(session, payment, invoice), after - before)
        await _take(session, invoice, payment, taken)
        payment.refunded_minor = after.minor
        await session.flush()
        # The provider says when a refund was made, and not when a dispute ended.
        await _book(session, invoice, payment, row, news.day if isinstance(row, PaymentRefund) else today, taken)
    elif after < before:
        payment.refunded_minor = after.minor
        await session.flush()
        await _book_return(session, invoice, payment, row, today, before - after)
    return 1


async def _refund(session: AsyncSession, news: _News) -> PaymentRefund | None:
    """The refund's row, when it is new or went further."""
    assert isinstance(news.seen, SeenRefund)
    row = await queries_returns.refund_of(session, news.payment.organization_id, news.seen.id)
    if row is None:
        row = PaymentRefund(
            organization_id=news.payment.organization_id,
            id=uuid7(),
            payment_id=news.payment.id,
            provider_refund_id=news.seen.id,
            currency=news.amount.currency,
            amount_minor=news.amount.minor,
            state=news.seen.state.value,
            refunded_on=news.day,
            created_at=clock.now(),
        )
        session.add(row)
    else:
        state = later(REFUND_RANK, RefundState(row.state), news.seen.state)
        if state.value == row.state:
            return None
        row.state = state.value
    await session.flush()
    return row


async def _dispute(session: AsyncSession, news: _News, today: date, zone: str) -> PaymentDispute | None:
    """The dispute's row, when it is new or went further."""
    assert isinstance(news.seen, SeenDispute)
    seen = news.seen
    row = await queries_returns.dispute_of(session, news.payment.organization_id, seen.id)
    if row is None:
        row = PaymentDispute(
            organization_id=news.payment.organization_id,
            id=uuid7(),
            payment_id=news.payment.id,
            provider_dispute_id=seen.id,
            currency=news.amount.currency,
            amount_minor=news.amount.minor,
            reason=seen.reason[:60],
            state=seen.state.value,
            opened_on=news.day,
            respond_by=clock.day_of(seen.respond_by, zone) if seen.respond_by is not None else None,
            closed_on=None if seen.state is DisputeState.OPEN else today,
            created_at=clock.now(),
        )
        session.add(row)
    else:
        state = later(DISPUTE_RANK, DisputeState(row.state), seen.state)
        if state.value == row.state:
            return None
        row.state, row.closed_on = state.value, today
    await session.flush()
    return row


async def _take(session: AsyncSession, invoice: Invoice, payment: Payment, taken: TakenFrom) -> None:
    """Open the invoice again by what it gives."""
    if taken.invoice.is_zero:
        return
    given = await take_back(session, invoice, taken.invoice.minor)
    if given != taken.invoice.minor:
        raise RuntimeError(f"invoice {invoice.id} gave {given} of {taken.invoice.minor}")
    session.add(
        PaymentAllocation(
            organization_id=payment.organization_id,
            id=uuid7(),
            payment_id=payment.id,
            invoice_id=invoice.id,
            amount_minor=-given,
            created_at=clock.now(),
        )
    )
    await session.flush()


async def _book(
    session: AsyncSession, invoice: Invoice, payment: Payment, row: PaymentRefund | PaymentDispute, day: date, taken: TakenFrom
) -> None:
    """Bank falls; what it had settled is open again, what was client credit is gone."""
    rule = entries.refunded if isinstance(row, PaymentRefund) else entries.dispute_lost
    await _post(session, invoice, payment, row, day, rule(from_allocated=taken.invoice, from_client_credit=taken.client_credit), back=True)


async def _book_return(
    session: AsyncSession, invoice: Invoice, payment: Payment, row: PaymentRefund | PaymentDispute, day: date, amount: Money
) -> None:
    """Bank rises again; `refill` then settles the invoice with it where that is open."""
    await _post(session, invoice, payment, row, day, entries.returned(amount), back=False)


async def _post(
    session: AsyncSession,
    invoice: Invoice,
    payment: Payment,
    row: PaymentRefund | PaymentDispute,
    day: date,
    postings: Sequence[Posting],
    *,
    back: bool,
) -> None:
    event, name = _EVENTS[type(row), back]
    await ledger.post(
        session,
        organization_id=payment.organization_id,
        event=event,
        source=f"{event}:{row.id}",
        booked_on=day,
        subject=("payment", payment.id),
        client_id=payment.client_id,
        postings=[
            Side(one, invoice.id, invoice.contract_id) if one.account is Account.RECEIVABLE else Side(one, None, None) for one in postings
        ],
    )
    moved = total((one.amount for one in postings if one.account is Account.BANK), payment.currency)
    known_as = (
        {"provider_refund_id": row.provider_refund_id}
        if isinstance(row, PaymentRefund)
        else {"provider_dispute_id": row.provider_dispute_id}
    )
    audit.record(
        session,
        name,
        ("payment", payment.id),
        contract_id=invoice.contract_id,
        amount=max(moved, -moved).decimal_string(),
        currency=payment.currency,
        **known_as,
    )


async def record_attempts(session: AsyncSession, invoice: Invoice, payments: Sequence[SeenPayment]) -> None:
    """Keep what is on its way and what failed, each by its own id. Money that came is a payment and no attempt."""
    known = {row.provider_attempt_id: row for row in await queries_returns.attempts_of(session, invoice.organization_id, invoice.id)}
    made = {payment.provider_payment_id for payment in await queries_returns.made_for(session, invoice)}
    for payment in payments:
        for seen in payment.attempts:
            row = known.get(seen.id)
            # A payment that is in the books is not on its way, whatever an answer of before says.
            is_over = seen.state is AttemptState.ARRIVED or (seen.state is AttemptState.PROCESSING and payment.payment_id in made)
            if row is None and not is_over:
                _keep_attempt(session, invoice, seen)
            elif row is not None and later(ATTEMPT_RANK, AttemptState(row.state), seen.state).value != row.state:
                row.state, row.code = seen.state.value, seen.code[:60]
    await session.flush()


def _keep_attempt(session: AsyncSession, invoice: Invoice, seen: SeenAttempt) -> None:
    try:
        amount = money_of_provider(seen.amount, seen.currency)
    except NotChargeable:
        return
    if not amount.is_positive or amount.currency != invoice.currency:
        return
    session.add(
        PaymentAttempt(
            organization_id=invoice.organization_id,
            id=uuid7(),
            invoice_id=invoice.id,
            provider_attempt_id=seen.id,
            currency=amount.currency,
            amount_minor=amount.minor,
            state=seen.state.value,
            code=seen.code[:60],
            attempted_at=seen.at,
            created_at=clock.now(),
        )
    )


async def signal(session: AsyncSession, invoice: Invoice) -> None:
    """Show on the invoice what its attempts and disputes say together."""
    attempts = await queries_returns.attempts_of(session, invoice.organization_id, invoice.id)
    failed: list[tuple[datetime, str, str]] = sorted(
        (one.attempted_at, one.provider_attempt_id, one.code) for one in attempts if one.state == AttemptState.FAILED
    )
    open_ = await queries_returns.open_disputes_of(session, invoice)
    await record_signals(
        session,
        invoice.id,
        Signals(
            pending_minor=sum(one.amount_minor for one in attempts if one.state == AttemptState.PROCESSING),
            disputed_on=open_[0].opened_on if open_ else None,
            dispute_reason=open_[0].reason if open_ else None,
            declined_at=failed[-1][0] if failed else None,
            decline_code=failed[-1][2] if failed else None,
        ),
    )
