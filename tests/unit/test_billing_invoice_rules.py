"""Invoice states, due days and void."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import euros
from tollgate.billing.rules import (
    InvoiceFacts,
    InvoiceState,
    PaymentTerms,
    TermsFrom,
    VoidFacts,
    VoidRefused,
    check_void,
    due_day,
    invoice_state,
    is_overdue,
    open_amount,
)
from tollgate.money.amount import Money

ZERO = euros("0.00")
ISSUED = InvoiceFacts(payable=euros("100.00"), paid=ZERO, credited=ZERO, written_off=ZERO)


@pytest.mark.parametrize(
    ("facts", "state", "open_"),
    [
        (replace(ISSUED, issued=False), "draft", "0.00"),
        (ISSUED, "issued", "100.00"),
        (replace(ISSUED, paid=euros("0.01")), "partly_paid", "99.99"),
        (replace(ISSUED, paid=euros("99.99")), "partly_paid", "0.01"),
        (replace(ISSUED, paid=euros("100.00")), "paid", "0.00"),
        (replace(ISSUED, void=True), "void", "0.00"),
        (replace(ISSUED, credited=euros("40.00")), "issued", "60.00"),
        (replace(ISSUED, paid=euros("60.00"), credited=euros("40.00")), "paid", "0.00"),
        (replace(ISSUED, credited=euros("100.00"), credited_in_full=True), "credited", "0.00"),
        (replace(ISSUED, paid=euros("70.00"), credited=euros("30.00"), credited_in_full=True), "credited", "0.00"),
        (replace(ISSUED, written_off=euros("100.00")), "uncollectible", "0.00"),
        (replace(ISSUED, paid=euros("30.00"), written_off=euros("70.00")), "uncollectible", "0.00"),
        (replace(ISSUED, paid=euros("30.00"), written_off=euros("69.99")), "partly_paid", "0.01"),
        (replace(ISSUED, payable=ZERO), "paid", "0.00"),
    ],
)
def test_states_follow_from_facts(facts: InvoiceFacts, state: str, open_: str) -> None:
    assert (invoice_state(facts).value, open_amount(facts)) == (state, euros(open_))


parts = st.integers(0, 50)


@given(parts, parts, parts, parts)
def test_paid_means_nothing_is_open(payable: int, paid: int, credited: int, written_off: int) -> None:
    facts = InvoiceFacts(
        payable=Money(payable + paid + credited + written_off, "EUR"),
        paid=Money(paid, "EUR"),
        credited=Money(credited, "EUR"),
        written_off=Money(written_off, "EUR"),
    )
    assert open_amount(facts).minor == payable
    state = invoice_state(facts)
    assert (state in {InvoiceState.PAID, InvoiceState.UNCOLLECTIBLE}) == (payable == 0)
    assert (state is InvoiceState.UNCOLLECTIBLE) == (payable == 0 and written_off > 0)
    assert (state is InvoiceState.PARTLY_PAID) == (payable > 0 and paid > 0)


@pytest.mark.parametrize(
    ("issued", "days", "start", "due"),
    [
        ("2026-11-24", 30, "issue", "2026-12-24"),
        ("2026-11-24", 0, "issue", "2026-11-24"),
        ("2024-02-28", 1, "issue", "2024-02-29"),
        ("2026-11-24", 30, "end_of_month", "2026-12-30"),
        ("2026-11-30", 0, "end_of_month", "2026-11-30"),
        ("2024-02-01", 0, "end_of_month", "2024-02-29"),
        ("2026-12-31", 14, "end_of_month", "2027-01-14"),
        ("2026-12-01", 0, "end_of_month", "2026-12-31"),
    ],
)
def test_due_days(issued: str, days: int, start: str, due: str) -> None:
    assert due_day(date.fromisoformat(issued), PaymentTerms(days, TermsFrom(start))) == date.fromisoformat(due)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 365))
def test_end_of_month_is_the_last_day_of_the_issue_month(issued: date, days: int) -> None:
    start = due_day(issued, PaymentTerms(days, TermsFrom.END_OF_MONTH)) - timedelta(days=days)
    assert (start.year, start.month) == (issued.year, issued.month)
    assert (start + timedelta(days=1)).day == 1


def test_due_today_is_not_overdue() -> None:
    due = date(2026, 12, 24)
    assert [is_overdue(euros("0.01"), due, due + timedelta(days=shift)) for shift in (-1, 0, 1)] == [False, False, True]
    assert not is_overdue(ZERO, due, due + timedelta(days=99))


FREE = VoidFacts(state=InvoiceState.ISSUED, sent=False, paid=ZERO, credited=False)


def test_an_unsent_unpaid_uncredited_invoice_may_be_void() -> None:
    check_void(FREE)
    check_void(replace(FREE, state=InvoiceState.PAID))  # 0.00 is settled on issue


@pytest.mark.parametrize(
    "facts",
    [
        replace(FREE, state=InvoiceState.DRAFT),
        replace(FREE, state=InvoiceState.VOID),
        replace(FREE, state=InvoiceState.UNCOLLECTIBLE),
        replace(FREE, sent=True),
        replace(FREE, paid=euros("0.01")),
        replace(FREE, credited=True),
        replace(FREE, period_closed=True),
    ],
)
def test_each_reason_alone_refuses_void(facts: VoidFacts) -> None:
    with pytest.raises(VoidRefused) as refused:
        check_void(facts)
    assert len(refused.value.facts["reasons"]) == 1


def test_every_reason_against_void_is_named() -> None:
    with pytest.raises(VoidRefused) as refused:
        check_void(VoidFacts(state=InvoiceState.PARTLY_PAID, sent=True, paid=euros("5.00"), credited=True, period_closed=True))
    assert len(refused.value.facts["reasons"]) == 4
    assert all(reason in str(refused.value) for reason in refused.value.facts["reasons"])
    assert "5.00 EUR" in str(refused.value)
