"""Work and news of this room."""

from __future__ import annotations

from uuid import UUID

from tollgate.jobs import Job


class RenderDocument(Job, frozen=True, kw_only=True):
    """Make the one PDF of a frozen document (R12)."""

    kind = "documents.render"
    document_id: UUID


class DocumentRendered(Job, frozen=True, kw_only=True):
    """A document's PDF is safe in the store: whoever it belongs to may mail it now."""

    kind = "documents.rendered"
    document_id: UUID
    document_kind: str
    """`invoice`, `credit_note` or `certificate`."""
    subject_id: UUID
