"""Amounts from percents, the running balance, what activation needs, health and advice."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import euro_list, euros
from tollgate.contracts.rules import (
    ContractDraft,
    Health,
    MilestoneDraft,
    NotReady,
    PartyFacts,
    State,
    TaxCategory,
    TaxTreatment,
    activation_problems,
    allocation_bar,
    check_activation,
    health,
    hints,
    milestone_amounts,
)
from tollgate.money.amount import Money, total
from tollgate.money.splitting import split

VAT_20 = TaxTreatment(TaxCategory.STANDARD, Decimal(20))
SELLER = PartyFacts(legal_name="Atelier Nord", country="AT", tax_id="ATU12345678")
BUYER = PartyFacts(legal_name="Kunde GmbH", country="AT")


def milestone(amount: str | None = None, percent: str | None = None, title: str = "Design") -> MilestoneDraft:
    return MilestoneDraft(title=title, amount=euros(amount) if amount else None, percent=Decimal(percent) if percent else None)


def contract(*milestones: MilestoneDraft, value: str = "1000.00", contingency: str = "0.00") -> ContractDraft:
    return ContractDraft(
        value=euros(value), contingency=euros(contingency), milestones=milestones, tax=VAT_20, approvers=1, seller=SELLER, buyer=BUYER
    )


def pointers(draft: ContractDraft) -> list[str]:
    return [problem.pointer for problem in activation_problems(draft)]


percent_lists = (
    st.lists(st.integers(0, 10_000), min_size=1, max_size=12)
    .map(lambda cuts: sorted([*cuts, 0, 10_000]))
    .map(lambda cuts: [Decimal(high - low).scaleb(-2) for low, high in pairwise(cuts)])
)


@given(st.integers(0, 10**13), percent_lists)
def test_percents_of_a_hundred_are_a_split_of_the_value(minor: int, percents: list[Decimal]) -> None:
    value = Money(minor, "EUR")
    amounts = milestone_amounts(value, [MilestoneDraft(percent=percent) for percent in percents])
    assert amounts == split(value, percents)
    assert total(amounts, "EUR") == value


@given(st.integers(0, 10**13), st.lists(st.decimals(0, 100, places=2), min_size=1, max_size=12))
def test_any_percents_stay_within_a_cent_of_exact(minor: int, percents: list[Decimal]) -> None:
    amounts = milestone_amounts(Money(minor, "EUR"), [MilestoneDraft(percent=percent) for percent in percents])
    for amount, percent in zip(amounts, percents, strict=True):
        assert abs(amount.minor - Fraction(minor) * Fraction(percent) / 100) <= 1
    assert abs(sum(amount.minor for amount in amounts) - Fraction(minor) * Fraction(sum(percents)) / 100) <= Fraction(1, 2)


def test_fixed_amounts_stay_and_percents_are_of_the_whole_value() -> None:
    rows = [milestone(percent="33.33"), milestone("333.40"), milestone(percent="33.33")]
    assert milestone_amounts(euros("1000.00"), rows) == euro_list(["333.30", "333.40", "333.30"])
    assert activation_problems(contract(*rows)) == []
    assert check_activation(contract(*rows)) == euro_list(["333.30", "333.40", "333.30"])


@pytest.mark.parametrize(
    ("last", "contingency", "words"),
    [
        ("599.99", "0.00", "0.01 EUR less"),
        ("600.01", "0.00", "0.01 EUR more"),
        ("500.00", "99.00", "1.00 EUR less"),
        ("600.00", "1.00", "1.00 EUR more"),
    ],
)
def test_a_sum_that_misses_the_value_names_the_difference(last: str, contingency: str, words: str) -> None:
    draft = contract(milestone("400.00"), milestone(last), contingency=contingency)
    with pytest.raises(NotReady) as refused:
        check_activation(draft)
    assert [error.pointer for error in refused.value.errors] == ["/milestones"]
    assert words in str(refused.value.errors[0].detail)
    assert refused.value.slug == "contract-not-ready"


def test_milestones_and_contingency_make_the_value() -> None:
    assert activation_problems(contract(milestone("400.00"), milestone(percent="50"), contingency="100.00")) == []


def test_every_problem_is_named_at_its_field() -> None:
    rows = (milestone("-1.00", title=" "), MilestoneDraft(title="A"), milestone("1.00", "5"), milestone(percent="100.01"))
    draft = replace(contract(*rows), approvers=0, seller=PartyFacts(), buyer=PartyFacts())
    assert pointers(draft) == [
        "/milestones/0/title",
        "/milestones/0/amount",
        "/milestones/1/amount",
        "/milestones/2/amount",
        "/milestones/3/percent",
        "/approval/contact_ids",
        "/seller/legal_name",
        "/seller/country",
        "/buyer/legal_name",
        "/buyer/country",
        "/seller/tax_id",
    ]
    assert pointers(contract()) == ["/milestones"]
    assert pointers(contract(milestone("0.00"), milestone("1000.00"))) == []
    assert pointers(contract(milestone("1.00"), value="-1.00", contingency="-1.00")) == ["/value", "/contingency"]


@pytest.mark.parametrize(
    ("category", "rate", "pointer"),
    [
        ("S", "20", None),
        ("S", "0", "/tax/rate_percent"),
        ("Z", "0", None),
        ("Z", "5", "/tax/rate_percent"),
        ("E", "0", None),
        ("E", "20", "/tax/rate_percent"),
        ("S", "100.5", "/tax/rate_percent"),
        ("S", "-1", "/tax/rate_percent"),
        ("AE", "0", "/tax/category"),
        ("K", "0", "/tax/category"),
        ("G", "0", "/tax/category"),
        ("O", "0", "/tax/category"),
    ],
)
def test_tax_treatments_that_work_now(category: str, rate: str, pointer: str | None) -> None:
    draft = replace(contract(milestone("1000.00")), tax=TaxTreatment(TaxCategory(category), Decimal(rate)))
    assert pointers(draft) == ([pointer] if pointer else [])


def test_a_milestone_with_its_own_tax_is_checked_too() -> None:
    row = replace(milestone("1000.00"), tax=TaxTreatment(TaxCategory.ZERO, Decimal(7)))
    assert pointers(contract(row)) == ["/milestones/0/tax/rate_percent"]


def test_tax_needs_a_tax_number_and_an_exempt_seller_any_number() -> None:
    registered = replace(SELLER, tax_id="", registration_number="FN 1")
    assert pointers(replace(contract(milestone("1000.00")), seller=registered)) == ["/seller/tax_id"]
    exempt = TaxTreatment(TaxCategory.EXEMPT, Decimal(0))
    assert pointers(replace(contract(milestone("1000.00")), seller=registered, tax=exempt)) == []


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.lists(st.integers(0, 10**12), max_size=5))
def test_the_bar_reads_a_hundred_only_when_nothing_is_left(value: int, contingency: int, amounts: list[int]) -> None:
    bar = allocation_bar(Money(value, "EUR"), Money(contingency, "EUR"), [Money(amount, "EUR") for amount in amounts])
    assert bar.allocated + bar.left == Money(value, "EUR")
    assert bar.allocated.minor == contingency + sum(amounts)
    assert (bar.percent == 100) == bar.left.is_zero
    assert (bar.percent < 100) == bar.left.is_positive
    if value:
        assert abs(Fraction(bar.percent) - Fraction(100 * bar.allocated.minor, value)) < Fraction(1, 100)


def test_a_spare_cent_of_a_large_value_shows() -> None:
    assert allocation_bar(euros("1000000.00"), euros("0.00"), euro_list(["999999.99"])).percent == Decimal("99.99")
    assert allocation_bar(euros("1000000.00"), euros("0.00"), euro_list(["1000000.01"])).percent == Decimal("100.01")
    assert str(allocation_bar(euros("3.00"), euros("0.00"), euro_list(["1.00"])).percent) == "33.33"


DUE = date(2026, 12, 10)


@pytest.mark.parametrize(
    ("state", "planned", "delivered", "today", "expected"),
    [
        ("planned", 0, None, -8, Health.ON_TIME),
        ("planned", 0, None, -7, Health.AT_RISK),
        ("planned", 0, None, 0, Health.AT_RISK),
        ("planned", 0, None, 1, Health.OVERDUE),
        ("in_progress", 0, None, -7, Health.ON_TIME),
        ("in_progress", 0, None, 0, Health.ON_TIME),
        ("in_progress", 1, None, -30, Health.AT_RISK),
        ("in_progress", 0, None, 1, Health.OVERDUE),
        ("changes_requested", 0, -20, 1, Health.OVERDUE),
        ("changes_requested", 0, -20, 0, Health.ON_TIME),
        ("delivered", 9, 0, 50, Health.DONE_ON_TIME),
        ("delivered", -9, 1, 50, Health.DONE_LATE),
        ("paid", 0, 1, 50, Health.DONE_LATE),
        ("approved", 0, 0, 50, Health.DONE_ON_TIME),
        ("invoiced", 0, -1, 50, Health.DONE_ON_TIME),
        ("cancelled", 0, None, 50, None),
    ],
)
def test_health(state: str, planned: int, delivered: int | None, today: int, expected: Health | None) -> None:
    on = DUE + timedelta(days=delivered) if delivered is not None else None
    at = {"due_on": DUE, "planned_on": DUE + timedelta(days=planned), "delivered_on": on, "today": DUE + timedelta(days=today)}
    assert health(State(state), **at) == expected  # type: ignore[arg-type]


def test_nothing_is_late_without_a_date() -> None:
    nothing = {"due_on": None, "planned_on": DUE, "today": DUE}
    assert health(State.PLANNED, delivered_on=None, **nothing) is Health.ON_TIME  # type: ignore[arg-type]
    assert health(State.PAID, delivered_on=DUE, **nothing) is Health.DONE_ON_TIME  # type: ignore[arg-type]


def test_advice() -> None:
    good = MilestoneDraft(title="A", acceptance_criteria=["works"], deliverables_expected=["report"], due_on=DUE)
    assert hints([good]) == []
    rows = [
        good,
        replace(good, due_on=None),
        replace(good, due_on=DUE - timedelta(days=1), acceptance_criteria=[" "]),
        replace(good, deliverables_expected=()),
    ]
    assert [(hint.pointer, hint.slug) for hint in hints(rows)] == [
        ("/milestones/1/due_on", "no-due-date"),
        ("/milestones/2/acceptance_criteria", "no-criteria"),
        ("/milestones/2/due_on", "due-before-previous"),
        ("/milestones/3/deliverables_expected", "no-deliverable"),
    ]
    assert hints([good] * 10) == []
    assert [hint.slug for hint in hints([good] * 11)] == ["many-milestones"]
