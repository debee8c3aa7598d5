"""Stripe, behind the `Gateway` of `gateway.py`. The only module that imports `stripe`.

The client retries lost connections and 5xx by itself, under our idempotency key; it does not retry 429 (measured), so that
becomes `GatewayBusy`. Calls run in threads: the library's own async transports would bring another HTTP client.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import stripe
from stripe import StripeClient

from tollgate.payments.gateway import (
    GatewayBusy,
    GatewayIdentity,
    GatewayRefused,
    KeyRefused,
    Order,
    SeenAttempt,
    SeenDispute,
    SeenEvent,
    SeenInvoice,
    SeenPayment,
    SeenRefund,
)
from tollgate.payments.returns import AttemptState, DisputeState, RefundState
from tollgate.payments.rules import ProviderInvoice, ProviderInvoiceState, ProviderPaymentState
from tollgate.payments.stripe_requests import REQUESTS

API_VERSION = "2026-10-28.endive"
"""The version whose shapes this module reads; an upgrade of the library does not move it."""
TIMEOUT_SECONDS = 15
"""Well below a job's lease, retries included."""
EVENT_TYPES = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.refunded",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice.updated",
    "invoice.voided",
    "invoice_payment.paid",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
"""What is asked of the list of events; other events say nothing that these do not. Stripe takes 20 at most."""
MOST_EVENTS = 5000
"""Of one poll; the next one goes on from there."""

T = TypeVar("T")


class StripeGateway:
    """One Stripe account. `api_base` is set for the sandbox only."""

    def __init__(self, key: str, *, api_base: str | None = None) -> None:
        self._client = _client(key, api_base)

    def freeze(self, order: Order) -> str:
        """The request for `order` as JSON: word, target and Stripe's parameters."""
        word, target, params = REQUESTS[type(order)](order)
        return json.dumps({"order": word, "target": target, "params": params}, ensure_ascii=False, sort_keys=True)

    async def carry_out(self, frozen: str, key: str) -> str:
        """Send a frozen order."""
        request = json.loads(frozen)
        return await _in_thread(lambda: _SENDERS[request["order"]](self._client, request["target"], request["params"], key))

    async def find(self, frozen: str, since: datetime) -> str | None:
        """Look up what an earlier sending made. Stripe forgets keys after a day and cannot search drafts, so lists are read."""
        request = json.loads(frozen)
        finder = _FINDERS.get(request["order"])
        # Orders on an existing object look at its state when they are sent again.
        return await _in_thread(lambda: finder(self._client, request["target"], request["params"], since)) if finder else None

    async def invoice(self, provider_invoice_id: str) -> SeenInvoice:
        """GET /v1/invoices/{id}."""
        return await _in_thread(lambda: _seen(self._client.v1.invoices.retrieve(provider_invoice_id)))

    async def payments(self, provider_invoice_id: str) -> list[SeenPayment]:
        """GET /v1/invoice_payments of an invoice."""

        def read() -> list[SeenPayment]:
            listed = self._client.v1.invoice_payments.list({"invoice": provider_invoice_id, "limit": 100})
            # Stripe lists the newest first.
            return [_payment(self._client, row) for row in reversed(list(listed.auto_paging_iter()))]

        return await _in_thread(read)

    async def invoice_of(self, provider_payment_id: str) -> str | None:
        """GET /v1/invoice_payments of a payment intent: the only way from a charge, refund or dispute to its invoice."""

        def read() -> str | None:
            asked: Any = {"payment": {"type": "payment_intent", "payment_intent": provider_payment_id}, "limit": 1}
            found = self._client.v1.invoice_payments.list(asked).data
            return _id(found[0].invoice) if found else None

        return await _in_thread(read)

    async def events_since(self, since: datetime) -> list[SeenEvent]:
        """GET /v1/events, oldest first, at most `MOST_EVENTS`."""

        def read() -> list[SeenEvent]:
            listed = self._client.v1.events.list({"created": {"gte": int(since.timestamp())}, "types": list(EVENT_TYPES), "limit": 100})
            found = [_event(row.to_dict()) for row in listed.auto_paging_iter()]
            return sorted(found, key=lambda event: event.occurred_at)[:MOST_EVENTS]

        return await _in_thread(read)

    async def identity(self) -> GatewayIdentity:
        """GET /v1/account."""

        def read() -> GatewayIdentity:
            account = self._client.v1.accounts.retrieve_current()
            name = str(getattr(getattr(account, "business_profile", None), "name", None) or "")
            return GatewayIdentity(account.id, live=False, name=name, default_currency=str(account.default_currency or "").upper())

        return await _in_thread(read)


def read_event(payload: dict[str, Any]) -> SeenEvent:
    """A webhook's body, verified and parsed, as an event. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
    if payload.get("object") != "event":
        raise ValueError("not an event")
    return _event(payload)


def _event(row: dict[str, Any]) -> SeenEvent:
    about: dict[str, Any] = row["data"]["object"]
    kind = str(row["type"])
    concerned = None
    if kind.startswith("invoice_payment."):
        concerned = about.get("invoice")
    elif kind.startswith(("charge.", "refund.")):
        concerned = about.get("payment_intent")
    if isinstance(concerned, dict):
        concerned = concerned.get("id")
    return SeenEvent(
        id=str(row["id"]),
        type=kind,
        object_id=str(concerned or about.get("id") or ""),
        occurred_at=datetime.fromtimestamp(int(row["created"]), UTC),
        live=bool(row["livemode"]),
        account_id=row.get("account"),
    )


class _Sessions(threading.local):
    """One HTTP session for each thread, as the library makes them by itself, but none follows a redirect: a key stays with its host."""

    def __init__(self) -> None:
        self._session = stripe.RequestsClient().requests.Session()

    def request(self, method: str, url: str, **options: Any) -> Any:
        """See `requests.Session.request`."""
        return self._session.request(method, url, allow_redirects=False, **options)

    def close(self) -> None:
        """Give this thread's connections back."""
        self._session.close()


@lru_cache(maxsize=64)
def _client(key: str, api_base: str | None) -> StripeClient:
    # The library asks for a session's methods, and its types for the class.
    sessions: Any = _Sessions()
    return StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": api_base} if api_base else {},
        max_network_retries=2,
        http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS, session=sessions),
    )


async def _in_thread(call: Callable[[], T]) -> T:
    return await asyncio.to_thread(_translated, call)


def _translated(call: Callable[[], T]) -> T:
    """Run a call; Stripe's errors become ours. The message of a refusal is Stripe's and is shown to finance."""
    try:
        return call()
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        raise KeyRefused(_message(error)) from error
    except (stripe.RateLimitError, stripe.APIConnectionError) as error:
        raise GatewayBusy(_message(error)) from error
    except stripe.StripeError as error:
        # A request under the same key still runs, a lock was held, or Stripe had an accident.
        if error.http_status is None or error.http_status in {409, 429} or error.http_status >= 500:
            raise GatewayBusy(_message(error)) from error
        raise GatewayRefused(_message(error)) from error


def _message(error: stripe.StripeError) -> str:
    return str(error.user_message or error)[:400]


# How a frozen order is sent. Orders on an existing invoice look at its state first, so that twice is once.


def _send_customer(client: StripeClient, target: str | None, params: Any, key: str) -> str:
    if target is not None:
        try:
            return client.v1.customers.update(target, params, {"idempotency_key": key}).id
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
            # Somebody deleted the customer at Stripe: a new one, under a key of its own.
            key = f"{key}:again"
    return client.v1.customers.create(params, {"idempotency_key": key}).id


def _send_draft(client: StripeClient, _target: str | None, params: Any, key: str) -> str:
    return client.v1.invoices.create(params, {"idempotency_key": key}).id


def _send_line(client: StripeClient, _target: str | None, params: Any, key: str) -> str:
    return client.v1.invoice_items.create(params, {"idempotency_key": key}).id


def _send_finalize(client: StripeClient, target: str, params: Any, key: str) -> str:
    if client.v1.invoices.retrieve(target).status == "draft":
        client.v1.invoices.finalize_invoice(target, params, {"idempotency_key": key})
    return target


def _send_mail(client: StripeClient, target: str, params: Any, key: str) -> str:
    client.v1.invoices.send_invoice(target, params, {"idempotency_key": key})
    return target


def _send_withdraw(client: StripeClient, target: str, _params: Any, key: str) -> str:
    try:
        invoice = client.v1.invoices.retrieve(target)
        if invoice.status == "draft":
            client.v1.invoices.delete(target)
    except stripe.InvalidRequestError as error:
        if error.code != "resource_missing":
            raise
        # Deleted by an attempt whose answer was lost: deleting takes no idempotency key.
        return target
    if invoice.status == "draft":
        return target
    if invoice.status in {"open", "uncollectible"} and invoice.amount_paid:
        # Stripe makes no partly paid invoice void.
        client.v1.credit_notes.create({"invoice": target, "amount": invoice.amount_remaining}, {"idempotency_key": f"{key}:credit"})
    elif invoice.status in {"open", "uncollectible"}:
        client.v1.invoices.void_invoice(target, {}, {"idempotency_key": key})
    return target


def _send_mark_paid(client: StripeClient, target: str, params: Any, key: str) -> str:
    if client.v1.invoices.retrieve(target).status in {"open", "uncollectible"}:
        client.v1.invoices.pay(target, params, {"idempotency_key": key})
    return target


def _send_less(client: StripeClient, target: str, params: Any, key: str) -> str:
    invoice = client.v1.invoices.retrieve(target)
    if _already_less(client, target, params) or invoice.status not in {"open", "uncollectible"}:
        # Done by a call whose answer was lost, or there is nothing left to ask for: somebody paid meanwhile.
        return target
    amount = min(int(params["amount"]), invoice.amount_remaining)
    less: Any = {**params, "amount": amount}
    client.v1.credit_notes.create(less, {"idempotency_key": f"{key}:{amount}"})
    return target


_SENDERS: dict[str, Callable[[StripeClient, Any, Any, str], str]] = {
    "customer": _send_customer,
    "draft": _send_draft,
    "line": _send_line,
    "finalize": _send_finalize,
    "send": _send_mail,
    "withdraw": _send_withdraw,
    "mark_paid": _send_mark_paid,
    "ask_less": _send_less,
}


def _find_customer(client: StripeClient, target: str | None, params: Any, since: datetime) -> str | None:
    if target is not None:
        return None
    listed = client.v1.customers.list({"created": {"gte": int(since.timestamp())}, "limit": 100})
    wanted = params["metadata"]["tollgate_client"]
    return next((row.id for row in listed.auto_paging_iter() if _tag(row, "tollgate_client") == wanted), None)


def _find_draft(client: StripeClient, _target: str | None, params: Any, since: datetime) -> str | None:
    listed = client.v1.invoices.list({"customer": params["customer"], "created": {"gte": int(since.timestamp())}, "limit": 100})
    wanted = params["metadata"]["tollgate_invoice"]
    for row in listed.auto_paging_iter():
        if _tag(row, "tollgate_invoice") == wanted or row.number == params["number"]:
            return row.id
    return None


def _find_line(client: StripeClient, target: str | None, params: Any, _since: datetime) -> str | None:
    listed = client.v1.invoice_items.list({"invoice": str(target), "limit": 100})
    wanted = params["metadata"]["tollgate_line"]
    return next((row.id for row in listed.auto_paging_iter() if _tag(row, "tollgate_line") == wanted), None)


def _find_mailed(_client: StripeClient, target: str | None, _params: Any, _since: datetime) -> str | None:
    # Stripe does not say whether it mailed. Our own mail went anyway: rather once too few than two documents.
    return target


def _already_less(client: StripeClient, target: str, params: Any) -> bool:
    listed = client.v1.credit_notes.list({"invoice": target, "limit": 100})
    return any(_tag(row, "tollgate_step") == params["metadata"]["tollgate_step"] for row in listed.auto_paging_iter())


_FINDERS: dict[str, Callable[[StripeClient, Any, Any, datetime], str | None]] = {
    "customer": _find_customer,
    "draft": _find_draft,
    "line": _find_line,
    "send": _find_mailed,
}


def _tag(row: Any, name: str) -> str | None:
    """One of our ids in an object's metadata."""
    found: dict[str, str] = row.metadata.to_dict() if row.metadata is not None else {}
    return found.get(name)


def _seen(invoice: stripe.Invoice) -> SeenInvoice:
    return SeenInvoice(
        id=invoice.id,
        facts=ProviderInvoice(
            number=invoice.number,
            currency=invoice.currency,
            total=invoice.total,
            amount_due=invoice.amount_due,
            amount_paid=invoice.amount_paid,
            state=ProviderInvoiceState(str(invoice.status)),
            our_invoice_id=_tag(invoice, "tollgate_invoice"),
        ),
        amount_remaining=invoice.amount_remaining,
        hosted_url=invoice.hosted_invoice_url,
    )


_PAYMENT_STATES = {"open": ProviderPaymentState.PENDING, "paid": ProviderPaymentState.SUCCEEDED, "canceled": ProviderPaymentState.FAILED}
_CHARGE_STATES = {"pending": AttemptState.PROCESSING, "failed": AttemptState.FAILED, "succeeded": AttemptState.ARRIVED}
_REFUND_STATES = {"succeeded": RefundState.SUCCEEDED, "failed": RefundState.FAILED, "canceled": RefundState.FAILED}
_DISPUTE_STATES = {"won": DisputeState.WON, "warning_closed": DisputeState.WON, "prevented": DisputeState.WON, "lost": DisputeState.LOST}


def _payment(client: StripeClient, row: stripe.InvoicePayment) -> SeenPayment:
    paid_with = row.payment.to_dict()
    named = paid_with.get(str(paid_with.get("type")))
    payment_id = str(named["id"] if isinstance(named, dict) else named or row.id)
    state = _PAYMENT_STATES.get(row.status, ProviderPaymentState.PENDING)
    paid_at = row.status_transitions.paid_at
    charges = _charges(client, payment_id)
    arrived = [charge for charge in charges if charge.status == "succeeded"]
    amount = int(row.amount_paid or 0)
    if state is ProviderPaymentState.SUCCEEDED:
        # More than was asked for may have come; the invoice counts what it took.
        amount = max(amount, sum(charge.amount_captured for charge in arrived))
    return SeenPayment(
        payment_id=payment_id,
        amount=amount,
        currency=row.currency,
        state=state,
        paid_at=None if paid_at is None else _instant(paid_at),
        attempts=tuple(_attempt(charge) for charge in charges),
        refunds=_refunds(client, payment_id) if arrived else (),
        disputes=_disputes(client, payment_id) if any(charge.disputed for charge in arrived) else (),
    )


def _charges(client: StripeClient, payment_id: str) -> list[stripe.Charge]:
    if not _is_intent(payment_id):
        return []
    return list(client.v1.charges.list({"payment_intent": payment_id, "limit": 100}).auto_paging_iter())


def _attempt(charge: stripe.Charge) -> SeenAttempt:
    code = charge.failure_code or ""
    outcome = charge.outcome.to_dict() if charge.outcome is not None else {}
    return SeenAttempt(
        id=charge.id,
        amount=charge.amount,
        currency=charge.currency,
        state=_CHARGE_STATES.get(charge.status, AttemptState.FAILED),
        at=_instant(charge.created),
        code=str((outcome.get("reason") if code == "card_declined" else None) or code),
    )


def _refunds(client: StripeClient, payment_id: str) -> tuple[SeenRefund, ...]:
    listed = client.v1.refunds.list({"payment_intent": payment_id, "limit": 100})
    return tuple(
        SeenRefund(
            id=row.id,
            amount=row.amount,
            currency=row.currency,
            state=_REFUND_STATES.get(str(row.status), RefundState.PENDING),
            at=_instant(row.created),
        )
        for row in listed.auto_paging_iter()
    )


def _disputes(client: StripeClient, payment_id: str) -> tuple[SeenDispute, ...]:
    listed = client.v1.disputes.list({"payment_intent": payment_id, "limit": 100})
    return tuple(_dispute(row) for row in listed.auto_paging_iter())


def _dispute(row: stripe.Dispute) -> SeenDispute:
    due = row.evidence_details.due_by if row.evidence_details is not None else None
    return SeenDispute(
        id=row.id,
        amount=row.amount,
        currency=row.currency,
        reason=str(row.reason or "general"),
        state=_DISPUTE_STATES.get(str(row.status), DisputeState.OPEN),
        at=_instant(row.created),
        respond_by=None if not due else _instant(due),
    )


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _id(value: Any) -> str:
    """An object's id, expanded or not."""
    return str(value if isinstance(value, str) else value.id)


def _is_intent(payment_id: str) -> bool:
    return payment_id.startswith("pi_")
