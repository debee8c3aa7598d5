"""The language of a request: what the browser asks for, until a room that knows the reader better says `use_locale`."""

from __future__ import annotations

from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tollgate.i18n import choose, use_locale


class LanguageMiddleware:
    """Sets `current_locale` from Accept-Language for everything inside the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        wish = Headers.from_scope(scope).get("accept-language", "")
        with use_locale(choose(accept_language=wish)):
            await self.app(scope, receive, send)
