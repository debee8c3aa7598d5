"""Whatever colour an organization chooses, its text can be read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.web.brand import DARK_SURFACE, LIGHT_SURFACE, brand_stylesheet, contrast, hexadecimal, parse_colour

channels = st.integers(0, 255)


@given(st.tuples(channels, channels, channels))
def test_every_accent_is_readable_on_both_grounds_and_carries_readable_text(colour: tuple[int, int, int]) -> None:
    sheets = re.findall(r":root \{(.*?)\}", brand_stylesheet(hexadecimal(colour)), re.DOTALL)
    for sheet, surface in zip(sheets, (LIGHT_SURFACE, DARK_SURFACE), strict=True):
        named = {name: parse_colour(value) or (0, 0, 0) for name, value in re.findall(r"(--[\w-]+): (#\w+);", sheet)}
        assert contrast(named["--accent"], surface) >= 4.5
        assert contrast(named["--on-accent"], named["--accent"]) >= 4.5
        assert contrast(named["--on-accent"], named["--accent-strong"]) >= 4.5


@pytest.mark.parametrize("hostile", ["red", "#fff", "#12345g", "#123456;} body{display:none", "", "#１２３４５６"])
def test_anything_but_a_colour_gives_the_default(hostile: str) -> None:
    assert brand_stylesheet(hostile) == brand_stylesheet()
