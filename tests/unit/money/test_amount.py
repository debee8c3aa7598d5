"""Money is an exact count of minor units of one currency."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.errors import TollgateError
from tollgate.money.amount import LIMIT_MINOR, AmountTooLarge, CurrencyMismatch, MalformedAmount, Money, round_half_up, total
from tollgate.money.currencies import EXPONENTS, UnknownCurrency, digits

minors = st.integers(-LIMIT_MINOR, LIMIT_MINOR)
currencies = st.sampled_from(sorted(EXPONENTS))


@given(minors, currencies)
def test_text_and_back_is_the_same_money(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.parse(money.decimal_string(), currency) == money
    assert money.decimal() * 10 ** digits(currency) == minor


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (120000, "EUR", "1200.00"),
        (-5, "EUR", "-0.05"),
        (0, "EUR", "0.00"),
        (7, "JPY", "7"),
        (-7, "JPY", "-7"),
        (1, "KWD", "0.001"),
        (12345, "KWD", "12.345"),
        (3, "CLF", "0.0003"),
    ],
)
def test_text_has_exactly_the_digits_of_the_currency(minor: int, currency: str, text: str) -> None:
    assert Money(minor, currency).decimal_string() == text


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("1200", "EUR"),
        ("1200.0", "EUR"),
        ("1200.000", "EUR"),
        ("1200.00", "JPY"),
        ("1.00", "KWD"),
        ("", "EUR"),
        (".50", "EUR"),
        ("5.", "JPY"),
        ("1,200.00", "EUR"),
        ("1 200.00", "EUR"),
        ("+1.00", "EUR"),
        ("--1.00", "EUR"),
        ("1e3", "JPY"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        (" 1.00", "EUR"),
        ("1.00\n", "EUR"),
        ("١٢٠٠.٠٠", "EUR"),
        ("0x10", "JPY"),
        ("1_000.00", "EUR"),
        ("9" * 5000 + ".00", "EUR"),
    ],
)
def test_any_other_text_is_refused(text: str, currency: str) -> None:
    with pytest.raises(MalformedAmount) as refused:
        Money.parse(text, currency)
    assert refused.value.slug == "malformed-amount"
    assert Money(1200 * 10 ** digits(currency), currency).decimal_string() in str(refused.value.detail)


@pytest.mark.parametrize("code", ["eur", "EURO", "XXX", "XAU", "BGN", "HRK", "", "E R"])
def test_only_active_currencies_with_minor_units_are_known(code: str) -> None:
    with pytest.raises(UnknownCurrency):
        Money(1, code)


def test_the_table_is_iso_and_not_display_digits() -> None:
    assert {code: digits(code) for code in ("EUR", "JPY", "KWD", "ISK", "IQD", "UGX", "MGA", "CLF", "HUF")} == {
        "EUR": 2,
        "JPY": 0,
        "KWD": 3,
        "ISK": 0,
        "IQD": 3,
        "UGX": 0,
        "MGA": 2,
        "CLF": 4,
        "HUF": 2,
    }
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in EXPONENTS)
    assert len(EXPONENTS) > 160


@given(minors, minors)
def test_sums_and_differences_are_exact_or_refused(one: int, other: int) -> None:
    for exact, act in ((one + other, Money.__add__), (one - other, Money.__sub__)):
        if abs(exact) <= LIMIT_MINOR:
            assert act(Money(one, "EUR"), Money(other, "EUR")) == Money(exact, "EUR")
        else:
            with pytest.raises(AmountTooLarge):
                act(Money(one, "EUR"), Money(other, "EUR"))


@given(minors, minors)
def test_money_is_ordered_by_its_count(one: int, other: int) -> None:
    left, right = Money(one, "EUR"), Money(other, "EUR")
    assert (left < right, left <= right, left > right, left >= right, left == right) == (
        one < other,
        one <= other,
        one > other,
        one >= other,
        one == other,
    )
    assert -left == Money(-one, "EUR")
    assert abs(left) == Money(abs(one), "EUR")
    assert (left.is_negative, left.is_zero, left.is_positive) == (one < 0, one == 0, one > 0)


@pytest.mark.parametrize("act", [Money.__add__, Money.__sub__, Money.__lt__, Money.__le__, Money.__gt__, Money.__ge__])
def test_currencies_never_mix(act: Any) -> None:
    with pytest.raises(CurrencyMismatch):
        act(Money(1, "EUR"), Money(1, "USD"))
    assert Money(1, "EUR") != Money(1, "USD")
    with pytest.raises(CurrencyMismatch):
        total([Money(1, "EUR"), Money(1, "USD")], "EUR")


@pytest.mark.parametrize("minor", [1.0, Decimal(1), "1", True, None])
def test_nothing_but_a_whole_number_is_a_count(minor: Any) -> None:
    with pytest.raises(TypeError):
        Money(minor, "EUR")


@pytest.mark.parametrize("minor", [LIMIT_MINOR + 1, -LIMIT_MINOR - 1])
def test_the_limit_is_kept_and_named(minor: int) -> None:
    with pytest.raises(AmountTooLarge) as refused:
        Money(minor, "EUR")
    assert "10000000000000.00 EUR" in str(refused.value)
    assert isinstance(refused.value, TollgateError)


@pytest.mark.parametrize(
    ("exact", "whole"),
    [("5/2", 3), ("-5/2", -3), ("1/2", 1), ("-1/2", -1), ("49/100", 0), ("-49/100", 0), ("7/2", 4), ("0", 0), ("251/100", 3), ("12", 12)],
)
def test_a_half_goes_away_from_zero(exact: str, whole: int) -> None:
    assert round_half_up(Fraction(exact)) == whole


@given(st.fractions())
def test_rounding_is_nearest_and_symmetric(exact: Fraction) -> None:
    rounded = round_half_up(exact)
    assert abs(rounded - exact) <= Fraction(1, 2)
    assert round_half_up(-exact) == -rounded
    if abs(rounded - exact) == Fraction(1, 2):
        assert abs(rounded) > abs(exact)


@given(st.lists(st.integers(-1000, 1000)))
def test_a_total_is_the_exact_sum(counts: list[int]) -> None:
    assert total((Money(count, "EUR") for count in counts), "EUR") == Money(sum(counts), "EUR")
