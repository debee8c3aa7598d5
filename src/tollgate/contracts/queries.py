"""Selects of this room. `…_for_update` take row locks; the contract's row always comes first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, column, func, or_, select, table, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.contracts.models import Contract, ContractApprover, ContractVersion, Deliverable, Milestone
from tollgate.errors import NotFound
from tollgate.parties.models import Client, Contact, Organization

# Named without its model, which lives in a higher room: only to know whether the reader delivered a milestone themselves.
_REVIEW_ROUND = table("review_round", column("organization_id"), column("id"), column("delivered_by"))


async def organization(session: AsyncSession, organization_id: UUID) -> Organization:
    """The seller. Raises `NotFound`."""
    found = await session.get(Organization, organization_id)
    if found is None:
        raise NotFound
    return found


async def client(session: AsyncSession, organization_id: UUID, client_id: UUID) -> Client | None:
    """A client, archived ones too."""
    return await session.get(Client, (organization_id, client_id))


async def contacts(session: AsyncSession, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Contact]:
    """Contacts by id, removed ones too."""
    if not ids:
        return {}
    rows = await session.scalars(select(Contact).where(Contact.organization_id == organization_id, Contact.id.in_(ids)))
    return {row.id: row for row in rows}


async def approver_contacts(session: AsyncSession, organization_id: UUID, client_id: UUID) -> list[UUID]:
    """The client's contacts who are marked as approvers, oldest first."""
    rows = await session.scalars(
        select(Contact.id)
        .where(
            Contact.organization_id == organization_id, Contact.client_id == client_id, Contact.is_approver, Contact.removed_at.is_(None)
        )
        .order_by(Contact.created_at, Contact.id)
    )
    return list(rows)


async def contract(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> Contract:
    """A contract. Raises `NotFound`."""
    found = await session.get(Contract, (organization_id, contract_id))
    if found is None:
        raise NotFound
    return found


async def contracts_by_id(session: AsyncSession, organization_id: UUID, ids: Collection[UUID]) -> dict[UUID, Contract]:
    """Several contracts by id."""
    rows = await session.scalars(select(Contract).where(Contract.organization_id == organization_id, Contract.id.in_(ids)))
    return {row.id: row for row in rows}


async def client_names(session: AsyncSession, organization_id: UUID, ids: Collection[UUID]) -> dict[UUID, str]:
    """The legal names of some clients."""
    rows = await session.execute(select(Client.id, Client.legal_name).where(Client.organization_id == organization_id, Client.id.in_(ids)))
    return {row.id: row.legal_name for row in rows}


async def contract_for_update(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> Contract:
    """A contract, its row locked until the commit. Raises `NotFound`."""
    found = await session.get(Contract, (organization_id, contract_id), with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound
    return found


async def contract_of_milestone(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> UUID:
    """The contract a milestone belongs to (never changes). Raises `NotFound`."""
    found = await session.scalar(
        select(Milestone.contract_id).where(Milestone.organization_id == organization_id, Milestone.id == milestone_id)
    )
    if found is None:
        raise NotFound
    return found


async def milestone(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> Milestone:
    """A milestone. Raises `NotFound`."""
    found = await session.get(Milestone, (organization_id, milestone_id))
    if found is None:
        raise NotFound
    return found


async def milestone_for_update(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> Milestone:
    """A milestone, its row locked until the commit; lock its contract first. Raises `NotFound`."""
    found = await session.get(Milestone, (organization_id, milestone_id), with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound
    return found


async def milestones_of(session: AsyncSession, organization_id: UUID, contract_ids: Sequence[UUID]) -> list[Milestone]:
    """The milestones of some contracts, in the order of their schedules."""
    rows = await session.scalars(
        select(Milestone)
        .where(Milestone.organization_id == organization_id, Milestone.contract_id.in_(contract_ids))
        .order_by(Milestone.contract_id, Milestone.position)
    )
    return list(rows)


async def approvers_of(session: AsyncSession, organization_id: UUID, contract_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """The approvers of some contracts, in order."""
    rows = await session.scalars(
        select(ContractApprover)
        .where(ContractApprover.organization_id == organization_id, ContractApprover.contract_id.in_(contract_ids))
        .order_by(ContractApprover.contract_id, ContractApprover.position)
    )
    found: dict[UUID, list[UUID]] = {contract_id: [] for contract_id in contract_ids}
    for row in rows:
        found[row.contract_id].append(row.contact_id)
    return found


async def newest_versions(session: AsyncSession, organization_id: UUID, contract_ids: Sequence[UUID]) -> dict[UUID, ContractVersion]:
    """What is agreed now, per contract; drafts have none."""
    rows = await session.scalars(
        select(ContractVersion)
        .where(ContractVersion.organization_id == organization_id, ContractVersion.contract_id.in_(contract_ids))
        .order_by(ContractVersion.contract_id, ContractVersion.number)
    )
    return {row.contract_id: row for row in rows}


async def deliverables_of(session: AsyncSession, organization_id: UUID, milestone_ids: Sequence[UUID]) -> dict[UUID, list[Deliverable]]:
    """What shows the work of some milestones, in the order it was added; removed ones are left out."""
    found: dict[UUID, list[Deliverable]] = {milestone_id: [] for milestone_id in milestone_ids}
    if milestone_ids:
        rows = await session.scalars(
            select(Deliverable)
            .where(
                Deliverable.organization_id == organization_id,
                Deliverable.milestone_id.in_(milestone_ids),
                Deliverable.removed_at.is_(None),
            )
            .order_by(Deliverable.created_at, Deliverable.id)
        )
        for row in rows:
            found[row.milestone_id].append(row)
    return found


async def deliverable(session: AsyncSession, organization_id: UUID, deliverable_id: UUID) -> Deliverable:
    """One deliverable, removed ones too. Raises `NotFound`."""
    found = await session.get(Deliverable, (organization_id, deliverable_id))
    if found is None:
        raise NotFound
    return found


async def deliverers(session: AsyncSession, organization_id: UUID, round_ids: Sequence[UUID]) -> dict[UUID, UUID | None]:
    """Who delivered each of these review rounds."""
    if not round_ids:
        return {}
    rows = await session.execute(
        select(_REVIEW_ROUND.c.id, _REVIEW_ROUND.c.delivered_by).where(
            _REVIEW_ROUND.c.organization_id == organization_id, _REVIEW_ROUND.c.id.in_(round_ids)
        )
    )
    return {row.id: row.delivered_by for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFilter:
    """Which contracts a list shows; `after` is the last row's (created_at, id)."""

    client_id: UUID | None = None
    state: str | None = None
    q: str = ""
    after: tuple[datetime, UUID] | None = None
    limit: int = 50


async def list_contracts(session: AsyncSession, organization_id: UUID, asked: ContractFilter) -> list[Contract]:
    """Newest first, one more than `limit` so that the reader sees whether there is a next page."""
    wanted = select(Contract).where(Contract.organization_id == organization_id)
    if asked.client_id is not None:
        wanted = wanted.where(Contract.client_id == asked.client_id)
    if asked.state is not None:
        wanted = wanted.where(Contract.state == asked.state)
    if asked.q:
        wanted = wanted.join(Client, and_(Client.organization_id == Contract.organization_id, Client.id == Contract.client_id)).where(
            or_(*(words.icontains(asked.q, autoescape=True) for words in (Contract.title, Contract.reference, Client.legal_name)))
        )
    if asked.after is not None:
        wanted = wanted.where(tuple_(Contract.created_at, Contract.id) < tuple_(*asked.after))
    rows = await session.scalars(wanted.order_by(Contract.created_at.desc(), Contract.id.desc()).limit(asked.limit + 1))
    return list(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneFilter:
    """Which milestones a list shows; `after` is the last row's (contract_id, position)."""

    contract_id: UUID | None = None
    state: str | None = None
    after: tuple[UUID, int] | None = None
    limit: int = 50


async def list_milestones(session: AsyncSession, organization_id: UUID, asked: MilestoneFilter) -> list[Milestone]:
    """By contract and position, one more than `limit`."""
    wanted = select(Milestone).where(Milestone.organization_id == organization_id)
    if asked.contract_id is not None:
        wanted = wanted.where(Milestone.contract_id == asked.contract_id)
    if asked.state is not None:
        wanted = wanted.where(Milestone.state == asked.state)
    if asked.after is not None:
        wanted = wanted.where(tuple_(Milestone.contract_id, Milestone.position) > tuple_(*asked.after))
    rows = await session.scalars(wanted.order_by(Milestone.contract_id, Milestone.position).limit(asked.limit + 1))
    return list(rows)


async def open_milestones(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> int:
    """How many milestones are neither paid nor cancelled."""
    found = await session.scalar(
        select(func.count())
        .select_from(Milestone)
        .where(
            Milestone.organization_id == organization_id,
            Milestone.contract_id == contract_id,
            Milestone.state.not_in(("paid", "cancelled")),
        )
    )
    return int(found or 0)
