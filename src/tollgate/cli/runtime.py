"""What every command needs: settings with a secret, and a database that runs and is migrated."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from tollgate.app import Services
from tollgate.db import migrating
from tollgate.db.embedded import EmbeddedServer, ensure_running, recorded_major
from tollgate.errors import NotFound, Unavailable, _
from tollgate.settings import Settings

log = structlog.get_logger("tollgate")


@contextmanager
def database(
    settings: Settings, *, create: bool = False, migrate_embedded: bool = True
) -> Iterator[tuple[Settings, EmbeddedServer | None]]:
    """Settings whose database answers: the given one, or the embedded one, started or attached to and migrated.

    Only with `create` is an embedded one made that never was: a command that asks must not answer from an empty place because
    its folder was misspelt. Raises `NotFound`, and leaves nothing behind.
    """
    if not create and is_missing(settings):
        raise NotFound(_("There is no Tollgate in %(data)s: name its folder with --data, or set DATABASE_URL", data=settings.data))
    settings = settings.with_secret()
    if settings.database_url is not None:
        yield (
            settings.with_(database_url=driver_url(settings.database_url), database_owner_url=driver_url(settings.database_owner_url)),
            None,
        )
        return
    server = ensure_running(settings.data)
    try:
        owner = server.url("tollgate_owner")
        if migrate_embedded and not asyncio.run(_is_of_newer_release(owner)):
            migrating.upgrade(owner)
        yield settings.with_(database_url=server.url("tollgate_app"), database_owner_url=owner), server
    finally:
        server.stop()


def is_missing(settings: Settings) -> bool:
    """Whether the embedded database would have to be made first."""
    return settings.database_url is None and recorded_major(settings.data) is None


async def _is_of_newer_release(owner_url: str) -> bool:
    found = await migrating.revision_of(owner_url)
    return found is not None and not migrating.knows(found)


def driver_url(url: str | None) -> str | None:
    """`postgres://` and `postgresql://` as the asyncpg dialect's address."""
    if url is None:
        return None
    scheme, separator, rest = url.partition("://")
    return f"postgresql+asyncpg{separator}{rest}" if scheme in {"postgres", "postgresql"} else url


@asynccontextmanager
async def services(settings: Settings) -> AsyncIterator[Services]:
    """The services of one command, closed at its end.

    A schema of before is refused. A newer one is worked on: migrations only add, so that the release of before runs until it is
    replaced (`docs/decisions/0018-migrations-only-add.md`).
    """
    assert settings.database_url is not None
    found = await migrating.revision_of(settings.database_url)
    if found is not None and not migrating.knows(found):
        log.warning("the schema is of a newer release", found=found, ours=migrating.newest_revision())
    elif found != migrating.newest_revision():
        raise Unavailable(
            _(
                "The database is at revision %(found)s and this release needs %(needed)s: run `tollgate migrate`",
                found=found or "-",
                needed=migrating.newest_revision(),
            )
        )
    made = Services.of(settings)
    try:
        yield made
    finally:
        await made.db.close()


@asynccontextmanager
async def keeping(server: EmbeddedServer | None) -> AsyncIterator[None]:
    """While open, an embedded server that dies, or whose owner ends it, is started again within a second."""
    if server is None:
        yield
        return

    async def revive() -> None:
        while True:
            await asyncio.sleep(1)
            try:
                await asyncio.to_thread(server.revive)
            except Unavailable as error:
                log.warning("the embedded PostgreSQL does not start", reason=str(error.detail))

    task = asyncio.create_task(revive())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on Ctrl-C and SIGTERM instead of dying in the middle."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def data_folder(given: str | None) -> Path | None:
    """`--data DIR` as a path."""
    return Path(given) if given else None
