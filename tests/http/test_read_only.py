"""Every GET, of every page and call: PostgreSQL itself refuses a write on the connection that it reads with.

The one exception is the note that a client's link was opened: a second transaction, after the answer, whose failure nobody sees.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from tests.factories.shop import services_on
from tests.http.matrix import LINK, PUBLIC, ROWS, Row
from tests.http.matrix_requests import request_of
from tests.http.matrix_world import NOBODY, SCOPED, Door, Ledger, as_key, as_link, as_member, as_owner, changed
from tollgate.db.database import Database

READING = [row for row in ROWS if row.method == "GET"]
NOTED = frozenset({"link_open", "job"})
"""The note of an opening, and the job that takes it into the audit trail."""
WRITES = re.compile(r"\b(?:insert\s+into|update|delete\s+from)\s+\"?(\w+)", re.IGNORECASE)
OPENING = {"/a/{token}", "/i/{token}"}


@dataclass
class Watch:
    """What every transaction of an engine was: read-only, refused a write, wrote to which tables."""

    read_only: int = 0
    writing: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """Read-only ones in which a write went through all the same."""


@contextmanager
def watching(database: Database) -> Iterator[Watch]:
    """Try to write in each transaction just before it ends, as PostgreSQL sees it, and read what it wrote by itself."""
    watch, engine = Watch(), database.engine.sync_engine
    said: dict[int, list[str]] = {}

    def before(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.setdefault(id(connection), []).append(statement)

    def ending(connection: Any) -> None:
        statements = said.pop(id(connection), [])
        if not statements:
            return
        mode = connection.exec_driver_sql("show transaction_read_only").scalar()
        said.pop(id(connection), None)
        if mode == "off":
            watch.writing.append(" ".join(sorted({name.lower() for one in statements for name in WRITES.findall(one)})) or statements[-1])
            return
        watch.read_only += 1
        try:
            connection.exec_driver_sql("delete from link_open where false")
            watch.accepted.append(statements[-1])
        except DBAPIError as refused:
            if getattr(refused.orig, "sqlstate", "") != "25006":
                watch.accepted.append(str(refused))
        said.pop(id(connection), None)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "commit", ending)
    try:
        yield watch
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "commit", ending)


def visitors(door: Door, row: Row) -> list[Mapping[str, str]]:
    """Whoever may read it, each by another way in."""
    own = door.world.own
    if row.needs == LINK:
        return [as_link(own.ids[row.ids["link_id"]], own.links[row.link])]
    if row.needs == PUBLIC:
        return [NOBODY, as_member(own.cookies["viewer"])]
    if row.is_api:
        return [as_key(own.keys[who]) for who in ("admin", *SCOPED) if row.may(who)]
    return [as_member(own.cookies["admin"])]


async def test_every_get_reads_in_transactions_that_postgresql_keeps_read_only(door: Door, ledger: Ledger) -> None:
    wrong, seen = [], Counter[str]()
    before = await ledger.digest(without=tuple(NOTED))
    for row in READING:
        for who in visitors(door, row):
            asked = await request_of(door, row, door.world.own)
            with watching(door.database) as watch:
                answer = await door.call("GET", asked.address, who)
            noted = [tables for tables in watch.writing if set(tables.split()) <= NOTED]
            seen["readings"] += 1
            seen["read-only transactions"] += watch.read_only
            if watch.accepted or noted != watch.writing or (noted and row.path not in OPENING) or answer.status_code >= 500:
                wrong.append(f"{row.name}: {answer.status_code} wrote {watch.writing}, accepted {watch.accepted}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert changed(before, await ledger.digest(without=tuple(NOTED))) == []
    print(f"\nread-only: {len(READING)} routes, " + ", ".join(f"{count} {what}" for what, count in seen.items()))


async def test_filters_places_in_lists_and_downloads_read_only_too(door: Door) -> None:
    own = door.world.own
    key = as_key(own.keys["admin"])
    listed = [row for row in READING if row.is_api and not row.ids]
    for row in listed:
        filters = "&".join(f"{name}={own.ids[value]}" for name, value in row.query.items())
        first = await door.call("GET", f"{row.path}?limit=1", key)
        places = [f"?{filters}"] if filters else []
        if first.status_code == 200 and (cursor := first.json().get("next_cursor")):
            places.append(f"?limit=1&cursor={cursor}")
        if row.path.endswith("/reports/payments"):
            places.append("?format=csv")
        for place in places:
            with watching(door.database) as watch:
                answer = await door.call("GET", row.path + place, key)
            assert (answer.status_code, watch.writing, watch.accepted) == (200, [], []), row.path + place


# The note of an opening -------------------------------------------------------------------------------------------------


async def visit(door: Door, state: str, letter: str = "a") -> httpx.Response:
    """Press the button of a mail, and look at the page that it leads to."""
    token = door.world.own.links[state]
    first = await door.call("GET", f"/{letter}/{token}")
    assert first.status_code == 303
    cookie = first.headers["set-cookie"].partition(";")[0]
    return await door.call("GET", first.headers["location"], {"cookie": cookie})


async def refusing(door: Door, table: str) -> None:
    """From now on no row can be added to a table."""
    connection = await as_owner(door.owner_url)
    try:
        await connection.execute(
            f"create function no_more() returns trigger language plpgsql as $$ begin raise exception 'no more'; end $$;"
            f"create trigger no_more before insert on {table} for each statement execute function no_more()"
        )
    finally:
        await connection.close()


@pytest.mark.parametrize(("state", "letter"), [("delivered", "a"), ("used", "a"), ("expired", "a"), ("invoice_open", "i")])
@pytest.mark.parametrize("table", ["link_open", "job"])
async def test_a_page_opens_when_its_opening_cannot_be_noted(door: Door, ledger: Ledger, state: str, letter: str, table: str) -> None:
    noted = await visit(door, state, letter)
    await refusing(door, table)
    before = await ledger.digest()
    shown = await visit(door, state, letter)
    assert (shown.status_code, without_tokens(shown.text)) == (noted.status_code, without_tokens(noted.text))
    assert changed(before, await ledger.digest()) == []


def without_tokens(html: str) -> str:
    """A page but for what is made anew each time."""
    return re.sub(r'name="(csrf_token|form_key)" value="[^"]*"', "", html)


@pytest.mark.parametrize(("state", "letter", "said"), [("delivered", "a", "approval"), ("invoice_open", "i", "invoice")])
async def test_an_opening_is_told_in_the_contracts_activity(door: Door, state: str, letter: str, said: str) -> None:
    own = door.world.own
    invoice = await door.call("GET", f"/api/v1/invoices/{own.ids['invoice_sent']}", as_key(own.keys["admin"]))
    contract_id = own.ids["contract"] if letter == "a" else invoice.json()["contract_id"]
    line, page = f"The {said} page was opened", f"/contracts/{contract_id}?tab=activity"
    assert line not in (await door.call("GET", page, as_member(own.cookies["viewer"]))).text
    await visit(door, state, letter)
    await services_on(door.settings, door.database).worker().run_until_idle()
    assert line in (await door.call("GET", page, as_member(own.cookies["viewer"]))).text


async def test_an_opening_is_noted_once_per_visit_of_a_person(door: Door, ledger: Ledger) -> None:
    before = await ledger.digest()
    token = door.world.own.links["delivered"]
    await door.call("HEAD", f"/a/{token}")
    await door.call("GET", f"/a/{token}", {"sec-purpose": "prefetch;prerender"})
    assert changed(before, await ledger.digest()) == []
    await door.call("GET", f"/a/{token}")
    assert set(changed(before, await ledger.digest())) == NOTED
