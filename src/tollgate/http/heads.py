"""HEAD: the headers of GET without its body (RFC 9110), at every address that GET has, decided in this one place."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_MARK = "tollgate.head"


class HeadAsGet:
    """Runs a HEAD as the GET of the same address and keeps the body back. Routes never see the method HEAD; `is_head` tells."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != HttpMethod.HEAD:
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server keeps its own and goes on knowing that no body follows.
        asked: Any = {**scope, "method": HttpMethod.GET.value, _MARK: True}
        await self._app(asked, receive, without_body)


def is_head(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether only the headers were asked for: nobody is looking at a page."""
    return bool(connection.scope.get(_MARK, False))
