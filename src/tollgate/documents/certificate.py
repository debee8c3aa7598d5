"""Sign-off certificate: what was promised, what was delivered, who decided, and the hashes that make it checkable."""

from __future__ import annotations

from collections.abc import Sequence

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
)
from tollgate.documents.components.frame import AXIS, Footer, letterhead, running_head, title_block
from tollgate.documents.sheet import Sheet
from tollgate.documents.text import clean_line
from tollgate.documents.theme import Theme
from tollgate.documents.views import CertificateView, DecisionView, DeliveredView, Fact

_INDENT = 12.0
_DECISION_GAP = 8.0


def draw_certificate(view: CertificateView, theme: Theme) -> bytes:
    """The PDF of a certificate."""
    footer = Footer(theme, view.footer)
    sheet = Sheet(theme, footer.floor, lambda sheet: running_head(sheet, view.seller.name, view.info.running_title))
    letterhead(sheet, view.seller)
    title_block(sheet, view.title, view.number, view.headline, view.headline_note)
    flow(sheet, theme.left, lines_of(view.statement, theme.styles.statement, theme.measure * 0.92))
    sheet.y -= 11.0
    _facts(sheet, view.facts)
    _heading(sheet, view.promised.title, 3)
    flow(sheet, theme.left, _bullets(view.promised.paragraphs, theme))
    if view.delivered:
        _heading(sheet, view.delivered_title, 4)
        for item in view.delivered:
            _delivered(sheet, item)
    if view.decisions:
        _heading(sheet, view.decisions_title, 6)
        _decisions(sheet, view.decisions)
    if view.evidence:
        _evidence(sheet, view)
    sheet.y -= 12.0 if view.notes else 0.0
    flow(sheet, theme.left, paragraphs(view.notes, theme.styles.small, theme.measure * 0.85))
    flow(sheet, theme.left, footer.overflow)
    footer.draw(sheet, view.info)
    return sheet.finish(view.info)


def _facts(sheet: Sheet, facts: Sequence[Fact]) -> None:
    """The facts in two columns, filled down the left one first."""
    theme = sheet.theme
    half = (len(facts) + 1) // 2
    widths = (theme.measure * AXIS - 16.0, theme.measure * (1 - AXIS))
    sides = (facts[:half], facts[half:])
    labels = [label_width(side, theme, width * 0.45) for side, width in zip(sides, widths, strict=True)]
    grids = [fact_rows(side, theme, label, width) for side, label, width in zip(sides, labels, widths, strict=True)]
    if max(map(grid_height, grids)) <= sheet.room:
        top = sheet.y
        xs = (theme.left, theme.left + theme.measure * AXIS)
        sheet.y = min(draw_grid(sheet, x, top, label, rows) for x, label, rows in zip(xs, labels, grids, strict=True))
    else:
        for label, rows in zip(labels, grids, strict=True):
            flow_grid(sheet, theme.left, label, rows)


def _heading(sheet: Sheet, text: str, lines_with_it: int) -> None:
    """A section's heading on a hairline, never the last thing on a page."""
    theme, styles = sheet.theme, sheet.theme.styles
    lines = lines_of(text, styles.heading, theme.measure)
    sheet.y -= 13.0
    sheet.need(height_of(lines) + 10.0 + lines_with_it * styles.body.leading)
    flow(sheet, theme.left, lines)
    sheet.y -= 3.0
    sheet.rule(theme.left, theme.right, sheet.y, theme.rule)
    sheet.y -= 6.0


def _bullets(texts: Sequence[str], theme: Theme) -> list[Line]:
    """Criteria, each with a bullet of its own before its first line."""
    lines: list[Line] = []
    style = theme.styles.body
    for text in texts:
        own = lines_of(text, style, theme.measure * 0.92, 2.0, _INDENT)
        lines += [Line(style, "•  " + own[0].text, own[0].gap, _INDENT - style.width("•  ")), *own[1:]] if own else []
    return lines


def _delivered(sheet: Sheet, item: DeliveredView) -> None:
    """One deliverable: its kind, name and details, and its hash in full underneath."""
    theme, styles = sheet.theme, sheet.theme.styles
    label = 62.0
    width = theme.measure - label
    lines = lines_of(item.name, styles.body, width)
    facts = [*item.details, f"{item.hash_label} {item.sha256}".strip()] if item.sha256 else list(item.details)
    if len(facts) == 2 and styles.small.width(clean_line(" · ".join(facts))) <= width:
        facts = [" · ".join(facts)]
    for text in facts:
        lines += lines_of(text, styles.small, width)
    _labelled(sheet, label, lines_of(item.kind, styles.muted, label - 8.0), lines)


def _decisions(sheet: Sheet, decisions: Sequence[DecisionView]) -> None:
    """Two beside each other, as signatures stand on paper; a pair taller than a page flows one after the other."""
    theme = sheet.theme
    width = theme.measure * (1 - AXIS)
    for index in range(0, len(decisions), 2):
        pair = [_decision_lines(decision, theme, width) for decision in decisions[index : index + 2]]
        sheet.need(max(map(height_of, pair)))
        if max(map(height_of, pair)) <= sheet.room:
            top = sheet.y
            sheet.y = min(draw(sheet, x, top, lines) for x, lines in zip((theme.left, theme.right - width), pair, strict=False))
        else:
            for lines in pair:
                flow(sheet, theme.left, lines)
                sheet.y -= _DECISION_GAP
        sheet.y -= _DECISION_GAP if index + 2 < len(decisions) else 0.0


def _decision_lines(decision: DecisionView, theme: Theme, width: float) -> list[Line]:
    """The outcome, then the typed name large as a signature would be, and under it who, when and how."""
    styles = theme.styles
    lines = lines_of(decision.outcome, styles.muted, width)
    lines += lines_of(decision.name, styles.name, width, 1.0)
    lines += lines_of(decision.role, styles.body, width)
    lines += lines_of(decision.instant, styles.body, width)
    lines += lines_of(decision.how, styles.muted, width)
    for text in decision.details:
        lines += lines_of(text, styles.muted, width, 2.0)
    return lines


def _labelled(sheet: Sheet, label: float, left: list[Line], right: list[Line], gap: float = 5.0) -> None:
    height = max(height_of(left), height_of(right))
    sheet.need(height)
    if height <= sheet.room:
        sheet.y = draw_grid(sheet, sheet.theme.left, sheet.y, label, [(left, right)], gap)
        return
    flow(sheet, sheet.theme.left, left)
    flow(sheet, sheet.theme.left + label, right)
    sheet.y -= gap


def _evidence(sheet: Sheet, view: CertificateView) -> None:
    """The hashes, each in full beside its label, in a tinted panel."""
    theme, styles = sheet.theme, sheet.theme.styles
    pad = 10.0
    width = theme.measure - 2 * pad
    head = lines_of(view.evidence_title, styles.heading, width)
    label = min(width * 0.35, max(styles.label.width(clean_line(fact.label)) for fact in view.evidence) + 14.0)
    rows = [(lines_of(fact.label, styles.label, label - 10.0), lines_of(fact.value, styles.code, width - label)) for fact in view.evidence]
    height = height_of(head) + 4.0 + grid_height(rows, 1.5) + 2 * pad
    sheet.y -= 10.0
    sheet.need(height)
    if height > sheet.room:
        flow(sheet, theme.left, head)
        flow_grid(sheet, theme.left, label, rows)
        return
    lower = sheet.y - height
    sheet.panel(theme.left, lower, theme.measure, height, theme.tint)
    top = draw(sheet, theme.left + pad, sheet.y - pad, head) - 4.0
    draw_grid(sheet, theme.left + pad, top, label, rows, 1.5)
    sheet.y = lower
