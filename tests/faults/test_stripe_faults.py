"""Stripe misbehaves while an invoice is handed over: each call lost, answered late, refused or answered wrongly, one fault and two.

Every life is an organization with an account of its own and one invoice. At the end there is one invoice at Stripe with our number and our
total, nothing doubled and nothing half made, whatever the answers were; then it is paid, and every money invariant holds.

A failure names seed and life; `TOLLGATE_SEED=… python -m tests tests/faults/test_stripe_faults.py` runs it again.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import get_args

import pytest

from tests.factories.proof import seed, size
from tests.sandbox.conftest import running
from tests.service.billing_world import World, make_world
from tollgate import clock
from tollgate.billing.models import Invoice
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.jobs import enqueue
from tollgate.jobs.service import jobs_of
from tollgate.jobs.worker import Worker
from tollgate.payments import jobs as payment_jobs
from tollgate.payments import service
from tollgate.payments.accounts import Gateways
from tollgate.payments.news import Observe
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate_sandbox import Sandbox
from tollgate_sandbox.faults import Kind

KINDS: tuple[Kind, ...] = ("lost_request", "lost_response", "rate_limited", "done_failed_saved", "conflict", "slow", "reset")
EVERY_KIND: tuple[Kind, ...] = get_args(Kind)
HOURS = tuple(timedelta(hours=hours) for hours in (0, 1, 3, 8, 20, 24, 26, 28, 32, 48))
"""When the worker looks again. A saved 500 is replayed for a day before the call may be made anew."""
AT_ONCE = 28
Plan = tuple[tuple[Kind, int], ...]
"""Which faults meet a life, each after so many calls that it lets pass."""


@dataclass
class Life:
    """One organization, its account, its invoice."""

    name: str
    world: World
    invoice: Invoice | None = None


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running() as made:
        yield made


@pytest.fixture
def used(settings: Settings, sandbox: Sandbox) -> Settings:
    return replace(settings, stripe_api_base=sandbox.stripe_url)


async def born(db: Database, storage: LocalStorage, used: Settings, name: str) -> Life:
    """An organization with an account, and an approved milestone whose invoice is about to be issued."""
    world = await make_world(db, storage, used)
    account = service.NewAccount(secret_key=f"sk_test_{name}", webhook_secret="whsec_of_a_life")
    await service.connect_account(Gateways(db, used), world.org.command(), account)
    (milestone_id,) = await world.contract("1000.05", rate="13")
    await world.approve(milestone_id)
    return Life(name, world)


def worker_of(life: Life, db: Database) -> Worker:
    """A worker for billing, documents and payments of every organization; mails are dropped."""
    worker = life.world.worker
    for kind, handler in payment_jobs.handlers(Gateways(db, life.world.settings)).items():
        worker.kinds[kind.kind] = (kind, handler)
    worker.concurrency = AT_ONCE
    return worker


async def lived(db: Database, lives: Sequence[Life]) -> None:
    """Work on, later and later, until every invoice is handed over or nobody tries any more."""
    for later in HOURS:
        with clock.shifted(later):
            await worker_of(lives[0], db).run_until_idle()
        for life in lives:
            (life.invoice,) = await life.world.invoices()
        if all(life.invoice is not None and life.invoice.stripe_step == "sent" for life in lives):
            return


async def sound(sandbox: Sandbox, db: Database, life: Life, story: str) -> None:
    """One invoice there, and it is ours to the cent."""
    invoice, org = life.invoice, life.world.org.id
    async with db.reading(org) as session:
        dead = await jobs_of(session, org)
    assert invoice is not None and (invoice.stripe_step, invoice.stripe_problem, dead) == ("sent", None, []), story
    account = sandbox.world.account(life.name)
    rows = [row for row in account.all("invoice") if row["status"] != "void"]
    assert [(row["id"], row["status"], row["number"], row["total"]) for row in rows] == [
        (invoice.stripe_invoice_id, "open", invoice.number, invoice.payable_minor)
    ], story
    assert len(list(account.all("customer"))) == 1, story


async def paid(sandbox: Sandbox, db: Database, lives: Sequence[Life]) -> None:
    """Everybody pays; the daily look finds it, and the books are right."""
    for life in lives:
        assert life.invoice is not None
        sandbox.pay(str(life.invoice.stripe_invoice_id))
        await observe(db, life)
    with clock.shifted(HOURS[-1]):
        await worker_of(lives[0], db).run_until_idle()
    for life in lives:
        (invoice,) = await life.world.invoices()
        assert (invoice.state, invoice.paid_minor) == ("paid", invoice.payable_minor), life.name
        async with db.reading(life.world.org.id) as session:
            broken = [one for one in await invariants.run(session, life.world.org.id) if one.broken]
        assert [(one.check, one.broken) for one in broken] == [], life.name


async def observe(db: Database, life: Life) -> None:
    assert life.invoice is not None
    async with db.transaction(life.world.org.id) as session:
        await enqueue(session, Observe(organization_id=life.world.org.id, invoice_id=life.invoice.id))


def plans(calls: int) -> list[Plan]:
    """Every fault at every call; every fault after every other; in the long run all kinds, and 3,000 lives with two to four faults."""
    dice = random.Random(seed())
    long = size(0, 3000)
    kinds = EVERY_KIND if long else KINDS
    singles: list[Plan] = [((kind, at),) for kind in kinds for at in range(calls)]
    pairs: list[Plan] = [
        ((first, at := dice.randrange(calls)), (second, dice.randrange(at, calls))) for first, second in itertools.product(kinds, kinds)
    ]
    more: list[Plan] = [tuple((dice.choice(kinds), dice.randrange(calls)) for _ in range(dice.randrange(2, 5))) for _ in range(long)]
    return singles + pairs + more


async def test_every_fault_and_every_pair_ends_in_one_invoice(
    db: Database, storage: LocalStorage, used: Settings, sandbox: Sandbox, say: Callable[[str], None]
) -> None:
    first = await born(db, storage, used, "first")
    sandbox.faults.forget()
    await lived(db, [first])
    await sound(sandbox, db, first, "no fault")
    calls = len(sandbox.calls)
    assert calls >= 6
    planned = plans(calls)
    met: dict[str, int] = {}
    for start in range(0, len(planned), AT_ONCE):
        lives = []
        for number, plan in enumerate(planned[start : start + AT_ONCE], start):
            life = await born(db, storage, used, f"life{number}")
            for kind, skip in plan:
                sandbox.faults.call(kind, skip=skip, account=life.name, seconds=0.05)
            lives.append(life)
        await lived(db, lives)
        for number, life in enumerate(lives, start):
            await sound(sandbox, db, life, f"seed {seed()}, life {number}: {planned[number]}")
            for seen in sandbox.faults.calls(account=life.name):
                if seen.fault:
                    met[seen.fault] = met.get(seen.fault, 0) + 1
        await paid(sandbox, db, lives)
        sandbox.faults.forget()
    assert set(met) >= set(KINDS)
    say(
        f"Stripe: {len(planned)} lives of {calls} calls with one to four faults, one invoice each; met {sum(met.values())}: {met}, seed {seed()}"
    )
