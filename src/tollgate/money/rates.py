"""Percentages: exact decimals, never floats; at most eight digits before and six after the point."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from tollgate.errors import Invalid, _
from tollgate.money.amount import Money, round_half_up

MAX_PERCENT_PLACES = 6
HUNDRED = Decimal(100)

_PERCENT = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,6})?", re.ASCII)


class MalformedPercent(Invalid):
    """The text is not a percentage in the allowed range."""

    slug = "malformed-percent"
    title = _("This is not a percentage")


def parse_percent(text: str, *, most: Decimal = HUNDRED) -> Decimal:
    """Read `33.34` as exactly that many hundredths: 0 to `most`, at most six digits after the point. Raises MalformedPercent."""
    if _PERCENT.fullmatch(text) is None:
        raise MalformedPercent(
            _("write a percentage like 33.34: digits, and at most %(places)s after the point", places=MAX_PERCENT_PLACES)
        )
    percent = Decimal(text)
    if percent > most:
        raise MalformedPercent(_("a percentage here is at most %(most)s", most=percent_text(most)))
    return percent


def percent_text(percent: Decimal) -> str:
    """The one way to write a percentage in data, hashes and group keys: `20`, `33.34`, never `20.00` or `2E+1`."""
    text = f"{percent:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def percent_of(money: Money, percent: Decimal) -> Money:
    """`percent` hundredths of `money`, rounded once, half-up away from zero, at the currency's exponent."""
    return Money(round_half_up(money.minor * Fraction(percent) / 100), money.currency)
