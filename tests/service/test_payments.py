"""An invoice's life at Stripe: handed over, paid once whatever arrives, taken back, found again when signals are lost."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.money.amount import Money
from tollgate.parties.models import Organization
from tollgate.payments import handover, service
from tollgate.payments.news import HandOver, Observe
from tollgate.settings import Settings
from tollgate_sandbox.asgi import Request, Response


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


async def test_an_issued_invoice_is_ready_to_be_paid(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    theirs = world.at_stripe(invoice)
    assert (invoice.stripe_step, invoice.stripe_problem) == ("sent", None)
    assert invoice.stripe_hosted_url is not None and invoice.stripe_hosted_url.startswith(world.sandbox.stripe_url)
    assert (theirs["status"], theirs["number"], theirs["currency"]) == ("open", invoice.number, "eur")
    assert (theirs["total"], theirs["amount_due"]) == (120_000, 120_000)
    assert (theirs["collection_method"], theirs["auto_advance"], theirs["automatic_tax"]["enabled"]) == ("send_invoice", False, False)
    assert theirs["metadata"] == {"tollgate_invoice": str(invoice.id), "tollgate_organization": str(world.organization_id)}
    items = [world.account.table("invoiceitem")[item] for item in theirs["_items"]]
    assert [(item["amount"], item["description"]) for item in items] == [(100_000, "Stage 0, net"), (20_000, "Tax 20 %")]
    steps = await world.steps(invoice)
    assert {name: (step.state, step.attempts) for name, step in steps.items()} == dict.fromkeys(
        ("customer", "draft", "line 1", "line 2", "compare", "finalize", "send"), ("done", 1)
    )
    assert not [event for event in world.events() if event["type"] == "invoice.sent"], "Stripe mails only where the organization wants it"


async def test_stripe_mails_too_where_the_organization_wants_it(world: PaidWorld) -> None:
    async with world.db.transaction(world.organization_id) as session:
        (await session.get_one(Organization, world.organization_id)).stripe_sends_mail = True
    invoice = await world.issued("1000.00")
    assert invoice.stripe_step == "sent"
    assert len([event for event in world.events() if event["type"] == "invoice.sent"]) == 1


async def test_each_tax_group_is_a_net_and_a_tax_line(world: PaidWorld) -> None:
    milestones = await world.billing.contract("99.99", rates=["10"])
    await world.billing.approve(*milestones)
    await world.work()
    invoice = await world.billing.invoice_of(milestones[0])
    items = [world.account.table("invoiceitem")[item] for item in world.at_stripe(invoice)["_items"]]
    assert [item["amount"] for item in items] == [9_999, 1_000]
    assert sum(item["amount"] for item in items) == invoice.payable_minor


async def test_a_payment_is_recorded_once_whatever_arrives_in_whatever_order(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    events = world.events()
    random.Random(7).shuffle(events)
    heard = await world.hear(*events, *reversed(events))
    assert heard == [True] * len(events) + [False] * len(events)
    await world.work()
    (payment,) = await world.payments()
    assert (payment.method, payment.amount, payment.client_credit) == ("stripe", Money(120_000, "EUR"), Money.zero("EUR"))
    assert payment.provider_payment_id is not None and payment.provider_payment_id.startswith("pi_")
    assert [(one.invoice_id, one.amount) for one in payment.allocations] == [(invoice.id, Money(120_000, "EUR"))]
    after = await world.invoice(invoice.id)
    assert (after.state, after.paid_minor) == ("paid", 120_000)
    assert all(event.handled_at is not None and event.outcome for event in await world.inbox())
    await world.assert_sound()


async def test_two_workers_with_the_same_news_record_one_payment(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await world.hear(*world.events())
    await world.work()
    for _ in range(4):
        await world.enqueue(Observe(organization_id=world.organization_id, invoice_id=invoice.id))
    await world.work()
    assert len(await world.payments()) == 1
    await world.assert_sound()


async def test_parts_add_up_and_the_rest_is_asked_for(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "partial", 50_000)
    await world.hear(*world.events())
    await world.work()
    half = await world.invoice(invoice.id)
    assert (half.state, half.paid_minor) == ("partly_paid", 50_000)
    await world.pay(invoice)
    await world.hear(*world.events())
    await world.work()
    assert [payment.amount.minor for payment in await world.payments()] in ([70_000, 50_000], [50_000, 70_000])
    assert (await world.invoice(invoice.id)).state == "paid"
    await world.assert_sound()


async def test_a_declined_card_changes_nothing(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "declined")
    await world.hear(*world.events())
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, after.stripe_problem, await world.payments()) == ("issued", "sent", None, [])


async def test_lost_webhooks_are_found_by_the_poll(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    assert await world.inbox() == []
    await world.reconcile()
    assert {event.found_by for event in await world.inbox()} == {"poll"}
    assert (await world.invoice(invoice.id)).state == "paid"
    before = len(await world.inbox())
    await world.reconcile()
    assert len(await world.inbox()) == before
    assert len(await world.payments()) == 1
    await world.assert_sound()


async def test_open_invoices_are_looked_at_once_a_day_even_without_any_event(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.reconcile()
    await world.pay(invoice)
    for event in list(world.account.all("event")):
        world.account.drop(event)
    await world.reconcile()
    assert (await world.invoice(invoice.id)).state == "issued"
    with clock.shifted(timedelta(days=1, minutes=10)):
        await world.reconcile()
    assert (await world.invoice(invoice.id)).state == "paid"


class Flaky:
    """Stands before the sandbox and loses answers: the request was carried out, nobody heard of it."""

    def __init__(
        self, world: PaidWorld, path: str, times: int, *, before: bool = False, status: int | None = None, method: str = "POST"
    ) -> None:
        self.method = method
        self.handle, self.path, self.left, self.before, self.status = world.sandbox.stripe_server._api, path, times, before, status
        self.keys: list[str] = []
        world.sandbox.stripe_server._api = self  # type: ignore[method-assign]

    async def __call__(self, request: Request) -> Response:
        hit = request.method == self.method and request.path.endswith(self.path)
        if hit:
            self.keys.append(request.headers.get("idempotency-key", ""))
        if hit and self.left > 0:
            self.left -= 1
            if not self.before:
                await self.handle(request)
            error = b'{"error": {"message": "lost", "type": "api_error"}}'
            return Response(error, self.status or 503)
        return await self.handle(request)


async def run_all(world: PaidWorld) -> None:
    """Run jobs over and over, with the clock moved over every backoff."""
    for minutes in range(0, 60, 10):
        with clock.shifted(timedelta(minutes=minutes)):
            await world.work()


@pytest.mark.parametrize("path", ["/v1/customers", "/v1/invoices", "/v1/invoiceitems", "/finalize"])
async def test_a_lost_answer_is_asked_for_again_under_the_same_key(world: PaidWorld, path: str) -> None:
    flaky = Flaky(world, path, 5)
    await world.issued("1000.00")
    await run_all(world)
    (invoice,) = await world.billing.invoices()
    assert (invoice.stripe_step, invoice.stripe_problem) == ("sent", None)
    assert len(set(flaky.keys)) == (2 if path == "/v1/invoiceitems" else 1)
    assert len(flaky.keys) >= (1 if path == "/finalize" else 6)
    assert [len(list(world.account.all(kind))) for kind in ("customer", "invoice", "invoiceitem")] == [1, 1, 2]


async def test_after_a_day_what_was_made_is_looked_up(world: PaidWorld) -> None:
    flaky = Flaky(world, "/v1/invoices", 3)
    await world.issued("1000.00")
    (invoice,) = await world.billing.invoices()
    assert invoice.stripe_step == "customer" and len(list(world.account.all("invoice"))) == 1
    for row in list(world.account.all("idempotency")):
        world.account.drop(row)
    with clock.shifted(timedelta(hours=24)):
        await world.work()
        await world.enqueue(HandOver(organization_id=world.organization_id, invoice_id=invoice.id))
        await world.work()
    after = await world.invoice(invoice.id)
    assert after.stripe_step == "sent"
    assert len(list(world.account.all("invoice"))) == 1
    assert len(flaky.keys) == 3, "the draft was found and not made again"


async def test_too_many_requests_are_waited_for(world: PaidWorld) -> None:
    Flaky(world, "/v1/invoices", 1, before=True, status=429)
    await world.issued("1000.00")
    (invoice,) = await world.billing.invoices()
    assert (invoice.stripe_step, invoice.stripe_problem) == ("customer", None)
    await run_all(world)
    assert (await world.invoice(invoice.id)).stripe_step == "sent"


async def test_an_invoice_that_differs_is_never_finalized(world: PaidWorld) -> None:
    milestones = await world.billing.contract("1000.00")
    await world.billing.approve(*milestones)
    original = world.sandbox.stripe_server._api

    async def meddling(request: Request) -> Response:
        answer = await original(request)
        if request.method == "POST" and request.path == "/v1/invoiceitems":
            for item in world.account.all("invoiceitem"):
                if item["amount"] == 20_000:
                    item["amount"] = item["net_amount"] = 20_001
                    row = world.account.table("invoice")[item["invoice"]]
                    row.update(total=120_001, amount_due=120_001, subtotal=120_001)
        return answer

    world.sandbox.stripe_server._api = meddling  # type: ignore[method-assign]
    await world.work()
    invoice = await world.billing.invoice_of(milestones[0])
    assert invoice.stripe_step == "stopped"
    assert invoice.stripe_problem is not None and "1200.01" in invoice.stripe_problem and "1200.00" in invoice.stripe_problem
    assert world.at_stripe(invoice)["status"] == "draft"
    await run_all(world)
    assert world.at_stripe(invoice)["status"] == "draft"
    async with world.db.reading(world.organization_id) as session:
        (stopped,) = await service.queries.stopped(session, world.organization_id)
    assert (stopped.invoice_id, stopped.step) == (invoice.id, "stopped")


async def test_a_refused_step_stops_and_can_be_tried_again(world: PaidWorld) -> None:
    Flaky(world, "/v1/customers", 1, before=True, status=400)
    await world.issued("1000.00")
    (invoice,) = await world.billing.invoices()
    assert (invoice.stripe_step, invoice.stripe_problem) == ("stopped", "lost")
    await service.try_again(world.db, world.billing.org.command(), invoice.id)
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.stripe_step, after.stripe_problem) == ("sent", None)
    with pytest.raises(service.NotStopped):
        await service.try_again(world.db, world.billing.org.command(), invoice.id)


async def test_a_void_invoice_is_void_at_stripe(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await billing.void_invoice(world.db, world.billing.org.command(), invoice.id, reason="wrong client")
    await world.work()
    assert world.at_stripe(invoice)["status"] == "void"
    after = await world.invoice(invoice.id)
    assert (after.stripe_step, after.stripe_problem) == ("voided", None)
    await world.hear(*world.events())
    await world.work()
    assert (await world.invoice(invoice.id)).stripe_problem is None


async def test_a_void_before_the_hand_over_ends_leaves_nothing_to_pay(world: PaidWorld) -> None:
    Flaky(world, "/v1/invoices", 3)
    await world.issued("1000.00")
    (invoice,) = await world.billing.invoices()
    await billing.void_invoice(world.db, world.billing.org.command(), invoice.id, reason="wrong client")
    await run_all(world)
    assert list(world.account.all("invoice")) == []
    assert (await world.invoice(invoice.id)).stripe_step == "voided"


async def test_a_deletion_whose_answer_was_lost_is_a_deletion(world: PaidWorld) -> None:
    Flaky(world, "/v1/invoiceitems", 1, before=True, status=400)
    await world.issued("1000.00")
    (invoice,) = await world.billing.invoices()
    assert (invoice.stripe_step, world.at_stripe(invoice)["status"]) == ("stopped", "draft")
    flaky = Flaky(world, f"/v1/invoices/{invoice.stripe_invoice_id}", 3, method="DELETE")
    await billing.void_invoice(world.db, world.billing.org.command(), invoice.id, reason="wrong client")
    await run_all(world)
    after = await world.invoice(invoice.id)
    assert flaky.keys and list(world.account.all("invoice")) == []
    assert (after.stripe_step, after.stripe_problem) == ("voided", None)


async def test_a_correction_takes_the_stripe_invoice_back(world: PaidWorld) -> None:
    unpaid = await world.issued("1000.00")
    partly = await world.issued("500.00")
    await world.pay(partly, "partial", 10_000)
    await world.hear(*world.events())
    await world.work()
    for invoice in (unpaid, partly):
        await world.billing.credit(invoice.id)
    await world.work()
    assert world.at_stripe(unpaid)["status"] == "void"
    assert (world.at_stripe(partly)["status"], world.at_stripe(partly)["amount_remaining"]) == ("paid", 0)
    assert [(await world.invoice(one.id)).state for one in (unpaid, partly)] == ["credited", "credited"]
    await world.hear(*world.events())
    await world.work()
    assert [(await world.invoice(one.id)).stripe_problem for one in (unpaid, partly)] == [None, None]
    await world.assert_sound()


async def test_money_that_comes_after_a_credit_note_is_client_credit(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await world.billing.credit(invoice.id)
    await world.work()
    await world.hear(*world.events())
    await world.work()
    (payment,) = await world.payments()
    assert (payment.allocations, payment.client_credit) == ((), Money(120_000, "EUR"))
    assert (await world.invoice(invoice.id)).state == "credited"
    await world.assert_sound()


async def test_paid_without_money_is_not_paid(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    theirs = world.at_stripe(invoice)
    theirs.update(status="paid", amount_paid=0, amount_remaining=0, amount_due=0)
    await world.enqueue(Observe(organization_id=world.organization_id, invoice_id=invoice.id))
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, await world.payments()) == ("issued", "stopped", [])
    assert after.stripe_problem is not None and "no payment" in after.stripe_problem


@pytest.mark.parametrize("change", [{"currency": "usd"}, {"total": 119_999}])
async def test_payments_of_another_total_or_currency_are_not_ours(world: PaidWorld, change: dict[str, Any]) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    world.at_stripe(invoice).update(change)
    await world.hear(*world.events())
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step, await world.payments()) == ("issued", "stopped", [])


async def test_somebody_voids_at_stripe(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    world.at_stripe(invoice).update(status="void")
    await world.enqueue(Observe(organization_id=world.organization_id, invoice_id=invoice.id))
    await world.work()
    after = await world.invoice(invoice.id)
    assert (after.state, after.stripe_step) == ("issued", "voided")
    assert after.stripe_problem is not None


@pytest.mark.parametrize(("amount", "step"), [("0.00", "not_needed"), ("0.30", "below_minimum")])
async def test_too_little_is_not_handed_over(world: PaidWorld, amount: str, step: str) -> None:
    invoice = await world.issued(amount)
    assert (invoice.stripe_step, invoice.stripe_invoice_id) == (step, None)
    assert list(world.account.all("customer")) == []


async def test_without_an_account_nothing_is_asked(db: Database, storage: LocalStorage, settings: Settings) -> None:
    async with paid_world(db, storage, settings) as world:
        world.billing.settings = settings
        invoice = await world.issued("1000.00")
        assert (invoice.stripe_step, await world.steps(invoice)) == ("none", {})
        await world.reconcile()


async def test_events_of_other_invoices_change_nothing(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    event = next(event for event in world.events() if event["type"] == "invoice.finalized")
    event["data"]["object"]["id"] = "in_of_somebody_else"
    await world.hear({**event, "id": "evt_other"})
    await world.work()
    (row,) = await world.inbox()
    assert (row.outcome, (await world.invoice(invoice.id)).state) == ("not an invoice of Tollgate", "issued")


def test_a_day_is_less_than_stripe_keeps_keys() -> None:
    assert timedelta(hours=1) < handover.LOOK_UP_AFTER < timedelta(hours=24)
