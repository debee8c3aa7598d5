"""`tollgate backup`: database and files in one file, consistent, while the server runs; `--verify` proves one.

One snapshot serves all: the counts, the heads of the audit trails, the list of files and pg_dump see the same instant. Files are
written before the rows that name them and are never changed or removed, so those that the snapshot names can be read afterwards.
Anchors are read before: each names an event that is there already.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
from sqlalchemy import func, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tollgate import __version__, clock
from tollgate.cli import backup_archive as archive
from tollgate.cli import backup_programs, runtime
from tollgate.db.postgres import OLDEST_MAJOR
from tollgate.errors import Conflict, Invalid, NotFound, Unavailable, _
from tollgate.files.storage import LocalStorage, Storage
from tollgate.settings import Settings

LAST = "last-backup.json"
"""In the data folder: when the last backup was made, and where; `doctor` reads it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one instant of the database holds."""

    id: str
    revision: str
    postgresql: int
    tables: dict[str, int]
    audit_heads: dict[UUID, archive.Head]
    files: dict[UUID, dict[str, int]]


class LastBackup(msgspec.Struct, frozen=True):
    """The record of the last backup."""

    made_at: datetime
    file: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `backup`."""
    parser.add_argument("to", metavar="FILE_OR_FOLDER", help="a new file, or a folder in which a file with the time in its name is made")
    parser.add_argument("--verify", action="store_true", help="compare an existing backup with its manifest, and change nothing")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Make or verify. Raises `Invalid` and `Unavailable` with the way out."""
    path = Path(options.to).expanduser().absolute()
    if options.verify:
        manifest = archive.verify(path)
        print(f"{path} is whole")
        describe(manifest)
        return 0
    if options.to.endswith(os.sep) and not path.is_dir():
        raise NotFound(_("There is no folder %(folder)s: make it first, or name another", folder=path))
    if settings.database_url is not None and settings.database_owner_url is None:
        raise Invalid(_("Set DATABASE_OWNER_URL: the serving role does not see the directory tables, so it cannot back them up"))
    with runtime.database(settings, migrate_embedded=False) as (ready, _server):
        made = make(ready, path)
    print(f"Wrote and verified {made}")
    describe(archive.read_manifest(made))
    print("Keep SECRET_KEY (or the file secret-key of the data folder) in another safe place: it is not inside, and without it")
    print("the Stripe keys that organizations entered cannot be read, and links that were mailed end.")
    return 0


def describe(manifest: archive.Manifest) -> None:
    """Say what a backup holds."""
    rows = sum(manifest.tables.values())
    print(f"  made {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC by Tollgate {manifest.tollgate}, schema {manifest.revision}")
    print(f"  PostgreSQL {manifest.postgresql}: {len(manifest.tables)} tables, {rows:,} rows, dump of {manifest.dump.size:,} bytes")
    stored = sum(size for kept in manifest.files.values() for size in kept.values())
    print(
        f"  {manifest.file_count:,} files, {stored:,} bytes; {len(manifest.audit_heads)} audit trails, {len(manifest.anchors)} anchor files"
    )
    print(f"  SECRET_KEY fingerprint {manifest.secret_key_fingerprint}")


def make(settings: Settings, to: Path) -> Path:
    """Write a backup of the database at `settings.database_owner_url` and its files; answers the file. Blocks.

    Written under a temporary name with mode 0600, synced, read again, and only then named; an existing file is never replaced.
    """
    made_at = clock.now()
    path = to / f"tollgate-{made_at:%Y%m%dT%H%M%SZ}.tar" if to.is_dir() else to
    if path.exists():
        raise Conflict(_("%(path)s is there already; a backup never replaces a file", path=path))
    if not path.parent.is_dir():
        raise NotFound(_("There is no folder %(folder)s: make it first, or name another", folder=path.parent))
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
            written = Path(scratch, "backup.tar")
            asyncio.run(_write(settings, written, Path(scratch, "dump"), made_at))
            archive.verify(written)
            _name(written, path)
    except OSError as error:
        raise Unavailable(_("%(path)s could not be written: %(reason)s", path=path, reason=error.strerror or error)) from error
    _remember(settings.data, made_at, path)
    return path


async def _write(settings: Settings, out: Path, dump: Path, made_at: datetime) -> None:
    assert settings.database_owner_url is not None
    anchors = _anchors(settings.data / "anchors")
    engine = create_async_engine(settings.database_owner_url)
    try:
        async with engine.connect() as connection:
            # Held open until pg_dump has taken over its snapshot and ended.
            snapshot = await _snapshot(connection)
            programs = backup_programs.programs_for(snapshot.postgresql)
            await asyncio.to_thread(programs.dump, settings.database_owner_url, dump, snapshot.id)
    finally:
        await engine.dispose()
    with dump.open("rb") as file:
        kept = archive.sha256_of(file)
    manifest = archive.Manifest(
        format=archive.FORMAT,
        tollgate=__version__,
        revision=snapshot.revision,
        postgresql=snapshot.postgresql,
        made_at=made_at,
        secret_key_fingerprint=archive.fingerprint(settings.secret_key),
        tables=snapshot.tables,
        audit_heads=snapshot.audit_heads,
        dump=kept,
        anchors={organization: _kept(content) for organization, content in anchors.items()},
        files=snapshot.files,
    )
    await _pack(out, manifest, dump, anchors, LocalStorage(settings.files_folder))


async def _snapshot(connection: AsyncConnection) -> Snapshot:
    await connection.execute(text("set transaction isolation level repeatable read, read only"))
    version = int((await connection.execute(text("select current_setting('server_version_num')"))).scalar_one()) // 10000
    if version < OLDEST_MAJOR:
        raise Unavailable(_("PostgreSQL %(found)s is older than %(oldest)s", found=version, oldest=OLDEST_MAJOR))
    if (await connection.execute(text("select to_regclass('alembic_version')"))).scalar_one() is None:
        raise NotFound(_("The database is empty: there is nothing to back up yet"))
    exported = (await connection.execute(text("select pg_export_snapshot()"))).scalar_one()
    revision = (await connection.execute(text("select version_num from alembic_version"))).scalar_one()
    heads = await connection.execute(text("select organization_id, seq, hash from audit_head"))
    audit_heads = {row.organization_id: archive.Head(row.seq, bytes(row.hash).hex()) for row in heads}
    files: dict[UUID, dict[str, int]] = {}
    for row in await connection.execute(text("select organization_id, sha256_hex, size from stored_file order by 1, 2")):
        files.setdefault(row.organization_id, {})[row.sha256_hex] = row.size
    return Snapshot(exported, revision, version, await row_counts(connection), audit_heads, files)


async def row_counts(connection: AsyncConnection) -> dict[str, int]:
    """How many rows every table has, as the owner sees it."""
    named = await connection.execute(
        text("select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname")
    )
    found = {}
    for name in named.scalars().all():
        found[str(name)] = (await connection.execute(select(func.count()).select_from(table(name)))).scalar_one()
    return found


async def _pack(out: Path, manifest: archive.Manifest, dump: Path, anchors: dict[UUID, bytes], storage: Storage) -> None:
    broken: list[str] = []
    descriptor = os.open(out, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            archive.add_bytes(tar, archive.MANIFEST, manifest.encoded(), manifest.made_at)
            with dump.open("rb") as content:
                archive.add(tar, archive.DUMP, content, manifest.dump.size, manifest.made_at)
            for organization, lines in anchors.items():
                archive.add_bytes(tar, f"{archive.ANCHORS}/{organization}.jsonl", lines, manifest.made_at)
            for organization, names in manifest.files.items():
                for name in names:
                    try:
                        found = await storage.get(organization, name)
                    except (NotFound, Unavailable) as error:
                        broken.append(f"{name} of {organization}: {error}")
                        continue
                    archive.add_bytes(tar, f"{archive.FILES}/{organization}/{name}", found, manifest.made_at)
        file.flush()
        os.fsync(file.fileno())
    if broken:
        raise Unavailable(
            _("%(count)s stored files are missing or damaged, so there is no backup: %(named)s. Bring them back from an older one",
              count=len(broken), named="; ".join(broken[: archive.MOST_NAMED]))
        )  # fmt: skip


def _anchors(folder: Path) -> dict[UUID, bytes]:
    found: dict[UUID, bytes] = {}
    for path in sorted(folder.glob("*.jsonl")):
        with suppress(ValueError):
            # The worker may be writing the last line just now.
            whole, newline, _rest = path.read_bytes().rpartition(b"\n")
            found[UUID(path.stem)] = whole + newline
    return found


def _kept(content: bytes) -> archive.Kept:
    return archive.sha256_of(io.BytesIO(content))


def _name(written: Path, path: Path) -> None:
    """Give the finished file its name, unless somebody else took it meanwhile, and sync the folder."""
    try:
        os.link(written, path)
    except FileExistsError:
        raise Conflict(_("%(path)s is there already; a backup never replaces a file", path=path)) from None
    except OSError:
        # A file system without hard links.
        if path.exists():
            raise Conflict(_("%(path)s is there already; a backup never replaces a file", path=path)) from None
        os.rename(written, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remember(data: Path, made_at: datetime, path: Path) -> None:
    with suppress(OSError):
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = data / f"{LAST}.new"
        fresh.write_bytes(msgspec.json.encode(LastBackup(made_at, str(path))))
        fresh.replace(data / LAST)


def last(data: Path) -> LastBackup | None:
    """The last backup that was made of this data folder, None when there is no record."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((data / LAST).read_bytes(), type=LastBackup)
    return None


def age(found: LastBackup) -> timedelta:
    """How old a backup is."""
    return clock.now() - found.made_at
