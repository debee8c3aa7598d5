"""Run the web server and the worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import uvicorn
from litestar import Litestar

from tollgate import clock
from tollgate.app import Services, create_app, create_figures
from tollgate.errors import Unavailable, _
from tollgate.jobs import periodic
from tollgate.jobs.worker import Worker
from tollgate.settings import Settings

ALIVE = "worker.alive"
ROUND_IS_LATE = timedelta(seconds=60)


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
        except (OSError, OverflowError) as error:
            sock.close()
            if candidate == 0 or not or_next:
                reason = error.strerror if isinstance(error, OSError) else error
                raise Unavailable(_("Port %(port)s on %(host)s cannot be used: %(reason)s", port=port, host=host, reason=reason)) from error
            continue
        return sock
    raise AssertionError("unreachable")


@asynccontextmanager
async def web(settings: Settings, shared: Services, sock: socket.socket) -> AsyncIterator[None]:
    """The web server, serving while the context is open."""
    async with serve(create_app(settings, shared), settings, sock):
        yield


@asynccontextmanager
async def figures(settings: Settings, shared: Services, sock: socket.socket) -> AsyncIterator[None]:
    """A worker's own figures and nothing else, at the same addresses as the web server's."""
    async with serve(create_figures(settings, shared), settings, sock):
        yield


@asynccontextmanager
async def serve(app: Litestar, settings: Settings, sock: socket.socket) -> AsyncIterator[None]:
    """An application on a bound socket, while the context is open."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
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


async def _show_alive(path: Path, running: Worker, stop: asyncio.Event) -> None:
    """Touch a file while the worker makes its rounds: what a container's health check looks at."""
    while not stop.is_set():
        if clock.now() - running.last_round_at < ROUND_IS_LATE:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(path.touch)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 10)


@asynccontextmanager
async def worker(shared: Services) -> AsyncIterator[None]:
    """The worker, running while the context is open."""
    running = shared.worker()
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(running.run_forever()),
        asyncio.create_task(periodic.run_forever(shared.db, shared.periodic, stop)),
        asyncio.create_task(_show_alive(shared.settings.data / ALIVE, running, stop)),
    ]
    try:
        yield
    finally:
        running.stop()
        stop.set()
        await asyncio.gather(*tasks)
