"""The only reader of time. Instants are UTC; legal days are days in a named time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_moved: ContextVar[datetime | timedelta | None] = ContextVar("tollgate_clock", default=None)


def now() -> datetime:
    """The present instant in UTC, with microseconds."""
    moved = _moved.get()
    if isinstance(moved, datetime):
        return moved
    real = datetime.now(UTC)
    return real if moved is None else real + moved


def ticks() -> float:
    """Seconds of a clock that never runs back, for durations only: its zero means nothing."""
    return time.perf_counter()


def today(zone: str) -> date:
    """The legal day it is now in `zone` (an IANA name such as `Europe/Vienna`)."""
    return now().astimezone(ZoneInfo(zone)).date()


def day_of(instant: datetime, zone: str) -> date:
    """The legal day on which `instant` falls in `zone`."""
    return instant.astimezone(ZoneInfo(zone)).date()


@contextmanager
def moved_to(instant: datetime) -> Iterator[None]:
    """Let everything inside happen at `instant`: for the sample data and the tests, never for a request."""
    token = _moved.set(instant)
    try:
        yield
    finally:
        _moved.reset(token)


@contextmanager
def shifted(by: timedelta) -> Iterator[None]:
    """Let the clock run on, shifted by `by`."""
    token = _moved.set(by)
    try:
        yield
    finally:
        _moved.reset(token)
