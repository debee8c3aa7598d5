"""Directory tables (routing only, outside row-level security) and the tenant's own members and keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, TenantRow, one_of
from tollgate.db.types import Instant, at, sha256


class Identity(Base):
    """A person who can sign in; may belong to several organizations."""

    __tablename__ = "identity"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    """Lower case."""
    password_hash: Mapped[str] = mapped_column(Text)
    """Argon2id."""
    created_at: Mapped[at]


class Membership(Base):
    """Where an identity may go; what it may do there is on the member's row."""

    __tablename__ = "membership"

    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"), primary_key=True)
    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[UUID]


class SessionRow(Base):
    """One signed-in browser. Only the hash of its cookie is kept; unknown ids are refused, never adopted."""

    __tablename__ = "session"

    id_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    identity_id: Mapped[UUID] = mapped_column(ForeignKey("identity.id"))
    organization_id: Mapped[UUID]
    member_id: Mapped[UUID]
    created_at: Mapped[at]
    expires_at: Mapped[at]

    __table_args__ = (Index("ix_session_identity", "identity_id"), Index("ix_session_member", "organization_id", "member_id"))


class ApiKeyRoute(Base):
    """Which organization an API key belongs to, found by the hash of its secret."""

    __tablename__ = "api_key_route"

    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    organization_id: Mapped[UUID]
    api_key_id: Mapped[UUID]


class Attempt(Base):
    """Attempts at something guessable, counted per hashed bucket and window of time."""

    __tablename__ = "attempt"

    bucket: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    window_at: Mapped[at] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(Integer)


class Member(TenantRow, Base):
    """A person of the organization with a role."""

    __tablename__ = "member"

    identity_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(254))
    role: Mapped[str] = mapped_column(String(20))
    locale: Mapped[str] = mapped_column(String(16), server_default="en")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[at]
    removed_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        one_of("role", "viewer", "account_manager", "finance", "admin"),
        Index("uq_member_identity", "organization_id", "identity_id", unique=True),
    )


class ApiKey(TenantRow, Base):
    """A key for programs: a role's rights, narrowed by scopes. The secret is shown once and never kept."""

    __tablename__ = "api_key"

    name: Mapped[str] = mapped_column(String(120))
    prefix: Mapped[str] = mapped_column(String(16))
    """The first characters, to recognise it by."""
    role: Mapped[str] = mapped_column(String(20))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String(40)))
    secret_sha256: Mapped[sha256]
    created_by: Mapped[UUID | None]
    created_at: Mapped[at]
    revoked_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (one_of("role", "viewer", "account_manager", "finance", "admin"),)
