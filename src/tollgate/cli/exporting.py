"""`tollgate export payments`: the same file as the API's, streamed to standard output or into a file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from datetime import date
from pathlib import Path
from uuid import UUID

from tollgate.app import Services
from tollgate.cli.creating import organization_of
from tollgate.db import directory
from tollgate.errors import Unavailable, _, invalid
from tollgate.reports import service
from tollgate.reports.queries import PaymentsAsked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    parser.add_argument("report", choices=["payments"])
    parser.add_argument("--from", dest="from_", metavar="2026-01-01", help="first day")
    parser.add_argument("--to", metavar="2026-12-31", help="last day")
    parser.add_argument("--format", choices=["csv"], default="csv")
    parser.add_argument("--organization", metavar="ID", help="needed where there is more than one")
    parser.add_argument("--out", metavar="FILE", help="where to write; standard output when not given")


async def export(shared: Services, options: argparse.Namespace) -> None:
    """Write the report. Raises `Invalid` for a day that cannot be read, `NotFound` for a foreign organization."""
    asked = PaymentsAsked(since=_day(options.from_, "/from"), until=_day(options.to, "/to"))
    organization_id = await _organization(shared, options.organization)
    try:
        # Blocking writes are fine here: this process does nothing else.
        with contextlib.ExitStack() as closing:
            out = sys.stdout.buffer if options.out is None else closing.enter_context(await asyncio.to_thread(Path(options.out).open, "wb"))
            async for chunk in service.payments_csv(shared.db, organization_id, asked):
                out.write(chunk)
            out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(_("The file could not be written: %(reason)s", reason=error.strerror or type(error).__name__)) from error


async def _organization(shared: Services, given: str | None) -> UUID:
    if given is not None:
        return await organization_of(shared, given)
    async with shared.db.directory() as session:
        known = await directory.organizations(session)
    if len(known) != 1:
        raise invalid("/organization", _("There are %(count)s organizations: say which with --organization", count=len(known)))
    return known[0]


def _day(given: str | None, pointer: str) -> date | None:
    if given is None:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise invalid(pointer, _("%(given)s is not a day; write it like 2026-12-24", given=given)) from None
