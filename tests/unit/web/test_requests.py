"""Cross-site protection, headers, static files and pages, through a small application without database or socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from litestar import Litestar, Request, Response, get, post
from litestar.middleware import DefineMiddleware
from litestar.testing import TestClient

from tollgate.errors import TollgateError, _
from tollgate.settings import Settings
from tollgate.web.cookies import cookie_name, expired_cookie, host_cookie
from tollgate.web.csrf import AnyConnection, Csrf
from tollgate.web.forms import read_form
from tollgate.web.headers import CONTENT_SECURITY_POLICY, SecurityHeaders
from tollgate.web.language import LanguageMiddleware
from tollgate.web.notices import notices_of
from tollgate.web.pages import style_page
from tollgate.web.rendering import PACKAGE, Shell, environment, page, see_other
from tollgate.web.static_files import favicon, static_file, static_files, static_url


def session_of(connection: AnyConnection) -> str | None:
    return connection.cookies.get("session")


csrf = Csrf("a secret", session_of, "http://testserver.local")


@get("/token", sync_to_thread=False)
def token(request: Request[Any, Any, Any]) -> str:
    return csrf.token(request)


@post("/write", guards=[csrf.guard])
async def write(request: Request[Any, Any, Any]) -> str:
    form = await read_form(request, csrf_token="next")
    return form.text("title")


@get("/notices", sync_to_thread=False)
def notices(request: Request[Any, Any, Any]) -> Response[str]:
    return page("plain.html", shell=Shell(organization="<b>A&B</b>", notices=notices_of(request)))


@post("/saved", sync_to_thread=False)
def saved() -> Response[None]:
    return see_other("/notices", notice=_("Client <b>saved</b>"))


def refused(_request: Request[Any, Any, Any], error: TollgateError) -> Response[str]:
    return Response(error.slug, status_code=403)


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        [token, write, notices, saved, static_file, favicon, style_page],
        middleware=[DefineMiddleware(LanguageMiddleware)],
        before_send=[SecurityHeaders()],
        exception_handlers={TollgateError: refused},
    )
    with TestClient(app) as made:
        yield made


KEY = "2f1c9c1e-8f1e-4f5f-9f56-0d9d8a0f5b11"


def test_a_form_of_this_session_passes(client: TestClient[Litestar]) -> None:
    client.cookies.set("session", "mine")
    sent = {"csrf_token": client.get("/token").text, "form_key": KEY, "title": "Website"}
    assert (
        client.post("/write", data=sent, headers={"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver.local"}).text == "Website"
    )
    assert client.post("/write", data={**sent, "csrf_token": ""}, headers={"X-CSRF-Token": sent["csrf_token"]}).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
def test_a_request_from_elsewhere_is_refused_even_with_a_valid_token(client: TestClient[Litestar], headers: dict[str, str]) -> None:
    client.cookies.set("session", "mine")
    answer = client.post("/write", data={"csrf_token": client.get("/token").text, "form_key": KEY}, headers=headers)
    assert (answer.status_code, answer.text) == (403, "csrf-failed")


def test_a_token_of_another_session_or_of_nobody_or_altered_is_refused(client: TestClient[Litestar]) -> None:
    nobodys = client.get("/token").text
    client.cookies.set("session", "theirs")
    theirs = client.get("/token").text
    client.cookies.set("session", "mine")
    mine = client.get("/token").text
    forged = mine[:-1] + ("0" if mine[-1] != "0" else "1")
    for wrong in (nobodys, theirs, forged, "", ".", "a.b", mine.replace(".", "x."), "é.ü"):
        assert client.post("/write", data={"csrf_token": wrong, "form_key": KEY}).text == "csrf-failed", wrong


def test_tokens_differ_every_time_and_another_key_does_not_open(client: TestClient[Litestar]) -> None:
    one, other = client.get("/token").text, client.get("/token").text
    assert one != other
    with pytest.raises(ValueError, match="secret"):
        Csrf("", session_of)
    assert csrf._signature("s", "n") != Csrf("another", session_of)._signature("s", "n")
    assert csrf._signature(None, "n") != csrf._signature("", "n")


def test_a_form_without_its_key_is_refused(client: TestClient[Litestar]) -> None:
    assert client.post("/write", data={"csrf_token": client.get("/token").text}).text == "invalid"


def test_every_answer_carries_the_headers_even_a_missing_page(client: TestClient[Litestar]) -> None:
    for path in ("/token", "/nowhere", "/style"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    assert CONTENT_SECURITY_POLICY == (
        "default-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    )


def test_static_files_live_a_year_under_their_hash_only(client: TestClient[Litestar]) -> None:
    for name in static_files():
        answer = client.get(static_url(name))
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert client.get("/static/0000000000000000/tollgate.css").headers["cache-control"] == "no-cache"
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml; charset=utf-8"


@pytest.mark.parametrize("name", ["missing.css", "../rendering.py", "%2e%2e/rendering.py", "vendor/README.md"])
def test_nothing_else_is_served(client: TestClient[Litestar], name: str) -> None:
    assert client.get(f"/static/0000000000000000/{name}").status_code in {403, 404}


def test_a_notice_is_shown_once_as_text(client: TestClient[Litestar]) -> None:
    answer = client.post("/saved", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/notices")
    shown = client.get("/notices")
    assert 'tg-notice=""' in shown.headers["set-cookie"] or "tg-notice=;" in shown.headers["set-cookie"]
    assert "set-cookie" not in client.get("/notices").headers


def test_a_broken_notice_is_no_notice(client: TestClient[Litestar]) -> None:
    for broken in ("x", "e30", "WzEsMl0", "a" * 5000):
        client.cookies.set("tg-notice", broken)
        assert client.get("/notices").status_code == 200


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil"])
def test_a_redirect_never_leaves_this_host(elsewhere: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        see_other(elsewhere)


def test_the_style_page_shows_every_component_and_nothing_the_policy_forbids(client: TestClient[Litestar]) -> None:
    text = client.get("/style").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", text)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_readme_gives_every_macro_the_arguments_that_it_takes() -> None:
    folder = PACKAGE / "web" / "templates" / "components"
    readme = (folder / "README.md").read_text(encoding="utf-8").replace("\\|", "|")
    for file, prefix in (("forms.html", "f"), ("ui.html", "ui"), ("timeline.html", "timeline"), ("schedule_grid.html", "schedule")):
        real = dict(re.findall(r"{% macro (\w+)\((.*?)\) -?%}", (folder / file).read_text(encoding="utf-8")))
        written = re.findall(rf"\b{prefix}\.(\w+)\(([^()]*)\)", readme)
        assert written
        for name in {name for name, _arguments in written}:
            assert real[name] in {arguments for one, arguments in written if one == name}, f"{prefix}.{name}({real[name]})"


def test_templates_contain_nothing_inline() -> None:
    found = [
        path.name
        for path in PACKAGE.glob("*/templates/**/*.html")
        if "mail" not in path.parts
        and re.search(r"<style|\sstyle=|\son(?:click|submit|change|load)=|<script(?![^>]*\ssrc=)", path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_template_compiles() -> None:
    names = environment().list_templates(extensions=["html"])
    assert "base.html" in names and "components/forms.html" in names
    for name in names:
        environment().get_template(name)


def test_text_is_escaped_and_an_undefined_name_is_an_error() -> None:
    made = environment()
    assert made.from_string("{{ x }} {{ _('%(x)s is <b>new</b>', x=x) }}").render(x="<i>") == "&lt;i&gt; &lt;i&gt; is <b>new</b>"
    assert made.from_string("{{ _(m) }} {{ m | say }}").render(m=_("%(x)s", x="<i>")) == "&lt;i&gt; &lt;i&gt;"
    with pytest.raises(UndefinedError):
        made.from_string("{{ missing }}").render()


def test_pages_speak_the_language_and_direction_of_the_browser(client: TestClient[Litestar]) -> None:
    assert '<html lang="en-US" dir="ltr">' in client.get("/style", headers={"Accept-Language": "en-US"}).text


def test_cookies_take_the_host_prefix_on_https() -> None:
    plain, safe = Settings(data=Path("/nowhere")), Settings(data=Path("/nowhere"), base_url="https://billing.example.org")
    assert (cookie_name(plain, "tg"), cookie_name(safe, "tg")) == ("tg", "__Host-tg")
    made = host_cookie(safe, "tg", "v").to_header(header="")
    assert all(part in made for part in ("__Host-tg=v", "HttpOnly", "Secure", "Path=/", "SameSite=lax")) and "Domain" not in made
    assert "Max-Age=0" in expired_cookie(safe, "tg").to_header(header="")
