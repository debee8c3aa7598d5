"""Numbers and days as people write them, read without guessing: what could mean two things is refused with the way out."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from babel.numbers import get_currency_symbol, get_decimal_symbol, get_group_symbol

from tollgate.errors import Invalid, Message, _
from tollgate.i18n import formats
from tollgate.i18n.choice import babel_locale, current_locale, use_locale
from tollgate.money.amount import ENTERED_LIMIT_MINOR, Money
from tollgate.money.currencies import digits

LONGEST = 40
"""Characters an amount may have; nobody's is longer, and it bounds the work."""

_ARABIC = str.maketrans({"\u066b": ".", "\u066c": ","})
_SPACES = re.compile(r"(?<=\d)[\s'’\u00a0\u202f](?=\d{3}(?!\d))")


def parse_amount(text: str, locale: str, currency: str, *, negative: bool = False) -> Money:
    """Read an amount in the reader's notation: `1.234,56` in German, `1,234.56` in English, with or without the currency.

    The other notation is accepted only where it cannot be mistaken (`12.50` typed by a German). `1,234` typed by a German for
    euros is refused: it has one decimal too many there, and is a thousand times as much elsewhere. Raises `Invalid`.
    """
    places = digits(currency)
    sign, bare = _bare(text, locale, currency)
    if sign and not negative:
        raise Invalid(_("Enter an amount of zero or more"))
    whole, fraction = _reading(text, bare, locale, currency)
    if fraction[places:].strip("0"):
        raise Invalid(_too_fine(locale, currency))
    minor = int((whole or "0") + fraction[:places].ljust(places, "0"))
    if minor > ENTERED_LIMIT_MINOR:
        raise Invalid(_("This amount is too large; the limit is %(limit)s", limit=Money(ENTERED_LIMIT_MINOR, currency)))
    return Money(-minor if sign else minor, currency)


def _bare(text: str, locale: str, currency: str) -> tuple[bool, str]:
    """Whether it is negative, and the digits and separators alone: no currency, no spaces, no thousands apostrophes, ASCII digits."""
    if not text.strip():
        raise Invalid(_("Enter an amount"))
    if len(text) > LONGEST:
        raise Invalid(_("Enter an amount like %(example)s", example=_example(locale, currency)))
    bare = "".join(str(unicodedata.digit(mark)) if mark.isdecimal() else mark for mark in text.strip())
    for word in (currency, currency.lower(), get_currency_symbol(currency, locale=babel_locale(locale))):
        bare = bare.removeprefix(word).removesuffix(word).strip()
    sign = bare[:1] in "-\u2212" and bare != ""
    bare = _SPACES.sub("", bare[1:].strip() if sign else bare).translate(_ARABIC)
    return sign, bare


def _reading(text: str, bare: str, locale: str, currency: str) -> tuple[str, str]:
    """Whole and fractional digits of the one thing that was meant."""
    decimal, group, group_is_theirs = _separators(locale)
    own, other = _read(bare, decimal, group), _read(bare, group, decimal)
    if own is None or other is None or own == other:
        read = own or other
        if read is None:
            raise Invalid(_("Enter an amount like %(example)s", example=_example(locale, currency)))
        return read
    places = digits(currency)
    # Clear: their decimal mark with decimals that the currency has; or their thousands, with decimals that it cannot have.
    clear = len(own[1]) <= places if own[1] else group_is_theirs and places < len(other[1])
    if not clear:
        raise Invalid(_two_meanings(text, locale, currency, own, other))
    return own


def _separators(locale: str) -> tuple[str, str, bool]:
    """Decimal mark, the other mark, and whether the reader's language groups thousands by that other one."""
    tag = babel_locale(locale)
    decimal = "," if get_decimal_symbol(tag, numbering_system="latn") == "," else "."
    group = "." if decimal == "," else ","
    return decimal, group, get_group_symbol(tag, numbering_system="latn") == group


def _read(bare: str, decimal: str, group: str) -> tuple[str, str] | None:
    """Digits before and after the decimal mark, or None when it is not a number in this notation."""
    found = re.fullmatch(rf"(\d+|\d{{1,3}}(?:{re.escape(group)}\d{{3}})+)?(?:{re.escape(decimal)}(\d*))?", bare, re.ASCII)
    if found is None or not re.search(r"\d", bare):
        return None
    return (found[1] or "").replace(group, ""), found[2] or ""


def _example(locale: str, currency: str) -> str:
    with use_locale(locale):
        return formats.amount(Money(1234 * 10 ** digits(currency) + 56 % 10 ** digits(currency), currency))


def _too_fine(locale: str, currency: str) -> Message:
    places = digits(currency)
    if places == 0:
        return _("%(currency)s has no decimals; enter an amount like %(example)s", currency=currency, example=_example(locale, currency))
    example = _example(locale, currency)
    return _("%(currency)s has %(places)s decimals; enter an amount like %(example)s", currency=currency, places=places, example=example)


def _two_meanings(text: str, locale: str, currency: str, own: tuple[str, str], other: tuple[str, str]) -> Message:
    """Name both meanings, each in the notation that cannot be mistaken."""
    places = digits(currency)

    def clear(read: tuple[str, str]) -> str:
        shown = max(places, len(read[1]))
        with use_locale(locale):
            return formats.number(Decimal(f"{read[0] or '0'}.{read[1] or '0'}"), shown)

    return _("“%(typed)s” could mean %(one)s or %(two)s; write it with its decimals", typed=text.strip(), one=clear(own), two=clear(other))


def parse_percent(text: str, locale: str, *, most_decimals: int = 6) -> Decimal:
    """Read per cents (`33,34`, `33.34 %`). Raises `Invalid`.

    Point and comma both mark the decimals, as no percentage here reaches a thousand.
    """
    bare = "".join(str(unicodedata.digit(mark)) if mark.isdecimal() else mark for mark in text.strip()[:LONGEST])
    bare = bare.translate(_ARABIC).removesuffix("%").removesuffix("٪").strip()
    found = re.fullmatch(r"(\d{1,3})(?:[.,](\d+))?", bare, re.ASCII)
    if found is None:
        with use_locale(locale):
            raise Invalid(_("Enter a percentage like %(example)s", example=formats.percent(Decimal("33.34"))))
    if len(found[2] or "") > most_decimals:
        raise Invalid(_("Enter at most %(most)s decimals", most=most_decimals))
    return Decimal(f"{found[1]}.{found[2] or '0'}") if found[2] else Decimal(found[1])


def parse_day(text: str, locale: str) -> date:
    """Read `2026-12-24` (what date fields send) or the reader's short notation with a four-digit year.

    Plain English is written day first and month first: `03/04/2026` is refused there, `24/12/2026` is not. Raises `Invalid`.
    """
    bare = "".join(str(unicodedata.digit(mark)) if mark.isdecimal() else mark for mark in text.strip()[:LONGEST])
    if not bare:
        raise Invalid(_("Enter a date"))
    parts = [int(part) for part in re.findall(r"\d+", bare)]
    if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", bare):
        return _date(parts[0], parts[1], parts[2])
    if re.fullmatch(r"\d{4}([./])\s?\d{1,2}\1\s?\d{1,2}\.?", bare):
        return _date(parts[0], parts[1], parts[2])
    if not re.fullmatch(r"\d{1,2}([./-])\s?\d{1,2}\1\s?\d{4}", bare):
        raise Invalid(_("Enter a date like %(example)s", example="2026-12-24"))
    first, second, year = parts
    month_first = _month_first(locale)
    if month_first is None and first != second and first <= 12 and second <= 12:
        example = f"{year:04}-{second:02}-{first:02}"
        raise Invalid(_("“%(typed)s” could mean two days; enter it like %(example)s", typed=bare, example=example))
    if month_first or (month_first is None and second > 12):
        return _date(year, first, second)
    return _date(year, second, first)


def _month_first(locale: str) -> bool | None:
    """Whether the reader writes the month before the day; None where the language alone does not tell."""
    if locale.replace("_", "-") == "en":
        return None
    order = re.sub(r"[^dMy]", "", str(babel_locale(locale).date_formats["short"].pattern))
    return order.find("M") < order.find("d")


def _date(year: int, month: int, day: int) -> date:
    if not 1900 <= year <= 9999:
        raise Invalid(_("Enter a year between 1900 and 9999"))
    try:
        return date(year, month, day)
    except ValueError:
        raise Invalid(_("There is no such day; enter a date like %(example)s", example="2026-12-24")) from None


@dataclass(frozen=True, slots=True)
class NumberMarks:
    """How a reader writes numbers and days, for a script that must read them like `parse_amount`."""

    decimal: str
    group: str
    """The other mark of point and comma."""
    groups_by: str
    """What thousands are really parted by (a narrow space in French)."""
    day_order: str
    """`dmy`, `mdy`, or `?` where the language alone does not tell."""


def number_marks() -> NumberMarks:
    """The marks of the present locale."""
    tag = current_locale.get()
    decimal, group, _theirs = _separators(tag)
    first = _month_first(tag)
    order = "?" if first is None else "mdy" if first else "dmy"
    return NumberMarks(decimal, group, str(get_group_symbol(babel_locale(tag), numbering_system="latn")), order)
