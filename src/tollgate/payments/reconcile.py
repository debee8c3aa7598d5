"""What no webhook told: events that were lost, hand-overs that got stuck, and invoices nobody has looked at for a day."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.jobs import enqueue
from tollgate.jobs.worker import Run
from tollgate.payments import inbox, queries
from tollgate.payments.accounts import Connected, Gateways
from tollgate.payments.gateway import GatewayBusy, SeenEvent
from tollgate.payments.models import GatewayPoll
from tollgate.payments.news import HandOver, Observe

log = structlog.get_logger("tollgate.payments")

EVERY = timedelta(minutes=5)
OVERLAP = timedelta(minutes=10)
"""The gateway lists an event some time after its own instant."""
FIRST_LOOK_BACK = timedelta(days=1)
STUCK_AFTER = timedelta(minutes=5)
"""A job that an outage sent to sleep may sleep for an hour; a gateway that answers the poll is awake."""
SLOTS = 288
"""A day in steps of `EVERY`: each open invoice has its slot, so that all are looked at once a day and never all at once."""


async def reconcile(run: Run, gateways: Gateways) -> None:
    """One round for one organization."""
    connected = await gateways.of(run.organization_id)
    if connected is None:
        return
    started = clock.now()
    async with run.db.reading(run.organization_id) as session:
        poll = await session.get(GatewayPoll, (run.organization_id, connected.account_id))
    since = poll.last_event_at - OVERLAP if poll is not None else started - FIRST_LOOK_BACK
    try:
        events = await gateways.open(connected).events_since(since)
    except GatewayBusy as busy:
        # The next round is minutes away and looks back to where the last good one ended.
        log.warning("reconciliation skipped", reason=str(busy)[:200])
        return
    async with run.record() as session:
        for event in events:
            await inbox.store(session, connected, event, "poll")
        await _remember(session, connected, poll, events, started)
        for invoice_id in await queries.stuck(session, run.organization_id, started - STUCK_AFTER):
            await enqueue(session, HandOver(organization_id=run.organization_id, invoice_id=invoice_id), dedupe=str(invoice_id))
        due = slots_between(poll.polled_at if poll is not None else started, started)
        for invoice_id in await queries.at_gateway(session, run.organization_id):
            if slot_of(invoice_id) in due:
                await enqueue(session, Observe(organization_id=run.organization_id, invoice_id=invoice_id), dedupe=str(invoice_id))


async def _remember(
    session: AsyncSession, connected: Connected, poll: GatewayPoll | None, events: list[SeenEvent], started: datetime
) -> None:
    last = max((event.occurred_at for event in events), default=poll.last_event_at if poll is not None else started - OVERLAP)
    row = {
        "organization_id": connected.organization_id,
        "account_id": connected.account_id,
        "last_event_at": max(last, poll.last_event_at) if poll is not None else last,
        "polled_at": started,
    }
    kept = insert(GatewayPoll).values(row)
    changes = {name: row[name] for name in ("last_event_at", "polled_at")}
    await session.execute(kept.on_conflict_do_update(index_elements=["organization_id", "account_id"], set_=changes))


def slot_of(invoice_id: UUID) -> int:
    """The invoice's slot of the day."""
    return invoice_id.int % SLOTS


def slots_between(before: datetime, now: datetime) -> frozenset[int]:
    """The slots that began after `before` and up to `now`; all of them after a day without a look."""
    first, last = (int(instant.timestamp()) // int(EVERY.total_seconds()) for instant in (before, now))
    return frozenset(range(SLOTS)) if last - first >= SLOTS else frozenset(number % SLOTS for number in range(first + 1, last + 1))
