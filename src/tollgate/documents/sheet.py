"""Pages to draw on: a cursor that runs down the type area, text, rules, panels, images and links; then the finished file.

Pages are kept as lists of operators until the end, when their number is known ("Page 1 of 3"), and then handed to a
ReportLab canvas that does the rest of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from reportlab import rl_config
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas

from tollgate.documents.fonts import FontInUse
from tollgate.documents.pdf import FastDeflate, Ready, stream
from tollgate.documents.text import clean_line
from tollgate.documents.theme import Style, Theme
from tollgate.documents.views import DocumentInfo

# No colour text is evaluated, and no host, not even this machine, is one that ReportLab may load from.
rl_config.toColorCanUse = None
rl_config.trustedHosts = []
rl_config.trustedSchemes = []

_NO_LINK = frozenset(' <>"{}|\\^`')


class _NoFont:
    """The canvas insists on a first font and would list an unembedded Helvetica; this one adds nothing to the file."""

    fontName = "tollgate-no-font"
    _dynamicFont = 1
    _multiByte = 0

    class face:
        """ReportLab asks for a face's name and no more."""

        name = "tollgate-no-font"
        builtIn = 0


pdfmetrics.registerFont(_NoFont())


@dataclass(slots=True)
class Page:
    """One page so far: content stream operators, link rectangles (x0, y0, x1, y1) and whether the logo is on it."""

    operators: list[str] = field(default_factory=list)
    links: list[tuple[str, tuple[float, float, float, float]]] = field(default_factory=list)
    has_logo: bool = False


class Sheet:
    """The document being drawn. `y` is the cursor: the next thing hangs below it. All lengths are points."""

    def __init__(self, theme: Theme, floor: float, on_new_page: Callable[[Sheet], None]) -> None:
        self.theme = theme
        self.floor = floor
        """Lowest y for content: below it is the footer."""
        self.pages: list[Page] = []
        self.y = theme.top
        self._on_new_page = on_new_page
        self._fonts = {name: FontInUse(face, name) for name, face in theme.faces.items()}
        self._used: set[str] = set()
        self._style: Style | None = None
        self._begin()

    def _begin(self) -> None:
        self.pages.append(Page())
        self._page = self.pages[-1]
        self._operators = self._page.operators
        self._style = None
        self.y = self.fresh_y = self.theme.top

    def new_page(self) -> None:
        """Go on at the top of another page, below whatever every further page starts with."""
        self._begin()
        self._on_new_page(self)
        self.fresh_y = self.y

    @property
    def room(self) -> float:
        """Height left on this page."""
        return self.y - self.floor

    @property
    def is_fresh(self) -> bool:
        """Whether nothing but the running head is on this page: then breaking again would not help."""
        return self.y >= self.fresh_y

    def need(self, height: float) -> None:
        """Start another page when `height` is not left on this one."""
        if height > self.room and not self.is_fresh:
            self.new_page()

    def go_to(self, page: Page) -> None:
        """Draw on an earlier page again: its footer, once the number of pages is known."""
        self._page = page
        self._operators = page.operators
        self._style = None

    def text(self, x: float, y: float, style: Style, text: str) -> None:
        """Draw one cleaned line with its baseline at `y`, starting at `x`."""
        if not text:
            return
        operators = self._operators
        if style is not self._style:
            operators.append(style.operators())
            self._style = style
            self._used.add(style.font)
        literal = style.face.literal(text)
        if literal is not None:
            operators.append(f"BT {x:.2f} {y:.2f} Td ({literal}) Tj ET")
        else:
            self._mixed(x, y, style, text)

    def _mixed(self, x: float, y: float, style: Style, text: str) -> None:
        """A line that needs more than the fixed subset of its face."""
        parts = [f"BT {x:.2f} {y:.2f} Td"]
        now = 0
        for subset, literal in self._fonts[style.font].runs(text):
            if subset != now:
                parts.append(f"/{style.font}+{subset} {style.size:.4g} Tf")
                now = subset
            parts.append(f"({literal}) Tj")
        self._operators.append(" ".join([*parts, "ET"]))
        if now:
            self._style = None

    def text_right(self, x: float, y: float, style: Style, text: str) -> None:
        """As `text`, ending at `x`."""
        self.text(x - style.width(text), y, style, text)

    def rule(self, x0: float, x1: float, y: float, colour: str, thickness: float = 0.6) -> None:
        """A horizontal line."""
        self._operators.append(f"{colour} RG {thickness:.2f} w {x0:.2f} {y:.2f} m {x1:.2f} {y:.2f} l S")

    def panel(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle with its lower left corner at x, y."""
        self._operators.append(f"{colour} rg {x:.2f} {y:.2f} {width:.2f} {height:.2f} re f")
        self._style = None

    def logo(self, x: float, top: float) -> float:
        """The theme's logo, fitted into its box with its upper left corner at x, top. Returns its height; 0 without a logo."""
        logo = self.theme.logo
        if logo is None:
            return 0.0
        limit_x, limit_y = self.theme.logo_size
        scale = min(limit_x / logo.width, limit_y / logo.height)
        width, height = logo.width * scale, logo.height * scale
        self._operators.append(f"q {width:.2f} 0 0 {height:.2f} {x:.2f} {top - height:.2f} cm /FormXob.logo Do Q")
        self._page.has_logo = True
        return height

    def link(self, url: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """Make a rectangle clickable, if `url` leads to a host that the theme's overrides allow; else it stays mere text."""
        if is_allowed_link(url, self.theme.link_hosts):
            self._page.links.append((url, (x0, y0, x1, y1)))

    def finish(self, info: DocumentInfo) -> bytes:
        """The PDF file. The same drawing gives the same bytes, whatever the clock, the machine or SOURCE_DATE_EPOCH say."""
        output = BytesIO()
        canvas = Canvas(
            output, pagesize=(self.theme.width, self.theme.height), pageCompression=0, invariant=1,
            initialFontName=_NoFont.fontName, lang=clean_line(info.language),
        )  # fmt: skip
        document = canvas._doc
        document.defaultStreamFilters = [FastDeflate]
        document.delayedFonts.extend(self._fonts[name] for name in sorted(self._used))
        _describe(canvas, info)
        # The two halves of the file's ID come from its content and not from a time stamp.
        document.signature = hashlib.sha256(usedforsecurity=False)
        if any(page.has_logo for page in self.pages):
            _add_logo(document, self.theme)
        for page in self.pages:
            content = "\n".join(page.operators)
            document.signature.update(content.encode("latin-1"))
            canvas.addLiteral(content)
            if page.has_logo:
                canvas._formsinuse.append("logo")
            for url, rectangle in page.links:
                canvas.linkURL(url, rectangle)
            canvas.showPage()
        document.signature = _Half(document.signature)
        canvas.save()
        return output.getvalue()


class _Half:
    """A SHA-256 cut to the 16 bytes that a PDF's ID has."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def update(self, more: bytes) -> None:
        """ReportLab adds title, author and subject."""
        self._whole.update(more)

    def digest(self) -> bytes:
        """The first 16 bytes."""
        digest: bytes = self._whole.digest()
        return digest[:16]


def _describe(canvas: Any, info: DocumentInfo) -> None:
    canvas.setTitle(clean_line(info.title))
    canvas.setAuthor(clean_line(info.author))
    canvas.setSubject(clean_line(info.subject))
    canvas.setCreator("Tollgate")
    canvas.setKeywords("")
    canvas.setViewerPreference("DisplayDocTitle", "true")
    canvas.setViewerPreference("Direction", "R2L" if info.direction == "rtl" else "L2R")
    day = "".join(char for char in info.dated if char in "0123456789")
    stamp = f"D:{day if len(day) == 8 else '20000101'}000000Z"
    canvas.setDateFormatter(lambda *_parts: stamp)


def _add_logo(document: Any, theme: Theme) -> None:
    logo = theme.logo
    assert logo is not None
    entries = f"/Type /XObject /Subtype /Image /Width {logo.width} /Height {logo.height} /BitsPerComponent 8"
    if logo.mask is None:
        head, tail = stream(logo.pixels, f"{entries} /ColorSpace /DeviceRGB")
        document.addForm("logo", Ready(head, tail=tail))
        return
    head, tail = stream(logo.mask, f"{entries} /ColorSpace /DeviceGray")
    mask = document.Reference(Ready(head, tail=tail), "logo-mask")
    head, tail = stream(logo.pixels, f"{entries} /ColorSpace /DeviceRGB /SMask %b")
    document.addForm("logo", Ready(head, mask, tail=tail))


def is_allowed_link(url: str, hosts: frozenset[str]) -> bool:
    """Whether `url` is plain http(s) to exactly one of `hosts`, without a name or password in it."""
    if not url.isascii() or not url.isprintable() or _NO_LINK.intersection(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() in hosts
