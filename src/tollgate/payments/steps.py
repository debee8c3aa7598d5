"""How an invoice gets to the gateway and away again: which step is next. Pure; `handover.py` takes the steps.

The next step follows from the invoice's state and from the steps taken so far, never from who asks: whatever wakes the hand-over (issue,
void, credit, a transfer, the reconciliation) brings it to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tollgate.errors import Message, _
from tollgate.money.amount import Money, total
from tollgate.payments.rules import NotChargeable, provider_minor

TO_COMPOSE = "again"
"""Body of a refused step that somebody asked to try again: it is composed anew, under a key of its own."""


class StepName(StrEnum):
    """Steps but the lines, which are called `line 1`, `line 2`, …"""

    CUSTOMER = "customer"
    DRAFT = "draft"
    COMPARE = "compare"
    FINALIZE = "finalize"
    SEND = "send"
    WITHDRAW = "withdraw"
    MARK_PAID = "mark_paid"


CLOSING = (StepName.WITHDRAW, StepName.MARK_PAID)
"""After one of these the gateway never opens the invoice again."""


class StepState(StrEnum):
    """`planned` is stored before the call: it may have been made, and its answer lost."""

    PLANNED = "planned"
    DONE = "done"
    REFUSED = "refused"


ASK_LESS = "ask_less"
"""Steps that take a part off what is asked for are called `ask_less 1`, `ask_less 2`, …"""


class Wanted(StrEnum):
    """What our invoice wants of the gateway."""

    PAYABLE = "payable"
    TOO_LITTLE = "too_little"
    """Open, and less than a card can be charged with: it is not asked for there (any more)."""
    SETTLED = "settled"
    """Nothing is open: paid, wherever."""
    CLOSED = "closed"
    """Void, or credited in full."""


def next_step(wanted: Wanted, lines: int, taken: Mapping[str, StepState], *, asks_too_much: bool = False) -> str | None:
    """The name of the step to take now, None when all is done or somebody has to look at a refused step first.

    `asks_too_much`: money came another way that the gateway was not told of, by a step `ask_less`.
    """
    done = {name for name, state in taken.items() if state is StepState.DONE}
    # Before it could be paid there, a settled invoice is simply taken back.
    if wanted in {Wanted.CLOSED, Wanted.TOO_LITTLE} or (wanted is Wanted.SETTLED and StepName.FINALIZE not in taken):
        return _way_back(taken, done)
    if wanted is Wanted.SETTLED:
        if taken[StepName.FINALIZE] is StepState.PLANNED:
            return StepName.FINALIZE
        # A refusal on the way does not matter any more: whatever stands open there must not be asked for.
        return StepName.MARK_PAID if taken.get(StepName.MARK_PAID) in {None, StepState.PLANNED} else None
    # What was paid is open again. A closing call that may have been made is finished first, so that its end is known.
    for closing in CLOSING:
        if taken.get(closing) is StepState.PLANNED:
            return closing
    if StepState.REFUSED in taken.values() or closed_by(taken) is not None:
        return None
    for name in (StepName.CUSTOMER, StepName.DRAFT, *line_names(lines), StepName.COMPARE, StepName.FINALIZE, StepName.SEND):
        if name not in done:
            return name
    less = [name for name in taken if name.startswith(ASK_LESS)]
    waiting = [name for name in less if name not in done]
    return waiting[0] if waiting else f"{ASK_LESS} {len(less) + 1}" if asks_too_much else None


def closed_by(taken: Mapping[str, StepState]) -> StepName | None:
    """The step that closed the invoice at the gateway for good, None while it is open there or was never handed over."""
    return next((name for name in CLOSING if taken.get(name) is StepState.DONE), None)


def _way_back(taken: Mapping[str, StepState], done: set[str]) -> str | None:
    draft = taken.get(StepName.DRAFT)
    if draft is None or draft is StepState.REFUSED or StepName.WITHDRAW in done or taken.get(StepName.WITHDRAW) is StepState.REFUSED:
        return None
    # Its answer was lost: sent again under the same key, it tells which draft is to be withdrawn.
    return StepName.WITHDRAW if draft is StepState.DONE else StepName.DRAFT


def line_names(lines: int) -> tuple[str, ...]:
    """`line 1`, `line 2`, … in order."""
    return tuple(f"line {number}" for number in range(1, lines + 1))


def position_of(name: str, lines: int) -> int:
    """The place of a step in the list that people see."""
    order = (StepName.CUSTOMER, StepName.DRAFT, *line_names(lines), StepName.COMPARE, StepName.FINALIZE, StepName.SEND)
    if name.startswith(ASK_LESS):
        return len(order) + int(name.removeprefix(ASK_LESS))
    return order.index(name) + 1 if name in order else len(order) + (1 if name == StepName.MARK_PAID else 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAmounts:
    """One tax group of our invoice."""

    title: str
    rate: str
    base: Money
    tax: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAmount:
    """One line at the gateway."""

    label: Message
    amount: Money


def lines_for(
    number: str, groups: Sequence[GroupAmounts], *, prepaid: Money, rounding: Money, retained: Money, payable: Money
) -> tuple[LineAmount, ...]:
    """Per tax group one line with its net and one with its tax, then what is deducted: their sum is `payable` by construction.

    An amount that the gateway's units cannot say (fils) makes it one line. Raises ValueError where our own sums do not add up.
    """
    found: list[LineAmount] = []
    for group in groups:
        found.append(LineAmount(label=_("%(title)s, net", title=group.title), amount=group.base))
        found.append(LineAmount(label=_("Tax %(rate)s", rate=group.rate), amount=group.tax))
    found.append(LineAmount(label=_("Rounding"), amount=rounding))
    found.append(LineAmount(label=_("Already paid"), amount=-prepaid))
    found.append(LineAmount(label=_("Retainage held"), amount=-retained))
    kept = tuple(line for line in found if not line.amount.is_zero)
    if total((line.amount for line in kept), payable.currency) != payable:
        raise ValueError(f"the lines of {number} do not sum to what is payable")
    try:
        for line in kept:
            provider_minor(line.amount)
    except NotChargeable:
        return (LineAmount(label=_("Invoice %(number)s", number=number), amount=payable),)
    return kept
