"""`tollgate doctor`: is this installation set up so that it can be trusted? One line per question, with the way out.

What it can find is listed in `doctor_findings.py`. Every question is asked, also after a wrong answer; nothing is changed,
and an embedded database that never was is not made.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from sqlalchemy.ext.asyncio import create_async_engine

from tollgate.app import Services
from tollgate.cli import doctor_database as of_database
from tollgate.cli import doctor_machine as of_machine
from tollgate.cli import doctor_outside as of_world
from tollgate.cli import runtime
from tollgate.cli.doctor_findings import FINDINGS, Line, Verdict, fine, found
from tollgate.db.embedded import EmbeddedServer, ensure_running
from tollgate.errors import TollgateError
from tollgate.settings import Settings

__all__ = ["FINDINGS", "Line", "Verdict", "add_arguments", "examine", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `doctor`."""
    parser.add_argument("--files", action="store_true", help="ask for every stored file, not only the newest")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code 0 when nothing is wrong; notes alone are fine."""
    lines = [*getattr(options, "refused_lines", [])]
    lines += examine(settings, all_files=options.files, refused=getattr(options, "refused", frozenset()))
    for line in lines:
        print(f"{line.verdict:<6} {line.subject:<20} {_with_folder(line.says, options.data)}")
    return 1 if any(line.verdict == "wrong" for line in lines) else 0


def _with_folder(says: str, data: str | None) -> str:
    """The commands that a way out names, for the folder that was given here."""
    return says if data is None else re.sub(r"`(tollgate [^`]+)`", lambda named: f"`{named[1]} --data {shlex.quote(data)}`", says)


def examine(settings: Settings, *, all_files: bool = False, refused: frozenset[str] = frozenset()) -> list[Line]:
    """Ask every question. `refused` are variables that could not be read: what depends on them is not asked. Blocks."""
    lines = [line for question in of_machine.QUESTIONS for line in question(settings)]
    outside = of_world.QUESTIONS if "STRIPE_SECRET_KEY" not in refused else (of_world.address, of_world.mail)
    lines += asyncio.run(_all(question(settings) for question in outside))
    if any(line.id == "data-unusable" for line in lines) or "DATABASE_URL" in refused:
        return lines
    if settings.database_url is None and (without := list(of_machine.programs(settings))):
        return lines + without
    if runtime.is_missing(settings):
        return [*lines, found("database-none", f"there is no Tollgate in {settings.data}")]
    try:
        with _database(settings) as (ready, server):
            lines.append(fine("database", f"embedded, socket in {server.socket_folder}" if server is not None else "DATABASE_URL"))
            lines += asyncio.run(_inside(ready, all_files=all_files, is_embedded=server is not None))
    except TollgateError as error:
        lines.append(found("database-away", str(error.detail)))
    lines += of_machine.worker(settings)
    return lines


@contextmanager
def _database(settings: Settings) -> Iterator[tuple[Settings, EmbeddedServer | None]]:
    """The database as it is: unlike every other command, this one does not migrate what is there, and takes any secret."""
    if settings.database_url is not None:
        urls = (runtime.driver_url(settings.database_url), runtime.driver_url(settings.database_owner_url))
        yield settings.with_(database_url=urls[0], database_owner_url=urls[1], secret_key=_key(settings)), None
        return
    server = ensure_running(settings.data)
    try:
        yield settings.with_(database_url=server.url("tollgate_app"), secret_key=_key(settings)), server
    finally:
        server.stop()


def _key(settings: Settings) -> str:
    return settings.secret_key or settings.with_secret().secret_key


async def _all(questions: Iterator[AsyncIterator[Line]]) -> list[Line]:
    return [line for question in questions for line in [line async for line in question]]


async def _inside(settings: Settings, *, all_files: bool, is_embedded: bool) -> list[Line]:
    assert settings.database_url is not None
    lines: list[Line] = []
    engine = create_async_engine(settings.database_url)
    try:
        async with engine.connect() as connection:
            lines += await _all(question(connection) for question in of_database.SERVER)
            if any(line.id.startswith("schema-") for line in lines):
                return lines
            lines += await _all(question(connection) for question in of_database.SCHEMA)
    except Exception as error:  # Whatever is wrong with the connection is this command's answer, not its failure.
        return [*lines, found("database-away", f"no answer ({type(error).__name__}: {str(error).splitlines()[0][:200]})")]
    finally:
        await engine.dispose()
        if not is_embedded and settings.database_owner_url is not None:
            lines.append(await of_database.owner_url(settings))
    shared = Services.of(settings.with_(smtp_url=None))
    try:
        lines += await _all(iter([of_database.jobs(shared), of_database.organizations(shared, all_files=all_files)]))
    finally:
        await shared.db.close()
    return lines
