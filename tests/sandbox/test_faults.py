"""API calls that go wrong on demand: what the caller sees, what was done, and what a repetition under the same key gets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import stripe as library
from stripe import StripeClient

from tests.sandbox.conftest import SECRET, Receiver, opened, running, stripe_client, until
from tollgate_sandbox import Sandbox
from tollgate_sandbox.faults import KINDS, Faults, fits

CREATE = "POST /v1/customers"


@dataclass
class Wire:
    """Requests over a bare socket: what really comes back, without a client library between."""

    sandbox: Sandbox
    account: str

    def create(self, key: str | None = "key") -> bytes:
        """The answer to POST /v1/customers, b"" when the connection ended without one. Raises ConnectionResetError."""
        parts = urlsplit(self.sandbox.stripe_url)
        body = b"name=Northwind"
        head = [
            "POST /v1/customers HTTP/1.1",
            "Host: sandbox",
            f"Authorization: Bearer sk_test_{self.account}",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *([f"Idempotency-Key: {key}"] if key else []),
        ]
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as connection:
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
            return answer

    def outcome(self, key: str | None = "key") -> str:
        """`reset`, `closed`, or the status, with `replayed` when it was."""
        try:
            answer = self.create(key)
        except ConnectionResetError:
            return "reset"
        if not answer:
            return "closed"
        return answer.split()[1].decode() + (" replayed" if b"idempotent-replayed: true" in answer.lower() else "")

    @property
    def customers(self) -> int:
        return len(list(self.sandbox.world.account(self.account).all("customer")))


@pytest.fixture
def wire(sandbox: Sandbox, account_name: str) -> Wire:
    return Wire(sandbox, account_name)


@pytest.fixture(autouse=True)
def nothing_left(sandbox: Sandbox) -> Iterator[None]:
    """The sandbox is shared: a plan that outlives its test would be somebody else's surprise."""
    yield
    sandbox.faults.clear()


@pytest.mark.parametrize(
    ("kind", "first", "done", "again", "done_then"),
    [
        ("rate_limited", "429", 0, "200", 1),
        ("conflict", "409", 0, "200", 1),
        ("locked", "429", 0, "200", 1),
        ("failed", "500", 0, "200", 1),
        ("failed_saved", "500", 0, "500 replayed", 0),
        ("done_failed_saved", "500", 1, "500 replayed", 1),
        ("unavailable", "503", 0, "200", 1),
        ("slow", "200", 1, "200 replayed", 1),
        ("reset", "reset", 0, "200", 1),
        ("lost_request", "closed", 0, "200", 1),
        ("lost_response", "closed", 1, "200 replayed", 1),
    ],
)
def test_each_fault_is_what_it_says(wire: Wire, kind: Any, first: str, done: int, again: str, done_then: int) -> None:
    wire.sandbox.faults.call(kind, CREATE, account=wire.account, seconds=0.02)
    assert (wire.outcome(), wire.customers) == (first, done)
    assert (wire.outcome(), wire.customers) == (again, done_then)
    assert wire.sandbox.faults.planned() == []


def test_every_kind_is_tested_above() -> None:
    [mark] = [mark for mark in test_each_fault_is_what_it_says.pytestmark if mark.name == "parametrize"]
    assert {row[0] for row in mark.args[1]} == set(KINDS)


def test_without_a_key_nothing_is_saved(wire: Wire) -> None:
    wire.sandbox.faults.call("failed_saved", CREATE, account=wire.account)
    wire.sandbox.faults.call("done_failed_saved", CREATE, account=wire.account)
    assert [wire.outcome(None) for _ in range(3)] == ["500", "500", "200"]
    assert wire.customers == 2


def test_the_official_library_sees_the_errors_it_knows(sandbox: Sandbox, account_name: str) -> None:
    stripe = stripe_client(sandbox.stripe_url, account_name)
    for kind, error in {
        "rate_limited": library.RateLimitError,
        "locked": library.RateLimitError,
        "failed": library.APIError,
        "unavailable": library.APIError,
        "reset": library.APIConnectionError,
        "lost_response": library.APIConnectionError,
    }.items():
        sandbox.faults.call(kind, CREATE, account=account_name)  # type: ignore[arg-type]
        with pytest.raises(error):
            stripe.v1.customers.create({})
    sandbox.faults.call("rate_limited", CREATE, account=account_name)
    with pytest.raises(library.RateLimitError) as refused:
        stripe.v1.customers.create({})
    assert refused.value.http_status == 429 and '"code": "rate_limit"' in str(refused.value.http_body)
    assert {"retry-after", "stripe-should-retry", "request-id"} <= {name.lower() for name in refused.value.headers or {}}


def test_a_lost_answer_is_found_again_by_the_library_itself(sandbox: Sandbox, account_name: str) -> None:
    stripe = stripe_client(sandbox.stripe_url, account_name, max_network_retries=1)
    sandbox.faults.call("lost_response", CREATE, account=account_name)
    created = stripe.v1.customers.create({"name": "once"})
    assert [row.id for row in stripe.v1.customers.list().data] == [created.id]
    first, second = sandbox.faults.calls(CREATE, account_name)
    assert first.key == second.key and (first.status, first.fault, second.status) == (None, "lost_response", 200)


def test_faults_come_in_the_order_they_were_planned_and_address_the_nth_call(wire: Wire) -> None:
    faults = wire.sandbox.faults
    faults.call("failed", CREATE, times=2, skip=1, account=wire.account)
    faults.call("unavailable", CREATE, times=1, skip=1, account=wire.account)
    # The first call passes both; the next two belong to the fault planned first; only then does the second see a call again.
    assert [wire.outcome(None) for _ in range(5)] == ["200", "500", "500", "503", "200"]
    assert [call.status for call in faults.calls(CREATE, wire.account)] == [200, 500, 500, 503, 200]
    assert [tuple(call) for call in faults.calls(CREATE, wire.account)][1] == ("POST", "/v1/customers", None, 500)


def test_until_cleared_means_until_cleared(wire: Wire) -> None:
    fault = wire.sandbox.faults.call("unavailable", times=None, account=wire.account)
    assert {wire.outcome(None) for _ in range(5)} == {"503"}
    assert wire.sandbox.faults.clear(fault.id) and not wire.sandbox.faults.clear(fault.id)
    assert wire.outcome(None) == "200"


@pytest.mark.parametrize(
    ("match", "call", "does"),
    [
        ("POST /v1/invoices/*/finalize", "POST /v1/invoices/in_1/finalize", True),
        ("POST /v1/invoices/*/finalize", "POST /v1/invoices/in_1/pay", False),
        ("POST /v1/invoices/*", "POST /v1/invoices/in_1/finalize", False),
        ("POST /v1/invoices/**", "POST /v1/invoices/in_1/finalize", True),
        ("* /v1/customers", "GET /v1/customers", True),
        ("GET /v1/customers", "POST /v1/customers", False),
        ("POST /v1/invoices", "POST /v1/invoiceitems", False),
    ],
)
def test_a_match_is_a_method_and_a_path(match: str, call: str, does: bool) -> None:
    assert fits(match, *call.split()) is does


@pytest.mark.parametrize(
    "plan",
    [
        {"kind": "exploded"},
        {"kind": "failed", "match": "/v1/customers"},
        {"kind": "failed", "match": "FETCH /v1/customers"},
        {"kind": "failed", "times": 0},
        {"kind": "failed", "skip": -1},
        {"kind": "slow", "seconds": 10_000},
    ],
)
def test_a_plan_that_can_never_happen_is_refused(plan: dict[str, Any], http: httpx.Client) -> None:
    with pytest.raises(ValueError):
        Faults().call(**plan)
    assert http.post("/_sandbox/faults", json=plan).status_code == 400


def test_down_resets_every_call_of_the_account_and_leaves_the_others(wire: Wire, http: httpx.Client) -> None:
    wire.sandbox.faults.down(account=wire.account)
    assert [wire.outcome(None) for _ in range(3)] == ["reset"] * 3
    stripe_client(wire.sandbox.stripe_url, f"{wire.account}x").v1.customers.list()
    assert http.get("/_sandbox").status_code == 200
    wire.sandbox.faults.down(False, account=wire.account)
    assert wire.outcome(None) == "200" and wire.customers == 1


def test_a_fault_of_one_account_leaves_the_others(wire: Wire) -> None:
    wire.sandbox.faults.call("failed", times=None, account=f"sk_test_{wire.account}")
    stripe_client(wire.sandbox.stripe_url, f"{wire.account}x").v1.customers.create({})
    assert wire.outcome() == "500"


def test_a_slow_call_keeps_its_key_in_flight(account_name: str) -> None:
    with running() as sandbox:  # One that is ended here, with the slow call still under way.
        slow = Wire(sandbox, account_name)
        sandbox.faults.call("slow", CREATE, seconds=30)
        parts = urlsplit(sandbox.stripe_url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as waiting:
            body = b"name=Northwind"
            waiting.sendall(
                f"POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test_{account_name}\r\nIdempotency-Key: key\r\n"
                f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            until(lambda: any(call.fault == "slow" for call in sandbox.calls))
            assert slow.outcome() == "409"


def test_the_clock_is_off_in_everything_that_says_a_time(
    sandbox: Sandbox, stripe: StripeClient, http: httpx.Client, receiver: Receiver, account_name: str
) -> None:
    sandbox.set_webhook(receiver.url, SECRET, account_name)
    right = stripe.v1.customers.create({}).created
    receiver.wait_for(1)
    sandbox.faults.clock(-86_400)
    wrong = stripe.v1.customers.create({}).created
    _, (body, header) = receiver.wait_for(2)
    signed, created = int(header.partition(",")[0][2:]), json.loads(body)["created"]
    for moment in (wrong, signed, created):
        assert -60 <= moment - (right - 86_400) <= 60
    date = parsedate_to_datetime(http.get("/_sandbox/faults").headers["date"]).timestamp()
    assert abs(date - wrong) <= 60
    [endpoint] = [row for row in sandbox.webhooks.endpoints if row.url == receiver.url]
    http.delete(f"/_sandbox/webhooks/{endpoint.id}")


def test_scripts_plan_and_clear_over_http(wire: Wire, http: httpx.Client) -> None:
    plan = {"kind": "failed", "match": CREATE, "times": None, "account": wire.account}
    planned = http.post("/_sandbox/faults", json=plan)
    assert planned.status_code == 201 and planned.json()["times"] is None
    assert wire.outcome(None) == "500"
    [shown] = http.get("/_sandbox/faults").json()["planned"]
    assert (shown["id"], shown["done"]) == (planned.json()["id"], 1)
    [call] = http.get("/_sandbox/calls", params={"account": wire.account, "match": CREATE}).json()
    assert (call["status"], call["fault"]) == (500, "failed")
    assert http.delete(f"/_sandbox/faults/{shown['id']}").status_code == 204
    assert http.delete(f"/_sandbox/faults/{shown['id']}").status_code == 404
    http.post("/_sandbox/faults/down", json={"down": True, "account": wire.account})
    http.post("/_sandbox/faults/clock", json={"offset": 30})
    http.post(
        "/_sandbox/faults/webhooks", json={"duplicate": 1, "lose": ["invoice.paid"], "delay": [0, 1], "seed": 4, "account": wire.account}
    )
    state = http.get("/_sandbox/faults").json()
    assert (len(state["down"]), state["clock"], state["webhooks"][0]["lose"]) == (1, 30, ["invoice.paid"])
    assert http.delete("/_sandbox/faults").status_code == 204
    assert http.get("/_sandbox/faults").json() | {"past": []} == {"planned": [], "past": [], "down": [], "webhooks": [], "clock": 0}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {}),
        ("faults", {"kind": "failed", "often": 3}),
        ("faults", {"kind": "failed", "times": "3"}),
        ("faults", {"kind": "failed", "times": True}),
        ("faults/webhooks", {"delay": [3, 1]}),
        ("faults/webhooks", {"delay": 3}),
        ("faults/webhooks", {"lose": "some"}),
        ("faults/webhooks", {"lose": 2}),
        ("faults/webhooks", {"lose": [1]}),
        ("faults/webhooks", {"seed": {}}),
        ("faults/webhooks", {"duplicate": -1}),
        ("faults/clock", {"offset": "late"}),
        ("faults/clock", {"offset": 1e12}),
        ("faults/down", {"down": 1}),
        ("misbehave", {}),
    ],
)
def test_what_a_script_cannot_have_meant_is_refused(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    before = http.get("/_sandbox/faults").json()
    assert http.post(f"/_sandbox/{path}", json=body).status_code == 400
    assert http.get("/_sandbox/faults").json() == before


def test_the_page_plans_shows_and_clears(wire: Wire, http: httpx.Client) -> None:
    form = {"do": "call", "kind": "failed", "match": CREATE, "times": "2", "skip": "0", "seconds": "0,5", "account": wire.account}
    assert http.post("/_sandbox/misbehave", data=form).headers["location"] == "/_sandbox#misbehave"
    assert wire.outcome(None) == "500"
    for method in ("GET", "HEAD"):
        http.request(method, "/_sandbox")
    page = http.get("/_sandbox").text
    assert "1 of 2 done" in page and "<script" not in page
    [planned] = wire.sandbox.faults.planned()
    http.post("/_sandbox/misbehave", data={"do": "clear", "fault": str(planned.id)})
    for wish in ({"do": "down"}, {"do": "clock", "offset": "-90"}, {"do": "webhooks", "lose": "25%", "duplicate": "2", "shuffle": "on"}):
        http.post("/_sandbox/misbehave", data=wish | {"account": "" if wish["do"] == "clock" else wire.account})
    page = http.get("/_sandbox").text
    for said in ("Every API call is reset", "90 seconds behind", "2 further copies, shuffled, 25.0 % lost"):
        assert said in page
    http.post("/_sandbox/misbehave", data={"do": "clear"})
    assert "Nothing is planned" in http.get("/_sandbox").text
    assert wire.outcome(None) == "200"


def test_a_form_that_is_wrong_keeps_what_was_typed(http: httpx.Client) -> None:
    answer = http.post("/_sandbox/misbehave", data={"do": "call", "kind": "slow", "match": "<b>/v1", "times": "9"})
    assert answer.status_code == 400 and "Not planned." in answer.text and 'value="9"' in answer.text
    assert "<b>" not in answer.text and "&lt;b&gt;/v1" in answer.text
    assert http.post("/_sandbox/misbehave", data={"do": "call", "kind": "slow", "times": "often"}).status_code == 400


def test_what_a_fault_did_survives_a_restart(state: Path, account_name: str) -> None:
    with running(state=state) as first:
        wire = Wire(first, account_name)
        first.faults.call("done_failed_saved", CREATE)
        assert wire.outcome() == "500"
        first.faults.call("lost_response", CREATE)
        assert wire.outcome("other") == "closed"
        first.faults.call("failed", times=None)
    with running(state=state) as second:
        wire = Wire(second, account_name)
        assert wire.customers == 2
        assert [wire.outcome(), wire.outcome("other")] == ["500 replayed", "200 replayed"]
        assert wire.customers == 2


def test_an_invoice_whose_answers_were_lost_comes_out_right(sandbox: Sandbox, account_name: str) -> None:
    """The library's own repetitions find every answer that was lost."""
    stripe = stripe_client(sandbox.stripe_url, account_name, max_network_retries=2)
    for match in ("POST /v1/invoices", "POST /v1/invoices/*/finalize"):
        sandbox.faults.call("lost_response", match, account=account_name)
    invoice = opened(stripe, 5_000)
    assert (invoice.status, invoice.total) == ("open", 5_000)
    assert len(stripe.v1.invoices.list().data) == len(stripe.v1.invoice_items.list().data) == 1
