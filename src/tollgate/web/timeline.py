"""Geometry of the timeline picture: days to coordinates, computed here so that the template only writes them down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tollgate import i18n

WIDTH, LABELS, HEAD, ROW = 840, 196, 30, 30
"""Units of the SVG's view box: the whole width, the column of names, the axis, one row."""
TEXT_GAP = 4
LONGEST_LABEL = 25
MOST_BARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One milestone (or any span of days) to be drawn."""

    label: str
    starts_on: date
    planned_on: date
    """Where the bar ends."""
    due_on: date | None = None
    """The agreed day, a diamond."""
    kind: str = "neutral"
    """A badge kind: `on_time at_risk overdue waiting paid neutral`."""
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBar:
    """A bar with its place in the picture."""

    label: str
    short_label: str
    x: int
    y: int
    width: int
    due_x: int | None
    kind: str
    href: str | None
    planned_on: date
    due_on: date | None


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line with its day."""

    x: int
    text_x: int
    label: str


@dataclass(frozen=True, slots=True)
class TimelineView:
    """All that `timeline.chart` needs."""

    width: int
    height: int
    ticks: tuple[Tick, ...]
    bars: tuple[DrawnBar, ...]
    today_x: int | None
    label_x: int


def layout(bars: Sequence[Bar], *, today: date, first: date | None = None, last: date | None = None) -> TimelineView:
    """Place `bars`, one per row. The span covers them and today, or runs from `first` to `last` and cuts what lies outside."""
    days = [day for bar in bars for day in (bar.starts_on, bar.planned_on, bar.due_on) if day is not None]
    start = first or min([*days, today])
    end = max(last or max([*days, today]), start + timedelta(days=13))
    span = (end - start).days + 1

    rtl = i18n.direction() == "rtl"

    def x_of(day: date) -> int:
        inside = min(max((day - start).days, 0), span)
        x = LABELS + inside * (WIDTH - LABELS - 16) // span
        return WIDTH - x if rtl else x  # time runs the way the reader reads

    beside = -TEXT_GAP if rtl else TEXT_GAP
    ticks = tuple(Tick(x_of(day), x_of(day) + beside, i18n.day_month(day)) for day in _ticks(start, end) if (end - day).days * 16 >= span)
    return TimelineView(
        width=WIDTH,
        height=HEAD + ROW * min(len(bars), MOST_BARS),
        ticks=ticks,
        bars=tuple(_drawn(bar, place, x_of) for place, bar in enumerate(bars[:MOST_BARS])),
        today_x=x_of(today) if start <= today <= end else None,
        label_x=WIDTH - 2 * TEXT_GAP if rtl else 2 * TEXT_GAP,
    )


def _drawn(bar: Bar, place: int, x_of: Callable[[date], int]) -> DrawnBar:
    edges = x_of(min(bar.starts_on, bar.planned_on)), x_of(bar.planned_on + timedelta(days=1))
    width = max(max(edges) - min(edges), 6)
    short = bar.label if len(bar.label) <= LONGEST_LABEL else bar.label[: LONGEST_LABEL - 1].rstrip() + "…"
    return DrawnBar(
        label=bar.label,
        short_label=short,
        x=edges[0] - width if i18n.direction() == "rtl" else edges[0],
        y=HEAD + ROW * place + 3,
        width=width,
        due_x=x_of(bar.due_on) if bar.due_on else None,
        kind=bar.kind,
        href=bar.href,
        planned_on=bar.planned_on,
        due_on=bar.due_on,
    )


def _ticks(start: date, end: date) -> list[date]:
    """Mondays while there is room for their names, else firsts of months, of every third month in long contracts."""
    if (end - start).days <= 84:
        monday = start + timedelta(days=-start.weekday() % 7)
        return [monday + timedelta(weeks=week) for week in range((end - monday).days // 7 + 1)]
    every = 1 if (end - start).days <= 400 else 3
    months = [(start.year * 12 + start.month + count) for count in range((end.year - start.year) * 12 + end.month - start.month)]
    return [date(month // 12, month % 12 + 1, 1) for month in months if month % every == 0]
