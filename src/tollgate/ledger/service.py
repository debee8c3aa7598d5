"""Book balanced entries. Append-only: what was wrong is reversed by a later entry, never edited (R21)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.types import uuid7
from tollgate.errors import Conflict, _
from tollgate.ledger.models import JournalEntry, JournalPosting
from tollgate.ledger.rules import Posting


class AlreadyBooked(Conflict):
    """An entry of the same source is in the journal; nothing was written."""

    slug = "already-booked"
    title = _("This was booked already")


@dataclass(frozen=True, slots=True)
class Side:
    """A posting that concerns another invoice than its entry does: one payment settles several."""

    posting: Posting
    invoice_id: UUID | None
    contract_id: UUID | None


async def post(
    session: AsyncSession,
    *,
    organization_id: UUID,
    event: str,
    source: str,
    booked_on: date,
    subject: tuple[str, UUID],
    contract_id: UUID | None = None,
    client_id: UUID | None = None,
    invoice_id: UUID | None = None,
    postings: Sequence[Posting | Side],
) -> UUID | None:
    """Book one entry; answers its id, or None when there is nothing to book (every amount is zero).

    `source` names the money event for ever (`invoice_issued:<id>`). Raises `AlreadyBooked` when it is in the journal. The
    database refuses postings that do not sum to 0. A document in another currency than the books is not booked before R17:
    until then the booked amount is the document's.
    """
    if not postings:
        return None
    entry_id = uuid7()
    entry = {
        "organization_id": organization_id,
        "id": entry_id,
        "event": event,
        "source": source,
        "booked_on": booked_on,
        "contract_id": contract_id,
        "client_id": client_id,
        "subject_kind": subject[0],
        "subject_id": subject[1],
        "created_at": clock.now(),
    }
    booked = await session.execute(
        insert(JournalEntry).values(entry).on_conflict_do_nothing(index_elements=["organization_id", "source"]).returning(JournalEntry.id)
    )
    if booked.scalar_one_or_none() is None:
        raise AlreadyBooked(_("%(source)s was booked already", source=source))
    # One statement for all sides: the trigger checks the sum of each statement's entry.
    about = {"contract_id": contract_id, "client_id": client_id, "invoice_id": invoice_id}
    rows = [_row(organization_id, entry_id, position, side, about) for position, side in enumerate(postings, 1)]
    await session.execute(insert(JournalPosting).values(rows))
    return entry_id


def _row(organization_id: UUID, entry_id: UUID, position: int, side: Posting | Side, about: dict[str, UUID | None]) -> dict[str, Any]:
    posting = side.posting if isinstance(side, Side) else side
    if isinstance(side, Side):
        about = {**about, "contract_id": side.contract_id, "invoice_id": side.invoice_id}
    return {
        "organization_id": organization_id,
        "entry_id": entry_id,
        "position": position,
        "account": posting.account.value,
        **about,
        "amount_minor": posting.amount.minor,
        "currency": posting.amount.currency,
        "book_amount_minor": posting.amount.minor,
        "book_currency": posting.amount.currency,
    }
