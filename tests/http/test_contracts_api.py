"""`/contracts` and `/milestones` over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import Org, make_client, make_contact, make_organization
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.http.bodies import encode_cursor
from tollgate.settings import Settings

Web = AsyncTestClient[Any]
Headers = dict[str, str]


@pytest.fixture
async def web(settings: Settings) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
async def key(db: Database, organization: Org) -> Headers:
    made = await access.create_api_key(db, organization.command(), name="Test")
    return {"Authorization": f"Bearer {made.secret}"}


@pytest.fixture
async def client_id(db: Database, organization: Org) -> UUID:
    client_id = await make_client(db, organization)
    await make_contact(db, organization, client_id)
    return client_id


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


def body_of(client_id: UUID, **changes: Any) -> dict[str, Any]:
    return {
        "client_id": str(client_id),
        "title": "Website relaunch",
        "reference": "C-2026-014",
        "value": eur("3000.00"),
        "tax": {"category": "S", "rate_percent": "20"},
        "payment_terms": {"days": 14, "from": "end_of_month"},
        "milestones": [
            {"title": "Design", "percent": "33.34", "due_on": "2026-12-24", "acceptance_criteria": ["Three pages"]},
            {"title": "Build", "amount": eur("1999.80"), "tax": {"category": "S", "rate_percent": "10"}},
        ],
        **changes,
    }


async def create(web: Web, key: Headers, client_id: UUID, **changes: Any) -> dict[str, Any]:
    made = await web.post("/api/v1/contracts", json=body_of(client_id, **changes), headers=key)
    assert made.status_code == 201, made.text
    result: dict[str, Any] = made.json()
    return result


async def activate(web: Web, key: Headers, contract_id: str) -> dict[str, Any]:
    done = await web.post(f"/api/v1/contracts/{contract_id}/activation", json={}, headers=key)
    assert done.status_code == 200, done.text
    result: dict[str, Any] = done.json()
    return result


def problem(answer: Any) -> tuple[int, str, list[str]]:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    body = answer.json()
    return answer.status_code, body["type"].rsplit("/", 1)[1], [error["pointer"] for error in body.get("errors", [])]


async def test_a_contract_reads_as_it_was_written(web: Web, key: Headers, client_id: UUID) -> None:
    made = await create(web, key, client_id)
    read = await web.get(f"/api/v1/contracts/{made['id']}", headers=key)
    body = read.json()
    assert (read.status_code, read.headers["etag"]) == (200, '"1"')
    assert body == made
    assert (body["state"], body["value"], body["payment_terms"]) == ("draft", eur("3000.00"), {"days": 14, "from": "end_of_month"})
    assert body["allocation"] == {"allocated": eur("3000.00"), "left": eur("0.00"), "percent": "100.00"}
    first, second = body["milestones"]
    assert (first["amount"], first["percent"], first["due_on"], first["round"]) == (eur("1000.20"), "33.34", "2026-12-24", 0)
    assert (second["tax"], second["state"], second["allowed_events"]) == ({"category": "S", "rate_percent": "10"}, "planned", ["cancel"])
    assert len(body["approval"]["contact_ids"]) == 1


async def test_a_repeat_with_the_key_makes_one_contract(web: Web, key: Headers, client_id: UUID) -> None:
    headers = {**key, "Idempotency-Key": "one"}
    first = await web.post("/api/v1/contracts", json=body_of(client_id), headers=headers)
    again = await web.post("/api/v1/contracts", json=body_of(client_id), headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"], again.json()["id"]) == (201, "true", first.json()["id"])
    other = await web.post("/api/v1/contracts", json=body_of(client_id, title="Other"), headers=headers)
    assert problem(other)[:2] == (422, "idempotency-key-reused")
    assert len((await web.get("/api/v1/contracts", headers=key)).json()["items"]) == 1


LATER = [
    ({"retainage": {"percent": "5"}}, "/retainage"),
    ({"deposit": {"percent": "30"}}, "/deposit"),
    ({"deemed_acceptance": {"days": 10}}, "/deemed_acceptance"),
    ({"state": "active"}, "/state"),
]
WRONG = [
    ({"title": ""}, "/title"),
    ({"title": "a\x00b"}, "/title"),
    ({"title": "a\u202eb"}, "/title"),
    ({"title": "x" * 201}, "/title"),
    ({"value": eur("3000")}, "/value"),
    ({"value": eur("-1.00")}, "/value"),
    ({"value": eur("100000000000.01")}, "/value"),
    ({"value": eur("99999999999999999.99")}, "/value"),
    ({"milestones": [{"title": "a", "amount": eur("1.00"), "due_on": "9999-12-31"}]}, "/milestones/0/due_on"),
    ({"milestones": [{"title": "a", "amount": eur("1.00"), "planned_on": "0001-01-01"}]}, "/milestones/0/planned_on"),
    ({"value": {"amount": "1.00", "currency": "USD"}}, "/currency"),
    ({"tax": {"category": "S", "rate_percent": "0"}}, "/tax/rate_percent"),
    ({"tax": {"category": "AE", "rate_percent": "0"}}, "/tax/category"),
    ({"milestones": [{"title": "a", "amount": eur("1.0")}]}, "/milestones/0/amount"),
    ({"milestones": [{"title": "a", "percent": "x"}]}, "/milestones/0/percent"),
    ({"milestones": [{"title": "a"}]}, "/milestones/0/amount"),
    ({"milestones": [{"title": "a", "amount": eur("1.00"), "acceptance_criteria": ["ok", "\x07"]}]}, "/milestones/0/acceptance_criteria/1"),
]


@pytest.mark.parametrize(("change", "pointer"), LATER + WRONG)
async def test_bad_contracts_are_refused_at_the_field(
    web: Web, key: Headers, client_id: UUID, change: dict[str, Any], pointer: str
) -> None:
    body = {**body_of(client_id), "milestones": [], **change}
    refused = await web.post("/api/v1/contracts", json=body, headers=key)
    assert (refused.status_code, pointer) == (422, pointer), refused.text
    assert problem(refused)[2] == [pointer]
    assert (await web.get("/api/v1/contracts", headers=key)).json()["items"] == []


@pytest.mark.parametrize("body", [b"\x00{}", b'{"title": "\xff"}', b"{"])
async def test_a_body_that_no_parser_reads_is_malformed(web: Web, key: Headers, body: bytes) -> None:
    refused = await web.post("/api/v1/contracts", content=body, headers={**key, "Content-Type": "application/json"})
    assert problem(refused)[:2] == (400, "malformed")


@pytest.mark.parametrize(
    ("address", "keys"),
    [
        ("contracts", ["2026-01-01T00:00:00", str(UUID(int=1))]),
        ("contracts", ["0001-01-01T00:00:00+14:00", str(UUID(int=1))]),
        ("invoices", ["9999-12-31T23:59:59-14:00", str(UUID(int=1))]),
        ("milestones", [str(UUID(int=1)), 10**30]),
        ("audit-events", [10**30]),
    ],
)
async def test_a_cursor_that_no_list_gave_out_is_refused(web: Web, key: Headers, address: str, keys: list[Any]) -> None:
    refused = await web.get(f"/api/v1/{address}", params={"cursor": encode_cursor(*keys)}, headers=key)
    assert problem(refused) == (422, "invalid", ["/cursor"])


async def test_parameters_are_named_as_they_were_sent(web: Web, key: Headers) -> None:
    assert problem(await web.get("/api/v1/contracts?state=zzz", headers=key)) == (422, "invalid", ["/state"])
    assert problem(await web.get("/api/v1/reports/payments?format=exe", headers=key)) == (422, "invalid", ["/format"])


async def test_an_etag_of_other_digits_is_none_of_ours(web: Web, key: Headers) -> None:
    address = f"/api/v1/contracts/{UUID(int=1)}"
    headers = [(name.encode(), value.encode()) for name, value in key.items()] + [(b"If-Match", b"\xb2")]
    assert problem(await web.patch(address, json={}, headers=headers))[:2] == (412, "stale")


@pytest.mark.parametrize(
    "change",
    [
        {"invoicing": {"on_approval": "collect"}},
        {"approval": {"policy": "all", "contact_ids": []}},
        {"approval": {"policy": "any_one", "required": 2}},
        {"milestones": [{"title": "a", "amount": eur("1.00"), "depends_on": []}]},
        {"milestones": [{"title": "a", "amount": eur("1.00"), "billed_before": {}}]},
        {"payment_terms": {"days": 366}},
        {"value": {"amount": "1.00", "currency": "EUR", "x": 1}},
        {"client_id": "nonsense"},
    ],
)
async def test_what_comes_later_is_not_known_yet(web: Web, key: Headers, client_id: UUID, change: dict[str, Any]) -> None:
    refused = await web.post("/api/v1/contracts", json={**body_of(client_id), **change}, headers=key)
    assert problem(refused)[:2] == (422, "invalid")


async def test_foreign_ids_are_not_found(web: Web, key: Headers, client_id: UUID, db: Database) -> None:
    made = await create(web, key, client_id)
    milestone_id = made["milestones"][0]["id"]
    other = await make_organization(db)
    foreign = {"Authorization": f"Bearer {(await access.create_api_key(db, other.command(), name='Other')).secret}", "If-Match": '"1"'}
    calls = [
        ("GET", f"/contracts/{made['id']}", None),
        ("PATCH", f"/contracts/{made['id']}", {"title": "x"}),
        ("DELETE", f"/contracts/{made['id']}", None),
        ("POST", f"/contracts/{made['id']}/activation", {}),
        ("GET", f"/milestones/{milestone_id}", None),
        ("PATCH", f"/milestones/{milestone_id}", {"planned_on": None}),
        ("POST", f"/milestones/{milestone_id}/start", None),
        ("POST", f"/milestones/{milestone_id}/cancellation", None),
        ("POST", f"/milestones/{milestone_id}/deliverables", {"kind": "note", "text": "n"}),
        ("DELETE", f"/milestones/{milestone_id}/deliverables/{milestone_id}", None),
        ("POST", f"/milestones/{milestone_id}/delivery", {}),
        ("POST", f"/milestones/{milestone_id}/withdrawal", None),
    ]
    for method, path, body in calls:
        answer = await web.request(method, f"/api/v1{path}", json=body, headers=foreign)
        assert (answer.status_code, path) == (404, path), answer.text
    assert (await web.get("/api/v1/contracts", headers=foreign)).json()["items"] == []
    assert (await web.post("/api/v1/contracts", json=body_of(client_id), headers=foreign)).status_code == 404


async def test_a_viewer_reads_and_writes_nothing(web: Web, key: Headers, client_id: UUID, db: Database, organization: Org) -> None:
    made = await create(web, key, client_id)
    viewer = await access.create_api_key(db, organization.command(), name="Viewer", role=Role.VIEWER)
    headers = {"Authorization": f"Bearer {viewer.secret}"}
    assert (await web.get(f"/api/v1/contracts/{made['id']}", headers=headers)).json()["milestones"][0]["allowed_events"] == []
    assert (await web.post("/api/v1/contracts", json=body_of(client_id), headers=headers)).status_code == 403
    assert (await web.get("/api/v1/contracts")).status_code == 401


async def test_a_draft_is_changed_under_its_etag(web: Web, key: Headers, client_id: UUID) -> None:
    made = await create(web, key, client_id)
    address = f"/api/v1/contracts/{made['id']}"
    assert problem(await web.patch(address, json={"title": "x"}, headers=key))[0] == 412
    changed = await web.patch(address, json={"title": "New", "value": eur("6000.00")}, headers={**key, "If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"], changed.json()["title"]) == (200, '"2"', "New")
    assert changed.json()["milestones"][0]["amount"] == eur("2000.40")
    assert problem(await web.patch(address, json={"title": "y"}, headers={**key, "If-Match": '"1"'}))[:2] == (412, "stale")
    whole = await web.patch(address, json={"milestones": [{"title": "All", "percent": "100"}]}, headers={**key, "If-Match": '"2"'})
    assert [item["title"] for item in whole.json()["milestones"]] == ["All"]
    assert (await web.delete(address, headers={**key, "If-Match": '"3"'})).status_code == 204
    assert (await web.get(address, headers=key)).status_code == 404


async def test_activation_names_the_difference(web: Web, key: Headers, client_id: UUID) -> None:
    made = await create(web, key, client_id, value=eur("3000.50"))
    refused = await web.post(f"/api/v1/contracts/{made['id']}/activation", headers=key)
    assert problem(refused) == (422, "contract-not-ready", ["/milestones"])
    assert "€0.33 less than the value of €3,000.50" in refused.json()["detail"]


async def test_activation_with_the_signed_agreement(web: Web, key: Headers, client_id: UUID) -> None:
    made = await create(web, key, client_id)
    address = f"/api/v1/contracts/{made['id']}/activation"
    bad = await web.post(
        address, files={"file": ("a.pdf", b"%PDF", "application/pdf")}, data={"agreed_on": "soon", "agreed_by": "C"}, headers=key
    )
    assert problem(bad)[2] == ["/agreed_on"]
    unknown = await web.post(address, json={"agreement": {"agreed_on": "2026-11-02", "agreed_by": "C", "x": 1}}, headers=key)
    assert problem(unknown)[2] == ["/agreement/x"]
    data = {"agreed_on": "2026-11-02", "agreed_by": "Clara Klient"}
    done = await web.post(address, files={"file": ("agreement.pdf", b"%PDF signed", "application/pdf")}, data=data, headers=key)
    assert done.status_code == 200, done.text
    body = done.json()
    assert (body["state"], body["agreed"]["number"], body["agreed"]["agreement_file_name"]) == ("active", 1, "agreement.pdf")
    assert len(body["agreed"]["content_sha256"]) == 64
    assert problem(await web.post(address, json={}, headers=key))[:2] == (409, "transition-refused")


async def test_a_refused_step_says_what_is_allowed(web: Web, key: Headers, client_id: UUID) -> None:
    made = await activate(web, key, (await create(web, key, client_id))["id"])
    milestone_id = made["milestones"][0]["id"]
    started = await web.post(f"/api/v1/milestones/{milestone_id}/start", headers=key)
    assert (started.status_code, started.json()["state"], started.headers["etag"]) == (200, "in_progress", '"2"')
    refused = await web.post(f"/api/v1/milestones/{milestone_id}/start", headers=key)
    assert problem(refused)[:2] == (409, "transition-refused")
    assert (refused.json()["state"], refused.json()["event"]) == ("in_progress", "start")
    assert refused.json()["allowed"] == []


async def test_deliverables_of_every_kind(web: Web, key: Headers, client_id: UUID) -> None:
    made = await activate(web, key, (await create(web, key, client_id))["id"])
    milestone_id = made["milestones"][0]["id"]
    address = f"/api/v1/milestones/{milestone_id}/deliverables"
    for send in (
        {"files": {"file": ("plan.pdf", b"%PDF", "application/pdf")}, "data": {"title": "The plan"}},
        {"json": {"kind": "link", "url": "https://staging.example"}},
        {"json": {"kind": "note", "text": "Line one\nLine two"}},
    ):
        added = await web.post(address, headers=key, **send)
        assert added.status_code == 201, added.text
    for bad, pointer in (
        ({"kind": "link", "url": "javascript:alert(1)"}, "/url"),
        ({"kind": "note", "text": ""}, "/text"),
        ({"kind": "link", "url": "https://x.example", "text": "n"}, "/text"),
        ({"kind": "film"}, "/kind"),
    ):
        assert problem(await web.post(address, json=bad, headers=key))[2] == [pointer]
    empty = await web.post(address, files={"file": ("a.pdf", b"", "application/pdf")}, headers=key)
    assert problem(empty)[2] == ["/file"]
    read = await web.get(f"/api/v1/milestones/{milestone_id}", headers=key)
    assert [item["title"] for item in read.json()["deliverables"]] == ["The plan", "https://staging.example", "Line one"]
    assert read.json()["allowed_events"] == ["start", "deliver"]
    file = await web.get(f"{address}/{read.json()['deliverables'][0]['id']}/file", headers=key)
    assert (file.status_code, file.content, file.headers["content-type"]) == (200, b"%PDF", "application/pdf")
    assert file.headers["content-disposition"].startswith("attachment")
    assert (await web.get(f"{address}/{read.json()['deliverables'][2]['id']}/file", headers=key)).status_code == 404
    gone = f"{address}/{read.json()['deliverables'][0]['id']}"
    assert (await web.delete(gone, headers=key)).status_code == 412
    assert (await web.delete(gone, headers={**key, "If-Match": read.headers["etag"]})).status_code == 204


async def test_a_file_over_the_limit_is_refused(web: Web, key: Headers, client_id: UUID) -> None:
    made = await activate(web, key, (await create(web, key, client_id))["id"])
    big = bytes(50 * 1024 * 1024 + 1)
    refused = await web.post(
        f"/api/v1/milestones/{made['milestones'][0]['id']}/deliverables", files={"file": ("big.bin", big)}, headers=key
    )
    assert problem(refused)[:2] == (413, "too-large")


async def test_planned_on_moves_and_agreed_fields_do_not(web: Web, key: Headers, client_id: UUID) -> None:
    made = await activate(web, key, (await create(web, key, client_id))["id"])
    address = f"/api/v1/milestones/{made['milestones'][0]['id']}"
    moved = await web.patch(address, json={"planned_on": "2027-01-15"}, headers={**key, "If-Match": '"1"'})
    assert (moved.status_code, moved.json()["planned_on"], moved.json()["health"]) == (200, "2027-01-15", "at_risk")
    refused = await web.patch(address, json={"due_on": "2027-01-15"}, headers={**key, "If-Match": '"2"'})
    assert problem(refused) == (409, "agreed-already", ["/due_on"])
    assert problem(await web.patch(address, json={"state": "paid"}, headers={**key, "If-Match": '"2"'}))[2] == ["/state"]


async def test_lists_filter_and_turn_their_pages(web: Web, key: Headers, client_id: UUID) -> None:
    made = [await create(web, key, client_id, title=f"Contract {number}") for number in range(5)]
    await activate(web, key, made[0]["id"])
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = (await web.get("/api/v1/contracts", params={"limit": 2, **({"cursor": cursor} if cursor else {})}, headers=key)).json()
        seen += [item["title"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert seen == [f"Contract {number}" for number in range(4, -1, -1)]
    for params, count in (
        ({"state": "active"}, 1),
        ({"q": "contract 3"}, 1),
        ({"q": "100%"}, 0),
        ({"q": "hafen"}, 5),
        ({"client_id": str(client_id)}, 5),
    ):
        assert len((await web.get("/api/v1/contracts", params=params, headers=key)).json()["items"]) == count
    milestones: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = (await web.get("/api/v1/milestones", params={"limit": 3, **({"cursor": cursor} if cursor else {})}, headers=key)).json()
        milestones += [item["id"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert len(milestones) == len(set(milestones)) == 10
    of_one = (await web.get("/api/v1/milestones", params={"contract_id": made[1]["id"], "state": "planned"}, headers=key)).json()["items"]
    assert [item["title"] for item in of_one] == ["Design", "Build"]
    for params in ({"state": "unknown"}, {"cursor": "nonsense"}, {"limit": "0"}, {"limit": "201"}, {"client_id": "x"}):
        assert (await web.get("/api/v1/contracts", params=params, headers=key)).status_code == 422, json.dumps(params)
