"""A small believable sample, made by calling the verbs under a moved clock: nothing is written past them.

A list of happenings, each with its day (counted from today) and hour; they are played in order, and after each the
worker runs until nothing is due, so that numbers, mails and documents carry the days they would have had.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from tollgate import clock
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import Services
from tollgate.billing import service as billing
from tollgate.billing import service_credit as credits_
from tollgate.billing.models import Invoice, InvoiceLine
from tollgate.contracts import service as contracts
from tollgate.contracts import service_activation, service_deliverables, service_milestones
from tollgate.contracts.models import Milestone
from tollgate.contracts.service_input import AgreementInput, ContractInput, DeliverableInput, FileInput, MilestoneInput
from tollgate.db.command import ActorKind, Command
from tollgate.money.amount import Money
from tollgate.parties import service as parties
from tollgate.parties.rules import ClientChanges, ContactChanges, NewOrganization
from tollgate.payments import service as payments
from tollgate.payments.rules import Chosen
from tollgate.signoff import service_decisions as decisions
from tollgate.signoff import service_rounds as rounds
from tollgate.signoff.models import ApprovalLink, LinkToken, ReviewRound
from tollgate.signoff.service_input import Delivery, LinkDecision
from tollgate.signoff.tokens import VerifiedLink

ZONE = "Europe/Vienna"
SELLER = NewOrganization(
    legal_name="Nordlicht Studio GmbH",
    country="AT",
    currency="EUR",
    line1="Lindengasse 12",
    postal_code="1070",
    city="Wien",
    tax_id="ATU12345675",
    registration_number="FN 412345 b",
    email="office@nordlicht.example",
    phone="+43 1 5550123",
    website="https://nordlicht.example",
    bank_name="Donaubank",
    iban="AT611904300234573201",
    bic="BKAUATWW",
    default_payment_days=14,
)

Happening = Callable[[], Awaitable[object]]


@dataclass
class Sample:
    """The organization while it is filled."""

    shared: Services
    organization_id: UUID
    manager_id: UUID
    finance_id: UUID
    today: date
    happenings: list[tuple[datetime, int, Happening]] = field(default_factory=list)
    ids: dict[str, UUID] = field(default_factory=dict)

    @property
    def manager(self) -> Command:
        """The account manager's command."""
        return Command(self.organization_id, ActorKind.MEMBER, self.manager_id, "account_manager")

    @property
    def finance(self) -> Command:
        """Finance's command."""
        return Command(self.organization_id, ActorKind.MEMBER, self.finance_id, "finance")

    def on(self, days: int, hour: int, happening: Happening) -> None:
        """Let something happen `days` from today."""
        at = datetime.combine(self.today + timedelta(days=days), time(hour, 7 * len(self.happenings) % 60), ZoneInfo(ZONE))
        self.happenings.append((at, len(self.happenings), happening))

    def day(self, days: int) -> date:
        """A day counted from today, moved off the weekend."""
        found = self.today + timedelta(days=days)
        return found - timedelta(days=max(0, found.weekday() - 4))

    async def play(self) -> None:
        """Everything in its order, jobs included."""
        worker = self.shared.worker()
        for at, _position, happening in sorted(self.happenings, key=lambda item: item[:2]):
            with clock.moved_to(min(at, clock.now())):
                await happening()
                await worker.run_until_idle()


async def fill(shared: Services, organization_id: UUID, admin_id: UUID, password: str) -> None:
    """Three clients, five contracts in every state that the verbs reach. `password` serves the two other members too."""
    operator = Command.operator(organization_id)
    manager = await access.create_member(
        shared.db, operator, email="max@nordlicht.example", name="Max Berger", role=Role.ACCOUNT_MANAGER, password=password
    )
    finance = await access.create_member(
        shared.db, operator, email="fiona@nordlicht.example", name="Fiona Adler", role=Role.FINANCE, password=password
    )
    sample = Sample(shared, organization_id, manager.id, finance.id, clock.today(ZONE))
    _clients(sample)
    _relaunch(sample)
    _booking(sample)
    _brand(sample)
    _energy(sample)
    _draft(sample)
    await sample.play()


def _clients(sample: Sample) -> None:
    async def client(
        name: str, city: str, postal_code: str, line1: str, tax_id: str, people: Sequence[tuple[str, str, bool, bool]]
    ) -> None:
        domain = name.split()[0].lower() + ".example"
        client_id = await parties.create_client(
            sample.shared.db,
            sample.manager,
            ClientChanges(
                legal_name=name, country="AT", line1=line1, postal_code=postal_code, city=city, tax_id=tax_id, email=f"office@{domain}"
            ),
        )
        sample.ids[name.split()[0]] = client_id
        for person, user, approves, pays in people:
            contact = ContactChanges(name=person, email=f"{user}@{domain}", is_approver=approves, is_billing_contact=pays)
            sample.ids[person] = await parties.add_contact(sample.shared.db, sample.manager, client_id, contact)

    sample.on(-135, 9, lambda: client("Hafenkontor Linz AG", "Linz", "4020", "Hauptplatz 1", "ATU87654324", [
        ("Clara Huber", "clara.huber", True, False), ("Jonas Wirt", "jonas.wirt", False, True)]))  # fmt: skip
    sample.on(-134, 9, lambda: client("Bergblick Hotels GmbH", "Schladming", "8970", "Bergweg 7", "ATU11223344", [
        ("Resi Gruber", "resi.gruber", True, True)]))  # fmt: skip
    sample.on(-133, 9, lambda: client("Traunsee Energie GmbH", "Gmunden", "4810", "Seeufer 22", "ATU55667782", [
        ("Dr. Paul Seidl", "paul.seidl", True, False), ("Ilse Moser", "ilse.moser", False, True)]))  # fmt: skip


def _contract(
    sample: Sample, key: str, client: str, title: str, value: str, rows: Sequence[tuple[str, str, int, Sequence[str]]], *,
    signed: int | None, reference: str, by: str = "", percent: bool = False, review: bool = False,
) -> None:  # fmt: skip
    async def make() -> None:
        milestones = [
            MilestoneInput(
                title=name,
                amount=None if percent else Money.parse(share, "EUR"),
                percent=Decimal(share) if percent else None,
                due_on=sample.day(due),
                planned_on=sample.day(due - 2),
                acceptance_criteria=list(criteria),
                deliverables_expected=[f"{name}: documentation"],
            )
            for name, share, due, criteria in rows
        ]
        sample.ids[key] = await contracts.create_contract(
            sample.shared.db,
            sample.manager,
            ContractInput(
                client_id=sample.ids[client],
                title=title,
                reference=reference,
                purchase_order=f"PO-{reference[-3:]}",
                value=Money.parse(value, "EUR"),
                milestones=milestones,
                invoicing_on_approval="review" if review else "issue",
            ),
        )

    async def activate() -> None:
        agreement = AgreementInput(
            agreed_on=clock.today(ZONE),
            agreed_by=by,
            file=FileInput(
                name=f"{reference}-signed.txt", content_type="text/plain", content=f"Signed agreement {reference}: {title}\n".encode()
            ),
        )
        await service_activation.activate_contract(sample.shared.db, sample.shared.storage, sample.manager, sample.ids[key], agreement)
        async with sample.shared.db.reading(sample.organization_id) as session:
            found = select(Milestone.position, Milestone.id).where(Milestone.contract_id == sample.ids[key]).order_by(Milestone.position)
            for number, (_position, milestone_id) in enumerate(await session.execute(found), 1):
                sample.ids[f"{key}.{number}"] = milestone_id

    sample.on(signed - 3 if signed is not None else -1, 10, make)
    if signed is not None:
        sample.on(signed, 11, activate)


def _start(sample: Sample, key: str, days: int) -> None:
    sample.on(days, 9, lambda: service_milestones.start_milestone(sample.shared.db, sample.manager, sample.ids[key]))


def _deliver(sample: Sample, key: str, days: int, message: str, *, file: str = "", note: str = "", link: str = "") -> None:
    async def deliver() -> None:
        shown = [DeliverableInput(title="Summary", note=note)] if note else []
        if file:
            content = f"{file}\n\nPrepared by Nordlicht Studio for acceptance.\n".encode()
            shown.append(DeliverableInput(title=file, file=FileInput(name=file, content_type="text/plain", content=content)))
        if link:
            shown.append(DeliverableInput(title="Preview", url=link))
        for deliverable in shown:
            await service_deliverables.add_deliverable(
                sample.shared.db, sample.shared.storage, sample.manager, sample.ids[key], deliverable
            )
        await rounds.deliver(sample.shared.db, sample.manager, sample.ids[key], Delivery(message=message))

    sample.on(days, 14, deliver)


def _decide(sample: Sample, key: str, days: int, person: str, *, reason: str = "") -> None:
    async def decide() -> None:
        async with sample.shared.db.reading(sample.organization_id) as session:
            row = (
                await session.execute(
                    select(ApprovalLink.id, LinkToken.id, LinkToken.expires_at, ReviewRound.content_sha256)
                    .join(ReviewRound, ReviewRound.id == ApprovalLink.round_id)
                    .join(LinkToken, LinkToken.approval_link_id == ApprovalLink.id)
                    .where(
                        ReviewRound.milestone_id == sample.ids[key],
                        ReviewRound.state == "open",
                        ApprovalLink.contact_id == sample.ids[person],
                    )
                )
            ).first()
        assert row is not None, f"{person} got no mail for {key}"
        link_id, token_id, expires_at, content = row
        link = VerifiedLink(sample.organization_id, "approval", link_id, token_id, None, expires_at)
        command = Command(
            sample.organization_id, ActorKind.CONTACT, sample.ids[person], ip="203.0.113.7", user_agent="Mozilla/5.0 (iPhone; sample data)"
        )
        decision = LinkDecision(content_sha256_hex=content.hex(), signed_name=person, reason=reason)
        verb = decisions.request_changes_by_link if reason else decisions.approve_by_link
        await verb(sample.shared.db, command, link, decision)

    sample.on(days, 16, decide)


def _pay(sample: Sample, key: str, days: int, *, share: Decimal = Decimal(1)) -> None:
    async def pay() -> None:
        invoice = await _invoice(sample, key)
        amount = Money(int(invoice.payable_minor * share), invoice.currency)
        await payments.record_transfer(
            sample.shared.db,
            sample.finance,
            payments.NewTransfer(
                client_id=invoice.client_id,
                amount=amount,
                received_on=clock.today(ZONE),
                reference=f"Invoice {invoice.number}",
                allocations=(Chosen(invoice.id, amount),),
            ),
        )

    sample.on(days, 15, pay)


async def _invoice(sample: Sample, key: str) -> Invoice:
    async with sample.shared.db.reading(sample.organization_id) as session:
        found = await session.execute(
            select(Invoice)
            .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
            .where(InvoiceLine.milestone_id == sample.ids[key], InvoiceLine.live)
        )
        return found.scalar_one()


def _relaunch(sample: Sample) -> None:
    """In the middle: two paid, one invoiced, one with the client, one to come."""
    _contract(sample, "relaunch", "Hafenkontor", "Website relaunch", "48000.00", [
        ("Concept and wireframes", "9600.00", -92, ["12 page wireframes", "One round of comments worked in"]),
        ("Design system", "9600.00", -62, ["Components in light and dark", "Contrast AA on every page"]),
        ("Build: templates and content", "14400.00", -24, ["All templates in the staging system", "Editors trained"]),
        ("Shop integration", "9600.00", 3, ["Orders reach the ERP", "Refund tested end to end"]),
        ("Launch and handover", "4800.00", 33, ["DNS moved", "Runbook handed over"]),
    ], signed=-125, reference="NS-2101", by="Clara Huber")  # fmt: skip
    for number, (start, done, decided) in enumerate([(-122, -94, -92), (-90, -63, -60), (-58, -26, -12), (-20, -2, None)], 1):
        _start(sample, f"relaunch.{number}", start)
        _deliver(sample, f"relaunch.{number}", done, "Ready for your review, with everything we agreed.", file=f"Stage {number}.txt",
                 note="All criteria are met; open points of the last call are worked in.", link="https://staging.nordlicht.example/hafenkontor")  # fmt: skip
        if decided is not None:
            _decide(sample, f"relaunch.{number}", decided, "Clara Huber")
    _pay(sample, "relaunch.1", -80)
    _pay(sample, "relaunch.2", -45)


def _booking(sample: Sample) -> None:
    """By percent: one paid, one overdue and partly paid, one with changes requested, two to come (one at risk)."""
    _contract(sample, "booking", "Bergblick", "Booking app for four hotels", "26500.00", [
        ("Discovery workshop", "15", -80, ["Findings presented"]),
        ("Clickable prototype", "25", -52, ["Tested with eight guests"]),
        ("Booking engine", "33.34", -6, ["Availability in under a second", "Payment by card"]),
        ("Pilot in one hotel", "16.66", 5, ["Two weeks without a double booking"]),
        ("Roll-out", "10", 40, ["Four hotels live"]),
    ], signed=-100, reference="NS-2104", by="Resi Gruber", percent=True)  # fmt: skip
    _start(sample, "booking.1", -97)
    _deliver(sample, "booking.1", -82, "The findings, as presented on site.", note="Eleven findings, four decisions.")
    _decide(sample, "booking.1", -81, "Resi Gruber")
    _pay(sample, "booking.1", -70)
    _start(sample, "booking.2", -78)
    _deliver(sample, "booking.2", -50, "The prototype, after the guest tests.", link="https://prototype.nordlicht.example/bergblick")
    _decide(sample, "booking.2", -47, "Resi Gruber")
    _pay(sample, "booking.2", -30, share=Decimal("0.4"))
    _start(sample, "booking.3", -44)
    _deliver(sample, "booking.3", -5, "The engine runs on the test system.", note="Test accounts are in the mail of Tuesday.")
    _decide(sample, "booking.3", -3, "Resi Gruber", reason="Group bookings of more than ten rooms end in an error. Please mend that first.")


def _brand(sample: Sample) -> None:
    """All paid: the contract is completed."""
    _contract(sample, "brand", "Hafenkontor", "Brand refresh", "12000.00", [
        ("Audit", "3000.00", -108, ["Report of all uses of the mark"]),
        ("New mark and guidelines", "9000.00", -75, ["Guidelines as PDF", "Files for print and web"]),
    ], signed=-120, reference="NS-2102", by="Clara Huber")  # fmt: skip
    for number, (done, decided, paid) in enumerate([(-110, -109, -97), (-76, -74, -60)], 1):
        _deliver(sample, f"brand.{number}", done, "As agreed.", file=f"Brand {number}.txt", note="Final.")
        _decide(sample, f"brand.{number}", decided, "Clara Huber")
        _pay(sample, f"brand.{number}", paid)


def _energy(sample: Sample) -> None:
    """Finance reviews each invoice: one credited and billed anew, one waiting to be issued."""
    _contract(sample, "energy", "Traunsee", "Customer portal, phase 1", "31000.00", [
        ("Requirements", "6200.00", -40, ["Signed list of requirements"]),
        ("Architecture", "9300.00", -15, ["Decision records"]),
        ("Portal beta", "15500.00", 25, ["Login, contracts, meter readings"]),
    ], signed=-60, reference="NS-2107", by="Dr. Paul Seidl", review=True)  # fmt: skip
    _start(sample, "energy.1", -58)
    _deliver(sample, "energy.1", -42, "The list, with the changes of the workshop.", note="87 requirements, 61 of them for phase 1.")
    _decide(sample, "energy.1", -40, "Dr. Paul Seidl")

    async def issue(key: str) -> None:
        await billing.invoice_milestone(sample.shared.db, sample.finance, sample.ids[key], sample.shared.settings)

    async def credit() -> None:
        invoice = await _invoice(sample, "energy.1")
        await credits_.credit_invoice(
            sample.shared.db,
            sample.finance,
            invoice.id,
            kind="correction",
            reason="The purchase order was missing",
            settings=sample.shared.settings,
        )

    sample.on(-39, 9, lambda: issue("energy.1"))
    sample.on(-33, 9, credit)
    sample.on(-32, 10, lambda: issue("energy.1"))
    _pay(sample, "energy.1", -2)
    _start(sample, "energy.2", -38)
    _deliver(sample, "energy.2", -14, "The decisions, one page each.", note="Nine decision records.")
    _decide(sample, "energy.2", -1, "Dr. Paul Seidl")
    _start(sample, "energy.3", -10)


def _draft(sample: Sample) -> None:
    """Not agreed yet."""
    _contract(sample, "care", "Hafenkontor", "Care and maintenance 2027", "9600.00", [
        ("First quarter", "25", 120, ["Monthly report"]),
        ("Second quarter", "25", 210, ["Monthly report"]),
        ("Third quarter", "25", 300, ["Monthly report"]),
        ("Fourth quarter", "25", 390, ["Monthly report"]),
    ], signed=None, reference="NS-2110", percent=True)  # fmt: skip
