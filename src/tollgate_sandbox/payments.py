"""Payment intents, charges, invoice payments and refunds: the money side of an invoice, without any money."""

from __future__ import annotations

from dataclasses import dataclass

from tollgate_sandbox.calls import Call, merge_metadata
from tollgate_sandbox.currencies import show
from tollgate_sandbox.errors import StripeError, parameter_error, unsupported
from tollgate_sandbox.store import Account, Object, new_id, now
from tollgate_sandbox.views import changing, emit, page, render


@dataclass(frozen=True, slots=True)
class Card:
    """A test card; a decline code makes it refuse."""

    brand: str = "visa"
    last4: str = "4242"
    decline_code: str | None = None


def open_default_payment(account: Account, invoice: Object) -> None:
    """On finalization: a payment intent for all that is due, tied to the invoice by an open invoice payment."""
    intent = _intent(account, invoice, invoice["amount_remaining"])
    _invoice_payment(account, invoice, intent, is_default=True)


def resize_default_payment(account: Account, invoice: Object) -> None:
    """After a part was paid otherwise: the default payment asks for the rest."""
    payment = default_payment(account, invoice)
    if payment is None:
        open_default_payment(account, invoice)
        return
    payment["amount_requested"] = invoice["amount_remaining"]
    account.save(payment)
    intent = account.get("payment_intent", payment["payment"]["payment_intent"])
    intent["amount"] = invoice["amount_remaining"]
    account.save(intent)


def default_payment(account: Account, invoice: Object) -> Object | None:
    """The invoice's open default payment."""
    for payment in account.all("invoice_payment"):
        if payment["invoice"] == invoice["id"] and payment["is_default"] and payment["status"] == "open":
            return payment
    return None


def cancel_open_payments(account: Account, invoice: Object) -> None:
    """The invoice needs no card any more (void, paid elsewhere, credited)."""
    payment = default_payment(account, invoice)
    if payment is None:
        return
    payment["status"] = "canceled"
    payment["status_transitions"] = payment["status_transitions"] | {"canceled_at": now()}
    account.save(payment)
    intent = account.get("payment_intent", payment["payment"]["payment_intent"])
    with changing(account, intent, "payment_intent.canceled"):
        intent.update(status="canceled", canceled_at=now(), cancellation_reason="void_invoice")


def charge_card(account: Account, invoice: Object, amount: int, card: Card) -> Object:
    """Charge a test card for an invoice. The answer's `status` is succeeded or failed; events are emitted for both."""
    payment = default_payment(account, invoice)
    if payment is None or amount != invoice["amount_remaining"]:
        payment = _invoice_payment(account, invoice, _intent(account, invoice, amount), is_default=False)
    intent = account.get("payment_intent", payment["payment"]["payment_intent"])
    charge = account.save(_charge(invoice, intent, amount, card))
    if card.decline_code is not None:
        _fail(account, intent, charge)
        if not payment["is_default"]:
            payment["status"] = "canceled"
            account.save(payment)
        return charge
    emit(account, "charge.succeeded", render(account, charge))
    with changing(account, intent, "payment_intent.succeeded"):
        intent.update(status="succeeded", amount_received=amount, latest_charge=charge["id"], last_payment_error=None)
        intent["payment_method"] = charge["payment_method"]
    with changing(account, payment, "invoice_payment.paid"):
        payment.update(status="paid", amount_paid=amount)
        payment["status_transitions"] = payment["status_transitions"] | {"paid_at": now()}
    return charge


def _fail(account: Account, intent: Object, charge: Object) -> None:
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
        "created": now(),
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
            "created": now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": is_default,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def _charge(invoice: Object, intent: Object, amount: int, card: Card) -> Object:
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
        "created": now(),
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
        "payment_method_details": {"card": {"brand": card.brand, "last4": card.last4, "exp_month": 12, "exp_year": 2034}, "type": "card"},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "status": "failed" if failed else "succeeded",
    }


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


def create_refund(call: Call) -> Object:
    """POST /v1/refunds of a payment intent or charge, whole or in part; the invoice stays paid."""
    params, account = call.params, call.account
    for name in ("customer", "origin", "currency", "instructions_email", "refund_application_fee", "reverse_transfer"):
        if params.get(name):
            raise unsupported(name)
    metadata = merge_metadata({}, params.get("metadata", {}))
    charge = _charge_to_refund(account, params.get("payment_intent"), params.get("charge"))
    return render(account, refund_charge(account, charge, params.get("amount"), params.get("reason"), metadata))


def refund_charge(account: Account, charge: Object, amount: int | None, reason: str | None, metadata: dict[str, str]) -> Object:
    """Give back `amount` minor units of a charge (None: all that is left)."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left == 0:
        raise StripeError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    wanted = left if amount is None else amount
    if wanted < 1:
        raise parameter_error("This value must be greater than or equal to 1.", "amount", "parameter_invalid_integer")
    if wanted > left:
        currency = charge["currency"]
        raise StripeError(
            f"Refund amount ({show(wanted, currency)}) is greater than unrefunded amount on charge ({show(left, currency)})", param="amount"
        )
    refund = account.save(
        {
            "id": new_id("re"),
            "object": "refund",
            "amount": wanted,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": now(),
            "currency": charge["currency"],
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }
    )
    emit(account, "refund.created", render(account, refund))
    before = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
    charge["amount_refunded"] += wanted
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    account.save(charge)
    previous = {name: value for name, value in before.items() if charge[name] != value}
    emit(account, "charge.refunded", render(account, charge), previous)
    return refund


def _charge_to_refund(account: Account, intent_id: str | None, charge_id: str | None) -> Object:
    if (intent_id is None) == (charge_id is None):
        raise parameter_error(
            "One of the following params should be provided for this request: payment_intent or charge.", "payment_intent"
        )
    if charge_id is not None:
        charge = account.get("charge", charge_id, "charge", 400)
    else:
        intent = account.get("payment_intent", str(intent_id), "payment_intent", 400)
        if intent["status"] != "succeeded":
            raise StripeError(f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.", param="payment_intent")
        charge = account.get("charge", intent["latest_charge"])
    if charge["status"] != "succeeded":
        raise StripeError(f"Charge {charge['id']} did not succeed and cannot be refunded.", param="charge")
    return charge


def retrieve_refund(call: Call) -> Object:
    """GET /v1/refunds/{id}."""
    return render(call.account, call.account.get("refund", call.ids[0], "refund"))


def update_refund(call: Call) -> Object:
    """POST /v1/refunds/{id}: its metadata."""
    refund = call.account.get("refund", call.ids[0], "refund")
    metadata = merge_metadata(refund["metadata"], call.params.get("metadata", {}))
    with changing(call.account, refund, updated="refund.updated"):
        refund["metadata"] = metadata
    return render(call.account, refund)


def list_refunds(call: Call) -> Object:
    """GET /v1/refunds, newest first, by charge and payment intent."""
    params = call.params
    rows = [
        row for row in call.account.all("refund") if all(params.get(name, row[name]) == row[name] for name in ("charge", "payment_intent"))
    ]
    return page(call.account, rows, params, "/v1/refunds")
