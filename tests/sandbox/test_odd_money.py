"""Payments that arrive oddly, refunds by hand, disputes, and invoices that somebody changed at Stripe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe as library
from stripe import StripeClient

from tests.sandbox.conftest import draft, event_types, opened, running, stripe_client
from tollgate_sandbox import Sandbox
from tollgate_sandbox.errors import StripeError


def rows(stripe: StripeClient, invoice_id: str) -> list[tuple[str, int, int | None]]:
    """The invoice payments, oldest first: (status, requested, paid)."""
    listed = stripe.v1.invoice_payments.list({"invoice": invoice_id, "limit": 100}).data[::-1]
    return [(row.status, row.amount_requested, row.amount_paid) for row in listed]


def state(stripe: StripeClient, invoice_id: str) -> tuple[Any, ...]:
    invoice = stripe.v1.invoices.retrieve(invoice_id)
    return (invoice.status, invoice.amount_paid, invoice.amount_overpaid, invoice.amount_remaining)


def since(stripe: StripeClient, before: list[str]) -> list[str]:
    return event_types(stripe)[len(before) :]


def test_too_much_is_overpaid_and_credited_to_the_customer(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    before = event_types(stripe)
    assert sandbox.pay(invoice.id, "over", 12_500)["amount"] == 12_500
    assert state(stripe, invoice.id) == ("paid", 12_500, 2_500, 0)
    assert ("paid", 12_500, 12_500) in rows(stripe, invoice.id)
    new = since(stripe, before)
    assert (new.count("invoice.paid"), new.count("invoice.overpaid"), new.count("invoice_payment.paid")) == (1, 1, 1)
    customer = stripe.v1.customers.retrieve(invoice.customer)
    assert customer.balance == -2_500
    [moved] = stripe.v1.customers.balance_transactions.list(invoice.customer).data
    assert (moved.amount, moved.type, moved.invoice) == (-2_500, "invoice_overpaid", invoice.id)
    # As at Stripe, the credit is used by the customer's next invoice.
    assert opened(stripe, 10_000, customer=invoice.customer).amount_due == 7_500


def test_two_tabs_pay_twice(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    before = event_types(stripe)
    sandbox.pay(invoice.id, "double")
    assert state(stripe, invoice.id) == ("paid", 20_000, 10_000, 0)
    assert rows(stripe, invoice.id) == [("paid", 10_000, 10_000)] * 2
    assert len({row.payment.payment_intent for row in stripe.v1.invoice_payments.list({"invoice": invoice.id}).data}) == 2
    new = since(stripe, before)
    assert (new.count("invoice.paid"), new.count("invoice.overpaid"), new.count("invoice_payment.paid")) == (1, 1, 2)
    sandbox.pay(invoice.id, "double")
    assert state(stripe, invoice.id) == ("paid", 30_000, 20_000, 0)


def test_a_bank_debit_settles(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    charge = sandbox.pay(invoice.id, "processing")
    assert (charge["status"], charge["paid"], charge["payment_method_details"]["type"]) == ("pending", False, "sepa_debit")
    assert stripe.v1.payment_intents.retrieve(charge["payment_intent"]).status == "processing"
    assert state(stripe, invoice.id) == ("open", 0, 0, 10_000) and rows(stripe, invoice.id) == [("open", 10_000, None)]
    assert {"charge.pending", "payment_intent.processing"} <= set(event_types(stripe))
    sandbox.pay(invoice.id, "settle")
    assert state(stripe, invoice.id) == ("paid", 10_000, 0, 0) and rows(stripe, invoice.id) == [("paid", 10_000, 10_000)]
    assert stripe.v1.charges.retrieve(charge["id"]).status == "succeeded"
    with pytest.raises(StripeError):
        sandbox.pay(invoice.id, "settle")


def test_a_bank_debit_bounces_and_the_invoice_can_still_be_paid(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    sandbox.pay(invoice.id, "processing")
    before = event_types(stripe)
    charge = sandbox.pay(invoice.id, "bounce")
    assert (charge["status"], charge["failure_code"], charge["amount_captured"]) == ("failed", "insufficient_funds", 0)
    assert {"charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"} <= set(since(stripe, before))
    assert state(stripe, invoice.id) == ("open", 0, 0, 10_000)
    sandbox.pay(invoice.id)
    assert state(stripe, invoice.id) == ("paid", 10_000, 0, 0) and rows(stripe, invoice.id) == [("paid", 10_000, 10_000)]


@pytest.mark.parametrize(
    ("outcomes", "end"),
    [
        (["processing", "paid", "settle"], ("paid", 20_000, 10_000, 0)),
        (["processing", "paid", "bounce"], ("paid", 10_000, 0, 0)),
        (["processing", "partial", "settle"], ("paid", 15_000, 5_000, 0)),
        (["processing", "partial", "bounce", "paid"], ("paid", 10_000, 0, 0)),
        (["partial", "processing", "partial", "settle"], ("paid", 12_500, 2_500, 0)),
        (["processing", "processing", "settle", "settle"], ("paid", 20_000, 10_000, 0)),
        (["partial", "double"], ("paid", 15_000, 5_000, 0)),
        (["declined", "over"], ("paid", 11_000, 1_000, 0)),
    ],
)
def test_what_was_paid_is_the_sum_of_the_payments_in_every_mixture(
    sandbox: Sandbox, stripe: StripeClient, outcomes: list[str], end: tuple[Any, ...]
) -> None:
    invoice = opened(stripe, 10_000)
    for outcome in outcomes:
        sandbox.pay(invoice.id, outcome)
    assert state(stripe, invoice.id) == end
    listed = rows(stripe, invoice.id)
    assert sum(paid or 0 for status, _, paid in listed if status == "paid") == end[1]
    assert "open" not in {status for status, _, _ in listed}
    assert sum(row.is_default for row in stripe.v1.invoice_payments.list({"invoice": invoice.id}).data) == 1
    assert stripe.v1.customers.retrieve(invoice.customer).balance == -end[2]


def test_money_that_comes_after_the_void_shows_in_the_payments_only(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    sandbox.pay(invoice.id, "processing")
    stripe.v1.invoices.void_invoice(invoice.id)
    before = event_types(stripe)
    sandbox.pay(invoice.id, "settle")
    assert since(stripe, before) == ["charge.succeeded", "payment_intent.succeeded", "invoice_payment.paid"]
    sandbox.pay(invoice.id, "late", 2_000)
    assert rows(stripe, invoice.id) == [("paid", 10_000, 10_000), ("paid", 2_000, 2_000)]
    voided = stripe.v1.invoices.retrieve(invoice.id)
    assert (voided.status, voided.amount_paid) == ("void", 0)
    other = opened(stripe, 10_000)
    with pytest.raises(StripeError):
        sandbox.pay(other.id, "late")


def test_a_bounce_after_the_void_leaves_nothing_open(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    sandbox.pay(invoice.id, "processing")
    stripe.v1.invoices.void_invoice(invoice.id)
    sandbox.pay(invoice.id, "bounce")
    assert rows(stripe, invoice.id) == [("canceled", 10_000, None)]


def test_below_the_minimum_is_called_paid_and_nobody_can_pay(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 49)
    assert state(stripe, invoice.id) == ("paid", 0, 0, 0)
    for outcome in ("paid", "over", "double", "processing"):
        with pytest.raises(StripeError):
            sandbox.pay(invoice.id, outcome)


@pytest.mark.parametrize(
    "wish",
    [
        {"outcome": "twice"},
        {"outcome": "over", "amount": 10_000},
        {"outcome": "paid", "amount": 10_000},
        {"outcome": "over", "amount": "20"},
        {"outcome": "over", "amount": True},
        {"outcome": "settle"},
        {"outcome": "bounce"},
        {"outcome": "processing", "amount": 0},
        {"outcome": "paid", "tip": 1},
        {"outcome": 5},
    ],
)
def test_a_payment_that_cannot_be_is_refused_and_changes_nothing(http: httpx.Client, stripe: StripeClient, wish: dict[str, Any]) -> None:
    invoice = opened(stripe, 10_000)
    before = event_types(stripe)
    assert http.post(f"/_sandbox/invoices/{invoice.id}/pay", json=wish).status_code == 400
    assert event_types(stripe) == before and state(stripe, invoice.id) == ("open", 0, 0, 10_000)


def test_a_refund_by_hand(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    charge = sandbox.pay(invoice.id)
    before = event_types(stripe)
    refund = sandbox.refund(invoice.id, 4_000, reason="duplicate")
    assert (refund["amount"], refund["status"], refund["charge"], refund["reason"]) == (4_000, "succeeded", charge["id"], "duplicate")
    assert since(stripe, before) == ["refund.created", "charge.refunded", "refund.updated", "charge.refund.updated"]
    sandbox.refund(charge["id"])
    seen = stripe.v1.charges.retrieve(charge["id"])
    assert (seen.amount_refunded, seen.refunded) == (10_000, True)
    assert sum(row.amount for row in stripe.v1.refunds.list({"charge": charge["id"]}).data) == 10_000
    assert state(stripe, invoice.id) == ("paid", 10_000, 0, 0)
    with pytest.raises(StripeError, match="already been refunded"):
        sandbox.refund(invoice.id)


def test_a_refund_that_fails_gives_the_money_back_to_the_seller(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    charge = sandbox.pay(invoice.id)
    failed = sandbox.refund(invoice.id, outcome="failed")
    assert failed["status"] == "failed" and failed["failure_reason"]
    pending = sandbox.refund(invoice.id, 1_000, outcome="pending")
    assert pending["status"] == "pending" and stripe.v1.charges.retrieve(charge["id"]).amount_refunded == 1_000
    assert sandbox.settle_refund(pending["id"])["status"] == "succeeded"
    before = event_types(stripe)
    # The bank may also send back one that had arrived.
    assert sandbox.fail_refund(pending["id"])["status"] == "failed"
    assert since(stripe, before) == ["refund.updated", "refund.failed", "charge.refund.updated", "charge.updated"]
    seen = stripe.v1.charges.retrieve(charge["id"])
    assert (seen.amount_refunded, seen.refunded) == (0, False)
    with pytest.raises(StripeError):
        sandbox.fail_refund(pending["id"])


def test_one_of_two_payments_is_refunded(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    second = sandbox.pay(invoice.id, "double")
    assert sandbox.refund(invoice.id)["charge"] == second["id"]
    first = sandbox.refund(invoice.id, 10_000)["charge"]
    assert first != second["id"]


@pytest.mark.parametrize("won", [True, False])
def test_a_dispute_takes_the_money_until_it_is_decided(sandbox: Sandbox, stripe: StripeClient, won: bool) -> None:
    invoice = opened(stripe, 10_000)
    charge = sandbox.pay(invoice.id)
    before = event_types(stripe)
    made = sandbox.dispute(invoice.id, reason="product_not_received")
    dispute = stripe.v1.disputes.retrieve(made["id"])
    assert (dispute.status, dispute.amount, dispute.reason, dispute.charge) == (
        "needs_response",
        10_000,
        "product_not_received",
        charge["id"],
    )
    assert stripe.v1.charges.retrieve(charge["id"]).disputed
    assert since(stripe, before) == ["charge.updated", "charge.dispute.created", "charge.dispute.funds_withdrawn"]
    for refused in (lambda: sandbox.dispute(invoice.id), lambda: sandbox.refund(invoice.id)):
        with pytest.raises(StripeError):
            refused()
    before = event_types(stripe)
    closed = sandbox.close_dispute(dispute.id, won=won)
    assert closed["status"] == ("won" if won else "lost")
    assert sum(row["amount"] for row in closed["balance_transactions"]) == (0 if won else -10_000)
    assert since(stripe, before) == ["charge.dispute.closed", *(["charge.dispute.funds_reinstated"] if won else [])]
    assert state(stripe, invoice.id) == ("paid", 10_000, 0, 0)
    with pytest.raises(StripeError):
        sandbox.close_dispute(dispute.id, won=won)


def test_disputes_are_listed_and_given_up_through_the_api(sandbox: Sandbox, stripe: StripeClient, account_name: str) -> None:
    charges = [sandbox.pay(opened(stripe, 10_000).id) for _ in range(3)]
    disputes = [sandbox.dispute(charge["id"], amount=1_000) for charge in charges]
    assert [row.id for row in stripe.v1.disputes.list().data] == [row["id"] for row in reversed(disputes)]
    assert [row.id for row in stripe.v1.disputes.list({"charge": charges[1]["id"]}).data] == [disputes[1]["id"]]
    intent = charges[2]["payment_intent"]
    [found] = stripe.v1.disputes.list({"payment_intent": intent, "created": {"gt": 0}, "expand": ["data.charge"]}).data
    assert isinstance(found.charge, library.Charge) and found.charge.id == charges[2]["id"]
    assert stripe.v1.disputes.close(disputes[0]["id"]).status == "lost"
    other = stripe_client(sandbox.stripe_url, f"{account_name}x")
    assert other.v1.disputes.list().data == []
    with pytest.raises(library.InvalidRequestError) as refused:
        other.v1.disputes.retrieve(disputes[0]["id"])
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    with pytest.raises(library.InvalidRequestError):
        stripe.raw_request("get", "/v1/disputes", status="lost")


def test_the_members_of_a_dispute_are_those_the_library_knows(sandbox: Sandbox, stripe: StripeClient) -> None:
    made = sandbox.dispute(sandbox.pay(opened(stripe, 10_000).id)["id"])
    known = set(library.Dispute.__annotations__)
    assert set(made) <= known
    assert known - set(made) <= {"OBJECT_NAME", "_inner_class_types"}


def test_somebody_changed_the_invoice(sandbox: Sandbox, stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000, 5_000)
    changed = sandbox.tamper(invoice.id, total=14_000, number="OTHER-1")
    assert (changed["total"], changed["amount_due"], changed["number"]) == (14_000, 14_000, "OTHER-1")
    assert rows(stripe, invoice.id) == [("open", 14_000, None)]
    [event] = [event for event in sandbox.events(account_of(sandbox, invoice.id)) if event["type"] == "invoice.updated"][-1:]
    assert event["data"]["previous_attributes"]["total"] == 15_000
    assert sandbox.tamper(invoice.id, currency="USD")["currency"] == "usd"
    seen = stripe.v1.invoices.retrieve(invoice.id)
    assert sum(line.amount for line in seen.lines.data) == 14_000
    assert {line.currency for line in seen.lines.data} == {"usd"}
    charge = sandbox.pay(invoice.id)
    assert (charge["amount"], charge["currency"]) == (14_000, "usd")
    for wrong in ({"total": -1}, {"currency": "xxx"}):
        with pytest.raises(StripeError):
            sandbox.tamper(invoice.id, **wrong)


def account_of(sandbox: Sandbox, invoice_id: str) -> str:
    return next(account.id for account in sandbox.world.accounts.values() if invoice_id in account.table("invoice"))


def test_scripts_do_all_of_it_over_http(http: httpx.Client, stripe: StripeClient) -> None:
    def post(path: str, **body: Any) -> Any:
        answer = http.post(f"/_sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    invoice = opened(stripe, 10_000)
    assert post(f"invoices/{invoice.id}/tamper", total=9_000)["total"] == 9_000
    paid = post(f"invoices/{invoice.id}/pay", outcome="over", amount=9_500)
    assert (paid["invoice"]["amount_overpaid"], paid["charge"]["amount"], paid["error"]) == (500, 9_500, None)
    refund = post(f"invoices/{invoice.id}/refund", amount=500, outcome="pending")
    assert post(f"refunds/{refund['id']}/settle")["status"] == "succeeded"
    assert post(f"refunds/{refund['id']}/fail")["status"] == "failed"
    dispute = post(f"charges/{paid['charge']['id']}/dispute", reason="duplicate", amount=100)
    assert post(f"disputes/{dispute['id']}/close", won=True)["status"] == "won"
    for path, body in {
        f"invoices/{invoice.id}/refund": {"amount": 1, "outcome": "perhaps"},
        f"invoices/{invoice.id}/dispute": {"reason": "mood"},
        f"disputes/{dispute['id']}/close": {},
        f"invoices/{invoice.id}/tamper": {"status": "paid"},
    }.items():
        assert http.post(f"/_sandbox/{path}", json=body).status_code == 400
    for path in ("invoices/in_none/refund", "charges/ch_none/dispute", "refunds/re_none/fail", "disputes/du_none/close"):
        assert http.post(f"/_sandbox/{path}", json={"won": True} if "close" in path else {}).status_code == 404


def test_the_pay_page_has_a_button_for_each(http: httpx.Client, stripe: StripeClient) -> None:
    def press(invoice: Any, act: str, **fields: str) -> str:
        answer = http.post(f"{invoice.hosted_invoice_url}/{act}", data=fields, follow_redirects=True)
        assert answer.status_code == 200 and "<script" not in answer.text, (act, answer.text)
        return answer.text

    invoice = opened(stripe, 10_000)
    assert "A bank debit of" in press(invoice, "processing")
    press(invoice, "bounce")
    assert "Paid too much" in press(invoice, "over", amount="110,00")
    assert "5.00 EUR refunded" in press(invoice, "refund", amount="5")
    press(invoice, "refund-fails", amount="5")
    assert "needs response" in press(invoice, "dispute")
    assert "won" in press(invoice, "won")
    press(invoice, "double")
    assert state(stripe, invoice.id) == ("paid", 22_000, 12_000, 0)
    for act in ("over", "settle", "late"):
        assert http.post(f"{invoice.hosted_invoice_url}/{act}").status_code == 400
    before = event_types(stripe)
    assert http.get(f"{invoice.hosted_invoice_url}/double", follow_redirects=True).status_code == 200
    assert event_types(stripe) == before

    voided = opened(stripe, 10_000)
    stripe.v1.invoices.void_invoice(voided.id)
    press(voided, "late")
    assert rows(stripe, voided.id)[-1] == ("paid", 10_000, 10_000)
    unfinished = draft(stripe, 10_000)
    assert unfinished.hosted_invoice_url is None


def test_it_all_survives_a_restart(tmp_path: Path, account_name: str) -> None:
    with running(state=tmp_path) as first:
        stripe = stripe_client(first.stripe_url, account_name)
        pending, disputed = opened(stripe, 10_000), opened(stripe, 10_000)
        first.pay(pending.id, "processing")
        first.pay(disputed.id, "double")
        refund = first.refund(disputed.id, 100, outcome="pending")
        dispute = first.dispute(disputed.id)
        events = first.events(account_name)
    with running(state=tmp_path) as second:
        stripe = stripe_client(second.stripe_url, account_name)
        assert second.events(account_name) == events
        second.pay(pending.id, "settle")
        assert state(stripe, pending.id) == ("paid", 10_000, 0, 0)
        assert state(stripe, disputed.id) == ("paid", 20_000, 10_000, 0)
        assert second.settle_refund(refund["id"])["status"] == "succeeded"
        assert stripe.v1.disputes.retrieve(dispute["id"]).status == "needs_response"
        assert second.close_dispute(dispute["id"], won=True)["status"] == "won"
