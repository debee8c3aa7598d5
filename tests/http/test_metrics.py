"""`/metrics`: only with the token, bounded labels, figures that follow what happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar
from prometheus_client.parser import text_string_to_metric_families

from tests.factories import Org
from tests.factories.shop import Shop, make_shop, services_on
from tollgate.app import Services, create_app, create_figures
from tollgate.db.database import Database
from tollgate.settings import Settings

TOKEN = "a-token-for-the-figures"
Web = httpx.AsyncClient
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def visiting(app: Litestar) -> httpx.AsyncClient:
    """Somebody in the same loop, so that the database of the test serves."""
    asgi: Any = app
    return httpx.AsyncClient(transport=httpx.ASGITransport(asgi, raise_app_exceptions=False), base_url="http://127.0.0.1:8000")


@pytest.fixture
def services(settings: Settings, db: Database) -> Services:
    return services_on(settings.with_(metrics_token=TOKEN), db)


@pytest.fixture
async def web(services: Services) -> AsyncIterator[Web]:
    async with visiting(create_app(services.settings, services)) as client:
        yield client


async def figures(web: Web) -> Figures:
    answer = await web.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_there_is_no_such_page_without_the_setting(settings: Settings, db: Database) -> None:
    async with visiting(create_app(settings, services_on(settings, db))) as web:
        for header in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}"}):
            assert (await web.get("/metrics", headers=header)).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer x{TOKEN}", "Bearer \u00e4"])
async def test_it_opens_with_the_token_only(web: Web, header: str) -> None:
    answer = await web.get("/metrics", headers=httpx.Headers({"Authorization": header} if header else {}, encoding="utf-8"))
    assert answer.status_code == 401 and answer.content == b"" and "Bearer" in answer.headers["www-authenticate"]


async def test_answers_are_counted_by_route_and_never_by_address(web: Web, organization: Org) -> None:
    for path in ("/a/secret-token-1", "/a/secret-token-2", "/nothing/here/1", "/nothing/here/2", f"/contracts/{organization.id}"):
        await web.get(path)
    await web.request("BREW", "/pot")
    found = await figures(web)
    counted = {labels for name, labels in found if name == "tollgate_http_requests_total"}
    routes = {dict(labels)["route"] for labels in counted}
    assert not any("secret" in route or str(organization.id) in route or "nothing" in route for route in routes), routes
    count = Counter[str]()
    for labels in counted:
        count[dict(labels)["route"]] += int(found["tollgate_http_requests_total", labels])
    assert count["unmatched"] == 3 and sum(value for route, value in count.items() if route.startswith("/a/")) == 2
    assert {dict(labels)["method"] for labels in counted} == {"GET", "other"}
    timed = [value for (name, labels), value in found.items() if name == "tollgate_http_request_seconds_count"]
    assert sum(timed) >= 3


async def test_jobs_are_counted_as_they_wait_and_as_they_end(web: Web, services: Services) -> None:
    shop: Shop = await make_shop(services)
    (milestone,) = await shop.active(100_00)
    await shop.add_note(milestone)
    await shop.deliver(milestone)
    before = await figures(web)
    assert before["tollgate_jobs", (("state", "ready"),)] >= 1 and before["tollgate_jobs", (("state", "dead"),)] == 0
    assert before["tollgate_jobs_due", (("kind", "mail.send"),)] >= 1
    assert before["tollgate_oldest_due_job_seconds", ()] >= 0
    shop.services.transport.down = True  # type: ignore[attr-defined]
    await shop.work()
    shop.services.transport.down = False  # type: ignore[attr-defined]
    down = await figures(web)
    assert down["tollgate_job_attempts_total", (("kind", "mail.send"), ("outcome", "outage"))] >= 1
    assert down["tollgate_database_up", ()] == 1 and down["tollgate_outbox_held", ()] == 0


async def test_an_outage_of_the_database_is_a_figure(settings: Settings) -> None:
    nowhere = Database("postgresql+asyncpg://tollgate_app@127.0.0.1:9/none")
    services = services_on(settings.with_(metrics_token=TOKEN), nowhere)
    async with visiting(create_figures(services.settings, services)) as web:
        found = await figures(web)
        assert found["tollgate_database_up", ()] == 0
        assert not any(name == "tollgate_jobs" for name, _labels in found)
        assert (await web.get("/health/live")).status_code == 200
        assert (await web.get("/elsewhere")).headers["content-type"].startswith("application/problem+json")


async def test_two_applications_count_for_themselves(settings: Settings, db: Database) -> None:
    first, second = (services_on(settings.with_(metrics_token=TOKEN), db) for _ in range(2))
    async with visiting(create_app(first.settings, first)) as one, visiting(create_app(second.settings, second)) as other:
        await one.get("/sign-in")
        route = (("method", "GET"), ("route", "/sign-in"), ("status", "200"))
        assert (await figures(one))["tollgate_http_requests_total", route] == 1
        assert ("tollgate_http_requests_total", route) not in await figures(other)
