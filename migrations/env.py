"""Alembic's entry: runs as the owner's role, over asyncpg, on the URL that `tollgate migrate` passes in."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tollgate.models import metadata


def run(connection: Connection) -> None:
    """Configure the context and run what was asked for inside one transaction."""
    context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_online() -> None:
    """Connect and run: a running loop's caller uses a thread for this."""
    url = context.config.get_main_option("sqlalchemy.url")
    if not url:
        raise SystemExit("run migrations by `tollgate migrate`")
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(run_online())
