"""A life of seven events at the gateway, told in every order, with news twice and news lost: the books end the same (R14).

What the gateway answers after each event is recorded from the real sandbox. A worker that was overtaken applies an old answer
after a new one; here the seven answers are applied in all 5,040 orders (500 in the suite), some of them twice, some never, and the
reconciliation's look at the end last where something was lost. And lives over real HTTP, with deliveries that the sandbox shuffles, repeats and loses.

A failure names seed and life: `TOLLGATE_SEED=… python -m tests tests/faults/test_webhook_orders.py` runs it again.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.factories import Org, make_client, make_contact
from tests.factories.proof import seed, size
from tests.factories.shop import Shop
from tests.scenarios.stage import Stage, open_stage, until
from tests.service.payments_world import WEBHOOK_SECRET, PaidWorld, paid_world
from tests.service.test_odd_money import Act, Moment, Undone, does, ends, moments, pays
from tollgate import clock
from tollgate.app import create_app
from tollgate.billing.models import Invoice
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.files.storage import LocalStorage
from tollgate.jobs import enqueue
from tollgate.payments.applying import apply
from tollgate.payments.news import Reconcile
from tollgate.reports import invariants
from tollgate.settings import Settings

LIFE: list[Act] = [
    pays("declined"),
    pays("partial", 50_000),
    pays("processing"),
    pays("settle"),
    does("refund", 20_000),
    does("dispute"),
    ends("dispute", "close_dispute", won=False),
]
COMPARED = """
select 'invoice', state, paid_minor::text, pending_minor::text, coalesce(decline_code, ''), coalesce(disputed_on::text, ''), stripe_step, coalesce(stripe_problem_code, '')
  from invoice
union all select 'milestone', state, '', '', '', '', '', '' from milestone
union all select 'contract', state, '', '', '', '', '', '' from contract
union all select 'payment', provider_payment_id, amount_minor::text, refunded_minor::text, state, '', '', '' from payment
union all select 'allocation', p.provider_payment_id, sum(a.amount_minor)::text, '', '', '', '', '' from payment_allocation a
  join payment p on p.organization_id = a.organization_id and p.id = a.payment_id group by p.provider_payment_id
union all select 'refund', provider_refund_id, amount_minor::text, state, '', '', '', '' from payment_refund
union all select 'dispute', provider_dispute_id, amount_minor::text, state, '', '', '', '' from payment_dispute
union all select 'attempt', provider_attempt_id, amount_minor::text, state, code, '', '', '' from payment_attempt where state <> 'arrived'
union all select 'journal', account, sum(amount_minor)::text, '', '', '', '', '' from journal_posting group by account
order by 1, 2, 3
"""
# A debit that arrived is a payment; whether it was seen on its way is no matter.


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


@dataclass
class Tally:
    """What one run did."""

    lives: int = 0
    twice: int = 0
    lost: int = 0


@dataclass
class Tree:
    """Orders that begin alike are told their beginning once: each answer is applied in a savepoint, and taken back when its branch is done."""

    session: AsyncSession
    world: PaidWorld
    invoice: Invoice
    answers: list[Moment]
    lost: frozenset[int]
    again: dict[int, int]
    """After which answer which other one is told a second time."""
    expected: list[tuple[str, ...]]
    tally: Tally

    async def grow(self, told: tuple[int, ...], left: tuple[int, ...]) -> None:
        """Every order that begins with `told`; what is told is applied already."""
        if not left:
            await self.leaf(told)
            return
        for at in left:
            async with taken_back(self.session):
                await self.tell(at)
                await self.grow((*told, at), tuple(other for other in left if other != at))

    async def tell(self, at: int) -> None:
        """One event's answer arrives, unless it is lost, and perhaps another one once more."""
        if at not in self.lost:
            await self.apply(at)
        if at in self.again:
            await self.apply(self.again[at])

    async def apply(self, at: int) -> None:
        seen, payments = self.answers[at]
        await apply(self.session, self.world.organization_id, self.invoice.id, seen, payments)

    async def leaf(self, told: tuple[int, ...]) -> None:
        async with taken_back(self.session):
            if self.lost:
                # What was lost is found by the poll, which looks at what is there now.
                await self.apply(len(self.answers) - 1)
            found = await books(self.session)
            story = f"seed {seed()}, life {self.tally.lives}: order {told}, lost {sorted(self.lost)}, told again {self.again}"
            assert found == self.expected, story
            if self.tally.lives % 50 == 0:
                await hold(self.session, self.world)
        self.tally.lives += 1
        self.tally.twice += len(self.again)
        self.tally.lost += len(self.lost)


@asynccontextmanager
async def taken_back(session: AsyncSession) -> AsyncIterator[None]:
    """A branch whose doings are undone."""
    branch = await session.begin_nested()
    yield
    await session.flush()
    await branch.rollback()


async def books(session: AsyncSession) -> list[tuple[str, ...]]:
    """Everything that an order could leave otherwise."""
    await session.flush()
    return [tuple(row) for row in await session.execute(text(COMPARED))]


async def hold(session: AsyncSession, world: PaidWorld) -> None:
    # The chain's rows are written at the commit that this transaction never makes.
    broken = [one for one in await invariants.run(session, world.organization_id) if one.broken and one.check != "audit_chain"]
    assert [(one.check, one.broken) for one in broken] == []


async def test_every_order_of_a_life_of_seven_events_ends_the_same(world: PaidWorld, say: Callable[[str], None]) -> None:
    """Each life tells three events in a chosen order, and the other four in all their 24; the suite takes 21 such beginnings, the proof all 210."""
    invoice = await world.issued("1000.00")
    answers = await moments(world, invoice, LIFE)
    every = range(len(LIFE))
    beginnings = list(itertools.permutations(every, 3))
    random.Random(seed()).shuffle(beginnings)
    tally = Tally()
    with pytest.raises(Undone):
        async with world.db.transaction(world.organization_id) as session:
            tree = Tree(session, world, invoice, answers, frozenset(), {}, [], tally)
            async with taken_back(session):
                for at in every:
                    await tree.tell(at)
                tree.expected = await books(session)
                await hold(session, world)
            for number, beginning in enumerate(beginnings[: size(21, len(beginnings))]):
                dice = random.Random(f"{seed()}:{number}")
                tree.lost = frozenset(dice.sample(every, dice.choice((0, 0, 1, 2, 3))))
                tree.again = {at: dice.choice(every) for at in dice.sample(every, dice.randrange(3))}
                async with taken_back(session):
                    for at in beginning:
                        await tree.tell(at)
                    await tree.grow(beginning, tuple(at for at in every if at not in beginning))
            raise Undone
    assert [row[:3] for row in tree.expected if row[0] == "invoice"] == [("invoice", "partly_paid", "50000")]
    assert sorted(row[2:4] for row in tree.expected if row[0] == "payment") == [("50000", "0"), ("70000", "70000")]
    assert ("dispute", "lost") in {(row[0], row[3]) for row in tree.expected}
    say(
        f"webhooks: {tally.lives} of {math.factorial(len(LIFE))} orders of seven events end the same;"
        f" {tally.twice} answers told twice, {tally.lost} lost, seed {seed()}"
    )


# ---- over real HTTP ------------------------------------------------------------------------------------------------------------------------


async def test_lives_whose_webhooks_are_shuffled_repeated_and_lost(database_url: str, tmp_path: Path, say: Callable[[str], None]) -> None:
    """Real deliveries to a real server: several invoices live at once, and their events arrive in any order, twice, or never."""
    lives = size(6, 60)
    async with open_stage(database_url, tmp_path) as stage:
        ids = await handed_over(stage, lives)
        stage.sandbox.faults.webhooks(duplicate=1, shuffle=True, lose=0.25, seed=seed())
        for stripe_id in ids:
            stage.sandbox.pay(stripe_id, "declined")
            stage.sandbox.pay(stripe_id, "partial", 40_000)
            stage.sandbox.pay(stripe_id)
            stage.sandbox.refund(stripe_id, 10_000)
        await stage.sandbox.webhooks.idle()
        happened = len(stage.sandbox.events("stories"))
        stage.sandbox.faults.webhooks()
        await reconcile(stage)

        async def settled() -> bool:
            async with stage.services.db.reading(stage.organization_id) as session:
                rows = await session.execute(text("select paid_minor, state from invoice"))
                return {tuple(row) for row in rows} == {(110_000, "partly_paid")}

        async def polled() -> bool:
            async with stage.services.db.reading(stage.organization_id) as session:
                found = await session.execute(text("select count(*) from webhook_event where handled_at is null or found_by = 'poll'"))
                return bool(found.scalar_one())

        await until(polled, 60)
        await until(settled, 60)
        await stage.sound()
        async with stage.services.db.reading(stage.organization_id) as session:
            heard, missed = (
                await session.execute(
                    text(
                        "select count(*) filter (where found_by = 'webhook'), count(*) filter (where found_by = 'poll') from webhook_event"
                    )
                )
            ).one()
            counted = (await session.execute(text("select count(*), sum(amount_minor), sum(refunded_minor) from payment"))).one()
        assert tuple(counted) == (2 * lives, 120_000 * lives, 10_000 * lives)
        assert missed > 0, "something was lost, and the poll found it"
        say(f"webhooks over HTTP: {lives} lives, {happened} events, {heard} heard, {missed} found by the poll only, seed {seed()}")


async def handed_over(stage: Stage, count: int) -> list[str]:
    """So many invoices of 1,200.00 at the gateway."""
    db = stage.services.db
    org = Org(stage.organization_id, *(uuid7() for _ in range(3)))
    client_id = await make_client(db, org)
    shop = Shop(stage.services, org, client_id, await make_contact(db, org, client_id), "EUR")
    for milestone_id in await shop.active(*[100_000] * count):
        await shop.add_note(milestone_id)
        await shop.deliver(milestone_id)
        await shop.record(milestone_id)

    async def sent() -> list[str]:
        async with db.reading(stage.organization_id) as session:
            found = list(await session.scalars(text("select stripe_invoice_id from invoice where stripe_step = 'sent' order by number")))
        return [str(one) for one in found] if len(found) == count else []

    return list(await until(sent, 60))


async def reconcile(stage: Stage) -> None:
    async with stage.services.db.transaction(stage.organization_id) as session:
        await enqueue(session, Reconcile(organization_id=stage.organization_id))


# ---- forged ----------------------------------------------------------------------------------------------------------------------------------

PIECES = (
    "t=",
    "v1=",
    "v0=",
    ",",
    ",,",
    "=",
    " ",
    "t",
    "v1",
    "\t",
    "½",
    "é",
    "t=-1",
    "t=1e9",
    "t=nan",
    "0" * 64,
    "f" * 64,
    "'",
    '"',
    "%00",
    "t=0x10",
    "v1=v1=",
)


def header(dice: random.Random, good: str) -> str:
    """A signature header that is not right: pieces of one in any order, or the right one with something else in one place."""
    if dice.random() < 0.5:
        return "".join(dice.choice((*PIECES, good[:14], str(dice.randrange(10**12)))) for _ in range(dice.randrange(12)))
    at = dice.randrange(len(good))
    kind = dice.randrange(3)
    if kind == 0:
        return good[:at] + good[at + 1 :]
    if kind == 1:
        return good[:at] + dice.choice("0123456789abcdefgt=,v ½") + good[at + 1 :]
    return good[:at] + good[at:][::-1]


async def test_fuzzed_signatures_are_refused(world: PaidWorld, say: Callable[[str], None]) -> None:
    """Never 2xx unless it is the right signature after all, never 5xx, and nothing is kept."""
    dice = random.Random(seed())
    app: Any = create_app(world.billing.settings)
    about = {"id": "in_1", "object": "invoice", "status": "paid"}
    made = {
        "id": "evt_f",
        "object": "event",
        "type": "invoice.paid",
        "created": int(clock.now().timestamp()),
        "livemode": False,
        "data": {"object": about},
    }
    payload = json.dumps(made).encode()
    rounds, same = size(400, 10_000), 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as web:
        for _ in range(rounds):
            stamp = int(clock.now().timestamp())
            digest = hmac.new(WEBHOOK_SECRET.encode(), f"{stamp}.".encode() + payload, hashlib.sha256).hexdigest()
            good = f"t={stamp},v1={digest}"
            sent = header(dice, good)
            if f"t={stamp}" in sent.split(",") and f"v1={digest}" in sent.split(","):
                same += 1
                continue
            answer = await web.post("/webhooks/stripe", content=payload, headers={b"stripe-signature": sent.encode("utf-8")})
            assert answer.status_code == 400, (sent, answer.status_code, f"seed {seed()}")
    assert await world.inbox() == [] and same < rounds / 10
    say(f"webhooks: {rounds - same} fuzzed signature headers refused, seed {seed()}")
