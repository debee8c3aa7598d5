"""The whole sandbox as one object, for the command line and for tests."""

from __future__ import annotations

from pathlib import Path

from tollgate_sandbox.asgi import Listener
from tollgate_sandbox.mail import Mailbox, SmtpListener
from tollgate_sandbox.mail_pages import MailPages
from tollgate_sandbox.store import World, account_id_of
from tollgate_sandbox.stripe_server import StripeServer
from tollgate_sandbox.webhooks import RETRY_DELAYS, Webhooks


class Sandbox:
    """A Stripe-like server and a mail catcher on loopback. Not Stripe; no money moves and no mail leaves.

    Ports of 0 choose free ones, and with `or_next` a taken port gives way to a free one.
    `state` is a folder that a later sandbox finds everything in; `latency` seconds pass in each API call.

    >>> async def use() -> None:
    ...     async with Sandbox() as sandbox:
    ...         print(sandbox.stripe_url, sandbox.mail_url, sandbox.smtp_url)
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

    async def start(self) -> None:
        """Listen on the three ports; the addresses are known afterwards. Raises OSError when a port is taken."""
        stripe_port, mail_port, smtp_port = self._ports
        self.world = World(self._state / "stripe.sqlite3" if self._state else None)
        self.webhooks = Webhooks(self.world, self._retry_delays)
        self.mailbox = Mailbox(self._state / "mail" if self._state else None)
        self.stripe_server = StripeServer(self.world, self.webhooks, latency=self._latency)
        mail_pages = MailPages(self.mailbox)
        self._listeners: list[Listener] = []
        self._smtp = SmtpListener(self.mailbox, smtp_port, self._mail_host, or_next=self._or_next)
        try:
            self._listeners.append(Listener(self.stripe_server.handle, stripe_port, or_next=self._or_next))
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
        self.webhooks.add(url, secret, None if account is None else account_id_of(account))

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()
