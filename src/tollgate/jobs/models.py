"""The job table: the outbox itself, and its hold. Ids and kinds only, never personal data; outside row-level security."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Index, Integer, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, one_of
from tollgate.db.types import Instant, at


class JobRow(Base):
    """One piece of work to do outside the transaction that asked for it."""

    __tablename__ = "job"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(80))
    arguments: Mapped[dict[str, object]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(String(10), server_default="ready")
    run_at: Mapped[at]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer, server_default="40")
    faults: Mapped[int] = mapped_column(Integer, server_default="0")
    """Attempts that ended in a bug or a dead worker, not in an outage: eight of them are enough."""
    fence: Mapped[int] = mapped_column(BigInteger, server_default="0")
    leased_until: Mapped[datetime | None] = mapped_column(Instant())
    dedupe: Mapped[str | None] = mapped_column(String(120))
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[at]
    finished_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        one_of("state", "ready", "running", "done", "dead"),
        Index("ix_job_due", "organization_id", "run_at", postgresql_where=text("state in ('ready', 'running')")),
        Index("ix_job_state_run_at", "state", "run_at"),
        Index("uq_job_dedupe", "organization_id", "kind", "dedupe", unique=True, postgresql_where=text("state = 'ready'")),
    )


class OutboxHold(Base):
    """The last hold of the outbox; it stands while `released_at` is empty. At most one row, written by a restore."""

    __tablename__ = "outbox_hold"

    one: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    held_at: Mapped[at]
    backup_made_at: Mapped[at]
    released_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (CheckConstraint("one", name="one_row"),)
