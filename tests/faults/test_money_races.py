"""Two at once at invoices and money: one number, one payment, one credit note, and a clear answer for whoever came second (R8, R11, R14).

Payment against credit is two kinds of a hundred each in every run: a transfer and a card. One invoice after the other of the same milestone: what a race leaves behind (paid, void, credited) is where the next one begins.
`python -m tests tests/faults/test_money_races.py -s` prints how many races overlapped; `-k two_issuers` runs one kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pytest

from tests.factories.filled import invoice_of, today
from tests.faults.racing import FEW, Card, Kind, Outcomes, Side, Track, one_winner, run_kind
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.billing.models import CreditNote, Invoice
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.money.amount import Money
from tollgate.payments import service as payments
from tollgate.payments.applying import apply
from tollgate.payments.gateway import SeenInvoice, SeenPayment
from tollgate.payments.models import Payment, PaymentAllocation
from tollgate.payments.reversal import reverse_payment
from tollgate.payments.rules import Chosen, ProviderInvoice, ProviderInvoiceState, ProviderPaymentState
from tollgate.settings import Settings

kind = Card()
PARTS = 20
"""Part payments of one invoice."""


@pytest.mark.parametrize("raced", kind.kinds, ids=str)
async def test_races(raced: Kind, db: Database, owner_url: str, settings: Settings, say: Callable[[str], None]) -> None:
    await run_kind(raced, db, owner_url, settings, say)


@dataclass
class Till:
    """A milestone that is billed again and again, and the verbs of finance on its newest invoice."""

    track: Track
    milestone_id: UUID

    @classmethod
    async def opened(cls, track: Track) -> Till:
        """An approved milestone with nothing billed."""
        (case,) = await track.delivered(1)
        await track.approve(case.links[0])()
        return cls(track, case.milestone_id)

    @property
    def finance(self) -> Command:
        return self.track.shop.org.command("finance")

    def invoice(self, role: str = "finance") -> Side:
        """Invoice the milestone."""
        command = self.track.shop.org.command(role)
        return partial(billing.invoice_milestone, self.track.db, command, self.milestone_id, self.track.settings)

    async def issued(self) -> Invoice:
        """A fresh invoice."""
        await self.invoice()()
        return await self.newest()

    async def newest(self) -> Invoice:
        """The live invoice or draft of the milestone."""
        return await invoice_of(self.track.shop, self.milestone_id)

    async def seen(self, invoice: Invoice) -> Invoice:
        """That invoice as it is now, live or not."""
        async with self.track.db.reading(self.track.shop.org.id) as session:
            return await session.get_one(Invoice, (self.track.shop.org.id, invoice.id))

    async def allocations(self, invoice: Invoice) -> int:
        return await self.track.count(PaymentAllocation, PaymentAllocation.invoice_id == invoice.id)

    def void(self, invoice: Invoice) -> Side:
        return partial(billing.void_invoice, self.track.db, self.finance, invoice.id, "wrong")

    def credit(self, invoice: Invoice) -> Side:
        return partial(
            billing.credit_invoice, self.track.db, self.finance, invoice.id, kind="correction", reason="wrong", settings=self.track.settings
        )

    def transfer(self, invoice: Invoice, minor: int | None = None, *, named: bool = True) -> Side:
        """Record a transfer of all that is payable, or so much, for this invoice or for whatever is due."""
        amount = Money(invoice.payable_minor if minor is None else minor, "EUR")
        asked = payments.NewTransfer(
            client_id=self.track.shop.client_id,
            amount=amount,
            received_on=today(),
            allocations=(Chosen(invoice.id, amount),) if named else None,
        )
        return partial(payments.record_transfer, self.track.db, self.finance, asked)

    def reverse(self, payment_id: UUID) -> Side:
        return partial(reverse_payment, self.track.db, self.finance, payment_id, "wrong")

    def card(self, invoice: Invoice, minor: int | None = None, *, payment_id: str | None = None) -> Side:
        """What a webhook's job records once it has fetched the invoice: this payment succeeded."""
        amount = invoice.payable_minor if minor is None else minor
        facts = ProviderInvoice(
            number=invoice.number,
            currency="eur",
            total=invoice.payable_minor,
            amount_due=invoice.payable_minor,
            amount_paid=amount,
            state=ProviderInvoiceState.PAID if minor is None else ProviderInvoiceState.OPEN,
            our_invoice_id=str(invoice.id),
        )
        shown = SeenInvoice(f"in_{invoice.id.hex}", facts, invoice.payable_minor - amount, None)
        paid = SeenPayment(payment_id or f"pi_{uuid7().hex}", amount, "eur", ProviderPaymentState.SUCCEEDED, clock.now())
        org = self.track.shop.org.id

        async def applied() -> str:
            async with self.track.db.transaction(org, Command.system(org)) as session:
                return await apply(session, org, invoice.id, shown, [paid])

        return applied


def both(outcomes: Outcomes, always: str, *slugs: str) -> bool:
    """`always` cannot lose; whether the other one won too, else it was told one of these slugs."""
    other = next(outcome for name, outcome in outcomes.items() if name != always)
    assert outcomes[always].won and (other.won or other.slug in slugs), outcomes
    return other.won


# ---- issuing --------------------------------------------------------------------------------------------------------------


@kind("finance", "admin")
async def two_issuers(track: Track, count: int) -> None:
    """Two members invoice the same milestone: one invoice, one number, and the other is told which."""
    till = await Till.opened(track)
    for number in range(count):
        outcomes = await track.race(finance=till.invoice(), admin=till.invoice("admin"))
        winner = one_winner(outcomes, "already-invoiced")
        invoice = await till.newest()
        assert invoice.id == outcomes[winner].answer and invoice.series_seq == number + 1
        assert str(invoice.number) in next(outcome.detail for outcome in outcomes.values() if not outcome.won)
        track.ended(winner)
        await till.void(invoice)()
    assert await track.count(Invoice) == count


@kind("member", "worker", suite=FEW)
async def member_against_worker(track: Track, count: int) -> None:
    """Somebody presses "invoice" while the job that bills by itself runs."""
    cases = await track.delivered(count, invoicing_on_approval="issue")
    worker = track.shop.services.worker(concurrency=1)
    for case in cases:
        await track.approve(case.links[0])()
        await track.drop_jobs()
        outcomes = await track.race(worker=worker.run_once, member=Till(track, case.milestone_id).invoice())
        track.ended("member" if both(outcomes, "worker", "already-invoiced") else "worker", case.milestone_id, "invoiced")
    assert await track.count(Invoice, Invoice.state == "issued") == await track.count(Invoice) == count, "one invoice each"


@kind("issued", "void")
async def issue_against_void(track: Track, count: int) -> None:
    """One member gives a draft its number while another makes it void: a draft cannot be void, an issued invoice can."""
    till = await Till.opened(track)
    org = track.shop.org.id
    await till.void(await till.issued())()
    for _ in range(count):
        async with track.db.transaction(org, Command.system(org)) as session:
            # Billing is held since the last one was taken back, so this is a draft.
            await billing.bill_approved(session, org, till.milestone_id, track.settings)
        draft = await till.newest()
        issue = partial(billing.issue_invoice, track.db, till.finance, draft.id, track.settings)
        outcomes = await track.race(issued=issue, void=till.void(draft))
        voided = both(outcomes, "issued", "void-refused")
        invoice = await till.seen(draft)
        assert invoice.number and invoice.state == ("void" if voided else "issued")
        track.ended("void" if voided else "issued")
        if not voided:
            await till.void(invoice)()


# ---- money against what takes the invoice back ----------------------------------------------------------------------------


@kind("paid", "void", suite=FEW)
async def transfer_against_void(track: Track, count: int) -> None:
    """A transfer is recorded while the invoice is made void: what is paid is not void, what is void is not paid."""
    till = await Till.opened(track)
    for _ in range(count):
        invoice = await till.issued()
        outcomes = await track.race(paid=till.transfer(invoice), void=till.void(invoice))
        winner = one_winner(outcomes, "void-refused", "cannot-allocate")
        assert (await till.seen(invoice)).state == winner
        track.ended(winner)
        if winner == "paid":
            await till.reverse(outcomes["paid"].answer)()
            await till.void(invoice)()


@kind("paid first", "credited first", suite=100)
async def transfer_against_credit(track: Track, count: int) -> None:
    """A transfer is recorded while the invoice is credited: the credit note takes from what is paid, or the transfer is refused."""
    till = await Till.opened(track)
    for number in range(count):
        invoice = await till.issued()
        outcomes = await track.race(paid=till.transfer(invoice), credited=till.credit(invoice))
        paid = both(outcomes, "credited", "cannot-allocate")
        assert ((await till.seen(invoice)).state, await till.allocations(invoice)) == ("credited", int(paid))
        track.ended("paid first" if paid else "credited first")
        assert await track.count(CreditNote) == number + 1


@kind("paid first", "credited first", suite=100)
async def card_against_credit(track: Track, count: int) -> None:
    """Stripe tells of a payment while the invoice is credited: the money is never refused, at last it is client credit."""
    till = await Till.opened(track)
    for number in range(count):
        invoice = await till.issued()
        outcomes = await track.race(paid=till.card(invoice), credited=till.credit(invoice))
        assert all(outcome.won for outcome in outcomes.values()), outcomes
        assert (await till.seen(invoice)).state == "credited"
        track.ended("paid first" if await till.allocations(invoice) else "credited first")
        assert await track.count(Payment) == await track.count(CreditNote) == number + 1


# ---- money against money --------------------------------------------------------------------------------------------------


@kind("named", "oldest due", suite=FEW)
async def two_transfers(track: Track, count: int) -> None:
    """Two people record the same line of the statement: the second is refused, or becomes client credit where no invoice was named."""
    till = await Till.opened(track)
    invoice = await till.issued()
    for number in range(count):
        named = bool(number % 4)
        record = till.transfer(invoice, named=named)
        outcomes = await track.race(one=record, other=record)
        if named:
            one_winner(outcomes, "cannot-allocate")
        else:
            assert all(outcome.won for outcome in outcomes.values()), outcomes
        paid = await till.seen(invoice)
        assert (paid.state, paid.paid_minor) == ("paid", paid.payable_minor)
        track.ended("named" if named else "oldest due")
        for outcome in outcomes.values():
            if outcome.won:
                await till.reverse(outcome.answer)()
    assert (await till.seen(invoice)).state == "issued"


@kind("transfer first", "card first", suite=FEW)
async def transfer_against_card(track: Track, count: int) -> None:
    """A transfer is recorded while Stripe tells of a card payment of the same invoice: paid once, the card's money is never lost."""
    till = await Till.opened(track)
    for number in range(count):
        invoice = await till.issued()
        outcomes = await track.race(transfer=till.transfer(invoice), card=till.card(invoice))
        first = both(outcomes, "card", "cannot-allocate")
        paid = await till.seen(invoice)
        assert (paid.state, paid.paid_minor, await till.allocations(invoice)) == ("paid", paid.payable_minor, 1)
        track.ended("transfer first" if first else "card first")
        assert await track.count(Payment, Payment.method == "stripe") == number + 1
        await till.credit(invoice)()


@kind("one", "other", suite=FEW)
async def one_payment_told_twice(track: Track, count: int) -> None:
    """Two webhooks about one payment are handled at once: it is recorded once."""
    till = await Till.opened(track)
    invoice = await till.issued()
    for number in range(count):
        told = till.card(invoice, 1_00, payment_id=f"pi_{number}")
        outcomes = await track.race(one=told, other=told)
        answers = {name: outcome.answer for name, outcome in outcomes.items()}
        assert sorted(answers.values()) == ["1 new payments", "nothing new"], outcomes
        track.ended(next(name for name, answer in answers.items() if answer == "1 new payments"))
        assert await track.count(Payment) == number + 1
        if number % PARTS == PARTS - 1:
            assert (await till.seen(invoice)).paid_minor == PARTS * 1_00
            await till.credit(invoice)()
            invoice = await till.issued()


@kind("reversed first", "paid first", suite=FEW)
async def reverse_against_payment(track: Track, count: int) -> None:
    """A part payment is taken back while somebody records that all of the invoice was paid: right afterwards, too much before."""
    till = await Till.opened(track)
    invoice = await till.issued()
    for _ in range(count):
        part = await till.transfer(invoice, 1_00)()
        outcomes = await track.race(reversed=till.reverse(part), paid=till.transfer(invoice))
        paid = both(outcomes, "reversed", "cannot-allocate")
        assert (await till.seen(invoice)).state == ("paid" if paid else "issued")
        track.ended("reversed first" if paid else "paid first")
        if paid:
            await till.reverse(outcomes["paid"].answer)()
