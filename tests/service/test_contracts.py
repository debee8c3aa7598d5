"""Drafting, changing, activating and deleting contracts, on PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from tests.factories import Org, make_client, make_contact, make_organization
from tests.service.signoff_world import World, eur, milestone
from tollgate import clock
from tollgate.contracts import queries
from tollgate.contracts import service as contracts
from tollgate.contracts.models import ContractVersion
from tollgate.contracts.rules import NotReady, Role, TaxCategory, TaxTreatment, TransitionRefused, price_of
from tollgate.contracts.service import AgreementInput, ContractChange, ContractInput, FileInput, MilestoneChange, MilestoneInput, NotADraft
from tollgate.contracts.service_milestones import AgreedAlready
from tollgate.contracts.service_views import contract_view
from tollgate.db.command import Replayed
from tollgate.db.database import Database
from tollgate.errors import Invalid, NotFound, Stale, TollgateError
from tollgate.files.storage import LocalStorage


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


def pointers(error: TollgateError) -> set[str]:
    return {item.pointer for item in error.errors}


async def test_a_draft_falls_back_on_the_organizations_defaults(world: World) -> None:
    row = await world.contract(await world.draft())
    assert (row.state, row.currency, row.tax_category, row.tax_rate_percent, row.payment_days) == ("draft", "EUR", "S", Decimal(20), 30)
    assert row.owner_member_id == world.org.manager_id
    async with world.db.reading(world.org.id) as session:
        assert (await queries.approvers_of(session, world.org.id, [row.id]))[row.id] == [world.clara_id, world.carl_id]


async def test_percentages_share_the_value_to_the_cent(world: World) -> None:
    thirds = [MilestoneInput(title=name, percent=Decimal(part)) for name, part in (("a", "33.33"), ("b", "33.33"), ("c", "33.34"))]
    contract_id = await world.draft(value=eur("100.01"), milestones=thirds)
    assert [row.amount_minor for row in await world.milestones(contract_id)] == [3333, 3334, 3334]


async def test_a_new_value_moves_the_percentages(world: World) -> None:
    halves = [MilestoneInput(title="a", percent=Decimal(50)), MilestoneInput(title="b", percent=Decimal(50))]
    contract_id = await world.draft(value=eur("100.00"), milestones=halves)
    await contracts.change_contract(world.db, world.command(), contract_id, 1, ContractChange(value=eur("33.33")))
    assert [row.amount_minor for row in await world.milestones(contract_id)] == [1667, 1666]


async def test_every_wrong_field_is_named_at_once(world: World) -> None:
    rows = [
        MilestoneInput(title="", amount=eur("1.00")),
        MilestoneInput(title="b"),
        MilestoneInput(title="c", amount=eur("-1.00")),
        MilestoneInput(title="d", amount=eur("1.00"), percent=Decimal(1)),
        MilestoneInput(title="e", amount=eur("1.00"), tax=TaxTreatment(TaxCategory.REVERSE_CHARGE, Decimal(0))),
    ]
    with pytest.raises(Invalid) as caught:
        await world.draft(title=" ", contingency=eur("9000.00"), milestones=rows, payment_days=400)
    assert pointers(caught.value) == {
        "/title",
        "/contingency",
        "/payment_terms/days",
        "/milestones/0/title",
        "/milestones/1/amount",
        "/milestones/2/amount",
        "/milestones/3/amount",
        "/milestones/4/tax/category",
    }


async def test_another_currency_is_refused_and_says_why(world: World) -> None:
    with pytest.raises(Invalid, match="not available yet") as caught:
        await world.draft(currency="USD")
    assert pointers(caught.value) == {"/currency"}


async def test_a_foreign_client_or_contact_is_not_found(world: World) -> None:
    other = await make_organization(world.db)
    foreign = await make_client(world.db, other)
    contact = await make_contact(world.db, other, foreign)
    with pytest.raises(NotFound):
        await world.draft(client_id=foreign)
    with pytest.raises(NotFound):
        await world.draft(approver_ids=[contact])


async def test_an_approver_of_another_client_is_refused(world: World) -> None:
    elsewhere = await make_contact(world.db, world.org, await make_client(world.db, world.org))
    with pytest.raises(Invalid) as caught:
        await world.draft(approver_ids=[world.clara_id, elsewhere])
    assert pointers(caught.value) == {"/approval/contact_ids/1"}


async def test_a_change_replaces_the_schedule_and_needs_the_newest_version(world: World) -> None:
    contract_id = await world.draft()
    change = ContractChange(title="New", milestones=[milestone("Only", "3000.00")], approver_ids=[world.carl_id])
    await contracts.change_contract(world.db, world.command(), contract_id, 1, change)
    row = await world.contract(contract_id)
    assert (row.title, row.version) == ("New", 2)
    assert [item.title for item in await world.milestones(contract_id)] == ["Only"]
    with pytest.raises(Stale):
        await contracts.change_contract(world.db, world.command(), contract_id, 1, ContractChange(title="Newer"))


async def test_two_editors_at_once_give_one_winner(world: World) -> None:
    contract_id = await world.draft()
    attempts = (contracts.change_contract(world.db, world.command(), contract_id, 1, ContractChange(title=name)) for name in ("A", "B"))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(item).__name__ for item in outcomes) == ["Stale", "UUID"]
    assert (await world.contract(contract_id)).version == 2


async def test_another_client_brings_its_own_approvers(world: World) -> None:
    client_id = await make_client(world.db, world.org)
    contact_id = await make_contact(world.db, world.org, client_id)
    contract_id = await world.draft()
    await contracts.change_contract(world.db, world.command(), contract_id, 1, ContractChange(client_id=client_id))
    async with world.db.reading(world.org.id) as session:
        assert (await queries.approvers_of(session, world.org.id, [contract_id]))[contract_id] == [contact_id]


async def test_a_draft_is_deleted_whole(world: World) -> None:
    contract_id = await world.draft()
    await contracts.delete_contract(world.db, world.command(), contract_id, 1)
    assert await world.milestones(contract_id) == []
    with pytest.raises(NotFound):
        await contracts.delete_contract(world.db, world.command(), contract_id, 1)


async def test_activation_freezes_version_1_under_its_hash(world: World) -> None:
    contract_id = await world.draft(contingency=eur("500.00"), value=eur("3500.00"))
    agreement = AgreementInput(
        agreed_on=date(2026, 11, 2),
        agreed_by="Clara Klient",
        file=FileInput(name="a/b/signed.pdf", content_type="application/pdf", content=b"%PDF"),
    )
    await contracts.activate_contract(world.db, world.storage, world.command(), contract_id, agreement)
    async with world.db.reading(world.org.id) as session:
        version = (await session.scalars(select(ContractVersion))).one()
        view = await contract_view(session, world.org.id, contract_id, Role.ADMIN, None)
    content = json.loads(version.content)
    assert version.number == 1
    assert hashlib.sha256(version.content.encode()).digest() == version.content_sha256
    assert (version.agreement_file_name, version.agreed_by) == ("signed.pdf", "Clara Klient")
    assert await world.storage.get(world.org.id, version.agreement_sha256_hex or "") == b"%PDF"
    assert content["seller"]["id"] == str(world.org.id)
    assert content["client"]["id"] == str(world.client_id)
    assert [item["amount"]["amount"] for item in content["milestones"]] == ["1000.00", "2000.00"]
    assert content["contingency"] == {"amount": "500.00", "currency": "EUR"}
    assert view.state == "active"
    assert view.agreed is not None
    assert view.agreed.content_sha256_hex == version.content_sha256.hex()


async def test_activation_names_the_difference(world: World) -> None:
    contract_id = await world.draft(value=eur("3000.01"))
    with pytest.raises(NotReady) as caught:
        await contracts.activate_contract(world.db, world.storage, world.command(), contract_id)
    assert pointers(caught.value) == {"/milestones"}
    assert "0.01 EUR less" in str(caught.value.errors[0].detail)
    assert (await world.contract(contract_id)).state == "draft"


async def test_activation_names_all_that_is_missing(world: World, db: Database, storage: LocalStorage) -> None:
    bare = await World.make(db, storage, await make_organization(db, tax_id=""))
    contract_id = await bare.draft(milestones=[], approver_ids=[])
    with pytest.raises(NotReady) as caught:
        await contracts.activate_contract(db, storage, bare.command(), contract_id)
    assert {"/milestones", "/approval/contact_ids", "/seller/tax_id"} <= pointers(caught.value)


async def test_an_agreement_of_the_future_is_refused(world: World) -> None:
    contract_id = await world.draft()
    agreement = AgreementInput(agreed_on=clock.today("UTC") + timedelta(days=3), agreed_by="Clara")
    with pytest.raises(Invalid) as caught:
        await contracts.activate_contract(world.db, world.storage, world.command(), contract_id, agreement)
    assert pointers(caught.value) == {"/agreement/agreed_on"}


async def test_two_activations_at_once_make_one_version(world: World) -> None:
    contract_id = await world.draft()
    attempts = (contracts.activate_contract(world.db, world.storage, world.command(), contract_id) for _ in range(2))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(item).__name__ for item in outcomes) == ["TransitionRefused", "UUID"]


async def test_what_is_agreed_is_not_edited(world: World) -> None:
    contract_id = await world.active()
    with pytest.raises(NotADraft):
        await contracts.change_contract(world.db, world.command(), contract_id, 2, ContractChange(title="x"))
    with pytest.raises(NotADraft):
        await contracts.delete_contract(world.db, world.command(), contract_id, 2)
    row = (await world.milestones(contract_id))[0]
    with pytest.raises(AgreedAlready) as caught:
        await contracts.change_milestone(world.db, world.command(), row.id, row.version, MilestoneChange(amount=eur("1.00")))
    assert pointers(caught.value) == {"/amount"}


async def test_planned_on_is_free_to_move(world: World) -> None:
    row = (await world.milestones(await world.active()))[0]
    await contracts.change_milestone(world.db, world.command(), row.id, row.version, MilestoneChange(planned_on=date(2027, 1, 15)))
    moved = await world.milestone(row.id)
    assert (moved.planned_on, moved.version) == (date(2027, 1, 15), row.version + 1)
    with pytest.raises(Stale):
        await contracts.change_milestone(world.db, world.command(), row.id, row.version, MilestoneChange(planned_on=None))


async def test_a_draft_milestone_takes_a_percentage_for_its_amount(world: World) -> None:
    row = (await world.milestones(await world.draft()))[0]
    change = MilestoneChange(percent=Decimal("12.5"), title="Sketch", tax=TaxTreatment(TaxCategory.STANDARD, Decimal(10)))
    await contracts.change_milestone(world.db, world.command(), row.id, row.version, change)
    changed = await world.milestone(row.id)
    assert (changed.amount_minor, changed.percent, changed.title, changed.tax_rate_percent) == (
        37500,
        Decimal("12.5"),
        "Sketch",
        Decimal(10),
    )


async def test_a_cancelled_draft_milestone_counts_nothing(world: World) -> None:
    contract_id = await world.draft(value=eur("2000.00"))
    first = (await world.milestones(contract_id))[0]
    await contracts.cancel_milestone(world.db, world.command(), first.id)
    await contracts.activate_contract(world.db, world.storage, world.command(), contract_id)
    assert (await world.milestone(first.id)).state == "cancelled"
    with pytest.raises(TransitionRefused):
        await contracts.start_milestone(world.db, world.command(), first.id)


async def test_an_agreed_milestone_is_not_cancelled(world: World) -> None:
    row = (await world.milestones(await world.active()))[0]
    with pytest.raises(TransitionRefused, match="change order"):
        await contracts.cancel_milestone(world.db, world.command(), row.id)


async def test_start_needs_an_active_contract(world: World) -> None:
    contract_id = await world.draft()
    row = (await world.milestones(contract_id))[0]
    with pytest.raises(TransitionRefused):
        await contracts.start_milestone(world.db, world.command("account_manager"), row.id)
    await contracts.activate_contract(world.db, world.storage, world.command(), contract_id)
    await contracts.start_milestone(world.db, world.command("account_manager"), row.id)
    started = await world.milestone(row.id)
    assert started.state == "in_progress"
    assert started.started_at is not None


async def test_a_repeat_with_the_same_key_makes_one_contract(world: World) -> None:
    asked = ContractInput(client_id=world.client_id, title="Once", value=eur("1.00"))
    command = world.command(key="k1", verb="POST /contracts", request_sha256=b"x" * 32)
    first = await contracts.create_contract(world.db, command, asked)
    with pytest.raises(Replayed) as caught:
        await contracts.create_contract(world.db, command, asked)
    assert (caught.value.resource_id, caught.value.status) == (first, 201)


async def test_a_foreign_organization_finds_nothing(world: World) -> None:
    other = await make_organization(world.db)
    contract_id = await world.active()
    milestone_id = (await world.milestones(contract_id))[0].id
    command = other.command()
    with pytest.raises(NotFound):
        await contracts.change_contract(world.db, command, contract_id, 1, ContractChange(title="x"))
    with pytest.raises(NotFound):
        await contracts.activate_contract(world.db, world.storage, command, contract_id)
    with pytest.raises(NotFound):
        await contracts.start_milestone(world.db, command, milestone_id)
    with pytest.raises(NotFound):
        await contracts.change_milestone(world.db, command, milestone_id, 1, MilestoneChange(planned_on=None))


async def test_the_contract_completes_with_its_last_milestone_and_resumes(world: World) -> None:
    contract_id = await world.active()
    rows = await world.milestones(contract_id)
    for row in rows:
        async with world.db.transaction(world.org.id) as session:
            # The states above this room, put there by hand: only completion is tested here.
            await session.execute(text("update milestone set state = 'paid', round_id = id where id = :id"), {"id": row.id})
            await contracts.settle_contract(session, await contracts.lock_contract(session, world.org.id, contract_id))
    assert (await world.contract(contract_id)).state == "completed"
    async with world.db.transaction(world.org.id) as session:
        await session.execute(text("update milestone set state = 'invoiced' where id = :id"), {"id": rows[0].id})
        await contracts.settle_contract(session, await contracts.lock_contract(session, world.org.id, contract_id))
    again = await world.contract(contract_id)
    assert (again.state, again.completed_at) == ("active", None)


@pytest.mark.parametrize("amount", ["0.01", "1000.00", "119.99"])
def test_a_gross_price_keeps_its_gross(amount: str) -> None:
    price = price_of(eur(amount), "gross", TaxTreatment(TaxCategory.STANDARD, Decimal(20)))
    assert price.net + price.tax + price.rounding == price.payable == eur(amount)
