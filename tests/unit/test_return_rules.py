"""R14, the way back: ranks, what counts as gone, where it is taken from; and a small payment life in any order."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.ledger.rules import Account, balanced, dispute_lost, refunded, returned
from tollgate.money.amount import Money
from tollgate.payments.returns import (
    ATTEMPT_RANK,
    DISPUTE_RANK,
    REFUND_RANK,
    AttemptState,
    DisputeState,
    Held,
    RefundState,
    gone,
    later,
    refill,
    take_from,
)

minor = st.integers(0, 10**9)


def eur(amount: int) -> Money:
    return Money(amount, "EUR")


@given(st.permutations(list(RefundState)), st.permutations(list(DisputeState)), st.permutations(list(AttemptState)))
def test_any_order_of_news_keeps_the_furthest_state(
    refunds: list[RefundState], disputes: list[DisputeState], attempts: list[AttemptState]
) -> None:
    refund: RefundState | None = None
    dispute: DisputeState | None = None
    attempt: AttemptState | None = None
    for one, two, three in zip(refunds, disputes, attempts, strict=True):
        refund, dispute, attempt = later(REFUND_RANK, refund, one), later(DISPUTE_RANK, dispute, two), later(ATTEMPT_RANK, attempt, three)
    assert (refund, dispute, attempt) == (RefundState.FAILED, DisputeState.WON, AttemptState.ARRIVED)


@pytest.mark.parametrize(
    ("refunds", "disputes", "expected"),
    [
        ([], [], 0),
        ([(RefundState.PENDING, 500)], [(DisputeState.OPEN, 1000)], 0),
        ([(RefundState.SUCCEEDED, 300), (RefundState.SUCCEEDED, 200), (RefundState.FAILED, 400)], [], 500),
        ([(RefundState.SUCCEEDED, 300)], [(DisputeState.LOST, 500)], 800),
        ([(RefundState.SUCCEEDED, 600)], [(DisputeState.LOST, 600)], 1000),
        ([], [(DisputeState.WON, 1000)], 0),
    ],
)
def test_what_counts_as_gone(refunds: list[tuple[RefundState, int]], disputes: list[tuple[DisputeState, int]], expected: int) -> None:
    found = gone(eur(1000), [(state, eur(one)) for state, one in refunds], [(state, eur(one)) for state, one in disputes])
    assert found == eur(expected)


@given(amount=minor, allocated=minor, before=minor, back=minor, stands=st.booleans())
def test_what_goes_back_is_taken_from_credit_first_and_never_twice(
    amount: int, allocated: int, before: int, back: int, stands: bool
) -> None:
    allocated = min(allocated, amount)
    # Where the invoice stands, what settles it did not go back.
    before = min(before, amount - allocated if stands else amount)
    back = min(back, amount - before)
    held = Held(amount=eur(amount), gone=eur(before), allocated=eur(allocated), stands=stands)
    taken = take_from(held, eur(back))
    assert taken.invoice + taken.client_credit == eur(back)
    assert not taken.invoice.is_negative and not taken.client_credit.is_negative
    if not stands:
        assert taken.invoice.is_zero
    elif taken.invoice.is_positive:
        assert taken.client_credit == held.own_credit, "its own credit is used up before its invoice is opened"
        assert taken.invoice <= eur(allocated)


def test_more_than_is_left_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="is left of the payment"):
        take_from(Held(amount=eur(100), gone=eur(60), allocated=eur(40), stands=True), eur(41))


@given(open_=minor, spare=st.lists(minor, max_size=5))
def test_an_open_invoice_takes_what_was_paid_for_it(open_: int, spare: list[int]) -> None:
    given_ = refill(eur(open_), [(UUID(int=number), eur(one)) for number, one in enumerate(spare)])
    assert sum(one.minor for _id, one in given_) == min(open_, sum(spare))
    assert all(one.is_positive and one.minor <= spare[payment.int] for payment, one in given_)


@given(payable=st.integers(1, 1000), life=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 1500)), min_size=1, max_size=8))
def test_what_settles_the_invoice_follows_from_the_sums(payable: int, life: list[tuple[int, int]]) -> None:
    """Payments for one invoice and money that goes back, in any mix: paid is what did not go back, at most what is payable."""
    amounts: dict[int, int] = {}
    back: dict[int, int] = {}
    settled: dict[int, int] = {}
    for number, (which, money) in enumerate(life):
        if which == 0 or not amounts:
            amounts[number], back[number], settled[number] = money, 0, 0
        else:
            payment = sorted(amounts)[money % len(amounts)]
            part = min(money, amounts[payment] - back[payment])
            held = Held(amount=eur(amounts[payment]), gone=eur(back[payment]), allocated=eur(settled[payment]), stands=True)
            settled[payment] -= take_from(held, eur(part)).invoice.minor
            back[payment] += part
        spare = [(UUID(int=one), eur(amounts[one] - back[one] - settled[one])) for one in sorted(amounts)]
        for one, part_of in refill(eur(payable - sum(settled.values())), spare):
            settled[one.int] += part_of.minor
        assert sum(settled.values()) == min(payable, sum(amounts.values()) - sum(back.values()))


@given(invoice=minor, credit=minor)
def test_entries_of_money_that_goes_back_balance(invoice: int, credit: int) -> None:
    parts = {"from_allocated": eur(invoice), "from_client_credit": eur(credit)}
    for entry in (refunded(**parts), dispute_lost(**parts)):
        assert balanced(entry)
        assert sum(one.amount.minor for one in entry if one.account is Account.BANK) == -(invoice + credit)
    assert balanced(returned(eur(credit)))
