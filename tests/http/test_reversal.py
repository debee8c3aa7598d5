"""Taking a transfer back over HTTP, on its page, and what the payments report then says."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar.testing import AsyncTestClient

from tests.http.test_payments_api import API, Web, body, eur, hidden, key_of, pointers, signed_in, slug
from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.money.amount import Money
from tollgate.payments import service
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


@pytest.fixture
async def web(world: PaidWorld) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        client.headers.update(await key_of(world, Role.FINANCE))
        yield client


async def record(world: PaidWorld, amount: str, received_on: date | None = None) -> UUID:
    day = received_on or clock.today("Europe/Vienna")
    asked = service.NewTransfer(client_id=world.billing.client_id, amount=Money.parse(amount, "EUR"), received_on=day, reference="LV 7")
    return await service.record_transfer(world.db, world.billing.org.command("finance"), asked)


async def test_a_transfer_is_taken_back_once_under_its_key(web: Web, world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    made = (await web.post(f"{API}/payments", json=body(world, "150.00"))).json()
    assert made["reversal"] is None
    address, headers = f"{API}/payments/{made['id']}/reversal", {"Idempotency-Key": "back"}
    answer = await web.post(address, json={"reason": "recorded twice"}, headers=headers)
    assert answer.status_code == 200, answer.text
    taken = answer.json()
    assert (taken["state"], taken["amount"], taken["allocations"], taken["client_credit"]) == ("reversed", eur("150.00"), [], eur("0.00"))
    undone: dict[str, Any] = taken["reversal"]
    assert (undone["reason"], undone["reversed_on"]) == ("recorded twice", str(clock.today("Europe/Vienna")))
    assert [(one["invoice_id"], one["amount"]) for one in undone["reopened"]] == [(str(invoice.id), eur("120.00"))]
    assert undone["from_client_credit"] == eur("30.00")
    again = await web.post(address, json={"reason": "recorded twice"}, headers=headers)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (200, taken, "true")
    twice = await web.post(address, json={"reason": "recorded twice"})
    assert (twice.status_code, slug(twice)) == (409, "payment-already-reversed")
    shown = (await web.get(f"{API}/invoices/{invoice.id}")).json()
    assert (shown["state"], shown["open"]) == ("issued", eur("120.00"))
    assert (await web.get(f"{API}/payments")).json()["items"] == [taken]


async def test_what_is_refused_says_why(web: Web, world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    await world.pay(invoice)
    await world.hear(*world.events())
    await world.work()
    (card,) = await world.payments()
    refused = await web.post(f"{API}/payments/{card.id}/reversal", json={"reason": "x"})
    assert (refused.status_code, slug(refused)) == (409, "payment-not-reversible")
    assert "taken back by itself" in refused.json()["detail"]
    address = f"{API}/payments/{await record(world, '10.00')}/reversal"
    for wrong, pointer in (({"reason": " "}, "/reason"), ({"reason": "a\u202eb"}, "/reason"), ({"reason": "x", "more": 1}, "/more")):
        answer = await web.post(address, json=wrong)
        assert (answer.status_code, pointers(answer)) == (422, {pointer}), answer.text
    assert (await web.post(f"{API}/payments/{uuid4()}/reversal", json={"reason": "x"})).status_code == 404
    manager = await key_of(world, Role.ACCOUNT_MANAGER)
    assert (await web.post(address, json={"reason": "x"}, headers=manager)).status_code == 403


async def test_the_report_keeps_the_day_it_came_and_takes_it_off_on_the_day_it_went(web: Web, world: PaidWorld) -> None:
    today = clock.today("Europe/Vienna")
    earlier = today - timedelta(days=9)
    invoice = await world.issued("100.00")
    wrong = await record(world, "150.00", earlier)
    answer = await web.post(f"{API}/payments/{wrong}/reversal", json={"reason": "another client's"})
    assert answer.status_code == 200, answer.text
    await record(world, "20.00")
    report = (await web.get(f"{API}/reports/payments")).json()
    found = [(item["received_on"], item["invoice"], item["state"], item["amount"]["amount"]) for item in report["items"]]
    assert found == [
        (str(today), str(invoice.number), "received", "20.00"),
        (str(today), str(invoice.number), "reversed", "-120.00"),
        (str(today), "", "reversed", "-30.00"),
        (str(earlier), str(invoice.number), "reversed", "120.00"),
        (str(earlier), "", "reversed", "30.00"),
    ]
    assert [total["amount"] for total in report["totals"]] == [eur("20.00")]
    before = (await web.get(f"{API}/reports/payments", params={"to": str(earlier)})).json()
    assert [total["amount"] for total in before["totals"]] == [eur("150.00")], "a period that was reported never changes"
    download = await web.get(f"{API}/reports/payments", params={"format": "csv", "state": "reversed"})
    assert [row["amount"] for row in csv.DictReader(io.StringIO(download.text))] == ["-120.00", "-30.00", "120.00", "30.00"]
    paged, cursor = [], None
    for _ in report["items"]:
        page = (await web.get(f"{API}/reports/payments", params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        paged += page["items"]
        cursor = page["next_cursor"]
    assert (paged, cursor) == (report["items"], None)


async def test_the_page_says_what_will_happen_and_does_it(world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    payment_id = await record(world, "150.00")
    await world.work()
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        browser = await signed_in(world, client)
        address = f"/payments/{payment_id}/reversal"
        assert f'href="{address}"' in (await browser.get(f"/payments/{payment_id}")).text
        asked = await browser.get(address)
        assert asked.status_code == 200, asked.text
        for words in (str(invoice.number), "€120.00", "€30.00", "closed at Stripe"):
            assert words in asked.text, words
        refused = await browser.post(address, data={**hidden(asked.text), "reason": ""}, follow_redirects=False)
        assert refused.status_code == 422 and 'id="reason-error"' in refused.text
        fields = {**hidden(refused.text), "reason": "Not <ours>"}
        done = await browser.post(address, data=fields, follow_redirects=False)
        assert (done.status_code, done.headers["location"]) == (303, f"/payments/{payment_id}"), done.text
        page = (await browser.get(f"/payments/{payment_id}")).text
        assert "Not &lt;ours&gt;" in page and "Taken back" in page and "€120.00" in page and f'href="{address}"' not in page
        assert "Taken back" in (await browser.get(f"/invoices/{invoice.id}")).text
        report = (await browser.get("/reports/payments")).text
        assert "Taken back" in report and "-€120.00" in report
        assert "was taken back already" in (await browser.get(address)).text
        other = hidden((await browser.get(f"/payments/new?client_id={world.billing.client_id}")).text)
        late = await browser.post(address, data={**other, "reason": "again"}, follow_redirects=False)
        assert late.status_code == 422 and "was taken back already" in late.text
    assert (await world.invoice(invoice.id)).state == "issued"
    await world.assert_sound()
