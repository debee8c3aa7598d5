"""Work that the clock asks for, one organization at a time.

Every worker asks for the next occurrence of every periodic job; they are the same rows, because an occurrence that
still waits under its word serves for all. A worker that was away asks again when it is back: nothing is replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import text

from tollgate import clock
from tollgate.db import directory
from tollgate.db.database import Database
from tollgate.db.outages import is_outage
from tollgate.jobs.service import Job, enqueue
from tollgate.jobs.worker import Handler, Run

log = structlog.get_logger("tollgate.jobs")

KEPT_KEYS = timedelta(days=30)
KEPT_JOBS = timedelta(days=14)
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job kind that takes nothing but its organization, every so often."""

    kind: type[Job]
    every: timedelta


class Housekeeping(Job, frozen=True, kw_only=True):
    """Forget idempotency keys after 30 days and finished jobs after 14."""

    kind = "jobs.housekeeping"


async def _clean(run: Run, job: Housekeeping) -> None:
    async with run.record() as session:
        await session.execute(
            text("delete from idempotency_key where organization_id = :organization_id and created_at < :before"),
            {"organization_id": job.organization_id, "before": clock.now() - KEPT_KEYS},
        )
        await session.execute(text("select job_prune(:before)"), {"before": clock.now() - KEPT_JOBS})


def handlers() -> dict[type[Job], Handler]:
    """This room's own job."""
    return {Housekeeping: _clean}


PERIODIC: Sequence[Periodic] = (Periodic(Housekeeping, timedelta(hours=6)),)


async def ask_for_next(db: Database, wanted: Sequence[Periodic]) -> None:
    """Enqueue the next occurrence of each periodic job for every organization; those that wait already stay one."""
    now = clock.now()
    async with db.directory() as session:
        organizations = await directory.organizations(session)
    for organization_id in organizations:
        async with db.transaction(organization_id) as session:
            for periodic in wanted:
                turn = (now - EPOCH) // periodic.every + 1
                job = periodic.kind(organization_id=organization_id)
                await enqueue(session, job, run_at=EPOCH + turn * periodic.every, dedupe=f"turn {turn}")


async def run_forever(db: Database, wanted: Sequence[Periodic], stop: asyncio.Event, *, every_seconds: float = 30.0) -> None:
    """Keep the next occurrences waiting until `stop` is set."""
    while not stop.is_set():
        try:
            await ask_for_next(db, wanted)
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("database unavailable", error=type(error).__name__)
        try:
            await asyncio.wait_for(stop.wait(), every_seconds)
        except TimeoutError:
            continue
