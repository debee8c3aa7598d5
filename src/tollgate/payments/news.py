"""Work that payments asks of itself. Ids only (R23)."""

from __future__ import annotations

from uuid import UUID

from tollgate.jobs import Job


class HandleEvent(Job, frozen=True, kw_only=True):
    """An event lies in the inbox; what it speaks of is to be fetched."""

    kind = "payments.handle_event"
    webhook_event_id: UUID


class HandOver(Job, frozen=True, kw_only=True):
    """Bring an invoice's gateway side where its own state wants it: handed over, withdrawn, or marked as paid elsewhere."""

    kind = "payments.hand_over"
    invoice_id: UUID


class Observe(Job, frozen=True, kw_only=True):
    """Look at an invoice at the gateway, without having been told to."""

    kind = "payments.observe"
    invoice_id: UUID


class Reconcile(Job, frozen=True, kw_only=True):
    """Find events that no webhook brought, hand-overs that got stuck, and invoices not seen for long."""

    kind = "payments.reconcile"
