"""A few lines of ASGI: enough to read a request whole, answer it, and run uvicorn inside somebody else's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_BODY_BYTES = 1_000_000
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole. Header names are lower-case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The flat fields of an HTML form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def arguments(self) -> dict[str, str]:
        """The flat fields of the query string."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """The JSON object in the body, or ValueError."""
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("the body must be a JSON object")
        return value


@dataclass(slots=True)
class Response:
    """One answer."""

    body: bytes
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    """A JSON answer, indented as Stripe indents."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(json.dumps(value, indent=2, ensure_ascii=False).encode(), status, "application/json; charset=utf-8", named)


def see_other(location: str) -> Response:
    """After a form was posted: show that page."""
    return Response(b"", 303, headers={"location": location})


Handler = Callable[[Request], Awaitable[Response]]


class Hangup(Exception):
    """Close the connection without an answer. With `reset`, so that the caller sees it broken off, not ended."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("the connection is closed without an answer")
        self.reset = reset


class Connections:
    """The open connections of one server by the caller's address, because ASGI gives no way to close one."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """uvicorn's protocol, which also keeps this list."""
        kept = self._open

        class Kept(HttpToolsProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                kept[transport.get_extra_info("peername")[:2]] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if kept.get(self.client or ("", 0)) is self.transport:
                    del kept[self.client]  # type: ignore[arg-type]

        return Kept

    def close(self, client: tuple[str, int], *, reset: bool) -> None:
        """Close a connection at once; what was not sent is dropped."""
        transport = self._open.get(client)
        if transport is None:
            return
        if reset:
            # Without lingering, closing sends RST and not FIN.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class App:
    """The ASGI callable round one handler. `clock` is what the Date header says."""

    def __init__(self, handler: Handler, connections: Connections, clock: Callable[[], float] = time.time) -> None:
        self.handler = handler
        self.connections = connections
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await _read(receive)
        if body is None:
            response = json_response({"error": {"type": "invalid_request_error", "message": "The request is too large."}}, 413)
        else:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            path = unquote(scope["raw_path"].decode("latin-1").partition("?")[0])
            request = Request(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body)
            try:
                response = await self.handler(request)
            except Hangup as wish:
                self.connections.close(tuple(scope["client"]), reset=wish.reset)
                # uvicorn answers 500 for a call that ends without an answer, unless it knows that the caller is gone.
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
        response.headers.setdefault("date", formatdate(self.clock(), usegmt=True))
        await _answer(send, response, head_only=scope["method"] == "HEAD")


async def _read(receive: Receive) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)
        size += len(message.get("body", b""))
        if size <= MAX_BODY_BYTES:
            chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks) if size <= MAX_BODY_BYTES else None


async def _answer(send: Send, response: Response, *, head_only: bool) -> None:
    headers = {
        "content-type": response.content_type,
        "content-length": str(len(response.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-sandbox": "not Stripe, no money moves",
        **{name.lower(): value for name, value in response.headers.items()},
    }
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if head_only else response.body})


class _Quiet(uvicorn.Server):
    """uvicorn that leaves the process's signals to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(host: str, port: int, *, or_next: bool = False) -> socket.socket:
    """A listening socket. With `or_next`, a port that somebody else has gives way to any free one; else that raises OSError."""
    try:
        listening = socket.create_server((host, port), backlog=256)
    except OSError:
        if not (or_next and port):
            raise
        listening = socket.create_server((host, 0), backlog=256)
    # asyncio sets this only on sockets made with an explicit protocol; without it every answer waits 40 ms for a delayed ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Listener:
    """One HTTP server on loopback. `url` is known before the first request is served."""

    def __init__(
        self,
        handler: Handler,
        port: int,
        host: str = "127.0.0.1",
        *,
        or_next: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.socket = bind(host, port, or_next=or_next)
        self.url = f"http://{host}:{self.socket.getsockname()[1]}"
        connections = Connections()
        config = uvicorn.Config(
            App(handler, connections, clock),
            http=connections.protocol(),
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            # The address of the caller is the connection's; and the Date header is ours, because the clock can be off.
            proxy_headers=False,
            date_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve in a task of the running loop."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self.socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError(f"the server at {self.url} ended before it began")
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Finish what is being answered and close the socket."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self.socket.close()
