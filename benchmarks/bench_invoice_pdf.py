"""One-page invoice PDF, warm, one process: our renderer against a plain ReportLab canvas that draws the same page.

The floor is what a competent first version does: the same fonts registered once, the same logo file drawn on each page,
`drawString` at the same places with the same text, ReportLab's own subsetting and compression. Its list of strings and
places is read off our own output before the clock starts, so it pays nothing for layout. Number, client, dates and amounts
change with every document, so that nothing is rendered twice. Prints one line `BENCH name=invoice_pdf ratio=… must=1.5 reach=3.0`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import msgspec  # noqa: E402
from pypdf import PdfReader  # noqa: E402
from reportlab.pdfbase import pdfmetrics  # noqa: E402
from reportlab.pdfbase.ttfonts import TTFont  # noqa: E402
from reportlab.pdfgen.canvas import Canvas  # noqa: E402

from tests.unit.documents import samples  # noqa: E402
from tollgate.documents import InvoiceView, Theme, ThemeOverrides, load_theme, render_invoice, templates_folder  # noqa: E402
from tollgate.documents.sheet import Sheet  # noqa: E402
from tollgate.documents.theme import Style  # noqa: E402

MUST, REACH = 1.5, 3.0
Drawing = list[tuple[str, tuple[Any, ...]]]


def variant(number: int) -> InvoiceView:
    """The sample invoice with its own number, client, day and amounts."""
    base = samples.invoice()
    net = f"{18_000 + number * 7:,}.{number % 100:02}"
    return msgspec.structs.replace(
        base,
        number=f"INV-2026-{number:04}",
        buyer=msgspec.structs.replace(base.buyer, name=f"Kowalski & Søn {number} Logistics A/S"),
        lines=(msgspec.structs.replace(base.lines[0], unit_price=net, net=net), *base.lines[1:]),
        facts=(msgspec.structs.replace(base.facts[0], value=f"{1 + number % 28} November 2026"), *base.facts[1:]),
    )


class Recorder:
    """Notes what our renderer draws, in calls that a canvas has."""

    def __init__(self) -> None:
        self.drawing: Drawing = []

    def record(self, view: InvoiceView, theme: Theme) -> Drawing:
        """The strings, rules, panels and logo of one document with their places."""
        names = ("text", "rule", "panel", "logo")
        originals: dict[str, Callable[..., Any]] = {name: getattr(Sheet, name) for name in names}

        def noting(name: str) -> Callable[..., Any]:
            def method(sheet: Sheet, *arguments: Any) -> Any:
                self.drawing.append((name, arguments))
                return originals[name](sheet, *arguments)

            return method

        try:
            for name in names:
                setattr(Sheet, name, noting(name))
            render_invoice(view, theme)
        finally:
            for name in names:
                setattr(Sheet, name, originals[name])
        return self.drawing


def colour(operands: str) -> tuple[float, ...]:
    """PDF operands as the floats a canvas takes."""
    return tuple(float(part) for part in operands.split())


def naive(drawing: Drawing, theme: Theme, logo: Path, title: str) -> bytes:
    """The same page, drawn plainly."""
    output = BytesIO()
    canvas = Canvas(output, pagesize=(theme.width, theme.height), invariant=1)
    canvas.setTitle(title)
    for name, arguments in drawing:
        if name == "text":
            x, y, style, text = arguments
            plain_text(canvas, x, y, style, text)
        elif name == "rule":
            x0, x1, y, stroke, *thickness = arguments
            canvas.setStrokeColorRGB(*colour(stroke))
            canvas.setLineWidth(thickness[0] if thickness else 0.6)
            canvas.line(x0, y, x1, y)
        elif name == "panel":
            x, y, width, height, fill = arguments
            canvas.setFillColorRGB(*colour(fill))
            canvas.rect(x, y, width, height, stroke=0, fill=1)
        elif theme.logo is not None:
            x, top = arguments
            scale = min(theme.logo_size[0] / theme.logo.width, theme.logo_size[1] / theme.logo.height)
            width, height = theme.logo.width * scale, theme.logo.height * scale
            canvas.drawImage(str(logo), x, top - height, width, height, mask="auto")
    canvas.showPage()
    canvas.save()
    return output.getvalue()


def plain_text(canvas: Any, x: float, y: float, style: Style, text: str) -> None:
    """One string in its font and colour."""
    canvas.setFont("Plain-" + style.font, style.size)
    canvas.setFillColorRGB(*colour(style.colour))
    canvas.drawString(x, y, text, charSpace=style.tracking * style.size)


def words(pdf: bytes) -> list[str]:
    """The words of a document in reading order."""
    return " ".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages).split()


def timed(work: Callable[[], bytes]) -> float:
    """CPU seconds of one document: steadier than wall time on shared cores."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    """Run interleaved, print the medians and the ratio; 1 when the must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    folder = templates_folder() / "classic" / "fonts"
    pdfmetrics.registerFont(TTFont("Plain-F1", folder / "Inter-Regular.ttf"))
    pdfmetrics.registerFont(TTFont("Plain-F2", folder / "Inter-SemiBold.ttf"))
    theme = load_theme(overrides=ThemeOverrides(logo=samples.logo()))
    ours: list[float] = []
    floor: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        logo = Path(scratch) / "logo.png"
        logo.write_bytes(samples.logo())
        for number in range(rounds + 10):
            view = variant(number)
            drawing = Recorder().record(view, theme)
            if number < 3:
                assert words(naive(drawing, theme, logo, view.info.title)) == words(render_invoice(view, theme)), "the two pages differ"
                assert len(PdfReader(BytesIO(render_invoice(view, theme))).pages) == 1
            # Recording warmed nothing that the next document would reuse: its texts are new to the renderer, too.
            fresh = variant(number + 5000)
            mine = timed(lambda fresh=fresh: render_invoice(fresh, theme))  # type: ignore[misc]
            plain = timed(lambda drawing=drawing, view=view: naive(drawing, theme, logo, view.info.title))  # type: ignore[misc]
            if number >= 10:
                ours.append(mine)
                floor.append(plain)
    median, floor_median = statistics.median(ours), statistics.median(floor)
    ratio = floor_median / median
    print(f"ours {median * 1000:.2f} ms, plain canvas {floor_median * 1000:.2f} ms, {rounds} interleaved documents, CPU time")
    print(f"BENCH name=invoice_pdf ratio={ratio:.2f} must={MUST} reach={REACH}")
    return 0 if ratio >= MUST else 1


if __name__ == "__main__":
    sys.exit(main())
