"""Every document that will follow from a contract, by the same calculation that issuing does (R2, R3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.billing import queries
from tollgate.billing.rules import DocumentTotals, TaxTreatment, series_rounding
from tollgate.billing.service_issue import missing, totals_for, treatment_of
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.models import Contract
from tollgate.contracts.rules import ContractState, MilestoneDraft, State, TaxCategory, milestone_amounts
from tollgate.contracts.service_checks import check_contract, resolve_client
from tollgate.contracts.service_input import ContractInput
from tollgate.db.types import uuid7
from tollgate.errors import FieldError
from tollgate.money.amount import Money, total
from tollgate.parties.models import Client, Organization


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleItem:
    """One document that will follow, or has: net = milestone_net − deposit_drawn − retained_net is what its net will be."""

    kind: str
    milestone_id: UUID | None
    position: int
    title: str
    due_on: date | None
    milestone_net: Money
    deposit_drawn: Money
    retained_net: Money
    net: Money
    tax: Money
    gross: Money
    rounding: Money
    retained: Money
    payable: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The documents, their sums, and by how much their taxes differ from tax on the whole (R3: shown, never billed)."""

    items: tuple[ScheduleItem, ...]
    net: Money
    tax: Money
    gross: Money
    payable: Money
    series_rounding: Money
    problems: tuple[FieldError, ...]
    """What an invoice still lacks (R18)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    milestone_id: UUID | None
    title: str
    due_on: date | None
    amount: Money
    tax: TaxTreatment


async def schedule(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> Schedule:
    """The documents of a contract as it stands; cancelled milestones make none. Raises `NotFound`."""
    contract = await contract_queries.contract(session, organization_id, contract_id)
    rows = await contract_queries.milestones_of(session, organization_id, [contract_id])
    stages = [
        _Stage(
            milestone_id=row.id,
            title=row.title,
            due_on=row.due_on,
            amount=Money(row.amount_minor, row.currency),
            tax=treatment_of(contract, row),
        )
        for row in rows
        if row.state != State.CANCELLED
    ]
    seller = await queries.organization(session, organization_id)
    buyer = await queries.client(session, organization_id, contract.client_id)
    return _schedule(stages, contract.price_basis, contract.currency, seller, buyer)


async def preview(session: AsyncSession, organization_id: UUID, asked: ContractInput) -> Schedule:
    """The documents of a draft that is not kept. Raises `Invalid` as saving it would, `NotFound` for a foreign client."""
    seller = await queries.organization(session, organization_id)
    buyer = await resolve_client(session, organization_id, asked.client_id)
    currency = asked.currency or seller.currency
    default = TaxTreatment(TaxCategory(seller.default_tax_category), Decimal(seller.default_tax_rate_percent))
    tax = asked.tax or default
    check_contract(_transient(asked, organization_id, currency, tax), seller.currency, asked.value, asked.contingency, asked.milestones)
    amounts = milestone_amounts(asked.value, [MilestoneDraft(amount=row.amount, percent=row.percent) for row in asked.milestones])
    stages = [
        _Stage(milestone_id=None, title=row.title, due_on=row.due_on, amount=amount, tax=row.tax or tax)
        for row, amount in zip(asked.milestones, amounts, strict=True)
    ]
    return _schedule(stages, asked.price_basis, currency, seller, buyer)


def _transient(asked: ContractInput, organization_id: UUID, currency: str, tax: TaxTreatment) -> Contract:
    return Contract(
        organization_id=organization_id,
        id=uuid7(),
        client_id=asked.client_id,
        title=asked.title,
        currency=currency,
        tax_category=tax.category.value,
        tax_rate_percent=tax.rate_percent,
        payment_days=30 if asked.payment_days is None else asked.payment_days,
        state=ContractState.DRAFT.value,
        created_at=clock.now(),
    )


def _schedule(stages: Sequence[_Stage], price_basis: str, currency: str, seller: Organization, buyer: Client) -> Schedule:
    documents = [totals_for(stage.amount, stage.tax, price_basis) for stage in stages]
    return Schedule(
        items=tuple(_item(position, stage, totals) for position, (stage, totals) in enumerate(zip(stages, documents, strict=True), 1)),
        net=total((item.net for item in documents), currency),
        tax=total((item.tax for item in documents), currency),
        gross=total((item.gross for item in documents), currency),
        payable=total((item.payable for item in documents), currency),
        series_rounding=series_rounding([item.groups for item in documents], currency),
        problems=tuple(missing(seller, buyer, [stage.tax for stage in stages])),
    )


def _item(position: int, stage: _Stage, totals: DocumentTotals) -> ScheduleItem:
    nothing = Money.zero(totals.net.currency)
    return ScheduleItem(
        kind="milestone",
        milestone_id=stage.milestone_id,
        position=position,
        title=stage.title,
        due_on=stage.due_on,
        milestone_net=totals.net,
        deposit_drawn=nothing,
        retained_net=nothing,
        net=totals.net,
        tax=totals.tax,
        gross=totals.gross,
        rounding=totals.rounding,
        retained=totals.retained,
        payable=totals.payable,
    )
