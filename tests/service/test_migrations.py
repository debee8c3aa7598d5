"""Migrations on data: down and up again without losing a row of before, adding only, and under a server that runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.factories.filled import approve, at_stripe, fill, invoice_of, pay
from tests.factories.shop import Letterbox, Shop, make_shop, services_on
from tollgate.cli import runtime
from tollgate.db import embedded, migrating
from tollgate.db.database import Database
from tollgate.errors import Unavailable
from tollgate.models import metadata
from tollgate.reports import invariants
from tollgate.settings import Settings

FIRST = "guard_rows"
"""The schema of the first release: everything later is an upgrade that somebody makes on data."""


def revisions() -> list[str]:
    """From the first release's to the newest, oldest first."""
    scripts = ScriptDirectory.from_config(migrating.configuration("postgresql+asyncpg://"))
    found = [script.revision for script in scripts.walk_revisions()][::-1]
    return found[found.index(FIRST) :]


async def owner(url: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Something done by the owner, who sees the rows of every organization, on a connection of its own."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            return await work(connection)
    finally:
        await engine.dispose()


Columns = dict[str, dict[str, tuple[str, bool, bool]]]


async def columns(connection: Any) -> Columns:
    """Every table's columns: type, whether it may be empty, whether the database fills it in."""
    rows = await connection.execute(
        text(
            "select table_name, column_name, data_type || coalesce(character_maximum_length::text, ''), is_nullable = 'YES', column_default is not null"
            " from information_schema.columns where table_schema = 'public' and table_name <> 'alembic_version'"
        )
    )
    found: Columns = {}
    for table, column, kind, nullable, filled in rows:
        found.setdefault(table, {})[column] = (kind, nullable, filled)
    return found


Rows = dict[str, list[dict[str, Any]]]


async def rows(connection: Any) -> Rows:
    """Every row of every table, as the database shows it in JSON."""
    found: Rows = {}
    for table in await columns(connection):
        found[table] = [dict(row[0]) for row in await connection.execute(text(f"select to_jsonb(t) from {table} t"))]
    return found


def only(all_rows: Rows, kept: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """These columns of these tables, in an order of their own."""
    return {table: sorted(repr({name: row[name] for name in sorted(names)}) for row in all_rows[table]) for table, names in kept.items()}


async def grants(connection: Any) -> set[tuple[str, str, str]]:
    """What the application's role may do with which table and column."""
    rows = await connection.execute(
        text("select table_name, column_name, privilege_type from information_schema.column_privileges where grantee = 'tollgate_app'")
    )
    return {tuple(row) for row in rows}


@pytest.fixture
async def shop(settings: Settings, db: Database) -> Shop:
    made = await make_shop(services_on(settings, db))
    await fill(made, returns=False)
    return made


async def broken(shop: Shop) -> list[tuple[str, tuple[str, ...]]]:
    async with shop.db.reading(shop.org.id) as session:
        return [(one.check, one.broken) for one in await invariants.run(session, shop.org.id) if not one.holds]


async def bill_one(shop: Shop) -> None:
    """The whole way from a new contract to money, to show that the product works."""
    assert isinstance(shop.services.transport, Letterbox)
    mails = len(shop.services.transport.mails)
    (milestone,) = await shop.active(321_00)
    await approve(shop, milestone)
    await shop.work()
    await pay(shop, await invoice_of(shop, milestone))
    await shop.work()
    assert (await invoice_of(shop, milestone)).state == "paid"
    assert len(shop.services.transport.mails) >= mails + 3, "the request, the invoice and the receipt"


async def test_down_to_the_first_release_and_up_again_loses_nothing_of_before(shop: Shop, owner_url: str) -> None:
    at_head, before = await owner(owner_url, columns), await owner(owner_url, rows)
    assert len(before["invoice"]) > 5 and len(before["journal_posting"]) > 20, "there is something to lose"
    rights = await owner(owner_url, grants)
    kept = {table: list(names) for table, names in at_head.items()}
    for revision in revisions()[-2::-1]:
        await asyncio.to_thread(migrating.downgrade, owner_url, revision)
        there = await owner(owner_url, columns)
        kept = {table: [name for name in names if name in there[table]] for table, names in kept.items() if table in there}
    assert only(await owner(owner_url, rows), kept) == only(before, kept), "the way back keeps what the older schema has a place for"
    await asyncio.to_thread(migrating.upgrade, owner_url)
    assert await owner(owner_url, columns) == at_head
    assert await owner(owner_url, grants) == rights
    assert only(await owner(owner_url, rows), kept) == only(before, kept), "and so does the way up"
    await shop.db.engine.dispose()
    assert await broken(shop) == []
    await bill_one(shop)
    assert await broken(shop) == []


async def test_the_way_back_is_refused_where_it_would_lose_refunds(shop: Shop, owner_url: str) -> None:
    await at_stripe(shop)
    before = await owner(owner_url, rows)
    assert len(before["payment_refund"]) == 1 and len(before["payment_dispute"]) == 2
    with pytest.raises(RuntimeError, match="refunds or disputes"):
        await asyncio.to_thread(migrating.downgrade, owner_url, FIRST)
    assert await owner(owner_url, rows) == before, "and nothing was changed on the way"
    assert await broken(shop) == []


async def test_an_upgrade_only_adds(owner_url: str) -> None:
    """So that the release of before works on until it is replaced: what it reads is there, what it writes is accepted."""
    await asyncio.to_thread(migrating.downgrade, owner_url, FIRST)
    before, rights = await owner(owner_url, columns), await owner(owner_url, grants)
    for revision in revisions()[1:]:
        await asyncio.to_thread(migrating.upgrade, owner_url, revision)
        after, more = await owner(owner_url, columns), await owner(owner_url, grants)
        for table, names in before.items():
            assert table in after, f"{revision} drops {table}"
            for name, was in names.items():
                kind, nullable, _filled = after[table].get(name, ("", False, False))
                assert kind == was[0], f"{revision} changes the type of {table}.{name} or drops it"
                assert nullable or not was[1], f"{revision} makes {table}.{name} mandatory"
            for name in after[table].keys() - names.keys():
                _kind, nullable, filled = after[table][name]
                assert nullable or filled, f"{revision} adds {table}.{name}, which the release before does not fill in"
        assert rights <= more, f"{revision} takes rights of the application away: {sorted(rights - more)[:5]}"
        before, rights = after, more


NEXT_RELEASE = """
create table next_thing (organization_id uuid not null, id uuid not null, note text, primary key (organization_id, id));
alter table next_thing enable row level security;
alter table next_thing force row level security;
create policy tenant on next_thing using (organization_id = nullif(current_setting('tollgate.organization_id', true), '')::uuid);
grant select, insert on next_thing to tollgate_app;
create index ix_next_invoice on invoice (organization_id, due_on, state);
update alembic_version set version_num = 'of_the_next_release';
"""


async def test_the_running_release_works_on_the_next_schema(shop: Shop, owner_url: str) -> None:
    """Columns, a table and an index appear under open connections that know the old shapes."""
    await bill_one(shop)

    async def migrate(connection: Any) -> None:
        for table in metadata.sorted_tables:
            await connection.execute(
                text(f"alter table {table.name} add column next_note text, add column next_count integer not null default 0")
            )
        for statement in NEXT_RELEASE.strip().split(";\n"):
            await connection.execute(text(statement.rstrip(";")))

    await owner(owner_url, migrate)
    await bill_one(shop)
    assert await broken(shop) == []


async def test_a_command_starts_on_a_newer_schema_and_not_on_an_older_one(settings: Settings, owner_url: str) -> None:
    async def name(revision: str) -> None:
        await owner(owner_url, lambda connection: connection.execute(text(f"update alembic_version set version_num = '{revision}'")))

    await name("of_the_next_release")
    async with runtime.services(settings) as shared:
        async with shared.db.directory() as session:
            assert (await session.execute(text("select 1"))).scalar_one() == 1
    await name(FIRST)
    with pytest.raises(Unavailable, match="tollgate migrate"):
        async with runtime.services(settings):
            pass


def test_every_revision_goes_back(cluster: embedded.EmbeddedServer, tmp_path: Path) -> None:
    """Down to nothing and up again, on an empty database: what a migration makes, its way back takes away."""
    name = f"roundtrip_{tmp_path.name.replace('-', '_')}"
    embedded.run_sql(cluster, f"create database {name} template tollgate owner tollgate_owner", "postgres")
    try:
        url = cluster.url("tollgate_owner", name)
        migrating.upgrade(url)
        migrating.downgrade(url, "base")

        async def left(connection: Any) -> list[str]:
            rows = await connection.execute(
                text(
                    "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = 'public' and relkind in ('r', 'S', 'v')"
                    " union all select proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where nspname = 'public'"
                )
            )
            return [str(row[0]) for row in rows if row[0] != "alembic_version"]

        assert asyncio.run(owner(url, left)) == []
        migrating.upgrade(url)
        migrating.check(url)
    finally:
        embedded.run_sql(cluster, f"drop database {name} with (force)", "postgres")
