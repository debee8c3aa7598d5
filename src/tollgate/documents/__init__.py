"""Documents: finished text in, PDF bytes out. The only room that imports ReportLab.

Pure but for reading a theme's files: no clock, no locale, no database, nothing loaded from elsewhere. The same view, theme
and `RENDERER_VERSION` give the same bytes in any process (R12).
"""

from __future__ import annotations

from tollgate.documents.certificate import draw_certificate
from tollgate.documents.invoice import draw_invoice
from tollgate.documents.theme import RENDERER_VERSION, Theme, ThemeOverrides, load_theme, missing_glyphs, templates_folder
from tollgate.documents.views import CertificateView, CreditNoteView, DocumentView, InvoiceView, Kind, decode, encode

__all__ = [
    "RENDERER_VERSION",
    "CertificateView",
    "CreditNoteView",
    "DocumentView",
    "InvoiceView",
    "Kind",
    "Theme",
    "ThemeOverrides",
    "decode",
    "encode",
    "load_theme",
    "missing_glyphs",
    "render",
    "render_certificate",
    "render_credit_note",
    "render_invoice",
    "templates_folder",
]


def render_invoice(view: InvoiceView, theme: Theme) -> bytes:
    """The PDF of an invoice."""
    return draw_invoice(view, theme)


def render_credit_note(view: CreditNoteView, theme: Theme) -> bytes:
    """The PDF of a credit note."""
    return draw_invoice(view, theme)


def render_certificate(view: CertificateView, theme: Theme) -> bytes:
    """The PDF of a sign-off certificate."""
    return draw_certificate(view, theme)


def render(kind: str, frozen_json: bytes, theme: Theme) -> bytes:
    """The PDF of a document frozen by `encode` at issue (R12). Raises ValueError for an unknown kind or JSON that is no such view."""
    view = decode(kind, frozen_json)
    return draw_certificate(view, theme) if isinstance(view, CertificateView) else draw_invoice(view, theme)
