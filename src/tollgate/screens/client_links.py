"""Which link a client's request holds: the token of a mail is exchanged once for a cookie of that link alone (R10)."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import structlog
from litestar import Request, Response
from litestar.background_tasks import BackgroundTask
from litestar.connection import ASGIConnection
from litestar.status_codes import HTTP_303_SEE_OTHER

from tollgate.db.database import Database
from tollgate.errors import NotAllowed, NotFound, _
from tollgate.http.commands import client_address
from tollgate.http.heads import is_head
from tollgate.http.problems import as_tollgate_error, headers_of, note_refusal, status_of
from tollgate.i18n import translate
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.service import VerifiedLink
from tollgate.signoff.tokens import LONGEST, Kind
from tollgate.web.cookies import cookie_name, host_cookie, link_cookie
from tollgate.web.csrf import CsrfFailed
from tollgate.web.failures import again_of, failure_response
from tollgate.web.rendering import page

log = structlog.get_logger("tollgate.screens")

PLACES: dict[Kind, str] = {"approval": "sign", "invoice": "invoice"}
"""First part of the address behind each kind of link."""

AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]
Opened = Callable[[VerifiedLink], Awaitable[None]]


class LinkUnknown(NotFound):
    """Not a token of ours, whatever the reason: the page gives no details."""

    slug = "link-unknown"
    title = _("This link is not valid")


class LinkNotOpened(NotAllowed):
    """The address of a link's page without the link's own cookie; answers alike whether or not there is such a link."""

    slug = "link-not-opened"
    title = _("Open the link in your mail again")


async def exchange(request: AnyRequest, db: Database, settings: Settings, token: str, kind: Kind, opened: Opened) -> Response[None]:
    """303 from a mail's token to its page, with the link's cookie. `opened` runs after the answer, and only for a person's GET.

    Raises `LinkUnknown`.
    """
    verified = await signoff.verify(db, settings.secret_key, token) if len(token) <= LONGEST else None
    if verified is None or verified.kind != kind:
        raise LinkUnknown
    keeps = await _keeps_cookie(request, db, settings, verified)
    cookies = [] if keeps else [host_cookie(settings, link_cookie(verified.link_id), token)]
    return Response(
        None,
        status_code=HTTP_303_SEE_OTHER,
        headers={"Location": f"/{PLACES[kind]}/{verified.link_id}", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
        cookies=cookies,
        background=BackgroundTask(opened, verified) if is_visit(request) else None,
    )


async def _keeps_cookie(request: AnyRequest, db: Database, settings: Settings, fresh: VerifiedLink) -> bool:
    """Whether the browser's cookie of this link is as good as the fresh one.

    A reminder opened in a second tab then leaves the form that is being filled in the first tab valid: its CSRF token
    is bound to the cookie.
    """
    held = await link_held(request, db, settings, fresh.link_id, fresh.kind)
    return held is not None and held.copied_by == fresh.copied_by and held.expires_at >= fresh.expires_at


async def link_held(connection: AnyConnection, db: Database, settings: Settings, link_id: UUID, kind: Kind) -> VerifiedLink | None:
    """The link of the request's cookie, when the cookie is that link's own."""
    token = connection.cookies.get(cookie_name(settings, link_cookie(link_id)))
    if not token:
        return None
    verified = await signoff.verify(db, settings.secret_key, token)
    return verified if verified is not None and verified.link_id == link_id and verified.kind == kind else None


async def require_link(request: AnyRequest, db: Database, settings: Settings, link_id: UUID, kind: Kind = "approval") -> VerifiedLink:
    """The link whose page is asked for. Raises `LinkNotOpened`."""
    verified = await link_held(request, db, settings, link_id, kind)
    if verified is None:
        raise LinkNotOpened
    return verified


def is_link_path(path: str) -> bool:
    """Whether a page belongs to a link, so that its forms are bound to the link's cookie and to no member's session."""
    return path.startswith(tuple(f"/{place}/" for place in PLACES.values()))


def link_session_id_of(connection: AnyConnection) -> str | None:
    """What the CSRF tokens of a link's page are bound to: the hash of that link's own cookie. None without one."""
    _empty, _place, link, *_rest = (*connection.url.path.split("/"), "", "")
    try:
        name = link_cookie(UUID(link))
    except ValueError:
        return None
    settings: Settings = connection.app.state.settings
    token = connection.cookies.get(cookie_name(settings, name))
    return f"link:{hashlib.sha256(f'{name}={token}'.encode()).hexdigest()}" if token else None


def is_visit(request: AnyRequest) -> bool:
    """Whether a person is opening the page: not a HEAD, not what a browser or mail program fetches ahead."""
    ahead = f"{request.headers.get('sec-purpose', '')} {request.headers.get('purpose', '')} {request.headers.get('x-moz', '')}"
    return not is_head(request) and "prefetch" not in ahead.lower() and "prerender" not in ahead.lower()


async def note_open(db: Database, request: AnyRequest, verified: VerifiedLink) -> None:
    """Write the opening down, apart from the page; `record_open` never raises."""
    await signoff.record_open(db, verified, ip=client_address(request)[:45], user_agent=request.headers.get("user-agent", ""))


def client_failure(request: AnyRequest, error: Exception) -> Response[Any]:
    """Refusals of a client's page in a client's words; everything else as on any page."""
    if isinstance(error, LinkUnknown | LinkNotOpened | CsrfFailed):
        note_refusal(request, error)
    match error:
        case LinkUnknown():
            return page("screens/client/invalid.html", status=404)
        case LinkNotOpened():
            return page("screens/client/open_mail.html", status=403)
        case CsrfFailed():
            again = again_of(request, error, members=False)
            return page("screens/client/send_again.html", status=403, back=_page_of(request.url.path), again=again)
        case _:
            back = _page_of(request.url.path)
            return failure_response(request, error) if request.url.path == back else _refused(request, error, back)


def _refused(request: AnyRequest, error: Exception, back: str) -> Response[str]:
    """Something of a link's page was refused: the way out is that page, not the members' start page."""
    refused = as_tollgate_error(error)
    note_refusal(request, refused)
    title, detail = translate(refused.title), translate(refused.detail)
    return page(
        "error.html",
        status=status_of(refused),
        headers=headers_of(refused),
        title=title,
        detail="" if detail == title else detail,
        way_out=(_("Back to the page"), back),
        reference=None,
    )


def _page_of(path: str) -> str:
    """`/sign/<id>` of `/sign/<id>/approval`: the page that the form stood on."""
    return "/".join(path.split("/")[:3])


def masked(email: str) -> str:
    """An address as its owner recognises it and nobody else learns it: `c•••@example.com`."""
    name, at, host = email.rpartition("@")
    return f"{name[:1]}•••{at}{host}"
