"""A round as members see it: decisions, links with their opens, proposed colleagues. Plain values, no tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.contracts import queries as contract_queries
from tollgate.documents import service as documents
from tollgate.money.amount import Money
from tollgate.signoff import queries
from tollgate.signoff.certificate import KIND
from tollgate.signoff.rules import LinkState, RoundState, link_state
from tollgate.signoff.service_page import PageDecision, PageDeliverable, decisions_of, frozen_deliverables


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverView:
    """An approver of the round."""

    contact_id: UUID
    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """One approver's link and how often its page was opened."""

    id: UUID
    contact_id: UUID
    contact_name: str
    state: LinkState
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_because: str | None
    opens: int
    first_opened_at: datetime | None
    last_opened_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColleagueView:
    """A colleague whom an approver proposed instead; a member confirms or declines while `proposed`."""

    id: UUID
    link_id: UUID
    name: str
    email: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """One delivery and what became of it."""

    id: UUID
    contract_id: UUID
    milestone_id: UUID
    number: int
    state: RoundState
    policy: str
    amount: Money
    message: str
    content_sha256_hex: str
    contract_version_sha256_hex: str
    deliverables: tuple[PageDeliverable, ...]
    approvers: tuple[ApproverView, ...]
    decisions: tuple[PageDecision, ...]
    links: tuple[LinkView, ...]
    colleagues: tuple[ColleagueView, ...]
    certificate: documents.DocumentInfo | None
    delivered_by: UUID | None
    delivered_by_name: str
    opened_at: datetime
    closed_at: datetime | None
    reopened_because: str | None


async def round_view(session: AsyncSession, organization_id: UUID, round_id: UUID) -> RoundView:
    """One round. Raises `NotFound`."""
    review = await queries.review(session, organization_id, round_id)
    row = review.round
    content = json.loads(row.content)
    contacts = await contract_queries.contacts(session, organization_id, review.approvers)
    opens = await queries.opens_of(session, organization_id, [link.id for link in review.links])
    now = clock.now()
    return RoundView(
        id=row.id,
        contract_id=row.contract_id,
        milestone_id=row.milestone_id,
        number=row.number,
        state=RoundState(row.state),
        policy=row.policy,
        amount=Money(row.amount_minor, row.currency),
        message=row.message,
        content_sha256_hex=row.content_sha256.hex(),
        contract_version_sha256_hex=content["contract_version_sha256"],
        deliverables=await frozen_deliverables(session, review, content),
        approvers=tuple(
            ApproverView(contact_id=contact_id, name=contacts[contact_id].name, email=contacts[contact_id].email)
            for contact_id in review.approvers
        ),
        decisions=await decisions_of(session, review),
        links=tuple(
            LinkView(
                id=link.id,
                contact_id=link.contact_id,
                contact_name=contacts[link.contact_id].name,
                state=link_state(queries.link_facts(link), now),
                created_at=link.created_at,
                expires_at=link.expires_at,
                used_at=link.used_at,
                revoked_at=link.revoked_at,
                revoked_because=link.revoked_because,
                opens=opens[link.id].opens if link.id in opens else 0,
                first_opened_at=opens[link.id].first_at if link.id in opens else None,
                last_opened_at=opens[link.id].last_at if link.id in opens else None,
            )
            for link in review.links
        ),
        colleagues=tuple(
            ColleagueView(
                id=item.id,
                link_id=item.approval_link_id,
                name=item.name,
                email=item.email,
                state=item.state,
                created_at=item.created_at,
            )
            for item in await queries.colleagues_of(session, organization_id, round_id)
        ),
        certificate=await documents.info(session, organization_id, KIND, round_id),
        delivered_by=row.delivered_by,
        delivered_by_name=await queries.member_name(session, organization_id, row.delivered_by),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        reopened_because=row.reopened_because,
    )
