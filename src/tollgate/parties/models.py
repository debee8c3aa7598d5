"""The seller, its clients and their contacts: the rows that hold personal data and can be erased (R23)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Index, Integer, LargeBinary, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant, TenantRow, belongs_to, one_of
from tollgate.db.types import Instant, at, currency, percent


class Addressed:
    """Where a party is: the address as it is printed."""

    country: Mapped[str] = mapped_column(String(2, collation="C"))
    line1: Mapped[str] = mapped_column(String(200), server_default="")
    line2: Mapped[str] = mapped_column(String(200), server_default="")
    postal_code: Mapped[str] = mapped_column(String(20), server_default="")
    city: Mapped[str] = mapped_column(String(120), server_default="")
    region: Mapped[str] = mapped_column(String(120), server_default="")
    tax_id: Mapped[str] = mapped_column(String(40), server_default="")
    email: Mapped[str] = mapped_column(String(254), server_default="")


class Organization(Tenant, Addressed, Base):
    """The seller: every row of the database belongs to exactly one."""

    __tablename__ = "organization"

    legal_name: Mapped[str] = mapped_column(String(200))
    registration_number: Mapped[str] = mapped_column(String(80), server_default="")
    phone: Mapped[str] = mapped_column(String(40), server_default="")
    website: Mapped[str] = mapped_column(String(200), server_default="")
    bank_name: Mapped[str] = mapped_column(String(120), server_default="")
    iban: Mapped[str] = mapped_column(String(34, collation="C"), server_default="")
    bic: Mapped[str] = mapped_column(String(11, collation="C"), server_default="")
    locale: Mapped[str] = mapped_column(String(16), server_default="en")
    time_zone: Mapped[str] = mapped_column(String(60), server_default="UTC")
    currency: Mapped[currency]
    invoice_number_format: Mapped[str] = mapped_column(String(60), server_default="INV-{year}-{seq:04}")
    credit_note_number_format: Mapped[str] = mapped_column(String(60), server_default="CN-{year}-{seq:04}")
    default_tax_category: Mapped[str] = mapped_column(String(2), server_default="S")
    default_tax_rate_percent: Mapped[percent] = mapped_column(server_default="0")
    default_payment_days: Mapped[int] = mapped_column(SmallInteger, server_default="30")
    theme: Mapped[str] = mapped_column(String(60), server_default="classic")
    accent: Mapped[str] = mapped_column(String(7), server_default="#1f5f8b")
    logo_sha256_hex: Mapped[str | None] = mapped_column(String(64, collation="C"))
    stripe_sends_mail: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    privacy_salt: Mapped[bytes] = mapped_column(LargeBinary(32))
    """Salts the hashes of personal data in chains and logs; destroying it makes them meaningless (R23)."""
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[at]

    __table_args__ = (
        CheckConstraint("char_length(legal_name) > 0", name="legal_name_given"),
        CheckConstraint("accent ~ '^#[0-9a-f]{6}$'", name="accent_form"),
        CheckConstraint("default_tax_rate_percent between 0 and 100", name="tax_rate_bounded"),
        CheckConstraint("default_payment_days between 0 and 365", name="payment_days_bounded"),
        one_of("default_tax_category", "S", "Z", "E"),
    )


class Client(TenantRow, Addressed, Base):
    """The business that buys."""

    __tablename__ = "client"

    legal_name: Mapped[str] = mapped_column(String(200))
    locale: Mapped[str] = mapped_column(String(16), server_default="en")
    currency: Mapped[currency]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[at]
    archived_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        CheckConstraint("char_length(legal_name) > 0", name="legal_name_given"),
        Index("ix_client_name", "organization_id", "legal_name", "id"),
    )


class Contact(TenantRow, Base):
    """A person at the client: gets mails and signs by link, never has an account."""

    __tablename__ = "contact"

    client_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(254))
    is_approver: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    is_billing_contact: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    locale: Mapped[str] = mapped_column(String(16), server_default="en")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[at]
    removed_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        belongs_to("client"),
        Index("ix_contact_client", "organization_id", "client_id"),
        Index(
            "uq_contact_email",
            "organization_id",
            "client_id",
            text("lower(email)"),
            unique=True,
            postgresql_where=text("removed_at is null"),
        ),
    )
