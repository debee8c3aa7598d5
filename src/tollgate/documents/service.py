"""Freeze a document on issue, ask for its PDF, and hand the PDF out once it is there (R12)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.documents.models import Document
from tollgate.documents.news import RenderDocument
from tollgate.documents.theme import RENDERER_VERSION, ThemeOverrides
from tollgate.documents.views import DocumentView, encode
from tollgate.errors import Conflict, NotFound, _
from tollgate.files.storage import Storage
from tollgate.jobs import enqueue

RETRY_AFTER_SECONDS = 2

KEEP_YEARS = {"AT": 7, "CH": 10, "DE": 8, "DK": 5, "ES": 6, "FR": 10, "GB": 6, "IE": 6, "IT": 10, "NL": 7, "SE": 7, "US": 7}
"""How long a seller of that country keeps its invoices, counted from the end of the year of issue; elsewhere ten years."""


class BeingRendered(Conflict):
    """The PDF is being made; ask again in a moment."""

    slug = "being-rendered"
    title = _("The PDF is being made")

    def __init__(self) -> None:
        super().__init__(_("The PDF is being made; ask again in a moment"), retry_after=RETRY_AFTER_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a document is drawn in: an organization's design and what it puts on top. Frozen with the document."""

    theme: str
    accent: str | None = None
    logo_sha256_hex: str | None = None
    """The logo in the file store."""
    link_hosts: tuple[str, ...] = ()
    """Hosts whose links may be clickable: our own."""

    def frozen(self) -> str:
        """As the document's row keeps it."""
        return json.dumps(
            {"accent": self.accent, "logo_sha256_hex": self.logo_sha256_hex, "link_hosts": sorted(self.link_hosts)},
            sort_keys=True,
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInfo:
    """A document as other rooms see it; `pdf_sha256_hex` is None until it is rendered."""

    id: UUID
    kind: str
    subject_id: UUID
    title: str
    content_sha256: bytes
    pdf_sha256_hex: str | None
    pdf_size: int | None
    created_at: datetime
    rendered_at: datetime | None

    @property
    def file_name(self) -> str:
        """The download's name."""
        return f"{self.title}.pdf"


def retain_until(country: str, issued_on: date) -> date:
    """The last day on which the document must still be there (R23)."""
    return date(issued_on.year + KEEP_YEARS.get(country, 10), 12, 31)


def overrides_of(frozen: str, logo: bytes | None) -> ThemeOverrides:
    """What `Design.frozen` wrote, ready to draw with."""
    kept = json.loads(frozen)
    return ThemeOverrides(accent=kept.get("accent"), logo=logo, link_hosts=frozenset(kept.get("link_hosts", ())))


def logo_of(frozen: str) -> str | None:
    """Name of the logo in the file store, if the document has one."""
    name = json.loads(frozen).get("logo_sha256_hex")
    return str(name) if name else None


async def freeze(
    session: AsyncSession,
    *,
    organization_id: UUID,
    kind: str,
    subject_id: UUID,
    title: str,
    locale: str,
    view: DocumentView,
    design: Design,
    retain_until: date,
) -> DocumentInfo:
    """Keep what the document says for ever and ask for its PDF; nothing can be mailed before that is made (R12)."""
    content = encode(view)
    row = {
        "organization_id": organization_id,
        "id": uuid7(),
        "kind": kind,
        "subject_id": subject_id,
        "title": title,
        "locale": locale,
        "content": content.decode(),
        "content_sha256": hashlib.sha256(content).digest(),
        "theme": design.theme,
        "theme_overrides": design.frozen(),
        "renderer_version": RENDERER_VERSION,
        "created_at": clock.now(),
        "retain_until": retain_until,
    }
    await session.execute(insert(Document).values(row))
    await enqueue(session, RenderDocument(organization_id=organization_id, document_id=row["id"]))  # type: ignore[arg-type]
    return DocumentInfo(
        id=row["id"],  # type: ignore[arg-type]
        kind=kind,
        subject_id=subject_id,
        title=title,
        content_sha256=row["content_sha256"],  # type: ignore[arg-type]
        pdf_sha256_hex=None,
        pdf_size=None,
        created_at=row["created_at"],  # type: ignore[arg-type]
        rendered_at=None,
    )


async def info(session: AsyncSession, organization_id: UUID, kind: str, subject_id: UUID) -> DocumentInfo | None:
    """The document of a subject, None before it is issued."""
    found = (
        await session.execute(
            select(Document).where(Document.organization_id == organization_id, Document.kind == kind, Document.subject_id == subject_id)
        )
    ).scalar_one_or_none()
    if found is None:
        return None
    return DocumentInfo(
        id=found.id,
        kind=found.kind,
        subject_id=found.subject_id,
        title=found.title,
        content_sha256=found.content_sha256,
        pdf_sha256_hex=found.pdf_sha256_hex,
        pdf_size=found.pdf_size,
        created_at=found.created_at,
        rendered_at=found.rendered_at,
    )


async def pdf(db: Database, storage: Storage, organization_id: UUID, kind: str, subject_id: UUID) -> tuple[str, bytes]:
    """File name and bytes. Raises `NotFound` where there is no document, `BeingRendered` before its PDF is made."""
    async with db.reading(organization_id) as session:
        document = await info(session, organization_id, kind, subject_id)
    if document is None:
        raise NotFound(_("There is no document yet"))
    if document.pdf_sha256_hex is None:
        raise BeingRendered
    return document.file_name, await storage.get(organization_id, document.pdf_sha256_hex)
