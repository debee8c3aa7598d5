"""Customers and their balances. A positive balance is what the customer owes and is added to the next invoice."""

from __future__ import annotations

from tollgate_sandbox.calls import Call, merge_metadata
from tollgate_sandbox.currencies import SUPPORTED
from tollgate_sandbox.errors import StripeError, parameter_error, unsupported
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import account_currency, changing, emit, page, render

UNSUPPORTED = frozenset(
    {
        "payment_method",
        "source",
        "test_clock",
        "tax",
        "tax_id_data",
        "cash_balance",
        "default_source",
        "default_card",
        "default_bank_account",
        "card",
    }
)
_TEXTS = ("address", "business_name", "description", "email", "individual_name", "name", "phone", "shipping")


def create(call: Call) -> Object:
    """POST /v1/customers."""
    params, account = call.params, call.account
    _check(params)
    customer: Object = {
        "id": new_id("cus", 14),
        "object": "customer",
        "created": account.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "discount": None,
        "invoice_prefix": params.get("invoice_prefix") or new_id("x", 8)[2:].upper(),
        "invoice_settings": _invoice_settings(params),
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "next_invoice_sequence": params.get("next_invoice_sequence", 1),
        "preferred_locales": params.get("preferred_locales", []),
        "tax_exempt": params.get("tax_exempt") or "none",
        "test_clock": None,
        "_balances": {},
    }
    customer |= {name: params.get(name) or None for name in _TEXTS}
    account.save(customer)
    if params.get("balance"):
        move_balance(account, customer, account_currency(account), params["balance"], "initial")
    emit(account, "customer.created", render(account, customer))
    return render(account, customer)


def retrieve(call: Call) -> Object:
    """GET /v1/customers/{id}; a deleted one answers with its stub."""
    customer = call.account.get("customer", call.ids[0], "customer")
    return _stub(customer) if customer.get("_deleted") else render(call.account, customer)


def update(call: Call) -> Object:
    """POST /v1/customers/{id}."""
    params, account = call.params, call.account
    customer = live(account, call.ids[0], "customer", 404)
    _check(params)
    metadata = merge_metadata(customer["metadata"], params.get("metadata", {}))
    with changing(account, customer, updated="customer.updated"):
        customer["metadata"] = metadata
        customer.update({name: params[name] or None for name in _TEXTS if name in params})
        for name in ("invoice_prefix", "next_invoice_sequence", "preferred_locales"):
            customer[name] = params.get(name, customer[name])
        customer["tax_exempt"] = params.get("tax_exempt", customer["tax_exempt"]) or "none"
        if "invoice_settings" in params:
            customer["invoice_settings"] = customer["invoice_settings"] | params["invoice_settings"]
    if "balance" in params:
        currency = customer["currency"] or account_currency(account)
        move_balance(account, customer, currency, params["balance"] - customer["_balances"].get(currency, 0), "adjustment")
    return render(account, customer)


def delete(call: Call) -> Object:
    """DELETE /v1/customers/{id}: open invoices stay, as at Stripe."""
    customer = live(call.account, call.ids[0], "customer", 404)
    shown = render(call.account, customer)
    customer["_deleted"] = True
    call.account.save(customer)
    emit(call.account, "customer.deleted", shown)
    return _stub(customer)


def list_all(call: Call) -> Object:
    """GET /v1/customers, newest first, by `email` and `created`."""
    email = call.params.get("email")
    rows = [row for row in call.account.all("customer") if not row.get("_deleted") and email in (None, row["email"])]
    return page(call.account, rows, call.params, "/v1/customers")


def balance_transactions(call: Call) -> Object:
    """GET /v1/customers/{id}/balance_transactions, newest first."""
    customer = live(call.account, call.ids[0], "customer", 404)
    wanted = call.params.get("invoice", customer["id"])
    member = "invoice" if "invoice" in call.params else "customer"
    rows = [row for row in call.account.all("customer_balance_transaction") if row["customer"] == customer["id"] and row[member] == wanted]
    return page(call.account, rows, call.params, f"/v1/customers/{customer['id']}/balance_transactions")


def live(account: Account, identifier: str, param: str, status: int = 400) -> Object:
    """A customer that is not deleted."""
    customer = account.get("customer", identifier, param, status)
    if customer.get("_deleted"):
        raise StripeError(f"No such customer: '{identifier}'", status=status, code="resource_missing", param=param)
    return customer


def move_balance(account: Account, customer: Object, currency: str, amount: int, kind: str, invoice: str | None = None) -> None:
    """Change a customer's balance: above 0 the customer owes more, below 0 owes less. Minor units of `currency`."""
    if amount == 0:
        return
    with changing(account, customer, updated="customer.updated"):
        ending = customer["_balances"].get(currency, 0) + amount
        customer["_balances"] = customer["_balances"] | {currency: ending}
        customer["currency"] = customer["currency"] or currency
    account.save(
        {
            "id": new_id("cbtxn"),
            "object": "customer_balance_transaction",
            "amount": amount,
            "created": account.now(),
            "credit_note": None,
            "currency": currency,
            "customer": customer["id"],
            "description": None,
            "ending_balance": ending,
            "invoice": invoice,
            "livemode": False,
            "metadata": {},
            "type": kind,
        }
    )


def known_currency(code: str, param: str = "currency") -> str:
    """The code in lower case, or Stripe's refusal."""
    if code.lower() not in SUPPORTED:
        raise parameter_error(
            f"Invalid currency: {code}. Stripe currently supports these currencies: {', '.join(sorted(SUPPORTED))}", param
        )
    return code.lower()


def _stub(customer: Object) -> Object:
    return {"id": customer["id"], "object": "customer", "deleted": True}


def _invoice_settings(params: Object) -> Object:
    given: Object = params.get("invoice_settings", {})
    return {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None} | given


def _check(params: Object) -> None:
    for name in params:
        if name in UNSUPPORTED:
            raise unsupported(name)
    email = params.get("email")
    if email and ("@" not in email or email != email.strip() or " " in email):
        raise parameter_error(f"Invalid email address: {email}", "email", "email_invalid")
