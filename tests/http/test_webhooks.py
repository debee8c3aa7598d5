"""`/webhooks/stripe`: only what the gateway signed now, for this account and mode, is kept, and it is kept once."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import make_organization
from tests.service.payments_world import WEBHOOK_SECRET, PaidWorld, paid_world
from tollgate import clock
from tollgate.app import create_app
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.payments import queries, service
from tollgate.payments.accounts import Gateways
from tollgate.settings import Settings

HERE = "/webhooks/stripe"
Web = AsyncTestClient[Any]


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


@pytest.fixture
async def web(world: PaidWorld) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        yield client


def event(**changes: Any) -> dict[str, Any]:
    about = {"id": "in_1", "object": "invoice", "status": "paid"}
    made = {
        "id": "evt_1",
        "object": "event",
        "type": "invoice.paid",
        "created": int(clock.now().timestamp()),
        "livemode": False,
        "data": {"object": about},
    }
    return {**made, **changes}


def signature(payload: bytes, secret: str = WEBHOOK_SECRET, *, seconds: int = 0) -> str:
    stamp = int(clock.now().timestamp()) + seconds
    return f"t={stamp},v1={hmac.new(secret.encode(), f'{stamp}.'.encode() + payload, hashlib.sha256).hexdigest()}"


async def post(web: Web, payload: bytes, header: str | None, path: str = HERE) -> Any:
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"Stripe-Signature": header.encode("latin-1")})
    return await web.post(path, content=payload, headers=headers)


def slug(answer: Any) -> str:
    assert answer.headers["content-type"].startswith("application/problem+json")
    return str(answer.json()["type"]).rsplit("/", 1)[1]


async def test_a_signed_event_is_kept_once(web: Web, world: PaidWorld) -> None:
    payload = json.dumps(event()).encode()
    for _ in range(3):
        answer = await post(web, payload, signature(payload))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    (row,) = await world.inbox()
    assert (row.event_id, row.type, row.object_id, row.found_by, row.handled_at) == ("evt_1", "invoice.paid", "in_1", "webhook", None)
    await world.work()
    (row,) = await world.inbox()
    assert row.handled_at is not None


async def test_an_event_about_something_else_is_kept_and_left_alone(web: Web, world: PaidWorld) -> None:
    payload = json.dumps(event(type="customer.created", data={"object": {"id": "cus_1"}})).encode()
    assert (await post(web, payload, signature(payload))).status_code == 200
    (row,) = await world.inbox()
    assert row.handled_at is not None and row.outcome == "does not concern an invoice"


@pytest.mark.parametrize("seconds", [-301, 330, 3600, 86_400])
async def test_a_signature_of_another_time_is_refused(web: Web, world: PaidWorld, seconds: int) -> None:
    payload = json.dumps(event()).encode()
    answer = await post(web, payload, signature(payload, seconds=seconds))
    assert (answer.status_code, slug(answer)) == (400, "signature-invalid")
    assert await world.inbox() == []


async def test_clocks_may_differ_by_a_little(web: Web, world: PaidWorld) -> None:
    for number, seconds in enumerate((-250, 250)):
        payload = json.dumps(event(id=f"evt_{number}")).encode()
        assert (await post(web, payload, signature(payload, seconds=seconds))).status_code == 200
    assert len(await world.inbox()) == 2


async def test_a_forged_signature_is_refused(web: Web, world: PaidWorld) -> None:
    payload = json.dumps(event()).encode()
    good = signature(payload)
    headers = [
        None,
        "",
        "t=,v1=",
        "v1=" + good.partition("v1=")[2],
        good.partition(",")[0],
        signature(payload, "whsec_wrong"),
        good + "0",
        good.replace("v1=", "v0="),
        f"t=1,{good}",
        "t=" + "9" * 400 + ",v1=0",
        "t=½,v1=ä",
    ]
    for header in headers:
        answer = await post(web, payload, header)
        assert (answer.status_code, slug(answer)) == (400, "signature-invalid"), header
    tampered = payload.replace(b"in_1", b"in_2")
    assert (await post(web, tampered, good)).status_code == 400
    assert await world.inbox() == []


async def test_of_two_signatures_one_is_enough(web: Web) -> None:
    payload = json.dumps(event()).encode()
    stamp, _comma, right = signature(payload).partition(",")
    assert (await post(web, payload, f"{stamp},v1={'0' * 64},{right}")).status_code == 200


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b'"x"',
        b"[" * 5000,
        json.dumps(event(created="soon")).encode(),
        json.dumps(event(data=None)).encode(),
    ],
)
async def test_signed_nonsense_is_refused(web: Web, world: PaidWorld, payload: bytes) -> None:
    answer = await post(web, payload, signature(payload))
    assert (answer.status_code, slug(answer)) == (400, "malformed")
    assert await world.inbox() == []


async def test_the_other_mode_and_other_accounts_are_refused(web: Web, world: PaidWorld) -> None:
    for changes, word in (({"livemode": True}, "other-mode"), ({"account": "acct_other"}, "other-account")):
        payload = json.dumps(event(**changes)).encode()
        answer = await post(web, payload, signature(payload))
        assert (answer.status_code, slug(answer)) == (400, word)
    assert await world.inbox() == []


async def test_a_body_beyond_the_limit_is_refused(web: Web, world: PaidWorld) -> None:
    payload = json.dumps(event(padding="x" * 1_100_000)).encode()
    assert (await post(web, payload, signature(payload))).status_code == 413
    assert await world.inbox() == []


async def test_each_endpoint_has_its_own_secret(web: Web, world: PaidWorld, db: Database) -> None:
    other = await make_organization(db)
    command = Command(other.id, ActorKind.MEMBER, other.admin_id, "admin")
    gateways = Gateways(db, world.billing.settings)
    asked = service.NewAccount(secret_key="rk_test_another", webhook_secret="whsec_another")
    await service.connect_account(gateways, command, asked)
    async with db.reading(other.id) as session:
        account = await queries.active_account(session, other.id)
    assert account is not None
    theirs = f"{HERE}/{account.endpoint}"
    payload = json.dumps(event()).encode()
    assert (await post(web, payload, signature(payload), theirs)).status_code == 400
    assert (await post(web, payload, signature(payload, "whsec_another"), HERE)).status_code == 400
    assert (await post(web, payload, signature(payload, "whsec_another"), theirs)).status_code == 200
    assert await world.inbox() == []
    await service.disconnect_account(db, command)
    assert (await post(web, payload, signature(payload, "whsec_another"), theirs)).status_code == 404


@pytest.mark.parametrize("endpoint", ["unknown", "0" * 24, "x" * 500, "a%00b", "..%2f"])
async def test_an_unknown_endpoint_is_not_there(web: Web, endpoint: str) -> None:
    payload = json.dumps(event()).encode()
    assert (await post(web, payload, signature(payload), f"{HERE}/{endpoint}")).status_code == 404


async def test_without_keys_there_is_no_webhook(world: PaidWorld) -> None:
    settings = replace(world.billing.settings, stripe_secret_key=None)
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        payload = json.dumps(event()).encode()
        assert (await post(client, payload, signature(payload))).status_code == 404


async def test_the_sandboxs_own_deliveries_settle_the_invoice(web: Web, world: PaidWorld) -> None:
    """Bytes as the sandbox signs them, not as this file does."""
    from tollgate_sandbox.webhooks import signature as theirs

    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    for one in world.events():
        payload = json.dumps(one, indent=2, ensure_ascii=False).encode()
        answer = await post(web, payload, theirs(WEBHOOK_SECRET, payload, int(clock.now().timestamp())))
        assert answer.status_code == 200
    await world.work()
    assert (await world.invoice(invoice.id)).state == "paid"


def test_the_tolerance_is_five_minutes() -> None:
    from tollgate.payments.signatures import TOLERANCE_SECONDS

    assert timedelta(seconds=TOLERANCE_SECONDS) == timedelta(minutes=5)
