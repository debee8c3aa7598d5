"""The list of organizations: what timers and commands go through, one organization at a time."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def organizations(session: AsyncSession) -> list[UUID]:
    """Ids of all organizations, the oldest first. Routing only: nothing else of them is readable without a tenant."""
    rows = await session.execute(text("select organization_id from directory_organizations()"))
    return [row.organization_id for row in rows]
