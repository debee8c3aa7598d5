"""What the documents' fonts cannot print: refused before anything freezes, for a document is made once and stays (R12)."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from tollgate.documents.text import BOX, clean
from tollgate.documents.theme import Theme, load_theme, missing_glyphs
from tollgate.errors import FieldError, _, invalid

_NAMED = 12
"""Characters that a refusal names; a whole text in another script would bury the sentence."""


@lru_cache(maxsize=1)
def _theme() -> Theme:
    # The design that is shipped, and that the others are made from: what it can print is what is promised.
    return load_theme("classic")


def unprintable(*texts: str | None) -> str:
    """The distinct characters of `texts`, in order, that a document would show as a box; empty when all can be printed."""
    text = unicodedata.normalize("NFC", "\n".join(text for text in texts if text))
    if text.isascii() and text.replace("\n", "").isprintable():
        return ""
    missing = set(missing_glyphs(text, _theme()))
    return "".join(dict.fromkeys(char for char in text if char in missing or (char != BOX and clean(char) == BOX)))


def printing_problem(pointer: str, *texts: str | None) -> FieldError | None:
    """What to say at `pointer` about texts that cannot be printed; None when they can."""
    found = unprintable(*texts)
    if not found:
        return None
    shown = " ".join("".join(map(_shown, found[:_NAMED])).split()) + ("…" if len(found) > _NAMED else "")
    return FieldError(
        pointer, _("%(characters)s cannot be printed on documents yet; write it in Latin, Greek or Cyrillic letters", characters=shown)
    )


def require_printable(pointer: str, *texts: str | None) -> None:
    """Raises `Invalid` at `pointer` for texts that cannot be printed."""
    problem = printing_problem(pointer, *texts)
    if problem is not None:
        raise invalid(pointer, problem.detail)


def _shown(char: str) -> str:
    """A character as a refusal names it: one that cannot be seen by itself by its code."""
    return f" U+{ord(char):04X} " if unicodedata.category(char)[0] in "CMZ" else char
