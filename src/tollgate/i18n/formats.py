"""How numbers, money and time are written for the present locale (Babel, CLDR). Nothing here rounds money: digits come from ISO 4217."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_skeleton
from babel.numbers import NumberPattern, parse_pattern

from tollgate.errors import Message
from tollgate.i18n.choice import babel_locale, current_locale
from tollgate.money.amount import Money
from tollgate.money.currencies import digits

DayStyle = Literal["short", "medium", "long", "full"]


@lru_cache(maxsize=256)
def _pattern(tag: str, kind: str, least: int, most: int) -> NumberPattern:
    """The locale's pattern with decimals of our own: Babel's are CLDR's display digits, which differ from ISO 4217's."""
    locale = babel_locale(tag)
    source = {
        "currency": locale.currency_formats["standard"],
        "number": locale.decimal_formats[None],
        "percent": locale.percent_formats[None],
    }[kind]
    pattern = parse_pattern(source.pattern)
    pattern.frac_prec = (least, most)
    return pattern


def _decimal(minor: int, places: int) -> Decimal:
    # Built from digits: exact for any size, while scaleb() would round to the context's 28 digits.
    return Decimal((int(minor < 0), tuple(int(digit) for digit in str(abs(minor))), -places))


def money(value: Money | int, currency: str | None = None) -> str:
    """`€1,200.00`, from `Money` or from minor units and a code. Digits are ISO 4217's (JPY 0, EUR 2, KWD 3).

    >>> money(120000, "EUR")
    '€1,200.00'
    """
    minor, code = _parts(value, currency)
    places, tag = digits(code), current_locale.get()
    pattern = _pattern(tag, "currency", places, places)
    return str(pattern.apply(_decimal(minor, places), babel_locale(tag), currency=code, currency_digits=False))


def amount(value: Money | int, currency: str | None = None) -> str:
    """`1,200.00`: the same without the currency, for a column or field beside which it stands once."""
    minor, code = _parts(value, currency)
    places, tag = digits(code), current_locale.get()
    return str(_pattern(tag, "number", places, places).apply(_decimal(minor, places), babel_locale(tag)))


def _parts(value: Money | int, currency: str | None) -> tuple[int, str]:
    if isinstance(value, int):
        if currency is None:
            raise TypeError("minor units need their currency")
        return value, currency
    return value.minor, value.currency


def number(value: int | Decimal, decimals: int | None = None) -> str:
    """`1,234` or `0.5`: as many decimals as the value has, or exactly `decimals`."""
    tag = current_locale.get()
    exact = Decimal(value)
    own = max(0, -int(exact.as_tuple().exponent))
    least, most = (decimals, decimals) if decimals is not None else (own, own)
    return str(_pattern(tag, "number", least, most).apply(exact, babel_locale(tag)))


def percent(value: Decimal | int) -> str:
    """A count of per cents with its sign: `Decimal("33.34")` is `33.34%`, in German `33,34 %`."""
    tag = current_locale.get()
    exact = Decimal(value)
    own = max(0, -int(exact.as_tuple().exponent))
    return str(_pattern(tag, "percent", own, own).apply(exact.scaleb(-2), babel_locale(tag)))


def day(value: date, style: DayStyle = "medium") -> str:
    """A legal day: `24 Dec 2026`; `full` adds the weekday."""
    return str(format_date(value, style, locale=babel_locale(current_locale.get())))


def day_month(value: date) -> str:
    """A day without its year, for axes: `24 Dec`."""
    return str(format_skeleton("MMMd", value, locale=babel_locale(current_locale.get())))


def instant(value: datetime, zone: str) -> str:
    """An instant as the clock on the wall in `zone` shows it, with the zone's name: `24 Dec 2026, 14:05 CET`."""
    if value.tzinfo is None:
        raise ValueError("an instant needs its time zone")
    locale = babel_locale(current_locale.get())
    local = value.astimezone(ZoneInfo(zone))
    clock = format_datetime(local, "short", locale=locale).removeprefix(str(format_date(local, "short", locale=locale)))
    return f"{format_date(local, 'medium', locale=locale)}{clock} {local.tzname()}"


def shown(value: Any) -> Any:
    """A value as text for the reader when its type says how; anything else unchanged, for `%` to print."""
    if isinstance(value, Money):
        return money(value)
    if isinstance(value, datetime):
        return instant(value, "UTC")
    if isinstance(value, date):
        return day(value)
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | Decimal):
        return number(value)
    return value


def say(value: Message | str) -> str:
    """A `Message` in the reader's language; text that is already somebody's own words passes unchanged."""
    from tollgate.i18n.catalogs import translate  # catalogs writes arguments with `shown`, so the import runs this way round

    return value if isinstance(value, str) else translate(value)


def file_size(size: int) -> str:
    """Bytes as people read them, to one decimal: `1.4 MB`."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{number(Decimal(size) / factor, 1)} {unit}"
    return f"{number(size)} B"
