"""The whole sandbox as one object, for the command line and for tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tollgate_sandbox import actions
from tollgate_sandbox.asgi import Listener
from tollgate_sandbox.faults import Faults, Seen
from tollgate_sandbox.mail import Mailbox, SmtpListener
from tollgate_sandbox.mail_pages import MailPages
from tollgate_sandbox.store import Object, World, account_named
from tollgate_sandbox.stripe_server import StripeServer
from tollgate_sandbox.webhooks import RETRY_DELAYS, Webhooks, signature

T = TypeVar("T")


class Sandbox:
    """A Stripe-like server and a mail catcher on loopback. Not Stripe; no money moves and no mail leaves.

    Ports of 0 choose free ones, and with `or_next` a taken port gives way to a free one.
    `state` is a folder that a later sandbox finds everything in; `latency` seconds pass in each API call.

    >>> async def use() -> None:
    ...     async with Sandbox() as sandbox:
    ...         print(sandbox.stripe_url, sandbox.mail_url, sandbox.smtp_url)

    `faults` makes it misbehave, and what people do at Stripe (`pay`, `refund`, `dispute`, `tamper`, …) can be done here too, from
    any thread. Objects are answered as the API shows them, amounts are integers of minor units, and what Stripe would refuse raises
    `StripeError`.
    """

    def __init__(
        self,
        *,
        stripe_port: int = 0,
        mail_port: int = 0,
        smtp_port: int = 0,
        mail_host: str = "127.0.0.1",
        or_next: bool = False,
        state: Path | None = None,
        latency: float = 0.0,
        retry_delays: tuple[float, ...] = RETRY_DELAYS,
    ) -> None:
        self._ports = (stripe_port, mail_port, smtp_port)
        self._mail_host = mail_host
        self._or_next = or_next
        self._state = state
        self._latency = latency
        self._retry_delays = retry_delays
        self.stripe_url = self.mail_url = self.smtp_url = ""
        self.faults = Faults()

    async def start(self) -> None:
        """Listen on the three ports; the addresses are known afterwards. Raises OSError when a port is taken."""
        stripe_port, mail_port, smtp_port = self._ports
        self._loop = asyncio.get_running_loop()
        self.world = World(self._state / "stripe.sqlite3" if self._state else None, self.faults.now)
        self.webhooks = Webhooks(self.world, self.faults, self._retry_delays)
        self.mailbox = Mailbox(self._state / "mail" if self._state else None)
        self.stripe_server = StripeServer(self.world, self.webhooks, self.faults, latency=self._latency)
        mail_pages = MailPages(self.mailbox)
        self._listeners: list[Listener] = []
        self._smtp = SmtpListener(self.mailbox, smtp_port, self._mail_host, or_next=self._or_next)
        try:
            self._listeners.append(Listener(self.stripe_server.handle, stripe_port, or_next=self._or_next, clock=self.faults.now))
            self._listeners.append(Listener(mail_pages.handle, mail_port, self._mail_host, or_next=self._or_next))
            self.stripe_url, self.mail_url = (listener.url for listener in self._listeners)
            self.world.base_url, mail_pages.base_url = self.stripe_url, self.mail_url
            self.smtp_url = await self._smtp.start()
            for listener in self._listeners:
                await listener.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything. Events that no webhook took stay pending in the state folder."""
        await self.webhooks.stop()
        for listener in self._listeners:
            await listener.stop()
        await self._smtp.stop()
        self.world.close()

    def set_webhook(self, url: str, secret: str, account: str | None = None) -> None:
        """Send the events of every account, or of the one that `sk_test_<account>` opens, there from now on."""
        self._do(lambda: self.webhooks.add(url, secret, account_named(account)))

    # What arrived, and events without a delivery.

    @property
    def calls(self) -> list[Seen]:
        """The API calls that arrived, oldest first; `faults.calls(match, account)` chooses among them."""
        return self.faults.seen

    def events(self, account: str) -> list[Object]:
        """Every event of an account (its name, id or a key), oldest first, as a webhook carries it."""
        shown: list[Object] = self._do(lambda: actions.events(self.world, str(account_named(account))))
        return shown

    def payload(self, event: Object) -> bytes:
        """The body of the webhook that carries this event."""
        return json.dumps(event, indent=2, ensure_ascii=False).encode()

    def sign(self, payload: bytes | Object, *, timestamp: int | None = None, secret: str | None = None) -> str:
        """The `Stripe-Signature` header for a body (or for an event: the header for its `payload`).

        Without `secret` that of the newest webhook address, without `timestamp` now by the sandbox's clock. Raises ValueError when
        there is no address and no secret.
        """
        if secret is None:
            if not self.webhooks.endpoints:
                raise ValueError("no webhook was set, so there is no secret to sign with")
            secret = self.webhooks.endpoints[-1].secret
        body = payload if isinstance(payload, bytes) else self.payload(payload)
        return signature(secret, body, self.world.now() if timestamp is None else timestamp)

    # What people do at Stripe.

    def pay(self, invoice_id: str, outcome: str = "paid", amount: int | None = None) -> Object:
        """Somebody pays an invoice, or tries to; `actions.OUTCOMES` says how. Returns the charge; a declined one is returned too."""
        return self._do(lambda: actions.pay(self.world, invoice_id, outcome, amount)[1])

    def refund(self, about: str, amount: int | None = None, *, outcome: str = "succeeded", reason: str | None = None) -> Object:
        """Somebody refunds in the dashboard: of a charge, or of the newest charge of an invoice; all that is left unless `amount`.

        `outcome` is succeeded, pending (then `settle_refund` or `fail_refund`) or failed. Returns the refund.
        """
        return self._do(lambda: actions.refund(self.world, about, amount, outcome, reason))

    def settle_refund(self, refund_id: str) -> Object:
        """A pending refund arrives. Returns the refund."""
        return self._do(lambda: actions.end_refund(self.world, refund_id, failed=False))

    def fail_refund(self, refund_id: str) -> Object:
        """The bank sends a refund back: the money is ours again. Returns the refund."""
        return self._do(lambda: actions.end_refund(self.world, refund_id, failed=True))

    def dispute(self, about: str, reason: str = "fraudulent", amount: int | None = None) -> Object:
        """The payer disputes a charge, or the newest charge of an invoice; the money is taken away. Returns the dispute."""
        return self._do(lambda: actions.dispute(self.world, about, reason, amount))

    def close_dispute(self, dispute_id: str, *, won: bool) -> Object:
        """The bank decides; when won, the money comes back. Returns the dispute."""
        return self._do(lambda: actions.close_dispute(self.world, dispute_id, won=won))

    def tamper(self, invoice_id: str, *, total: int | None = None, currency: str | None = None, number: str | None = None) -> Object:
        """Somebody changed the invoice at Stripe, in a way that its API would not allow. Returns the invoice."""
        return self._do(lambda: actions.tamper(self.world, invoice_id, total=total, currency=currency, number=number))

    def _do(self, work: Callable[[], T]) -> T:
        """Work in the sandbox's loop, from any thread."""
        if _running_loop() is self._loop:
            return work()
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as problem:
                done.set_exception(problem)

        self._loop.call_soon_threadsafe(run)
        return done.result(30)

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
