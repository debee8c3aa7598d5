"""Reports: read-only, of one organization. Each definition gives rows, totals per currency and a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from tollgate.db.database import Database
from tollgate.reports import queries
from tollgate.reports.queries import CurrencyTotal, PaymentRow, PaymentsAsked, Place

CHUNKS_AHEAD = 16
"""Pieces that PostgreSQL may be ahead of a slow reader; then it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsReport:
    """One page of the payments report, with the totals of all pages."""

    rows: tuple[PaymentRow, ...]
    totals: tuple[CurrencyTotal, ...]
    following: Place | None


async def payments_report(
    db: Database, organization_id: UUID, asked: PaymentsAsked, *, after: Place | None = None, limit: int = 100
) -> PaymentsReport:
    """Rows, last received first, and the sum of each currency, from one snapshot."""
    async with db.reading(organization_id) as session:
        rows = await queries.payment_rows(session, asked, after=after, limit=limit)
        totals = await queries.payment_totals(session, asked)
    kept = tuple(rows[:limit])
    return PaymentsReport(rows=kept, totals=tuple(totals), following=kept[-1].place if len(rows) > limit else None)


async def payments_csv(db: Database, organization_id: UUID, asked: PaymentsAsked) -> AsyncIterator[bytes]:
    """The whole report as CSV, piece by piece, out of one READ ONLY, REPEATABLE READ transaction.

    A reader who goes away ends the transaction; a slow one slows PostgreSQL down instead of filling the memory.
    """
    waiting: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_AHEAD)

    async def write(chunk: bytes) -> None:
        # The driver hands out its own buffer.
        await waiting.put(bytes(chunk))

    async def copy() -> None:
        try:
            async with db.reading(organization_id) as session:
                await queries.copy_payments(session, asked, write)
        finally:
            await waiting.put(None)

    copying = asyncio.create_task(copy())
    try:
        while (chunk := await waiting.get()) is not None:
            yield chunk
        # What went wrong on the way breaks the answer off, so that nobody takes half a file for a whole one.
        await copying
    finally:
        copying.cancel()
        while not copying.done():
            # The writer may stand before a full queue.
            while not waiting.empty():
                waiting.get_nowait()
            await asyncio.wait([copying], timeout=0.1)
