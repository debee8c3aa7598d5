"""The sandbox in a thread with a loop of its own, met only over HTTP and SMTP, with the real `stripe` library."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from stripe import StripeClient

from tollgate_sandbox import Sandbox

SECRET = "whsec_of_the_tests"


@contextmanager
def running(**options: Any) -> Iterator[Sandbox]:
    """A started sandbox whose loop runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(**options)
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(10)
        try:
            yield sandbox
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests; each test has an account of its own."""
    with running() as started:
        yield started


@pytest.fixture
def account_name() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def stripe_client(url: str, name: str, *, kind: str = "sk", **options: Any) -> StripeClient:
    return StripeClient(f"{kind}_test_{name}", base_addresses={"api": url}, **({"max_network_retries": 0} | options))


@pytest.fixture
def stripe(sandbox: Sandbox, account_name: str) -> StripeClient:
    """The official client, pointed at the sandbox."""
    return stripe_client(sandbox.stripe_url, account_name)


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.stripe_url) as client:
        yield client


@pytest.fixture
def inbox(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """The mail catcher, emptied."""
    with httpx.Client(base_url=sandbox.mail_url) as client:
        client.delete("/messages")
        yield client


@dataclass
class Receiver:
    """A webhook address that answers as told and keeps what came."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Statuses to answer first; 200 afterwards."""
    received: list[tuple[bytes, str]] = field(default_factory=list)

    def wait_for(self, count: int, seconds: float = 10.0) -> list[tuple[bytes, str]]:
        until(lambda: len(self.received) >= count, seconds)
        return self.received


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something another thread does; fails when it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.received.append((body, self.headers["Stripe-Signature"]))
            self.send_response(kept.answers.pop(0) if kept.answers else 200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/webhooks/stripe?from=sandbox"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


def draft(stripe: StripeClient, *amounts: int, currency: str = "eur", customer: str | None = None, **more: Any) -> Any:
    """A draft to be sent, with one item per amount."""
    customer = customer or stripe.v1.customers.create({"name": "Northwind", "email": "ap@northwind.example"}).id
    invoice = stripe.v1.invoices.create(
        {
            "customer": customer,
            "currency": currency,
            "collection_method": "send_invoice",
            "days_until_due": 30,
            "auto_advance": False,
            "pending_invoice_items_behavior": "exclude",
            "automatic_tax": {"enabled": False},
            **more,
        }
    )
    for amount in amounts:
        stripe.v1.invoice_items.create(
            {"customer": customer, "invoice": invoice.id, "amount": amount, "currency": currency, "description": f"Milestone {amount}"}
        )
    return stripe.v1.invoices.retrieve(invoice.id)


def opened(stripe: StripeClient, *amounts: int, **more: Any) -> Any:
    """An open invoice."""
    return stripe.v1.invoices.finalize_invoice(draft(stripe, *amounts, **more).id)


def event_types(stripe: StripeClient) -> list[str]:
    """Every event of the account, oldest first."""
    return [event.type for event in stripe.v1.events.list({"limit": 100}).auto_paging_iter()][::-1]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"
