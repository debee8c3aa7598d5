"""What an operation is given: the account, the ids from the path, and parameters already checked against Stripe's types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tollgate_sandbox.errors import parameter_error
from tollgate_sandbox.parameters import METADATA_KEYS
from tollgate_sandbox.store import Account


@dataclass(frozen=True, slots=True)
class Call:
    """One API call, authenticated and typed."""

    account: Account
    ids: tuple[str, ...]
    params: dict[str, Any]


def merge_metadata(present: dict[str, str], change: dict[str, str] | str) -> dict[str, str]:
    """Stripe's merge: given keys are set, empty ones unset, an empty string unsets all."""
    if isinstance(change, str):
        return {}
    merged = {key: value for key, value in (present | change).items() if value != ""}
    if len(merged) > METADATA_KEYS:
        raise parameter_error(f"Metadata can have at most {METADATA_KEYS} keys, you passed in {len(merged)}.", "metadata")
    return merged
