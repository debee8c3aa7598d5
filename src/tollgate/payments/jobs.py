"""What payments does on news: hand invoices over and take them back, handle events, reconcile."""

from __future__ import annotations

from datetime import timedelta

from tollgate.billing.news import InvoiceClosed, InvoiceIssued
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Run
from tollgate.payments import handover, inbox, reconcile
from tollgate.payments.accounts import Gateways
from tollgate.payments.news import HandleEvent, HandOver, Observe, Reconcile

PERIODIC: tuple[tuple[type[Job], timedelta], ...] = ((Reconcile, reconcile.EVERY),)
"""Enqueued by the scheduler for every organization, one at a time."""


def handlers(gateways: Gateways) -> dict[type[Job], Handler]:
    """This room's jobs. The gateway's calls are made with no transaction open."""

    async def hand_over(run: Run, job: InvoiceIssued | InvoiceClosed | HandOver) -> None:
        await handover.advance(run, gateways, job.invoice_id)

    async def handle_event(run: Run, job: HandleEvent) -> None:
        await inbox.handle_event(run, gateways, job.webhook_event_id)

    async def observe(run: Run, job: Observe) -> None:
        await inbox.observe(run, gateways, job.invoice_id)

    async def reconciled(run: Run, _job: Reconcile) -> None:
        await reconcile.reconcile(run, gateways)

    return {
        InvoiceIssued: hand_over,
        InvoiceClosed: hand_over,
        HandOver: hand_over,
        HandleEvent: handle_event,
        Observe: observe,
        Reconcile: reconciled,
    }
