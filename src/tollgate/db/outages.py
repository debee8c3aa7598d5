"""Is the database away, or is the statement wrong? The first passes by itself, and whoever asked may ask again."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

PASSING = ("08", "40", "53", "57P", "25P03")
"""Classes of SQLSTATE: connection, deadlock and serialization, disk or memory or connections used up, shutdown and start, and a
transaction that was idle for too long."""


def is_outage(error: BaseException) -> bool:
    """Whether the database is away (restart, network, disk full, pool exhausted), as opposed to a statement being wrong.

    The driver's own errors come bare where no statement is run: while connecting, and from a connection that listens.
    """
    if isinstance(error, OSError):
        # With a name, a file of ours is missing or cannot be read: the database has no part in it.
        return error.filename is None
    if isinstance(error, InterfaceError | OperationalError | PoolTimeout | asyncpg.InterfaceError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _sqlstate(error.orig).startswith(PASSING)
    return isinstance(error, asyncpg.PostgresError) and _sqlstate(error).startswith(PASSING)


def _sqlstate(error: object) -> str:
    return str(getattr(error, "sqlstate", None) or "")
