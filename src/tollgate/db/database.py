"""One transaction per verb, one organization per transaction.

`Database.transaction(organization)` sets the tenant that row-level security reads, inserts the command's idempotency
key first, runs the callables that rooms registered for just before the commit (the audit chain's head last), and
commits once, before any response is built.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tollgate import clock
from tollgate.db.command import Answer, Command, IdempotencyKey, KeyReused, Replayed

BeforeCommit = Callable[[AsyncSession], Awaitable[None]]

_SET_TENANT = text("select set_config('tollgate.organization_id', :organization_id, true)")
_SET_TENANT_TO_WRITE = text(
    "select set_config('tollgate.organization_id', :organization_id, true),"
    " set_config('idle_in_transaction_session_timeout', :idle_milliseconds, true)"
)
_LOOKING_UP = text("select set_config('tollgate.organization_id', '', true), set_config('transaction_read_only', 'on', true)")
_READ_ONLY = text("set transaction isolation level repeatable read, read only")


MOST_IDLE = timedelta(seconds=60)
"""So long a writing transaction may wait for its own process: one that is frozen must not hold its locks for longer than its leases."""


class Database:
    """A pool of connections as the application's role, and the only way to open a session on it."""

    def __init__(self, url: str, *, pool_size: int = 10, **options: Any) -> None:
        self.url = url
        self.most_idle = MOST_IDLE
        # What a failing statement was given is somebody's name or address, and its error is logged.
        options = {"pool_size": pool_size, "max_overflow": 10, "pool_pre_ping": True, "hide_parameters": True, **options}
        self.engine: AsyncEngine = create_async_engine(url, **options)

    @asynccontextmanager
    async def transaction(self, organization_id: UUID, command: Command | None = None) -> AsyncIterator[AsyncSession]:
        """A session that may write this organization's rows, committed once at the end.

        Raises `Replayed` when the command's key was used before, `KeyReused` when it came with another body.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            session.info["organization_id"] = organization_id
            session.info["command"] = command
            idle = str(int(self.most_idle.total_seconds() * 1000))
            await session.execute(_SET_TENANT_TO_WRITE, {"organization_id": str(organization_id), "idle_milliseconds": idle})
            if command is not None and command.key is not None:
                await _take_key(session, command)
            yield session
            await session.flush()
            await _run_before_commit(session)
            if command is not None and command.key is not None:
                await _keep_answer(session, command)

    @asynccontextmanager
    async def reading(self, organization_id: UUID) -> AsyncIterator[AsyncSession]:
        """A read-only snapshot of one organization: what every GET uses, so that it cannot change anything."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await session.execute(_READ_ONLY)
            await session.execute(_SET_TENANT, {"organization_id": str(organization_id)})
            yield session

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[AsyncSession]:
        """A session without a tenant, for the narrow functions over the directory tables (routing only)."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await session.execute(_SET_TENANT, {"organization_id": ""})
            yield session

    @asynccontextmanager
    async def looking_up(self) -> AsyncIterator[AsyncSession]:
        """`directory` for the functions that only look something up: who is calling, above all. Read-only, like every GET."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await session.execute(_LOOKING_UP)
            yield session

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()


def before_commit(session: AsyncSession, work: BeforeCommit, *, order: int = 50) -> None:
    """Let `work` run once just before this session commits, lowest `order` first; the audit chain registers with 100."""
    waiting: dict[BeforeCommit, int] = session.info.setdefault("before_commit", {})
    waiting.setdefault(work, order)


def command_of(session: AsyncSession) -> Command | None:
    """The command that this transaction carries out; None for work without an actor."""
    command: Command | None = session.info.get("command")
    return command


def answer(session: AsyncSession, resource_id: UUID, status: int = 200) -> UUID:
    """Say what the verb made, so that a repeat of its command finds it. Every verb ends with it."""
    session.info["answer"] = Answer(resource_id, status, clock.now())
    return resource_id


async def _run_before_commit(session: AsyncSession) -> None:
    waiting: dict[BeforeCommit, int] = session.info.get("before_commit", {})
    while waiting:
        work = min(waiting, key=lambda item: waiting[item])
        del waiting[work]
        await work(session)
        await session.flush()


def _actor(command: Command) -> str:
    return f"{command.actor_kind}:{command.actor_id or ''}"


async def _take_key(session: AsyncSession, command: Command) -> None:
    row = {
        "organization_id": command.organization_id,
        "actor": _actor(command),
        "key": command.key,
        "verb": command.verb,
        "request_sha256": command.request_sha256,
        "created_at": clock.now(),
    }
    inserted = await session.execute(insert(IdempotencyKey).values(row).on_conflict_do_nothing().returning(IdempotencyKey.key))
    if inserted.scalar_one_or_none() is not None:
        return
    # The insert waited for a transaction in flight with the same key; what it committed is visible to a new statement.
    found = await session.execute(
        select(IdempotencyKey.verb, IdempotencyKey.request_sha256, IdempotencyKey.resource_id, IdempotencyKey.status).where(
            IdempotencyKey.organization_id == command.organization_id,
            IdempotencyKey.actor == row["actor"],
            IdempotencyKey.key == command.key,
        )
    )
    verb, request_sha256, resource_id, status = found.one()
    if verb != command.verb or request_sha256 != command.request_sha256:
        raise KeyReused
    if resource_id is None or status is None:
        raise RuntimeError(f"the command behind key {command.key!r} was committed without an answer")
    raise Replayed(resource_id, status)


async def _keep_answer(session: AsyncSession, command: Command) -> None:
    made: Answer | None = session.info.get("answer")
    if made is None:
        raise RuntimeError(f"the verb behind {command.verb!r} did not say what it made")
    await session.execute(
        text(
            "update idempotency_key set resource_id = :resource_id, status = :status"
            " where organization_id = :organization_id and actor = :actor and key = :key"
        ),
        {
            "resource_id": made.resource_id,
            "status": made.status,
            "organization_id": command.organization_id,
            "actor": _actor(command),
            "key": command.key,
        },
    )
