"""The gateway's events: stored once, answered at once, and used as a signal to fetch what they speak of.

What is applied is what was fetched. An answer that another handler overtook changes nothing: money is keyed by payment object, and
states only go forward by rank, so every order of arrival ends the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.billing import queries as billing
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import lock_invoice, record_gateway
from tollgate.db.types import uuid7
from tollgate.jobs import enqueue
from tollgate.jobs.worker import Run
from tollgate.money.amount import Money
from tollgate.parties.models import Organization
from tollgate.payments import queries
from tollgate.payments.accounts import Connected, Gateways
from tollgate.payments.gateway import GatewayRefused, SeenEvent, SeenInvoice, SeenPayment
from tollgate.payments.models import WebhookEvent
from tollgate.payments.news import HandleEvent, HandOver
from tollgate.payments.problems import foreign_text, unpaid_text
from tollgate.payments.receiving import Received, receive
from tollgate.payments.rules import (
    ExpectedInvoice,
    NotChargeable,
    ProviderInvoiceState,
    ProviderPaymentState,
    later_invoice_state,
    money_of_provider,
)

log = structlog.get_logger("tollgate.payments")

_CONCERNS_US = ("invoice.", "invoice_payment.")
_KNOWN_STATES = {"finalized": ProviderInvoiceState.OPEN, "sent": ProviderInvoiceState.OPEN, "voided": ProviderInvoiceState.VOID}


async def store(session: AsyncSession, connected: Connected, event: SeenEvent, found_by: str) -> bool:
    """Keep an event once and ask for its handling; False when it was there. Events about other things are kept and left alone."""
    concerns = event.type.startswith(_CONCERNS_US) and bool(event.object_id)
    row = {
        "organization_id": connected.organization_id,
        "id": uuid7(),
        "account_id": connected.account_id,
        "event_id": event.id[:120],
        "type": event.type[:80],
        "object_id": event.object_id[:120],
        "occurred_at": event.occurred_at,
        "received_at": clock.now(),
        "found_by": found_by,
        "handled_at": None if concerns else clock.now(),
        "outcome": None if concerns else "does not concern an invoice",
    }
    kept = await session.execute(insert(WebhookEvent).values(row).on_conflict_do_nothing().returning(WebhookEvent.id))
    event_id = kept.scalar_one_or_none()
    if event_id is None:
        return False
    if concerns:
        await enqueue(session, HandleEvent(organization_id=connected.organization_id, webhook_event_id=event_id))
    return True


async def handle_event(run: Run, gateways: Gateways, event_id: UUID) -> None:
    """Fetch the invoice that an event speaks of, and apply what is seen."""
    async with run.db.reading(run.organization_id) as session:
        event = await queries.event(session, run.organization_id, event_id)
        invoice_id = await queries.invoice_of_provider(session, run.organization_id, event.object_id) if event is not None else None
    if event is None or event.handled_at is not None:
        return
    if invoice_id is None:
        # Not ours: somebody also uses the account by hand. A draft of ours is known before anybody can pay it.
        outcome = "not an invoice of Tollgate"
    else:
        outcome = await observe(run, gateways, invoice_id, event_id=event_id) or ""
        if run.finished:
            return
    async with run.record() as session:
        await _handled(session, event_id, outcome)


async def observe(run: Run, gateways: Gateways, invoice_id: UUID, *, event_id: UUID | None = None) -> str | None:
    """Fetch an invoice and its payments, and record what is new together with the end of the job. Answers why nothing was fetched."""
    connected = await gateways.of(run.organization_id)
    async with run.db.reading(run.organization_id) as session:
        invoice = await session.get(Invoice, (run.organization_id, invoice_id))
    if connected is None or invoice is None or invoice.stripe_invoice_id is None:
        return "no gateway account is connected"
    gateway = gateways.open(connected)
    try:
        seen = await gateway.invoice(invoice.stripe_invoice_id)
        payments = await gateway.payments(invoice.stripe_invoice_id)
    except GatewayRefused as refusal:
        # A deleted draft, or an account that was changed over: nothing to apply.
        return str(refusal)[:200]
    async with run.record() as session:
        outcome = await apply(session, run.organization_id, invoice_id, seen, payments)
        if event_id is not None:
            await _handled(session, event_id, outcome)
    return None


async def apply(session: AsyncSession, organization_id: UUID, invoice_id: UUID, seen: SeenInvoice, payments: Sequence[SeenPayment]) -> str:
    """Record money that is new and states that are further, in one transaction. Answers what came of it, in a few words."""
    _contract, _milestones, invoice = await lock_invoice(session, organization_id, invoice_id)
    ours = ExpectedInvoice(invoice_id=invoice_id, number=str(invoice.number), payable=Money(invoice.payable_minor, invoice.currency))
    foreign = foreign_text(ours, seen) if seen.state is not ProviderInvoiceState.DRAFT else None
    if foreign is not None:
        await record_gateway(session, invoice_id, step="stopped", problem=foreign)
        return "stopped: not the invoice that was handed over"
    succeeded = [payment for payment in payments if payment.state is ProviderPaymentState.SUCCEEDED and payment.amount > 0]
    known = await queries.known_payments(session, organization_id, [payment.payment_id for payment in succeeded])
    fresh = [payment for payment in succeeded if payment.payment_id not in known]
    zone = (await session.get_one(Organization, organization_id)).time_zone
    for payment in sorted(fresh, key=lambda one: (one.paid_at or clock.now(), one.payment_id)):
        await _receive(session, organization_id, invoice, payment, zone)
    await _follow_state(session, invoice, ours, seen, paid_there=bool(succeeded))
    if fresh and invoice.state == "paid" and seen.amount_remaining > 0 and seen.state is ProviderInvoiceState.OPEN:
        # Settled with a transfer's help: the rest must not be asked for there.
        await enqueue(session, HandOver(organization_id=organization_id, invoice_id=invoice_id), dedupe=str(invoice_id))
    return f"{len(fresh)} new payments" if fresh else "nothing new"


async def _receive(session: AsyncSession, organization_id: UUID, invoice: Invoice, payment: SeenPayment, zone: str) -> None:
    try:
        amount = money_of_provider(payment.amount, payment.currency)
    except NotChargeable:
        await record_gateway(session, invoice.id, problem=f"A payment of {payment.amount} minor units at Stripe is no whole amount of ours")
        return
    if amount.currency != invoice.currency:
        problem = f"A payment came in {amount.currency}, the invoice is in {invoice.currency}"
        await record_gateway(session, invoice.id, step="stopped", problem=problem)
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
    )
    await receive(session, organization_id, received, [(invoice, settles)] if settles.is_positive else [])


async def _follow_state(session: AsyncSession, invoice: Invoice, ours: ExpectedInvoice, seen: SeenInvoice, *, paid_there: bool) -> None:
    """The gateway's state, by rank. Void or paid without money, while ours is open, is somebody's doing at Stripe: shown, not followed."""
    state = later_invoice_state(_KNOWN_STATES.get(invoice.stripe_step), seen.state)
    if state is not seen.state:
        return
    wants_money = invoice.state in queries.OPEN_STATES
    if state is ProviderInvoiceState.VOID and wants_money and invoice.stripe_step != "voided":
        problem = "Somebody made this invoice void at Stripe; it can be paid by transfer"
        await record_gateway(session, invoice.id, step="voided", problem=problem)
        return
    # "voided" here: it was marked paid for a transfer that was taken back since, and the invoice says so already.
    unpaid = unpaid_text(ours, seen) if wants_money and not paid_there and invoice.stripe_step != "voided" else None
    if unpaid is not None:
        await record_gateway(session, invoice.id, step="stopped", problem=unpaid)
    elif seen.hosted_url and invoice.stripe_step in queries.AT_GATEWAY:
        await record_gateway(session, invoice.id, hosted_url=seen.hosted_url)


async def _handled(session: AsyncSession, event_id: UUID, outcome: str) -> None:
    organization_id = session.info["organization_id"]
    await session.execute(
        update(WebhookEvent)
        .where(WebhookEvent.organization_id == organization_id, WebhookEvent.id == event_id)
        .values(handled_at=clock.now(), outcome=outcome[:200])
    )
