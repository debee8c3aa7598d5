"""Events sent to webhook addresses: signed as Stripe signs, in the background, again and again until somebody answers 2xx."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tollgate_sandbox.faults import Faults
from tollgate_sandbox.posting import post
from tollgate_sandbox.store import Account, Object, World, new_id
from tollgate_sandbox.views import render

log = logging.getLogger(__name__)
RETRY_DELAYS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
"""Seconds before each further attempt; after the last one the delivery has failed. Stripe takes three days for this."""
CONCURRENT = 16
QUIET = 0.25
"""Seconds without a new event after which shuffled deliveries leave, unless they are held."""
Key = tuple[str, str, int]
"""One delivery under way: event, endpoint, and which copy."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that wants events, of one account or of all."""

    id: str
    url: str
    secret: str
    account_id: str | None


@dataclass(slots=True)
class _Delivery:
    """One row of an event's deliveries, about to be sent."""

    account: Account
    event: Object
    row: Object
    endpoint: Endpoint
    delay: float = 0.0
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first attempt, so that shuffled ones arrive in their order."""

    @property
    def key(self) -> Key:
        return (self.event["id"], self.endpoint.id, self.row.get("copy", 0))


class Webhooks:
    """The endpoints of this life and the deliveries under way. Endpoints are not kept; undelivered events are."""

    def __init__(self, world: World, faults: Faults, retry_delays: tuple[float, ...] = RETRY_DELAYS) -> None:
        self.world = world
        self.faults = faults
        self.endpoints: list[Endpoint] = []
        self.retry_delays = retry_delays
        self._loop = asyncio.get_running_loop()
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._held: dict[str, list[_Delivery]] = {}
        self._releases: dict[str, asyncio.Task[None]] = {}
        self._senders: set[asyncio.Task[None]] = set()
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
        for account_id, held in self._held.items():
            self._held[account_id] = [delivery for delivery in held if delivery.endpoint.id != endpoint_id]
        for key, task in list(self._running.items()):
            if key[1] == endpoint_id:
                task.cancel()
                del self._running[key]

    async def stop(self) -> None:
        """End every delivery; they stay pending in the state file."""
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._releases.values(), *self._senders, *self._running.values()]

    @property
    def pending(self) -> dict[str, int]:
        """How many deliveries are under way (`running`, retries included) and how many wait for `release` (`held`)."""
        return {"running": len(self._tasks()), "held": sum(map(len, self._held.values()))}

    async def idle(self) -> None:
        """Wait until everything that is going to be delivered was delivered or given up. What is held until `release` does not count.

        May be awaited in any event loop. With an address that refuses, this takes as long as the retries.
        """
        await self._here(self._idle())

    def deliver(self, event_id: str, times: int = 1) -> int:
        """Send an event by hand, whatever is planned, `times` times to each address of its account. Returns how many times.

        Raises KeyError for an event that is not known and ValueError when no address listens.
        """
        if not 1 <= times <= 100:
            raise ValueError("times must be between 1 and 100")
        account, event = self._event(event_id)
        endpoints = self._endpoints_of(account)
        if not endpoints:
            raise ValueError("no webhook address listens to this account")

        def send() -> None:
            for endpoint in endpoints * times:
                self._begin(_Delivery(account, event, self._row(event, endpoint), endpoint))
            self._note(account, event)

        self._soon(send)
        return len(endpoints) * times

    def release(self, account: str | None = None) -> None:
        """Let held deliveries go, of one account (its id) or of all: in the order that was planned, one after the other."""

        def let_go() -> None:
            for account_id in [account] if account else list(self._held):
                self._release(account_id)

        self._soon(let_go)

    def _on_event(self, account: Account, event: Object) -> None:
        for endpoint in self._endpoints_of(account):
            fate = self.faults.fate(account.id, event["type"])
            if fate.lost:
                self._row(event, endpoint)["state"] = "lost"
                event["pending_webhooks"] -= 1
                continue
            for delay in fate.delays:
                delivery = _Delivery(account, event, self._row(event, endpoint), endpoint, delay)
                if fate.held:
                    self._hold(delivery)
                else:
                    self._begin(delivery)

    def _row(self, event: Object, endpoint: Endpoint) -> Object:
        row: Object = {
            "endpoint": endpoint.id,
            "url": endpoint.url,
            "copy": len(event["_deliveries"]),
            "state": "pending",
            "attempts": 0,
            "status": None,
            "error": None,
        }
        event["_deliveries"].append(row)
        event["pending_webhooks"] += 1
        return row

    def _endpoints_of(self, account: Account) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints if endpoint.account_id in (None, account.id)]

    def _event(self, event_id: str) -> tuple[Account, Object]:
        for account in self.world.accounts.values():
            if event_id in account.table("event"):
                return account, account.table("event")[event_id]
        raise KeyError(event_id)

    def _resume(self, endpoint: Endpoint) -> None:
        under_way = set(self._running) | {delivery.key for held in self._held.values() for delivery in held}
        for account in self.world.accounts.values():
            if endpoint.account_id not in (None, account.id):
                continue
            for event in account.all("event"):
                for row in event["_deliveries"]:
                    if row["state"] == "pending" and (event["id"], row["endpoint"], row.get("copy", 0)) not in under_way:
                        row |= {"endpoint": endpoint.id, "url": endpoint.url}
                        delivery = _Delivery(account, event, row, endpoint)
                        if self.faults.webhook_plan(account.id).hold:
                            self._hold(delivery)
                        else:
                            self._begin(delivery)

    def _hold(self, delivery: _Delivery) -> None:
        account_id = delivery.account.id
        self._held.setdefault(account_id, []).append(delivery)
        if not self.faults.webhook_plan(account_id).hold:
            if waiting := self._releases.pop(account_id, None):
                waiting.cancel()
            self._releases[account_id] = self._loop.create_task(self._release_when_quiet(account_id))

    async def _release_when_quiet(self, account_id: str) -> None:
        await asyncio.sleep(QUIET)
        del self._releases[account_id]
        self._release(account_id)

    def _release(self, account_id: str) -> None:
        if waiting := self._releases.pop(account_id, None):
            waiting.cancel()
        held = self._held.pop(account_id, [])
        if held:
            order = self.faults.order(account_id, len(held))
            sender = self._loop.create_task(self._one_by_one([held[index] for index in order]))
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    async def _one_by_one(self, deliveries: list[_Delivery]) -> None:
        for delivery in deliveries:
            if delivery.endpoint in self.endpoints:
                self._begin(delivery)
                await delivery.tried.wait()

    def _begin(self, delivery: _Delivery) -> None:
        key = delivery.key
        task = self._loop.create_task(self._deliver(delivery))
        self._running[key] = task

        def ended(done: asyncio.Task[None]) -> None:
            delivery.tried.set()
            if self._running.get(key) is done:
                del self._running[key]

        task.add_done_callback(ended)

    async def _deliver(self, delivery: _Delivery) -> None:
        account, event, row, endpoint = delivery.account, delivery.event, delivery.row, delivery.endpoint
        payload = payload_of(account, event)
        for delay in (delivery.delay, *self.retry_delays):
            await asyncio.sleep(delay)
            row["attempts"] += 1
            async with self._slots:
                status, error = await post(endpoint.url, payload, signature(endpoint.secret, payload, self.world.now()))
            row |= {"status": status, "error": error}
            delivery.tried.set()
            if status is not None and 200 <= status < 300:
                row["state"] = "delivered"
                break
            self._note(account, event)
        else:
            row["state"] = "failed"
        event["pending_webhooks"] = sum(row["state"] == "pending" for row in event["_deliveries"])
        self._note(account, event)

    def _note(self, account: Account, event: Object) -> None:
        account.save(event)
        self.world.commit()

    async def _idle(self) -> None:
        while tasks := self._tasks():
            await asyncio.wait(tasks)

    def _soon(self, work: Callable[[], None]) -> None:
        """Do it in the sandbox's loop: now when this is it, else as soon as that loop comes to it."""
        if _running_loop() is self._loop:
            work()
            return

        async def do() -> None:
            work()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(30)

    async def _here(self, work: Coroutine[Any, Any, None]) -> None:
        if asyncio.get_running_loop() is self._loop:
            await work
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def payload_of(account: Account, event: Object) -> bytes:
    """An event as it is sent."""
    return json.dumps(render(account, event), indent=2, ensure_ascii=False).encode()


def signature(secret: str, payload: bytes, timestamp: int) -> str:
    """The `Stripe-Signature` header: HMAC-SHA256 of `<timestamp>.<payload>` under the whole secret, `whsec_` included."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
