"""What cannot be printed is known before it is frozen."""

from __future__ import annotations

import pytest

from tollgate.documents import load_theme, missing_glyphs
from tollgate.documents.printable import printing_problem, require_printable, unprintable
from tollgate.errors import Invalid


@pytest.mark.parametrize(
    "text", ["Website relaunch", "Ünïcødé Ąęł Ωμέγα Привет ѓ ắệơ", "“a” – b… € → ✓ № \u00a0\u202f", "one\ntwo\tthree", "e\u0301", "□", ""]
)
def test_latin_greek_and_cyrillic_can_be_printed(text: str) -> None:
    assert unprintable(text) == ""
    assert printing_problem("/title", text) is None


@pytest.mark.parametrize("text", ["漢字", "عربي", "😀", "\u0e44\u0e17\u0e22", "\ue000", "a\x1bb", "\u2066"])
def test_what_would_be_a_box_cannot(text: str) -> None:
    assert set(unprintable(text)) == set(text) - set("ab")


def test_characters_are_named_once_and_in_order_over_all_texts() -> None:
    assert unprintable("b字a漢", None, "漢 e", "😀") == "字漢😀"
    assert unprintable("e", "\u0301漢") == "漢"


def test_nothing_that_the_design_lacks_is_let_through() -> None:
    every = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA1, 0xD800), *range(0xE000, 0xFFFE)]))
    assert set(missing_glyphs(every, load_theme())) <= set(unprintable(every))


def test_the_refusal_names_the_characters_and_an_unseen_one_by_its_code() -> None:
    problem = printing_problem("/title", "漢字 \ue000\ufe0f")
    assert problem is not None
    assert problem.pointer == "/title"
    assert str(problem.detail).startswith("漢字 U+E000 U+FE0F cannot be printed on documents yet")
    many = printing_problem("/title", "".join(map(chr, range(0x4E00, 0x4E40))))
    assert many is not None
    assert len(str(many.detail)) < 120
    with pytest.raises(Invalid, match="漢字 cannot be printed"):
        require_printable("/title", "漢字")
