"""What every room stands on: tenancy, idempotency, the audit chain, jobs, and rows that cannot be changed."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.factories import Org, make_client, make_organization
from tollgate import audit, clock, models
from tollgate.audit.anchors import Anchors, AnchorsChecked
from tollgate.audit.models import AuditEvent
from tollgate.db.base import tenant_tables
from tollgate.db.command import IdempotencyKey, KeyReused, Replayed
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Unavailable
from tollgate.jobs import Job, enqueue
from tollgate.jobs.service import jobs_of, requeue
from tollgate.jobs.worker import LeaseLost, Run, Worker
from tollgate.parties.models import Client

assert models


class Ring(Job, frozen=True, kw_only=True):
    kind = "test.ring"
    number: int


async def test_every_tenant_table_is_guarded(owner_url: str) -> None:
    engine = create_async_engine(owner_url)
    async with engine.connect() as connection:
        rows = await connection.execute(
            text(
                "select c.relname from pg_class c where c.relrowsecurity and c.relforcerowsecurity"
                " and (select count(*) from pg_policy p where p.polrelid = c.oid) = 2"
            )
        )
        guarded = sorted(row[0] for row in rows)
        keys = await connection.execute(
            text(
                "select conrelid::regclass::text, a.attname from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]"
                " where k.contype in ('p', 'u')"
            )
        )
        first = {str(table): str(column) for table, column in keys}
    await engine.dispose()
    assert guarded == tenant_tables()
    assert {table for table in guarded if first[table] != "organization_id"} == set()


async def test_an_organization_never_sees_another_ones_rows(db: Database) -> None:
    one, other = await make_organization(db), await make_organization(db)
    client_id = await make_client(db, one)
    async with db.reading(other.id) as session:
        assert (await session.execute(select(Client).where(Client.id == client_id))).scalar_one_or_none() is None
    async with db.directory() as session:
        assert (await session.execute(text("select count(*) from client"))).scalar_one() == 0
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with db.transaction(other.id) as session:
            session.add(
                Client(organization_id=one.id, id=uuid7(), legal_name="Planted", country="AT", currency="EUR", created_at=clock.now())
            )


async def test_the_owner_backfills_every_organization(db: Database, owner_url: str) -> None:
    for _ in range(2):
        await make_client(db, await make_organization(db))
    engine = create_async_engine(owner_url)
    async with engine.begin() as connection:
        touched = await connection.execute(text("update client set region = 'backfilled'"))
        assert touched.rowcount == 2
    await engine.dispose()


async def test_the_application_reaches_directory_tables_by_functions_only(db: Database) -> None:
    for table in ("identity", "membership", "session", "api_key_route", "attempt", "job", "gateway_endpoint", "outbox_hold"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with db.directory() as session:
                await session.execute(text(f"select * from {table}"))


async def test_a_read_cannot_write(db: Database, organization: Org) -> None:
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with db.reading(organization.id) as session:
            await session.execute(text("update organization set city = 'Graz'"))


async def name_client(db: Database, organization: Org, key: str | None, body: bytes = b"one") -> UUID:
    command = organization.command(key=key, verb="POST /clients", request_sha256=body.ljust(32, b"\0"))
    async with db.transaction(organization.id, command) as session:
        client = Client(
            organization_id=organization.id, id=uuid7(), legal_name="Once", country="AT", currency="EUR", created_at=clock.now()
        )
        session.add(client)
        audit.record(session, "client.created", ("client", client.id), country="AT")
        return answer(session, client.id, 201)


async def test_the_same_key_at_the_same_time_does_it_once(db: Database, organization: Org) -> None:
    results = await asyncio.gather(*(name_client(db, organization, "k1") for _ in range(8)), return_exceptions=True)
    made = [result for result in results if isinstance(result, UUID)]
    replays = [result for result in results if isinstance(result, Replayed)]
    assert (len(made), len(replays)) == (1, 7)
    assert {(replay.resource_id, replay.status) for replay in replays} == {(made[0], 201)}
    async with db.reading(organization.id) as session:
        assert len((await session.execute(select(Client))).scalars().all()) == 1


async def test_a_key_means_one_request(db: Database, organization: Org) -> None:
    await name_client(db, organization, "k1")
    with pytest.raises(KeyReused):
        await name_client(db, organization, "k1", b"another body")


async def test_a_failed_command_leaves_its_key_free(db: Database, organization: Org) -> None:
    command = organization.command(key="k1", verb="POST /clients", request_sha256=b"one".ljust(32, b"\0"))
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(organization.id, command):
            raise ZeroDivisionError
    assert isinstance(await name_client(db, organization, "k1"), UUID)
    async with db.reading(organization.id) as session:
        assert len((await session.execute(select(IdempotencyKey))).scalars().all()) == 1


async def test_the_audit_chain_finds_edits_cuts_and_reorders(db: Database, organization: Org, owner_url: str) -> None:
    for _ in range(6):
        await name_client(db, organization, None)
    async with db.reading(organization.id) as session:
        whole = await audit.verify(session, organization.id)
        stored = [event.hash for event in (await session.execute(select(AuditEvent).order_by(AuditEvent.seq))).scalars()]
    assert (whole.events, whole.broken_at, whole.head_sha256) == (6, None, stored[-1])
    assert (
        await _broken_after(db, organization, owner_url, "update audit_event set content = replace(content, 'AT', 'DE') where seq = 3") == 3
    )
    assert await _broken_after(db, organization, owner_url, "delete from audit_event where seq = 6") == 6
    assert (
        await _broken_after(
            db,
            organization,
            owner_url,
            "update audit_event set seq = case seq when 2 then 12 when 4 then 2 else seq end where seq in (2, 4)",
        )
        == 2
    )
    assert await _broken_after(db, organization, owner_url, "update audit_event set subject_kind = 'contract' where seq = 5") == 5


async def _broken_after(db: Database, organization: Org, owner_url: str, tampering: str) -> int | None:
    """What verification says inside a transaction that tampers (as a superuser could) and is rolled back."""
    engine = create_async_engine(owner_url)
    try:
        async with engine.connect() as connection:
            from sqlalchemy.ext.asyncio import AsyncSession

            await connection.execute(text("alter table audit_event disable trigger refuse_change"))
            await connection.execute(text(tampering))
            async with AsyncSession(bind=connection) as session:
                found = await audit.verify(session, organization.id)
            await connection.rollback()
            return found.broken_at
    finally:
        await engine.dispose()


async def test_immutable_rows_refuse_the_application(db: Database, organization: Org) -> None:
    await name_client(db, organization, None)
    for statement in (
        "update audit_event set name = 'x'",
        "delete from audit_event",
        "delete from audit_head",
        "delete from journal_posting",
        "update journal_entry set event = 'x'",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with db.transaction(organization.id) as session:
                await session.execute(text(statement))


async def test_an_unbalanced_entry_is_refused_by_the_database(db: Database, organization: Org) -> None:
    entry = uuid7()
    with pytest.raises(IntegrityError, match="does not balance"):
        async with db.transaction(organization.id) as session:
            await session.execute(
                text(
                    "insert into journal_entry (organization_id, id, event, source, booked_on, subject_kind, subject_id, created_at)"
                    " values (:o, :e, 'test', 'test', current_date, 'test', :e, now())"
                ),
                {"o": organization.id, "e": entry},
            )
            await session.execute(
                text(
                    "insert into journal_posting (organization_id, entry_id, position, account, amount_minor, currency, book_amount_minor, book_currency)"
                    " values (:o, :e, 1, 'bank', 100, 'EUR', 100, 'EUR'), (:o, :e, 2, 'receivable', -99, 'EUR', -99, 'EUR')"
                ),
                {"o": organization.id, "e": entry},
            )


async def test_a_job_is_committed_with_its_cause_and_runs_once(db: Database, organization: Org) -> None:
    rung: list[int] = []

    async def ring(run: Run, job: Ring) -> None:
        async with run.record():
            rung.append(job.number)

    with pytest.raises(ZeroDivisionError):
        async with db.transaction(organization.id) as session:
            await enqueue(session, Ring(organization_id=organization.id, number=0))
            raise ZeroDivisionError
    async with db.transaction(organization.id) as session:
        for number in range(1, 6):
            await enqueue(session, Ring(organization_id=organization.id, number=number))
    workers = [Worker(db, {Ring: ring}) for _ in range(3)]
    await asyncio.gather(*(worker.run_until_idle() for worker in workers))
    assert sorted(rung) == [1, 2, 3, 4, 5]


async def test_a_lost_lease_records_nothing(db: Database, organization: Org) -> None:
    async with db.transaction(organization.id) as session:
        await enqueue(session, Ring(organization_id=organization.id, number=1))
    slow = Worker(db, {})
    claimed = (await slow._claim(4))[0]
    with clock.shifted(timedelta(minutes=5)):
        taken_over = (await Worker(db, {})._claim(4))[0]
    assert claimed.id == taken_over.id and claimed.fence < taken_over.fence
    with pytest.raises(LeaseLost):
        async with Run(db, claimed.id, organization.id, claimed.fence, 1, False).record():
            raise AssertionError("a frozen worker's record must not run")


async def test_a_poison_job_ends_dead_and_visible_and_can_be_requeued(db: Database, organization: Org) -> None:
    async def poison(run: Run, job: Ring) -> None:
        raise RuntimeError("no use")

    async with db.transaction(organization.id) as session:
        await enqueue(session, Ring(organization_id=organization.id, number=1))
    worker = Worker(db, {Ring: poison})
    for day in range(12):
        with clock.shifted(timedelta(days=day)):
            await worker.run_until_idle()
    async with db.reading(organization.id) as session:
        (dead,) = await jobs_of(session, organization.id)
    assert (dead.attempts, dead.state, dead.last_error) == (8, "dead", "RuntimeError: no use")
    async with db.transaction(organization.id) as session:
        assert not await requeue(session, uuid7(), dead.id), "a foreign organization's job"
        assert await requeue(session, organization.id, dead.id)


async def test_a_job_that_kills_its_worker_is_given_up_too(db: Database, organization: Org) -> None:
    async with db.transaction(organization.id) as session:
        await enqueue(session, Ring(organization_id=organization.id, number=1))
    taken = 0
    for hour in range(12):
        with clock.shifted(timedelta(hours=hour)):
            # A claim that nobody ever finishes: the worker died.
            taken += len(await Worker(db, {})._claim(1))
    async with db.reading(organization.id) as session:
        (dead,) = await jobs_of(session, organization.id)
    assert (taken, dead.last_error) == (8, "the worker died while running it")


async def test_an_outage_of_a_day_kills_no_job(db: Database, organization: Org) -> None:
    rung: list[int] = []
    down = True

    async def ring(run: Run, job: Ring) -> None:
        if down:
            raise Unavailable
        rung.append(job.number)

    async with db.transaction(organization.id) as session:
        await enqueue(session, Ring(organization_id=organization.id, number=1))
    worker = Worker(db, {Ring: ring})
    for minutes in range(0, 24 * 60, 20):
        with clock.shifted(timedelta(minutes=minutes)):
            await worker.run_until_idle()
    down = False
    with clock.shifted(timedelta(hours=26)):
        await worker.run_until_idle()
    assert rung == [1]


async def test_a_slow_job_keeps_no_other_waiting_and_keeps_its_lease(
    db: Database, organization: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tollgate.jobs.worker.LEASE", timedelta(seconds=2))
    begun: list[int] = []
    rung: list[int] = []

    async def ring(run: Run, job: Ring) -> None:
        begun.append(job.number)
        await asyncio.sleep(4.5 if job.number == 1 else 0)
        async with run.record():
            rung.append(job.number)

    async with db.transaction(organization.id) as session:
        for number in range(1, 9):
            await enqueue(session, Ring(organization_id=organization.id, number=number))
    workers = [Worker(db, {Ring: ring}, concurrency=2, poll_seconds=0.1) for _ in range(2)]
    tasks = [asyncio.create_task(worker.run_forever()) for worker in workers]
    async with asyncio.timeout(60):
        while len(rung) < 8 and begun.count(1) < 2:  # noqa: ASYNC110 - the workers make it true
            await asyncio.sleep(0.05)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*tasks)
    assert begun.count(1) == 1, "nobody took the slow one over, though it outlived two leases"
    assert sorted(rung) == list(range(1, 9))
    assert rung[-1] == 1


async def test_a_noisy_neighbour_does_not_starve_others(db: Database) -> None:
    noisy, quiet = await make_organization(db), await make_organization(db)
    async with db.transaction(noisy.id) as session:
        for number in range(50):
            await enqueue(session, Ring(organization_id=noisy.id, number=number))
    async with db.transaction(quiet.id) as session:
        await enqueue(session, Ring(organization_id=quiet.id, number=1))
    batch: list[Any] = await Worker(db, {}, concurrency=4)._claim(4)
    assert quiet.id in {row.organization_id for row in batch}


async def test_waiting_jobs_with_one_word_are_one_job(db: Database, organization: Org) -> None:
    async with db.transaction(organization.id) as session:
        for _ in range(3):
            await enqueue(session, Ring(organization_id=organization.id, number=1), dedupe="same")
    async with db.reading(organization.id) as session:
        assert len(await jobs_of(session, organization.id, ("ready",))) == 1


def test_only_the_clock_reads_the_time() -> None:
    source = Path(__file__).parents[2] / "src" / "tollgate"
    reading = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(|time\.time\(")
    found = [str(path) for path in source.rglob("*.py") if path.name != "clock.py" and reading.search(path.read_text())]
    assert found == []


async def test_an_anchor_sees_a_cut_tail(db: Database, organization: Org, owner_url: str, tmp_path: Path) -> None:
    anchors = Anchors(tmp_path, "secret" * 8)
    for _ in range(3):
        await name_client(db, organization, None)
        async with db.reading(organization.id) as session:
            head = await audit.head(session, organization.id)
            seq = (await audit.verify(session, organization.id)).events
        anchors.append(organization.id, seq, head)
        anchors.append(organization.id, seq, head)
    async with db.reading(organization.id) as session:
        assert await anchors.check(session, organization.id) == AnchorsChecked(3, ())
        assert await Anchors(tmp_path, "another" * 8).check(session, organization.id) == AnchorsChecked(3, (1, 2, 3))
    engine = create_async_engine(owner_url)
    async with engine.begin() as connection:
        # The whole tail is cut and the head moved back: the chain alone looks whole.
        await connection.execute(text("alter table audit_event disable trigger refuse_change"))
        await connection.execute(text("delete from audit_event where seq = 3"))
        await connection.execute(text("update audit_head set seq = 2, hash = (select hash from audit_event where seq = 2)"))
    await engine.dispose()
    async with db.reading(organization.id) as session:
        assert (await audit.verify(session, organization.id)).broken_at is None
        assert await anchors.check(session, organization.id) == AnchorsChecked(3, (3,))
