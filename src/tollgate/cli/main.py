"""The parser and the small commands; `demo`, `doctor` and `check` have modules of their own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from alembic.util import CommandError

from tollgate import __version__, logs
from tollgate.app import Services
from tollgate.cli import backup, checking, creating, demo, doctor, doctor_machine, exporting, outbox, restore, runtime, serving
from tollgate.db import migrating
from tollgate.db.embedded import EmbeddedServer
from tollgate.db.outages import is_outage
from tollgate.errors import TollgateError
from tollgate.settings import Settings

Command = Callable[[argparse.Namespace, Settings], int]


def build_parser() -> argparse.ArgumentParser:
    """Every command and option; tests compare the container's start commands with it."""
    parser = argparse.ArgumentParser(prog="tollgate", description="Contract milestone billing, self-hosted.")
    parser.add_argument("--version", action="version", version=f"tollgate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, does: Command, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--data", metavar="DIR", help="folder for the embedded database and files (or TOLLGATE_DATA)")
        made.set_defaults(does=does)
        return made

    demo.add_arguments(command("demo", demo.run, "Everything on this machine, with sample data."))
    serve = command("serve", run_serve, "Serve the pages and the API.")
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    worker = command("worker", run_worker, "Do the jobs: documents, mails, Stripe, reminders.")
    worker.add_argument("--host", help="where the figures are shown (with --port)")
    worker.add_argument("--port", type=int, help="show this worker's /health/live and /metrics there")
    migrate = command("migrate", run_migrate, "Bring the database to this release's schema.")
    migrate.add_argument("--check", action="store_true", help="only say whether models and migrated schema agree")
    command("check", run_check, "Check every money invariant and the audit trail on live data.")
    doctor.add_arguments(command("doctor", doctor.run, "Say whether this installation is set up right."))
    exporting.add_arguments(command("export", run_export, "Write a report to a file."))
    backup.add_arguments(command("backup", backup.run, "Write database and files into one file, while the server runs."))
    restore.add_arguments(command("restore", restore.run, "Restore a backup into an empty place; nothing is sent until it is confirmed."))
    outbox.add_arguments(command("outbox", run_outbox, "Say which jobs and mails wait, and let them go after a restore."))
    creating.add_arguments(lambda name, does, says: command(name, run_creating(does), says))
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit code 0 when it worked, 1 when something was refused, 2 for wrong usage."""
    options = build_parser().parse_args(arguments)
    try:
        settings = _settings(options)
        logs.configure(settings.log_level)
        code = options.does(options, settings)
    except TollgateError as error:
        print(f"tollgate: {error.detail}", file=sys.stderr)
        for item in error.errors:
            print(f"  {item.pointer}: {item.detail}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # `tollgate export … | head`: the reader has had enough.
        sys.stderr.close()
        code = 0
    except Exception as error:  # Outages and unusable folders get one line; a bug keeps its traceback.
        if isinstance(error, OSError) and error.filename is not None:
            # A data folder that cannot be made or written: one line says more than a traceback.
            print(f"tollgate: {error.filename}: {error.strerror or error}", file=sys.stderr)
        elif is_outage(error):
            print(f"tollgate: the database does not answer: {type(error).__name__}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
        else:
            raise
        code = 1
    sys.exit(code)


def _settings(options: argparse.Namespace) -> Settings:
    data = runtime.data_folder(options.data)
    if options.command != "doctor":
        return Settings.from_environment(data=data)
    # What cannot be read is a finding there, and no reason to end.
    settings, options.refused_lines, options.refused = doctor_machine.read_settings(os.environ, data)
    return settings


def run_serve(options: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    settings = settings.with_(host=options.host or settings.host, port=settings.port if options.port is None else options.port)

    async def serve(ready: Settings, server: EmbeddedServer | None) -> None:
        stop = asyncio.Event()
        sock = serving.listen(ready.host, ready.port)
        address = f"http://{ready.host}:{sock.getsockname()[1]}"
        async with runtime.services(ready) as shared, runtime.keeping(server):
            with runtime.stop_on_signals(stop):
                async with serving.web(ready, shared, sock):
                    print(f"Tollgate serves {address}", flush=True)
                    await stop.wait()

    with runtime.database(settings, create=True) as (ready, server):
        if server is not None:
            print(f"No DATABASE_URL: running on the embedded PostgreSQL in {settings.data}", flush=True)
        asyncio.run(serve(ready, server))
    return 0


def run_worker(options: argparse.Namespace, settings: Settings) -> int:
    """Work until Ctrl-C or SIGTERM."""

    async def work(ready: Settings, server: EmbeddedServer | None) -> None:
        stop = asyncio.Event()
        async with runtime.services(ready) as shared, runtime.keeping(server):
            with runtime.stop_on_signals(stop):
                async with AsyncExitStack() as stack:
                    if options.port is not None:
                        sock = serving.listen(options.host or ready.host, options.port)
                        await stack.enter_async_context(serving.figures(ready, shared, sock))
                        print(f"Figures at http://{options.host or ready.host}:{sock.getsockname()[1]}/metrics", flush=True)
                    await stack.enter_async_context(serving.worker(shared))
                    print("Tollgate's worker runs", flush=True)
                    await stop.wait()

    with runtime.database(settings, create=True) as (ready, server):
        asyncio.run(work(ready, server))
    return 0


def run_migrate(options: argparse.Namespace, settings: Settings) -> int:
    """Upgrade, or check that models and schema agree."""
    with runtime.database(settings, create=True, migrate_embedded=False) as (ready, _server):
        url = ready.database_owner_url or ready.database_url
        assert url is not None
        migrating.upgrade(url)
        if options.check:
            try:
                migrating.check(url)
            except CommandError as error:
                print(f"tollgate: {error}", file=sys.stderr)
                return 1
        print(f"The schema is at {migrating.newest_revision()}")
    return 0


def run_check(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code 0 when all hold."""

    async def work(ready: Settings) -> bool:
        async with runtime.services(ready) as shared:
            return await checking.check(shared)

    with runtime.database(settings) as (ready, _server):
        return 0 if asyncio.run(work(ready)) else 1


def run_outbox(options: argparse.Namespace, settings: Settings) -> int:
    """Show or release."""

    async def work(ready: Settings) -> None:
        async with runtime.services(ready) as shared:
            await outbox.run(shared, options, place)

    place = str(settings.data) if settings.database_url is None else "the database of DATABASE_URL"
    with runtime.database(settings) as (ready, _server):
        asyncio.run(work(ready))
    return 0


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    """Stream the report."""

    async def work(ready: Settings) -> None:
        async with runtime.services(ready) as shared:
            await exporting.export(shared, options)

    with runtime.database(settings) as (ready, _server):
        asyncio.run(work(ready))
    return 0


def run_creating(does: Callable[[Services, argparse.Namespace], Coroutine[Any, Any, dict[str, object]]]) -> Command:
    """A `create-…` command as the others: with the services of this installation, printing what was made."""

    def run(options: argparse.Namespace, settings: Settings) -> int:
        async def work(ready: Settings) -> dict[str, object]:
            async with runtime.services(ready) as shared:
                return await does(shared, options)

        with runtime.database(settings, create=True) as (ready, _server):
            print_result(asyncio.run(work(ready)), as_json=options.json)
        return 0

    return run


def print_result(result: dict[str, object], *, as_json: bool) -> None:
    """What a `create-…` command made, for a script or for a person."""
    if as_json:
        print(json.dumps({key: str(value) if isinstance(value, UUID) else value for key, value in result.items()}))
        return
    width = max(len(key) for key in result)
    for key, value in result.items():
        print(f"{key.replace('_', ' '):<{width}}  {value}")
