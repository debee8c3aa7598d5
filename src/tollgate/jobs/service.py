"""Ask for work in the caller's own transaction.

A room declares its news as a `Job` struct (ids only, R23) and enqueues it beside the change it speaks of; both are
committed or neither is. `app.py` maps each kind to the handler that does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.types import uuid7
from tollgate.jobs.models import JobRow


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work. Subclasses add ids; `kind` is stored and must never change its meaning.

    An outage (`Unavailable`, `TryLater`) may last: 40 attempts are about a day and a half. A bug or a worker that dies of
    the job counts as a fault, and after eight faults the job is dead, visible, and can be requeued.
    """

    kind: ClassVar[str] = ""
    max_attempts: ClassVar[int] = 40
    organization_id: UUID


async def enqueue(session: AsyncSession, job: Job, *, run_at: datetime | None = None, dedupe: str | None = None) -> None:
    """Insert a job. With `dedupe`, a job of this kind that still waits under the same word serves for both."""
    now = clock.now()
    arguments: dict[str, Any] = msgspec.to_builtins(job)
    del arguments["organization_id"]
    row = {
        "id": uuid7(),
        "organization_id": job.organization_id,
        "kind": job.kind,
        "arguments": arguments,
        "state": "ready",
        "run_at": run_at or now,
        "max_attempts": job.max_attempts,
        "dedupe": dedupe,
        "created_at": now,
    }
    # No RETURNING and no conflict target: the application's role may insert into the table and nothing else.
    await session.execute(insert(JobRow.__table__).values(row).on_conflict_do_nothing())  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the administration page shows it."""

    id: UUID
    kind: str
    arguments: dict[str, Any]
    state: str
    attempts: int
    run_at: datetime
    last_error: str | None
    created_at: datetime


async def jobs_of(session: AsyncSession, organization_id: UUID, states: Sequence[str] = ("dead",), limit: int = 100) -> list[JobView]:
    """This organization's jobs in the given states, newest first."""
    rows = await session.execute(
        text(
            "select id, kind, arguments, state, attempts, run_at, last_error, created_at from job_list(:organization_id, :states, :limit)"
        ),
        {"organization_id": organization_id, "states": list(states), "limit": limit},
    )
    return [JobView(*row) for row in rows]


async def requeue(session: AsyncSession, organization_id: UUID, job_id: UUID) -> bool:
    """Give a dead job its attempts back. False when there is no such dead job."""
    done = await session.execute(
        text("select job_requeue(:organization_id, :id, :now)"),
        {"organization_id": organization_id, "id": job_id, "now": clock.now()},
    )
    return bool(done.scalar_one())


async def idle(session: AsyncSession) -> bool:
    """Whether no job is due or running, over all organizations: what tests and the sample data wait for."""
    return bool((await session.execute(text("select job_idle(:now)"), {"now": clock.now()})).scalar_one())
