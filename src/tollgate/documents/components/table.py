"""The table of billed lines: columns as wide as their figures, rows over as many pages as they need, headings repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tollgate.documents.components.blocks import Line, baseline, break_after, draw, height_of, lines_of, paragraphs
from tollgate.documents.components.frame import shrink_to
from tollgate.documents.sheet import Sheet
from tollgate.documents.text import clean_line
from tollgate.documents.theme import Style, Theme
from tollgate.documents.views import ColumnsView, LineView

_GAP = 16.0
_PAD = 5.5
_FIGURES = ("quantity", "unit_price", "tax_rate", "net")
_LEAST_TITLE = 0.36
"""Share of the table that is kept for what was done, however long the figures are."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of figures; `right` is the edge its text ends at."""

    name: str
    heading: str
    right: float
    width: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns placed. `figures` is the style all figures share, small enough for the longest."""

    position_width: float
    title_x: float
    title_width: float
    columns: tuple[Column, ...]
    figures: Style


def place_columns(theme: Theme, headings: ColumnsView, lines: Sequence[LineView]) -> Layout:
    """Give each column of figures the width of its longest text, and the title what is left."""
    styles = theme.styles
    names = [name for name in _FIGURES if getattr(headings, name) is not None]
    heads = {name: clean_line(getattr(headings, name)) for name in names}
    measure = styles.body.width
    wanted = {name: max((measure(clean_line(getattr(line, name))) for line in lines), default=0.0) for name in names}
    head_widths = {name: min(styles.label.width(heads[name]), 70.0) for name in names}
    position = 0.0
    if headings.position is not None:
        position = max([styles.label.width(clean_line(headings.position)), *(measure(clean_line(line.position)) for line in lines)])
        position = min(position, 60.0) + 10.0
    room = theme.measure * (1 - _LEAST_TITLE) - position - _GAP * len(names)
    total = sum(max(wanted[name], head_widths[name]) for name in names)
    factor = max(0.55, min(1.0, room / total)) if total else 1.0
    columns: list[Column] = []
    right = theme.right
    for name in reversed(names):
        width = max(wanted[name] * factor, head_widths[name] * min(1.0, factor))
        if total * factor > room:
            width *= room / (total * factor)
        columns.append(Column(name, heads[name], right, width))
        right -= width + _GAP
    title_x = theme.left + position
    figures = styles.body if factor == 1.0 else styles.body.scaled(factor)
    return Layout(position, title_x, right - title_x, tuple(reversed(columns)), figures)


def draw_headings(sheet: Sheet, headings: ColumnsView, layout: Layout) -> None:
    """The row of headings on a line of ink."""
    theme = sheet.theme
    style = theme.styles.label
    columns = [_heading(column.heading, style, column.width) for column in layout.columns]
    title = _heading(clean_line(headings.title), style, layout.title_width)
    depth = max(len(lines) for lines in (title, *columns))
    base = sheet.y - depth * style.leading + 3.0
    if headings.position is not None:
        position = clean_line(headings.position)
        sheet.text(theme.left, base, shrink_to(style, position, layout.position_width - 4.0, 0.0), position)
    for index, line in enumerate(title):
        sheet.text(layout.title_x, base + (len(title) - 1 - index) * style.leading, line.style, line.text)
    for column, lines in zip(layout.columns, columns, strict=True):
        for index, line in enumerate(lines):
            sheet.text_right(column.right, base + (len(lines) - 1 - index) * style.leading, line.style, line.text)
    sheet.y = base - 5.5
    sheet.rule(theme.left, theme.right, sheet.y, theme.ink, 0.8)


def _heading(text: str, style: Style, width: float) -> list[Line]:
    """A heading on at most three lines; one that needs more is set on one, smaller, since it stands on every page."""
    lines = lines_of(text, style, max(width, 24.0))
    return lines if len(lines) <= 3 else [Line(shrink_to(style, text, width, 0.0), text)]


class Table:
    """Draws the lines of one document. `tail` is the height that must stay on one page with the last row: the totals."""

    def __init__(self, sheet: Sheet, headings: ColumnsView, lines: Sequence[LineView], tail: float) -> None:
        self._sheet = sheet
        self._headings = headings
        self._lines = lines
        self._tail = tail
        self._layout = place_columns(sheet.theme, headings, lines)
        self._head = 3 * sheet.theme.styles.label.leading + 8.0

    def draw(self) -> None:
        """Draw all rows at the cursor."""
        sheet = self._sheet
        if sheet.room < self._head + 3 * sheet.theme.styles.body.leading:
            sheet.new_page()
        draw_headings(sheet, self._headings, self._layout)
        for index, line in enumerate(self._lines):
            self._row(line, is_last=index == len(self._lines) - 1)

    def _row(self, line: LineView, *, is_last: bool) -> None:
        sheet, layout, styles = self._sheet, self._layout, self._sheet.theme.styles
        texts = lines_of(line.title, styles.body, layout.title_width) or [Line(styles.body, "")]
        details = paragraphs(line.description, styles.small, layout.title_width, 2.5)
        texts += [Line(details[0].style, details[0].text, 2.0), *details[1:]] if details else []
        height = height_of(texts) + 2 * _PAD
        tail = self._tail if is_last else 0.0
        whole_page = sheet.fresh_y - sheet.floor - self._head
        if height + tail > sheet.room and (len(texts) < 6 or height <= sheet.room) and height + tail <= whole_page:
            self._next_page()
        sheet.y -= _PAD
        self._cells(line, texts)
        sheet.y -= _PAD
        sheet.rule(sheet.theme.left, sheet.theme.right, sheet.y, sheet.theme.rule)

    def _next_page(self) -> None:
        self._sheet.new_page()
        draw_headings(self._sheet, self._headings, self._layout)

    def _cells(self, line: LineView, texts: list[Line]) -> None:
        """The texts of a row, over several pages if they must, in reading order: first line, figures beside it, the rest."""
        sheet, x = self._sheet, self._layout.title_x
        if sheet.room < 2 * sheet.theme.styles.body.leading + _PAD and not sheet.is_fresh:
            self._next_page()
            sheet.y -= _PAD
        top = sheet.y
        rest: Sequence[Line] = texts
        while rest:
            count = break_after(rest, sheet.room - _PAD, must_place=True)
            if rest is texts:
                self._position(line, top)
                draw(sheet, x, top, rest[:1])
                self._figures(line, top)
                sheet.y = draw(sheet, x, top - rest[0].height, rest[1:count])
            else:
                sheet.y = draw(sheet, x, sheet.y, rest[:count])
            rest = rest[count:]
            if rest:
                self._next_page()
                sheet.y -= _PAD

    def _position(self, line: LineView, top: float) -> None:
        if self._headings.position is None:
            return
        style = self._sheet.theme.styles.muted
        text = clean_line(line.position)
        width, natural = self._layout.position_width - 6.0, style.width(text)
        self._sheet.text(self._sheet.theme.left, baseline(style, top), style if natural <= width else style.scaled(width / natural), text)

    def _figures(self, line: LineView, top: float) -> None:
        """Figures stay on one line: one that is longer than its column is made smaller, for a number cut in two misleads."""
        base = baseline(self._sheet.theme.styles.body, top)
        for column in self._layout.columns:
            text = clean_line(getattr(line, column.name))
            self._sheet.text_right(column.right, base, shrink_to(self._layout.figures, text, column.width, 0.0), text)
