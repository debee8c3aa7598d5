"""Bank transfers: allocated as told or oldest due first, the rest client credit, and Stripe told at once (R14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import make_client, make_organization
from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.db.command import Replayed
from tollgate.db.database import Database
from tollgate.errors import Invalid, NotFound
from tollgate.files.storage import LocalStorage
from tollgate.money.amount import Money
from tollgate.payments import service
from tollgate.payments.rules import CannotAllocate, Chosen
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


def eur(text: str) -> Money:
    return Money.parse(text, "EUR")


def transfer(world: PaidWorld, amount: str, *chosen: Chosen, **changes: object) -> service.NewTransfer:
    return service.NewTransfer(
        **{
            "client_id": world.billing.client_id,
            "amount": eur(amount),
            "received_on": clock.today("Europe/Vienna"),
            "reference": "INV",
            "allocations": chosen or None,
            **changes,
        }  # type: ignore[arg-type]
    )


async def record(world: PaidWorld, amount: str, *chosen: Chosen, **changes: object) -> None:
    await service.record_transfer(world.db, world.billing.org.command("finance"), transfer(world, amount, *chosen, **changes))


async def test_the_oldest_due_is_settled_first_and_the_rest_is_client_credit(world: PaidWorld) -> None:
    with clock.shifted(-timedelta(days=40)):
        older = await world.issued("100.00")
    newer = await world.issued("200.00")
    await record(world, "250.00")
    (first,) = await world.payments()
    assert [(one.invoice_id, one.amount) for one in first.allocations] == [(older.id, eur("120.00")), (newer.id, eur("130.00"))]
    assert [(await world.invoice(one.id)).state for one in (older, newer)] == ["paid", "partly_paid"]
    await record(world, "200.00")
    rest = next(one for one in await world.payments() if one.id != first.id)
    assert (rest.allocations[0].amount, rest.client_credit) == (eur("110.00"), eur("90.00"))
    await world.assert_sound()


async def test_a_choice_is_followed_and_touches_nothing_else(world: PaidWorld) -> None:
    one, other = await world.issued("100.00"), await world.issued("200.00")
    await record(world, "100.00", Chosen(other.id, eur("40.00")))
    (payment,) = await world.payments()
    assert ([item.invoice_id for item in payment.allocations], payment.client_credit) == ([other.id], eur("60.00"))
    assert (await world.invoice(one.id)).paid_minor == 0
    await world.assert_sound()


async def test_what_does_not_fit_is_refused_and_nothing_is_kept(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    wrong = (
        (Chosen(invoice.id, eur("120.01")),),
        (Chosen(invoice.id, eur("60.00")), Chosen(invoice.id, eur("60.00"))),
        (Chosen(uuid4(), eur("10.00")),),
        (Chosen(invoice.id, Money(1, "USD")),),
    )
    for chosen in wrong:
        with pytest.raises(CannotAllocate) as refused:
            await record(world, "300.00", *chosen)
        assert refused.value.errors[0].pointer.startswith("/allocations/")
    with pytest.raises(CannotAllocate):
        await record(world, "0.00")
    with pytest.raises(Invalid):
        await record(world, "10.00", received_on=clock.today("Europe/Vienna") + timedelta(days=2))
    assert await world.payments() == []
    await world.assert_sound()


async def test_another_organizations_client_is_not_found(world: PaidWorld) -> None:
    foreign = await make_client(world.db, await make_organization(world.db))
    with pytest.raises(NotFound):
        await record(world, "10.00", client_id=foreign)


async def test_the_same_command_twice_is_one_payment(world: PaidWorld) -> None:
    await world.issued("100.00")
    command = world.billing.org.command("finance", key="once")
    payment_id = await service.record_transfer(world.db, command, transfer(world, "120.00"))
    with pytest.raises(Replayed) as again:
        await service.record_transfer(world.db, command, transfer(world, "120.00"))
    assert again.value.resource_id == payment_id
    assert len(await world.payments()) == 1


async def test_stripe_is_told_when_a_transfer_settles(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    await record(world, "20.00")
    await world.work()
    assert world.at_stripe(invoice)["status"] == "open"
    await record(world, "100.00")
    await world.work()
    theirs = world.at_stripe(invoice)
    assert (theirs["status"], theirs["pre_payment_credit_notes_amount"], theirs["amount_paid_off_stripe"]) == ("paid", 2_000, 10_000)
    await world.hear(*world.events())
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem) == ("paid", "sent", None)
    assert len(await world.payments()) == 2
    await world.assert_sound()


async def test_a_transfer_before_the_hand_over_makes_it_needless(world: PaidWorld) -> None:
    (milestone_id,) = await world.billing.contract("100.00")
    await world.billing.approve(milestone_id)
    await world.billing.worker.run_until_idle()
    invoice = await world.billing.invoice_of(milestone_id)
    await record(world, "120.00")
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step) == ("paid", "none")
    from tollgate.payments.news import HandOver

    await world.enqueue(HandOver(organization_id=world.organization_id, invoice_id=invoice.id))
    await world.work()
    assert ((await world.invoice(invoice.id)).stripe_step, list(world.account.all("invoice"))) == ("not_needed", [])


async def test_transfer_and_card_at_the_same_time_leave_client_credit(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    await world.pay(invoice)
    await world.hear(*world.events())
    await asyncio.gather(world.work(), record(world, "120.00"))
    await world.work()
    payments = await world.payments()
    assert sorted(payment.client_credit.minor for payment in payments) == [0, 12_000]
    assert (await world.invoice(invoice.id)).paid_minor == 12_000
    await world.assert_sound()


async def test_ten_transfers_at_once_never_overpay(world: PaidWorld) -> None:
    first, second = await world.issued("100.00"), await world.issued("100.00")
    await asyncio.gather(*(record(world, "30.00") for _ in range(10)))
    assert [(await world.invoice(one.id)).state for one in (first, second)] == ["paid", "paid"]
    assert sum(payment.client_credit.minor for payment in await world.payments()) == 30_000 - 24_000
    await world.assert_sound()


async def test_a_correction_after_a_transfer_leaves_the_money_with_the_client(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    await record(world, "120.00")
    await world.work()
    await billing.credit_invoice(
        world.db, world.billing.org.command(), invoice.id, kind="correction", reason="wrong", settings=world.billing.settings
    )
    await world.work()
    await world.assert_sound()


async def test_the_books_know_one_currency(world: PaidWorld) -> None:
    asked = replace(transfer(world, "1.00"), amount=Money(100, "USD"))
    with pytest.raises(Invalid) as refused:
        await service.record_transfer(world.db, world.billing.org.command("finance"), asked)
    assert refused.value.errors[0].pointer == "/amount"
    assert await world.payments() == []
