"""Invoice items: amounts, negative ones too, attached to a draft or waiting for the customer's next invoice."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from tollgate_sandbox.calls import Call, merge_metadata
from tollgate_sandbox.currencies import THREE_DECIMAL
from tollgate_sandbox.customers import known_currency, live
from tollgate_sandbox.errors import StripeError, parameter_error, unsupported
from tollgate_sandbox.invoices import recalculate
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import account_currency, changing, page, render

UNSUPPORTED = frozenset({"customer_account", "invoicing_rules", "price_data", "pricing", "subscription", "tax_behavior", "tax_code"})
MAX_ITEMS = 250


def create(call: Call) -> Object:
    """POST /v1/invoiceitems."""
    params, account = call.params, call.account
    _check(params)
    invoice = _draft(account, params["invoice"]) if "invoice" in params else None
    if "customer" not in params and invoice is None:
        raise parameter_error("Missing required param: customer.", "customer", "parameter_missing")
    customer = (
        live(account, params["customer"], "customer")
        if "customer" in params
        else account.get("customer", str(invoice and invoice["customer"]))
    )
    currency = _currency(params, account, customer, invoice)
    amount, pricing = _amount(params, currency, None)
    if invoice is not None:
        _fits(invoice, customer, currency)
    moment = account.now()
    item: Object = {
        "id": new_id("ii"),
        "object": "invoiceitem",
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "date": moment,
        "created": moment,
        "description": params.get("description"),
        "discountable": params.get("discountable", amount >= 0),
        "discounts": [],
        "frozen_fields": None,
        "invoice": invoice["id"] if invoice else None,
        "invoicing_rules": None,
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "parent": None,
        "period": params.get("period", {"start": moment, "end": moment}),
        "proration": False,
        "proration_details": None,
        "tax_rates": [],
        "test_clock": None,
        "_line": new_id("il"),
        **pricing,
    }
    account.save(item)
    if invoice is not None:
        with changing(account, invoice, updated="invoice.updated"):
            invoice["_items"] = [*invoice["_items"], item["id"]]
            recalculate(account, invoice)
    return render(account, item)


def retrieve(call: Call) -> Object:
    """GET /v1/invoiceitems/{id}."""
    return render(call.account, call.account.get("invoiceitem", call.ids[0], "invoiceitem"))


def update(call: Call) -> Object:
    """POST /v1/invoiceitems/{id}, while its invoice is a draft."""
    params, account = call.params, call.account
    item = account.get("invoiceitem", call.ids[0], "invoiceitem")
    _check(params)
    invoice = _draft(account, item["invoice"]) if item["invoice"] else None
    metadata = merge_metadata(item["metadata"], params.get("metadata", {}))
    pricing = _amount(params, item["currency"], item)[1]
    item.update(pricing, metadata=metadata)
    item.update({name: params[name] for name in ("description", "discountable", "period") if name in params})
    account.save(item)
    if invoice is not None:
        with changing(account, invoice, updated="invoice.updated"):
            recalculate(account, invoice)
    return render(account, item)


def delete(call: Call) -> Object:
    """DELETE /v1/invoiceitems/{id}, while its invoice is a draft."""
    account = call.account
    item = account.get("invoiceitem", call.ids[0], "invoiceitem")
    if item["invoice"]:
        invoice = _draft(account, item["invoice"])
        with changing(account, invoice, updated="invoice.updated"):
            invoice["_items"] = [identifier for identifier in invoice["_items"] if identifier != item["id"]]
            recalculate(account, invoice)
    account.drop(item)
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def list_all(call: Call) -> Object:
    """GET /v1/invoiceitems, newest first, by customer, invoice and pending."""
    params = call.params
    if "customer_account" in params:
        raise unsupported("customer_account")
    rows = [
        row
        for row in call.account.all("invoiceitem")
        if params.get("customer", row["customer"]) == row["customer"]
        and params.get("invoice", row["invoice"]) == row["invoice"]
        and params.get("pending", row["invoice"] is None) == (row["invoice"] is None)
    ]
    return page(call.account, rows, params, "/v1/invoiceitems")


def _check(params: dict[str, Any]) -> None:
    for name in params:
        if name in UNSUPPORTED:
            raise unsupported(name)
    for name in ("tax_rates", "discounts"):
        if params.get(name):
            raise unsupported(name)
    period = params.get("period")
    if period and period["end"] < period["start"]:
        raise parameter_error("Invalid period: the end must be greater than or equal to the start.", "period")


def _draft(account: Account, identifier: str) -> Object:
    invoice = account.get("invoice", identifier, "invoice", 400)
    if invoice["status"] != "draft":
        raise StripeError(f"Invoice {identifier} is no longer editable.", code="invoice_not_editable", param="invoice")
    return invoice


def _fits(invoice: Object, customer: Object, currency: str) -> None:
    if invoice["customer"] != customer["id"]:
        raise StripeError(f"The invoice {invoice['id']} does not belong to customer {customer['id']}.", param="customer")
    if invoice["currency"] != currency:
        raise StripeError(
            f"The currency of the invoice item ({currency}) must match the invoice's ({invoice['currency']}).", param="currency"
        )
    if len(invoice["_items"]) >= MAX_ITEMS:
        raise StripeError(f"You have reached the maximum number of items on an invoice ({MAX_ITEMS}).", param="invoice")


def _currency(params: dict[str, Any], account: Account, customer: Object, invoice: Object | None) -> str:
    default = invoice["currency"] if invoice else customer["currency"] or account_currency(account)
    return known_currency(params.get("currency") or default)


def _amount(params: dict[str, Any], currency: str, before: Object | None) -> tuple[int, Object]:
    """The item's amount in minor units, with the members of the object that say how it came about."""
    given: list[str] = [name for name in ("amount", "unit_amount_decimal") if name in params]
    counts: list[str] = [name for name in ("quantity", "quantity_decimal") if name in params]
    if len(given) == 2 or len(counts) == 2 or ("amount" in params and counts):
        names = ", ".join(sorted(given + counts))
        raise parameter_error(f"You may only specify one of these parameters: {names}.", (given + counts)[0], "parameters_exclusive")
    if not given and before is None:
        raise parameter_error("You must supply one of amount or unit_amount_decimal.", "amount", "parameter_missing")
    quantity = (
        Decimal(params[counts[0]]) if counts else Decimal(before["quantity_decimal"]) if before and "amount" not in params else Decimal(1)
    )
    if quantity < 0:
        raise parameter_error(f"Invalid {counts[0]}: must not be negative", counts[0], "parameter_invalid_integer")
    if "amount" in params:
        unit = Decimal(params["amount"])
    elif "unit_amount_decimal" in params:
        unit = params["unit_amount_decimal"]
    else:
        unit = Decimal((before or {})["pricing"]["unit_amount_decimal"])
    amount = int((unit * quantity).to_integral_value(ROUND_HALF_UP))
    if abs(amount) > 999_999_999_999:
        raise parameter_error("Invalid amount: it is too large", given[0] if given else counts[0], "amount_too_large")
    if currency in THREE_DECIMAL and amount % 10:
        raise parameter_error(f"Invalid amount: amounts in {currency} must be divisible by 10.", given[0] if given else counts[0])
    whole = int(quantity) if quantity == int(quantity) else 1
    return amount, {
        "amount": amount,
        "net_amount": amount,
        "pricing": {"price_details": None, "type": "price_details", "unit_amount_decimal": f"{unit:f}"},
        "quantity": whole,
        "quantity_decimal": f"{quantity:f}",
    }
