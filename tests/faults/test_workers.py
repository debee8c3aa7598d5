"""Workers that freeze or die with a job in hand, jobs that always fail, and organizations with more work than their share."""

from __future__ import annotations

import io
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import structlog
from PIL import Image
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.conftest import TEMPLATE
from tests.factories import Org, make_organization
from tests.factories.filled import approve, invoice_of, pay
from tests.factories.proof import seed, size
from tests.factories.shop import Letterbox, Shop, make_shop, services_on
from tests.faults import kills
from tests.faults.killed import Ring, Rung
from tests.scenarios.stage import Visitor
from tollgate import clock
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import Services
from tollgate.cli import serving
from tollgate.db import embedded
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.jobs import enqueue
from tollgate.jobs.service import jobs_of
from tollgate.jobs.worker import Run, Worker
from tollgate.parties import service as parties
from tollgate.parties.models import Organization
from tollgate.parties.rules import OrganizationChanges
from tollgate.reports import invariants
from tollgate.settings import Settings

FROZEN = size(6, 100)
DEATHS = size(50, 1_000)
NOISE = 2_000
IDLE_SECONDS = 2.0
"""How long a frozen process may hold its locks here; 60 s outside of tests."""


async def sound(shop: Shop) -> None:
    """Every money invariant holds."""
    async with shop.db.reading(shop.org.id) as session:
        found = await invariants.run(session, shop.org.id, jobs_idle=True)
    assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []


# ---- frozen past the lease ----------------------------------------------------------------------------------------------


async def test_frozen_past_the_lease(cluster: embedded.EmbeddedServer, say: Callable[[str], None]) -> None:
    """SIGSTOP at a point, in a transaction or outside of one; another process takes over and finishes; SIGCONT: nothing doubled."""
    drawn = random.Random(seed())
    where: Counter[str] = Counter()
    with structlog.testing.capture_logs():
        async with (
            kills.databases(cluster, TEMPLATE) as new,
            kills.fork_server() as server,
            kills.an_organization(new, server, "frozen") as lives,
        ):
            passed = (await lives.warm(idle_seconds=IDLE_SECONDS))["webhook"]
            outside = [index + 1 for index, name in enumerate(passed) if "Stripe" in name or "Smtp" in name or "Storage" in name]
            inside = [index + 1 for index, name in enumerate(passed) if name.startswith("after ") and index + 1 not in outside]
            for number in range(FROZEN):
                point = drawn.choice(inside if number % 3 == 2 else outside)
                order = await lives.order()
                frozen = (await lives.send(order, "webhook", point, signal=signal.SIGSTOP)).get("frozen")
                assert frozen, f"frozen at {point} ({passed[point - 1]}), seed {seed()}: the life ended before"
                await lives.send(order, "webhook", 0)
                await lives.check(order)
                await kills.ask(server, {"thaw": frozen})
                await lives.check(order)
                where["outside" if point in outside else "inside a transaction"] += 1
            repeats = await lives.check_all()
    say(f"seed={seed()} frozen={FROZEN} {dict(where)} mails repeated={repeats} doubled=0")


# ---- dead with a job in hand --------------------------------------------------------------------------------------------


async def test_dead_with_a_job_in_hand(
    db: Database, settings: Settings, organization: Org, owner_url: str, say: Callable[[str], None]
) -> None:
    """Killed anywhere between the claim and the end of the record: the lease ends, another does the job, its effect is there once."""
    drawn = random.Random(seed())
    shift, number, in_a_row = timedelta(), 0, 0
    given = {name: str(value) if name == "data" else value for name, value in asdict(settings).items()}
    owner = create_async_engine(owner_url)

    async def deaths() -> int:
        async with owner.connect() as connection:
            return int((await connection.execute(text("select coalesce(sum(faults), 0) from job"))).scalar_one())

    async with kills.fork_server() as server:
        warm = await kills.ask(server, {"settings": given, "stop_at": 0, "shift_seconds": 0})
        while await deaths() < DEATHS:
            number += 1
            with clock.shifted(shift):
                async with db.transaction(organization.id) as session:
                    await enqueue(session, Ring(organization_id=organization.id, number=number))
            # Never eight times the same job: that one is given up.
            stop_at = 0 if in_a_row == 5 else drawn.randint(len(warm["points"]), 20)
            killed = (await kills.ask(server, {"stop_at": stop_at, "shift_seconds": shift.total_seconds()}))["killed"]
            in_a_row = in_a_row + 1 if killed else 0
            shift += kills.AFTER_THE_LEASE
        await kills.ask(server, {"stop_at": 0, "shift_seconds": shift.total_seconds()})
    async with db.reading(organization.id) as session:
        left = await jobs_of(session, organization.id, ("ready", "running", "dead"), limit=100_000)
    assert sorted(job.arguments["number"] for job in left if job.kind == Rung.kind) == list(range(1, number + 1)), f"seed {seed()}"
    assert {job.kind for job in left} == {Rung.kind}, "every job was done, and none was given up"
    say(f"seed={seed()} died holding a job={await deaths()} jobs={number} lost=0 doubled=0")
    await owner.dispose()


# ---- poison -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def admin_of(shop: Shop) -> AsyncIterator[Visitor]:
    """Somebody at the pages of a server, signed in as an admin."""
    email, password = "ada@nordlicht.example", "correct horse battery staple"
    await access.create_member(shop.db, Command.operator(shop.org.id), email=email, name="Ada", role=Role.ADMIN, password=password)
    with serving.listen("127.0.0.1", 0) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        settings = shop.services.settings.with_(base_url=url)
        async with (
            serving.web(settings, Services.of(settings), sock),
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
        ):
            visitor = Visitor(http)
            await visitor.open("/sign-in")
            await visitor.send("/sign-in", email=email, password=password)
            yield visitor


async def give_logo(shop: Shop) -> Path:
    """A logo for the organization's documents; answers its file."""
    drawn = io.BytesIO()
    Image.new("RGB", (40, 20), "navy").save(drawn, "PNG")
    async with shop.db.reading(shop.org.id) as session:
        version = (await session.get_one(Organization, shop.org.id)).version
    admin = shop.org.command("admin")
    await parties.change_organization(shop.db, admin, version, OrganizationChanges(), storage=shop.services.storage, logo=drawn.getvalue())
    async with shop.db.reading(shop.org.id) as session:
        name = str((await session.get_one(Organization, shop.org.id)).logo_sha256_hex)
    (file,) = shop.services.settings.files_folder.rglob(name)
    return file


async def test_poison(db: Database, settings: Settings) -> None:
    """Documents that cannot be drawn, for the logo's file is lost: given up after eight tries, seen by an admin, run again once mended."""
    with structlog.testing.capture_logs():
        letterbox = Letterbox()
        shop = await make_shop(services_on(settings, db, letterbox))
        (before, poisoned) = await shop.active(100_00, 200_00)
        await approve(shop, before)
        await shop.work()
        logo = await give_logo(shop)
        content = logo.read_bytes()
        logo.unlink()
        await approve(shop, poisoned)
        await pay(shop, await invoice_of(shop, before))
        for tries in range(12):
            with clock.shifted(timedelta(hours=2 * tries)):
                await shop.work()

        # The invoice is issued and booked, and only its papers wait; the receipt, which needs none, went out.
        invoice = await invoice_of(shop, poisoned)
        subjects = [str(mail["Subject"]) for mail in letterbox.mails]
        assert invoice.state == "issued" and not [subject for subject in subjects if str(invoice.number) in subject]
        assert [subject for subject in subjects if "is paid" in subject], subjects
        async with db.reading(shop.org.id) as session:
            dead = await jobs_of(session, shop.org.id)
        assert Counter((job.kind, job.attempts) for job in dead) == {("documents.render", 8): 2}, "the certificate and the invoice"
        async with admin_of(shop) as admin:
            assert "Job failed documents.render" in await admin.open("/")
            assert "(8 tries)" in admin.text
            logo.write_bytes(content)
            for _job in dead:
                await admin.open("/")
                await admin.send("/requeue")
            assert "Job failed" not in await admin.open("/")
        await shop.work()
        assert [mail for mail in letterbox.mails if str(invoice.number) in str(mail["Subject"]) and list(mail.iter_attachments())]
        await sound(shop)


# ---- noisy neighbours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 4])
async def test_noisy_neighbours(db: Database, settings: Settings, slots: int, say: Callable[[str], None]) -> None:
    """Two organizations have thousands of jobs due; a third approves something. Its whole chain is done within a few of theirs each."""
    with structlog.testing.capture_logs():
        shop = await make_shop(services_on(settings, db))
        noisy = [await make_organization(db) for _ in range(2)]
        (milestone_id,) = await shop.active(100_00)
        for one in noisy:
            async with db.transaction(one.id) as session:
                for number in range(NOISE // len(noisy)):
                    await enqueue(session, Ring(organization_id=one.id, number=number))
        await approve(shop, milestone_id)
        turns: Counter[UUID] = Counter()

        async def noise(run: Run, job: Ring) -> None:
            turns[job.organization_id] += 1

        worker = Worker(db, {**shop.services.handlers, Ring: noise}, concurrency=slots)
        while await waiting(shop.db, shop.org.id):
            assert await worker.run_once() == slots
        async with db.reading(shop.org.id) as session:
            ours = len(await jobs_of(session, shop.org.id, ("done",)))
        heard = sum(turns.values())
        say(f"slots={slots}: {ours} jobs of the quiet one were done while {heard} of {NOISE} of the noisy ones ran")
        # With one slot two noisy ones for each of ours, drawn by lot; with four at most three.
        assert ours >= 8 and heard <= (12 * ours if slots == 1 else 3 * ours)
        assert [await waiting(db, one.id) for one in noisy] == [NOISE // 2 - turns[one.id] for one in noisy]
        await sound(shop)


async def waiting(db: Database, organization_id: UUID) -> int:
    """How many jobs of an organization are to be done."""
    async with db.reading(organization_id) as session:
        return len(await jobs_of(session, organization_id, ("ready", "running"), limit=NOISE))


async def test_what_runs_counts_as_had(db: Database) -> None:
    """Three slots are busy with the noisy one's jobs; the one that gets free is the other's, whoever waits for longer."""
    noisy, quiet = await make_organization(db), await make_organization(db)
    for one, count in ((noisy, 20), (quiet, 1)):
        async with db.transaction(one.id) as session:
            for number in range(count):
                await enqueue(session, Ring(organization_id=one.id, number=number))
    worker = Worker(db, {})
    with clock.shifted(timedelta(seconds=-1)):
        assert await worker._claim(1) == [], "not due yet"
    first = await worker._claim(4)
    assert Counter(row.organization_id for row in first) == {noisy.id: 3, quiet.id: 1}
    async with db.transaction(quiet.id) as session:
        await enqueue(session, Ring(organization_id=quiet.id, number=2))
    (following,) = await worker._claim(1)
    assert following.organization_id == quiet.id
