"""What a reader can see of a text, in any script."""

from __future__ import annotations

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_FILLERS = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10)))
)
"""Letters, marks and signs by their category, and yet nothing to see."""


def is_blank(text: str) -> bool:
    """Whether nothing of `text` can be seen: spaces, joiners, direction marks and fillers only (U+200B, U+200E, U+3164).

    >>> is_blank(" \\u200b"), is_blank("a\\u200b")
    (True, False)
    """
    return all(character in _FILLERS or unicodedata.category(character) in _UNSEEN for character in text)
