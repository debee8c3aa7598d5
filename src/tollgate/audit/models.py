"""The audit trail: append-only, chained by hashes per organization."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant
from tollgate.db.types import at, sha256


class AuditEvent(Tenant, Base):
    """One thing that happened. `content` is canonical JSON and is what `hash` covers, with `previous_hash`."""

    __tablename__ = "audit_event"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(80))
    subject_kind: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[UUID]
    contract_id: Mapped[UUID | None]
    happened_at: Mapped[at]
    content: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[sha256]
    hash: Mapped[sha256]

    __table_args__ = (
        CheckConstraint("seq > 0", name="seq_positive"),
        Index("ix_audit_event_subject", "organization_id", "subject_id", "seq"),
        Index("ix_audit_event_contract", "organization_id", "contract_id", "seq"),
    )


class AuditHead(Tenant, Base):
    """Where the chain ends: locked last in every transaction, so that writers queue only for its final moment."""

    __tablename__ = "audit_head"

    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[sha256]
