"""Whatever is typed is drawn as text: no markup, no reordering, no crash, and every amount stays readable."""

from io import BytesIO

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from tests.unit.documents import samples
from tollgate.documents import (
    CertificateView,
    CreditNoteView,
    DocumentView,
    Theme,
    decode,
    encode,
    load_theme,
    render,
    render_certificate,
    render_credit_note,
    render_invoice,
)
from tollgate.documents.fonts import Face
from tollgate.documents.text import BOX, clean, clean_line, cut, wrap
from tollgate.documents.views import DocumentInfo, Fact, LineView, PartyView, TaxRowView, TaxTableView, TotalRowView

PAYLOADS = [
    '<b>bold</b><img src="file:///etc/passwd"/>',
    "<b unclosed & <para>",
    "%(x)s {0} {page} {{}} \\ ) ET Q ( (( /F1",
    "NUL\x00inside\x01\x1b[31m\x7f",
    "\u202egnp.exe\u202c \u2066isolated\u2069",
    "line\r\none\u2028two\x85three\x0bfour",
    "=HYPERLINK(1)",
    "\ud800 lone",
    "e\u0301\u0301\u0301 zalgo \u0489",
    "😀👩‍👩‍👧 emoji",
    "\u200b\u200b\u00ad\ufeff",
    " " * 3000 + "x",
    "W" * 1500,
    "שלום عربي 漢字",
    "",
    " ",
]
THEME = load_theme()


def with_text(view: DocumentView, text: str) -> DocumentView:
    """`view` with every text replaced by `text`."""

    def replaced(value: object) -> object:
        if isinstance(value, DocumentInfo):
            return msgspec.structs.replace(
                value, language=text, title=text, author=text, subject=text, dated=text, page_of=text, running_title=text
            )
        if isinstance(value, str):
            return text
        if isinstance(value, tuple):
            return tuple(replaced(part) for part in value)
        if isinstance(value, msgspec.Struct):
            changes = {name: replaced(getattr(value, name)) for name in value.__struct_fields__ if name != "emphasis"}
            return msgspec.structs.replace(value, **changes)
        return value

    new = replaced(view)
    assert isinstance(new, type(view))
    return new


def drawn(view: DocumentView, theme: Theme = THEME) -> str:
    if isinstance(view, CertificateView):
        pdf = render_certificate(view, theme)
    elif isinstance(view, CreditNoteView):
        pdf = render_credit_note(view, theme)
    else:
        pdf = render_invoice(view, theme)
    return "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
@pytest.mark.parametrize(
    "view", [samples.invoice(), samples.credit_note(), samples.certificate()], ids=["invoice", "credit_note", "certificate"]
)
def test_hostile_text_in_every_field(view: DocumentView, payload: str) -> None:
    text = drawn(with_text(view, payload))
    shown = "".join(char if char in THEME.faces["F1"].covered else BOX for char in "".join(clean_line(payload).split()))
    assert shown in "".join(text.split())


def test_markup_is_shown_as_typed() -> None:
    view = msgspec.structs.replace(samples.invoice(), buyer=PartyView(name='<b>A</b> <img src="/etc/passwd"/> &amp;'))
    assert '<b>A</b> <img src="/etc/passwd"/> &amp;' in drawn(view)


def test_a_character_that_would_reorder_or_hide_is_a_box() -> None:
    assert clean("\u202egnp.exe") == BOX + "gnp.exe"
    assert clean("a\x00b\x07") == f"a{BOX}b{BOX}"
    assert clean("a\u200bb\u00adc\ufeff") == "abc"
    assert clean("a\r\nb\tc\u2029d") == "a\nb c\nd"
    assert clean("e\u0301") == "é"


AMOUNTS = st.builds(
    lambda minor, code: f"{minor / 100:,.2f} {code}" if minor < 10**13 else f"{minor // 100:,}.{minor % 100:02} {code}",
    st.integers(0, 2**63 - 1),
    st.sampled_from(["EUR", "USD", "PLN", "€", "zł"]),
)
TEXT = st.text(max_size=120)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXT, st.lists(st.tuples(TEXT, TEXT, AMOUNTS), max_size=12), st.lists(AMOUNTS, min_size=1, max_size=4))
def test_any_text_renders_and_every_amount_is_there(note: str, lines: list[tuple[str, str, str]], sums: list[str]) -> None:
    view = msgspec.structs.replace(
        samples.invoice(tuple(LineView(title=title, description=(text,), net=net, unit_price=net) for title, text, net in lines)),
        buyer=PartyView(name=note, address=(note, note)),
        notes=(note, note),
        totals=tuple(TotalRowView(label=note, amount=amount) for amount in sums),
        taxes=TaxTableView(
            label="VAT", base="Base", tax="Tax", rows=tuple(TaxRowView(label=note, base=amount, tax=amount) for amount in sums)
        ),
        headline=Fact(label=note, value=sums[0]),
    )
    text = drawn(view)
    for _title, _text, net in lines:
        assert text.count(net) >= 2
    for amount in sums:
        assert text.count(amount) >= 3


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_any_text_survives_freezing(text: str) -> None:
    view = msgspec.structs.replace(samples.invoice(), notes=(text,))
    assert decode("invoice", encode(view)) == view
    assert render("invoice", encode(view), THEME) == render("invoice", encode(view), THEME)


@given(st.text(max_size=200), st.floats(2, 60))
def test_wrapping_keeps_every_letter_and_the_width(text: str, width: float) -> None:
    face: Face = THEME.faces["F1"]
    cleaned = clean(text)
    lines = wrap(cleaned, face.width, width)
    assert "".join("".join(lines).split()) == "".join(cleaned.split())
    assert all(face.width(line) <= width + 1e-9 or len(line) == 1 for line in lines)


@given(st.text(min_size=1, max_size=80), st.floats(0.1, 20))
def test_cutting_a_word_loses_nothing(word: str, width: float) -> None:
    pieces = cut(word, THEME.faces["F1"].width, width)
    assert "".join(pieces) == word
    assert all(pieces)
