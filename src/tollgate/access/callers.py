"""Who is calling: a member by a session cookie, a program by an API key. Resolved once per request, before any guard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from sqlalchemy import text

from tollgate import clock
from tollgate.access.rules import Permission, Role, may
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.errors import NotAllowed, NotSignedIn, _
from tollgate.http.commands import KEY_HEADER, command_from
from tollgate.i18n import use_locale
from tollgate.settings import Settings
from tollgate.web.cookies import cookie_name

SESSION_COOKIE = "tg-session"


@dataclass(frozen=True, slots=True)
class Caller:
    """A member or an API key, and the organization it acts for."""

    organization_id: UUID
    kind: ActorKind
    id: UUID
    role: Role
    scopes: frozenset[Permission] | None = None
    name: str = ""
    email: str = ""
    locale: str = "en"
    organization_name: str = ""
    identity_id: UUID | None = None
    session_sha256: bytes | None = None

    def may(self, permission: Permission) -> bool:
        """Whether this caller's role and scopes allow it."""
        return may(self.role, self.scopes, permission)


def digest(secret: str) -> bytes:
    """The hash under which a session id or an API key is stored; both are random, so no salt is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class CallerMiddleware:
    """Puts the caller, or None, into the scope as `user`. Unknown session ids are never adopted."""

    def __init__(self, app: ASGIApp, *, db: Database, settings: Settings) -> None:
        self.app = app
        self._db = db
        self._cookie = cookie_name(settings, SESSION_COOKIE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
            caller = scope["user"] = await self._resolve(connection)
            scope["auth"] = None
            if caller is not None:
                with use_locale(caller.locale):
                    await self.app(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _resolve(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller | None:
        path = connection.url.path
        if path.startswith(("/static/", "/webhooks/", "/health/", "/sign/")):
            return None
        authorization = connection.headers.get("authorization", "")
        if path.startswith("/api/"):
            # A page's cookie never opens the API: it has no CSRF token.
            scheme, _space, secret = authorization.partition(" ")
            return await self._by_key(secret.strip()) if scheme.lower() == "bearer" and secret else None
        cookie = connection.cookies.get(self._cookie)
        return await self._by_session(cookie) if cookie and len(cookie) <= 200 else None

    async def _by_key(self, secret: str) -> Caller | None:
        async with self._db.looking_up() as session:
            row = (await session.execute(text("select * from access_api_key(:secret)"), {"secret": digest(secret)})).one_or_none()
        if row is None:
            return None
        scopes = frozenset(Permission(scope) for scope in row.scopes)
        return Caller(row.organization_id, ActorKind.API_KEY, row.api_key_id, Role(row.role), scopes, locale=row.locale)

    async def _by_session(self, cookie: str) -> Caller | None:
        hashed = digest(cookie)
        async with self._db.looking_up() as session:
            found = await session.execute(text("select * from access_session(:id, :now)"), {"id": hashed, "now": clock.now()})
            row = found.one_or_none()
        if row is None:
            return None
        return Caller(
            row.organization_id,
            ActorKind.MEMBER,
            row.member_id,
            Role(row.role),
            None,
            row.name,
            row.email,
            row.locale,
            row.organization_name,
            row.identity_id,
            hashed,
        )


def session_id_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """What a CSRF token is bound to: the session of the signed-in member."""
    caller: Caller | None = connection.scope.get("user")
    return caller.session_sha256.hex() if caller is not None and caller.session_sha256 is not None else None


def caller_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """The caller. Raises `NotSignedIn`."""
    caller: Caller | None = connection.scope.get("user")
    if caller is None:
        raise NotSignedIn
    return caller


def requires(permission: Permission) -> Any:
    """A guard for a route: `guards=[requires(Permission.BILL)]`. Every route but the public ones has one."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        caller = caller_of(connection)
        if not caller.may(permission):
            raise NotAllowed(_("This needs the right “%(right)s”; your role is %(role)s", right=str(permission), role=str(caller.role)))

    guard.permission = permission  # type: ignore[attr-defined]
    return guard


async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """Dependency `caller`."""
    return caller_of(request)


async def provide_command(request: Request[Any, Any, Any]) -> Command:
    """Dependency `command`: the writing request as a command, keyed by header (API) or form nonce (pages)."""
    caller = caller_of(request)
    key = request.headers.get(KEY_HEADER)
    if key is None and not request.url.path.startswith("/api/"):
        sent = (await request.form()).get("form_key")
        key = sent if isinstance(sent, str) and sent else None
    return await command_from(request, caller.organization_id, caller.kind, caller.id, caller.role, key)


__all__ = ["Caller", "CallerMiddleware", "caller_of", "provide_caller", "provide_command", "requires", "session_id_of"]
