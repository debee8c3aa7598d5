"""A seller with a client, wired exactly as a server is (`app.Services`), its verbs in short: for lives, kills and races."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from email.message import EmailMessage
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.factories import Org, make_client, make_contact, make_organization
from tollgate.app import Services
from tollgate.contracts import service as contracts
from tollgate.contracts.models import Milestone
from tollgate.contracts.rules import TaxCategory, TaxTreatment
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.errors import Unavailable, _
from tollgate.files.storage import LocalStorage
from tollgate.money.amount import Money
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ApprovalLink, ReviewRound
from tollgate.signoff.service_input import Delivery, LinkDecision, Recorded
from tollgate.signoff.tokens import VerifiedLink

PAPER = contracts.FileInput(name="signed.pdf", content_type="application/pdf", content=b"%PDF-1.4 signed")


@dataclass
class Letterbox:
    """A mail server that keeps what it takes, and takes nothing while it is down."""

    down: bool = False
    mails: list[EmailMessage] = field(default_factory=list)

    async def send(self, message: EmailMessage) -> None:
        """See `mail.transport.Transport`."""
        if self.down:
            raise Unavailable(_("The mail server cannot be reached"))
        self.mails.append(message)


@dataclass
class Shop:
    """One organization with one client, whose contact approves and gets the invoices."""

    services: Services
    org: Org
    client_id: UUID
    contact_id: UUID
    currency: str

    @property
    def db(self) -> Database:
        """The database as the application's role sees it."""
        return self.services.db

    async def contract(self, amounts: Sequence[int], *, value: int | None = None, **options: Any) -> tuple[UUID, list[UUID]]:
        """A draft with milestones of these amounts, in minor units. `rates`: own tax rates of milestones; `percents` instead of amounts."""
        rates = options.pop("rates", [None] * len(amounts))
        percents: Sequence[Decimal] = options.pop("percents", ())
        own = [None if rate is None else tax(rate) for rate in rates]
        rows = [
            contracts.MilestoneInput(title=f"Stage {index}", percent=percent, tax=own[index])
            if percents
            else contracts.MilestoneInput(title=f"Stage {index}", amount=Money(amounts[index], self.currency), tax=own[index])
            for index, percent in enumerate(percents or [Decimal(0)] * len(amounts))
        ]
        asked = contracts.ContractInput(
            client_id=self.client_id,
            title="Harbour portal",
            value=Money(sum(amounts) if value is None else value, self.currency),
            approver_ids=[self.contact_id],
            milestones=rows,
            **options,
        )
        contract_id = await contracts.create_contract(self.db, self.org.command("account_manager"), asked)
        async with self.db.reading(self.org.id) as session:
            found = await session.scalars(select(Milestone.id).where(Milestone.contract_id == contract_id).order_by(Milestone.position))
            return contract_id, list(found)

    async def activate(self, contract_id: UUID) -> None:
        """Make the draft binding."""
        await contracts.activate_contract(self.db, self.services.storage, self.org.command("account_manager"), contract_id)

    async def active(self, *amounts: int, **options: Any) -> list[UUID]:
        """The milestones of a new active contract."""
        contract_id, milestones = await self.contract(amounts, **options)
        await self.activate(contract_id)
        return milestones

    async def add_note(self, milestone_id: UUID) -> None:
        """Something to show."""
        note = contracts.DeliverableInput(title="Result", note="It works")
        await contracts.add_deliverable(self.db, self.services.storage, self.org.command("account_manager"), milestone_id, note)

    async def deliver(self, milestone_id: UUID, role: str = "account_manager") -> None:
        """Show it to the client."""
        await signoff.deliver(self.db, self.org.command(role), milestone_id, Delivery(message="Please have a look."))

    async def delivered(self, milestone_id: UUID) -> tuple[VerifiedLink, LinkDecision]:
        """Add something to show, deliver it, and open the mail."""
        await self.add_note(milestone_id)
        await self.deliver(milestone_id)
        return await self.opened(milestone_id)

    async def opened(self, milestone_id: UUID, reason: str = "") -> tuple[VerifiedLink, LinkDecision]:
        """What the page behind the newest mail of a milestone holds: the link, and a decision on the content it shows."""
        async with self.db.reading(self.org.id) as session:
            found = await session.execute(
                select(ApprovalLink, ReviewRound.content_sha256)
                .join(
                    ReviewRound, (ReviewRound.organization_id == ApprovalLink.organization_id) & (ReviewRound.id == ApprovalLink.round_id)
                )
                .where(ReviewRound.milestone_id == milestone_id)
                .order_by(ReviewRound.number.desc(), ApprovalLink.created_at.desc())
                .limit(1)
            )
            link, content = found.one()
        secret = self.services.settings.secret_key
        async with self.db.transaction(self.org.id) as session:
            token = await signoff.mint(
                session, secret, organization_id=self.org.id, approval_link_id=link.id, sent_by="mail", expires_at=link.expires_at
            )
        verified = await signoff.verify(self.db, secret, token)
        assert verified is not None
        return verified, LinkDecision(content_sha256_hex=content.hex(), signed_name="Clara Klient", reason=reason)

    def approver(self, **changes: Any) -> Command:
        """A command of the contact behind a link."""
        return Command(self.org.id, ActorKind.CONTACT, self.contact_id, ip="203.0.113.9", user_agent="test", **changes)

    async def record(self, milestone_id: UUID, role: str = "admin") -> None:
        """An approval given on paper."""
        await signoff.record_approval(self.db, self.services.storage, self.org.command(role), milestone_id, Recorded(document=PAPER))

    async def work(self) -> None:
        """Let every job that is due run, one after the other, so that a life is the same each time."""
        await self.services.worker(concurrency=1).run_until_idle()


def tax(rate: str) -> TaxTreatment:
    """Domestic tax at a rate in percent; 0 is zero-rated."""
    return TaxTreatment(TaxCategory.STANDARD if Decimal(rate) else TaxCategory.ZERO, Decimal(rate))


async def make_shop(services: Services, *, currency: str = "EUR") -> Shop:
    """An organization that keeps its books in `currency`, with everything it needs to bill."""
    org = await make_organization(services.db, currency=currency)
    client_id = await make_client(services.db, org, currency=currency)
    return Shop(services, org, client_id, await make_contact(services.db, org, client_id), currency)


def services_on(settings: Settings, database: Database, letterbox: Letterbox | None = None) -> Services:
    """What a server of these settings shares, with a letterbox for its mails."""
    return Services(settings, database, LocalStorage(settings.files_folder), letterbox or Letterbox())
