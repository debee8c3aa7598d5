"""From approval to a numbered, immutable invoice: amounts, review, blocks, repeats."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from tests.factories import make_client, make_organization
from tests.service.billing_world import World, lines_of, make_world
from tollgate import clock
from tollgate.audit.models import AuditEvent
from tollgate.billing import queries, service, service_views
from tollgate.billing.service import AlreadyInvoiced, NotADraft, NotIssuable
from tollgate.billing.service_issue import bill_approved
from tollgate.contracts.rules import TransitionRefused
from tollgate.contracts.service import ContractInput, MilestoneInput
from tollgate.db.command import Replayed
from tollgate.db.database import Database
from tollgate.errors import NotFound, Stale
from tollgate.files.storage import LocalStorage
from tollgate.jobs import enqueue
from tollgate.jobs.service import jobs_of
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Organization
from tollgate.parties.news import PartyChanged
from tollgate.settings import Settings
from tollgate.signoff.models import ReviewRound

CASES = json.loads((Path(__file__).parents[1] / "cases" / "document_tax.json").read_text())


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> World:
    return await make_world(db, storage, settings)


async def test_an_approval_makes_a_numbered_invoice(world: World) -> None:
    (milestone_id,) = await world.contract("1200.00")
    with clock.moved_to(datetime(2026, 11, 24, 9, tzinfo=UTC)):
        invoice = await world.bill(milestone_id)
    assert (invoice.state, invoice.number) == ("issued", "INV-2026-0001")
    assert (invoice.net_minor, invoice.tax_minor, invoice.payable_minor) == (120000, 24000, 144000)
    assert (invoice.issued_on, invoice.supplied_on, invoice.due_on) == (date(2026, 11, 24), date(2026, 11, 24), date(2026, 12, 24))
    assert (await world.milestone(milestone_id)).state == "invoiced"
    async with world.db.reading(world.org.id) as session:
        names = list(await session.scalars(select(AuditEvent.name).order_by(AuditEvent.seq)))
        kinds = [job.kind for job in await jobs_of(session, world.org.id, ("ready", "done"))]
    assert {"invoice.drafted", "invoice.issued", "milestone.invoiced"} <= set(names)
    assert "billing.invoice_issued" in kinds
    await world.assert_ledger_matches()


async def test_what_is_billed_is_what_was_signed(world: World) -> None:
    (milestone_id,) = await world.contract("1200.00")
    invoice = await world.bill(milestone_id)
    (line,) = await lines_of(world, invoice.id)
    async with world.db.reading(world.org.id) as session:
        signed = await session.get_one(ReviewRound, (world.org.id, line.round_id))
    assert line.round_sha256 == signed.content_sha256
    assert line.net_minor == signed.amount_minor


async def test_the_day_of_issue_and_supply_is_the_sellers_day(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    # 23:30 UTC on 31 December is 00:30 on 1 January in Vienna.
    with clock.moved_to(datetime(2026, 12, 31, 23, 30, tzinfo=UTC)):
        invoice = await world.bill(milestone_id)
    assert (invoice.number, invoice.issued_on, invoice.supplied_on) == ("INV-2027-0001", date(2027, 1, 1), date(2027, 1, 1))


async def test_the_series_of_the_tax_case_through_the_database(world: World) -> None:
    case = CASES["series"]
    milestones = await world.contract(percents=["33.333333", "33.333334", "33.333333"], value=case["value"], rate=case["rate"])
    nets, taxes = [], []
    for milestone_id in milestones:
        invoice = await world.bill(milestone_id)
        nets.append(Money(invoice.net_minor, "EUR").decimal_string())
        taxes.append(Money(invoice.tax_minor, "EUR").decimal_string())
    assert (nets, taxes) == (case["nets"], case["taxes"])
    contract_id = (await world.milestone(milestones[0])).contract_id
    async with world.db.reading(world.org.id) as session:
        shown = await service.schedule(session, world.org.id, contract_id)
    assert [item.tax.decimal_string() for item in shown.items] == case["taxes"]
    assert shown.series_rounding.decimal_string() == case["shown_rounding"]
    await world.assert_ledger_matches()


async def test_a_gross_price_that_no_net_reaches_is_closed_by_rounding(world: World) -> None:
    case = CASES["gross_priced"]
    (milestone_id,) = await world.contract(case["gross"], rate=case["rate"], price_basis="gross")
    invoice = await world.bill(milestone_id)
    amounts = {name: Money(getattr(invoice, f"{name}_minor"), "EUR").decimal_string() for name in ("net", "tax", "rounding", "payable")}
    assert amounts == {name: case[name] for name in amounts}
    await world.assert_ledger_matches()


async def test_each_milestone_keeps_its_own_rate(world: World) -> None:
    first, second = await world.contract("333.33", "333.36", rates=(None, "10"))
    assert (await world.bill(first)).tax_minor == 6667
    assert (await world.bill(second)).tax_minor == 3334


async def test_review_drafts_and_finance_issues(world: World) -> None:
    (milestone_id,) = await world.contract("100.00", on_approval="review")
    drafted = await world.bill(milestone_id)
    assert (drafted.state, drafted.number) == ("draft", None)
    assert (await world.milestone(milestone_id)).state == "approved"
    await world.assert_ledger_matches()
    await service.issue_invoice(world.db, world.org.command("finance"), drafted.id, world.settings)
    invoice = await world.invoice_of(milestone_id)
    assert (invoice.id, invoice.state, invoice.number is None) == (drafted.id, "issued", False)
    with pytest.raises(NotADraft) as refused:
        await service.issue_invoice(world.db, world.org.command(), drafted.id, world.settings)
    # Who won and when, though the system had drafted it.
    assert refused.value.facts["number"] == invoice.number
    assert refused.value.facts["issued_by"] == {"kind": "member", "id": str(world.org.finance_id)}
    await world.assert_ledger_matches()


async def test_invoicing_a_milestone_under_review_issues_its_draft(world: World) -> None:
    (milestone_id,) = await world.contract("100.00", on_approval="review")
    drafted = await world.bill(milestone_id)
    assert await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings) == drafted.id
    assert (await world.invoice(drafted.id)).state == "issued"
    assert len(await world.invoices()) == 1


async def test_a_draft_can_go_and_come_again(world: World) -> None:
    (milestone_id,) = await world.contract("100.00", on_approval="review")
    drafted = await world.bill(milestone_id)
    with pytest.raises(Stale):
        await service.delete_draft(world.db, world.org.command("finance"), drafted.id, 99)
    await service.delete_draft(world.db, world.org.command("finance"), drafted.id, drafted.version)
    assert await world.invoices() == []
    invoice_id = await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    # A deleted draft took no number.
    assert (await world.invoice(invoice_id)).series_seq == 1
    with pytest.raises(NotADraft):
        await service.delete_draft(world.db, world.org.command("finance"), invoice_id)
    await world.assert_ledger_matches()


async def test_only_what_is_approved_is_invoiced(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    with pytest.raises(TransitionRefused):
        await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    assert await world.invoices() == []


async def test_a_zero_payable_is_settled_on_issue(world: World) -> None:
    milestones = await world.contract("0.00", "100.00")
    invoice = await world.bill(milestones[0])
    assert (invoice.state, invoice.payable_minor) == ("paid", 0)
    assert (await world.milestone(milestones[0])).state == "paid"
    await world.assert_ledger_matches()


async def test_news_that_comes_twice_bills_once(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        assert await bill_approved(session, world.org.id, milestone_id, world.settings) is None
    assert [row.id for row in await world.invoices()] == [invoice.id]


async def test_two_members_invoicing_at_once_give_one_invoice(world: World) -> None:
    (milestone_id,) = await world.contract("100.00", on_approval="review")
    await world.approve(milestone_id)
    asked = [service.invoice_milestone(world.db, world.org.command(role), milestone_id, world.settings) for role in ("finance", "admin")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    (won,) = [item for item in answers if not isinstance(item, BaseException)]
    (lost,) = [item for item in answers if isinstance(item, BaseException)]
    assert isinstance(lost, AlreadyInvoiced)
    assert lost.facts["invoice_id"] == won and lost.facts["number"] and lost.facts["issued_at"]
    (invoice,) = await world.invoices()
    assert (invoice.id, invoice.series_seq) == (won, 1)
    await world.assert_ledger_matches()


async def test_a_repeat_under_one_key_is_the_same_invoice(world: World) -> None:
    (milestone_id,) = await world.contract("100.00", on_approval="review")
    await world.approve(milestone_id)
    command = world.org.command("finance", key="once", verb="POST invoice")
    invoice_id = await service.invoice_milestone(world.db, command, milestone_id, world.settings)
    with pytest.raises(Replayed) as again:
        await service.invoice_milestone(world.db, command, milestone_id, world.settings)
    assert (again.value.resource_id, again.value.status) == (invoice_id, 201)
    assert len(await world.invoices()) == 1


async def test_missing_tax_data_blocks_and_saving_it_issues(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.approve(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Organization, world.org.id)).tax_id = ""
    await world.worker.run_until_idle()
    async with world.db.reading(world.org.id) as session:
        (blocked,) = await queries.blocked_milestones(session, world.org.id)
    assert blocked.milestone_id == milestone_id and "tax number" in blocked.reason and blocked.pointer == "/seller/tax_id"
    with pytest.raises(NotIssuable) as refused:
        await service.invoice_milestone(world.db, world.org.command("finance"), milestone_id, world.settings)
    assert [error.pointer for error in refused.value.errors] == ["/seller/tax_id"]
    assert await world.invoices() == []
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Organization, world.org.id)).tax_id = "ATU12345675"
        await enqueue(session, PartyChanged(organization_id=world.org.id))
    await world.worker.run_until_idle()
    assert (await world.invoice_of(milestone_id)).series_seq == 1
    async with world.db.reading(world.org.id) as session:
        assert await queries.blocked_milestones(session, world.org.id) == []
    await world.assert_ledger_matches()


async def test_a_name_that_cannot_be_printed_blocks_the_invoice_instead_of_printing_boxes(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.approve(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Client, (world.org.id, world.client_id))).legal_name = "漢字 GmbH"
    await world.worker.run_until_idle()
    async with world.db.reading(world.org.id) as session:
        (blocked,) = await queries.blocked_milestones(session, world.org.id)
    assert "漢" in blocked.reason and blocked.pointer == "/buyer/legal_name"
    assert await world.invoices() == []


async def test_saving_the_field_while_the_block_is_written_still_issues(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.approve(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Organization, world.org.id)).tax_id = ""
    async with world.db.transaction(world.org.id) as saving:
        (await saving.get_one(Organization, world.org.id)).tax_id = "ATU12345675"
        await saving.flush()
        await enqueue(saving, PartyChanged(organization_id=world.org.id))

        async def bill() -> object:
            async with world.db.transaction(world.org.id) as session:
                return await bill_approved(session, world.org.id, milestone_id, world.settings)

        billing = asyncio.create_task(bill())
        # It has read the old data by now and waits for the row that is being saved.
        await asyncio.sleep(0.3)
        assert not billing.done()
    assert await billing is not None
    await world.worker.run_until_idle()
    assert len(await world.invoices()) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "update invoice set net_minor = net_minor + 1, gross_minor = gross_minor + 1, amount_due_minor = amount_due_minor + 1, payable_minor = payable_minor + 1",
        "update invoice set number = 'INV-9999'",
        "update invoice set due_on = due_on + 30",
        "update invoice set state = 'draft'",
        "delete from invoice",
        "update invoice_line set net_minor = 1",
        "delete from invoice_line",
        "update invoice_tax set tax_minor = 1",
        "delete from invoice_tax",
        "update number_series set last_seq = last_seq + 2",
        "update document set content = '{}'",
        "delete from document",
    ],
)
async def test_an_issued_invoice_cannot_be_changed(world: World, statement: str) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.bill(milestone_id)
    with pytest.raises(DBAPIError, match=r"cannot be (changed|deleted)|cannot go|permission denied|goes up by one|written once"):
        async with world.db.transaction(world.org.id) as session:
            await session.execute(text(statement))


async def test_what_finance_has_to_bill_says_what_it_waits_for(world: World) -> None:
    review, held, blocked = (await world.contract("10.00", on_approval="review"))[0], *(await world.contract("20.00", "30.00"))
    await world.bill(review)
    await service.void_invoice(world.db, world.org.command("finance"), (await world.bill(held)).id, "wrong")
    await world.approve(blocked)

    async def ready() -> dict[object, str]:
        async with world.db.reading(world.org.id) as session:
            return {row.milestone_id: row.why for row in await service_views.ready_to_invoice(session, world.org.id)}

    assert await ready() == {review: "review", held: "held", blocked: "waiting"}
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Organization, world.org.id)).tax_id = ""
    await world.worker.run_until_idle()
    assert await ready() == {review: "review", held: "held", blocked: "blocked"}


async def test_another_organization_finds_nothing(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    other = await make_organization(world.db)
    with pytest.raises(NotFound):
        await service.void_invoice(world.db, other.command("finance"), invoice.id, "not mine")
    with pytest.raises(NotFound):
        async with world.db.reading(other.id) as session:
            await service_views.show_invoice(session, other.id, invoice.id)


async def test_overdue_is_derived_on_the_sellers_day(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    with clock.moved_to(datetime(2026, 11, 24, 9, tzinfo=UTC)):
        invoice = await world.bill(milestone_id)

    async def late(at: datetime) -> tuple[bool, int, int]:
        with clock.moved_to(at):
            async with world.db.reading(world.org.id) as session:
                shown = await service_views.show_invoice(session, world.org.id, invoice.id)
                listed = await service_views.list_invoices(session, world.org.id, service_views.InvoiceFilter(overdue=True))
        return shown.overdue, shown.days_overdue, len(listed)

    # Due today is not overdue; one minute into the next day in Vienna it is.
    assert await late(datetime(2026, 12, 24, 22, 59, tzinfo=UTC)) == (False, 0, 0)
    assert await late(datetime(2026, 12, 24, 23, 1, tzinfo=UTC)) == (True, 1, 1)


async def test_the_list_filters_and_pages(world: World) -> None:
    milestones = await world.contract("100.00", "200.00", "300.00")
    for offset, milestone_id in enumerate(milestones):
        with clock.moved_to(datetime(2026, 11, 24, 9, tzinfo=UTC) + timedelta(minutes=offset)):
            await world.bill(milestone_id)
    async with world.db.reading(world.org.id) as session:
        first = await service_views.list_invoices(session, world.org.id, service_views.InvoiceFilter(limit=2))
        assert len(first) == 3
        last = first[1]
        after = service_views.InvoiceFilter(limit=2, after=(last.created_at, last.id))
        rest = await service_views.list_invoices(session, world.org.id, after)
        nobody = await service_views.list_invoices(session, world.org.id, service_views.InvoiceFilter(client_id=world.contact_id))
        one = await service_views.list_invoices(session, world.org.id, service_views.InvoiceFilter(milestone_id=milestones[0]))
        none_late = await service_views.list_invoices(session, world.org.id, service_views.InvoiceFilter(overdue=False))
    assert [row.number for row in [*first[:2], *rest]] == ["INV-2026-0003", "INV-2026-0002", "INV-2026-0001"]
    assert nobody == [] and [row.number for row in one] == ["INV-2026-0001"] and len(none_late) == 3


async def test_the_preview_of_a_draft_is_what_is_issued(world: World) -> None:
    rows = [MilestoneInput(title="One", percent=Decimal(30)), MilestoneInput(title="Two", amount=Money.parse("700.00", "EUR"))]
    asked = ContractInput(client_id=world.client_id, title="Draft", value=Money.parse("1000.00", "EUR"), milestones=rows)
    async with world.db.reading(world.org.id) as session:
        shown = await service.preview(session, world.org.id, asked)
    assert [str(item.net) for item in shown.items] == ["300.00 EUR", "700.00 EUR"]
    assert [str(item.payable) for item in shown.items] == ["360.00 EUR", "840.00 EUR"]
    assert shown.problems == ()
    first, _second = await world.contract("300.00", "700.00")
    assert (await world.bill(first)).payable_minor == shown.items[0].payable.minor


async def test_the_preview_says_what_an_invoice_would_lack(world: World) -> None:
    client_id = await make_client(world.db, world.org)
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Organization, world.org.id)).tax_id = ""
        (await session.get_one(Client, (world.org.id, client_id))).tax_id = ""
    rows = [MilestoneInput(title="One", amount=Money.parse("10.00", "EUR"))]
    asked = ContractInput(client_id=client_id, title="Draft", value=Money.parse("10.00", "EUR"), milestones=rows)
    async with world.db.reading(world.org.id) as session:
        shown = await service.preview(session, world.org.id, asked)
    assert [problem.pointer for problem in shown.problems] == ["/seller/tax_id"]
