"""The verbs of a contract: draft it, change it, delete it, activate it. Those of its milestones are imported from beside."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import UNSET
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.contracts import queries
from tollgate.contracts.models import Contract, ContractApprover, Milestone
from tollgate.contracts.rules import ContractState, TaxCategory, TaxTreatment
from tollgate.contracts.service_activation import activate_contract, problems_of
from tollgate.contracts.service_checks import check_contract, resolve_approvers, resolve_client
from tollgate.contracts.service_deliverables import add_deliverable, remove_deliverable
from tollgate.contracts.service_input import (
    AgreementInput,
    ContractChange,
    ContractInput,
    DeliverableInput,
    FileInput,
    MilestoneChange,
    MilestoneInput,
)
from tollgate.contracts.service_milestones import cancel_milestone, change_milestone, input_of, price, rows_of, start_milestone
from tollgate.contracts.service_moves import check_move, lock_contract, lock_milestone, move, require_version, settle_contract
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Conflict, _
from tollgate.money.amount import Money

__all__ = [
    "AgreementInput",
    "ContractChange",
    "ContractInput",
    "DeliverableInput",
    "FileInput",
    "MilestoneChange",
    "MilestoneInput",
    "NotADraft",
    "activate_contract",
    "add_deliverable",
    "cancel_milestone",
    "change_contract",
    "change_contract_in",
    "change_milestone",
    "check_move",
    "create_contract",
    "create_contract_in",
    "delete_contract",
    "lock_contract",
    "lock_milestone",
    "move",
    "problems_of",
    "remove_deliverable",
    "settle_contract",
    "start_milestone",
]


class NotADraft(Conflict):
    """Only drafts are edited or deleted; what is agreed changes by change order."""

    slug = "not-a-draft"
    title = _("Only a draft can be changed; what is agreed changes by change order")


async def create_contract(db: Database, command: Command, asked: ContractInput) -> UUID:
    """Keep a new draft with its schedule. Raises `Invalid` naming every wrong field, `NotFound` for a foreign client or contact."""
    async with db.transaction(command.organization_id, command) as session:
        return answer(session, await create_contract_in(session, command, asked), 201)


async def create_contract_in(session: AsyncSession, command: Command, asked: ContractInput) -> UUID:
    """`create_contract` inside a verb that does more, such as entering the client too."""
    organization = await queries.organization(session, command.organization_id)
    client = await resolve_client(session, command.organization_id, asked.client_id)
    approvers = await resolve_approvers(session, command.organization_id, client.id, asked.approver_ids)
    currency = asked.currency or organization.currency
    default_tax = TaxTreatment(TaxCategory(organization.default_tax_category), organization.default_tax_rate_percent)
    tax = asked.tax or default_tax
    contract = Contract(
        organization_id=command.organization_id,
        id=uuid7(),
        client_id=client.id,
        title=asked.title,
        reference=asked.reference,
        purchase_order=asked.purchase_order,
        buyer_reference=asked.buyer_reference,
        currency=currency,
        value_minor=asked.value.minor,
        contingency_minor=asked.contingency.minor if asked.contingency else 0,
        price_basis=asked.price_basis,
        tax_category=tax.category.value,
        tax_rate_percent=tax.rate_percent,
        payment_days=organization.default_payment_days if asked.payment_days is None else asked.payment_days,
        payment_from=asked.payment_from,
        approval_policy="any_one",
        invoicing_on_approval=asked.invoicing_on_approval,
        state=ContractState.DRAFT.value,
        owner_member_id=command.actor_id if command.actor_kind is ActorKind.MEMBER else None,
        version=1,
        created_at=clock.now(),
    )
    check_contract(contract, organization.currency, asked.value, asked.contingency, asked.milestones)
    session.add(contract)
    await session.flush()
    _set_approvers(session, contract, approvers)
    session.add_all(rows_of(contract, asked.milestones))
    audit.record(
        session,
        "contract.created",
        ("contract", contract.id),
        contract_id=contract.id,
        value=asked.value.decimal_string(),
        currency=currency,
        milestones=len(asked.milestones),
    )
    return contract.id


async def change_contract(db: Database, command: Command, contract_id: UUID, version: int, change: ContractChange) -> UUID:
    """Change a draft. Raises `Stale` when `version` is not the newest, `NotADraft`, or `Invalid` naming every wrong field."""
    async with db.transaction(command.organization_id, command) as session:
        return answer(session, await change_contract_in(session, command, contract_id, version, change))


async def change_contract_in(session: AsyncSession, command: Command, contract_id: UUID, version: int, change: ContractChange) -> UUID:
    """`change_contract` inside a verb that does more."""
    organization = await queries.organization(session, command.organization_id)
    contract = await _draft(session, command.organization_id, contract_id, version)
    kept = await queries.milestones_of(session, command.organization_id, [contract_id])
    if change.client_id is not UNSET and change.client_id != contract.client_id:
        contract.client_id = (await resolve_client(session, command.organization_id, change.client_id)).id
        if change.approver_ids is UNSET:
            await _replace_approvers(session, contract, await resolve_approvers(session, command.organization_id, contract.client_id, None))
    _apply(contract, change)
    schedule = [input_of(row) for row in kept] if change.milestones is UNSET else change.milestones
    value = Money(contract.value_minor, contract.currency) if change.value is UNSET else change.value
    contingency = Money(contract.contingency_minor, contract.currency) if change.contingency is UNSET else change.contingency
    check_contract(contract, organization.currency, value, contingency, schedule)
    if change.approver_ids is not UNSET:
        named = await resolve_approvers(session, command.organization_id, contract.client_id, change.approver_ids)
        await _replace_approvers(session, contract, named)
    if change.milestones is not UNSET:
        for row in kept:
            await session.delete(row)
        await session.flush()
        session.add_all(rows_of(contract, change.milestones))
    else:
        price(contract, kept)
    contract.version += 1
    audit.record(session, "contract.changed", ("contract", contract.id), contract_id=contract.id, fields=_fields(change))
    return contract.id


async def delete_contract(db: Database, command: Command, contract_id: UUID, version: int) -> UUID:
    """Delete a draft with its schedule. Raises `Stale` or `NotADraft`."""
    async with db.transaction(command.organization_id, command) as session:
        contract = await _draft(session, command.organization_id, contract_id, version)
        organization_id = command.organization_id
        await session.execute(delete(Milestone).where(Milestone.organization_id == organization_id, Milestone.contract_id == contract_id))
        await _replace_approvers(session, contract, [])
        await session.delete(contract)
        audit.record(session, "contract.deleted", ("contract", contract_id), contract_id=contract_id)
        return answer(session, contract_id, 204)


async def _draft(session: AsyncSession, organization_id: UUID, contract_id: UUID, version: int) -> Contract:
    contract = await lock_contract(session, organization_id, contract_id)
    if contract.state != ContractState.DRAFT:
        raise NotADraft(state=contract.state)
    require_version(contract.version, version)
    return contract


def _apply(contract: Contract, change: ContractChange) -> None:
    plain = ("title", "currency", "reference", "purchase_order", "buyer_reference", "price_basis", "payment_days", "payment_from")
    for name in (*plain, "invoicing_on_approval"):
        given = getattr(change, name)
        if given is not UNSET:
            setattr(contract, name, given)
    if change.value is not UNSET:
        contract.value_minor = change.value.minor
    if change.contingency is not UNSET:
        contract.contingency_minor = change.contingency.minor
    if change.tax is not UNSET:
        contract.tax_category = change.tax.category.value
        contract.tax_rate_percent = change.tax.rate_percent


def _fields(change: ContractChange) -> list[str]:
    return sorted(name for name in ContractChange.__dataclass_fields__ if getattr(change, name) is not UNSET)


def _set_approvers(session: AsyncSession, contract: Contract, contact_ids: Sequence[UUID]) -> None:
    session.add_all(
        ContractApprover(organization_id=contract.organization_id, contract_id=contract.id, contact_id=contact_id, position=position)
        for position, contact_id in enumerate(contact_ids)
    )


async def _replace_approvers(session: AsyncSession, contract: Contract, contact_ids: Sequence[UUID]) -> None:
    await session.execute(
        delete(ContractApprover).where(
            ContractApprover.organization_id == contract.organization_id, ContractApprover.contract_id == contract.id
        )
    )
    _set_approvers(session, contract, contact_ids)
