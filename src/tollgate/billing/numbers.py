"""Take the next number of a series, under its row lock, last in the issuing transaction (R11)."""

from __future__ import annotations

from datetime import date
from typing import Literal
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.billing.models import CreditNote, Invoice, NumberSeries
from tollgate.billing.numbering import Number, NumberFormat, issue_day, next_number
from tollgate.errors import Conflict, _

SeriesKind = Literal["invoice", "credit_note"]


class NumberTaken(Conflict):
    """Another series, of an earlier format, has written this number already."""

    slug = "number-taken"
    title = _("This number is taken")


async def take_number(session: AsyncSession, organization_id: UUID, kind: SeriesKind, number_format: str, today: date) -> Number:
    """The next number and the issue day it stands for: today, or the last day of this kind where the clock is behind.

    All series of the kind are locked, so that days do not go backwards over a change of year or format either. A number taken
    is lost only with its whole transaction, so there is no gap and no repeat.
    """
    parsed = NumberFormat.parse(number_format)
    while True:
        rows = await session.execute(
            select(NumberSeries.key, NumberSeries.last_seq, NumberSeries.last_issued_on)
            .where(NumberSeries.organization_id == organization_id, NumberSeries.kind == kind)
            .order_by(NumberSeries.key)
            .with_for_update()
        )
        series = {row.key: row for row in rows}
        issued_on = issue_day(today, max((row.last_issued_on for row in series.values()), default=None))
        known = series.get(parsed.series_key(issued_on))
        number = next_number(parsed, issued_on, known.last_seq if known else 0)
        if known is not None:
            await session.execute(
                update(NumberSeries)
                .where(NumberSeries.organization_id == organization_id, NumberSeries.kind == kind, NumberSeries.key == number.series_key)
                .values(last_seq=number.seq, last_issued_on=issued_on)
                .execution_options(synchronize_session=False)
            )
            break
        if await _open_series(session, organization_id, kind, number):
            break
        # Somebody opened the series while the insert waited for them: now its row is there to be locked.
    await _require_unused(session, organization_id, kind, number)
    return number


async def _open_series(session: AsyncSession, organization_id: UUID, kind: SeriesKind, number: Number) -> bool:
    row = {
        "organization_id": organization_id,
        "kind": kind,
        "key": number.series_key,
        "last_seq": number.seq,
        "last_issued_on": number.issued_on,
    }
    opened = await session.execute(insert(NumberSeries).values(row).on_conflict_do_nothing().returning(NumberSeries.key))
    return opened.scalar_one_or_none() is not None


async def _require_unused(session: AsyncSession, organization_id: UUID, kind: SeriesKind, number: Number) -> None:
    table = Invoice if kind == "invoice" else CreditNote
    used = await session.execute(select(table.id).where(table.organization_id == organization_id, table.number == number.text))
    if used.scalar_one_or_none() is not None:
        text = _("%(number)s was issued under an earlier number format; choose another format in the settings", number=number.text)
        raise NumberTaken(text, number=number.text)
