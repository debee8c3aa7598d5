"""The worker: claims jobs under a lease with a fencing token, runs their handlers, retries with backoff.

A handler does *claim (tx) → call outside → record (tx)*. Its record goes through `Run.record()`, which finishes the job
in the same transaction and fails when the lease was lost, so that a frozen worker's late answer changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.db.outages import is_outage
from tollgate.errors import Unavailable
from tollgate.jobs.service import Job
from tollgate.logs import strike

log = structlog.get_logger("tollgate.jobs")

LEASE = timedelta(seconds=60)
BACKOFF_FIRST_SECONDS = 2
BACKOFF_MOST_SECONDS = 3600
CHANNEL = "tollgate_job"


class LeaseLost(Exception):
    """Another worker took the job over; whatever this one was about to record must not happen."""


class TryLater(Exception):
    """Raised by a handler: nothing is wrong with the job, the world is not ready. Counts as an attempt and backs off."""


@dataclass(slots=True)
class Run:
    """One attempt at one job, handed to its handler."""

    db: Database
    job_id: UUID
    organization_id: UUID
    fence: int
    attempt: int
    last_attempt: bool
    finished: bool = field(default=False)

    @asynccontextmanager
    async def step(self) -> AsyncIterator[AsyncSession]:
        """A transaction on the way, with the job still to be finished. Raises `LeaseLost`: a late step could undo a newer one."""
        async with self.db.transaction(self.organization_id, Command.system(self.organization_id)) as session:
            await _extend(session, self)
            yield session

    @asynccontextmanager
    async def record(self) -> AsyncIterator[AsyncSession]:
        """The transaction that records the job's outcome and finishes it. Raises `LeaseLost`."""
        async with self.db.transaction(self.organization_id, Command.system(self.organization_id)) as session:
            # First, so that two workers with the same job meet here and not in the room's rows.
            await _finish(session, self)
            yield session
        self.finished = True


Handler = Callable[[Run, Any], Awaitable[None]]


class Watcher(Protocol):
    """Who counts what a worker does."""

    def attempted(self, kind: str, outcome: str, seconds: float) -> None:
        """One attempt ended: done, outage, fault or lease_lost."""

    def looked(self) -> None:
        """A round was made."""


class Worker:
    """Runs jobs until stopped. Several may run, in any number of processes."""

    def __init__(
        self,
        db: Database,
        handlers: Mapping[type[Job], Handler],
        *,
        concurrency: int = 4,
        poll_seconds: float = 1.0,
        watcher: Watcher | None = None,
    ) -> None:
        self.db = db
        self.watcher = watcher
        self.kinds = {kind.kind: (kind, handler) for kind, handler in handlers.items()}
        self.concurrency = concurrency
        self.poll_seconds = poll_seconds
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self.last_round_at = clock.now()

    async def run_forever(self) -> None:
        """Claim and run until `stop()`; jobs under way are finished first."""
        listener = asyncio.create_task(self._listen())
        running: set[asyncio.Task[None]] = set()
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                try:
                    found = await self._fill(running)
                except Exception as error:  # Only an outage is waited for; anything else is raised.
                    if not is_outage(error):
                        raise
                    # The database went away: wait and try again, it is restarted more often than it is lost.
                    log.warning("database unavailable", error=type(error).__name__)
                    found = 0
                self.last_round_at = clock.now()
                if self.watcher is not None:
                    self.watcher.looked()
                if not found:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), self.poll_seconds)
        finally:
            if running:
                await asyncio.wait(running)
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener

    def stop(self) -> None:
        """Ask `run_forever` to end after the round under way."""
        self._stopping.set()
        self._wake.set()

    async def run_once(self) -> int:
        """Claim one batch and run it to its end. Answers how many jobs were run."""
        claimed = await self._claim(self.concurrency)
        await asyncio.gather(*(self._run(row) for row in claimed))
        return len(claimed)

    async def _fill(self, running: set[asyncio.Task[None]]) -> int:
        """Claim as many jobs as there are free slots. Answers how many were found."""
        free = self.concurrency - len(running)
        claimed = await self._claim(free) if free else []
        for row in claimed:
            task = asyncio.create_task(self._run(row))
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A slot is free. What even the failure's record could not be written for is found again when its lease runs out."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("job left to its lease", error=type(error).__name__)
        self._wake.set()

    async def run_until_idle(self, *, rounds: int = 1000) -> None:
        """Run until nothing is due: for tests, the sample data and one-shot commands."""
        for _ in range(rounds):
            if not await self.run_once():
                return
        raise RuntimeError("jobs kept coming")

    async def _claim(self, most: int) -> list[Any]:
        async with self.db.directory() as session:
            rows = await session.execute(
                text("select id, organization_id, kind, arguments, fence, attempts, max_attempts from job_claim(:limit, :now, :until)"),
                {"limit": most, "now": clock.now(), "until": clock.now() + LEASE},
            )
            return list(rows)

    async def _run(self, row: Any) -> None:
        run = Run(self.db, row.id, row.organization_id, row.fence, row.attempts, row.attempts >= row.max_attempts)
        with structlog.contextvars.bound_contextvars(job=str(row.id), kind=row.kind, organization=str(row.organization_id)):
            beating = asyncio.create_task(self._beat(run))
            began, outcome = clock.ticks(), "done"
            try:
                kind, handler = self.kinds[row.kind]
                job = msgspec.convert({**row.arguments, "organization_id": row.organization_id}, kind, strict=False)
                await handler(run, job)
                if not run.finished:
                    async with run.record():
                        pass
            except LeaseLost:
                outcome = "lease_lost"
                log.warning("lease lost")
            except Exception as error:  # Every failure of a handler, bugs too, must end in a retry or a visible dead job.
                outcome = "outage" if _passes(error) else "fault"
                await self._failed(run, error)
            finally:
                if self.watcher is not None:
                    self.watcher.attempted(row.kind, outcome, clock.ticks() - began)
                beating.cancel()
                await asyncio.wait([beating])

    async def _beat(self, run: Run) -> None:
        """Hold the lease while the handler waits for somebody slow. A frozen process does not beat, and loses it."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                async with self.db.directory() as session:
                    await _extend(session, run)
            except LeaseLost:
                return
            except Exception as error:  # Only an outage is waited for; anything else is raised.
                if not is_outage(error):
                    raise

    async def _failed(self, run: Run, error: Exception) -> None:
        delay = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 4 ** min(run.attempt - 1, 10))
        outage = _passes(error)
        run_at = clock.now() + timedelta(seconds=delay * random.uniform(0.8, 1.2))
        described = strike(f"{type(error).__name__}: {error}")[:500]
        log.warning("job failed", attempt=run.attempt, error=described, exc_info=not outage)
        failure = {"id": run.job_id, "fence": run.fence, "error": described, "run_at": run_at, "fault": not outage}
        # What failed because the database went away can be written down when it is back; else the job waits for its lease to end,
        # and the next worker takes this one for dead of it.
        for _patience in range(int(LEASE.total_seconds() / self.poll_seconds)):
            try:
                async with self.db.directory() as session:
                    await session.execute(text("select job_fail(:id, :fence, :error, :run_at, :fault)"), failure)
                return
            except Exception as lost:  # Only an outage is waited for; anything else is raised.
                if not is_outage(lost) or self._stopping.is_set():
                    raise
                await asyncio.sleep(self.poll_seconds)

    async def _listen(self) -> None:
        """Wake early on NOTIFY; polling finds what a lost notification leaves."""
        while True:
            try:
                async with self.db.engine.connect() as connection:
                    raw = await connection.get_raw_connection()
                    driver: Any = raw.driver_connection
                    closed = asyncio.Event()
                    driver.add_termination_listener(lambda *_, closed=closed: closed.set())
                    await driver.add_listener(CHANNEL, lambda *_: self._wake.set())
                    await closed.wait()
            except Exception as error:  # Only an outage is waited for; anything else is raised.
                # The driver speaks here itself, in errors of its own. Whatever it is: nobody else would listen again.
                if not is_outage(error):
                    log.warning("listening again", error=type(error).__name__, exc_info=True)
                await asyncio.sleep(self.poll_seconds)


def _passes(error: Exception) -> bool:
    """Whether the world failed, not the job."""
    return isinstance(error, TryLater | Unavailable) or is_outage(error)


async def _extend(session: AsyncSession, run: Run) -> None:
    until = clock.now() + LEASE
    held = await session.execute(text("select job_extend(:id, :fence, :until)"), {"id": run.job_id, "fence": run.fence, "until": until})
    if not held.scalar_one():
        raise LeaseLost(str(run.job_id))


async def _finish(session: AsyncSession, run: Run) -> None:
    done = await session.execute(text("select job_finish(:id, :fence, :now)"), {"id": run.job_id, "fence": run.fence, "now": clock.now()})
    if not done.scalar_one():
        raise LeaseLost(str(run.job_id))
