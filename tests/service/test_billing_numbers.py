"""R11 on PostgreSQL: no gap, no repeat, never back in time, whatever runs at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from sqlalchemy import select

from tests.service.billing_world import World, make_world
from tollgate import clock
from tollgate.billing import service
from tollgate.billing.models import NumberSeries
from tollgate.billing.numbers import NumberTaken, take_number
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.parties.models import Organization
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> World:
    return await make_world(db, storage, settings)


async def test_twenty_issuers_at_once_leave_no_gap_and_no_repeat(world: World) -> None:
    milestones = await world.contract(*["10.00"] * 20, on_approval="review")
    await world.approve(*milestones)

    async def issue(milestone_id: UUID) -> UUID:
        return await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)

    await asyncio.gather(*(issue(milestone_id) for milestone_id in milestones))
    invoices = await world.invoices()
    assert sorted(row.series_seq or 0 for row in invoices) == list(range(1, 21))
    assert len({row.number for row in invoices}) == 20
    await world.assert_ledger_matches()


async def test_twenty_issuers_of_twenty_contracts_do_not_meet_before_the_number(world: World) -> None:
    milestones = [(await world.contract("10.00", on_approval="review"))[0] for _ in range(20)]
    await world.approve(*milestones)
    verbs = [service.invoice_milestone(world.db, world.org.command("finance"), item, world.settings) for item in milestones]
    await asyncio.gather(*verbs)
    assert sorted(row.series_seq or 0 for row in await world.invoices()) == list(range(1, 21))


async def test_the_first_two_numbers_taken_at_once(db: Database, world: World) -> None:
    async def take() -> int:
        async with db.transaction(world.org.id) as session:
            return (await take_number(session, world.org.id, "invoice", "INV-{year}-{seq:04}", date(2026, 11, 24))).seq

    assert sorted(await asyncio.gather(*(take() for _ in range(8)))) == list(range(1, 9))


async def test_a_failed_verb_gives_its_number_back(db: Database, world: World) -> None:
    day = date(2026, 11, 24)
    with pytest.raises(RuntimeError, match="crash"):
        async with db.transaction(world.org.id) as session:
            await take_number(session, world.org.id, "invoice", "INV-{year}-{seq:04}", day)
            raise RuntimeError("crash")
    async with db.transaction(world.org.id) as session:
        assert (await take_number(session, world.org.id, "invoice", "INV-{year}-{seq:04}", day)).seq == 1


async def test_a_clock_that_is_behind_uses_the_last_day(world: World) -> None:
    first, second = await world.contract("10.00", "20.00")
    with clock.moved_to(datetime(2026, 11, 24, 12, tzinfo=UTC)):
        await world.bill(first)
    with clock.moved_to(datetime(2026, 11, 20, 12, tzinfo=UTC)):
        await world.approve(second)
        async with world.db.transaction(world.org.id) as session:
            await service.bill_approved(session, world.org.id, second, world.settings)
    invoice = await world.invoice_of(second)
    assert (invoice.series_seq, invoice.issued_on, invoice.due_on) == (2, date(2026, 11, 24), date(2026, 12, 24))


async def test_a_clock_that_falls_back_over_new_year_stays_in_the_new_series(db: Database, world: World) -> None:
    async def take(day: date) -> str:
        async with db.transaction(world.org.id) as session:
            return (await take_number(session, world.org.id, "invoice", "INV-{year}-{seq:04}", day)).text

    assert await take(date(2026, 12, 31)) == "INV-2026-0001"
    assert await take(date(2027, 1, 1)) == "INV-2027-0001"
    assert await take(date(2026, 12, 31)) == "INV-2027-0002"


async def test_each_kind_and_each_format_counts_by_itself(db: Database, world: World) -> None:
    day = date(2026, 11, 24)
    async with db.transaction(world.org.id) as session:
        assert (await take_number(session, world.org.id, "invoice", "INV-{year}-{seq:04}", day)).text == "INV-2026-0001"
        assert (await take_number(session, world.org.id, "credit_note", "CN-{year}-{seq:04}", day)).text == "CN-2026-0001"
        assert (await take_number(session, world.org.id, "invoice", "R{seq}", day)).text == "R1"
        assert (await take_number(session, world.org.id, "invoice", "INV-{year}-{seq:04}", day)).text == "INV-2026-0002"
    async with db.reading(world.org.id) as session:
        kept = {(row.kind, row.key): row.last_seq for row in await session.scalars(select(NumberSeries))}
    assert kept == {("invoice", "INV-2026-{seq:04}"): 2, ("credit_note", "CN-2026-{seq:04}"): 1, ("invoice", "R{seq}"): 1}


async def test_a_number_that_another_format_has_written_is_refused(world: World) -> None:
    first, second = await world.contract("10.00", "20.00", on_approval="review")
    await world.bill(first)
    await service.invoice_milestone(world.db, world.org.command("finance"), first, world.settings)
    async with world.db.transaction(world.org.id) as session:
        number = (await world.invoice_of(first)).number
        (await session.get_one(Organization, world.org.id)).invoice_number_format = str(number).removesuffix("0001") + "000{seq}"
    await world.approve(second)
    with pytest.raises(NumberTaken):
        await service.invoice_milestone(world.db, world.org.command("finance"), second, world.settings)
    assert (await world.milestone(second)).state == "approved"
