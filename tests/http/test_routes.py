"""Every route that exists: guarded or deliberately public, checked for forged forms, described for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import AsyncTestClient

from tests.factories import Org
from tollgate.access.service import create_api_key
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.settings import Settings

PUBLIC = {
    "/health/live", "/health/ready", "/metrics", "/favicon.ico", "/api", "/api/{path}", "/sign-out", "/static/{digest:str}/{name:path}", "/api/docs", "/api/openapi.json", "/style",
    "/sign-in", "/brand/{organization_id:uuid}/{version:int}.css",
    "/webhooks/stripe", "/webhooks/stripe/{endpoint:str}",
}  # fmt: skip
"""Besides the client's pages, which the cookie of a link opens."""
CLIENT = ("/a/", "/i/", "/sign/", "/invoice/", "/pay/", "/brand/", "/logo/")


@pytest.fixture
def app(settings: Settings) -> Litestar:
    return create_app(settings)


def handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _model) in route.route_handler_map.items():
                if method != "OPTIONS":
                    yield route.path_format, str(method), handler


def permissions(handler: HTTPRouteHandler) -> list[Any]:
    """What the route's guards ask for; Litestar wraps a plain function into something awaitable."""
    guards = [getattr(guard, "func", guard) for guard in handler.resolve_guards()]
    return [guard.permission for guard in guards if hasattr(guard, "permission")]


async def test_every_route_asks_for_a_right_or_is_deliberately_public(app: Litestar) -> None:
    public = {path.split("{", maxsplit=1)[0] for path in PUBLIC if "{" in path}
    missing = [
        f"{method} {path}"
        for path, method, handler in handlers(app)
        if not permissions(handler)
        and path not in PUBLIC
        and not path.startswith(CLIENT)
        and not any(path.startswith(prefix) for prefix in public)
        and not handler.opt.get("signed_in")
    ]
    assert missing == []


async def test_every_form_is_checked_for_its_token(app: Litestar) -> None:
    unchecked = []
    for path, method, handler in handlers(app):
        if method in {"POST", "PUT", "PATCH", "DELETE"} and not path.startswith(("/api/", "/webhooks/")):
            guards = [getattr(guard, "__qualname__", "") for guard in handler.resolve_guards()]
            if "Csrf.guard" not in guards:
                unchecked.append(path)
    assert unchecked == []


async def test_the_description_names_every_call_once(app: Litestar) -> None:
    described = app.openapi_schema.to_schema()
    operations = [call["operationId"] for item in described["paths"].values() for call in item.values() if isinstance(call, dict)]
    assert len(operations) == len(set(operations)) > 40
    assert all(path.startswith(("/api/v1/", "/webhooks/")) for path in described["paths"])


async def test_machines_get_problems_and_people_get_pages(app: Litestar) -> None:
    async with AsyncTestClient(app) as client:
        for path, status in (("/api/v1/nothing", 404), ("/api/v1/contracts", 401)):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
            assert answer.json()["type"].rsplit("/", 1)[1] in {"not-found", "not-signed-in"}
        page = await client.get("/nothing-here")
        assert page.status_code == 404 and "text/html" in page.headers["content-type"]
        away = await client.get("/contracts", follow_redirects=False)
        assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=/contracts")


async def test_every_answer_carries_the_security_headers(app: Litestar) -> None:
    async with AsyncTestClient(app) as client:
        for path in ("/sign-in", "/nothing-here", "/api/v1/nothing", "/api/docs", "/health/live"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self'"), path
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["cache-control"] == "no-store", path


async def test_an_api_key_opens_no_page_and_a_cookie_no_call(app: Litestar) -> None:
    async with AsyncTestClient(app) as client:
        client.cookies.set("tg-session", "x" * 43)
        assert (await client.get("/api/v1/contracts")).status_code == 401
        assert (await client.get("/contracts", headers={"Authorization": "Bearer tg_x"}, follow_redirects=False)).status_code == 303


async def test_a_malformed_body_is_refused_in_our_shape(app: Litestar, settings: Settings) -> None:
    async with AsyncTestClient(app) as client:
        answer = await client.post("/webhooks/stripe", content=b"\x00{", headers={"Content-Type": "application/json"})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_filter_that_is_not_known_is_refused_instead_of_ignored(app: Litestar, db: Database, organization: Org) -> None:
    key = await create_api_key(db, organization.command(), name="test")
    async with AsyncTestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {key.secret}"
        for call in ("/api/v1/contracts?state=draft&limit=1", "/api/v1/invoices?overdue=true", "/api/v1/payments?limit=5"):
            assert (await client.get(call)).status_code == 200, call
        answer = await client.get("/api/v1/payments?state=z&from=2026-01-01&limit=5")
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/from", "/state"]
