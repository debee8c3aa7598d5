"""The outbox on hold: after a restore nothing is claimed, in no worker, until somebody confirms.

A restored database still wants to send what was sent after the backup was made. The hold is a row of the database, so
that every worker sees it, and `job_claim` itself asks for it. Only the owner's role can hold; the application can release.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from tollgate import clock


@dataclass(frozen=True, slots=True)
class Hold:
    """Since when nothing is sent, and when the backup was made that the data comes from."""

    held_at: datetime
    backup_made_at: datetime
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The jobs of one kind that are ready (`due` of them now) or were running, over all organizations."""

    kind: str
    jobs: int
    due: int
    oldest_at: datetime
    due_since: datetime | None


async def restored(session: AsyncSession | AsyncConnection) -> Hold | None:
    """The last restore, released or not; None when this database was never restored from a backup."""
    row = (await session.execute(text("select held_at, backup_made_at, released_at from outbox_state()"))).one_or_none()
    return None if row is None else Hold(*row)


async def state(session: AsyncSession | AsyncConnection) -> Hold | None:
    """The hold, None when jobs run."""
    last = await restored(session)
    return None if last is None or last.released_at is not None else last


async def waiting(session: AsyncSession | AsyncConnection) -> list[Waiting]:
    """What would run, by kind."""
    rows = await session.execute(
        text("select kind, jobs, due, oldest_at, due_since from outbox_waiting(:now)"),
        {"now": clock.now()},
    )
    return [Waiting(*row) for row in rows]


async def release(session: AsyncSession) -> bool:
    """Let jobs run again. False when nothing was held."""
    return bool((await session.execute(text("select outbox_release(:now)"), {"now": clock.now()})).scalar_one())


async def hold(connection: AsyncConnection, backup_made_at: datetime) -> None:
    """Hold the outbox, as the owner's role, and give back the leases of workers that exist no more: no attempt was theirs to lose."""
    await connection.execute(
        text(
            "insert into outbox_hold (held_at, backup_made_at) values (:now, :made)"
            " on conflict (one) do update set held_at = excluded.held_at, backup_made_at = excluded.backup_made_at, released_at = null"
        ),
        {"now": clock.now(), "made": backup_made_at},
    )
    await connection.execute(text("update job set state = 'ready', fence = fence + 1, leased_until = null where state = 'running'"))
