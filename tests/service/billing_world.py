"""A contract with approved milestones, made by the verbs themselves, and the proof that journal and invoices agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.factories import Org, make_client, make_contact, make_organization
from tollgate.billing import queries, service
from tollgate.billing.jobs import handlers, rendered
from tollgate.billing.models import CreditNote, Invoice, InvoiceLine
from tollgate.billing.service_issue import totals_for, treatment_of
from tollgate.contracts import service as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import TaxCategory, TaxTreatment
from tollgate.db.database import Database
from tollgate.documents import jobs as document_jobs
from tollgate.files.storage import LocalStorage
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Run, Worker
from tollgate.ledger import queries as ledger
from tollgate.ledger.rules import Account
from tollgate.money.amount import Money
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.service_input import Delivery, Recorded

NOTHING = Money.zero("EUR")


@dataclass(slots=True)
class World:
    """An organization with a client, ready to bill."""

    db: Database
    storage: LocalStorage
    settings: Settings
    org: Org
    client_id: UUID
    contact_id: UUID

    @property
    def worker(self) -> Worker:
        """A worker for billing and documents; jobs of other rooms are taken and dropped."""
        return Worker(self.db, _Every({**document_jobs.handlers(self.storage, rendered()), **handlers(self.settings)}))

    async def contract(
        self,
        *amounts: str,
        rate: str = "20",
        on_approval: str = "issue",
        price_basis: str = "net",
        rates: Sequence[str | None] = (),
        percents: Sequence[str] = (),
        value: str | None = None,
    ) -> list[UUID]:
        """An active contract; answers its milestones."""
        own = [None if item is None else _tax(item) for item in rates] or [None] * max(len(amounts), len(percents))
        rows = [
            contracts.MilestoneInput(title=f"Stage {index}", amount=Money.parse(amount, "EUR"), tax=own[index])
            for index, amount in enumerate(amounts)
        ] or [
            contracts.MilestoneInput(title=f"Stage {index}", percent=Decimal(percent), tax=own[index])
            for index, percent in enumerate(percents)
        ]
        total = sum((Money.parse(amount, "EUR").minor for amount in amounts), 0)
        asked = contracts.ContractInput(
            client_id=self.client_id,
            title="Harbour portal",
            reference="C-1",
            value=Money.parse(value, "EUR") if value else Money(total, "EUR"),
            price_basis=price_basis,
            tax=_tax(rate),
            invoicing_on_approval=on_approval,
            approver_ids=[self.contact_id],
            milestones=rows,
        )
        contract_id = await contracts.create_contract(self.db, self.org.command(), asked)
        await contracts.activate_contract(self.db, self.storage, self.org.command(), contract_id)
        async with self.db.reading(self.org.id) as session:
            found = await session.scalars(select(Milestone.id).where(Milestone.contract_id == contract_id).order_by(Milestone.position))
            return list(found)

    async def approve(self, *milestone_ids: UUID) -> None:
        """Deliver and have the approval recorded, by two different members."""
        for milestone_id in milestone_ids:
            note = contracts.DeliverableInput(title="Result", note="It works")
            await contracts.add_deliverable(self.db, self.storage, self.org.command("account_manager"), milestone_id, note)
            await signoff.deliver(self.db, self.org.command("account_manager"), milestone_id, Delivery())
            document = contracts.FileInput(name="signed.pdf", content_type="application/pdf", content=b"%PDF-1.4 signed")
            await signoff.record_approval(self.db, self.storage, self.org.command(), milestone_id, Recorded(document=document))

    async def bill(self, milestone_id: UUID) -> Invoice:
        """Approve, let the jobs run, and give back the invoice."""
        await self.approve(milestone_id)
        await self.worker.run_until_idle()
        return await self.invoice_of(milestone_id)

    async def invoice(self, invoice_id: UUID) -> Invoice:
        """An invoice's row as it is now."""
        async with self.db.reading(self.org.id) as session:
            return await session.get_one(Invoice, (self.org.id, invoice_id))

    async def invoice_of(self, milestone_id: UUID) -> Invoice:
        """The live invoice or draft of a milestone."""
        async with self.db.reading(self.org.id) as session:
            found = await queries.live_invoice(session, await session.get_one(Milestone, (self.org.id, milestone_id)))
        assert found is not None
        return found

    async def milestone(self, milestone_id: UUID) -> Milestone:
        """A milestone's row as it is now."""
        async with self.db.reading(self.org.id) as session:
            return await session.get_one(Milestone, (self.org.id, milestone_id))

    async def invoices(self) -> list[Invoice]:
        """Every invoice and draft, oldest first."""
        async with self.db.reading(self.org.id) as session:
            return list(await session.scalars(select(Invoice).order_by(Invoice.created_at, Invoice.id)))

    async def credit(self, invoice_id: UUID, reason: str = "wrong stage") -> CreditNote:
        """A correction in full."""
        note_id = await service.credit_invoice(
            self.db, self.org.command("finance"), invoice_id, kind="correction", reason=reason, settings=self.settings
        )
        async with self.db.reading(self.org.id) as session:
            return await session.get_one(CreditNote, (self.org.id, note_id))

    async def assert_ledger_matches(self) -> None:
        """The journal says of every invoice, contract and client what their rows say, and it balances."""
        async with self.db.reading(self.org.id) as session:
            receivable = await ledger.by_invoice(session, self.org.id, Account.RECEIVABLE)
            invoices = list(await session.scalars(select(Invoice)))
            opened = {row.id: queries.open_of(row) for row in invoices if not queries.open_of(row).is_zero}
            assert receivable == opened
            asset = await ledger.by_contract(session, self.org.id, Account.CONTRACT_ASSET)
            assert asset == await _unbilled(session)
            trial = (await ledger.balances(session, self.org.id)).get("EUR", {})
            assert sum((amount.minor for amount in trial.values()), 0) == 0
            standing = [row for row in invoices if row.state not in {"draft", "void", "credited"}]
            assert -trial.get(Account.TAX_PAYABLE, NOTHING).minor == sum(row.tax_minor for row in standing)
            assert -trial.get(Account.ROUNDING, NOTHING).minor == sum(row.rounding_minor for row in standing)


async def _unbilled(session: AsyncSession) -> dict[UUID, Money]:
    """Net of approved milestones without a live issued invoice, by contract: what is earned and not billed."""
    rows = await session.execute(
        select(Milestone, Contract)
        .join(Contract, (Contract.organization_id == Milestone.organization_id) & (Contract.id == Milestone.contract_id))
        .where(Milestone.state == "approved")
    )
    found: dict[UUID, int] = defaultdict(int)
    for milestone, contract in rows:
        totals = totals_for(Money(milestone.amount_minor, milestone.currency), treatment_of(contract, milestone), contract.price_basis)
        found[contract.id] += totals.net.minor
    return {key: Money(minor, "EUR") for key, minor in found.items() if minor}


class _Every(dict[type[Job], Handler]):
    """Handlers for every kind that the rooms below enqueue: what this room does not handle is finished at once."""

    def items(self) -> object:  # type: ignore[override]
        known = {kind.kind for kind in self}
        return [*super().items(), *((kind, _drop) for kind in _all_jobs() if kind.kind not in known)]


async def _drop(run: Run, job: Job) -> None:
    return


def _all_jobs() -> list[type[Job]]:
    found, waiting = [], [Job]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            found.append(kind)
            waiting.append(kind)
    return found


def _tax(rate: str) -> TaxTreatment:
    return TaxTreatment(TaxCategory.STANDARD if Decimal(rate) else TaxCategory.ZERO, Decimal(rate))


async def make_world(db: Database, storage: LocalStorage, settings: Settings, **changes: object) -> World:
    """An organization, a client and its one contact, who approves and gets the invoices."""
    org = await make_organization(db, **changes)
    client_id = await make_client(db, org)
    return World(db, storage, settings, org, client_id, await make_contact(db, org, client_id))


async def lines_of(world: World, invoice_id: UUID) -> list[InvoiceLine]:
    """The lines of an invoice."""
    async with world.db.reading(world.org.id) as session:
        return list(await session.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id)))
