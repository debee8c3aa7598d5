"""R14: allocation; and what to believe of a provider's answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import euro_list, euros, load
from tollgate.errors import TollgateError
from tollgate.money.amount import CurrencyMismatch, Money, total
from tollgate.money.currencies import EXPONENTS
from tollgate.payments.rules import (
    CannotAllocate,
    Chosen,
    ExpectedInvoice,
    Mismatch,
    NotChargeable,
    OpenInvoice,
    ProviderInvoice,
    ProviderInvoiceState,
    ProviderPaymentState,
    allocate,
    compare_invoice,
    is_chargeable,
    later_invoice_state,
    later_payment_state,
    money_missing,
    money_of_provider,
    provider_minor,
)

CASES = load("allocation")
DAY = date(2026, 11, 1)


def open_invoice(place: int, open_: Money, due: int = 0) -> OpenInvoice:
    return OpenInvoice(invoice_id=UUID(int=place), due_on=DAY + timedelta(days=due), issued_on=DAY, number=f"INV-{place:04}", open=open_)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["payment"])
def test_worked_allocations(case: dict[str, Any]) -> None:
    invoices = [open_invoice(place, open_, due=place) for place, open_ in enumerate(euro_list(CASES["open"]))]
    result = allocate(euros(case["payment"]), list(reversed(invoices)))
    left = {invoice.invoice_id: invoice.open for invoice in invoices} | {item.invoice_id: item.left for item in result.allocations}
    assert list(left.values()) == euro_list(case["left"])
    assert result.client_credit == euros(case["client_credit"])


opens = st.lists(st.tuples(st.integers(0, 1000), st.integers(-5, 5)), max_size=8).map(
    lambda pairs: [open_invoice(place, Money(minor, "EUR"), due) for place, (minor, due) in enumerate(pairs)]
)
payments = st.integers(1, 5000).map(lambda minor: Money(minor, "EUR"))


@given(payments, opens)
def test_every_cent_is_allocated_or_client_credit_oldest_due_first(payment: Money, invoices: list[OpenInvoice]) -> None:
    result = allocate(payment, invoices)
    assert total((item.amount for item in result.allocations), "EUR") + result.client_credit == payment
    found = {invoice.invoice_id: invoice for invoice in invoices}
    for item in result.allocations:
        assert item.amount.is_positive
        assert item.left == found[item.invoice_id].open - item.amount
        assert not item.left.is_negative
    left = {invoice.invoice_id: invoice.open for invoice in invoices} | {item.invoice_id: item.left for item in result.allocations}
    touched = [found[item.invoice_id] for item in result.allocations]
    for invoice in invoices:
        # Nothing younger is touched while something older stays open, and nothing is credit while anything is open.
        if left[invoice.invoice_id].is_positive:
            assert result.client_credit.is_zero
            assert all((other.due_on, other.number) <= (invoice.due_on, invoice.number) for other in touched)


@given(payments, opens, st.randoms(use_true_random=False))
def test_the_order_in_which_invoices_are_read_does_not_matter(payment: Money, invoices: list[OpenInvoice], random: Any) -> None:
    shuffled = list(invoices)
    random.shuffle(shuffled)
    assert allocate(payment, shuffled) == allocate(payment, invoices)


@given(payments, opens, st.data())
def test_the_payers_choice_is_kept_to_the_letter(payment: Money, invoices: list[OpenInvoice], data: st.DataObject) -> None:
    chosen, rest = [], payment.minor
    for invoice in invoices:
        amount = data.draw(st.integers(0, min(rest, invoice.open.minor)))
        if amount:
            chosen.append(Chosen(invoice.invoice_id, Money(amount, "EUR")))
            rest -= amount
    result = allocate(payment, invoices, chosen)
    assert [(item.invoice_id, item.amount) for item in result.allocations] == [(item.invoice_id, item.amount) for item in chosen]
    assert result.client_credit.minor == rest


ONE, TWO = open_invoice(1, euros("10.00")), open_invoice(2, euros("20.00"))


@pytest.mark.parametrize(
    ("chosen", "pointer"),
    [
        ([(1, euros("10.01"))], "/allocations/0/amount"),
        ([(1, euros("0.00"))], "/allocations/0/amount"),
        ([(1, euros("-1.00"))], "/allocations/0/amount"),
        ([(1, Money(5, "USD"))], "/allocations/0/amount"),
        ([(9, euros("1.00"))], "/allocations/0/invoice_id"),
        ([(1, euros("1.00")), (1, euros("1.00"))], "/allocations/1/invoice_id"),
        ([(1, euros("10.00")), (2, euros("5.01"))], "/allocations"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(chosen: list[tuple[int, Money]], pointer: str) -> None:
    with pytest.raises(CannotAllocate) as refused:
        allocate(euros("15.00"), [ONE, TWO], [Chosen(UUID(int=place), amount) for place, amount in chosen])
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_payments_are_positive_and_of_the_invoices_currency() -> None:
    for amount in ("0.00", "-1.00"):
        with pytest.raises(CannotAllocate):
            allocate(euros(amount), [ONE])
    with pytest.raises(CurrencyMismatch):
        allocate(Money(100, "USD"), [ONE])
    assert allocate(euros("15.00"), [ONE], []).client_credit == euros("15.00")


def test_every_order_of_news_ends_the_same() -> None:
    for states in permutations(ProviderInvoiceState):
        known: ProviderInvoiceState | None = None
        for fetched in (*states, states[0]):
            known = later_invoice_state(known, fetched)
        assert known is ProviderInvoiceState.PAID
    for lives in permutations(ProviderPaymentState):
        kept: ProviderPaymentState | None = None
        for news in lives:
            kept = later_payment_state(kept, news)
        assert kept is ProviderPaymentState.REFUNDED


@pytest.mark.parametrize(
    ("known", "fetched", "kept"),
    [
        (None, "draft", "draft"),
        ("open", "draft", "open"),
        ("draft", "open", "open"),
        ("open", "void", "void"),
        ("uncollectible", "paid", "paid"),
        ("paid", "open", "paid"),
        ("void", "open", "void"),
        ("open", "open", "open"),
    ],
)
def test_a_stale_answer_never_takes_us_back(known: str | None, fetched: str, kept: str) -> None:
    assert later_invoice_state(ProviderInvoiceState(known) if known else None, ProviderInvoiceState(fetched)) == kept


OURS = ExpectedInvoice(invoice_id=UUID(int=1), number="INV-2026-0001", payable=euros("1200.00"))
THEIRS = ProviderInvoice(
    number="INV-2026-0001",
    currency="eur",
    total=120000,
    amount_due=120000,
    amount_paid=0,
    state=ProviderInvoiceState.DRAFT,
    our_invoice_id=str(UUID(int=1)),
)


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        (THEIRS, ()),
        (replace(THEIRS, number=None), ()),
        (replace(THEIRS, number="X"), (Mismatch.NUMBER,)),
        (replace(THEIRS, currency="usd"), (Mismatch.CURRENCY,)),
        (replace(THEIRS, total=120001), (Mismatch.TOTAL,)),
        (replace(THEIRS, amount_due=0), (Mismatch.AMOUNT_DUE,)),
        (replace(THEIRS, our_invoice_id=None), (Mismatch.METADATA,)),
        (replace(THEIRS, total=1, amount_due=1), (Mismatch.TOTAL, Mismatch.AMOUNT_DUE)),
    ],
)
def test_nothing_is_finalized_that_is_not_ours_to_the_cent(theirs: ProviderInvoice, found: tuple[Mismatch, ...]) -> None:
    assert compare_invoice(OURS, theirs) == found


def test_paid_is_not_money_received() -> None:
    paid = replace(THEIRS, state=ProviderInvoiceState.PAID, amount_paid=120000)
    assert money_missing(OURS, paid) == ()
    assert money_missing(OURS, replace(paid, amount_paid=0)) == (Mismatch.AMOUNT_PAID,)
    assert money_missing(OURS, replace(paid, amount_paid=119999)) == (Mismatch.AMOUNT_PAID,)
    assert money_missing(OURS, replace(paid, currency="usd", total=1)) == (Mismatch.CURRENCY, Mismatch.TOTAL)


@pytest.mark.parametrize(
    ("minor", "currency", "provider"),
    [
        (120000, "EUR", 120000),
        (500, "JPY", 500),
        (10, "KWD", 10),
        (500, "ISK", 50000),
        (500, "UGX", 50000),
        (100, "MGA", 1),
        (10, "IQD", 1),
        (12300, "CLF", 123),
    ],
)
def test_stripes_minor_units_are_not_iso(minor: int, currency: str, provider: int) -> None:
    assert provider_minor(Money(minor, currency)) == provider
    assert money_of_provider(provider, currency.lower()) == Money(minor, currency)


@pytest.mark.parametrize(("minor", "currency"), [(1, "KWD"), (1, "MGA"), (1, "IQD"), (99, "CLF")])
def test_what_stripe_cannot_say_is_not_rounded(minor: int, currency: str) -> None:
    with pytest.raises(NotChargeable):
        provider_minor(Money(minor, currency))
    assert not is_chargeable(Money(minor + 10**6, currency))


@given(st.integers(-(10**9), 10**9), st.sampled_from(sorted(EXPONENTS)))
def test_what_goes_to_stripe_comes_back_the_same(minor: int, currency: str) -> None:
    try:
        there = provider_minor(Money(minor, currency))
    except TollgateError:
        return
    assert money_of_provider(there, currency) == Money(minor, currency)


def test_half_a_crown_of_iceland_is_not_an_amount() -> None:
    with pytest.raises(NotChargeable):
        money_of_provider(50, "isk")


@pytest.mark.parametrize(("amount", "chargeable"), [("0.00", False), ("0.49", False), ("0.50", True), ("-1.00", False)])
def test_below_the_minimum_charge_there_is_no_stripe_invoice(amount: str, chargeable: bool) -> None:
    assert is_chargeable(euros(amount)) is chargeable
