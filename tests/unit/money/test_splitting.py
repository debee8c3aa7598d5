"""R1: splits keep every minor unit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.cases import euro_list, euros, load
from tollgate.money.amount import Money, round_half_up, total
from tollgate.money.splitting import BelowFrozen, CannotSplit, resplit, split

CASES = load("split_by_weight")
amounts = st.builds(Money, st.integers(-(10**14), 10**14), st.sampled_from(["EUR", "JPY", "KWD"]))
weights = st.lists(st.decimals(0, 10**6, places=4), min_size=1, max_size=30).filter(any)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: f"{case['total']} {case['currency']}")
def test_worked_splits(case: dict[str, Any]) -> None:
    parts = split(Money.parse(case["total"], case["currency"]), [Decimal(weight) for weight in case["weights"]])
    assert [part.decimal_string() for part in parts] == case["parts"]


def test_worked_resplit() -> None:
    case = CASES["resplit"]
    parts = resplit(euros(case["value_after"]), euro_list(case["frozen"]), [Decimal(weight) for weight in case["open_weights"]])
    assert parts == euro_list(case["open_parts"])


@given(amounts, weights)
def test_a_split_keeps_every_minor_unit(whole: Money, shares: list[Decimal]) -> None:
    parts = split(whole, shares)
    assert len(parts) == len(shares)
    assert total(parts, whole.currency) == whole
    everything = sum(map(Fraction, shares))
    for part, share in zip(parts, shares, strict=True):
        assert abs(part.minor - whole.minor * Fraction(share) / everything) <= 1
        if share == 0:
            assert part.is_zero
        assert part.minor * whole.minor >= 0


@given(amounts, weights)
def test_every_running_sum_is_the_nearest_there_is(whole: Money, shares: list[Decimal]) -> None:
    # This is the rule itself: it would notice a spare cent that lands in another place.
    everything, reached, running = sum(map(Fraction, shares)), 0, Fraction(0)
    for part, share in zip(split(whole, shares), shares, strict=True):
        reached += part.minor
        running += Fraction(share)
        assert reached == round_half_up(whole.minor * running / everything)


@given(amounts, weights, st.integers(1, 50))
def test_only_the_proportion_of_weights_matters(whole: Money, shares: list[Decimal], factor: int) -> None:
    assert split(whole, shares) == split(whole, [share * factor for share in shares])


@given(st.lists(st.integers(0, 10**9), max_size=8), st.integers(0, 10**12), weights)
def test_frozen_parts_never_move(frozen_minor: list[int], more: int, shares: list[Decimal]) -> None:
    frozen = [Money(minor, "EUR") for minor in frozen_minor]
    whole = Money(sum(frozen_minor) + more, "EUR")
    parts = resplit(whole, frozen, shares)
    assert total([*frozen, *parts], "EUR") == whole
    assert parts == split(Money(more, "EUR"), shares)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8), st.integers(1, 100), weights)
def test_a_total_below_the_frozen_sum_is_refused(frozen_minor: list[int], short: int, shares: list[Decimal]) -> None:
    assume(short <= sum(frozen_minor))
    with pytest.raises(BelowFrozen) as refused:
        resplit(Money(sum(frozen_minor) - short, "EUR"), [Money(minor, "EUR") for minor in frozen_minor], shares)
    assert Money(short, "EUR").decimal_string() in str(refused.value)


@pytest.mark.parametrize("shares", [[], [Decimal(0)], [Decimal(-1), Decimal(2)], [Decimal("NaN")], [Decimal("Infinity"), Decimal(1)]])
def test_weights_that_carry_nothing_are_refused(shares: list[Decimal]) -> None:
    with pytest.raises(CannotSplit):
        split(Money(100, "EUR"), shares)


def test_a_rest_needs_somewhere_to_go() -> None:
    assert resplit(Money(5, "EUR"), [Money(5, "EUR")], []) == []
    with pytest.raises(CannotSplit, match=r"0\.01 EUR"):
        resplit(Money(6, "EUR"), [Money(5, "EUR")], [])
