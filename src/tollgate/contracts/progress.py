"""How far a contract has come, by amount: what its pages show as a bar and as figures that explain themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tollgate.contracts.rules import Health, State
from tollgate.contracts.service_views import ContractView, MilestoneView
from tollgate.errors import Message, _
from tollgate.money.amount import Money, total

STAGES: tuple[tuple[str, Message, frozenset[State]], ...] = (
    ("paid", _("Paid"), frozenset({State.PAID})),
    ("invoiced", _("Invoiced"), frozenset({State.INVOICED})),
    ("approved", _("Approved"), frozenset({State.APPROVED})),
    ("delivered", _("Delivered"), frozenset({State.DELIVERED})),
    ("to_come", _("To come"), frozenset({State.PLANNED, State.IN_PROGRESS, State.CHANGES_REQUESTED})),
)
"""Tone, word and states of each part of the bar, furthest first."""
WORST_FIRST = (Health.OVERDUE, Health.AT_RISK, Health.ON_TIME)


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the bar. `percent` is a width with two digits; the figure is the amount."""

    tone: str
    label: Message
    percent: Decimal
    amount: Money
    milestones: tuple[MilestoneView, ...]


def stages(contract: ContractView) -> list[Stage]:
    """The value by how far it has come: paid, invoiced, approved, delivered, to come. Cancelled milestones count nothing."""
    found = []
    whole = sum(one.amount.minor for one in contract.milestones if one.state is not State.CANCELLED) or 1
    for tone, label, states in STAGES:
        there = tuple(one for one in contract.milestones if one.state in states)
        amount = total((one.amount for one in there), contract.currency)
        found.append(Stage(tone, label, Decimal(amount.minor * 10_000 // whole).scaleb(-2), amount, there))
    return found


def worst_health(milestones: Sequence[MilestoneView]) -> Health | None:
    """A contract does as well as the worst of what is not delivered yet; None when nothing is left or nothing is agreed."""
    open_ = {one.health for one in milestones}
    return next((health for health in WORST_FIRST if health in open_), None)
