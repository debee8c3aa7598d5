"""Every route × every role × another organization's ids: refused, and not a row of either organization changed.

The table is `matrix.py`. A route without a row, or a row without a route, fails here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from tests.http.matrix import CALLS, CLIENT_PAGES, LINK, PAGES, PLAIN, PUBLIC, ROWS, Row
from tests.http.matrix_requests import request_of, send
from tests.http.matrix_world import FOREIGN_NAME, NOBODY, ROLES, SCOPED, Door, Ledger, as_key, as_link, as_member, changed
from tollgate.app import create_app
from tollgate.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile")
"""A refused upload is closed by the collector, not by the framework."""
REFUSED_AT_THE_API, SIGN_IN = 401, 303


@pytest.fixture(scope="module", autouse=True)
def counted() -> Iterator[Counter[str]]:
    """How much was looked at, printed with -s."""
    yield COUNTED
    print(f"\nmatrix: {len(ROWS)} rows; " + ", ".join(f"{count} {what}" for what, count in sorted(COUNTED.items())))


COUNTED: Counter[str] = Counter()


def routes(app: Litestar) -> set[str]:
    """`GET /clients/{client_id}` of every route."""
    return {
        f"{method} {route.path_format}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.route_handler_map
        if method != "OPTIONS"
    }


async def test_every_route_has_a_row_and_every_row_a_route(settings: Settings) -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)), [name for name, count in Counter(names).items() if count > 1]
    there = routes(create_app(settings))
    assert sorted(there - set(names)) == [], "new routes: give each a row in tests/http/matrix.py"
    assert sorted(set(names) - there) == [], "rows of routes that are gone"


async def test_every_parameter_of_every_path_has_its_id() -> None:
    for row in ROWS:
        assert set(re.findall(r"\{(\w+)\}", row.path)) == set(row.ids), row.name


def report(wrong: list[str]) -> str:
    """Every cell that is not as the table says, one a line."""
    return "\n" + "\n".join(wrong)


def callers(door: Door, row: Row) -> Iterator[tuple[str, Mapping[str, str], bool]]:
    """Everybody who may knock at a route: who, as what, and whether the table lets them in."""
    own, link = door.world.own, as_link(door.world.own.ids["link_delivered"], door.world.own.links["delivered"])
    if row.is_api:
        for who in (*ROLES, *SCOPED):
            yield who, as_key(own.keys[who]), row.may(who)
        yield "a revoked key", as_key(own.keys["revoked"]), False
        yield "a made-up key", as_key("tg_" + "x" * 43), False
        yield "an admin's cookie", as_member(own.cookies["admin"]), False
    else:
        for role in ROLES:
            yield role, as_member(own.cookies[role]), row.may(role)
        yield "a key on a page", as_key(own.keys["admin"]), row.needs == PUBLIC
        yield "a made-up session", as_member("x" * 43), row.needs == PUBLIC
    yield "a client's link", link, row.needs == PUBLIC
    yield "nobody", NOBODY, row.needs == PUBLIC


async def knock(door: Door, row: Row, who: Mapping[str, str], asked: Any = None) -> httpx.Response:
    """The row's own valid request, so that nothing but the right can be missing."""
    request = asked or await request_of(door, row, door.world.own)
    token = None
    if row.writes and not row.is_api and not row.signed:
        signed_in = "cookie" in who and who["cookie"].startswith("tg-session=") and "xxx" not in who["cookie"]
        # The nobody's token of the sign-in page carries everybody else past the check for forged forms, to the right itself.
        token = await door.token("/settings/password", who) if signed_in else await door.token("/sign-in", NOBODY)
    answer: httpx.Response = await send(door, request, who, key=str(uuid4()), token=token)
    return answer


def is_refused(row: Row, who: str, answer: httpx.Response) -> bool:
    """401 or 403 of a call; 403 of a page, or the way to the sign-in."""
    if row.is_api:
        return answer.status_code == (403 if who in {*ROLES, *SCOPED} else 401)
    if row.needs == LINK:
        return answer.status_code == 403
    return answer.status_code == 403 if who in ROLES else answer.headers.get("location", "").startswith("/sign-in")


@pytest.mark.parametrize("rows", [CALLS, PAGES, CLIENT_PAGES + PLAIN], ids=["calls", "pages", "clients and machines"])
async def test_who_has_no_right_is_refused_and_changes_nothing(door: Door, ledger: Ledger, rows: list[Row]) -> None:
    wrong = []
    for row in rows:
        request = await request_of(door, row, door.world.own)
        for who, headers, allowed in callers(door, row):
            if allowed or (row.needs == LINK and who == "a client's link"):
                continue
            before = await ledger.digest()
            answer = await knock(door, row, headers, request)
            touched = changed(before, await ledger.digest())
            COUNTED["refusals (route × role)"] += 1
            if not is_refused(row, who, answer) or touched:
                wrong.append(f"{row.name} for {who}: {answer.status_code} {answer.headers.get('location', '')} {touched}")
    assert not wrong, report(wrong)


@pytest.mark.parametrize("rows", [CALLS, PAGES, CLIENT_PAGES + PLAIN], ids=["calls", "pages", "clients and machines"])
async def test_who_has_the_right_comes_in(door: Door, rows: list[Row]) -> None:
    """Readings with their exact status; writings are carried out in `test_replays.py`, here they name what nobody has."""
    wrong = []
    for row in rows:
        for who, headers, allowed in callers(door, row):
            if not allowed:
                continue
            if row.writes:
                mine = await door.session(who) if row.ends_session and who in ROLES else headers
                answer = await unheard_of(door, row, mine)
                right = answer.status_code not in {401, 403} and not answer.headers.get("location", "").startswith("/sign-in?")
            else:
                answer = await knock(door, row, headers)
                goes_on = row.path == "/sign-in" and who in ROLES
                right = answer.status_code == (303 if goes_on else row.status)
            COUNTED["admissions (route × role)"] += 1
            if not right:
                wrong.append(f"{row.name} for {who}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, report(wrong)


async def unheard_of(door: Door, row: Row, headers: Mapping[str, str]) -> httpx.Response:
    """A writing call past its guard that cannot succeed: its ids are nobody's, or its body is empty."""
    request = await request_of(door, row, door.world.own)
    path = row.path
    for parameter in row.ids:
        path = path.replace("{" + parameter + "}", str(uuid4()))
    json = None if request.json is None else dict[str, str]()
    form = None if request.form is None else dict[str, str]()
    return await knock(door, row, headers, replace(request, address=path, json=json, form=form, headers={}))


# Another organization's ids ---------------------------------------------------------------------------------------------


def admin(row: Row, door: Door) -> Mapping[str, str]:
    """Whoever may do most at a route."""
    own = door.world.own
    if row.needs == LINK:
        return as_link(own.ids[row.ids["link_id"]], own.links[row.link])
    return as_key(own.keys["admin"]) if row.is_api else as_member(own.cookies["admin"])


def is_kept_out(row: Row, kind: str, answer: httpx.Response) -> bool:
    """Whether the answer to another organization's id is the one for an id that nobody has."""
    if kind == "query":
        # A filter by what is not ours finds nothing, or is refused by a page that lists what can be chosen.
        return answer.json().get("items") in ([], None) if row.is_api else answer.status_code in {200, 422}
    if kind == "body":
        # A button goes back to its page with a notice, a calculation that keeps nothing shows what it can: the digest tells the rest.
        return answer.status_code in {404, 409, 422} or (not row.is_api and answer.status_code == 303) or not row.once
    return answer.status_code in row.unknown


async def test_another_organizations_ids_are_nobodys(door: Door, ledger: Ledger) -> None:
    wrong = []
    for row in ROWS:
        for at in row.positions:
            request = await request_of(door, row, door.world.own, other=door.world.foreign, at=at)
            before = await ledger.digest(without=row.notes)
            token = await token_for(door, row)
            answer = await send(door, request, admin(row, door), key=str(uuid4()), token=token)
            touched = changed(before, await ledger.digest(without=row.notes))
            COUNTED["foreign ids (route × place)"] += 1
            seen = FOREIGN_NAME.lower() in answer.text.lower()
            if not is_kept_out(row, at[0], answer) or touched or seen:
                wrong.append(f"{row.name} at {at}: {answer.status_code} {touched} {'SEEN' if seen else ''} {answer.text[:300]}")
    assert not wrong, report(wrong)


async def token_for(door: Door, row: Row) -> str | None:
    """What a form of the row carries."""
    if row.is_api or not row.writes:
        return None
    if row.needs == LINK:
        link_id = door.world.own.ids[row.ids["link_id"]]
        page = f"/{row.path.split('/')[1]}/{link_id}"
        return await door.token(page, admin(row, door))
    return await door.token("/settings/password", admin(row, door))


async def test_every_id_of_a_path_is_of_the_parent_named_with_it(door: Door, ledger: Ledger) -> None:
    """Two ids of our own that do not belong together are refused like ids of nobody."""
    mismatched = {"client_id": "client", "milestone_id": "ms_delivered", "round_id": "round_used"}
    wrong = []
    for row in ROWS:
        names = {name: value for name, value in row.ids.items() if not value.startswith("=")}
        parent = next((name for name in names if name in mismatched), None)
        if len(names) < 2 or parent is None or row.needs == LINK:
            continue
        swapped = replace(row, ids={**row.ids, parent: "client_idle" if row.ids[parent] == "client" else mismatched[parent]})
        before = await ledger.digest()
        request = await request_of(door, swapped, door.world.own)
        answer = await send(door, request, admin(row, door), key=str(uuid4()), token=await token_for(door, row))
        touched = changed(before, await ledger.digest())
        COUNTED["mismatched ids"] += 1
        refused = answer.status_code == 404 or (not row.is_api and row.writes and answer.status_code == 303)
        if not refused or touched:
            wrong.append(f"{row.name}: {answer.status_code} {touched}")
    assert not wrong, report(wrong)


# Methods ----------------------------------------------------------------------------------------------------------------


async def test_a_method_that_is_not_taken_is_answered_with_those_that_are(door: Door) -> None:
    taken: dict[str, set[str]] = {}
    for row in ROWS:
        taken.setdefault(row.path, set()).add(row.method)
    for path, methods in taken.items():
        row = next(row for row in ROWS if row.path == path)
        request = await request_of(door, row, door.world.own)
        answer = await door.call("TRACE" if path == "/" else "PUT", request.address, admin(row, door))
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        assert answer.status_code == 405, path
        assert set(answer.headers["allow"].split(", ")) >= allowed, path
        COUNTED["405 with Allow"] += 1


async def test_head_is_get_without_its_body(door: Door, ledger: Ledger) -> None:
    before = await ledger.digest(without=("link_open", "job"))
    for row in [row for row in ROWS if row.method == "GET"]:
        request = await request_of(door, row, door.world.own)
        whole = await door.call("GET", request.address, admin(row, door))
        head = await door.call("HEAD", request.address, admin(row, door))
        assert (head.status_code, head.content) == (whole.status_code, b""), row.name
        kept = ("content-type", "etag", "cache-control", "content-disposition", "location")
        assert [head.headers.get(name) for name in kept] == [whole.headers.get(name) for name in kept], row.name
        COUNTED["HEAD like GET"] += 1
    assert changed(before, await ledger.digest(without=("link_open", "job"))) == []
