"""What moves an invoice's state: finalize, send, void, uncollectible, and every way of paying it."""

from __future__ import annotations

from tollgate_sandbox.calls import Call
from tollgate_sandbox.currencies import MAXIMUM_CHARGE, minimum_charge, show
from tollgate_sandbox.customers import move_balance
from tollgate_sandbox.errors import StripeError, no_such, unsupported
from tollgate_sandbox.invoices import recalculate
from tollgate_sandbox.payments import Card, cancel_open_payments, charge_card, open_default_payment, resize_default_payment
from tollgate_sandbox.store import Account, Object
from tollgate_sandbox.views import changing, render

TEST_CARDS = {
    "pm_card_visa": Card(),
    "pm_card_mastercard": Card(brand="mastercard", last4="4444"),
    "pm_card_chargeDeclined": Card(last4="0002", decline_code="generic_decline"),
    "pm_card_visa_chargeDeclined": Card(last4="0002", decline_code="generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Card(last4="9995", decline_code="insufficient_funds"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card(last4="9995", decline_code="insufficient_funds"),
}
"""Stripe's test payment methods that the sandbox knows."""


def finalize(call: Call) -> Object:
    """POST /v1/invoices/{id}/finalize."""
    invoice = call.account.get("invoice", call.ids[0], "invoice")
    if "auto_advance" in call.params:
        invoice["auto_advance"] = call.params["auto_advance"]
    finalize_invoice(call.account, invoice)
    return render(call.account, invoice)


def finalize_invoice(account: Account, invoice: Object) -> None:
    """Freeze a draft and number it. Nothing due, or less than can be charged: paid at once, the rest goes to the customer's balance."""
    _in_status(invoice, ("draft",), "This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    if invoice["amount_due"] > MAXIMUM_CHARGE:
        limit = show(MAXIMUM_CHARGE, invoice["currency"])
        raise StripeError(f"Amount must be no more than {limit}", code="amount_too_large", param="amount")
    customer = account.get("customer", invoice["customer"])
    recalculate(account, invoice)
    total, starting, currency, moment = invoice["total"], invoice["starting_balance"], invoice["currency"], account.now()
    owed = total + starting
    too_small = 0 < owed < minimum_charge(currency)
    due = 0 if owed <= 0 or too_small or total <= 0 else owed
    ending = total + starting if total <= 0 or owed <= 0 or too_small else 0
    with changing(account, invoice, "invoice.finalized", updated="invoice.updated"):
        invoice["number"] = invoice["number"] or _next_number(account, customer)
        invoice["status_transitions"] = invoice["status_transitions"] | {"finalized_at": moment}
        invoice["effective_at"] = invoice["effective_at"] or moment
        invoice.update(status="open", amount_due=due, amount_remaining=due, ending_balance=ending, _applied_balance=ending - starting)
    move_balance(account, customer, currency, ending - starting, "applied_to_invoice", invoice["id"])
    customer["currency"] = customer["currency"] or currency
    account.save(customer)
    if due == 0:
        mark_paid(account, invoice)
    else:
        open_default_payment(account, invoice)


def send(call: Call) -> Object:
    """POST /v1/invoices/{id}/send. Finalizes a draft first; the sandbox mails nothing, as Stripe's test mode mails nothing."""
    account = call.account
    invoice = account.get("invoice", call.ids[0], "invoice")
    if invoice["collection_method"] != "send_invoice":
        raise StripeError("You can only manually send an invoice if its collection method is 'send_invoice'.")
    _in_status(invoice, ("draft", "open", "uncollectible"), f"You can't send an invoice that is {invoice['status']}.")
    if invoice["status"] == "draft":
        finalize_invoice(account, invoice)
    with changing(account, invoice, "invoice.sent"):
        pass
    return render(account, invoice)


def void(call: Call) -> Object:
    """POST /v1/invoices/{id}/void: an open or uncollectible invoice that nothing was paid on; a used customer balance comes back."""
    account = call.account
    invoice = account.get("invoice", call.ids[0], "invoice")
    _in_status(
        invoice, ("open", "uncollectible"), f"You can only void an invoice that is open or uncollectible; this one is {invoice['status']}."
    )
    if invoice["amount_paid"] > 0:
        raise StripeError(
            "You can't void an invoice that has been partially paid. Issue a credit note instead.", code="invoice_not_editable"
        )
    cancel_open_payments(account, invoice)
    customer = account.get("customer", invoice["customer"])
    move_balance(account, customer, invoice["currency"], -invoice["_applied_balance"], "unapplied_from_invoice", invoice["id"])
    with changing(account, invoice, "invoice.voided", updated="invoice.updated"):
        invoice.update(status="void", auto_advance=False)
        invoice["status_transitions"] = invoice["status_transitions"] | {"voided_at": account.now()}
    return render(account, invoice)


def mark_uncollectible(call: Call) -> Object:
    """POST /v1/invoices/{id}/mark_uncollectible: bad debt; it can still be paid or voided."""
    account = call.account
    invoice = account.get("invoice", call.ids[0], "invoice")
    _in_status(invoice, ("open",), f"You can only mark an open invoice as uncollectible; this one is {invoice['status']}.")
    with changing(account, invoice, "invoice.marked_uncollectible", updated="invoice.updated"):
        invoice.update(status="uncollectible", auto_advance=False)
        invoice["status_transitions"] = invoice["status_transitions"] | {"marked_uncollectible_at": account.now()}
    return render(account, invoice)


def pay(call: Call) -> Object:
    """POST /v1/invoices/{id}/pay, out of band or with one of the test payment methods."""
    params, account = call.params, call.account
    invoice = account.get("invoice", call.ids[0], "invoice")
    for name in ("source", "mandate", "forgive"):
        if params.get(name):
            raise unsupported(name)
    must_be_payable(invoice)
    if params.get("paid_out_of_band"):
        cancel_open_payments(account, invoice)
        mark_paid(account, invoice, off_stripe=invoice["amount_remaining"])
        return render(account, invoice)
    method = params.get("payment_method") or _default_method(account, invoice)
    if method not in TEST_CARDS:
        raise no_such("PaymentMethod", method, "payment_method", 400)
    pay_with_card(account, invoice, invoice["amount_remaining"], TEST_CARDS[method])
    return render(account, invoice)


def must_be_payable(invoice: Object) -> None:
    """Raise Stripe's refusal unless the invoice is open or uncollectible."""
    if invoice["status"] == "paid":
        raise StripeError("Invoice is already paid")
    _in_status(invoice, ("open", "uncollectible"), f"Invoice {invoice['id']} cannot be paid because it is {invoice['status']}.")


def pay_with_card(account: Account, invoice: Object, amount: int, card: Card) -> Object:
    """Charge `amount` minor units of what remains; returns the charge. Raises a 402 `card_error` when the card is declined."""
    must_be_payable(invoice)
    if not 0 < amount <= invoice["amount_remaining"]:
        raise StripeError(
            f"The amount must be above zero and at most {show(invoice['amount_remaining'], invoice['currency'])}.",
            param="amount",
            saved=False,
        )
    charge = charge_card(account, invoice, amount, card)
    if charge["status"] == "failed":
        attempt_failed(account, invoice)
        raise _declined(charge)
    receive(account, invoice, amount)
    return charge


def receive(account: Account, invoice: Object, amount: int) -> None:
    """Money of a payment that succeeded reaches its invoice, whatever became of the invoice in the meantime.

    More than remained is overpaid and credited to the customer's balance, as `amount_overpaid` is documented; a void invoice stays
    as it is, and only its payments tell.
    """
    if invoice["status"] == "void":
        return
    over = amount - invoice["amount_remaining"]
    if invoice["status"] != "paid" and over < 0:
        with changing(account, invoice, updated="invoice.updated"):
            invoice.update(amount_paid=invoice["amount_paid"] + amount, amount_remaining=-over, attempted=True)
        resize_default_payment(account, invoice)
        return
    if invoice["status"] == "paid":
        with changing(account, invoice, "invoice.overpaid", updated="invoice.updated"):
            invoice.update(amount_paid=invoice["amount_paid"] + amount, amount_overpaid=invoice["amount_overpaid"] + amount)
    else:
        cancel_open_payments(account, invoice)
        mark_paid(account, invoice, received=amount, over=over)
    move_balance(account, account.get("customer", invoice["customer"]), invoice["currency"], -over, "invoice_overpaid", invoice["id"])


def mark_paid(account: Account, invoice: Object, *, received: int = 0, off_stripe: int = 0, over: int = 0) -> None:
    """Nothing is left to pay. `received` came by card just now, `over` of it too much, `off_stripe` elsewhere; all 0: nothing was due."""
    events = ["invoice.paid", "invoice.payment_succeeded", *(["invoice.overpaid"] if over else [])]
    with changing(account, invoice, *events, updated="invoice.updated"):
        invoice.update(status="paid", amount_remaining=0, attempted=True, auto_advance=False)
        invoice["amount_paid"] += received + off_stripe
        invoice["amount_overpaid"] += over
        invoice["amount_paid_off_stripe"] += off_stripe
        invoice["attempt_count"] += 1 if received else 0
        invoice["status_transitions"] = invoice["status_transitions"] | {"paid_at": account.now()}


def attempt_failed(account: Account, invoice: Object) -> None:
    """Note on the invoice that somebody tried to pay and could not."""
    with changing(account, invoice, "invoice.payment_failed", updated="invoice.updated"):
        invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + 1)


def _default_method(account: Account, invoice: Object) -> str:
    customer = account.get("customer", invoice["customer"])
    method = invoice["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    if not method:
        raise StripeError(
            "This customer has no attached payment source or default payment method. Please consider adding a default payment method.",
            code="resource_missing",
        )
    return str(method)


def _next_number(account: Account, customer: Object) -> str:
    taken = {row["number"] for row in account.all("invoice")}
    while True:
        number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
        customer["next_invoice_sequence"] += 1
        if number not in taken:
            return number


def _in_status(invoice: Object, allowed: tuple[str, ...], message: str) -> None:
    if invoice["status"] not in allowed:
        raise StripeError(message, code="invoice_not_editable")


def _declined(charge: Object) -> StripeError:
    return StripeError(
        charge["failure_message"],
        status=402,
        kind="card_error",
        code=charge["failure_code"],
        decline_code=charge["outcome"]["reason"],
        charge=charge["id"],
        payment_intent={"id": charge["payment_intent"], "object": "payment_intent"},
    )
