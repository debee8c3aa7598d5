"""The whole application on loopback, as a browser meets it: web server and worker in this process, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from playwright.async_api import Page

from tollgate import clock
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import Services
from tollgate.cli.serving import listen, web, worker
from tollgate.contracts import service as contracts
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.money.amount import Money
from tollgate.parties import service as parties
from tollgate.parties.rules import ClientChanges, ContactChanges, NewOrganization
from tollgate.settings import Settings
from tollgate.signoff import service as signoff

PASSWORD = "correct horse battery staple"
NAMES = {"admin": "Mara Brunner", "account_manager": "Max Manager", "finance": "Fina Lechner", "viewer": "Vic Viewer"}


@dataclass(slots=True)
class Site:
    """An organization that can issue at once, and the address where its people sign in."""

    url: str
    settings: Settings
    services: Services
    organization_id: UUID
    members: dict[str, UUID] = field(default_factory=dict)

    @property
    def db(self) -> Database:
        """Its database, as the application sees it."""
        return self.services.db

    def command(self, role: str = "admin") -> Command:
        """What a member of that role asks for, without a page."""
        return Command(self.organization_id, ActorKind.MEMBER, self.members[role], role, "test")

    async def member(self, role: str) -> str:
        """The e-mail address of a member with that role, entered when it is first asked for."""
        email = f"{role.replace('_', '-')}@brunner.example"
        if role not in self.members:
            made = await access.create_member(
                self.db, Command.operator(self.organization_id), email=email, name=NAMES[role], role=Role(role), password=PASSWORD
            )
            self.members[role] = made.id
        return email

    async def sign_in(self, page: Page, role: str = "admin") -> None:
        """Sign in through the page, as a person does."""
        email = await self.member(role)
        await page.goto(f"{self.url}/sign-in")
        await page.fill("#email", email)
        await page.fill("#password", PASSWORD)
        await page.press("#password", "Enter")
        await page.wait_for_url(f"{self.url}/")

    async def client(self, name: str = "Northwind Joinery GmbH", contact: str = "Jana Krejčí") -> UUID:
        """A client with one contact who signs and gets the invoices."""
        await self.member("account_manager")
        command = self.command("account_manager")
        address = {"line1": "Hauptplatz 1", "postal_code": "4020", "city": "Linz", "tax_id": "ATU87654324"}
        client_id = await parties.create_client(self.db, command, ClientChanges(legal_name=name, country="AT", **address))
        email = f"{contact.split()[0].lower()}@client.example"
        new = ContactChanges(name=contact, email=email, is_approver=True, is_billing_contact=True)
        await parties.add_contact(self.db, command, client_id, new)
        return client_id

    async def contract(
        self,
        client_id: UUID,
        *percents: str,
        title: str = "Website relaunch",
        value: str = "48000.00",
        active: bool = True,
        review: bool = False,
    ) -> tuple[UUID, list[UUID]]:
        """A contract whose milestones take these shares; answers it and its milestones in order."""
        today = clock.today("Europe/Vienna")
        rows = [
            contracts.MilestoneInput(
                title=_TITLES[place % len(_TITLES)],
                percent=Decimal(share),
                due_on=today + timedelta(days=14 * (place + 1)),
                planned_on=today + timedelta(days=14 * (place + 1) - 3),
                acceptance_criteria=("Every page is reviewed", "Comments are worked in"),
                deliverables_expected=("PDF", "Source files"),
            )
            for place, share in enumerate(percents or ("100",))
        ]
        asked = contracts.ContractInput(
            client_id=client_id,
            title=title,
            reference="AB-2026-014",
            value=Money.parse(value, "EUR"),
            milestones=rows,
            invoicing_on_approval="review" if review else "issue",
        )
        command = self.command("account_manager")
        contract_id = await contracts.create_contract(self.db, command, asked)
        if active:
            await contracts.activate_contract(self.db, self.services.storage, command, contract_id)
        async with self.db.reading(self.organization_id) as session:
            found = await contracts.queries.milestones_of(session, self.organization_id, [contract_id])
        return contract_id, [row.id for row in found]

    async def deliver(self, milestone_id: UUID, message: str = "Everything as agreed.", name: str = "wireframes.pdf") -> UUID:
        """A milestone with one file, delivered; answers its round."""
        command = self.command("account_manager")
        file = contracts.FileInput(name=name, content_type="application/pdf", content=b"%PDF-1.4 sample")
        await contracts.add_deliverable(self.db, self.services.storage, command, milestone_id, contracts.DeliverableInput(file=file))
        await signoff.deliver(self.db, command, milestone_id, signoff.Delivery(message=message))
        async with self.db.reading(self.organization_id) as session:
            row = await contracts.queries.milestone(session, self.organization_id, milestone_id)
        assert row.round_id is not None
        return row.round_id

    async def approve_on_paper(self, milestone_id: UUID) -> None:
        """The approval of a delivered milestone, recorded by an admin."""
        await self.member("admin")
        document = contracts.FileInput(name="signed.pdf", content_type="application/pdf", content=b"%PDF-1.4 signed")
        recorded = signoff.Recorded(document=document, signed_name="Jana Krejčí")
        await signoff.record_approval(self.db, self.services.storage, self.command("admin"), milestone_id, recorded)

    async def settle(self) -> None:
        """Let every job that is due run, the worker of this site or not."""
        await self.services.worker().run_until_idle()


_TITLES = ("Concept and wireframes", "Design system", "Build of templates", "Content", "Test and training", "Launch")


@asynccontextmanager
async def open_site(database_url: str, data: Path, *, port: int = 0, with_worker: bool = True, fresh: bool = False) -> AsyncIterator[Site]:
    """A running site. `fresh` leaves the seller's details as they are on the first day."""
    sock = listen("127.0.0.1", port)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = Settings(data=data, database_url=database_url, secret_key="test-secret-key-of-32-characters!", base_url=url)
    services = Services.of(settings)
    details = {} if fresh else {"line1": "Lindengasse 12", "postal_code": "1070", "city": "Wien", "tax_id": "ATU12345675"}
    bank = {} if fresh else {"iban": "AT611904300234573201", "bic": "BKAUATWW", "bank_name": "Testbank"}
    new = NewOrganization(legal_name="Atelier Brunner", country="AT", currency="EUR", **details, **bank)
    organization_id = await parties.create_organization(services.db, new)
    site = Site(url, settings, services, organization_id)
    await site.member("admin")
    async with web(settings, services, sock):
        if with_worker:
            async with worker(services):
                yield site
        else:
            yield site


def in_days(days: int) -> date:
    """A day from today on."""
    return clock.today("Europe/Vienna") + timedelta(days=days)
