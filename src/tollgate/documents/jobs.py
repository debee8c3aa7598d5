"""Render once: claim the frozen content, draw outside of any transaction, record bytes and hash (R12)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sqlalchemy import select, update

from tollgate import audit, clock
from tollgate.documents import load_theme, render
from tollgate.documents.models import Document
from tollgate.documents.news import DocumentRendered, RenderDocument
from tollgate.documents.service import logo_of, overrides_of
from tollgate.errors import NotFound
from tollgate.files import service as files
from tollgate.files.storage import Storage
from tollgate.jobs import Job, enqueue
from tollgate.jobs.worker import Handler, Run

PDF = "application/pdf"


def handlers(storage: Storage, rendered: Mapping[str, Handler] | None = None) -> dict[type[Job], Handler]:
    """This room's jobs. `rendered` says who hears that a document of a kind is there: `{"invoice": …, "certificate": …}`."""
    hearers = dict(rendered or {})

    async def render_document(run: Run, job: RenderDocument) -> None:
        async with run.db.reading(run.organization_id) as session:
            document = await session.get(Document, (run.organization_id, job.document_id))
        if document is None:
            raise NotFound
        if document.pdf_sha256_hex is not None:
            return
        frozen = document.theme_overrides
        name = logo_of(frozen)
        logo = await storage.get(run.organization_id, name) if name else None
        content = await asyncio.to_thread(_draw, document, logo)
        kept = await storage.put(run.organization_id, content)
        await _record(run, document, kept, len(content))

    async def document_rendered(run: Run, job: DocumentRendered) -> None:
        hearer = hearers.get(job.document_kind)
        if hearer is not None:
            await hearer(run, job)

    return {RenderDocument: render_document, DocumentRendered: document_rendered}


def _draw(document: Document, logo: bytes | None) -> bytes:
    theme = load_theme(document.theme, overrides_of(document.theme_overrides, logo))
    return render(document.kind, document.content.encode(), theme)


async def _record(run: Run, document: Document, sha256_hex: str, size: int) -> None:
    organization_id = run.organization_id
    async with run.record() as session:
        locked = select(Document.pdf_sha256_hex).where(Document.organization_id == organization_id, Document.id == document.id)
        if (await session.execute(locked.with_for_update())).scalar_one() is not None:
            # Two workers drew it; the bytes are the same, and the first has told everybody.
            return
        await files.keep(session, organization_id, sha256_hex, size, PDF)
        await session.execute(
            update(Document)
            .where(Document.organization_id == organization_id, Document.id == document.id)
            .values(pdf_sha256_hex=sha256_hex, pdf_size=size, rendered_at=clock.now())
            .execution_options(synchronize_session=False)
        )
        audit.record(session, "document.rendered", (document.kind, document.subject_id), kind=document.kind, pdf_sha256=sha256_hex)
        await enqueue(
            session,
            DocumentRendered(
                organization_id=organization_id, document_id=document.id, document_kind=document.kind, subject_id=document.subject_id
            ),
        )
