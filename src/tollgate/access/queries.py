"""Reading members and API keys of one organization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.access.models import ApiKey, Member
from tollgate.access.rules import Role
from tollgate.errors import NotFound, _


@dataclass(frozen=True, slots=True)
class Place:
    """An organization where a person may go."""

    organization_id: UUID
    member_id: UUID
    name: str


async def members(
    session: AsyncSession, organization_id: UUID, *, limit: int = 200, after: tuple[datetime, UUID] | None = None
) -> Sequence[Member]:
    """Members who were not removed, oldest first."""
    wanted = select(Member).where(Member.organization_id == organization_id, Member.removed_at.is_(None))
    if after is not None:
        wanted = wanted.where(tuple_(Member.created_at, Member.id) > after)
    return (await session.execute(wanted.order_by(Member.created_at, Member.id).limit(limit))).scalars().all()


async def member(session: AsyncSession, organization_id: UUID, member_id: UUID, *, lock: bool = False) -> Member:
    """One member. Raises `NotFound`; a removed one is gone."""
    wanted = select(Member).where(Member.organization_id == organization_id, Member.id == member_id, Member.removed_at.is_(None))
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(_("There is no such member"))
    return found


async def names_of(session: AsyncSession, organization_id: UUID, member_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Names by member id, those of removed members too: what they did stays theirs."""
    rows = await session.execute(select(Member.id, Member.name).where(Member.organization_id == organization_id, Member.id.in_(member_ids)))
    return {row.id: row.name for row in rows}


async def admins_for_update(session: AsyncSession, organization_id: UUID) -> Sequence[UUID]:
    """Ids of all admins, locked, so that two of them cannot remove each other at once."""
    wanted = select(Member.id).where(Member.organization_id == organization_id, Member.role == str(Role.ADMIN), Member.removed_at.is_(None))
    return (await session.execute(wanted.order_by(Member.id).with_for_update())).scalars().all()


async def api_keys(
    session: AsyncSession, organization_id: UUID, *, limit: int = 200, after: tuple[datetime, UUID] | None = None
) -> Sequence[ApiKey]:
    """Keys that work, newest first."""
    wanted = select(ApiKey).where(ApiKey.organization_id == organization_id, ApiKey.revoked_at.is_(None))
    if after is not None:
        wanted = wanted.where(tuple_(ApiKey.created_at, ApiKey.id) < after)
    return (await session.execute(wanted.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit))).scalars().all()


async def api_key(session: AsyncSession, organization_id: UUID, key_id: UUID, *, lock: bool = False) -> ApiKey:
    """One key, revoked ones too. Raises `NotFound`."""
    wanted = select(ApiKey).where(ApiKey.organization_id == organization_id, ApiKey.id == key_id)
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(_("There is no such API key"))
    return found


async def places(session: AsyncSession, identity_id: UUID) -> list[Place]:
    """Every organization that a person is a member of. Runs in a directory session."""
    rows = await session.execute(text("select * from access_organizations(:identity)"), {"identity": identity_id})
    return [Place(row.organization_id, row.member_id, row.organization_name) for row in rows]


async def organization_name(session: AsyncSession, organization_id: UUID) -> str:
    """What the organization is called; a new password may not be made of it."""
    statement = text("select legal_name from organization where organization_id = :organization_id")
    return (await session.execute(statement, {"organization_id": organization_id})).scalar_one_or_none() or ""
