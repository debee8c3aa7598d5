"""The gateway's events: stored once, answered at once, and used as a signal to fetch what they speak of.

What an event says is never believed: it names an invoice, or a payment, refund or dispute that leads to one, and `applying.py`
records what that invoice and its payments are now.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.billing.models import Invoice
from tollgate.db.types import uuid7
from tollgate.jobs import enqueue
from tollgate.jobs.worker import Run
from tollgate.payments import queries, queries_returns
from tollgate.payments.accounts import Connected, Gateways
from tollgate.payments.applying import apply
from tollgate.payments.gateway import GatewayRefused, SeenEvent
from tollgate.payments.models import WebhookEvent
from tollgate.payments.news import HandleEvent

log = structlog.get_logger("tollgate.payments")

_OF_INVOICES = ("invoice.", "invoice_payment.")
_OF_PAYMENTS = ("charge.refund", "charge.dispute.", "refund.", "payment_intent.payment_failed", "payment_intent.processing")


async def store(session: AsyncSession, connected: Connected, event: SeenEvent, found_by: str) -> bool:
    """Keep an event once and ask for its handling; False when it was there. Events about other things are kept and left alone."""
    concerns = event.type.startswith(_OF_INVOICES + _OF_PAYMENTS) and bool(event.object_id)
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
        invoice_id = await _known_invoice(session, run.organization_id, event) if event is not None else None
    if event is None or event.handled_at is not None:
        return
    if invoice_id is None and event.type.startswith(_OF_PAYMENTS):
        invoice_id = await _invoice_of_payment(run, gateways, event.object_id)
    if invoice_id is None:
        # Not ours: somebody also uses the account by hand. A draft of ours is known before anybody can pay it.
        outcome = "not an invoice of Tollgate"
    else:
        outcome = await observe(run, gateways, invoice_id, event_id=event_id) or ""
        if run.finished:
            return
    async with run.record() as session:
        await _handled(session, event_id, outcome)


async def _known_invoice(session: AsyncSession, organization_id: UUID, event: WebhookEvent) -> UUID | None:
    """Our invoice behind the one that the event names, or behind a payment that is in the books."""
    if event.type.startswith(_OF_PAYMENTS):
        return await queries_returns.invoice_of_payment(session, organization_id, event.object_id)
    return await queries.invoice_of_provider(session, organization_id, event.object_id)


async def _invoice_of_payment(run: Run, gateways: Gateways, payment_id: str) -> UUID | None:
    """A refund can come before the news of its payment, and a payment that failed is in no books: the gateway knows whose it is."""
    connected = await gateways.of(run.organization_id)
    if connected is None:
        return None
    try:
        provider_invoice_id = await gateways.open(connected).invoice_of(payment_id)
    except GatewayRefused:
        return None
    if provider_invoice_id is None:
        return None
    async with run.db.reading(run.organization_id) as session:
        return await queries.invoice_of_provider(session, run.organization_id, provider_invoice_id)


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


async def _handled(session: AsyncSession, event_id: UUID, outcome: str) -> None:
    organization_id = session.info["organization_id"]
    await session.execute(
        update(WebhookEvent)
        .where(WebhookEvent.organization_id == organization_id, WebhookEvent.id == event_id)
        .values(handled_at=clock.now(), outcome=outcome[:200])
    )
