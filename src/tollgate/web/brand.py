"""An organization's accent colour as a stylesheet, adjusted until text in it and on it can be read (WCAG 2.2 AA, 4.5 to 1)."""

from __future__ import annotations

import re

DEFAULT_ACCENT = "#1f5f5b"
LIGHT_SURFACE, DARK_SURFACE = (250, 250, 248), (34, 38, 42)
"""The least favourable surfaces of `tollgate.css` that accent text stands on: page in light, raised card in dark."""
ENOUGH = 4.6  # a little over 4.5, so that rounding to 8 bits cannot fall below it

Colour = tuple[int, int, int]


def parse_colour(text: str) -> Colour | None:
    """`#rrggbb` as numbers, None when it is anything else; nothing but three numbers ever reaches the stylesheet."""
    found = re.fullmatch(r"#([0-9a-fA-F]{6})", text.strip(), re.ASCII)
    return (int(found[1][0:2], 16), int(found[1][2:4], 16), int(found[1][4:6], 16)) if found else None


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio by WCAG 2.2, 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(accent: Colour, surface: Colour) -> Colour:
    """The nearest shade of `accent` that reads on `surface`: darkened on a light one, lightened on a dark one."""
    goal: Colour = (0, 0, 0) if _luminance(surface) > 0.4 else (255, 255, 255)
    for step in range(101):
        shade = mix(accent, goal, step / 100)
        if contrast(shade, surface) >= ENOUGH:
            return shade
    return goal


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of `other` in `one`, each channel rounded."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def brand_stylesheet(accent: str = DEFAULT_ACCENT) -> str:
    """CSS custom properties for one organization, light and dark; serve it as `text/css` under a URL of its own (no inline styles)."""
    colour = parse_colour(accent) or parse_colour(DEFAULT_ACCENT) or (0, 0, 0)
    light, dark = _properties(colour, LIGHT_SURFACE), _properties(colour, DARK_SURFACE)
    return f":root {{\n{light}}}\n@media (prefers-color-scheme: dark) {{\n:root {{\n{dark}}}\n}}\n"


def _properties(colour: Colour, surface: Colour) -> str:
    accent = readable(colour, surface)
    white, black = (255, 255, 255), (16, 20, 22)
    on_accent = white if contrast(white, accent) >= contrast(black, accent) else black
    towards: Colour = (0, 0, 0) if on_accent == white else (255, 255, 255)
    named = {
        "--accent": accent,
        "--accent-strong": mix(accent, towards, 0.18),
        "--accent-soft": mix(surface, accent, 0.10),
        "--accent-line": mix(surface, accent, 0.35),
        "--on-accent": on_accent,
    }
    return "".join(f"  {name}: {hexadecimal(value)};\n" for name, value in named.items())


def hexadecimal(colour: Colour) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _luminance(colour: Colour) -> float:
    channels = [(part / 255) / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
