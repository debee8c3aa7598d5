"""`/members` and `/api-keys` over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import Org, make_organization
from tollgate.access import service
from tollgate.access.rules import Permission, Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.settings import Settings

NEW = {"email": "vera@nordlicht.example", "name": "Vera Viewer", "role": "viewer"}


@pytest.fixture
async def web(settings: Settings) -> AsyncIterator[AsyncTestClient[Any]]:
    async with AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
async def key(db: Database, organization: Org) -> dict[str, str]:
    made = await service.create_api_key(db, organization.command(), name="Test")
    return {"Authorization": f"Bearer {made.secret}"}


async def test_a_member_is_added_changed_and_removed(web: AsyncTestClient[Any], key: dict[str, str]) -> None:
    made = await web.post("/api/v1/members", json=NEW, headers=key)
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["password"]
    assert made.headers["etag"] == '"1"'
    assert made.headers["cache-control"] == "no-store"
    address = f"/api/v1/members/{body['id']}"
    assert "password" not in (await web.get(address, headers=key)).json()
    assert (await web.patch(address, json={"role": "finance"}, headers=key)).status_code == 412
    changed = await web.patch(address, json={"role": "finance"}, headers={**key, "If-Match": '"1"'})
    assert (changed.status_code, changed.json()["role"], changed.headers["etag"]) == (200, "finance", '"2"')
    stale = await web.delete(address, headers={**key, "If-Match": '"1"'})
    assert (stale.status_code, stale.json()["type"].rsplit("/", 1)[1]) == (412, "stale")
    assert (await web.delete(address, headers={**key, "If-Match": '"2"'})).status_code == 204
    assert (await web.get(address, headers=key)).status_code == 404


async def test_a_repeat_shows_neither_password_nor_secret_again(web: AsyncTestClient[Any], key: dict[str, str]) -> None:
    for address, body, secret in (("/api/v1/members", NEW, "password"), ("/api/v1/api-keys", {"name": "Books"}, "secret")):
        headers = {**key, "Idempotency-Key": f"one {secret}"}
        first = await web.post(address, json=body, headers=headers)
        again = await web.post(address, json=body, headers=headers)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.headers["idempotency-replayed"] == "true"
        assert first.json()[secret]
        assert again.json()[secret] is None
        assert first.json()["id"] == again.json()["id"]
        other = await web.post(address, json={**body, "name": "Other"}, headers=headers)
        assert (other.status_code, other.json()["type"].rsplit("/", 1)[1]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**NEW, "email": "no"}, "/email"),
        ({**NEW, "name": " "}, "/name"),
        ({**NEW, "name": "a\u202eb"}, "/name"),
        ({**NEW, "name": "a\x00b"}, "/name"),
        ({**NEW, "role": "god"}, "/role"),
        ({**NEW, "password": "x"}, "/password"),
    ],
)
async def test_bad_members_are_refused_at_the_field(web: AsyncTestClient[Any], key: dict[str, str], body: Any, pointer: str) -> None:
    refused = await web.post("/api/v1/members", json=body, headers=key)
    assert refused.status_code == 422, refused.text
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


async def test_the_last_admin_stays(web: AsyncTestClient[Any], key: dict[str, str], organization: Org) -> None:
    headers = {**key, "If-Match": '"1"'}
    refused = await web.delete(f"/api/v1/members/{organization.admin_id}", headers=headers)
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[1]) == (409, "last-admin")


async def test_lists_come_in_pages(web: AsyncTestClient[Any], key: dict[str, str], db: Database, organization: Org) -> None:
    for number in range(3):
        await service.create_api_key(db, organization.command(), name=f"Key {number}")
    for address, total in (("/api/v1/members", 3), ("/api/v1/api-keys", 4)):
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await web.get(address, params={"limit": 2, **({"cursor": cursor} if cursor else {})}, headers=key)
            seen += [item["id"] for item in answer.json()["items"]]
            cursor = answer.json()["next_cursor"]
        assert len(seen) == len(set(seen)) == total
    assert (await web.get("/api/v1/members", params={"cursor": "nonsense"}, headers=key)).status_code == 422


async def test_a_revoked_key_is_refused_from_the_next_request_on(web: AsyncTestClient[Any], key: dict[str, str]) -> None:
    made = (await web.post("/api/v1/api-keys", json={"name": "Books", "role": "finance", "scopes": ["read"]}, headers=key)).json()
    own = {"Authorization": f"Bearer {made['secret']}"}
    assert (await web.get("/api/v1/members", headers=own)).status_code == 200
    listed = (await web.get(f"/api/v1/api-keys/{made['id']}", headers=key)).json()
    assert "secret" not in listed
    assert made["secret"].startswith(listed["prefix"])
    gone = await web.delete(f"/api/v1/api-keys/{made['id']}", headers={**key, "If-Match": '"1"'})
    assert gone.status_code == 204
    refused = await web.get("/api/v1/members", headers=own)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


async def test_scopes_and_roles_narrow_a_key(web: AsyncTestClient[Any], db: Database, organization: Org) -> None:
    narrow = await service.create_api_key(db, organization.command(), name="Reader", role=Role.ADMIN, scopes=[Permission.READ])
    headers = {"Authorization": f"Bearer {narrow.secret}"}
    assert (await web.get("/api/v1/members", headers=headers)).status_code == 200
    assert (await web.post("/api/v1/members", json=NEW, headers=headers)).status_code == 403
    assert (await web.get("/api/v1/api-keys", headers=headers)).status_code == 403


async def test_a_narrow_key_cannot_make_a_wider_one(web: AsyncTestClient[Any], db: Database, organization: Org) -> None:
    narrow = await service.create_api_key(db, organization.command(), name="Keys", role=Role.ADMIN, scopes=[Permission.ADMINISTER])
    headers = {"Authorization": f"Bearer {narrow.secret}"}
    refused = await web.post("/api/v1/api-keys", json={"name": "Wide", "role": "admin"}, headers=headers)
    assert refused.status_code == 403
    allowed = await web.post("/api/v1/api-keys", json={"name": "Same", "role": "admin", "scopes": ["admin"]}, headers=headers)
    assert allowed.status_code == 201


async def test_another_organizations_ids_are_not_found(web: AsyncTestClient[Any], db: Database, key: dict[str, str]) -> None:
    other = await make_organization(db, legal_name="Other Ltd")
    made = await service.create_api_key(db, other.command(), name="Theirs")
    for address in (f"/api/v1/members/{other.admin_id}", f"/api/v1/api-keys/{made.id}"):
        assert (await web.get(address, headers=key)).status_code == 404
        assert (await web.delete(address, headers={**key, "If-Match": '"1"'})).status_code == 404
