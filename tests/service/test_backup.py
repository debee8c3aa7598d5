"""A backup is consistent, provable and refused when damaged; a restore gives everything back and sends nothing until confirmed."""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import re
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import AsyncTestClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.browser.site import PASSWORD, Site
from tests.factories import make_organization
from tests.factories.filled import fill
from tests.factories.shop import Letterbox, Shop, make_shop, services_on
from tests.http.test_member_pages import send
from tollgate import clock
from tollgate.app import Services, create_app
from tollgate.audit.anchors import Anchor
from tollgate.cli import backup, backup_archive, backup_programs, checking, doctor, restore
from tollgate.cli import outbox as outbox_command
from tollgate.cli.main import build_parser
from tollgate.db import embedded, migrating
from tollgate.db.database import Database
from tollgate.db.embedded import EmbeddedServer, run_sql
from tollgate.errors import Conflict, Invalid, NotFound, TollgateError, Unavailable
from tollgate.jobs import Job, enqueue, outbox
from tollgate.jobs.worker import Run, Worker
from tollgate.settings import Settings

_numbers = itertools.count(1)


class Ring(Job, frozen=True, kw_only=True):
    """A job that tells when it ran."""

    kind = "test.ring"


@pytest.fixture
def mine(settings: Settings, owner_url: str, tmp_path: Path) -> Settings:
    """The settings of a server that can be backed up."""
    return settings.with_(database_owner_url=owner_url, data=tmp_path / "data")


@pytest.fixture
async def shop(mine: Settings, db: Database) -> Shop:
    return await make_shop(services_on(mine, db))


@dataclass
class Place:
    """An empty database, and a folder that is not there yet."""

    settings: Settings
    server: EmbeddedServer
    name: str

    def sql(self, statement: str) -> None:
        run_sql(self.server, statement, self.name)


@pytest.fixture
async def empty(cluster: EmbeddedServer, mine: Settings, tmp_path: Path) -> AsyncIterator[Place]:
    """Where a backup can be restored."""
    name = f"restored_{os.getpid()}_{next(_numbers)}"
    make = f"create database {name} owner tollgate_owner template template0"
    await asyncio.to_thread(run_sql, cluster, make, "postgres")
    changed = mine.with_(
        data=tmp_path / "restored", database_url=cluster.url("tollgate_app", name), database_owner_url=cluster.url("tollgate_owner", name)
    )
    yield Place(changed, cluster, name)
    await asyncio.to_thread(run_sql, cluster, f"drop database {name} with (force)", "postgres")


async def made(settings: Settings, to: Path) -> Path:
    return await asyncio.to_thread(backup.make, settings, to)


async def restored(path: Path, place: Place) -> int:
    """The exit code of `tollgate restore`."""
    options = build_parser().parse_args(["restore", str(path)])
    return await asyncio.to_thread(restore.run, options, place.settings)


async def with_files(shop: Shop) -> None:
    """A life that leaves stored files: a signed paper, an invoice, a certificate."""
    (milestone_id,) = await shop.active(100_00)
    await shop.add_note(milestone_id)
    await shop.deliver(milestone_id)
    await shop.record(milestone_id)
    await shop.work()


async def contents(url: str) -> dict[str, list[str]]:
    """Every row of every table, as text; sessions and the hold are a restore's to change."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        tables = sorted((await backup.row_counts(connection)).keys() - {"session", "outbox_hold"})
        found = {}
        for table in tables:
            rows = await connection.execute(text(f"select t::text from {table} t order by 1"))
            found[table] = [str(row[0]) for row in rows]
    await engine.dispose()
    return found


# --- The backup


async def test_everything_comes_back_and_every_check_holds(
    shop: Shop, mine: Settings, empty: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(shop)
    head = shop.services.worker()
    async with shop.db.transaction(shop.org.id) as session:
        await enqueue(session, Anchor(organization_id=shop.org.id))
    await head.run_until_idle()
    path = await made(mine, tmp_path / "one.tar")
    assert path.stat().st_mode & 0o777 == 0o600
    assert await restored(path, empty) == 0
    before, after = await contents(str(mine.database_owner_url)), await contents(str(empty.settings.database_owner_url))
    assert {name: rows for name, rows in after.items() if rows != before[name]} == {}
    assert len(before["invoice"]) > 5 and len(before["audit_event"]) > 50 and len(before["stored_file"]) > 5
    says = capsys.readouterr().out
    assert "every count, audit head and file agrees" in says and "WRONG" not in says and "nothing is sent" in says
    manifest = backup_archive.read_manifest(path)
    assert manifest.tables["invoice"] == len(before["invoice"])
    assert manifest.file_count == len(before["stored_file"])
    assert list(manifest.anchors) == [shop.org.id] == list(manifest.audit_heads)
    # Both roles work as before: bound by row-level security, the guards on.
    ids = {line.id for line in await asyncio.to_thread(doctor.examine, empty.settings, all_files=True)}
    assert not ids & {
        "row-security",
        "triggers",
        "role-owner",
        "role-bypass",
        "owner-url",
        "schema-behind",
        "files-missing",
        "anchors-broken",
    }
    assert "outbox-held" in ids


async def test_a_backup_taken_while_everybody_works_is_of_one_instant(shop: Shop, mine: Settings, empty: Place, tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def life() -> int:
        count = 0
        while not stop.is_set():
            await with_files(shop)
            count += 1
        return count

    working = asyncio.create_task(life())
    path = await made(mine, tmp_path)
    again = await made(mine, tmp_path / "again.tar")
    stop.set()
    assert await working > 0
    first, second = backup_archive.read_manifest(path), backup_archive.read_manifest(again)
    assert first.tables["contract"] <= second.tables["contract"]
    assert await restored(again, empty) == 0


async def test_a_file_is_never_replaced_and_nothing_else_is_left(shop: Shop, mine: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    path = await made(mine, folder)
    kept = path.read_bytes()
    with pytest.raises(Conflict, match="never replaces"):
        await made(mine, path)
    assert path.read_bytes() == kept
    assert list(folder.iterdir()) == [path]
    last = backup.last(mine.data)
    assert last is not None and last.file == str(path)


async def test_a_name_that_is_taken_meanwhile_is_not_replaced(
    shop: Shop, mine: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    path, verify = folder / "mine.tar", backup_archive.verify

    def somebody_else(written: Path) -> Any:
        path.write_text("somebody else's")
        return verify(written)

    monkeypatch.setattr(backup_archive, "verify", somebody_else)
    with pytest.raises(Conflict, match="never replaces"):
        await made(mine, path)
    assert path.read_text() == "somebody else's" and list(folder.iterdir()) == [path]


async def test_a_missing_file_is_named_and_there_is_no_backup(shop: Shop, mine: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    await with_files(shop)
    victim = next(path for path in mine.files_folder.rglob("*") if path.is_file())
    victim.write_bytes(victim.read_bytes() + b"!")
    with pytest.raises(Unavailable, match=victim.name):
        await made(mine, folder)
    assert list(folder.iterdir()) == []


async def test_the_owner_address_is_needed(shop: Shop, mine: Settings, tmp_path: Path) -> None:
    options = build_parser().parse_args(["backup", str(tmp_path / "x.tar")])
    with pytest.raises(Invalid, match="DATABASE_OWNER_URL"):
        await asyncio.to_thread(backup.run, options, mine.with_(database_owner_url=None))


async def test_a_folder_that_is_missing_is_named(shop: Shop, mine: Settings, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for to in (f"{missing}/", str(missing / "one.tar")):
        with pytest.raises(NotFound, match=rf"There is no folder {missing}: make it first"):
            await asyncio.to_thread(backup.run, build_parser().parse_args(["backup", to]), mine)
    assert not missing.exists()
    missing.mkdir()
    assert await asyncio.to_thread(backup.run, build_parser().parse_args(["backup", f"{missing}/"]), mine) == 0
    (path,) = missing.iterdir()
    assert path.name.startswith("tollgate-")


@pytest.mark.parametrize("command", [["backup", "--verify"], ["restore", "--try"]], ids=lambda command: str(command[0]))
def test_what_is_no_backup_is_named_in_a_sentence(tmp_path: Path, command: list[str]) -> None:
    settings = Settings(data=tmp_path / "data")
    for name, says in (
        ("nope.tar", rf"^There is no file {tmp_path}/nope\.tar$"),
        ("", rf"^{tmp_path} is a folder: name one backup in it$"),
    ):
        options = build_parser().parse_args([*command, str(tmp_path / name)])
        with pytest.raises(TollgateError) as caught:
            options.does(options, settings)
        assert re.search(says, str(caught.value.detail)), caught.value.detail


def program(folder: Path, name: str, says: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_programs_of_another_major_are_refused_by_name(tmp_path: Path) -> None:
    for name in backup_programs.PROGRAMS:
        program(tmp_path, name, f"{name} (PostgreSQL) 13.4")
    with pytest.raises(Unavailable, match=r"PostgreSQL 18.*Found: 13 .*TOLLGATE_PG_BIN"):
        backup_programs.programs_for(18, {"TOLLGATE_PG_BIN": str(tmp_path)})
    assert backup_programs.programs_for(13, {"TOLLGATE_PG_BIN": str(tmp_path)}).folder == tmp_path
    # Without the order, PATH comes first, and what does not fit there is passed by.
    found = embedded.find_binaries()
    assert backup_programs.programs_for(found.major, {"PATH": str(tmp_path)}).major == found.major


def test_the_address_goes_to_libpq_and_the_password_not_into_arguments() -> None:
    told = backup_programs._environment("postgresql+asyncpg://us%40er:pass%2Fword@db.example:5433/books?ssl=require")
    names = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE")
    assert [told[name] for name in names] == ["db.example", "5433", "us@er", "pass/word", "books", "require"]


# --- Damage


def flip(path: Path, name: str) -> None:
    """Change one byte in the middle of a member."""
    with tarfile.open(path) as archive:
        member = archive.getmember(name)
    with path.open("r+b") as file:
        file.seek(member.offset_data + member.size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], more: dict[str, bytes] | None = None) -> None:
    """Write the archive anew with its members changed or left out."""
    with tarfile.open(path) as archive:
        members = [(info.name, archive.extractfile(info).read()) for info in archive.getmembers()]  # type: ignore[union-attr]
    with tarfile.open(path, "w") as archive:
        for name, content in [*members, *(more or {}).items()]:
            if (kept := change(name, content)) is not None:
                info = tarfile.TarInfo(name)
                info.size = len(kept)
                archive.addfile(info, io.BytesIO(kept))


def manifest_with(path: Path, **changes: object) -> None:
    """Write another manifest, with a checksum that fits it."""

    def change(name: str, content: bytes) -> bytes:
        if name != backup_archive.MANIFEST:
            return content
        told = json.loads(content)["manifest"] | changes
        spelled = backup_archive.canonical_json(told)
        return json.dumps({"manifest": told, "sha256": backup_archive.hashlib.sha256(spelled).hexdigest()}).encode()

    rewritten(path, change)


async def test_each_damage_is_named_and_nothing_is_restored(shop: Shop, mine: Settings, empty: Place, tmp_path: Path) -> None:
    await with_files(shop)
    path = await made(mine, tmp_path / "whole.tar")
    manifest = backup_archive.verify(path)
    file = next(name for name in manifest.members() if name.startswith("files/"))
    size = path.stat().st_size

    def without(gone: str) -> Callable[[Path], None]:
        return lambda copy: rewritten(copy, lambda name, content: None if name == gone else content)

    damages: list[tuple[Callable[[Path], object], str]] = [
        (lambda copy: flip(copy, file), rf"{file} is damaged"),
        (lambda copy: flip(copy, backup_archive.DUMP), r"database\.dump is damaged"),
        (lambda copy: flip(copy, backup_archive.MANIFEST), r"manifest .*damaged"),
        (without(file), rf"{file} is missing"),
        (without(backup_archive.MANIFEST), "does not begin with a manifest"),
        (lambda copy: rewritten(copy, lambda name, content: content, {"files/planted": b"x"}), "files/planted is not in the manifest"),
        (lambda copy: os.truncate(copy, size // 3), "is missing|ends too early"),
        (lambda copy: os.truncate(copy, 100), "is not a backup"),
        (lambda copy: copy.write_bytes(b"something else"), "is not a backup"),
        (lambda copy: manifest_with(copy, format=2), "format 2, and this release reads 1"),
        (lambda copy: manifest_with(copy, revision="of_the_future"), "newer release"),
        (lambda copy: manifest_with(copy, tables={}), "not what the manifest says"),
    ]
    for damage, says in damages:
        copy = tmp_path / "damaged.tar"
        copy.write_bytes(path.read_bytes())
        damage(copy)
        if "newer" not in says and "says" not in says:
            with pytest.raises(Invalid, match=says):
                await asyncio.to_thread(backup_archive.verify, copy)
        with pytest.raises(TollgateError, match=says):
            await restored(copy, empty)
        if "says" not in says:
            assert not empty.settings.files_folder.exists(), says
    # The last one was seen only after the database was there: nobody but its owner can reach it.
    with pytest.raises(Exception, match=r"permission denied for database|CONNECT"):
        await contents(str(empty.settings.database_url))


@pytest.mark.parametrize("used", ["table", "session", "files", "role"])
async def test_only_an_empty_place_is_filled(shop: Shop, mine: Settings, empty: Place, tmp_path: Path, used: str) -> None:
    path = await made(mine, tmp_path / "one.tar")
    busy = None
    if used == "table":
        empty.sql("create table mine (id integer)")
    elif used == "files":
        (empty.settings.files_folder / "x").mkdir(parents=True)
    elif used == "session":
        busy = create_async_engine(str(empty.settings.database_url))
        connection = await busy.connect()
        await connection.execute(text("select 1"))
    else:
        empty.settings = empty.settings.with_(database_owner_url=None)
    says = {"table": "not empty", "files": "not empty", "session": "stop web and worker", "role": "DATABASE_OWNER_URL"}[used]
    with pytest.raises(TollgateError, match=says):
        await restored(path, empty)
    if busy is not None:
        await connection.close()
        await busy.dispose()
    if used in {"table", "session"}:
        # The refusal left the door as it was: after it is emptied, the same place is filled.
        if used == "table":
            empty.sql("drop table mine")
        assert await restored(path, empty) == 0


async def test_another_secret_key_is_said_aloud(
    shop: Shop, mine: Settings, empty: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await with_files(shop)
    async with shop.db.transaction(shop.org.id) as session:
        await enqueue(session, Anchor(organization_id=shop.org.id))
    await shop.work()
    path = await made(mine, tmp_path / "one.tar")
    empty.settings = empty.settings.with_(secret_key="another-one-of-thirty-two-characters")
    assert await restored(path, empty) == 0
    assert "WARNING: SECRET_KEY is not the one of the backup" in capsys.readouterr().out
    assert (empty.settings.data / restore.FOREIGN_ANCHORS / f"{shop.org.id}.jsonl").exists()
    assert not (empty.settings.data / "anchors").exists()


async def test_a_key_that_was_made_for_want_of_one_is_said_aloud(
    shop: Shop, mine: Settings, empty: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = await made(mine, tmp_path / "one.tar")
    empty.settings = empty.settings.with_(secret_key="")
    assert await restored(path, empty) == 0
    assert "There was no SECRET_KEY here, so a new one was made: the Stripe keys" in capsys.readouterr().out


async def test_an_older_schema_is_migrated(cluster: EmbeddedServer, shop: Shop, mine: Settings, empty: Place, tmp_path: Path) -> None:
    await shop.active(100_00)
    await shop.work()
    await asyncio.to_thread(migrating.downgrade, str(mine.database_owner_url), "add_refunds_and_disputes")
    path = await made(mine, tmp_path / "old.tar")
    assert backup_archive.read_manifest(path).revision == "add_refunds_and_disputes"
    assert await restored(path, empty) == 0
    assert await migrating.revision_of(str(empty.settings.database_url)) == migrating.newest_revision()
    held = Database(str(empty.settings.database_url))
    async with held.directory() as session:
        assert await outbox.state(session) is not None
    await held.close()


async def test_a_failed_restore_leaves_the_database_empty(shop: Shop, mine: Settings, empty: Place, tmp_path: Path) -> None:
    """All of it or nothing: a view that only this server lacks a schema for stops the restore in its middle."""
    path = await made(mine, tmp_path / "one.tar")
    whole = backup_programs.Programs.restore

    def one_more(self: backup_programs.Programs, url: str, dump: Path) -> None:
        whole(self, url, dump.with_name("not there"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup_programs.Programs, "restore", one_more)
        with pytest.raises(Unavailable, match="pg_restore failed"):
            await restored(path, empty)
    # Files came first; another folder, and the same database takes it.
    empty.settings = empty.settings.with_(data=tmp_path / "second")
    assert await restored(path, empty) == 0


# --- The hold


async def held(db: Database, owner_url: str) -> None:
    """Hold the outbox of a database that is in use."""
    engine = create_async_engine(owner_url)
    async with engine.begin() as connection:
        await outbox.hold(connection, clock.now() - timedelta(hours=3))
    await engine.dispose()


async def test_while_held_no_worker_claims_and_a_release_wakes_them(shop: Shop, mine: Settings, owner_url: str) -> None:
    rang: list[str] = []

    async def ring(run: Run, job: Ring) -> None:
        rang.append(str(run.job_id))

    worker = Worker(shop.db, {Ring: ring}, poll_seconds=0.05)
    running = asyncio.create_task(worker.run_forever())
    try:
        await held(shop.db, owner_url)
        async with shop.db.transaction(shop.org.id) as session:
            await enqueue(session, Ring(organization_id=shop.org.id))
        rounds = worker.last_round_at
        async with asyncio.timeout(30):
            # A worker that was there before makes its rounds, and finds nothing.
            while worker.last_round_at < rounds + timedelta(seconds=0.5):  # noqa: ASYNC110 - the worker makes it true
                await asyncio.sleep(0.05)
        assert rang == []
        assert await Worker(shop.db, {Ring: ring}).run_once() == 0
        async with shop.db.directory() as session:
            (waiting,) = [one for one in await outbox.waiting(session) if one.kind == "test.ring"]
            assert (waiting.jobs, waiting.due) == (1, 1)
            assert await outbox.release(session)
            assert not await outbox.release(session), "once"
        async with asyncio.timeout(30):
            while not rang:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        worker.stop()
        await running


async def test_leases_of_the_backup_are_nobodys(shop: Shop, owner_url: str) -> None:
    """A job that was running when the backup was made is ready after the restore, and lost no try."""
    async with shop.db.transaction(shop.org.id) as session:
        await enqueue(session, Ring(organization_id=shop.org.id))
    (row,) = await Worker(shop.db, {})._claim(1)
    await held(shop.db, owner_url)
    async with shop.db.directory() as session:
        await outbox.release(session)
        finished = await session.execute(
            text("select job_finish(:id, :fence, :now)"), {"id": row.id, "fence": row.fence, "now": clock.now()}
        )
        assert not finished.scalar_one(), "the old lease is worth nothing"
    (again,) = await Worker(shop.db, {})._claim(1)
    assert again.id == row.id
    assert again.attempts == 2


async def test_the_application_cannot_hold_and_cannot_go_round(db: Database) -> None:
    for statement in (
        "insert into outbox_hold (held_at, backup_made_at) values (now(), now())",
        "select job_claim_unheld(1, now(), now())",
    ):
        with pytest.raises(Exception, match="permission denied"):
            async with db.directory() as session:
                await session.execute(text(statement))


async def test_sessions_end_with_a_restore(shop: Shop, mine: Settings, empty: Place, tmp_path: Path) -> None:
    engine = create_async_engine(str(mine.database_owner_url))
    async with engine.begin() as connection:
        await connection.execute(
            text("insert into identity (id, email, password_hash, created_at) values (gen_random_uuid(), 'a@b.example', 'x', now())")
        )
        await connection.execute(
            text(
                "insert into session (id_sha256, identity_id, organization_id, member_id, created_at, expires_at)"
                " select sha256('x'), id, :organization, gen_random_uuid(), now(), now() + interval '1 day' from identity limit 1"
            ),
            {"organization": shop.org.id},
        )
    await engine.dispose()
    path = await made(mine, tmp_path / "one.tar")
    assert backup_archive.read_manifest(path).tables["session"] == 1
    assert await restored(path, empty) == 0
    engine = create_async_engine(str(empty.settings.database_owner_url))
    async with engine.connect() as connection:
        assert (await connection.execute(text("select count(*) from session"))).scalar_one() == 0
        assert (await connection.execute(text("select count(*) from identity"))).scalar_one() == 1
    await engine.dispose()


async def test_the_outbox_command_says_what_waits(shop: Shop, owner_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    letterbox = shop.services.transport
    assert isinstance(letterbox, Letterbox)
    (milestone_id,) = await shop.active(100_00)
    await shop.work()
    await shop.add_note(milestone_id)
    await shop.deliver(milestone_id)
    await outbox_command.run(shop.services, argparse.Namespace(release=False, data="my folder"), "here")
    assert "The outbox is open" in capsys.readouterr().out
    await held(shop.db, owner_url)
    await outbox_command.run(shop.services, argparse.Namespace(release=False, data="my folder"), "here")
    says = capsys.readouterr().out
    assert "The outbox is held since" in says and "1 mails to 1 people wait" in says and "mail.send" in says
    assert "Confirm with: tollgate outbox --release --data 'my folder'\n" in says
    await shop.work()
    assert not [mail for mail in letterbox.mails if "Stage 0" in str(mail["Subject"])], "held"
    await outbox_command.run(shop.services, argparse.Namespace(release=True, data="my folder"), "here")
    assert "Released" in capsys.readouterr().out
    await outbox_command.run(shop.services, argparse.Namespace(release=True, data=None), "here")
    assert "Nothing was held in here" in capsys.readouterr().out
    await shop.work()
    assert letterbox.mails
    assert await checking.check(shop.services)


async def test_whoever_administers_reads_it_on_the_home_page_and_ready_says_it(mine: Settings, owner_url: str) -> None:
    services = Services.of(mine)
    site = Site(mine.base_url, mine, services, (await make_organization(services.db)).id)
    async with AsyncTestClient(create_app(mine, Services.of(mine)), base_url=mine.base_url) as browser:
        assert (await browser.get("/health/ready")).json()["outbox"] == "open"
        for role, reads in (("admin", True), ("account_manager", False)):
            email = await site.member(role)
            shown = await browser.get("/sign-in")
            signed_in = await send(browser, shown.text, "/sign-in", email=email, password=PASSWORD)
            assert signed_in.status_code == 303, signed_in.text
            await held(services.db, owner_url)
            page = await browser.get("/")
            assert page.status_code == 200
            assert ("Restored from a backup of" in page.text) is reads
            assert (await browser.get("/health/ready")).json()["outbox"] == "held"
            async with services.db.directory() as session:
                await outbox.release(session)
            assert "Restored from a backup of" not in (await browser.get("/")).text
            browser.cookies.clear()
    await services.db.close()
