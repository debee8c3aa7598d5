"""What a reader gets, taken apart: the elements of a page, its texts, the parts of a mail, the words and actions of a PDF."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pypdfium2  # type: ignore[import-untyped, unused-ignore]
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject, StreamObject

ACTIONS = frozenset(
    (
        "/JavaScript",
        "/JS",
        "/Launch",
        "/EmbeddedFile",
        "/EmbeddedFiles",
        "/OpenAction",
        "/AA",
        "/AcroForm",
        "/XFA",
        "/RichMedia",
        "/GoToR",
        "/SubmitForm",
    )
)
"""Names with which a PDF does something by itself or carries something along."""


LEADS = frozenset({"href", "src", "action", "formaction", "data", "poster", "srcset", "xlink:href", "hx-get", "hx-post", "background"})


@dataclass(slots=True)
class Outline:
    """A page without its words: every element with the names of its attributes, in order; and the words apart."""

    elements: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    """Where its links, forms and pictures lead."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = Outline()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.elements.append(f"<{tag} {' '.join(sorted(name for name, _value in attrs))}>")
        self.found.texts += [value for _name, value in attrs if value]
        self.found.addresses += [value or "" for name, value in attrs if name in LEADS]

    def handle_endtag(self, tag: str) -> None:
        self.found.elements.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.found.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.found.elements.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.found.elements.append(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self.found.elements.append(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        self.found.elements.append(f"<![{data}]>")


def outline(html: str) -> Outline:
    """The page as a browser takes it apart."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.found


def one_line(text: str) -> str:
    """Without what a layout may change: every run of blanks is one space."""
    return re.sub(r"\s+", " ", text).strip()


def sent(message: EmailMessage) -> EmailMessage:
    """A mail as the receiver's program reads it: serialized, then parsed."""
    found = message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def parts_of(message: EmailMessage) -> tuple[str, str]:
    """Text and HTML of a mail."""
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and html is not None
    return str(plain.get_content()), str(html.get_content())


def pdf_text(content: bytes) -> str:
    """Every word of a PDF, with what stands in its properties."""
    document = pypdfium2.PdfDocument(content)
    try:
        pages = [page.get_textpage().get_text_range() for page in document]
        return "\n".join([*pages, *map(str, document.get_metadata_dict().values())])
    finally:
        document.close()


def pdf_actions(content: bytes) -> set[str]:
    """What a PDF would do or carry beside its pages, and the addresses that it links to."""
    found: set[str] = set()
    reader = PdfReader(io.BytesIO(content))
    for number in range(1, len(reader.xref[0]) + 1) if reader.xref.get(0) else []:
        for node in _nodes(reader.get_object(number)):
            found |= ACTIONS & set(node)
            if node.get("/S") in ("/URI", "/JavaScript", "/Launch", "/GoToR"):
                found.add(f"{node['/S']} {node.get('/URI', '')}")
    return found


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, DictionaryObject | StreamObject):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, ArrayObject):
        for inner in value:
            yield from _nodes(inner)
