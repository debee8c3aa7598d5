"""The journal: append-only double entries."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant, TenantRow, belongs_to
from tollgate.db.types import at, minor
from tollgate.db.types import currency as currency_code


class JournalEntry(TenantRow, Base):
    """One money event. `source` names it for ever (`invoice_issued:<id>`), so that it cannot be booked twice."""

    __tablename__ = "journal_entry"

    event: Mapped[str] = mapped_column(String(40))
    source: Mapped[str] = mapped_column(String(120))
    booked_on: Mapped[date]
    contract_id: Mapped[UUID | None]
    client_id: Mapped[UUID | None]
    subject_kind: Mapped[str] = mapped_column(String(40))
    subject_id: Mapped[UUID]
    created_at: Mapped[at]

    __table_args__ = (
        Index("uq_journal_entry_source", "organization_id", "source", unique=True),
        Index("ix_journal_entry_booked_on", "organization_id", "booked_on"),
        Index("ix_journal_entry_subject", "organization_id", "subject_id"),
    )


class JournalPosting(Tenant, Base):
    """One side of an entry: debit positive, credit negative, in the document's and in the books' currency.

    A statement trigger refuses postings of an entry that do not sum to 0 in either currency.
    """

    __tablename__ = "journal_posting"

    entry_id: Mapped[UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    account: Mapped[str] = mapped_column(String(40))
    contract_id: Mapped[UUID | None]
    client_id: Mapped[UUID | None]
    invoice_id: Mapped[UUID | None]
    amount_minor: Mapped[minor]
    currency: Mapped[currency_code]
    book_amount_minor: Mapped[minor]
    book_currency: Mapped[currency_code]

    __table_args__ = (
        belongs_to("journal_entry", "entry_id"),
        CheckConstraint("abs(amount_minor) <= 1000000000000000", name="amount_bounded"),
        Index("ix_journal_posting_account", "organization_id", "account", "currency"),
        Index("ix_journal_posting_invoice", "organization_id", "invoice_id", "account"),
        Index("ix_journal_posting_contract", "organization_id", "contract_id", "account"),
    )
