"""Who asks for what, and the promise that asking twice does it once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant
from tollgate.db.types import at, sha256
from tollgate.errors import Invalid, _


class ActorKind(StrEnum):
    """What kind of caller stands behind a command."""

    MEMBER = "member"
    API_KEY = "api_key"
    CONTACT = "contact"
    """A client's contact, known by a signed link."""
    SYSTEM = "system"
    """A job or the clock."""
    OPERATOR = "operator"
    """Somebody at the command line of the server."""


@dataclass(frozen=True, slots=True)
class Command:
    """One request for a verb. Verbs take it as their second argument, after the database."""

    organization_id: UUID
    actor_kind: ActorKind
    actor_id: UUID | None = None
    role: str = "viewer"
    """A word of `access.rules.Role`; what the actor may do was checked by the route's guard."""
    verb: str = ""
    """Method and route template; with actor and key it names the idempotency row."""
    key: str | None = None
    """`Idempotency-Key`, or a form's nonce; None where the caller gave none."""
    request_sha256: bytes = b""
    ip: str = ""
    user_agent: str = ""

    @classmethod
    def system(cls, organization_id: UUID) -> Command:
        """The clock, a job: no person."""
        return cls(organization_id, ActorKind.SYSTEM, role="admin")

    @classmethod
    def operator(cls, organization_id: UUID) -> Command:
        """The command line."""
        return cls(organization_id, ActorKind.OPERATOR, role="admin")


class IdempotencyKey(Tenant, Base):
    """One row per command with a key, written before anything else in its transaction. Kept 30 days."""

    __tablename__ = "idempotency_key"

    actor: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    verb: Mapped[str] = mapped_column(String(200))
    request_sha256: Mapped[sha256]
    resource_id: Mapped[UUID | None]
    status: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[at]

    __table_args__ = (CheckConstraint("char_length(key) > 0", name="key_not_empty"),)


class Replayed(Exception):
    """The command was carried out before: render its resource anew, under its first status."""

    def __init__(self, resource_id: UUID, status: int) -> None:
        super().__init__(f"already carried out: {resource_id}")
        self.resource_id = resource_id
        self.status = status


class KeyReused(Invalid):
    """The same idempotency key came with another body."""

    slug = "idempotency-key-reused"
    title = _("This idempotency key was used for another request")


@dataclass(slots=True)
class Answer:
    """What a verb made, for the idempotency row."""

    resource_id: UUID
    status: int
    at: datetime
