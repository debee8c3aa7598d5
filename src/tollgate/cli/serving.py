"""Run the web server and the worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from tollgate.app import Services, create_app
from tollgate.errors import Unavailable, _
from tollgate.jobs import periodic
from tollgate.settings import Settings


class QuietServer(uvicorn.Server):
    """uvicorn without its own signal handling: the command decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Leave signals to us."""
        yield


def listen(host: str, port: int, *, or_next: bool = False) -> socket.socket:
    """A bound socket. With `or_next`, a busy port gives way to any free one. Raises `Unavailable`."""
    for candidate in (port, 0) if or_next and port else (port,):
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # asyncio sets it only on sockets it opens itself; without it every small answer waits 40 ms for an acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.bind((host, candidate))
        except OSError as error:
            sock.close()
            if candidate == 0 or not or_next:
                raise Unavailable(
                    _("Port %(port)s on %(host)s cannot be used: %(reason)s", port=port, host=host, reason=error.strerror)
                ) from error
            continue
        return sock
    raise AssertionError("unreachable")


@asynccontextmanager
async def web(settings: Settings, shared: Services, sock: socket.socket) -> AsyncIterator[None]:
    """The web server, serving while the context is open."""
    config = uvicorn.Config(
        create_app(settings, shared),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started:
            if task.done():
                await task
                raise Unavailable(_("The web server did not start"))
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def worker(shared: Services) -> AsyncIterator[None]:
    """The worker, running while the context is open."""
    running = shared.worker()
    stop = asyncio.Event()
    tasks = [asyncio.create_task(running.run_forever()), asyncio.create_task(periodic.run_forever(shared.db, shared.periodic, stop))]
    try:
        yield
    finally:
        running.stop()
        stop.set()
        await asyncio.gather(*tasks)
