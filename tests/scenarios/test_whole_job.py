"""The whole job in a real browser, as a stranger does it after the README's one line: from the sign-in to the payments report."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from pypdf import PdfReader

from tests.scenarios.stage import PASSWORD, Stage, open_stage
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.db.command import Command

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
SECONDS = 30_000


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        await opened.close()


async def new_page(browser: Browser, width: int) -> Page:
    """A window of somebody who was never here."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, locale="en-GB")
    page = await context.new_page()
    page.set_default_timeout(SECONDS)
    return page


async def pdf_of(page: Page, link: str) -> str:
    """The text of the PDF behind a link of the page."""
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name=link).first.click()
    download = await waiting.value
    content = await asyncio.to_thread(Path(await download.path()).read_bytes)
    return "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(content)).pages)


async def enter_contract(page: Page, stage: Stage) -> None:
    """Client and contract by the one form, then activation."""
    await page.goto(f"{stage.url}/contracts/new")
    await page.select_option("#client_id", "new")
    for field, text in (
        ("client_legal_name", "Northwind Joinery GmbH"),
        ("client_line1", "Hauptplatz 1"),
        ("client_city", "Linz"),
        ("contact_name", "Jana Krejčí"),
        ("contact_email", "jana@northwind.example"),
        ("title", "Website relaunch"),
        ("value", "48000"),
        ("milestones-0-title", "Concept"),
        ("milestones-0-percent", "20"),
        ("milestones-1-title", "Build"),
        ("milestones-1-percent", "80"),
    ):
        await page.fill(f"#{field}", text)
    await page.get_by_role("button", name="Save and activate…").click()
    await page.get_by_role("button", name="Activate the contract").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Active")


async def deliver(page: Page, folder: Path) -> None:
    """The first milestone, with one file."""
    work = folder / "wireframes.txt"
    work.write_text("twelve pages")
    await page.get_by_role("link", name="Concept", exact=True).first.click()
    await page.get_by_role("link", name="Deliver…").first.click()
    await page.set_input_files("#file", str(work))
    await page.fill("#message", "Twelve pages, as agreed.")
    await page.get_by_role("button", name="Send to the client").click()
    await expect(page.locator("article.round")).to_contain_text("Waiting for the client")


async def open_mail(page: Page, stage: Stage, subject: str, kind: str) -> None:
    """In the catcher's own page: find the mail, open it, press its button."""
    await stage.mail("jana@northwind.example", subject)
    await page.goto(stage.sandbox.mail_url)
    await page.get_by_text(subject).first.click()
    address = page.locator(f'a[href^="{stage.url}/{kind}/"]').first
    await page.goto(str(await address.get_attribute("href")))


@pytest.mark.parametrize("width", [390, 1280])
async def test_one_milestone_billed_end_to_end(database_url: str, tmp_path: Path, browser: Browser, width: int) -> None:
    async with open_stage(database_url, tmp_path / "data") as stage:
        operator = Command.operator(stage.organization_id)
        await access.create_member(
            stage.services.db, operator, email="mara@nordlicht.example", name="Mara Brunner", role=Role.ADMIN, password=PASSWORD
        )

        # Mara signs in, agrees a contract and delivers its first milestone.
        mara = await new_page(browser, width)
        await mara.goto(f"{stage.url}/sign-in")
        await mara.fill("#email", "mara@nordlicht.example")
        await mara.fill("#password", PASSWORD)
        await mara.press("#password", "Enter")
        await mara.wait_for_url(f"{stage.url}/")
        await enter_contract(mara, stage)
        await deliver(mara, tmp_path)
        milestone = mara.url

        # Jana opens her mail, sees the amount, and approves.
        jana = await new_page(browser, width)
        await open_mail(jana, stage, "Please approve: Concept", "a")
        await expect(jana.locator(".hero-amount")).to_contain_text("€11,520.00")
        await jana.get_by_label("Your name").first.fill("Jana Krejčí")
        await jana.get_by_label("I have looked at what was delivered").check()
        await jana.get_by_role("button", name="Approve", exact=True).click()
        await jana.get_by_role("heading", name="You approved “Concept”").wait_for()

        # The numbered invoice appears by itself, on her page and on Mara's, and its PDF says the same.
        await jana.get_by_role("heading", name="Invoice INV-").wait_for()
        certificate = await pdf_of(jana, "Certificate (PDF)")
        assert "Concept" in certificate and "Jana" in certificate
        await mara.goto(f"{stage.url}/invoices")
        await mara.get_by_role("link", name=re.compile("INV-")).first.click()
        await expect(mara.get_by_role("heading", level=1)).to_contain_text("0001")
        text = await pdf_of(mara, "PDF")
        for words in ("Northwind Joinery GmbH", "9,600.00", "1,920.00", "11,520.00", "0001"):
            assert words in text, words

        # She pays on the pay page; the milestone turns paid.
        await open_mail(jana, stage, "Invoice INV-", "i")
        pay = jana.get_by_role("link", name="Pay €11,520.00")
        for _ in range(20):
            if await pay.count():
                break
            await jana.wait_for_timeout(300)
            await jana.reload()
        await pay.click()
        await jana.get_by_role("button", name=re.compile("^Pay")).first.click()
        await stage.mail("jana@northwind.example", "is paid: thank you")
        await mara.goto(milestone)
        await expect(mara.locator(".stepper [aria-current]")).to_contain_text("Paid")

        # The payments report, as the accountant gets it.
        await mara.goto(f"{stage.url}/reports/payments")
        async with mara.expect_download() as waiting:
            await mara.get_by_role("link", name=re.compile("CSV")).first.click()
        content = await asyncio.to_thread(Path(await (await waiting.value).path()).read_text, "utf-8-sig")
        (line,) = csv.DictReader(io.StringIO(content))
        assert (line["invoice"][-4:], line["amount"], line["currency"], line["method"]) == ("0001", "11520.00", "EUR", "stripe")
        await stage.sound()
