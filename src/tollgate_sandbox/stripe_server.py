"""The Stripe-like API: keys, versions, idempotency, errors, and the way from a request to an operation.

Not Stripe. Each `sk_test_<x>` or `rk_test_<x>` opens the account named `<x>`; there is nothing to register.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tollgate_sandbox.asgi import Hangup, Request, Response, json_response
from tollgate_sandbox.calls import Call
from tollgate_sandbox.console import Console
from tollgate_sandbox.errors import StripeError
from tollgate_sandbox.faults import CallFault, Faults, Seen
from tollgate_sandbox.operations import check_expand, find_operation
from tollgate_sandbox.parameters import parse_form, validate
from tollgate_sandbox.pay_page import PayPages
from tollgate_sandbox.store import Account, Object, World, new_id
from tollgate_sandbox.views import API_VERSION, expand
from tollgate_sandbox.webhooks import Webhooks

log = logging.getLogger(__name__)
_KEY = re.compile(r"(?:sk|rk)_test_([A-Za-z0-9_]{1,200})")
_VERSION = re.compile(r"20\d\d-\d\d-\d\d(\.[a-z]+)?")
OLDEST_VERSION = "2025-03-31"
"""Invoices lost their `charge` and `payment_intent` then; older shapes are not imitated."""


class StripeServer:
    """Answers every request to the Stripe-like port. `latency` seconds pass inside each API call, as they do at Stripe."""

    def __init__(self, world: World, webhooks: Webhooks, faults: Faults, *, latency: float = 0.0) -> None:
        self.world = world
        self.faults = faults
        self.latency = latency
        self._in_flight: set[tuple[str, str]] = set()
        self._pay_pages = PayPages(world)
        self._console = Console(world, webhooks, faults)

    async def handle(self, request: Request) -> Response:
        """Answer one request; a bug in the sandbox is Stripe's 500."""
        try:
            if request.path.startswith("/v1/"):
                return await self._api(request)
            if request.path.startswith("/pay/"):
                return self._pay_pages.handle(request)
            return self._console.handle(request)
        except Hangup:
            raise
        except Exception:  # As Stripe's own faults do, ours must look like a 500 to the caller and not break the connection.
            log.exception("the sandbox failed at %s %s", request.method, request.path)
            message = "The sandbox failed; see its log."
            return json_response({"error": {"message": message, "type": "api_error"}}, 500)

    async def _api(self, request: Request) -> Response:
        headers = {"Request-Id": new_id("req", 14), "Stripe-Version": request.headers.get("stripe-version", API_VERSION)}
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        arrived = Seen(request.method, request.path, key, None, None)
        self.faults.note(arrived)
        try:
            account = self._authenticate(request)
            arrived = self._seen(arrived, replace(arrived, account=account.id))
            if self.faults.is_down(account.id):
                raise Hangup(reset=True)
            fault = self.faults.take(request.method, request.path, account.id)
            arrived = self._seen(arrived, replace(arrived, fault=None if fault is None else fault.kind))
            await _meet(fault)
            _check_version(headers["Stripe-Version"])
            if key is None:
                status, body = await self._once(account, request, headers["Request-Id"], None, fault)
            else:
                headers["Idempotency-Key"] = key
                status, body = await self._with_key(account, request, key, headers, fault)
            if fault is not None and fault.kind == "lost_response":
                raise Hangup
        except StripeError as refusal:
            status, body = refusal.status, refusal.body
            headers |= refusal.headers
        self._seen(arrived, replace(arrived, status=status))
        return json_response(body, status, **headers)

    def _seen(self, before: Seen, after: Seen) -> Seen:
        self.faults.note(before, after)
        return after

    def _authenticate(self, request: Request) -> Account:
        header = request.headers.get("authorization", "")
        if not header:
            raise StripeError(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
                "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
                status=401,
            )
        scheme, _, key = header.partition(" ")
        match = _KEY.fullmatch(key.strip())
        if scheme.lower() != "bearer" or match is None:
            shown = key[:8] + "*" * max(len(key) - 12, 4) + key[-4:] if len(key) > 12 else "*" * len(key)
            raise StripeError(f"Invalid API Key provided: {shown}. The sandbox takes sk_test_ and rk_test_ keys only.", status=401)
        account = self.world.account(match[1])
        other = request.headers.get("stripe-account")
        if other is not None and other != account.id:
            raise StripeError(
                f"The provided key does not have access to account '{other}' (or that account does not exist).",
                status=403,
                code="account_invalid",
            )
        return account

    async def _with_key(
        self, account: Account, request: Request, key: str, headers: dict[str, str], fault: CallFault | None
    ) -> tuple[int, Object]:
        """Replay a saved answer, refuse a mismatch or a twin in flight, else do it and save the answer."""
        if not 0 < len(key) <= 255:
            raise StripeError("Idempotency keys must be between 1 and 255 characters long.", kind="idempotency_error", saved=False)
        fingerprint = _fingerprint(request)
        saved = account.table("idempotency").get(f"idempotency:{key}")
        if saved is not None:
            if saved["fingerprint"] != fingerprint:
                raise StripeError(
                    "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                    f"Try using a key other than '{key}' if you meant to execute a different request.",
                    kind="idempotency_error",
                )
            headers |= {"Idempotent-Replayed": "true", "Original-Request": saved["request"]}
            return saved["status"], saved["body"]
        if (account.id, key) in self._in_flight:
            raise StripeError(
                "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, "
                f"and the other request is still going through): {key}. If you'd like to execute a different request, use another key.",
                status=409,
                code="idempotency_key_in_use",
            )
        self._in_flight.add((account.id, key))
        try:
            return await self._once(account, request, headers["Request-Id"], key, fault, fingerprint)
        finally:
            self._in_flight.discard((account.id, key))

    async def _once(
        self, account: Account, request: Request, request_id: str, key: str | None, fault: CallFault | None, fingerprint: str = ""
    ) -> tuple[int, Object]:
        if waiting := self.latency + (fault.seconds if fault is not None and fault.kind == "slow" else 0):
            await asyncio.sleep(waiting)
        account.request = {"id": request_id, "idempotency_key": key}
        try:
            if fault is not None and fault.kind == "failed_saved":
                raise _accident(saved=True)
            status, body = 200, self._perform(account, request)
            if fault is not None and fault.kind == "done_failed_saved":
                raise _accident(saved=True)
        except StripeError as refusal:
            status, body = refusal.status, refusal.body
            if not refusal.saved:
                key = None
        finally:
            account.request = {"id": None, "idempotency_key": None}
        if key is not None:
            answer = {"status": status, "body": body, "request": request_id, "fingerprint": fingerprint, "created": account.now()}
            account.save({"id": f"idempotency:{key}", "object": "idempotency", **answer})
        self.world.commit()
        return status, body

    def _perform(self, account: Account, request: Request) -> Object:
        operation, ids = find_operation(request.method, request.path)
        params = validate(parse_form(_parameters(request)), operation.params_class, operation.noun)
        paths: list[str] = params.get("expand", [])
        is_list = request.method == "GET" and operation.params_class.endswith("ListParams")
        check_expand(operation, paths, is_list=is_list)
        shown = operation.do(Call(account, ids, params))
        expand(account, shown, paths)
        return shown


async def _meet(fault: CallFault | None) -> None:
    """The faults that meet a call before anything is done. Raises `StripeError` or `Hangup` for those."""
    if fault is None:
        return
    if fault.kind == "reset":
        raise Hangup(reset=True)
    if fault.kind == "lost_request":
        await asyncio.sleep(fault.seconds)
        raise Hangup
    if fault.kind in _REFUSALS:
        raise _REFUSALS[fault.kind]()


def _accident(*, saved: bool = False) -> StripeError:
    return StripeError("An unknown error occurred. (The sandbox was asked for this.)", status=500, kind="api_error", saved=saved)


_REFUSALS: dict[str, Callable[[], StripeError]] = {
    "rate_limited": lambda: StripeError(
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        status=429,
        code="rate_limit",
        headers={"Retry-After": "1", "Stripe-Should-Retry": "false", "Stripe-Rate-Limited-Reason": "global-rate"},
    ),
    "conflict": lambda: StripeError(
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the "
        "other request is still going through). Please try again later.",
        status=409,
        code="idempotency_key_in_use",
    ),
    "locked": lambda: StripeError(
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see "
        "this error intermittently, retry the request.",
        status=429,
        code="lock_timeout",
        headers={"Stripe-Should-Retry": "true"},
    ),
    "failed": _accident,
    "unavailable": lambda: StripeError("Stripe is currently unavailable. (The sandbox was asked for this.)", status=503, kind="api_error"),
}


def _parameters(request: Request) -> str:
    if request.method != "POST":
        return request.query
    kind = request.headers.get("content-type", "")
    if request.body and not kind.startswith("application/x-www-form-urlencoded"):
        raise StripeError(f"Invalid request: send form-encoded parameters, not '{kind}'.", saved=False)
    try:
        body = request.body.decode("utf-8")
    except UnicodeDecodeError:
        raise StripeError("Invalid request: the parameters are not UTF-8", saved=False) from None
    return "&".join(part for part in (request.query, body) if part)


def _fingerprint(request: Request) -> str:
    facts: list[Any] = [request.method, request.path, request.query, sorted(request.body.decode("utf-8", "replace").split("&"))]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _check_version(version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise StripeError(f"Invalid Stripe API version: {version}", saved=False)
    if version < OLDEST_VERSION:
        raise StripeError(
            f"The sandbox answers in the shapes of {API_VERSION}; it does not imitate versions before {OLDEST_VERSION}.", saved=False
        )
