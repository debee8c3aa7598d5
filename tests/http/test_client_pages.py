"""The client's pages over HTTP, without script: each state of a link, what mail scanners do, and forms that are refused."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from tests.browser.client_fixture import (
    NOTED,
    Browser,
    approval_link,
    copied,
    digests,
    enter,
    fields_of,
    invoice_address,
    invoice_of,
    mailed,
    new_browser,
    run_jobs,
    send,
)
from tests.factories import Org, make_organization
from tests.service.signoff_world import SECRET, World, days, eur
from tollgate import clock
from tollgate.billing import service as billing
from tollgate.billing import service_views
from tollgate.billing.models import Invoice
from tollgate.billing.snapshot import pay_reference
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.files.storage import LocalStorage
from tollgate.mail.models import MailMessage
from tollgate.payments import service as payments
from tollgate.payments.service import NewTransfer
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff import service_links, tokens
from tollgate.signoff.models import LinkOpen
from tollgate.signoff.service_decisions import code_hash

SIGNED = {"signed_name": "Clara Klient", "agree": "yes"}


@pytest.fixture
async def world(db: Database, storage: LocalStorage, organization: Org) -> World:
    return await World.make(db, storage, organization)


@pytest.fixture
async def browser(settings: Settings) -> AsyncIterator[Browser]:
    async with new_browser(settings) as made:
        yield made


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Browser]:
    async with new_browser(settings) as made:
        yield made


async def opens(world: World) -> int:
    async with world.db.reading(world.org.id) as session:
        return (await session.execute(select(func.count()).select_from(LinkOpen))).scalar_one()


async def seen_at(world: World, invoice: Invoice) -> datetime | None:
    async with world.db.reading(world.org.id) as session:
        return (await service_views.show_invoice(session, world.org.id, invoice.id)).seen_at


async def mails_asked(world: World, template: str) -> int:
    async with world.db.reading(world.org.id) as session:
        return (await session.execute(select(func.count()).select_from(MailMessage).where(MailMessage.template == template))).scalar_one()


async def test_the_mail_leads_to_a_page_with_amount_and_terms_first_and_the_signature_last(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    first = await browser.get(await mailed(world, milestone_id), follow_redirects=False)
    assert first.status_code == 303
    assert (first.headers["cache-control"], first.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite=lax" in first.headers["set-cookie"]
    shown = await browser.get(first.headers["location"])
    assert (shown.headers["cache-control"], shown.headers["referrer-policy"]) == ("no-store", "same-origin")
    places = [
        shown.text.index(part) for part in ("€1,200.00", "Please have a look.", "Three pages", "work.pdf", "Your decision", "signed_name")
    ]
    assert places == sorted(places)
    for part in ("€1,000.00", "€200.00", "Tax 20%", "Nothing is approved by silence", "Nordlicht Studio GmbH"):
        assert part in shown.text
    assert "Approve part" not in shown.text


async def test_the_cookie_is_bound_to_the_host_on_https(world: World, settings: Settings) -> None:
    async with new_browser(dataclasses.replace(settings, base_url="https://bills.example")) as secure:
        milestone_id = await world.delivered()
        first = await secure.get(await mailed(world, milestone_id), follow_redirects=False)
        link = await approval_link(world, milestone_id)
        cookie = first.headers["set-cookie"]
        assert cookie.startswith(f"__Host-tg-link-{link.id.hex}=")
        assert "Secure" in cookie
        assert "Domain" not in cookie


async def test_approving_gives_certificate_invoice_and_bank_details(world: World, browser: Browser, settings: Settings) -> None:
    here, html = await enter(browser, await mailed(world, await world.delivered()))
    answer = await send(browser, here, html, "/approval", **SIGNED)
    assert (answer.status_code, answer.headers["location"]) == (303, here)
    waiting = await browser.get(here)
    assert waiting.status_code == 200
    assert "You approved “Design”" in waiting.text
    assert "The invoice of €1,200.00 is being prepared" in waiting.text
    assert "Clara Klient" in waiting.text
    assert (await browser.get(f"{here}/invoice.pdf")).status_code == 404
    await run_jobs(world, settings)
    done = await browser.get(here)
    for part in ("Invoice INV-", "€1,200.00", "AT61 1904 3002 3457 3201", "BKAUATWW", "Certificate (PDF)", "Due by"):
        assert part in done.text
    for file in ("certificate.pdf", "invoice.pdf"):
        pdf = await browser.get(f"{here}/{file}")
        assert pdf.content.startswith(b"%PDF")
        assert pdf.headers["content-disposition"].startswith("attachment")
        assert pdf.headers["x-content-type-options"] == "nosniff"


async def test_pay_appears_once_stripe_is_ready(world: World, browser: Browser, settings: Settings, db: Database) -> None:
    here, html = await enter(browser, await mailed(world, await world.delivered()))
    await send(browser, here, html, "/approval", **SIGNED)
    await run_jobs(world, settings)
    assert "Pay €" not in (await browser.get(here)).text
    invoice = await invoice_of(world)
    async with db.transaction(world.org.id) as session:
        row = await session.get_one(type(invoice), (world.org.id, invoice.id))
        row.stripe_step, row.stripe_invoice_id, row.stripe_hosted_url = "finalized", "in_1", "https://pay.example/i/1"
    shown = await browser.get(here)
    assert 'href="https://pay.example/i/1"' in shown.text
    assert "Pay €1,200.00" in shown.text


async def test_a_download_belongs_to_its_round_and_is_an_attachment(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    place = html.split('download dir="auto">work.pdf')[0].rsplit('href="', 1)[1].split('"')[0]
    got = await browser.get(place)
    assert got.content == b"%PDF-1.7 work"
    assert got.headers["content-disposition"].startswith("attachment")
    second = (await world.milestones((await world.milestone(milestone_id)).contract_id))[1]
    await world.add_file(second.id, b"%PDF other work")
    other_sha = await world.storage.put(world.org.id, b"%PDF other work")
    assert (await browser.get(f"{here}/files/{other_sha}")).status_code == 404


async def test_requesting_changes_needs_a_reason_and_keeps_what_was_typed(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    refused = await send(browser, here, html, "/changes", reason="  ", changes_name="Clara Klient")
    assert refused.status_code == 422
    assert "Say what should change" in refused.text
    assert 'value="Clara Klient"' in refused.text
    answer = await send(browser, here, refused.text, "/changes", reason="The logo is <b>cut</b>", changes_name="Clara Klient")
    assert answer.status_code == 303
    shown = await browser.get(here)
    assert shown.status_code == 200
    assert "The logo is &lt;b&gt;cut&lt;/b&gt;" in shown.text
    assert (await world.milestone(milestone_id)).state == "changes_requested"


async def test_name_and_tick_are_asked_for_at_their_fields(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    refused = await send(browser, here, html, "/approval", signed_name="Clara Klient")
    assert refused.status_code == 422
    assert "Tick this to approve" in refused.text
    assert 'value="Clara Klient"' in refused.text
    for name in ("", "7", "Cla\u202era", "x" * 200):
        bad = await send(browser, here, refused.text, "/approval", signed_name=name, agree="yes")
        assert bad.status_code == 422
        assert "There is a problem" in bad.text
    assert (await world.milestone(milestone_id)).state == "delivered"


async def test_a_name_that_no_document_can_print_is_refused_beside_its_field(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    refused = await send(browser, here, html, "/approval", signed_name="عربي", agree="yes")
    assert refused.status_code == 422
    beside = refused.text.split('id="signed_name-error"', 1)[1].split("</p>", 1)[0]
    assert "عربي cannot be printed on documents yet" in beside
    assert 'value="عربي"' in refused.text
    assert (await world.milestone(milestone_id)).state == "delivered"
    assert (await send(browser, here, refused.text, "/approval", **SIGNED)).status_code == 303
    assert (await world.milestone(milestone_id)).state == "approved"


async def test_changes_asked_for_after_an_approval_are_not_lost_in_silence(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    await send(browser, here, html, "/approval", **SIGNED)
    for reason in ("The logo is cut", ""):
        late = await send(browser, here, html, "/changes", reason=reason, changes_name="Clara Klient")
        assert (late.status_code, late.headers["location"]) == (303, here)
        shown = await browser.get(here)
        assert "You approved “Design”" in shown.text
        assert "You had approved this already. That decision stands and was not changed" in shown.text
    assert "That decision stands" not in (await browser.get(here)).text
    assert (await world.milestone(milestone_id)).state == "approved"


async def test_an_approval_after_a_request_for_changes_says_that_the_request_stands(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    await send(browser, here, html, "/changes", reason="The logo is cut", changes_name="Clara Klient")
    late = await send(browser, here, html, "/approval", **SIGNED)
    assert (late.status_code, late.headers["location"]) == (303, here)
    shown = await browser.get(here)
    assert "You had asked for changes already. That decision stands and was not changed" in shown.text
    assert "The logo is cut" in shown.text
    assert (await world.milestone(milestone_id)).state == "changes_requested"


async def test_a_double_click_decides_once(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    answers = await asyncio.gather(*(send(browser, here, html, "/approval", **SIGNED) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}
    assert {answer.headers["location"] for answer in answers} == {here}
    assert len(await world.sign_offs((await world.round(milestone_id)).id)) == 1
    changed = await send(browser, here, html, "/approval", signed_name="Somebody Else", agree="yes")
    assert changed.status_code == 303
    assert "Somebody Else" not in (await browser.get(here)).text


async def test_two_approvers_at_once_the_loser_reads_who_and_when(world: World, browser: Browser, other: Browser) -> None:
    milestone_id = await world.delivered()
    first, first_html = await enter(browser, await mailed(world, milestone_id))
    second, second_html = await enter(other, await mailed(world, milestone_id, world.carl_id))
    answers = await asyncio.gather(
        send(browser, first, first_html, "/approval", **SIGNED),
        send(other, second, second_html, "/changes", reason="Not yet", changes_name="Carl Klient"),
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    lost = next(answer for answer in answers if answer.status_code == 409)
    assert "is decided already" in lost.text
    assert ("Clara Klient approved on" in lost.text) or ("Carl Klient asked for changes on" in lost.text)
    assert len(await world.sign_offs((await world.round(milestone_id)).id)) == 1


async def test_a_tampered_link_gets_a_page_that_tells_nothing(world: World, browser: Browser) -> None:
    address = await mailed(world, await world.delivered())
    for wrong in (address[:-2] + ("AA" if address[-2:] != "AA" else "BB"), "/a/x", "/a/" + "y" * 3000, address.replace("/a/", "/i/")):
        answer = await browser.get(wrong, follow_redirects=False)
        assert answer.status_code == 404
        assert "This link is not valid" in answer.text
        assert "Nordlicht" not in answer.text
        assert "set-cookie" not in answer.headers


async def test_an_expired_link_mails_a_fresh_one_to_the_same_approver(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    address = await mailed(world, milestone_id)
    with days(31):
        here, html = await enter(browser, address)
        assert "This link has expired" in html
        assert "c•••@hafen.example" in html
        assert "clara@hafen.example" not in html
        before = await mails_asked(world, "signoff/approval_request")
        for _ in range(2):
            answer = await send(browser, here, html, "/fresh-link")
            assert (answer.status_code, answer.headers["location"]) == (303, here)
        assert "A fresh link is on its way to c•••@hafen.example" in (await browser.get(here)).text
        assert await mails_asked(world, "signoff/approval_request") == before + 1
        assert (await approval_link(world, milestone_id)).expires_at > clock.now()
        _there, fresh = await enter(browser, await mailed(world, milestone_id))
        assert "Your decision" in fresh


async def test_fresh_links_are_limited(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    address = await mailed(world, milestone_id)
    with days(31):
        for _ in range(4):
            here, html = await enter(browser, address)
            answer = await send(browser, here, html, "/fresh-link")
        assert answer.status_code == 303
        assert "Too many attempts" in (await browser.get(here)).text


async def test_an_open_link_gives_no_fresh_link_away(world: World, browser: Browser) -> None:
    here, html = await enter(browser, await mailed(world, await world.delivered()))
    before = await mails_asked(world, "signoff/approval_request")
    fields = {name: value for name, value in fields_of(html, "/approval").items() if name in {"csrf_token", "form_key"}}
    assert (await browser.post(f"{here}/fresh-link", data=fields, follow_redirects=False)).status_code == 303
    assert await mails_asked(world, "signoff/approval_request") == before


async def test_revoked_withdrawn_and_newer_have_their_own_pages(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    address, html = await mailed(world, milestone_id), ""
    here, open_page = await enter(browser, address)
    link = await approval_link(world, milestone_id)
    await signoff.revoke_link(world.db, world.command(), link.id)
    html = (await browser.get(here)).text
    assert "This link was taken back" in html
    late = await send(browser, here, open_page, "/approval", **SIGNED)
    assert late.status_code == 409
    assert "This link was taken back" in late.text

    second = await world.delivered()
    there, _page = await enter(browser, await mailed(world, second))
    await signoff.withdraw(world.db, world.command(), second)
    assert "withdrew “Design” before anybody decided" in (await browser.get(there)).text
    await signoff.deliver(world.db, world.command("account_manager"), second, signoff.Delivery())
    newer = (await browser.get(there)).text
    assert "This delivery is out of date" in newer
    assert "Please open the newer mail" in newer


async def test_the_address_of_a_page_needs_its_own_cookie(world: World, browser: Browser, other: Browser, settings: Settings) -> None:
    first, second = await world.delivered(), await world.delivered()
    mine, _html = await enter(browser, await mailed(world, first))
    theirs, _html = await enter(other, await mailed(world, second))
    for address in (theirs, f"/sign/{uuid7()}", f"{theirs}/certificate.pdf"):
        answer = await browser.get(address)
        assert answer.status_code == 403
        assert "Open the link in your mail again" in answer.text
    stolen = next(cookie for cookie in browser.cookies.jar if cookie.name.startswith("tg-link-"))
    link = await approval_link(world, second)
    browser.cookies.set(f"tg-link-{link.id.hex}", str(stolen.value), domain="127.0.0.1")
    assert (await browser.get(theirs)).status_code == 403
    assert (await browser.get(mine)).status_code == 200


async def test_two_open_mails_do_not_mix(world: World, browser: Browser) -> None:
    first, second = await world.delivered(), await world.delivered()
    here, here_html = await enter(browser, await mailed(world, first))
    there, there_html = await enter(browser, await mailed(world, second))
    assert here != there
    mixed = fields_of(here_html, "/approval")
    crossed = await browser.post(f"{there}/approval", data={**mixed, **SIGNED}, follow_redirects=False)
    assert crossed.status_code == 403
    answer = await send(browser, here, here_html, "/approval", **SIGNED)
    assert answer.status_code == 303
    assert [(await world.milestone(id)).state for id in (first, second)] == ["approved", "delivered"]
    wrong_hash = {**fields_of(there_html, "/approval"), "content_sha256": mixed["content_sha256"].replace("a", "b", 1)}
    refused = await browser.post(f"{there}/approval", data={**wrong_hash, **SIGNED}, follow_redirects=False)
    assert refused.status_code == 409
    assert "open it again to see what is to be decided" in refused.text
    assert (await world.milestone(second)).state == "delivered"


async def test_a_token_of_one_organization_opens_nothing_of_another(
    world: World, db: Database, storage: LocalStorage, browser: Browser
) -> None:
    away = await World.make(db, storage, await make_organization(db, legal_name="Elsewhere AG"))
    link = await approval_link(away, await away.delivered())
    async with db.transaction(away.org.id) as session:
        row_token = await signoff.mint(
            session, SECRET, organization_id=away.org.id, approval_link_id=link.id, sent_by="mail", expires_at=link.expires_at
        )
    facts = tokens.read_token(SECRET, row_token)
    assert facts is not None
    forged = tokens._serializer(SECRET).dumps(
        ["a", *(tokens._pack(part) for part in (world.org.id.bytes, link.id.bytes, b"0" * tokens.NONCE_BYTES))]
    )
    assert (await browser.get(f"/a/{forged}", follow_redirects=False)).status_code == 404


async def test_a_form_without_its_token_is_refused_and_nothing_is_lost(world: World, browser: Browser, owner_url: str) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    before = await digests(owner_url)
    fields = fields_of(html, "/approval")
    without = {name: value for name, value in fields.items() if name != "csrf_token"}
    refused = [
        await browser.post(f"{here}/approval", data={**without, **SIGNED}),
        await browser.post(f"{here}/approval", data={**fields, **SIGNED, "csrf_token": "x.y"}),
        await browser.post(f"{here}/approval", data={**fields, **SIGNED}, headers={"sec-fetch-site": "cross-site"}),
        await browser.post(f"{here}/approval", data={**fields, **SIGNED}, headers={"origin": "null"}),
    ]
    for answer in refused:
        assert answer.status_code == 403
        assert "Please send the form once more" in answer.text
        assert f'href="{here}"' in answer.text
    assert await digests(owner_url) == before
    stale = {**fields, **SIGNED, "csrf_token": "x.y"}
    kept = await browser.post(f"{here}/approval", data=stale, headers={"sec-fetch-site": "same-origin"})
    assert kept.status_code == 403 and "Send it again" in kept.text
    assert await digests(owner_url) == before
    assert (await browser.post(f"{here}/approval", data=fields_of(kept.text, "/approval"), follow_redirects=False)).status_code == 303


async def test_a_reminder_in_a_second_tab_leaves_the_form_in_the_first_one_valid(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    await enter(browser, await mailed(world, milestone_id))
    assert (await send(browser, here, html, "/approval", **SIGNED)).status_code == 303


async def test_what_mail_scanners_do_changes_nothing(world: World, settings: Settings, owner_url: str) -> None:
    milestone_id = await world.delivered()
    address = await mailed(world, milestone_id)
    before = await digests(owner_url)
    async with new_browser(settings) as scanner:
        for headers in ({"sec-purpose": "prefetch"}, {"purpose": "prefetch"}, {"sec-purpose": "prefetch;prerender"}):
            assert (await scanner.get(address, headers=headers)).status_code == 200
        head = await scanner.head(address, follow_redirects=False)
        assert head.status_code == 303
        assert (await scanner.head(head.headers["location"])).status_code == 200
    assert await digests(owner_url) == before
    assert await opens(world) == 0
    quiet = await digests(owner_url, without=sorted(NOTED))
    async with new_browser(settings) as scanner:
        page = await scanner.get(address)
        for link in {part.split('"')[0] for part in page.text.split('href="')[1:]}:
            if link.startswith("/"):
                await scanner.get(link)
                await scanner.head(link)
        here = str(page.url.path)
        for form in ("approval", "changes", "colleague", "code", "fresh-link"):
            # Forms pressed as GET: these addresses take POST only.
            assert (await scanner.get(f"{here}/{form}?signed_name=Scanner&agree=yes")).status_code == 405
    assert await digests(owner_url, without=sorted(NOTED)) == quiet
    assert await opens(world) == 1
    assert (await world.milestone(milestone_id)).state == "delivered"


async def test_a_failing_note_never_breaks_the_page(world: World, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> bytes:
        raise RuntimeError("no salt")

    monkeypatch.setattr(service_links, "ip_hash", broken)
    _here, html = await enter(browser, await mailed(world, await world.delivered()))
    assert "Your decision" in html
    assert await opens(world) == 0


async def test_a_copied_link_decides_only_with_the_mailed_code(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await copied(world, milestone_id))
    assert "This link was copied by Ada Admin" in html
    bare = await send(browser, here, html, "/approval", **SIGNED)
    assert bare.status_code == 422
    assert "Enter the code that was mailed to you" in bare.text
    asked = await send(browser, here, html, "/code")
    assert asked.status_code == 303
    assert "A code is on its way to c•••@hafen.example" in (await browser.get(here)).text
    assert await mails_asked(world, "signoff/link_code") == 1
    link = await approval_link(world, milestone_id)
    async with world.db.transaction(world.org.id) as session:
        row = await session.get_one(type(link), (world.org.id, link.id))
        row.code_sha256, row.code_expires_at, row.code_attempts = code_hash(link.id, "12345678"), clock.now() + timedelta(minutes=15), 0
    html = (await browser.get(here)).text
    wrong = await send(browser, here, html, "/approval", **SIGNED, code="87654321")
    assert wrong.status_code == 409
    assert "this is not the code" in wrong.text
    assert 'value="Clara Klient"' in wrong.text
    assert (await send(browser, here, wrong.text, "/approval", **SIGNED, code="1234 5678")).status_code == 303
    assert "The link was copied by Ada Admin" in (await browser.get(here)).text


async def test_not_me_proposes_a_colleague_and_keeps_the_right_to_decide(world: World, browser: Browser) -> None:
    here, html = await enter(browser, await mailed(world, await world.delivered()))
    refused = await send(browser, here, html, "/colleague", colleague_name="Dora Klient", colleague_email="nowhere")
    assert refused.status_code == 422
    assert "colleague_email-error" in refused.text
    assert 'value="Dora Klient"' in refused.text
    assert (
        await send(browser, here, refused.text, "/colleague", colleague_name="Dora Klient", colleague_email="dora@hafen.example")
    ).status_code == 303
    shown = (await browser.get(here)).text
    assert "You named a colleague" in shown
    assert (await send(browser, here, shown, "/approval", **SIGNED)).status_code == 303


async def test_an_invoice_link_shows_the_invoice_and_only_notes_that_it_was_opened(
    world: World, browser: Browser, settings: Settings, owner_url: str
) -> None:
    await world.approved()
    await run_jobs(world, settings)
    invoice = await invoice_of(world)
    address = await invoice_address(world, invoice)
    before = await digests(owner_url)
    assert (await browser.head(address, follow_redirects=False)).status_code == 303
    await browser.get(address, headers={"sec-purpose": "prefetch"})
    assert await digests(owner_url) == before
    assert await seen_at(world, invoice) is None
    quiet = await digests(owner_url, without=["link_open", "job"])
    here, html = await enter(browser, address)
    assert await digests(owner_url, without=["link_open", "job"]) == quiet, "an opening adds its own row and the job that chains it"
    for part in (f"Invoice {invoice.number}", "€1,200.00", "€1,000.00", "Tax 20%", "AT61 1904 3002 3457 3201", "Design"):
        assert part in html
    seen = await seen_at(world, invoice)
    assert seen is not None
    await enter(browser, address)
    assert await opens(world) == 2
    assert await seen_at(world, invoice) == seen, "the first opening counts"
    await run_jobs(world, settings)
    assert (await invoice_of(world)).version == invoice.version
    pdf = await browser.get(f"{here}/invoice.pdf")
    assert pdf.content.startswith(b"%PDF")
    sign = here.replace("/invoice/", "/sign/")
    assert (await browser.get(sign)).status_code == 403


async def test_paying_shows_as_a_receipt_on_both_pages(world: World, browser: Browser, settings: Settings) -> None:
    here, html = await enter(browser, await mailed(world, await world.delivered()))
    await send(browser, here, html, "/approval", **SIGNED)
    await run_jobs(world, settings)
    there, _html = await enter(browser, await invoice_address(world, await invoice_of(world)))
    today = clock.today("Europe/Vienna")
    for amount, open_ in (("200.00", "€1,000.00"), ("1000.00", "")):
        transfer = NewTransfer(client_id=world.client_id, amount=eur(amount), received_on=today)
        await payments.record_transfer(world.db, world.command("finance"), transfer)
        shown = (await browser.get(there)).text
        assert "Bank transfer" in shown
        assert (f'<span class="money ">{open_}</span>' in shown) == bool(open_)
        assert ("Paid. Thank you." in shown) == (not open_)
        assert ("AT61 1904" in shown) == bool(open_)
    assert "Paid. Thank you." in (await browser.get(here)).text


async def test_an_approval_that_was_taken_back_says_so_with_the_reason(world: World, browser: Browser) -> None:
    milestone_id = await world.delivered()
    here, html = await enter(browser, await mailed(world, milestone_id))
    await send(browser, here, html, "/approval", **SIGNED)
    await billing.reopen_milestone(world.db, world.command(), milestone_id, "The wrong files were sent")
    shown = (await browser.get(here)).text
    for part in ("took this approval back", "The wrong files were sent", "Clara Klient"):
        assert part in shown
    assert "is being prepared" not in shown


async def test_a_file_that_is_not_there_leads_back_to_the_link_and_not_to_the_members_pages(world: World, browser: Browser) -> None:
    here, _html = await enter(browser, await mailed(world, await world.delivered()))
    missing = await browser.get(f"{here}/certificate.pdf")
    assert missing.status_code == 404
    assert f'class="button primary" href="{here}"' in missing.text
    assert "To the start page" not in missing.text


async def test_an_expired_invoice_link_mails_a_fresh_one(world: World, browser: Browser, settings: Settings) -> None:
    await world.approved()
    await run_jobs(world, settings)
    address = await invoice_address(world, await invoice_of(world), expires_at=clock.now() - timedelta(days=1))
    here, html = await enter(browser, address)
    assert "This link has expired" in html
    assert "INV-" not in html
    assert (await browser.get(f"{here}/invoice.pdf")).status_code == 404
    assert (await send(browser, here, html, "/fresh-link")).status_code == 303
    assert await mails_asked(world, "billing/invoice_link") == 1


async def test_the_address_in_a_pdf_mails_a_link_and_tells_nothing(world: World, browser: Browser, settings: Settings) -> None:
    await world.approved()
    await run_jobs(world, settings)
    invoice = await invoice_of(world)
    answers = []
    for reference in (pay_reference(world.org.id, invoice.id), pay_reference(world.org.id, uuid7()), pay_reference(uuid7(), uuid7()), "x"):
        here = f"/pay/{reference}"
        shown = await browser.get(here)
        assert shown.status_code == 200
        sent = await browser.post(here, data=fields_of(shown.text, here), follow_redirects=False)
        assert sent.status_code == 303
        after = await browser.get(sent.headers["location"])
        answers.append("If this invoice is open, a fresh link is on its way" in after.text and "INV-" not in after.text)
    assert answers == [True] * 4
    assert await mails_asked(world, "billing/invoice_link") == 1


async def test_asking_for_invoice_links_is_limited(world: World, browser: Browser) -> None:
    here = f"/pay/{pay_reference(world.org.id, uuid7())}"
    for _ in range(21):
        shown = await browser.get(here)
        await browser.post(here, data=fields_of(shown.text, here), follow_redirects=False)
    assert "Too many attempts" in (await browser.get(here)).text
