"""Members at work in a real browser: a contract from nothing, its activation and the first delivery; with script and without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, WIDE, OpenPage, overflow_of
from tests.browser.site import Site, in_days

SIX = (
    ("Concept", "20"),
    ("Design system", "20"),
    ("Templates", "15"),
    ("Content", "15"),
    ("Test", "15"),
    ("Launch", "15"),
)


async def enter_client_and_terms(page: Page, value: str = "48000") -> None:
    await page.select_option("#client_id", "new")
    await page.fill("#client_legal_name", "Northwind Joinery GmbH")
    await page.fill("#client_line1", "Hauptplatz 1")
    await page.fill("#client_city", "Linz")
    await page.fill("#contact_name", "Jana Krejčí")
    await page.fill("#contact_email", "jana@northwind.example")
    await page.fill("#title", "Website relaunch")
    await page.fill("#value", value)


async def enter_rows(page: Page, rows: tuple[tuple[str, str], ...]) -> None:
    """Fill the grid as a keyboard does: Enter in the last row makes the next."""
    for place, (title, share) in enumerate(rows):
        if not await page.locator(f"#milestones-{place}-title").count():
            await page.press(f"#milestones-{place - 1}-title", "Enter")
        await page.fill(f"#milestones-{place}-title", title)
        await page.fill(f"#milestones-{place}-percent", share)
        await page.fill(f"#milestones-{place}-due_on", in_days(14 * (place + 1)).isoformat())


async def deliver_first(page: Page, tmp_path: Path) -> None:
    """From the contract page: the first milestone is delivered with one file and one link."""
    work = tmp_path / "wireframes.txt"
    work.write_text("twelve pages")
    await page.get_by_role("link", name="Concept", exact=True).click()
    await page.get_by_role("link", name="Deliver…").click()
    await page.set_input_files("#file", str(work))
    await page.fill("#links", "https://example.org/prototype")
    await page.get_by_role("button", name="Add and look").click()
    await expect(page.locator(".client-preview")).to_contain_text("wireframes.txt")
    await page.fill("#message", "Twelve pages, as agreed.")
    await page.get_by_role("button", name="Send to the client").click()
    await expect(page.locator(".notices")).to_contain_text("Delivered")
    await expect(page.locator("article.round")).to_contain_text("Twelve pages, as agreed.")
    await expect(page.locator("article.round")).to_contain_text("Waiting for the client")


async def test_a_contract_from_nothing_to_the_first_delivery(site: Site, open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page()
    await site.sign_in(page, "account_manager")
    await page.get_by_role("link", name="New contract").first.click()
    await enter_client_and_terms(page)
    await enter_rows(page, SIX)
    await expect(page.locator("[data-balance-text]")).to_have_text("allocated 100.00 %, 0.00 left")
    # The live table shows every invoice, by the calculation that issuing does.
    await expect(page.locator("#preview-table .sum-row")).to_contain_text("€57,600.00")
    await expect(page.locator("#preview-table tbody tr")).to_have_count(7)
    await page.get_by_role("button", name="Save and activate…").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Activate this contract?")
    await expect(page.locator(".will-happen")).to_contain_text("€48,000.00")
    await page.get_by_role("button", name="Activate the contract").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Website relaunch")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Active")
    await deliver_first(page, tmp_path)
    await page.goto(site.url)
    await expect(page.locator(".needs")).to_contain_text("Waiting for the client")


async def test_the_same_without_script(site: Site, open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page(script=False, width=PHONE)
    await site.sign_in(page, "account_manager")
    await page.goto(f"{site.url}/contracts/new")
    await enter_client_and_terms(page)
    for _row in range(3):
        await page.get_by_role("button", name="Add row").click()
    for place, (title, share) in enumerate(SIX):
        await page.fill(f"#milestones-{place}-title", title)
        await page.fill(f"#milestones-{place}-percent", share)
    await page.get_by_role("button", name="Preview the invoices").click()
    await expect(page.locator("#preview-table .sum-row")).to_contain_text("€57,600.00")
    await expect(page.locator("#client_legal_name")).to_have_value("Northwind Joinery GmbH")
    await page.get_by_role("button", name="Save and activate…").click()
    await page.get_by_role("button", name="Activate the contract").click()
    await deliver_first(page, tmp_path)


@pytest.mark.parametrize("script", [True, False])
async def test_a_schedule_that_does_not_sum_keeps_what_was_typed_and_names_the_difference(
    site: Site, open_page: OpenPage, script: bool
) -> None:
    page = await open_page(script=script)
    await site.sign_in(page, "account_manager")
    await page.goto(f"{site.url}/contracts/new")
    await enter_client_and_terms(page, "48,000.00")
    for place, amount in enumerate(("24,000.00", "23,999.99")):
        await page.fill(f"#milestones-{place}-title", f"Stage {place + 1}")
        await page.fill(f"#milestones-{place}-amount", amount)
    await page.get_by_role("button", name="Save and activate…").click()
    summary = page.locator(".error-summary")
    await expect(summary).to_contain_text("€0.01 less than the value of €48,000.00")
    await expect(page.locator("#milestones-error")).to_contain_text("€47,999.99")
    await expect(page.locator("#milestones-1-amount")).to_have_value("23,999.99")
    await expect(page.locator("#client_legal_name")).to_have_value("Northwind Joinery GmbH")
    await expect(page.locator("#contact_email")).to_have_value("jana@northwind.example")
    # Nothing was half-saved.
    await page.goto(f"{site.url}/contracts")
    await expect(page.locator(".empty")).to_contain_text("No contracts yet")
    await page.goto(f"{site.url}/contracts/new")
    await expect(page.locator("#client_id option")).to_have_count(2)


async def test_choosing_a_client_offers_its_approvers(site: Site, open_page: OpenPage) -> None:
    await site.client("Acme", "Ann Approver")
    await site.client("Beta", "Bea Approver")
    for script in (True, False):
        page = await open_page(script=script)
        await site.sign_in(page, "account_manager")
        await page.goto(f"{site.url}/contracts/new")
        await page.fill("#title", "Typed before")
        await page.select_option("#client_id", label="Beta")
        if not script:
            await page.get_by_role("button", name="Show its approvers").click()
        await expect(page.locator("#approver-choice")).to_contain_text("Bea Approver")
        await expect(page.locator("#approver-choice")).not_to_contain_text("Ann Approver")
        await expect(page.locator("#title")).to_have_value("Typed before")


async def test_the_copied_link_is_shown_once(site: Site, open_page: OpenPage) -> None:
    _contract, milestones = await site.contract(await site.client())
    await site.deliver(milestones[0])
    page = await open_page()
    await site.sign_in(page, "account_manager")
    await page.goto(f"{site.url}/milestones/{milestones[0]}")
    await page.locator("summary", has_text="Copy link").click()
    await page.get_by_role("button", name="Show the link").click()
    await expect(page.get_by_label("Approval link")).to_have_value(re.compile(rf"^{re.escape(site.url)}/a/"))
    await expect(page.locator(".card")).to_contain_text("asks for a code that is mailed to Jana Krejčí")
    await page.get_by_role("link", name="Done").click()
    assert "/a/" not in await page.content()


async def test_taking_a_delivery_back_says_first_what_will_happen(site: Site, open_page: OpenPage) -> None:
    _contract, milestones = await site.contract(await site.client())
    await site.deliver(milestones[0])
    page = await open_page(script=False)
    await site.sign_in(page, "account_manager")
    await page.goto(f"{site.url}/milestones/{milestones[0]}")
    await page.locator("summary", has_text="Take it back").click()
    await expect(page.locator(".confirm[open]")).to_contain_text("1 link stops working")
    await page.get_by_role("button", name="Take the delivery back").click()
    await expect(page.locator("article.round")).to_contain_text("Taken back")
    await expect(page.locator(".stepper [aria-current]")).to_contain_text("In progress")


async def test_an_invoice_is_made_void_with_its_numbers_named(site: Site, open_page: OpenPage) -> None:
    _contract, milestones = await site.contract(await site.client())
    await site.deliver(milestones[0])
    await site.approve_on_paper(milestones[0])
    await site.settle()
    page = await open_page()
    await site.sign_in(page, "finance")
    await page.goto(f"{site.url}/invoices")
    await page.get_by_role("link", name=re.compile("INV-")).click()
    await page.get_by_role("link", name="Make void…").click()
    await expect(page.locator(".will-happen")).to_contain_text("€57,600.00 will no longer be owed by Northwind Joinery GmbH")
    await page.get_by_role("button", name=re.compile("Void INV-")).click()
    await expect(page.locator("#reason-error")).to_contain_text("Say why")
    await page.fill("#reason", "wrong milestone")
    await page.get_by_role("button", name=re.compile("Void INV-")).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Void")
    await page.goto(f"{site.url}/milestones/{milestones[0]}")
    await page.locator("summary", has_text="Invoice it…").click()
    await page.get_by_role("button", name="Issue the invoice").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(re.compile("INV-.*0002"))


async def pages_of(site: Site) -> list[str]:
    """An address of every page, with something on it."""
    client_id = await site.client()
    contract, milestones = await site.contract(
        client_id, "40", "30", "30", title="A title that is long enough to need a second line on a phone"
    )
    draft, _rows = await site.contract(client_id, "50", "49.99", title="Draft", active=False)
    await site.deliver(milestones[0], name="a-very-long-file-name-without-any-space-in-it-at-all-to-break-a-line.pdf")
    await site.approve_on_paper(milestones[0])
    await site.settle()
    await site.deliver(milestones[1])
    async with site.db.reading(site.organization_id) as session:
        from tollgate.billing.service_views import InvoiceFilter, list_invoices

        invoice = (await list_invoices(session, site.organization_id, InvoiceFilter()))[0]
    one = f"/contracts/{contract}"
    return [
        "/",
        "/contracts",
        "/contracts/new",
        f"/contracts/{draft}",
        f"/contracts/{draft}/edit",
        f"/contracts/{draft}/activation",
        *(f"{one}?{query}" for query in ("view=table", "view=timeline", "view=board", "tab=invoices", "tab=files", "tab=activity")),
        "/milestones",
        *(f"/milestones/{one}" for one in milestones),
        f"/milestones/{milestones[2]}/delivery",
        f"/milestones/{milestones[1]}/recorded-approval",
        "/invoices",
        f"/invoices/{invoice.id}",
        f"/invoices/{invoice.id}/void",
        f"/invoices/{invoice.id}/credit",
    ]


async def test_no_page_is_wider_than_its_window_and_none_complains(site: Site, open_page: OpenPage) -> None:
    addresses = await pages_of(site)
    for width, scheme in ((PHONE, "light"), (WIDE, "dark")):
        page = await open_page(width=width, scheme=scheme)
        complaints: list[str] = []
        page.on("console", lambda message, kept=complaints: kept.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error, kept=complaints: kept.append(str(error)))
        await site.sign_in(page)
        for address in addresses:
            answer = await page.goto(site.url + address)
            assert answer is not None and answer.status == 200, address
            assert await overflow_of(page) == 0, f"{address} at {width}"
            await page.evaluate("document.documentElement.dir = 'rtl'")
            assert await overflow_of(page) == 0, f"{address} at {width}, right to left"
        assert complaints == []
