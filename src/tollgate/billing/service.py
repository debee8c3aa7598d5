"""The verbs of billing. Each locks contract, milestones and invoice in this order, and commits once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.billing import queries
from tollgate.billing.models import Invoice, InvoiceLine, InvoiceTax
from tollgate.billing.service_credit import NotCreditable, credit_invoice, void_invoice
from tollgate.billing.service_issue import AlreadyInvoiced, NotIssuable, bill_approved, draft, issue, lock_approved
from tollgate.billing.service_schedule import Schedule, ScheduleItem, preview, schedule
from tollgate.contracts import service_moves as contracts
from tollgate.contracts.models import Contract
from tollgate.contracts.rules import Event, MilestoneFacts, Role, State, TransitionRefused, possible_events, require
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.documents import service as documents
from tollgate.errors import Conflict, NotFound, Stale, _
from tollgate.mail import service as mail
from tollgate.settings import Settings
from tollgate.signoff import service as signoff

__all__ = [
    "AlreadyInvoiced",
    "NotADraft",
    "NotCreditable",
    "NotIssuable",
    "NotSendable",
    "Schedule",
    "ScheduleItem",
    "bill_approved",
    "credit_invoice",
    "delete_draft",
    "invoice_milestone",
    "issue_invoice",
    "preview",
    "reopen_milestone",
    "request_invoice_link",
    "retry_blocked",
    "schedule",
    "send_invoice",
    "void_invoice",
]

LINK_REQUEST_MINUTES = 10
"""A pay page mails at most one fresh link per contact in this time, however often it is asked."""


class NotADraft(Conflict):
    """An issued invoice is final: void or credit it."""

    slug = "invoice-not-a-draft"
    title = _("This invoice is issued already")


class NotSendable(Conflict):
    """Only what is issued and still stands is mailed, and only to somebody."""

    slug = "invoice-not-sendable"
    title = _("This invoice cannot be sent")


async def invoice_milestone(db: Database, command: Command, milestone_id: UUID, settings: Settings) -> UUID:
    """Invoice an approved milestone: issues its draft where there is one. Answers the invoice's id.

    For contracts that ask for review, for billing that is held or blocked, and for whoever does not wait for the job. Raises
    `AlreadyInvoiced` naming who was quicker, `NotIssuable`, or `TransitionRefused` unless the milestone is approved.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        approved = await lock_approved(session, organization_id, milestone_id)
        if approved is None:
            await _refuse_unapproved(session, command, milestone_id)
            raise NotFound
        invoice = await queries.live_invoice(session, approved.milestone)
        if invoice is None:
            invoice = await draft(session, approved)
        locked = await queries.lock_invoice(session, organization_id, invoice.id)
        await issue(session, locked, settings, who=Role(command.role))
        return answer(session, invoice.id, 201)


async def issue_invoice(db: Database, command: Command, invoice_id: UUID, settings: Settings) -> UUID:
    """Give a draft its number. Raises `NotADraft` naming who was quicker, `NotIssuable` or `TransitionRefused`."""
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        locked = await queries.lock_invoice(session, organization_id, invoice_id)
        await _require_draft(session, locked.invoice)
        await issue(session, locked, settings, who=Role(command.role))
        return answer(session, invoice_id, 200)


async def delete_draft(db: Database, command: Command, invoice_id: UUID, version: int | None = None) -> UUID:
    """Throw a draft away; its milestone stays approved and unbilled. Raises `NotADraft`, or `Stale` for another `version`."""
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        locked = await queries.lock_invoice(session, organization_id, invoice_id)
        await _require_draft(session, locked.invoice)
        if version is not None and version != locked.invoice.version:
            raise Stale(version=locked.invoice.version)
        await _delete(session, locked.invoice)
        return answer(session, invoice_id, 204)


async def send_invoice(db: Database, command: Command, invoice_id: UUID) -> UUID:
    """Mail the invoice to the client's billing contacts, again where it was sent before.

    Raises `NotSendable` for what does not stand or when nobody is there to get it, `BeingRendered` before its PDF is made.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        locked = await queries.lock_invoice(session, organization_id, invoice_id)
        if locked.invoice.state not in queries.LIVE_STATES:
            raise NotSendable(_("an invoice that is %(state)s is not sent", state=locked.invoice.state), state=locked.invoice.state)
        document = await documents.info(session, organization_id, "invoice", invoice_id)
        if document is None or document.pdf_sha256_hex is None:
            raise documents.BeingRendered
        asked = await ask_mails(session, locked.invoice, locked.contract, "billing/invoice", again=uuid7().hex)
        if not asked:
            raise NotSendable(_("the client has neither a billing contact nor an approver; add one first"))
        return answer(session, invoice_id, 200)


async def request_invoice_link(db: Database, organization_id: UUID, invoice_id: UUID) -> bool:
    """Mail a fresh link to the billing contacts: what the pay page behind a PDF's link does, for anybody (R10).

    Answers whether there is such an invoice; the page says the same either way. Repeats within ten minutes mail nothing more.
    """
    async with db.transaction(organization_id, Command.system(organization_id)) as session:
        try:
            locked = await queries.lock_invoice(session, organization_id, invoice_id)
        except NotFound:
            return False
        if locked.invoice.state not in queries.LIVE_STATES:
            return False
        window = int(clock.now().timestamp()) // (60 * LINK_REQUEST_MINUTES)
        await ask_mails(session, locked.invoice, locked.contract, "billing/invoice_link", again=str(window))
        return True


async def reopen_milestone(db: Database, command: Command, milestone_id: UUID, reason: str) -> UUID:
    """Take an approval back while nothing is billed; a draft of it goes. The client is told why. Answers the milestone's id."""
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        _contract, milestone = await contracts.lock_milestone(session, organization_id, milestone_id)
        invoice = await queries.live_invoice(session, milestone) if milestone.round_id is not None else None
        live = int(invoice is not None and invoice.state != "draft")
        if invoice is not None and not live:
            await _delete(session, invoice)
        await signoff.reopen_in(session, organization_id, milestone_id, reason, live_invoices=live)
        return answer(session, milestone_id, 200)


async def retry_blocked(db: Database, organization_id: UUID, settings: Settings) -> int:
    """Try again to bill what waits for missing data, each milestone on its own; answers how many are invoiced now (R18)."""
    async with db.reading(organization_id) as session:
        waiting = [row.milestone_id for row in await queries.blocked_milestones(session, organization_id)]
    billed = 0
    for milestone_id in waiting:
        async with db.transaction(organization_id, Command.system(organization_id)) as session:
            billed += await bill_approved(session, organization_id, milestone_id, settings) is not None
    return billed


async def ask_mails(session: AsyncSession, invoice: Invoice, contract: Contract, template: str, *, again: str = "") -> int:
    """Ask for one mail per billing contact; `again` makes it another mail than the one before. Answers to how many."""
    contacts = await queries.billing_contacts(session, invoice.organization_id, contract)
    for contact in contacts:
        await mail.ask(
            session,
            invoice.organization_id,
            template,
            {"invoice_id": invoice.id},
            once=f"{template}:{invoice.id.hex}:{contact.id.hex}:{again}",
            contact_id=contact.id,
            contract_id=contract.id,
        )
    return len(contacts)


async def _delete(session: AsyncSession, invoice: Invoice) -> None:
    for part in (InvoiceTax, InvoiceLine):
        await session.execute(
            delete(part)
            .where(part.organization_id == invoice.organization_id, part.invoice_id == invoice.id)
            .execution_options(synchronize_session=False)
        )
    await session.delete(invoice)
    audit.record(session, "invoice.deleted", ("invoice", invoice.id), contract_id=invoice.contract_id)
    await session.flush()


async def _require_draft(session: AsyncSession, invoice: Invoice) -> None:
    if invoice.state != "draft":
        raise NotADraft(
            _("invoice %(number)s is issued already", number=str(invoice.number)),
            state=invoice.state,
            **await _who_was_quicker(session, invoice),
        )


async def _who_was_quicker(session: AsyncSession, invoice: Invoice) -> dict[str, Any]:
    """What the loser of a race is told: which invoice, since when, and who issued it (kind and id, from the audit trail)."""
    return {
        "invoice_id": invoice.id,
        "number": invoice.number,
        "issued_at": invoice.issued_at.isoformat() if invoice.issued_at else None,
        "issued_by": await queries.issuer_of(session, invoice),
    }


async def _refuse_unapproved(session: AsyncSession, command: Command, milestone_id: UUID) -> None:
    """Say why a milestone that is not approved cannot be invoiced: somebody was quicker, or it is not its turn."""
    _contract, milestone = await contracts.lock_milestone(session, command.organization_id, milestone_id)
    state = State(milestone.state)
    if state in {State.INVOICED, State.PAID}:
        invoice = await queries.live_invoice(session, milestone)
        if invoice is not None:
            text = _("invoice %(number)s bills this milestone already", number=str(invoice.number))
            raise AlreadyInvoiced(text, **await _who_was_quicker(session, invoice))
    require(Role(command.role), state, Event.INVOICE)
    reason = _("it must be approved by the client first")
    raise TransitionRefused(state, Event.INVOICE, (reason,), possible_events(state, MilestoneFacts()))
