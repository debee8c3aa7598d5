"""Contracts and milestones as readers see them: plain values with everything derived, for API and pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.contracts import queries
from tollgate.contracts.models import Contract, ContractVersion, Deliverable, Milestone
from tollgate.contracts.rules import (
    Allocation,
    ContractState,
    Event,
    Health,
    Hint,
    Party,
    Role,
    State,
    TaxCategory,
    TaxTreatment,
    allocation_bar,
    allowed_events,
    health,
    hints,
)
from tollgate.contracts.service_milestones import draft_of, tax_for, tax_of
from tollgate.contracts.service_moves import facts_of
from tollgate.money.amount import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who looks: decides which events are offered, and which day it is."""

    role: Role | Party
    actor_id: UUID | None
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverableView:
    """A file, link or note. `round_id` is the round in which it was first delivered."""

    id: UUID
    milestone_id: UUID
    round_id: UUID | None
    kind: str
    title: str
    url: str | None
    note: str | None
    sha256_hex: str | None
    content_type: str | None
    size: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneView:
    """A milestone with its health and the events that the reader can set off now."""

    id: UUID
    contract_id: UUID
    contract_title: str
    position: int
    title: str
    description: str
    acceptance_criteria: tuple[str, ...]
    deliverables_expected: tuple[str, ...]
    due_on: date | None
    planned_on: date | None
    amount: Money
    percent: Decimal | None
    own_tax: TaxTreatment | None
    tax: TaxTreatment
    state: State
    allowed_events: tuple[Event, ...]
    health: Health | None
    billing_held: bool
    round_number: int
    round_id: UUID | None
    deliverables: tuple[DeliverableView, ...]
    started_at: datetime | None
    delivered_at: datetime | None
    approved_at: datetime | None
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """What is agreed: the contract version in force."""

    number: int
    content_sha256_hex: str
    agreement_sha256_hex: str | None
    agreement_file_name: str | None
    agreed_on: date | None
    agreed_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractView:
    """A contract with its schedule, its running balance and advice on it."""

    id: UUID
    client_id: UUID
    client_name: str
    title: str
    reference: str
    purchase_order: str
    buyer_reference: str
    currency: str
    value: Money
    contingency: Money
    price_basis: str
    tax: TaxTreatment
    payment_days: int
    payment_from: str
    approval_policy: str
    approver_ids: tuple[UUID, ...]
    invoicing_on_approval: str
    state: ContractState
    owner_member_id: UUID | None
    milestones: tuple[MilestoneView, ...]
    allocation: Allocation
    hints: tuple[Hint, ...]
    agreed: VersionView | None
    version: int
    created_at: datetime
    activated_at: datetime | None
    completed_at: datetime | None


async def contract_view(session: AsyncSession, organization_id: UUID, contract_id: UUID, role: Role, actor_id: UUID | None) -> ContractView:
    """One contract. Raises `NotFound`."""
    row = await queries.contract(session, organization_id, contract_id)
    return (await contract_views(session, organization_id, [row], role, actor_id))[0]


async def contract_views(
    session: AsyncSession, organization_id: UUID, rows: Sequence[Contract], role: Role, actor_id: UUID | None
) -> list[ContractView]:
    """Contracts in the given order, in a fixed number of statements."""
    ids = [row.id for row in rows]
    approvers = await queries.approvers_of(session, organization_id, ids)
    versions = await queries.newest_versions(session, organization_id, ids)
    names = await queries.client_names(session, organization_id, {row.client_id for row in rows})
    milestones = await queries.milestones_of(session, organization_id, ids)
    views = await milestone_views(session, organization_id, milestones, role, actor_id)
    schedule = {contract_id: [view for view in views if view.contract_id == contract_id] for contract_id in ids}
    drafts = {contract_id: [row for row in milestones if row.contract_id == contract_id] for contract_id in ids}
    return [_contract(row, names[row.client_id], approvers[row.id], schedule[row.id], drafts[row.id], versions.get(row.id)) for row in rows]


async def milestone_view(
    session: AsyncSession, organization_id: UUID, milestone_id: UUID, role: Role, actor_id: UUID | None
) -> MilestoneView:
    """One milestone. Raises `NotFound`."""
    row = await queries.milestone(session, organization_id, milestone_id)
    return (await milestone_views(session, organization_id, [row], role, actor_id))[0]


async def milestone_views(
    session: AsyncSession, organization_id: UUID, rows: Sequence[Milestone], role: Role, actor_id: UUID | None
) -> list[MilestoneView]:
    """Milestones in the given order, in a fixed number of statements."""
    if not rows:
        return []
    organization = await queries.organization(session, organization_id)
    reader = Reader(role=role, actor_id=actor_id, time_zone=organization.time_zone)
    contracts = await queries.contracts_by_id(session, organization_id, {row.contract_id for row in rows})
    approvers = await queries.approvers_of(session, organization_id, list(contracts))
    deliverables = await queries.deliverables_of(session, organization_id, [row.id for row in rows])
    deliverers = await queries.deliverers(session, organization_id, [row.round_id for row in rows if row.round_id])
    views = []
    for row in rows:
        contract = contracts[row.contract_id]
        facts = facts_of(
            contract,
            row,
            deliverables=len(deliverables[row.id]),
            approvers=len(approvers[contract.id]),
            delivered_by_actor=actor_id is not None and row.round_id is not None and deliverers.get(row.round_id) == actor_id,
        )
        views.append(_milestone(contract, row, deliverables[row.id], allowed_events(State(row.state), facts, role), reader))
    return views


def deliverable_view(row: Deliverable) -> DeliverableView:
    """One deliverable."""
    return DeliverableView(
        id=row.id,
        milestone_id=row.milestone_id,
        round_id=row.round_id,
        kind=row.kind,
        title=row.title,
        url=row.url,
        note=row.note,
        sha256_hex=row.sha256_hex,
        content_type=row.content_type,
        size=row.size,
        created_at=row.created_at,
    )


def _milestone(
    contract: Contract, row: Milestone, deliverables: Sequence[Deliverable], events: tuple[Event, ...], reader: Reader
) -> MilestoneView:
    delivered_on = clock.day_of(row.delivered_at, reader.time_zone) if row.delivered_at else None
    state = State(row.state)
    return MilestoneView(
        id=row.id,
        contract_id=row.contract_id,
        contract_title=contract.title,
        position=row.position,
        title=row.title,
        description=row.description,
        acceptance_criteria=tuple(row.acceptance_criteria),
        deliverables_expected=tuple(row.deliverables_expected),
        due_on=row.due_on,
        planned_on=row.planned_on,
        amount=Money(row.amount_minor, row.currency),
        percent=row.percent,
        own_tax=tax_of(row),
        tax=tax_for(contract, row),
        state=state,
        allowed_events=events,
        health=health(state, due_on=row.due_on, planned_on=row.planned_on, delivered_on=delivered_on, today=clock.today(reader.time_zone)),
        billing_held=row.billing_held,
        round_number=row.round_number,
        round_id=row.round_id,
        deliverables=tuple(deliverable_view(item) for item in deliverables),
        started_at=row.started_at,
        delivered_at=row.delivered_at,
        approved_at=row.approved_at,
        version=row.version,
        created_at=row.created_at,
    )


def _contract(
    row: Contract,
    client_name: str,
    approver_ids: Sequence[UUID],
    milestones: Sequence[MilestoneView],
    rows: Sequence[Milestone],
    agreed: ContractVersion | None,
) -> ContractView:
    value, contingency = Money(row.value_minor, row.currency), Money(row.contingency_minor, row.currency)
    live = [milestone.amount for milestone in milestones if milestone.state is not State.CANCELLED]
    return ContractView(
        id=row.id,
        client_id=row.client_id,
        client_name=client_name,
        title=row.title,
        reference=row.reference,
        purchase_order=row.purchase_order,
        buyer_reference=row.buyer_reference,
        currency=row.currency,
        value=value,
        contingency=contingency,
        price_basis=row.price_basis,
        tax=TaxTreatment(TaxCategory(row.tax_category), Decimal(row.tax_rate_percent)),
        payment_days=row.payment_days,
        payment_from=row.payment_from,
        approval_policy=row.approval_policy,
        approver_ids=tuple(approver_ids),
        invoicing_on_approval=row.invoicing_on_approval,
        state=ContractState(row.state),
        owner_member_id=row.owner_member_id,
        milestones=tuple(milestones),
        allocation=allocation_bar(value, contingency, live),
        hints=tuple(hints([draft_of(item) for item in rows])) if row.state == ContractState.DRAFT else (),
        agreed=_version(agreed) if agreed else None,
        version=row.version,
        created_at=row.created_at,
        activated_at=row.activated_at,
        completed_at=row.completed_at,
    )


def _version(row: ContractVersion) -> VersionView:
    return VersionView(
        number=row.number,
        content_sha256_hex=row.content_sha256.hex(),
        agreement_sha256_hex=row.agreement_sha256_hex,
        agreement_file_name=row.agreement_file_name,
        agreed_on=row.agreed_on,
        agreed_by=row.agreed_by,
        created_at=row.created_at,
    )
