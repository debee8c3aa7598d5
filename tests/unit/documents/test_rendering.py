"""What is drawn: the text of the views in reading order, over as many pages as it takes, and the same bytes every time."""

import hashlib
import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pypdfium2  # type: ignore[import-untyped, unused-ignore]
import pytest
from pypdf import PdfReader

from tests.unit.documents import samples
from tollgate.documents import (
    CertificateView,
    DocumentView,
    InvoiceView,
    Theme,
    ThemeOverrides,
    decode,
    encode,
    load_theme,
    missing_glyphs,
    render,
    render_certificate,
    render_credit_note,
    render_invoice,
)
from tollgate.documents.text import clean
from tollgate.documents.views import CreditNoteView, Fact, LineView, PartyView, PayLinkView, PaymentView, TaxTableView, TotalRowView

ROOT = Path(__file__).resolve().parents[3]
HOSTS = frozenset({"bill.nordlicht.example"})
SAMPLES: dict[str, DocumentView] = {
    "invoice": samples.invoice(),
    "credit_note": samples.credit_note(),
    "certificate": samples.certificate(),
}


@pytest.fixture(scope="module")
def theme() -> Theme:
    return load_theme(overrides=ThemeOverrides(logo=samples.logo(), link_hosts=HOSTS))


def pages(pdf: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(BytesIO(pdf)).pages]


def words(text: str) -> str:
    return " ".join(text.split())


def texts_of(value: object) -> list[str]:
    """Every string that a view holds, in order."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, tuple):
        return [text for part in value for text in texts_of(part)]
    if isinstance(value, msgspec.Struct):
        return [text for name in value.__struct_fields__ if name not in ("info", "emphasis") for text in texts_of(getattr(value, name))]
    return []


@pytest.mark.parametrize("kind", SAMPLES)
def test_everything_a_view_says_is_on_the_page(kind: str, theme: Theme) -> None:
    drawn = words(" ".join(pages(render(kind, encode(SAMPLES[kind]), theme))))
    for text in texts_of(SAMPLES[kind]):
        assert words(text) in drawn


def test_an_invoice_reads_from_top_to_bottom(theme: Theme) -> None:
    drawn = words(pages(render_invoice(samples.invoice(), theme))[0])
    order = ["Nordlicht Studio", "Invoice INV-2026-0042", "Billed to Kowalski", "Issued 24 November 2026", "No. Milestone Qty Unit price VAT Net (EUR)",
             "1 M2 Scanner integration 1 18,000.00 20 % 18,000.00 Handheld", "20 % standard rate 16,800.00 3,360.00", "Net 18,750.00",
             "−1,947.00 Payable 20,358.00 EUR", "Thank you", "IBAN AT61", "https://bill.nordlicht.example/pay", "Page 1 of 1"]  # fmt: skip
    places = [drawn.index(text) for text in order]
    assert places == sorted(places)


def test_two_hundred_lines_flow_over_pages_with_headings_and_numbers(theme: Theme) -> None:
    view = samples.long_invoice(200)
    drawn = pages(render_invoice(view, theme))
    assert len(drawn) > 5
    for number, page in enumerate(drawn, 1):
        assert f"Page {number} of {len(drawn)}" in page
        assert "Unit price" in page
        assert "Nordlicht Studio GmbH" in page
    whole = words(" ".join(drawn))
    assert all(line.net in whole and f"Work package {line.position.zfill(3)}" in whole for line in view.lines)
    assert [whole.index(f"Work package {line.position.zfill(3)}") for line in view.lines] == sorted(
        whole.index(f"Work package {line.position.zfill(3)}") for line in view.lines
    )


@pytest.mark.parametrize("count", range(8, 30))
def test_the_sums_are_never_parted_from_the_last_line(count: int, theme: Theme) -> None:
    drawn = pages(render_invoice(samples.long_invoice(count), theme))
    [page] = [page for page in drawn if "Retained until completion" in page]
    for text in (f"Work package {count:03}", "18,750.00", "3,555.00", "Payable 20,358.00 EUR", "20 % standard rate"):
        assert text in words(page)


@pytest.mark.parametrize("count", range(8, 30))
def test_the_way_to_pay_is_never_torn(count: int, theme: Theme) -> None:
    [page] = [page for page in pages(render_invoice(samples.long_invoice(count), theme)) if "How to pay" in page]
    assert "AT61 1904 3002 3457 3201" in page and "Reference" in page and "https://bill.nordlicht.example" in page


def test_a_line_longer_than_a_page_goes_on_over_the_next(theme: Theme) -> None:
    paragraphs = tuple(f"Paragraph {number} of a very thorough description that nobody will read to its end." for number in range(150))
    view = samples.invoice(
        (LineView(position="1", title="All of it", description=paragraphs, net="1.00"), LineView(position="2", title="Next", net="2.00"))
    )
    drawn = pages(render_invoice(view, theme))
    assert 2 < len(drawn) < 8
    whole = words(" ".join(drawn))
    assert all(words(text) in whole for text in paragraphs)
    assert "2 Next 2.00" in whole


def test_hundreds_of_sums_notes_and_facts_lose_nothing(theme: Theme) -> None:
    many = [str(number) for number in range(1000, 1300)]
    base = samples.invoice()
    view = msgspec.structs.replace(
        base,
        totals=tuple(TotalRowView(label=f"Sum {text}", amount=f"{text}.01") for text in many),
        facts=tuple(Fact(label=f"Fact {text}", value=f"Value {text}") for text in many),
        notes=tuple(f"Note {text}" for text in many),
        payment=PaymentView(title="Pay", facts=tuple(Fact(label=f"Bank {text}", value=f"Account {text}") for text in many)),
    )
    whole = words(" ".join(pages(render_invoice(view, theme))))
    for text in many:
        assert f"Sum {text} {text}.01" in whole
        assert f"Fact {text} Value {text}" in whole
        assert f"Note {text}" in whole
        assert f"Bank {text} Account {text}" in whole


def test_long_names_and_amounts_are_wrapped_or_made_smaller_not_cut(theme: Theme) -> None:
    huge = "92,233,720,368,547,758.07"
    name = "Donaudampfschifffahrtsgesellschaftskapitänswitwenversicherungsverein" * 4
    view = msgspec.structs.replace(
        samples.invoice((LineView(position="12345", title=name, quantity=huge, unit_price=huge, tax_rate="19.25 %", net=huge),)),
        buyer=PartyView(name=name, address=(name,)),
        seller=PartyView(name=name),
        headline=Fact(label="Payable", value=huge + " EUR"),
        totals=(
            TotalRowView(label="A rather long label of a sum that needs two lines in its column", amount=huge + " EUR", emphasis="strong"),
        ),
    )
    page = pages(render_invoice(view, theme))[0]
    joined = "".join(page.split())
    assert joined.count(name) >= 3
    assert joined.count(huge) >= 5
    assert right_edge(render_invoice(view, theme)) <= theme.right + 0.5


def right_edge(pdf: bytes) -> float:
    """The right edge of the ink on the first page, in points."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        text = document[0].get_textpage()
        return max(float(text.get_charbox(index)[2]) for index in range(text.count_chars()))
    finally:
        document.close()


def test_the_same_document_gives_the_same_bytes_here_and_in_another_process(theme: Theme) -> None:
    code = (
        "import sys, hashlib\n"
        "from tests.unit.documents import samples\n"
        "from tollgate.documents import *\n"
        "theme = load_theme(overrides=ThemeOverrides(logo=samples.logo(), link_hosts=frozenset({'bill.nordlicht.example'})))\n"
        "for kind, view in (('certificate', samples.certificate()), ('credit_note', samples.credit_note()), ('invoice', samples.long_invoice(40))):\n"
        "    print(hashlib.sha256(render(kind, encode(view), theme)).hexdigest())\n"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONHASHSEED": "77", "SOURCE_DATE_EPOCH": "1234567890", "TZ": "Asia/Tokyo"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = [
        hashlib.sha256(pdf).hexdigest()
        for pdf in (
            render_certificate(samples.certificate(), theme),
            render_credit_note(samples.credit_note(), theme),
            render_invoice(samples.long_invoice(40), theme),
        )
    ]
    assert answer.stdout.split() == here
    assert hashlib.sha256(render_invoice(samples.long_invoice(40), theme)).hexdigest() == here[2]


def test_other_content_gives_another_file_id(theme: Theme) -> None:
    one = PdfReader(BytesIO(render_invoice(samples.invoice(), theme)))
    two = PdfReader(BytesIO(render_invoice(msgspec.structs.replace(samples.invoice(), number="INV-2026-0043"), theme)))
    assert one.trailer["/ID"] != two.trailer["/ID"]


def test_metadata_language_and_creation_day(theme: Theme) -> None:
    reader = PdfReader(BytesIO(render_invoice(samples.invoice(), theme)))
    assert reader.metadata is not None
    assert reader.metadata.title == "Invoice INV-2026-0042"
    assert reader.metadata.author == "Nordlicht Studio GmbH"
    assert reader.metadata.subject == "Contract C-2026-014"
    assert str(reader.metadata["/CreationDate"]) == "D:20261124000000Z"
    root = reader.root_object
    assert str(root["/Lang"]) == "en"
    assert "/DisplayDocTitle" in str(root["/ViewerPreferences"].get_object())


def test_every_font_is_embedded_and_there_is_no_helvetica(theme: Theme) -> None:
    reader = PdfReader(BytesIO(render_certificate(samples.certificate(), theme)))
    fonts: list[Any] = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]  # type: ignore[index]
    assert fonts
    assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts)
    assert all("Inter" in font["/BaseFont"] for font in fonts)


def links(pdf: bytes) -> list[str]:
    return [str(note.get_object()["/A"]["/URI"]) for page in PdfReader(BytesIO(pdf)).pages for note in page.get("/Annots", [])]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://evil.example/pay",
        "https://bill.nordlicht.example@evil.example/pay",
        "https://user:pw@bill.nordlicht.example/pay",
        "https://bill.nordlicht.example.evil.example/pay",
        "https://bill.nordlicht.example:444/pay",
        "https://bill.nordlicht.example\\@evil.example/",
        "file:///etc/passwd",
        "https://[::1/pay",
        "//bill.nordlicht.example/pay",
    ],
)
def test_a_link_elsewhere_is_text_and_nothing_more(url: str, theme: Theme) -> None:
    view = msgspec.structs.replace(samples.invoice(), payment=PaymentView(title="Pay", link=PayLinkView(label="here", url=url)))
    pdf = render_invoice(view, theme)
    assert links(pdf) == []
    assert url in "".join(pages(pdf)[0].split("\n"))


def test_the_pay_link_is_clickable_only_when_its_host_is_ours(theme: Theme) -> None:
    assert links(render_invoice(samples.invoice(), theme)) == ["https://bill.nordlicht.example/pay/INV-2026-0042"]
    assert links(render_invoice(samples.invoice(), load_theme())) == []


@pytest.mark.parametrize("kind", SAMPLES)
def test_frozen_json_is_canonical_and_reads_back(kind: str) -> None:
    view = SAMPLES[kind]
    frozen = encode(view)
    assert decode(kind, frozen) == view
    assert encode(decode(kind, frozen)) == frozen
    members = list(json.loads(frozen))
    assert members == sorted(members)


@pytest.mark.parametrize(
    ("kind", "frozen"),
    [("statement", b"{}"), ("invoice", b"{}"), ("invoice", b"[]"), ("invoice", b"\xff"), ("certificate", encode(samples.invoice()))],
)
def test_what_is_no_frozen_document_is_refused(kind: str, frozen: bytes, theme: Theme) -> None:
    with pytest.raises(ValueError):
        render(kind, frozen, theme)


@pytest.mark.parametrize(
    "name",
    ["Γιώργος Παπαδόπουλος ΑΒΓ ώΰ", "Київ Їжак Ґанок Ёлка Ђорђе Љубав", "Łódź Říčany Őrség İstanbul Žižek Țăndărică ẞ", "Ελλάς ἀρχή"],
)
def test_latin_greek_and_cyrillic_are_drawn_and_extracted(name: str, theme: Theme) -> None:
    assert missing_glyphs(name, theme) == ""
    view = msgspec.structs.replace(samples.invoice(), buyer=PartyView(name=name, address=(name,)))
    pdf = render_invoice(view, theme)
    assert words(pages(pdf)[0]).count(name) == 2


def test_more_characters_than_one_subset_holds(theme: Theme) -> None:
    letters = (chr(code) for code in range(0x100, 0x530))
    alphabet = "".join(char for char in letters if char.isalpha() and clean(char) == char and not missing_glyphs(char, theme))
    assert len(alphabet) > 700
    parts = tuple(alphabet[start : start + 40] for start in range(0, len(alphabet), 40))
    drawn = "".join("".join(pages(render_invoice(msgspec.structs.replace(samples.invoice(), notes=parts), theme))).split())
    for part in parts:
        assert part in drawn


def test_what_a_font_lacks_is_named_and_shown_as_a_box(theme: Theme) -> None:
    assert missing_glyphs("漢字 and ع, 漢 again, fine", theme) == "漢字ع"
    view = msgspec.structs.replace(samples.invoice(), buyer=PartyView(name="A漢字B"))
    assert "A□□B" in pages(render_invoice(view, theme))[0]


def test_figures_are_as_wide_as_each_other(theme: Theme) -> None:
    for face in theme.faces.values():
        assert len({face.widths[digit] for digit in "0123456789"}) == 1
        assert face.widths["−"] == face.widths["+"]


def test_a_certificate_shows_hashes_and_decisions_in_full(theme: Theme) -> None:
    view: CertificateView = samples.certificate()
    whole = words(" ".join(pages(render_certificate(view, theme))))
    for item in view.delivered:
        assert item.sha256 in whole
    for fact in view.evidence:
        assert fact.value in whole
    assert "Recorded by Ilse Brandstätter, not signed by link" in whole


def test_a_credit_note_says_what_it_corrects(theme: Theme) -> None:
    view: CreditNoteView = samples.credit_note()
    drawn = words(pages(render_credit_note(view, theme))[0])
    assert (
        drawn.index("Credit note CN-2026-0003")
        < drawn.index("Corrects invoice INV-2026-0041 of 3 November 2026.")
        < drawn.index("Billed to")
    )


def test_a_document_without_optional_parts(theme: Theme) -> None:
    base: InvoiceView = samples.invoice()
    view = msgspec.structs.replace(
        base, headline=None, facts=(), columns=msgspec.structs.replace(base.columns, position=None, quantity=None, unit_price=None, tax_rate=None),
        lines=(), taxes=TaxTableView(label="VAT", base="Base", tax="Tax"), totals=(), notes=(), payment=None, footer=(),
    )  # fmt: skip
    assert "INV-2026-0042" in pages(render_invoice(view, theme))[0]
