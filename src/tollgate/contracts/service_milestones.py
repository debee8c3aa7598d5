"""The verbs of one milestone, and how the rows of a schedule get their amounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from msgspec import UNSET

from tollgate import audit, clock
from tollgate.contracts import queries
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import (
    ContractState,
    Event,
    MilestoneDraft,
    PaymentTerms,
    State,
    TaxCategory,
    TaxTreatment,
    TermsFrom,
    due_day,
    milestone_amounts,
)
from tollgate.contracts.service_checks import day_problems, milestone_problems, refuse
from tollgate.contracts.service_input import MilestoneChange, MilestoneInput
from tollgate.contracts.service_moves import lock_milestone, move, require_version
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Conflict, FieldError, _
from tollgate.money.amount import Money


class AgreedAlready(Conflict):
    """The milestone is part of an active contract: only `planned_on` is free to move."""

    slug = "agreed-already"
    title = _("This is agreed and changes by change order only; planned_on is free to move")


async def start_milestone(db: Database, command: Command, milestone_id: UUID) -> UUID:
    """Begin work. Raises `TransitionRefused`."""
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        await move(session, contract, milestone, Event.START)
        return answer(session, milestone_id)


async def cancel_milestone(db: Database, command: Command, milestone_id: UUID) -> UUID:
    """Strike a milestone out of a draft; it stays visible and counts nothing. Raises `TransitionRefused` for an agreed one."""
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        await move(session, contract, milestone, Event.CANCEL)
        price(contract, await queries.milestones_of(session, command.organization_id, [contract.id]))
        contract.version += 1
        return answer(session, milestone_id)


async def change_milestone(db: Database, command: Command, milestone_id: UUID, version: int, change: MilestoneChange) -> UUID:
    """Move `planned_on`; on drafts change anything. Raises `Stale`, `AgreedAlready` or `Invalid`."""
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        require_version(milestone.version, version)
        given = {name for name in MilestoneChange.__dataclass_fields__ if getattr(change, name) is not UNSET}
        agreed = sorted(given - {"planned_on"})
        draft = contract.state == ContractState.DRAFT
        if agreed and not draft:
            raise AgreedAlready(errors=[FieldError(f"/{name}", _("agreed; it changes by change order only")) for name in agreed])
        if change.planned_on is not UNSET and change.planned_on != milestone.planned_on:
            refuse(day_problems(change.planned_on, "/planned_on"))
            milestone.planned_on = change.planned_on
            planned = change.planned_on.isoformat() if change.planned_on else ""
            audit.record(session, "milestone.planned", ("milestone", milestone.id), contract_id=contract.id, planned_on=planned)
        if agreed:
            changed = _merged(milestone, change)
            refuse(milestone_problems(changed, contract.currency, ""))
            _write(milestone, changed)
            price(contract, await queries.milestones_of(session, command.organization_id, [contract.id]))
            fields = [f"milestones/{milestone.position}/{name}" for name in agreed]
            audit.record(session, "contract.changed", ("contract", contract.id), contract_id=contract.id, fields=fields)
        if draft and given:
            contract.version += 1
        if given:
            milestone.version += 1
        return answer(session, milestone_id)


def rows_of(contract: Contract, schedule: Sequence[MilestoneInput]) -> list[Milestone]:
    """New rows of a draft's schedule, priced."""
    rows = []
    for position, item in enumerate(schedule):
        row = Milestone(
            organization_id=contract.organization_id,
            id=uuid7(),
            contract_id=contract.id,
            position=position,
            currency=contract.currency,
            amount_minor=0,
            state=State.PLANNED.value,
            version=1,
            round_number=0,
            billing_held=False,
            created_at=clock.now(),
        )
        _write(row, item)
        rows.append(row)
    price(contract, rows)
    return rows


def price(contract: Contract, rows: Sequence[Milestone]) -> None:
    """Give every milestone that is a percentage its share of the value (R1); cancelled ones take none."""
    live = [row for row in rows if row.state != State.CANCELLED]
    value = Money(contract.value_minor, contract.currency)
    for row, amount in zip(live, milestone_amounts(value, [draft_of(row) for row in live]), strict=True):
        if row.amount_minor != amount.minor:
            row.amount_minor = amount.minor


def draft_of(row: Milestone) -> MilestoneDraft:
    """A row as the pure rules see it."""
    return MilestoneDraft(
        title=row.title,
        amount=None if row.percent is not None else Money(row.amount_minor, row.currency),
        percent=row.percent,
        acceptance_criteria=row.acceptance_criteria,
        deliverables_expected=row.deliverables_expected,
        due_on=row.due_on,
        planned_on=row.planned_on,
        tax=tax_of(row),
    )


def input_of(row: Milestone) -> MilestoneInput:
    """A row as it was entered."""
    return MilestoneInput(
        title=row.title,
        description=row.description,
        acceptance_criteria=row.acceptance_criteria,
        deliverables_expected=row.deliverables_expected,
        due_on=row.due_on,
        planned_on=row.planned_on,
        amount=None if row.percent is not None else Money(row.amount_minor, row.currency),
        percent=row.percent,
        tax=tax_of(row),
    )


def tax_of(row: Milestone | Contract) -> TaxTreatment | None:
    """A row's own tax treatment; None where a milestone has the contract's."""
    if row.tax_category is None or row.tax_rate_percent is None:
        return None
    return TaxTreatment(TaxCategory(row.tax_category), Decimal(row.tax_rate_percent))


def tax_for(contract: Contract, milestone: Milestone) -> TaxTreatment:
    """The tax treatment that holds for a milestone: its own, else the contract's."""
    own = tax_of(milestone)
    return own or TaxTreatment(TaxCategory(contract.tax_category), Decimal(contract.tax_rate_percent))


def _merged(row: Milestone, change: MilestoneChange) -> MilestoneInput:
    now = input_of(row)
    values = {name: getattr(now, name) for name in MilestoneInput.__dataclass_fields__}
    given = {name: getattr(change, name) for name in values if getattr(change, name) is not UNSET}
    # Entering one of the two takes the place of the other.
    if "amount" in given and "percent" not in given:
        values["percent"] = None
    if "percent" in given and "amount" not in given:
        values["amount"] = None
    return MilestoneInput(**{**values, **given})


def _write(row: Milestone, item: MilestoneInput) -> None:
    row.title, row.description = item.title, item.description
    row.acceptance_criteria, row.deliverables_expected = list(item.acceptance_criteria), list(item.deliverables_expected)
    row.due_on, row.planned_on = item.due_on, item.planned_on
    row.percent = item.percent
    row.amount_minor = item.amount.minor if item.amount is not None else row.amount_minor
    row.tax_category = item.tax.category.value if item.tax else None
    row.tax_rate_percent = item.tax.rate_percent if item.tax else None


def due_if_issued(issued_on: date, days: int, start: str) -> date:
    """The day an invoice issued on `issued_on` would be due, by a contract's columns."""
    return due_day(issued_on, PaymentTerms(days, TermsFrom(start)))
