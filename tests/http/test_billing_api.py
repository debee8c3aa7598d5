"""Invoices, credit notes and schedules over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import make_organization
from tests.service.billing_world import World, make_world
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings

API = "/api/v1"


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> World:
    return await make_world(db, storage, settings)


@pytest.fixture
async def web(settings: Settings, world: World) -> AsyncIterator[AsyncTestClient[Any]]:
    made = await access.create_api_key(world.db, world.org.command(), name="Test")
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        client.headers["Authorization"] = f"Bearer {made.secret}"
        yield client


def slug(answer: Any) -> str:
    return str(answer.json()["type"]).rsplit("/", 1)[1]


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


async def test_an_invoice_as_json(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("1200.00")
    invoice = await world.bill(milestone_id)
    answer = await web.get(f"{API}/invoices/{invoice.id}")
    body = answer.json()
    assert answer.status_code == 200 and answer.headers["etag"] == f'"{invoice.version}"'
    assert {name: body[name]["amount"] for name in ("net", "tax", "gross", "amount_due", "retained", "payable", "paid", "open")} == {
        "net": "1200.00",
        "tax": "240.00",
        "gross": "1440.00",
        "amount_due": "1440.00",
        "retained": "0.00",
        "payable": "1440.00",
        "paid": "0.00",
        "open": "1440.00",
    }
    (line,) = body["lines"]
    assert (line["milestone_id"], line["quantity"], line["unit_price"], line["net"], line["tax"]) == (
        str(milestone_id),
        "1",
        eur("1200.00"),
        eur("1200.00"),
        eur("240.00"),
    )
    assert body["taxes"] == [{"category": "S", "rate_percent": "20", "base": eur("1200.00"), "tax": eur("240.00")}]
    assert (body["number"], body["kind"], body["state"], body["client_id"]) == (invoice.number, "milestone", "issued", str(world.client_id))
    assert set(body["stripe"]) >= {"invoice_id", "hosted_url", "step"}
    assert body["issued_on"] == str(invoice.issued_on) and body["due_on"] == str(invoice.due_on)


async def test_the_list_pages_by_cursor_and_filters(web: AsyncTestClient[Any], world: World) -> None:
    milestones = await world.contract("10.00", "20.00", "30.00")
    for milestone_id in milestones:
        await world.bill(milestone_id)
    first = (await web.get(f"{API}/invoices", params={"limit": 2})).json()
    assert [row["net"]["amount"] for row in first["items"]] == ["30.00", "20.00"]
    second = (await web.get(f"{API}/invoices", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([row["net"]["amount"] for row in second["items"]], second["next_cursor"]) == (["10.00"], None)
    assert (await web.get(f"{API}/invoices", params={"state": "paid"})).json()["items"] == []
    assert len((await web.get(f"{API}/invoices", params={"client_id": str(world.client_id), "overdue": "false"})).json()["items"]) == 3
    assert (await web.get(f"{API}/invoices", params={"client_id": str(uuid4())})).json()["items"] == []
    assert (await web.get(f"{API}/invoices", params={"state": "lost"})).status_code == 422
    assert (await web.get(f"{API}/invoices", params={"cursor": "nonsense"})).status_code == 422
    assert (await web.get(f"{API}/invoices", params={"limit": 201})).status_code == 422


async def test_the_pdf_comes_once_it_is_made(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("10.00", on_approval="review")
    await world.approve(milestone_id)
    made = await web.post(f"{API}/milestones/{milestone_id}/invoice")
    invoice_id = made.json()["id"]
    early = await web.get(f"{API}/invoices/{invoice_id}/pdf")
    assert (early.status_code, slug(early)) == (409, "being-rendered") and int(early.headers["retry-after"]) > 0
    await world.worker.run_until_idle()
    answer = await web.get(f"{API}/invoices/{invoice_id}/pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["content-disposition"] == f'attachment; filename="{made.json()["number"]}.pdf"'
    assert answer.content.startswith(b"%PDF-")
    assert (await web.get(f"{API}/invoices/{uuid4()}/pdf")).status_code == 404


async def test_invoicing_twice_is_a_conflict_and_repeating_is_not(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("10.00", on_approval="review")
    path = f"{API}/milestones/{milestone_id}/invoice"
    early = await web.post(path)
    assert (early.status_code, slug(early)) == (409, "transition-refused")
    await world.approve(milestone_id)
    made = await web.post(path, headers={"Idempotency-Key": "k1"})
    assert (made.status_code, made.json()["state"]) == (201, "issued")
    again = await web.post(path, headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()["id"], again.headers["idempotency-replayed"]) == (201, made.json()["id"], "true")
    other = await web.post(path)
    assert (other.status_code, slug(other), other.json()["invoice_id"]) == (409, "already-invoiced", made.json()["id"])
    assert len((await web.get(f"{API}/invoices")).json()["items"]) == 1


async def test_a_draft_is_issued_or_deleted(web: AsyncTestClient[Any], world: World) -> None:
    first, second = await world.contract("10.00", "20.00", on_approval="review")
    drafts = [await world.bill(first), await world.bill(second)]
    assert (await web.get(f"{API}/invoices/{drafts[0].id}")).json()["number"] is None
    issued = await web.post(f"{API}/invoices/{drafts[0].id}/issue")
    assert (issued.status_code, issued.json()["state"]) == (200, "issued")
    refused = await web.post(f"{API}/invoices/{drafts[0].id}/issue")
    assert (refused.status_code, slug(refused)) == (409, "invoice-not-a-draft")
    assert (await web.delete(f"{API}/invoices/{drafts[1].id}")).status_code == 412
    assert (await web.delete(f"{API}/invoices/{drafts[1].id}", headers={"If-Match": '"1"'})).status_code == 204
    assert (await web.get(f"{API}/invoices/{drafts[1].id}")).status_code == 404


async def test_void_and_credit(web: AsyncTestClient[Any], world: World) -> None:
    first, second = await world.contract("10.00", "20.00")
    one, two = await world.bill(first), await world.bill(second)
    assert (await web.post(f"{API}/invoices/{one.id}/void", json={"reason": " "})).json()["errors"][0]["pointer"] == "/reason"
    void = await web.post(f"{API}/invoices/{one.id}/void", json={"reason": "wrong client"})
    assert (void.status_code, void.json()["state"], void.json()["number"]) == (200, "void", one.number)
    refused = await web.post(f"{API}/invoices/{one.id}/void", json={"reason": "again"})
    assert (refused.status_code, slug(refused)) == (409, "void-refused")
    path = f"{API}/invoices/{two.id}/credit-notes"
    unknown = await web.post(path, json={"kind": "price_reduction", "reason": "late"})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/kind")
    partial = await web.post(path, json={"kind": "correction", "reason": "x", "lines": [{"line_id": str(uuid4()), "net": eur("1.00")}]})
    assert (partial.status_code, partial.json()["errors"][0]["pointer"]) == (422, "/lines")
    stray = await web.post(path, json={"kind": "correction", "reason": "x", "colour": "red"})
    assert (stray.status_code, stray.json()["errors"][0]["pointer"]) == (422, "/colour")
    made = await web.post(path, json={"kind": "correction", "reason": "wrong amount"})
    note = made.json()
    assert (made.status_code, note["payable"], note["from_open"], note["from_paid"]) == (201, eur("24.00"), eur("24.00"), eur("0.00"))
    assert (await web.get(f"{API}/credit-notes/{note['id']}")).json() == note
    credited = (await web.get(f"{API}/invoices/{two.id}")).json()
    assert (credited["state"], credited["open"], credited["credited"]) == ("credited", eur("0.00"), eur("24.00"))
    assert [item["number"] for item in credited["credit_notes"]] == [note["number"]]
    assert (await web.get(f"{API}/credit-notes/{note['id']}/pdf")).status_code == 409
    await world.worker.run_until_idle()
    assert (await web.get(f"{API}/credit-notes/{note['id']}/pdf")).content.startswith(b"%PDF-")


async def test_reopening_answers_the_milestone(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("10.00", on_approval="review")
    await world.bill(milestone_id)
    answer = await web.post(f"{API}/milestones/{milestone_id}/reopening", json={"reason": "defect"})
    assert (answer.status_code, answer.json()["state"]) == (200, "in_progress")


async def test_sending_waits_for_the_pdf(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("10.00")
    invoice = await world.bill(milestone_id)
    assert (await web.post(f"{API}/invoices/{invoice.id}/send")).status_code == 200


async def test_schedule_and_preview_are_one_calculation(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id, _other) = await world.contract("333.33", "333.36", rates=(None, "10"))
    contract_id = (await world.milestone(milestone_id)).contract_id
    shown = (await web.get(f"{API}/contracts/{contract_id}/schedule")).json()
    wanted = ["kind", "milestone_id", "milestone_net", "deposit_drawn", "retained_net", "net", "tax", "gross", "retained", "payable"]
    assert set(wanted) <= set(shown["items"][0])
    assert [item["tax"]["amount"] for item in shown["items"]] == ["66.67", "33.34"]
    body = {
        "client_id": str(world.client_id),
        "title": "Draft",
        "value": eur("666.69"),
        "milestones": [
            {"title": "Stage 0", "amount": eur("333.33")},
            {"title": "Stage 1", "amount": eur("333.36"), "tax": {"category": "S", "rate_percent": "10"}},
        ],
    }
    preview = await web.post(f"{API}/contracts/preview", json=body)
    assert preview.status_code == 200, preview.text
    for one, other in zip(shown["items"], preview.json()["items"], strict=True):
        assert {**one, "milestone_id": None} == other
    assert preview.json()["payable"] == shown["payable"]
    wrong = await web.post(f"{API}/contracts/preview", json={**body, "milestones": [{"title": "x", "amount": eur("-1.00")}]})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/milestones/0/amount")


async def test_a_foreign_organizations_ids_are_not_found(web: AsyncTestClient[Any], world: World, settings: Settings) -> None:
    (milestone_id,) = await world.contract("10.00")
    invoice = await world.bill(milestone_id)
    note = await world.credit(invoice.id)
    contract_id = (await world.milestone(milestone_id)).contract_id
    other = await make_organization(world.db)
    stranger = await access.create_api_key(world.db, other.command(), name="Other")
    headers = {"Authorization": f"Bearer {stranger.secret}"}
    gets = [
        f"/invoices/{invoice.id}",
        f"/invoices/{invoice.id}/pdf",
        f"/credit-notes/{note.id}",
        f"/credit-notes/{note.id}/pdf",
        f"/contracts/{contract_id}/schedule",
    ]
    for path in gets:
        assert (await web.get(API + path, headers=headers)).status_code == 404, path
    posts: list[tuple[str, dict[str, str] | None]] = [
        (f"/invoices/{invoice.id}/issue", None),
        (f"/invoices/{invoice.id}/send", None),
        (f"/invoices/{invoice.id}/void", {"reason": "x"}),
        (f"/invoices/{invoice.id}/credit-notes", {"kind": "correction", "reason": "x"}),
        (f"/milestones/{milestone_id}/invoice", None),
        (f"/milestones/{milestone_id}/reopening", {"reason": "x"}),
    ]
    for path, body in posts:
        assert (await web.post(API + path, json=body, headers=headers)).status_code == 404, path
    assert (await web.delete(f"{API}/invoices/{invoice.id}", headers={**headers, "If-Match": '"1"'})).status_code == 404


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ACCOUNT_MANAGER])
async def test_only_finance_bills(web: AsyncTestClient[Any], world: World, role: Role) -> None:
    (milestone_id,) = await world.contract("10.00")
    invoice = await world.bill(milestone_id)
    key = await access.create_api_key(world.db, world.org.command(), name="Small", role=role)
    headers = {"Authorization": f"Bearer {key.secret}"}
    assert (await web.get(f"{API}/invoices/{invoice.id}", headers=headers)).status_code == 200
    calls: list[tuple[str, dict[str, str] | None]] = [
        (f"/invoices/{invoice.id}/issue", None),
        (f"/invoices/{invoice.id}/send", None),
        (f"/invoices/{invoice.id}/void", {"reason": "x"}),
        (f"/invoices/{invoice.id}/credit-notes", {"kind": "correction", "reason": "x"}),
        (f"/milestones/{milestone_id}/invoice", None),
        (f"/milestones/{milestone_id}/reopening", {"reason": "x"}),
    ]
    for path, body in calls:
        assert (await web.post(API + path, json=body, headers=headers)).status_code == 403, path
    assert (await web.get(f"{API}/invoices")).json()["items"][0]["state"] == "issued"


async def test_missing_data_is_named_by_its_pointer(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("10.00", on_approval="review")
    await world.approve(milestone_id)
    organization = await web.get(f"{API}/organization")
    await web.patch(f"{API}/organization", json={"tax_id": ""}, headers={"If-Match": organization.headers["etag"]})
    refused = await web.post(f"{API}/milestones/{milestone_id}/invoice")
    assert (refused.status_code, slug(refused)) == (422, "invoice-not-issuable")
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/seller/tax_id"]


async def test_nul_and_bidi_in_a_reason_are_refused(web: AsyncTestClient[Any], world: World) -> None:
    (milestone_id,) = await world.contract("10.00")
    invoice = await world.bill(milestone_id)
    for reason in ("a\x00b", "a\u202eb"):
        answer = await web.post(f"{API}/invoices/{invoice.id}/void", json={"reason": reason})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/reason")
