"""Refunds and credit notes: money that goes back, and money that is no longer asked for."""

from __future__ import annotations

import pytest
from stripe import InvalidRequestError, StripeClient

from tests.sandbox.conftest import draft, event_types, opened


def paid(stripe: StripeClient, amount: int) -> tuple[str, str]:
    """Ids of a paid invoice and of its payment intent."""
    invoice = opened(stripe, amount)
    stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"})
    [payment] = stripe.v1.invoice_payments.list({"invoice": invoice.id, "status": "paid"}).data
    return invoice.id, str(payment.payment.payment_intent)


def test_a_refund_in_two_parts_never_exceeds_the_charge(stripe: StripeClient) -> None:
    invoice_id, intent = paid(stripe, 10_000)
    first = stripe.v1.refunds.create({"payment_intent": intent, "amount": 4_000, "reason": "requested_by_customer", "metadata": {"a": "b"}})
    assert (first.status, first.amount, first.payment_intent) == ("succeeded", 4_000, intent)
    with pytest.raises(InvalidRequestError, match="greater than unrefunded"):
        stripe.v1.refunds.create({"payment_intent": intent, "amount": 6_001})
    rest = stripe.v1.refunds.create({"charge": str(first.charge)})
    assert rest.amount == 6_000
    with pytest.raises(InvalidRequestError) as refusal:
        stripe.v1.refunds.create({"payment_intent": intent})
    assert refusal.value.code == "charge_already_refunded"

    charge = stripe.v1.charges.retrieve(str(first.charge))
    assert (charge.amount_refunded, charge.refunded) == (10_000, True)
    assert stripe.v1.invoices.retrieve(invoice_id).status == "paid"
    assert [row.id for row in stripe.v1.refunds.list({"payment_intent": intent}).data] == [rest.id, first.id]
    assert event_types(stripe)[-4:] == ["refund.created", "charge.refunded"] * 2


def test_an_unpaid_intent_cannot_be_refunded(stripe: StripeClient) -> None:
    invoice = opened(stripe, 1_000)
    [payment] = stripe.v1.invoice_payments.list({"invoice": invoice.id}).data
    with pytest.raises(InvalidRequestError, match="successful charge"):
        stripe.v1.refunds.create({"payment_intent": str(payment.payment.payment_intent)})


def test_a_credit_note_before_payment_lowers_what_is_due(stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000)
    note = stripe.v1.credit_notes.create({"invoice": invoice.id, "amount": 3_000, "memo": "late"})
    assert (note.status, note.type, note.pre_payment_amount, note.post_payment_amount) == ("issued", "pre_payment", 3_000, 0)
    lowered = stripe.v1.invoices.retrieve(invoice.id)
    assert (lowered.status, lowered.total, lowered.amount_due, lowered.amount_remaining) == ("open", 10_000, 7_000, 7_000)
    [payment] = stripe.v1.invoice_payments.list({"invoice": invoice.id}).data
    assert payment.amount_requested == 7_000

    stripe.v1.credit_notes.void_credit_note(note.id)
    assert stripe.v1.invoices.retrieve(invoice.id).amount_remaining == 10_000
    assert event_types(stripe).count("credit_note.voided") == 1


def test_a_full_credit_note_by_line_settles_the_invoice(stripe: StripeClient) -> None:
    invoice = opened(stripe, 10_000, 2_000)
    lines = [{"type": "invoice_line_item", "invoice_line_item": line.id, "quantity": 1} for line in invoice.lines.data]
    note = stripe.v1.credit_notes.create({"invoice": invoice.id, "lines": lines})  # type: ignore[typeddict-item]
    assert [line.amount for line in note.lines.data] == [10_000, 2_000]
    settled = stripe.v1.invoices.retrieve(invoice.id)
    assert (settled.status, settled.amount_remaining, settled.amount_paid, settled.pre_payment_credit_notes_amount) == (
        "paid",
        0,
        0,
        12_000,
    )
    with pytest.raises(InvalidRequestError, match="still be credited"):
        stripe.v1.credit_notes.create({"invoice": invoice.id, "amount": 1})


def test_after_payment_the_note_must_say_where_the_money_goes(stripe: StripeClient) -> None:
    invoice_id, _ = paid(stripe, 10_000)
    with pytest.raises(InvalidRequestError, match="must equal"):
        stripe.v1.credit_notes.create({"invoice": invoice_id, "amount": 1_000})

    refunded = stripe.v1.credit_notes.create({"invoice": invoice_id, "amount": 1_000, "refund_amount": 1_000})
    assert refunded.type == "post_payment"
    assert [row.amount for row in stripe.v1.refunds.list().data] == [1_000]
    stripe.v1.credit_notes.create({"invoice": invoice_id, "amount": 500, "credit_amount": 500})
    invoice = stripe.v1.invoices.retrieve(invoice_id)
    assert stripe.v1.customers.retrieve(str(invoice.customer)).balance == -500
    assert (invoice.status, invoice.post_payment_credit_notes_amount) == ("paid", 1_500)
    assert len(stripe.v1.credit_notes.list({"invoice": invoice_id}).data) == 2
    with pytest.raises(InvalidRequestError, match="only void"):
        stripe.v1.credit_notes.void_credit_note(refunded.id)


def test_drafts_cannot_be_credited(stripe: StripeClient) -> None:
    with pytest.raises(InvalidRequestError, match="draft"):
        stripe.v1.credit_notes.create({"invoice": draft(stripe, 1_000).id, "amount": 1})
