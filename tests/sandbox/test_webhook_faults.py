"""Webhooks that come twice, late, in another order or never; and events that a test hands over by itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe as library
from stripe import StripeClient

from tests.sandbox.conftest import SECRET, Receiver, event_types, opened, running, stripe_client
from tollgate_sandbox import Sandbox
from tollgate_sandbox.faults import Faults


@pytest.fixture
def heard(sandbox: Sandbox, account_name: str, receiver: Receiver) -> Iterator[Receiver]:
    """A receiver that listens to this test's account only."""
    sandbox.set_webhook(receiver.url, SECRET, account_name)
    yield receiver
    sandbox.faults.clear()
    with httpx.Client(base_url=sandbox.stripe_url) as http:
        for endpoint in [row for row in sandbox.webhooks.endpoints if row.url == receiver.url]:
            http.delete(f"/_sandbox/webhooks/{endpoint.id}")


def idle(sandbox: Sandbox) -> None:
    asyncio.run(asyncio.wait_for(sandbox.webhooks.idle(), 30))


def types(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for body, _ in receiver.received]


def names(receiver: Receiver) -> list[str]:
    return [json.loads(body)["data"]["object"]["name"] for body, _ in receiver.received]


def test_every_event_comes_as_often_as_asked_and_is_the_same(
    sandbox: Sandbox, stripe: StripeClient, heard: Receiver, account_name: str
) -> None:
    sandbox.faults.webhooks(duplicate=2, account=account_name)
    sandbox.pay(opened(stripe, 5_000).id)
    idle(sandbox)
    bodies = Counter(body for body, _ in heard.received)
    assert set(bodies.values()) == {3} and len(bodies) == len(event_types(stripe))
    assert all(event.pending_webhooks == 0 for event in stripe.v1.events.list({"limit": 100}).data)


def test_a_lost_event_is_shown_as_lost_and_never_comes(sandbox: Sandbox, stripe: StripeClient, heard: Receiver, account_name: str) -> None:
    sandbox.faults.webhooks(lose=["invoice.paid", "charge.*"], account=account_name)
    sandbox.pay(opened(stripe, 5_000).id)
    idle(sandbox)
    expected = [kind for kind in event_types(stripe) if kind != "invoice.paid" and not kind.startswith("charge.")]
    assert sorted(types(heard)) == sorted(expected)
    states = {event["type"]: [row["state"] for row in event["_deliveries"]] for event in sandbox.world.account(account_name).all("event")}
    assert states["invoice.paid"] == states["charge.succeeded"] == ["lost"] and states["invoice.finalized"] == ["delivered"]
    assert all(event.pending_webhooks == 0 for event in stripe.v1.events.list({"limit": 100}).data)
    sandbox.faults.webhooks(account=account_name)
    stripe.v1.customers.create({})
    idle(sandbox)
    assert types(heard)[len(expected) :] == ["customer.created"]


def test_what_was_lost_stays_lost_in_the_next_life_and_what_was_held_comes(state: Path, receiver: Receiver, account_name: str) -> None:
    with running(state=state) as first:
        first.set_webhook(receiver.url, SECRET)
        stripe = stripe_client(first.stripe_url, account_name)
        first.faults.webhooks(lose="all")
        stripe.v1.customers.create({"name": "lost"})
        first.faults.webhooks(hold=True)
        stripe.v1.customers.create({"name": "held"})
        idle(first)
        assert receiver.received == []
    with running(state=state) as second:
        second.set_webhook(receiver.url, SECRET)
        idle(second)
        assert names(receiver) == ["held"]


def test_held_events_come_shuffled_and_the_same_seed_gives_the_same_order(receiver: Receiver) -> None:
    orders = []
    for seed in (7, 7, 8):
        with running() as sandbox:
            receiver.received.clear()
            sandbox.set_webhook(receiver.url, SECRET)
            stripe = stripe_client(sandbox.stripe_url, f"any{len(orders)}")
            sandbox.faults.webhooks(hold=True, shuffle=True, duplicate=1, seed=seed)
            for number in range(8):
                stripe.v1.customers.create({"name": str(number)})
            idle(sandbox)
            assert receiver.received == [] and sandbox.webhooks.pending == {"running": 0, "held": 16}
            sandbox.webhooks.release()
            idle(sandbox)
            orders.append(names(receiver))
    in_order = [str(number) for number in range(8) for _ in range(2)]
    assert sorted(orders[0]) == in_order != orders[0]
    assert orders[0] == orders[1] != orders[2]


def test_shuffled_events_leave_by_themselves_when_it_is_quiet(
    sandbox: Sandbox, stripe: StripeClient, heard: Receiver, account_name: str
) -> None:
    sandbox.faults.webhooks(shuffle=True, seed=3, account=account_name)
    for number in range(6):
        stripe.v1.customers.create({"name": str(number)})
    idle(sandbox)
    assert sorted(names(heard)) == [str(number) for number in range(6)]


def test_the_same_seed_loses_the_same_events_whatever_else_is_asked() -> None:
    def lost(account: str, **more: Any) -> list[bool]:
        faults = Faults()
        faults.webhooks(lose=0.5, seed="s", **more)
        return [faults.fate(account, "invoice.paid").lost for _ in range(60)]

    assert lost("acct_a") == lost("acct_b", duplicate=3, delay=(0.0, 2.0))
    assert 10 < sum(lost("acct_a")) < 50
    faults = Faults()
    faults.webhooks(delay=(1.0, 2.0), duplicate=4)
    delays = faults.fate("acct_a", "x").delays
    assert len(delays) == 5 and all(1 <= delay <= 2 for delay in delays) and len(set(delays)) == 5


def test_late_events_come(sandbox: Sandbox, stripe: StripeClient, heard: Receiver, account_name: str) -> None:
    sandbox.faults.webhooks(delay=(0.05, 0.1), account=account_name)
    stripe.v1.customers.create({"name": "late"})
    assert sandbox.webhooks.pending["running"] or heard.received
    idle(sandbox)
    assert names(heard) == ["late"]
    sandbox.faults.webhooks(delay=(600, 600), account=account_name)
    stripe.v1.customers.create({"name": "far too late"})
    sandbox.faults.webhooks(account=account_name)
    stripe.v1.customers.create({"name": "at once"})
    heard.wait_for(2)
    assert names(heard) == ["late", "at once"] and sandbox.webhooks.pending["running"] >= 1


def test_one_accounts_plan_leaves_the_others(sandbox: Sandbox, stripe: StripeClient, heard: Receiver, account_name: str) -> None:
    sandbox.faults.webhooks(lose="all", account=f"{account_name}x")
    stripe.v1.customers.create({"name": "ours"})
    idle(sandbox)
    assert names(heard) == ["ours"]


def test_an_event_is_sent_again_by_hand(
    sandbox: Sandbox, stripe: StripeClient, http: httpx.Client, heard: Receiver, account_name: str
) -> None:
    sandbox.faults.webhooks(lose="all", account=account_name)
    stripe.v1.customers.create({"name": "by hand"})
    [event] = sandbox.events(account_name)
    assert sandbox.webhooks.deliver(event["id"], times=2) == 2
    idle(sandbox)
    assert http.post(f"/_sandbox/events/{event['id']}/deliver", json={}).json()["deliveries"] == 1
    idle(sandbox)
    assert names(heard) == ["by hand"] * 3
    assert http.post("/_sandbox/events/evt_none/deliver", json={}).status_code == 404
    stripe_client(sandbox.stripe_url, f"{account_name}x").v1.customers.create({})
    [unheard] = sandbox.events(f"{account_name}x")
    assert http.post(f"/_sandbox/events/{unheard['id']}/deliver", json={}).status_code == 400


def test_events_are_handed_out_and_signed_without_a_delivery(sandbox: Sandbox, stripe: StripeClient, account_name: str) -> None:
    invoice = opened(stripe, 5_000)
    events = sandbox.events(account_name)
    assert [event["type"] for event in events] == event_types(stripe)
    events[0]["data"]["object"]["name"] = "changed"
    assert sandbox.events(f"sk_test_{account_name}")[0]["data"]["object"]["name"] == "Northwind"
    event = sandbox.events(account_name)[-2]
    assert event["data"]["object"]["id"] == invoice.id
    body = sandbox.payload(event)
    read: Any = library.Webhook.construct_event(body, sandbox.sign(event, secret=SECRET), SECRET)
    assert read.id == event["id"]
    for header in (sandbox.sign(body, secret="whsec_forged"), sandbox.sign(body, secret=SECRET, timestamp=1)):
        with pytest.raises(library.SignatureVerificationError):
            library.Webhook.construct_event(body, header, SECRET)
    assert sandbox.events("nobody") == []
    with running() as lonely, pytest.raises(ValueError):
        lonely.sign(body)


def test_released_over_http(sandbox: Sandbox, stripe: StripeClient, http: httpx.Client, heard: Receiver, account_name: str) -> None:
    sandbox.faults.webhooks(hold=True, account=account_name)
    stripe.v1.customers.create({"name": "held"})
    assert http.get("/_sandbox/webhooks/pending").json()["held"] == 1
    assert http.post("/_sandbox/webhooks/release", json={"account": account_name}).json() == {"released": 1}
    idle(sandbox)
    assert names(heard) == ["held"] and http.get("/_sandbox/webhooks/pending").json() == {"running": 0, "held": 0}
