"""The client's job in a real browser, with and without script, on a phone and at a desk."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page

from tests.browser.client_fixture import approval_link, invoice_address, invoice_of, mailed, run_jobs
from tests.factories import Org
from tests.service.signoff_world import World
from tollgate import clock
from tollgate.app import Services
from tollgate.cli.serving import listen, web
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings
from tollgate.signoff import service as signoff

PHONE, DESK = 390, 1280
both = pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])


@dataclass
class Client:
    """A server, a world in its database, and a browser."""

    world: World
    settings: Settings
    browser: Browser
    complaints: list[str]

    @asynccontextmanager
    async def page(self, *, script: bool = True, width: int = PHONE, scheme: str = "light") -> AsyncIterator[Page]:
        """A page of a browser that was never here before; what its console complains of is gathered."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": 844},
            java_script_enabled=script,
            color_scheme="dark" if scheme == "dark" else "light",
            base_url=self.settings.base_url,
        )
        page = await context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("request", lambda request: None if request.url.startswith(self.settings.base_url) else self.complaints.append(request.url))
        try:
            yield page
        finally:
            await context.close()


@pytest.fixture
async def client(db: Database, settings: Settings, storage: LocalStorage, organization: Org, chromium: Browser) -> AsyncIterator[Client]:
    world = await World.make(db, storage, organization)
    with listen("127.0.0.1", 0) as sock:
        here = dataclasses.replace(settings, base_url=f"http://127.0.0.1:{sock.getsockname()[1]}")
        # No worker: each test says when the jobs run.
        async with web(here, Services.of(here), sock):
            yield Client(world, here, chromium, [])


async def sign(page: Page, name: str = "Clara Klient") -> None:
    await page.get_by_label("Your name").first.fill(name)
    await page.get_by_label("I have looked at what was delivered").check()
    await page.get_by_role("button", name="Approve", exact=True).click()


async def fits(page: Page) -> bool:
    """Whether nothing sticks out sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@both
async def test_a_stranger_approves_on_a_phone_and_gets_certificate_and_invoice(client: Client, script: bool) -> None:
    address = await mailed(client.world, await client.world.delivered())
    async with client.page(script=script) as page:
        await page.goto(address)
        assert "/sign/" in page.url
        assert await page.get_by_role("heading", level=1).inner_text() == "Nordlicht Studio GmbH asks you to approve “Design”"
        # The amount can be read without scrolling.
        amount = await page.locator(".hero-amount").bounding_box()
        assert amount is not None
        assert amount["y"] + amount["height"] < 844
        await sign(page)
        await page.get_by_role("heading", name="You approved “Design”").wait_for()
        await page.get_by_text("is being prepared").wait_for()
        await run_jobs(client.world, client.settings)
        if not script:
            await page.get_by_role("link", name="Look again").click()
        # With script the page looks again by itself.
        await page.get_by_role("heading", name="Invoice INV-").wait_for(timeout=15_000)
        async with page.expect_download() as waiting:
            await page.get_by_role("link", name="Certificate (PDF)").click()
        assert (await waiting.value).suggested_filename.endswith(".pdf")
        assert await fits(page)
    assert client.complaints == []


@both
async def test_mistakes_come_back_at_their_fields_with_what_was_typed(client: Client, script: bool) -> None:
    milestone_id = await client.world.delivered()
    async with client.page(script=script) as page:
        await page.goto(await mailed(client.world, milestone_id))
        await page.get_by_label("Your name").first.fill("Clara Klient")
        await page.get_by_role("button", name="Approve", exact=True).click()
        await page.get_by_role("link", name="Tick this to approve").wait_for()
        assert await page.get_by_label("Your name").first.input_value() == "Clara Klient"
        await sign(page)
        await page.get_by_role("heading", name="You approved “Design”").wait_for()
    assert len(await client.world.sign_offs((await client.world.round(milestone_id)).id)) == 1


@both
async def test_changes_are_asked_for_with_a_reason(client: Client, script: bool) -> None:
    milestone_id = await client.world.delivered()
    async with client.page(script=script) as page:
        await page.goto(await mailed(client.world, milestone_id))
        await page.locator("summary", has_text="Request changes").click()
        await page.get_by_label("What should change?").fill("The logo is cut off.\nPlease keep some space round it.")
        await page.locator("#changes_name").fill("Clara Klient")
        await page.get_by_role("button", name="Request changes", exact=True).click()
        await page.get_by_role("heading", name="You asked for changes to “Design”").wait_for()
        assert await page.get_by_text("Please keep some space round it.").is_visible()
    assert (await client.world.milestone(milestone_id)).state == "changes_requested"


async def test_pressing_twice_with_a_nervous_finger_decides_once(client: Client) -> None:
    milestone_id = await client.world.delivered()
    async with client.page() as page:
        await page.goto(await mailed(client.world, milestone_id))
        await page.get_by_label("Your name").first.fill("Clara Klient")
        await page.get_by_label("I have looked at what was delivered").check()
        await page.get_by_role("button", name="Approve", exact=True).dblclick()
        await page.get_by_role("heading", name="You approved “Design”").wait_for()
    assert len(await client.world.sign_offs((await client.world.round(milestone_id)).id)) == 1


async def test_somebody_else_was_quicker_while_the_page_was_open(client: Client) -> None:
    milestone_id = await client.world.delivered()
    async with client.page() as clara, client.page() as carl:
        await clara.goto(await mailed(client.world, milestone_id))
        await carl.goto(await mailed(client.world, milestone_id, client.world.carl_id))
        await sign(carl, "Carl Klient")
        await carl.get_by_role("heading", name="You approved “Design”").wait_for()
        await sign(clara)
        await clara.get_by_role("heading", name="“Design” is decided already").wait_for()
        assert await clara.get_by_text("Carl Klient approved on").is_visible()


@both
async def test_each_dead_link_says_what_became_of_it(client: Client, script: bool) -> None:
    world = client.world
    expired, revoked, withdrawn = await world.delivered(), await world.delivered(), await world.delivered()
    addresses = [await mailed(world, milestone_id) for milestone_id in (expired, revoked, withdrawn)]
    late = await approval_link(world, expired)
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(type(late), (world.org.id, late.id))).expires_at = clock.now() - timedelta(minutes=1)
    await signoff.revoke_link(world.db, world.command(), (await approval_link(world, revoked)).id)
    await signoff.withdraw(world.db, world.command(), withdrawn)
    async with client.page(script=script) as page:
        for address, title in zip(
            [*addresses, "/a/never.a-token"],
            ["This link has expired", "This link was taken back", "This delivery is out of date", "This link is not valid"],
            strict=True,
        ):
            await page.goto(address)
            await page.get_by_role("heading", name=title, level=1).wait_for()
            assert await page.get_by_role("button", name="Approve", exact=True).count() == 0
        await page.goto(addresses[0])
        await page.get_by_role("button", name="Mail me a fresh link").click()
        await page.get_by_text("A fresh link is on its way to c•••@hafen.example").wait_for()


@both
async def test_a_page_without_its_cookie_sends_back_to_the_mail(client: Client, script: bool) -> None:
    address = await mailed(client.world, await client.world.delivered())
    async with client.page(script=script) as page, client.page(script=script) as stranger:
        await page.goto(address)
        await stranger.goto(page.url)
        await stranger.get_by_role("heading", name="Open the link in your mail again").wait_for()
        await page.context.clear_cookies()
        await sign(page)
        await page.get_by_role("heading", name="Please send the form once more").wait_for()
        await page.goto(address)
        await sign(page)
        await page.get_by_role("heading", name="You approved “Design”").wait_for()


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_their_width_in_light_and_dark(client: Client, width: int, scheme: str) -> None:
    world = client.world
    milestone_id = await world.delivered()
    async with client.page(width=width, scheme=scheme) as page:
        await page.goto(await mailed(world, milestone_id))
        for summary in await page.locator("summary").all():
            await summary.click()
        assert await fits(page)
        await sign(page)
        await page.get_by_role("heading", name="You approved “Design”").wait_for()
        await run_jobs(world, client.settings)
        await page.goto(await invoice_address(world, await invoice_of(world)))
        await page.get_by_role("heading", name="Invoice INV-", level=1).wait_for()
        assert await fits(page)
        # Every input, button and link of the page can be found by its name.
        assert await page.locator("main a:not([href]), main button:empty").count() == 0
