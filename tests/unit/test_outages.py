"""Which errors mean that the database is away, and which that a statement is wrong."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from tollgate.db.outages import is_outage


class FromPostgres(Exception):
    """What the driver wraps: an error with its code."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize("sqlstate", ["08006", "25P03", "40001", "40P01", "53100", "53200", "53300", "57P01", "57P02", "57P03"])
def test_passes_by_itself(sqlstate: str) -> None:
    assert is_outage(DBAPIError("select 1", {}, FromPostgres(sqlstate)))


@pytest.mark.parametrize("sqlstate", ["", "22001", "23505", "23514", "25006", "42501", "42601", "P0001"])
def test_is_wrong_and_stays_wrong(sqlstate: str) -> None:
    assert not is_outage(DBAPIError("select 1", {}, FromPostgres(sqlstate)))


def test_the_drivers_own_errors_come_bare() -> None:
    assert is_outage(asyncpg.exceptions.CannotConnectNowError("the database system is starting up"))
    assert is_outage(asyncpg.exceptions.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
    assert is_outage(asyncpg.InterfaceError("connection is closed"))
    assert not is_outage(asyncpg.exceptions.UniqueViolationError("duplicate key"))


def test_a_file_of_ours_is_not_the_database() -> None:
    assert is_outage(ConnectionRefusedError(111, "Connection refused"))
    assert not is_outage(FileNotFoundError(2, "No such file or directory", "logo.png"))
