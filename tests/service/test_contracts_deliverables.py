"""Files, links and notes of a milestone, on PostgreSQL and a real folder."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest

from tests.factories import Org, make_organization
from tests.service.signoff_world import World
from tollgate.contracts import queries
from tollgate.contracts import service as contracts
from tollgate.contracts.service import DeliverableInput, FileInput
from tollgate.contracts.service_deliverables import LARGEST_FILE, DeliverablesFrozen
from tollgate.db.database import Database
from tollgate.errors import Conflict, Invalid, NotFound, Stale, TooLarge
from tollgate.files.storage import LocalStorage
from tollgate.signoff import service as signoff
from tollgate.signoff.service import Delivery


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


async def first_milestone(world: World) -> UUID:
    return (await world.milestones(await world.active()))[0].id


async def test_a_file_is_kept_under_its_hash(world: World) -> None:
    milestone_id = await first_milestone(world)
    content = b"x" * 100_000
    deliverable_id = await world.add_file(milestone_id, content, "../../etc/ré sumé.pdf")
    async with world.db.reading(world.org.id) as session:
        row = await queries.deliverable(session, world.org.id, deliverable_id)
    assert (row.title, row.size, row.content_type) == ("ré sumé.pdf", 100_000, "application/pdf")
    assert row.sha256_hex == hashlib.sha256(content).hexdigest()
    assert await world.storage.get(world.org.id, row.sha256_hex) == content


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://x.example/a",
        "https://",
        "https://user:pw@x.example",
        "http://a b.example",
        "data:text/html,x",
        "//x.example",
        "https://[::1",
    ],
)
async def test_only_http_links_are_taken(world: World, url: str) -> None:
    with pytest.raises(Invalid) as caught:
        await contracts.add_deliverable(world.db, world.storage, world.command(), world.client_id, DeliverableInput(url=url))
    assert caught.value.errors[0].pointer == "/url"


async def test_links_and_notes_are_added(world: World) -> None:
    milestone_id = await first_milestone(world)
    for asked in (
        DeliverableInput(url="https://staging.example/x"),
        DeliverableInput(note="Fourth charger follows.\nBye"),
        DeliverableInput(title="Named", note="n"),
    ):
        await contracts.add_deliverable(world.db, world.storage, world.command(), milestone_id, asked)
    async with world.db.reading(world.org.id) as session:
        rows = (await queries.deliverables_of(session, world.org.id, [milestone_id]))[milestone_id]
    assert [(row.kind, row.title) for row in rows] == [
        ("link", "https://staging.example/x"),
        ("note", "Fourth charger follows."),
        ("note", "Named"),
    ]


async def test_neither_nothing_nor_two_things_nor_too_much(world: World) -> None:
    milestone_id = await first_milestone(world)
    for asked in (
        DeliverableInput(),
        DeliverableInput(url="https://x.example", note="n"),
        DeliverableInput(note=" "),
        DeliverableInput(file=FileInput(name="a", content_type="", content=b"")),
    ):
        with pytest.raises(Invalid):
            await contracts.add_deliverable(world.db, world.storage, world.command(), milestone_id, asked)
    with pytest.raises(TooLarge):
        await world.add_file(milestone_id, bytes(LARGEST_FILE + 1))


async def test_a_draft_takes_no_deliverables(world: World) -> None:
    row = (await world.milestones(await world.draft()))[0]
    with pytest.raises(Conflict, match="must be active"):
        await world.add_file(row.id)


async def test_a_delivered_milestone_is_frozen_and_thaws_for_the_next_round(world: World) -> None:
    milestone_id = await first_milestone(world)
    old = await world.add_file(milestone_id, b"one")
    await signoff.deliver(world.db, world.command(), milestone_id, Delivery())
    with pytest.raises(DeliverablesFrozen):
        await world.add_file(milestone_id, b"two")
    with pytest.raises(DeliverablesFrozen):
        await contracts.remove_deliverable(world.db, world.command(), milestone_id, old)
    first = await world.round(milestone_id)
    await signoff.withdraw(world.db, world.command(), milestone_id)
    await world.add_file(milestone_id, b"two")
    await contracts.remove_deliverable(world.db, world.command(), milestone_id, old)
    await signoff.deliver(world.db, world.command(), milestone_id, Delivery())
    second = await world.round(milestone_id)
    one, two = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()
    assert one in first.content
    assert one not in second.content
    assert two in second.content


async def test_removing_needs_the_newest_version_and_the_right_milestone(world: World) -> None:
    rows = await world.milestones(await world.active())
    deliverable_id = await world.add_file(rows[0].id)
    with pytest.raises(Stale):
        await contracts.remove_deliverable(world.db, world.command(), rows[0].id, deliverable_id, rows[0].version)
    with pytest.raises(NotFound):
        await contracts.remove_deliverable(world.db, world.command(), rows[1].id, deliverable_id)
    await contracts.remove_deliverable(world.db, world.command(), rows[0].id, deliverable_id, rows[0].version + 1)
    with pytest.raises(NotFound):
        await contracts.remove_deliverable(world.db, world.command(), rows[0].id, deliverable_id)


async def test_a_foreign_milestone_takes_nothing_and_costs_no_disk(world: World) -> None:
    milestone_id = await first_milestone(world)
    other = await make_organization(world.db)
    asked = DeliverableInput(file=FileInput(name="a", content_type="", content=b"secret"))
    with pytest.raises(NotFound):
        await contracts.add_deliverable(world.db, world.storage, other.command(), milestone_id, asked)
    with pytest.raises(NotFound):
        await world.storage.get(other.id, hashlib.sha256(b"secret").hexdigest())
