"""Money received, where it went, and the gateway's side of it."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Date, Index, Integer, LargeBinary, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant, TenantRow, belongs_to, one_of
from tollgate.db.types import Instant, at, currency, minor


class GatewayEndpoint(Base):
    """Directory: which organization a webhook path belongs to, known before its signature is checked."""

    __tablename__ = "gateway_endpoint"

    endpoint: Mapped[str] = mapped_column(String(40), primary_key=True)
    organization_id: Mapped[UUID]


class GatewayAccount(TenantRow, Base):
    """The organization's account at Stripe. Secrets are encrypted with a key derived from SECRET_KEY."""

    __tablename__ = "gateway_account"

    endpoint: Mapped[str] = mapped_column(String(40))
    account_id: Mapped[str] = mapped_column(String(80))
    live: Mapped[bool] = mapped_column(Boolean)
    secret_key_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    webhook_secret_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[at]
    removed_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (Index("uq_gateway_account_active", "organization_id", unique=True, postgresql_where=text("removed_at is null")),)


class GatewayCustomer(Tenant, Base):
    """Our client's customer object at the gateway."""

    __tablename__ = "gateway_customer"

    client_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[at]

    __table_args__ = (belongs_to("client"),)


class GatewayStep(TenantRow, Base):
    """One call to the gateway: its idempotency key and frozen body are stored before it is made."""

    __tablename__ = "gateway_step"

    invoice_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str] = mapped_column(String(40))
    idempotency_key: Mapped[str] = mapped_column(String(120))
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), server_default="planned")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    first_called_at: Mapped[datetime | None] = mapped_column(Instant())
    object_id: Mapped[str | None] = mapped_column(String(80))
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    """Of a step that takes something off what is asked for."""
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[at]
    done_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        belongs_to("invoice"),
        one_of("state", "planned", "done", "refused"),
        Index("uq_gateway_step_name", "organization_id", "invoice_id", "name", unique=True),
        Index("uq_gateway_step_idempotency_key", "organization_id", "idempotency_key", unique=True),
    )


class WebhookEvent(TenantRow, Base):
    """The inbox: each of the gateway's events once, whatever the number of deliveries. A signal, never the truth."""

    __tablename__ = "webhook_event"

    account_id: Mapped[str] = mapped_column(String(80))
    event_id: Mapped[str] = mapped_column(String(120))
    type: Mapped[str] = mapped_column(String(80))
    object_id: Mapped[str] = mapped_column(String(120))
    occurred_at: Mapped[at]
    received_at: Mapped[at]
    found_by: Mapped[str] = mapped_column(String(10))
    handled_at: Mapped[datetime | None] = mapped_column(Instant())
    outcome: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (
        one_of("found_by", "webhook", "poll"),
        Index("uq_webhook_event_id", "organization_id", "account_id", "event_id", unique=True),
    )


class GatewayPoll(Tenant, Base):
    """How far the reconciliation poll has read the gateway's list of events."""

    __tablename__ = "gateway_poll"

    account_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    last_event_at: Mapped[at]
    polled_at: Mapped[at]


class Payment(TenantRow, Base):
    """Money received once. A provider's payment is keyed by its payment object, so it is never applied twice (R14)."""

    __tablename__ = "payment"

    client_id: Mapped[UUID]
    invoice_id: Mapped[UUID | None]
    """The invoice on whose page it was paid; None for a bank transfer, which says that in words at most."""
    method: Mapped[str] = mapped_column(String(20))
    provider_payment_id: Mapped[str | None] = mapped_column(String(120))
    currency: Mapped[currency]
    amount_minor: Mapped[minor]
    refunded_minor: Mapped[minor] = mapped_column(server_default="0")
    """What went back: refunds that succeeded and disputes that were lost, at most the amount."""
    received_on: Mapped[date] = mapped_column(Date)
    reference: Mapped[str] = mapped_column(String(140), server_default="")
    state: Mapped[str] = mapped_column(String(10), server_default="received")
    reversed_on: Mapped[date | None] = mapped_column(Date)
    """The day on which it was taken back."""
    reversal_reason: Mapped[str | None] = mapped_column(String(500))
    created_by: Mapped[UUID | None]
    created_at: Mapped[at]

    __table_args__ = (
        belongs_to("client"),
        belongs_to("invoice"),
        one_of("method", "stripe", "bank_transfer"),
        one_of("state", "received", "reversed"),
        CheckConstraint("(state = 'reversed') = (reversed_on is not null)", name="reversed_on_a_day"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("refunded_minor between 0 and amount_minor", name="refund_within_amount"),
        Index("uq_payment_provider", "organization_id", "provider_payment_id", unique=True),
        Index("ix_payment_received", "organization_id", "received_on", "id"),
        Index("ix_payment_client", "organization_id", "client_id"),
        Index("ix_payment_invoice", "organization_id", "invoice_id"),
    )


class PaymentAllocation(TenantRow, Base):
    """How much of a payment settles which invoice; taken back by a negative row, never edited."""

    __tablename__ = "payment_allocation"

    payment_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    amount_minor: Mapped[minor]
    created_at: Mapped[at]

    __table_args__ = (
        belongs_to("payment"),
        belongs_to("invoice"),
        CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
        Index("ix_payment_allocation_invoice", "organization_id", "invoice_id"),
        Index("ix_payment_allocation_payment", "organization_id", "payment_id"),
    )


class PaymentAttempt(TenantRow, Base):
    """A try to pay that did not bring money at once: a bank debit on its way, or one that was declined or bounced. Only goes forward."""

    __tablename__ = "payment_attempt"

    invoice_id: Mapped[UUID]
    provider_attempt_id: Mapped[str] = mapped_column(String(120))
    currency: Mapped[currency]
    amount_minor: Mapped[minor]
    state: Mapped[str] = mapped_column(String(10))
    code: Mapped[str] = mapped_column(String(60), server_default="")
    """Why it failed, in the provider's word."""
    attempted_at: Mapped[at]
    created_at: Mapped[at]

    __table_args__ = (
        belongs_to("invoice"),
        one_of("state", "processing", "failed", "arrived"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index("uq_payment_attempt_provider", "organization_id", "provider_attempt_id", unique=True),
        Index("ix_payment_attempt_invoice", "organization_id", "invoice_id"),
    )


class PaymentRefund(TenantRow, Base):
    """Money that the provider sends back, keyed by its refund. Only goes forward: a refund can still fail after it succeeded."""

    __tablename__ = "payment_refund"

    payment_id: Mapped[UUID]
    provider_refund_id: Mapped[str] = mapped_column(String(120))
    currency: Mapped[currency]
    amount_minor: Mapped[minor]
    state: Mapped[str] = mapped_column(String(10))
    refunded_on: Mapped[date] = mapped_column(Date)
    created_at: Mapped[at]

    __table_args__ = (
        belongs_to("payment"),
        one_of("state", "pending", "succeeded", "failed"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index("uq_payment_refund_provider", "organization_id", "provider_refund_id", unique=True),
        Index("ix_payment_refund_payment", "organization_id", "payment_id"),
    )


class PaymentDispute(TenantRow, Base):
    """A payment that the payer's bank questions, keyed by the provider's dispute. Only goes forward; a lost one can still be won."""

    __tablename__ = "payment_dispute"

    payment_id: Mapped[UUID]
    provider_dispute_id: Mapped[str] = mapped_column(String(120))
    currency: Mapped[currency]
    amount_minor: Mapped[minor]
    reason: Mapped[str] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(10))
    opened_on: Mapped[date] = mapped_column(Date)
    respond_by: Mapped[date | None] = mapped_column(Date)
    closed_on: Mapped[date | None] = mapped_column(Date)
    """The day on which its end was seen: the provider does not say when that was."""
    created_at: Mapped[at]

    __table_args__ = (
        belongs_to("payment"),
        one_of("state", "open", "lost", "won"),
        CheckConstraint("(state = 'open') = (closed_on is null)", name="closed_on_a_day"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index("uq_payment_dispute_provider", "organization_id", "provider_dispute_id", unique=True),
        Index("ix_payment_dispute_payment", "organization_id", "payment_id"),
    )
