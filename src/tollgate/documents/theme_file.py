"""The members of `theme.toml`, with their bounds. Lengths and sizes are points."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Margin = Annotated[float, Meta(ge=18, le=144)]
Size = Annotated[float, Meta(ge=5, le=48)]
Colour = Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}$")]
RelativePath = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables: an unknown key is refused."""


class PageTable(_Table, frozen=True, kw_only=True):
    """`[page]`"""

    size: Literal["A4", "Letter"] = "A4"
    margin_top: Margin
    margin_right: Margin
    margin_bottom: Margin
    margin_left: Margin


class FontsTable(_Table, frozen=True, kw_only=True):
    """`[fonts]`: two weights of TrueType outlines with tabular figures."""

    regular: RelativePath
    strong: RelativePath


class SizesTable(_Table, frozen=True, kw_only=True):
    """`[sizes]`; `leading` is line height over size, for running text."""

    title: Size
    headline: Size
    heading: Size
    body: Size
    label: Size
    small: Size
    leading: Annotated[float, Meta(ge=1, le=2)]


class ColoursTable(_Table, frozen=True, kw_only=True):
    """`[colours]` as `#RRGGBB`: text, secondary text, the one accent, hairlines, panels."""

    ink: Colour
    muted: Colour
    accent: Colour
    rule: Colour
    tint: Colour


class LogoTable(_Table, frozen=True, kw_only=True):
    """`[logo]`: the box it is fitted into; an organization's own logo replaces `file`."""

    file: RelativePath | None = None
    max_width: Annotated[float, Meta(ge=10, le=300)] = 150.0
    max_height: Annotated[float, Meta(ge=10, le=120)] = 40.0


class ThemeFile(_Table, frozen=True, kw_only=True):
    """A whole `theme.toml`."""

    title: Annotated[str, Meta(min_length=1, max_length=80)]
    page: PageTable
    fonts: FontsTable
    sizes: SizesTable
    colours: ColoursTable
    logo: LogoTable = LogoTable()
