"""Keys, versions, idempotency, refusals: what holds for every call."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
import stripe as library
from stripe import AuthenticationError, IdempotencyError, InvalidRequestError, PermissionError, StripeClient

from tests.sandbox.conftest import draft, event_types, opened, running, stripe_client
from tollgate_sandbox import Sandbox
from tollgate_sandbox.operations import OPERATIONS
from tollgate_sandbox.parameters import members


def post(http: httpx.Client, account: str, path: str, body: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(
        path,
        content=body,
        headers={"Authorization": f"Bearer sk_test_{account}", "Content-Type": "application/x-www-form-urlencoded", **named},
    )


def test_no_key_and_wrong_keys_are_refused(sandbox: Sandbox, http: httpx.Client) -> None:
    assert http.get("/v1/account").status_code == 401
    for key in ("sk_live_abc", "pk_test_abc", "sk_test_", "nonsense"):
        with pytest.raises(AuthenticationError):
            StripeClient(key, base_addresses={"api": sandbox.stripe_url}).v1.accounts.retrieve_current()


def test_secret_and_restricted_keys_of_one_name_open_one_account(sandbox: Sandbox, stripe: StripeClient, account_name: str) -> None:
    restricted = stripe_client(sandbox.stripe_url, account_name, kind="rk")
    account = stripe.v1.accounts.retrieve_current()
    assert account.id.startswith("acct_")
    assert restricted.v1.accounts.retrieve_current().id == account.id


def test_another_accounts_objects_do_not_exist(sandbox: Sandbox, stripe: StripeClient, account_name: str) -> None:
    other = stripe_client(sandbox.stripe_url, account_name + "x")
    invoice = opened(stripe, 1_000, number="SAME")
    for attempt in (
        lambda: other.v1.invoices.retrieve(invoice.id),
        lambda: other.v1.invoices.void_invoice(invoice.id),
        lambda: other.v1.invoices.create({"customer": invoice.customer}),
    ):
        with pytest.raises(InvalidRequestError) as refusal:
            attempt()
        assert refusal.value.code == "resource_missing"
    assert other.v1.invoices.list().data == []
    assert other.v1.events.list().data == []
    assert draft(other, number="SAME").number == "SAME"
    with pytest.raises(PermissionError):
        other.v1.invoices.list(options={"stripe_account": stripe.v1.accounts.retrieve_current().id})


def test_the_version_is_echoed_and_nonsense_or_old_shapes_refused(http: httpx.Client, account_name: str) -> None:
    pinned = library.api_version
    assert post(http, account_name, "/v1/customers", "").headers["stripe-version"] == pinned
    assert (
        post(http, account_name, "/v1/customers", "", Stripe_Version="2025-09-30.clover").headers["stripe-version"] == "2025-09-30.clover"
    )
    for version in ("yesterday", "2020-08-27"):
        assert post(http, account_name, "/v1/customers", "", Stripe_Version=version).status_code == 400


def test_a_repeated_key_replays_the_first_answer_and_does_nothing(stripe: StripeClient) -> None:
    first = stripe.v1.customers.create({"name": "One"}, {"idempotency_key": "k1"})
    again = stripe.v1.customers.create({"name": "One"}, {"idempotency_key": "k1"})
    assert again.id == first.id
    assert again.last_response is not None and again.last_response.headers["idempotent-replayed"] == "true"
    assert len(stripe.v1.customers.list().data) == 1
    assert event_types(stripe) == ["customer.created"]


def test_one_key_with_other_parameters_is_refused(stripe: StripeClient) -> None:
    stripe.v1.customers.create({"name": "One"}, {"idempotency_key": "k1"})
    with pytest.raises(IdempotencyError) as refusal:
        stripe.v1.customers.create({"name": "Two"}, {"idempotency_key": "k1"})
    assert refusal.value.http_status == 400


def test_keys_of_two_accounts_are_apart(sandbox: Sandbox, stripe: StripeClient, account_name: str) -> None:
    other = stripe_client(sandbox.stripe_url, account_name + "x")
    first = stripe.v1.customers.create({"name": "One"}, {"idempotency_key": "k1"})
    assert other.v1.customers.create({"name": "Two"}, {"idempotency_key": "k1"}).id != first.id


def test_a_saved_refusal_is_replayed_but_a_wrong_parameter_is_not_saved(stripe: StripeClient) -> None:
    invoice = opened(stripe, 1_000)
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="already finalized"):
            stripe.v1.invoices.finalize_invoice(invoice.id, options={"idempotency_key": "finalize"})
    with pytest.raises(InvalidRequestError):
        stripe.v1.customers.create({"nmae": "typo"}, {"idempotency_key": "c"})  # type: ignore[typeddict-unknown-key]
    assert stripe.v1.customers.create({"name": "right"}, {"idempotency_key": "c"}).name == "right"


def test_a_twin_in_flight_is_refused_and_the_first_wins() -> None:
    with running(latency=0.5) as slow:
        statuses: list[int] = []

        def create() -> None:
            headers = {"Authorization": "Bearer sk_test_twin", "Idempotency-Key": "same"}
            statuses.append(httpx.post(f"{slow.stripe_url}/v1/customers", data={"name": "One"}, headers=headers).status_code)

        threads = [threading.Thread(target=create) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 409, 409]
        assert len(stripe_client(slow.stripe_url, "twin").v1.customers.list().data) == 1


WRONG: list[tuple[str, str, str, str | None]] = [
    ("/v1/customers", "nmae=x", "nmae", "parameter_unknown"),
    ("/v1/customers", "address[lien1]=x", "address[lien1]", "parameter_unknown"),
    ("/v1/customers", "name[first]=x", "name", None),
    ("/v1/customers", "address=x", "address", None),
    ("/v1/customers", f"name={'x' * 257}", "name", None),
    ("/v1/customers", f"description={'x' * 5001}", "description", None),
    ("/v1/customers", "email=nobody", "email", "email_invalid"),
    ("/v1/customers", "email=", "email", "parameter_invalid_empty"),
    ("/v1/customers", f"metadata[{'k' * 41}]=v", f"metadata[{'k' * 41}]", None),
    ("/v1/customers", f"metadata[k]={'v' * 501}", "metadata[k]", None),
    ("/v1/customers", "&".join(f"metadata[k{n}]=v" for n in range(51)), "metadata", None),
    ("/v1/customers", "metadata[a][b]=v", "metadata[a]", None),
    ("/v1/customers", "balance=12.5", "balance", "parameter_invalid_integer"),
    ("/v1/customers", "name=a%00b", "name", None),
    ("/v1/customers", "expand[0]=nothing", "expand", None),
    ("/v1/invoices", "currency=eur", "customer", "parameter_missing"),
    ("/v1/invoices", f"number={'x' * 27}", "number", None),
    ("/v1/invoices", "auto_advance=yes", "auto_advance", None),
    ("/v1/invoices", "collection_method=by_post", "collection_method", None),
    ("/v1/invoices", "custom_fields[0][name]=a", "custom_fields[0][value]", "parameter_missing"),
    ("/v1/invoices", "&".join(f"custom_fields[{n}][name]=a&custom_fields[{n}][value]=b" for n in range(5)), "custom_fields", None),
    ("/v1/invoices", "automatic_tax[enabled]=true", "automatic_tax[enabled]", "sandbox_unsupported_parameter"),
    ("/v1/invoices", "subscription=sub_1", "subscription", "sandbox_unsupported_parameter"),
    ("/v1/invoiceitems", "amount=1e3", "amount", "parameter_invalid_integer"),
    ("/v1/invoiceitems", "unit_amount_decimal=1.1234567890123", "unit_amount_decimal", None),
    ("/v1/invoiceitems", "price=price_1", "price", "parameter_unknown"),
    ("/v1/refunds", "amount=5", "payment_intent", None),
    ("/v1/refunds", "reason=boredom&charge=ch_1", "reason", None),
]


@pytest.mark.parametrize(("path", "body", "param", "code"), WRONG)
def test_wrong_parameters_are_refused_in_stripes_shape(
    http: httpx.Client, account_name: str, path: str, body: str, param: str, code: str | None
) -> None:
    answer = post(http, account_name, path, body)
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"], error.get("code")) == (400, "invalid_request_error", param, code), error
    assert error["message"]
    assert post(http, account_name, "/v1/customers", "").status_code == 200


@pytest.mark.parametrize("body", ["%ff%fe=1", "a", "=1", "a[=1", "a]b=1", "a[b]c=1", "metadata=1&metadata[a]=1", "[]=1", "a" * 900_000])
def test_hostile_bodies_are_refused_not_crashed_on(http: httpx.Client, account_name: str, body: str) -> None:
    assert post(http, account_name, "/v1/customers", body).status_code == 400


def test_json_bodies_large_bodies_and_unknown_addresses_are_refused(http: httpx.Client, account_name: str) -> None:
    headers = {"Authorization": f"Bearer sk_test_{account_name}"}
    assert http.post("/v1/customers", json={"name": "x"}, headers=headers).status_code == 400
    assert post(http, account_name, "/v1/customers", "name=" + "x" * 1_100_000).status_code == 413
    unknown = post(http, account_name, "/v1/subscriptions", "")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.pattern.pattern}")
def test_every_operation_obeys_a_published_type(operation: Any) -> None:
    known = members(getattr(library.params, operation.params_class))
    assert "api_key" not in known
    assert "expand" in known or operation.params_class in ("CustomerDeleteParams", "InvoiceDeleteParams", "InvoiceItemDeleteParams")


def test_metadata_merges_and_unsets(stripe: StripeClient) -> None:
    customer = stripe.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    changed = stripe.v1.customers.update(customer.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.metadata is not None and changed.metadata.to_dict() == {"b": "2", "c": "3"}
    cleared = stripe.v1.customers.update(customer.id, {"metadata": ""})
    assert cleared.metadata is not None and cleared.metadata.to_dict() == {}


def test_currencies_are_stripes(stripe: StripeClient) -> None:
    with pytest.raises(InvalidRequestError, match="Invalid currency"):
        draft(stripe, currency="xxx")
    assert opened(stripe, 500, currency="jpy").total == 500
    with pytest.raises(InvalidRequestError, match="divisible by 10"):
        draft(stripe, 12_345, currency="kwd")
    with pytest.raises(InvalidRequestError, match="must match"):
        invoice = draft(stripe)
        stripe.v1.invoice_items.create({"customer": invoice.customer, "invoice": invoice.id, "amount": 1, "currency": "usd"})
    with pytest.raises(InvalidRequestError) as refusal:
        opened(stripe, 100_000_000)
    assert refusal.value.code == "amount_too_large"


def test_a_deleted_customer_is_a_stub_and_cannot_be_billed(stripe: StripeClient) -> None:
    customer = stripe.v1.customers.create({"name": "Gone"})
    stripe.v1.customers.delete(customer.id)
    assert stripe.v1.customers.retrieve(customer.id).deleted
    with pytest.raises(InvalidRequestError, match="No such customer"):
        stripe.v1.invoices.create({"customer": customer.id})
