"""No space left: for files while PDFs are kept and work is uploaded, and for PostgreSQL itself. Said clearly, nothing half done, and over by itself."""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import func, select

from tests.conftest import TEMPLATE
from tests.factories.filled import approve, invoice_of
from tests.factories.shop import Letterbox, Shop, make_shop, services_on
from tollgate import clock
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.cli import serving
from tollgate.contracts.models import Contract, Deliverable
from tollgate.db import embedded
from tollgate.db.database import Database
from tollgate.files import service as files
from tollgate.files.models import StoredFile
from tollgate.jobs.service import jobs_of
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate.signoff import service as signoff

API = "/api/v1"
SMALL_BYTES = 1024


@dataclass
class Disk:
    """A disk that can be filled and freed: a small one of its own where we may mount one; else this process may write no larger files."""

    folder: Path
    mounted: bool
    _before: tuple[int, int] | None = field(default=None)

    def fill(self) -> None:
        if not self.mounted:
            self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, self._before[1]))
            return
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        if self.mounted:
            (self.folder / "filler").unlink(missing_ok=True)
        elif self._before is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, self._before)
            self._before = None


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)]
    mounted = mount is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    disk = Disk(folder, mounted)
    try:
        yield disk
    finally:
        disk.free()
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(params=["own disk", "limit"])
def disk(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Disk]:
    """Where this test's files are kept. The limit needs no rights, so that every machine runs one of the two for certain."""
    if request.param == "own disk":
        with small_disk(settings.files_folder, 2) as made:
            yield made
        return
    made = Disk(settings.files_folder, mounted=False)
    try:
        yield made
    finally:
        made.free()


@contextmanager
def full(disk: Disk) -> Iterator[None]:
    disk.fill()
    try:
        yield
    finally:
        disk.free()


@pytest.fixture
async def shop(db: Database, settings: Settings) -> AsyncIterator[Shop]:
    with structlog.testing.capture_logs() as logs:
        yield await make_shop(services_on(settings, db, Letterbox()))
    assert [line for line in logs if line["log_level"] in {"error", "critical"}] == [], "a full disk is no bug"


async def program_of(shop: Shop, sock: Any) -> httpx.AsyncClient:
    made = await access.create_api_key(shop.db, shop.org.command("admin"), name="Test", role=Role.ADMIN)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, headers={"Authorization": f"Bearer {made.secret}"})


async def count(shop: Shop, model: Any) -> int:
    async with shop.db.reading(shop.org.id) as session:
        return int((await session.execute(select(func.count()).select_from(model))).scalar_one())


async def sound(shop: Shop) -> None:
    async with shop.db.reading(shop.org.id) as session:
        found = await invariants.run(session, shop.org.id, jobs_idle=True)
    assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []
    looked_at, broken = await files.compare(shop.db, shop.services.storage, shop.org.id)
    assert looked_at and broken == []


async def test_no_space_for_files(shop: Shop, disk: Disk) -> None:
    (uploaded, approved) = await shop.active(100_00, 200_00)
    with serving.listen("127.0.0.1", 0) as sock:
        async with serving.web(shop.services.settings, shop.services, sock), await program_of(shop, sock) as program:
            assert (await program.get("/health/ready")).json()["status"] == "ready"
            await shop.add_note(approved)
            await shop.deliver(approved)
            link, decision = await shop.opened(approved)
            known = await count(shop, StoredFile), await count(shop, Deliverable)
            send = {"file": ("result.txt", b"x" * 100_000, "text/plain")}
            path = f"{API}/milestones/{uploaded}/deliverables"
            headers = {"Idempotency-Key": "upload-1"}
            with full(disk):
                refused = await program.post(path, files=send, headers=headers)
                healthy = (await program.get("/health/ready")).json()
                await signoff.approve_by_link(shop.db, shop.approver(), link, decision)
                for tries in range(10):
                    with clock.shifted(timedelta(hours=2 * tries)):
                        await shop.work()
                async with shop.db.reading(shop.org.id) as session:
                    waiting = await jobs_of(session, shop.org.id, ("ready",))
                    dead = await jobs_of(session, shop.org.id)
            assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0, refused.text
            assert refused.headers["content-type"] == "application/problem+json"
            reasons = ("No space left on device", "File too large")
            assert any(reason in refused.json()["detail"] for reason in reasons), refused.text
            assert healthy["status"] == "degraded" and healthy["files"] in reasons
            assert (await count(shop, StoredFile), await count(shop, Deliverable)) == known, "nothing half kept is referenced"
            assert [file for file in disk.folder.rglob("tmp*") if file.is_file()] == [], "and nothing half written is left"

            # The approval and the invoice stand; their papers wait, are not given up, and say why.
            invoice = await invoice_of(shop, approved)
            assert invoice.state == "issued" and dead == []
            renders = [job for job in waiting if job.kind == "documents.render"]
            assert len(renders) == 2 and all(
                job.attempts > 8 and any(reason in str(job.last_error) for reason in reasons) for job in renders
            )

            # There is space again: the same request with the same key is done once, and the papers follow, without a restart.
            for _repeat in range(2):
                answer = await program.post(path, files=send, headers=headers)
                assert answer.status_code == 201, answer.text
            assert (await program.get("/health/ready")).json()["status"] == "ready"
            with clock.shifted(timedelta(days=2)):
                await shop.work()
    assert await count(shop, Deliverable) == known[1] + 1
    letterbox = shop.services.transport
    assert isinstance(letterbox, Letterbox)
    assert [mail for mail in letterbox.mails if str(invoice.number) in str(mail["Subject"]) and list(mail.iter_attachments())]
    await sound(shop)


async def test_no_space_for_postgresql(
    cluster: embedded.EmbeddedServer, settings: Settings, tmp_path: Path, say: Callable[[str], None]
) -> None:
    """The tables' disk is full: writing says 503, reading works, and what was refused is done when there is space again."""
    with small_disk(tmp_path / "tables", 40) as disk, structlog.testing.capture_logs() as logs:
        if not disk.mounted:
            say("PostgreSQL's own full disk is not shown here: this machine lets nobody mount a small one")
            return
        await asyncio.to_thread(embedded.run_sql, cluster, f"create tablespace small location '{disk.folder}'", "postgres")
        try:
            await asyncio.to_thread(
                embedded.run_sql,
                cluster,
                f"create database full_disk template {TEMPLATE} owner tollgate_owner tablespace small",
                "postgres",
            )
            given = settings.with_(database_url=cluster.url(database="full_disk"))
            await refused_and_done(given, disk, say)
        finally:
            await asyncio.to_thread(embedded.run_sql, cluster, "drop database if exists full_disk with (force)", "postgres")
            disk.free()
            await asyncio.to_thread(embedded.run_sql, cluster, "drop tablespace small", "postgres")
    assert [line for line in logs if line["log_level"] in {"error", "critical"}] == [], "a full disk is no bug"


async def refused_and_done(settings: Settings, disk: Disk, say: Callable[[str], None]) -> None:
    db = Database(str(settings.database_url))
    shop = await make_shop(services_on(settings, db, Letterbox()))
    (milestone_id,) = await shop.active(100_00)
    await approve(shop, milestone_id)
    with serving.listen("127.0.0.1", 0) as sock:
        async with serving.web(settings, shop.services, sock), await program_of(shop, sock) as program:

            async def create(number: int) -> httpx.Response:
                euros = {"amount": "100.00", "currency": "EUR"}
                words = f"{number} " + "what was agreed, at some length; " * 12
                rows = [{"title": f"Stage {row}", "amount": euros, "acceptance_criteria": [words]} for row in range(20)]
                body = {
                    "client_id": str(shop.client_id),
                    "title": f"Contract {number}",
                    "value": {**euros, "amount": "2000.00"},
                    "milestones": rows,
                }
                return await program.post(f"{API}/contracts", json=body, headers={"Idempotency-Key": f"key-{number}"})

            before = await count(shop, Contract)
            made = 0
            with full(disk):
                while (answer := await create(made + 1)).status_code == 201:
                    made += 1
                    assert made < 300, "the disk never got full"
                assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
                assert answer.json()["type"].endswith("/unavailable")
                assert (await program.get(f"{API}/contracts")).status_code == 200, "reading goes on"
                assert await count(shop, Contract) == before + made
            answer = await create(made + 1)
            assert answer.status_code == 201, answer.text
            assert await count(shop, Contract) == before + made + 1
            with clock.shifted(timedelta(hours=2)):
                await shop.work()
    say(f"PostgreSQL's disk full after {made} contracts: 503, nothing half written, done when there was space")
    await sound(shop)
    await db.close()
