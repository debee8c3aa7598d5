"""A bank transfer recorded wrongly is taken back: invoices, milestones, contract, client credit, journal and Stripe's side (R14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from tests.factories import make_client, make_organization
from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.audit.models import AuditEvent
from tollgate.billing.models import Invoice, InvoiceLine
from tollgate.contracts.models import Contract, Milestone
from tollgate.db.command import Replayed
from tollgate.db.database import Database
from tollgate.errors import Invalid, NotFound
from tollgate.files.storage import LocalStorage
from tollgate.ledger import queries as journal
from tollgate.ledger.rules import Account
from tollgate.money.amount import Money
from tollgate.payments import queries, reversal, service
from tollgate.payments.models import PaymentAllocation
from tollgate.payments.queries import PaymentShown
from tollgate.payments.reversal import AlreadyReversed, NotReversible, Outlook
from tollgate.payments.rules import Chosen
from tollgate.payments.steps import StepState, Wanted, next_step
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


def eur(text: str) -> Money:
    return Money.parse(text, "EUR")


async def record(world: PaidWorld, amount: str, *chosen: Chosen) -> UUID:
    asked = service.NewTransfer(
        client_id=world.billing.client_id, amount=eur(amount), received_on=clock.today("Europe/Vienna"), allocations=chosen or None
    )
    return await service.record_transfer(world.db, world.billing.org.command("finance"), asked)


async def take_back(world: PaidWorld, payment_id: UUID, reason: str = "somebody else's money", key: str | None = None) -> UUID:
    return await reversal.reverse_payment(world.db, world.billing.org.command("finance", key=key), payment_id, reason)


async def shown(world: PaidWorld, payment_id: UUID) -> PaymentShown:
    async with world.db.reading(world.organization_id) as session:
        return await queries.show_payment(session, world.organization_id, payment_id)


async def outlook(world: PaidWorld, payment_id: UUID) -> Outlook:
    async with world.db.reading(world.organization_id) as session:
        return await reversal.outlook(session, world.organization_id, payment_id)


async def credit_of(world: PaidWorld) -> Money:
    async with world.db.reading(world.organization_id) as session:
        return await journal.client_credit(session, world.organization_id, world.billing.client_id, "EUR")


async def states(world: PaidWorld, invoice: Invoice) -> tuple[str, str, str]:
    """Of the invoice, its milestone and its contract."""
    async with world.db.reading(world.organization_id) as session:
        now = await session.get_one(Invoice, (world.organization_id, invoice.id))
        contract = await session.get_one(Contract, (world.organization_id, invoice.contract_id))
        of_line = select(InvoiceLine.milestone_id).where(InvoiceLine.invoice_id == invoice.id)
        milestone = (await session.scalars(select(Milestone).where(Milestone.id.in_(of_line)))).one()
        return now.state, milestone.state, contract.state


async def audited(world: PaidWorld) -> list[str]:
    async with world.db.reading(world.organization_id) as session:
        return list(await session.scalars(select(AuditEvent.name).order_by(AuditEvent.seq)))


async def test_an_exact_payment_taken_back_opens_invoice_milestone_and_contract_again(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    payment_id = await record(world, "120.00")
    assert await states(world, invoice) == ("paid", "paid", "completed")
    assert await take_back(world, payment_id) == payment_id
    assert await states(world, invoice) == ("issued", "invoiced", "active")
    payment = await shown(world, payment_id)
    assert (payment.state, payment.allocations, payment.client_credit) == ("reversed", (), eur("0.00"))
    assert payment.reversal is not None
    assert (payment.reversal.reason, payment.reversal.reversed_on) == ("somebody else's money", clock.today("Europe/Vienna"))
    assert [(one.invoice_id, one.amount) for one in payment.reversal.reopened] == [(invoice.id, eur("120.00"))]
    assert payment.reversal.from_client_credit.is_zero
    assert [row.amount_minor for row in await world.rows(PaymentAllocation)] == [12_000, -12_000]
    names = await audited(world)
    for name in ("payment.reversed", "invoice.reopened", "milestone.reversed", "contract.resumed"):
        assert names.count(name) == 1, name
    async with world.db.reading(world.organization_id) as session:
        trial = (await journal.balances(session, world.organization_id))["EUR"]
    assert (trial[Account.BANK], trial[Account.RECEIVABLE]) == (eur("0.00"), eur("120.00"))
    await world.assert_sound()


async def test_what_another_payment_settled_stays_settled(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    part, rest = await record(world, "50.00"), await record(world, "70.00")
    await take_back(world, rest)
    assert (await states(world, invoice))[:2] == ("partly_paid", "invoiced")
    assert (await world.invoice(invoice.id)).paid_minor == 5_000
    await world.assert_sound()
    await take_back(world, part)
    assert (await world.invoice(invoice.id)).state == "issued"
    await world.assert_sound()


async def test_an_over_payment_also_goes_off_the_clients_credit(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    payment_id, other = await record(world, "150.00"), await record(world, "10.00")
    assert await credit_of(world) == eur("40.00")
    before = await outlook(world, payment_id)
    assert ([one.amount for one in before.reopenings], before.from_client_credit) == ([eur("120.00")], eur("30.00"))
    await take_back(world, payment_id)
    assert (await credit_of(world), (await world.invoice(invoice.id)).state) == (eur("10.00"), "issued")
    await world.assert_sound()
    await take_back(world, other)
    assert (await credit_of(world)).is_zero
    await world.assert_sound()


async def test_several_invoices_open_again_each_by_its_share(world: PaidWorld) -> None:
    with clock.shifted(-timedelta(days=40)):
        older = await world.issued("100.00")
    newer = await world.issued("200.00")
    payment_id = await record(world, "250.00")
    before = await outlook(world, payment_id)
    assert {one.invoice_id: (one.amount, one.open) for one in before.reopenings} == {
        older.id: (eur("120.00"), eur("120.00")),
        newer.id: (eur("130.00"), eur("240.00")),
    }
    await take_back(world, payment_id)
    after = (await shown(world, payment_id)).reversal
    assert after is not None
    assert {one.invoice_id: one.amount for one in after.reopened} == {one.invoice_id: one.amount for one in before.reopenings}
    assert [(await world.invoice(one.id)).state for one in (older, newer)] == ["issued", "issued"]
    await world.assert_sound()


async def test_of_an_invoice_credited_meanwhile_all_goes_off_the_clients_credit(world: PaidWorld) -> None:
    credited, standing = await world.issued("100.00"), await world.issued("200.00")
    payment_id = await record(world, "360.00", Chosen(credited.id, eur("120.00")), Chosen(standing.id, eur("240.00")))
    await world.billing.credit(credited.id)
    assert await credit_of(world) == eur("120.00")
    before = await outlook(world, payment_id)
    assert ({one.amount for one in before.reopenings}, before.from_client_credit) == ({eur("0.00"), eur("240.00")}, eur("120.00"))
    await take_back(world, payment_id)
    after = await shown(world, payment_id)
    assert after.reversal is not None
    assert (after.allocations, after.reversal.from_client_credit) == ((), eur("120.00"))
    assert [(one.invoice_id, one.amount) for one in after.reversal.reopened] == [(standing.id, eur("240.00"))]
    assert (await credit_of(world)).is_zero
    assert ((await world.invoice(credited.id)).state, (await world.invoice(standing.id)).state) == ("credited", "issued")
    await world.work()
    await world.assert_sound()


async def test_a_payment_is_taken_back_once(world: PaidWorld) -> None:
    await world.issued("100.00")
    payment_id = await record(world, "150.00")
    await take_back(world, payment_id, key="once")
    with pytest.raises(Replayed) as again:
        await take_back(world, payment_id, key="once")
    assert again.value.resource_id == payment_id
    with pytest.raises(AlreadyReversed):
        await take_back(world, payment_id)
    assert isinstance((await outlook(world, payment_id)).refusal, AlreadyReversed)
    await world.assert_sound()


@pytest.mark.parametrize("is_owed", [True, False])
async def test_of_many_at_once_one_takes_it_back(world: PaidWorld, is_owed: bool) -> None:
    """Also where no invoice's lock keeps them apart: all of the payment is client credit."""
    if is_owed:
        await world.issued("100.00")
    payment_id = await record(world, "150.00")
    outcomes = await asyncio.gather(*(take_back(world, payment_id) for _ in range(6)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in outcomes) == ["AlreadyReversed"] * 5 + ["UUID"]
    assert [one.paid_minor for one in await world.billing.invoices()] == [0] * is_owed
    assert (await credit_of(world)).is_zero
    await world.assert_sound()


async def test_taking_back_and_paying_at_the_same_time_agree(world: PaidWorld) -> None:
    invoices = [await world.issued("100.00") for _ in range(3)]
    wrong = await record(world, "360.00")
    await asyncio.gather(take_back(world, wrong), *(record(world, "120.00") for _ in range(3)))
    settled = sum([(await world.invoice(one.id)).paid_minor for one in invoices])
    assert settled + (await credit_of(world)).minor == 36_000
    await world.assert_sound()


async def test_a_payment_at_stripe_is_not_taken_back_here(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    await world.pay(invoice)
    await world.hear(*world.events())
    await world.work()
    (payment,) = await world.payments()
    with pytest.raises(NotReversible):
        await take_back(world, payment.id)
    assert isinstance((await outlook(world, payment.id)).refusal, NotReversible)
    assert (await world.invoice(invoice.id)).state == "paid"
    await world.assert_sound()


async def test_it_takes_a_reason_and_a_payment_of_ones_own(world: PaidWorld) -> None:
    payment_id = await record(world, "10.00")
    with pytest.raises(Invalid) as refused:
        await take_back(world, payment_id, reason="  ")
    assert [one.pointer for one in refused.value.errors] == ["/reason"]
    with pytest.raises(NotFound):
        await take_back(world, uuid4())
    other = await make_organization(world.db)
    await make_client(world.db, other)
    with pytest.raises(NotFound):
        await reversal.reverse_payment(world.db, other.command("finance"), payment_id, "not mine")
    assert (await shown(world, payment_id)).state == "received"


async def test_what_was_marked_paid_at_stripe_is_collected_by_transfer(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    payment_id = await record(world, "120.00")
    await world.work()
    assert world.at_stripe(invoice)["status"] == "paid"
    assert [one.closed_at_gateway for one in (await outlook(world, payment_id)).reopenings] == [True]
    await take_back(world, payment_id)
    # The events of the marking arrive late, and the reconciliation looks again: neither says anything else.
    await world.hear(*world.events())
    await world.work()
    await world.reconcile()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step) == ("issued", "voided")
    assert after.stripe_problem is not None and "marked paid at Stripe" in after.stripe_problem
    assert "collect by transfer" in after.stripe_problem
    await record(world, "120.00")
    await world.work()
    again = await world.invoice(invoice.id)
    assert (again.state, again.stripe_problem) == ("paid", None)
    await world.assert_sound()


async def test_taken_back_before_stripe_was_told_it_stays_payable_there(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    await take_back(world, await record(world, "120.00"))
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem) == ("issued", "sent", None)
    assert world.at_stripe(invoice)["status"] == "open"
    await world.pay(invoice)
    await world.hear(*world.events())
    await world.work()
    assert (await world.invoice(invoice.id)).state == "paid"
    await world.assert_sound()


async def test_what_needed_no_hand_over_is_handed_over_when_it_is_open_again(world: PaidWorld) -> None:
    (milestone_id,) = await world.billing.contract("100.00")
    await world.billing.approve(milestone_id)
    await world.billing.worker.run_until_idle()
    invoice = await world.billing.invoice_of(milestone_id)
    payment_id = await record(world, "120.00")
    from tollgate.payments.news import HandOver

    await world.enqueue(HandOver(organization_id=world.organization_id, invoice_id=invoice.id))
    await world.work()
    assert (await world.invoice(invoice.id)).stripe_step == "not_needed"
    await take_back(world, payment_id)
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.stripe_step, world.at_stripe(after)["status"]) == ("sent", "open")
    await world.assert_sound()


def test_a_closing_call_under_way_is_finished_and_then_nothing_is_asked_any_more() -> None:
    done, planned, refused = StepState.DONE, StepState.PLANNED, StepState.REFUSED
    there = dict.fromkeys(("customer", "draft", "line 1", "compare", "finalize", "send"), done)
    for closing in ("mark_paid", "withdraw"):
        assert next_step(Wanted.PAYABLE, 1, {**there, closing: planned}) == closing
        assert next_step(Wanted.PAYABLE, 1, {**there, closing: done}) is None
        # Half handed over and then withdrawn: no line is added to a draft that is gone.
        assert next_step(Wanted.PAYABLE, 1, {"customer": done, "draft": done, closing: done}) is None
        assert next_step(Wanted.PAYABLE, 1, {**there, closing: refused}) is None
