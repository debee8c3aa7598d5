"""Cross-site request forgery: a token bound to the session, and what the browser itself says about where a request came from.

Litestar's own token is not bound to the session, so a token planted by a neighbour host would pass. Ours is an HMAC
over the session's id under SECRET_KEY: it dies with the session and is of no use in another one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from tollgate.errors import Message, NotAllowed, _

FIELD = "csrf_token"
HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NONCE_BYTES = 12

AnyConnection = ASGIConnection[Any, Any, Any, Any]


class CsrfFailed(NotAllowed):
    """The form did not come from a page of this server, or from another session."""

    slug: ClassVar[str] = "csrf-failed"
    title: ClassVar[Message] = _("This form has expired. Open the page again and send it once more")
    typed: tuple[tuple[str, str], ...] = ()
    """What was in the form, where the browser itself says that a page of this server sent it: it can be sent again with one press."""


class SessionIdOf(Protocol):
    """How `web` learns which session a request belongs to, without knowing `access`; wired in `app.py`.

    A client's page answers with the id of its link's cookie. None: nobody is signed in (the sign-in form).
    """

    def __call__(self, connection: AnyConnection) -> str | None: ...


class Csrf:
    """Issues and checks tokens. One instance per application."""

    def __init__(self, secret_key: str, session_id_of: SessionIdOf, base_url: str = "") -> None:
        if not secret_key:
            raise ValueError("CSRF tokens need a secret key")
        self._key = hashlib.blake2b(secret_key.encode(), person=b"tollgate-csrf").digest()
        self._session_id_of = session_id_of
        self._origin = _origin(base_url)

    def token(self, connection: AnyConnection) -> str:
        """A token for the forms of this answer. Different every time, so that a compressed page does not leak it byte by byte (BREACH)."""
        nonce = secrets.token_hex(_NONCE_BYTES)
        return f"{nonce}.{self._signature(self._session_id_of(connection), nonce)}"

    def is_valid(self, connection: AnyConnection, token: str) -> bool:
        """Whether `token` was issued for the session of this connection. Takes the same time for every wrong token."""
        nonce, _dot, signature = token.partition(".")
        expected = self._signature(self._session_id_of(connection), nonce)
        return hmac.compare_digest(signature.encode(), expected.encode())

    async def check(self, request: Request[Any, Any, Any]) -> None:
        """Raise `CsrfFailed` unless a writing request was made by a page of ours, in this session."""
        if request.method in SAFE_METHODS:
            return
        self._check_origin(request)
        token = request.headers.get(HEADER) or ""
        if not token:
            sent = (await request.form()).get(FIELD)
            token = sent if isinstance(sent, str) else ""
        if not self.is_valid(request, token):
            refused = CsrfFailed()
            if self._is_ours(request):
                refused.typed = await _typed(request)
            raise refused

    async def guard(self, connection: AnyConnection, _handler: BaseRouteHandler) -> None:
        """`check` as a Litestar guard for the routers of pages. Not for `/api` (bearer keys) nor `/webhooks` (signatures)."""
        if isinstance(connection, Request):
            await self.check(connection)

    def _check_origin(self, connection: AnyConnection) -> None:
        # Fetch metadata cannot be set by a script; `none` is the reader's own doing (reload, bookmark).
        site = connection.headers.get("sec-fetch-site")
        if site is not None and site not in {"same-origin", "none"}:
            raise CsrfFailed
        origin = connection.headers.get("origin")
        if origin is None:
            return
        # The Host header is what the browser connected to, so 127.0.0.1 and localhost both work, and a proxy that keeps it does too.
        host = connection.headers.get("host", "").lower()
        if _origin(origin) != self._origin and urlsplit(origin).netloc.lower() != host:
            raise CsrfFailed

    def _is_ours(self, connection: AnyConnection) -> bool:
        """Whether the browser states that the form stood on a page of this server: then only its token was stale."""
        return connection.headers.get("sec-fetch-site") == "same-origin" and not connection.headers.get("content-type", "").startswith(
            "multipart/"
        )

    def _signature(self, session_id: str | None, nonce: str) -> str:
        # The leading byte keeps "nobody" apart from a session whose id happens to be empty.
        who = b"\x00" if session_id is None else b"\x01" + session_id.encode()
        return hmac.new(self._key, nonce.encode() + b"|" + who, hashlib.sha256).hexdigest()


async def _typed(request: Request[Any, Any, Any]) -> tuple[tuple[str, str], ...]:
    items = (await request.form()).multi_items()
    return tuple((name, value) for name, value in items if isinstance(value, str) and name != FIELD and "password" not in name)


def _origin(url: str) -> str | None:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else None
