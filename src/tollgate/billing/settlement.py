"""What payments writes on an invoice: money that came or went back, and the gateway's facts. One verb, one place for its states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit
from tollgate.billing import queries
from tollgate.billing.models import Invoice
from tollgate.billing.queries import Locked
from tollgate.billing.rules import InvoiceState, invoice_state
from tollgate.billing.stripe_problems import StripeProblem
from tollgate.contracts import service_moves as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import Event, MilestoneFacts, Party, State
from tollgate.errors import Conflict, NotFound, _
from tollgate.mail import service as mail
from tollgate.money.amount import Money


class NothingOpen(Conflict):
    """More is to be settled than is open of the invoice; the rest of a payment is client credit (R14)."""

    slug = "nothing-open"
    title = _("This invoice does not take that much")


async def lock_invoice(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> tuple[Contract, list[Milestone], Invoice]:
    """Contract, milestones and invoice, locked in this order; lock several invoices' contracts in the order of their ids."""
    locked = await queries.lock_invoice(session, organization_id, invoice_id)
    return locked.contract, locked.milestones, locked.invoice


async def apply_payment(session: AsyncSession, invoice: Invoice, amount_minor: int) -> None:
    """Settle `amount_minor` of a locked invoice: its state, its milestones, its contract, the receipt, the audit trail.

    The caller books the payment in the same transaction. Raises `NothingOpen` beyond what is open.
    """
    open_ = queries.open_of(invoice)
    if amount_minor <= 0 or amount_minor > open_.minor:
        raise NothingOpen(_("only %(open)s is open of invoice %(number)s", open=open_, number=str(invoice.number)), open=str(open_))
    invoice.paid_minor += amount_minor
    await settle(session, invoice)


async def take_back(session: AsyncSession, invoice: Invoice, amount_minor: int) -> int:
    """Open `amount_minor` of a locked invoice again: a refund, a bounced debit, a lost dispute.

    Answers how much the invoice took: at most what is paid of it, and nothing where it is credited in full, for then what was
    paid is client credit and goes back from there. The caller books that split.
    """
    if invoice.state in {"void", "credited", "draft"}:
        return 0
    taken = min(amount_minor, invoice.paid_minor)
    invoice.paid_minor -= taken
    await settle(session, invoice)
    return taken


async def settle(session: AsyncSession, invoice: Invoice) -> None:
    """Give a locked, issued invoice the state that its amounts mean, and let milestones and contract follow."""
    before = InvoiceState(invoice.state)
    after = invoice_state(queries.facts_of(invoice))
    invoice.state = after.value
    invoice.version += 1
    await session.flush()
    _record(session, invoice, before, after)
    settled = after is InvoiceState.PAID
    locked = await queries.lock_invoice(session, invoice.organization_id, invoice.id)
    await _move_milestones(session, locked, settled=settled)
    await contracts.settle_contract(session, locked.contract)
    if settled and before is not InvoiceState.PAID and invoice.paid_minor:
        await _ask_receipt(session, locked)


async def release(session: AsyncSession, locked: Locked) -> None:
    """Free the milestones of an invoice that is void or credited in full: approved again, billing held (R12)."""
    facts = MilestoneFacts(live_invoices=0)
    for milestone in locked.milestones:
        if milestone.state in {State.INVOICED, State.PAID}:
            await contracts.move(session, locked.contract, milestone, Event.RELEASE, facts, who=Party.SYSTEM, invoice_id=locked.invoice.id)
    await contracts.settle_contract(session, locked.contract)


async def record_gateway(
    session: AsyncSession,
    invoice_id: UUID,
    *,
    stripe_invoice_id: str | None = None,
    hosted_url: str | None = None,
    step: str | None = None,
    problem: StripeProblem | Literal[""] | None = None,
) -> Invoice:
    """Write what the gateway said. Members left None stay as they are; `problem=""` clears it. Locks the invoice's row only."""
    invoice = await _lock_row(session, invoice_id)
    if stripe_invoice_id is not None:
        invoice.stripe_invoice_id = stripe_invoice_id
    if hosted_url is not None:
        invoice.stripe_hosted_url = hosted_url
    about = ("invoice", invoice.id)
    if problem == "":
        invoice.stripe_problem = invoice.stripe_problem_code = invoice.stripe_problem_facts = None
    elif problem is not None and problem.english != invoice.stripe_problem:
        invoice.stripe_problem, invoice.stripe_problem_code = problem.english, problem.code
        invoice.stripe_problem_facts = dict(problem.facts)
        audit.record(session, "invoice.stopped_at_stripe", about, contract_id=invoice.contract_id, reason=problem.english)
    if step is not None and step != invoice.stripe_step:
        invoice.stripe_step = step
        if step == "sent":
            audit.record(
                session,
                "invoice.handed_to_stripe",
                about,
                contract_id=invoice.contract_id,
                stripe_invoice_id=invoice.stripe_invoice_id or "",
                step=step,
            )
    await session.flush()
    return invoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known of an invoice's payments beside the money: on its way, disputed, declined. Facts, no state of their own."""

    pending_minor: int = 0
    disputed_on: date | None = None
    dispute_reason: str | None = None
    declined_at: datetime | None = None
    decline_code: str | None = None


async def record_signals(session: AsyncSession, invoice_id: UUID, signals: Signals) -> Invoice:
    """Write what payments found out, and what of it is news to the audit trail. Locks the invoice's row only."""
    invoice = await _lock_row(session, invoice_id)
    about, contract_id = ("invoice", invoice.id), invoice.contract_id
    if signals.pending_minor > invoice.pending_minor:
        amount = Money(signals.pending_minor, invoice.currency).decimal_string()
        audit.record(session, "invoice.payment_pending", about, contract_id=contract_id, amount=amount, currency=invoice.currency)
    if signals.declined_at is not None and signals.declined_at != invoice.declined_at:
        audit.record(session, "invoice.payment_declined", about, contract_id=contract_id, code=signals.decline_code or "")
    if signals.disputed_on is not None and invoice.disputed_on is None:
        audit.record(session, "invoice.disputed", about, contract_id=contract_id, reason=signals.dispute_reason or "")
    if signals.disputed_on is None and invoice.disputed_on is not None:
        audit.record(session, "invoice.dispute_ended", about, contract_id=contract_id)
    invoice.pending_minor = signals.pending_minor
    invoice.disputed_on, invoice.dispute_reason = signals.disputed_on, signals.dispute_reason
    invoice.declined_at, invoice.decline_code = signals.declined_at, signals.decline_code
    await session.flush()
    return invoice


async def _lock_row(session: AsyncSession, invoice_id: UUID) -> Invoice:
    organization_id: UUID = session.info["organization_id"]
    found = await session.execute(
        select(Invoice)
        .where(Invoice.organization_id == organization_id, Invoice.id == invoice_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    invoice = found.scalar_one_or_none()
    if invoice is None:
        raise NotFound
    return invoice


_BACKWARDS = {
    (InvoiceState.PAID, InvoiceState.PARTLY_PAID),
    (InvoiceState.PAID, InvoiceState.ISSUED),
    (InvoiceState.PARTLY_PAID, InvoiceState.ISSUED),
}


async def _move_milestones(session: AsyncSession, locked: Locked, *, settled: bool) -> None:
    event = Event.SETTLE if settled else Event.REVERSE
    start = State.INVOICED if settled else State.PAID
    facts = MilestoneFacts(live_invoices=1, payable_settled=settled)
    for milestone in locked.milestones:
        if milestone.state == start:
            await contracts.move(session, locked.contract, milestone, event, facts, who=Party.SYSTEM, invoice_id=locked.invoice.id)


def _record(session: AsyncSession, invoice: Invoice, before: InvoiceState, after: InvoiceState) -> None:
    about, number = ("invoice", invoice.id), str(invoice.number)
    open_ = str(queries.open_of(invoice))
    if after is InvoiceState.PAID and before is not InvoiceState.PAID:
        audit.record(session, "invoice.paid", about, contract_id=invoice.contract_id, number=number)
    elif (before, after) in _BACKWARDS:
        audit.record(session, "invoice.reopened", about, contract_id=invoice.contract_id, number=number, open=open_)
    elif after is InvoiceState.PARTLY_PAID:
        audit.record(session, "invoice.partly_paid", about, contract_id=invoice.contract_id, number=number, open=open_)


async def _ask_receipt(session: AsyncSession, locked: Locked) -> None:
    invoice = locked.invoice
    for contact in await queries.billing_contacts(session, invoice.organization_id, locked.contract):
        # The version makes a second receipt possible after a refund and a new payment.
        await mail.ask(
            session,
            invoice.organization_id,
            "billing/receipt",
            {"invoice_id": invoice.id, "paid": str(Money(invoice.paid_minor, invoice.currency))},
            once=f"receipt:{invoice.id}:{contact.id}:{invoice.version}",
            contact_id=contact.id,
            contract_id=invoice.contract_id,
        )
