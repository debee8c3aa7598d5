"""The hosted pay page and the call that plays the payer, for people and for scripts."""

from __future__ import annotations

import httpx
import pytest
from stripe import StripeClient

from tests.sandbox.conftest import draft, event_types, opened


def test_opening_the_page_shows_everything_and_changes_nothing(http: httpx.Client, stripe: StripeClient) -> None:
    invoice = opened(stripe, 100_000, 20_000, number="INV-2026-0007")
    before = event_types(stripe)
    for method in ("GET", "HEAD"):
        for address in (invoice.hosted_invoice_url, f"{invoice.hosted_invoice_url}/paid", invoice.invoice_pdf):
            assert http.request(method, address, follow_redirects=True).status_code == 200

    page = http.get(invoice.hosted_invoice_url).text
    for text in ("INV-2026-0007", "1,200.00 EUR", "Milestone 100000", "1,000.00 EUR", "Northwind", "this is not Stripe; no money moves"):
        assert text in page
    assert "<script" not in page
    assert event_types(stripe) == before
    assert stripe.v1.invoices.retrieve(invoice.id).status == "open"
    pdf = http.get(invoice.invoice_pdf)
    assert pdf.content.startswith(b"%PDF-") and b"this is not Stripe" in pdf.content


def test_the_pay_button_pays_and_leads_to_the_receipt(http: httpx.Client, stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    answer = http.post(f"{invoice.hosted_invoice_url}/paid")
    assert answer.status_code == 303
    receipt = http.get(answer.headers["location"]).text
    assert "Paid. Thank you." in receipt and "50.00 EUR" in receipt and "Pay part" not in receipt
    assert stripe.v1.invoices.retrieve(invoice.id).status == "paid"
    assert http.post(f"{invoice.hosted_invoice_url}/paid").status_code == 400
    assert event_types(stripe).count("invoice.paid") == 1


def test_a_part_leaves_the_rest_open(http: httpx.Client, stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    page = http.post(f"{invoice.hosted_invoice_url}/partial", data={"amount": "12,50"}, follow_redirects=True).text
    assert "Pay 37.50 EUR" in page
    partly = stripe.v1.invoices.retrieve(invoice.id)
    assert (partly.status, partly.amount_paid, partly.amount_remaining) == ("open", 1_250, 3_750)
    rows = [(row.status, row.amount_requested, row.amount_paid) for row in stripe.v1.invoice_payments.list({"invoice": invoice.id}).data]
    assert rows == [("paid", 1_250, 1_250), ("open", 3_750, None)]
    assert "invoice.paid" not in event_types(stripe)

    http.post(f"{invoice.hosted_invoice_url}/paid")
    whole = stripe.v1.invoices.retrieve(invoice.id)
    assert (whole.status, whole.amount_paid, whole.amount_remaining) == ("paid", 5_000, 0)
    assert event_types(stripe).count("invoice_payment.paid") == 2


@pytest.mark.parametrize("amount", ["", "0", "-5", "1.005", "50.01", "NaN", "1e400", "zwölf", "<b>"])
def test_an_amount_that_cannot_be_paid_is_said_beside_what_was_typed(http: httpx.Client, stripe: StripeClient, amount: str) -> None:
    invoice = opened(stripe, 5_000)
    answer = http.post(f"{invoice.hosted_invoice_url}/partial", data={"amount": amount})
    assert answer.status_code == 400 and "Not paid." in answer.text and "<b>" not in answer.text
    assert stripe.v1.invoices.retrieve(invoice.id).amount_paid == 0


def test_a_declined_card_is_said_and_can_be_tried_again(http: httpx.Client, stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    assert "Your card was declined." in http.post(f"{invoice.hosted_invoice_url}/declined").text
    assert "invoice.payment_failed" in event_types(stripe)
    http.post(f"{invoice.hosted_invoice_url}/paid")
    assert stripe.v1.invoices.retrieve(invoice.id).status == "paid"


def test_drafts_void_ones_and_guesses(http: httpx.Client, stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    stripe.v1.invoices.void_invoice(invoice.id)
    page = http.get(invoice.hosted_invoice_url)
    assert page.status_code == 200 and "void" in page.text
    # Nothing can be paid; only what was under way before can still arrive.
    assert page.text.count("<button") == page.text.count("/late") == 1
    assert http.post(f"{invoice.hosted_invoice_url}/paid").status_code == 400
    for address in ("/pay/", "/pay/acct_none/x", f"{invoice.hosted_invoice_url}x", f"{invoice.hosted_invoice_url}/../../x"):
        assert http.get(address).status_code == 404
    assert http.put(invoice.hosted_invoice_url).status_code == 405


def test_markup_in_texts_is_shown_as_text(http: httpx.Client, stripe: StripeClient) -> None:
    customer = stripe.v1.customers.create({"name": "<script>alert(1)</script>"})
    invoice = opened(stripe, 5_000, customer=customer.id, description="<img src=x onerror=alert(1)>")
    for address in (invoice.hosted_invoice_url, "/_sandbox"):
        page = http.get(address).text
        assert "<script>alert" not in page and "<img src=x" not in page and "&lt;script&gt;" in page


def test_scripts_play_the_payer(http: httpx.Client, stripe: StripeClient) -> None:
    invoice = opened(stripe, 5_000)
    address = f"/_sandbox/invoices/{invoice.id}/pay"
    declined = http.post(address, json={"outcome": "declined"})
    assert (declined.status_code, declined.json()["invoice"]["status"], declined.json()["error"]["code"]) == (200, "open", "card_declined")
    part = http.post(address, json={"outcome": "partial", "amount": 1_250}).json()
    assert (part["invoice"]["amount_paid"], part["error"]) == (1_250, None)
    half = http.post(address, json={"outcome": "partial"}).json()
    assert half["invoice"]["amount_remaining"] == 1_875
    assert http.post(address, json={"outcome": "paid"}).json()["invoice"]["status"] == "paid"
    assert http.post(address, json={"outcome": "paid"}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"outcome": "stolen"}',
        b'{"outcome": "partial", "amount": "5"}',
        b'{"outcome": "partial", "amount": 5001}',
        b'{"a": 1}',
    ],
)
def test_scripts_get_a_clear_refusal(http: httpx.Client, stripe: StripeClient, body: bytes) -> None:
    invoice = draft(stripe, 5_000) if body == b"" else opened(stripe, 5_000)
    answer = http.post(f"/_sandbox/invoices/{invoice.id}/pay", content=body)
    assert answer.status_code == 400 and answer.json()["error"]["message"]
    assert http.post("/_sandbox/invoices/in_none/pay", json={}).status_code == 404


def test_the_overview_lists_what_there_is(http: httpx.Client, stripe: StripeClient, account_name: str) -> None:
    invoice = opened(stripe, 5_000, number=f"N-{account_name}")
    page = http.get("/", follow_redirects=True).text
    for text in (account_name, f"N-{account_name}", invoice.id, "invoice.finalized", "Northwind", "not Stripe"):
        assert text in page
