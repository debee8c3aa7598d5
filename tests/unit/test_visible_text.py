"""Text of which nothing can be seen counts as empty, whichever way it comes in."""

from __future__ import annotations

import pytest

from tollgate.errors import Invalid, _
from tollgate.http.bodies import clean
from tollgate.i18n.visible import is_blank
from tollgate.parties.rules import checked
from tollgate.signoff.rules import clean_name, clean_reason
from tollgate.web.forms import Form

UNSEEN = ["\u200b", "\u200e\u200f", " \u00a0\u3000 ", "\u2060\u00ad", "\u3164\u3164", "\u2800", "\u200d \ufe0f"]
SEEN = ["a\u200b", "عربي\u200f", "漢字", "👩\u200d💻", "7", "."]


@pytest.mark.parametrize("text", UNSEEN)
def test_unseen_text_is_empty(text: str) -> None:
    assert is_blank(text)
    assert clean(text, "/title") == ""
    form = Form({"title": [text]}, csrf_token="")
    assert form.required("title", _("Enter a title")) == ""
    assert str(form.error("title")) == "Enter a title"
    assert form.long_text("title") == ""
    assert form.value("title") == text
    assert Form({"criteria": [f"one\n{text}\ntwo"]}, csrf_token="").lines("criteria") == ["one", "two"]


@pytest.mark.parametrize("text", UNSEEN)
def test_unseen_names_and_reasons_are_refused(text: str) -> None:
    for read in (clean_name, clean_reason, lambda one: checked({"legal_name": one}, country="AT")):
        with pytest.raises(Invalid):
            read(text)


@pytest.mark.parametrize("text", SEEN)
def test_seen_text_stays_as_it_is(text: str) -> None:
    assert not is_blank(text)
    assert clean(text, "/title") == text
    assert Form({"title": [text]}, csrf_token="").text("title") == text
