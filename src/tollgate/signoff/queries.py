"""Selects of this room. Rounds are locked below their contract and milestone, links below their round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.access.models import ApiKey, Member
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.models import Contract, ContractVersion, Milestone
from tollgate.contracts.service import lock_milestone
from tollgate.errors import NotFound
from tollgate.parties.models import Contact
from tollgate.signoff.models import ApprovalLink, Colleague, LinkOpen, ReviewRound, RoundApprover, SignOff
from tollgate.signoff.rules import DecisionKind, LinkFacts, Made, Policy, RevokedBecause, RoundFacts, RoundState


@dataclass(slots=True)
class Review:
    """A round with everything about it, its rows locked when it came from `…_for_update`."""

    contract: Contract
    milestone: Milestone
    round: ReviewRound
    approvers: list[UUID]
    links: list[ApprovalLink]
    """Oldest first, revoked ones too."""
    sign_offs: list[SignOff]

    def facts(self, link: ApprovalLink | None = None) -> RoundFacts:
        """As the pure rules see it; `link` is the one that is used, for its contact."""
        links = {row.contact_id: link_facts(row) for row in self.links}
        if link is not None:
            links[link.contact_id] = link_facts(link)
        return RoundFacts(
            round_id=self.round.id,
            content_sha256_hex=self.round.content_sha256.hex(),
            policy=Policy(self.round.policy),
            approvers=self.approvers,
            required=self.round.required,
            decisions=[Made(row.contact_id, DecisionKind(row.decision), row.decided_at) for row in self.sign_offs if row.contact_id],
            state=RoundState(self.round.state),
            closed_at=self.round.closed_at,
            links=links,
        )

    def live_links(self) -> list[ApprovalLink]:
        """Links neither used nor taken back; expired ones too."""
        return [row for row in self.links if row.used_at is None and row.revoked_at is None]


def link_facts(row: ApprovalLink) -> LinkFacts:
    """A link's row as the pure rules see it."""
    return LinkFacts(
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
        revoked_because=RevokedBecause(row.revoked_because) if row.revoked_because else None,
    )


async def review(session: AsyncSession, organization_id: UUID, round_id: UUID) -> Review:
    """A round as it is now. Raises `NotFound`."""
    row = await session.get(ReviewRound, (organization_id, round_id))
    if row is None:
        raise NotFound
    contract = await contract_queries.contract(session, organization_id, row.contract_id)
    milestone = await contract_queries.milestone(session, organization_id, row.milestone_id)
    return await _with_parts(session, contract, milestone, row)


async def review_for_update(session: AsyncSession, organization_id: UUID, round_id: UUID) -> Review:
    """A round, locked in the order contract, milestone, round, links. Raises `NotFound`."""
    milestone_id = await session.scalar(
        select(ReviewRound.milestone_id).where(ReviewRound.organization_id == organization_id, ReviewRound.id == round_id)
    )
    if milestone_id is None:
        raise NotFound
    contract, milestone = await lock_milestone(session, organization_id, milestone_id)
    row = await session.get(ReviewRound, (organization_id, round_id), with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound
    return await _with_parts(session, contract, milestone, row, lock=True)


async def _with_parts(session: AsyncSession, contract: Contract, milestone: Milestone, row: ReviewRound, *, lock: bool = False) -> Review:
    organization_id = row.organization_id
    approvers = await session.scalars(
        select(RoundApprover.contact_id)
        .where(RoundApprover.organization_id == organization_id, RoundApprover.round_id == row.id)
        .order_by(RoundApprover.position)
    )
    links = (
        select(ApprovalLink)
        .where(ApprovalLink.organization_id == organization_id, ApprovalLink.round_id == row.id)
        .order_by(ApprovalLink.created_at, ApprovalLink.id)
    )
    if lock:
        links = links.with_for_update().execution_options(populate_existing=True)
    found = list(await session.scalars(links))
    return Review(contract, milestone, row, list(approvers), found, await sign_offs_of(session, organization_id, row.id))


async def sign_offs_of(session: AsyncSession, organization_id: UUID, round_id: UUID) -> list[SignOff]:
    """The decisions of a round, in the order they were made."""
    rows = await session.scalars(
        select(SignOff)
        .where(SignOff.organization_id == organization_id, SignOff.round_id == round_id)
        .order_by(SignOff.decided_at, SignOff.id)
    )
    return list(rows)


async def link(session: AsyncSession, organization_id: UUID, link_id: UUID) -> ApprovalLink:
    """One link. Raises `NotFound`."""
    found = await session.get(ApprovalLink, (organization_id, link_id))
    if found is None:
        raise NotFound
    return found


async def round_of_link(session: AsyncSession, organization_id: UUID, link_id: UUID) -> UUID:
    """The round a link belongs to (never changes). Raises `NotFound`."""
    found = await session.scalar(
        select(ApprovalLink.round_id).where(ApprovalLink.organization_id == organization_id, ApprovalLink.id == link_id)
    )
    if found is None:
        raise NotFound
    return found


async def open_rounds(session: AsyncSession, organization_id: UUID, *, opened_before: datetime) -> list[UUID]:
    """The rounds that have waited for an answer since before an instant, oldest first."""
    rows = await session.scalars(
        select(ReviewRound.id)
        .where(ReviewRound.organization_id == organization_id, ReviewRound.state == "open", ReviewRound.opened_at <= opened_before)
        .order_by(ReviewRound.opened_at)
    )
    return list(rows)


async def contract_version(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> ContractVersion | None:
    """What is agreed now."""
    return (await contract_queries.newest_versions(session, organization_id, [contract_id])).get(contract_id)


async def contact(session: AsyncSession, organization_id: UUID, contact_id: UUID) -> Contact:
    """A contact, removed ones too. Raises `NotFound`."""
    found = await session.get(Contact, (organization_id, contact_id))
    if found is None:
        raise NotFound
    return found


async def opens_of(session: AsyncSession, organization_id: UUID, link_ids: Sequence[UUID]) -> dict[UUID, Any]:
    """How often and when last each link was opened: rows with `opens`, `first_at`, `last_at`."""
    if not link_ids:
        return {}
    rows = await session.execute(
        select(
            LinkOpen.approval_link_id,
            func.count().label("opens"),
            func.min(LinkOpen.opened_at).label("first_at"),
            func.max(LinkOpen.opened_at).label("last_at"),
        )
        .where(LinkOpen.organization_id == organization_id, LinkOpen.approval_link_id.in_(link_ids))
        .group_by(LinkOpen.approval_link_id)
    )
    return {row.approval_link_id: row for row in rows}


async def colleagues_of(session: AsyncSession, organization_id: UUID, round_id: UUID) -> list[Colleague]:
    """Colleagues proposed in a round, oldest first."""
    rows = await session.scalars(
        select(Colleague).where(Colleague.organization_id == organization_id, Colleague.round_id == round_id).order_by(Colleague.created_at)
    )
    return list(rows)


async def colleague_for_update(session: AsyncSession, organization_id: UUID, colleague_id: UUID) -> Colleague:
    """A proposed colleague, locked; lock the round first. Raises `NotFound`."""
    found = await session.get(Colleague, (organization_id, colleague_id), with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound
    return found


async def round_of_colleague(session: AsyncSession, organization_id: UUID, colleague_id: UUID) -> UUID:
    """The round in which a colleague was proposed. Raises `NotFound`."""
    found = await session.scalar(
        select(Colleague.round_id).where(Colleague.organization_id == organization_id, Colleague.id == colleague_id)
    )
    if found is None:
        raise NotFound
    return found


async def people_behind(session: AsyncSession, organization_id: UUID, actor_id: UUID | None) -> set[UUID]:
    """A member or API key, and the member who made the key: whoever delivers by a key of theirs delivered themselves."""
    if actor_id is None:
        return set()
    maker = await session.scalar(select(ApiKey.created_by).where(ApiKey.organization_id == organization_id, ApiKey.id == actor_id))
    return {actor_id} | ({maker} if maker is not None else set())


async def member_to_tell(session: AsyncSession, row: ReviewRound, contract: Contract) -> UUID | None:
    """Who is told what became of a round: the member behind the delivery, else the contract's owner, else the first admin."""
    wanted = [*await people_behind(session, row.organization_id, row.delivered_by), contract.owner_member_id]
    members = await session.scalars(
        select(Member)
        .where(Member.organization_id == row.organization_id, Member.removed_at.is_(None))
        .order_by(Member.created_at, Member.id)
    )
    found = list(members)
    present = {member.id for member in found}
    admins = [member.id for member in found if member.role == "admin"]
    return next((member_id for member_id in (*wanted, *admins) if member_id in present), None)


async def member_name(session: AsyncSession, organization_id: UUID, member_id: UUID | None) -> str:
    """A member's or API key's name, empty where there is neither."""
    if member_id is None:
        return ""
    member = await session.get(Member, (organization_id, member_id))
    if member is not None:
        return member.name
    key = await session.get(ApiKey, (organization_id, member_id))
    return key.name if key is not None else ""
