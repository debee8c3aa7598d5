"""Percentages are exact decimals."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.money.amount import Money, round_half_up
from tollgate.money.rates import MalformedPercent, parse_percent, percent_of, percent_text

percents = st.decimals(0, 100, places=6)


@given(percents)
def test_a_percentage_survives_writing_and_reading(percent: Decimal) -> None:
    assert parse_percent(percent_text(percent)) == percent


@given(percents)
def test_one_number_has_one_spelling(percent: Decimal) -> None:
    assert percent_text(percent) == percent_text(percent.normalize()) == percent_text(percent + Decimal("0.0000000"))


@pytest.mark.parametrize(("percent", "text"), [("20.00", "20"), ("33.340", "33.34"), ("0.000", "0"), ("2E+1", "20"), ("100", "100")])
def test_spelling(percent: str, text: str) -> None:
    assert percent_text(Decimal(percent)) == text


@pytest.mark.parametrize("text", ["", "20%", "-1", "1e1", "NaN", "1.1234567", "100.000001", "101", " 5", "5 ", "5,5", "٥", "5."])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(MalformedPercent):
        parse_percent(text)


def test_a_larger_range_is_asked_for() -> None:
    assert parse_percent("250", most=Decimal(1000)) == 250


@given(st.integers(-(10**12), 10**12), percents)
def test_a_share_is_rounded_once_from_the_exact_value(minor: int, percent: Decimal) -> None:
    assert percent_of(Money(minor, "EUR"), percent).minor == round_half_up(Fraction(minor) * Fraction(percent) / 100)


@pytest.mark.parametrize(
    ("minor", "percent", "share"), [(50, "1", 1), (-50, "1", -1), (49, "1", 0), (150, "1", 2), (333, "100", 333), (1000, "0.05", 1)]
)
def test_halves_of_a_cent(minor: int, percent: str, share: int) -> None:
    assert percent_of(Money(minor, "EUR"), Decimal(percent)) == Money(share, "EUR")
