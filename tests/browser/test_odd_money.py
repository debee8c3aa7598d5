"""A refunded and a disputed invoice in a real browser: what finance sees of them, wide and on a phone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.async_api import expect
from sqlalchemy import select

from tests.browser.conftest import PHONE, WIDE, OpenPage, overflow_of
from tests.browser.site import Site
from tests.factories.filled import a_dispute, a_refund, paid, seen
from tests.scenarios.stage import until
from tollgate.billing.models import Invoice
from tollgate.payments.returns import DisputeState, RefundState

PICTURES = os.environ.get("TOLLGATE_PICTURES", "")
"""A folder for screenshots, for whoever wants to look."""


async def invoices(site: Site) -> list[Invoice]:
    """Two issued invoices, of 28,800.00 each."""
    client_id = await site.client()
    _contract_id, milestones = await site.contract(client_id, "50", "50")
    for milestone_id in milestones:
        await site.deliver(milestone_id)
        await site.approve_on_paper(milestone_id)

    async def issued() -> list[Invoice]:
        await site.settle()
        async with site.db.reading(site.organization_id) as session:
            found = list(await session.scalars(select(Invoice).where(Invoice.state == "issued").order_by(Invoice.number)))
        return found if len(found) == 2 else []

    # The site's own worker may be at it.
    return list(await until(issued))


@pytest.mark.parametrize("width", [WIDE, PHONE])
async def test_a_refund_and_a_dispute_are_explained(site: Site, open_page: OpenPage, width: int) -> None:
    refunded, disputed = await invoices(site)
    await seen(
        site.db, site.organization_id, refunded, paid(refunded, "pi_one", refunds=(a_refund(refunded, 800_00, RefundState.SUCCEEDED),))
    )
    await seen(
        site.db, site.organization_id, disputed, paid(disputed, "pi_two", more=100_00, disputes=(a_dispute(disputed, DisputeState.OPEN),))
    )
    page = await open_page(width=width, scheme="dark" if width == PHONE else "light")
    await site.sign_in(page, "finance")
    await expect(page.locator(".needs")).to_contain_text("Disputed")
    await expect(page.locator(".needs")).to_contain_text("€800.00 went back to the payer")
    await picture(page, f"home-{width}")
    await page.get_by_role("link", name=str(disputed.number)).first.click()
    await expect(page.locator("main")).to_contain_text("is disputed since")
    await expect(page.locator("main")).to_contain_text("€100.00 of €28,900.00 is more than was open: client credit")
    assert await overflow_of(page) == 0
    await picture(page, f"disputed-{width}")
    await page.goto(f"{site.url}/invoices/{refunded.id}")
    await expect(page.locator("main")).to_contain_text("Refunded at Stripe")
    await expect(page.locator("main")).to_contain_text("Partly paid")
    await expect(page.get_by_role("row", name="Card or transfer at Stripe")).to_contain_text("€28,800.00")
    await expect(page.get_by_role("row", name="Refunded at Stripe")).to_contain_text("-€800.00")
    assert await overflow_of(page) == 0
    await picture(page, f"refunded-{width}")
    await page.get_by_role("link", name="Card or transfer at Stripe").click()
    await expect(page.locator("main")).to_contain_text("Refunds and disputes")
    await expect(page.locator("main")).to_contain_text("Partly sent back")
    assert await overflow_of(page) == 0
    await picture(page, f"payment-{width}")
    await page.goto(f"{site.url}/reports/payments")
    await expect(page.locator("main")).to_contain_text("1 taken or sent back")
    assert await overflow_of(page) == 0
    await picture(page, f"report-{width}")


async def picture(page: object, name: str) -> None:
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)  # type: ignore[attr-defined]
