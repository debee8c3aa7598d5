"""PDF objects whose bytes are made before the document is: ReportLab only numbers them."""

from __future__ import annotations

import zlib
from typing import Any

from reportlab.pdfbase import pdfdoc


class Ready(pdfdoc.PDFObject):  # type: ignore[misc]
    """`template` with each `%b` replaced by the number this document gave a reference, then `tail` as it is."""

    __RefOnly__ = 1

    def __init__(self, template: bytes, *references: Any, tail: bytes = b"") -> None:
        self.template = template
        self.references = references
        self.tail = tail

    def format(self, document: Any) -> bytes:
        """ReportLab's hook."""
        if not self.references:
            return self.template + self.tail
        return self.template % tuple(reference.format(document) for reference in self.references) + self.tail


class FastDeflate:
    """Page streams at zlib level 1: a fifth larger than level 6 and three times as fast; they are small beside the fonts."""

    pdfname = "FlateDecode"

    @staticmethod
    def encode(content: str | bytes) -> bytes:
        """ReportLab's hook."""
        return zlib.compress(content.encode("latin-1") if isinstance(content, str) else content, 1)


def packed(content: bytes) -> bytes:
    """Compressed at level 9: for what is made once and copied into many documents."""
    return zlib.compress(content, 9)


def stream(body: bytes, entries: str) -> tuple[bytes, bytes]:
    """Dictionary (a template for `Ready`) and tail of a stream whose `body` is compressed already."""
    head = f"<< {entries} /Filter /FlateDecode /Length {len(body)} >>\nstream\n"
    return head.encode(), body + b"\nendstream\n"
