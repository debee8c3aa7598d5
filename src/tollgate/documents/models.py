"""Documents as frozen on issue: canonical JSON in, PDF bytes once."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, TenantRow, one_of
from tollgate.db.types import Instant, at, sha256


class Document(TenantRow, Base):
    """One immutable document (R12): what it says, in which design, and the one PDF made of it.

    A trigger lets `pdf_sha256_hex`, `pdf_size` and `rendered_at` be written once and nothing else ever.
    """

    __tablename__ = "document"

    kind: Mapped[str] = mapped_column(String(20))
    subject_id: Mapped[UUID]
    title: Mapped[str] = mapped_column(String(200))
    """Also the download's name, without `.pdf`."""
    locale: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    """Canonical JSON of the view struct that `documents.render` takes."""
    content_sha256: Mapped[sha256]
    theme: Mapped[str] = mapped_column(String(60))
    theme_overrides: Mapped[str] = mapped_column(Text, server_default="{}")
    renderer_version: Mapped[str] = mapped_column(String(20))
    pdf_sha256_hex: Mapped[str | None] = mapped_column(String(64, collation="C"))
    pdf_size: Mapped[int | None]
    created_at: Mapped[at]
    rendered_at: Mapped[datetime | None] = mapped_column(Instant())
    retain_until: Mapped[date]

    __table_args__ = (
        one_of("kind", "invoice", "credit_note", "certificate"),
        CheckConstraint("(pdf_sha256_hex is null) = (rendered_at is null)", name="rendered_whole"),
        Index("uq_document_subject", "organization_id", "kind", "subject_id", unique=True),
    )
