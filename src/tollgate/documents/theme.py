"""Designs: a folder of `invoice_templates/` with a strict `theme.toml`, fonts and perhaps a logo, made ready to draw with.

Data only: nothing in a theme is executed. A key that does not exist or a value out of range is refused with file and line,
because a design that is silently half-used is found by a customer.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import msgspec

from tollgate.documents.fonts import Face
from tollgate.documents.logo import Logo, load_logo
from tollgate.documents.text import clean
from tollgate.documents.theme_file import ThemeFile
from tollgate.errors import Invalid, _, invalid

RENDERER_VERSION = "1"
"""Frozen with each document: a change that moves any byte of an existing document's PDF takes the next number."""

PAGE_SIZES = {"A4": (595.28, 841.89), "Letter": (612.0, 792.0)}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_MAX_FONT_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class ThemeOverrides:
    """What an organization puts on top of a design. `link_hosts` are the hosts whose links may be clickable: our own pay pages."""

    accent: str | None = None
    """`#RRGGBB`."""
    logo: bytes | None = field(default=None, repr=False)
    """PNG or JPEG; re-encoded, never embedded as it came."""
    link_hosts: frozenset[str] = frozenset()
    """Host, or host:port, in lower case; https, or http where the operator serves http."""


@dataclass(frozen=True, slots=True)
class Style:
    """How one run of text looks. `operators` sets font, size and colour in a PDF content stream."""

    face: Face
    font: str
    size: float
    leading: float
    colour: str
    tracking: float = 0.0
    """Added between letters, as a share of the size: large letters stand too far apart as drawn for small ones."""

    def operators(self, subset: int = 0) -> str:
        """Choose font (one of its subsets), size and fill colour."""
        return f"/{self.font}+{subset} {self.size:.4g} Tf {self.tracking * self.size:.3g} Tc {self.colour} rg"

    def width(self, text: str) -> float:
        """Width of one line in points."""
        return (self.face.width(text) + self.tracking * len(text)) * self.size

    def scaled(self, factor: float) -> Style:
        """The same look in another size, for figures that would not fit."""
        return replace(self, size=self.size * factor)


@dataclass(frozen=True, slots=True)
class Styles:
    """The named looks that components use."""

    title: Style
    number: Style
    headline: Style
    name: Style
    heading: Style
    body: Style
    strong: Style
    muted: Style
    label: Style
    total: Style
    small: Style
    code: Style
    link: Style
    statement: Style


@dataclass(frozen=True, slots=True, eq=False)
class Theme:
    """A design ready to draw with. Lengths are points; colours are PDF operands (`0.1 0.2 0.3`)."""

    name: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    """Edges of the type area, measured from the page's lower left corner."""
    faces: dict[str, Face]
    """`F1` regular, `F2` strong: the font names of the content streams."""
    styles: Styles
    ink: str
    accent: str
    rule: str
    tint: str
    logo: Logo | None
    logo_size: tuple[float, float]
    link_hosts: frozenset[str]
    sha256: str
    """Over `theme.toml`, its fonts, the logo and the overrides: frozen with each document (R12)."""

    @property
    def measure(self) -> float:
        """Width of the type area."""
        return self.right - self.left


def templates_folder() -> Path:
    """Where the designs are: package data of an installed wheel, else `invoice_templates/` of the source checkout."""
    installed = Path(str(files("tollgate"))) / "_data" / "invoice_templates"
    if installed.is_dir():
        return installed
    checkout = Path(__file__).resolve().parents[3] / "invoice_templates"
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"no invoice_templates folder at {installed} or {checkout}; reinstall tollgate")


def load_theme(name: str = "classic", overrides: ThemeOverrides | None = None, *, folder: Path | None = None) -> Theme:
    """The design `name`, with an organization's accent, logo and link hosts on top; read once per process and change of theme.toml.

    Raises `Invalid` naming file and line of a wrong key or value, or the override that cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise invalid("/theme", _("“%(name)s” is no name of a design", name=name))
    place = (folder or templates_folder()) / name
    path = place / "theme.toml"
    if not path.is_file():
        raise invalid("/theme", _("There is no design “%(name)s”: %(path)s is missing", name=name, path=str(path)))
    return _load(place, os.stat(path).st_mtime_ns, overrides or ThemeOverrides())


@lru_cache(maxsize=64)
def _load(place: Path, changed: int, overrides: ThemeOverrides) -> Theme:
    path = place / "theme.toml"
    raw = path.read_bytes()
    told = _read(path, raw)
    digest = hashlib.sha256(b"tollgate theme\0")
    _add(digest, raw)
    fonts = []
    for key, relative in (("regular", told.fonts.regular), ("strong", told.fonts.strong)):
        data = _file_inside(path, raw, f"fonts.{key}", relative)
        _add(digest, data)
        fonts.append(_face(data, path, raw, f"fonts.{key}"))
    logo = _logo(path, raw, told, overrides)
    _add(digest, logo.source if logo else b"")
    accent = _accent(told.colours.accent, overrides.accent)
    for part in (accent, *sorted(overrides.link_hosts)):
        _add(digest, part.encode())
    return _assemble(place.name, told, fonts[0], fonts[1], logo, accent, overrides.link_hosts, digest.hexdigest())


def _add(digest: hashlib._Hash, part: bytes) -> None:
    # Length first, so that no two lists of parts run into the same bytes.
    digest.update(len(part).to_bytes(8, "big") + part)


def _assemble(
    name: str, told: ThemeFile, regular: Face, strong: Face, logo: Logo | None, accent: str, hosts: frozenset[str], sha: str
) -> Theme:
    width, height = PAGE_SIZES[told.page.size]
    sizes, colours = told.sizes, told.colours
    ink, muted, on_paper = _operands(colours.ink), _operands(colours.muted), _operands(_readable(accent))

    def style(face: str, size: float, colour: str, leading: float = sizes.leading) -> Style:
        tracking = 0.0 if size < 12 else -0.012 if size < 16 else -0.02
        return Style(regular if face == "F1" else strong, face, size, round(size * leading, 2), colour, tracking)

    styles = Styles(
        title=style("F2", sizes.title, ink, 1.15),
        number=style("F1", round(sizes.title * 0.66, 2), muted, 1.3),
        headline=style("F2", sizes.headline, ink, 1.2),
        name=style("F2", sizes.heading + 2, ink, 1.3),
        heading=style("F2", sizes.heading, ink, 1.3),
        body=style("F1", sizes.body, ink),
        strong=style("F2", sizes.body, ink),
        muted=style("F1", sizes.body, muted),
        label=style("F1", sizes.label, muted, 1.35),
        total=style("F2", sizes.heading + 1, on_paper, 1.3),
        small=style("F1", sizes.small, muted, 1.4),
        code=style("F1", sizes.small, ink, 1.4),
        link=style("F1", sizes.body, on_paper),
        statement=style("F1", sizes.body + 1, ink, 1.5),
    )
    page = told.page
    return Theme(
        name=name, width=width, height=height, left=page.margin_left, right=width - page.margin_right, top=height - page.margin_top,
        bottom=page.margin_bottom, faces={"F1": regular, "F2": strong}, styles=styles, ink=ink, accent=_operands(accent),
        rule=_operands(colours.rule), tint=_operands(colours.tint), logo=logo, logo_size=(told.logo.max_width, told.logo.max_height),
        link_hosts=hosts, sha256=sha,
    )  # fmt: skip


def missing_glyphs(text: str, theme: Theme) -> str:
    """The characters of `text`, each once and in order, that this design cannot draw and shows as a box; empty when all is well."""
    covered = theme.faces["F1"].covered & theme.faces["F2"].covered
    return "".join(dict.fromkeys(char for char in clean(text) if char != "\n" and char not in covered))


def _read(path: Path, raw: bytes) -> ThemeFile:
    try:
        return msgspec.convert(tomllib.loads(raw.decode("utf-8")), ThemeFile)
    except UnicodeDecodeError:
        raise _refused(path, 1, "is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as problem:
        found = re.search(r"at line (\d+)", str(problem))
        raise _refused(path, int(found[1]) if found else len(raw.splitlines()), str(problem)) from None
    except msgspec.ValidationError as problem:
        reason, _sep, where = str(problem).partition(" - at `$")
        keys = where.strip("`").strip(".").split(".") if where.strip("`") else []
        unknown = re.search(r"unknown field `([^`]*)`", reason)
        raise _refused(path, _line_of(raw, [*keys, unknown[1]] if unknown else keys), ".".join(keys) + ": " * bool(keys) + reason) from None


def _refused(path: Path, line: int, reason: str) -> Invalid:
    return invalid("/theme", _("%(file)s, line %(line)s: %(reason)s", file=f"{path.parent.name}/{path.name}", line=line, reason=reason))


def _line_of(raw: bytes, keys: list[str]) -> int:
    """The line that sets `keys` (table names, then a key), or of the nearest table around it."""
    table: list[str] = []
    nearest = 1
    for number, line in enumerate(raw.decode("utf-8").splitlines(), 1):
        header = re.fullmatch(r"\s*\[([^\[\]]+)\]\s*(#.*)?", line)
        if header:
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            if table == keys[: len(table)]:
                nearest = number
        elif keys and table == keys[:-1] and re.match(rf"\s*[\"']?{re.escape(keys[-1])}[\"']?\s*(\.|=)", line):
            return number
    return nearest


def _file_inside(path: Path, raw: bytes, key: str, relative: str) -> bytes:
    line = _line_of(raw, key.split("."))
    target = (path.parent / relative).resolve()
    if not target.is_relative_to(path.parent.resolve()):
        raise _refused(path, line, f"{key}: “{relative}” leads out of the design's folder")
    if not target.is_file():
        raise _refused(path, line, f"{key}: there is no file “{relative}”")
    if target.stat().st_size > _MAX_FONT_BYTES:
        raise _refused(path, line, f"{key}: “{relative}” is larger than {_MAX_FONT_BYTES // 1_000_000} MB")
    return target.read_bytes()


def _face(data: bytes, path: Path, raw: bytes, key: str) -> Face:
    try:
        return _face_of(data)
    except ValueError as problem:
        raise _refused(path, _line_of(raw, key.split(".")), f"{key}: {problem}") from None


@lru_cache(maxsize=16)
def _face_of(data: bytes) -> Face:
    return Face(data)


def _logo(path: Path, raw: bytes, told: ThemeFile, overrides: ThemeOverrides) -> Logo | None:
    if overrides.logo is not None:
        return load_logo(overrides.logo)
    if told.logo.file is None:
        return None
    try:
        return load_logo(_file_inside(path, raw, "logo.file", told.logo.file))
    except Invalid as problem:
        if str(path.name) in str(problem):
            raise
        raise _refused(path, _line_of(raw, ["logo", "file"]), f"logo.file: {problem}") from None


def _accent(own: str, override: str | None) -> str:
    if override is None:
        return own
    if not _COLOUR.fullmatch(override):
        raise invalid("/accent", _("“%(value)s” is no colour; write it as #RRGGBB", value=override))
    return override


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _operands(colour: str | Iterable[float]) -> str:
    channels = _channels(colour) if isinstance(colour, str) else colour
    return " ".join(f"{channel:.3f}".rstrip("0").rstrip(".") or "0" for channel in channels)


def _readable(colour: str) -> tuple[float, float, float]:
    """`colour`, darkened until text in it has a contrast of 4.5 to 1 on white (WCAG 2.2, 1.4.3): a brand may be pale yellow."""
    channels = _channels(colour)
    while 1.05 / (_luminance(channels) + 0.05) < 4.5:
        channels = (channels[0] * 0.95, channels[1] * 0.95, channels[2] * 0.95)
    return channels


def _luminance(channels: tuple[float, float, float]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
