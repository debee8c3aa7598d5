"""Void, credit, reopen, pay and take back: after each verb the journal says what the invoices say."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from tests.service.billing_world import World, lines_of, make_world
from tollgate import clock
from tollgate.billing import service, settlement
from tollgate.billing.models import CreditNote, CreditNoteLine, CreditNoteTax
from tollgate.billing.rules import VoidRefused
from tollgate.billing.service import AlreadyInvoiced, NotADraft, NotCreditable
from tollgate.billing.stripe_problems import StripeProblem
from tollgate.contracts.models import Contract
from tollgate.contracts.rules import TransitionRefused
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.errors import Invalid
from tollgate.files.storage import LocalStorage
from tollgate.ledger import queries as ledger
from tollgate.ledger import rules as entries
from tollgate.ledger.service import post
from tollgate.mail.models import MailMessage
from tollgate.money.amount import Money
from tollgate.settings import Settings


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> World:
    return await make_world(db, storage, settings)


async def pay(world: World, invoice_id: object, minor: int) -> None:
    """What payments does: settle and book in one transaction."""
    async with world.db.transaction(world.org.id) as session:
        contract, _milestones, invoice = await settlement.lock_invoice(session, world.org.id, invoice_id)  # type: ignore[arg-type]
        await settlement.apply_payment(session, invoice, minor)
        await book(world, session, contract, invoice, entries.received(allocated=Money(minor, "EUR"), client_credit=Money.zero("EUR")))


async def take_back(world: World, invoice_id: object, minor: int) -> int:
    async with world.db.transaction(world.org.id) as session:
        contract, _milestones, invoice = await settlement.lock_invoice(session, world.org.id, invoice_id)  # type: ignore[arg-type]
        taken = await settlement.take_back(session, invoice, minor)
        postings = entries.payment_reversed(allocated=Money(taken, "EUR"), client_credit=Money(minor - taken, "EUR"))
        await book(world, session, contract, invoice, postings)
        return taken


async def book(world: World, session: object, contract: Contract, invoice: object, postings: entries.Postings) -> None:
    await post(
        session,  # type: ignore[arg-type]
        organization_id=world.org.id,
        event="test_payment",
        source=f"test:{uuid7()}",
        booked_on=clock.today("UTC"),
        subject=("payment", uuid7()),
        contract_id=contract.id,
        client_id=contract.client_id,
        invoice_id=invoice.id,  # type: ignore[attr-defined]
        postings=postings,
    )


async def test_a_void_invoice_keeps_its_number_and_frees_its_milestone(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    await service.void_invoice(world.db, world.org.command("finance"), invoice.id, "wrong client")
    void = await world.invoice(invoice.id)
    assert (void.state, void.number, void.void_reason) == ("void", invoice.number, "wrong client")
    milestone = await world.milestone(milestone_id)
    assert (milestone.state, milestone.billing_held) == ("approved", True)
    assert [line.live for line in await lines_of(world, invoice.id)] == [False]
    await world.assert_ledger_matches()
    # The system does not bill again by itself; finance does, under the next number.
    await world.worker.run_until_idle()
    again = await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    assert (await world.invoice(again)).series_seq == 2
    assert (await world.milestone(milestone_id)).billing_held is False
    await world.assert_ledger_matches()


async def test_a_sent_paid_or_credited_invoice_is_not_made_void(world: World) -> None:
    sent, paid, credited, reasonless = await world.contract("10.00", "20.00", "30.00", "40.00")
    invoices = [await world.bill(milestone_id) for milestone_id in (sent, paid, credited, reasonless)]
    async with world.db.transaction(world.org.id) as session:
        await session.execute(text("update invoice set sent_at = now() where id = :id"), {"id": invoices[0].id})
    await pay(world, invoices[1].id, 100)
    await world.credit(invoices[2].id)
    for invoice in invoices[:3]:
        with pytest.raises(VoidRefused):
            await service.void_invoice(world.db, world.org.command("finance"), invoice.id, "no")
    with pytest.raises(Invalid) as refused:
        await service.void_invoice(world.db, world.org.command("finance"), invoices[3].id, "  ")
    assert [error.pointer for error in refused.value.errors] == ["/reason"]
    await world.assert_ledger_matches()


async def test_a_void_invoice_stays_void(world: World) -> None:
    (milestone_id,) = await world.contract("10.00")
    invoice = await world.bill(milestone_id)
    await service.void_invoice(world.db, world.org.command("finance"), invoice.id, "wrong")
    with pytest.raises(VoidRefused):
        await service.void_invoice(world.db, world.org.command("finance"), invoice.id, "again")
    with pytest.raises(NotCreditable):
        await world.credit(invoice.id)
    with pytest.raises(NotADraft):
        await service.issue_invoice(world.db, world.org.command("finance"), invoice.id, world.settings)
    with pytest.raises(DBAPIError, match="cannot go from void"):
        async with world.db.transaction(world.org.id) as session:
            await session.execute(text("update invoice set state = 'issued', voided_at = null"))


async def test_a_correction_takes_everything_back_to_the_cent(world: World) -> None:
    (milestone_id,) = await world.contract("82.64", rate="21")
    invoice = await world.bill(milestone_id)
    note = await world.credit(invoice.id)
    assert note.number == f"CN-{note.issued_on.year}-0001"
    assert (note.net_minor, note.tax_minor, note.payable_minor) == (invoice.net_minor, invoice.tax_minor, invoice.payable_minor)
    assert (note.from_open_minor, note.from_paid_minor) == (invoice.payable_minor, 0)
    credited = await world.invoice(invoice.id)
    assert (credited.state, credited.credited_minor) == ("credited", invoice.payable_minor)
    assert (await world.milestone(milestone_id)).billing_held is True
    async with world.db.reading(world.org.id) as session:
        (line,) = await session.scalars(select(CreditNoteLine))
        (tax,) = await session.scalars(select(CreditNoteTax))
    assert (line.net_minor, tax.tax_minor) == (invoice.net_minor, invoice.tax_minor)
    await world.assert_ledger_matches()


async def test_what_was_paid_becomes_client_credit(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    await pay(world, invoice.id, 7000)
    note = await world.credit(invoice.id)
    assert (note.from_open_minor, note.from_paid_minor) == (5000, 7000)
    async with world.db.reading(world.org.id) as session:
        assert await ledger.client_credit(session, world.org.id, world.client_id, "EUR") == Money(7000, "EUR")
    await world.assert_ledger_matches()
    # The payment bounces afterwards: it comes out of the client's credit, the invoice stays credited.
    assert await take_back(world, invoice.id, 7000) == 0
    async with world.db.reading(world.org.id) as session:
        assert await ledger.client_credit(session, world.org.id, world.client_id, "EUR") == Money(0, "EUR")
    await world.assert_ledger_matches()


async def test_a_credited_milestone_is_invoiced_anew(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    first = await world.bill(milestone_id)
    await world.credit(first.id)
    second = await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    await world.credit(second)
    third = await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    assert [row.series_seq for row in await world.invoices()] == [1, 2, 3]
    assert (await world.invoice_of(milestone_id)).id == third
    await world.assert_ledger_matches()


async def test_two_members_crediting_at_once_give_one_credit_note(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    answers = await asyncio.gather(world.credit(invoice.id), world.credit(invoice.id), return_exceptions=True)
    assert sorted(type(item).__name__ for item in answers) == ["CreditNote", "NotCreditable"]
    await world.assert_ledger_matches()


async def test_credit_against_payment_has_one_order(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    answers = await asyncio.gather(world.credit(invoice.id), pay(world, invoice.id, 12000), return_exceptions=True)
    assert not isinstance(answers[0], BaseException)
    # Either the payment came first and is credit now, or nothing was open for it any more.
    assert answers[1] is None or isinstance(answers[1], settlement.NothingOpen)
    await world.assert_ledger_matches()


async def test_other_kinds_of_credit_note_are_refused_by_name(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    with pytest.raises(Invalid) as refused:
        await service.credit_invoice(
            world.db, world.org.command("finance"), invoice.id, kind="price_reduction", reason="late", settings=world.settings
        )
    assert [error.pointer for error in refused.value.errors] == ["/kind"]
    assert (await world.invoice(invoice.id)).state == "issued"


@pytest.mark.parametrize(
    "statement",
    [
        "update credit_note set payable_minor = 1",
        "delete from credit_note",
        "update credit_note_line set net_minor = 1",
        "delete from credit_note_tax",
    ],
)
async def test_a_credit_note_cannot_be_changed(world: World, statement: str) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.credit((await world.bill(milestone_id)).id)
    with pytest.raises(DBAPIError, match=r"cannot be changed|permission denied|immutable"):
        async with world.db.transaction(world.org.id) as session:
            await session.execute(text(statement))


async def test_payments_move_invoice_milestone_and_contract(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    await pay(world, invoice.id, 5000)
    assert ((await world.invoice(invoice.id)).state, (await world.milestone(milestone_id)).state) == ("partly_paid", "invoiced")
    await world.assert_ledger_matches()
    await pay(world, invoice.id, 7000)
    assert ((await world.invoice(invoice.id)).state, (await world.milestone(milestone_id)).state) == ("paid", "paid")
    contract_id = (await world.milestone(milestone_id)).contract_id
    async with world.db.reading(world.org.id) as session:
        assert (await session.get_one(Contract, (world.org.id, contract_id))).state == "completed"
        asked = list(await session.scalars(select(MailMessage.template)))
    assert "billing/receipt" in asked
    await world.assert_ledger_matches()
    with pytest.raises(settlement.NothingOpen):
        await pay(world, invoice.id, 1)
    assert await take_back(world, invoice.id, 12000) == 12000
    assert ((await world.invoice(invoice.id)).state, (await world.milestone(milestone_id)).state) == ("issued", "invoiced")
    async with world.db.reading(world.org.id) as session:
        assert (await session.get_one(Contract, (world.org.id, contract_id))).state == "active"
    await world.assert_ledger_matches()


async def test_crediting_a_paid_invoice_reopens_its_contract(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    await pay(world, invoice.id, 12000)
    note = await world.credit(invoice.id)
    assert (note.from_open_minor, note.from_paid_minor) == (0, 12000)
    milestone = await world.milestone(milestone_id)
    assert milestone.state == "approved"
    async with world.db.reading(world.org.id) as session:
        assert (await session.get_one(Contract, (world.org.id, milestone.contract_id))).state == "active"
    await world.assert_ledger_matches()


async def test_reopening_throws_the_draft_away_and_refuses_what_is_billed(world: World) -> None:
    drafted, billed = await world.contract("10.00", "20.00", on_approval="review")
    await world.bill(drafted)
    await service.reopen_milestone(world.db, world.org.command(), drafted, "found a defect")
    assert (await world.milestone(drafted)).state == "in_progress"
    assert await world.invoices() == []
    await world.assert_ledger_matches()
    await world.bill(billed)
    await service.invoice_milestone(world.db, world.org.command("finance"), billed, world.settings)
    with pytest.raises(TransitionRefused):
        await service.reopen_milestone(world.db, world.org.command(), billed, "too late")
    assert (await world.invoice_of(billed)).state == "issued"
    # Taken back, the milestone can be reopened, delivered and billed again in its next round.
    await world.credit((await world.invoice_of(billed)).id)
    await service.reopen_milestone(world.db, world.org.command(), billed, "rework")
    await world.assert_ledger_matches()
    assert (await world.bill(billed)).state == "draft"
    await world.assert_ledger_matches()


async def test_the_loser_of_a_race_hears_who_won(world: World) -> None:
    (milestone_id,) = await world.contract("10.00", on_approval="review")
    await world.bill(milestone_id)
    invoice_id = await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    with pytest.raises(AlreadyInvoiced) as refused:
        await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    assert refused.value.facts["invoice_id"] == invoice_id


async def test_the_gateways_facts_are_written_without_touching_the_document(world: World) -> None:
    (milestone_id,) = await world.contract("10.00")
    invoice = await world.bill(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        await settlement.record_gateway(session, invoice.id, stripe_invoice_id="in_1", step="draft")
    async with world.db.transaction(world.org.id) as session:
        problem = StripeProblem("refused", {"answer": "card network slow"})
        await settlement.record_gateway(session, invoice.id, hosted_url="https://pay.example/in_1", step="sent", problem=problem)
    assert (await world.invoice(invoice.id)).stripe_problem == "card network slow"
    async with world.db.transaction(world.org.id) as session:
        await settlement.record_gateway(session, invoice.id, problem="")
    now = await world.invoice(invoice.id)
    assert (now.stripe_invoice_id, now.stripe_hosted_url, now.stripe_step, now.stripe_problem) == (
        "in_1",
        "https://pay.example/in_1",
        "sent",
        None,
    )


async def test_credit_note_numbers_have_no_gap_under_concurrency(world: World) -> None:
    milestones = await world.contract(*["10.00"] * 8)
    invoices = [await world.bill(item) for item in milestones]
    await asyncio.gather(*(world.credit(invoice.id) for invoice in invoices))
    async with world.db.reading(world.org.id) as session:
        taken = sorted(await session.scalars(select(CreditNote.series_seq)))
    assert taken == list(range(1, 9))
    await world.assert_ledger_matches()
