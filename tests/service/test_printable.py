"""What the documents cannot print is refused before it freezes: on activation, on delivery, and in the names that sign."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy import text

from tests.factories import Org, make_client, make_contact
from tests.service.signoff_world import World, milestone
from tollgate.contracts import service as contracts
from tollgate.contracts.rules import NotReady
from tollgate.contracts.service import DeliverableInput, FileInput
from tollgate.db.database import Database
from tollgate.errors import Invalid, TollgateError
from tollgate.files.storage import LocalStorage
from tollgate.signoff import service as signoff
from tollgate.signoff.service import Delivery, Recorded


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


def pointers(error: TollgateError) -> set[str]:
    return {item.pointer for item in error.errors}


async def test_activation_names_every_field_that_cannot_be_printed(world: World) -> None:
    client_id = await make_client(world.db, world.org, legal_name="港 GmbH", line1="通り 1", city="東京")
    await make_contact(world.db, world.org, client_id)
    rows = [
        milestone("Design", "1000.00"),
        milestone("設計", "2000.00", description="😀", acceptance_criteria=("fine", "良"), deliverables_expected=("良",)),
    ]
    contract_id = await world.draft(
        client_id=client_id, title="漢字", reference="参", purchase_order="注", buyer_reference="買", milestones=rows
    )
    with pytest.raises(NotReady) as caught:
        await contracts.activate_contract(world.db, world.storage, world.command(), contract_id)
    named = {
        *(
            "/title",
            "/reference",
            "/purchase_order",
            "/buyer_reference",
            "/buyer/legal_name",
            "/buyer/address/line1",
            "/buyer/address/city",
        ),
        *(f"/milestones/1/{name}" for name in ("title", "description", "acceptance_criteria", "deliverables_expected")),
    }
    assert pointers(caught.value) == named
    assert str(caught.value.errors[0].detail).startswith("漢字 cannot be printed on documents yet")
    assert (await world.contract(contract_id)).state == "draft"
    async with world.db.reading(world.org.id) as session:
        assert {one.pointer for one in await contracts.problems_of(session, world.org.id, contract_id)} == named


async def test_the_sellers_own_name_is_asked_for_too(world: World) -> None:
    contract_id = await world.draft()
    async with world.db.transaction(world.org.id) as session:
        await session.execute(text("update organization set legal_name = 'عربي' where organization_id = :o"), {"o": world.org.id})
    with pytest.raises(NotReady) as caught:
        await contracts.activate_contract(world.db, world.storage, world.command(), contract_id)
    assert pointers(caught.value) == {"/seller/legal_name"}


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"note": "Done 😀"}, "/text"),
        ({"note": "Done", "title": "完"}, "/title"),
        ({"url": "https://example.com/完"}, "/url"),
        ({"file": FileInput(name="完.pdf", content_type="", content=b"x")}, "/file"),
    ],
)
async def test_a_deliverable_that_cannot_be_printed_is_not_added(world: World, asked: dict[str, Any], pointer: str) -> None:
    milestone_id = (await world.milestones(await world.active()))[0].id
    with pytest.raises(Invalid, match="cannot be printed") as caught:
        await contracts.add_deliverable(world.db, world.storage, world.command(), milestone_id, DeliverableInput(**asked))
    assert pointers(caught.value) == {pointer}


async def test_a_delivery_freezes_nothing_that_cannot_be_printed(world: World) -> None:
    milestone_id = (await world.milestones(await world.active()))[0].id
    added = await world.add_file(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        # As one that was added before this was asked for.
        await session.execute(text("update deliverable set title = '完' where id = :id"), {"id": added})
    with pytest.raises(Invalid) as caught:
        await signoff.deliver(world.db, world.command(), milestone_id, Delivery(message="Please look 👀"))
    assert pointers(caught.value) == {"/message", "/deliverables"}
    assert (await world.milestone(milestone_id)).round_id is None


async def test_a_signed_name_that_cannot_be_printed_approves_nothing(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    arabic = dataclasses.replace(decision, signed_name="عربي")
    with pytest.raises(Invalid, match="cannot be printed") as caught:
        await signoff.approve_by_link(world.db, world.approver(verified), verified, arabic)
    assert pointers(caught.value) == {"/signed_name"}
    assert (await world.milestone(milestone_id)).state == "delivered"
    await signoff.approve_by_link(world.db, world.approver(verified), verified, dataclasses.replace(decision, signed_name="Жанна Ωmega"))
    assert (await world.milestone(milestone_id)).state == "approved"


async def test_a_request_for_changes_goes_on_no_document_and_may_be_in_any_script(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    asked = dataclasses.replace(decision, signed_name="عربي", reason="الشعار مقطوع 😀")
    await signoff.request_changes_by_link(world.db, world.approver(verified), verified, asked)
    assert (await world.milestone(milestone_id)).state == "changes_requested"


@pytest.mark.parametrize(("name", "file", "pointer"), [("عربي", "signed.pdf", "/signed_name"), ("Clara", "完.pdf", "/file")])
async def test_a_recorded_approval_prints_its_name_and_file(world: World, name: str, file: str, pointer: str) -> None:
    milestone_id = await world.delivered()
    paper = FileInput(name=file, content_type="application/pdf", content=b"%PDF")
    recorded = Recorded(document=paper, contact_id=world.clara_id, signed_name=name)
    with pytest.raises(Invalid, match="cannot be printed") as caught:
        await signoff.record_approval(world.db, world.storage, world.command(), milestone_id, recorded)
    assert pointers(caught.value) == {pointer}
    assert (await world.milestone(milestone_id)).state == "delivered"
