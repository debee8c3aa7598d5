"""A database with something of everything that the verbs make so far: for whoever looks for what is wrong in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select

from tests.factories.shop import Letterbox, Shop
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.billing.models import Invoice, InvoiceLine
from tollgate.contracts import service as contracts
from tollgate.db.database import Database
from tollgate.money.amount import Money
from tollgate.payments import service as payments
from tollgate.payments.applying import apply
from tollgate.payments.gateway import SeenAttempt, SeenDispute, SeenInvoice, SeenPayment, SeenRefund
from tollgate.payments.returns import AttemptState, DisputeState, RefundState
from tollgate.payments.rules import Chosen, ProviderInvoice, ProviderInvoiceState, ProviderPaymentState, provider_minor
from tollgate.signoff import service as signoff


async def fill(shop: Shop, *, returns: bool = True) -> None:
    """Contracts in every state, rounds that ended every way, invoices paid, partly paid, void, credited and drafted, client credit.

    With `returns`, also refunds, disputes and attempts at the gateway.
    """
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
    if returns:
        await at_stripe(shop)
    with clock.shifted(timedelta(days=2)):
        await shop.work()


async def at_stripe(shop: Shop) -> None:
    """Payments as a gateway tells of them: refunded in part, disputed and lost, disputed and open, too much, on its way, declined."""
    milestones = await shop.active(100_00, 200_00, 300_00, 400_00)
    for milestone_id in milestones:
        await approve(shop, milestone_id)
    await shop.work()
    refunded, lost, disputed, attempted = [await invoice_of(shop, one) for one in milestones]
    at = clock.now()
    await seen(shop.db, shop.org.id, refunded, paid(refunded, "pi_refunded", refunds=(a_refund(refunded, 30_00, RefundState.SUCCEEDED),)))
    await seen(shop.db, shop.org.id, lost, paid(lost, "pi_lost", disputes=(a_dispute(lost, DisputeState.LOST),)))
    await seen(shop.db, shop.org.id, disputed, paid(disputed, "pi_disputed", more=5_00, disputes=(a_dispute(disputed, DisputeState.OPEN),)))
    attempts = tuple(
        SeenAttempt(id=f"ch_{state}", amount=attempted.payable_minor, currency="eur", state=state, at=at, code="insufficient_funds")
        for state in (AttemptState.FAILED, AttemptState.PROCESSING)
    )
    await seen(
        shop.db, shop.org.id, attempted, SeenPayment("pi_attempted", 0, "eur", ProviderPaymentState.PENDING, None, attempts=attempts)
    )


def paid(
    invoice: Invoice, payment_id: str, *, more: int = 0, refunds: tuple[SeenRefund, ...] = (), disputes: tuple[SeenDispute, ...] = ()
) -> SeenPayment:
    """A payment of a whole invoice, and a bit more."""
    amount = invoice.payable_minor + more
    state = ProviderPaymentState.SUCCEEDED
    return SeenPayment(payment_id, amount, invoice.currency.lower(), state, clock.now(), refunds=refunds, disputes=disputes)


def a_refund(invoice: Invoice, minor: int, state: RefundState) -> SeenRefund:
    """A refund of a part."""
    return SeenRefund(id=f"re_{invoice.number}", amount=minor, currency=invoice.currency.lower(), state=state, at=clock.now())


def a_dispute(invoice: Invoice, state: DisputeState) -> SeenDispute:
    """A dispute of the whole."""
    currency = invoice.currency.lower()
    return SeenDispute(
        id=f"du_{invoice.number}", amount=invoice.payable_minor, currency=currency, reason="general", state=state, at=clock.now()
    )


async def seen(db: Database, organization_id: UUID, invoice: Invoice, *payments: SeenPayment) -> None:
    """What a gateway answered about an invoice is recorded."""
    async with db.transaction(organization_id) as session:
        await apply(session, organization_id, invoice.id, answer_of(invoice, payments), payments)


def answer_of(invoice: Invoice, payments: Sequence[SeenPayment]) -> SeenInvoice:
    """The gateway's invoice behind one of ours, with these payments made."""
    came = sum(payment.amount for payment in payments if payment.state is ProviderPaymentState.SUCCEEDED)
    facts = ProviderInvoice(
        number=invoice.number,
        currency=invoice.currency.lower(),
        total=provider_minor(Money(invoice.payable_minor, invoice.currency)),
        amount_due=provider_minor(Money(invoice.payable_minor, invoice.currency)),
        amount_paid=came,
        state=ProviderInvoiceState.PAID,
        our_invoice_id=str(invoice.id),
    )
    if came < facts.total:
        facts = replace(facts, state=ProviderInvoiceState.OPEN)
    return SeenInvoice(id=f"in_{invoice.number}", facts=facts, amount_remaining=max(0, facts.total - came), hosted_url=None)


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
