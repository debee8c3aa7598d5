"""Anchors: the chain's head, kept outside the database every hour in a signed file, so that a cut tail can be seen."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.audit.models import AuditEvent, AuditHead
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Run

EVERY = timedelta(hours=1)


class Anchor(Job, frozen=True, kw_only=True):
    """Write the present head of the organization's chain to its file."""

    kind = "audit.anchor"


@dataclass(frozen=True, slots=True)
class AnchorsChecked:
    """How many anchors were compared with the chain, and which do not fit (line numbers from 1)."""

    anchors: int
    broken: tuple[int, ...]


class Anchors:
    """One append-only file per organization in `<data>/anchors`, each line signed under SECRET_KEY."""

    def __init__(self, folder: Path, secret_key: str) -> None:
        self.folder = folder
        self._key = hashlib.blake2b(secret_key.encode(), person=b"tollgate-anchor").digest()

    def handlers(self) -> dict[type[Job], Handler]:
        """The job that writes anchors."""

        async def anchor(run: Run, job: Anchor) -> None:
            async with run.db.reading(job.organization_id) as session:
                head = (
                    await session.execute(select(AuditHead).where(AuditHead.organization_id == job.organization_id))
                ).scalar_one_or_none()
            if head is not None:
                await asyncio.to_thread(self.append, job.organization_id, head.seq, head.hash)

        return {Anchor: anchor}

    def append(self, organization_id: UUID, seq: int, head: bytes) -> None:
        """Write one anchor and sync it; the same head is not written twice in a row."""
        lines = self._lines(organization_id)
        content = {"at": clock.now().isoformat(), "seq": seq, "head": head.hex()}
        if lines and json.loads(lines[-1]).get("head") == content["head"]:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._path(organization_id).open("a") as file:
            file.write(json.dumps({**content, "signature": self._signature(organization_id, content)}, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    async def check(self, session: AsyncSession, organization_id: UUID) -> AnchorsChecked:
        """Compare every anchor with the event it names: a cut, rewritten or replaced chain does not have that hash there."""
        lines = self._lines(organization_id)
        broken = []
        for number, line in enumerate(lines, 1):
            try:
                anchor = json.loads(line)
                signature = anchor.pop("signature")
                signed = hmac.compare_digest(signature, self._signature(organization_id, anchor))
                found = await session.execute(
                    select(AuditEvent.hash).where(AuditEvent.organization_id == organization_id, AuditEvent.seq == anchor["seq"])
                )
                fits = signed and found.scalar_one_or_none() == bytes.fromhex(anchor["head"])
            except (ValueError, KeyError, TypeError, AttributeError):
                fits = False
            if not fits:
                broken.append(number)
        return AnchorsChecked(len(lines), tuple(broken))

    def last(self, organization_id: UUID) -> int:
        """The place in the trail that the newest anchor names, 0 when there is none."""
        lines = self._lines(organization_id)
        try:
            return int(json.loads(lines[-1])["seq"]) if lines else 0
        except (ValueError, KeyError, TypeError):
            return 0

    def _signature(self, organization_id: UUID, content: dict[str, object]) -> str:
        text = f"{organization_id}|{json.dumps(content, sort_keys=True)}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _path(self, organization_id: UUID) -> Path:
        return self.folder / f"{organization_id}.jsonl"

    def _lines(self, organization_id: UUID) -> list[str]:
        try:
            return self._path(organization_id).read_text().splitlines()
        except FileNotFoundError:
            return []
