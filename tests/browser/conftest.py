"""A real browser against the real application on loopback."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.site import Site, open_site

CHROMIUM = os.environ.get("TOLLGATE_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, PHONE = 1280, 390
OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One browser for the whole run."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """The application with a worker, on a database of this test."""
    async with open_site(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def open_page(chromium: Browser) -> AsyncIterator[OpenPage]:
    """`await open_page(width=390, script=False, scheme="dark")`: a page with a cookie jar of its own."""
    contexts = []

    async def open_one(*, width: int = WIDE, script: bool = True, scheme: str = "light", locale: str = "en-GB") -> Page:
        context = await chromium.new_context(
            viewport={"width": width, "height": 900},
            java_script_enabled=script,
            color_scheme=scheme,  # type: ignore[arg-type]
            locale=locale,
        )
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(10_000)
        return page

    yield open_one
    for context in contexts:
        await context.close()


async def overflow_of(page: Page) -> int:
    """By how many pixels the page is wider than its window; 0 is right."""
    found: int = await page.evaluate("Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)")
    return found
