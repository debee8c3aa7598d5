"""pg_dump and pg_restore of the right major, and how they are told where the database is.

A dump of a newer pg_dump can hold settings that an older server does not know, and an older one refuses a newer server: so
the programs are always those of the server they talk to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from tollgate.db import postgres
from tollgate.errors import Unavailable, _

PROGRAMS = ("pg_dump", "pg_restore")
DRIVER_ONLY = frozenset({"prepared_statement_cache_size", "prepared_statement_name_func"})
"""Words of SQLAlchemy's dialect in an address, which libpq does not know."""


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with pg_dump and pg_restore of one major."""

    folder: Path
    major: int

    def dump(self, url: str, out: Path, snapshot: str) -> None:
        """Write a custom-format dump of what an exported snapshot sees. Raises `Unavailable` with pg_dump's own words."""
        # Row-level security binds the owner as well; its own policy shows it every row.
        self._run("pg_dump", url, "--format=custom", "--enable-row-security", f"--snapshot={snapshot}", f"--file={out}")

    def restore(self, url: str, dump: Path) -> None:
        """Restore into an empty database, all of it or nothing. Raises `Unavailable` with pg_restore's own words."""
        database = make_url(url).database or ""
        self._run("pg_restore", url, "--single-transaction", "--exit-on-error", "--no-owner", f"--dbname={database}", str(dump))

    def _run(self, program: str, url: str, *arguments: str) -> None:
        answer = subprocess.run(
            [self.folder / program, *arguments],
            env=_environment(url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise Unavailable(_("%(program)s failed: %(reason)s", program=program, reason=answer.stderr.strip()[-2000:]))


def programs_for(server_major: int, environment: Mapping[str, str] | None = None) -> Programs:
    """The programs of a server's major: from TOLLGATE_PG_BIN if set, else PATH, the embedded wheel, the system. Raises `Unavailable`."""
    env = os.environ if environment is None else environment
    seen = []
    for folder in dict.fromkeys(_folders(env)):
        found = _major_in(folder)
        if found == server_major:
            return Programs(folder, found)
        if found is not None:
            seen.append(f"{found} ({folder})")
    raise Unavailable(
        _(
            "The database is PostgreSQL %(major)s, and its own pg_dump and pg_restore are needed. Found: %(found)s. "
            "Install the client programs of PostgreSQL %(major)s, or set TOLLGATE_PG_BIN to their folder",
            major=server_major,
            found=", ".join(seen) or "-",
        )
    )


def _folders(env: Mapping[str, str]) -> Iterator[Path]:
    if ordered := env.get("TOLLGATE_PG_BIN"):
        yield Path(ordered).expanduser()
        return
    if on_path := shutil.which("pg_dump", path=env.get("PATH", "")):
        yield Path(on_path).parent
    yield from postgres.program_folders(env)


def _major_in(folder: Path) -> int | None:
    if not all((folder / program).is_file() for program in PROGRAMS):
        return None
    with suppress(OSError):
        answer = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"\d+", answer):
            return int(version.group())
    return None


def _environment(url: str) -> dict[str, str]:
    """The address in libpq's variables: a password in an argument could be read by everybody on the machine."""
    parts = make_url(url)
    query = {name: _text(value) for name, value in parts.query.items() if name not in DRIVER_ONLY}
    told = {
        "PGHOST": query.get("host") or parts.host,
        "PGPORT": query.get("port") or (str(parts.port) if parts.port else None),
        "PGUSER": query.get("user") or parts.username,
        "PGPASSWORD": query.get("password") or parts.password,
        "PGDATABASE": query.get("database") or parts.database,
        # asyncpg's word, and libpq's own.
        "PGSSLMODE": query.get("ssl") or query.get("sslmode"),
    }
    return {**os.environ, "LC_ALL": "C", **{name: value for name, value in told.items() if value}}


def _text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else value[0]
