"""Signing in and out, and the pages behind it: members, keys, the account, the organization, clients."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from httpx import Response
from litestar.testing import AsyncTestClient
from PIL import Image

from tests.factories import Org, make_client
from tollgate.access import queries, service
from tollgate.access.pages import local_address
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.parties import queries as parties
from tollgate.settings import Settings

EMAIL, PASSWORD = "ada@nordlicht.example", "seven green bicycles"
Browser = AsyncTestClient[Any]


def hidden(html: str) -> dict[str, str]:
    """The hidden fields that the first form of the main part carries."""
    main = html.split("<main", 1)[1]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', main[main.index("<form") :])[:4])


async def submit(browser: Browser, address: str, fields: dict[str, Any], *, to: str | None = None, files: Any = None) -> Response:
    """Open a page, fill its form and send it, as a browser does."""
    shown = await browser.get(address)
    assert shown.status_code == 200, shown.text
    return await browser.post(to or address, data={**hidden(shown.text), **fields}, files=files, follow_redirects=False)


def new_browser(settings: Settings) -> Browser:
    return AsyncTestClient(create_app(settings), base_url="http://127.0.0.1:8000")


@pytest.fixture
async def ada(db: Database, organization: Org) -> UUID:
    made = await service.create_member(db, organization.command(), email=EMAIL, name="Ada Admin", role=Role.ADMIN, password=PASSWORD)
    return made.id


@pytest.fixture
async def browser(settings: Settings, ada: UUID) -> AsyncIterator[Browser]:
    async with new_browser(settings) as made:
        yield made


@pytest.fixture
async def inside(browser: Browser) -> Browser:
    answer = await submit(browser, "/sign-in", {"email": EMAIL, "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return browser


async def viewer(settings: Settings, db: Database, organization: Org) -> Browser:
    await service.create_member(
        db, organization.command(), email="vera@nordlicht.example", name="Vera", role=Role.VIEWER, password=PASSWORD
    )
    return new_browser(settings)


async def test_the_cookie_is_for_this_host_alone_and_out_of_reach_of_scripts(browser: Browser) -> None:
    answer = await submit(browser, "/sign-in", {"email": EMAIL.upper(), "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert re.match(r"tg-session=[\w-]{43};", cookie)
    for part in ("HttpOnly", "Path=/", "SameSite=lax", "Max-Age=1209600"):
        assert part in cookie
    assert "Domain" not in cookie


async def test_a_wrong_password_keeps_the_address_and_says_nothing_more(browser: Browser) -> None:
    known = await submit(browser, "/sign-in", {"email": EMAIL, "password": "wrong"})
    unknown = await submit(browser, "/sign-in", {"email": "nobody@nordlicht.example", "password": "wrong"})
    assert known.status_code == unknown.status_code == 401
    assert "set-cookie" not in known.headers
    assert f'value="{EMAIL}"' in known.text
    assert "wrong" not in known.text

    def told(answer: Response) -> str:
        return re.sub(r'value="[^"]*"', "", answer.text)

    assert told(known) == told(unknown)


async def test_empty_fields_are_named_beside_them(browser: Browser) -> None:
    answer = await submit(browser, "/sign-in", {"email": " ", "password": ""})
    assert answer.status_code == 422
    assert 'id="email-error"' in answer.text
    assert 'id="password-error"' in answer.text


async def test_too_many_failures_say_when_to_try_again(browser: Browser) -> None:
    shown = hidden((await browser.get("/sign-in")).text)
    for _number in range(10):
        assert (await browser.post("/sign-in", data={**shown, "email": EMAIL, "password": "wrong"})).status_code == 401
    refused = await browser.post("/sign-in", data={**shown, "email": EMAIL, "password": PASSWORD})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 15 * 60 + 1


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        ("/clients?q=a", "/clients?q=a"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\nb", "/"),
        ("", "/"),
        ("/sign-out", "/"),
    ],
)
def test_signing_in_leads_to_this_host_only(wanted: str, where: str) -> None:
    assert local_address(wanted) == where


async def test_a_page_asks_to_sign_in_and_comes_back(browser: Browser) -> None:
    asked = await browser.get("/clients", follow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=/clients")
    answer = await submit(browser, asked.headers["location"], {"email": EMAIL, "password": PASSWORD}, to="/sign-in")
    assert answer.headers["location"] == "/clients"


async def test_a_session_id_of_the_browsers_own_choosing_is_never_adopted(browser: Browser) -> None:
    browser.cookies.set("tg-session", "a" * 43)
    answer = await submit(browser, "/sign-in", {"email": EMAIL, "password": PASSWORD})
    assert "tg-session=" in answer.headers["set-cookie"]
    assert "a" * 43 not in answer.headers["set-cookie"]


async def test_signing_out_kills_every_copy_of_the_cookie(inside: Browser) -> None:
    cookie = inside.cookies["tg-session"]
    answer = await submit(inside, "/settings/password", {}, to="/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    inside.cookies.set("tg-session", cookie)
    assert (await inside.get("/clients", follow_redirects=False)).status_code == 303


@pytest.mark.parametrize("address", ["/sign-in", "/sign-out", "/settings", "/settings/members/new", "/settings/password", "/clients/new"])
async def test_a_form_of_another_site_is_refused(inside: Browser, address: str) -> None:
    shown = hidden((await inside.get("/settings/password")).text)
    without = await inside.post(address, data={"form_key": shown["form_key"]}, follow_redirects=False)
    crossing = await inside.post(address, data=shown, headers={"Sec-Fetch-Site": "cross-site"}, follow_redirects=False)
    assert (without.status_code, crossing.status_code) == (403, 403)


async def test_a_members_password_is_shown_once(inside: Browser, settings: Settings) -> None:
    fields = {"name": "Max", "email": "max@nordlicht.example", "role": "finance"}
    shown = hidden((await inside.get("/settings/members/new")).text)
    first = await inside.post("/settings/members/new", data={**shown, **fields})
    password = re.search(r'readonly value="([\w-]+)"', first.text)
    assert first.status_code == 201
    assert password is not None
    assert first.headers["cache-control"] == "no-store"
    again = await inside.post("/settings/members/new", data={**shown, **fields}, follow_redirects=False)
    assert again.status_code == 303
    assert "max@nordlicht.example" in (await inside.get("/settings/members")).text
    async with new_browser(settings) as other:
        answer = await submit(other, "/sign-in", {"email": "max@nordlicht.example", "password": password[1]})
        assert answer.status_code == 303


async def test_errors_of_a_member_stand_at_the_fields_and_nothing_is_lost(inside: Browser) -> None:
    answer = await submit(inside, "/settings/members/new", {"name": "<b>Max</b>", "email": "no", "role": "finance"})
    assert answer.status_code == 422
    assert 'id="email-error"' in answer.text
    assert 'value="&lt;b&gt;Max&lt;/b&gt;"' in answer.text
    assert re.search(r'value="finance" checked', answer.text)
    taken = await submit(inside, "/settings/members/new", {"name": "Max", "email": EMAIL, "role": "finance"})
    assert (taken.status_code, 'id="email-error"' in taken.text) == (422, True)


async def test_changing_ones_own_role_gives_a_new_cookie(inside: Browser, db: Database, organization: Org, ada: UUID) -> None:
    before = inside.cookies["tg-session"]
    answer = await submit(inside, f"/settings/members/{ada}", {"name": "Ada", "role": "finance", "version": "1"})
    assert answer.status_code == 303
    assert inside.cookies["tg-session"] != before
    assert (await inside.get("/settings/api-keys")).status_code == 403
    inside.cookies.set("tg-session", before)
    assert (await inside.get("/clients", follow_redirects=False)).status_code == 303
    async with db.reading(organization.id) as session:
        assert (await queries.member(session, organization.id, ada)).role == "finance"


async def test_a_stale_form_is_told_and_can_be_saved_then(inside: Browser, organization: Org) -> None:
    address = f"/settings/members/{organization.manager_id}"
    assert (await submit(inside, address, {"name": "Maxi", "role": "viewer"})).status_code == 303
    stale = await submit(inside, address, {"name": "Maximilian", "role": "viewer", "version": "1"})
    assert stale.status_code == 412
    assert 'value="Maximilian"' in stale.text
    assert (
        await inside.post(address, data={**hidden(stale.text), "name": "Maximilian", "role": "viewer"}, follow_redirects=False)
    ).status_code == 303


async def test_a_member_is_removed_after_asking_and_the_last_admin_is_not(inside: Browser, organization: Org, ada: UUID) -> None:
    address = f"/settings/members/{organization.admin_id}"
    assert "signed out at once" in (await inside.get(address)).text
    assert (await submit(inside, address, {"version": "1"}, to=f"{address}/removal")).status_code == 303
    last = f"/settings/members/{ada}"
    refused = await submit(inside, last, {"version": "1"}, to=f"{last}/removal")
    assert refused.status_code == 409
    assert "last admin" in refused.text


async def test_a_keys_secret_is_shown_once_and_opens_the_api_until_revoked(inside: Browser, db: Database, organization: Org) -> None:
    assert "No API keys yet" in (await inside.get("/settings/api-keys")).text
    answer = await submit(inside, "/settings/api-keys/new", {"name": "Books", "scopes": ["read", "billing"]})
    secret = re.search(r'value="(tg_[\w-]+)"', answer.text)
    assert answer.status_code == 201
    assert secret is not None
    listed = (await inside.get("/settings/api-keys")).text
    assert secret[1] not in listed
    assert secret[1][:9] in listed
    headers = {"Authorization": f"Bearer {secret[1]}"}
    assert (await inside.get("/api/v1/organization", headers=headers)).status_code == 200
    assert (await inside.get("/api/v1/api-keys", headers=headers)).status_code == 403
    async with db.reading(organization.id) as session:
        key = (await queries.api_keys(session, organization.id))[0]
    assert key.role == "finance"
    assert (await submit(inside, "/settings/api-keys", {}, to=f"/settings/api-keys/{key.id}/revocation")).status_code == 303
    assert (await inside.get("/api/v1/organization", headers=headers)).status_code == 401
    nothing = await submit(inside, "/settings/api-keys/new", {"name": "", "scopes": []})
    assert ('id="name-error"' in nothing.text, 'id="scopes-error"' in nothing.text) == (True, True)


async def test_a_changed_password_signs_other_devices_out_and_leaves_no_fast_hash(
    inside: Browser, settings: Settings, db: Database, organization: Org
) -> None:
    async with new_browser(settings) as other:
        await submit(other, "/sign-in", {"email": EMAIL, "password": PASSWORD})
        before = inside.cookies["tg-session"]
        wrong = await submit(
            inside, "/settings/password", {"current": "x", "new": "another long password", "again": "another long password"}
        )
        assert (wrong.status_code, 'id="current-error"' in wrong.text) == (422, True)
        unlike = await submit(inside, "/settings/password", {"current": PASSWORD, "new": "another long password", "again": "y"})
        assert (unlike.status_code, 'id="again-error"' in unlike.text) == (422, True)
        assert "another long password" not in wrong.text + unlike.text
        new = {"current": PASSWORD, "new": "another long password", "again": "another long password"}
        assert (await submit(inside, "/settings/password", new)).status_code == 303
        assert inside.cookies["tg-session"] != before
        assert (await inside.get("/settings/password", follow_redirects=False)).status_code == 200
        assert (await other.get("/settings/password", follow_redirects=False)).status_code == 303
    from hashlib import sha256

    from sqlalchemy import text

    async with db.reading(organization.id) as session:
        kept = (
            (await session.execute(text("select request_sha256 from idempotency_key where verb like '%/settings/password'")))
            .scalars()
            .all()
        )
    assert list(kept) == [sha256(b"change password").digest()]


async def test_the_settings_are_saved_and_errors_keep_what_was_typed(inside: Browser, db: Database, organization: Org) -> None:
    shown = (await inside.get("/settings")).text
    fields = dict(re.findall(r'<input id="(\w+)" name="\w+" type="(?:text|email|tel)"[^>]* value="([^"]*)"', shown))
    assert fields["iban"] == "AT61 1904 3002 3457 3201"
    chosen = {"country": "AT", "locale": "en", "time_zone": "Europe/Vienna", "currency": "EUR", "default_tax_category": "S"}
    wrong = await submit(
        inside, "/settings", {**fields, **chosen, "iban": "AT61 1904 3002 3457 3202", "city": "Graz", "default_payment_days": "x"}
    )
    assert wrong.status_code == 422
    assert 'value="Graz"' in wrong.text
    assert 'id="default_payment_days-error"' in wrong.text
    wrong = await submit(
        inside, "/settings", {**fields, **chosen, "iban": "AT61 1904 3002 3457 3202", "city": "Graz", "credit_note_number_format": "INV"}
    )
    assert ('id="iban-error"' in wrong.text, 'id="credit_note_number_format-error"' in wrong.text) == (True, True)
    image = BytesIO()
    Image.new("RGB", (30, 10), "#123456").save(image, "JPEG")
    saved = await submit(
        inside, "/settings", {**fields, **chosen, "city": "Graz", "accent": "#aa3300"}, files={"logo": ("l.jpg", image.getvalue())}
    )
    assert saved.status_code == 303, saved.text
    assert "The settings are saved" in (await inside.get("/settings")).text
    async with db.reading(organization.id) as session:
        seller = await parties.organization(session, organization.id)
    assert (seller.address.city, seller.accent, seller.legal_name, seller.version) == ("Graz", "#aa3300", "Nordlicht Studio GmbH", 2)
    logo = await inside.get(f"/brand/{organization.id}/logo.png")
    assert (logo.status_code, logo.headers["content-type"], logo.content[:4]) == (200, "image/png", b"\x89PNG")
    bad = await submit(inside, "/settings", {**fields, **chosen, "city": "Linz"}, files={"logo": ("l.png", b"<svg onload=alert(1)>")})
    assert (bad.status_code, 'id="logo-error"' in bad.text, 'value="Linz"' in bad.text) == (422, True, True)


async def test_the_brand_is_public_and_kept_under_its_version(browser: Browser, organization: Org) -> None:
    plain = await browser.get(f"/brand/{organization.id}.css")
    assert (plain.status_code, plain.headers["content-type"], plain.headers["cache-control"]) == (
        200,
        "text/css; charset=utf-8",
        "public, max-age=300",
    )
    assert "--accent:" in plain.text
    version = plain.headers["etag"].strip('"')
    assert "immutable" in (await browser.get(f"/brand/{organization.id}.css?v={version}")).headers["cache-control"]
    assert (await browser.get(f"/brand/{organization.id}.css", headers={"If-None-Match": plain.headers["etag"]})).status_code == 304
    for address in (
        f"/brand/{organization.id}",
        "/brand/x.css",
        "/brand/00000000-0000-0000-0000-000000000000.css",
        f"/brand/{organization.id}/logo.png",
    ):
        assert (await browser.get(address)).status_code == 404


async def test_a_client_is_entered_with_its_people(inside: Browser, db: Database, organization: Org) -> None:
    assert "No clients yet" in (await inside.get("/clients")).text
    wrong = await submit(
        inside, "/clients/new", {"legal_name": "", "city": "Linz", "country": "", "tax_id": "ATU1", "currency": "EUR", "locale": "en"}
    )
    assert wrong.status_code == 422
    assert all(f'id="{name}-error"' in wrong.text for name in ("legal_name", "country"))
    assert 'value="Linz"' in wrong.text
    made = await submit(inside, "/clients/new", {"legal_name": "Hafen <b>AG", "country": "AT", "currency": "EUR", "locale": "en"})
    assert made.status_code == 303, made.text
    address = made.headers["location"]
    page = (await inside.get(address)).text
    assert "Hafen &lt;b&gt;AG" in page
    assert "Nobody to write to yet" in page
    person = {"name": "Clara Klient", "email": "clara@hafen.example", "locale": "en", "is_approver": "yes"}
    assert (await submit(inside, f"{address}/contacts/new", person)).status_code == 303
    twice = await submit(inside, f"{address}/contacts/new", person)
    assert (twice.status_code, 'id="email-error"' in twice.text) == (422, True)
    async with db.reading(organization.id) as session:
        contact = (await parties.contacts_of(session, organization.id, UUID(address.rsplit("/", 1)[1])))[0]
    edit = f"{address}/contacts/{contact.id}"
    assert (await submit(inside, edit, {**person, "name": "Clara K."})).status_code == 303
    assert "Clara K." in (await inside.get(address)).text
    assert (await submit(inside, edit, {"version": "2"}, to=f"{edit}/removal")).status_code == 303
    assert "Nobody to write to yet" in (await inside.get(address)).text
    assert (await submit(inside, f"{address}/edit", {"legal_name": "Hafen AG", "country": "AT"})).status_code == 303
    assert (await submit(inside, address, {"version": "2"}, to=f"{address}/archival")).status_code == 303
    assert "Hafen AG" in (await inside.get("/clients?archived=true")).text
    assert "Hafen AG" not in (await inside.get("/clients")).text


async def test_a_long_list_of_clients_turns_pages(inside: Browser, db: Database, organization: Org) -> None:
    for number in range(51):
        await make_client(db, organization, legal_name=f"Client {number:02}")
    first = (await inside.get("/clients?q=client")).text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = (await inside.get(following[1].replace("&amp;", "&"))).text
    assert "Client 50" in second
    assert "Client 49" not in second
    assert "No client matches" in (await inside.get("/clients?q=zzz")).text


async def test_a_viewer_reads_and_is_offered_nothing_else(settings: Settings, db: Database, organization: Org) -> None:
    client = await make_client(db, organization)
    async with await viewer(settings, db, organization) as browser:
        await submit(browser, "/sign-in", {"email": "vera@nordlicht.example", "password": PASSWORD})
        for address in ("/settings", "/settings/members", "/clients", f"/clients/{client}"):
            shown = await browser.get(address)
            assert shown.status_code == 200, address
            main = shown.text.split("<main", 1)[1]
            assert 'method="post"' not in main
            assert not re.search(r"/new\b|/edit\b", main)
        for address in ("/settings/members/new", "/settings/api-keys", "/clients/new", f"/clients/{client}/edit"):
            assert (await browser.get(address)).status_code == 403
        shown_form = hidden((await browser.get("/settings/password")).text)
        assert (await browser.post("/clients/new", data=shown_form)).status_code == 403
