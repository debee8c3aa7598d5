"""Record what happened, chain it, prove it.

`record` only buffers. Just before the commit the rows are written and the chain's head is taken, as the last lock of
the transaction, so that writers queue for one moment only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.audit.catalogue import EVENTS
from tollgate.audit.models import AuditEvent, AuditHead
from tollgate.canonical import canonical_json
from tollgate.db.command import ActorKind
from tollgate.db.database import before_commit, command_of

GENESIS = bytes(32)


def record(session: AsyncSession, name: str, subject: tuple[str, UUID], *, contract_id: UUID | None = None, **data: Any) -> None:
    """Note a catalogued event about `subject` (kind, id). Raises `KeyError` or `ValueError` for what is not catalogued."""
    unknown = set(data) - EVENTS[name]
    if unknown:
        raise ValueError(f"{name} has no members {sorted(unknown)}")
    command = command_of(session)
    actor = {"kind": str(command.actor_kind), "id": str(command.actor_id or "")} if command else {"kind": str(ActorKind.SYSTEM), "id": ""}
    waiting: list[dict[str, Any]] = session.info.setdefault("audit", [])
    waiting.append(
        {
            "name": name,
            "subject_kind": subject[0],
            "subject_id": subject[1],
            "contract_id": contract_id,
            "happened_at": clock.now(),
            "actor": actor,
            "data": _plain(data),
        }
    )
    before_commit(session, _write, order=100)


async def _write(session: AsyncSession) -> None:
    waiting: list[dict[str, Any]] = session.info.pop("audit", [])
    seq, previous = await _take_head(session)
    rows = []
    for event in waiting:
        seq += 1
        content = content_of(seq, event)
        digest = chained(previous, content)
        rows.append(
            {
                "organization_id": _organization(session),
                "seq": seq,
                **{key: event[key] for key in ("name", "subject_kind", "subject_id", "contract_id", "happened_at")},
                "content": content,
                "previous_hash": previous,
                "hash": digest,
            }
        )
        previous = digest
    await session.execute(insert(AuditEvent), rows)
    await session.execute(
        text("update audit_head set seq = :seq, hash = :hash where organization_id = :organization_id"),
        {"seq": seq, "hash": previous, "organization_id": _organization(session)},
    )


async def _take_head(session: AsyncSession) -> tuple[int, bytes]:
    lock = select(AuditHead.seq, AuditHead.hash).where(AuditHead.organization_id == _organization(session)).with_for_update()
    found = (await session.execute(lock)).one_or_none()
    if found is None:
        await session.execute(
            text("insert into audit_head (organization_id, seq, hash) values (:organization_id, 0, :hash) on conflict do nothing"),
            {"organization_id": _organization(session), "hash": GENESIS},
        )
        found = (await session.execute(lock)).one()
    return found.seq, found.hash


def _organization(session: AsyncSession) -> UUID:
    organization_id: UUID = session.info["organization_id"]
    return organization_id


def content_of(seq: int, event: dict[str, Any]) -> str:
    """The canonical JSON that an event's hash covers."""
    return canonical_json(
        {
            "seq": seq,
            "name": event["name"],
            "at": event["happened_at"].isoformat(),
            "actor": event["actor"],
            "subject": {"kind": event["subject_kind"], "id": str(event["subject_id"])},
            "contract_id": str(event["contract_id"] or ""),
            "data": event["data"],
        }
    ).decode()


def chained(previous: bytes, content: str) -> bytes:
    """SHA-256 over the previous hash and the content: changing, cutting or reordering any event changes all later ones."""
    return hashlib.sha256(previous + content.encode()).digest()


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain_value(value) for key, value in data.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain_value(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk along the chain found. `broken_at` is the first event that does not fit, None when all do."""

    events: int
    head_sha256: bytes
    broken_at: int | None


async def verify(session: AsyncSession, organization_id: UUID) -> Verification:
    """Walk the whole chain of one organization: gaps, edits, reorders and a head that disagrees are found."""
    previous, seq = GENESIS, 0
    stream = await session.stream(
        select(AuditEvent).where(AuditEvent.organization_id == organization_id).order_by(AuditEvent.seq).execution_options(yield_per=1000)
    )
    async for event in stream.scalars():
        seq += 1
        fits = event.seq == seq and event.previous_hash == previous and chained(previous, event.content) == event.hash
        if not fits or not _columns_agree(event):
            return Verification(seq, previous, event.seq)
        previous = event.hash
    head = (await session.execute(select(AuditHead).where(AuditHead.organization_id == organization_id))).scalar_one_or_none()
    expected = (head.seq, head.hash) if head else (0, GENESIS)
    return Verification(seq, previous, None if expected == (seq, previous) else seq + 1)


def _columns_agree(event: AuditEvent) -> bool:
    content = json.loads(event.content)
    return bool(
        content["seq"] == event.seq
        and content["name"] == event.name
        and content["subject"] == {"kind": event.subject_kind, "id": str(event.subject_id)}
        and content["contract_id"] == str(event.contract_id or "")
        and datetime.fromisoformat(content["at"]) == event.happened_at
    )


async def head(session: AsyncSession, organization_id: UUID) -> bytes:
    """The chain's present head, for anchors kept outside the database."""
    found = await session.execute(select(AuditHead.hash).where(AuditHead.organization_id == organization_id))
    return found.scalar_one_or_none() or GENESIS
