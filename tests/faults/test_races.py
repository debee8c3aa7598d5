"""Two at once at contracts and sign-off: one winner, a clear answer for the other, and the books right afterwards (R8).

`python -m tests tests/faults/test_races.py -s` prints how many races overlapped; `-k two_approvers` runs one kind, TOLLGATE_SEED
draws other starts. The last test races over HTTP. Races about invoices and money are in `test_money_races.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from tests.browser.client_fixture import fields_of
from tests.factories.proof import seed
from tests.factories.shop import PAPER
from tests.faults.racing import FEW, Card, Kind, Link, Side, Track, one_winner, run_kind
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.cli.serving import listen, web
from tollgate.contracts import service as contracts
from tollgate.contracts.models import Contract, ContractVersion, Milestone
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.errors import _
from tollgate.http.problems import Problem
from tollgate.money.amount import Money
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.service_input import Recorded

kind = Card()


@pytest.mark.parametrize("raced", kind.kinds, ids=str)
async def test_races(raced: Kind, db: Database, owner_url: str, settings: Settings, say: Callable[[str], None]) -> None:
    await run_kind(raced, db, owner_url, settings, say)


async def test_one_after_the_other_is_no_race(db: Database, owner_url: str, settings: Settings, say: Callable[[str], None]) -> None:
    async def in_turn(track: Track, count: int) -> None:
        for number in range(count):
            first, done = create(track, f"one-{number}", b"\1"), asyncio.Event()

            async def leads(first: Side = first, done: asyncio.Event = done) -> None:
                await first()
                done.set()

            async def follows(number: int = number, done: asyncio.Event = done) -> None:
                await done.wait()
                await create(track, f"other-{number}", b"\1")()

            await track.race(leads=leads, follows=follows)
            track.ended("both")

    with pytest.raises(AssertionError, match="of 5 only 0 were races at all"):
        await run_kind(Kind("in_turn", in_turn, (), suite=5, proof=5), db, owner_url, settings, say)


async def test_a_failing_race_says_how_to_run_it_again(
    db: Database, owner_url: str, settings: Settings, say: Callable[[str], None]
) -> None:
    async def fails(track: Track, count: int) -> None:
        for number in range(count):
            await track.race(one=create(track, f"key-{number}", b"\1"), other=create(track, f"key-{number}", b"\1"))
            track.ended("both")
            assert number < 2

    with pytest.raises(AssertionError) as failed:
        await run_kind(Kind("fails", fails, (), suite=5, proof=5), db, owner_url, settings, say)
    (note,) = failed.value.__notes__
    assert f"kind fails, race 2, seed {seed()}" in note and "-k 'fails'" in note and f"TOLLGATE_SEED={seed()}" in note


# ---- decisions ------------------------------------------------------------------------------------------------------------


@kind("clara", "carl")
async def two_approvers(track: Track, count: int) -> None:
    """Any one may approve, and both do."""
    for case in await track.delivered(count):
        outcomes = await track.race(clara=track.approve(case.links[0]), carl=track.approve(case.links[1]))
        track.ended(one_winner(outcomes, "round-closed"), case.milestone_id, "approved")


@kind("approved", "refused")
async def approve_against_request_for_changes(track: Track, count: int) -> None:
    """One approver approves while the other asks for changes."""
    for case in await track.delivered(count):
        outcomes = await track.race(approved=track.approve(case.links[0]), refused=track.refuse(case.links[1]))
        winner = one_winner(outcomes, "round-closed")
        track.ended(winner, case.milestone_id, "approved" if winner == "approved" else "changes_requested")


@kind("approved", "refused", suite=FEW)
async def same_link_in_two_windows(track: Track, count: int) -> None:
    """One approver decides one way here and the other way there."""
    for case in await track.delivered(count):
        outcomes = await track.race(approved=track.approve(case.links[0]), refused=track.refuse(case.links[0]))
        winner = one_winner(outcomes, "already-decided")
        track.ended(winner, case.milestone_id, "approved" if winner == "approved" else "changes_requested")


@kind("one")
async def double_click(track: Track, count: int) -> None:
    """One form, pressed three times: the same nonce, one approval, the same answer each time."""
    for number, case in enumerate(await track.delivered(count)):
        click = track.approve(case.links[0], key=f"form-{number}", verb="POST /a/approve", request_sha256=b"\1" * 32)
        clicks = await track.race(first=click, second=click, third=click)
        one_winner(clicks, "replayed")
        assert len({outcome.answer for outcome in clicks.values()}) == 1, "each click gets the same answer"
        track.ended("one", case.milestone_id, "approved")


@kind("approved", "withdrawn")
async def approve_against_withdraw(track: Track, count: int) -> None:
    """The client approves what is being taken back."""
    for case in await track.delivered(count):
        outcomes = await track.race(approved=track.approve(case.links[0]), withdrawn=partial(withdraw, track, case.milestone_id))
        winner = one_winner(outcomes, "transition-refused", "link-revoked", "round-closed")
        if winner == "approved":
            track.ended(winner, case.milestone_id, "approved")
        else:
            track.ended(winner, case.milestone_id, "in_progress", sign_offs=0)


@kind("approved", "redelivered", suite=FEW)
async def approve_against_redelivery(track: Track, count: int) -> None:
    """The client approves while the work is taken back and shown anew: the old link never decides on the new round."""

    async def redeliver(milestone_id: UUID) -> None:
        await withdraw(track, milestone_id)
        await track.deliver(milestone_id)

    for case in await track.delivered(count):
        outcomes = await track.race(approved=track.approve(case.links[0]), redelivered=partial(redeliver, case.milestone_id))
        winner = one_winner(outcomes, "transition-refused", "link-superseded", "link-revoked", "round-closed")
        if winner == "approved":
            track.ended(winner, case.milestone_id, "approved")
        else:
            track.ended(winner, case.milestone_id, "delivered", sign_offs=0)


@kind("by_link", "recorded", suite=FEW)
async def record_against_link(track: Track, count: int) -> None:
    """An admin records the signed paper while the approver approves by the link."""
    storage, paper = track.shop.services.storage, Recorded(document=PAPER)
    for case in await track.delivered(count):
        record = partial(signoff.record_approval, track.db, storage, track.shop.org.command("admin"), case.milestone_id, paper)
        outcomes = await track.race(by_link=track.approve(case.links[0]), recorded=record)
        winner = one_winner(outcomes, "round-closed", "transition-refused", "already-decided")
        track.ended(winner, case.milestone_id, "approved")


# ---- deliveries -----------------------------------------------------------------------------------------------------------


async def withdraw(track: Track, milestone_id: UUID) -> UUID:
    return await signoff.withdraw(track.db, track.shop.org.command("account_manager"), milestone_id)


@kind("one", "other", suite=FEW)
async def two_deliveries(track: Track, count: int) -> None:
    """Two members deliver the same milestone."""
    for milestone_id in await track.milestones(count):
        deliver = partial(track.deliver, milestone_id)
        winner = one_winner(await track.race(one=deliver, other=deliver), "transition-refused")
        track.ended(winner, milestone_id, "delivered", sign_offs=0)
    assert await track.count(Milestone, Milestone.round_number != 1) == 0, "one round each"


@kind("withdrawn", "delivered anew", suite=FEW)
async def deliver_against_withdraw(track: Track, count: int) -> None:
    """One member takes a delivery back while another delivers: refused while it stands, a second round once it is gone."""
    for case in await track.delivered(count):
        outcomes = await track.race(
            withdrawn=partial(withdraw, track, case.milestone_id), delivered=partial(track.deliver, case.milestone_id)
        )
        assert outcomes["withdrawn"].won and outcomes["delivered"].slug in {"", "transition-refused"}, outcomes
        anew = outcomes["delivered"].won
        state = "delivered" if anew else "in_progress"
        track.ended("delivered anew" if anew else "withdrawn", case.milestone_id, state, sign_offs=0)


# ---- drafts ---------------------------------------------------------------------------------------------------------------


async def drafts(track: Track, count: int) -> list[UUID]:
    return [(await track.shop.contract([10_00]))[0] for _ in range(count)]


def edit(track: Track, contract_id: UUID, version: int, title: str) -> Side:
    change = contracts.ContractChange(title=title)
    return lambda: contracts.change_contract(track.db, track.shop.org.command("account_manager"), contract_id, version, change)


@kind("edited first", "activated first", suite=FEW)
async def edit_against_activate(track: Track, count: int) -> None:
    """A draft is edited while it is made binding: what is agreed is what stands in the contract."""
    for contract_id in await drafts(track, count):
        outcomes = await track.race(edited=edit(track, contract_id, 1, "Edited"), activated=partial(track.shop.activate, contract_id))
        assert outcomes["activated"].won and outcomes["edited"].slug in {"", "stale", "not-a-draft"}, outcomes
        track.ended("edited first" if outcomes["edited"].won else "activated first")
    async with track.db.reading(track.shop.org.id) as session:
        agreed = await session.execute(
            select(Contract.title, ContractVersion.content).join(ContractVersion, ContractVersion.contract_id == Contract.id)
        )
        for title, content in agreed:
            assert f'"title":"{title}"' in content, (title, content)
    assert await track.count(Contract, Contract.title == "Edited") == track.endings["edited first"]


@kind("one", "other", suite=FEW)
async def two_activations(track: Track, count: int) -> None:
    """Two members make the same draft binding."""
    for contract_id in await drafts(track, count):
        activate = partial(track.shop.activate, contract_id)
        track.ended(one_winner(await track.race(one=activate, other=activate), "transition-refused"))
    assert await track.count(ContractVersion) == await track.count(Contract) == count, "one version each"


@kind("one", "other", suite=FEW)
async def two_editors(track: Track, count: int) -> None:
    """Two members save the same draft from the same version (If-Match): the second is told, and loses nothing of the first."""
    (contract_id,) = await drafts(track, 1)
    for number in range(count):
        titles = {name: f"{name} {number}" for name in ("one", "other")}
        sides = {name: edit(track, contract_id, number + 1, title) for name, title in titles.items()}
        outcomes = await track.race(**sides)
        winner = one_winner(outcomes, "stale")
        assert await track.count(Contract, Contract.title == titles[winner], Contract.version == number + 2) == 1
        track.ended(winner)


# ---- idempotency keys -----------------------------------------------------------------------------------------------------


def create(track: Track, key: str, body: bytes) -> Side:
    asked = contracts.ContractInput(client_id=track.shop.client_id, title="Keyed", value=Money(1_00, "EUR"))
    command = track.shop.org.command("account_manager", key=key, verb="POST /contracts", request_sha256=body * 32)
    return lambda: contracts.create_contract(track.db, command, asked)


@kind("one", "other")
async def same_key_same_body(track: Track, count: int) -> None:
    """A program sends its request again while the first is still under way: both get the one contract."""
    for number in range(count):
        same = create(track, f"key-{number}", b"\1")
        outcomes = await track.race(one=same, other=same)
        track.ended(one_winner(outcomes, "replayed"))
        assert outcomes["one"].answer == outcomes["other"].answer
    assert await track.count(Contract) == count


@kind("one", "other")
async def same_key_other_body(track: Track, count: int) -> None:
    """A program uses one key for two requests: the second is refused, whichever that is."""
    for number in range(count):
        key = f"key-{number}"
        outcomes = await track.race(one=create(track, key, b"\1"), other=create(track, key, b"\2"))
        track.ended(one_winner(outcomes, "idempotency-key-reused"))
    assert await track.count(Contract) == count


# ---- the same over HTTP ---------------------------------------------------------------------------------------------------

OVER_HTTP, OVER_HTTP_LONG = 10, 100


@asynccontextmanager
async def visitors(track: Track, **headers: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A web server, and two people with connections of their own to it."""
    async with AsyncExitStack() as stack:
        sock = stack.enter_context(listen("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        await stack.enter_async_context(web(track.settings, track.shop.services, sock))
        made = [httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) for _ in range(2)]
        yield [await stack.enter_async_context(http) for http in made]


async def key_of(track: Track, role: Role) -> str:
    """The header of a program of that role."""
    made = await access.create_api_key(track.db, Command.operator(track.shop.org.id), name="Race", role=role)
    return f"Bearer {made.secret}"


async def sent(http: httpx.AsyncClient, path: str, **request: Any) -> httpx.Response:
    """The answer to a POST; a refusal is raised with what it says: the problem's slug, or what the page shows."""
    answer = await http.post(path, **request)
    if answer.status_code < 400:
        return answer
    if answer.headers["content-type"].startswith("application/problem+json"):
        said = answer.json()
        raise Problem(answer.status_code, said["type"].rsplit("/", 1)[1], _("%(said)s", said=said["detail"]))
    raise Problem(answer.status_code, "page", _("%(said)s", said=re.sub(r"<[^>]+>", " ", answer.text)))


async def opened(track: Track, http: httpx.AsyncClient, link: Link, name: str) -> Side:
    """Follow the link of a mail; answers how its form is sent."""
    verified, _decision = link
    async with track.db.transaction(track.shop.org.id) as session:
        token = await signoff.mint(
            session,
            track.settings.secret_key,
            organization_id=verified.organization_id,
            approval_link_id=verified.link_id,
            sent_by="mail",
            expires_at=verified.expires_at,
        )
    shown = await http.get(f"/a/{token}", follow_redirects=True)
    assert shown.status_code == 200, shown.text
    here = shown.url.path
    headers = {"sec-fetch-site": "same-origin", "origin": str(http.base_url).rstrip("/")}
    data = {**fields_of(shown.text, "/approval"), "signed_name": name, "agree": "yes"}
    return partial(sent, http, f"{here}/approval", data=data, headers=headers)


@kind("one", suite=OVER_HTTP, proof=OVER_HTTP_LONG)
async def http_two_approvers(track: Track, count: int) -> None:
    """Two people press "approve" on their pages; the second reads who decided."""
    names = ("Clara Klient", "Carl Klient")
    async with visitors(track) as people:
        for case in await track.delivered(count):
            for person in people:
                person.cookies.clear()
            clara, carl = await asyncio.gather(*(opened(track, *one) for one in zip(people, case.links, names, strict=True)))
            outcomes = await track.race(clara=clara, carl=carl)
            winner = one_winner(outcomes, "page")
            said = next(outcome.detail for outcome in outcomes.values() if not outcome.won)
            assert "is decided already" in said, said
            assert ("Clara Klient" if winner == "clara" else "Carl Klient") in said, said
            track.ended("one", case.milestone_id, "approved")


@kind("one", suite=OVER_HTTP, proof=OVER_HTTP_LONG)
async def http_double_click(track: Track, count: int) -> None:
    """The same form is sent twice over two connections; both lead to the page that shows the one decision."""
    async with visitors(track) as (person, _other):
        for case in await track.delivered(count):
            person.cookies.clear()
            click = await opened(track, person, case.links[0], "Clara Klient")
            outcomes = await track.race(one=click, other=click)
            assert {outcome.answer.status_code for outcome in outcomes.values()} == {303}, outcomes
            assert len({outcome.answer.headers["location"] for outcome in outcomes.values()}) == 1
            track.ended("one", case.milestone_id, "approved")


@kind("same body", "other body", suite=OVER_HTTP, proof=OVER_HTTP_LONG)
async def http_same_key(track: Track, count: int) -> None:
    """A program sends one key twice: with the same body both get the same contract, with another one the second is refused."""

    def create(http: httpx.AsyncClient, key: str, title: str) -> Side:
        body = {"client_id": str(track.shop.client_id), "title": title, "value": {"amount": "10.00", "currency": "EUR"}, "milestones": []}
        return partial(sent, http, "/api/v1/contracts", json=body, headers={"Idempotency-Key": key})

    async with visitors(track, Authorization=await key_of(track, Role.ACCOUNT_MANAGER)) as programs:
        for number in range(count):
            titles = ("Same", "Same" if number % 2 else "Other")
            one, other = (create(http, f"key-{number}", title) for http, title in zip(programs, titles, strict=True))
            outcomes = await track.race(one=one, other=other)
            if number % 2:
                assert {outcome.answer.status_code for outcome in outcomes.values()} == {201}, outcomes
                assert len({outcome.answer.json()["id"] for outcome in outcomes.values()}) == 1
            else:
                one_winner(outcomes, "idempotency-key-reused")
            track.ended("same body" if number % 2 else "other body")
    assert await track.count(Contract) == count


@kind("one", suite=OVER_HTTP, proof=OVER_HTTP_LONG)
async def http_two_issuers(track: Track, count: int) -> None:
    """Two programs invoice one milestone; the second is told which invoice bills it."""
    async with visitors(track, Authorization=await key_of(track, Role.FINANCE)) as programs:
        for case in await track.delivered(count):
            await track.approve(case.links[0])()
            one, other = (partial(sent, http, f"/api/v1/milestones/{case.milestone_id}/invoice") for http in programs)
            outcomes = await track.race(one=one, other=other)
            winner = one_winner(outcomes, "already-invoiced")
            number = outcomes[winner].answer.json()["number"]
            assert number in next(outcome.detail for outcome in outcomes.values() if not outcome.won)
            track.ended("one", case.milestone_id, "invoiced")
