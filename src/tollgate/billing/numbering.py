"""R11: document numbers. A number exists only on issue; the service takes it under the series' row lock, these rules say which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from tollgate.errors import Invalid, TooLarge, _

MAX_LENGTH = 26
"""Stripe takes numbers of at most 26 characters."""
MAX_FORMAT_LENGTH = 60
ROOM_FOR_DIGITS = 7
"""A format must leave room for this many digits, so that a series never runs full in practice."""
MAX_SEQ = 999_999_999

_TOKEN = re.compile(r"\{year\}|\{seq(?::0(?P<width>[1-9]))?\}")
_LITERAL = re.compile(r"[A-Za-z0-9 ./_#-]*", re.ASCII)


class MalformedFormat(Invalid):
    """The number format cannot be used."""

    slug = "malformed-number-format"
    title = _("This number format cannot be used")


class SeriesFull(TooLarge):
    """The next number would be too long; the organization must choose another format."""

    slug = "series-full"
    title = _("This number series is full")


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How a series writes its numbers: literal text, at most one `{year}`, exactly one `{seq}` or `{seq:04}` (least width).

    >>> NumberFormat.parse("INV-{year}-{seq:04}").render(2026, 7)
    'INV-2026-0007'
    """

    text: str
    width: int
    has_year: bool

    @classmethod
    def parse(cls, text: str) -> NumberFormat:
        """Read a format. Raises MalformedFormat with what is wrong."""
        if len(text) > MAX_FORMAT_LENGTH or text != text.strip():
            raise MalformedFormat(_("a format has at most %(limit)s characters and no space at its ends", limit=MAX_FORMAT_LENGTH))
        tokens = list(_TOKEN.finditer(text))
        years = sum(token[0] == "{year}" for token in tokens)
        if len(tokens) - years != 1 or years > 1:
            raise MalformedFormat(_("a format holds {seq} (or {seq:04}) once, and {year} at most once"))
        if _LITERAL.fullmatch(_TOKEN.sub("", text)) is None:
            raise MalformedFormat(_("around {year} and {seq} a format holds letters A to Z, digits, spaces and - . / _ # only"))
        width = next(int(token["width"] or 1) for token in tokens if token[0] != "{year}")
        parsed = cls(text, width, bool(years))
        if len(parsed._written(2026, 10 ** (ROOM_FOR_DIGITS - 1))) > MAX_LENGTH:
            raise MalformedFormat(
                _("numbers have at most %(limit)s characters, with room for %(digits)s digits", limit=MAX_LENGTH, digits=ROOM_FOR_DIGITS)
            )
        return parsed

    def render(self, year: int, seq: int) -> str:
        """The number with this year and place in the series. Raises SeriesFull when it would be longer than 26 characters."""
        number = self._written(year, seq)
        if len(number) > MAX_LENGTH or seq > MAX_SEQ:
            raise SeriesFull(_("the next number would be longer than %(limit)s characters; choose another format", limit=MAX_LENGTH))
        return number

    def series_key(self, issued_on: date) -> str:
        """The series that a document of this day belongs to: the format with its year filled in, `INV-2026-{seq:04}`.

        `{year}` therefore restarts the count, and a changed format is a new series.
        """
        return self.text.replace("{year}", f"{issued_on.year:04}")

    def _written(self, year: int, seq: int) -> str:
        return _TOKEN.sub(lambda token: f"{year:04}" if token[0] == "{year}" else str(seq).rjust(self.width, "0"), self.text)

    @property
    def skeleton(self) -> str:
        """The format with every run of digits and placeholders as one mark: formats of different skeletons never write one number."""
        return re.sub(r"[0-9]+", "0", _TOKEN.sub("0", self.text))


@dataclass(frozen=True, slots=True)
class Number:
    """A number taken: its text, its series and place, and the issue day it stands for."""

    text: str
    series_key: str
    seq: int
    issued_on: date


def issue_day(today: date, last_issued_on: date | None) -> date:
    """The issue date of the next document: today in the seller's zone, but never before the last one of its kind."""
    return today if last_issued_on is None else max(today, last_issued_on)


def next_number(number_format: NumberFormat, issued_on: date, last_seq: int) -> Number:
    """The number after `last_seq` (0 when the series `number_format.series_key(issued_on)` is empty). No gap, no repeat."""
    if last_seq < 0:
        raise ValueError(f"a series cannot stand at {last_seq}")
    seq = last_seq + 1
    return Number(number_format.render(issued_on.year, seq), number_format.series_key(issued_on), seq, issued_on)


def check_formats(formats: Mapping[str, NumberFormat]) -> None:
    """Refuse formats of two kinds of document that could ever write the same number. Raises MalformedFormat naming both."""
    seen: dict[str, str] = {}
    for kind, number_format in formats.items():
        other = seen.setdefault(number_format.skeleton, kind)
        if other != kind:
            raise MalformedFormat(
                _("the formats for %(one)s and %(other)s could write the same number; give them different letters", one=other, other=kind)
            )
