"""`tollgate restore`: a backup into an empty place, proved, with the outbox on hold.

Embedded, everything is built in a folder beside the target, which gets the target's name at the very end: a folder with
that name is a whole restore. On a server of one's own the application's role cannot connect until the outbox is held, so no
worker, however long it runs, can send what was sent before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tollgate.app import Services
from tollgate.cli import backup_archive as archive
from tollgate.cli import backup_programs, checking, runtime
from tollgate.cli.backup import describe, row_counts, sync_folder
from tollgate.db import migrating, postgres
from tollgate.db.embedded import APP_ROLE, OWNER_ROLE, ensure_running
from tollgate.errors import Conflict, Invalid, TollgateError, Unavailable, _
from tollgate.files.storage import LocalStorage, Storage
from tollgate.jobs import outbox
from tollgate.settings import Settings

SECRET_FILE = "secret-key"
FOREIGN_ANCHORS = "anchors.other-key"
"""Where anchors wait that were signed under another SECRET_KEY: with this one they prove nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `restore`."""
    parser.add_argument("file", metavar="FILE", help="a backup")
    parser.add_argument("--try", dest="only_try", action="store_true", help="restore into a throwaway server, check everything, remove it")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Exit code 0 when everything was restored and every check holds."""
    is_embedded = settings.database_url is None and not options.only_try
    if is_embedded and options.data is None and not os.environ.get("TOLLGATE_DATA"):
        raise Invalid(_("Say where to: name a new folder with --data, or set TOLLGATE_DATA or DATABASE_URL"))
    path = Path(options.file).expanduser().absolute()
    manifest = archive.read_manifest(path)
    if not migrating.knows(manifest.revision):
        raise Invalid(
            _("%(path)s was made by a newer release (%(release)s, schema %(revision)s): install that release or a later one",
              path=path, release=manifest.tollgate, revision=manifest.revision)
        )  # fmt: skip
    # Everything is read and compared before anything is written.
    archive.verify(path)
    describe(manifest)
    if options.only_try:
        return _try(path, manifest, settings)
    if settings.database_url is None:
        return _into_folder(path, manifest, settings)
    return _into_server(path, manifest, settings)


# --- Where to


def _try(path: Path, manifest: archive.Manifest, settings: Settings) -> int:
    secret = _secret_of(settings)
    with _building(Path(tempfile.gettempdir()), "tollgate-try-") as folder:
        holds = _embedded(path, manifest, settings.with_(data=folder, secret_key=secret))
    print(
        "This backup can be restored; the copy is gone again" if holds else "The copy was restored, but checks are WRONG; it is gone again"
    )
    return 0 if holds else 1


def _into_folder(path: Path, manifest: archive.Manifest, settings: Settings) -> int:
    target = settings.data
    if target.exists() and not target.is_dir():
        raise Conflict(_("%(target)s is no folder: restore into a new one, with --data", target=target))
    if target.exists() and {entry.name for entry in target.iterdir()} - {SECRET_FILE}:
        raise Conflict(_("%(target)s is not empty: restore into a new folder, with --data", target=target))
    secret = _secret_of(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _building(target.parent, f".{target.name}-restoring-") as folder:
        if not settings.secret_key and secret:
            _write_private(folder / SECRET_FILE, secret.encode())
        holds = _embedded(path, manifest, settings.with_(data=folder, secret_key=secret))
        if target.exists():
            (target / SECRET_FILE).unlink(missing_ok=True)
        try:
            folder.rename(target)
        except OSError as error:
            raise Unavailable(_("%(target)s cannot be replaced (%(reason)s): name a new folder", target=target, reason=error)) from error
        sync_folder(target.parent)
    _say_end(holds, f"--data {target}")
    return 0 if holds else 1


def _into_server(path: Path, manifest: archive.Manifest, settings: Settings) -> int:
    if settings.database_owner_url is None:
        raise Invalid(_("Set DATABASE_OWNER_URL: a restore makes tables, which only their owner may"))
    files = settings.files_folder
    for folder in (files, settings.data / "anchors"):
        if folder.exists() and any(folder.iterdir()):
            raise Conflict(_("%(target)s is not empty: restore into a new folder, with --data", target=folder))
    had_key = bool(_secret_of(settings))
    settings = settings.with_secret()
    ready = settings.with_(
        database_url=runtime.driver_url(settings.database_url), database_owner_url=runtime.driver_url(settings.database_owner_url)
    )
    holds = asyncio.run(_fill(path, manifest, ready, had_key=had_key))
    _say_end(holds, "")
    return 0 if holds else 1


@contextmanager
def _building(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder beside the target; what is left of it when the context ends was not wanted."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        if folder.exists():
            home = (folder / "postgres").resolve()
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)


def _embedded(path: Path, manifest: archive.Manifest, settings: Settings) -> bool:
    found = postgres.find_binaries()
    if found.major < manifest.postgresql:
        raise Unavailable(
            _("The backup is of PostgreSQL %(needed)s, and only %(found)s is here: set TOLLGATE_PG_BIN to a newer one",
              needed=manifest.postgresql, found=found.version)
        )  # fmt: skip
    had_key = bool(_secret_of(settings))
    server = ensure_running(settings.data)
    try:
        ready = settings.with_secret().with_(database_url=server.url(APP_ROLE), database_owner_url=server.url(OWNER_ROLE))
        return asyncio.run(_fill(path, manifest, ready, had_key=had_key))
    finally:
        server.stop()


def _secret_of(settings: Settings) -> str:
    """The key of the environment or of the folder; empty when there is none yet. Makes none."""
    file = settings.data / SECRET_FILE
    return settings.secret_key or (file.read_text().strip() if file.is_file() else "")


def _say_end(holds: bool, where: str) -> None:
    if not holds:
        print("The data was restored, but checks are WRONG: see above. Do not work with it before you know why")
    print(f"The outbox is on hold: no job runs, nothing is sent. `tollgate outbox {where}`".rstrip() + " shows what waits;")
    print(f"`tollgate outbox --release {where}`".replace(" `", "`").rstrip() + " confirms, and everything goes on.")


# --- What is done


async def _fill(path: Path, manifest: archive.Manifest, settings: Settings, *, had_key: bool) -> bool:
    """Files first, then the database that names them, held; then every check. Settings name both roles' addresses."""
    assert settings.database_owner_url is not None and settings.database_url is not None
    same_key = archive.fingerprint(settings.secret_key) == manifest.secret_key_fingerprint
    engine = create_async_engine(settings.database_owner_url)
    try:
        async with engine.connect() as connection:
            programs = await _programs_for(connection, manifest)
            await _refuse_used(connection)
        storage = LocalStorage(settings.files_folder)
        with tempfile.TemporaryDirectory(prefix="tollgate-restore-", dir=settings.data if settings.data.is_dir() else None) as scratch:
            dump = Path(scratch, "dump")
            await _unpack(path, manifest, storage, settings.data, dump, same_key=same_key)
            await _database(engine, programs, manifest, dump, settings.database_owner_url)
    finally:
        await engine.dispose()
    await _read_back(storage, manifest)
    print(f"Restored {sum(manifest.tables.values()):,} rows and {manifest.file_count:,} files; every count, audit head and file agrees")
    if not same_key:
        _warn_of_key(had_key=had_key)
    async with runtime.services(settings) as shared:
        return await _check(shared)


async def _check(shared: Services) -> bool:
    return await checking.check(shared)


async def _programs_for(connection: AsyncConnection, manifest: archive.Manifest) -> backup_programs.Programs:
    major = int((await connection.execute(text("select current_setting('server_version_num')"))).scalar_one()) // 10000
    if major < manifest.postgresql:
        raise Invalid(
            _("The backup is of PostgreSQL %(needed)s, and the server is %(found)s: restore into one that is not older",
              needed=manifest.postgresql, found=major)
        )  # fmt: skip
    return backup_programs.programs_for(major)


async def _refuse_used(connection: AsyncConnection) -> None:
    """Refuse a database that holds anything, that somebody else uses, or that lacks a role."""
    missing = await connection.execute(
        text("select r from unnest(array[:app, :owner]) r where not exists (select 1 from pg_roles where rolname = r)"),
        {"app": APP_ROLE, "owner": OWNER_ROLE},
    )
    if names := [str(row[0]) for row in missing]:
        raise Invalid(_("The server has no role %(names)s: make both, docs/operations.md says how", names=", ".join(names)))
    objects = await connection.execute(
        text(
            "select (select count(*) from pg_class where relnamespace = 'public'::regnamespace)"
            " + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace)"
        )
    )
    if count := objects.scalar_one():
        raise Conflict(_("The database is not empty (%(count)s objects): make a new one and name it in both addresses", count=count))
    others = await connection.execute(
        text("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
    )
    if count := others.scalar_one():
        raise Conflict(_("%(count)s other sessions use the database: stop web and worker first", count=count))


async def _unpack(path: Path, manifest: archive.Manifest, storage: Storage, data: Path, dump: Path, *, same_key: bool) -> None:
    """Bring files and anchors to their places, and the dump to `dump`. Compared once more: the file may have changed since."""
    anchors = data / ("anchors" if same_key else FOREIGN_ANCHORS)
    part = dump.with_name("part")

    def sink(name: str, _kept: archive.Kept) -> IO[bytes]:
        target = dump if name == archive.DUMP else part
        target.unlink(missing_ok=True)
        return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    for member in archive.walk(path, manifest, sink):
        archive.refuse_damaged(path, [member] if member.problem else [])
        kind, _slash, rest = member.name.partition("/")
        if kind == archive.FILES:
            organization, _slash, name = rest.partition("/")
            if await storage.put(UUID(organization), part.read_bytes()) != name:
                raise Unavailable(_("The stored file no longer matches its checksum"))
        elif kind == archive.ANCHORS:
            anchors.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(anchors / rest, part.read_bytes())


async def _database(
    engine: AsyncEngine, programs: backup_programs.Programs, manifest: archive.Manifest, dump: Path, owner_url: str
) -> None:
    """Restore, compare, migrate, hold: with the application's role shut out until the hold stands."""
    name = await _shut(engine)
    try:
        await asyncio.to_thread(programs.restore, owner_url, dump)
    except TollgateError:
        # All of it or nothing: the database is as empty as before.
        await _open(engine, name)
        raise
    await _compare(engine, manifest)
    if manifest.revision != migrating.newest_revision():
        await asyncio.to_thread(migrating.upgrade, owner_url)
    async with engine.begin() as connection:
        await outbox.hold(connection, manifest.made_at)
        # A session that was ended after the backup would live again: everybody signs in anew.
        await connection.execute(text("delete from session"))
    await _open(engine, name)


async def _shut(engine: AsyncEngine) -> str:
    async with engine.begin() as connection:
        name = str((await connection.execute(text("select quote_ident(current_database())"))).scalar_one())
        await connection.execute(text(f"revoke connect on database {name} from public, {APP_ROLE}"))
        await _refuse_used(connection)
    return name


async def _open(engine: AsyncEngine, name: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(f"grant connect, temporary on database {name} to {APP_ROLE}"))


async def _compare(engine: AsyncEngine, manifest: archive.Manifest) -> None:
    """Raise `Unavailable` unless every table has its rows and every audit trail ends where it ended."""
    async with engine.connect() as connection:
        counts = await row_counts(connection)
        heads = await connection.execute(text("select organization_id, seq, hash from audit_head"))
        found = {row.organization_id: archive.Head(row.seq, bytes(row.hash).hex()) for row in heads}
    wrong = [
        f"{table}: {counts.get(table, 0)} rows instead of {manifest.tables.get(table, 0)}"
        for table in sorted(counts.keys() | manifest.tables.keys())
        if counts.get(table) != manifest.tables.get(table)
    ]
    wrong += [
        f"the audit trail of {organization} ends elsewhere"
        for organization in found.keys() | manifest.audit_heads.keys()
        if found.get(organization) != manifest.audit_heads.get(organization)
    ]
    if wrong:
        raise Unavailable(
            _("The restored database is not what the manifest says; drop it and use another backup: %(wrong)s", wrong="; ".join(wrong))
        )


async def _read_back(storage: Storage, manifest: archive.Manifest) -> None:
    """Read every file as the server will; `get` compares the checksum."""
    for organization, names in manifest.files.items():
        for name in names:
            await storage.get(organization, name)


def _warn_of_key(*, had_key: bool) -> None:
    why = "SECRET_KEY is not the one of the backup." if had_key else "There was no SECRET_KEY here, so a new one was made:"
    print(f"WARNING: {why} {'The' if had_key else 'the'} Stripe keys that organizations entered cannot be read and have to be")
    print("  entered again, every link that was mailed has ended, and the anchors of the audit trails cannot be checked: they lie in")
    print(f"  {FOREIGN_ANCHORS}. If you still have the old key, restore once more with it.")


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
