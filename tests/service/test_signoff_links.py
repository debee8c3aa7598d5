"""Links and tokens (R10): what opens, what only looks, what is mailed, and who may decide in whose place."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from tests.factories import Org, make_organization
from tests.service.signoff_world import SECRET, World, days, eur, milestone
from tollgate import audit, clock
from tollgate.billing.queries import contract_of_invoice_link
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.documents import jobs as document_jobs
from tollgate.documents.news import DocumentRendered, RenderDocument
from tollgate.errors import Conflict, Invalid, NotFound
from tollgate.files.storage import LocalStorage
from tollgate.jobs import Job, enqueue
from tollgate.jobs.worker import Run, Worker
from tollgate.mail.composing import Composed, render
from tollgate.mail.models import MailMessage
from tollgate.mail.service import SendMail
from tollgate.parties.models import Contact
from tollgate.settings import Settings
from tollgate.signoff import jobs, mails, tokens
from tollgate.signoff import service as signoff
from tollgate.signoff.models import Colleague, LinkOpen, LinkToken
from tollgate.signoff.news import ChainOpen, MilestoneApproved, Timers
from tollgate.signoff.rules import LinkRevoked, LinkState, NotAnApprover, RoundClosed
from tollgate.signoff.service import CodeNeeded, LinkDecision, NothingToRemind, VerifiedLink


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


async def page(world: World, verified: VerifiedLink) -> signoff.LinkPage:
    async with world.db.reading(world.org.id) as session:
        return await signoff.link_page(session, verified)


async def compose(world: World, settings: Settings, row: MailMessage) -> Composed | None:
    """As the sender does it: in a claim of its own."""
    async with world.db.transaction(world.org.id) as session:
        return await mails.composers(settings)[row.template](session, row)


async def counts(owner_url: str) -> dict[str, Any]:
    """Every table's content hash, as the owner sees it."""
    owner = Database(owner_url)
    try:
        async with owner.directory() as session:
            names = list(await session.scalars(text("select tablename from pg_tables where schemaname = 'public'")))
            return {
                name: (await session.execute(text(f"select count(*), md5(string_agg(t::text, '|' order by t::text)) from {name} t"))).one()
                for name in names
            }
    finally:
        await owner.close()


async def test_a_token_is_on_record_only_as_a_hash(world: World) -> None:
    milestone_id = await world.delivered()
    link = (await world.links((await world.round(milestone_id)).id))[world.clara_id]
    token = await world.token(link)
    facts = signoff.read_token(SECRET, token)
    assert facts is not None
    assert (facts.organization_id, facts.kind, facts.link_id) == (world.org.id, "approval", link.id)
    async with world.db.reading(world.org.id) as session:
        row = (await session.scalars(select(LinkToken))).one()
    assert row.nonce_sha256 == facts.nonce_sha256
    assert row.nonce_sha256.hex() not in token


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-2],
        lambda t: t[:10] + ("A" if t[10] != "A" else "B") + t[11:],
        lambda t: "",
        lambda t: "x" * 5000,
        lambda t: t + "\x00",
    ],
)
async def test_a_tampered_token_opens_nothing(world: World, change: Any) -> None:
    milestone_id = await world.delivered()
    token = await world.token((await world.links((await world.round(milestone_id)).id))[world.clara_id])
    assert await signoff.verify(world.db, SECRET, change(token)) is None
    assert await signoff.verify(world.db, "another-secret", token) is None
    assert await signoff.verify(world.db, SECRET, token) is not None


async def test_a_well_signed_token_that_is_not_on_record_opens_nothing(world: World) -> None:
    milestone_id = await world.delivered()
    link = (await world.links((await world.round(milestone_id)).id))[world.clara_id]
    made_up = tokens._serializer(SECRET).dumps(["a", *(tokens._pack(part) for part in (world.org.id.bytes, link.id.bytes, b"n" * 24))])
    assert signoff.read_token(SECRET, str(made_up)) is not None
    assert await signoff.verify(world.db, SECRET, str(made_up)) is None


async def test_looking_changes_nothing(world: World, owner_url: str) -> None:
    milestone_id = await world.delivered()
    verified, _decision = await world.opened(milestone_id)
    token = await world.token((await world.links((await world.round(milestone_id)).id))[world.clara_id])
    before = await counts(owner_url)
    for _ in range(3):
        assert await signoff.verify(world.db, SECRET, token) is not None
        await page(world, verified)
        async with world.db.reading(world.org.id) as session:
            await signoff.round_view(session, world.org.id, (await world.round(milestone_id)).id)
    assert await counts(owner_url) == before


async def test_an_opening_is_noted_apart_and_chained_by_a_job(world: World, settings: Settings) -> None:
    milestone_id = await world.delivered()
    verified, _decision = await world.opened(milestone_id)
    await signoff.record_open(world.db, verified, ip="203.0.113.9", user_agent="Mail/1.0" * 100)
    async with world.db.reading(world.org.id) as session:
        row = (await session.scalars(select(LinkOpen))).one()
        view = await signoff.round_view(session, world.org.id, (await world.round(milestone_id)).id)
    assert len(row.ip_hash) == 32
    assert sum(link.opens for link in view.links) == 1
    await run_jobs(world, "signoff.chain_open")
    async with world.db.reading(world.org.id) as session:
        assert (await session.scalar(text("select count(*) from audit_event where name = 'link.opened'"))) == 1
        assert (await audit.verify(session, world.org.id)).broken_at is None


async def test_a_page_never_fails_because_its_opening_cannot_be_noted(world: World) -> None:
    broken = VerifiedLink(world.org.id, "approval", uuid7(), uuid7(), None, clock.now())
    await signoff.record_open(world.db, broken, ip="", user_agent="")
    async with world.db.reading(world.org.id) as session:
        assert await session.scalar(select(func.count()).select_from(LinkOpen)) == 0


async def test_the_page_says_what_is_to_be_decided(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    shown = await page(world, verified)
    assert (shown.state, shown.milestone_title, shown.amount, shown.price.payable) == (
        LinkState.OPEN,
        "Design",
        eur("1000.00"),
        eur("1200.00"),
    )
    assert (shown.approver_name, shown.client_name, shown.seller.name) == ("Clara Klient", "Hafen & Söhne AG", "Nordlicht Studio GmbH")
    assert shown.due_if_approved_today == clock.today("Europe/Vienna") + timedelta(days=30)
    assert shown.content_sha256_hex == decision.content_sha256_hex
    assert [(item.kind, item.title, item.content_type) for item in shown.deliverables] == [("file", "work.pdf", "application/pdf")]
    async with world.db.reading(world.org.id) as session:
        assert await signoff.link_file(session, verified, shown.deliverables[0].sha256_hex or "") == ("work.pdf", "application/pdf")
        with pytest.raises(NotFound):
            await signoff.link_file(session, verified, "0" * 64)


async def test_each_end_of_a_link_has_its_page(world: World) -> None:
    milestone_id = await world.delivered()
    clara, decision = await world.opened(milestone_id)
    carl, _ = await world.opened(milestone_id, world.carl_id)
    with days(31):
        assert (await page(world, clara)).state is LinkState.EXPIRED
    await signoff.revoke_link(world.db, world.command(), carl.link_id)
    assert (await page(world, carl)).state is LinkState.REVOKED
    await signoff.approve_by_link(world.db, world.approver(clara), clara, decision)
    used = await page(world, clara)
    assert used.state is LinkState.USED
    assert used.own_decision is not None
    assert used.own_decision.signed_name == "Clara Klient"
    assert used.certificate is not None
    with days(60):
        assert (await page(world, clara)).state is LinkState.USED


async def test_a_link_whose_round_went_on_is_superseded(world: World) -> None:
    milestone_id = await world.delivered()
    clara, decision = await world.opened(milestone_id)
    carl, _ = await world.opened(milestone_id, world.carl_id)
    await signoff.approve_by_link(world.db, world.approver(clara), clara, decision)
    assert (await page(world, carl)).state is LinkState.SUPERSEDED


async def test_the_request_names_milestone_amount_and_days_with_one_working_button(world: World, settings: Settings) -> None:
    milestone_id = await world.delivered()
    row = next(mail for mail in await world.mails("signoff/approval_request") if mail.contact_id == world.clara_id)
    composed = await compose(world, settings, row)
    assert composed is not None
    subject, plain, html = render(row.template, composed)
    assert (composed.to_email, subject) == ("clara@hafen.example", "Please approve: Design")
    for word in ("Nordlicht Studio GmbH", "Design", "Website relaunch", "€1,000.00", "€1,200.00", "Please have a look."):
        assert word in plain
        assert word in html
    assert html.count('class="button"') == 1
    found = re.search(r"http://127\.0\.0\.1:8000/a/(\S+)", plain)
    assert found is not None
    verified = await signoff.verify(world.db, SECRET, found[1])
    assert verified is not None
    decision = LinkDecision(content_sha256_hex=(await world.round(milestone_id)).content_sha256.hex(), signed_name="Clara Klient")
    await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)


async def test_a_mail_to_a_closed_round_is_dropped(world: World, settings: Settings) -> None:
    milestone_id = await world.delivered()
    rows = await world.mails("signoff/approval_request")
    await signoff.withdraw(world.db, world.command(), milestone_id)
    assert [await compose(world, settings, row) for row in rows] == [None, None]


async def test_markup_in_a_name_is_text_in_the_mail(world: World, settings: Settings) -> None:
    await world.delivered(milestones=[milestone("<b>Bold</b> {{ 7*7 }}", "3000.00")])
    row = (await world.mails("signoff/approval_request"))[0]
    composed = await compose(world, settings, row)
    assert composed is not None
    _subject, _plain, html = render(row.template, composed)
    assert "<b>Bold" not in html
    assert "{{ 7*7 }}" in html


async def test_every_mail_of_the_room_can_be_written(world: World, settings: Settings) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    await signoff.propose_colleague(world.db, world.approver(verified), verified, "Cora Kollegin", "cora@hafen.example")
    row = await world.round(milestone_id)
    await signoff.copy_link(world.db, SECRET, "http://x", world.command(), verified.link_id)
    await signoff.request_code(world.db, world.approver(verified), verified)
    with days(1):
        await signoff.remind(world.db, world.command(), row.id)
    written = [await write(world, settings, name) for name in ("colleague_proposed", "link_code", "approval_reminder")]
    await signoff.request_changes_by_link(world.db, world.approver(verified), verified, dataclasses.replace(decision, reason="Darker"))
    written.append(await write(world, settings, "changes_requested"))
    await signoff.deliver(world.db, world.command("account_manager"), milestone_id, signoff.Delivery())
    again, second = await world.opened(milestone_id)
    await signoff.approve_by_link(world.db, world.approver(again), again, second)
    written.append(await write(world, settings, "milestone_approved"))
    async with world.db.transaction(world.org.id, world.command()) as session:
        await signoff.reopen_in(session, world.org.id, milestone_id, "Oops", live_invoices=0)
    written.append(await write(world, settings, "milestone_reopened"))
    await signoff.deliver(world.db, world.command("account_manager"), milestone_id, signoff.Delivery())
    await signoff.withdraw(world.db, world.command(), milestone_id)
    written.append(await write(world, settings, "round_withdrawn"))
    assert all("Design" in subject for subject, _plain, _html in written)
    assert "Darker" in written[3][1]
    assert "Oops" in written[5][1]


async def write(world: World, settings: Settings, name: str) -> tuple[str, str, str]:
    row = (await world.mails(f"signoff/{name}"))[0]
    composed = await compose(world, settings, row)
    assert composed is not None, name
    return render(row.template, composed)


async def test_the_certificate_is_mailed_once_its_pdf_is_there(world: World, settings: Settings, storage: LocalStorage) -> None:
    await world.approved()
    handlers = {**document_jobs.handlers(storage, {"certificate": jobs.certificate_rendered}), **jobs.handlers(contract_of_invoice_link)}
    await run_jobs(world, "documents.render", "documents.rendered", handlers=handlers)
    rows = await world.mails("signoff/approved_certificate")
    assert [row.contact_id for row in rows] == [world.clara_id]
    composed = await compose(world, settings, rows[0])
    assert composed is not None
    attachment = composed.attachments[0]
    assert attachment.file_name.endswith(".pdf")
    assert (await world.storage.get(world.org.id, attachment.sha256_hex)).startswith(b"%PDF")
    assert "Design" in render(rows[0].template, composed)[0]


async def test_a_reminder_is_asked_once_a_minute_and_only_of_the_silent(world: World) -> None:
    milestone_id = await world.delivered()
    row = await world.round(milestone_id)
    with clock.moved_to(clock.now()):
        await signoff.remind(world.db, world.command(), row.id)
        await signoff.remind(world.db, world.command(), row.id)
    assert len(await world.mails("signoff/approval_reminder")) == 2
    with days(31), pytest.raises(NothingToRemind):
        await signoff.remind(world.db, world.command(), row.id)
    verified, decision = await world.opened(milestone_id)
    await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    with pytest.raises(RoundClosed):
        await signoff.remind(world.db, world.command(), row.id)


async def test_timers_remind_after_three_and_seven_days_and_before_expiry_once_each(world: World) -> None:
    milestone_id = await world.delivered(contact_ids=None)
    seen = []
    for after in (0.5, 2.9, 3.1, 3.2, 6.9, 7.1, 20, 28.1, 29, 31):
        with days(after):
            for _ in range(2):
                await timers(world)
        seen.append(len(await world.mails("signoff/approval_reminder")))
    assert seen == [0, 0, 2, 2, 2, 4, 4, 6, 6, 6]
    assert (await world.milestone(milestone_id)).state == "delivered"


async def test_timers_that_slept_send_one_reminder_not_three(world: World) -> None:
    await world.delivered()
    with days(28.5):
        await timers(world)
    assert len(await world.mails("signoff/approval_reminder")) == 2


async def test_who_decided_is_not_reminded(world: World) -> None:
    await world.approved()
    with days(8):
        await timers(world)
    assert await world.mails("signoff/approval_reminder") == []


async def test_a_copied_link_decides_only_with_the_mailed_code(world: World, settings: Settings) -> None:
    milestone_id = await world.delivered()
    row = await world.round(milestone_id)
    link = (await world.links(row.id))[world.clara_id]
    url = await signoff.copy_link(world.db, SECRET, "http://127.0.0.1:8000", world.command("account_manager"), link.id)
    verified = await signoff.verify(world.db, SECRET, url.rsplit("/", 1)[1])
    assert verified is not None
    assert verified.copied_by == world.org.manager_id
    shown = await page(world, verified)
    assert (shown.code_needed, shown.code_sent, shown.copied_by_name) == (True, False, "Max Manager")
    decision = LinkDecision(content_sha256_hex=row.content_sha256.hex(), signed_name="Clara Klient")
    with pytest.raises(CodeNeeded):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    await signoff.request_code(world.db, world.approver(verified), verified)
    await signoff.request_code(world.db, world.approver(verified), verified)
    asked = await world.mails("signoff/link_code")
    assert [mail.contact_id for mail in asked] == [world.clara_id]
    composed = await compose(world, settings, asked[0])
    assert composed is not None
    code = str(composed.context["code"])
    with pytest.raises(CodeNeeded, match="not the code"):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, dataclasses.replace(decision, code="0000 0000"))
    with days(1), pytest.raises(CodeNeeded, match="too old"):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, dataclasses.replace(decision, code=code))
    await signoff.approve_by_link(world.db, world.approver(verified), verified, dataclasses.replace(decision, code=code))
    signed = (await world.sign_offs(row.id))[0]
    assert signed.copied_by == world.org.manager_id
    async with world.db.reading(world.org.id) as session:
        frozen = (await session.execute(text("select content from document"))).scalar_one()
    assert "copied by Max Manager" in frozen


async def test_a_code_is_not_guessed(world: World, settings: Settings) -> None:
    milestone_id = await world.delivered()
    row = await world.round(milestone_id)
    link = (await world.links(row.id))[world.clara_id]
    url = await signoff.copy_link(world.db, SECRET, "http://x", world.command(), link.id)
    verified = await signoff.verify(world.db, SECRET, url.rsplit("/", 1)[1])
    assert verified is not None
    await signoff.request_code(world.db, world.approver(verified), verified)
    composed = await compose(world, settings, (await world.mails("signoff/link_code"))[0])
    assert composed is not None
    decision = LinkDecision(content_sha256_hex=row.content_sha256.hex(), signed_name="Clara Klient", code="wrong")
    for _ in range(5):
        with pytest.raises(CodeNeeded, match="not the code"):
            await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    right = dataclasses.replace(decision, code=str(composed.context["code"]))
    with pytest.raises(CodeNeeded, match="too many"):
        await signoff.approve_by_link(world.db, world.approver(verified), verified, right)


async def test_the_mailed_link_needs_no_code_though_a_copy_exists(world: World) -> None:
    milestone_id = await world.delivered()
    verified, decision = await world.opened(milestone_id)
    await signoff.copy_link(world.db, SECRET, "http://x", world.command(), verified.link_id)
    await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    assert (await world.sign_offs((await world.round(milestone_id)).id))[0].copied_by is None


async def test_only_an_open_link_is_copied(world: World) -> None:
    milestone_id = await world.delivered()
    link = (await world.links((await world.round(milestone_id)).id))[world.clara_id]
    with days(31), pytest.raises(Conflict):
        await signoff.copy_link(world.db, SECRET, "http://x", world.command(), link.id)


async def test_a_proposed_colleague_decides_after_a_member_confirms(world: World) -> None:
    milestone_id = await world.delivered()
    verified, _decision = await world.opened(milestone_id)
    row = await world.round(milestone_id)
    await signoff.propose_colleague(world.db, world.approver(verified), verified, "Cora Kollegin", "Cora@Hafen.example")
    assert [mail.member_id for mail in await world.mails("signoff/colleague_proposed")] == [world.org.manager_id]
    assert (await page(world, verified)).colleague_proposed
    assert len(await world.links(row.id)) == 2
    colleague_id = await newest_colleague(world)
    await signoff.confirm_colleague(world.db, world.command("account_manager"), colleague_id)
    async with world.db.reading(world.org.id) as session:
        cora = (await session.scalars(select(Contact).where(Contact.name == "Cora Kollegin"))).one()
    theirs, decision = await world.opened(milestone_id, cora.id)
    await signoff.approve_by_link(world.db, world.approver(theirs), theirs, dataclasses.replace(decision, signed_name="Cora Kollegin"))
    assert (await world.milestone(milestone_id)).state == "approved"
    with pytest.raises((Conflict, RoundClosed)):
        await signoff.confirm_colleague(world.db, world.command(), colleague_id)


async def test_a_declined_colleague_gets_nothing(world: World) -> None:
    milestone_id = await world.delivered()
    verified, _decision = await world.opened(milestone_id)
    await signoff.propose_colleague(world.db, world.approver(verified), verified, "Eve", "eve@evil.example")
    colleague_id = await newest_colleague(world)
    await signoff.decline_colleague(world.db, world.command(), colleague_id)
    assert len(await world.links((await world.round(milestone_id)).id)) == 2
    with pytest.raises(Conflict, match="declined already"):
        await signoff.confirm_colleague(world.db, world.command(), colleague_id)


@pytest.mark.parametrize(
    ("name", "email", "pointer"),
    [("", "a@b.example", "/signed_name"), ("Eve", "nobody", "/email"), ("Eve", "a@b.example\r\nBcc: x@y.example", "/email")],
)
async def test_a_colleague_needs_a_name_and_an_address(world: World, name: str, email: str, pointer: str) -> None:
    milestone_id = await world.delivered()
    verified, _decision = await world.opened(milestone_id)
    with pytest.raises(Invalid) as caught:
        await signoff.propose_colleague(world.db, world.approver(verified), verified, name, email)
    assert caught.value.errors[0].pointer == pointer


async def test_a_fresh_mail_goes_to_approvers_only(world: World) -> None:
    milestone_id = await world.delivered(contact_ids=[world.clara_id])
    row = await world.round(milestone_id)
    with pytest.raises(NotAnApprover):
        await signoff.send_link(world.db, world.command(), row.id, world.carl_id)
    other = await make_organization(world.db)
    foreign = await World.make(world.db, world.storage, other)
    with pytest.raises(NotFound):
        await signoff.send_link(world.db, world.command(), row.id, foreign.clara_id)
    verified, decision = await world.opened(milestone_id)
    await signoff.approve_by_link(world.db, world.approver(verified), verified, decision)
    with pytest.raises(RoundClosed):
        await signoff.send_link(world.db, world.command(), row.id, world.clara_id)


async def newest_colleague(world: World) -> Any:
    async with world.db.reading(world.org.id) as session:
        return (await session.scalars(select(Colleague.id).order_by(Colleague.created_at.desc()))).first()


async def timers(world: World) -> None:
    """One run of the timers, as a worker gives it."""
    async with world.db.transaction(world.org.id) as session:
        await enqueue(session, Timers(organization_id=world.org.id))
    await run_jobs(world, "signoff.timers")


async def run_jobs(world: World, *kinds: str, handlers: Any = None) -> None:
    """Run what is due of some kinds; other kinds are taken and dropped."""
    known = handlers or jobs.handlers(contract_of_invoice_link)

    async def dropped(run: Run, job: Any) -> None:
        return None

    every: dict[type[Job], Any] = {
        kind: known[kind] if kind.kind in kinds else dropped
        for kind in (DocumentRendered, RenderDocument, SendMail, ChainOpen, MilestoneApproved, Timers)
    }
    await Worker(world.db, every).run_until_idle()


async def test_a_revoked_link_does_not_renew_itself(world: World) -> None:
    milestone_id = await world.delivered()
    verified, _decision = await world.opened(milestone_id)
    row = await world.round(milestone_id)
    await signoff.revoke_link(world.db, world.command(), verified.link_id)
    with pytest.raises(LinkRevoked):
        await signoff.send_link(world.db, world.approver(verified), row.id, world.clara_id)
