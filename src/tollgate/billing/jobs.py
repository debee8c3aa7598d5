"""What billing does on news: bill what was approved, try again when data is there, mail documents once their PDF is made."""

from __future__ import annotations

from collections.abc import Mapping

from tollgate.billing import queries
from tollgate.billing.models import CreditNote
from tollgate.billing.service import ask_mails, bill_approved, retry_blocked
from tollgate.contracts.models import Contract
from tollgate.documents.news import DocumentRendered
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Run
from tollgate.mail import service as mail
from tollgate.parties.news import PartyChanged
from tollgate.settings import Settings
from tollgate.signoff.news import MilestoneApproved


def handlers(settings: Settings) -> dict[type[Job], Handler]:
    """This room's jobs."""

    async def milestone_approved(run: Run, job: MilestoneApproved) -> None:
        async with run.record() as session:
            await bill_approved(session, run.organization_id, job.milestone_id, settings, round_id=job.round_id)

    async def party_changed(run: Run, job: PartyChanged) -> None:
        await retry_blocked(run.db, run.organization_id, settings)

    return {MilestoneApproved: milestone_approved, PartyChanged: party_changed}


def rendered() -> Mapping[str, Handler]:
    """Who hears that an invoice's or a credit note's PDF is there, for `documents.jobs.handlers`."""
    return {"invoice": invoice_rendered, "credit_note": credit_note_rendered}


async def invoice_rendered(run: Run, job: DocumentRendered) -> None:
    """Mail the invoice to the billing contacts, unless it was taken back in the meantime."""
    async with run.record() as session:
        locked = await queries.lock_invoice(session, run.organization_id, job.subject_id)
        if locked.invoice.state in queries.LIVE_STATES:
            await ask_mails(session, locked.invoice, locked.contract, "billing/invoice")


async def credit_note_rendered(run: Run, job: DocumentRendered) -> None:
    """Mail the credit note to the billing contacts."""
    async with run.record() as session:
        note = await session.get_one(CreditNote, (run.organization_id, job.subject_id))
        contract = await session.get_one(Contract, (run.organization_id, note.contract_id))
        for contact in await queries.billing_contacts(session, run.organization_id, contract):
            await mail.ask(
                session,
                run.organization_id,
                "billing/credit_note",
                {"credit_note_id": note.id},
                once=f"credit_note:{note.id.hex}:{contact.id.hex}",
                contact_id=contact.id,
                contract_id=contract.id,
            )
