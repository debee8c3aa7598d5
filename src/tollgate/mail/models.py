"""Mails to send: template and arguments, never a token and never a body."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, TenantRow, one_of
from tollgate.db.types import Instant, at


class MailMessage(TenantRow, Base):
    """One mail. Its Message-ID is fixed when it is asked for, so a repeat after a crash is recognisable."""

    __tablename__ = "mail_message"

    template: Mapped[str] = mapped_column(String(60))
    arguments: Mapped[dict[str, object]] = mapped_column(JSONB)
    """Ids only (R23); the sender loads names and mints fresh tokens when it sends (R10)."""
    contact_id: Mapped[UUID | None]
    member_id: Mapped[UUID | None]
    contract_id: Mapped[UUID | None]
    message_id: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(10), server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[at]
    accepted_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        one_of("state", "waiting", "accepted", "refused", "dropped"),
        Index("uq_mail_message_message_id", "organization_id", "message_id", unique=True),
        Index("ix_mail_message_state", "organization_id", "state", "created_at"),
        Index("ix_mail_message_contract", "organization_id", "contract_id", "created_at"),
    )
