"""Text made safe to draw, and broken into lines. No markup exists here: what is typed is what is drawn.

Everything is drawn glyph by glyph in the order it is stored, so a character that would reorder or hide text has no power;
it is shown as a box, for whoever reads the document should see that it is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

BOX = "\u25a1"
"""Stands for a character that cannot or must not be drawn."""

_LINE_ENDS = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_JOINTS = frozenset("-/_.,;:&?=–—")
_SPACES = re.compile(r"[ \t\n]+")
# Joiners, soft hyphens and direction marks carry no content of their own and are dropped without a trace;
# embeddings, overrides and isolates (202A-202E, 2066-2069) are left in, to become boxes.
_INVISIBLE = dict.fromkeys((0xAD, 0x61C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF))


def clean(text: str) -> str:
    """`text` in NFC with line ends as newlines, tabs as spaces, invisible joiners dropped, controls and reorderers as boxes."""
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", unicodedata.normalize("NFC", text)).replace("\t", " ").translate(_INVISIBLE)
    return "".join(BOX if _is_unsafe(char) else char for char in text)


def clean_line(text: str) -> str:
    """As `clean`, with every newline and run of spaces made one space: for a field that is one line by nature."""
    text = clean(text)
    return _SPACES.sub(" ", text).strip(" ") if "\n" in text or "  " in text or text[:1] == " " or text[-1:] == " " else text


def _is_unsafe(char: str) -> bool:
    return char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Co")


def wrap(text: str, measure: Callable[[str], float], width: float) -> list[str]:
    """Break cleaned text into lines no wider than `width` (same unit as `measure` gives).

    Breaks at spaces and newlines; a word longer than a line is cut where it must be. A blank paragraph gives one empty line.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if measure(paragraph) <= width:
            lines.append(paragraph.strip(" "))
        else:
            lines.extend(_wrap_words(paragraph.split(" "), measure, width))
    return lines


def _wrap_words(words: Iterable[str], measure: Callable[[str], float], width: float) -> Iterable[str]:
    space = measure(" ")
    line: list[str] = []
    used = 0.0
    for word in words:
        if not word:
            continue
        size = measure(word)
        if line and used + space + size > width:
            yield " ".join(line)
            line, used = [], 0.0
        if size > width:
            *full, word = cut(word, measure, width)
            yield from full
            size = measure(word)
        used += size + (space if line else 0.0)
        line.append(word)
    if line:
        yield " ".join(line)


def cut(word: str, measure: Callable[[str], float], width: float) -> list[str]:
    """Pieces of one word, each as long as fits in `width` and at least one character.

    Cut behind a hyphen, slash or the like where one stands in the second half of the piece: references and addresses read better so.
    """
    pieces: list[str] = []
    start, used, joint = 0, 0.0, 0
    for index, char in enumerate(word):
        size = measure(char)
        if used + size > width and index > start:
            end = joint if joint > start + (index - start) // 2 else index
            pieces.append(word[start:end])
            start, used = end, measure(word[end:index])
        used += size
        if char in _JOINTS:
            joint = index + 1
    pieces.append(word[start:])
    return pieces
