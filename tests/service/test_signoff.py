"""Delivery, decisions and their races, on PostgreSQL with real commits."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.factories import Org, make_client, make_contact, make_organization
from tests.service.signoff_world import World, days
from tollgate import audit
from tollgate.contracts import service as contracts
from tollgate.contracts.rules import Event, MilestoneFacts, RoleTooSmall, TransitionRefused
from tollgate.contracts.service import FileInput
from tollgate.db.command import ActorKind, Command, Replayed
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.documents import service as documents
from tollgate.documents.views import CertificateView, decode
from tollgate.errors import Invalid, NotFound
from tollgate.files.storage import LocalStorage
from tollgate.ledger.models import JournalEntry, JournalPosting
from tollgate.signoff import service as signoff
from tollgate.signoff.rules import ContentChanged, LinkExpired, LinkRevoked, LinkSuperseded, RoundClosed
from tollgate.signoff.service import Delivery, Recorded

PAPER = FileInput(name="signed.pdf", content_type="application/pdf", content=b"%PDF signed")


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


async def postings(world: World) -> list[tuple[str, str, int]]:
    async with world.db.reading(world.org.id) as session:
        rows = await session.execute(
            select(JournalEntry.event, JournalPosting.account, JournalPosting.amount_minor)
            .join(JournalPosting, JournalPosting.entry_id == JournalEntry.id)
            .order_by(JournalEntry.created_at, JournalPosting.position)
        )
        return [(row.event, row.account, row.amount_minor) for row in rows]


def kinds(outcomes: Sequence[Any]) -> list[str]:
    return sorted(type(item).__name__ for item in outcomes)


async def test_delivering_freezes_scope_and_amount_and_asks_each_approver(world: World) -> None:
    milestone_id = await world.delivered()
    row = await world.round(milestone_id)
    content = json.loads(row.content)
    assert hashlib.sha256(row.content.encode()).digest() == row.content_sha256
    assert (content["title"], content["amount"], content["round"]) == ("Design", {"amount": "1000.00", "currency": "EUR"}, 1)
    assert content["acceptance_criteria"] == ["Three pages", "Dark mode"]
    assert content["approvers"] == [str(world.clara_id), str(world.carl_id)]
    assert content["deliverables"][0]["sha256"] == hashlib.sha256(b"%PDF-1.7 work").hexdigest()
    milestone = await world.milestone(milestone_id)
    assert (milestone.state, milestone.round_number, milestone.round_id) == ("delivered", 1, row.id)
    assert set(await world.links(row.id)) == {world.clara_id, world.carl_id}
    mails = await world.mails("signoff/approval_request")
    assert {mail.contact_id for mail in mails} == {world.clara_id, world.carl_id}
    assert "token" not in json.dumps([mail.arguments for mail in mails])


async def test_delivery_needs_work_an_approver_and_an_active_contract(world: World) -> None:
    draft = (await world.milestones(await world.draft()))[0]
    with pytest.raises(TransitionRefused, match="must be active"):
        await signoff.deliver(world.db, world.command(), draft.id, Delivery())
    milestone = (await world.milestones(await world.active()))[0]
    with pytest.raises(TransitionRefused, match="at least one deliverable"):
        await signoff.deliver(world.db, world.command(), milestone.id, Delivery())
    await world.add_file(milestone.id)
    with pytest.raises(TransitionRefused, match="approver"):
        await signoff.deliver(world.db, world.command(), milestone.id, Delivery(contact_ids=[]))
    elsewhere = await make_contact(world.db, world.org, await make_client(world.db, world.org))
    with pytest.raises(Invalid):
        await signoff.deliver(world.db, world.command(), milestone.id, Delivery(contact_ids=[elsewhere]))
    with pytest.raises(RoleTooSmall):
        await signoff.deliver(world.db, dataclasses.replace(world.command(), role="viewer"), milestone.id, Delivery())


async def test_two_deliveries_at_once_open_one_round(world: World) -> None:
    milestone = (await world.milestones(await world.active()))[0]
    await world.add_file(milestone.id)
    attempts = (signoff.deliver(world.db, world.command(), milestone.id, Delivery()) for _ in range(2))
    assert kinds(await asyncio.gather(*attempts, return_exceptions=True)) == ["TransitionRefused", "UUID"]
    assert len(await world.mails("signoff/approval_request")) == 2


async def test_an_approval_earns_certifies_and_tells(world: World) -> None:
    milestone_id = await world.approved()
    row = await world.round(milestone_id)
    milestone = await world.milestone(milestone_id)
    links = await world.links(row.id)
    assert (milestone.state, row.state) == ("approved", "approved")
    assert milestone.approved_at is not None
    assert links[world.clara_id].used_at is not None
    assert links[world.carl_id].revoked_because == "round_closed"
    signed = (await world.sign_offs(row.id))[0]
    assert (signed.signed_name, signed.ip, signed.how, signed.content_sha256) == ("Clara Klient", "203.0.113.9", "link", row.content_sha256)
    assert await postings(world) == [("milestone_approved", "contract_asset", 100000), ("milestone_approved", "revenue", -100000)]
    assert await world.jobs("signoff.milestone_approved") == [{"milestone_id": str(milestone_id), "round_id": str(row.id)}]
    assert [mail.member_id for mail in await world.mails("signoff/milestone_approved")] == [world.org.manager_id]
    async with world.db.reading(world.org.id) as session:
        certificate = await documents.info(session, world.org.id, "certificate", row.id)
        frozen = (await session.execute(text("select content from document"))).scalar_one()
        assert (await audit.verify(session, world.org.id)).broken_at is None
    assert certificate is not None
    view = decode("certificate", frozen.encode())
    assert isinstance(view, CertificateView)
    assert view.headline is not None
    assert view.headline.value == "€1,000.00"
    assert [item.name for item in view.decisions] == ["Clara Klient"]
    assert row.content_sha256.hex() in [fact.value for fact in view.evidence]


async def test_a_gross_contract_earns_its_net(world: World) -> None:
    await world.approved(price_basis="gross")
    assert [amount for _event, _account, amount in await postings(world)] == [83333, -83333]


async def test_the_same_approver_twice_at_once_decides_once(world: World) -> None:
    milestone_id = await world.delivered()
    one, decision = await world.opened(milestone_id)
    two, _ = await world.opened(milestone_id)
    attempts = (signoff.approve_by_link(world.db, world.approver(link), link, decision) for link in (one, two))
    assert kinds(await asyncio.gather(*attempts, return_exceptions=True)) == ["AlreadyDecided", "UUID"]
    assert len(await world.sign_offs((await world.round(milestone_id)).id)) == 1
    assert len(await postings(world)) == 2


async def test_two_approvers_at_once_give_one_winner_and_a_clear_answer(world: World) -> None:
    milestone_id = await world.delivered()
    clara, decision = await world.opened(milestone_id)
    carl, _ = await world.opened(milestone_id, world.carl_id)
    outcomes = await asyncio.gather(
        signoff.approve_by_link(world.db, world.approver(clara), clara, decision),
        signoff.request_changes_by_link(world.db, world.approver(carl), carl, dataclasses.replace(decision, reason="No")),
        return_exceptions=True,
    )
    assert kinds(outcomes) == ["RoundClosed", "UUID"]
    loser = next(item for item in outcomes if isinstance(item, RoundClosed))
    assert loser.facts["state"] in {"approved", "changes_requested"}
    assert loser.facts["decided_by"] in {str(world.clara_id), str(world.carl_id)}
    assert loser.facts["closed_at"]
    assert len(await world.sign_offs((await world.round(milestone_id)).id)) == 1


async def test_approve_against_withdraw_has_one_winner(world: World) -> None:
    for _ in range(4):
        milestone_id = await world.delivered()
        verified, decision = await world.opened(milestone_id)
        outcomes = await asyncio.gather(
            signoff.approve_by_link(world.db, world.approver(verified), verified, decision),
            signoff.withdraw(world.db, world.command(), milestone_id),
            return_exceptions=True,
        )
        state = (await world.milestone(milestone_id)).state
        assert kinds(outcomes) == (["TransitionRefused", "UUID"] if state == "approved" else ["RoundClosed", "UUID"])
        assert (await world.round(milestone_id)).state == ("approved" if state == "approved" else "withdrawn")


async def test_a_repeat_of_the_same_form_is_the_same_decision(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    command = world.approver(verified, key="nonce", request_sha256=b"y" * 32)
    await signoff.approve_by_link(world.db, command, verified, decision)
    with pytest.raises(Replayed) as caught:
        await signoff.approve_by_link(world.db, command, verified, decision)
    assert caught.value.resource_id == verified.link_id


async def test_changes_end_the_round_and_the_next_is_a_new_one(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    with pytest.raises(Invalid):
        await signoff.request_changes_by_link(world.db, world.approver(verified), verified, decision)
    asked = dataclasses.replace(decision, reason="Darker, please")
    await signoff.request_changes_by_link(world.db, world.approver(verified), verified, asked)
    first = await world.round(milestone_id)
    assert ((await world.milestone(milestone_id)).state, first.state) == ("changes_requested", "changes_requested")
    assert [mail.member_id for mail in await world.mails("signoff/changes_requested")] == [world.org.manager_id]
    assert await postings(world) == []
    await signoff.deliver(world.db, world.command(), milestone_id, Delivery())
    second = await world.round(milestone_id)
    assert (second.number, second.state) == (2, "open")
    assert second.content_sha256 != first.content_sha256
    carl_before = (await world.links(first.id))[world.carl_id]
    stale = await signoff.verify(world.db, "test-secret-key-of-32-characters!", await world.token(carl_before))
    assert stale is not None
    with pytest.raises(RoundClosed):
        await signoff.approve_by_link(world.db, world.approver(stale), stale, decision)


async def test_a_decision_must_name_the_hash_of_what_was_shown(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    with pytest.raises(ContentChanged):
        await signoff.approve_by_link(
            world.db, world.approver(verified), verified, dataclasses.replace(decision, content_sha256_hex="0" * 64)
        )
    with pytest.raises(Invalid):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, dataclasses.replace(decision, signed_name=" "))
    assert (await world.milestone(milestone_id)).state == "delivered"


async def test_an_expired_link_decides_nothing(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    with days(31), pytest.raises(LinkExpired):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)


async def test_a_copy_older_than_its_link_stays_as_old_as_it_is(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    row = await world.round(milestone_id)
    with days(29):
        await signoff.send_link(world.db, world.command(), row.id, world.clara_id)
    with days(31):
        with pytest.raises(LinkExpired):
            await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
        fresh, _ = await world.opened(milestone_id)
        await signoff.approve_by_link(world.db, world.approver(fresh), fresh, decision)


async def test_a_revoked_link_decides_nothing_and_can_be_replaced(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    row = await world.round(milestone_id)
    await signoff.revoke_link(world.db, world.command(), verified.link_id)
    with pytest.raises(LinkRevoked):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    await signoff.send_link(world.db, world.command(), row.id, world.clara_id)
    fresh, _ = await world.opened(milestone_id)
    assert fresh.link_id != verified.link_id
    with pytest.raises(LinkRevoked):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    await signoff.approve_by_link(world.db, world.approver(fresh), fresh, decision)


async def test_withdrawing_kills_the_links_and_tells_the_approvers(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    await signoff.withdraw(world.db, world.command("account_manager"), milestone_id)
    assert (await world.milestone(milestone_id)).state == "in_progress"
    assert {mail.contact_id for mail in await world.mails("signoff/round_withdrawn")} == {world.clara_id, world.carl_id}
    with pytest.raises((RoundClosed, LinkSuperseded)):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    with pytest.raises(TransitionRefused):
        await signoff.withdraw(world.db, world.command(), milestone_id)


async def test_paper_is_recorded_by_an_admin_who_did_not_deliver(world: World) -> None:
    milestone_id = await world.delivered()
    recorded = Recorded(document=PAPER, contact_id=world.carl_id, signed_name="Carl Klient")
    with pytest.raises(RoleTooSmall):
        await signoff.record_approval(world.db, world.storage, world.command("finance"), milestone_id, recorded)
    await signoff.record_approval(world.db, world.storage, world.command(), milestone_id, recorded)
    row = await world.round(milestone_id)
    signed = (await world.sign_offs(row.id))[0]
    assert (row.state, signed.how, signed.recorded_by, signed.contact_id) == ("approved", "recorded", world.org.admin_id, world.carl_id)
    assert await world.storage.get(world.org.id, signed.document_sha256_hex or "") == PAPER.content
    async with world.db.reading(world.org.id) as session:
        frozen = (await session.execute(text("select content from document"))).scalar_one()
    view = decode("certificate", frozen.encode())
    assert isinstance(view, CertificateView)
    assert view.decisions[0].how == "Recorded by Ada Admin, not signed by link"


async def test_nobody_records_what_they_delivered_themselves(world: World) -> None:
    milestone = (await world.milestones(await world.active()))[0]
    await world.add_file(milestone.id)
    await signoff.deliver(world.db, world.command(), milestone.id, Delivery())
    with pytest.raises(TransitionRefused, match="another admin"):
        await signoff.record_approval(world.db, world.storage, world.command(), milestone.id, Recorded(document=PAPER))
    key_id = uuid7()
    async with world.db.transaction(world.org.id) as session:
        await session.execute(
            text(
                "insert into api_key (organization_id, id, name, prefix, role, scopes, secret_sha256, created_by, created_at)"
                " values (:o, :id, 'k', 'tg_', 'admin', '{}', :secret, :member, now())"
            ),
            {"o": world.org.id, "id": key_id, "secret": b"s" * 32, "member": world.org.admin_id},
        )
    by_key = Command(world.org.id, ActorKind.API_KEY, key_id, role="admin")
    with pytest.raises(TransitionRefused, match="another admin"):
        await signoff.record_approval(world.db, world.storage, by_key, milestone.id, Recorded(document=PAPER))


async def test_recording_needs_a_delivered_milestone_and_a_document(world: World) -> None:
    milestone = (await world.milestones(await world.active()))[0]
    with pytest.raises(TransitionRefused):
        await signoff.record_approval(world.db, world.storage, world.command(), milestone.id, Recorded(document=PAPER))
    with pytest.raises(Invalid):
        empty = FileInput(name="a", content_type="", content=b"")
        await signoff.record_approval(world.db, world.storage, world.command(), milestone.id, Recorded(document=empty))


async def test_reopening_reverses_and_tells_why(world: World) -> None:
    milestone_id = await world.approved()
    async with world.db.transaction(world.org.id, world.command()) as session:
        await signoff.reopen_in(session, world.org.id, milestone_id, "Wrong scope was shown", live_invoices=0)
    row = await world.round(milestone_id)
    assert ((await world.milestone(milestone_id)).state, row.state, row.reopened_because) == (
        "in_progress",
        "reopened",
        "Wrong scope was shown",
    )
    assert sum(amount for _event, account, amount in await postings(world) if account == "revenue") == 0
    assert {mail.contact_id for mail in await world.mails("signoff/milestone_reopened")} == {world.clara_id, world.carl_id}
    await signoff.deliver(world.db, world.command(), milestone_id, Delivery())
    verified, decision = await world.opened(milestone_id)
    await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    assert sum(amount for _event, account, amount in await postings(world) if account == "revenue") == -100000


@pytest.mark.parametrize(
    ("role", "invoices", "reason", "error"),
    [("finance", 0, "r", RoleTooSmall), ("admin", 1, "r", TransitionRefused), ("admin", 0, " ", Invalid)],
)
async def test_reopening_is_refused(world: World, role: str, invoices: int, reason: str, error: type[Exception]) -> None:
    milestone_id = await world.approved()
    with pytest.raises(error):
        async with world.db.transaction(world.org.id, world.command(role)) as session:
            await signoff.reopen_in(session, world.org.id, milestone_id, reason, live_invoices=invoices)
    assert (await world.milestone(milestone_id)).state == "approved"


async def test_a_foreign_organization_finds_nothing(world: World) -> None:
    milestone_id = await world.delivered()
    other = (await make_organization(world.db)).command()
    row = await world.round(milestone_id)
    link_id = (await world.links(row.id))[world.clara_id].id
    for attempt in (
        signoff.deliver(world.db, other, milestone_id, Delivery()),
        signoff.withdraw(world.db, other, milestone_id),
        signoff.record_approval(world.db, world.storage, other, milestone_id, Recorded(document=PAPER)),
        signoff.remind(world.db, other, row.id),
        signoff.send_link(world.db, other, row.id, world.clara_id),
        signoff.revoke_link(world.db, other, link_id),
        signoff.copy_link(world.db, "s", "http://x", other, link_id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_the_audit_trail_tells_the_story(world: World) -> None:
    await world.approved()
    async with world.db.reading(world.org.id) as session:
        names = list(await session.scalars(text("select name from audit_event order by seq")))
    assert names[-6:] == [
        "milestone.delivered",
        "link.created",
        "link.created",
        "round.signed_off",
        "milestone.approved",
        "link.revoked",
    ]


async def test_no_member_approves_for_the_client(world: World) -> None:
    milestone_id = await world.delivered()
    async with world.db.transaction(world.org.id, world.command()) as session:
        contract, milestone = await contracts.lock_milestone(session, world.org.id, milestone_id)
        with pytest.raises(RoleTooSmall):
            await contracts.move(session, contract, milestone, Event.APPROVE, MilestoneFacts(policy_complete=True))
    assert (await world.milestone(milestone_id)).state == "delivered"
