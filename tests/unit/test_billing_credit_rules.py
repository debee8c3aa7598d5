"""R12: credit notes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import euro_list, euros, load
from tollgate.billing.rules import (
    CreditKind,
    CreditTooLarge,
    CreditTotals,
    DocumentTotals,
    LineInput,
    NothingLeftToCredit,
    PriceBasis,
    TaxCategory,
    TaxTreatment,
    correction,
    draft_invoice,
    left_per_line,
    left_to_credit,
    price_reduction,
    reduction_by_amount,
    takes,
)
from tollgate.errors import Invalid
from tollgate.money.amount import Money, total

CASES = load("credit_notes")
VAT_19 = TaxTreatment(TaxCategory.STANDARD, Decimal(19))


def invoice(*nets: str, tax: TaxTreatment = VAT_19) -> DocumentTotals:
    return draft_invoice([LineInput(key=str(place), amount=euros(net), tax=tax) for place, net in enumerate(nets)], PriceBasis.NET, "EUR")


def test_worked_partial_credits() -> None:
    case, document = CASES["partial"], invoice(CASES["invoice"]["net"])
    assert document.tax == euros(CASES["invoice"]["tax"])
    credits: list[CreditTotals] = []
    for net in case["nets"]:
        credits.append(price_reduction(document, {"0": euros(net)}, credits))
    assert [credit.net for credit in credits] == euro_list(case["nets"])
    assert [credit.tax for credit in credits] == euro_list(case["taxes"])
    assert [credit.payable for credit in credits] == euro_list(case["payables"])
    assert [credit.rounding for credit in credits] == euro_list(["0.00", "0.00", case["rounding_on_last"]])
    assert left_to_credit(document, credits) == euros(case["balance"])
    with pytest.raises(NothingLeftToCredit):
        correction(document, credits)


def test_worked_full_credit() -> None:
    credit = correction(invoice(CASES["invoice"]["net"]))
    assert (credit.net, credit.tax) == (euros(CASES["full"]["net"]), euros(CASES["full"]["tax"]))
    assert credit.rounding.is_zero


def test_worked_credit_after_payment() -> None:
    case = CASES["after_payment"]
    open_ = euros(case["gross"]) - euros(case["paid"])
    taken = takes(euros(case["credit_gross"]), open_=open_, retained=euros("0.00"), paid=euros(case["paid"]))
    assert (taken.from_open, taken.from_paid) == (euros(case["off_balance"]), euros(case["refund_or_client_credit"]))


rates = st.sampled_from(["0", "7", "10", "19", "20", "21", "33.333333"]).map(
    lambda rate: TaxTreatment(TaxCategory.STANDARD if rate != "0" else TaxCategory.ZERO, Decimal(rate))
)
documents = st.builds(
    lambda pairs, basis: draft_invoice(
        [LineInput(key=str(i), amount=Money(minor, "EUR"), tax=tax) for i, (minor, tax) in enumerate(pairs)], basis, "EUR"
    ),
    st.lists(st.tuples(st.integers(0, 400), rates), min_size=1, max_size=5),
    st.sampled_from(PriceBasis),
)


@given(documents)
def test_a_full_credit_is_the_invoice_itself(document: DocumentTotals) -> None:
    credit = correction(document)
    assert credit.kind is CreditKind.CORRECTION
    assert (credit.net, credit.tax, credit.gross, credit.rounding, credit.payable) == (
        document.net,
        document.tax,
        document.gross,
        document.rounding,
        document.amount_due,
    )
    assert credit.groups == document.groups
    assert [(line.key, line.net, line.treatment) for line in credit.lines] == [
        (line.key, line.net, line.treatment) for line in document.lines
    ]


@given(documents, st.data())
def test_any_credits_never_take_more_than_is_left_and_close_to_the_cent(document: DocumentTotals, data: st.DataObject) -> None:
    credits: list[CreditTotals] = []
    for _ in range(data.draw(st.integers(0, 12))):
        left = {key: net for key, net in left_per_line(document, credits).items() if net.is_positive}
        if not left:
            break
        keys = data.draw(st.lists(st.sampled_from(sorted(left)), min_size=1, unique=True))
        nets = {key: Money(data.draw(st.integers(1, left[key].minor)), "EUR") for key in keys}
        credits.append(price_reduction(document, nets, credits))
        assert not left_to_credit(document, credits).is_negative
    last = data.draw(st.sampled_from(["reduction", "correction", "amount"]))
    left = {key: net for key, net in left_per_line(document, credits).items() if net.is_positive}
    if left and last == "reduction":
        credits.append(price_reduction(document, left, credits))
    elif left and last == "correction":
        credits.append(correction(document, credits))
    elif left:
        credits.append(reduction_by_amount(document, total(left.values(), "EUR"), credits))
    for credit in credits:
        assert credit.gross == credit.net + credit.tax
        assert credit.payable == credit.gross + credit.rounding
        assert not credit.payable.is_negative
        assert credit.net == total((line.net for line in credit.lines), "EUR") == total((group.base for group in credit.groups), "EUR")
    for group in document.groups:
        taken = [item for credit in credits for item in credit.groups if item.treatment == group.treatment]
        assert total((item.base for item in taken), "EUR") <= group.base
        assert total((item.tax for item in taken), "EUR") <= group.tax
        assert all(not item.tax.is_negative for item in taken)
    if credits:
        assert total((credit.net for credit in credits), "EUR") == document.net
        assert total((credit.payable for credit in credits), "EUR") == document.amount_due


def test_tax_that_rounds_up_each_time_stops_at_what_was_billed() -> None:
    document = invoice("1.00", tax=TaxTreatment(TaxCategory.STANDARD, Decimal(10)))
    credits: list[CreditTotals] = []
    for _ in range(20):
        credits.append(price_reduction(document, {"0": euros("0.05")}, credits))
    assert [credit.tax.minor for credit in credits] == [1] * 10 + [0] * 10
    assert total((credit.payable for credit in credits), "EUR") == euros("1.10")


def test_each_line_and_rate_has_its_limit() -> None:
    document = invoice("10.00", "20.00")
    with pytest.raises(CreditTooLarge) as refused:
        price_reduction(document, {"0": euros("10.01"), "1": euros("0.00"), "2": euros("1.00")})
    assert [error.pointer for error in refused.value.errors] == ["/lines/0", "/lines/1", "/lines/2"]
    assert "10.00 EUR" in str(refused.value.errors[0].detail)
    earlier = [price_reduction(document, {"0": euros("4.00")})]
    with pytest.raises(CreditTooLarge, match=r"6\.00 EUR"):
        price_reduction(document, {"0": euros("6.01")}, earlier)
    assert price_reduction(document, {"0": euros("6.00")}, earlier).net == euros("6.00")
    with pytest.raises(Invalid):
        price_reduction(document, {})


def test_a_deduction_in_the_group_counts_against_its_rate() -> None:
    lines = [LineInput(key="m", amount=euros("100.00"), tax=VAT_19), LineInput(key="d", amount=euros("-60.00"), tax=VAT_19)]
    document = draft_invoice(lines, PriceBasis.NET, "EUR")
    with pytest.raises(CreditTooLarge, match=r"40\.00 EUR"):
        price_reduction(document, {"m": euros("40.01")})
    assert correction(document).payable == document.payable


def test_a_reduction_by_amount_is_shared_over_the_lines() -> None:
    credit = reduction_by_amount(invoice("10.00", "20.00", "0.00"), euros("10.00"))
    assert [(line.key, line.net.decimal_string()) for line in credit.lines] == [("0", "3.33"), ("1", "6.67")]
    for amount in ("30.01", "0.00", "-1.00"):
        with pytest.raises(Invalid):
            reduction_by_amount(invoice("10.00", "20.00"), euros(amount))


minors = st.integers(0, 10**9)


@given(minors, minors, minors, minors)
def test_a_credit_takes_open_then_retained_then_paid(amount: int, open_: int, retained: int, paid: int) -> None:
    def ask() -> list[int]:
        taken = takes(Money(amount, "EUR"), open_=Money(open_, "EUR"), retained=Money(retained, "EUR"), paid=Money(paid, "EUR"))
        return [taken.from_open.minor, taken.from_retained.minor, taken.from_paid.minor]

    if amount > open_ + retained + paid:
        with pytest.raises(CreditTooLarge):
            ask()
        return
    first, second, third = ask()
    assert first + second + third == amount
    assert first == min(amount, open_)
    assert second == min(amount - first, retained)
    assert 0 <= third <= paid


def test_an_early_reduction_never_takes_more_than_a_price_that_was_rounded_down() -> None:
    # Three gross prices of 0.03: each is 0.03 net and 0.01 tax, so the invoice rounds by -0.03.
    rates = [TaxTreatment(TaxCategory.STANDARD, Decimal(rate)) for rate in ("20", "19", "18.5")]
    lines = [LineInput(key=str(place), amount=euros("0.03"), tax=tax) for place, tax in enumerate(rates)]
    document = draft_invoice(lines, PriceBasis.GROSS, "EUR")
    assert (document.gross, document.rounding) == (euros("0.12"), euros("-0.03"))
    credits: list[CreditTotals] = []
    for key, net in (("0", "0.03"), ("1", "0.03"), ("2", "0.02"), ("2", "0.01")):
        credits.append(price_reduction(document, {key: euros(net)}, credits))
    assert [credit.payable.minor for credit in credits] == [4, 4, 1, 0]
    assert [credit.rounding.minor for credit in credits] == [0, 0, -1, -1]
