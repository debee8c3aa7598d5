"""R1: sharing an amount by weight so that not one minor unit is lost or made."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from tollgate.errors import Conflict, Invalid, _
from tollgate.money.amount import Money, round_half_up
from tollgate.money.amount import total as sum_of


class CannotSplit(Invalid):
    """The weights cannot carry the amount: one is negative, or all are zero."""

    slug = "cannot-split"
    title = _("This cannot be split")


class BelowFrozen(Conflict):
    """The new total is less than what is delivered, approved, invoiced or paid already (R1)."""

    slug = "below-frozen"
    title = _("The total would be less than what is fixed already")


def cumulative_parts(minor: int, weights: Sequence[Decimal], whole: Decimal | Fraction) -> list[int]:
    """`round(T·W_i/whole) − round(T·W_{i−1}/whole)` for each running weight W_i, half-up away from zero (R1).

    `whole` may differ from the sum of the weights: milestones of 30 % and 30 % are parts of 100, not of 60.
    """
    parts: list[int] = []
    running, before = Fraction(0), 0
    for weight in weights:
        running += Fraction(weight)
        reached = round_half_up(minor * running / Fraction(whole))
        parts.append(reached - before)
        before = reached
    return parts


def split(total: Money, weights: Sequence[Decimal]) -> list[Money]:
    """Share `total` by weight, by cumulative rounding: the parts sum to it and each is within one unit of exact (R1).

    Weights are zero or more and not all zero, else CannotSplit. A negative total splits as the mirror image.
    """
    if any(not weight.is_finite() or weight < 0 for weight in weights):
        raise CannotSplit(_("weights are zero or more"))
    # Fractions, because Decimal's own sum rounds to 28 digits.
    whole = sum((Fraction(weight) for weight in weights), Fraction(0))
    if whole == 0:
        raise CannotSplit(_("at least one weight must be more than zero"))
    return [Money(part, total.currency) for part in cumulative_parts(total.minor, weights, whole)]


def resplit(total: Money, frozen: Sequence[Money], open_weights: Sequence[Decimal]) -> list[Money]:
    """The parts of the open ones when the whole becomes `total` and `frozen` parts stay as they are (R1).

    Raises BelowFrozen when `total` is less than the frozen sum, CannotSplit when a rest has nothing open to go to.
    """
    rest = total - sum_of(frozen, total.currency)
    if rest.is_negative:
        raise BelowFrozen(_("%(total)s is %(short)s less than what is delivered, approved or billed already", total=total, short=-rest))
    if not open_weights:
        if rest.is_zero:
            return []
        raise CannotSplit(_("%(rest)s is left over and nothing is open to take it", rest=rest))
    return split(rest, open_weights)
