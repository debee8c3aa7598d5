"""What a member and the client read of an invoice whose money came or went oddly: credited, refunded in part, bounced, paid besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import unescape

import pytest
from litestar.testing import AsyncTestClient
from sqlalchemy import select

from tests.browser.client_fixture import Browser, enter
from tests.http.test_payments_api import signed_in
from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.app import create_app
from tollgate.billing.mails import LINK_LIFE
from tollgate.billing.models import Invoice, InvoiceLink
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.files.storage import LocalStorage
from tollgate.money.amount import Money
from tollgate.payments import service
from tollgate.settings import Settings
from tollgate.signoff import service as signoff

FAILED = "Your last payment did not go through; nothing was taken."


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


@pytest.fixture
async def web(world: PaidWorld) -> AsyncIterator[Browser]:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        yield await signed_in(world, client)


async def tell(world: PaidWorld) -> None:
    await world.hear(*world.events())
    await world.work()


async def record(world: PaidWorld, amount: str) -> None:
    asked = service.NewTransfer(
        client_id=world.billing.client_id, amount=Money.parse(amount, "EUR"), received_on=clock.today("Europe/Vienna")
    )
    await service.record_transfer(world.db, world.billing.org.command("finance"), asked)


async def both(world: PaidWorld, web: Browser, invoice: Invoice) -> tuple[str, str]:
    """The member's page and the client's, as text."""
    member = await web.get(f"/invoices/{invoice.id}")
    assert member.status_code == 200, member.text
    async with world.db.transaction(world.organization_id) as session:
        link = (await session.scalars(select(InvoiceLink).where(InvoiceLink.invoice_id == invoice.id))).one_or_none()
        if link is None:
            link = InvoiceLink(
                organization_id=world.organization_id,
                id=uuid7(),
                invoice_id=invoice.id,
                contact_id=world.billing.contact_id,
                created_at=clock.now(),
                expires_at=clock.now() + LINK_LIFE,
            )
            session.add(link)
            await session.flush()
        secret, ends = world.billing.settings.secret_key, link.expires_at
        token = await signoff.mint(
            session, secret, organization_id=world.organization_id, invoice_link_id=link.id, sent_by="mail", expires_at=ends
        )
    _there, client = await enter(web, f"/i/{token}")
    return unescape(member.text), unescape(client)


@pytest.mark.parametrize("by", ["card", "transfer"])
async def test_what_was_paid_of_a_credited_invoice_is_said_to_be_credit(world: PaidWorld, web: Browser, by: str) -> None:
    invoice = await world.issued("1000.00")
    if by == "card":
        await world.pay(invoice)
        await tell(world)
    else:
        await record(world, "1200.00")
    member, client = await both(world, web, invoice)
    assert "kept as" not in member and "kept as" not in client
    await world.billing.credit(invoice.id)
    await world.work()
    member, client = await both(world, web, invoice)
    assert "€1,200.00 of what was paid is kept as client credit." in member
    assert "€1,200.00 of what was paid is kept as your credit" in client
    if by == "card":
        world.sandbox.refund(str(invoice.stripe_invoice_id), 100_001)
        await tell(world)
        member, client = await both(world, web, invoice)
        assert "€199.99 of what was paid is kept as client credit." in member
        assert "€199.99 of what was paid is kept as your credit" in client and "open again" not in client
        world.sandbox.refund(str(invoice.stripe_invoice_id), 19_999)
        await tell(world)
        member, client = await both(world, web, invoice)
        assert "kept as" not in member and "kept as" not in client


async def test_a_refund_explains_why_the_invoice_is_open_again(world: PaidWorld, web: Browser) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice)
    await tell(world)
    world.sandbox.refund(str(invoice.stripe_invoice_id), 10_001)
    await tell(world)
    member, client = await both(world, web, invoice)
    assert "€100.01 of your payment was returned to you. That is why this invoice is open again." in client
    assert "Closed at Stripe" in member and "Stripe cannot reopen a paid invoice" in member
    home = unescape((await web.get("/")).text)
    assert "Money went back" in home and "€100.01 went back to the payer" in home and "Look at Stripe" not in home
    await record(world, "100.01")
    _member, client = await both(world, web, invoice)
    assert "open again" not in client and "Paid. Thank you." in client


async def test_a_payment_that_failed_is_told_until_another_comes(world: PaidWorld, web: Browser) -> None:
    invoice = await world.issued("1000.00")
    assert FAILED not in (await both(world, web, invoice))[1]
    await world.pay(invoice, "processing")
    await tell(world)
    assert FAILED not in (await both(world, web, invoice))[1]
    await world.pay(invoice, "bounce")
    await tell(world)
    assert FAILED in (await both(world, web, invoice))[1]
    await record(world, "200.00")
    assert FAILED not in (await both(world, web, invoice))[1]


async def test_a_debit_under_way_of_a_paid_invoice_is_more_than_is_owed(world: PaidWorld, web: Browser) -> None:
    invoice = await world.issued("1000.00")
    await world.pay(invoice, "processing")
    await tell(world)
    assert "nobody is reminded" in (await both(world, web, invoice))[0]
    await record(world, "1200.00")
    member, client = await both(world, web, invoice)
    assert "it is more than is owed and becomes client credit" in member and "nobody is reminded" not in member
    assert "Paid. Thank you." in client
