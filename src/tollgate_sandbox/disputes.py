"""Disputes: the payer's bank takes the money back until it has decided, and gives it again when the seller wins."""

from __future__ import annotations

from typing import Literal, get_args

from tollgate_sandbox.calls import Call
from tollgate_sandbox.currencies import show
from tollgate_sandbox.errors import StripeError
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import changing, emit, page, render

Reason = Literal[
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
]
REASONS: tuple[str, ...] = get_args(Reason)
OPEN = ("needs_response", "under_review")
ANSWER_DAYS = 7
_EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure", "cancellation_rebuttal",
    "customer_communication", "customer_email_address", "customer_name", "customer_purchase_ip", "customer_signature",
    "duplicate_charge_documentation", "duplicate_charge_explanation", "duplicate_charge_id", "product_description", "receipt",
    "refund_policy", "refund_policy_disclosure", "refund_refusal_explanation", "service_date", "service_documentation",
    "shipping_address", "shipping_carrier", "shipping_date", "shipping_documentation", "shipping_tracking_number",
    "uncategorized_file", "uncategorized_text",
)  # fmt: skip


def open_dispute(account: Account, charge: Object, reason: str = "fraudulent", amount: int | None = None) -> Object:
    """The payer disputes a charge, whole or `amount` minor units of it; the money is withdrawn at once."""
    if reason not in REASONS:
        raise StripeError(f"reason must be one of {', '.join(REASONS)}", param="reason")
    if charge["status"] != "succeeded":
        raise StripeError(f"Charge {charge['id']} did not succeed and cannot be disputed.")
    if charge["disputed"]:
        raise StripeError(f"Charge {charge['id']} was already disputed.")
    left = charge["amount_captured"] - charge["amount_refunded"]
    wanted = left if amount is None else amount
    if not 0 < wanted <= left:
        raise StripeError(f"A dispute of this charge must be about 0 to {show(left, charge['currency'])}, not nothing.", param="amount")
    dispute = account.save(_dispute(account, charge, reason, wanted))
    with changing(account, charge, updated="charge.updated"):
        charge["disputed"] = True
    emit(account, "charge.dispute.created", render(account, dispute))
    with changing(account, dispute, "charge.dispute.funds_withdrawn"):
        dispute["balance_transactions"] = [_transaction(account, dispute, -wanted)]
    return dispute


def end_dispute(account: Account, dispute: Object, *, won: bool) -> Object:
    """The bank decides. Won: the money comes back. Lost: it stays away. The invoice stays paid either way."""
    if dispute["status"] not in OPEN:
        raise StripeError(f"This dispute is already {dispute['status']}.")
    with changing(account, dispute, "charge.dispute.closed"):
        dispute["status"] = "won" if won else "lost"
    if won:
        with changing(account, dispute, "charge.dispute.funds_reinstated"):
            dispute["balance_transactions"] = [*dispute["balance_transactions"], _transaction(account, dispute, dispute["amount"])]
    return dispute


def retrieve(call: Call) -> Object:
    """GET /v1/disputes/{id}."""
    return render(call.account, call.account.get("dispute", call.ids[0], "dispute"))


def list_all(call: Call) -> Object:
    """GET /v1/disputes, newest first, by charge and payment intent."""
    params = call.params
    rows = [
        row for row in call.account.all("dispute") if all(params.get(name, row[name]) == row[name] for name in ("charge", "payment_intent"))
    ]
    return page(call.account, rows, params, "/v1/disputes")


def close(call: Call) -> Object:
    """POST /v1/disputes/{id}/close: the seller gives in, so it is lost."""
    return render(call.account, end_dispute(call.account, call.account.get("dispute", call.ids[0], "dispute"), won=False))


def _dispute(account: Account, charge: Object, reason: str, amount: int) -> Object:
    brand = charge["payment_method_details"].get("card", {}).get("brand")
    details = {"card": {"brand": brand, "case_type": "chargeback", "network": brand, "network_reason_code": "10.4"}, "type": "card"}
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": account.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_EVIDENCE), "appeal": None, "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": account.now() + ANSWER_DAYS * 86_400,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "intended_submission_method": None,
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "network_reason_code": "10.4" if brand else None,
        "payment_intent": charge["payment_intent"],
        "payment_method_details": details if brand else None,
        "reason": reason,
        "status": "needs_response",
    }


def _transaction(account: Account, dispute: Object, amount: int) -> Object:
    """What it did to the seller's balance. Stripe also takes a fee, the sandbox takes none."""
    verb = "withdrawal" if amount < 0 else "reversal"
    return {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": account.now(),
        "balance_type": "payments",
        "created": account.now(),
        "currency": dispute["currency"],
        "description": f"Chargeback {verb} for {dispute['charge']}",
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": amount,
        "reporting_category": "dispute" if amount < 0 else "dispute_reversal",
        "source": dispute["id"],
        "status": "available",
        "type": "adjustment",
    }
