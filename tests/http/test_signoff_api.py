"""`/delivery`, `/withdrawal`, `/recorded-approval` and `/rounds` over HTTP. There is no call that signs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import Org, make_organization
from tests.service.signoff_world import World
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings
from tollgate.signoff import service as signoff

Web = AsyncTestClient[Any]
Headers = dict[str, str]


@pytest.fixture
async def web(settings: Settings) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


@pytest.fixture
async def key(db: Database, organization: Org) -> Headers:
    made = await access.create_api_key(db, organization.command("account_manager"), name="Test", role=Role.ACCOUNT_MANAGER)
    return {"Authorization": f"Bearer {made.secret}"}


@pytest.fixture
async def admin(db: Database, organization: Org) -> Headers:
    made = await access.create_api_key(db, organization.command(), name="Admin")
    return {"Authorization": f"Bearer {made.secret}"}


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return answer.status_code, answer.json()["type"].rsplit("/", 1)[1]


async def ready(world: World) -> str:
    milestone_id = (await world.milestones(await world.active()))[0].id
    await world.add_file(milestone_id)
    return str(milestone_id)


async def test_a_delivery_answers_the_milestone_and_its_round(web: Web, world: World, key: Headers) -> None:
    milestone_id = await ready(world)
    body = {"message": "Have a look", "contact_ids": [str(world.clara_id)]}
    done = await web.post(f"/api/v1/milestones/{milestone_id}/delivery", json=body, headers=key)
    assert done.status_code == 200, done.text
    shown = done.json()
    assert (shown["state"], shown["round"], shown["allowed_events"]) == ("delivered", 1, ["withdraw"])
    assert done.headers["etag"] == f'"{shown["version"]}"'
    read = await web.get(f"/api/v1/rounds/{shown['round_id']}", headers=key)
    round_body = read.json()
    assert (round_body["state"], round_body["number"], round_body["opens"], round_body["decisions"]) == ("open", 1, 0, [])
    assert [item["state"] for item in round_body["links"]] == ["open"]
    assert [item["name"] for item in round_body["approvers"]] == ["Clara Klient"]
    assert "token" not in read.text
    assert "/a/" not in read.text


async def test_a_repeat_delivers_once(web: Web, world: World, key: Headers) -> None:
    milestone_id = await ready(world)
    headers = {**key, "Idempotency-Key": "once"}
    address = f"/api/v1/milestones/{milestone_id}/delivery"
    first, again = [await web.post(address, json={"message": "m"}, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (200, 200, "true")
    assert again.json()["round"] == 1


@pytest.mark.parametrize("body", [{"message": "a\x00"}, {"message": "x" * 5001}, {"contact_ids": ["x"]}, {"approve": True}])
async def test_a_bad_delivery_is_refused(web: Web, world: World, key: Headers, body: dict[str, Any]) -> None:
    milestone_id = await ready(world)
    refused = await web.post(f"/api/v1/milestones/{milestone_id}/delivery", json=body, headers=key)
    assert problem(refused) == (422, "invalid")
    assert (await world.milestone(milestone_id)).state == "planned"  # type: ignore[arg-type]


async def test_withdrawing_and_its_loser(web: Web, world: World, key: Headers) -> None:
    milestone_id = await world.delivered()
    address = f"/api/v1/milestones/{milestone_id}/withdrawal"
    assert (await web.post(address, headers=key)).json()["state"] == "in_progress"
    refused = await web.post(address, headers=key)
    assert problem(refused) == (409, "transition-refused")
    assert refused.json()["allowed"] == ["deliver"]


async def test_paper_is_recorded_by_an_admin(web: Web, world: World, key: Headers, admin: Headers) -> None:
    milestone_id = await world.delivered()
    address = f"/api/v1/milestones/{milestone_id}/recorded-approval"
    paper = {"file": ("signed.pdf", b"%PDF signed", "application/pdf")}
    assert (await web.post(address, files=paper, headers=key)).status_code == 403
    missing = await web.post(address, data={"signed_name": "Clara"}, files={"contact_id": (None, str(world.clara_id))}, headers=admin)
    assert problem(missing) == (422, "invalid")
    done = await web.post(address, files=paper, data={"contact_id": str(world.clara_id), "signed_name": "Clara Klient"}, headers=admin)
    assert done.status_code == 200, done.text
    assert done.json()["state"] == "approved"
    decisions = (await web.get(f"/api/v1/rounds/{done.json()['round_id']}", headers=admin)).json()["decisions"]
    assert [(item["how"], item["signed_name"], item["contact_id"]) for item in decisions] == [
        ("recorded", "Clara Klient", str(world.clara_id))
    ]


async def test_whoever_delivered_does_not_record(web: Web, world: World, admin: Headers) -> None:
    milestone_id = await ready(world)
    delivered = await web.post(f"/api/v1/milestones/{milestone_id}/delivery", json={}, headers=admin)
    assert "record_approval" not in delivered.json()["allowed_events"]
    paper = {"file": ("signed.pdf", b"%PDF signed", "application/pdf")}
    refused = await web.post(f"/api/v1/milestones/{milestone_id}/recorded-approval", files=paper, headers=admin)
    assert problem(refused) == (409, "transition-refused")


async def test_reminders_and_fresh_links(web: Web, world: World, key: Headers) -> None:
    milestone_id = await world.delivered()
    round_id = (await world.round(milestone_id)).id
    assert (await web.post(f"/api/v1/rounds/{round_id}/reminders", headers=key)).status_code == 200
    sent = await web.post(f"/api/v1/rounds/{round_id}/links", json={"contact_id": str(world.clara_id)}, headers=key)
    assert sent.status_code == 201, sent.text
    assert "token" not in sent.text
    assert len(await world.mails("signoff/approval_reminder")) == 2
    assert len(await world.mails("signoff/approval_request")) == 3
    verified, decision = await world.opened(milestone_id)
    await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    assert problem(await web.post(f"/api/v1/rounds/{round_id}/reminders", headers=key)) == (409, "round-closed")
    shown = (await web.get(f"/api/v1/rounds/{round_id}", headers=key)).json()
    assert (shown["state"], shown["decisions"][0]["signed_name"], shown["certificate"]["pdf_sha256"]) == ("approved", "Clara Klient", None)
    waiting = await web.get(f"/api/v1/rounds/{round_id}/certificate", headers=key)
    assert problem(waiting) == (409, "being-rendered")
    assert waiting.headers["retry-after"]


async def test_foreign_rounds_are_not_found(web: Web, world: World, db: Database) -> None:
    milestone_id = await world.delivered()
    round_id = (await world.round(milestone_id)).id
    other = await make_organization(db)
    foreign = {"Authorization": f"Bearer {(await access.create_api_key(db, other.command(), name='Other')).secret}"}
    paper = {"file": ("signed.pdf", b"%PDF signed", "application/pdf")}
    for method, path, send in (
        ("GET", f"/rounds/{round_id}", {}),
        ("POST", f"/rounds/{round_id}/reminders", {}),
        ("POST", f"/rounds/{round_id}/links", {"json": {"contact_id": str(world.clara_id)}}),
        ("POST", f"/milestones/{milestone_id}/recorded-approval", {"files": paper}),
    ):
        assert ((await web.request(method, f"/api/v1{path}", headers=foreign, **send)).status_code, path) == (404, path)


@pytest.mark.parametrize("word", ["approval", "approve", "sign-off", "decision"])
async def test_there_is_no_call_that_signs(web: Web, world: World, admin: Headers, word: str) -> None:
    milestone_id = await world.delivered()
    round_id = (await world.round(milestone_id)).id
    for address in (f"/api/v1/milestones/{milestone_id}/{word}", f"/api/v1/rounds/{round_id}/{word}"):
        assert (await web.post(address, json={}, headers=admin)).status_code in {404, 405}
