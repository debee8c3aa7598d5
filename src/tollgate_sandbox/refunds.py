"""Refunds: asked for by the API, or made by hand in the dashboard, where they can also be slow or fail."""

from __future__ import annotations

from tollgate_sandbox.calls import Call, merge_metadata
from tollgate_sandbox.currencies import show
from tollgate_sandbox.errors import StripeError, parameter_error, unsupported
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import changing, emit, page, render


def create_refund(call: Call) -> Object:
    """POST /v1/refunds of a payment intent or charge, whole or in part; the invoice stays paid."""
    params, account = call.params, call.account
    for name in ("customer", "origin", "currency", "instructions_email", "refund_application_fee", "reverse_transfer"):
        if params.get(name):
            raise unsupported(name)
    metadata = merge_metadata({}, params.get("metadata", {}))
    charge = _charge_to_refund(account, params.get("payment_intent"), params.get("charge"))
    return render(account, refund_charge(account, charge, params.get("amount"), params.get("reason"), metadata))


def refund_charge(
    account: Account, charge: Object, amount: int | None, reason: str | None, metadata: dict[str, str], *, pending: bool = False
) -> Object:
    """Give back `amount` minor units of a charge (None: all that is left). A `pending` refund counts, but can still fail."""
    if charge["disputed"] and not _won(account, charge):
        raise StripeError(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
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
            "created": account.now(),
            "currency": charge["currency"],
            "destination_details": _destination(charge),
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "pending_reason": "processing" if pending else None,
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "pending" if pending else "succeeded",
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


def settle_refund(account: Account, refund: Object) -> Object:
    """The bank has the money: a pending refund succeeds, and a reference becomes known."""
    if refund["status"] not in ("pending", "succeeded"):
        raise StripeError(f"Refund {refund['id']} is {refund['status']} and cannot arrive.")
    with changing(account, refund, "charge.refund.updated", updated="refund.updated"):
        refund.update(status="succeeded", pending_reason=None)
        kind = refund["destination_details"]["type"]
        known = {"reference": new_id("ref", 11)[4:].upper(), "reference_status": "available"}
        refund["destination_details"] = {kind: refund["destination_details"][kind] | known, "type": kind}
    return refund


def fail_refund(account: Account, refund: Object, reason: str = "expired_or_canceled_card") -> Object:
    """The bank sends the money back: the refund has failed, also one that had succeeded, and the charge counts it no more."""
    if refund["status"] not in ("pending", "succeeded"):
        raise StripeError(f"Refund {refund['id']} is already {refund['status']}.")
    with changing(account, refund, "refund.failed", "charge.refund.updated", updated="refund.updated"):
        refund.update(status="failed", failure_reason=reason, pending_reason=None)
    charge = account.get("charge", refund["charge"])
    with changing(account, charge, updated="charge.updated"):
        charge.update(amount_refunded=charge["amount_refunded"] - refund["amount"], refunded=False)
    return refund


def _destination(charge: Object) -> Object:
    kind = charge["payment_method_details"]["type"]
    return {"card": {"type": "refund"}, "type": "card"} if kind == "card" else {kind: {}, "type": kind}


def _won(account: Account, charge: Object) -> bool:
    return all(row["status"] == "won" for row in account.all("dispute") if row["charge"] == charge["id"])


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
