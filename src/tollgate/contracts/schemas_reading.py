"""Reading a body member by member: every wrong one is named, not only the first."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from tollgate.errors import FieldError, Invalid, invalid
from tollgate.http.bodies import clean
from tollgate.money.rates import parse_percent

T = TypeVar("T")


class Problems:
    """Collects what is wrong over a whole body, so that a caller learns everything at once."""

    def __init__(self) -> None:
        self.found: list[FieldError] = []

    def read(self, reader: Callable[[], T], default: T) -> T:
        """What `reader` reads, or `default` with its errors kept."""
        try:
            return reader()
        except Invalid as error:
            self.found += error.errors
            return default

    def refuse(self) -> None:
        """Raise `Invalid` with everything that was found."""
        if self.found:
            raise Invalid(self.found[0].detail if len(self.found) == 1 else None, errors=self.found)


def read_percent(text: str, pointer: str) -> Decimal:
    """A percentage of 0 to 100. Raises `Invalid` at `pointer`."""
    try:
        return parse_percent(text)
    except Invalid as error:
        raise invalid(pointer, error.detail) from None


def read_lines(problems: Problems, lines: list[str], pointer: str) -> list[str]:
    """Cleaned lines; empty ones are left out."""
    read = [
        problems.read(lambda line=line, index=index: clean(line, f"{pointer}/{index}"), "")  # type: ignore[misc]
        for index, line in enumerate(lines)
    ]
    return [line for line in read if line]


def read_optional(problems: Problems, body: Any, reader: Callable[[Any], T]) -> T | None:
    """What `reader` makes of a member that may be left out."""
    return None if body is None else problems.read(lambda: reader(body), None)
