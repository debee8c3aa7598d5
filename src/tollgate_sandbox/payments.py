"""Payment intents, charges and invoice payments: the money side of an invoice, without any money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tollgate_sandbox.calls import Call
from tollgate_sandbox.errors import unsupported
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import changing, emit, page, render


@dataclass(frozen=True, slots=True)
class Card:
    """A test card, or the account of a bank debit (`sepa_debit`), which takes days; a decline code makes it refuse."""

    brand: str = "visa"
    last4: str = "4242"
    decline_code: str | None = None
    kind: Literal["card", "sepa_debit"] = "card"


DEBIT = Card(brand="", last4="3000", kind="sepa_debit")


def open_default_payment(account: Account, invoice: Object) -> None:
    """On finalization: a payment intent for all that is due, tied to the invoice by an open invoice payment."""
    intent = _intent(account, invoice, invoice["amount_remaining"])
    _invoice_payment(account, invoice, intent, is_default=True)


def resize_default_payment(account: Account, invoice: Object) -> None:
    """After a part was paid otherwise: the default payment asks for the rest. One that is under way keeps its amount."""
    payment = default_payment(account, invoice)
    if payment is None:
        if not any(row["is_default"] for row in payments_under_way(account, invoice)):
            open_default_payment(account, invoice)
        return
    payment["amount_requested"] = invoice["amount_remaining"]
    account.save(payment)
    intent = intent_of(account, payment)
    intent["amount"] = invoice["amount_remaining"]
    account.save(intent)


def default_payment(account: Account, invoice: Object) -> Object | None:
    """The invoice's open default payment, unless a bank debit is under way for it."""
    for payment in payments_of(account, invoice):
        if payment["is_default"] and payment["status"] == "open" and intent_of(account, payment)["status"] != "processing":
            return payment
    return None


def payments_of(account: Account, invoice: Object) -> list[Object]:
    """The invoice payments of an invoice, oldest first."""
    return [row for row in account.all("invoice_payment") if row["invoice"] == invoice["id"]]


def payments_under_way(account: Account, invoice: Object) -> list[Object]:
    """Those whose bank debit is neither settled nor bounced, oldest first."""
    return [row for row in payments_of(account, invoice) if intent_of(account, row)["status"] == "processing"]


def intent_of(account: Account, payment: Object) -> Object:
    """The payment intent of an invoice payment."""
    return account.get("payment_intent", payment["payment"]["payment_intent"])


def charges_of(account: Account, invoice: Object) -> list[Object]:
    """The charges of an invoice, oldest first, failed ones too."""
    intents = {row["payment"]["payment_intent"] for row in payments_of(account, invoice)}
    return [row for row in account.all("charge") if row["payment_intent"] in intents]


def cancel_open_payments(account: Account, invoice: Object) -> None:
    """The invoice needs no card any more (void, paid elsewhere, credited)."""
    payment = default_payment(account, invoice)
    if payment is None:
        return
    payment["status"] = "canceled"
    payment["status_transitions"] = payment["status_transitions"] | {"canceled_at": account.now()}
    account.save(payment)
    intent = intent_of(account, payment)
    with changing(account, intent, "payment_intent.canceled"):
        intent.update(status="canceled", canceled_at=account.now(), cancellation_reason="void_invoice")


def charge_card(account: Account, invoice: Object, amount: int, card: Card) -> Object:
    """Charge a test card for an invoice. The answer's `status` is succeeded or failed; events are emitted for both."""
    payment = _payment_for(account, invoice, amount)
    intent = intent_of(account, payment)
    charge = account.save(_charge(account, invoice, intent, amount, card))
    if card.decline_code is not None:
        _fail(account, payment, intent, charge)
    else:
        _succeed(account, payment, intent, charge)
    return charge


def begin_debit(account: Account, invoice: Object, amount: int) -> Object:
    """A bank debit that takes days: the intent is processing and the charge pending until `end_debit`. Returns the charge."""
    payment = _payment_for(account, invoice, amount)
    intent = intent_of(account, payment)
    charge = account.save(_charge(account, invoice, intent, amount, DEBIT) | {"status": "pending", "paid": False})
    emit(account, "charge.pending", render(account, charge))
    with changing(account, intent, "payment_intent.processing"):
        intent.update(status="processing", latest_charge=charge["id"], payment_method=charge["payment_method"], last_payment_error=None)
        intent["payment_method_types"] = ["card", "sepa_debit"]
    return charge


def end_debit(account: Account, payment: Object, *, bounced: bool) -> Object:
    """A debit that is under way arrives, or the payer's bank sends it back. Returns the charge."""
    intent = intent_of(account, payment)
    charge = account.get("charge", intent["latest_charge"])
    if bounced:
        charge.update(status="failed", amount_captured=0, captured=False, failure_code="insufficient_funds")
        charge["failure_message"] = "The customer's account has insufficient funds to cover this payment."
        charge["outcome"] = charge["outcome"] | {"reason": "insufficient_funds", "type": "issuer_declined"}
        account.save(charge)
        _fail(account, payment, intent, charge)
    else:
        charge.update(status="succeeded", paid=True)
        account.save(charge)
        _succeed(account, payment, intent, charge)
    return charge


def _payment_for(account: Account, invoice: Object, amount: int) -> Object:
    """The default payment when it asks for just this amount, else a payment intent of its own, attached to the invoice."""
    payment = default_payment(account, invoice)
    if payment is None or amount != invoice["amount_remaining"]:
        payment = _invoice_payment(account, invoice, _intent(account, invoice, amount), is_default=False)
    return payment


def _succeed(account: Account, payment: Object, intent: Object, charge: Object) -> None:
    amount = charge["amount"]
    emit(account, "charge.succeeded", render(account, charge))
    with changing(account, intent, "payment_intent.succeeded"):
        intent.update(status="succeeded", amount_received=amount, latest_charge=charge["id"], last_payment_error=None)
        intent["payment_method"] = charge["payment_method"]
    with changing(account, payment, "invoice_payment.paid"):
        payment.update(status="paid", amount_paid=amount)
        payment["status_transitions"] = payment["status_transitions"] | {"paid_at": account.now()}


def _fail(account: Account, payment: Object, intent: Object, charge: Object) -> None:
    emit(account, "charge.failed", render(account, charge))
    with changing(account, intent, "payment_intent.payment_failed"):
        intent.update(status="requires_payment_method", latest_charge=charge["id"])
        intent["last_payment_error"] = {
            "charge": charge["id"],
            "code": charge["failure_code"],
            "decline_code": charge["outcome"]["reason"],
            "message": charge["failure_message"],
            "type": "card_error",
        }
    if not payment["is_default"]:
        payment["status"] = "canceled"
        account.save(payment)


def _intent(account: Account, invoice: Object, amount: int) -> Object:
    identifier = new_id("pi")
    intent: Object = {
        "id": identifier,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{identifier}_secret_{new_id('x', 25)[2:]}",
        "confirmation_method": "automatic",
        "created": account.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": f"Payment for Invoice {invoice['number']}",
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_details": {"customer_reference": None, "order_reference": invoice["id"]},
        "payment_method": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": invoice["statement_descriptor"],
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    account.save(intent)
    emit(account, "payment_intent.created", render(account, intent))
    return intent


def _invoice_payment(account: Account, invoice: Object, intent: Object, *, is_default: bool) -> Object:
    return account.save(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": intent["amount"],
            "created": account.now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": is_default,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def _charge(account: Account, invoice: Object, intent: Object, amount: int, card: Card) -> Object:
    failed = card.decline_code is not None
    message = "Your card has insufficient funds." if card.decline_code == "insufficient_funds" else "Your card was declined."
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": amount,
        "amount_captured": 0 if failed else amount,
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": {
            "address": None,
            "email": invoice["customer_email"],
            "name": invoice["customer_name"],
            "phone": None,
            "tax_id": None,
        },
        "captured": not failed,
        "created": account.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": "card_declined" if failed else None,
        "failure_message": message if failed else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "outcome": {
            "network_status": "declined_by_network" if failed else "approved_by_network",
            "reason": card.decline_code,
            "risk_level": "normal",
            "seller_message": "The bank did not return any further details with this decline." if failed else "Payment complete.",
            "type": "issuer_declined" if failed else "authorized",
        },
        "paid": not failed,
        "payment_intent": intent["id"],
        "payment_method": new_id("pm"),
        "payment_method_details": _method_details(card),
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "status": "failed" if failed else "succeeded",
    }


def _method_details(card: Card) -> Object:
    if card.kind == "sepa_debit":
        details = {"bank_code": "37040044", "branch_code": "", "country": "DE", "fingerprint": None, "last4": card.last4, "mandate": None}
        return {"sepa_debit": details, "type": "sepa_debit"}
    return {"card": {"brand": card.brand, "last4": card.last4, "exp_month": 12, "exp_year": 2034}, "type": "card"}


def retrieve_intent(call: Call) -> Object:
    """GET /v1/payment_intents/{id}."""
    if "client_secret" in call.params:
        raise unsupported("client_secret")
    return render(call.account, call.account.get("payment_intent", call.ids[0], "intent"))


def list_intents(call: Call) -> Object:
    """GET /v1/payment_intents, newest first, by customer."""
    if "customer_account" in call.params:
        raise unsupported("customer_account")
    customer = call.params.get("customer")
    rows = [row for row in call.account.all("payment_intent") if customer in (None, row["customer"])]
    return page(call.account, rows, call.params, "/v1/payment_intents")


def retrieve_charge(call: Call) -> Object:
    """GET /v1/charges/{id}."""
    return render(call.account, call.account.get("charge", call.ids[0], "id"))


def list_charges(call: Call) -> Object:
    """GET /v1/charges, newest first, by customer and payment intent."""
    params = call.params
    if "transfer_group" in params:
        raise unsupported("transfer_group")
    rows = [
        row
        for row in call.account.all("charge")
        if all(params.get(name, row[name]) == row[name] for name in ("customer", "payment_intent"))
    ]
    return page(call.account, rows, params, "/v1/charges")


def retrieve_invoice_payment(call: Call) -> Object:
    """GET /v1/invoice_payments/{id}."""
    return render(call.account, call.account.get("invoice_payment", call.ids[0], "invoice_payment"))


def list_invoice_payments(call: Call) -> Object:
    """GET /v1/invoice_payments, newest first, by invoice, payment intent and status."""
    params = call.params
    payment = params.get("payment", {})
    if payment.get("type") == "payment_record" or "payment_record" in payment:
        raise unsupported("payment[payment_record]")
    intent = payment.get("payment_intent")
    rows = [
        row
        for row in call.account.all("invoice_payment")
        if all(params.get(name, row[name]) == row[name] for name in ("invoice", "status"))
        and intent in (None, row["payment"]["payment_intent"])
    ]
    return page(call.account, rows, params, "/v1/invoice_payments")
