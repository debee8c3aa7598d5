"""The schedule of a contract: amounts from percents (R1), the running balance, what activation needs, health and advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from tollgate.contracts.states import State
from tollgate.contracts.tax_rules import PartyFacts, TaxTreatment, tax_problems
from tollgate.errors import FieldError, Invalid, Message, _
from tollgate.money.amount import Money, total
from tollgate.money.rates import HUNDRED
from tollgate.money.splitting import cumulative_parts

MANY_MILESTONES = 10
AT_RISK_WITHIN = timedelta(days=7)

DELIVERED_STATES = frozenset({State.DELIVERED, State.APPROVED, State.INVOICED, State.PAID})


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneDraft:
    """A row of the schedule as entered: an amount, or a percent of the contract's value, never both."""

    title: str = ""
    amount: Money | None = None
    percent: Decimal | None = None
    acceptance_criteria: Sequence[str] = ()
    deliverables_expected: Sequence[str] = ()
    due_on: date | None = None
    planned_on: date | None = None
    tax: TaxTreatment | None = None
    """None: the contract's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractDraft:
    """What activation looks at. `contingency` is the part of the value that no milestone has yet."""

    value: Money
    contingency: Money
    milestones: Sequence[MilestoneDraft]
    tax: TaxTreatment
    approvers: int
    seller: PartyFacts
    buyer: PartyFacts


@dataclass(frozen=True, slots=True)
class Allocation:
    """The running balance of the form: what the milestones and the contingency take, what is left, and the share taken.

    `percent` has two digits and is exactly 100.00 only when nothing is left: it is rounded away from 100 otherwise.
    """

    allocated: Money
    left: Money
    percent: Decimal


class NotReady(Invalid):
    """The contract cannot be activated; `errors` names every reason."""

    slug = "contract-not-ready"
    title = _("The contract cannot be activated yet")


def milestone_amounts(value: Money, milestones: Sequence[MilestoneDraft]) -> list[Money]:
    """The amount of each milestone, in order.

    Amounts stay as entered. Percents are shares of `value` by R1: cumulative over the percent milestones, so percents of
    100 sum to `value` exactly, and 30 % next to fixed amounts is 30 % of the value. A milestone with neither counts zero.
    """
    percents = [milestone.percent or Decimal(0) for milestone in milestones if milestone.amount is None]
    parts = iter(cumulative_parts(value.minor, percents, HUNDRED))
    return [Money(next(parts), value.currency) if milestone.amount is None else milestone.amount for milestone in milestones]


def allocation_bar(value: Money, contingency: Money, amounts: Sequence[Money]) -> Allocation:
    """What the schedule takes of `value`. `left` is negative when it takes too much."""
    allocated = total(amounts, value.currency) + contingency
    left = value - allocated
    if left.is_zero:
        return Allocation(allocated, left, Decimal("100.00"))
    if value.is_zero:
        return Allocation(allocated, left, Decimal("100.01") if left.is_negative else Decimal("0.00"))
    exact = Fraction(allocated.minor * 10000, value.minor)
    # 99.999 % must not read "100.00 %" while a cent is left.
    hundredths = exact.__floor__() if left.is_positive else exact.__ceil__()
    return Allocation(allocated, left, Decimal(hundredths).scaleb(-2))


def activation_problems(contract: ContractDraft) -> list[FieldError]:
    """Everything that stands between this draft and being active; empty when it may be activated."""
    problems: list[FieldError] = []
    problems += _value_problems(contract)
    if not contract.milestones:
        problems.append(FieldError("/milestones", _("add at least one milestone")))
    for index, milestone in enumerate(contract.milestones):
        problems += _milestone_problems(milestone, f"/milestones/{index}")
    if contract.milestones and not problems:
        problems += _sum_problems(contract)
    if contract.approvers < 1:
        problems.append(FieldError("/approval/contact_ids", _("name at least one approver")))
    problems += tax_problems(contract.tax, "/tax", contract.seller, contract.buyer)
    for index, milestone in enumerate(contract.milestones):
        if milestone.tax is not None and milestone.tax != contract.tax:
            own = tax_problems(milestone.tax, f"/milestones/{index}/tax", contract.seller, contract.buyer)
            problems += [problem for problem in own if problem not in problems]
    return problems


def check_activation(contract: ContractDraft) -> list[Money]:
    """The milestones' amounts of a contract that may be activated. Raises NotReady with every problem."""
    problems = activation_problems(contract)
    if problems:
        raise NotReady(problems[0].detail if len(problems) == 1 else None, errors=problems)
    return milestone_amounts(contract.value, contract.milestones)


def _value_problems(contract: ContractDraft) -> list[FieldError]:
    problems = []
    if contract.value.is_negative:
        problems.append(FieldError("/value", _("the value cannot be negative")))
    if contract.contingency.is_negative:
        problems.append(FieldError("/contingency", _("the contingency cannot be negative")))
    return problems


def _milestone_problems(milestone: MilestoneDraft, at: str) -> list[FieldError]:
    problems = []
    if not milestone.title.strip():
        problems.append(FieldError(f"{at}/title", _("give the milestone a title")))
    if milestone.amount is None and milestone.percent is None:
        problems.append(FieldError(f"{at}/amount", _("give an amount or a percentage")))
    if milestone.amount is not None and milestone.percent is not None:
        problems.append(FieldError(f"{at}/amount", _("give an amount or a percentage, not both")))
    if milestone.amount is not None and milestone.amount.is_negative:
        problems.append(FieldError(f"{at}/amount", _("the amount cannot be negative")))
    if milestone.percent is not None and not 0 <= milestone.percent <= HUNDRED:
        problems.append(FieldError(f"{at}/percent", _("a percentage is between 0 and 100")))
    return problems


def _sum_problems(contract: ContractDraft) -> list[FieldError]:
    amounts = milestone_amounts(contract.value, contract.milestones)
    bar = allocation_bar(contract.value, contract.contingency, amounts)
    message = sum_message(contract.value, bar)
    return [] if message is None else [FieldError("/milestones", message)]


def sum_message(value: Money, bar: Allocation) -> Message | None:
    """The sentence that names the difference between schedule and value; None when there is none."""
    if bar.left.is_zero:
        return None
    if bar.left.is_positive:
        return _(
            "milestones and contingency come to %(allocated)s, %(difference)s less than the value of %(value)s",
            allocated=bar.allocated,
            difference=bar.left,
            value=value,
        )
    return _(
        "milestones and contingency come to %(allocated)s, %(difference)s more than the value of %(value)s",
        allocated=bar.allocated,
        difference=-bar.left,
        value=value,
    )


class Health(StrEnum):
    """How a milestone is doing against its dates; derived, never stored."""

    ON_TIME = "on_time"
    AT_RISK = "at_risk"
    OVERDUE = "overdue"
    DONE_ON_TIME = "done_on_time"
    DONE_LATE = "done_late"


def health(state: State, *, due_on: date | None, planned_on: date | None, delivered_on: date | None, today: date) -> Health | None:
    """Health on the legal day `today`; None for a cancelled milestone.

    Late and on time are judged on the delivery day against `due_on`. At risk is what is not delivered and planned after it
    is due, or due within 7 days and not started. Without a due date nothing is late.
    """
    if state is State.CANCELLED:
        return None
    if state in DELIVERED_STATES:
        late = due_on is not None and delivered_on is not None and delivered_on > due_on
        return Health.DONE_LATE if late else Health.DONE_ON_TIME
    if due_on is None:
        return Health.ON_TIME
    if today > due_on:
        return Health.OVERDUE
    slips = planned_on is not None and planned_on > due_on
    soon = state is State.PLANNED and due_on - today <= AT_RISK_WITHIN
    return Health.AT_RISK if slips or soon else Health.ON_TIME


@dataclass(frozen=True, slots=True)
class Hint:
    """Advice on the schedule, never a wall. `slug` is stable; `pointer` says where to show it."""

    pointer: str
    slug: str
    message: Message


def hints(milestones: Sequence[MilestoneDraft]) -> list[Hint]:
    """SMART advice: what a careful reader would ask about this schedule, in its order."""
    found: list[Hint] = []
    latest: date | None = None
    if len(milestones) > MANY_MILESTONES:
        found.append(
            Hint("/milestones", "many-milestones", _("more than %(limit)s milestones are hard to keep track of", limit=MANY_MILESTONES))
        )
    for index, milestone in enumerate(milestones):
        at = f"/milestones/{index}"
        if not any(text.strip() for text in milestone.acceptance_criteria):
            found.append(Hint(f"{at}/acceptance_criteria", "no-criteria", _("say how the client can tell that it is done")))
        if not any(text.strip() for text in milestone.deliverables_expected):
            found.append(Hint(f"{at}/deliverables_expected", "no-deliverable", _("name what will be handed over")))
        if milestone.due_on is None:
            found.append(Hint(f"{at}/due_on", "no-due-date", _("agree on a date")))
        elif latest is not None and milestone.due_on < latest:
            found.append(Hint(f"{at}/due_on", "due-before-previous", _("this is due before the milestone above it")))
        latest = milestone.due_on or latest
    return found
