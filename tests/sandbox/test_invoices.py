"""The life of an invoice, driven by the official client."""

from __future__ import annotations

import pytest
from stripe import CardError, InvalidRequestError, StripeClient

from tests.sandbox.conftest import draft, event_types, opened


def test_a_draft_gets_its_sums_from_its_items(stripe: StripeClient) -> None:
    invoice = draft(stripe, 100_000, 20_000, -6_000, number="INV-2026-0001", metadata={"tollgate": "one"})

    assert (invoice.status, invoice.subtotal, invoice.total, invoice.amount_due, invoice.amount_remaining) == (
        "draft", 114_000, 114_000, 114_000, 114_000,
    )  # fmt: skip
    assert [line.amount for line in invoice.lines.data] == [100_000, 20_000, -6_000]
    assert (invoice.number, invoice.metadata["tollgate"], invoice.collection_method) == ("INV-2026-0001", "one", "send_invoice")
    assert invoice.due_date == invoice.created + 30 * 86_400
    assert (invoice.hosted_invoice_url, invoice.invoice_pdf, invoice.status_transitions.finalized_at) == (None, None, None)
    assert event_types(stripe) == ["customer.created", "invoice.created", *["invoice.updated"] * 3]


def test_finalizing_opens_it_with_a_pay_page_and_a_payment(stripe: StripeClient) -> None:
    invoice = opened(stripe, 114_000)

    assert (invoice.status, invoice.amount_due, invoice.amount_paid, invoice.ending_balance) == ("open", 114_000, 0, 0)
    assert invoice.hosted_invoice_url and invoice.invoice_pdf and invoice.number
    [payment] = stripe.v1.invoice_payments.list({"invoice": invoice.id}).data
    assert (payment.status, payment.amount_requested, payment.is_default) == ("open", 114_000, True)
    with pytest.raises(InvalidRequestError, match="already finalized"):
        stripe.v1.invoices.finalize_invoice(invoice.id)


def test_sending_is_an_event_and_only_for_invoices_to_be_sent(stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    stripe.v1.invoices.send_invoice(invoice.id)
    assert event_types(stripe)[-1] == "invoice.sent"

    customer = stripe.v1.customers.create({})
    charged = stripe.v1.invoices.create({"customer": customer.id})
    with pytest.raises(InvalidRequestError, match="collection method"):
        stripe.v1.invoices.send_invoice(charged.id)


def test_a_card_pays_it(stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    paid = stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa", "expand": ["payments", "customer"]})

    assert (paid.status, paid.amount_paid, paid.amount_remaining, paid.amount_paid_off_stripe) == ("paid", 5_000, 0, 0)
    assert paid.customer.name == "Northwind"
    [payment] = paid.payments.data
    assert (payment.status, payment.amount_paid) == ("paid", 5_000)
    intent = stripe.v1.payment_intents.retrieve(payment.payment.payment_intent, {"expand": ["latest_charge"]})
    assert (intent.status, intent.amount_received, intent.latest_charge.amount) == ("succeeded", 5_000, 5_000)
    found = stripe.v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": intent.id}})
    assert [row.invoice for row in found.data] == [invoice.id]
    assert event_types(stripe)[-6:] == [
        "charge.succeeded", "payment_intent.succeeded", "invoice_payment.paid",
        "invoice.updated", "invoice.paid", "invoice.payment_succeeded",
    ]  # fmt: skip
    with pytest.raises(InvalidRequestError, match="already paid"):
        stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"})


def test_a_declined_card_leaves_it_open(stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    with pytest.raises(CardError) as refusal:
        stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_chargeDeclined"})

    assert (refusal.value.http_status, refusal.value.code) == (402, "card_declined")
    again = stripe.v1.invoices.retrieve(invoice.id)
    assert (again.status, again.amount_paid, again.attempt_count) == ("open", 0, 1)
    assert {"charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"} <= set(event_types(stripe))
    assert stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"}).status == "paid"


def test_money_settled_elsewhere(stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    paid = stripe.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid, paid.amount_paid_off_stripe, paid.amount_remaining) == ("paid", 5_000, 5_000, 0)
    assert [row.status for row in stripe.v1.invoice_payments.list({"invoice": invoice.id}).data] == ["canceled"]


@pytest.mark.parametrize(
    ("currency", "amount", "status"), [("eur", 49, "paid"), ("eur", 50, "open"), ("gbp", 29, "paid"), ("gbp", 30, "open")]
)
def test_below_the_minimum_charge_it_counts_as_paid_and_the_debt_moves(
    stripe: StripeClient, currency: str, amount: int, status: str
) -> None:
    invoice = opened(stripe, amount, currency=currency)
    customer = stripe.v1.customers.retrieve(invoice.customer)

    assert invoice.status == status
    debt = amount if status == "paid" else 0
    assert (invoice.total, invoice.amount_due, invoice.amount_paid, customer.balance) == (amount, amount - debt, 0, debt)
    if debt:
        assert invoice.ending_balance == debt
        following = opened(stripe, 10_000, currency=currency, customer=invoice.customer)
        assert (following.total, following.starting_balance, following.amount_due) == (10_000, debt, 10_000 + debt)


def test_a_total_below_zero_becomes_customer_credit_and_comes_off_the_next(stripe: StripeClient) -> None:
    invoice = opened(stripe, 1_000, -4_000)
    assert (invoice.status, invoice.total, invoice.amount_due, invoice.ending_balance) == ("paid", -3_000, 0, -3_000)

    following = opened(stripe, 10_000, customer=invoice.customer)
    assert (following.status, following.starting_balance, following.amount_due) == ("open", -3_000, 7_000)
    stripe.v1.invoices.void_invoice(following.id)
    assert stripe.v1.customers.retrieve(invoice.customer).balance == -3_000
    kinds = [row.type for row in stripe.v1.customers.balance_transactions.list(invoice.customer).data]
    assert kinds == ["unapplied_from_invoice", "applied_to_invoice", "applied_to_invoice"]


def test_zero_is_paid_at_once(stripe: StripeClient) -> None:
    invoice = opened(stripe, 1_000, -1_000)
    assert (invoice.status, invoice.amount_due, invoice.ending_balance) == ("paid", 0, 0)
    assert stripe.v1.invoice_payments.list({"invoice": invoice.id}).data == []


def test_only_open_invoices_are_voided_and_void_ones_stay(stripe: StripeClient) -> None:
    unfinished = draft(stripe, 1_000)
    with pytest.raises(InvalidRequestError, match="only void"):
        stripe.v1.invoices.void_invoice(unfinished.id)

    invoice = opened(stripe, 1_000, number="V-1")
    void = stripe.v1.invoices.void_invoice(invoice.id)
    assert (void.status, void.number) == ("void", "V-1")
    assert void.status_transitions.voided_at
    with pytest.raises(InvalidRequestError, match="void"):
        stripe.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    with pytest.raises(InvalidRequestError, match="already in use"):
        draft(stripe, number="V-1")


def test_uncollectible_can_still_be_paid(stripe: StripeClient) -> None:
    invoice = stripe.v1.invoices.mark_uncollectible(opened(stripe, 1_000).id)
    assert invoice.status == "uncollectible"
    assert stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"}).status == "paid"


def test_numbers_are_unique_in_an_account_and_free_again_after_a_deleted_draft(stripe: StripeClient) -> None:
    first = draft(stripe, 1_000, number="N-1")
    with pytest.raises(InvalidRequestError) as refusal:
        draft(stripe, number="N-1")
    assert refusal.value.param == "number"
    assert stripe.v1.invoices.delete(first.id).deleted
    second = draft(stripe, 1_000, number="N-1")
    assert stripe.v1.invoice_items.list({"invoice": first.id}).data == []
    stripe.v1.invoices.finalize_invoice(second.id)
    with pytest.raises(InvalidRequestError, match="draft"):
        stripe.v1.invoices.delete(second.id)


def test_an_open_invoice_cannot_be_edited(stripe: StripeClient) -> None:
    invoice = opened(stripe, 1_000)
    item = stripe.v1.invoice_items.list({"invoice": invoice.id}).data[0]
    for attempt in (
        lambda: stripe.v1.invoice_items.create({"customer": invoice.customer, "invoice": invoice.id, "amount": 1, "currency": "eur"}),
        lambda: stripe.v1.invoice_items.update(item.id, {"amount": 2}),
        lambda: stripe.v1.invoice_items.delete(item.id),
        lambda: stripe.v1.invoices.update(invoice.id, {"number": "other"}),
        lambda: stripe.v1.invoices.update(invoice.id, {"description": "other"}),
    ):
        with pytest.raises(InvalidRequestError) as refusal:
            attempt()
        assert refusal.value.code == "invoice_not_editable"
    changed = stripe.v1.invoices.update(invoice.id, {"metadata": {"a": "b"}})
    assert (changed.metadata["a"], changed.total) == ("b", 1_000)


def test_items_change_and_go_while_the_invoice_is_a_draft(stripe: StripeClient) -> None:
    invoice = draft(stripe, 1_000, 500)
    first, second = reversed(stripe.v1.invoice_items.list({"invoice": invoice.id}).data)
    stripe.v1.invoice_items.update(first.id, {"amount": 700})
    stripe.v1.invoice_items.delete(second.id)
    assert stripe.v1.invoices.retrieve(invoice.id).total == 700
    with pytest.raises(InvalidRequestError, match="No such invoiceitem"):
        stripe.v1.invoice_items.retrieve(second.id)


def test_lines_beyond_the_first_ten_are_on_further_pages(stripe: StripeClient) -> None:
    invoice = draft(stripe, *range(100, 123))
    assert (len(invoice.lines.data), invoice.lines.has_more, invoice.lines.total_count) == (10, True, 23)
    lines = list(stripe.v1.invoices.line_items.list(invoice.id, {"limit": 7}).auto_paging_iter())
    assert [line.amount for line in lines] == list(range(100, 123))
    assert sum(line.amount for line in lines) == invoice.total


def test_pending_items_stay_out_unless_included(stripe: StripeClient) -> None:
    customer = stripe.v1.customers.create({})
    pending = stripe.v1.invoice_items.create({"customer": customer.id, "amount": 900, "currency": "eur"})
    assert draft(stripe, customer=customer.id).total == 0
    assert [row.id for row in stripe.v1.invoice_items.list({"customer": customer.id, "pending": True}).data] == [pending.id]
    assert draft(stripe, customer=customer.id, pending_invoice_items_behavior="include").total == 900


def test_quantity_times_a_decimal_unit_is_rounded_once(stripe: StripeClient) -> None:
    invoice = draft(stripe)
    item = stripe.v1.invoice_items.create(
        {"customer": invoice.customer, "invoice": invoice.id, "unit_amount_decimal": "12.345", "quantity": 100, "currency": "eur"}
    )
    assert (item.amount, item.quantity) == (1_235, 100)


def test_lists_filter_and_page_newest_first(stripe: StripeClient) -> None:
    first, second, third = draft(stripe, 1), opened(stripe, 2_000), draft(stripe, 3)
    assert [row.id for row in stripe.v1.invoices.list().data] == [third.id, second.id, first.id]
    assert [row.id for row in stripe.v1.invoices.list({"status": "open"}).data] == [second.id]
    assert [row.id for row in stripe.v1.invoices.list({"customer": first.customer}).data] == [first.id]
    assert [row.id for row in stripe.v1.invoices.list({"limit": 1}).auto_paging_iter()] == [third.id, second.id, first.id]
    before = stripe.v1.invoices.list({"ending_before": first.id, "limit": 1})
    assert ([row.id for row in before.data], before.has_more) == ([second.id], True)
    assert stripe.v1.invoices.list({"created": {"lt": first.created}}).data == []
    with pytest.raises(InvalidRequestError, match="unknown parameter"):
        stripe.v1.invoices.list({"metadata": {"a": "b"}})  # type: ignore[typeddict-unknown-key]


def test_the_official_types_know_every_member(stripe: StripeClient) -> None:
    """A misspelt member would be an answer that Stripe never gives."""
    from stripe import Invoice, InvoiceItem, InvoicePayment

    invoice = opened(stripe, 1_000)
    shapes = [
        (Invoice, invoice),
        (InvoiceItem, stripe.v1.invoice_items.list().data[0]),
        (InvoicePayment, stripe.v1.invoice_payments.list().data[0]),
        (type(stripe.v1.customers.list().data[0]), stripe.v1.customers.list().data[0]),
        (type(stripe.v1.payment_intents.list().data[0]), stripe.v1.payment_intents.list().data[0]),
    ]
    for shape, thing in shapes:
        known = set(shape.__annotations__)
        assert set(thing.to_dict()) - known - {"created"} == set(), shape
