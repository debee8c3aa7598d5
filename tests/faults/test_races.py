"""Two at once on PostgreSQL: one winner, a clear answer for the other, and the books right afterwards.

Every race is run again and again, the two sides starting a few milliseconds apart in either order, drawn from the seed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import structlog
from sqlalchemy import func, select

from tests.factories import make_contact
from tests.factories.filled import approve, invoice_of, today
from tests.factories.proof import seed, size
from tests.factories.shop import Shop, make_shop, services_on
from tollgate.billing import service as billing
from tollgate.billing.models import Invoice
from tollgate.contracts import service as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.db.command import Replayed
from tollgate.db.database import Database
from tollgate.errors import TollgateError
from tollgate.money.amount import Money
from tollgate.payments import queries as payment_queries
from tollgate.payments import service as payments
from tollgate.payments.rules import Chosen
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ApprovalLink, ReviewRound, SignOff
from tollgate.signoff.service_input import LinkDecision
from tollgate.signoff.tokens import VerifiedLink

RACES = size(20, 2_000)
Side = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one side came out: what the verb answered, or the slug of the refusal."""

    answer: Any = None
    slug: str = ""

    @property
    def won(self) -> bool:
        return not self.slug


@dataclass
class Track:
    """Where the races are run."""

    shop: Shop
    drawn: random.Random
    other_id: UUID
    """A second approver."""

    async def race(self, *sides: Side) -> list[Outcome]:
        """Start all sides at nearly the same moment."""

        async def started(side: Side, after: float) -> Outcome:
            await asyncio.sleep(after)
            try:
                return Outcome(await side())
            except Replayed as replayed:
                return Outcome(replayed.resource_id, "replayed")
            except TollgateError as error:
                return Outcome(slug=error.slug)

        return list(await asyncio.gather(*(started(side, self.drawn.choice((0, 0, 0.001, 0.003))) for side in sides)))

    async def delivered(self, **options: Any) -> tuple[UUID, list[tuple[VerifiedLink, LinkDecision]]]:
        """A delivered milestone and the links of both its approvers."""
        (milestone_id,) = await self.shop.active(1_000_01, **options)
        await self.shop.add_note(milestone_id)
        both = signoff.Delivery(contact_ids=[self.shop.contact_id, self.other_id])
        await signoff.deliver(self.shop.db, self.shop.org.command("account_manager"), milestone_id, both)
        async with self.shop.db.reading(self.shop.org.id) as session:
            rows = await session.execute(
                select(ApprovalLink, ReviewRound.content_sha256)
                .join(
                    ReviewRound, (ReviewRound.organization_id == ApprovalLink.organization_id) & (ReviewRound.id == ApprovalLink.round_id)
                )
                .where(ReviewRound.milestone_id == milestone_id)
            )
            return milestone_id, [(await self.verified(link), decision(content)) for link, content in rows]

    async def verified(self, link: ApprovalLink) -> VerifiedLink:
        secret, org = self.shop.services.settings.secret_key, self.shop.org.id
        async with self.shop.db.transaction(org) as session:
            token = await signoff.mint(
                session, secret, organization_id=org, approval_link_id=link.id, sent_by="mail", expires_at=link.expires_at
            )
        found = await signoff.verify(self.shop.db, secret, token)
        assert found is not None
        return found

    def approve(self, link: tuple[VerifiedLink, LinkDecision], **command: Any) -> Side:
        return lambda: signoff.approve_by_link(self.shop.db, self.shop.approver(**command), *link)

    def refuse(self, link: tuple[VerifiedLink, LinkDecision]) -> Side:
        asked = replace(link[1], reason="Please mend it")
        return lambda: signoff.request_changes_by_link(self.shop.db, self.shop.approver(), link[0], asked)

    async def state(self, milestone_id: UUID) -> str:
        async with self.shop.db.reading(self.shop.org.id) as session:
            return (await session.get_one(Milestone, (self.shop.org.id, milestone_id))).state

    async def count(self, model: type[Any], *conditions: Any) -> int:
        async with self.shop.db.reading(self.shop.org.id) as session:
            return int((await session.execute(select(func.count()).select_from(model).where(*conditions))).scalar_one())


def decision(content: bytes) -> LinkDecision:
    return LinkDecision(content_sha256_hex=content.hex(), signed_name="Clara Klient")


@pytest.fixture
async def track(db: Database, settings: Settings) -> Any:
    with structlog.testing.capture_logs():
        shop = await make_shop(services_on(settings, db))
        other = await make_contact(db, shop.org, shop.client_id, name="Carl Klient", is_billing_contact=False)
        yield Track(shop, random.Random(seed()), other)
        await shop.work()
    async with db.reading(shop.org.id) as session:
        found = await invariants.run(session, shop.org.id, jobs_idle=True)
    assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []


def one_winner(outcomes: Sequence[Outcome], *slugs: str) -> Outcome:
    """The winner; the others were told one of these slugs."""
    winners = [outcome for outcome in outcomes if outcome.won]
    assert len(winners) == 1, outcomes
    assert {outcome.slug for outcome in outcomes if not outcome.won} <= set(slugs), outcomes
    return winners[0]


async def test_two_approvers_at_once(track: Track) -> None:
    for _ in range(RACES):
        milestone_id, links = await track.delivered()
        one_winner(await track.race(*(track.approve(link) for link in links)), "round-closed")
        assert await track.state(milestone_id) == "approved"
        assert await track.count(SignOff) == await track.count(ReviewRound)


async def test_approve_against_withdraw(track: Track) -> None:
    ended: Counter[str] = Counter()
    for _ in range(RACES):
        milestone_id, links = await track.delivered()
        withdraw = partial(signoff.withdraw, track.shop.db, track.shop.org.command("account_manager"), milestone_id)
        approved, withdrawn = outcomes = await track.race(track.approve(links[0]), withdraw)
        one_winner(outcomes, "transition-refused", "round-closed", "link-revoked")
        state = await track.state(milestone_id)
        assert state == ("approved" if approved.won else "in_progress") and withdrawn.won != approved.won
        ended[state] += 1
    assert ended["approved"] + ended["in_progress"] == RACES


async def test_approve_against_request_for_changes(track: Track) -> None:
    for _ in range(RACES):
        milestone_id, links = await track.delivered()
        approved, _refused = outcomes = await track.race(track.approve(links[0]), track.refuse(links[1]))
        one_winner(outcomes, "round-closed")
        assert await track.state(milestone_id) == ("approved" if approved.won else "changes_requested")


async def test_the_same_link_in_two_windows(track: Track) -> None:
    for _ in range(RACES):
        milestone_id, links = await track.delivered()
        approved, _refused = outcomes = await track.race(track.approve(links[0]), track.refuse(links[0]))
        one_winner(outcomes, "already-decided")
        assert await track.state(milestone_id) == ("approved" if approved.won else "changes_requested")


async def test_double_click(track: Track) -> None:
    for number in range(RACES):
        milestone_id, links = await track.delivered()
        key = {"key": f"form-{number}", "verb": "POST /a/approve", "request_sha256": b"\1" * 32}
        clicks = await track.race(*[track.approve(links[0], **key)] * 3)
        winner = one_winner(clicks, "replayed")
        assert {click.answer for click in clicks} == {winner.answer}, "each click gets the same answer"
        assert await track.state(milestone_id) == "approved"


async def test_the_same_key_in_flight(track: Track) -> None:
    def create(key: str, title: str, body: bytes) -> Side:
        asked = contracts.ContractInput(client_id=track.shop.client_id, title=title, value=Money(1_00, "EUR"))
        command = track.shop.org.command("account_manager", key=key, verb="POST /contracts", request_sha256=body)
        return lambda: contracts.create_contract(track.shop.db, command, asked)

    for number in range(RACES):
        key = f"key-{number}"
        same = [create(key, "Same", b"\1" * 32)] * 2
        outcomes = await track.race(*same, create(key, "Another", b"\2" * 32))
        one_winner(outcomes, "replayed", "idempotency-key-reused")
        assert await track.count(Contract) == number + 1


async def test_two_issuers(track: Track) -> None:
    for number in range(RACES):
        milestone_id, links = await track.delivered(invoicing_on_approval="review")
        await track.approve(links[0])()
        sides = [
            partial(billing.invoice_milestone, track.shop.db, track.shop.org.command(role), milestone_id, track.shop.services.settings)
            for role in ("finance", "admin")
        ]
        one_winner(await track.race(*sides), "already-invoiced")
        assert await track.count(Invoice) == number + 1


async def test_finance_against_the_worker(track: Track) -> None:
    """Somebody presses "invoice" while the job that bills by itself runs."""
    for number in range(RACES):
        milestone_id, links = await track.delivered()
        await track.approve(links[0])()
        by_hand, worked = await track.race(
            partial(
                billing.invoice_milestone, track.shop.db, track.shop.org.command("finance"), milestone_id, track.shop.services.settings
            ),
            track.shop.services.worker().run_once,
        )
        assert worked.won and by_hand.slug in {"", "already-invoiced"}
        assert await track.state(milestone_id) == "invoiced"
        assert await track.count(Invoice) == number + 1


async def test_issue_against_void(track: Track) -> None:
    for _ in range(RACES):
        milestone_id, links = await track.delivered(invoicing_on_approval="review")
        await track.approve(links[0])()
        await track.shop.work()
        draft = (await invoice_of(track.shop, milestone_id)).id
        finance = track.shop.org.command("finance")
        issued, voided = await track.race(
            partial(billing.issue_invoice, track.shop.db, finance, draft, track.shop.services.settings),
            partial(billing.void_invoice, track.shop.db, finance, draft, "wrong"),
        )
        assert issued.won, "a draft cannot be void, so issuing never loses"
        assert voided.slug in {"", "void-refused"}
        assert await track.state(milestone_id) == ("approved" if voided.won else "invoiced")


async def test_paid_twice_at_once(track: Track) -> None:
    """Two people record the same bank statement: nothing is paid twice, the second sum is refused or becomes client credit."""
    (milestones) = await track.shop.active(*[10_00] * RACES)
    credit = 0
    for number, milestone_id in enumerate(milestones):
        await approve(track.shop, milestone_id)
        await track.shop.work()
        invoice = await invoice_of(track.shop, milestone_id)
        named = (Chosen(invoice.id, Money(invoice.payable_minor, "EUR")),) if number % 2 else None
        asked = payments.NewTransfer(
            client_id=track.shop.client_id, amount=Money(invoice.payable_minor, "EUR"), received_on=today(), allocations=named
        )
        record = partial(payments.record_transfer, track.shop.db, track.shop.org.command("finance"), asked)
        outcomes = await track.race(record, record)
        if named:
            one_winner(outcomes, "cannot-allocate")
        else:
            assert all(outcome.won for outcome in outcomes)
            credit += invoice.payable_minor
        assert (await invoice_of(track.shop, milestone_id)).state == "paid"
    async with track.shop.db.reading(track.shop.org.id) as session:
        report = await payment_queries.list_payments(session, track.shop.org.id, payment_queries.PaymentsAsked(limit=10 * RACES))
    assert sum(row.client_credit.minor for row in report) == credit
