"""Column types and keys that every table shares."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, LargeBinary, Numeric, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator

from tollgate import clock


class Instant(TypeDecorator[datetime]):
    """TIMESTAMPTZ that refuses a datetime without a zone and always answers in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


def uuid7() -> UUID:
    """A time-ordered key (RFC 9562, version 7), made here because rows are inserted without RETURNING."""
    milliseconds = int(clock.now().timestamp() * 1000)
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


at = Annotated[datetime, mapped_column(Instant())]
"""An instant; columns end in `_at`."""
minor = Annotated[int, mapped_column(BigInteger)]
"""A count of minor units; columns end in `_minor`."""
currency = Annotated[str, mapped_column(String(3, collation="C"))]
percent = Annotated[Any, mapped_column(Numeric(9, 6))]
"""An exact Decimal; columns end in `_percent`."""
sha256 = Annotated[bytes, mapped_column(LargeBinary(32))]
text = Annotated[str, mapped_column(Text)]
json = Annotated[Any, mapped_column(JSONB)]
