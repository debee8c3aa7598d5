"""Events: stored, listed, delivered, signed so that the official library accepts them, and never in the way of an answer."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe as library
from stripe import StripeClient

from tests.sandbox.conftest import SECRET, Receiver, event_types, opened, running, stripe_client, until
from tollgate_sandbox import Sandbox

FAST = (0.02,) * 12


def account_id(stripe: StripeClient) -> str:
    return stripe.v1.accounts.retrieve_current().id


def watch(http: httpx.Client, stripe: StripeClient, url: str) -> None:
    answer = http.post("/_sandbox/webhooks", json={"url": url, "secret": SECRET, "account": account_id(stripe)})
    assert answer.status_code == 201, answer.text


def test_every_event_arrives_signed_as_stripe_signs(http: httpx.Client, stripe: StripeClient, receiver: Receiver) -> None:
    watch(http, stripe, receiver.url)
    invoice = opened(stripe, 5_000)
    stripe.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_visa"})
    expected = event_types(stripe)

    got: list[Any] = [library.Webhook.construct_event(body, header, SECRET) for body, header in receiver.wait_for(len(expected))]
    assert sorted(event.type for event in got) == sorted(expected)
    assert {event.id for event in got} == {event.id for event in stripe.v1.events.list({"limit": 100}).data}
    [paid] = [event for event in got if event.type == "invoice.paid"]
    assert (paid.data.object.id, paid.data.object.status, paid.api_version, paid.livemode) == (
        invoice.id,
        "paid",
        library.api_version,
        False,
    )
    body, header = receiver.received[0]
    with pytest.raises(library.SignatureVerificationError):
        library.Webhook.construct_event(body + b" ", header, SECRET)
    with pytest.raises(library.SignatureVerificationError):
        library.Webhook.construct_event(body, header, SECRET + "x")


def test_an_update_names_the_former_values(stripe: StripeClient) -> None:
    customer = stripe.v1.customers.create({"name": "Before"})
    stripe.v1.customers.update(customer.id, {"name": "After"})
    [event] = stripe.v1.events.list({"type": "customer.updated"}).data
    assert event.data.to_dict()["previous_attributes"] == {"name": "Before"}
    assert stripe.v1.events.retrieve(event.id).request is not None


def test_events_page_in_both_directions(stripe: StripeClient) -> None:
    for number in range(5):
        stripe.v1.customers.create({"name": str(number)})
    everything = stripe.v1.events.list({"limit": 100}).data
    seen = everything[3]
    assert [row.id for row in stripe.v1.events.list({"starting_after": seen.id}).data] == [everything[4].id]
    newer = stripe.v1.events.list({"ending_before": seen.id, "limit": 2})
    assert [row.id for row in newer.data] == [everything[1].id, everything[2].id]
    assert len(stripe.v1.events.list({"types": ["customer.created", "invoice.paid"]}).data) == 5
    assert stripe.v1.events.list({"created": {"gt": int(time.time()) + 60}}).data == []


def test_a_failing_address_is_tried_again_with_a_fresh_signature(receiver: Receiver, account_name: str) -> None:
    with running(retry_delays=FAST) as sandbox:
        stripe = stripe_client(sandbox.stripe_url, account_name)
        receiver.answers = [500, 404, 302]
        with httpx.Client(base_url=sandbox.stripe_url) as http:
            watch(http, stripe, receiver.url)
        stripe.v1.customers.create({})
        bodies = [body for body, _ in receiver.wait_for(4)]
        assert len(set(bodies)) == 1
        until(lambda: stripe.v1.events.list().data[0].pending_webhooks == 0)
        page = httpx.get(f"{sandbox.stripe_url}/_sandbox").text
        assert "4 tried, answered 200" in page


def test_a_dead_address_never_holds_up_an_answer_and_is_given_up(account_name: str) -> None:
    with running(retry_delays=(0.01, 0.01)) as sandbox, socket.create_server(("127.0.0.1", 0)) as silent:
        stripe = stripe_client(sandbox.stripe_url, account_name)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with httpx.Client(base_url=sandbox.stripe_url) as http:
            watch(http, stripe, nobody)
            watch(http, stripe, f"http://127.0.0.1:{silent.getsockname()[1]}/")
            began = time.monotonic()
            stripe.v1.customers.create({})
            assert time.monotonic() - began < 2
            until(lambda: "failed" in http.get("/_sandbox").text)


def test_what_was_not_delivered_is_delivered_in_the_next_life(state: Path, receiver: Receiver, account_name: str) -> None:
    with running(state=state, retry_delays=(30.0,)) as first:
        stripe = stripe_client(first.stripe_url, account_name)
        receiver.answers = [503]
        with httpx.Client(base_url=first.stripe_url) as http:
            watch(http, stripe, receiver.url)
        stripe.v1.customers.create({})
        receiver.wait_for(1)
    with running(state=state) as second:
        stripe = stripe_client(second.stripe_url, account_name)
        with httpx.Client(base_url=second.stripe_url) as http:
            watch(http, stripe, receiver.url)
        bodies = receiver.wait_for(2)
        assert json.loads(bodies[0][0])["id"] == json.loads(bodies[1][0])["id"]
        until(lambda: stripe.v1.events.list().data[0].pending_webhooks == 0)


def test_only_the_account_that_is_watched_is_told(http: httpx.Client, sandbox: Sandbox, stripe: StripeClient, receiver: Receiver) -> None:
    watch(http, stripe, receiver.url)
    stripe_client(sandbox.stripe_url, "somebody_else").v1.customers.create({"name": "theirs"})
    stripe.v1.customers.create({"name": "ours"})
    [(body, _)] = receiver.wait_for(1)
    assert json.loads(body)["data"]["object"]["name"] == "ours"
    [endpoint] = [row for row in http.get("/_sandbox/webhooks").json() if row["url"] == receiver.url]
    assert http.delete(f"/_sandbox/webhooks/{endpoint['id']}").status_code == 204
    stripe.v1.customers.create({"name": "unheard"})
    assert stripe.v1.events.list().data[0].pending_webhooks == 0
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "body", [{}, {"url": "ftp://x", "secret": SECRET}, {"url": "http://x/", "secret": "wrong"}, {"url": 1, "secret": SECRET}]
)
def test_a_webhook_that_cannot_work_is_refused(http: httpx.Client, body: dict[str, Any]) -> None:
    assert http.post("/_sandbox/webhooks", json=body).status_code == 400
