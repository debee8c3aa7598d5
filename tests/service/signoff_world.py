"""A contract on the way to being signed off, made by the verbs themselves, for the tests of contracts and sign-off."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from tests.factories import Org, make_client, make_contact
from tollgate import clock
from tollgate.contracts import service as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.service import ContractInput, DeliverableInput, FileInput, MilestoneInput
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.files.storage import Storage
from tollgate.mail.models import MailMessage
from tollgate.money.amount import Money
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ApprovalLink, ReviewRound, SignOff
from tollgate.signoff.service import Delivery, LinkDecision, VerifiedLink

SECRET = "test-secret-key-of-32-characters!"


def eur(text: str) -> Money:
    """An amount in EUR."""
    return Money.parse(text, "EUR")


def milestone(title: str = "Design", amount: str = "1000.00", **changes: Any) -> MilestoneInput:
    """One row of a schedule."""
    return MilestoneInput(**{"title": title, "amount": eur(amount), **changes})


@dataclass
class World:
    """An organization with a client, two approvers and shortcuts to the verbs."""

    db: Database
    storage: Storage
    org: Org
    client_id: UUID
    clara_id: UUID
    carl_id: UUID

    @classmethod
    async def make(cls, db: Database, storage: Storage, org: Org) -> World:
        """A client with two approvers."""
        client_id = await make_client(db, org)
        clara = await make_contact(db, org, client_id, name="Clara Klient", email="clara@hafen.example")
        carl = await make_contact(db, org, client_id, name="Carl Klient", email="carl@hafen.example", is_billing_contact=False)
        return cls(db, storage, org, client_id, clara, carl)

    def command(self, role: str = "admin", **changes: Any) -> Command:
        """A member's command."""
        return self.org.command(role, **changes)

    async def draft(self, **changes: Any) -> UUID:
        """A draft of two milestones that sum to its value."""
        values: dict[str, Any] = {
            "client_id": self.client_id,
            "title": "Website relaunch",
            "value": eur("3000.00"),
            "milestones": [milestone("Design", "1000.00", acceptance_criteria=("Three pages", "Dark mode")), milestone("Build", "2000.00")],
            **changes,
        }
        return await contracts.create_contract(self.db, self.command("account_manager"), ContractInput(**values))

    async def active(self, **changes: Any) -> UUID:
        """An active contract."""
        contract_id = await self.draft(**changes)
        await contracts.activate_contract(self.db, self.storage, self.command("account_manager"), contract_id)
        return contract_id

    async def milestones(self, contract_id: UUID) -> list[Milestone]:
        """The schedule's rows, in order."""
        async with self.db.reading(self.org.id) as session:
            found = await session.scalars(select(Milestone).where(Milestone.contract_id == contract_id).order_by(Milestone.position))
            return list(found)

    async def contract(self, contract_id: UUID) -> Contract:
        """The contract's row."""
        async with self.db.reading(self.org.id) as session:
            return (await session.scalars(select(Contract).where(Contract.id == contract_id))).one()

    async def milestone(self, milestone_id: UUID) -> Milestone:
        """The milestone's row."""
        async with self.db.reading(self.org.id) as session:
            return (await session.scalars(select(Milestone).where(Milestone.id == milestone_id))).one()

    async def add_file(self, milestone_id: UUID, content: bytes = b"%PDF-1.7 work", name: str = "work.pdf") -> UUID:
        """A deliverable."""
        asked = DeliverableInput(file=FileInput(name=name, content_type="application/pdf", content=content))
        return await contracts.add_deliverable(self.db, self.storage, self.command("account_manager"), milestone_id, asked)

    async def delivered(self, *, contact_ids: list[UUID] | None = None, **changes: Any) -> UUID:
        """The first milestone of a fresh contract, delivered by the account manager."""
        milestone_id = (await self.milestones(await self.active(**changes)))[0].id
        await self.add_file(milestone_id)
        delivery = Delivery(message="Please have a look.", contact_ids=contact_ids)
        return await signoff.deliver(self.db, self.command("account_manager"), milestone_id, delivery)

    async def round(self, milestone_id: UUID) -> ReviewRound:
        """The newest round of a milestone."""
        async with self.db.reading(self.org.id) as session:
            found = await session.scalars(
                select(ReviewRound).where(ReviewRound.milestone_id == milestone_id).order_by(ReviewRound.number.desc())
            )
            row = found.first()
            assert row is not None
            return row

    async def links(self, round_id: UUID) -> dict[UUID, ApprovalLink]:
        """The newest link of each contact in a round."""
        async with self.db.reading(self.org.id) as session:
            found = await session.scalars(select(ApprovalLink).where(ApprovalLink.round_id == round_id).order_by(ApprovalLink.created_at))
            return {row.contact_id: row for row in found}

    async def sign_offs(self, round_id: UUID) -> list[SignOff]:
        """The decisions of a round."""
        async with self.db.reading(self.org.id) as session:
            return list(await session.scalars(select(SignOff).where(SignOff.round_id == round_id)))

    async def mails(self, template: str) -> list[MailMessage]:
        """What was asked to be mailed."""
        async with self.db.reading(self.org.id) as session:
            found = await session.scalars(select(MailMessage).where(MailMessage.template == template).order_by(MailMessage.created_at))
            return list(found)

    async def token(self, link: ApprovalLink) -> str:
        """A token as the sender of mails mints it."""
        async with self.db.transaction(self.org.id) as session:
            return await signoff.mint(
                session, SECRET, organization_id=self.org.id, approval_link_id=link.id, sent_by="mail", expires_at=link.expires_at
            )

    async def opened(self, milestone_id: UUID, contact_id: UUID | None = None) -> tuple[VerifiedLink, LinkDecision]:
        """What the page of an approver's mail holds: the verified link, and a decision under the hash it shows."""
        row = await self.round(milestone_id)
        link = (await self.links(row.id))[contact_id or self.clara_id]
        verified = await signoff.verify(self.db, SECRET, await self.token(link))
        assert verified is not None
        return verified, LinkDecision(content_sha256_hex=row.content_sha256.hex(), signed_name="Clara Klient")

    def approver(self, verified: VerifiedLink, **changes: Any) -> Command:
        """A command of the contact behind a link."""
        base = Command(self.org.id, ActorKind.CONTACT, verified.link_id, verb="sign", ip="203.0.113.9", user_agent="test")
        return dataclasses.replace(base, **changes)

    async def approved(self, **changes: Any) -> UUID:
        """A milestone that Clara approved."""
        milestone_id = await self.delivered(**changes)
        verified, decision = await self.opened(milestone_id)
        await signoff.approve_by_link(self.db, self.approver(verified), verified, decision)
        return milestone_id

    async def jobs(self, kind: str) -> list[dict[str, Any]]:
        """Arguments of the jobs of a kind, whatever their state."""
        async with self.db.directory() as session:
            rows = await session.execute(
                text("select kind, arguments from job_list(:o, array['ready', 'running', 'done', 'dead'], 500)"), {"o": self.org.id}
            )
            return [row.arguments for row in rows if row.kind == kind]


def days(count: float) -> AbstractContextManager[None]:
    """Move the clock on by some days."""
    return clock.shifted(timedelta(days=count))
