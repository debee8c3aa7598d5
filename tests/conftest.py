"""Fixtures that the tests share: a private PostgreSQL, a migrated database per test, an organization in it.

Each test that asks for `database_url` gets a clone of a migrated template, with real commits: inside a savepoint a
local setting would outlive its verb and hide a missing tenant.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.factories import Org, make_organization
from tollgate.db import embedded, migrating
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings

TEMPLATE = "tollgate_template"
_numbers = itertools.count(1)
_connect = socket.socket.connect


def pytest_collection_finish() -> None:
    """What was imported stays: walking through it again and again was a quarter of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _only_loopback() -> Iterator[None]:
    """No test may reach beyond this machine."""

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in {"127.0.0.1", "::1", "localhost", "unix"}:
            raise OSError(f"a test tried to reach {host}")
        _connect(self, address)  # type: ignore[arg-type]

    socket.socket.connect = guarded  # type: ignore[method-assign,assignment]
    yield
    socket.socket.connect = _connect  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def cluster() -> Iterator[embedded.EmbeddedServer]:
    """One PostgreSQL for the whole run, with a migrated template database."""
    with embedded.throwaway() as server:
        embedded.run_sql(server, f"create database {TEMPLATE} template tollgate owner tollgate_owner")
        migrating.upgrade(server.url("tollgate_owner", TEMPLATE))
        yield server


@pytest.fixture
async def database_name(cluster: embedded.EmbeddedServer) -> AsyncIterator[str]:
    """A fresh, migrated database of its own."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await asyncio.to_thread(
        embedded.run_sql, cluster, f"create database {name} template {TEMPLATE} owner tollgate_owner strategy file_copy", "postgres"
    )
    yield name
    await asyncio.to_thread(embedded.run_sql, cluster, f"drop database {name} with (force)", "postgres")


@pytest.fixture
def database_url(cluster: embedded.EmbeddedServer, database_name: str) -> str:
    """Its address as the application's role."""
    return cluster.url("tollgate_app", database_name)


@pytest.fixture
def owner_url(cluster: embedded.EmbeddedServer, database_name: str) -> str:
    """Its address as the role that migrates, which sees every organization's rows."""
    return cluster.url("tollgate_owner", database_name)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database as the application sees it."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of a server on that database, with its data in a folder of this test."""
    return Settings(
        data=tmp_path, database_url=database_url, secret_key="test-secret-key-of-32-characters!", base_url="http://127.0.0.1:8000"
    )


@pytest.fixture
def storage(settings: Settings) -> LocalStorage:
    """Where this test's files are."""
    return LocalStorage(settings.files_folder)


@pytest.fixture
async def organization(db: Database) -> Org:
    """An organization that can issue invoices at once, with an admin's command."""
    return await make_organization(db)
