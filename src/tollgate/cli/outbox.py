"""`tollgate outbox`: what would be sent, and the word that lets it go after a restore."""

from __future__ import annotations

import argparse
import shlex
from datetime import datetime

from sqlalchemy import text

from tollgate.app import Services
from tollgate.db import directory
from tollgate.jobs import outbox

MAILS = (
    "select count(*), count(distinct coalesce(contact_id, member_id)), min(created_at) from mail_message"
    " where organization_id = :organization_id and state = 'waiting'"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `outbox`."""
    parser.add_argument("--release", action="store_true", help="let jobs run again after a restore")


async def run(shared: Services, options: argparse.Namespace, place: str) -> None:
    """Say what waits; with `--release`, end the hold. `place` says where that is."""
    async with shared.db.directory() as session:
        held = await outbox.state(session)
        waiting = await outbox.waiting(session)
        organizations = await directory.organizations(session)
    if held is None:
        print("The outbox is open: jobs run as workers find them")
    else:
        print(f"The outbox is held since {_instant(held.held_at)}: restored from a backup of {_instant(held.backup_made_at)}")
    for one in waiting:
        print(f"  {one.kind:<28} {one.jobs:>6} jobs, {one.due} due, the oldest of {_instant(one.oldest_at)}")
    mails = receivers = 0
    oldest: list[datetime] = []
    for organization_id in organizations:
        async with shared.db.reading(organization_id) as session:
            count, people, since = (await session.execute(text(MAILS), {"organization_id": organization_id})).one()
        mails, receivers = mails + count, receivers + people
        oldest += [since] if since else []
    if mails:
        print(f"  {mails} mails to {receivers} people wait, the oldest since {_instant(min(oldest))}; each keeps its Message-ID")
    if held is None:
        if options.release:
            print(f"Nothing was held in {place}, so nothing was released")
        return
    if not options.release:
        print("What was sent after the backup would be sent again, under the same Message-IDs. Stripe is asked before it is told anything")
        # A command that is copied must reach the same folder.
        where = f" --data {shlex.quote(options.data)}" if options.data else ""
        print(f"Confirm with: tollgate outbox --release{where}")
        return
    async with shared.db.directory() as session:
        released = await outbox.release(session)
    print("Released: workers go on" if released else f"Nothing was held in {place} any more")


def _instant(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
