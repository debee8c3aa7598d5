"""`tollgate check` looks at the files themselves: one that is gone or cut is named, and the exit code says so."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.shop import Shop, make_shop, services_on
from tollgate.cli import checking
from tollgate.cli.main import build_parser
from tollgate.db.database import Database
from tollgate.errors import NotFound
from tollgate.files import service as files
from tollgate.files.storage import LocalStorage
from tollgate.settings import Settings

CONTENTS = (b"a signed contract", b"an invoice", b"", b"a logo", b"a certificate")


@pytest.fixture
async def shop(settings: Settings, db: Database) -> Shop:
    return await make_shop(services_on(settings, db))


async def kept(shop: Shop) -> list[str]:
    """The names of some stored files, in order."""
    names = []
    for content in CONTENTS:
        name = await shop.services.storage.put(shop.org.id, content)
        async with shop.db.transaction(shop.org.id, shop.org.command("admin")) as session:
            await files.keep(session, shop.org.id, name, len(content), "application/octet-stream")
        names.append(name)
    return sorted(names)


def place(shop: Shop, name: str) -> Path:
    return shop.services.settings.files_folder / str(shop.org.id) / name[:2] / name


def cut(path: Path) -> None:
    path.write_bytes(b"?" * 1000)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


async def test_whole_files_pass(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    names = await kept(shop)
    assert await checking.check(shop.services)
    [line] = [line for line in capsys.readouterr().out.splitlines() if " files " in line]
    assert line.split() == ["ok", "files", str(len(names)), *"every stored file is there, with its size".split()]


@pytest.mark.parametrize(
    ("damage", "says"),
    [(Path.unlink, "not there"), (folder_instead, "not there"), (cut, "1000 bytes instead of")],
    ids=["gone", "folder", "cut"],
)
async def test_a_broken_file_is_named(shop: Shop, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], says: str) -> None:
    names = await kept(shop)
    damage(place(shop, names[1]))
    assert not await checking.check(shop.services)
    printed = capsys.readouterr().out
    assert f"WRONG  files              {len(names):>9}  " in printed
    assert f"         {names[1]} of {shop.org.id}: {says}" in printed
    assert not any(name in printed for name in names if name != names[1])


async def test_every_file_is_looked_at_however_many_a_batch_holds(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    names = await kept(shop)
    for name in (names[0], names[-1]):
        place(shop, name).unlink()
    for batch in (1, 2, len(names), len(names) + 1):
        monkeypatch.setattr(files, "BATCH", batch)
        looked_at, broken = await files.compare(shop.db, shop.services.storage, shop.org.id)
        assert looked_at == len(names)
        assert [line.split()[0] for line in broken] == [names[0], names[-1]]


async def test_the_size_of_what_is_kept(storage: LocalStorage, shop: Shop) -> None:
    name = await storage.put(shop.org.id, b"four")
    assert await storage.size(shop.org.id, name) == 4
    assert await storage.size(shop.client_id, name) is None, "organizations are apart"


async def test_the_command_ends_with_1_when_a_file_is_gone(shop: Shop, settings: Settings) -> None:
    names = await kept(shop)
    assert await command(settings) == (0, "")
    place(shop, names[2]).unlink()
    code, wrong = await command(settings)
    assert code == 1
    assert wrong.split()[:2] == ["WRONG", "files"]


@pytest.mark.parametrize("arguments", [["check"], ["outbox"], ["outbox", "--release"], ["export", "payments"]], ids=" ".join)
def test_a_misspelt_folder_is_refused_and_nothing_is_made(tmp_path: Path, arguments: list[str]) -> None:
    """An empty installation would answer that all is well."""
    wrong = tmp_path / "typo"
    for folder in (wrong, tmp_path):
        options = build_parser().parse_args([*arguments, "--data", str(folder)])
        with pytest.raises(NotFound, match=f"There is no Tollgate in {folder}:"):
            options.does(options, Settings(data=folder))
        assert list(tmp_path.iterdir()) == []


async def command(settings: Settings) -> tuple[int | None, str]:
    """The exit code of `tollgate check` as its own process, and what it says is wrong."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tollgate.cli", "check", "--data", str(settings.data),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": str(settings.database_url), "SECRET_KEY": settings.secret_key},
    )  # fmt: skip
    printed, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert complaints == b""
    return process.returncode, "\n".join(line for line in printed.decode().splitlines() if line.startswith("WRONG"))
