"""Invoices as an API caller meets them: create, read, change, delete, list. What moves their state is in `collection.py`."""

from __future__ import annotations

from typing import Any

from tollgate_sandbox.calls import Call, merge_metadata
from tollgate_sandbox.customers import known_currency, live
from tollgate_sandbox.errors import StripeError, parameter_error, unsupported
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import account_currency, changing, emit, invoice_items, invoice_lines, page, render, within

UNSUPPORTED = frozenset(
    {
        "account_tax_ids", "application_fee_amount", "automatically_finalizes_at", "customer_account", "default_source",
        "default_tax_rates", "from_invoice", "on_behalf_of", "shipping_cost", "subscription", "transfer_data",
    }
)  # fmt: skip
_PLAIN = (
    "custom_fields",
    "default_payment_method",
    "description",
    "effective_at",
    "footer",
    "rendering",
    "shipping_details",
    "statement_descriptor",
)
DAY = 86_400


def create(call: Call) -> Object:
    """POST /v1/invoices: a draft, empty unless pending items are included."""
    params, account = call.params, call.account
    check(params)
    if "customer" not in params:
        raise parameter_error("Missing required param: customer.", "customer", "parameter_missing")
    customer = live(account, params["customer"], "customer")
    currency = known_currency(params.get("currency") or customer["currency"] or account_currency(account))
    number = params.get("number")
    _check_number(account, number, None)
    method = params.get("collection_method", "charge_automatically")
    created = account.now()
    invoice = _blank(account, customer, currency, created) | {
        "auto_advance": params.get("auto_advance", False),
        "collection_method": method,
        "due_date": _due_date(params, method, created, required=True),
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "number": number,
        "payment_settings": _payment_settings(params),
        **{name: params.get(name) or None for name in _PLAIN},
    }
    if params.get("pending_invoice_items_behavior") == "include":
        _take_pending(account, invoice)
    recalculate(account, invoice)
    account.save(invoice)
    emit(account, "invoice.created", render(account, invoice))
    return render(account, invoice)


def retrieve(call: Call) -> Object:
    """GET /v1/invoices/{id}."""
    return render(call.account, call.account.get("invoice", call.ids[0], "invoice"))


def update(call: Call) -> Object:
    """POST /v1/invoices/{id}: a draft freely; after finalization what Stripe still lets change (metadata, due date, how it is paid)."""
    params, account = call.params, call.account
    invoice = account.get("invoice", call.ids[0], "invoice")
    check(params)
    if invoice["status"] != "draft":
        _only_after_finalization(invoice, params)
    if "number" in params:
        _check_number(account, params["number"] or None, invoice)
    method: str = params["collection_method"] if "collection_method" in params else invoice["collection_method"]
    due = _due_date(params, method, invoice["created"], required=method == "send_invoice" and invoice["due_date"] is None)
    metadata = merge_metadata(invoice["metadata"], params.get("metadata", {}))
    with changing(account, invoice, updated="invoice.updated"):
        invoice["metadata"] = metadata
        invoice["collection_method"] = method
        invoice["due_date"] = None if method == "charge_automatically" else due or invoice["due_date"]
        invoice["auto_advance"] = params.get("auto_advance", invoice["auto_advance"])
        invoice.update({name: params[name] or None for name in (*_PLAIN, "number") if name in params})
        if "payment_settings" in params:
            invoice["payment_settings"] = invoice["payment_settings"] | _payment_settings(params)
    return render(account, invoice)


def delete(call: Call) -> Object:
    """DELETE /v1/invoices/{id}: drafts only; their items go with them and the number is free again."""
    account = call.account
    invoice = account.get("invoice", call.ids[0], "invoice")
    if invoice["status"] != "draft":
        raise StripeError("You can only delete draft invoices.", code="invoice_not_editable")
    shown = render(account, invoice)
    for item in invoice_items(account, invoice):
        account.drop(item)
    account.drop(invoice)
    emit(account, "invoice.deleted", shown)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}


def list_all(call: Call) -> Object:
    """GET /v1/invoices, newest first. There is no filter by metadata or number, as at Stripe."""
    params = call.params
    if "subscription" in params or "customer_account" in params:
        raise unsupported("subscription" if "subscription" in params else "customer_account")
    same = ("customer", "status", "collection_method")
    rows = [
        row
        for row in call.account.all("invoice")
        if all(params.get(name, row[name]) == row[name] for name in same) and within(row, "due_date", params)
    ]
    return page(call.account, rows, params, "/v1/invoices")


def list_lines(call: Call) -> Object:
    """GET /v1/invoices/{id}/lines, in the order they were added."""
    invoice = call.account.get("invoice", call.ids[0], "invoice")
    lines = invoice_lines(call.account, invoice)
    return page(call.account, lines, call.params, f"/v1/invoices/{invoice['id']}/lines", newest_first=False)


def recalculate(account: Account, invoice: Object) -> None:
    """Set a draft's sums from its lines and the customer's present balance. Minor units; Stripe taxes nothing here."""
    total = sum(item["amount"] for item in invoice_items(account, invoice))
    balance = account.get("customer", invoice["customer"])["_balances"].get(invoice["currency"], 0)
    due = max(total + balance, 0) if total > 0 else 0
    invoice.update(
        subtotal=total,
        subtotal_excluding_tax=total,
        total=total,
        total_excluding_tax=total,
        starting_balance=balance,
        amount_due=due,
        amount_remaining=due,
    )


def check(params: dict[str, Any]) -> None:
    """Refuse what Stripe offers and the sandbox does not do."""
    for name in params:
        if name in UNSUPPORTED:
            raise unsupported(name)
    if params.get("automatic_tax", {}).get("enabled"):
        raise unsupported("automatic_tax[enabled]")
    if params.get("discounts"):
        raise unsupported("discounts")
    if params.get("issuer", {}).get("type", "self") != "self":
        raise unsupported("issuer[type]")


def _blank(account: Account, customer: Object, currency: str, created: int) -> Object:
    return {
        "id": new_id("in"),
        "object": "invoice",
        "account_country": "DE",
        "account_name": account.name,
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": "manual",
        "created": created,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_source": None,
        "default_tax_rates": [],
        "discounts": [],
        "ending_balance": None,
        "from_invoice": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": False,
        "next_payment_attempt": None,
        "on_behalf_of": None,
        "parent": None,
        "period_end": created,
        "period_start": created,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "shipping_cost": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None},
        "test_clock": None,
        "threshold_reason": None,
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
        "_items": [],
        "_secret": new_id("test", 40),
        "_applied_balance": 0,
    }


def _payment_settings(params: dict[str, Any]) -> Object:
    settings = {"default_mandate": None, "payment_method_options": None, "payment_method_types": None}
    return settings | {name: value or None for name, value in params.get("payment_settings", {}).items()}


def _take_pending(account: Account, invoice: Object) -> None:
    for item in account.all("invoiceitem"):
        if item["customer"] == invoice["customer"] and item["invoice"] is None and item["currency"] == invoice["currency"]:
            item["invoice"] = invoice["id"]
            account.save(item)
            invoice["_items"].append(item["id"])


def _check_number(account: Account, number: str | None, invoice: Object | None) -> None:
    if number is not None and any(row["number"] == number and row is not invoice for row in account.all("invoice")):
        raise StripeError(f"The invoice number '{number}' is already in use. Invoice numbers must be unique.", param="number")


def _due_date(params: dict[str, Any], method: str, created: int, *, required: bool) -> int | None:
    given = [name for name in ("due_date", "days_until_due") if name in params]
    if len(given) == 2:
        raise parameter_error("You may only specify one of these parameters: days_until_due, due_date.", "due_date", "parameters_exclusive")
    if method != "send_invoice":
        if given:
            raise parameter_error(f"You can only specify {given[0]} if collection_method is 'send_invoice'.", given[0])
        return None
    if not given:
        if required:
            raise parameter_error(
                "If invoice.collection_method is 'send_invoice', you must specify 'due_date' or 'days_until_due'.",
                "days_until_due",
                "parameter_missing",
            )
        return None
    if params[given[0]] < 0:
        raise parameter_error(f"Invalid {given[0]}: must not be negative", given[0], "parameter_invalid_integer")
    return int(params["due_date"]) if given == ["due_date"] else created + int(params["days_until_due"]) * DAY


def _only_after_finalization(invoice: Object, params: dict[str, Any]) -> None:
    allowed = {"metadata", "auto_advance", "expand", "default_payment_method", "payment_settings", "rendering", "statement_descriptor"}
    if invoice["status"] == "open":
        allowed |= {"due_date", "days_until_due"}
    for name in params:
        if name not in allowed:
            raise StripeError(
                f"Finalized invoices can't be updated in this way: '{name}' cannot be changed on an invoice that is {invoice['status']}.",
                code="invoice_not_editable",
                param=name,
            )
