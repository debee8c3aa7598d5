"""`/_sandbox`: a page for people that shows what the sandbox knows, and calls for scripts that play the world's part."""

from __future__ import annotations

import re

from tollgate_sandbox.asgi import Request, Response, json_response, see_other
from tollgate_sandbox.errors import StripeError, no_such
from tollgate_sandbox.pages import message_page, page_response
from tollgate_sandbox.pay_page import OUTCOMES, perform
from tollgate_sandbox.store import Account, Object, World, account_id_of
from tollgate_sandbox.views import invoice_page, render
from tollgate_sandbox.webhooks import Webhooks

SHOWN = 200
"""Newest rows of each kind on the page."""


class Console:
    """Everything on the Stripe-like port that is not Stripe's."""

    def __init__(self, world: World, webhooks: Webhooks) -> None:
        self.world = world
        self.webhooks = webhooks

    def handle(self, request: Request) -> Response:
        """Answer a page or a script."""
        path = request.path.rstrip("/") or "/"
        if path == "/" and request.method in ("GET", "HEAD"):
            return see_other("/_sandbox")
        if path == "/_sandbox" and request.method in ("GET", "HEAD"):
            return self._page()
        try:
            return self._script(request, path)
        except StripeError as refusal:
            return json_response(refusal.body, refusal.status)
        except ValueError as problem:
            return json_response({"error": {"message": str(problem), "type": "invalid_request_error"}}, 400)

    def _script(self, request: Request, path: str) -> Response:
        pay = re.fullmatch(r"/_sandbox/invoices/([^/]+)/pay", path)
        if pay and request.method == "POST":
            return self._pay(pay[1], request)
        if path == "/_sandbox/webhooks" and request.method == "POST":
            return self._add_webhook(request)
        if path == "/_sandbox/webhooks" and request.method == "GET":
            shown = [{"id": endpoint.id, "url": endpoint.url, "account": endpoint.account_id} for endpoint in self.webhooks.endpoints]
            return json_response(shown)
        gone = re.fullmatch(r"/_sandbox/webhooks/(we_[A-Za-z0-9]+)", path)
        if gone and request.method == "DELETE":
            self.webhooks.remove(gone[1])
            return Response(b"", 204)
        return message_page("There is nothing here", "This is the sandbox. It is not Stripe.", 404)

    def _pay(self, invoice_id: str, request: Request) -> Response:
        account, invoice = self._invoice(invoice_id)
        wish = request.json()
        outcome, amount = wish.get("outcome", "paid"), wish.get("amount")
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}")
        if amount is not None and (isinstance(amount, bool) or not isinstance(amount, int)):
            raise ValueError("amount must be an integer of minor units")
        if unknown := set(wish) - {"outcome", "amount"}:
            raise ValueError(f"unknown members: {', '.join(sorted(unknown))}")
        if amount is not None and outcome != "partial":
            raise ValueError("amount goes with the outcome partial")
        error = None
        try:
            perform(account, invoice, outcome, amount)
        except StripeError as refusal:
            self.world.commit()
            if refusal.status != 402:
                raise
            error = refusal.body["error"]
        self.world.commit()
        return json_response({"outcome": outcome, "invoice": render(account, invoice), "error": error})

    def _add_webhook(self, request: Request) -> Response:
        wish = request.json()
        url, secret, account = wish.get("url"), wish.get("secret"), wish.get("account")
        if not isinstance(url, str) or not isinstance(secret, str):
            raise ValueError("url and secret are needed")
        endpoint = self.webhooks.add(url, secret, None if account is None else _account_id(str(account)))
        return json_response({"id": endpoint.id, "url": endpoint.url, "account": endpoint.account_id}, 201)

    def _invoice(self, invoice_id: str) -> tuple[Account, Object]:
        for account in self.world.accounts.values():
            found = account.table("invoice").get(invoice_id)
            if found is not None:
                return account, found
        raise no_such("invoice", invoice_id)

    def _page(self) -> Response:
        accounts = [
            {
                "account": account,
                "customers": _newest(account, "customer"),
                "invoices": [(invoice, invoice_page(account, invoice)) for invoice in _newest(account, "invoice")],
                "events": _newest(account, "event"),
                "counts": {kind: len(rows) for kind, rows in account.tables.items()},
            }
            for account in self.world.accounts.values()
        ]
        return page_response("console.html", accounts=accounts, endpoints=self.webhooks.endpoints, shown=SHOWN)


def _newest(account: Account, kind: str) -> list[Object]:
    return list(account.all(kind))[: -SHOWN - 1 : -1]


def _account_id(text: str) -> str:
    """An account given as its id, its name, or one of its keys."""
    if text.startswith("acct_"):
        return text
    return account_id_of(re.sub(r"^[sr]k_test_", "", text))
