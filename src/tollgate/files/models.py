"""Files that are kept: one row per content, named by its SHA-256."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from tollgate.db.base import Base, Tenant
from tollgate.db.types import at


class StoredFile(Tenant, Base):
    """The row that says a content is safely on disk; the bytes are written and synced before it is inserted."""

    __tablename__ = "stored_file"

    sha256_hex: Mapped[str] = mapped_column(String(64, collation="C"), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    content_type: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[at]

    __table_args__ = (
        CheckConstraint("sha256_hex ~ '^[0-9a-f]{64}$'", name="sha256_hex_form"),
        CheckConstraint("size >= 0", name="size_not_negative"),
    )
