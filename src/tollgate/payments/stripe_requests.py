"""What each order to the gateway becomes for Stripe: a word, the object it is about, and parameters, ready to be frozen. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tollgate.payments.gateway import (
    AddLine,
    AskLess,
    EnsureCustomer,
    Finalize,
    MarkPaidElsewhere,
    OpenDraft,
    Send,
    Withdraw,
)

Request = tuple[str, str | None, dict[str, Any]]
"""The order's word, the id of the object that it is about (None where it makes one), and Stripe's parameters."""


def _customer_request(order: EnsureCustomer) -> Request:
    params: dict[str, Any] = {
        "name": order.name[:256],
        "email": order.email,
        "address": {name: value for name, value in order.address.items() if value},
        "preferred_locales": [order.locale],
        "metadata": {"tollgate_client": order.client_id, "tollgate_organization": order.organization_id},
    }
    params = {name: value for name, value in params.items() if value}
    if order.customer_id is not None:
        # What was paid too much is client credit in our books, and is not taken off the next invoice behind their back.
        params["balance"] = 0
    return "customer", order.customer_id, params


def _draft_request(order: OpenDraft) -> Request:
    due: dict[str, Any] = {"days_until_due": 0} if order.due_at is None else {"due_date": int(order.due_at.timestamp())}
    return (
        "draft",
        None,
        {
            "customer": order.customer_id,
            "currency": order.currency.lower(),
            "number": order.number,
            "description": order.description[:1500],
            "collection_method": "send_invoice",
            "auto_advance": False,
            "automatic_tax": {"enabled": False},
            "pending_invoice_items_behavior": "exclude",
            "metadata": {"tollgate_invoice": order.invoice_id, "tollgate_organization": order.organization_id},
            **due,
        },
    )


def _line_request(order: AddLine) -> Request:
    return (
        "line",
        order.provider_invoice_id,
        {
            "invoice": order.provider_invoice_id,
            "customer": order.customer_id,
            "amount": order.amount,
            "currency": order.currency.lower(),
            "description": order.description[:500],
            "discountable": False,
            "metadata": {"tollgate_invoice": order.invoice_id, "tollgate_line": str(order.position)},
        },
    )


def _less_request(order: AskLess) -> Request:
    return (
        "ask_less",
        order.provider_invoice_id,
        {
            "invoice": order.provider_invoice_id,
            "amount": order.amount,
            "memo": order.memo[:500],
            # It is no document of ours, and nobody gets two.
            "email_type": "none",
            "metadata": {"tollgate_step": order.step},
        },
    )


REQUESTS: dict[type, Callable[[Any], Request]] = {
    EnsureCustomer: _customer_request,
    OpenDraft: _draft_request,
    AddLine: _line_request,
    Finalize: lambda order: ("finalize", order.provider_invoice_id, {"auto_advance": False}),
    Send: lambda order: ("send", order.provider_invoice_id, {}),
    Withdraw: lambda order: ("withdraw", order.provider_invoice_id, {}),
    MarkPaidElsewhere: lambda order: ("mark_paid", order.provider_invoice_id, {"paid_out_of_band": True}),
    AskLess: _less_request,
}
