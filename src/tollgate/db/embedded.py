"""A PostgreSQL of our own beside the data: found, initialised, started, attached to and stopped without any set-up.

Who may reach it: only a unix socket exists, in a folder of mode 0700, and every role is let in through it (`trust`).
Whoever can open that folder is the user that owns the data files (or root) and could read those anyway, so a
password would protect nothing and could be lost. The two roles still matter: row-level security binds `tollgate_app`.

Who stops it: the process that holds an flock on `postgres.lock` in the data folder. Everyone else attaches. A server
whose owner was killed is adopted by the next one to ask.

Layout: `<data>/postgres/` holds `cluster` (PostgreSQL's own folder; its `PG_VERSION` is the recorded major), `run`
(the socket) and `log`.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import asyncpg

from tollgate.db.postgres import Account, Binaries, account_for, find_binaries, shared_folder, usable_by
from tollgate.errors import Unavailable, _

PORT = 5432
"""Only a part of the socket's name: nothing listens on a network."""
SOCKET_PATH_BYTES = 100
"""The kernel takes 108 bytes for a socket's path (104 on macOS)."""
OWNER_ROLE = "tollgate_owner"
APP_ROLE = "tollgate_app"
SUPERUSER = "postgres"
DATABASE = "tollgate"

T = TypeVar("T")


@dataclass(eq=False)
class EmbeddedServer:
    """A running PostgreSQL on a unix socket, ours to stop unless `attached`. Use it as a context manager or call `stop`."""

    data: Path
    socket_folder: Path
    attached: bool
    _lock: int | None = field(default=None, repr=False)
    _launch: _Launch | None = field(default=None, repr=False)
    _pid_of_owner: int = field(default_factory=os.getpid, repr=False)

    @classmethod
    def start(cls, data: Path, *, durable: bool = True, timeout_seconds: float = 60.0) -> EmbeddedServer:
        """The same as `ensure_running`."""
        return ensure_running(data, durable=durable, timeout_seconds=timeout_seconds)

    def url(self, role: str = APP_ROLE, database: str = DATABASE) -> str:
        """An address for SQLAlchemy's asyncpg dialect. It holds no secret."""
        return f"postgresql+asyncpg://{quote(role)}@/{quote(database)}?host={quote(str(self.socket_folder), safe='/')}&port={PORT}"

    def revive(self) -> bool:
        """Start the server again if it has died, or if the process that owned it ended it. True when it had.

        Who attached becomes the owner then: a server lives as long as anybody needs it.
        """
        if self._launch is not None:
            if self._launch.is_alive():
                return False
            self._launch.start(_Deadline(60.0))
            return True
        if not self.attached or _blocking(partial(_accepts, self.socket_folder, DATABASE, APP_ROLE)):
            return False
        taken = ensure_running(self.data)
        self.socket_folder, self.attached, self._lock, self._launch = taken.socket_folder, taken.attached, taken._lock, taken._launch
        if taken._lock is not None:
            atexit.unregister(taken.stop)
            atexit.register(self.stop)
        return True

    def stop(self) -> None:
        """End the server if we own it: sessions are cut off, commits are kept. Safe to call twice."""
        if self._lock is None or self._pid_of_owner != os.getpid():
            return
        atexit.unregister(self.stop)
        if self._launch is not None:
            self._launch.stop()
        os.close(self._lock)
        self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def ensure_running(data: Path, *, durable: bool = True, timeout_seconds: float = 60.0) -> EmbeddedServer:
    """Start PostgreSQL on `data`, or attach to the one that runs there; roles and database exist afterwards.

    Blocks for 0.5 to 1 s the first time, about 0.1 s later: from async code call it in a thread. `durable=False` gives
    up crash safety of the machine (not of the process) for speed, for tests. Raises `Unavailable` saying what to do.
    """
    if sys.platform == "win32":
        raise Unavailable(_("The embedded PostgreSQL does not run on Windows; set DATABASE_URL to a server of your own"))
    data = data.expanduser().absolute()
    deadline = _Deadline(timeout_seconds)
    while True:
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _try_lock(data)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unavailable(
                _("The data folder %(data)s cannot be used (%(reason)s); name another one", data=data, reason=reason)
            ) from error
        if lock is not None:
            try:
                return _own(data, lock, durable, deadline)
            except BaseException:
                os.close(lock)
                raise
        folder = _known_socket_folder(_home(data))
        if folder is not None and _blocking(partial(_accepts, folder, DATABASE, APP_ROLE)):
            return EmbeddedServer(data, folder, attached=True)
        deadline.wait(_("Another process owns the embedded PostgreSQL in %(data)s, and it does not get ready", data=data))


@contextmanager
def throwaway(*, durable: bool = False) -> Iterator[EmbeddedServer]:
    """A server on an empty temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tollgate-", ignore_cleanup_errors=True) as folder:
        with ensure_running(Path(folder), durable=durable) as server:
            yield server
        if Path(folder, "postgres").is_symlink():
            shutil.rmtree(_home(Path(folder)))


def run_sql(server: EmbeddedServer, sql: str, database: str = DATABASE, role: str = SUPERUSER) -> None:
    """Run one or several statements. Raises asyncpg's errors as they are."""
    _blocking(lambda: _with_connection(server.socket_folder, database, role, lambda connection: connection.execute(sql)))


def fetch_sql(
    server: EmbeddedServer, sql: str, *arguments: object, database: str = DATABASE, role: str = SUPERUSER
) -> list[tuple[Any, ...]]:
    """The rows of one query, as plain tuples."""
    rows = _blocking(lambda: _with_connection(server.socket_folder, database, role, lambda connection: connection.fetch(sql, *arguments)))
    return [tuple(row) for row in rows]


# --- The folder


def recorded_major(data: Path) -> int | None:
    """The PostgreSQL major that wrote the cluster in `data`, or None when there is none yet."""
    with suppress(OSError, ValueError):
        return int((_home(data) / "cluster" / "PG_VERSION").read_text().strip())
    return None


def _home(data: Path) -> Path:
    """The folder of cluster, socket and log: `<data>/postgres`, or what that link points to."""
    return (data / "postgres").resolve()


def _prepare_home(data: Path, account: Account) -> Path:
    link = data / "postgres"
    if link.is_symlink() and not link.exists():
        raise Unavailable(
            _("%(link)s points to %(target)s, which is gone; restore it, or remove the link to start empty", link=link, target=_home(data))
        )
    if not link.exists():
        link.mkdir(mode=0o700)
    if account.gid is not None and data.stat().st_uid == 0:
        os.chown(data, -1, account.gid)
        data.chmod(data.stat().st_mode & 0o777 | 0o010)
    if not link.is_symlink() and not account.can("-x", data):
        _move_to_shared_folder(link)
    home = _home(data)
    if account.uid is not None and home.stat().st_uid != account.uid:
        for folder, folders, files in os.walk(home):
            for name in (".", *folders, *files):
                account.give(Path(folder, name))
    return home


def _move_to_shared_folder(link: Path) -> None:
    """Below a parent that is closed to the account, such as /root: the cluster lives where its user can go, and a link remembers where."""
    aside = link.with_name("postgres.moved")
    target = shared_folder() / os.urandom(8).hex()
    shutil.copytree(link, target, symlinks=True)
    link.rename(aside)
    link.symlink_to(target)
    shutil.rmtree(aside)


# --- One server's process


@dataclass
class _Launch:
    """How one cluster is made, started and stopped. Only the holder of the lock uses it."""

    home: Path
    binaries: Binaries
    account: Account
    socket_folder: Path
    durable: bool
    process: subprocess.Popen[Any] | None = None

    @cached_property
    def cluster(self) -> Path:
        return self.home / "cluster"

    def make_cluster(self) -> None:
        if self.cluster.exists():
            return
        fresh = self.home / "cluster.new"
        for locale in _locales(self.binaries.major):
            shutil.rmtree(fresh, ignore_errors=True)
            command: list[str | Path] = [self.binaries.folder / "initdb", "-D", fresh, "-U", SUPERUSER]
            command += ["--encoding=UTF8", "--auth=trust", *locale]
            answer = self.account.run(command if self.durable else [*command, "--no-sync"])
            if answer.returncode == 0:
                (fresh / "pg_hba.conf").write_text(
                    "# Unix socket only; the folder it lies in admits its owner alone.\nlocal all all trust\n"
                )
                fresh.rename(self.cluster)  # a killed initdb leaves `cluster.new` behind, never half a cluster
                return
        raise Unavailable(_("PostgreSQL's initdb failed: %(output)s", output=(answer.stderr or answer.stdout).strip()))

    def start(self, deadline: _Deadline) -> None:
        """Start or adopt the server and wait until it answers."""
        log = self.home / "log"
        if not self.is_alive() and log.exists() and log.stat().st_size > 10_000_000:
            log.replace(log.with_suffix(".old"))
        began_at: int | None = None
        while not self.answers():
            if not self.is_alive():
                if began_at is not None and not _passes_by_itself(reason := _lines_after(log, began_at)):
                    raise Unavailable(_("The embedded PostgreSQL did not start; its log ends: %(log)s", log=reason))
                self._clear_stale_files()
                began_at = log.stat().st_size if log.exists() else 0
                self._spawn(log)
            deadline.wait(_("The embedded PostgreSQL does not get ready; see %(log)s", log=log))

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fspath(self.socket_folder / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return _blocking(partial(_accepts, self.socket_folder, "postgres", SUPERUSER))

    def pid(self) -> int | None:
        with suppress(OSError, ValueError, IndexError):
            return int((self.cluster / "postmaster.pid").read_text().splitlines()[0])
        return None

    def is_alive(self) -> bool:
        if self.process is not None and self.process.poll() is None:
            return True
        pid = self.pid()
        return pid is not None and _runs_on(pid, self.cluster)

    def stop(self) -> None:
        pid = self.process.pid if self.process is not None and self.process.poll() is None else self.pid()
        # Fast, then immediate (recovery at the next start), then what nothing can refuse.
        for number, patience_seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            if pid is None or not self.is_alive():
                return
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            until = time.monotonic() + patience_seconds
            while self.is_alive() and time.monotonic() < until:
                time.sleep(0.01)

    def _spawn(self, log: Path) -> None:
        with log.open("ab") as output:
            self.account.give(log)
            command: list[str | Path] = [*self.account.prefix, self.binaries.folder / "postgres", "-D", self.cluster, *self._settings()]
            # Its own session: Ctrl-C in the terminal is for us, who then stop it in order.
            self.process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **self.account.options())

    def _settings(self) -> Iterator[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        if not self.durable:
            # Commits still reach the kernel before they are acknowledged (no synchronous_commit=off): tests kill processes.
            settings |= {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}
        for name, value in settings.items():
            yield "-c"
            yield f"{name}={value}"

    def _clear_stale_files(self) -> None:
        """Forget a killed server whose pid now belongs to another process: PostgreSQL itself only sees that it is taken.

        A free pid is left to PostgreSQL, which then also looks for orphaned backends.
        """
        lock = self.socket_folder / f".s.PGSQL.{PORT}.lock"
        for path in (self.cluster / "postmaster.pid", lock):
            with suppress(OSError, ValueError, IndexError):
                if _exists(int(path.read_text().splitlines()[0])):
                    path.unlink()


def _own(data: Path, lock: int, durable: bool, deadline: _Deadline) -> EmbeddedServer:
    """Start or adopt the server, as the holder of the lock, and make what is missing in it."""
    account = account_for(home if (home := _home(data)).exists() else data)
    binaries = find_binaries(recorded_major(data))
    home = _prepare_home(data, account)
    launch = _Launch(home, usable_by(account, binaries), account, _socket_folder(home, account), durable)
    try:
        launch.make_cluster()
        launch.start(deadline)
        _blocking(lambda: _make_roles_and_database(launch.socket_folder))
    except BaseException:
        launch.stop()
        raise
    server = EmbeddedServer(data, launch.socket_folder, attached=False, _lock=lock, _launch=launch)
    atexit.register(server.stop)
    return server


@dataclass
class _Deadline:
    """A limit on waiting, asked in small steps."""

    seconds: float
    _began: float = field(default_factory=time.monotonic)

    def wait(self, complaint: Any) -> None:
        if time.monotonic() - self._began > self.seconds:
            raise Unavailable(complaint)
        time.sleep(0.02)


def _try_lock(data: Path) -> int | None:
    path = data / "postgres.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0 and (owner := data.stat()).st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _known_socket_folder(home: Path) -> Path | None:
    folder = home / "run"
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) < SOCKET_PATH_BYTES:
        return folder if folder.is_dir() else None
    with suppress(OSError):
        return Path((home / "socket_folder").read_text().strip())
    return None


def _socket_folder(home: Path, account: Account) -> Path:
    """A folder of mode 0700 whose socket has a path of less than 100 bytes: `run`, else a short one that is recorded."""
    folder = home / "run"
    if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) >= SOCKET_PATH_BYTES:
        known = _known_socket_folder(home)
        if known is not None and _is_private(known, home):
            return known
        place = tempfile.gettempdir()
        folder = Path(tempfile.mkdtemp(prefix="tollgate-", dir=place if len(os.fsencode(place)) < 60 else "/tmp"))
        (home / "socket_folder").write_text(f"{folder}\n")
        account.give(home / "socket_folder")
        account.give(folder)
    elif not folder.exists():
        folder.mkdir(mode=0o700)
        account.give(folder)
    return folder


def _is_private(folder: Path, home: Path) -> bool:
    """Whether a recorded folder is still ours: whoever could make it anew in a shared place could answer in our name."""
    with suppress(OSError):
        facts = folder.lstat()
        return folder.is_dir() and not folder.is_symlink() and facts.st_uid == home.stat().st_uid and facts.st_mode & 0o077 == 0
    return False


def _locales(major: int) -> list[list[str]]:
    """Arguments for initdb, best first: everything sorts by code point, the same on every machine."""
    if major >= 17:
        return [["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]]
    return [["--locale=C.UTF-8"], ["--locale=C"]]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _runs_on(pid: int, cluster: Path) -> bool:
    """Whether this process is the server of this cluster, and not a zombie or a stranger that got the number."""
    try:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
        command = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return "postgres" in command and str(cluster) in command


def _passes_by_itself(log: str) -> bool:
    """Backends of a killed server need a moment to notice; until then a new one refuses the memory they hold."""
    return "pre-existing shared memory block" in log or "is still in use" in log


def _lines_after(log: Path, position: int) -> str:
    """The last lines that were written to the log after this many bytes."""
    with suppress(OSError):
        return "\n".join(log.read_bytes()[position:].decode(errors="replace").splitlines()[-8:])
    return ""


# --- Talking to it


def _blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a thread of its own: the caller may be inside an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


async def _with_connection(folder: Path, database: str, role: str, use: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    connection = await asyncpg.connect(host=str(folder), port=PORT, user=role, database=database, timeout=10)
    try:
        return await use(connection)
    finally:
        await connection.close()


async def _accepts(folder: Path, database: str, role: str) -> bool:
    try:
        return await _with_connection(folder, database, role, lambda connection: connection.fetchval("SELECT true"))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


async def _make_roles_and_database(folder: Path) -> None:
    async def make(connection: Any) -> None:
        for role in (OWNER_ROLE, APP_ROLE):
            if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS")
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            # template0 carries the locale that initdb was told, whatever anybody did to template1.
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE} TEMPLATE template0 ENCODING 'UTF8'")
        await connection.execute(
            f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {APP_ROLE}"
        )

    await _with_connection(folder, "postgres", SUPERUSER, make)
