"""Name a stored content in the database."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.files.models import StoredFile


async def keep(session: AsyncSession, organization_id: UUID, sha256_hex: str, size: int, content_type: str) -> None:
    """Insert the row of a content that `Storage.put` has made safe; a content that is known already stays as it is."""
    row = {
        "organization_id": organization_id,
        "sha256_hex": sha256_hex,
        "size": size,
        "content_type": content_type[:120],
        "created_at": clock.now(),
    }
    await session.execute(insert(StoredFile).values(row).on_conflict_do_nothing())
