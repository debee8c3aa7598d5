"""Invoices and credit notes: numbered and immutable once issued (R11, R12)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Date, Index, Integer, Numeric, SmallInteger, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant, TenantRow, belongs_to, one_of
from tollgate.db.types import Instant, at, currency, minor


class NumberSeries(Tenant, Base):
    """The counter of one series: locked last in the issuing transaction, so numbers have no gap and no repeat."""

    __tablename__ = "number_series"

    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    key: Mapped[str] = mapped_column(String(60, collation="C"), primary_key=True)
    """The format with its year filled in: `INV-2026-{seq:04}`."""
    last_seq: Mapped[int] = mapped_column(Integer)
    last_issued_on: Mapped[date] = mapped_column(Date)

    __table_args__ = (one_of("kind", "invoice", "credit_note"), CheckConstraint("last_seq > 0", name="seq_positive"))


class Invoice(TenantRow, Base):
    """A request for money. A draft has no number; from issue on only its payment facts move (trigger)."""

    __tablename__ = "invoice"

    kind: Mapped[str] = mapped_column(String(20), server_default="milestone")
    state: Mapped[str] = mapped_column(String(14), server_default="draft")
    contract_id: Mapped[UUID]
    client_id: Mapped[UUID]
    number: Mapped[str | None] = mapped_column(String(26))
    series_key: Mapped[str | None] = mapped_column(String(60, collation="C"))
    series_seq: Mapped[int | None]
    issued_on: Mapped[date | None] = mapped_column(Date)
    supplied_on: Mapped[date | None] = mapped_column(Date)
    """The day of supply (the tax point): when the milestone was approved."""
    due_on: Mapped[date | None] = mapped_column(Date)
    currency: Mapped[currency]
    price_basis: Mapped[str] = mapped_column(String(5))
    net_minor: Mapped[minor]
    tax_minor: Mapped[minor]
    gross_minor: Mapped[minor]
    prepaid_minor: Mapped[minor] = mapped_column(server_default="0")
    rounding_minor: Mapped[minor] = mapped_column(server_default="0")
    amount_due_minor: Mapped[minor]
    retained_minor: Mapped[minor] = mapped_column(server_default="0")
    payable_minor: Mapped[minor]
    paid_minor: Mapped[minor] = mapped_column(server_default="0")
    credited_minor: Mapped[minor] = mapped_column(server_default="0")
    """Credited off what was open."""
    written_off_minor: Mapped[minor] = mapped_column(server_default="0")
    created_by: Mapped[UUID | None]
    created_at: Mapped[at]
    issued_at: Mapped[datetime | None] = mapped_column(Instant())
    sent_at: Mapped[datetime | None] = mapped_column(Instant())
    """When the mail with the document was accepted."""
    voided_at: Mapped[datetime | None] = mapped_column(Instant())
    void_reason: Mapped[str | None] = mapped_column(String(500))
    stripe_invoice_id: Mapped[str | None] = mapped_column(String(80))
    stripe_hosted_url: Mapped[str | None] = mapped_column(String(1000))
    stripe_step: Mapped[str] = mapped_column(String(20), server_default="none")
    """How far the hand-over to Stripe has come; `docs/domain.md` lists the words."""
    stripe_problem: Mapped[str | None] = mapped_column(String(500))
    """What somebody has to look at, in English; readers see it in their language, by its code and facts."""
    stripe_problem_code: Mapped[str | None] = mapped_column(String(40))
    stripe_problem_facts: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    pending_minor: Mapped[minor] = mapped_column(server_default="0")
    """Bank debits on their way: no money yet, and no reminder either (R14)."""
    disputed_on: Mapped[date | None] = mapped_column(Date)
    """Set while a payment of it is disputed: no reminder and no interest."""
    dispute_reason: Mapped[str | None] = mapped_column(String(60))
    declined_at: Mapped[datetime | None] = mapped_column(Instant())
    """When the last payment failed that did: a fact beside the state."""
    decline_code: Mapped[str | None] = mapped_column(String(60))
    version: Mapped[int] = mapped_column(Integer, server_default="1")

    __table_args__ = (
        belongs_to("contract"),
        belongs_to("client"),
        one_of("kind", "milestone"),
        one_of("state", "draft", "issued", "partly_paid", "paid", "void", "credited"),
        one_of("price_basis", "net", "gross"),
        one_of(
            "stripe_step",
            "none",
            "waiting",
            "customer",
            "draft",
            "lines",
            "compared",
            "finalized",
            "sent",
            "voided",
            "not_needed",
            "stopped",
            "below_minimum",
        ),
        CheckConstraint("pending_minor >= 0", name="pending_not_negative"),
        CheckConstraint("(disputed_on is null) = (dispute_reason is null)", name="disputed_with_reason"),
        CheckConstraint("(declined_at is null) = (decline_code is null)", name="declined_with_code"),
        CheckConstraint("gross_minor = net_minor + tax_minor", name="gross_is_net_and_tax"),
        CheckConstraint("amount_due_minor = gross_minor - prepaid_minor + rounding_minor", name="amount_due_adds_up"),
        CheckConstraint("payable_minor = amount_due_minor - retained_minor and payable_minor >= 0", name="payable_adds_up"),
        CheckConstraint("paid_minor >= 0 and credited_minor >= 0 and written_off_minor >= 0", name="settlement_not_negative"),
        CheckConstraint("paid_minor + credited_minor + written_off_minor <= payable_minor", name="never_over_settled"),
        CheckConstraint(
            "(state = 'draft') = (number is null) and (number is null) = (series_key is null)"
            " and (number is null) = (series_seq is null) and (number is null) = (issued_on is null)"
            " and (number is null) = (issued_at is null) and (number is null) = (due_on is null)",
            name="draft_has_no_number",
        ),
        CheckConstraint("state <> 'paid' or paid_minor + credited_minor + written_off_minor = payable_minor", name="paid_means_settled"),
        CheckConstraint("(state = 'void') = (voided_at is not null)", name="void_since"),
        CheckConstraint("state <> 'void' or (paid_minor = 0 and credited_minor = 0)", name="void_unpaid"),
        Index("uq_invoice_number", "organization_id", "number", unique=True),
        Index("uq_invoice_series", "organization_id", "series_key", "series_seq", unique=True),
        Index("uq_invoice_stripe", "organization_id", "stripe_invoice_id", unique=True),
        Index("ix_invoice_newest", "organization_id", "created_at", "id"),
        Index("ix_invoice_contract", "organization_id", "contract_id"),
        Index("ix_invoice_client_due", "organization_id", "client_id", "due_on"),
    )


class InvoiceLine(TenantRow, Base):
    """One line. `live` ends when its invoice is void or fully credited by a correction; nothing else ever changes."""

    __tablename__ = "invoice_line"

    invoice_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(SmallInteger)
    milestone_id: Mapped[UUID | None]
    round_id: Mapped[UUID | None]
    round_sha256: Mapped[bytes | None]
    """Content hash of the round that was signed: what is billed is what was approved."""
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, server_default="")
    quantity: Mapped[Decimal] = mapped_column(Numeric(12, 4))
    unit_price_minor: Mapped[minor]
    net_minor: Mapped[minor]
    tax_category: Mapped[str] = mapped_column(String(2))
    tax_rate_percent: Mapped[Decimal] = mapped_column(Numeric(9, 6))
    live: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))

    __table_args__ = (
        belongs_to("invoice"),
        belongs_to("milestone"),
        belongs_to("review_round", "round_id"),
        CheckConstraint(
            "(milestone_id is null) = (round_id is null) and (round_id is null) = (round_sha256 is null)", name="approved_whole"
        ),
        CheckConstraint("unit_price_minor >= 0", name="unit_price_not_negative"),
        Index("uq_invoice_line_position", "organization_id", "invoice_id", "position", unique=True),
        Index("uq_invoice_line_live", "organization_id", "milestone_id", "round_id", unique=True, postgresql_where=text("live")),
    )


class InvoiceTax(Tenant, Base):
    """Tax of one group on one invoice: rounded once (R2)."""

    __tablename__ = "invoice_tax"

    invoice_id: Mapped[UUID] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(String(2), primary_key=True)
    rate_percent: Mapped[Decimal] = mapped_column(Numeric(9, 6), primary_key=True)
    base_minor: Mapped[minor]
    tax_minor: Mapped[minor]

    __table_args__ = (belongs_to("invoice"),)


class CreditNote(TenantRow, Base):
    """The only correction of a sent invoice. Append-only."""

    __tablename__ = "credit_note"

    invoice_id: Mapped[UUID]
    contract_id: Mapped[UUID]
    client_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(16))
    number: Mapped[str] = mapped_column(String(26))
    series_key: Mapped[str] = mapped_column(String(60, collation="C"))
    series_seq: Mapped[int]
    issued_on: Mapped[date] = mapped_column(Date)
    currency: Mapped[currency]
    net_minor: Mapped[minor]
    tax_minor: Mapped[minor]
    gross_minor: Mapped[minor]
    rounding_minor: Mapped[minor] = mapped_column(server_default="0")
    payable_minor: Mapped[minor]
    from_open_minor: Mapped[minor]
    from_retained_minor: Mapped[minor] = mapped_column(server_default="0")
    from_paid_minor: Mapped[minor]
    """Becomes client credit."""
    reason: Mapped[str] = mapped_column(String(500))
    created_by: Mapped[UUID | None]
    created_at: Mapped[at]
    sent_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        belongs_to("invoice"),
        belongs_to("contract"),
        belongs_to("client"),
        one_of("kind", "correction"),
        CheckConstraint("gross_minor = net_minor + tax_minor", name="gross_is_net_and_tax"),
        CheckConstraint("payable_minor = gross_minor + rounding_minor", name="payable_adds_up"),
        CheckConstraint("from_open_minor + from_retained_minor + from_paid_minor = payable_minor", name="takes_add_up"),
        Index("uq_credit_note_number", "organization_id", "number", unique=True),
        Index("uq_credit_note_series", "organization_id", "series_key", "series_seq", unique=True),
        Index("uq_credit_note_correction", "organization_id", "invoice_id", unique=True, postgresql_where=text("kind = 'correction'")),
    )


class CreditNoteLine(TenantRow, Base):
    """What of one invoice line is taken back. Append-only."""

    __tablename__ = "credit_note_line"

    credit_note_id: Mapped[UUID]
    invoice_line_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(SmallInteger)
    title: Mapped[str] = mapped_column(String(200))
    net_minor: Mapped[minor]
    tax_category: Mapped[str] = mapped_column(String(2))
    tax_rate_percent: Mapped[Decimal] = mapped_column(Numeric(9, 6))

    __table_args__ = (belongs_to("credit_note"), belongs_to("invoice_line"))


class CreditNoteTax(Tenant, Base):
    """Tax of one group on one credit note. Append-only."""

    __tablename__ = "credit_note_tax"

    credit_note_id: Mapped[UUID] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(String(2), primary_key=True)
    rate_percent: Mapped[Decimal] = mapped_column(Numeric(9, 6), primary_key=True)
    base_minor: Mapped[minor]
    tax_minor: Mapped[minor]

    __table_args__ = (belongs_to("credit_note"),)


class BillingBlock(Tenant, Base):
    """Why an approved milestone could not be invoiced: visible under "Needs me" until the missing field is saved (R18)."""

    __tablename__ = "billing_block"

    milestone_id: Mapped[UUID] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(String(300))
    pointer: Mapped[str] = mapped_column(String(120))
    """The first field that is wrong: `/seller/tax_id`, `/buyer/address/city`."""
    created_at: Mapped[at]

    __table_args__ = (belongs_to("milestone"),)


class InvoiceLink(TenantRow, Base):
    """A contact's way to an invoice's page; its tokens are `link_token` rows."""

    __tablename__ = "invoice_link"

    invoice_id: Mapped[UUID]
    contact_id: Mapped[UUID]
    created_at: Mapped[at]
    expires_at: Mapped[at]
    revoked_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        belongs_to("invoice"),
        belongs_to("contact"),
        Index(
            "uq_invoice_link_right", "organization_id", "invoice_id", "contact_id", unique=True, postgresql_where=text("revoked_at is null")
        ),
    )
