"""Work of this room outside a request: timers of open rounds, openings into the trail, certificates to approvers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.documents.news import DocumentRendered
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Run
from tollgate.mail import service as mail
from tollgate.signoff import queries
from tollgate.signoff.models import ApprovalLink, LinkOpen, ReviewRound
from tollgate.signoff.news import ChainOpen, Timers
from tollgate.signoff.rules import RoundState
from tollgate.signoff.service_input import REMINDER_BEFORE_EXPIRY, REMINDERS_AFTER
from tollgate.signoff.service_rounds import ask_for_decision

ContractOf = Callable[[AsyncSession, UUID, UUID], Awaitable[UUID]]
"""(session, organization, invoice link) → the contract: billing knows it, which this room may not import; wired in `app.py`."""


def handlers(contract_of_invoice_link: ContractOf) -> dict[type[Job], Handler]:
    """This room's jobs. `certificate_rendered` is handed to the documents room, which knows whose document it made."""

    async def chained(run: Run, job: ChainOpen) -> None:
        await chain_open(run, job, contract_of_invoice_link)

    return {Timers: run_timers, ChainOpen: chained}


async def run_timers(run: Run, job: Timers) -> None:
    """Remind the silent approvers of every open round, each moment once however often this runs (due and not done).

    The clock asks for it every hour, for each organization apart.
    """
    async with run.db.reading(run.organization_id) as session:
        rounds = await queries.open_rounds(session, run.organization_id, opened_before=clock.now() - REMINDERS_AFTER[0])
    for round_id in rounds:
        # One short transaction per round, so that a long list never holds its locks together.
        async with run.db.transaction(run.organization_id) as session:
            await _remind_silent(session, run.organization_id, round_id)
    async with run.record():
        pass


async def _remind_silent(session: AsyncSession, organization_id: UUID, round_id: UUID) -> None:
    review = await queries.review_for_update(session, organization_id, round_id)
    if review.round.state != RoundState.OPEN:
        return
    now = clock.now()
    for link in review.live_links():
        word = due_reminder(review.round, link)
        if word is not None and link.expires_at > now:
            once = f"round:{round_id}:contact:{link.contact_id}:reminder:{word}"
            await ask_for_decision(session, review.contract.id, link, "signoff/approval_reminder", once=once)


def due_reminder(row: ReviewRound, link: ApprovalLink) -> str | None:
    """The newest reminder that is due for a link, as the word of its mail; earlier ones that a sleeping worker missed are left out."""
    now = clock.now()
    due = [(row.opened_at + after, f"{after.days}d") for after in REMINDERS_AFTER]
    due.append((link.expires_at - REMINDER_BEFORE_EXPIRY, f"expiry:{link.expires_at.date().isoformat()}"))
    # A link made late in the round is not reminded of what was due before it existed.
    passed = [(at, word) for at, word in due if link.created_at < at <= now]
    return max(passed)[1] if passed else None


async def chain_open(run: Run, job: ChainOpen, contract_of_invoice_link: ContractOf) -> None:
    """Note an opening in the audit trail; its row was written apart, without taking the chain's lock."""
    async with run.record() as session:
        row = await session.get(LinkOpen, (run.organization_id, job.open_id))
        if row is None:
            return
        if row.approval_link_id is not None:
            subject = ("approval_link", row.approval_link_id)
            round_id = await queries.round_of_link(session, run.organization_id, row.approval_link_id)
            contract_id = (await queries.review(session, run.organization_id, round_id)).contract.id
        elif row.invoice_link_id is not None:
            subject = ("invoice_link", row.invoice_link_id)
            contract_id = await contract_of_invoice_link(session, run.organization_id, row.invoice_link_id)
        else:
            return
        audit.record(session, "link.opened", subject, contract_id=contract_id, open_id=row.id, ip_hash=row.ip_hash)


async def certificate_rendered(run: Run, job: DocumentRendered) -> None:
    """A certificate's PDF is there: mail it to the approvers who decided, or to all where the approval was recorded."""
    async with run.record() as session:
        review = await queries.review(session, run.organization_id, job.subject_id)
        signed = [row.contact_id for row in review.sign_offs if row.contact_id]
        for contact_id in signed or review.approvers:
            await mail.ask(
                session,
                run.organization_id,
                "signoff/approved_certificate",
                {"round_id": review.round.id},
                once=f"round:{review.round.id}:contact:{contact_id}:certificate",
                contact_id=contact_id,
                contract_id=review.contract.id,
            )
