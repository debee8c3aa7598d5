"""Finance's story: the client pays on Stripe's page, the webhook comes by itself, the report shows the money; and a day on which it does not.

A real server on a socket, a real worker, PostgreSQL, and the sandbox that delivers signed webhooks over HTTP.
"""

from __future__ import annotations

import asyncio
import csv
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
import uvicorn

from tests.service.payments_world import WEBHOOK_SECRET, PaidWorld, paid_world
from tollgate import clock
from tollgate.access import service as access
from tollgate.app import create_app
from tollgate.billing.models import Invoice
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings, retry_delays=(0.1,) * 3) as made:
        yield made


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The web application on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(replace(settings, base_url=url)), lifespan="on", log_config=None, ws="none", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not task.done(), task.result()
            await asyncio.sleep(0.01)
        yield url
    finally:
        server.should_exit = True
        await task
        listener.close()


class _no_signals:
    """pytest keeps Ctrl-C to itself."""

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


@asynccontextmanager
async def working(world: PaidWorld) -> AsyncIterator[None]:
    """A worker beside the server."""
    worker = world.worker
    worker.poll_seconds = 0.1
    task = asyncio.create_task(worker.run_forever())
    try:
        yield
    finally:
        worker.stop()
        await task


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for what happens by itself; fails when it does not."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - it is another process that makes it true
            await asyncio.sleep(0.05)


async def watch(world: PaidWorld, url: str) -> str:
    """Tell Stripe where the webhook is; answers its id."""
    answer = await world.http.post(
        "/_sandbox/webhooks", json={"url": f"{url}/webhooks/stripe", "secret": WEBHOOK_SECRET, "account": world.account_name}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def pay_on_the_page(invoice: Invoice) -> None:
    """What the client does: open the link, see the amount, press Pay."""
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        page = await browser.get(str(invoice.stripe_hosted_url))
        assert page.status_code == 200 and "1,200.00" in page.text and str(invoice.number) in page.text
        paid = await browser.post(f"{invoice.stripe_hosted_url}/paid")
        assert paid.status_code == 200


async def report(url: str, world: PaidWorld) -> list[dict[str, str]]:
    """The payments report as finance downloads it."""
    made = await access.create_api_key(world.db, world.billing.org.command(), name="Books")
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {made.secret}"}) as client:
        answer = await client.get("/api/v1/reports/payments", params={"format": "csv"})
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_the_client_pays_and_the_books_know(world: PaidWorld) -> None:
    async with serving(world.billing.settings) as url:
        await watch(world, url)
        invoice = await world.issued("1000.00")
        async with working(world):
            await pay_on_the_page(invoice)

            async def is_paid() -> bool:
                return (await world.invoice(invoice.id)).state == "paid"

            async def is_read() -> bool:
                return bool(await world.inbox()) and all(event.handled_at for event in await world.inbox())

            await until(is_paid)
            await until(is_read)
        assert {event.found_by for event in await world.inbox()} == {"webhook"}
        (line,) = await report(url, world)
        assert (line["invoice"], line["amount"], line["currency"], line["method"]) == (invoice.number, "1200.00", "EUR", "stripe")
    await world.assert_sound()


async def test_a_day_without_webhooks_loses_nothing(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    # Nobody listens: the server is down, and Stripe gives up after its last attempt.
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    await watch(world, nowhere)
    await pay_on_the_page(invoice)
    assert await world.inbox() == []
    with clock.shifted(timedelta(hours=20)):
        await world.reconcile()
    assert (await world.invoice(invoice.id)).state == "paid"
    assert {event.found_by for event in await world.inbox()} == {"poll"}
    async with serving(world.billing.settings) as url:
        # The server is back, and Stripe's late deliveries change nothing any more.
        await watch(world, url)
        await world.hear(*world.events())
        await world.work()
        (line,) = await report(url, world)
    assert line["amount"] == "1200.00"
    assert len(await world.payments()) == 1
    await world.assert_sound()
