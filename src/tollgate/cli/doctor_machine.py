"""What `doctor` asks of the environment and of this machine; nothing here needs the database."""

from __future__ import annotations

import ipaddress
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tollgate import clock
from tollgate.cli import backup
from tollgate.cli.doctor_findings import Line, fine, found
from tollgate.cli.serving import ALIVE, ROUND_IS_LATE
from tollgate.db.embedded import recorded_major
from tollgate.db.postgres import find_binaries
from tollgate.documents.theme import load_theme
from tollgate.errors import Invalid, Unavailable
from tollgate.settings import Settings
from tollgate.web.rendering import PACKAGE

LEAST_FREE_BYTES = 500 * 1024 * 1024
LEAST_SECRET_CHARACTERS = 32
LEAST_DISTINCT_CHARACTERS = 10
GUESSED = ("changeme", "change-me", "change_me", "secret-key", "secret_key", "password", "example", "0123456789")
"""Words of secrets that were copied from somewhere."""
BACKUP_IS_OLD_DAYS = 7
PARTS = ("web/templates/base.html", "mail/templates", "web/static", "screens/templates/home.html", "signoff/templates/mail")
"""Package data whose absence tells of a broken installation."""


def read_settings(environment: Mapping[str, str], data: Path | None) -> tuple[Settings, list[Line], frozenset[str]]:
    """Settings in spite of variables that cannot be used: those are findings, and are left out. Answers their names, too."""
    env, lines, refused = dict(environment), list[Line](), set[str]()
    while True:
        try:
            return Settings.from_environment(env, data=data), lines, frozenset(refused)
        except Invalid as error:
            says = str(error.detail)
            name = min((name for name in env if name in says), key=says.index, default=None)
            if name is None:
                raise
            is_live = name == "STRIPE_SECRET_KEY"
            lines.append(found("stripe-live", "STRIPE_SECRET_KEY is a live key") if is_live else found("setting", says))
            refused.add(name)
            del env[name]


def secret(settings: Settings) -> Iterator[Line]:
    """Long, not guessable, and nobody else's to read."""
    file = settings.data / "secret-key"
    key = settings.secret_key or _read(file)
    lines = []
    if not settings.secret_key and file.is_file() and file.stat().st_mode & 0o077:
        lines.append(found("secret-open", f"{file} can be read by others"))
    if not key:
        lines += [found("secret-generated", "SECRET_KEY is not set, one is made in the data folder")] if settings.database_url else []
    elif len(key) < LEAST_SECRET_CHARACTERS:
        lines.append(found("secret-short", f"{len(key)} characters instead of {LEAST_SECRET_CHARACTERS}"))
    elif len(set(key)) < LEAST_DISTINCT_CHARACTERS or any(word in key.lower() for word in GUESSED):
        lines.append(found("secret-weak", "it can be guessed"))
    elif not settings.secret_key and settings.database_url:
        lines.append(found("secret-generated", f"SECRET_KEY is not set, {file} is used"))
    yield from lines or [fine("secret key", "long enough" if key else "made at the first start")]


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def base_url(settings: Settings) -> Iterator[Line]:
    """https, or this machine; no path. Whether anybody answers there is asked elsewhere."""
    parts = urlsplit(settings.base_url)
    host = parts.hostname or ""
    is_local = host in {"localhost", "::1"} or host.startswith("127.")
    if parts.path or parts.query or parts.fragment:
        yield found("base-url-path", settings.base_url)
    if is_local:
        yield found("base-url-local", settings.base_url)
    elif not settings.is_https:
        yield found("base-url-plain", f"{settings.base_url} is not https, so links and sessions would cross the network in clear")
    elif not parts.path:
        yield fine("base url", settings.base_url)


def proxies(settings: Settings) -> Iterator[Line]:
    """Addresses, and not everybody's."""
    lines = []
    for given in (part.strip() for part in settings.trusted_proxies.split(",")):
        if given == "*":
            lines.append(found("proxies-all", "TRUSTED_PROXIES is *"))
            continue
        try:
            network = ipaddress.ip_network(given, strict=False)
        except ValueError:
            lines.append(found("proxies-form", f"{given!r} is no address"))
            continue
        if network.prefixlen == 0:
            lines.append(found("proxies-all", f"TRUSTED_PROXIES holds {given}"))
    yield from lines or [fine("proxies", settings.trusted_proxies)]


def data_folder(settings: Settings) -> Iterator[Line]:
    """Ours, writable, closed to others, with room."""
    data = settings.data
    if settings.database_url is None and not data.exists():
        # A misspelt name must not become a folder; that no database is there is found elsewhere.
        return
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        yield found("data-unusable", f"{data}: {error.strerror or error}")
        return
    facts, lines = data.stat(), []
    if facts.st_uid != os.geteuid():
        lines.append(found("data-foreign", f"{data} belongs to user {facts.st_uid}, and this is user {os.geteuid()}"))
    if facts.st_mode & 0o022:
        lines.append(found("data-writable", f"{data} has mode {facts.st_mode & 0o777:o}"))
    elif facts.st_mode & 0o004:
        lines.append(found("data-readable", f"{data} has mode {facts.st_mode & 0o777:o}"))
    yield from lines or [fine("data folder", str(data))]
    free = shutil.disk_usage(data).free
    says = f"{free // 2**20:,} MiB free in {data}"
    yield fine("disk", says) if free >= LEAST_FREE_BYTES else found("disk-low", says)


def package(_settings: Settings) -> Iterator[Line]:
    """Templates, designs and the time zone database."""
    missing = [part for part in PARTS if not (PACKAGE / part).exists()]
    yield found("package", ", ".join(missing)) if missing else fine("package", "templates and static files are there")
    try:
        ZoneInfo("Europe/Vienna").key  # noqa: B018 - asking is the question
        yield fine("time zones", "known")
    except ZoneInfoNotFoundError:
        yield found("time-zones", "Europe/Vienna is not known here")
    try:
        load_theme("classic")
    except Exception as error:  # A broken theme of any kind must not hide the other answers.
        yield found("design", str(error))
    else:
        yield fine("invoice design", "classic")


def programs(settings: Settings) -> Iterator[Line]:
    """The embedded PostgreSQL's programs; nothing to say where DATABASE_URL is set."""
    major = recorded_major(settings.data)
    try:
        find_binaries(major)
    except Unavailable as error:
        try:
            other = find_binaries()
        except Unavailable:
            yield found("embedded-none", str(error).partition(".")[0])
        else:
            yield found("embedded-major", f"the data folder was written by PostgreSQL {major}, and {other.version} is here")


def worker(settings: Settings) -> Iterator[Line]:
    """A worker touches its file every ten seconds while it makes rounds."""
    try:
        ago = clock.now().timestamp() - (settings.data / ALIVE).stat().st_mtime
    except OSError:
        yield found("worker-never", "no worker ever ran on this data folder")
        return
    late = ago > ROUND_IS_LATE.total_seconds()
    yield found("worker-away", f"its last round was {int(ago)} s ago") if late else fine("worker", "makes its rounds")


def last_backup(settings: Settings) -> Iterator[Line]:
    """When the last backup was made, as far as `tollgate backup` made it."""
    last = backup.last(settings.data)
    if last is None:
        yield found("backup-none", "")
        return
    days = backup.age(last).days
    says = f"{last.file}, {days} days old"
    yield found("backup-old", says) if days >= BACKUP_IS_OLD_DAYS else fine("backup", says)


QUESTIONS = (secret, base_url, proxies, data_folder, package, last_backup)
