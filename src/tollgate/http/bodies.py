"""Shapes that every call shares: money, lists, cursors, entity tags."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from litestar import Request
from msgspec import Meta, Struct

from tollgate.errors import Invalid, Stale, _, invalid
from tollgate.i18n.visible import is_blank
from tollgate.money.amount import ENTERED_LIMIT_MINOR, AmountTooLarge, Money

T = TypeVar("T")

Text = Annotated[str, Meta(max_length=500)]
MOST_ITEMS = 200

_LARGEST_KEY = 2**31 - 1
_BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF])


class MoneyBody(Struct, forbid_unknown_fields=True):
    """`{"amount": "1200.00", "currency": "EUR"}`: a decimal string with exactly the currency's digits."""

    amount: str
    currency: str

    @classmethod
    def of(cls, money: Money) -> MoneyBody:
        """The JSON shape of an amount."""
        return cls(money.decimal_string(), money.currency)

    @classmethod
    def of_minor(cls, minor: int, currency: str) -> MoneyBody:
        """The JSON shape of a column pair."""
        return cls.of(Money(minor, currency))

    def read(self, pointer: str) -> Money:
        """The amount. Raises `Invalid` at `pointer`."""
        try:
            found = Money.parse(self.amount, self.currency)
        except (Invalid, AmountTooLarge) as error:
            raise invalid(pointer, error.detail) from None
        if abs(found.minor) > ENTERED_LIMIT_MINOR:
            raise invalid(pointer, _("This amount is too large; the limit is %(limit)s", limit=Money(ENTERED_LIMIT_MINOR, self.currency)))
        return found


class ListBody(Struct, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None


def clean(text: str, pointer: str, *, most: int = 500, lines: bool = False) -> str:
    """Trimmed text, empty when nothing of it can be seen. Control characters (NUL above all) and bidi overrides are refused."""
    found = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    for character in found:
        code = ord(character)
        if (
            code in _BIDI
            or code == 0x7F
            or (code < 0x20 and not (character == "\n" and lines) and character != "\t")
            or 0xD800 <= code <= 0xDFFF
        ):
            raise invalid(pointer, _("This contains characters that cannot be kept or shown (U+%(code)s)", code=f"{code:04X}"))
    if len(found) > most:
        raise invalid(pointer, _("Use at most %(most)s characters", most=most))
    return "" if is_blank(found) else found


def encode_cursor(*keys: object) -> str:
    """An opaque cursor from the sort keys of the last row."""
    plain = [key.isoformat() if isinstance(key, datetime) else str(key) for key in keys]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: Callable[[str], Any]) -> tuple[Any, ...]:
    """The sort keys of a cursor, each read by its kind. Raises `Invalid` for one that is not ours."""
    try:
        plain = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(plain, list) or len(plain) != len(kinds):
            raise ValueError
        keys = tuple(kind(str(value)) for kind, value in zip(kinds, plain, strict=True))
        # What our columns cannot hold was not given out by us either.
        if any(isinstance(key, int) and abs(key) > _LARGEST_KEY for key in keys):
            raise ValueError
        return keys
    except (ValueError, OverflowError, RecursionError, binascii.Error):
        raise invalid("/cursor", _("This cursor is not one that a list gave out")) from None


def instant_key(text: str) -> datetime:
    """A cursor's instant, in UTC. Raises `ValueError` for one without a zone, `OverflowError` beyond the calendar."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("an instant has a zone")
    return found.astimezone(UTC)


def page_of(rows: Sequence[T], limit: int, keys: Callable[[T], tuple[object, ...]]) -> tuple[list[T], str | None]:
    """Cut a list that was read with `limit + 1` rows, and say where the next page starts."""
    kept = list(rows[:limit])
    return kept, encode_cursor(*keys(kept[-1])) if len(rows) > limit and kept else None


def etag(version: int) -> str:
    """The entity tag of a resource's version."""
    return f'"{version}"'


def version_asked(request: Request[Any, Any, Any]) -> int:
    """The version in `If-Match`. Raises `Stale` when it is missing or not one of ours: a blind write is refused."""
    given = (request.headers.get("if-match") or "").strip().removeprefix("W/").strip('"')
    if not (given.isascii() and given.isdigit()) or len(given) > 9:
        raise Stale(_("Send the ETag of what you edited in If-Match"))
    return int(given)


def uuid_or_none(text: str) -> UUID | None:
    """An id of a query or form, None when it is not one."""
    try:
        return UUID(text)
    except ValueError:
        return None
