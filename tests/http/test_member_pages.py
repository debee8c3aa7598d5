"""Members' pages over HTTP: who may do what, sending twice, bad text, two people at once, and readings that change nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import Response
from litestar.testing import AsyncTestClient
from sqlalchemy import func, select

from tests.browser.client_fixture import digests
from tests.browser.site import PASSWORD, Site
from tollgate.access.rules import Role
from tollgate.app import Services, create_app
from tollgate.billing.models import Invoice
from tollgate.billing.service import invoice_milestone
from tollgate.contracts import queries, service
from tollgate.contracts.models import Contract
from tollgate.contracts.service_views import contract_view
from tollgate.db.command import Command
from tollgate.jobs import Job, enqueue
from tollgate.jobs.service import jobs_of
from tollgate.money.amount import Money
from tollgate.parties import service as parties
from tollgate.parties.models import Client
from tollgate.parties.rules import NewOrganization, OrganizationChanges
from tollgate.settings import Settings

Browser = AsyncTestClient[Any]


class Broken(Job, frozen=True, kw_only=True):
    """Work that nobody can do."""

    kind = "test.broken"
    max_attempts = 1


@pytest.fixture
async def site(settings: Settings) -> AsyncIterator[Site]:
    """An organization in this process, without a server and without a worker."""
    services = Services.of(settings)
    new = NewOrganization(
        legal_name="Atelier Brunner",
        country="AT",
        currency="EUR",
        line1="Lindengasse 12",
        postal_code="1070",
        city="Wien",
        tax_id="ATU12345675",
        iban="AT611904300234573201",
    )
    made = Site(settings.base_url, settings, services, await parties.create_organization(services.db, new))
    await made.member("admin")
    yield made
    await services.db.close()


@pytest.fixture
async def browsers(site: Site) -> AsyncIterator[dict[str, Browser]]:
    """One per role, opened by `inside`, closed here."""
    opened: dict[str, Browser] = {}
    yield opened
    for browser in opened.values():
        await browser.__aexit__(None, None, None)


async def inside(site: Site, browsers: dict[str, Browser], role: str = "admin") -> Browser:
    """A browser in which a member with that role is signed in."""
    if role not in browsers:
        browser = AsyncTestClient(create_app(site.settings, Services.of(site.settings)), base_url=site.settings.base_url)
        browsers[role] = await browser.__aenter__()
        await site.member(role)
        shown = await browser.get("/sign-in")
        answer = await send(browser, shown.text, "/sign-in", email=await site.member(role), password=PASSWORD)
        assert answer.status_code == 303, answer.text
    return browsers[role]


def hidden(html: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that is sent to `action`."""
    found = re.search(rf'<form method="post" action="{re.escape(action)}".*?</form>', html, re.DOTALL)
    assert found is not None, f"no form is sent to {action}"
    return {name: unescape(value) for name, value in re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)">', found[0])}


async def send(browser: Browser, html: str, action: str, files: Any = None, **typed: Any) -> Response:
    """Send a form of a page as a browser without script does."""
    return await browser.post(action, data={**hidden(html, action), **typed}, files=files, follow_redirects=False)


def contract_fields(client_id: UUID | str, **changes: str) -> dict[str, str]:
    fields = {
        "client_id": str(client_id),
        "title": "Website relaunch",
        "value": "1,000.00",
        "price_basis": "net",
        "tax_category": "S",
        "tax_rate": "20",
        "payment_days": "30",
        "payment_from": "issue",
        "invoicing": "issue",
        "milestones-0-title": "First",
        "milestones-0-amount": "400",
        "milestones-1-title": "Second",
        "milestones-1-percent": "60",
    }
    return {**fields, **changes}


async def count(site: Site, model: Any) -> int:
    async with site.db.reading(site.organization_id) as session:
        found = await session.scalar(select(func.count()).select_from(model).where(model.organization_id == site.organization_id))
    return int(found or 0)


async def test_sending_the_form_twice_makes_one_contract(site: Site, browsers: dict[str, Browser]) -> None:
    browser = await inside(site, browsers, "account_manager")
    shown = (await browser.get("/contracts/new")).text
    typed = contract_fields("new", client_legal_name="Acme", client_country="AT", contact_name="Clara", contact_email="c@acme.example")
    first = await send(browser, shown, "/contracts", save="1", **typed)
    again = await send(browser, shown, "/contracts", save="1", **typed)
    assert first.status_code == again.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    assert (await count(site, Contract), await count(site, Client)) == (1, 1)


@pytest.mark.parametrize("bad", ["a\x00b", "invoice \u202egnp.exe"])
async def test_text_that_cannot_be_kept_is_refused_at_its_field_and_nothing_is_saved(
    site: Site, browsers: dict[str, Browser], bad: str
) -> None:
    browser = await inside(site, browsers, "account_manager")
    client_id = await site.client()
    shown = (await browser.get("/contracts/new")).text
    answer = await send(browser, shown, "/contracts", save="1", **contract_fields(client_id, title=bad))
    assert answer.status_code == 422
    assert 'id="title-error"' in answer.text and 'value="400"' in answer.text
    assert await count(site, Contract) == 0


async def test_markup_and_formulas_are_shown_as_text(site: Site, browsers: dict[str, Browser]) -> None:
    browser = await inside(site, browsers, "account_manager")
    client_id = await site.client("<b>Acme</b> & =1+1")
    shown = (await browser.get("/contracts/new")).text
    title = '<script>alert(1)</script>"=cmd()'
    answer = await send(browser, shown, "/contracts", save="1", **contract_fields(client_id, title=title))
    page = (await browser.get(answer.headers["location"])).text
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;Acme&lt;/b&gt;" in page


async def test_of_two_editors_the_second_is_told_and_keeps_what_was_typed(site: Site, browsers: dict[str, Browser]) -> None:
    contract_id, _rows = await site.contract(await site.client(), "100", active=False)
    one, other = await inside(site, browsers, "account_manager"), await inside(site, browsers, "admin")
    edit = f"/contracts/{contract_id}/edit"
    shown, also_shown = (await one.get(edit)).text, (await other.get(edit)).text
    async with site.db.reading(site.organization_id) as session:
        client_id = (await queries.contract(session, site.organization_id, contract_id)).client_id
    won = await send(one, shown, edit, save="1", **contract_fields(client_id, title="Mine"))
    lost = await send(other, also_shown, edit, save="1", **contract_fields(client_id, title="Theirs"))
    assert (won.status_code, lost.status_code) == (303, 422)
    assert "Somebody saved something else here in the meantime" in lost.text and 'value="Theirs"' in lost.text
    assert "Mine" in (await one.get(f"/contracts/{contract_id}")).text
    again = await send(other, lost.text, edit, save="1", **contract_fields(client_id, title="Theirs"))
    assert again.status_code == 303 and "Theirs" in (await one.get(f"/contracts/{contract_id}")).text


async def test_editing_keeps_what_the_grid_does_not_show(site: Site, browsers: dict[str, Browser]) -> None:
    client_id = await site.client()
    rows = [service.MilestoneInput(title="First", description="Twelve pages", amount=Money.parse("1000.00", "EUR"))]
    asked = service.ContractInput(client_id=client_id, title="Draft", value=Money.parse("1000.00", "EUR"), milestones=rows)
    contract_id = await service.create_contract(site.db, site.command("account_manager"), asked)
    browser = await inside(site, browsers, "account_manager")
    edit = f"/contracts/{contract_id}/edit"
    shown = (await browser.get(edit)).text
    typed = {"milestones-0-amount": "1000", "milestones-1-title": "", "milestones-1-percent": ""}
    answer = await send(browser, shown, edit, save="1", **contract_fields(client_id, **typed))
    assert answer.status_code == 303
    async with site.db.reading(site.organization_id) as session:
        view = await contract_view(session, site.organization_id, contract_id, Role.ADMIN, None)
    assert [(one.title, one.description) for one in view.milestones] == [("First", "Twelve pages")]


async def test_a_viewer_reads_and_is_offered_nothing_else(site: Site, browsers: dict[str, Browser]) -> None:
    contract_id, milestones = await site.contract(await site.client())
    await site.deliver(milestones[0])
    viewer = await inside(site, browsers, "viewer")
    for address in ("/", "/contracts", f"/contracts/{contract_id}", f"/milestones/{milestones[0]}", "/invoices"):
        shown = await viewer.get(address)
        assert shown.status_code == 200
        assert not re.findall(r'<form method="post" action="(?!/sign-out|/organizations)', shown.text), address
    for address in ("/contracts/new", f"/milestones/{milestones[0]}/delivery", f"/milestones/{milestones[0]}/reopening"):
        assert (await viewer.get(address)).status_code == 403
    token = hidden((await viewer.get("/")).text, "/sign-out")["csrf_token"]
    refused = await viewer.post(f"/milestones/{milestones[0]}/withdrawal", data={"csrf_token": token, "form_key": str(uuid4())})
    assert refused.status_code == 403


async def test_a_form_without_its_token_is_refused(site: Site, browsers: dict[str, Browser]) -> None:
    _contract, milestones = await site.contract(await site.client())
    browser = await inside(site, browsers)
    refused = await browser.post(f"/milestones/{milestones[0]}/start", data={"form_key": str(uuid4())}, follow_redirects=False)
    assert refused.status_code == 403
    async with site.db.reading(site.organization_id) as session:
        assert (await queries.milestone(session, site.organization_id, milestones[0])).state == "planned"


async def test_a_form_whose_token_went_stale_is_sent_again_as_it_was_typed(site: Site, browsers: dict[str, Browser]) -> None:
    browser = await inside(site, browsers, "account_manager")
    fields = contract_fields(await site.client(), title='Kept "as typed" <&>')
    shown = (await browser.get("/contracts/new")).text
    ours = {"Sec-Fetch-Site": "same-origin"}
    stale = {**hidden(shown, "/contracts"), **fields, "save": "1", "csrf_token": "stale.token"}
    refused = await browser.post("/contracts", data=stale, headers=ours)
    assert refused.status_code == 403 and "nothing you typed is lost" in refused.text
    assert await count(site, Contract) == 0
    foreign = await browser.post("/contracts", data=stale, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403 and "as typed" not in foreign.text, "what another site sent is not offered"
    again = await send(browser, refused.text, "/contracts")
    assert again.status_code == 303
    async with site.db.reading(site.organization_id) as session:
        assert (await session.execute(select(Contract.title))).scalar_one() == 'Kept "as typed" <&>'


async def test_another_organizations_ids_are_not_found(site: Site, browsers: dict[str, Browser]) -> None:
    new = NewOrganization(legal_name="Elsewhere", country="AT", currency="EUR", tax_id="ATU12345675")
    other = Site(site.url, site.settings, site.services, await parties.create_organization(site.db, new))
    other.members = {"admin": uuid4(), "account_manager": uuid4()}
    client_id = await other.client()
    contract_id, milestones = await other.contract(client_id)
    round_id = await other.deliver(milestones[0])
    browser = await inside(site, browsers)
    addresses = (
        f"/contracts/{contract_id}",
        f"/contracts/{contract_id}/edit",
        f"/contracts/{contract_id}/activation",
        f"/milestones/{milestones[0]}",
        f"/milestones/{milestones[0]}/delivery",
        f"/rounds/{round_id}/certificate.pdf",
        f"/invoices/{uuid4()}",
    )
    for address in addresses:
        assert (await browser.get(address)).status_code == 404, address
    shown = (await browser.get("/contracts/new")).text
    answer = await send(browser, shown, "/contracts", save="1", **contract_fields(client_id))
    assert answer.status_code == 422 and "there is no such client" in answer.text


async def test_a_file_goes_out_as_an_attachment_that_nothing_runs(site: Site, browsers: dict[str, Browser]) -> None:
    _contract, milestones = await site.contract(await site.client())
    file = service.FileInput(name="Überblick.html", content_type="text/html", content=b"<script>alert(1)</script>")
    command = site.command("account_manager")
    deliverable = await service.add_deliverable(site.db, site.services.storage, command, milestones[0], service.DeliverableInput(file=file))
    answer = await (await inside(site, browsers)).get(f"/deliverables/{deliverable}")
    assert answer.content == file.content
    assert answer.headers["content-type"].startswith("application/octet-stream")
    assert (
        answer.headers["content-disposition"].startswith("attachment;")
        and "filename*=UTF-8''%C3%9Cberblick.html" in answer.headers["content-disposition"]
    )
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["content-security-policy"].startswith("sandbox")


async def test_looking_and_previewing_change_nothing(site: Site, browsers: dict[str, Browser], owner_url: str) -> None:
    client_id = await site.client()
    contract_id, milestones = await site.contract(client_id, "50", "50")
    draft, _rows = await site.contract(client_id, "50", "49", active=False, title="Draft")
    await site.deliver(milestones[0])
    browser = await inside(site, browsers)
    form = (await browser.get("/contracts/new")).text
    before = await digests(owner_url)
    one = f"/contracts/{contract_id}"
    for address in (
        "/",
        "/contracts?q=web",
        one,
        f"{one}?view=board",
        f"{one}?view=timeline",
        f"{one}?tab=activity",
        "/milestones",
        "/invoices",
    ):
        assert (await browser.get(address)).status_code == 200
    for address in (f"/contracts/{draft}/edit", f"/contracts/{draft}/activation", f"/milestones/{milestones[1]}/delivery"):
        assert (await browser.get(address)).status_code == 200
    data = {**hidden(form, "/contracts"), **contract_fields(client_id)}
    table = await browser.post("/contracts/preview-table", data=data, headers={"hx-request": "true"})
    assert table.status_code == 200 and "€1,200.00" in table.text and "<html" not in table.text
    whole = await browser.post("/contracts/preview-table", data=data)
    assert whole.status_code == 200 and "€1,200.00" in whole.text and 'value="Website relaunch"' in whole.text
    assert await digests(owner_url) == before


async def test_activation_names_what_is_missing_before_and_refuses_after(site: Site, browsers: dict[str, Browser]) -> None:
    contract_id, _rows = await site.contract(await site.client(), "50", "49.99", active=False)
    browser = await inside(site, browsers, "account_manager")
    address = f"/contracts/{contract_id}/activation"
    shown = (await browser.get(address)).text
    assert "€4.80 less than the value" in shown and f'action="{address}"' not in shown
    data = {"csrf_token": hidden(shown, "/sign-out")["csrf_token"], "form_key": str(uuid4())}
    refused = await browser.post(address, data=data, follow_redirects=False)
    assert refused.status_code == 422 and "€4.80 less than the value" in refused.text


async def test_the_agreement_is_attached_and_comes_back_byte_for_byte(site: Site, browsers: dict[str, Browser]) -> None:
    contract_id, _rows = await site.contract(await site.client(), active=False)
    browser = await inside(site, browsers, "account_manager")
    address = f"/contracts/{contract_id}/activation"
    shown = (await browser.get(address)).text
    file = {"agreement": ("contract signed.pdf", b"%PDF-1.4 agreement", "application/pdf")}
    half = await send(browser, shown, address, files=file, agreed_by="Jana Krejčí")
    assert half.status_code == 422 and "Enter the day it was signed" in half.text and 'value="Jana Krejčí"' in half.text
    done = await send(browser, shown, address, files=file, agreed_by="Jana Krejčí", agreed_on="2026-01-02")
    assert done.status_code == 303
    assert (await browser.get(f"/contracts/{contract_id}/agreement")).content == b"%PDF-1.4 agreement"


async def test_delivering_without_anything_to_show_is_refused_at_the_field(site: Site, browsers: dict[str, Browser]) -> None:
    _contract, milestones = await site.contract(await site.client())
    browser = await inside(site, browsers, "account_manager")
    address = f"/milestones/{milestones[0]}/delivery"
    shown = (await browser.get(address)).text
    wrong = await send(browser, shown, address, send="1", links="ftp://example.org", message="Done")
    assert wrong.status_code == 422
    assert 'id="links-error"' in wrong.text and 'id="contact_ids-error"' in wrong.text and 'id="criteria-error"' in wrong.text
    assert "ftp://example.org</textarea>" in wrong.text and "Done</textarea>" in wrong.text


async def test_sending_the_delivery_twice_adds_and_delivers_once(site: Site, browsers: dict[str, Browser]) -> None:
    _contract, milestones = await site.contract(await site.client())
    browser = await inside(site, browsers, "account_manager")
    address = f"/milestones/{milestones[0]}/delivery"
    shown = (await browser.get(address)).text
    contact = re.findall(r'name="contact_ids" type="checkbox" value="([^"]+)"', shown)
    file = {"file": ("work.pdf", b"%PDF-1.4 work", "application/pdf")}
    typed: dict[str, Any] = {"send": "1", "contact_ids": contact, "criteria": ["0", "1"], "message": "Here it is"}
    first = await send(browser, shown, address, files=file, **typed)
    again = await send(browser, shown, address, files=file, **typed)
    assert first.status_code == again.status_code == 303, again.text
    async with site.db.reading(site.organization_id) as session:
        milestone = await queries.milestone(session, site.organization_id, milestones[0])
        shown_files = (await queries.deliverables_of(session, site.organization_id, [milestones[0]]))[milestones[0]]
    assert (milestone.state, milestone.round_number, len(shown_files)) == ("delivered", 1, 1)


async def test_an_answer_to_a_click_that_came_too_late_says_why(site: Site, browsers: dict[str, Browser]) -> None:
    _contract, milestones = await site.contract(await site.client())
    await site.deliver(milestones[0])
    browser = await inside(site, browsers, "account_manager")
    address = f"/milestones/{milestones[0]}"
    shown = (await browser.get(address)).text
    await site.approve_on_paper(milestones[0])
    late = await send(browser, shown, f"{address}/withdrawal")
    assert late.status_code == 303
    assert "is not possible" in (await browser.get(address)).text


async def test_home_lists_what_is_stuck_before_what_only_waits(site: Site, browsers: dict[str, Browser]) -> None:
    client_id = await site.client()
    _contract, waiting = await site.contract(client_id, title="Waits")
    await site.deliver(waiting[0])
    _review, reviewed = await site.contract(client_id, title="Reviewed", review=True)
    await site.deliver(reviewed[0])
    await site.approve_on_paper(reviewed[0])
    _blocked, stuck = await site.contract(client_id, title="Stuck")
    await site.deliver(stuck[0])
    await parties.change_organization(site.db, Command.operator(site.organization_id), 1, OrganizationChanges(tax_id=""))
    await site.approve_on_paper(stuck[0])
    async with site.db.transaction(site.organization_id) as session:
        await enqueue(session, Broken(organization_id=site.organization_id))
    await site.settle()
    browser = await inside(site, browsers)
    shown = (await browser.get("/")).text
    words = re.findall(r'<li class="need \w+">.*?<span class="badge \w+">.*?<span>(.*?)</span>', shown, re.DOTALL)
    assert words[0] == "Cannot be billed" and words[-1] == "Waiting for the client"
    assert words.index("Job failed") < words.index("Ready to invoice") < words.index("Waiting for the client")
    assert "add it in the settings" in shown and 'href="/settings#tax_id"' in shown
    job = re.search(r'action="(/jobs/[^"]+/requeue)"', shown)
    assert job is not None
    assert (await send(browser, shown, job[1])).status_code == 303
    async with site.db.directory() as session:
        assert [one.kind for one in await jobs_of(session, site.organization_id)] == []
    # An account manager neither sees jobs nor may run them again.
    other = await inside(site, browsers, "account_manager")
    assert "Job failed" not in (await other.get("/")).text


async def test_figures_open_lists_with_the_same_sums(site: Site, browsers: dict[str, Browser]) -> None:
    client_id = await site.client()
    for _number in range(2):
        _contract, milestones = await site.contract(client_id, value="1000.00")
        await site.deliver(milestones[0])
        await site.approve_on_paper(milestones[0])
    await site.settle()
    browser = await inside(site, browsers, "finance")
    home = (await browser.get("/")).text
    figure = re.search(r'href="/invoices\?state=open">.*?figure-value">(.*?)</span>.*?figure-note">(.*?)</span>', home, re.DOTALL)
    assert figure is not None and (figure[1], figure[2]) == ("€2,400.00", "2 invoices")
    listed = (await browser.get("/invoices?state=open")).text
    assert listed.count('<tr>\n  <th scope="row"') == 2 and re.search(r"Open</span>\s*<span class=\"figure-value\">€2,400.00", listed)
    assert "No invoice fits" in (await browser.get("/invoices?state=overdue")).text


async def test_a_sent_invoice_offers_credit_and_says_why_it_cannot_be_void(site: Site, browsers: dict[str, Browser]) -> None:
    _contract, milestones = await site.contract(await site.client(), value="1000.00")
    await site.deliver(milestones[0])
    await site.approve_on_paper(milestones[0])
    await site.member("finance")
    invoice_id = await invoice_milestone(site.db, site.command("finance"), milestones[0], site.settings)
    async with site.db.transaction(site.organization_id) as session:
        row = await session.get_one(Invoice, (site.organization_id, invoice_id))
        row.sent_at = row.issued_at
    await site.settle()
    browser = await inside(site, browsers, "finance")
    shown = (await browser.get(f"/invoices/{invoice_id}")).text
    assert "Make void…" not in shown and "it was sent already; write a credit note instead" in shown
    credit = f"/invoices/{invoice_id}/credit"
    says = (await browser.get(credit)).text
    assert "A credit note over €1,200.00" in says and "€1,200.00 that is open is no longer owed" in says
    empty = await send(browser, says, credit, reason=" ")
    assert empty.status_code == 422 and 'id="reason-error"' in empty.text
    done = await send(browser, says, credit, reason="wrong amount")
    assert done.status_code == 303
    note = (await browser.get(done.headers["location"])).text
    assert "CN-" in note and "wrong amount" in note and "€1,200.00" in note


def test_the_routes_of_the_pages_are_guarded() -> None:
    from tollgate.billing import pages as billing
    from tollgate.contracts import pages as contracts
    from tollgate.screens import pages as screens
    from tollgate.signoff import pages as signoff

    handlers = [
        one
        for room in (billing, contracts, screens, signoff)
        for route in room.page_router.routes
        for one in route.route_handlers  # type: ignore[attr-defined]
        if "OPTIONS" not in one.http_methods
    ]
    assert len(handlers) > 40
    assert [str(one) for one in handlers if not getattr(one, "guards", None)] == []
