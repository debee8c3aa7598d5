"""`/audit-events`: the trail as it is, and the proof that it is whole."""

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, Parameter
from msgspec import Struct
from sqlalchemy import select

from tollgate import audit
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.audit.models import AuditEvent
from tollgate.db.database import Database
from tollgate.http.bodies import MOST_ITEMS, ListBody, decode_cursor, page_of


class AuditEventBody(Struct, kw_only=True):
    """One event. `data` holds ids, words and hashes, never personal data; `hash` covers all of it and the event before."""

    seq: int
    name: str
    at: datetime
    actor: dict[str, str]
    subject: dict[str, str]
    contract_id: UUID | None
    data: dict[str, Any]
    hash: str

    @classmethod
    def of(cls, row: AuditEvent) -> "AuditEventBody":
        """The row as JSON."""
        content = json.loads(row.content)
        return cls(
            seq=row.seq,
            name=row.name,
            at=row.happened_at,
            actor=content["actor"],
            subject=content["subject"],
            contract_id=row.contract_id,
            data=content["data"],
            hash=row.hash.hex(),
        )


class VerificationBody(Struct, kw_only=True):
    """`whole` is true when every event fits; else `broken_at` is the first one that does not."""

    whole: bool
    events: int
    head: str
    broken_at: int | None


@get("/audit-events", operation_id="ListAuditEvents", guards=[requires(Permission.READ)])
async def list_events(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    contract_id: FromQuery[UUID | None] = None,
    subject_id: FromQuery[UUID | None] = None,
    limit: FromQuery[Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]] = 50,
    cursor: FromQuery[str | None] = None,
) -> ListBody[AuditEventBody]:
    """Newest first."""
    wanted = select(AuditEvent).where(AuditEvent.organization_id == caller.organization_id)
    if contract_id is not None:
        wanted = wanted.where(AuditEvent.contract_id == contract_id)
    if subject_id is not None:
        wanted = wanted.where(AuditEvent.subject_id == subject_id)
    if cursor is not None:
        (before,) = decode_cursor(cursor, int)
        wanted = wanted.where(AuditEvent.seq < before)
    async with db.reading(caller.organization_id) as session:
        rows = (await session.execute(wanted.order_by(AuditEvent.seq.desc()).limit(limit + 1))).scalars().all()
    kept, following = page_of(rows, limit, lambda row: (row.seq,))
    return ListBody([AuditEventBody.of(row) for row in kept], following)


@get("/audit-events/verification", operation_id="VerifyAuditTrail", guards=[requires(Permission.READ)])
async def verify_trail(caller: NamedDependency[Caller], db: NamedDependency[Database]) -> VerificationBody:
    """Walk the whole chain."""
    async with db.reading(caller.organization_id) as session:
        found = await audit.verify(session, caller.organization_id)
    return VerificationBody(whole=found.broken_at is None, events=found.events, head=found.head_sha256.hex(), broken_at=found.broken_at)


api_router = Router(path="/api/v1", route_handlers=[list_events, verify_trail], tags=["Audit"])
