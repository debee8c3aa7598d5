"""R2 and R3: tax on one document, over a series, and on gross prices."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import euro_list, euros, load
from tollgate.billing.rules import (
    DocumentTotals,
    LineInput,
    NegativeInvoice,
    NothingToBill,
    PriceBasis,
    TaxCategory,
    TaxTreatment,
    draft_invoice,
    line_net,
    net_of_gross,
    series_rounding,
    tax_groups,
)
from tollgate.money.amount import Money, round_half_up, total
from tollgate.money.rates import percent_of
from tollgate.money.splitting import split

CASES = load("document_tax")


def vat(rate: str) -> TaxTreatment:
    return TaxTreatment(TaxCategory.STANDARD if Decimal(rate) else TaxCategory.ZERO, Decimal(rate))


def net_of(line: dict[str, str]) -> Money:
    if "unit_price" in line:
        price, quantity, discount = (Decimal(line[name]) for name in ("unit_price", "quantity", "discount_percent"))
        assert line_net(price, quantity, "EUR", discount_percent=discount) == euros(line["net"])
    return euros(line["net"])


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["gross"])
def test_worked_documents(case: dict[str, Any]) -> None:
    lines = [LineInput(key=str(place), amount=net_of(line), tax=vat(line["rate"])) for place, line in enumerate(case["lines"])]
    document = draft_invoice(lines, PriceBasis.NET, "EUR")
    assert (document.tax, document.gross) == (euros(case["tax"]), euros(case["gross"]))
    assert document.amount_due == document.payable == document.gross


def test_worked_series() -> None:
    case = CASES["series"]
    nets = split(euros(case["value"]), [Decimal(weight) for weight in case["weights"]])
    assert nets == euro_list(case["nets"])
    documents = [tax_groups([(net, vat(case["rate"]))], "EUR") for net in nets]
    assert [groups[0].tax for groups in documents] == euro_list(case["taxes"])
    assert percent_of(euros(case["value"]), Decimal(case["rate"])) == euros(case["tax_on_whole"])
    assert series_rounding(documents, "EUR") == euros(case["shown_rounding"])


def test_worked_gross_price() -> None:
    case = CASES["gross_priced"]
    document = draft_invoice([LineInput(key="1", amount=euros(case["gross"]), tax=vat(case["rate"]))], PriceBasis.GROSS, "EUR")
    assert [document.net, document.tax, document.rounding, document.payable] == euro_list(
        [case[name] for name in ("net", "tax", "rounding", "payable")]
    )
    assert document.gross == euros("99.99")


rates = st.sampled_from(["0", "5", "5.5", "7", "10", "19", "20", "21", "22", "25", "33.333333", "100"]).map(vat)
inputs = st.lists(st.tuples(st.integers(0, 10**11), rates), min_size=1, max_size=12).map(
    lambda pairs: [LineInput(key=str(place), amount=Money(minor, "EUR"), tax=tax) for place, (minor, tax) in enumerate(pairs)]
)


def check_sums(document: DocumentTotals) -> None:
    """EN 16931 BR-CO-10, -13, -14, -15, -16, -17 and BR-S-08, in our words."""
    assert document.net == total((line.net for line in document.lines), "EUR") == total((group.base for group in document.groups), "EUR")
    assert document.tax == total((group.tax for group in document.groups), "EUR")
    assert document.gross == document.net + document.tax
    assert document.amount_due == document.gross - document.prepaid + document.rounding
    assert document.payable == document.amount_due - document.retained
    assert len({group.treatment for group in document.groups}) == len(document.groups)
    for group in document.groups:
        lines = [line for line in document.lines if line.treatment == group.treatment]
        assert group.base == total((line.net for line in lines), "EUR")
        assert group.tax.minor == round_half_up(group.base.minor * Fraction(group.treatment.rate_percent) / 100)
        assert total((line.tax for line in lines), "EUR") == group.tax
        for line in lines:
            assert abs(line.tax.minor - line.net.minor * Fraction(line.treatment.rate_percent) / 100) <= 1
    for line in document.lines:
        assert not line.unit_price.is_negative
        assert line.unit_price.minor * line.quantity == line.net.minor


@given(inputs)
def test_a_net_priced_document_obeys_the_rule(lines: list[LineInput]) -> None:
    document = draft_invoice(lines, PriceBasis.NET, "EUR")
    check_sums(document)
    assert [line.net for line in document.lines] == [line.amount for line in lines]
    assert document.rounding.is_zero


@given(inputs)
def test_tax_is_within_half_a_cent_per_rate(lines: list[LineInput]) -> None:
    document = draft_invoice(lines, PriceBasis.NET, "EUR")
    exact = sum((line.amount.minor * Fraction(line.tax.rate_percent) / 100 for line in lines), Fraction(0))
    assert abs(document.tax.minor - exact) <= Fraction(len(document.groups), 2)


@given(inputs)
def test_a_gross_priced_document_comes_to_its_price(lines: list[LineInput]) -> None:
    document = draft_invoice(lines, PriceBasis.GROSS, "EUR")
    check_sums(document)
    assert document.payable == total((line.amount for line in lines), "EUR")
    assert abs(document.rounding.minor) <= len(document.groups)
    for line, given_line in zip(document.lines, lines, strict=True):
        assert abs(line.net.minor - given_line.amount.minor / (1 + Fraction(given_line.tax.rate_percent) / 100)) <= 1


@given(st.integers(0, 10**12), rates)
def test_no_other_net_comes_nearer_to_a_gross(minor: int, tax: TaxTreatment) -> None:
    gross = Money(minor, "EUR")
    net = net_of_gross(gross, tax.rate_percent)

    def miss(candidate: Money) -> int:
        return abs((candidate + percent_of(candidate, tax.rate_percent) - gross).minor)

    assert miss(net) <= 1
    assert all(miss(net) <= miss(net + Money(step, "EUR")) for step in (-2, -1, 1, 2))


@given(st.integers(1, 10**11), rates)
def test_a_net_reached_from_its_own_gross_is_found_again(minor: int, tax: TaxTreatment) -> None:
    net = Money(minor, "EUR")
    gross = net + percent_of(net, tax.rate_percent)
    assert draft_invoice([LineInput(key="1", amount=gross, tax=tax)], PriceBasis.GROSS, "EUR").rounding.is_zero


def test_a_deduction_is_a_line_of_quantity_minus_one() -> None:
    lines = [LineInput(key="m", amount=euros("24000.00"), tax=vat("20")), LineInput(key="d", amount=euros("-2400.00"), tax=vat("20"))]
    document = draft_invoice(lines, PriceBasis.NET, "EUR", retained=euros("1200.00"))
    check_sums(document)
    assert (document.lines[1].quantity, document.lines[1].unit_price) == (Decimal(-1), euros("2400.00"))
    assert [document.net, document.tax, document.gross, document.payable] == euro_list(["21600.00", "4320.00", "25920.00", "24720.00"])


def test_prepaid_and_retained_lower_what_is_asked_for() -> None:
    line = LineInput(key="m", amount=euros("100.00"), tax=vat("20"))
    document = draft_invoice([line], PriceBasis.NET, "EUR", prepaid=euros("20.00"), retained=euros("10.00"))
    assert [document.gross, document.amount_due, document.payable] == euro_list(["120.00", "100.00", "90.00"])
    assert draft_invoice([line], PriceBasis.NET, "EUR", retained=euros("120.00")).payable.is_zero
    with pytest.raises(NegativeInvoice, match=r"-0\.01 EUR"):
        draft_invoice([line], PriceBasis.NET, "EUR", retained=euros("120.01"))


def test_an_invoice_is_never_negative_and_never_empty() -> None:
    with pytest.raises(NegativeInvoice):
        draft_invoice([LineInput(key="d", amount=euros("-0.01"), tax=vat("20"))], PriceBasis.NET, "EUR")
    with pytest.raises(NothingToBill):
        draft_invoice([], PriceBasis.NET, "EUR")
    assert draft_invoice([LineInput(key="z", amount=euros("0.00"), tax=vat("20"))], PriceBasis.NET, "EUR").payable.is_zero


def test_categories_of_one_rate_are_groups_of_their_own() -> None:
    exempt = TaxTreatment(TaxCategory.EXEMPT, Decimal(0))
    groups = tax_groups([(euros("1.00"), vat("0")), (euros("2.00"), exempt), (euros("3.00"), vat("0"))], "EUR")
    assert [(group.treatment.category.value, group.base.decimal_string()) for group in groups] == [("Z", "4.00"), ("E", "2.00")]


def test_rates_written_differently_are_one_group() -> None:
    assert len(tax_groups([(euros("1.00"), vat("20")), (euros("2.00"), vat("20.000000"))], "EUR")) == 1


@given(st.lists(inputs, min_size=1, max_size=6))
def test_the_difference_over_a_series_is_shown_exactly(series: list[list[LineInput]]) -> None:
    documents = [draft_invoice(lines, PriceBasis.NET, "EUR") for lines in series]
    together = draft_invoice([line for lines in series for line in lines], PriceBasis.NET, "EUR")
    charged = total((document.tax for document in documents), "EUR")
    assert series_rounding([document.groups for document in documents], "EUR") == together.tax - charged


@pytest.mark.parametrize(
    ("price", "quantity", "currency", "net"),
    [
        ("0.005", "1", "EUR", "0.01"),
        ("0.5", "1", "JPY", "1"),
        ("0.5", "-1", "JPY", "-1"),
        ("1.0005", "1", "KWD", "1.001"),
        ("33.333", "3", "EUR", "100.00"),
    ],
)
def test_a_line_is_rounded_once(price: str, quantity: str, currency: str, net: str) -> None:
    assert line_net(Decimal(price), Decimal(quantity), currency).decimal_string() == net
