"""Every operation of the Stripe-like API: method, path, the published parameter type it obeys, and the function that does it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tollgate_sandbox import collection, credit_notes, customers, disputes, invoice_items, invoices, payments, refunds
from tollgate_sandbox.calls import Call
from tollgate_sandbox.errors import StripeError, no_such
from tollgate_sandbox.store import Object
from tollgate_sandbox.views import account_currency, page, render


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table. `params_class` is a TypedDict of `stripe.params`; `noun` is the kind of object answered."""

    method: str
    pattern: re.Pattern[str]
    params_class: str
    noun: str
    do: Callable[[Call], Object]


EXPANDABLE = {
    "charge": {"customer", "payment_intent"},
    "credit_note": {"customer", "invoice", "refunds"},
    "customer": {"invoice_credit_balance"},
    "customer_balance_transaction": {"customer", "invoice"},
    "dispute": {"charge", "payment_intent"},
    "invoice": {"customer", "lines", "payments"},
    "invoice_payment": {"invoice", "payment"},
    "invoiceitem": {"customer", "invoice"},
    "payment_intent": {"customer", "latest_charge"},
    "refund": {"charge", "payment_intent"},
}
"""What `expand` may begin with, checked before anything is done."""


def retrieve_account(call: Call) -> Object:
    """GET /v1/account: whose key this is."""
    if call.ids and call.ids[0] != call.account.id:
        raise no_such("account", call.ids[0], "account")
    return {
        "id": call.account.id,
        "object": "account",
        "business_profile": {"name": f"Sandbox account {call.account.name} (not Stripe)", "url": None},
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "DE",
        "default_currency": account_currency(call.account),
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": False,
        "settings": {"dashboard": {"display_name": f"Sandbox {call.account.name}", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


def retrieve_event(call: Call) -> Object:
    """GET /v1/events/{id}."""
    return render(call.account, call.account.get("event", call.ids[0], "id"))


def list_events(call: Call) -> Object:
    """GET /v1/events, newest first; `type` may end in `.*`."""
    params = call.params
    wanted = [params["type"]] if "type" in params else params.get("types")
    if "type" in params and "types" in params:
        raise StripeError(
            "You may only specify one of these parameters: type, types.", code="parameters_exclusive", param="type", saved=False
        )
    rows = [row for row in call.account.all("event") if wanted is None or any(_is_of(row["type"], kind) for kind in wanted)]
    if "delivery_success" in params:
        rows = [row for row in rows if (row["pending_webhooks"] == 0) == params["delivery_success"]]
    return page(call.account, rows, params, "/v1/events")


def _is_of(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith(".*") else kind == wanted


def _operation(line: str, noun: str, params_class: str, do: Callable[[Call], Object]) -> Operation:
    method, path = line.split()
    pattern = re.compile(re.sub(r"\{\}", "([^/]+)", path))
    return Operation(method, pattern, params_class, noun, do)


OPERATIONS = [
    _operation("GET /v1/account", "account", "AccountRetrieveCurrentParams", retrieve_account),
    _operation("GET /v1/accounts/{}", "account", "AccountRetrieveParams", retrieve_account),
    _operation("POST /v1/customers", "customer", "CustomerCreateParams", customers.create),
    _operation("GET /v1/customers", "customer", "CustomerListParams", customers.list_all),
    _operation("GET /v1/customers/{}", "customer", "CustomerRetrieveParams", customers.retrieve),
    _operation("POST /v1/customers/{}", "customer", "CustomerUpdateParams", customers.update),
    _operation("DELETE /v1/customers/{}", "customer", "CustomerDeleteParams", customers.delete),
    _operation(
        "GET /v1/customers/{}/balance_transactions",
        "customer_balance_transaction",
        "CustomerBalanceTransactionListParams",
        customers.balance_transactions,
    ),
    _operation("POST /v1/invoices", "invoice", "InvoiceCreateParams", invoices.create),
    _operation("GET /v1/invoices", "invoice", "InvoiceListParams", invoices.list_all),
    _operation("GET /v1/invoices/{}", "invoice", "InvoiceRetrieveParams", invoices.retrieve),
    _operation("POST /v1/invoices/{}", "invoice", "InvoiceUpdateParams", invoices.update),
    _operation("DELETE /v1/invoices/{}", "invoice", "InvoiceDeleteParams", invoices.delete),
    _operation("GET /v1/invoices/{}/lines", "line_item", "InvoiceLineItemListParams", invoices.list_lines),
    _operation("POST /v1/invoices/{}/finalize", "invoice", "InvoiceFinalizeInvoiceParams", collection.finalize),
    _operation("POST /v1/invoices/{}/send", "invoice", "InvoiceSendInvoiceParams", collection.send),
    _operation("POST /v1/invoices/{}/void", "invoice", "InvoiceVoidInvoiceParams", collection.void),
    _operation("POST /v1/invoices/{}/pay", "invoice", "InvoicePayParams", collection.pay),
    _operation("POST /v1/invoices/{}/mark_uncollectible", "invoice", "InvoiceMarkUncollectibleParams", collection.mark_uncollectible),
    _operation("POST /v1/invoiceitems", "invoiceitem", "InvoiceItemCreateParams", invoice_items.create),
    _operation("GET /v1/invoiceitems", "invoiceitem", "InvoiceItemListParams", invoice_items.list_all),
    _operation("GET /v1/invoiceitems/{}", "invoiceitem", "InvoiceItemRetrieveParams", invoice_items.retrieve),
    _operation("POST /v1/invoiceitems/{}", "invoiceitem", "InvoiceItemUpdateParams", invoice_items.update),
    _operation("DELETE /v1/invoiceitems/{}", "invoiceitem", "InvoiceItemDeleteParams", invoice_items.delete),
    _operation("GET /v1/invoice_payments", "invoice_payment", "InvoicePaymentListParams", payments.list_invoice_payments),
    _operation("GET /v1/invoice_payments/{}", "invoice_payment", "InvoicePaymentRetrieveParams", payments.retrieve_invoice_payment),
    _operation("GET /v1/payment_intents", "payment_intent", "PaymentIntentListParams", payments.list_intents),
    _operation("GET /v1/payment_intents/{}", "payment_intent", "PaymentIntentRetrieveParams", payments.retrieve_intent),
    _operation("GET /v1/charges", "charge", "ChargeListParams", payments.list_charges),
    _operation("GET /v1/charges/{}", "charge", "ChargeRetrieveParams", payments.retrieve_charge),
    _operation("POST /v1/refunds", "refund", "RefundCreateParams", refunds.create_refund),
    _operation("GET /v1/refunds", "refund", "RefundListParams", refunds.list_refunds),
    _operation("GET /v1/refunds/{}", "refund", "RefundRetrieveParams", refunds.retrieve_refund),
    _operation("POST /v1/refunds/{}", "refund", "RefundUpdateParams", refunds.update_refund),
    _operation("GET /v1/disputes", "dispute", "DisputeListParams", disputes.list_all),
    _operation("GET /v1/disputes/{}", "dispute", "DisputeRetrieveParams", disputes.retrieve),
    _operation("POST /v1/disputes/{}/close", "dispute", "DisputeCloseParams", disputes.close),
    _operation("POST /v1/credit_notes", "credit_note", "CreditNoteCreateParams", credit_notes.create),
    _operation("GET /v1/credit_notes", "credit_note", "CreditNoteListParams", credit_notes.list_all),
    _operation("GET /v1/credit_notes/{}", "credit_note", "CreditNoteRetrieveParams", credit_notes.retrieve),
    _operation("POST /v1/credit_notes/{}/void", "credit_note", "CreditNoteVoidCreditNoteParams", credit_notes.void),
    _operation("GET /v1/events", "event", "EventListParams", list_events),
    _operation("GET /v1/events/{}", "event", "EventRetrieveParams", retrieve_event),
]


def find_operation(method: str, path: str) -> tuple[Operation, tuple[str, ...]]:
    """The operation of a request, with the ids in its path. Raises Stripe's answer to an unknown address."""
    for operation in OPERATIONS:
        match = operation.pattern.fullmatch(path) if operation.method == method else None
        if match:
            return operation, match.groups()
    raise StripeError(
        f"Unrecognized request URL ({method}: {path}). The sandbox is not Stripe and knows only what a billing system needs.",
        status=404,
        saved=False,
    )


def check_expand(operation: Operation, paths: list[str], *, is_list: bool) -> None:
    """Refuse an impossible `expand` before the operation changes anything."""
    for path in paths:
        steps = path.split(".")
        if is_list and steps[0] != "data":
            raise StripeError(f"This property cannot be expanded ({path}). Did you mean data.{path}?", param="expand", saved=False)
        name = steps[1] if is_list and len(steps) > 1 else steps[0]
        if name not in EXPANDABLE.get(operation.noun, set()) and not (is_list and steps == ["data"]):
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand", saved=False)
