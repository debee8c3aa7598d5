"""Runs of lines: paragraphs, labelled facts, an address; measured first, drawn where they fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tollgate.documents.sheet import Sheet
from tollgate.documents.text import clean, clean_line, wrap
from tollgate.documents.theme import Style, Theme
from tollgate.documents.views import Fact, PartyView


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; `gap` is white above it, `indent` white before it."""

    style: Style
    text: str
    gap: float = 0.0
    indent: float = 0.0

    @property
    def height(self) -> float:
        """Points it takes on the page."""
        return self.gap + self.style.leading


FactRow = tuple[list[Line], list[Line]]
"""Label lines and value lines of one fact."""


def lines_of(text: str, style: Style, width: float, gap: float = 0.0, indent: float = 0.0) -> list[Line]:
    """`text` cleaned and wrapped; the gap is above its first line. Empty text gives no line."""
    wrapped = wrap(clean(text), style.width, width - indent) if text else []
    return [Line(style, line, 0.0 if index else gap, indent) for index, line in enumerate(wrapped)]


def paragraphs(texts: Iterable[str], style: Style, width: float, gap: float = 4.0) -> list[Line]:
    """Paragraphs with a gap between them."""
    lines: list[Line] = []
    for text in texts:
        lines += lines_of(text, style, width, gap if lines else 0.0)
    return lines


def height_of(lines: Iterable[Line]) -> float:
    """Points a run of lines takes."""
    return sum(line.height for line in lines)


def draw(sheet: Sheet, x: float, top: float, lines: Iterable[Line]) -> float:
    """Draw a run hanging from `top`, without breaking it. Returns its lower edge."""
    for line in lines:
        sheet.text(x + line.indent, baseline(line.style, top - line.gap), line.style, line.text)
        top -= line.height
    return top


def baseline(style: Style, top: float) -> float:
    """Where the letters of a line that hangs from `top` stand: the white of the leading is shared above and below them."""
    return top - (style.leading + style.size) / 2 + style.size * 0.14


def flow(sheet: Sheet, x: float, lines: Sequence[Line]) -> None:
    """Draw a run at the cursor; over several pages if need be, never leaving a single line of it alone on one."""
    rest = list(lines)
    while rest:
        count = break_after(rest, sheet.room, sheet.is_fresh)
        if count:
            sheet.y = draw(sheet, x, sheet.y, rest[:count])
            rest = rest[count:]
        if rest:
            sheet.new_page()


def break_after(lines: Sequence[Line], room: float, must_place: bool) -> int:
    """How many of `lines` to place in `room`: all, or as many as leave at least two lines on either side of the break.

    With `must_place` (an empty page) at least one line is placed, so that nothing can loop.
    """
    count, used = 0, 0.0
    for line in lines:
        used += line.height
        if used > room + 0.01:
            break
        count += 1
    if count == len(lines):
        return count
    count = min(count, len(lines) - 2)
    if count >= 2:
        return count
    return max(1, count) if must_place else 0


def party_lines(party: PartyView, theme: Theme, width: float) -> list[Line]:
    """An address block: label, name in bold, address, tax identifiers, contact."""
    styles = theme.styles
    lines = lines_of(party.label, styles.label, width)
    lines += lines_of(party.name, styles.strong, width, 2.0 if lines else 0.0)
    for text in party.address:
        lines += lines_of(text, styles.body, width)
    for index, text in enumerate((*party.tax_ids, *party.contact)):
        lines += lines_of(text, styles.muted, width, 3.0 if index in (0, len(party.tax_ids)) else 0.0)
    return lines


def label_width(facts: Iterable[Fact], theme: Theme, limit: float) -> float:
    """Width of the label column of a grid of facts, at most `limit`."""
    return min(limit, max((theme.styles.muted.width(clean_line(fact.label)) for fact in facts), default=0.0) + 14.0)


def fact_rows(facts: Iterable[Fact], theme: Theme, label: float, width: float) -> list[FactRow]:
    """A grid of facts as (label lines, value lines) pairs, for columns `label` and `width - label` wide."""
    styles = theme.styles
    return [(lines_of(fact.label, styles.muted, label - 10.0), lines_of(fact.value, styles.body, width - label)) for fact in facts]


def grid_height(rows: Iterable[FactRow], gap: float = 2.5) -> float:
    """Points that a grid of facts takes."""
    return sum(max(height_of(label), height_of(value)) + gap for label, value in rows)


def draw_grid(sheet: Sheet, x: float, top: float, label: float, rows: Iterable[FactRow], gap: float = 2.5) -> float:
    """Draw a grid of facts hanging from `top`. Returns its lower edge."""
    for left, right in rows:
        lower = min(draw(sheet, x, top, left), draw(sheet, x + label, top, right))
        top = lower - gap
    return top


def flow_grid(sheet: Sheet, x: float, label: float, rows: Iterable[FactRow], gap: float = 2.5) -> None:
    """Draw a grid at the cursor, row by row over as many pages as it takes; a value taller than a page is broken."""
    for left, right in rows:
        height = max(height_of(left), height_of(right))
        sheet.need(height)
        if height <= sheet.room:
            sheet.y = draw_grid(sheet, x, sheet.y, label, [(left, right)], gap)
        else:
            flow(sheet, x, left)
            flow(sheet, x + label, right)
