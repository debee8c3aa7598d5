"""R21: every event's entry balances, and lives that end settled leave every account but bank, tax and revenue at zero."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.ledger.rules import (
    ACCOUNTS,
    Account,
    DocumentAmounts,
    Kind,
    Posting,
    Postings,
    allocation_released,
    approved,
    balanced,
    corrected,
    credit_applied,
    issued,
    payment_reversed,
    price_reduced,
    received,
    refunded,
    reopened,
    reversal,
    voided,
    write_off_reversed,
    written_off,
)
from tollgate.money.amount import Money


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def document(net: int = 1000, tax: int = 200, rounding: int = 0, retained: int = 0) -> DocumentAmounts:
    return DocumentAmounts(
        net=eur(net), tax=eur(tax), rounding=eur(rounding), retained=eur(retained), payable=eur(net + tax + rounding - retained)
    )


def balances(*entries: Postings) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for entry in entries:
        assert balanced(entry)
        for posting in entry:
            assert not posting.amount.is_zero
            sums[posting.account.value] += posting.amount.minor
    return {account: minor for account, minor in sums.items() if minor}


def test_each_event_moves_what_the_rule_says() -> None:
    assert balances(approved(eur(1000))) == {"contract_asset": 1000, "revenue": -1000}
    assert balances(issued(document(rounding=1, retained=60))) == {
        "receivable": 1141,
        "retainage_receivable": 60,
        "contract_asset": -1000,
        "tax_payable": -200,
        "rounding": -1,
    }
    assert balances(received(allocated=eur(1200), client_credit=eur(50))) == {"bank": 1250, "receivable": -1200, "client_credit": -50}
    assert balances(credit_applied(eur(50))) == {"client_credit": 50, "receivable": -50}
    assert balances(written_off(eur(50))) == {"write_off": 50, "receivable": -50}
    assert balances(refunded(from_allocated=eur(10), from_client_credit=eur(5))) == {"bank": -15, "receivable": 10, "client_credit": 5}


def test_a_correction_leaves_the_work_earned_and_a_price_reduction_does_not() -> None:
    taken = {"net": eur(1000), "tax": eur(200), "rounding": eur(0), "from_open": eur(500), "from_retained": eur(60), "from_paid": eur(640)}
    moved = {"tax_payable": 200, "receivable": -500, "retainage_receivable": -60, "client_credit": -640}
    assert balances(corrected(**taken)) == {"contract_asset": 1000, **moved}
    assert balances(price_reduced(**taken)) == {"revenue": 1000, **moved}


counts = st.integers(0, 10**12)


@given(counts, counts, st.integers(-1, 1), counts)
def test_reversals_leave_nothing(net: int, tax: int, rounding: int, amount: int) -> None:
    paper = document(net, tax, rounding, retained=min(net, amount))
    assert balances(approved(eur(net)), reopened(eur(net))) == {}
    assert balances(issued(paper), voided(paper)) == {}
    assert (
        balances(received(allocated=eur(amount), client_credit=eur(net)), payment_reversed(allocated=eur(amount), client_credit=eur(net)))
        == {}
    )
    assert balances(credit_applied(eur(amount)), allocation_released(eur(amount))) == {}
    assert balances(written_off(eur(amount)), write_off_reversed(eur(amount))) == {}


@given(counts, counts, st.integers(-1, 1), counts)
def test_a_paid_invoice_leaves_bank_tax_and_revenue(net: int, tax: int, rounding: int, extra: int) -> None:
    paper = document(net, tax, max(rounding, -net - tax))
    life = balances(approved(eur(net)), issued(paper), received(allocated=paper.payable, client_credit=eur(extra)))
    expected = {
        "bank": paper.payable.minor + extra,
        "revenue": -net,
        "tax_payable": -tax,
        "rounding": -paper.rounding.minor,
        "client_credit": -extra,
    }
    assert life == {account: minor for account, minor in expected.items() if minor}


def test_entries_that_do_not_balance_are_bugs() -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        issued(DocumentAmounts(net=eur(1000), tax=eur(200), rounding=eur(0), retained=eur(0), payable=eur(1199)))
    with pytest.raises(ValueError, match="sum to 0"):
        corrected(net=eur(1), tax=eur(0), rounding=eur(0), from_open=eur(0), from_retained=eur(0), from_paid=eur(0))


def test_balance_is_per_currency() -> None:
    mixed = (Posting(Account.BANK, eur(5)), Posting(Account.REVENUE, Money(-5, "USD")))
    assert not balanced(mixed)
    assert balanced((*mixed, *reversal(mixed)))


def test_the_account_list_is_whole() -> None:
    assert set(ACCOUNTS) == set(Account)
    assert len({info.number for info in ACCOUNTS.values()}) == len(ACCOUNTS)
    assert {info.kind for info in ACCOUNTS.values()} == set(Kind)
    assert all(len(account.value) <= 40 for account in Account)
