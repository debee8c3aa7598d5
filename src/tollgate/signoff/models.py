"""Review rounds, the links by which they are decided, and the decisions. Only hashes of tokens are stored (R10)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Index, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant, TenantRow, belongs_to, one_of
from tollgate.db.types import Instant, at, currency, minor, sha256


class ReviewRound(TenantRow, Base):
    """One delivery and its decisions: scope, amount and deliverables frozen under `content_sha256`."""

    __tablename__ = "review_round"

    contract_id: Mapped[UUID]
    milestone_id: Mapped[UUID]
    contract_version_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(String(20), server_default="open")
    policy: Mapped[str] = mapped_column(String(10))
    required: Mapped[int] = mapped_column(SmallInteger)
    amount_minor: Mapped[minor]
    currency: Mapped[currency]
    message: Mapped[str] = mapped_column(Text, server_default="")
    content: Mapped[str] = mapped_column(Text)
    content_sha256: Mapped[sha256]
    delivered_by: Mapped[UUID | None]
    opened_at: Mapped[at]
    closed_at: Mapped[datetime | None] = mapped_column(Instant())
    reopened_because: Mapped[str | None] = mapped_column(Text)
    """Why an approved round was taken back, as the client is told."""

    __table_args__ = (
        belongs_to("contract"),
        belongs_to("milestone"),
        belongs_to("contract_version"),
        one_of("state", "open", "approved", "changes_requested", "withdrawn", "cancelled", "reopened"),
        CheckConstraint("(state = 'open') = (closed_at is null)", name="closed_since"),
        Index("uq_review_round_number", "organization_id", "milestone_id", "number", unique=True),
        Index("uq_review_round_open", "organization_id", "milestone_id", unique=True, postgresql_where=text("state = 'open'")),
    )


class RoundApprover(Tenant, Base):
    """Who may decide in a round, as named when it was delivered."""

    __tablename__ = "round_approver"

    round_id: Mapped[UUID] = mapped_column(primary_key=True)
    contact_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)

    __table_args__ = (belongs_to("review_round", "round_id"), belongs_to("contact"))


class ApprovalLink(TenantRow, Base):
    """One contact's right to decide in one round."""

    __tablename__ = "approval_link"

    round_id: Mapped[UUID]
    contact_id: Mapped[UUID]
    created_at: Mapped[at]
    expires_at: Mapped[at]
    revoked_at: Mapped[datetime | None] = mapped_column(Instant())
    revoked_because: Mapped[str | None] = mapped_column(String(20))
    used_at: Mapped[datetime | None] = mapped_column(Instant())
    confirmation_due: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """A copied token opened it: a code mailed to the approver must be entered before it can decide (R10)."""
    code_sha256: Mapped[bytes | None]
    code_expires_at: Mapped[datetime | None] = mapped_column(Instant())
    code_attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")

    __table_args__ = (
        belongs_to("review_round", "round_id"),
        belongs_to("contact"),
        one_of("revoked_because", "revoked", "withdrawn", "superseded", "round_closed"),
        CheckConstraint("(revoked_at is null) = (revoked_because is null)", name="revoked_whole"),
        Index(
            "uq_approval_link_right", "organization_id", "round_id", "contact_id", unique=True, postgresql_where=text("revoked_at is null")
        ),
    )


class LinkToken(TenantRow, Base):
    """One mailed (or copied) copy of a link. The token itself is never stored, only the hash of its nonce."""

    __tablename__ = "link_token"

    approval_link_id: Mapped[UUID | None]
    invoice_link_id: Mapped[UUID | None]
    nonce_sha256: Mapped[sha256]
    sent_by: Mapped[str] = mapped_column(String(6))
    copied_by: Mapped[UUID | None]
    """The member who copied it; the certificate names them."""
    created_at: Mapped[at]
    expires_at: Mapped[at]

    __table_args__ = (
        belongs_to("approval_link"),
        belongs_to("invoice_link"),
        one_of("sent_by", "mail", "copy"),
        CheckConstraint("(approval_link_id is null) <> (invoice_link_id is null)", name="one_link"),
        CheckConstraint("(sent_by = 'copy') = (copied_by is not null)", name="copied_whole"),
        Index("ix_link_token_approval_link", "organization_id", "approval_link_id"),
        Index("ix_link_token_invoice_link", "organization_id", "invoice_link_id"),
    )


class LinkOpen(TenantRow, Base):
    """One opening of a link's page. Append-only, written apart from the page's own read-only transaction."""

    __tablename__ = "link_open"

    approval_link_id: Mapped[UUID | None]
    invoice_link_id: Mapped[UUID | None]
    opened_at: Mapped[at]
    ip_hash: Mapped[sha256]
    user_agent: Mapped[str] = mapped_column(String(200))

    __table_args__ = (
        belongs_to("approval_link"),
        belongs_to("invoice_link"),
        CheckConstraint("(approval_link_id is null) <> (invoice_link_id is null)", name="one_link"),
        Index("ix_link_open_approval_link", "organization_id", "approval_link_id"),
        Index("ix_link_open_invoice_link", "organization_id", "invoice_link_id"),
    )


class SignOff(TenantRow, Base):
    """One approver's decision in a round. Append-only, but for the personal columns that can be erased (R23)."""

    __tablename__ = "sign_off"

    round_id: Mapped[UUID]
    contact_id: Mapped[UUID | None]
    approval_link_id: Mapped[UUID | None]
    decision: Mapped[str] = mapped_column(String(20))
    how: Mapped[str] = mapped_column(String(10))
    content_sha256: Mapped[sha256]
    signed_name: Mapped[str | None] = mapped_column(String(120))
    reason: Mapped[str | None] = mapped_column(Text)
    ip: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(200))
    recorded_by: Mapped[UUID | None]
    document_sha256_hex: Mapped[str | None] = mapped_column(String(64, collation="C"))
    document_file_name: Mapped[str | None] = mapped_column(String(200))
    copied_by: Mapped[UUID | None]
    decided_at: Mapped[at]

    __table_args__ = (
        belongs_to("review_round", "round_id"),
        one_of("decision", "approve", "request_changes"),
        one_of("how", "link", "recorded"),
        CheckConstraint("(how = 'link') = (approval_link_id is not null)", name="by_link"),
        CheckConstraint("(how = 'recorded') = (recorded_by is not null and document_sha256_hex is not null)", name="recorded_whole"),
        CheckConstraint("decision <> 'request_changes' or reason is not null", name="reason_given"),
        Index("uq_sign_off_decision", "organization_id", "round_id", "contact_id", unique=True),
    )


class Colleague(TenantRow, Base):
    """A colleague ("not me") whom an approver proposed instead; a member confirms or declines."""

    __tablename__ = "colleague"

    round_id: Mapped[UUID]
    approval_link_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(254))
    state: Mapped[str] = mapped_column(String(10), server_default="proposed")
    created_at: Mapped[at]
    decided_at: Mapped[datetime | None] = mapped_column(Instant())
    decided_by: Mapped[UUID | None]

    __table_args__ = (
        belongs_to("review_round", "round_id"),
        belongs_to("approval_link"),
        one_of("state", "proposed", "confirmed", "declined"),
    )
