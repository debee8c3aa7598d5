"""What an agreed amount comes to, and when it is due: shared by previews, sign-off and invoices, so that they cannot differ by a cent."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from tollgate.contracts.tax_rules import TaxTreatment
from tollgate.money.amount import Money, round_half_up
from tollgate.money.rates import percent_of


class PriceBasis(StrEnum):
    """Whether the contract's amounts are without tax or with it."""

    NET = "net"
    GROSS = "gross"


class TermsFrom(StrEnum):
    """What the payment days count from."""

    ISSUE = "issue"
    END_OF_MONTH = "end_of_month"


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """So many calendar days from the issue day, or from the end of its month."""

    days: int
    start: TermsFrom = TermsFrom.ISSUE


def due_day(issued_on: date, terms: PaymentTerms) -> date:
    """The legal day by which the invoice is to be paid; that day itself is not overdue."""
    start = issued_on
    if terms.start is TermsFrom.END_OF_MONTH:
        start = issued_on.replace(day=calendar.monthrange(issued_on.year, issued_on.month)[1])
    return start + timedelta(days=terms.days)


def net_of_gross(gross: Money, rate_percent: Decimal) -> Money:
    """The net whose gross comes nearest to `gross` (R3). When net + tax misses it, no other net reaches it either.

    Net n is reached only if |n·(1+r) − gross| ≤ ½, that is |n − gross/(1+r)| ≤ ½/(1+r): the nearest whole number is the one candidate.
    """
    return Money(round_half_up(gross.minor / (1 + Fraction(rate_percent) / 100)), gross.currency)


@dataclass(frozen=True, slots=True)
class Price:
    """What one milestone comes to on an invoice of its own (R2, R3): net + tax + rounding = payable."""

    net: Money
    tax: Money
    rounding: Money
    """Not zero only where no net reaches an agreed gross price."""
    payable: Money


def price_of(amount: Money, price_basis: str, tax: TaxTreatment) -> Price:
    """The price of an agreed amount, exactly as its invoice will state it."""
    net = net_of_gross(amount, tax.rate_percent) if price_basis == PriceBasis.GROSS else amount
    own = percent_of(net, tax.rate_percent)
    payable = amount if price_basis == PriceBasis.GROSS else net + own
    return Price(net, own, payable - net - own, payable)
