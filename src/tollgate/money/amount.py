"""Money: a count of minor units of one currency."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tollgate.errors import Invalid, TooLarge, _
from tollgate.money.currencies import digits

LIMIT_MINOR = 10**15
"""No amount is beyond this many minor units, so that any sum of a few thousand of them fits a BIGINT column."""
ENTERED_LIMIT_MINOR = 10**13
"""What a person or a program may enter: so far below LIMIT_MINOR that totals of what was entered, tax included, stay within it."""

_AMOUNT = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,18})(?:\.(?P<fraction>[0-9]{1,9}))?", re.ASCII)


class CurrencyMismatch(Invalid):
    """Two amounts of different currencies met in one calculation."""

    slug = "currency-mismatch"
    title = _("The currencies differ")

    def __init__(self, one: str, other: str) -> None:
        super().__init__(_("%(one)s and %(other)s cannot be calculated with one another", one=one, other=other))


class AmountTooLarge(TooLarge):
    """The amount is beyond LIMIT_MINOR."""

    slug = "amount-too-large"
    title = _("This amount is larger than the limit")


class MalformedAmount(Invalid):
    """The text is not a decimal number with exactly the currency's digits."""

    slug = "malformed-amount"
    title = _("This is not an amount")


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount: a count of minor units (cents, yen, fils) of one ISO 4217 currency.

    >>> Money.parse("1200.00", "EUR") - Money(1, "EUR")
    Money(minor=119999, currency='EUR')
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"minor units are a whole number, not {self.minor!r}")
        digits(self.currency)
        if abs(self.minor) > LIMIT_MINOR:
            raise AmountTooLarge(
                _("amounts go up to %(limit)s %(currency)s", limit=_decimal_string(LIMIT_MINOR, self.currency), currency=self.currency)
            )

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Nothing, in `currency`."""
        return cls(0, currency)

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Read `1200.00` (exactly the currency's digits; a leading minus is allowed).

        Raises MalformedAmount, which shows how it should be written, AmountTooLarge or UnknownCurrency.
        """
        places = digits(currency)
        found = _AMOUNT.fullmatch(text)
        fraction = (found["fraction"] or "") if found else ""
        if found is None or len(fraction) != places:
            example = _decimal_string(1200 * 10**places, currency)
            raise MalformedAmount(
                _(
                    "write an amount in %(currency)s like %(example)s: digits, and exactly %(places)s after the point",
                    currency=currency,
                    example=example,
                    places=places,
                )
            )
        minor = int(found["whole"] + fraction)
        return cls(-minor if found["sign"] else minor, currency)

    def decimal_string(self) -> str:
        """The amount with exactly the currency's digits and no grouping, as in the API: `-0.05`."""
        return _decimal_string(self.minor, self.currency)

    def decimal(self) -> Decimal:
        """The amount in major units, exact."""
        return Decimal(self.decimal_string())

    def __str__(self) -> str:
        return f"{self.decimal_string()} {self.currency}"

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._minor_of(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._minor_of(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __abs__(self) -> Money:
        return Money(abs(self.minor), self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._minor_of(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._minor_of(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._minor_of(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._minor_of(other)

    @property
    def is_zero(self) -> bool:
        """Whether this is exactly nothing."""
        return self.minor == 0

    @property
    def is_negative(self) -> bool:
        """Whether this is below zero."""
        return self.minor < 0

    @property
    def is_positive(self) -> bool:
        """Whether this is above zero."""
        return self.minor > 0

    def _minor_of(self, other: Money) -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(self.currency, other.currency)
        return other.minor


def total(amounts: Iterable[Money], currency: str) -> Money:
    """The exact sum of `amounts`, all of them in `currency`; nothing sums to zero."""
    result = Money.zero(currency)
    for amount in amounts:
        result = result + amount
    return result


def round_half_up(exact: Fraction) -> int:
    """The nearest whole number; a half goes away from zero (2.5 to 3, -2.5 to -3). The one rounding mode of this product."""
    doubled = abs(exact) * 2
    rounded = (doubled.numerator + doubled.denominator) // (2 * doubled.denominator)
    return -rounded if exact < 0 else rounded


def _decimal_string(minor: int, currency: str) -> str:
    places = digits(currency)
    sign = "-" if minor < 0 else ""
    text = str(abs(minor)).rjust(places + 1, "0")
    return f"{sign}{text[:-places]}.{text[-places:]}" if places else sign + text
