"""Sums at the right, tax groups at the left of them: one block that is never parted from itself or from the last row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tollgate.documents.components.blocks import Line, baseline, draw, flow, height_of, lines_of
from tollgate.documents.components.frame import AXIS, shrink_to
from tollgate.documents.sheet import Sheet
from tollgate.documents.text import clean_line
from tollgate.documents.theme import Style, Theme
from tollgate.documents.views import TaxTableView, TotalRowView

_PAD = 2.0
_STRONG_PAD = 6.0


@dataclass(frozen=True, slots=True)
class _Row:
    label: list[Line]
    amount: str
    style: Style
    pad: float
    is_strong: bool

    @property
    def height(self) -> float:
        return max(height_of(self.label), self.style.leading) + 2 * self.pad


class Totals:
    """The column of sums, `width` wide, ending at the right edge. Label and amount of a row always stay together."""

    def __init__(self, theme: Theme, rows: Sequence[TotalRowView], width: float) -> None:
        self._width = width
        self._rows = [self._measured(theme, row) for row in rows]
        self.height = sum(row.height + 2.5 * row.is_strong for row in self._rows)

    def _measured(self, theme: Theme, row: TotalRowView) -> _Row:
        styles = theme.styles
        style = {"normal": styles.body, "strong": styles.total, "muted": styles.muted}[row.emphasis]
        is_strong = row.emphasis == "strong"
        amount = clean_line(row.amount)
        fitted = shrink_to(style, amount, self._width - 60.0, 0.0)
        label_width = max(40.0, self._width - fitted.width(amount) - 14.0)
        label_style = style if is_strong or row.emphasis == "muted" else styles.muted
        return _Row(lines_of(row.label, label_style, label_width), amount, fitted, _STRONG_PAD if is_strong else _PAD, is_strong)

    def draw(self, sheet: Sheet) -> None:
        """Draw at the cursor. A block higher than a page goes on over the next, row by row."""
        theme = sheet.theme
        left = theme.right - self._width
        for index, row in enumerate(self._rows):
            sheet.need(row.height)
            if row.is_strong and index:
                sheet.y -= 2.5
                sheet.rule(left, theme.right, sheet.y, theme.accent, 1.0)
            top = sheet.y - row.pad
            if row.height <= sheet.room:
                draw(sheet, left, top, row.label)
                sheet.text_right(theme.right, baseline(row.style, top), row.style, row.amount)
                sheet.y -= row.height
            else:
                sheet.text_right(theme.right, baseline(row.style, top), row.style, row.amount)
                flow(sheet, left, row.label)


class TaxTable:
    """The tax groups of R2: label, base, tax."""

    def __init__(self, theme: Theme, table: TaxTableView, width: float) -> None:
        styles = theme.styles
        self._style, self._head, self._width = styles.small, styles.label, width
        self._texts = [(clean_line(row.label), clean_line(row.base), clean_line(row.tax)) for row in table.rows]
        self._headings = (clean_line(table.label), clean_line(table.base), clean_line(table.tax))
        widest = [max([self._head.width(self._headings[i]), *(self._style.width(row[i]) for row in self._texts)]) for i in (1, 2)]
        limit = width * 0.34
        self._columns = [min(limit, size) for size in widest]
        self._label_width = width - sum(self._columns) - 24.0
        self._labels = [lines_of(text, self._style, self._label_width) for text, _, _ in self._texts]
        self._heights = [max(height_of(lines), self._style.leading) + 2.0 for lines in self._labels]
        self.height = theme.styles.body.leading + 9.0 + sum(self._heights) if self._texts else 0.0

    def draw(self, sheet: Sheet) -> None:
        """Draw at the cursor, row by row."""
        if not self._texts:
            return
        theme = sheet.theme
        edges = (theme.left + self._width - self._columns[1] - 12.0, theme.left + self._width)
        # On the line of the first sum beside it.
        base = baseline(theme.styles.body, sheet.y - _PAD)
        label, *figures = self._headings
        sheet.text(theme.left, base, shrink_to(self._head, label, self._label_width, 0.0), label)
        for edge, text, width in zip(edges, figures, self._columns, strict=True):
            sheet.text_right(edge, base, shrink_to(self._head, text, width, 0.0), text)
        sheet.y = base - 5.0
        sheet.rule(theme.left, theme.left + self._width, sheet.y, theme.rule)
        sheet.y -= 4.0
        for texts, lines, height in zip(self._texts, self._labels, self._heights, strict=True):
            sheet.need(height)
            top, fits = sheet.y, height <= sheet.room
            if fits:
                draw(sheet, theme.left, top, lines)
            base = baseline(self._style, top)
            for edge, text, width in zip(edges, texts[1:], self._columns, strict=True):
                sheet.text_right(edge, base, shrink_to(self._style, text, width, 0.0), text)
            if fits:
                sheet.y = top - height
            else:
                flow(sheet, theme.left, lines)


class Sums:
    """Tax groups and sums side by side where both fit on a page; one after the other where they do not."""

    def __init__(self, theme: Theme, taxes: TaxTableView | None, totals: Sequence[TotalRowView]) -> None:
        self._totals = Totals(theme, totals, theme.measure * (1 - AXIS))
        self._taxes = TaxTable(theme, taxes, theme.measure * 0.44) if taxes else None
        self.height = 9.0 + max(self._totals.height, self._taxes.height if self._taxes else 0.0)

    def draw(self, sheet: Sheet) -> None:
        """Draw at the cursor, on one page if any page can hold it."""
        sheet.need(min(self.height, sheet.fresh_y - sheet.floor))
        sheet.y -= 9.0
        top, page = sheet.y, len(sheet.pages)
        if self._taxes is None:
            self._totals.draw(sheet)
            return
        self._taxes.draw(sheet)
        lower = sheet.y
        if len(sheet.pages) == page and self._totals.height <= top - sheet.floor:
            sheet.y = top
            self._totals.draw(sheet)
            sheet.y = min(sheet.y, lower)
        else:
            sheet.y -= 10.0
            self._totals.draw(sheet)
