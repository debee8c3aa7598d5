"""Stripe and the mail server gone for a day: nothing dies, somebody can see it, and everything goes out by itself afterwards, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.factories.filled import approve, invoice_of
from tests.factories.shop import Letterbox, Shop, make_shop, services_on
from tests.sandbox.conftest import running
from tollgate import clock
from tollgate.db.database import Database
from tollgate.jobs.service import jobs_of
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate_sandbox import Sandbox

HOURS = 24


@pytest.fixture
async def stage(db: Database, settings: Settings) -> AsyncIterator[tuple[Shop, Sandbox, Letterbox]]:
    with running() as sandbox:
        used = settings.with_(
            stripe_secret_key="sk_test_outage", stripe_webhook_secret="whsec_of_the_outage", stripe_api_base=sandbox.stripe_url
        )
        letterbox = Letterbox()
        yield await make_shop(services_on(used, db, letterbox)), sandbox, letterbox


async def of_state(shop: Shop, *states: str) -> list[str]:
    async with shop.db.reading(shop.org.id) as session:
        return [job.kind for job in await jobs_of(session, shop.org.id, states)]


async def test_a_day_without_stripe_and_mail(stage: tuple[Shop, Sandbox, Letterbox]) -> None:
    shop, sandbox, letterbox = stage
    milestones = await shop.active(100_00, 200_00, 300_00)
    letterbox.down = True
    sandbox.faults.down()
    for hour in range(0, HOURS, 4):
        with clock.shifted(timedelta(hours=hour)):
            if hour % 8 == 0:
                # The office goes on working; the client opens links that came before.
                await approve(shop, milestones[hour // 8])
            await shop.work()
    invoices = [await invoice_of(shop, milestone) for milestone in milestones]
    assert [invoice.number[-4:] for invoice in invoices if invoice.number] == ["0001", "0002", "0003"], "numbers wait for nobody"
    assert [(invoice.state, invoice.stripe_step, invoice.sent_at) for invoice in invoices] == [("issued", "waiting", None)] * 3
    assert letterbox.mails == [] and list(sandbox.world.account("outage").all("invoice")) == []
    waiting = Counter(await of_state(shop, "ready"))
    assert waiting["mail.send"] >= 6 and waiting["billing.invoice_issued"] == 3, "each waits and can be seen waiting"
    assert await of_state(shop, "dead") == []

    letterbox.down = False
    sandbox.faults.down(False)
    for hour in (HOURS, HOURS + 1, HOURS + 2):
        with clock.shifted(timedelta(hours=hour)):
            await shop.work()
    invoices = [await invoice_of(shop, milestone) for milestone in milestones]
    assert [(invoice.stripe_step, invoice.sent_at is None) for invoice in invoices] == [("sent", False)] * 3
    there = [(row["number"], row["status"], row["total"]) for row in sandbox.world.account("outage").all("invoice")]
    assert sorted(there) == sorted((invoice.number, "open", invoice.payable_minor) for invoice in invoices)
    mails = Counter(str(mail["Message-ID"]) for mail in letterbox.mails)
    assert max(mails.values()) == 1 and len(mails) >= 6
    assert (await of_state(shop, "dead"), [kind for kind in await of_state(shop, "ready") if kind.startswith("mail")]) == ([], [])
    async with shop.db.reading(shop.org.id) as session:
        broken = [one for one in await invariants.run(session, shop.org.id, jobs_idle=True) if one.broken]
    assert [(one.check, one.broken) for one in broken] == []
