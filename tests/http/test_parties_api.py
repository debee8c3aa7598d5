"""`/organization`, `/clients` and contacts over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import Org, make_client, make_contact, make_organization
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.settings import Settings

HAFEN = {"legal_name": "Hafen & Söhne AG", "country": "AT", "address": {"line1": "Hauptplatz 1", "city": "Linz"}, "tax_id": "ATU87654324"}


@pytest.fixture
async def web(settings: Settings, db: Database, organization: Org) -> AsyncIterator[AsyncTestClient[Any]]:
    made = await access.create_api_key(db, organization.command(), name="Test")
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        client.headers["Authorization"] = f"Bearer {made.secret}"
        yield client


def slug(answer: Any) -> str:
    return str(answer.json()["type"]).rsplit("/", 1)[1]


def pointers(answer: Any) -> list[str]:
    return sorted(error["pointer"] for error in answer.json()["errors"])


async def test_the_organization_is_shown_and_changed_in_part(web: AsyncTestClient[Any], organization: Org) -> None:
    shown = await web.get("/api/v1/organization")
    body = shown.json()
    assert (shown.status_code, body["id"], body["default_tax"]) == (200, str(organization.id), {"category": "S", "rate_percent": "20"})
    changed = await web.patch(
        "/api/v1/organization",
        json={
            "address": {"city": "Graz"},
            "bank_account": {"iban": "AT61 1904 3002 3457 3201"},
            "number_formats": {"invoice": "R{year}/{seq:05}"},
            "default_tax": {"rate_percent": "10.5"},
            "default_payment_days": 14,
            "accent": "#AA3300",
        },
        headers={"If-Match": shown.headers["etag"]},
    )
    after = changed.json()
    assert changed.status_code == 200, changed.text
    assert after["address"] == {**body["address"], "city": "Graz"}
    assert (after["number_formats"]["invoice"], after["default_tax"]["rate_percent"], after["accent"]) == (
        "R{year}/{seq:05}",
        "10.5",
        "#aa3300",
    )
    assert (after["legal_name"], after["version"], changed.headers["etag"]) == (body["legal_name"], 2, '"2"')


async def test_a_blind_or_stale_change_is_refused(web: AsyncTestClient[Any]) -> None:
    for headers in ({}, {"If-Match": '"7"'}, {"If-Match": "*"}):
        refused = await web.patch("/api/v1/organization", json={"legal_name": "X"}, headers=headers)
        assert (refused.status_code, slug(refused)) == (412, "stale")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"bank_account": {"iban": "AT00"}, "default_tax": {"rate_percent": "1e1"}}, ["/default_tax/rate_percent"]),
        ({"bank_account": {"iban": "AT00"}, "country": "XX"}, ["/bank_account/iban", "/country"]),
        ({"address": {"street": "X"}}, ["/address/street"]),
        ({"logo": "x"}, ["/logo"]),
        ({"legal_name": None}, ["/legal_name"]),
        ({"legal_name": ""}, ["/legal_name"]),
        ({"legal_name": "x" * 501}, ["/legal_name"]),
        ({"legal_name": "a\x00"}, ["/legal_name"]),
    ],
)
async def test_what_cannot_be_used_is_named_by_its_pointer(web: AsyncTestClient[Any], body: Any, wrong: list[str]) -> None:
    refused = await web.patch("/api/v1/organization", json=body, headers={"If-Match": '"1"'})
    assert refused.status_code == 422, refused.text
    assert pointers(refused) == wrong


async def test_a_client_lives_through_the_api(web: AsyncTestClient[Any]) -> None:
    made = await web.post("/api/v1/clients", json=HAFEN)
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["currency"], body["locale"], body["archived_at"], body["warnings"]) == ("EUR", "en", None, [])
    address = f"/api/v1/clients/{body['id']}"
    warned = await web.patch(address, json={"tax_id": "ATU87654321"}, headers={"If-Match": made.headers["etag"]})
    assert [warning["pointer"] for warning in warned.json()["warnings"]] == ["/tax_id"]
    assert (await web.patch(address, json={"tax_id": ""}, headers={"If-Match": made.headers["etag"]})).status_code == 412
    archived = await web.post(f"{address}/archival", headers={"If-Match": '"2"'})
    assert archived.status_code == 200
    assert archived.json()["archived_at"] is not None
    assert (await web.get("/api/v1/clients")).json()["items"] == []
    assert len((await web.get("/api/v1/clients", params={"archived": True})).json()["items"]) == 1
    assert (await web.delete(f"{address}/archival", headers={"If-Match": '"3"'})).json()["archived_at"] is None


async def test_a_repeat_enters_one_client_and_says_so(web: AsyncTestClient[Any]) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = [await web.post("/api/v1/clients", json=HAFEN, headers=headers) for _number in range(2)]
    assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, first.json(), "true")
    assert len((await web.get("/api/v1/clients")).json()["items"]) == 1


async def test_clients_come_in_pages_by_name_and_are_found_by_part_of_it(
    web: AsyncTestClient[Any], db: Database, organization: Org
) -> None:
    for name in ("B", "A", "D", "C"):
        await make_client(db, organization, legal_name=f"{name} GmbH")
    first = (await web.get("/api/v1/clients", params={"limit": 3})).json()
    rest = (await web.get("/api/v1/clients", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [item["legal_name"][0] for item in [*first["items"], *rest["items"]]] == ["A", "B", "C", "D"]
    assert rest["next_cursor"] is None
    assert [item["legal_name"] for item in (await web.get("/api/v1/clients", params={"q": "c gm"})).json()["items"]] == ["C GmbH"]
    assert (await web.get("/api/v1/clients", params={"limit": 201})).status_code == 422
    assert (await web.get("/api/v1/clients", params={"cursor": "x"})).status_code == 422


async def test_missing_members_of_a_client_are_refused(web: AsyncTestClient[Any]) -> None:
    refused = await web.post("/api/v1/clients", json={"legal_name": "X"})
    assert refused.status_code == 422
    refused = await web.post("/api/v1/clients", json={**HAFEN, "vat": "X"})
    assert (refused.status_code, pointers(refused)) == (422, ["/vat"])
    refused = await web.post("/api/v1/clients", json={**HAFEN, "email": "no", "tax_id": "ATU1", "currency": "XXX"})
    assert (refused.status_code, pointers(refused)) == (422, ["/currency", "/email", "/tax_id"])


async def test_contacts_live_through_the_api(web: AsyncTestClient[Any], db: Database, organization: Org) -> None:
    client = await make_client(db, organization)
    base = f"/api/v1/clients/{client}/contacts"
    made = await web.post(base, json={"name": "Clara", "email": "clara@hafen.example", "is_approver": True})
    assert made.status_code == 201, made.text
    body = made.json()
    assert (body["is_approver"], body["is_billing_contact"], body["client_id"]) == (True, False, str(client))
    twice = await web.post(base, json={"name": "Clara", "email": "CLARA@hafen.example"})
    assert (twice.status_code, pointers(twice)) == (422, ["/email"])
    changed = await web.patch(f"{base}/{body['id']}", json={"is_billing_contact": True}, headers={"If-Match": '"1"'})
    assert (changed.json()["is_billing_contact"], changed.json()["name"]) == (True, "Clara")
    assert len((await web.get(base)).json()["items"]) == 1
    assert (await web.delete(f"{base}/{body['id']}", headers={"If-Match": '"2"'})).status_code == 204
    assert (await web.get(base)).json() == {"items": [], "next_cursor": None}
    assert (await web.get(f"{base}/{body['id']}")).status_code == 404


async def test_a_foreign_organizations_ids_answer_like_missing_ones(web: AsyncTestClient[Any], db: Database) -> None:
    other = await make_organization(db, legal_name="Other Ltd")
    client = await make_client(db, other)
    contact = await make_contact(db, other, client)
    headers = {"If-Match": '"1"'}
    for answer in (
        await web.get(f"/api/v1/clients/{client}"),
        await web.patch(f"/api/v1/clients/{client}", json={"legal_name": "X"}, headers=headers),
        await web.post(f"/api/v1/clients/{client}/archival", headers=headers),
        await web.get(f"/api/v1/clients/{client}/contacts"),
        await web.post(f"/api/v1/clients/{client}/contacts", json={"name": "X", "email": "x@y.example"}),
        await web.delete(f"/api/v1/clients/{client}/contacts/{contact}", headers=headers),
    ):
        assert (answer.status_code, slug(answer)) == (404, "not-found")


async def test_roles_are_kept(web: AsyncTestClient[Any], db: Database, organization: Org) -> None:
    for role, organization_status, client_status in ((Role.VIEWER, 403, 403), (Role.ACCOUNT_MANAGER, 403, 201), (Role.ADMIN, 200, 201)):
        made = await access.create_api_key(db, organization.command(), name=str(role), role=role)
        headers = {"Authorization": f"Bearer {made.secret}", "If-Match": '"1"'}
        assert (await web.get("/api/v1/clients", headers=headers)).status_code == 200
        assert (await web.post("/api/v1/clients", json=HAFEN, headers=headers)).status_code == client_status
        assert (await web.patch("/api/v1/organization", json={}, headers=headers)).status_code == organization_status


async def test_the_api_is_described(web: AsyncTestClient[Any]) -> None:
    described = (await web.get("/api/openapi.json")).json()
    operations = {operation["operationId"] for path in described["paths"].values() for operation in path.values()}
    assert {"GetOrganization", "ChangeOrganization", "CreateClient", "AddContact", "CreateMember", "RevokeApiKey"} <= operations
