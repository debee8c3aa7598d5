"""Name a stored content in the database."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.database import Database
from tollgate.errors import Unavailable
from tollgate.files.models import StoredFile
from tollgate.files.storage import Storage

BATCH = 500


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


async def compare(db: Database, storage: Storage, organization_id: UUID) -> tuple[int, list[str]]:
    """How many files the rows name, and which of them the store lacks or keeps with another size, as words.

    Only sizes are compared: reading every content would take hours, and `Storage.get` compares the checksum at each reading.
    The store is asked with no transaction open.
    """
    looked_at, broken, after = 0, list[str](), ""
    while True:
        async with db.reading(organization_id) as session:
            found = await session.execute(
                select(StoredFile.sha256_hex, StoredFile.size)
                .where(StoredFile.organization_id == organization_id, StoredFile.sha256_hex > after)
                .order_by(StoredFile.sha256_hex)
                .limit(BATCH)
            )
            rows = found.all()
        for name, size in rows:
            problem = await problem_of(storage, organization_id, name, size)
            if problem:
                broken.append(f"{name} of {organization_id}: {problem}")
        looked_at += len(rows)
        if len(rows) < BATCH:
            return looked_at, broken
        after = rows[-1].sha256_hex


async def problem_of(storage: Storage, organization_id: UUID, sha256_hex: str, size: int) -> str:
    """Why the store does not have this content with this size; empty when it has."""
    try:
        kept = await storage.size(organization_id, sha256_hex)
    except Unavailable as error:
        return str(error)
    if kept is None:
        return "not there"
    return "" if kept == size else f"{kept} bytes instead of {size}"
