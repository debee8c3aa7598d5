"""PostgreSQL stopped at once and started again, under people and programs at work over HTTP, and a worker.

What was acknowledged is there; what failed says 503 with Retry-After and nothing else; the same request sent again with its key
succeeds once. The web server and the worker go on by themselves.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import structlog
from sqlalchemy import func, select

from tests.factories.proof import seed, size
from tests.scenarios.stage import Stage, Visitor, forms_in, open_stage, until
from tollgate.access.rules import Role
from tollgate.billing.models import Invoice
from tollgate.contracts.models import Contract, Milestone
from tollgate.db import embedded, migrating
from tollgate.jobs.service import idle as jobs_idle
from tollgate.parties.models import Client
from tollgate.signoff.models import ReviewRound, SignOff

API = "/api/v1"
RESTARTS = size(3, 100)
PATIENCE_SECONDS = 60


@dataclass
class Seen:
    """What the clients were answered."""

    made: dict[str, str] = field(default_factory=dict)
    """Key of a create → the contract that was acknowledged."""
    clients: list[str] = field(default_factory=list)
    """Names entered by the form, each acknowledged."""
    delivered: list[str] = field(default_factory=list)
    approved: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


@dataclass
class Street:
    """A server on a PostgreSQL of its own, with people at work."""

    server: embedded.EmbeddedServer
    stage: Stage
    drawn: random.Random
    seen: Seen = field(default_factory=Seen)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def again(self, name: str, ask: Callable[[], Awaitable[httpx.Response]], wanted: set[int]) -> httpx.Response:
        """Send a request until it is answered as wanted; the only other answer is 503, well said."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await ask()
                self.seen.answers[f"{name} {answer.status_code}"] += 1
                if answer.status_code in wanted:
                    return answer
                well_said(answer)
                await asyncio.sleep(self.drawn.uniform(0.02, 0.1))

    async def restart(self) -> None:
        """Like `pg_ctl stop -m immediate`: no session ends in order, and the next start recovers from the log."""
        pid = int((self.server.data / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)

        async def gone() -> bool:
            return not await asyncio.to_thread(runs, pid)

        await until(gone)
        # The outage has a length of its own each time, so that requests meet each of its stages.
        await asyncio.sleep(self.drawn.uniform(0, 0.5))
        assert await asyncio.to_thread(self.server.revive), "it was stopped"

    async def count(self, model: Any, *conditions: Any) -> int:
        async with self.stage.services.db.reading(self.stage.organization_id) as session:
            return int((await session.execute(select(func.count()).select_from(model).where(*conditions))).scalar_one())


def runs(pid: int) -> bool:
    """Whether the process is there, and more than a name that nobody has asked about."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def well_said(answer: httpx.Response) -> None:
    """The only failure there may be: for now, with the time to wait, in the caller's form."""
    assert answer.status_code == 503, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:2000]}"
    assert int(answer.headers["retry-after"]) > 0
    if answer.request.url.path.startswith("/api/"):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].endswith("/unavailable") and "again" in answer.json()["detail"]
    else:
        assert answer.headers["content-type"].startswith("text/html") and "again in a moment" in answer.text


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    with structlog.testing.capture_logs() as logs:
        with await asyncio.to_thread(embedded.ensure_running, tmp_path / "server") as server:
            await asyncio.to_thread(migrating.upgrade, server.url("tollgate_owner"))
            async with open_stage(server.url(), tmp_path / "data") as stage:
                yield Street(server, stage, random.Random(seed()))
    assert [line for line in logs if line["log_level"] in {"error", "critical"}] == [], "an outage is no bug"


async def api(street: Street, method: str, path: str, body: Any, *, key: str, program: httpx.AsyncClient) -> dict[str, Any]:
    """One keyed call of a program, repeated until it is done."""
    answer = await street.again(
        method, lambda: program.request(method, f"{API}{path}", json=body, headers={"Idempotency-Key": key}), {200, 201}
    )
    return dict(answer.json())


async def make_client(street: Street, program: httpx.AsyncClient, email: str) -> dict[str, Any]:
    client = await api(
        street,
        "POST",
        "/clients",
        {
            "legal_name": "Hafenkontor Linz AG",
            "address": {"line1": "Hauptplatz 1", "city": "Linz"},
            "country": "AT",
            "tax_id": "ATU87654324",
        },
        key=str(uuid4()),
        program=program,
    )
    person = {"name": "Clara Huber", "email": email, "is_approver": True, "is_billing_contact": True}
    await api(street, "POST", f"/clients/{client['id']}/contacts", person, key=str(uuid4()), program=program)
    return client


async def programs_work(street: Street, program: httpx.AsyncClient, client_id: str, name: str) -> None:
    """A program makes contracts, activates and delivers them, each step once, whatever the database does."""
    number = 0
    while not street.stopping.is_set():
        number += 1
        key = f"{name}-{number}"
        euros = {"amount": "100.00", "currency": "EUR"}
        rows = [{"title": f"Stage {key}", "amount": euros}]
        body = {"client_id": client_id, "title": key, "value": euros, "milestones": rows}
        contract = await api(street, "POST", "/contracts", body, key=key, program=program)
        street.seen.made[key] = contract["id"]
        await api(street, "POST", f"/contracts/{contract['id']}/activation", {}, key=f"{key}-activate", program=program)
        listed = await street.again("GET", partial(program.get, f"{API}/milestones?contract_id={contract['id']}"), {200})
        (milestone,) = listed.json()["items"]
        note = {"kind": "note", "title": "Result", "text": "It works"}
        await api(street, "POST", f"/milestones/{milestone['id']}/deliverables", note, key=f"{key}-note", program=program)
        await api(street, "POST", f"/milestones/{milestone['id']}/delivery", {"message": "Ready"}, key=f"{key}-deliver", program=program)
        street.seen.delivered.append(milestone["id"])


async def clara_works(street: Street, email: str) -> None:
    """The client opens each mail's link and approves on the page, pressing again where she is told to."""
    done: set[str] = set()
    async with httpx.AsyncClient(base_url=street.stage.sandbox.mail_url, trust_env=False) as box:
        while not street.stopping.is_set():
            mails = [mail for mail in (await box.get("/messages")).json() if email in mail["to"] and "/a/" in mail["text"]]
            waiting = [mail for mail in mails if mail["subject"] not in done]
            if not waiting:
                await asyncio.sleep(0.05)
                continue
            mail = waiting[0]
            done.add(mail["subject"])
            clara = street.stage.visitor()
            address = street.stage.link_in(mail, "a")
            clara.page = await street.again("open", partial(clara.http.get, address, follow_redirects=True), {200})
            answer = await pressed(street, clara, "/approval", {"signed_name": "Clara Huber", "agree": "yes"})
            assert "You approved" in answer.text, answer.text
            street.seen.approved.append(mail["subject"])


async def max_works(street: Street, max_: Visitor) -> None:
    """A member enters clients by the form."""
    number = 0
    while not street.stopping.is_set():
        number += 1
        name = f"Client {number}"
        max_.page = await street.again("open", lambda: max_.http.get("/clients/new"), {200})
        await pressed(street, max_, "/clients/new", {"legal_name": name, "country": "AT", "line1": "Hauptplatz 1", "city": "Linz"})
        street.seen.clients.append(name)


async def pressed(street: Street, visitor: Visitor, action: str, typed: dict[str, str]) -> httpx.Response:
    """Send a form until it is taken, and follow to the page that it leads to."""
    assert visitor.page is not None
    form = next(form for form in forms_in(visitor.page.text) if form.action.endswith(action))
    here = str(visitor.page.url)
    fields = {**form.fields, **typed}
    address = visitor.page.url.join(form.action)
    origin = f"{visitor.page.url.scheme}://{visitor.page.url.netloc.decode()}"
    headers = {"sec-fetch-site": "same-origin", "origin": origin, "referer": here}

    # The browser's back brings the form again as it was typed, its key included: pressed twice, it is done once.
    send = partial(visitor.http.post, address, data=fields, headers=headers)
    answer = await street.again("form", send, {200, 302, 303})
    while answer.is_redirect:
        answer = await street.again("open", partial(visitor.http.get, answer.headers["location"]), {200, 302, 303})
    return answer


async def test_restarted_under_load(street: Street, say: Callable[[str], None]) -> None:
    stage, seen = street.stage, street.seen
    program, other = await stage.api(Role.ADMIN), await stage.api(Role.ACCOUNT_MANAGER)
    email = "clara@hafen.example"
    client = await make_client(street, program, email)
    max_ = await stage.member("Max Berger", Role.ACCOUNT_MANAGER)
    people = [
        asyncio.create_task(programs_work(street, program, client["id"], "one")),
        asyncio.create_task(programs_work(street, other, client["id"], "two")),
        asyncio.create_task(clara_works(street, email)),
        asyncio.create_task(max_works(street, max_)),
    ]

    async def moved_on() -> bool:
        for person in people:
            if person.done():
                person.result()
        return len(seen.made) > before[0] and len(seen.approved) > before[1] and len(seen.clients) > before[2]

    try:
        for _restart in range(RESTARTS):
            before = (len(seen.made), len(seen.approved), len(seen.clients))
            await until(moved_on, PATIENCE_SECONDS)
            await asyncio.sleep(street.drawn.uniform(0, 0.3))
            await street.restart()
        before = (len(seen.made), len(seen.approved), len(seen.clients))
        await until(moved_on, PATIENCE_SECONDS)
    finally:
        street.stopping.set()
        outcomes = await asyncio.gather(*people, return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome is not None] == []
    await settled(street)
    failures = sum(count for answer, count in seen.answers.items() if answer.endswith("503"))
    say(
        f"seed={seed()} restarts={RESTARTS} contracts={len(seen.made)} deliveries={len(seen.delivered)} approvals={len(seen.approved)}"
        f" clients={len(seen.clients)} answered 503={failures} lost=0 doubled=0"
    )
    assert failures, "nobody noticed: the load was too light to show anything"


async def settled(street: Street) -> None:
    """All that was acknowledged is there, once, and the worker has followed it up without being started again."""
    stage, seen = street.stage, street.seen

    async def invoiced() -> bool:
        return await street.count(Invoice, Invoice.state == "issued") == await street.count(SignOff)

    await until(invoiced, PATIENCE_SECONDS)
    async with stage.services.db.reading(stage.organization_id) as session:
        contracts = dict((await session.execute(select(Contract.title, Contract.id))).all())
        names = list(await session.scalars(select(Client.legal_name)))
        shown = set(await session.scalars(select(ReviewRound.milestone_id)))
        states = Counter(await session.scalars(select(Milestone.state)))
    assert contracts == {key: UUID(made) for key, made in seen.made.items()}
    assert await street.count(Contract) == len(seen.made)
    assert sorted(names) == sorted([*seen.clients, "Hafenkontor Linz AG"])
    assert shown == {UUID(delivered) for delivered in seen.delivered}
    assert states["invoiced"] == len(seen.approved) == await street.count(SignOff)

    async def quiet() -> bool:
        async with stage.services.db.directory() as session:
            return await jobs_idle(session)

    await until(quiet, PATIENCE_SECONDS)
    await stage.sound()
