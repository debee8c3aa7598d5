"""Random lives of a whole organization, driven through the real verbs on PostgreSQL and followed by a small model.

After every step the model, the rows, the payments report and the journal must say the same, and every money invariant
must hold. What the table of the domain refuses must be refused by the verb, and change nothing.

Other lives: `TOLLGATE_SEED=7 pytest tests/service/test_machine.py`; the long run: `TOLLGATE_PROOF=1`; TOLLGATE_SHRINK=1
makes a failing life as short as it can be, which takes minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, ClassVar
from uuid import UUID

import hypothesis.strategies as st
import structlog
from hypothesis import HealthCheck, Phase
from hypothesis import seed as seeded
from hypothesis import settings as sized
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import select, text

from tests.factories.filled import answer_of
from tests.factories.proof import seed, size
from tests.factories.shop import Letterbox, Shop, make_shop, services_on, tax
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.billing.models import Invoice, InvoiceLine
from tollgate.billing.rules import VoidRefused
from tollgate.billing.service import AlreadyInvoiced, NotADraft, NotCreditable
from tollgate.contracts import service_milestones
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import (
    TRANSITIONS,
    ContractState,
    Event,
    MilestoneFacts,
    NotReady,
    Role,
    RoleTooSmall,
    State,
    TransitionRefused,
    may,
    refusals,
)
from tollgate.db.database import Database
from tollgate.errors import TollgateError
from tollgate.ledger import queries as ledger
from tollgate.ledger.rules import Account
from tollgate.money.amount import Money
from tollgate.payments import queries as payment_queries
from tollgate.payments import service as payments
from tollgate.payments.applying import apply
from tollgate.payments.gateway import SeenDispute, SeenPayment, SeenRefund
from tollgate.payments.returns import DISPUTE_RANK, DisputeState, RefundState, later
from tollgate.payments.rules import CannotAllocate, Chosen, ProviderPaymentState
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.rules import AlreadyDecided, LinkExpired, LinkRevoked, LinkSuperseded, RoundClosed

MINUTES = timedelta(minutes=7)
"""Between two happenings."""
BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ROLES = ("admin", "account_manager", "finance")
RATES = ("20", "10", "13", "5.5", "0")
BY_LINK = (AlreadyDecided.slug, LinkExpired.slug, RoundClosed.slug, LinkRevoked.slug, LinkSuperseded.slug)
EVENTS = (
    Event.START,
    Event.DELIVER,
    Event.WITHDRAW,
    Event.APPROVE,
    Event.REQUEST_CHANGES,
    Event.RECORD_APPROVAL,
    Event.REOPEN,
    Event.INVOICE,
)
STEPS = 25
ANSWERS = (Event.APPROVE, Event.APPROVE, Event.APPROVE, Event.RECORD_APPROVAL, Event.REQUEST_CHANGES, Event.WITHDRAW)
AFTER = (Event.INVOICE, Event.INVOICE, Event.REOPEN)
DOERS = {Event.RECORD_APPROVAL: "admin", Event.REOPEN: "admin", Event.INVOICE: "finance"}
DONE = (State.PAID, State.CANCELLED)
ALL_CHECKS = text(
    " union all ".join(f"select '{check.name}' as name, broken.* from ({check.broken}) as broken(id)" for check in invariants.CHECKS)
)
"""Every invariant in one statement: what is broken, by the name of its check. Asked after each step, so it has to be quick."""


@dataclass
class Card:
    """A payment at the gateway: refunds and disputes are id → [amount, state]."""

    id: str
    amount: int
    at: datetime
    refunds: dict[str, tuple[int, RefundState]] = field(default_factory=dict)
    disputes: dict[str, tuple[int, DisputeState]] = field(default_factory=dict)

    @property
    def stays(self) -> int:
        """What of it did not go back."""
        back = sum(amount for amount, state in self.refunds.values() if state is RefundState.SUCCEEDED)
        back += sum(amount for amount, state in self.disputes.values() if state is DisputeState.LOST)
        return self.amount - min(self.amount, back)

    def seen(self, currency: str) -> SeenPayment:
        """As the gateway tells it."""
        code = currency.lower()
        return SeenPayment(
            self.id,
            self.amount,
            code,
            ProviderPaymentState.SUCCEEDED,
            self.at,
            refunds=tuple(SeenRefund(id=key, amount=one[0], currency=code, state=one[1], at=self.at) for key, one in self.refunds.items()),
            disputes=tuple(
                SeenDispute(id=key, amount=one[0], currency=code, reason="general", state=one[1], at=self.at)
                for key, one in self.disputes.items()
            ),
        )


@dataclass
class Bill:
    """What the model knows of an invoice."""

    id: UUID
    stage: Stage
    payable: int
    state: str = "draft"
    paid: int = 0
    transferred: int = 0
    """What of it came by bank transfer."""
    cards: list[Card] = field(default_factory=list)
    answers: list[tuple[SeenPayment, ...]] = field(default_factory=list)
    """What the gateway answered so far."""

    @property
    def stands(self) -> bool:
        return self.state not in {"draft", "void", "credited"}

    @property
    def open(self) -> int:
        return self.payable - self.paid if self.stands else 0

    def settle(self) -> None:
        self.state = "paid" if self.paid == self.payable else "partly_paid" if self.paid else "issued"
        self.stage.state = State.PAID if self.state == "paid" else State.INVOICED


@dataclass
class Stage:
    """What the model knows of a milestone."""

    id: UUID
    deal: Deal
    amount: int
    rate: Decimal
    state: State = State.PLANNED
    shown: int = 0
    rounds: int = 0
    delivered_by: str = ""
    held: bool = False
    news: int | None = None
    """The round whose approval billing has not heard of yet."""
    bill: Bill | None = None
    """Its live invoice or draft."""

    def facts(self, role: str) -> MilestoneFacts:
        return MilestoneFacts(
            contract_state=self.deal.state,
            deliverables=self.shown,
            approvers=1,
            policy_complete=self.state is not State.DELIVERED,
            live_invoices=int(self.bill is not None and self.bill.state != "draft"),
            billing_held=self.held,
            delivered_by_actor=self.delivered_by == role,
            reason="because",
            signed_document=True,
            invoice_issued=True,
        )


@dataclass
class Deal:
    """What the model knows of a contract."""

    id: UUID
    value: int
    gross: bool
    review: bool
    adds_up: bool
    active: bool = False
    stages: list[Stage] = field(default_factory=list)

    @property
    def state(self) -> ContractState:
        if not self.active:
            return ContractState.DRAFT
        return ContractState.COMPLETED if all(stage.state in DONE for stage in self.stages) else ContractState.ACTIVE


class Lives(RuleBasedStateMachine):
    """One life per example: its own organization in the one database."""

    loop: ClassVar[asyncio.Runner]
    database: ClassVar[Database]
    server: ClassVar[Settings]
    lives: ClassVar[int] = 0
    steps: ClassVar[int] = 0
    refused: ClassVar[int] = 0
    reached: ClassVar[set[State]] = set()
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        Lives.lives += 1
        self.at = BEGIN
        self.letterbox = Letterbox()
        self.deals: list[Deal] = []
        self.bills: list[Bill] = []
        self.received = 0
        self.by_transfer = 0
        self.numbers = itertools.count(1)

    @property
    def credit(self) -> int:
        """What was received and settles no invoice that stands."""
        return self.received - sum(bill.paid for bill in self.bills if bill.stands)

    @property
    def stages(self) -> list[Stage]:
        return [stage for deal in self.deals for stage in deal.stages]

    def run(self, happening: Callable[[], Awaitable[Any]], *, check: bool = True) -> Any:
        """Let something happen at the life's present, then compare everything."""

        async def step() -> Any:
            with clock.moved_to(self.at):
                answer = await happening()
                if check:
                    await self.compare()
                return answer

        self.at += MINUTES
        return self.loop.run(step())

    def attempt(self, verb: Callable[[], Awaitable[Any]], *slugs: str) -> bool:
        """Whether the verb went through. With `slugs` it must be refused with one of them, else it must not be."""
        Lives.steps += 1

        async def trying() -> bool:
            said = ""
            try:
                await verb()
            except TollgateError as error:
                said = error.slug
                if said not in slugs:
                    raise
            assert said or not slugs, f"went through, expected {slugs}"
            Lives.refused += bool(said)
            return not said

        return bool(self.run(trying, check=False))

    def compare_now(self) -> None:
        async def nothing() -> None:
            return

        self.run(nothing)

    # ---- what happens ---------------------------------------------------------------------------------------------

    @initialize(dice=st.integers(0, 2**32))
    def found(self, dice: int) -> None:
        self.dice = random.Random(dice)
        services = services_on(self.server, self.database, self.letterbox)
        currency = self.dice.choice(("EUR", "EUR", "JPY", "KWD"))
        self.shop: Shop = self.run(lambda: make_shop(services, currency=currency), check=False)
        self.create()
        self.activate()

    @rule()
    def step(self) -> None:
        """One thing happens; what is likely in life is likely here, and what should be refused is tried all the time."""
        happenings = {
            self.go_on: 30,
            self.anything: 20,
            self.work: 15,
            self.transfer: 12,
            self.at_gateway: 12,
            self.correct: 15,
            self.create: 3,
            self.activate: 5,
        }
        (happening,) = self.dice.choices(list(happenings), list(happenings.values()))
        happening()

    def create(self) -> None:
        if len(self.deals) == 4:
            return
        dice = self.dice
        amounts = [dice.choice((0, 1, dice.randrange(100), dice.randrange(2_000_000))) for _ in range(dice.randint(1, 4))]
        rates = [dice.choice((None, None, *RATES)) for _ in amounts]
        rate = dice.choice(RATES)
        gross, review, by_percent = dice.random() < 0.3, dice.random() < 0.4, dice.random() < 0.3
        off = dice.choice((0, 0, 0, 0, 1))
        options: dict[str, Any] = {}
        if by_percent:
            edges = [0, *sorted(dice.randint(0, 10_000) for _ in amounts[1:]), 10_000]
            options["percents"] = [Decimal(high - low) / 100 for low, high in itertools.pairwise(edges)]
            off = 0
        value = sum(amounts) + off

        async def make() -> tuple[UUID, list[UUID], list[int]]:
            contract_id, ids = await self.shop.contract(
                amounts,
                value=value,
                rates=rates,
                tax=tax(rate),
                price_basis="gross" if gross else "net",
                invoicing_on_approval="review" if review else "issue",
                **options,
            )
            async with self.shop.db.reading(self.shop.org.id) as session:
                rows = await session.execute(
                    select(Milestone.amount_minor).where(Milestone.contract_id == contract_id).order_by(Milestone.position)
                )
                return contract_id, ids, list(rows.scalars())

        contract_id, ids, kept = self.run(make, check=False)
        if by_percent:
            assert sum(kept) == value, "R1: the split is the whole"
            for minor, percent in zip(kept, options["percents"], strict=True):
                assert abs(minor - value * percent / 100) <= 1, "R1: each part is within one minor unit"
        else:
            assert kept == amounts
        deal = Deal(contract_id, value, gross, review, adds_up=off == 0)
        deal.stages = [Stage(ids[n], deal, kept[n], Decimal(rates[n] or rate)) for n in range(len(ids))]
        self.deals.append(deal)
        self.compare_now()

    def activate(self) -> None:
        deal = self.dice.choice(self.deals)
        slugs = (TransitionRefused.slug,) if deal.active else () if deal.adds_up else (NotReady.slug,)
        if self.attempt(lambda: self.shop.activate(deal.id), *slugs):
            deal.active = True
        self.compare_now()

    def go_on(self) -> None:
        """The next steps that make sense for a milestone, so that lives get somewhere."""
        stage = self.dice.choice([stage for stage in self.stages if stage.deal.active] or self.stages)
        way = {
            State.PLANNED: self.dice.choice((Event.DELIVER, Event.START)),
            State.IN_PROGRESS: Event.DELIVER,
            State.CHANGES_REQUESTED: Event.DELIVER,
            State.DELIVERED: self.dice.choice(ANSWERS),
            State.APPROVED: self.dice.choice(AFTER),
        }
        for _ in range(self.dice.randint(1, 4)):
            if stage.state in way:
                self.do(stage, way[stage.state], DOERS.get(way[stage.state], "account_manager"))

    def anything(self) -> None:
        """Any event on any milestone by anybody: mostly refused."""
        self.do(self.dice.choice(self.stages), self.dice.choice(EVENTS), self.dice.choice(ROLES))

    def do(self, stage: Stage, event: Event, role: str) -> None:
        if event is Event.DELIVER and stage.shown == 0 and stage.deal.active and role == "account_manager":
            self.run(lambda: self.shop.add_note(stage.id), check=False)
            stage.shown += 1
        if event in {Event.APPROVE, Event.REQUEST_CHANGES}:
            if stage.rounds == 0:
                return
            went = self.decide(stage, event)
        else:
            went = self.attempt(self.verb(stage, event, role), *self.expected(stage, event, role))
        if went:
            self.happened(stage, event, role)
        self.compare_now()

    def expected(self, stage: Stage, event: Event, role: str) -> tuple[str, ...]:
        """The slugs of which one must come; none when the table lets it happen."""
        slugs = []
        if (stage.state, event) in TRANSITIONS and not may(Role(role), stage.state, event):
            slugs.append(RoleTooSmall.slug)
        if refusals(stage.state, event, stage.facts(role)):
            slugs.append(TransitionRefused.slug)
        if event is Event.INVOICE and stage.bill is not None and stage.bill.stands:
            return (AlreadyInvoiced.slug,)
        return tuple(slugs)

    def verb(self, stage: Stage, event: Event, role: str) -> Callable[[], Awaitable[Any]]:
        db, command = self.shop.db, self.shop.org.command(role)
        verbs: dict[Event, Callable[[], Awaitable[Any]]] = {
            Event.START: lambda: service_milestones.start_milestone(db, command, stage.id),
            Event.DELIVER: lambda: self.shop.deliver(stage.id, role),
            Event.WITHDRAW: lambda: signoff.withdraw(db, command, stage.id),
            Event.RECORD_APPROVAL: lambda: self.shop.record(stage.id, role),
            Event.REOPEN: lambda: billing.reopen_milestone(db, command, stage.id, "because"),
            Event.INVOICE: lambda: billing.invoice_milestone(db, command, stage.id, self.server),
        }
        return verbs[event]

    def decide(self, stage: Stage, event: Event) -> bool:
        """By the newest link, whatever became of its round."""
        verb = signoff.approve_by_link if event is Event.APPROVE else signoff.request_changes_by_link

        link, decision = self.run(lambda: self.shop.opened(stage.id, "Please mend it"), check=False)
        slugs = BY_LINK if stage.state is not State.DELIVERED else (LinkExpired.slug,) if self.at + MINUTES >= link.expires_at else ()
        return self.attempt(lambda: verb(self.shop.db, self.shop.approver(), link, decision), *slugs)

    def happened(self, stage: Stage, event: Event, role: str) -> None:
        """The model goes the same way."""
        Lives.done[event.value] += 1
        if event is Event.INVOICE:
            self.issued(stage)
            return
        stage.state = {
            Event.START: State.IN_PROGRESS,
            Event.DELIVER: State.DELIVERED,
            Event.WITHDRAW: State.IN_PROGRESS,
            Event.APPROVE: State.APPROVED,
            Event.RECORD_APPROVAL: State.APPROVED,
            Event.REQUEST_CHANGES: State.CHANGES_REQUESTED,
            Event.REOPEN: State.IN_PROGRESS,
        }[event]
        if event is Event.DELIVER:
            stage.rounds += 1
            stage.delivered_by = role
        elif stage.state is State.APPROVED:
            stage.news = stage.rounds
        elif event is Event.REOPEN:
            stage.held = False
            if stage.bill is not None:
                self.bills.remove(stage.bill)
                stage.bill = None

    def issued(self, stage: Stage) -> None:
        bill = stage.bill or self.drafted(stage)
        stage.held = False
        bill.settle()

    def drafted(self, stage: Stage) -> Bill:
        net = Decimal(stage.amount)
        taxed = net if stage.deal.gross else net + (net * stage.rate / 100).quantize(Decimal(1), ROUND_HALF_UP)
        bill = Bill(self.run(lambda: self.live_invoice(stage.id), check=False), stage, int(taxed))
        stage.bill = bill
        self.bills.append(bill)
        return bill

    async def live_invoice(self, milestone_id: UUID) -> UUID:
        async with self.shop.db.reading(self.shop.org.id) as session:
            found = await session.scalars(select(InvoiceLine.invoice_id).where(InvoiceLine.milestone_id == milestone_id, InvoiceLine.live))
            return found.one()

    def work(self, *, last: bool = False) -> None:
        """Days pass, and the worker runs until nothing is due; billing hears of approvals. Unsent invoices can be void."""
        Lives.steps += 1
        self.at += timedelta(days=self.dice.choice((0, 1, 2, 9, 40)) if not last else 2)
        self.letterbox.down = not last and self.dice.random() < 0.5
        self.run(self.shop.work, check=False)
        for stage in self.stages:
            heard, stage.news = stage.news, None
            if heard != stage.rounds or heard is None or stage.state is not State.APPROVED or stage.bill is not None:
                continue
            if stage.deal.review or stage.held:
                self.drafted(stage)
            else:
                self.issued(stage)
        self.compare_now()

    def correct(self) -> None:
        if not self.bills:
            return
        bill = self.dice.choice(self.bills)
        what = self.dice.choice(
            ("issue", "delete", "delete") if bill.state == "draft" and self.dice.random() < 0.8 else ("void", "void", "credit", "issue")
        )
        db, finance = self.shop.db, self.shop.org.command("finance")
        if what in {"issue", "delete"}:
            slugs = () if bill.state == "draft" else (NotADraft.slug,)
            if what == "issue":
                if self.attempt(lambda: billing.issue_invoice(db, finance, bill.id, self.server), *slugs):
                    self.issued(bill.stage)
            elif self.attempt(lambda: billing.delete_draft(db, finance, bill.id), *slugs):
                Lives.done["draft deleted"] += 1
                self.bills.remove(bill)
                bill.stage.bill = None
        elif what == "void":
            sent = self.run(lambda: self.is_sent(bill.id), check=False)
            slugs = () if bill.stands and not bill.paid and not sent else (VoidRefused.slug,)
            if self.attempt(lambda: billing.void_invoice(db, finance, bill.id, "wrong"), *slugs):
                self.released(bill, "void")
        else:
            slugs = () if bill.stands else (NotCreditable.slug,)
            credit = lambda: billing.credit_invoice(db, finance, bill.id, kind="correction", reason="wrong", settings=self.server)  # noqa: E731
            if self.attempt(credit, *slugs):
                self.released(bill, "credited")
        self.compare_now()

    async def is_sent(self, invoice_id: UUID) -> bool:
        async with self.shop.db.reading(self.shop.org.id) as session:
            return (await session.get_one(Invoice, (self.shop.org.id, invoice_id))).sent_at is not None

    def released(self, bill: Bill, state: str) -> None:
        Lives.done[state] += 1
        bill.state = state
        bill.stage.state, bill.stage.held, bill.stage.bill = State.APPROVED, True, None

    def transfer(self) -> None:
        """Money arrives: a part, all, or more; for one invoice, or for the oldest due first."""
        standing = [bill for bill in self.bills if bill.stands]
        if not standing:
            return
        bill = self.dice.choice(standing)
        minor = max(1, bill.open * self.dice.choice((3, 10, 10, 15)) // 10)
        named = min(minor, bill.open) if self.dice.random() < 0.8 else minor
        chosen = self.dice.random() < 0.5
        amount = Money(minor, self.shop.currency)
        asked = payments.NewTransfer(
            client_id=self.shop.client_id,
            amount=amount,
            received_on=self.at.date() - timedelta(days=1),
            allocations=(Chosen(bill.id, Money(named, self.shop.currency)),) if chosen else None,
        )
        slugs = (CannotAllocate.slug,) if chosen and (named > bill.open or named <= 0) else ()
        if self.attempt(lambda: payments.record_transfer(self.shop.db, self.shop.org.command("finance"), asked), *slugs):
            self.received += minor
            self.by_transfer += minor
            Lives.done["transfer"] += 1
            left = minor
            for target, most in [(bill, named)] if chosen else self.oldest_first():
                part = min(left, most)
                if part:
                    left -= part
                    target.paid += part
                    target.transferred += part
                    target.settle()
        self.compare_now()

    def at_gateway(self) -> None:
        """Somebody pays on an invoice's page, money goes back, a bank decides; then the gateway is asked, and an old answer comes late."""
        at_stripe = [bill for bill in self.bills if bill.state != "draft" and self.is_sayable(bill.payable)]
        if not at_stripe:
            return
        bill = self.dice.choice(at_stripe)
        what = self.dice.choice(("pay", "pay", "refund", "refund", "fail", "dispute", "decide"))
        if what == "pay" or not bill.cards:
            what, amount = "pay", self.share(bill.payable + 100, self.dice.choice((3, 10, 10, 12)))
            bill.cards.append(Card(f"pi_{next(self.numbers)}", amount, self.at))
        card = self.dice.choice(bill.cards)
        key = f"{what}_{next(self.numbers)}"
        if what == "refund":
            state = self.dice.choice((RefundState.PENDING, RefundState.SUCCEEDED, RefundState.SUCCEEDED))
            card.refunds[key] = (self.share(card.amount, self.dice.choice((3, 6, 10))), state)
        elif what == "fail" and card.refunds:
            which = self.dice.choice(list(card.refunds))
            card.refunds[which] = (card.refunds[which][0], RefundState.FAILED)
        elif what == "dispute":
            card.disputes[key] = (self.share(card.amount, self.dice.choice((5, 10))), DisputeState.OPEN)
        elif what == "decide" and card.disputes:
            which = self.dice.choice(list(card.disputes))
            decided = self.dice.choice((DisputeState.LOST, DisputeState.WON))
            card.disputes[which] = (card.disputes[which][0], later(DISPUTE_RANK, card.disputes[which][1], decided))
        Lives.done[f"gateway: {what}"] += 1
        Lives.steps += 1
        bill.answers.append(tuple(one.seen(self.shop.currency) for one in bill.cards))
        self.tell(bill, bill.answers[-1])
        if self.dice.random() < 0.5:
            self.tell(bill, self.dice.choice(bill.answers))
        if bill.stands:
            bill.paid = bill.transferred + min(bill.payable - bill.transferred, sum(one.stays for one in bill.cards))
            bill.settle()
        self.received = sum(one.stays for each in self.bills for one in each.cards) + self.by_transfer
        self.compare_now()

    def tell(self, bill: Bill, payments: tuple[SeenPayment, ...]) -> None:
        async def telling() -> None:
            async with self.shop.db.transaction(self.shop.org.id) as session:
                invoice = await session.get_one(Invoice, (self.shop.org.id, bill.id))
                await apply(session, self.shop.org.id, bill.id, answer_of(invoice, payments), payments)

        self.run(telling, check=False)

    def share(self, minor: int, tenths: int) -> int:
        """A part that the gateway can say."""
        return max(10, minor * tenths // 100 * 10)

    def is_sayable(self, minor: int) -> bool:
        return self.shop.currency != "KWD" or minor % 10 == 0

    def oldest_first(self) -> list[tuple[Bill, int]]:
        async def order() -> list[UUID]:
            async with self.shop.db.reading(self.shop.org.id) as session:
                rows = await session.execute(
                    select(Invoice.id).where(Invoice.number.is_not(None)).order_by(Invoice.due_on, Invoice.issued_on, Invoice.number)
                )
                return list(rows.scalars())

        known = {bill.id: bill for bill in self.bills}
        return [(known[found], known[found].open) for found in self.run(order, check=False)]

    # ---- what must be the same ------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """Model, rows, payments report and journal; then every invariant."""
        org = self.shop.org.id
        async with self.shop.db.reading(org) as session:
            milestones = {row.id: row.state for row in await session.scalars(select(Milestone))}
            assert milestones == {stage.id: stage.state.value for stage in self.stages}
            contracts = {row.id: row.state for row in await session.scalars(select(Contract))}
            assert contracts == {deal.id: deal.state.value for deal in self.deals}
            invoices = list(await session.scalars(select(Invoice)))
            assert {row.id: (row.state, row.payable_minor, row.paid_minor) for row in invoices} == {
                bill.id: (bill.state, bill.payable, bill.paid) for bill in self.bills
            }
            receivable = await ledger.by_invoice(session, org, Account.RECEIVABLE)
            assert {key: money.minor for key, money in receivable.items()} == {bill.id: bill.open for bill in self.bills if bill.open}
            credit = await ledger.client_credit(session, org, self.shop.client_id, self.shop.currency)
            assert credit.minor == self.credit
            trial = (await ledger.balances(session, org)).get(self.shop.currency, {})
            assert sum(money.minor for money in trial.values()) == 0
            assert trial.get(Account.BANK, Money.zero(self.shop.currency)).minor == self.received
            report = await payment_queries.list_payments(session, org, payment_queries.PaymentsAsked(limit=1000))
            assert sum(row.amount.minor - row.refunded.minor for row in report) == self.received
            settled = sum(part.amount.minor for row in report for part in row.allocations)
            assert settled + sum(row.client_credit.minor for row in report) == self.received
            standing = {bill.id for bill in self.bills if bill.stands}
            kept = sum(part.amount.minor for row in report for part in row.allocations if part.invoice_id in standing)
            assert kept == sum(bill.paid for bill in self.bills if bill.stands)
            assert [tuple(row) for row in await session.execute(ALL_CHECKS)] == []
        Lives.reached.update(stage.state for stage in self.stages)

    def teardown(self) -> None:
        """The life ends well: mail comes back, jobs run dry, nothing is left unbilled."""
        if not hasattr(self, "shop"):
            return
        self.work(last=True)

        async def idle() -> list[Any]:
            async with self.shop.db.reading(self.shop.org.id) as session:
                return [found for found in await invariants.run(session, self.shop.org.id, jobs_idle=True) if not found.holds]

        assert self.run(idle, check=False) == []


async def test_random_lives(database_url: str, settings: Settings, capsys: Any) -> None:
    """Lives drawn by hypothesis; every step is one event and everything that follows from it."""
    lives = size(24, 2_000)
    phases = [Phase.generate, Phase.shrink] if os.environ.get("TOLLGATE_SHRINK") else [Phase.generate]
    options = sized(
        max_examples=lives,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )

    def run() -> None:
        with asyncio.Runner() as Lives.loop:
            Lives.database = Database(database_url, pool_use_lifo=True)
            Lives.server = settings
            try:
                with structlog.testing.capture_logs():
                    # Every life has its whole length: left alone, hypothesis begins with short ones.
                    run_state_machine_as_test(seeded(seed())(Lives), settings=options, _min_steps=STEPS)
            finally:
                Lives.loop.run(Lives.database.close())

    await asyncio.to_thread(run)
    with capsys.disabled():
        print(f"\nlives={Lives.lives} steps={Lives.steps} refused={Lives.refused} seed={seed()} done={dict(Lives.done)}")
    assert Lives.reached >= set(State) - {State.CANCELLED}, "the lives must get everywhere"
    odd = {f"gateway: {what}" for what in ("pay", "refund", "fail", "dispute", "decide")}
    wanted = {event.value for event in EVENTS} | {"void", "credited", "transfer"} | odd
    assert wanted <= set(Lives.done), f"no life did this: {wanted - set(Lives.done)}"
    assert Lives.refused > 0
