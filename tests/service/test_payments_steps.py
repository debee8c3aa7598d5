"""Which step is next, in every situation; lines that always sum to what is payable; secrets that only their own key opens."""

from __future__ import annotations

from itertools import product
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate import clock
from tollgate.money.amount import Money
from tollgate.payments.reconcile import EVERY, SLOTS, slot_of, slots_between
from tollgate.payments.rules import provider_minor
from tollgate.payments.sealing import Unreadable, seal, unseal
from tollgate.payments.steps import GroupAmounts, StepName, StepState, Wanted, line_names, lines_for, next_step, position_of

FORWARD = [StepName.CUSTOMER, StepName.DRAFT, "line 1", "line 2", StepName.COMPARE, StepName.FINALIZE, StepName.SEND]
DONE, PLANNED, REFUSED = StepState.DONE, StepState.PLANNED, StepState.REFUSED


def finished(wanted: Wanted, taken: dict[str, StepState]) -> list[str]:
    """Take step after step until there is none."""
    taken, order = dict(taken), []
    while (name := next_step(wanted, 2, taken)) is not None:
        assert len(order) < 20, order
        order.append(name)
        taken[name] = DONE
    return order


def begun(steps: int, last: StepState | None) -> dict[str, StepState]:
    """So many steps done, and the one after it in that state."""
    taken: dict[str, StepState] = {str(name): DONE for name in FORWARD[:steps]}
    return taken if last is None or steps == len(FORWARD) else {**taken, str(FORWARD[steps]): last}


def test_the_way_there() -> None:
    assert finished(Wanted.PAYABLE, {}) == FORWARD
    assert finished(Wanted.PAYABLE, begun(3, PLANNED)) == FORWARD[3:]
    assert [position_of(str(name), 2) for name in FORWARD] == list(range(1, 8))


@pytest.mark.parametrize("steps", range(len(FORWARD)))
def test_a_refused_step_stops_the_way_there(steps: int) -> None:
    assert next_step(Wanted.PAYABLE, 2, begun(steps, REFUSED)) is None


@pytest.mark.parametrize(("steps", "last"), list(product(range(len(FORWARD) + 1), [None, PLANNED, REFUSED])))
def test_a_closed_invoice_is_withdrawn_from_wherever_it_is(steps: int, last: StepState | None) -> None:
    taken = begun(steps, last)
    draft = taken.get(StepName.DRAFT)
    expected = {None: [], REFUSED: [], PLANNED: [StepName.DRAFT, StepName.WITHDRAW], DONE: [StepName.WITHDRAW]}[draft]
    assert finished(Wanted.CLOSED, taken) == expected


@pytest.mark.parametrize(("steps", "last"), list(product(range(len(FORWARD) + 1), [None, PLANNED, REFUSED])))
def test_a_settled_invoice_is_never_left_to_be_paid(steps: int, last: StepState | None) -> None:
    taken = begun(steps, last)
    order = finished(Wanted.SETTLED, taken)
    if StepName.FINALIZE not in taken:
        assert order in ([], [StepName.WITHDRAW], [StepName.DRAFT, StepName.WITHDRAW])
        assert bool(order) == (taken.get(StepName.DRAFT) in {DONE, PLANNED})
    else:
        assert order[-1] == StepName.MARK_PAID and set(order) <= {StepName.FINALIZE, StepName.MARK_PAID}


amounts = st.integers(-(10**9), 10**9).map(lambda minor: Money(minor, "EUR"))
groups = st.lists(st.tuples(amounts, amounts), max_size=6)


@given(groups, amounts, amounts, amounts)
def test_the_lines_sum_to_what_is_payable(rows: list[tuple[Money, Money]], prepaid: Money, rounding: Money, retained: Money) -> None:
    made = [GroupAmounts(title=f"Stage {index}", rate="20 %", base=base, tax=tax) for index, (base, tax) in enumerate(rows)]
    payable = rounding - prepaid - retained
    for base, tax in rows:
        payable = payable + base + tax
    lines = lines_for("INV-1", made, prepaid=prepaid, rounding=rounding, retained=retained, payable=payable)
    assert sum(provider_minor(line.amount) for line in lines) == provider_minor(payable)
    assert not any(line.amount.is_zero for line in lines)
    with pytest.raises(ValueError, match="do not sum"):
        lines_for("INV-1", made, prepaid=prepaid, rounding=rounding, retained=retained, payable=payable + Money(1, "EUR"))


def test_what_stripe_cannot_say_line_by_line_is_one_line() -> None:
    zero = Money.zero("KWD")
    group = GroupAmounts(title="Stage", rate="5 %", base=Money(100_001, "KWD"), tax=Money(5_009, "KWD"))
    (line,) = lines_for("INV-1", [group], prepaid=zero, rounding=zero, retained=zero, payable=Money(105_010, "KWD"))
    assert (provider_minor(line.amount), str(line.label)) == (105_010, "Invoice INV-1")


def test_a_secret_opens_only_where_it_was_sealed() -> None:
    organization = uuid4()
    sealed = seal("a secret key of the server, long", organization, "secret_key", "sk_test_1")
    assert b"sk_test_1" not in sealed and sealed != seal("a secret key of the server, long", organization, "secret_key", "sk_test_1")
    assert unseal("a secret key of the server, long", organization, "secret_key", sealed) == "sk_test_1"
    for key, where, kind, bytes_ in (
        ("another secret key of the server", organization, "secret_key", sealed),
        ("a secret key of the server, long", uuid4(), "secret_key", sealed),
        ("a secret key of the server, long", organization, "webhook_secret", sealed),
        ("a secret key of the server, long", organization, "secret_key", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("a secret key of the server, long", organization, "secret_key", b""),
    ):
        with pytest.raises(Unreadable):
            unseal(key, where, kind, bytes_)


def test_every_invoice_has_its_turn_once_a_day() -> None:
    start = clock.now()
    seen: list[int] = []
    for index in range(SLOTS):
        seen += slots_between(start + index * EVERY, start + (index + 1) * EVERY)
    assert sorted(seen) == list(range(SLOTS))
    assert slots_between(start, start) == frozenset()
    assert slots_between(start, start + (SLOTS + 5) * EVERY) == frozenset(range(SLOTS))
    assert slot_of(uuid4()) in range(SLOTS)
    assert line_names(2) == ("line 1", "line 2")
