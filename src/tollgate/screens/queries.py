"""Selects over several rooms, for the pages that show them together. Read only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.billing.models import BillingBlock, Invoice
from tollgate.contracts.models import Contract, Milestone
from tollgate.ledger.models import JournalEntry, JournalPosting
from tollgate.mail.models import MailMessage
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Contact
from tollgate.payments.models import Payment
from tollgate.signoff.models import ApprovalLink, Colleague, LinkOpen, ReviewRound

OPEN_INVOICES = ("issued", "partly_paid")
WORKING = ("planned", "in_progress", "changes_requested")
MOST = 200
"""Rows of one kind on the home page; nobody reads more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneRow:
    """A milestone with the names above it."""

    id: UUID
    title: str
    state: str
    amount: Money
    due_on: date | None
    planned_on: date | None
    started_at: datetime | None
    delivered_at: datetime | None
    approved_at: datetime | None
    billing_held: bool
    round_id: UUID | None
    contract_id: UUID
    contract_title: str
    client_name: str


async def milestones(
    session: AsyncSession, organization_id: UUID, *, states: Sequence[str], due_before: date | None = None, limit: int = MOST
) -> list[MilestoneRow]:
    """Milestones of agreed contracts in some states, earliest due first."""
    query = (
        select(Milestone, Contract.title.label("contract_title"), Client.legal_name)
        .join(Contract, (Contract.organization_id == Milestone.organization_id) & (Contract.id == Milestone.contract_id))
        .join(Client, (Client.organization_id == Contract.organization_id) & (Client.id == Contract.client_id))
        .where(Milestone.organization_id == organization_id, Milestone.state.in_(states), Contract.state != "draft")
    )
    if due_before is not None:
        query = query.where(Milestone.due_on < due_before)
    rows = await session.execute(query.order_by(Milestone.due_on.nulls_last(), Milestone.created_at, Milestone.id).limit(limit))
    return [
        MilestoneRow(
            id=row.id,
            title=row.title,
            state=row.state,
            amount=Money(row.amount_minor, row.currency),
            due_on=row.due_on,
            planned_on=row.planned_on,
            started_at=row.started_at,
            delivered_at=row.delivered_at,
            approved_at=row.approved_at,
            billing_held=row.billing_held,
            round_id=row.round_id,
            contract_id=row.contract_id,
            contract_title=contract_title,
            client_name=client_name,
        )
        for row, contract_title, client_name in rows
    ]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many, and how much per currency."""

    count: int
    amounts: tuple[Money, ...]


def _tally(rows: Sequence[tuple[str, int, int]]) -> Tally:
    amounts = tuple(Money(int(minor or 0), currency) for currency, _count, minor in rows)
    return Tally(sum(count for _currency, count, _minor in rows), amounts)


async def milestone_tally(session: AsyncSession, organization_id: UUID, states: Sequence[str]) -> Tally:
    """Milestones of agreed contracts in some states."""
    rows = await session.execute(
        select(Milestone.currency, func.count(), func.sum(Milestone.amount_minor))
        .join(Contract, (Contract.organization_id == Milestone.organization_id) & (Contract.id == Milestone.contract_id))
        .where(Milestone.organization_id == organization_id, Milestone.state.in_(states), Contract.state != "draft")
        .group_by(Milestone.currency)
        .order_by(Milestone.currency)
    )
    return _tally([tuple(row) for row in rows])  # type: ignore[misc]


async def open_tally(session: AsyncSession, organization_id: UUID, overdue_on: date | None = None) -> Tally:
    """What is open of issued invoices; with `overdue_on`, of those whose due day is before it."""
    open_ = Invoice.payable_minor - Invoice.paid_minor - Invoice.credited_minor - Invoice.written_off_minor
    query = select(Invoice.currency, func.count(), func.sum(open_)).where(
        Invoice.organization_id == organization_id, Invoice.state.in_(OPEN_INVOICES)
    )
    if overdue_on is not None:
        query = query.where(Invoice.due_on < overdue_on)
    rows = await session.execute(query.group_by(Invoice.currency).order_by(Invoice.currency))
    return _tally([tuple(row) for row in rows])  # type: ignore[misc]


async def received_tally(session: AsyncSession, organization_id: UUID, first: date, last: date) -> Tally:
    """Money received from `first` to `last`, what went back in these days taken off: the payments report's figures."""
    counted = await session.execute(
        select(Payment.currency, func.count())
        .where(Payment.organization_id == organization_id, Payment.state == "received", Payment.received_on.between(first, last))
        .group_by(Payment.currency)
    )
    counts = {row[0]: row[1] for row in counted}
    rows = await session.execute(
        select(JournalPosting.currency, func.sum(JournalPosting.amount_minor))
        .join(JournalEntry, (JournalEntry.organization_id == JournalPosting.organization_id) & (JournalEntry.id == JournalPosting.entry_id))
        .where(
            JournalPosting.organization_id == organization_id, JournalPosting.account == "bank", JournalEntry.booked_on.between(first, last)
        )
        .group_by(JournalPosting.currency)
        .order_by(JournalPosting.currency)
    )
    return _tally([(currency, counts.get(currency, 0), minor) for currency, minor in rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLink:
    """A link that can or could decide in an open round."""

    round_id: UUID
    contact_name: str
    expires_at: datetime
    opens: int
    last_opened_at: datetime | None
    used: bool


async def open_links(session: AsyncSession, organization_id: UUID) -> list[OpenLink]:
    """The links of every open round, with their opens."""
    opens = (
        select(LinkOpen.approval_link_id, func.count().label("opens"), func.max(LinkOpen.opened_at).label("last"))
        .where(LinkOpen.organization_id == organization_id, LinkOpen.approval_link_id.is_not(None))
        .group_by(LinkOpen.approval_link_id)
        .subquery()
    )
    rows = await session.execute(
        select(ApprovalLink, Contact.name, opens.c.opens, opens.c.last)
        .join(ReviewRound, (ReviewRound.organization_id == ApprovalLink.organization_id) & (ReviewRound.id == ApprovalLink.round_id))
        .join(Contact, (Contact.organization_id == ApprovalLink.organization_id) & (Contact.id == ApprovalLink.contact_id))
        .outerjoin(opens, opens.c.approval_link_id == ApprovalLink.id)
        .where(ApprovalLink.organization_id == organization_id, ReviewRound.state == "open", ApprovalLink.revoked_at.is_(None))
        .order_by(ApprovalLink.created_at)
    )
    return [
        OpenLink(
            round_id=link.round_id,
            contact_name=name,
            expires_at=link.expires_at,
            opens=count or 0,
            last_opened_at=last,
            used=link.used_at is not None,
        )
        for link, name, count, last in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A colleague whom an approver proposed, waiting for a member's word."""

    id: UUID
    name: str
    email: str
    milestone_id: UUID
    milestone_title: str
    created_at: datetime


async def proposals(session: AsyncSession, organization_id: UUID) -> list[Proposal]:
    """Colleagues who wait for confirmation, oldest first."""
    rows = await session.execute(
        select(Colleague, Milestone.id, Milestone.title)
        .join(ReviewRound, (ReviewRound.organization_id == Colleague.organization_id) & (ReviewRound.id == Colleague.round_id))
        .join(Milestone, (Milestone.organization_id == ReviewRound.organization_id) & (Milestone.id == ReviewRound.milestone_id))
        .where(Colleague.organization_id == organization_id, Colleague.state == "proposed", ReviewRound.state == "open")
        .order_by(Colleague.created_at)
    )
    return [
        Proposal(id=row.id, name=row.name, email=row.email, milestone_id=milestone_id, milestone_title=title, created_at=row.created_at)
        for row, milestone_id, title in rows
    ]


async def block_of(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> BillingBlock | None:
    """Why an approved milestone cannot be billed."""
    return await session.get(BillingBlock, (organization_id, milestone_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubledMail:
    """A mail that was refused, or waits after an error."""

    id: UUID
    template: str
    state: str
    recipient: str
    last_error: str
    attempts: int
    contract_id: UUID | None
    created_at: datetime


async def troubled_mails(session: AsyncSession, organization_id: UUID, since: datetime) -> list[TroubledMail]:
    """Mails that somebody has to look at, by what went wrong."""
    rows = await session.execute(
        select(MailMessage, Contact.name)
        .outerjoin(Contact, (Contact.organization_id == MailMessage.organization_id) & (Contact.id == MailMessage.contact_id))
        .where(
            MailMessage.organization_id == organization_id,
            MailMessage.state.in_(("refused", "waiting")),
            (MailMessage.state == "refused") | MailMessage.last_error.is_not(None),
            MailMessage.created_at > since,
        )
        .order_by(MailMessage.last_error, MailMessage.created_at.desc())
        .limit(100)
    )
    return [
        TroubledMail(
            id=row.id,
            template=row.template,
            state=row.state,
            recipient=name or "",
            last_error=row.last_error or "",
            attempts=row.attempts,
            contract_id=row.contract_id,
            created_at=row.created_at,
        )
        for row, name in rows
    ]


async def upcoming(session: AsyncSession, organization_id: UUID, today: date, weeks: int = 6) -> list[MilestoneRow]:
    """What is planned or due in the next weeks, and what is late."""
    last = today + timedelta(weeks=weeks)
    rows = await milestones(session, organization_id, states=(*WORKING, "delivered"))
    return [row for row in rows if (row.planned_on or row.due_on) and min(filter(None, (row.planned_on, row.due_on))) <= last]


async def counts(session: AsyncSession, organization_id: UUID) -> tuple[int, int, int]:
    """How many clients, contracts and agreed contracts there are: what a fresh organization still has to do."""
    clients = await session.scalar(select(func.count()).select_from(Client).where(Client.organization_id == organization_id))
    contracts = await session.scalar(select(func.count()).select_from(Contract).where(Contract.organization_id == organization_id))
    agreed = await session.scalar(
        select(func.count()).select_from(Contract).where(Contract.organization_id == organization_id, Contract.state != "draft")
    )
    return int(clients or 0), int(contracts or 0), int(agreed or 0)
