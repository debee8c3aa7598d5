"""The furnished database that tests over all routes clone."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from tests.conftest import TEMPLATE
from tests.http.matrix_world import BASE, Door, Ledger, World, build
from tollgate.db import embedded
from tollgate.db.database import Database
from tollgate.settings import Settings

FURNISHED = "tollgate_furnished"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Furnished:
    """The template, and what is in it."""

    cluster: embedded.EmbeddedServer
    settings: Settings
    world: World


@pytest.fixture(scope="session")
async def furnished(cluster: embedded.EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    """Two organizations with one of everything, made once per run."""
    await asyncio.to_thread(embedded.run_sql, cluster, f"create database {FURNISHED} template {TEMPLATE} owner tollgate_owner", "postgres")
    settings = Settings(
        data=tmp_path_factory.mktemp("furnished"),
        database_url=cluster.url("tollgate_app", FURNISHED),
        secret_key="test-secret-key-of-32-characters!",
        base_url=BASE,
    )
    world = await build(settings, cluster.url("tollgate_owner", FURNISHED))
    return Furnished(cluster, settings, world)


class Clones:
    """Makes clones of the furnished database, each with a door onto it, and drops them at the end."""

    def __init__(self, furnished: Furnished) -> None:
        self.furnished = furnished
        self.made: list[tuple[str, Database, Door, Ledger]] = []
        self.others: list[Door] = []
        """Second processes over clones."""

    async def clone(self, **changes: object) -> tuple[Door, Ledger]:
        """A fresh clone: its door, and the hashes of its rows. `changes` are those of the settings."""
        cluster, name = self.furnished.cluster, f"clone_{os.getpid()}_{next(_numbers)}"
        sql = f"create database {name} template {FURNISHED} owner tollgate_owner strategy file_copy"
        await asyncio.to_thread(embedded.run_sql, cluster, sql, "postgres")
        settings = replace(self.furnished.settings, database_url=cluster.url("tollgate_app", name), **changes)  # type: ignore[arg-type]
        assert settings.database_url is not None
        database, owner_url = Database(settings.database_url, pool_size=3), cluster.url("tollgate_owner", name)
        door = Door.onto(settings, database, self.furnished.world, owner_url)
        ledger = await Ledger.of(owner_url)
        self.made.append((name, database, door, ledger))
        return door, ledger

    async def renewed(self, door: Door) -> tuple[Door, Ledger]:
        """The same door onto another fresh clone: making an application takes longer than cloning a database."""
        cluster, name = self.furnished.cluster, f"clone_{os.getpid()}_{next(_numbers)}"
        sql = f"create database {name} template {FURNISHED} owner tollgate_owner strategy file_copy"
        await asyncio.to_thread(embedded.run_sql, cluster, sql, "postgres")
        at = next(place for place, made in enumerate(self.made) if made[2] is door)
        old, database, _door, ledger = self.made[at]
        await ledger.close()
        await database.close()
        await asyncio.to_thread(embedded.run_sql, cluster, f"drop database {old} with (force)", "postgres")
        database.url = cluster.url("tollgate_app", name)
        database.engine = Database(database.url, pool_size=3).engine
        door.owner_url = cluster.url("tollgate_owner", name)
        ledger = await Ledger.of(door.owner_url)
        self.made[at] = (name, database, door, ledger)
        return door, ledger

    async def drop(self) -> None:
        """Drop what was made."""
        while self.others:
            await self.others.pop().database.close()
        while self.made:
            name, database, door, ledger = self.made.pop()
            await door.web.aclose()
            await ledger.close()
            await database.close()
            await asyncio.to_thread(embedded.run_sql, self.furnished.cluster, f"drop database {name} with (force)", "postgres")


@pytest.fixture
async def clones(furnished: Furnished) -> AsyncIterator[Clones]:
    """Clones of the furnished database."""
    made = Clones(furnished)
    yield made
    await made.drop()


@pytest.fixture
async def door(clones: Clones) -> Door:
    """One clone's door."""
    found, _ledger = await clones.clone()
    return found


@pytest.fixture
def ledger(door: Door, clones: Clones) -> Ledger:
    """The hashes of the rows behind `door`."""
    return next(ledger for _name, _database, made, ledger in clones.made if made is door)
