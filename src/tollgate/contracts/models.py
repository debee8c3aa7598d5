"""Contracts and milestones. Every verb on anything below a contract locks the contract's row first."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Date, Index, Integer, Numeric, SmallInteger, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant, TenantRow, belongs_to, one_of
from tollgate.db.types import Instant, at, currency, minor, sha256

BOUND = 10**15
"""No amount reaches this many minor units."""


class Contract(TenantRow, Base):
    """An agreement with a value, one currency, terms and a schedule of milestones."""

    __tablename__ = "contract"

    client_id: Mapped[UUID]
    title: Mapped[str] = mapped_column(String(200))
    reference: Mapped[str] = mapped_column(String(60), server_default="")
    purchase_order: Mapped[str] = mapped_column(String(60), server_default="")
    buyer_reference: Mapped[str] = mapped_column(String(60), server_default="")
    currency: Mapped[currency]
    value_minor: Mapped[minor]
    contingency_minor: Mapped[minor] = mapped_column(server_default="0")
    price_basis: Mapped[str] = mapped_column(String(5), server_default="net")
    tax_category: Mapped[str] = mapped_column(String(2))
    tax_rate_percent: Mapped[Decimal] = mapped_column(Numeric(9, 6))
    payment_days: Mapped[int] = mapped_column(SmallInteger)
    payment_from: Mapped[str] = mapped_column(String(12), server_default="issue")
    approval_policy: Mapped[str] = mapped_column(String(10), server_default="any_one")
    invoicing_on_approval: Mapped[str] = mapped_column(String(10), server_default="issue")
    state: Mapped[str] = mapped_column(String(12), server_default="draft")
    owner_member_id: Mapped[UUID | None]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    """Counts edits, for If-Match; not the contract version that was agreed."""
    created_at: Mapped[at]
    activated_at: Mapped[datetime | None] = mapped_column(Instant())
    completed_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        belongs_to("client"),
        one_of("price_basis", "net", "gross"),
        one_of("tax_category", "S", "Z", "E"),
        one_of("payment_from", "issue", "end_of_month"),
        one_of("approval_policy", "any_one"),
        one_of("invoicing_on_approval", "issue", "review"),
        one_of("state", "draft", "active", "completed"),
        CheckConstraint(f"value_minor between 0 and {BOUND}", name="value_bounded"),
        CheckConstraint("contingency_minor between 0 and value_minor", name="contingency_within_value"),
        CheckConstraint("tax_rate_percent between 0 and 100", name="tax_rate_bounded"),
        CheckConstraint("payment_days between 0 and 365", name="payment_days_bounded"),
        CheckConstraint("(state = 'draft') = (activated_at is null)", name="active_since"),
        Index("ix_contract_newest", "organization_id", "created_at", "id"),
        Index("ix_contract_client", "organization_id", "client_id"),
    )


class ContractApprover(Tenant, Base):
    """A contact who may sign off this contract's milestones, in order of `position`."""

    __tablename__ = "contract_approver"

    contract_id: Mapped[UUID] = mapped_column(primary_key=True)
    contact_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)

    __table_args__ = (belongs_to("contract"), belongs_to("contact"))


class Milestone(TenantRow, Base):
    """A stage of the contract that earns a stated amount when accepted."""

    __tablename__ = "milestone"

    contract_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(SmallInteger)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, server_default="")
    acceptance_criteria: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    deliverables_expected: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    due_on: Mapped[date | None] = mapped_column(Date)
    planned_on: Mapped[date | None] = mapped_column(Date)
    amount_minor: Mapped[minor]
    currency: Mapped[currency]
    percent: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    """As entered, where the amount came from a share of the value (R1)."""
    tax_category: Mapped[str | None] = mapped_column(String(2))
    tax_rate_percent: Mapped[Decimal | None] = mapped_column(Numeric(9, 6))
    """None: the contract's."""
    state: Mapped[str] = mapped_column(String(20), server_default="planned")
    billing_held: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    """After a release, finance invoices again; the system does not do it by itself."""
    round_number: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    round_id: Mapped[UUID | None]
    """The newest review round."""
    started_at: Mapped[datetime | None] = mapped_column(Instant())
    delivered_at: Mapped[datetime | None] = mapped_column(Instant())
    approved_at: Mapped[datetime | None] = mapped_column(Instant())
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[at]

    __table_args__ = (
        belongs_to("contract"),
        one_of("state", "planned", "in_progress", "delivered", "changes_requested", "approved", "invoiced", "paid", "cancelled"),
        one_of("tax_category", "S", "Z", "E"),
        CheckConstraint(f"amount_minor between 0 and {BOUND}", name="amount_bounded"),
        CheckConstraint("percent between 0 and 100", name="percent_bounded"),
        CheckConstraint("tax_rate_percent between 0 and 100", name="tax_rate_bounded"),
        CheckConstraint("(tax_category is null) = (tax_rate_percent is null)", name="tax_whole"),
        CheckConstraint(
            "state not in ('delivered', 'changes_requested', 'approved', 'invoiced', 'paid') or round_id is not null", name="reviewed"
        ),
        Index("uq_milestone_position", "organization_id", "contract_id", "position", unique=True),
        Index("ix_milestone_state", "organization_id", "state", "due_on"),
    )


class ContractVersion(TenantRow, Base):
    """What was agreed at one moment: canonical content and its hash. Append-only (trigger)."""

    __tablename__ = "contract_version"

    contract_id: Mapped[UUID]
    number: Mapped[int] = mapped_column(SmallInteger)
    content: Mapped[str] = mapped_column(Text)
    content_sha256: Mapped[sha256]
    agreement_sha256_hex: Mapped[str | None] = mapped_column(String(64, collation="C"))
    agreement_file_name: Mapped[str | None] = mapped_column(String(200))
    agreed_on: Mapped[date | None] = mapped_column(Date)
    agreed_by: Mapped[str | None] = mapped_column(String(120))
    created_by: Mapped[UUID | None]
    created_at: Mapped[at]

    __table_args__ = (belongs_to("contract"), Index("uq_contract_version_number", "organization_id", "contract_id", "number", unique=True))


class Deliverable(TenantRow, Base):
    """A file, link or note that shows the work. Frozen with the round it was delivered in."""

    __tablename__ = "deliverable"

    milestone_id: Mapped[UUID]
    round_id: Mapped[UUID | None]
    """The round in which it was first delivered; None while it waits for delivery."""
    kind: Mapped[str] = mapped_column(String(4))
    title: Mapped[str] = mapped_column(String(200))
    url: Mapped[str | None] = mapped_column(String(2000))
    note: Mapped[str | None] = mapped_column(Text)
    sha256_hex: Mapped[str | None] = mapped_column(String(64, collation="C"))
    content_type: Mapped[str | None] = mapped_column(String(120))
    size: Mapped[int | None]
    added_by: Mapped[UUID | None]
    created_at: Mapped[at]
    removed_at: Mapped[datetime | None] = mapped_column(Instant())

    __table_args__ = (
        belongs_to("milestone"),
        one_of("kind", "file", "link", "note"),
        CheckConstraint("(kind = 'file') = (sha256_hex is not null)", name="file_whole"),
        CheckConstraint("(kind = 'link') = (url is not null)", name="link_whole"),
        CheckConstraint("(kind = 'note') = (note is not null)", name="note_whole"),
        Index("ix_deliverable_milestone", "organization_id", "milestone_id"),
    )
