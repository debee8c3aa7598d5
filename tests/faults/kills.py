"""Killed lives: from an approval to the money, a process is killed at a counted point, and another goes on.

Each life is one milestone: approved by the link, invoiced, at Stripe, mailed, paid on the pay page, settled by the webhook or by the
poll, receipt mailed. Some of the processes that go on are killed, too. `killed.py` is the process that dies; this one looks on.

`python -m tests.faults.kills --lives 300 --seed 7` runs lives; `--seed 7 --life 212` repeats one of them alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text

from tests.factories.shop import Shop, make_shop
from tests.faults.killed import TOLD
from tollgate import clock
from tollgate.app import Services
from tollgate.billing.models import Invoice
from tollgate.db import embedded, migrating
from tollgate.mail.models import MailMessage
from tollgate.payments.models import Payment
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate_sandbox import Sandbox
from tollgate_sandbox.store import Account, Object

ROOT = Path(__file__).resolve().parents[2]
AFTER_THE_LEASE = timedelta(seconds=90)
"""How far the clock moves on before the next process: the dead one's lease has ended."""
WAYS = ("webhook", "poll")
"""How the books hear of the payment."""
TRACKS = 2
TOGETHER = 150
"""So many lives share an organization: its numbers, its Stripe account, its audit trail. Then all invariants are checked."""
IN_ONE_CONTRACT = 10

END = text("""
select m.state as milestone, i.state as invoice, i.number, i.payable_minor, i.paid_minor, i.stripe_invoice_id, i.stripe_step, i.stripe_problem,
  (select array_agg(d.pdf_sha256_hex) from document d where d.organization_id = i.organization_id and d.kind = 'invoice' and d.subject_id = i.id) as pdfs,
  (select array_agg(p.amount_minor) from payment_allocation a join payment p on p.organization_id = a.organization_id and p.id = a.payment_id
     where a.organization_id = i.organization_id and a.invoice_id = i.id) as payments
from milestone m
join invoice_line l on l.organization_id = m.organization_id and l.milestone_id = m.id
join invoice i on i.organization_id = l.organization_id and i.id = l.invoice_id
where m.id = :milestone_id
""")
"""Everything that one life left behind, one row per invoice that ever billed its milestone."""


# ---- which life dies where ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A point that can be chosen: how the payment is heard of, the point's number in such a life, and what stands there."""

    way: str
    point: int
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to one life: where its process dies, and after how many points those that go on die."""

    number: int
    place: Place
    then: tuple[int, ...] = ()


def places_of(passed: dict[str, Sequence[str]]) -> list[Place]:
    """All points. The ways differ only after the payment, so what comes before is listed once."""
    webhook, poll = (passed[way] for way in WAYS)
    same = next((index for index, (one, other) in enumerate(zip(webhook, poll, strict=False)) if one != other), len(webhook))
    return [
        *(Place("webhook", index + 1, name) for index, name in enumerate(webhook)),
        *(Place("poll", index + 1, name) for index, name in enumerate(poll) if index >= same),
    ]


def plan(seed: int, number: int, places: Sequence[Place]) -> Plan:
    """The plan of life `number` (from 1 on), which depends on nothing but the seed.

    The golden step visits every place once in each round, and after any number of lives the visited ones lie evenly.
    """
    count = len(places)
    step = next(one for one in range(round(count * 0.618), 2 * count) if math.gcd(one, count) == 1)
    place = places[(random.Random(seed).randrange(count) + number * step) % count]
    drawn = random.Random(f"{seed}:{number}")
    left = sum(1 for one in places if one.way == "webhook") - place.point + 30
    deaths = drawn.choices((0, 1, 2), (75, 20, 5))[0]
    return Plan(number, place, tuple(drawn.randint(1, max(left, 30)) for _ in range(deaths)))


# ---- looking on ---------------------------------------------------------------------------------------------------------


@dataclass
class Figures:
    """What came of all lives so far."""

    points: int = 0
    lives: int = 0
    killed: int = 0
    again: int = 0
    """Processes killed that went on with a life whose process had been killed before."""
    repeats: int = 0
    hits: Counter[Place] = field(default_factory=Counter)

    def __str__(self) -> str:
        fewest = min(self.hits.values()) if len(self.hits) == self.points else 0
        return (
            f"lives={self.lives} killed={self.killed} killed again={self.again} points={self.points} distinct points={len(self.hits)}"
            f" fewest kills at a point={fewest} mails repeated={self.repeats} lost=0 doubled=0 skipped=0"
        )


@dataclass
class Lives:
    """Lives of one organization, and the sandbox as it is to them."""

    shop: Shop
    account: str
    sandbox: Sandbox
    server: asyncio.subprocess.Process
    shift: timedelta = timedelta()
    milestones: dict[UUID, None] = field(default_factory=dict)
    """Those whose life ended."""
    prepared: list[dict[str, Any]] = field(default_factory=list)

    async def order(self) -> dict[str, Any]:
        """A delivered milestone, and what the process has to know to approve it."""
        # What Stripe told of the lives before is done with; the next poll need not read it again.
        self.sandbox.world.account(self.account).table("event").clear()
        if not self.prepared:
            with clock.shifted(self.shift):
                await self._prepare()
        return self.prepared.pop(0)

    async def _prepare(self) -> None:
        first = 1_000_00 + len(self.milestones)
        rates = ["20" if number % 2 else "10" for number in range(IN_ONE_CONTRACT)]
        for milestone_id in await self.shop.active(*range(first, first + IN_ONE_CONTRACT), rates=rates):
            await self.shop.add_note(milestone_id)
            await self.shop.deliver(milestone_id)
            link, decision = await self.shop.opened(milestone_id)
            async with self.shop.db.transaction(self.shop.org.id) as session:
                token = await signoff.mint(
                    session,
                    self.shop.services.settings.secret_key,
                    organization_id=self.shop.org.id,
                    approval_link_id=link.link_id,
                    sent_by="mail",
                    expires_at=link.expires_at,
                )
            self.prepared.append(
                {
                    "organization_id": str(self.shop.org.id),
                    "milestone_id": str(milestone_id),
                    "token": token,
                    "content": decision.content_sha256_hex,
                    "contact_id": str(self.shop.contact_id),
                }
            )
        await self.shop.work()

    async def send(self, order: dict[str, Any], way: str, stop_at: int, **more: Any) -> dict[str, Any]:
        """Let the fork server live it, after the lease of whoever was before."""
        self.shift += AFTER_THE_LEASE
        seconds = self.shift.total_seconds()
        return await ask(self.server, {**order, "way": way, "stop_at": stop_at, "shift_seconds": seconds, **more})

    async def warm(self, **more: Any) -> dict[str, Sequence[str]]:
        """A life of each way that nobody ends, in the fork server itself. Answers the points that each passed."""
        settings = {name: str(value) if name == "data" else value for name, value in asdict(self.shop.services.settings).items()}
        # The first knows nothing yet and passes more points than any after it.
        passed: dict[str, Sequence[str]] = {}
        for way in ("webhook", *WAYS):
            order = await self.order()
            passed[way] = (await self.send(order, way, 0, settings=settings, **more))["points"]
            await self.check(order)
        return passed

    async def live(self, planned: Plan, figures: Figures) -> None:
        """One life, with all its deaths."""
        order, way = await self.order(), planned.place.way
        killed = (await self.send(order, way, planned.place.point))["killed"]
        figures.killed += killed
        figures.hits[planned.place] += killed
        for later in planned.then:
            if killed:
                killed = (await self.send(order, way, later))["killed"]
                figures.again += killed
        if killed:
            await self.send(order, way, 0)
        await self.check(order)
        figures.lives += 1

    async def check(self, order: dict[str, Any]) -> None:
        """One life came to its one end."""
        milestone_id, org = UUID(order["milestone_id"]), self.shop.org.id
        self.milestones[milestone_id] = None
        async with self.shop.db.reading(org) as session:
            rows = (await session.execute(END, {"milestone_id": milestone_id})).all()
        assert len(rows) == 1, f"{len(rows)} invoices"
        end = rows[0]
        assert (end.milestone, end.invoice, end.paid_minor) == ("paid", "paid", end.payable_minor), end
        assert (end.stripe_step, end.stripe_problem, end.payments) == ("sent", None, [end.payable_minor]), end
        account = self.sandbox.world.account(self.account)
        theirs = [found for found in account.all("invoice") if found["number"] == end.number]
        assert [(found["status"], found["total"], found["id"]) for found in theirs] == [("paid", end.payable_minor, end.stripe_invoice_id)]
        assert len(end.pdfs) == 1 and end.pdfs[0] is not None
        pdf = await self.shop.services.storage.get(org, end.pdfs[0])
        assert pdf.startswith(b"%PDF")
        about = [mail for mail in self.sandbox.mailbox.mails.values() if end.number in mail.subject]
        bills = [mail for mail in about if mail.attachments]
        assert bills and len({mail.message_id for mail in bills}) == 1, "the invoice was mailed, a repeat under the same Message-ID"
        assert all(mail.attachments[0].content == pdf for mail in bills)
        assert len({mail.message_id for mail in about}) == 2, "and one receipt, a repeat under the same Message-ID"

    async def check_all(self) -> int:
        """All lives together; answers how many mails came twice."""
        async with self.shop.db.reading(self.shop.org.id) as session:
            invoices = list(await session.scalars(select(Invoice).order_by(Invoice.series_seq)))
            mails = list(await session.scalars(select(MailMessage)))
            payments = list(await session.scalars(select(Payment)))
            found = await invariants.run(session, self.shop.org.id, jobs_idle=True)
        assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []
        assert [invoice.series_seq for invoice in invoices] == list(range(1, len(self.milestones) + 1)), "no number skipped or doubled"
        assert len(payments) == len({payment.provider_payment_id for payment in payments}) == len(self.milestones), "each paid once"
        theirs = list(self.sandbox.world.account(self.account).all("invoice"))
        assert sorted(str(one["number"]) for one in theirs) == sorted(str(invoice.number) for invoice in invoices), "one each at Stripe"
        assert {mail.state for mail in mails} == {"accepted"}
        taken = list(self.sandbox.mailbox.mails.values())
        assert len({mail.message_id for mail in taken}) == len(mails), "each mail arrived, and no mail under a second Message-ID"
        return len(taken) - len(mails)


NewDatabase = Callable[[], Any]
"""An empty migrated database for as long as the context is open; gives its address."""


@asynccontextmanager
async def databases(server: embedded.EmbeddedServer, template: str) -> AsyncIterator[NewDatabase]:
    """Clones of a migrated database of this server."""
    numbers = itertools.count(1)

    @asynccontextmanager
    async def new() -> AsyncIterator[str]:
        name = f"lives_{os.getpid()}_{next(numbers)}"
        await asyncio.to_thread(
            embedded.run_sql, server, f"create database {name} template {template} owner tollgate_owner strategy file_copy", "postgres"
        )
        try:
            yield server.url(database=name)
        finally:
            await asyncio.to_thread(embedded.run_sql, server, f"drop database {name} with (force)", "postgres")

    yield new


async def ask(server: asyncio.subprocess.Process, order: dict[str, Any]) -> dict[str, Any]:
    """One order to the fork server, and its answer. An error of the child fails here; what it says stands in the output."""
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(order).encode() + b"\n")
    answer = json.loads(await asyncio.wait_for(server.stdout.readline(), 120))
    assert "error" not in answer, f"the child failed: {answer}"
    return dict(answer)


@asynccontextmanager
async def fork_server() -> AsyncIterator[asyncio.subprocess.Process]:
    """The process whose children are killed."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.killed",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**22,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )
    try:
        yield server
    finally:
        assert server.stdin is not None
        server.stdin.close()
        await server.wait()


def tell_only_of_payments(account: Account, told: Object) -> None:
    """Forget an event that says nothing new: each costs a life a hundred points that are the same as those of the others."""
    if told["type"] not in TOLD:
        account.table("event").pop(told["id"])


@asynccontextmanager
async def an_organization(new_database: NewDatabase, server: asyncio.subprocess.Process, account: str) -> AsyncIterator[Lives]:
    """A shop with a database, files, a sandbox and a Stripe account of its own."""
    with tempfile.TemporaryDirectory() as data:
        async with new_database() as database_url, Sandbox() as sandbox:
            settings = Settings(
                data=Path(data),
                database_url=database_url,
                secret_key="test-secret-key-of-32-characters!",
                smtp_url=sandbox.smtp_url,
                stripe_secret_key=f"sk_test_{account}",
                stripe_webhook_secret="whsec_of_the_kills",
                stripe_api_base=sandbox.stripe_url,
            )
            services = Services.of(settings)
            sandbox.world.on_event = tell_only_of_payments
            try:
                yield Lives(await make_shop(services), account, sandbox, server)
            finally:
                await services.db.close()


async def run(new_database: NewDatabase, numbers: Sequence[int], seed: int, say: Callable[[str], None] = print) -> Figures:
    """Live these lives of a seed, `TOGETHER` in each organization, `TRACKS` at once. The failure of one names the command that repeats it."""
    figures = Figures()
    began = time.monotonic()
    each = min(TOGETHER, -(-len(numbers) // TRACKS))
    waiting = [numbers[first : first + each] for first in range(0, len(numbers), each)]

    async def track(name: str) -> None:
        async with fork_server() as server:
            while waiting:
                chosen = waiting.pop(0)
                async with an_organization(new_database, server, f"kills{name}{chosen[0]}") as lives:
                    await live_all(lives, chosen, seed, figures, say)
                say(f"seed={seed} {figures} seconds={time.monotonic() - began:.0f}")

    async with asyncio.TaskGroup() as tracks:
        for name in "ab"[:TRACKS]:
            tracks.create_task(track(name))
    return figures


async def live_all(lives: Lives, numbers: Sequence[int], seed: int, figures: Figures, say: Callable[[str], None]) -> None:
    """Live these lives of one organization, and look at them together."""
    places = places_of(await lives.warm())
    assert figures.points in {0, len(places)}, "the same lives pass the same points"
    figures.points = len(places)
    for number in numbers:
        planned = plan(seed, number, places)
        try:
            await lives.live(planned, figures)
        except Exception:
            say(f"failed: {planned}; repeat it with python -m tests.faults.kills --seed {seed} --life {number}")
            raise
    figures.repeats += await lives.check_all()


async def main(arguments: argparse.Namespace) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    numbers = [arguments.life] if arguments.life else range(1, arguments.lives + 1)
    with embedded.throwaway() as server:
        await asyncio.to_thread(embedded.run_sql, server, "create database template_of_lives template tollgate owner tollgate_owner")
        await asyncio.to_thread(migrating.upgrade, server.url("tollgate_owner", "template_of_lives"))
        async with databases(server, "template_of_lives") as new:
            await run(new, numbers, arguments.seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=30)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--life", type=int, help="repeat this life alone")
    asyncio.run(main(parser.parse_args()))
