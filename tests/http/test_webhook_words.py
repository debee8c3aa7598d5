"""What a webhook says is not believed: it is a reason to ask Stripe, whose answer counts."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator

import pytest
from litestar.testing import AsyncTestClient

from tests.service.payments_world import WEBHOOK_SECRET, PaidWorld, paid_world
from tollgate import clock
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


async def test_a_signed_event_about_money_that_never_came_pays_nothing(world: PaidWorld) -> None:
    invoice = await world.issued("1000.00")
    now = int(clock.now().timestamp())
    about = {
        "id": invoice.stripe_invoice_id,
        "object": "invoice",
        "status": "paid",
        "amount_paid": invoice.payable_minor,
        "amount_remaining": 0,
        "currency": "eur",
    }
    event = {"id": "evt_1", "object": "event", "type": "invoice.paid", "created": now, "livemode": False, "data": {"object": about}}
    payload = json.dumps(event).encode()
    signature = hmac.new(WEBHOOK_SECRET.encode(), f"{now}.".encode() + payload, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={now},v1={signature}"}
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as web:
        answer = await web.post("/webhooks/stripe", content=payload, headers=headers)
    assert answer.status_code == 200, answer.text
    await world.work()
    (heard,) = [row for row in await world.inbox() if row.event_id == "evt_1"]
    assert heard.handled_at is not None
    after = await world.invoice(invoice.id)
    assert (after.state, after.paid_minor, await world.money()) == ("issued", 0, [])
