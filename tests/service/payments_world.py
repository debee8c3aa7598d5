"""A seller with a Stripe account at the sandbox: real HTTP, the real client library, the real jobs."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from tests.sandbox.conftest import running
from tests.service.billing_world import World, make_world
from tollgate.billing.models import Invoice
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.jobs import Job, enqueue
from tollgate.jobs.worker import Worker
from tollgate.payments import jobs as payment_jobs
from tollgate.payments import queries
from tollgate.payments.accounts import Connected, Gateways
from tollgate.payments.inbox import store
from tollgate.payments.models import GatewayStep, Payment, WebhookEvent
from tollgate.payments.news import Reconcile
from tollgate.payments.queries import PaymentsAsked, PaymentShown
from tollgate.payments.stripe_gateway import read_event
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate_sandbox import Sandbox
from tollgate_sandbox.store import Account
from tollgate_sandbox.views import render

WEBHOOK_SECRET = "whsec_of_the_tests"


@dataclass(slots=True)
class PaidWorld:
    """A billing world whose invoices go to the sandbox."""

    billing: World
    sandbox: Sandbox
    http: httpx.AsyncClient
    account_name: str

    @property
    def db(self) -> Database:
        return self.billing.db

    @property
    def organization_id(self) -> UUID:
        return self.billing.org.id

    @property
    def gateways(self) -> Gateways:
        return Gateways(self.db, self.billing.settings)

    @property
    def account(self) -> Account:
        """What the sandbox knows of our account."""
        return self.sandbox.world.account(self.account_name)

    @property
    def worker(self) -> Worker:
        """A worker for billing, documents and payments."""
        worker = self.billing.worker
        for kind, handler in payment_jobs.handlers(self.gateways).items():
            worker.kinds[kind.kind] = (kind, handler)
        return worker

    async def work(self) -> None:
        """Let every job that is due run."""
        await self.worker.run_until_idle()

    async def issued(self, amount: str = "1000.00", **options: Any) -> Invoice:
        """An invoice that was issued and handed over."""
        (milestone_id,) = await self.billing.contract(amount, **options)
        await self.billing.approve(milestone_id)
        await self.work()
        return await self.billing.invoice_of(milestone_id)

    async def invoice(self, invoice_id: UUID) -> Invoice:
        return await self.billing.invoice(invoice_id)

    def at_stripe(self, invoice: Invoice) -> dict[str, Any]:
        """The sandbox's invoice."""
        found: dict[str, Any] = self.account.table("invoice")[str(invoice.stripe_invoice_id)]
        return found

    async def pay(self, invoice: Invoice, outcome: str = "paid", amount: int | None = None) -> None:
        """Somebody pays on the pay page."""
        wish = {"outcome": outcome} | ({} if amount is None else {"amount": amount})
        answer = await self.http.post(f"/_sandbox/invoices/{invoice.stripe_invoice_id}/pay", json=wish)
        assert answer.status_code == 200, answer.text

    def events(self) -> list[dict[str, Any]]:
        """Every event of the account as a webhook would carry it, oldest first."""
        return [json.loads(json.dumps(render(self.account, event))) for event in self.account.all("event")]

    async def hear(self, *events: dict[str, Any]) -> list[bool]:
        """Events arrive (verified elsewhere); answers which were new."""
        connected = await self.connected()
        heard = []
        for event in events:
            async with self.db.transaction(self.organization_id) as session:
                heard.append(await store(session, connected, read_event(event), "webhook"))
        return heard

    async def connected(self) -> Connected:
        found = await self.gateways.of(self.organization_id)
        assert found is not None
        return found

    async def enqueue(self, job: Job) -> None:
        async with self.db.transaction(self.organization_id) as session:
            await enqueue(session, job)

    async def reconcile(self) -> None:
        """The clock asks for a round of reconciliation."""
        await self.enqueue(Reconcile(organization_id=self.organization_id))
        await self.work()

    async def payments(self) -> list[PaymentShown]:
        async with self.db.reading(self.organization_id) as session:
            return await queries.list_payments(session, self.organization_id, PaymentsAsked(limit=200))

    async def rows(self, model: type[Any]) -> list[Any]:
        async with self.db.reading(self.organization_id) as session:
            return list(
                await session.scalars(select(model).order_by(model.created_at if hasattr(model, "created_at") else model.received_at))
            )

    async def steps(self, invoice: Invoice) -> dict[str, GatewayStep]:
        async with self.db.reading(self.organization_id) as session:
            return await queries.steps_of(session, self.organization_id, invoice.id)

    async def inbox(self) -> list[WebhookEvent]:
        return await self.rows(WebhookEvent)

    async def money(self) -> list[Payment]:
        return await self.rows(Payment)

    async def assert_sound(self) -> None:
        """Every money invariant holds."""
        async with self.db.reading(self.organization_id) as session:
            found = await invariants.run(session, self.organization_id)
        assert [(one.check, one.broken) for one in found if one.broken] == []
        await self.billing.assert_ledger_matches()


@asynccontextmanager
async def paid_world(db: Database, storage: LocalStorage, settings: Settings, **changes: Any) -> AsyncIterator[PaidWorld]:
    """A world, a sandbox of its own and a client for what people do there."""
    name = f"t{uuid.uuid4().hex[:12]}"
    # In a thread with a loop of its own: the web test client keeps this one waiting while the server under test asks the sandbox.
    with running(**changes) as sandbox:
        used = replace(
            settings, stripe_secret_key=f"sk_test_{name}", stripe_webhook_secret=WEBHOOK_SECRET, stripe_api_base=sandbox.stripe_url
        )
        async with httpx.AsyncClient(base_url=sandbox.stripe_url) as http:
            yield PaidWorld(await make_world(db, storage, used), sandbox, http, name)
