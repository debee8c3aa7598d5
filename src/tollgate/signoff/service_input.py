"""What the verbs of sign-off are told, and the limits they keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from tollgate.contracts.service_input import FileInput

LINK_LIFE = timedelta(days=30)
"""How long a link can decide, from when it was made or sent anew."""
REMINDERS_AFTER = (timedelta(days=3), timedelta(days=7))
"""When silent approvers are reminded, counted from the delivery."""
REMINDER_BEFORE_EXPIRY = timedelta(days=2)
CODE_LIFE = timedelta(minutes=10)
"""How long a mailed code works; OWASP ASVS 5.0 allows no more (V6.5.5)."""
CODE_ATTEMPTS = 5
LONGEST_MESSAGE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What goes with a delivery: a word to the client, and who decides (None: the contract's approvers)."""

    message: str = ""
    contact_ids: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDecision:
    """What the page posts: the hash of what it showed, a typed name, a reason for changes, a mailed code where one is asked for."""

    content_sha256_hex: str
    signed_name: str
    reason: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An approval given on paper: the signed document, and which approver signed it."""

    document: FileInput
    contact_id: UUID | None = None
    signed_name: str | None = None
