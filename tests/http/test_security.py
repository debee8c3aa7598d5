"""What OWASP ASVS 5.0 asks for and no other suite shows: see docs/security.md, which names each of these tests."""

from __future__ import annotations

import ast
import asyncio
import gzip
import hashlib
import http.server
import io
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from litestar.testing import AsyncTestClient
from sqlalchemy import text

from tests.factories import Org
from tests.service.signoff_world import World
from tollgate import logs
from tollgate.access import limits, passwords, queries, service
from tollgate.access.rules import Role
from tollgate.app import Services, create_app
from tollgate.cli.serving import listen, web
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.errors import Invalid, TooManyAttempts
from tollgate.files.storage import LocalStorage
from tollgate.mail.transport import build
from tollgate.payments.gateway import GatewayBusy, GatewayRefused
from tollgate.payments.stripe_gateway import StripeGateway
from tollgate.screens.client_invoice_pages import ASK_FOR_LINK
from tollgate.settings import Settings
from tollgate.signoff.mails import CODE_DIGITS
from tollgate.signoff.service_input import CODE_LIFE
from tollgate.web.downloads import attachment
from tollgate.web.headers import CONTENT_SECURITY_POLICY
from tollgate.web.static_files import static_files, static_url

EMAIL, PASSWORD = "vera@nordlicht.example", "seven green bicycles"
SOURCE = Path(__file__).resolve().parents[2] / "src" / "tollgate"
Browser = AsyncTestClient[Any]


# Made once for the tests that need no database: building it takes longer than asking it.
app_of = lru_cache(maxsize=1)(create_app)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Browser]:
    async with AsyncTestClient(app_of(settings), base_url=settings.base_url) as browser:
        yield browser


@pytest.fixture
def https(settings: Settings) -> Settings:
    """A server for others."""
    return settings.with_(base_url="https://billing.example")


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A server that needs no database for what it is asked."""
    data = tmp_path_factory.mktemp("nowhere")
    return Settings(data=data, database_url="postgresql+asyncpg://nobody@127.0.0.1:9/nothing", secret_key="k" * 32)


@pytest.fixture
async def vera(db: Database, organization: Org) -> None:
    """A viewer who can sign in."""
    await service.create_member(db, organization.command(), email=EMAIL, name="Vera Viewer", role=Role.VIEWER, password=PASSWORD)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logs say."""
    out, root = io.StringIO(), logging.getLogger()
    kept, level = root.handlers[:], root.level
    logs.configure("info", stream=out)
    yield out
    root.handlers[:] = kept
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def hidden(html: str) -> dict[str, str]:
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    return {name: found[name] for name in ("csrf_token", "form_key") if name in found}


async def sign_in(browser: Browser, password: str = PASSWORD, email: str = EMAIL) -> httpx.Response:
    fields = {**hidden((await browser.get("/sign-in")).text), "email": email, "password": password, "next": "/settings/password"}
    return await browser.post("/sign-in", data=fields, follow_redirects=False)


# What a browser is told


async def test_on_https_every_answer_is_strict_and_every_cookie_is_for_this_host_alone(https: Settings, vera: None) -> None:
    async with opened(https) as browser:
        for path in ("/sign-in", "/nowhere", "/api/v1/nothing", "/health/live", static_url("tollgate.css"), "/clients"):
            answer = await browser.get(path, follow_redirects=False)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains", path
        entered = await sign_in(browser)
        shown = await browser.get("/settings/password")
        assert '<form method="post" action="/sign-out">' in shown.text
        left = await browser.post("/sign-out", data=hidden(shown.text), follow_redirects=False)
        assert left.headers["clear-site-data"] == '"cache", "storage"'
        notice = await browser.get("/pay/unknown")
        assert "You are signed out" in notice.text
        cookies = [cookie for answer in (entered, shown, left, notice) for cookie in answer.headers.get_list("set-cookie")]
        assert {cookie.partition("=")[0] for cookie in cookies} == {"__Host-tg-session", "__Host-tg-notice"}
        for cookie in cookies:
            for part in ("; Secure", "; HttpOnly", "; Path=/", "; SameSite=lax"):
                assert cookie.count(part) == 1, cookie
            assert "Domain" not in cookie
        # A neighbouring host can set a cookie without the prefix, and is not listened to.
        planted = "WyJpbmZvIiwgIlBsYW50ZWQiXQ"  # ["info", "Planted"]
        for name, is_shown in (("tg-notice", False), ("__Host-tg-notice", True)):
            answer = await browser.get("/pay/unknown", headers={"Cookie": f"{name}={planted}"})
            assert ("Planted" in answer.text) is is_shown
        # What only builders of pages need is not there for others.
        assert (await browser.get("/style")).status_code == 404


async def test_every_kind_of_answer_says_what_it_is_and_cannot_be_framed_or_read_across_origins(nowhere: Settings) -> None:
    types = {
        "/sign-in": "text/html; charset=utf-8",
        "/nowhere": "text/html; charset=utf-8",
        "/style": "text/html; charset=utf-8",
        "/api/v1/nothing": "application/problem+json",
        "/health/live": "application/json",
        static_url("tollgate.css"): "text/css; charset=utf-8",
        static_url("app.js"): "text/javascript; charset=utf-8",
        static_url("logo.svg"): "image/svg+xml; charset=utf-8",
    }
    async with opened(nowhere) as browser:
        for path, kind in types.items():
            headers = (await browser.get(path, headers={"Origin": "https://evil.example"})).headers
            assert headers["content-type"] == kind, path
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY, path
            assert "access-control-allow-origin" not in headers, path
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in (await browser.options("/api/v1/contracts", headers=preflight)).headers
        trace = await browser.request("TRACE", "/sign-in", headers={"X-Canary": "canary"})
        assert trace.status_code == 405 and "canary" not in trace.text


def test_a_download_runs_nothing_is_framed_nowhere_and_keeps_its_header_whole() -> None:
    for name in ('a"\r\nX-Evil: 1.html', "../../etc/passwd", "b\x00c.pdf", "Überblick;=.pdf"):
        answer = attachment(name, b"<script>alert(1)</script>", "text/html")
        policy, disposition = answer.headers["Content-Security-Policy"], answer.headers["Content-Disposition"]
        for part in ("sandbox", "default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
            assert part in policy
        assert answer.media_type == "application/octet-stream"
        assert re.fullmatch(r"attachment; filename=\"[\w. -]+\"; filename\*=UTF-8''[\w.%~-]+", disposition, re.ASCII), disposition


def test_our_scripts_keep_nothing_build_no_markup_and_listen_to_nobody() -> None:
    scripts = {name: file.content.decode() for name, file in static_files().items() if name.endswith(".js") and "/" not in name}
    assert len(scripts) >= 3
    dangerous = (
        r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\.|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\("
        r"|new Function|postMessage|onmessage|['\"]message['\"]|onpaste|__proto__"
    )
    assert {name: re.findall(dangerous, script) for name, script in scripts.items() if re.search(dangerous, script)} == {}


async def test_of_a_parameter_that_comes_twice_neither_is_believed(nowhere: Settings) -> None:
    async with opened(nowhere) as browser:
        answer = await browser.get("/api/v1/members?limit=1&limit=200")
        assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, ["/limit"])


# Passwords


async def test_there_is_no_account_before_somebody_makes_one(db: Database, owner_url: str) -> None:
    owner = Database(owner_url)
    try:
        async with owner.directory() as session:
            for table in ("identity", "membership", "member", "api_key", "api_key_route", "organization"):
                assert (await session.execute(text(f"select count(*) from {table}"))).scalar_one() == 0, table
    finally:
        await owner.close()


@pytest.mark.parametrize("guessable", ["iloveyou123", "ILoveYou123", "i love you 123", "1q2w3e4r5t", "qwertyuiop", "1234567890"])
def test_a_published_password_is_refused(guessable: str) -> None:
    weak = passwords.weakness(guessable, EMAIL, "Vera Viewer", "Nordlicht Studio GmbH")
    assert weak is not None and "stolen" in weak.text


@pytest.mark.parametrize(
    "guessable", ["Tollgate2026!", "welcome-admin-1", "NordlichtStudio1", "verA.Viewer", "Passwort123!", "Finance+Account"]
)
def test_a_password_of_words_that_belong_here_is_refused(guessable: str) -> None:
    weak = passwords.weakness(guessable, EMAIL, "Vera Viewer", "Nordlicht Studio GmbH")
    assert weak is not None and "anyone would try" in weak.text


async def test_the_organizations_name_counts_wherever_a_password_is_chosen(db: Database, organization: Org, vera: None) -> None:
    guessable = "Nordlicht-Studio-1"
    with pytest.raises(Invalid) as refused:
        await service.create_member(db, organization.command(), email="x@y.example", name="X", role=Role.VIEWER, password=guessable)
    assert refused.value.errors[0].pointer == "/password"
    async with db.reading(organization.id) as session:
        member = next(row for row in await queries.members(session, organization.id) if row.email == EMAIL)
    with pytest.raises(Invalid) as refused:
        await service.reset_password(db, Command.operator(organization.id), member.id, guessable)
    assert refused.value.errors[0].pointer == "/password"
    own = Command(organization.id, ActorKind.MEMBER, member.id, "viewer")
    with pytest.raises(Invalid) as refused:
        await service.change_password(db, own, current=PASSWORD, new=guessable)
    assert refused.value.errors[0].pointer == "/new"


@pytest.mark.parametrize(
    "good",
    ["seven green bicycles", "sieben grüne fahrräder", "七つの緑の自転車に乗って", "kqzvwxjyhp", "4830 9917 2650", "x1" * 40 + "abc"],
)
def test_a_password_may_have_any_characters_and_be_long(good: str) -> None:
    assert passwords.weakness(good, EMAIL, "Vera Viewer", "Nordlicht Studio GmbH") is None


def test_the_list_of_published_passwords_is_the_one_described() -> None:
    folder = Path(passwords.__file__).parent / "breached"
    listed = gzip.decompress((folder / "passwords.txt.gz").read_bytes())
    about = (folder / "README.md").read_text(encoding="utf-8")
    assert f"`{hashlib.sha256(listed).hexdigest()}`" in about
    found = listed.decode().splitlines()
    assert f"{len(found):,} passwords" in about
    # At least the 3,000 most used that our other rules would let through: each does work in the list.
    assert len(found) > 3000 and found == sorted(set(found))
    assert all(len(password) >= passwords.SHORTEST and len(set(password)) >= 5 for password in found)


async def test_a_password_is_compared_exactly_as_it_was_typed() -> None:
    longest = ("Seven green Bicycles " * 10)[: passwords.LONGEST]
    kept = await passwords.hash_password(longest)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await passwords.is_right(kept, longest)
    for wrong in (longest[:-1], longest.lower(), longest + " "):
        assert not await passwords.is_right(kept, wrong)


def test_password_fields_are_masked_and_named_for_password_managers() -> None:
    fields = [
        line
        for path in SOURCE.glob("*/templates/**/*.html")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r'f\.text\(form, "(?:password|current|new|again)"', line)
    ]
    assert len(fields) == 4
    for line in fields:
        assert re.search(r'type="password".*autocomplete="(?:current|new)-password"', line), line


def test_what_is_made_up_for_a_person_is_as_hard_to_guess_as_it_says() -> None:
    made = {passwords.generate() for _number in range(5)}
    assert len(made) == 5
    # Twenty of thirty-one letters and digits: 99 bits, and our own rules let it through.
    assert all(len(password.replace("-", "")) == 20 and passwords.weakness(password) is None for password in made)
    assert len(set(passwords._ALPHABET)) == len(passwords._ALPHABET) == 31
    assert 10**CODE_DIGITS >= 2**20


def test_a_mailed_code_works_for_ten_minutes_and_the_page_says_so() -> None:
    assert timedelta(minutes=10) == CODE_LIFE
    said = (SOURCE / "screens/templates/client/approve.html").read_text() + (SOURCE / "screens/client_pages.py").read_text()
    assert set(re.findall(r"works for (\d+) minutes", said)) == {"10"}


async def test_a_token_of_one_kind_of_link_opens_no_other(
    settings: Settings, db: Database, storage: LocalStorage, organization: Org
) -> None:
    world = await World.make(db, storage, organization)
    link = (await world.links((await world.round(await world.delivered())).id))[world.clara_id]
    token = await world.token(link)
    async with opened(settings) as browser:
        assert (await browser.get(f"/i/{token}", follow_redirects=False)).status_code == 404
        assert (await browser.get(f"/a/{token}", follow_redirects=False)).status_code == 303
        # Nor is it anybody's session or key.
        as_key = await browser.get("/api/v1/organization", headers={"Authorization": f"Bearer {token}"})
        as_session = await browser.get("/clients", headers={"Cookie": f"tg-session={token}"}, follow_redirects=False)
        assert (as_key.status_code, as_session.headers["location"]) == (401, "/sign-in?next=/clients")


# Errors and logs


async def test_an_unexpected_error_tells_its_reader_nothing_and_the_log_what_it_was(
    settings: Settings, vera: None, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: Any, **_options: Any) -> Any:
        raise RuntimeError("select canary from nowhere")

    async with opened(settings) as browser:
        await sign_in(browser)
        monkeypatch.setattr(queries, "members", broken)
        answer = await browser.get("/settings/members")
    assert answer.status_code == 500
    assert not re.search(r"canary|Traceback|RuntimeError|\.py\b", answer.text)
    assert "Something went wrong here" in answer.text
    logged = [line for line in lines(written) if line["event"] == "unexpected error"]
    assert len(logged) == 1 and "canary" in logged[0]["exception"]


async def test_every_attempt_to_come_in_and_every_refusal_is_logged_with_time_and_caller(
    settings: Settings, vera: None, written: io.StringIO
) -> None:
    def said() -> list[dict[str, Any]]:
        found = lines(written)
        written.truncate(0)
        written.seek(0)
        return found

    async with opened(settings) as browser:
        await sign_in(browser, "wrong")
        await sign_in(browser, email="nobody@nordlicht.example")
        assert [(line["event"], line["because"]) for line in said()] == [
            ("sign-in refused", "wrong password"),
            ("sign-in refused", "unknown address"),
        ]
        await browser.get("/clients", follow_redirects=False)
        await browser.get("/api/v1/contracts", headers={"Authorization": "Bearer tg_guessed-and-wrong"})
        await browser.get("/a/guessed")
        await browser.get("/sign/00000000-0000-0000-0000-000000000000")
        assert [line["because"] for line in said()] == ["not-signed-in", "not-signed-in", "link-unknown", "link-not-opened"]
        await sign_in(browser)
        entered = said()
        assert [line["event"] for line in entered] == ["signed in"] and entered[0]["member"]
        assert (await browser.get("/settings/api-keys")).status_code == 403
        await browser.post("/settings/password", data={"csrf_token": "forged"})
        # What is asked for cannot write a line of its own, nor end one.
        await browser.get('/settings/members/new?next=%0A{"event": "signed in"}', follow_redirects=False)
        await browser.post('/nowhere%0A{"event": "signed in"}%0D', data={"csrf_token": "forged"})
        refused = said()
    assert [line["because"] for line in refused] == ["not-allowed", "csrf-failed", "not-allowed"]
    for line in refused:
        assert line["event"] == "refused" and line["caller"].startswith("member:") and line["organization"]
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)
        assert (line["level"], line["logger"]) == ("warning", "tollgate.http")
    assert refused[0]["path"] == "/settings/api-keys"


async def test_who_tries_too_often_is_logged_without_the_address(db: Database, written: io.StringIO) -> None:
    once = limits.Limit("once", 1, timedelta(minutes=15))
    await limits.attempt(db, once, EMAIL, "k" * 32)
    with pytest.raises(TooManyAttempts):
        await limits.attempt(db, once, EMAIL, "k" * 32)
    assert [(line["event"], line["limit"]) for line in lines(written)] == [("too many attempts", "once")]
    assert EMAIL not in written.getvalue()


def test_a_log_line_cannot_be_forged(written: io.StringIO) -> None:
    forged = '{"event": "signed in", "level": "info"}'
    structlog.get_logger("tollgate.test").warning(f"a\r\n{forged}", path=f"/x\n{forged}\u2028{forged}\x1b[2K")
    logging.getLogger("elsewhere").warning("a\n%s", forged)
    assert [line["event"].split("\n")[0].strip() for line in lines(written)] == ["a", "a"]
    assert "\x1b" not in written.getvalue() and "\u2028" not in written.getvalue()


# On the wire


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[int]:
    """A real server on a free port."""
    services, sock = Services.of(settings), listen("127.0.0.1", 0)
    async with web(settings, services, sock):
        yield int(sock.getsockname()[1])


async def test_a_forwarded_address_is_believed_of_a_trusted_proxy_only(settings: Settings, db: Database) -> None:
    for _number in range(ASK_FOR_LINK.most):
        await limits.attempt(db, ASK_FOR_LINK, limits.network_of("127.0.0.1"), settings.secret_key)
    for proxies, says in (("203.0.113.1", "Too many attempts"), ("127.0.0.1", "on its way")):
        async with (
            served(settings.with_(trusted_proxies=proxies)) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            shown = await client.get("/pay/unknown")
            await client.post("/pay/unknown", data=hidden(shown.text), headers={"X-Forwarded-For": "198.51.100.7"})
            assert says in (await client.get("/pay/unknown")).text, proxies


async def test_a_message_whose_length_can_be_read_in_two_ways_is_not_two_messages(nowhere: Settings) -> None:
    smuggled = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    heads = (
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (len(smuggled) + 5),
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % (len(smuggled) + 5),
        b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n" % (len(smuggled) + 5),
    )
    async with served(nowhere) as port:
        for head in heads:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /sign-out HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n0\r\n\r\n" + smuggled)
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(65536), 20)
            writer.close()
            first = answer.split(b"\r\n", 1)[0]
            assert b'{"status":"live"}' not in answer or first.startswith(b"HTTP/1.1 4"), head
            assert b"HTTP/1.1 400" in first or answer.count(b"HTTP/1.1 ") == 1, (head, answer)


async def test_a_redirect_of_the_payment_gateway_is_not_followed() -> None:
    seen: list[str] = []

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        gateway = StripeGateway("sk_test_redirected", api_base=f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises((GatewayBusy, GatewayRefused)):
            await gateway.invoice("in_1")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert set(seen) == {"/v1/invoices/in_1"}


def test_no_text_adds_a_header_or_a_receiver_to_a_mail() -> None:
    evil = "Rechnung\r\nBcc: everybody@evil.example\r\n\r\nbody"
    message = build(
        sender="Tollgate <billing@nordlicht.example>",
        seller=evil,
        to_name=evil,
        to_email="clara@hafen.example",
        subject=evil,
        text="t",
        html="<p>t</p>",
        message_id="<1@nordlicht.example>",
        attachments=[],
        reply_to="office@nordlicht.example",
    )
    assert message["Bcc"] is None
    assert [address.addr_spec for address in message["To"].addresses] == ["clara@hafen.example"]
    head = bytes(message).split(b"\n\n", 1)[0]
    assert not re.search(rb"^bcc:", head, re.IGNORECASE | re.MULTILINE)


# The source itself


def test_the_source_runs_no_text_unpickles_nothing_reads_no_xml_and_uses_no_broken_hash() -> None:
    """What the product imports and calls, read from its syntax; the two exceptions are named."""
    modules = {
        "pickle",
        "marshal",
        "shelve",
        "dill",
        "yaml",
        "xml",
        "lxml",
        "defusedxml",
        "ctypes",
        "cffi",
        "ldap3",
        "memcache",
        "pymemcache",
        "random",
    }
    calls = {"eval", "exec", "compile", "md5", "sha1", "new", "system", "popen", "from_string", "mktemp"}
    jitter = ("jobs/worker.py", "random")  # Delays between attempts are spread; nobody guesses anything by them.
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                found |= {(name, one.split(".")[0]) for one in named if one.split(".")[0] in modules}
            elif isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
                owner = node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
                if called in calls and owner not in {"re", "hmac", "Image", "Command"}:
                    found.add((name, called))
                if owner in {"subprocess", "asyncio"} and any(word.arg == "shell" for word in node.keywords):
                    found.add((name, "shell"))
    assert found == {jitter}
