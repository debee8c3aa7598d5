"""Invoice and credit note: one skeleton, two titles."""

from __future__ import annotations

from tollgate.documents.components.blocks import (
    Line,
    draw,
    draw_grid,
    fact_rows,
    flow,
    flow_grid,
    grid_height,
    height_of,
    label_width,
    lines_of,
    paragraphs,
    party_lines,
)
from tollgate.documents.components.frame import AXIS, Footer, letterhead, running_head, title_block
from tollgate.documents.components.table import Table
from tollgate.documents.components.totals import Sums
from tollgate.documents.sheet import Sheet
from tollgate.documents.text import clean_line
from tollgate.documents.theme import Theme
from tollgate.documents.views import CreditNoteView, Fact, InvoiceView, PartyView, PaymentView

_READING_WIDTH = 400.0
"""Longer lines of small text are tiring; notes stay narrower than the table."""
_PANEL_PAD = 12.0


def draw_invoice(view: InvoiceView, theme: Theme) -> bytes:
    """The PDF of an invoice or, where the view is one, a credit note."""
    footer = Footer(theme, view.footer)
    sheet = Sheet(theme, footer.floor, lambda sheet: running_head(sheet, view.seller.name, view.info.running_title))
    letterhead(sheet, view.seller)
    title_block(sheet, view.title, view.number, view.headline, view.headline_note)
    if isinstance(view, CreditNoteView):
        _correction(sheet, view)
    addressee_and_facts(sheet, view.buyer, view.facts)
    sums = Sums(theme, view.taxes, view.totals)
    Table(sheet, view.columns, view.lines, sums.height).draw()
    sums.draw(sheet)
    _notes(sheet, view.notes)
    if view.payment is not None:
        _payment(sheet, view.payment)
    flow(sheet, theme.left, footer.overflow)
    footer.draw(sheet, view.info)
    return sheet.finish(view.info)


def _correction(sheet: Sheet, view: CreditNoteView) -> None:
    """What is corrected and why: the first thing to know about a credit note."""
    styles, theme = sheet.theme.styles, sheet.theme
    flow(sheet, theme.left, lines_of(view.corrects, styles.strong, theme.measure))
    flow(sheet, theme.left, lines_of(view.reason, styles.muted, theme.measure, 2.0))
    sheet.y -= 14.0


def addressee_and_facts(sheet: Sheet, buyer: PartyView, facts: tuple[Fact, ...]) -> None:
    """Who it is for, at the left, and the facts of the document at the right of it."""
    theme = sheet.theme
    left_width = theme.measure * 0.48
    x = theme.left + theme.measure * AXIS
    width = theme.right - x
    left = party_lines(buyer, theme, left_width)
    label = label_width(facts, theme, width * 0.5)
    rows = fact_rows(facts, theme, label, width)
    if max(height_of(left), grid_height(rows)) <= sheet.room:
        lower = draw(sheet, theme.left, sheet.y, left)
        sheet.y = min(lower, draw_grid(sheet, x, sheet.y, label, rows))
    else:
        flow(sheet, theme.left, left)
        sheet.y -= 10.0
        flow_grid(sheet, theme.left, label, rows)
    sheet.y -= 16.0


def _notes(sheet: Sheet, notes: tuple[str, ...]) -> None:
    if not notes:
        return
    sheet.y -= 14.0
    lines = paragraphs(notes, sheet.theme.styles.muted, _READING_WIDTH, 5.0)
    sheet.need(min(height_of(lines), 3 * sheet.theme.styles.muted.leading))
    flow(sheet, sheet.theme.left, lines)


def _payment(sheet: Sheet, payment: PaymentView) -> None:
    """How to pay: bank details at the left, the pay page at the right; in one tinted panel where a page can hold it."""
    theme, styles = sheet.theme, sheet.theme.styles
    x, axis = theme.left + _PANEL_PAD, theme.left + theme.measure * AXIS
    beside = payment.link is not None and bool(payment.facts or payment.paragraphs)
    width = (axis - 20.0 if beside else theme.right - _PANEL_PAD) - x
    label = label_width(payment.facts, theme, width * 0.45)
    rows = fact_rows(payment.facts, theme, label, width)
    head = lines_of(payment.title, styles.heading, theme.measure - 2 * _PANEL_PAD)
    texts = paragraphs(payment.paragraphs, styles.muted, width, 3.0)
    link_x = axis if beside else x
    link = _link_lines(payment, theme, theme.right - _PANEL_PAD - link_x)
    left = grid_height(rows) + height_of(texts)
    head_height = height_of(head) + 5.0 * bool(head)
    height = head_height + max(left, height_of(link)) + 2 * _PANEL_PAD - 2.0
    sheet.y -= 16.0
    sheet.need(height)
    if height > sheet.room:
        _payment_without_panel(sheet, payment, [*head, *texts], link)
        return
    sheet.panel(theme.left, sheet.y - height, theme.measure, height, theme.tint)
    lower = sheet.y - height
    top = draw(sheet, x, sheet.y - _PANEL_PAD, head) - 5.0 * bool(head)
    draw(sheet, x, draw_grid(sheet, x, top, label, rows), texts)
    sheet.y = top
    _pay_link(sheet, payment, link_x, link)
    sheet.y = lower


def _payment_without_panel(sheet: Sheet, payment: PaymentView, texts: list[Line], link: list[Line]) -> None:
    """The same, longer than a page: it flows."""
    theme = sheet.theme
    flow(sheet, theme.left, texts)
    label = label_width(payment.facts, theme, theme.measure * 0.4)
    flow_grid(sheet, theme.left, label, fact_rows(payment.facts, theme, label, theme.measure))
    _pay_link(sheet, payment, theme.left, link)


def _link_lines(payment: PaymentView, theme: Theme, width: float) -> list[Line]:
    if payment.link is None:
        return []
    return lines_of(payment.link.label, theme.styles.muted, width) + lines_of(payment.link.url, theme.styles.link, width, 2.0)


def _pay_link(sheet: Sheet, payment: PaymentView, x: float, lines: list[Line]) -> None:
    if payment.link is None:
        return
    for line in lines:
        flow(sheet, x, [line])
        if line.style is sheet.theme.styles.link:
            sheet.link(clean_line(payment.link.url), x, sheet.y, x + line.style.width(line.text), sheet.y + line.style.leading)
