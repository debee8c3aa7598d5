"""One spelling per value, so that a hash means the same on every machine and for ever.

Contract versions, review rounds, issued documents and the audit trail are hashed over these bytes. The spelling is public:
keys sorted by code point, no spaces, UTF-8, no floats; decimals, days, instants and ids are strings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID


def canonical_json(value: Any) -> bytes:
    """`value` as the bytes that are hashed and stored.

    Takes None, bool, int, str, Decimal, date, aware datetime, UUID, Enum, list, tuple and dict with str keys, nested.
    Raises TypeError for anything else, floats above all: a float has no exact spelling.
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def sha256_hex(value: Any) -> str:
    """SHA-256 over `canonical_json(value)`: 64 lower-case hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return _plain(value.value)
        case None | bool() | int():
            return value
        case str():
            return str(value)
        case Decimal():
            return _decimal(value)
        case datetime():
            return _instant(value)
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {_key(key): _plain(item) for key, item in value.items()}
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical spelling")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys are strings, not {key!r}")
    return str(key.value) if isinstance(key, Enum) else key


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise TypeError(f"{value} has no canonical spelling")
    # 20, 20.0 and 2E+1 are one number and must not be three hashes.
    text = f"{value:f}"
    text = (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    return "0" if text in {"-0", "-"} else text


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise TypeError("an instant needs its time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
