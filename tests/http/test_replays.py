"""Every writing route sent twice: under one key it is carried out once, with the same answer and not one row more.

Generated from the table of `matrix.py`: each row is carried out on a clone of its own by whoever has just enough rights.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.http.conftest import Clones
from tests.http.matrix import EARNED, LINK, PUBLIC, ROWS, Row
from tests.http.matrix_requests import Request, request_of, send
from tests.http.matrix_world import NOBODY, ROLES, Door, Ledger, as_key, as_link, as_member, changed
from tests.sandbox.conftest import running
from tollgate_sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile")
WRITING = [row for row in ROWS if row.writes and row.path not in {"/sign-in", "/settings/password", "/webhooks/stripe"}]
"""The sign-in and the password have no valid request in the table: `test_sessions.py` sends them twice."""
COUNTED: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def counted() -> Iterator[None]:
    """How much was sent twice, printed with -s."""
    yield
    print("\nreplays: " + ", ".join(f"{count} {what}" for what, count in sorted(COUNTED.items())))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Whom the server asks whose keys were entered."""
    with running() as started:
        yield started


async def who_just_may(door: Door, row: Row) -> dict[str, str]:
    """Whoever has just enough rights."""
    own = door.world.own
    if row.needs == LINK:
        return as_link(own.ids[row.ids["link_id"]], own.links[row.link])
    if row.needs == PUBLIC:
        return await door.session("viewer") if row.ends_session else NOBODY
    role = next(role for role in ROLES if row.needs in EARNED[role])
    if row.is_api:
        return as_key(own.keys[role])
    return as_member(own.cookies["admin" if row.ends_session else role])


async def prepared(door: Door, row: Row) -> None:
    """What a row needs that the others must not have: no account yet, where one is connected."""
    if row.name in {"POST /api/v1/gateway-account", "POST /settings/payments"}:
        async with door.database.transaction(door.world.own.org.id) as session:
            await session.execute(text("update gateway_account set removed_at = now()"))


async def token_of(door: Door, row: Row, who: Mapping[str, str]) -> str | None:
    """The token that a form of the row carries."""
    if row.is_api or row.signed:
        return None
    if row.needs == LINK:
        return await door.token(f"/{row.path.split('/')[1]}/{door.world.own.ids[row.ids['link_id']]}", who)
    return await door.token("/settings/password" if who else "/sign-in", who)


def resource(row: Row, answer: httpx.Response) -> object:
    """What was made, as the answer names it."""
    if row.is_api and answer.content:
        body = answer.json()
        return body.get("id", body) if isinstance(body, dict) else body
    return answer.headers.get("location")


OTHER = {
    "title": "Other",
    "name": "Other",
    "legal_name": "Other AG",
    "reason": "Another reason",
    "phone": "+43 1 999",
    "message": "Other",
    "reference": "Other",
    "text": "Other",
    "signed_name": "Carl Other",
    "changes_name": "Carl Other",
    "colleague_name": "Carl Other",
    "planned_on": "2027-02-03",
    "role": "account_manager",
    "webhook_secret": "whsec_other",
    "email": "other@x.example",
}
"""Another content for the first of these fields that a request has."""


def other(row: Row, asked: Request) -> Request | None:
    """The same request with another content; None for one that has none."""
    if row.file is not None or row.signed:
        return None
    sent = asked.json if row.is_api else asked.form
    changes = next(({name: value} for name, value in OTHER.items() if name in (sent or {})), None)
    if changes is None:
        return None
    changed_body = {**(sent or {}), **changes}
    return dataclasses.replace(asked, json=changed_body) if row.is_api else dataclasses.replace(asked, form=changed_body)


@pytest.mark.parametrize("part", range(3))
async def test_a_request_sent_twice_is_carried_out_once(clones: Clones, sandbox: Sandbox, part: int) -> None:
    wrong = []
    door, ledger = await clones.clone(stripe_api_base=sandbox.stripe_url)
    for row in WRITING[part::3]:
        door, ledger = await clones.renewed(door)
        await prepared(door, row)
        who = await who_just_may(door, row)
        problem = await replayed(door, ledger, row, who)
        if problem:
            wrong.append(f"{row.name}: {problem}")
        COUNTED["routes"] += 1
    assert not wrong, "\n" + "\n".join(wrong)


async def replayed(door: Door, ledger: Ledger, row: Row, who: Mapping[str, str]) -> str:
    """What is wrong with the second sending, or with the third that has another content; empty when nothing is."""
    asked, token, key = await request_of(door, row, door.world.own), await token_of(door, row, who), str(uuid4())
    before = await ledger.digest()
    first = await send(door, asked, who, key=key, token=token)
    after = await ledger.digest()
    if first.status_code != row.status:
        return f"answers {first.status_code} at first, not {row.status}: {first.text[:600]}"
    if row.once and not changed(before, after):
        return "changes nothing at first"
    if not row.is_api and (refusal := _danger(first)):
        return f"is refused at first: {refusal}"
    again = await send(door, asked, browser_after(first, who) if row.ends_session else who, key=key, token=token)
    touched = changed(after, await ledger.digest())
    if [name for name in touched if name not in row.notes]:
        return f"changes {touched} when it is sent again"
    if again.status_code != (row.again or row.status):
        return f"answers {first.status_code}, then {again.status_code}: {again.text[:600]}"
    if row.is_api and row.once and (again.headers.get("idempotency-replayed") != "true" and row.status != 204):
        return "does not say that it was a repeat"
    if not row.ends_session and not row.again and resource(row, again) != resource(row, first):
        return f"names {resource(row, first)}, then {resource(row, again)}"
    return await reused(door, ledger, row, who, (other(row, asked), token, key))


async def reused(door: Door, ledger: Ledger, row: Row, who: Mapping[str, str], sent: tuple[Request | None, str | None, str]) -> str:
    """The same key with another content: refused by a call, and by a form, which shows what the first sending did or says so."""
    asked, token, key = sent
    if asked is None or not row.once or row.ends_session:
        return ""
    before = await ledger.digest(without=row.notes)
    answer = await send(door, asked, who, key=key, token=token)
    touched = changed(before, await ledger.digest(without=row.notes))
    COUNTED["keys reused"] += 1
    refused = {409, 422} if row.is_api else {303, 409, 422}
    if touched or answer.status_code not in refused:
        return f"takes another content under its key: {answer.status_code} {touched} {answer.text[:300]}"
    return ""


def browser_after(answer: httpx.Response, who: Mapping[str, str]) -> Mapping[str, str]:
    """What a browser sends after an answer that changed or removed its session."""
    for cookie in answer.headers.get_list("set-cookie"):
        name, _equals, value = cookie.partition("=")
        if name == "tg-session":
            kept = value.partition(";")[0].strip('"')
            return as_member(kept) if kept else NOBODY
    return who


def _danger(answer: httpx.Response) -> str:
    """The refusal that a button's answer carries to its page."""
    for cookie in answer.headers.get_list("set-cookie"):
        name, _equals, value = cookie.partition("=")
        if name.endswith("tg-notice") and (raw := value.partition(";")[0].strip('"')):
            kind, told = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
            if kind in {"danger", "warning"}:
                return str(told)
    return ""


async def test_without_a_key_a_call_is_carried_out_each_time(door: Door) -> None:
    who, made = as_key(door.world.own.keys["account_manager"]), {"legal_name": "Neu AG", "country": "AT"}
    ids = {(await door.call("POST", "/api/v1/clients", who, json=made)).json()["id"] for _time in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused(door: Door, ledger: Ledger, key: str) -> None:
    before = await ledger.digest()
    who = {**as_key(door.world.own.keys["account_manager"]), "idempotency-key": key}
    answer = await door.call("POST", "/api/v1/clients", who, json={"legal_name": "Neu AG", "country": "AT"})
    assert answer.status_code == 422
    assert changed(before, await ledger.digest()) == []


async def test_one_key_means_one_thing_per_caller(door: Door) -> None:
    """Two keys may use the same Idempotency-Key; one may not use it for two routes."""
    own, made = door.world.own, {"legal_name": "Neu AG", "country": "AT"}
    ids = set()
    for role in ("account_manager", "finance"):
        answer = await door.call("POST", "/api/v1/clients", {**as_key(own.keys[role]), "idempotency-key": "one"}, json=made)
        assert answer.status_code == 201
        ids.add(answer.json()["id"])
    assert len(ids) == 2
    headers = {**as_key(own.keys["finance"]), "idempotency-key": "one"}
    elsewhere = await door.call("POST", f"/api/v1/milestones/{own.ids['ms_planned']}/start", headers)
    assert elsewhere.status_code in {409, 422}


async def test_a_form_without_its_nonce_is_refused(door: Door, ledger: Ledger) -> None:
    who = as_member(door.world.own.cookies["account_manager"])
    token = await door.token("/settings/password", who)
    before = await ledger.digest()
    for nonce in ({}, {"form_key": ""}, {"form_key": "not-a-nonce"}):
        fields = {"legal_name": "Neu AG", "country": "AT", "csrf_token": token, **nonce}
        answer = await door.call("POST", "/clients/new", who, data=fields)
        assert answer.status_code == 422
    assert changed(before, await ledger.digest()) == []
