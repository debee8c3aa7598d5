"""News of billing: what higher rooms act on. Ids and words only (R23)."""

from __future__ import annotations

from uuid import UUID

from tollgate.jobs import Job


class InvoiceIssued(Job, frozen=True, kw_only=True):
    """An invoice has its number; payments hands it to the gateway."""

    kind = "billing.invoice_issued"
    invoice_id: UUID


class InvoiceClosed(Job, frozen=True, kw_only=True):
    """An issued invoice asks for nothing any more; payments withdraws it from the gateway."""

    kind = "billing.invoice_closed"
    invoice_id: UUID
    because: str
    """`void` or `credited`."""
