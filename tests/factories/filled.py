"""A database with something of everything that the verbs make so far: for whoever looks for what is wrong in one."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select

from tests.factories.shop import Letterbox, Shop
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.billing.models import Invoice, InvoiceLine
from tollgate.contracts import service as contracts
from tollgate.money.amount import Money
from tollgate.payments import service as payments
from tollgate.payments.rules import Chosen
from tollgate.signoff import service as signoff


async def fill(shop: Shop) -> None:
    """Contracts in every state, rounds that ended every way, invoices paid, partly paid, void, credited and drafted, client credit."""
    letterbox = shop.services.transport
    assert isinstance(letterbox, Letterbox)
    paid, partly, shown, returned, withdrawn, wrong, _planned, reopened = await shop.active(
        100_00, 333_33, 250_50, 99_99, 10_00, 70_07, 500_00, 42_00, rates=[None, "10", None, "13", None, None, None, None]
    )
    (credited, credited_unpaid) = await shop.active(1_234_56, 5_01)
    await shop.active(777_77, 1_00, invoicing_on_approval="review")
    (only,) = await shop.active(60_00, price_basis="gross")
    (reviewed,) = await shop.active(88_88, invoicing_on_approval="review")
    await shop.contract([10_00, 20_00])
    for milestone_id in (paid, partly, only, credited, credited_unpaid, reviewed):
        await approve(shop, milestone_id)
        await shop.work()
    for milestone_id, share in ((paid, 100), (only, 100), (partly, 40), (credited, 100)):
        await pay(shop, await invoice_of(shop, milestone_id), share)
    for milestone_id in (credited, credited_unpaid):
        invoice = await invoice_of(shop, milestone_id)
        finance = shop.org.command("finance")
        await billing.credit_invoice(shop.db, finance, invoice.id, kind="correction", reason="wrong", settings=shop.services.settings)
    letterbox.down = True
    await approve(shop, wrong)
    await shop.work()
    await billing.void_invoice(shop.db, shop.org.command("finance"), (await invoice_of(shop, wrong)).id, "wrong")
    letterbox.down = False
    with clock.shifted(timedelta(days=1)):
        await shop.work()
    await shop.delivered(shown)
    link, decision = await shop.delivered(returned)
    refused = type(decision)(content_sha256_hex=decision.content_sha256_hex, signed_name=decision.signed_name, reason="Please mend it")
    await signoff.request_changes_by_link(shop.db, shop.approver(), link, refused)
    await shop.delivered(withdrawn)
    await signoff.withdraw(shop.db, shop.org.command("account_manager"), withdrawn)
    await shop.add_note(reopened)
    await shop.deliver(reopened)
    await shop.record(reopened)
    await billing.reopen_milestone(shop.db, shop.org.command("admin"), reopened, "too early")
    await keyed(shop)
    with clock.shifted(timedelta(days=2)):
        await shop.work()


async def keyed(shop: Shop) -> UUID:
    """One command that came with an idempotency key."""
    asked = contracts.ContractInput(client_id=shop.client_id, title="Keyed", value=Money(1_00, shop.currency))
    command = shop.org.command("account_manager", key="form-1", verb="POST /contracts", request_sha256=b"\1" * 32)
    return await contracts.create_contract(shop.db, command, asked)


async def approve(shop: Shop, milestone_id: UUID) -> None:
    """Deliver, and have the client's contact approve by the link."""
    link, decision = await shop.delivered(milestone_id)
    await signoff.approve_by_link(shop.db, shop.approver(), link, decision)


async def pay(shop: Shop, invoice: Invoice, percent: int = 100) -> UUID:
    """A transfer for one invoice; with a cent too much, which becomes client credit."""
    minor = invoice.payable_minor * percent // 100
    asked = payments.NewTransfer(
        client_id=shop.client_id,
        amount=Money(minor + 1, shop.currency),
        received_on=today(),
        reference=str(invoice.number),
        allocations=(Chosen(invoice.id, Money(minor, shop.currency)),),
    )
    return await payments.record_transfer(shop.db, shop.org.command("finance"), asked)


def today() -> date:
    """A day that has come everywhere."""
    return clock.now().date() - timedelta(days=1)


async def invoice_of(shop: Shop, milestone_id: UUID) -> Invoice:
    """The live invoice or draft of a milestone."""
    async with shop.db.reading(shop.org.id) as session:
        found = await session.scalars(
            select(Invoice)
            .join(InvoiceLine, (InvoiceLine.organization_id == Invoice.organization_id) & (InvoiceLine.invoice_id == Invoice.id))
            .where(InvoiceLine.milestone_id == milestone_id, InvoiceLine.live)
        )
        return found.one()
