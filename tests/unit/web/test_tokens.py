"""The colours of the stylesheet meet WCAG 2.2 AA in light and dark: 4.5 to 1 for text, 3 to 1 for the edges of controls and charts."""

from __future__ import annotations

import re

import pytest

from tollgate.web.brand import DARK_SURFACE, DEFAULT_ACCENT, LIGHT_SURFACE, Colour, brand_stylesheet, contrast, hexadecimal, parse_colour
from tollgate.web.static_files import FOLDER

CSS = (FOLDER / "tollgate.css").read_text(encoding="utf-8")
STATUS = ("on-time", "at-risk", "overdue", "waiting", "paid", "neutral")
GROUNDS = ("page", "surface", "raised", "sunken", "hover")
TEXT = [(ink, ground) for ink in ("text", "muted", "accent") for ground in GROUNDS] + [(one, f"{one}-soft") for one in STATUS]
TEXT += [("text", f"{one}-soft") for one in STATUS] + [
    ("on-accent", "accent"),
    ("accent", "accent-soft"),
    ("overdue", "page"),
    ("overdue", "surface"),
]
EDGES = (
    [("line-strong", ground) for ground in GROUNDS]
    + [("accent", "surface")]
    + [(f"tone-{one}", "surface") for one in ("paid", "invoiced", "approved")]
)


def tokens(dark: bool) -> dict[str, Colour]:
    blocks = re.findall(r":root \{(.*?)\n\s*\}", CSS, re.DOTALL)
    named = [re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block) for block in blocks[:2]]
    chosen = dict(named[0]) | (dict(named[1]) if dark else {})
    return {name: parse_colour(value) or (0, 0, 0) for name, value in chosen.items()}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (EDGES, 3.0)], ids=["text", "edges"])
def test_every_pair_that_is_used_can_be_told_apart(dark: bool, pairs: list[tuple[str, str]], least: float) -> None:
    named = tokens(dark)
    low = {pair: round(contrast(named[pair[0]], named[pair[1]]), 2) for pair in pairs if contrast(named[pair[0]], named[pair[1]]) < least}
    assert low == {}


def test_the_brand_sheet_is_measured_on_grounds_that_exist() -> None:
    assert tokens(dark=False)["page"] == LIGHT_SURFACE
    assert tokens(dark=True)["raised"] == DARK_SURFACE
    assert hexadecimal(tokens(dark=False)["accent"]) == DEFAULT_ACCENT
    assert f"--accent: {DEFAULT_ACCENT};" in brand_stylesheet()
