"""Locks, moves and completion: what every room above calls when a milestone changes its state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.contracts import queries
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import (
    ContractEvent,
    ContractState,
    Event,
    MilestoneFacts,
    Party,
    Role,
    State,
    TransitionRefused,
    next_contract_state,
    next_state,
    possible_events,
    require,
)
from tollgate.db.command import ActorKind
from tollgate.db.database import command_of
from tollgate.errors import Stale

AUDIT_NAMES: dict[Event, str] = {
    Event.START: "milestone.started",
    Event.DELIVER: "milestone.delivered",
    Event.WITHDRAW: "milestone.withdrawn",
    Event.APPROVE: "milestone.approved",
    Event.RECORD_APPROVAL: "milestone.approved",
    Event.REQUEST_CHANGES: "milestone.changes_requested",
    Event.REOPEN: "milestone.reopened",
    Event.INVOICE: "milestone.invoiced",
    Event.RELEASE: "milestone.released",
    Event.SETTLE: "milestone.paid",
    Event.REVERSE: "milestone.reversed",
    Event.CANCEL: "milestone.cancelled",
}


async def lock_contract(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> Contract:
    """The contract, its row locked: the first lock of every verb on anything below it. Raises `NotFound`."""
    return await queries.contract_for_update(session, organization_id, contract_id)


async def lock_milestone(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> tuple[Contract, Milestone]:
    """Contract and milestone, locked in this order. Raises `NotFound`."""
    contract_id = await queries.contract_of_milestone(session, organization_id, milestone_id)
    contract = await lock_contract(session, organization_id, contract_id)
    return contract, await queries.milestone_for_update(session, organization_id, milestone_id)


async def move(
    session: AsyncSession,
    contract: Contract,
    milestone: Milestone,
    event: Event,
    facts: MilestoneFacts | None = None,
    *,
    who: Role | Party | None = None,
    **data: Any,
) -> State:
    """Take a locked milestone through one line of the table: state, instants, version and audit trail.

    `facts` carry what the guards ask for; the contract's state is filled in here. `who` defaults to the asking member's role, or
    to the system in a job; pass `Party.SYSTEM` where a member's act makes the system move a milestone. `data` are the members of
    the audit event. Raises `RoleTooSmall` or `TransitionRefused`; nothing is changed then.
    """
    target = await check_move(session, contract, milestone, event, facts, who=who)
    milestone.state = target.value
    milestone.version += 1
    _stamp(milestone, event)
    audit.record(session, AUDIT_NAMES[event], ("milestone", milestone.id), contract_id=contract.id, **data)
    await session.flush()
    return target


async def check_move(
    session: AsyncSession,
    contract: Contract,
    milestone: Milestone,
    event: Event,
    facts: MilestoneFacts | None = None,
    *,
    who: Role | Party | None = None,
) -> State:
    """Where `event` would take a locked milestone; changes nothing. Raises what `move` raises."""
    state = State(milestone.state)
    require(who or _asking(session), state, event)
    try:
        return next_state(state, event, replace(facts or MilestoneFacts(), contract_state=ContractState(contract.state)))
    except TransitionRefused as refused:
        # Only a refusal needs to know everything, to say truly what is possible instead.
        deliverables = (await queries.deliverables_of(session, contract.organization_id, [milestone.id]))[milestone.id]
        approvers = (await queries.approvers_of(session, contract.organization_id, [contract.id]))[contract.id]
        whole = facts_of(contract, milestone, deliverables=len(deliverables), approvers=len(approvers), delivered_by_actor=False)
        raise TransitionRefused(state, event, refused.reasons, possible_events(state, whole)) from None


def facts_of(contract: Contract, row: Milestone, *, deliverables: int, approvers: int, delivered_by_actor: bool) -> MilestoneFacts:
    """What this room knows of a milestone. Invoiced and paid mean a live invoice, approved means none: the table keeps it so."""
    state = State(row.state)
    return MilestoneFacts(
        contract_state=ContractState(contract.state),
        deliverables=deliverables,
        approvers=approvers,
        live_invoices=1 if state in {State.INVOICED, State.PAID} else 0,
        billing_held=row.billing_held,
        payable_settled=state is State.PAID,
        delivered_by_actor=delivered_by_actor,
    )


async def settle_contract(session: AsyncSession, contract: Contract) -> ContractState:
    """Complete a locked contract when every milestone is paid or cancelled, and take it back to active when one no longer is."""
    await session.flush()
    state = ContractState(contract.state)
    done = await queries.open_milestones(session, contract.organization_id, contract.id) == 0
    if done and state is ContractState.ACTIVE:
        contract.state = next_contract_state(state, ContractEvent.COMPLETE).value
        contract.completed_at = clock.now()
        contract.version += 1
        audit.record(session, "contract.completed", ("contract", contract.id), contract_id=contract.id)
    elif not done and state is ContractState.COMPLETED:
        contract.state = next_contract_state(state, ContractEvent.REACTIVATE).value
        contract.completed_at = None
        contract.version += 1
        audit.record(session, "contract.resumed", ("contract", contract.id), contract_id=contract.id)
    await session.flush()
    return ContractState(contract.state)


def require_version(present: int, version: int) -> None:
    """Raise `Stale` unless the caller edited the newest version (If-Match)."""
    if present != version:
        raise Stale(version=present)


def _asking(session: AsyncSession) -> Role | Party:
    command = command_of(session)
    if command is None or command.actor_kind is ActorKind.SYSTEM:
        return Party.SYSTEM
    return Role(command.role)


def _stamp(milestone: Milestone, event: Event) -> None:
    now = clock.now()
    match event:
        case Event.START:
            milestone.started_at = now
        case Event.DELIVER:
            milestone.started_at = milestone.started_at or now
            milestone.delivered_at = now
        case Event.WITHDRAW | Event.REQUEST_CHANGES:
            milestone.delivered_at = None
        case Event.APPROVE | Event.RECORD_APPROVAL:
            milestone.approved_at = now
        case Event.REOPEN:
            milestone.delivered_at = milestone.approved_at = None
        case Event.INVOICE:
            milestone.billing_held = False
        case Event.RELEASE:
            # From now on finance invoices again, never the system by itself.
            milestone.billing_held = True
        case _:
            pass
