"""What shows the work: files, links and notes, added before a delivery freezes them."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit
from uuid import UUID

from tollgate import audit, clock
from tollgate.contracts import queries
from tollgate.contracts.models import Contract, Deliverable, Milestone
from tollgate.contracts.rules import ContractState, State
from tollgate.contracts.service_input import DeliverableInput, FileInput
from tollgate.contracts.service_moves import lock_milestone, require_version
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.documents.printable import require_printable
from tollgate.errors import Conflict, Invalid, NotFound, TooLarge, _, invalid
from tollgate.files.service import keep
from tollgate.files.storage import Storage

LARGEST_FILE = 50 * 1024 * 1024
"""Bytes of one uploaded file."""
LONGEST_NOTE = 20_000
MOST_DELIVERABLES = 200
OPEN_STATES = frozenset({State.PLANNED, State.IN_PROGRESS, State.CHANGES_REQUESTED})
"""While a milestone is in one of these, what it will be delivered with can change."""

_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,50}/[a-z0-9][a-z0-9.+-]{0,60}")


class DeliverablesFrozen(Conflict):
    """The milestone is delivered, accepted or cancelled: what it was delivered with stays as it is."""

    slug = "deliverables-frozen"
    title = _("The deliverables are fixed in this state; withdraw the delivery first")


async def add_deliverable(db: Database, storage: Storage, command: Command, milestone_id: UUID, asked: DeliverableInput) -> UUID:
    """Add a file (≤ 50 MB), an http(s) link or a note to an open milestone of an active contract.

    The file is safe on disk before the row that names it is committed. Raises `Invalid` (for what cannot be printed too, R12), `TooLarge`,
    `DeliverablesFrozen`.
    """
    kind = _kind(asked)
    _check_printable(asked)
    sha256_hex = None
    if asked.file is not None:
        check_file(asked.file)
        async with db.reading(command.organization_id) as session:
            # A foreign milestone must not cost disk space.
            await queries.milestone(session, command.organization_id, milestone_id)
        sha256_hex = await storage.put(command.organization_id, asked.file.content)
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        _require_open(contract, milestone)
        present = (await queries.deliverables_of(session, command.organization_id, [milestone_id]))[milestone_id]
        if len(present) >= MOST_DELIVERABLES:
            raise Invalid(_("a milestone has at most %(most)s deliverables", most=MOST_DELIVERABLES))
        row = Deliverable(
            organization_id=command.organization_id,
            id=uuid7(),
            milestone_id=milestone_id,
            kind=kind,
            title=_title(asked),
            url=asked.url.strip() if asked.url is not None else None,
            note=asked.note,
            sha256_hex=sha256_hex,
            content_type=content_type_of(asked.file) if asked.file else None,
            size=len(asked.file.content) if asked.file else None,
            added_by=command.actor_id,
            created_at=clock.now(),
        )
        if asked.file is not None and sha256_hex is not None:
            await keep(session, command.organization_id, sha256_hex, len(asked.file.content), content_type_of(asked.file))
        session.add(row)
        milestone.version += 1
        shown = sha256_hex or hashlib.sha256((asked.url or asked.note or "").encode()).hexdigest()
        audit.record(
            session,
            "deliverable.added",
            ("deliverable", row.id),
            contract_id=contract.id,
            milestone_id=milestone_id,
            kind=kind,
            sha256=shown,
        )
        return answer(session, row.id, 201)


async def remove_deliverable(db: Database, command: Command, milestone_id: UUID, deliverable_id: UUID, version: int | None = None) -> UUID:
    """Leave a deliverable out of the next delivery. Rounds that showed it keep it in their frozen content.

    `version` is the milestone's (If-Match). Raises `DeliverablesFrozen` while a delivery waits for an answer or is accepted.
    """
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        row = await queries.deliverable(session, command.organization_id, deliverable_id)
        if row.milestone_id != milestone_id or row.removed_at is not None:
            raise NotFound
        if version is not None:
            require_version(milestone.version, version)
        _require_open(contract, milestone)
        row.removed_at = clock.now()
        milestone.version += 1
        audit.record(session, "deliverable.removed", ("deliverable", row.id), contract_id=contract.id, milestone_id=milestone_id)
        return answer(session, deliverable_id, 204)


def check_file(file: FileInput, pointer: str = "/file") -> None:
    """Refuse an empty or too large file."""
    if not file.content:
        raise invalid(pointer, _("the file is empty"))
    if len(file.content) > LARGEST_FILE:
        raise TooLarge(_("a file has at most %(most)s MB", most=LARGEST_FILE // 1024 // 1024))


def content_type_of(file: FileInput) -> str:
    """The content type as sent when it has the form of one; never trusted for more than a label."""
    sent = file.content_type.partition(";")[0].strip().lower()
    return sent if _CONTENT_TYPE.fullmatch(sent) else "application/octet-stream"


def file_name_of(file: FileInput, *, most: int = 200) -> str:
    """The file's own name without folders, cut in the middle when it is too long so that its ending stays."""
    name = file.name.replace("\\", "/").rsplit("/", 1)[-1].strip() or "file"
    return name if len(name) <= most else f"{name[: most - 21]}…{name[-20:]}"


def _kind(asked: DeliverableInput) -> str:
    given = [kind for kind, value in (("file", asked.file), ("link", asked.url), ("note", asked.note)) if value is not None]
    if len(given) != 1:
        raise invalid("/kind", _("give exactly one of a file, a link and a note"))
    if asked.url is not None:
        check_url(asked.url, "/url")
    if asked.note is not None:
        if not asked.note.strip():
            raise invalid("/text", _("write the note"))
        if len(asked.note) > LONGEST_NOTE:
            raise invalid("/text", _("a note has at most %(most)s characters", most=LONGEST_NOTE))
    return given[0]


def _check_printable(asked: DeliverableInput) -> None:
    # A delivery freezes them, and its certificate prints them.
    require_printable("/title", asked.title)
    require_printable("/url", asked.url)
    require_printable("/text", asked.note)
    if asked.file is not None and not asked.title.strip():
        require_printable("/file", file_name_of(asked.file))


def check_url(url: str, pointer: str) -> None:
    """Refuse anything but an http or https address with a host: a client will press it."""
    try:
        parts = urlsplit(url.strip())
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and len(url) <= 2000
        fits = fits and parts.username is None and not any(character.isspace() for character in url.strip())
    except ValueError:
        fits = False
    if not fits:
        raise invalid(pointer, _("give an address that begins with https:// or http://"))


def _title(asked: DeliverableInput) -> str:
    if asked.title.strip():
        return asked.title.strip()[:200]
    if asked.file is not None:
        return file_name_of(asked.file)
    if asked.url is not None:
        return asked.url.strip()[:200]
    first = (asked.note or "").strip().splitlines()[0]
    return first if len(first) <= 80 else f"{first[:79]}…"


def _require_open(contract: Contract, milestone: Milestone) -> None:
    if contract.state != ContractState.ACTIVE:
        raise Conflict(_("the contract is %(contract_state)s; it must be active", contract_state=contract.state), state=contract.state)
    if milestone.state not in OPEN_STATES:
        raise DeliverablesFrozen(state=milestone.state)
