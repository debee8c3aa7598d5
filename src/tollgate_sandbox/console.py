"""`/_sandbox`: a page for people that shows what the sandbox knows, and calls for scripts that play the world's part."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict

from tollgate_sandbox import actions
from tollgate_sandbox.asgi import Request, Response, json_response, see_other
from tollgate_sandbox.errors import StripeError
from tollgate_sandbox.faults import KINDS, Faults
from tollgate_sandbox.misbehave import plan_call, plan_from_form, plan_other, read
from tollgate_sandbox.pages import message_page, page_response
from tollgate_sandbox.store import Account, Object, World, account_named
from tollgate_sandbox.views import invoice_page
from tollgate_sandbox.webhooks import Webhooks

SHOWN = 200
"""Newest rows of each kind on the page."""
CALLS_SHOWN = 30
FIELDS = dict.fromkeys(("do", "kind", "account", "lose", "shuffle", "hold"), "") | {
    "match": "POST /v1/invoices/*/finalize",
    "times": "1",
    "skip": "0",
    "seconds": "0.5",
    "duplicate": "0",
    "least": "0",
    "most": "0",
    "seed": "0",
}
"""What the page's fields hold before somebody types."""


class Console:
    """Everything on the Stripe-like port that is not Stripe's."""

    def __init__(self, world: World, webhooks: Webhooks, faults: Faults) -> None:
        self.world = world
        self.webhooks = webhooks
        self.faults = faults
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Response]]] = [
            ("POST", re.compile(r"/_sandbox/invoices/([^/]+)/pay"), self._pay),
            ("POST", re.compile(r"/_sandbox/(?:invoices|charges)/([^/]+)/refund"), self._refund),
            ("POST", re.compile(r"/_sandbox/refunds/([^/]+)/(settle|fail)"), self._end_refund),
            ("POST", re.compile(r"/_sandbox/(?:invoices|charges)/([^/]+)/dispute"), self._dispute),
            ("POST", re.compile(r"/_sandbox/disputes/([^/]+)/close"), self._close_dispute),
            ("POST", re.compile(r"/_sandbox/invoices/([^/]+)/tamper"), self._tamper),
            ("GET", re.compile(r"/_sandbox/events"), self._events),
            ("POST", re.compile(r"/_sandbox/events/([^/]+)/deliver"), self._deliver),
            ("GET", re.compile(r"/_sandbox/calls"), self._calls),
            ("GET", re.compile(r"/_sandbox/webhooks"), self._list_webhooks),
            ("POST", re.compile(r"/_sandbox/webhooks"), self._add_webhook),
            ("GET", re.compile(r"/_sandbox/webhooks/pending"), lambda _request: json_response(self.webhooks.pending)),
            ("POST", re.compile(r"/_sandbox/webhooks/release"), self._release),
            ("DELETE", re.compile(r"/_sandbox/webhooks/(we_[A-Za-z0-9]+)"), self._remove_webhook),
            ("GET", re.compile(r"/_sandbox/faults"), lambda _request: json_response(self.faults.as_json())),
            ("POST", re.compile(r"/_sandbox/faults"), self._plan_call),
            ("DELETE", re.compile(r"/_sandbox/faults(?:/([0-9]{1,9}))?"), self._clear),
            ("POST", re.compile(r"/_sandbox/faults/(webhooks|down|clock)"), self._plan),
            ("POST", re.compile(r"/_sandbox/misbehave"), self._form),
        ]

    def handle(self, request: Request) -> Response:
        """Answer a page or a script."""
        path = request.path.rstrip("/") or "/"
        if path == "/" and request.method in ("GET", "HEAD"):
            return see_other("/_sandbox")
        if path == "/_sandbox" and request.method in ("GET", "HEAD"):
            return self._page()
        try:
            for method, pattern, answer in self._routes:
                match = pattern.fullmatch(path)
                if match and method == request.method:
                    return answer(request, *match.groups())
        except StripeError as refusal:
            return json_response(refusal.body, refusal.status)
        except ValueError as problem:
            return json_response({"error": {"message": str(problem), "type": "invalid_request_error"}}, 400)
        return message_page("There is nothing here", "This is the sandbox. It is not Stripe.", 404)

    # What people do at Stripe.

    def _pay(self, request: Request, invoice_id: str) -> Response:
        wish = read(request, outcome=str, amount=int)
        outcome = wish.get("outcome", "paid")
        invoice, charge, error = actions.pay(self.world, invoice_id, outcome, wish.get("amount"))
        return json_response({"outcome": outcome, "invoice": invoice, "charge": charge, "error": error})

    def _refund(self, request: Request, about: str) -> Response:
        wish = read(request, amount=int, outcome=str, reason=str)
        return json_response(actions.refund(self.world, about, wish.get("amount"), wish.get("outcome", "succeeded"), wish.get("reason")))

    def _end_refund(self, request: Request, refund_id: str, how: str) -> Response:
        read(request)
        return json_response(actions.end_refund(self.world, refund_id, failed=how == "fail"))

    def _dispute(self, request: Request, about: str) -> Response:
        wish = read(request, reason=str, amount=int)
        return json_response(actions.dispute(self.world, about, wish.get("reason", "fraudulent"), wish.get("amount")))

    def _close_dispute(self, request: Request, dispute_id: str) -> Response:
        wish = read(request, won=bool)
        if "won" not in wish:
            raise ValueError("won is needed")
        return json_response(actions.close_dispute(self.world, dispute_id, won=wish["won"]))

    def _tamper(self, request: Request, invoice_id: str) -> Response:
        return json_response(actions.tamper(self.world, invoice_id, **read(request, total=int, currency=str, number=str)))

    # Events, webhooks and calls.

    def _events(self, request: Request) -> Response:
        account = request.arguments.get("account")
        if account is None:
            raise ValueError("account is needed: its id, its name or a key")
        return json_response(actions.events(self.world, str(account_named(account))))

    def _deliver(self, request: Request, event_id: str) -> Response:
        times = read(request, times=int).get("times", 1)
        actions.find(self.world, "event", event_id)
        return json_response({"event": event_id, "deliveries": self.webhooks.deliver(event_id, times)})

    def _calls(self, request: Request) -> Response:
        seen = self.faults.calls(request.arguments.get("match", "* /**"), request.arguments.get("account"))
        return json_response([asdict(call) for call in seen])

    def _list_webhooks(self, _request: Request) -> Response:
        return json_response([{"id": one.id, "url": one.url, "account": one.account_id} for one in self.webhooks.endpoints])

    def _add_webhook(self, request: Request) -> Response:
        wish = read(request, url=str, secret=str, account=str)
        if "url" not in wish or "secret" not in wish:
            raise ValueError("url and secret are needed")
        endpoint = self.webhooks.add(wish["url"], wish["secret"], account_named(wish.get("account")))
        return json_response({"id": endpoint.id, "url": endpoint.url, "account": endpoint.account_id}, 201)

    def _remove_webhook(self, _request: Request, endpoint_id: str) -> Response:
        self.webhooks.remove(endpoint_id)
        return Response(b"", 204)

    def _release(self, request: Request) -> Response:
        account = account_named(read(request, account=str).get("account"))
        held = self.webhooks.pending["held"]
        self.webhooks.release(account)
        return json_response({"released": held - self.webhooks.pending["held"]})

    # Misbehaviour.

    def _plan_call(self, request: Request) -> Response:
        return json_response(asdict(plan_call(self.faults, request)), 201)

    def _plan(self, request: Request, what: str) -> Response:
        plan_other(self.faults, request, what)
        return json_response(self.faults.as_json())

    def _clear(self, _request: Request, fault_id: str | None) -> Response:
        if not self.faults.clear(int(fault_id) if fault_id else None) and fault_id:
            return json_response({"error": {"message": f"No such fault: '{fault_id}'", "type": "invalid_request_error"}}, 404)
        return Response(b"", 204)

    def _form(self, request: Request) -> Response:
        try:
            plan_from_form(self.faults, self.webhooks, request.form)
        except ValueError as problem:
            return self._page(problem=str(problem), typed=request.form, status=400)
        return see_other("/_sandbox#misbehave")

    def _page(self, *, problem: str | None = None, typed: dict[str, str] | None = None, status: int = 200) -> Response:
        accounts = [
            {
                "account": account,
                "customers": _newest(account, "customer"),
                "invoices": [(invoice, invoice_page(account, invoice)) for invoice in _newest(account, "invoice")],
                "disputes": _newest(account, "dispute"),
                "events": _newest(account, "event"),
                "counts": {kind: len(rows) for kind, rows in account.tables.items()},
            }
            for account in self.world.accounts.values()
        ]
        return page_response(
            "console.html",
            status,
            accounts=accounts,
            names={account.id: account.name for account in self.world.accounts.values()},
            endpoints=self.webhooks.endpoints,
            held=self.webhooks.pending["held"],
            shown=SHOWN,
            kinds=KINDS,
            planned=self.faults.planned(),
            past=self.faults.past()[::-1],
            webhook_plans=self.faults.webhook_plans(),
            down=self.faults.as_json()["down"],
            offset=self.faults.offset,
            calls=self.faults.seen[: -CALLS_SHOWN - 1 : -1],
            problem=problem,
            typed=FIELDS | {"offset": f"{self.faults.offset:g}"} | (typed or {}),
        )


def _newest(account: Account, kind: str) -> list[Object]:
    return list(account.all(kind))[: -SHOWN - 1 : -1]
