"""Money that arrives oddly: declined, on its way, too much, twice, too late, beside a transfer, sent back, disputed (R14, R22).

Real PostgreSQL and the real sandbox over HTTP. Every story ends with every money invariant holding; what the gateway says at
different moments of a story is also applied in other orders, and all of them end the same.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.factories.proof import seed, size
from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.audit.models import AuditEvent
from tollgate.billing import service as billing
from tollgate.billing.models import Invoice, InvoiceLine
from tollgate.contracts.models import Contract, Milestone
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.ledger import queries as journal
from tollgate.money.amount import Money
from tollgate.payments import queries, queries_returns, reversal, service
from tollgate.payments.applying import apply
from tollgate.payments.gateway import SeenInvoice, SeenPayment
from tollgate.payments.models import PaymentAttempt, PaymentDispute, PaymentRefund
from tollgate.payments.news import Observe
from tollgate.payments.queries import PaymentShown
from tollgate.reports import invariants
from tollgate.reports import service as reports
from tollgate.reports.queries import PaymentsAsked
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


def eur(text: str) -> Money:
    return Money.parse(text, "EUR")


async def tell(world: PaidWorld) -> None:
    """Every event so far arrives, the last one first, and is handled."""
    await world.hear(*reversed(world.events()))
    await world.work()


async def only(world: PaidWorld) -> PaymentShown:
    (payment,) = await world.payments()
    return payment


async def record(world: PaidWorld, amount: str) -> UUID:
    asked = service.NewTransfer(client_id=world.billing.client_id, amount=eur(amount), received_on=clock.today("Europe/Vienna"))
    return await service.record_transfer(world.db, world.billing.org.command("finance"), asked)


async def credit_of(world: PaidWorld) -> Money:
    async with world.db.reading(world.organization_id) as session:
        return await journal.client_credit(session, world.organization_id, world.billing.client_id, "EUR")


async def states(world: PaidWorld, invoice: Invoice) -> tuple[str, str, str]:
    """Of the invoice, its milestone and its contract."""
    async with world.db.reading(world.organization_id) as session:
        return await states_in(session, world.organization_id, invoice.id)


async def states_in(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> tuple[str, str, str]:
    now = await session.get_one(Invoice, (organization_id, invoice_id), populate_existing=True)
    contract = await session.get_one(Contract, (organization_id, now.contract_id), populate_existing=True)
    of_line = select(InvoiceLine.milestone_id).where(InvoiceLine.invoice_id == invoice_id)
    milestone = (await session.scalars(select(Milestone).where(Milestone.id.in_(of_line)))).one()
    return now.state, milestone.state, contract.state


async def audited(world: PaidWorld) -> list[str]:
    async with world.db.reading(world.organization_id) as session:
        return list(await session.scalars(select(AuditEvent.name).order_by(AuditEvent.seq)))


async def report(world: PaidWorld) -> list[tuple[str, str, str]]:
    """What happened, the invoice, the amount: the latest first."""
    found = await reports.payments_report(world.db, world.organization_id, PaymentsAsked())
    assert sum(row.amount.minor for row in found.rows) == sum(total.amount.minor for total in found.totals)
    return [(row.event, row.invoice, row.amount.decimal_string()) for row in found.rows]


# ---- attempts ---------------------------------------------------------------------------------------------------------------


async def test_a_declined_card_is_a_fact_beside_the_state(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "declined")
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.paid_minor, after.stripe_step, after.stripe_problem) == ("issued", 0, "sent", None)
    assert (after.declined_at is not None, after.decline_code) == (True, "generic_decline")
    assert (await audited(world)).count("invoice.payment_declined") == 1
    await world.pay(invoice)
    await tell(world)
    assert (await world.invoice(invoice.id)).state == "paid"
    assert [(row.state, row.amount_minor) for row in await world.rows(PaymentAttempt)] == [("failed", 120_000)]
    await world.assert_sound()


async def test_a_bank_debit_is_on_its_way_and_arrives(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "processing")
    await tell(world)
    pending = await world.invoice(invoice.id)
    assert (pending.state, pending.pending_minor, await world.payments()) == ("issued", 120_000, [])
    await world.assert_sound()
    await world.pay(invoice, "settle")
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.pending_minor, after.declined_at) == ("paid", 0, None)
    assert [row.state for row in await world.rows(PaymentAttempt)] == ["arrived"]
    await world.assert_sound()


async def test_a_bank_debit_that_bounces_leaves_the_invoice_open(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "processing")
    await tell(world)
    await world.pay(invoice, "bounce")
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.pending_minor, after.decline_code) == ("issued", 0, "insufficient_funds")
    await world.pay(invoice)
    await tell(world)
    assert (await world.invoice(invoice.id)).state == "paid"
    await world.assert_sound()


# ---- too much, twice, too late ------------------------------------------------------------------------------------------------


async def test_what_is_paid_too_much_is_client_credit(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "over", 150_000)
    await tell(world)
    payment = await only(world)
    assert (payment.amount, payment.client_credit) == (eur("1500.00"), eur("300.00"))
    assert ((await world.invoice(invoice.id)).state, await credit_of(world)) == ("paid", eur("300.00"))
    assert sorted(await report(world)) == [("payment_received", "", "300.00"), ("payment_received", invoice.number, "1200.00")]
    await world.assert_sound()


async def test_two_tabs_are_two_payments_and_one_settles(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "double")
    await tell(world)
    payments = await world.payments()
    assert sorted(payment.client_credit.minor for payment in payments) == [0, 120_000]
    assert {payment.made_for.invoice_id for payment in payments if payment.made_for} == {invoice.id}
    assert (await states(world, invoice))[0] == "paid"
    await world.assert_sound()


async def test_what_was_paid_too_much_is_not_taken_off_the_next_invoice_by_stripe(world: PaidWorld) -> None:
    """Stripe would: it keeps the excess on the customer's balance, and the next invoice would differ from ours."""
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "over", 150_000)
    await tell(world)
    following = await world.issued("500.00")
    assert (following.stripe_step, world.at_stripe(following)["amount_due"]) == ("sent", 60_000)
    assert await credit_of(world) == eur("300.00")
    await world.assert_sound()


@pytest.mark.parametrize("refund_first", [True, False])
async def test_of_two_payments_the_one_sent_back_leaves_the_other(world: PaidWorld, refund_first: bool) -> None:
    """Whichever of the two is refunded: the invoice stays paid by the other, which was made for it as well."""
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "double")
    await tell(world)
    settles = [payment.client_credit.is_zero for payment in await world.payments()].index(refund_first)
    chosen = (await world.payments())[settles]
    charge = next(row for row in world.account.all("charge") if row["payment_intent"] == chosen.provider_payment_id)
    world.sandbox.refund(charge["id"])
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (await states(world, invoice), after.stripe_problem) == (("paid", "paid", "completed"), None)
    assert (await credit_of(world)).is_zero
    await world.assert_sound()


async def test_a_payment_after_void_is_client_credit_and_found_on_the_invoice(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await billing.void_invoice(world.db, world.billing.org.command(), invoice.id, reason="wrong client")
    await world.work()
    await world.pay(invoice, "late", 120_000)
    await tell(world)
    payment = await only(world)
    assert (payment.allocations, payment.client_credit) == ((), eur("1200.00"))
    assert payment.made_for is not None
    assert (payment.made_for.invoice_id, payment.made_for.stands) == (invoice.id, False)
    world.sandbox.refund(str(invoice.stripe_invoice_id), 50_000)
    await tell(world)
    assert (await credit_of(world), (await world.invoice(invoice.id)).state) == (eur("700.00"), "void")
    await world.assert_sound()


# ---- beside a transfer ----------------------------------------------------------------------------------------------------------


async def test_a_part_by_transfer_is_not_asked_for_at_stripe_any_more(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await record(world, "500.00")
    await world.work()
    theirs = world.at_stripe(invoice)
    assert (theirs["status"], theirs["amount_remaining"], theirs["total"]) == ("open", 70_000, 120_000)
    await world.pay(invoice)
    await tell(world)
    assert [payment.amount.minor for payment in await world.payments() if payment.method == "stripe"] == [70_000]
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem, await credit_of(world)) == ("paid", "sent", None, eur("0.00"))
    await world.assert_sound()


async def test_each_part_is_told_once(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await record(world, "100.00")
    await record(world, "200.00")
    await world.work()
    assert world.at_stripe(invoice)["amount_remaining"] == 90_000
    await record(world, "300.00")
    await world.work()
    await tell(world)
    await world.reconcile()
    assert world.at_stripe(invoice)["amount_remaining"] == 60_000
    steps = await world.steps(invoice)
    assert {name: step.amount_minor for name, step in steps.items() if name.startswith("ask_less")} == {
        "ask_less 1": 30_000,
        "ask_less 2": 30_000,
    }
    await record(world, "600.00")
    await world.work()
    assert (world.at_stripe(invoice)["status"], (await world.invoice(invoice.id)).state) == ("paid", "paid")
    await world.assert_sound()


async def test_the_whole_was_paid_by_card_before_stripe_was_told_of_a_part(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await record(world, "500.00")
    await world.work()
    await tell(world)
    assert ((await states(world, invoice))[0], await credit_of(world)) == ("paid", eur("500.00"))
    assert (await world.invoice(invoice.id)).stripe_problem is None
    await world.assert_sound()


async def test_a_rest_too_small_for_a_card_is_closed_at_stripe(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await record(world, "1199.70")
    await world.work()
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem) == ("partly_paid", "below_minimum", None)
    assert world.at_stripe(invoice)["status"] == "void"
    await record(world, "0.30")
    await world.work()
    await tell(world)
    last = await world.invoice(invoice.id)
    assert (last.state, last.stripe_problem) == ("paid", None)
    await world.assert_sound()


async def test_a_rest_too_small_after_a_card_is_closed_too(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "partial", 119_970)
    await tell(world)
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem) == ("partly_paid", "below_minimum", None)
    assert (world.at_stripe(invoice)["status"], world.at_stripe(invoice)["amount_remaining"]) == ("paid", 0)
    await world.assert_sound()


async def test_a_part_taken_back_after_stripe_was_told_is_said(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    payment_id = await record(world, "500.00")
    await world.work()
    await reversal.reverse_payment(world.db, world.billing.org.command("finance"), payment_id, "not ours")
    await world.work()
    await world.enqueue(Observe(organization_id=world.organization_id, invoice_id=invoice.id))
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_problem_code) == ("issued", "asks_less")
    assert "700.00" in str(after.stripe_problem)
    await world.pay(invoice)
    await tell(world)
    await record(world, "500.00")
    await world.work()
    await tell(world)
    last = await world.invoice(invoice.id)
    assert (last.state, last.stripe_problem) == ("paid", None)
    await world.assert_sound()


async def test_a_transfer_taken_back_leaves_the_card_that_paid_too(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    payment_id = await record(world, "1200.00")
    await world.pay(invoice)
    await tell(world)
    assert await credit_of(world) == eur("1200.00")
    async with world.db.reading(world.organization_id) as session:
        (outlook,) = (await reversal.outlook(session, world.organization_id, payment_id)).reopenings
    assert (outlook.amount, outlook.refilled, outlook.open) == (eur("1200.00"), eur("1200.00"), eur("0.00"))
    await reversal.reverse_payment(world.db, world.billing.org.command("finance"), payment_id, "twice")
    assert ((await states(world, invoice))[0], await credit_of(world)) == ("paid", eur("0.00"))
    await world.assert_sound()


# ---- sent back ---------------------------------------------------------------------------------------------------------------------


async def test_a_refund_opens_the_invoice_again(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await tell(world)
    assert await states(world, invoice) == ("paid", "paid", "completed")
    world.sandbox.refund(str(invoice.stripe_invoice_id), 30_000)
    await tell(world)
    assert await states(world, invoice) == ("partly_paid", "invoiced", "active")
    after = await world.invoice(invoice.id)
    assert (after.paid_minor, after.stripe_step, after.stripe_problem_code) == (90_000, "voided", "went_back")
    payment = await only(world)
    assert (payment.state, payment.refunded, payment.client_credit) == ("partly_returned", eur("300.00"), eur("0.00"))
    assert [(one.invoice_id, one.amount) for one in payment.allocations] == [(invoice.id, eur("900.00"))]
    assert [(one.state, one.amount) for one in payment.refunds] == [("succeeded", eur("300.00"))]
    assert sorted(await report(world)) == [
        ("payment_received", invoice.number, "1200.00"),
        ("payment_refunded", invoice.number, "-300.00"),
    ]
    names = await audited(world)
    for name in ("payment.refunded", "invoice.reopened", "milestone.reversed", "contract.resumed"):
        assert names.count(name) == 1, name
    await world.assert_sound()
    world.sandbox.refund(str(invoice.stripe_invoice_id))
    await tell(world)
    assert await states(world, invoice) == ("issued", "invoiced", "active")
    assert ((await only(world)).state, (await only(world)).allocations) == ("returned", ())
    await world.assert_sound()
    await record(world, "1200.00")
    await world.work()
    await tell(world)
    last = await world.invoice(invoice.id)
    assert (last.state, last.stripe_problem) == ("paid", None)
    await world.assert_sound()


async def test_a_refund_takes_the_client_credit_of_its_payment_first(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "over", 150_000)
    await tell(world)
    world.sandbox.refund(str(invoice.stripe_invoice_id), 20_000)
    await tell(world)
    assert ((await states(world, invoice))[0], await credit_of(world)) == ("paid", eur("100.00"))
    world.sandbox.refund(str(invoice.stripe_invoice_id), 20_000)
    await tell(world)
    assert ((await world.invoice(invoice.id)).paid_minor, await credit_of(world)) == (110_000, eur("0.00"))
    await world.assert_sound()


@pytest.mark.parametrize("credit_first", [True, False])
async def test_a_refund_of_a_credited_invoice_goes_off_the_client_credit(world: PaidWorld, credit_first: bool) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await tell(world)
    if credit_first:
        await world.billing.credit(invoice.id)
        await world.work()
    world.sandbox.refund(str(invoice.stripe_invoice_id))
    await tell(world)
    if not credit_first:
        await world.billing.credit(invoice.id)
        await world.work()
        await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_problem, await credit_of(world)) == ("credited", None, eur("0.00"))
    payment = await only(world)
    assert (payment.state, payment.allocations, payment.client_credit) == ("returned", (), eur("0.00"))
    await world.assert_sound()


async def test_a_refund_on_its_way_moves_nothing_until_it_is_there(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    refund = world.sandbox.refund(str(invoice.stripe_invoice_id), outcome="pending")
    await tell(world)
    assert (await states(world, invoice))[0] == "paid"
    assert [one.state for one in (await only(world)).refunds] == ["pending"]
    # No event tells: an invoice with a refund on its way is looked at every day.
    await world.reconcile()
    world.sandbox.settle_refund(refund["id"])
    with clock.shifted(timedelta(days=1, minutes=10)):
        for event in list(world.account.all("event")):
            world.account.drop(event)
        await world.reconcile()
        await world.reconcile()
    assert (await states(world, invoice))[0] == "issued"
    await world.assert_sound()


async def test_a_refund_that_fails_brings_the_money_back(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    refund = world.sandbox.refund(str(invoice.stripe_invoice_id))
    await tell(world)
    assert await states(world, invoice) == ("issued", "invoiced", "active")
    world.sandbox.fail_refund(refund["id"])
    await tell(world)
    after = await world.invoice(invoice.id)
    assert await states(world, invoice) == ("paid", "paid", "completed")
    assert (after.stripe_step, after.stripe_problem, await credit_of(world)) == ("sent", None, eur("0.00"))
    assert sum(int(amount.replace(".", "")) for _event, _invoice, amount in await report(world)) == 120_000
    await world.assert_sound()


async def test_news_of_a_refund_before_news_of_its_payment(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    world.sandbox.refund(str(invoice.stripe_invoice_id), 20_000)
    refunds = [event for event in world.events() if event["type"].startswith(("refund.", "charge.refund"))]
    assert {event["type"] for event in refunds} >= {"refund.created", "charge.refunded"}
    await world.hear(*refunds)
    await world.work()
    assert ((await world.invoice(invoice.id)).paid_minor, (await only(world)).refunded) == (100_000, eur("200.00"))
    assert all(event.outcome not in {"not an invoice of Tollgate", "does not concern an invoice"} for event in await world.inbox())
    await tell(world)
    assert (await world.invoice(invoice.id)).paid_minor == 100_000
    await world.assert_sound()


async def test_lost_news_of_a_refund_and_a_dispute_is_found_by_the_poll(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await tell(world)
    world.sandbox.refund(str(invoice.stripe_invoice_id), 20_000)
    world.sandbox.dispute(str(invoice.stripe_invoice_id), "duplicate")
    await world.reconcile()
    after = await world.invoice(invoice.id)
    assert (after.paid_minor, after.dispute_reason) == (100_000, "duplicate")
    assert {event.found_by for event in await world.inbox() if event.type in {"refund.created", "charge.dispute.created"}} == {"poll"}
    await world.assert_sound()


# ---- disputed ------------------------------------------------------------------------------------------------------------------------


async def test_a_dispute_flags_the_invoice_and_moves_no_money(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    world.sandbox.dispute(str(invoice.stripe_invoice_id), "product_not_received")
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.disputed_on is not None, after.dispute_reason) == ("paid", True, "product_not_received")
    (dispute,) = (await only(world)).disputes
    assert (dispute.state, dispute.amount, dispute.respond_by is not None) == ("open", eur("1200.00"), True)
    assert (await only(world)).refunded.is_zero
    async with world.db.reading(world.organization_id) as session:
        (listed,) = await queries_returns.disputed(session, world.organization_id)
    assert (listed.invoice_id, listed.reason) == (invoice.id, "product_not_received")
    await world.assert_sound()


@pytest.mark.parametrize(
    ("won", "expected"), [(True, ("paid", "paid", "completed")), (False, ("issued", "invoiced", "active"))], ids=["won", "lost"]
)
async def test_the_end_of_a_dispute(world: PaidWorld, won: bool, expected: tuple[str, str, str]) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    dispute = world.sandbox.dispute(str(invoice.stripe_invoice_id))
    await tell(world)
    world.sandbox.close_dispute(dispute["id"], won=won)
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (await states(world, invoice), after.disputed_on) == (expected, None)
    assert after.stripe_problem_code == (None if won else "went_back")
    assert [row.state for row in await world.rows(PaymentDispute)] == ["won" if won else "lost"]
    assert ("payment_dispute_lost", str(invoice.number), "-1200.00") in await report(world) or won
    await world.assert_sound()


async def test_sent_back_twice_is_said_and_never_booked_beyond_the_payment(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    dispute = world.sandbox.dispute(str(invoice.stripe_invoice_id))
    world.sandbox.close_dispute(dispute["id"], won=False)
    # Refunded by hand while the bank had not decided: both went out.
    twin = world.account.all("charge")
    charge = next(row for row in twin if row["paid"])
    charge["disputed"] = False
    refund = world.sandbox.refund(charge["id"], 40_000)
    charge["disputed"] = True
    await tell(world)
    payment = await only(world)
    assert (payment.refunded, (await world.invoice(invoice.id)).state) == (eur("1200.00"), "issued")
    assert (await world.invoice(invoice.id)).stripe_problem_code == "more_back"
    await world.assert_sound()
    world.sandbox.fail_refund(refund["id"])
    await tell(world)
    assert ((await only(world)).refunded, (await world.invoice(invoice.id)).stripe_problem_code) == (eur("1200.00"), "went_back")
    await world.assert_sound()


# ---- stops ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"total": 119_999}, {"currency": "usd"}])
async def test_another_total_or_currency_stops_and_is_looked_at_again_on_demand(world: PaidWorld, change: dict[str, Any]) -> None:
    invoice = await world.issued("1000.00")
    world.sandbox.tamper(str(invoice.stripe_invoice_id), **change)
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem_code, await world.payments()) == ("issued", "stopped", "differs", [])
    world.sandbox.tamper(str(invoice.stripe_invoice_id), total=120_000, currency="eur")
    await service.try_again(world.db, world.billing.org.command(), invoice.id)
    await world.work()
    last = await world.invoice(invoice.id)
    assert (last.stripe_step, last.stripe_problem_code) == ("sent", None)
    await world.assert_sound()


async def test_a_payment_in_another_currency_is_not_booked_and_stops(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    world.sandbox.tamper(str(invoice.stripe_invoice_id), currency="usd")
    await world.pay(invoice)
    world.sandbox.tamper(str(invoice.stripe_invoice_id), currency="eur")
    await tell(world)
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem_code, await world.payments()) == ("issued", "stopped", "foreign_money", [])
    await world.assert_sound()


# ---- every order ---------------------------------------------------------------------------------------------------------------------------

Act = Callable[[PaidWorld, Invoice], Awaitable[Any]]
Moment = tuple[SeenInvoice, list[SeenPayment]]


def pays(outcome: str = "paid", amount: int | None = None) -> Act:
    return lambda world, invoice: world.pay(invoice, outcome, amount)


def does(verb: str, *arguments: Any, **options: Any) -> Act:
    """A verb of the sandbox on the invoice."""

    async def act(world: PaidWorld, invoice: Invoice) -> None:
        getattr(world.sandbox, verb)(str(invoice.stripe_invoice_id), *arguments, **options)

    return act


def ends(kind: str, verb: str, **options: Any) -> Act:
    """A verb of the sandbox on the newest refund or dispute."""

    async def act(world: PaidWorld, _invoice: Invoice) -> None:
        getattr(world.sandbox, verb)(list(world.account.all(kind))[-1]["id"], **options)

    return act


STORIES: dict[str, list[Act]] = {
    "declined, then parts": [pays("declined"), pays("partial", 50_000), pays("processing"), pays("settle")],
    "debit bounces, card pays": [pays("processing"), pays("bounce"), pays(), does("refund", 10_000)],
    "refunds in parts": [pays(), does("refund", 30_000), does("refund", 20_000), does("refund")],
    "refund fails": [pays(), does("refund"), ends("refund", "fail_refund"), does("refund", 10_000)],
    "refund on its way": [pays(), does("refund", outcome="pending"), ends("refund", "settle_refund"), ends("refund", "fail_refund")],
    "dispute won": [pays(), does("dispute"), ends("dispute", "close_dispute", won=True), does("refund", 1)],
    "dispute lost": [pays(), does("refund", 20_000), does("dispute"), ends("dispute", "close_dispute", won=False)],
    "too much": [pays("over", 150_000), does("refund", 20_000), does("refund", 20_000), does("dispute")],
    "two tabs": [pays("partial", 20_000), pays("double"), does("refund", 20_000), does("dispute", "duplicate", 50_000)],
    "refunded part": [pays("partial", 50_000), does("refund", 50_000), pays(), does("refund", 70_000)],
}


async def moments(world: PaidWorld, invoice: Invoice, story: list[Act]) -> list[Moment]:
    """What the gateway answers after each thing that happens."""
    connected = await world.connected()
    gateway = world.gateways.open(connected)
    found = []
    for act in story:
        await act(world, invoice)
        found.append((await gateway.invoice(str(invoice.stripe_invoice_id)), await gateway.payments(str(invoice.stripe_invoice_id))))
    return found


ALL_CHECKS = text(
    " union all ".join(f"select '{check.name}' as name, broken.* from ({check.broken}) as broken(id)" for check in invariants.CHECKS)
)
"""Every invariant in one statement: it is asked after every order."""


class Undone(Exception):
    """Thrown to undo what an order did."""


async def ending(world: PaidWorld, invoice: Invoice, order: list[Moment]) -> dict[str, Any]:
    """How things stand after these answers in this order; all of it is undone."""
    found: dict[str, Any] = {}
    org = world.organization_id
    try:
        async with world.db.transaction(org) as session:
            for seen, payments in order:
                await apply(session, org, invoice.id, seen, payments)
            await session.flush()
            now = await session.get_one(Invoice, (org, invoice.id), populate_existing=True)
            columns = ("paid_minor", "pending_minor", "disputed_on", "dispute_reason", "declined_at", "decline_code", "stripe_step")
            found = {name: getattr(now, name) for name in (*columns, "stripe_problem_code", "stripe_problem_facts")}
            found["states"] = await states_in(session, org, invoice.id)
            refunds, disputes = await session.scalars(select(PaymentRefund)), await session.scalars(select(PaymentDispute))
            found["refunds"] = sorted((row.provider_refund_id, row.state, row.amount_minor) for row in refunds)
            found["disputes"] = sorted((row.provider_dispute_id, row.state, row.amount_minor) for row in disputes)
            shown = await queries.list_payments(session, org, queries.PaymentsAsked(limit=100))
            found["payments"] = sorted((row.provider_payment_id, row.amount, row.refunded, row.state) for row in shown)
            found["credit"] = sum(row.client_credit.minor for row in shown)
            balances = await journal.balances(session, org)
            found["journal"] = {account: money for account, money in balances["EUR"].items() if not money.is_zero}
            assert [tuple(row) for row in await session.execute(ALL_CHECKS)] == []
            raise Undone
    except Undone:
        return found


async def test_every_order_of_a_story_ends_the_same(world: PaidWorld) -> None:
    """Each story in its own invoice; all orders of its moments in the long run, some in every run."""
    dice = random.Random(seed())
    for name, story in STORIES.items():
        invoice = await world.issued("1000.00")
        told = await moments(world, invoice, story)
        expected = await ending(world, invoice, told)
        orders = list(itertools.permutations(range(len(told))))
        chosen = dice.sample(orders, min(len(orders), size(3, len(orders))))
        for order in [*chosen, [len(told) - 1], [*reversed(range(len(told))), 0]]:
            assert await ending(world, invoice, [told[at] for at in order]) == expected, f"{name}: {order}, seed {seed()}"


async def test_a_payment_refunded_on_two_workers_at_once_is_taken_back_once(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await tell(world)
    world.sandbox.refund(str(invoice.stripe_invoice_id), 30_000)
    await world.hear(*world.events())
    await asyncio.gather(world.work(), world.work(), record(world, "10.00"))
    await world.work()
    assert len(await world.rows(PaymentRefund)) == 1
    assert (await only_card(world)).refunded == eur("300.00")
    await world.assert_sound()


async def only_card(world: PaidWorld) -> PaymentShown:
    (payment,) = [one for one in await world.payments() if one.method == "stripe"]
    return payment
