"""What a document says, finished: every text is translated and every amount, date and rate is formatted already.

A view is frozen as canonical JSON when its document is issued and rendered from that JSON ever after (R12), so members are
only ever added, with a default. No rule, locale or clock is consulted below this line.
"""

from enum import StrEnum
from typing import Literal

import msgspec

Texts = tuple[str, ...]


class View(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all view structs: immutable, and strict about unknown members when read back."""


class Kind(StrEnum):
    """The documents this room draws."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    CERTIFICATE = "certificate"


class DocumentInfo(View, frozen=True, kw_only=True):
    """What the file says about itself, in its metadata and at the edge of each page."""

    language: str
    """BCP 47 tag of the text: `en`, `de-AT`."""
    direction: Literal["ltr", "rtl"] = "ltr"
    title: str
    """Shown as the window title of a viewer: `Invoice INV-2026-0042`."""
    author: str
    subject: str = ""
    dated: str = ""
    """ISO day (`2026-11-24`) written as the creation date of the file; empty leaves a constant."""
    page_of: str
    """`Page {page} of {pages}`, translated; both names are replaced."""
    running_title: str = ""
    """Top of pages 2 and on: `Invoice INV-2026-0042`."""


class Fact(View, frozen=True, kw_only=True):
    """A labelled value: `Due date` and `24 December 2026`."""

    label: str
    value: str


class PartyView(View, frozen=True, kw_only=True):
    """Seller or buyer as copied onto the document at issue."""

    label: str = ""
    name: str
    address: Texts = ()
    tax_ids: Texts = ()
    contact: Texts = ()


class ColumnsView(View, frozen=True, kw_only=True):
    """Headings of the line table. A column whose heading is None is not drawn."""

    position: str | None = None
    title: str
    quantity: str | None = None
    unit_price: str | None = None
    tax_rate: str | None = None
    net: str


class LineView(View, frozen=True, kw_only=True):
    """One billed line. `description` is a tuple of paragraphs."""

    position: str = ""
    title: str
    description: Texts = ()
    quantity: str = ""
    unit_price: str = ""
    tax_rate: str = ""
    net: str


class TaxRowView(View, frozen=True, kw_only=True):
    """One tax group of R2: what it is, its base, its tax."""

    label: str
    base: str
    tax: str


class TaxTableView(View, frozen=True, kw_only=True):
    """The tax groups with the three headings."""

    label: str
    base: str
    tax: str
    rows: tuple[TaxRowView, ...] = ()


class TotalRowView(View, frozen=True, kw_only=True):
    """One sum. `strong` is the one that the reader looks for (payable); `muted` is beside the point (retained)."""

    label: str
    amount: str
    emphasis: Literal["normal", "strong", "muted"] = "normal"


class PayLinkView(View, frozen=True, kw_only=True):
    """Where to pay. `url` holds no secret (R10) and is made clickable only for a host that the theme's overrides allow."""

    label: str
    url: str


class PaymentView(View, frozen=True, kw_only=True):
    """How to pay: bank details as facts, paragraphs, and the pay page."""

    title: str
    facts: tuple[Fact, ...] = ()
    paragraphs: Texts = ()
    link: PayLinkView | None = None


class InvoiceView(View, frozen=True, kw_only=True):
    """An invoice as issued. `headline` is the one figure at the top (amount and its due date)."""

    info: DocumentInfo
    title: str
    number: str
    headline: Fact | None = None
    headline_note: str = ""
    facts: tuple[Fact, ...] = ()
    seller: PartyView
    buyer: PartyView
    columns: ColumnsView
    lines: tuple[LineView, ...]
    taxes: TaxTableView | None = None
    totals: tuple[TotalRowView, ...]
    notes: Texts = ()
    payment: PaymentView | None = None
    footer: tuple[Texts, ...] = ()


class CreditNoteView(InvoiceView, frozen=True, kw_only=True):
    """A credit note: an invoice's skeleton that says which document it corrects, from when, and why."""

    corrects: str
    """`Corrects invoice INV-2026-0041 of 3 November 2026.`"""
    reason: str = ""


class DeliveredView(View, frozen=True, kw_only=True):
    """One deliverable: a file with its SHA-256, a link, or a note."""

    kind: str
    name: str
    details: Texts = ()
    hash_label: str = ""
    sha256: str = ""


class DecisionView(View, frozen=True, kw_only=True):
    """One approver's decision: who typed which name, in which role, when (with zone), and how it came in."""

    outcome: str
    name: str
    role: str = ""
    instant: str
    how: str
    """`by signed link`, or `recorded by …, not signed by link`."""
    details: Texts = ()
    """Anything more: terms accepted, who copied the link, a comment."""


class SectionView(View, frozen=True, kw_only=True):
    """A heading over paragraphs."""

    title: str
    paragraphs: Texts = ()


class CertificateView(View, frozen=True, kw_only=True):
    """A sign-off certificate: what was promised, delivered and decided, and the hashes that pin it down."""

    info: DocumentInfo
    title: str
    number: str = ""
    seller: PartyView
    statement: str
    headline: Fact | None = None
    headline_note: str = ""
    facts: tuple[Fact, ...] = ()
    promised: SectionView
    delivered_title: str
    delivered: tuple[DeliveredView, ...] = ()
    decisions_title: str
    decisions: tuple[DecisionView, ...] = ()
    evidence_title: str
    evidence: tuple[Fact, ...] = ()
    """Content hash of the round, anchor hash of the audit trail, …: drawn in full, never shortened."""
    notes: Texts = ()
    footer: tuple[Texts, ...] = ()


DocumentView = InvoiceView | CreditNoteView | CertificateView

VIEW_OF: dict[Kind, type[InvoiceView] | type[CreditNoteView] | type[CertificateView]] = {
    Kind.INVOICE: InvoiceView,
    Kind.CREDIT_NOTE: CreditNoteView,
    Kind.CERTIFICATE: CertificateView,
}


def encode(view: DocumentView) -> bytes:
    """Canonical JSON of a view (members sorted, UTF-8, no spaces): the bytes to freeze and hash at issue (R12)."""
    return msgspec.json.encode(view, order="sorted")


def decode(kind: str, frozen_json: bytes) -> DocumentView:
    """The view that `encode` froze. Raises ValueError for an unknown kind and for JSON that is no such view."""
    return msgspec.json.decode(frozen_json, type=VIEW_OF[Kind(kind)])
