"""Events sent to webhook addresses: signed as Stripe signs, in the background, again and again until somebody answers 2xx."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tollgate_sandbox.store import Account, Object, World, new_id, now
from tollgate_sandbox.views import render

log = logging.getLogger(__name__)
RETRY_DELAYS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
"""Seconds before each further attempt; after the last one the delivery has failed. Stripe takes three days for this."""
TIMEOUT = 10.0
CONCURRENT = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that wants events, of one account or of all."""

    id: str
    url: str
    secret: str
    account_id: str | None


class Webhooks:
    """The endpoints of this life and the deliveries under way. Endpoints are not kept; undelivered events are."""

    def __init__(self, world: World, retry_delays: tuple[float, ...] = RETRY_DELAYS) -> None:
        self.world = world
        self.endpoints: list[Endpoint] = []
        self.retry_delays = retry_delays
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT)
        world.on_event = self._on_event

    def add(self, url: str, secret: str, account_id: str | None = None) -> Endpoint:
        """Send events there from now on; the same address and account again only changes the secret. Raises ValueError on a bad address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not secret.startswith("whsec_"):
            raise ValueError("a webhook needs an http or https address and a secret that begins with whsec_")
        for endpoint in [known for known in self.endpoints if (known.url, known.account_id) == (url, account_id)]:
            self.remove(endpoint.id)
        endpoint = Endpoint(new_id("we"), url, secret, account_id)
        self.endpoints.append(endpoint)
        self._resume(endpoint)
        return endpoint

    def remove(self, endpoint_id: str) -> None:
        """Send nothing there any more; what is undelivered waits for the next endpoint of the account."""
        self.endpoints = [endpoint for endpoint in self.endpoints if endpoint.id != endpoint_id]
        for (event_id, where), task in list(self._running.items()):
            if where == endpoint_id:
                task.cancel()
                del self._running[(event_id, where)]

    async def stop(self) -> None:
        """End every delivery; they stay pending in the state file."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    def _on_event(self, account: Account, event: Object) -> None:
        for endpoint in self.endpoints:
            if endpoint.account_id in (None, account.id):
                delivery: Object = {
                    "endpoint": endpoint.id,
                    "url": endpoint.url,
                    "state": "pending",
                    "attempts": 0,
                    "status": None,
                    "error": None,
                }
                event["_deliveries"].append(delivery)
                event["pending_webhooks"] += 1
                self._begin(account, event, delivery, endpoint)

    def _resume(self, endpoint: Endpoint) -> None:
        for account in self.world.accounts.values():
            if endpoint.account_id not in (None, account.id):
                continue
            for event in account.all("event"):
                for delivery in event["_deliveries"]:
                    if delivery["state"] == "pending" and (event["id"], delivery["endpoint"]) not in self._running:
                        delivery |= {"endpoint": endpoint.id, "url": endpoint.url}
                        self._begin(account, event, delivery, endpoint)

    def _begin(self, account: Account, event: Object, delivery: Object, endpoint: Endpoint) -> None:
        key = (event["id"], endpoint.id)
        task = asyncio.get_running_loop().create_task(self._deliver(account, event, delivery, endpoint))
        self._running[key] = task
        task.add_done_callback(lambda done: self._running.pop(key, None) if self._running.get(key) is done else None)

    async def _deliver(self, account: Account, event: Object, delivery: Object, endpoint: Endpoint) -> None:
        payload = json.dumps(render(account, event), indent=2, ensure_ascii=False).encode()
        for delay in (0.0, *self.retry_delays):
            await asyncio.sleep(delay)
            delivery["attempts"] += 1
            async with self._slots:
                status, error = await _post(endpoint.url, payload, signature(endpoint.secret, payload, now()))
            delivery |= {"status": status, "error": error}
            if status is not None and 200 <= status < 300:
                delivery["state"] = "delivered"
                break
            self._note(account, event)
        else:
            delivery["state"] = "failed"
        event["pending_webhooks"] = sum(row["state"] == "pending" for row in event["_deliveries"])
        self._note(account, event)

    def _note(self, account: Account, event: Object) -> None:
        account.save(event)
        self.world.commit()


def signature(secret: str, payload: bytes, timestamp: int) -> str:
    """The `Stripe-Signature` header: HMAC-SHA256 of `<timestamp>.<payload>` under the whole secret, `whsec_` included."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


async def _post(url: str, payload: bytes, signed: str) -> tuple[int | None, str | None]:
    """POST and read the status line. Returns (status, None) or (None, what went wrong); redirects are not followed, as at Stripe."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _exchange(url, payload, signed), None
    except TimeoutError:
        return None, f"no answer within {TIMEOUT:.0f} seconds"
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as problem:
        return None, str(problem) or type(problem).__name__


async def _exchange(url: str, payload: bytes, signed: str) -> int:
    parts = urlsplit(url)
    secure: Any = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: TollgateSandbox/1.0 (not Stripe)\r\n"
            f"Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(payload)}\r\nStripe-Signature: {signed}\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + payload)
        await writer.drain()
        line = (await reader.readuntil(b"\n")).decode("latin-1").split()
        if len(line) < 2 or not line[0].startswith("HTTP/"):
            raise ValueError("the answer is not HTTP")
        status = int(line[1])
        # Read to the end, else closing resets the connection under a server that is still writing its answer.
        while await reader.read(65_536):
            pass
        return status
    finally:
        writer.close()
