"""Payments and the gateway account over HTTP and on their pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar.testing import AsyncTestClient
from sqlalchemy import select

from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.payments.accounts import Gateways
from tollgate.payments.models import GatewayAccount
from tollgate.payments.sealing import Unreadable
from tollgate.settings import Settings

API = "/api/v1"
PASSWORD = "seven green bicycles"
Web = AsyncTestClient[Any]


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


async def key_of(world: PaidWorld, role: Role = Role.ADMIN) -> dict[str, str]:
    made = await access.create_api_key(world.db, world.billing.org.command(), name="Test", role=role)
    return {"Authorization": f"Bearer {made.secret}"}


@pytest.fixture
async def web(world: PaidWorld) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        client.headers.update(await key_of(world))
        yield client


@pytest.fixture
async def own(world: PaidWorld) -> AsyncIterator[Web]:
    """A server without keys in its environment: organizations connect their own."""
    settings = replace(world.billing.settings, stripe_secret_key=None, stripe_webhook_secret=None)
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        client.headers.update(await key_of(world))
        yield client


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


def body(world: PaidWorld, amount: str) -> dict[str, Any]:
    return {
        "client_id": str(world.billing.client_id),
        "amount": eur(amount),
        "received_on": str(clock.today("Europe/Vienna")),
        "method": "bank_transfer",
        "reference": "INV 1",
    }


def slug(answer: Any) -> str:
    return str(answer.json()["type"]).rsplit("/", 1)[1]


def pointers(answer: Any) -> set[str]:
    return {error["pointer"] for error in answer.json()["errors"]}


async def test_a_transfer_is_recorded_once_under_its_key(web: Web, world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    headers = {"Idempotency-Key": "one"}
    first = await web.post(f"{API}/payments", json=body(world, "150.00"), headers=headers)
    assert first.status_code == 201, first.text
    made = first.json()
    assert (made["amount"], made["client_credit"], made["state"], made["client"]) == (
        eur("150.00"),
        eur("30.00"),
        "received",
        "Hafen & Söhne AG",
    )
    assert [(one["invoice_id"], one["amount"]) for one in made["allocations"]] == [(str(invoice.id), eur("120.00"))]
    again = await web.post(f"{API}/payments", json=body(world, "150.00"), headers=headers)
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, made, "true")
    other = await web.post(f"{API}/payments", json=body(world, "151.00"), headers=headers)
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")
    assert (await web.get(f"{API}/payments/{made['id']}")).json() == made
    assert (await web.get(f"{API}/payments")).json() == {"items": [made], "next_cursor": None}
    assert (await web.get(f"{API}/invoices/{invoice.id}")).json()["state"] == "paid"


async def test_bad_input_names_its_fields(web: Web, world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"amount": eur("1.5")}, {"/amount"}),
        ({"amount": {"amount": "1.00", "currency": "XXX"}}, {"/amount"}),
        ({"method": "cash"}, {"/method"}),
        ({"reference": "a\u202eb"}, {"/reference"}),
        ({"reference": "a\x00b"}, {"/reference"}),
        ({"received_on": "2999-01-01"}, {"/received_on"}),
        ({"surprise": 1}, {"/surprise"}),
        ({"allocations": [{"invoice_id": str(invoice.id), "amount": eur("120.01")}]}, {"/allocations/0/amount"}),
        ({"allocations": [{"invoice_id": str(uuid4()), "amount": eur("1.00")}]}, {"/allocations/0/invoice_id"}),
    ]
    for changes, expected in cases:
        answer = await web.post(f"{API}/payments", json={**body(world, "300.00"), **changes})
        assert (answer.status_code, pointers(answer)) == (422, expected), (changes, answer.text)
    foreign = await web.post(f"{API}/payments", json={**body(world, "1.00"), "client_id": str(uuid4())})
    assert foreign.status_code == 404
    assert (await web.get(f"{API}/payments")).json()["items"] == []


async def test_who_may_what(world: PaidWorld) -> None:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        manager, finance = await key_of(world, Role.ACCOUNT_MANAGER), await key_of(world, Role.FINANCE)
        assert (await client.post(f"{API}/payments", json=body(world, "1.00"), headers=manager)).status_code == 403
        assert (await client.get(f"{API}/payments", headers=manager)).status_code == 200
        assert (await client.post(f"{API}/payments", json=body(world, "1.00"), headers=finance)).status_code == 201
        assert (await client.get(f"{API}/gateway-account", headers=finance)).status_code == 403
        assert (await client.get(f"{API}/payments")).status_code == 401


async def test_payments_page_by_cursor_and_filter(web: Web, world: PaidWorld) -> None:
    for amount in ("1.00", "2.00", "3.00"):
        await web.post(f"{API}/payments", json=body(world, amount))
    seen, cursor = [], None
    for _ in range(3):
        page = (await web.get(f"{API}/payments", params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        seen += [item["amount"]["amount"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (["3.00", "2.00", "1.00"], None)
    assert (await web.get(f"{API}/payments", params={"method": "stripe"})).json()["items"] == []
    assert (await web.get(f"{API}/payments", params={"cursor": "nonsense"})).status_code == 422


async def test_the_environments_account_is_shown_and_cannot_be_changed(web: Web, world: PaidWorld) -> None:
    shown = (await web.get(f"{API}/gateway-account")).json()
    assert (shown["source"], shown["mode"], shown["webhook_url"]) == ("environment", "test", "http://127.0.0.1:8000/webhooks/stripe")
    refused = await web.post(f"{API}/gateway-account", json={"secret_key": "sk_test_mine", "webhook_secret": "whsec_mine"})
    assert (refused.status_code, slug(refused)) == (409, "gateway-set-by-server")


async def test_an_organization_connects_its_own_account(own: Web, world: PaidWorld, owner_url: str) -> None:
    assert (await own.get(f"{API}/gateway-account")).status_code == 404
    asked = {"secret_key": "rk_test_mine", "webhook_secret": "whsec_mine"}
    made = await own.post(f"{API}/gateway-account", json=asked, headers={"Idempotency-Key": "c"})
    assert made.status_code == 201, made.text
    shown = made.json()
    assert (shown["source"], shown["mode"]) == ("organization", "test")
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/webhooks/stripe/[0-9a-f]{24}", shown["webhook_url"])
    assert "rk_test_mine" not in made.text and "whsec_mine" not in made.text
    again = await own.post(f"{API}/gateway-account", json=asked, headers={"Idempotency-Key": "c"})
    assert (again.status_code, again.json()) == (201, shown)
    second = await own.post(f"{API}/gateway-account", json=asked)
    assert (second.status_code, slug(second)) == (409, "gateway-already-connected")
    async with world.db.reading(world.organization_id) as session:
        (row,) = await session.scalars(select(GatewayAccount))
    assert b"mine" not in row.secret_key_encrypted and b"mine" not in row.webhook_secret_encrypted
    assert (await own.delete(f"{API}/gateway-account")).status_code == 412
    assert (await own.delete(f"{API}/gateway-account", headers={"If-Match": made.headers["etag"]})).status_code == 204
    assert (await own.get(f"{API}/gateway-account")).status_code == 404
    async with world.db.reading(world.organization_id) as session:
        (row,) = await session.scalars(select(GatewayAccount))
    assert (row.secret_key_encrypted, row.webhook_secret_encrypted) == (b"", b"")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"secret_key": "sk_live_real"}, "/secret_key"),
        ({"secret_key": "rk_live_real"}, "/secret_key"),
        ({"secret_key": "pk_test_publishable"}, "/secret_key"),
        ({"secret_key": "sk_test_" + "x" * 300}, "/secret_key"),
        ({"webhook_secret": "secret"}, "/webhook_secret"),
    ],
)
async def test_keys_that_are_none_or_live_are_refused(own: Web, changes: dict[str, str], pointer: str) -> None:
    answer = await own.post(f"{API}/gateway-account", json={"secret_key": "sk_test_a", "webhook_secret": "whsec_a", **changes})
    assert (answer.status_code, pointers(answer)) == (422, {pointer})


async def signed_in(world: PaidWorld, client: Web) -> Web:
    await access.create_member(
        world.db, world.billing.org.command(), email="ada@nordlicht.example", name="Ada Admin", role=Role.ADMIN, password=PASSWORD
    )
    shown = await client.get("/sign-in")
    fields = {**hidden(shown.text), "email": "ada@nordlicht.example", "password": PASSWORD}
    answer = await client.post("/sign-in", data=fields, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return client


def hidden(html: str) -> dict[str, str]:
    main = html.split("<main", 1)[1]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', main[main.index("<form") :])[:4])


@pytest.fixture
async def browser(world: PaidWorld) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        yield await signed_in(world, client)


async def test_a_transfer_is_recorded_on_its_page(browser: Web, world: PaidWorld) -> None:
    invoice = await world.issued("100.00")
    choice = await browser.get("/payments/new")
    assert "Hafen &amp; Söhne AG" in choice.text
    address = f"/payments/new?client_id={world.billing.client_id}"
    shown = await browser.get(address)
    field = f"allocate_{str(invoice.id).replace('-', '_')}"
    assert str(invoice.number) in shown.text and f'name="{field}"' in shown.text
    wrong = {**hidden(shown.text), "amount": "abc", "received_on": "", "reference": "kept", field: "500"}
    refused = await browser.post("/payments/new", data=wrong, follow_redirects=False)
    assert refused.status_code == 422 and 'value="kept"' in refused.text and "There is a problem" in refused.text
    too_much = {**hidden(shown.text), "amount": "600.00", "received_on": str(clock.today("Europe/Vienna")), field: "500.00"}
    refused = await browser.post("/payments/new", data=too_much, follow_redirects=False)
    assert refused.status_code == 422 and f'id="{field}-error"' in refused.text
    right = {**hidden(refused.text), "amount": "100.00", "received_on": str(clock.today("Europe/Vienna")), field: "100.00"}
    done = await browser.post("/payments/new", data=right, follow_redirects=False)
    assert done.status_code == 303, done.text
    twice = await browser.post("/payments/new", data=right, follow_redirects=False)
    assert twice.headers["location"] == done.headers["location"]
    page = await browser.get(done.headers["location"])
    assert str(invoice.number) in page.text and "€100.00" in page.text
    assert UUID(done.headers["location"].rsplit("/", 1)[1]) == (await world.payments())[0].id


async def test_the_settings_page_tells_test_from_live(browser: Web, world: PaidWorld) -> None:
    page = await browser.get("/settings/payments")
    assert page.status_code == 200
    assert "Test: no real money" in page.text and "/webhooks/stripe" in page.text and "sk_test" not in page.text


async def test_an_account_is_connected_and_disconnected_on_its_page(world: PaidWorld) -> None:
    settings = replace(world.billing.settings, stripe_secret_key=None, stripe_webhook_secret=None)
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        browser = await signed_in(world, client)
        shown = await browser.get("/settings/payments")
        live = {**hidden(shown.text), "secret_key": "sk_live_real", "webhook_secret": "whsec_mine"}
        refused = await browser.post("/settings/payments", data=live, follow_redirects=False)
        assert refused.status_code == 422 and "STRIPE_LIVE=1" in refused.text and "sk_live_real" not in refused.text
        right = {**hidden(refused.text), "secret_key": "sk_test_mine", "webhook_secret": "whsec_mine"}
        assert (await browser.post("/settings/payments", data=right, follow_redirects=False)).status_code == 303
        shown = await browser.get("/settings/payments")
        assert "Test: no real money" in shown.text and "sk_test_mine" not in shown.text
        changed = replace(settings, secret_key="another-secret-key-of-32-letters!!")
        gateways = Gateways(world.db, changed)
        with pytest.raises(Unreadable):
            await gateways.of(world.organization_id)
        gone = await browser.post("/settings/payments/disconnect", data=hidden(shown.text), follow_redirects=False)
        assert gone.status_code == 303
        assert "No Stripe account is connected" in (await browser.get("/settings/payments")).text
