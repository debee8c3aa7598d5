"""What surrounds the content: letterhead and title on the first page, running head on the others, footer on all."""

from __future__ import annotations

from collections.abc import Sequence

from tollgate.documents.components.blocks import Line, baseline, draw, flow, height_of, lines_of
from tollgate.documents.sheet import Sheet
from tollgate.documents.text import clean_line, cut
from tollgate.documents.theme import Style, Theme
from tollgate.documents.views import DocumentInfo, Fact, PartyView, Texts

AXIS = 0.54
"""Share of the measure where the right half begins: letterhead, facts, sums and pay link all hang on this one line."""
_GUTTER = 18.0
_FOOTER_LINES = 12


def shrink_to(style: Style, text: str, width: float, least: float = 0.55) -> Style:
    """`style`, made smaller until `text` fits in `width`, but never below `least` of its size."""
    natural = style.width(text)
    return style if natural <= width else style.scaled(max(least, width / natural))


def shorten(style: Style, text: str, width: float) -> str:
    """`text`, ended by an ellipsis where it does not fit: only for what stands in full elsewhere in the document."""
    if style.width(text) <= width:
        return text
    return cut(text, style.width, width - style.width("…"))[0] + "…"


def letterhead(sheet: Sheet, seller: PartyView) -> None:
    """Logo, or the seller's name where there is none, at the left; the seller's address at the right."""
    theme = sheet.theme
    styles = theme.styles
    width = theme.measure * (1 - AXIS)
    name: list[Line] = []
    lines: list[Line] = []
    if theme.logo is not None:
        lines += lines_of(seller.name, styles.strong, width)
    else:
        name = lines_of(seller.name, styles.name, theme.measure * (AXIS - 0.04))
    for index, text in enumerate((*seller.address, *seller.tax_ids, *seller.contact)):
        # Address, tax identifiers and contact are told apart by a breath, not by labels.
        starts = index in (len(seller.address), len(seller.address) + len(seller.tax_ids))
        lines += lines_of(text, styles.small, width, 3.0 if starts and lines else 0.0)
    logo_height = sheet.logo(theme.left, theme.top)
    if max(height_of(name), height_of(lines)) <= sheet.room * 0.4:
        left = draw(sheet, theme.left, theme.top, name) - logo_height
        sheet.y = min(left, draw(sheet, theme.right - width, theme.top, lines))
    else:
        sheet.y -= logo_height
        flow(sheet, theme.left, [*name, *lines])
    sheet.y -= 22.0


def title_block(sheet: Sheet, title: str, number: str, headline: Fact | None, note: str) -> None:
    """The document's name and number at the left, its one figure at the right, on a rule of the accent colour."""
    theme = sheet.theme
    styles = theme.styles
    left_width = theme.measure * (0.58 if headline else 1.0)
    number_style = shrink_to(styles.number, clean_line(number), left_width)
    lines = lines_of(title, styles.title, left_width) + lines_of(number, number_style, left_width)
    if height_of(lines) > sheet.room * 0.4:
        flow(sheet, theme.left, lines)
        lines = []
    lower = _headline(sheet, headline, note, theme.measure - left_width) if headline is not None else sheet.y
    sheet.y = min(draw(sheet, theme.left, sheet.y, lines), lower) - 9.0
    sheet.rule(theme.left, theme.right, sheet.y, theme.accent, 1.4)
    sheet.y -= 14.0


def _headline(sheet: Sheet, headline: Fact, note: str, width: float) -> float:
    """The figure with its label above and a note below, ending at the right edge. Returns the lower edge."""
    styles = sheet.theme.styles
    top = sheet.y - 3.0
    for style, text in ((styles.label, headline.label), (styles.headline, headline.value), (styles.label, note)):
        shown = clean_line(text)
        sheet.text_right(sheet.theme.right, baseline(style, top), shrink_to(style, shown, width, 0.0), shown)
        top -= style.leading if shown else 0.0
    return top


def running_head(sheet: Sheet, seller: str, title: str) -> None:
    """Top of every further page: who, and which document, on a hairline."""
    theme = sheet.theme
    style = theme.styles.small
    base = theme.top - style.size
    half = theme.measure / 2 - 10
    sheet.text(theme.left, base, style, shorten(style, clean_line(seller), half))
    sheet.text_right(theme.right, base, style, shorten(style, clean_line(title), half))
    sheet.rule(theme.left, theme.right, base - 7.0, theme.rule)
    sheet.y = base - 22.0


class Footer:
    """Columns of small print and the page number, the same height on every page."""

    def __init__(self, theme: Theme, columns: Sequence[Texts]) -> None:
        style = theme.styles.small
        count = max(1, len(columns))
        self._width = (theme.measure - _GUTTER * (count - 1)) / count
        columns_lines = [[line for text in column for line in lines_of(text, style, self._width)] for column in columns]
        self._columns = [lines[:_FOOTER_LINES] for lines in columns_lines]
        self.overflow = [line for lines in columns_lines for line in lines[_FOOTER_LINES:]]
        """What no footer can hold; the document flows it after its content, so that nothing is lost."""
        self._height = max((height_of(lines) for lines in self._columns), default=0.0)
        self._theme = theme
        self.floor = theme.bottom + style.leading + (self._height + 14.0 if self._height else 6.0) + 12.0
        """Where content must end."""

    def draw(self, sheet: Sheet, info: DocumentInfo) -> None:
        """Put the footer on every page."""
        theme, style = self._theme, self._theme.styles.small
        count = len(sheet.pages)
        for number, page in enumerate(sheet.pages, 1):
            sheet.go_to(page)
            top = self.floor - 12.0
            sheet.rule(theme.left, theme.right, top, theme.rule)
            for index, lines in enumerate(self._columns):
                draw(sheet, theme.left + index * (self._width + _GUTTER), top - 7.0, lines)
            text = clean_line(info.page_of.replace("{page}", str(number)).replace("{pages}", str(count)))
            sheet.text_right(theme.right, theme.bottom, shrink_to(style, text, theme.measure, 0.0), text)
