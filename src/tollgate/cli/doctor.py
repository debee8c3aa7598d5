"""`tollgate doctor`: is this installation set up so that it can be trusted? One line per question, with the way out."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tollgate import clock, models
from tollgate.db import migrating
from tollgate.db.base import tenant_tables
from tollgate.documents.theme import load_theme
from tollgate.errors import Invalid
from tollgate.mail.transport import SmtpTransport
from tollgate.settings import Settings

Verdict = Literal["ok", "note", "wrong"]
LEAST_FREE_BYTES = 500 * 1024 * 1024
MOST_CLOCK_DIFFERENCE = timedelta(seconds=5)

assert models.metadata is not None


@dataclass(frozen=True, slots=True)
class Line:
    """One answer: `wrong` ones make the command exit with 1."""

    subject: str
    verdict: Verdict
    says: str


async def examine(settings: Settings, *, embedded_in: Path | None) -> AsyncIterator[Line]:
    """Ask every question, also after a wrong answer."""
    yield _secret(settings)
    yield _base_url(settings)
    yield _disk(settings)
    yield _mail(settings)
    yield _stripe(settings)
    yield _theme()
    yield Line("database", "ok", f"embedded PostgreSQL, socket in {embedded_in}" if embedded_in else "DATABASE_URL")
    assert settings.database_url is not None
    engine = create_async_engine(settings.database_url)
    try:
        async with engine.connect() as connection:
            for question in (_revision, _role, _row_security, _database_clock, _dead_jobs):
                yield await question(connection)
    except Exception as error:  # Whatever is wrong with the connection is this command's answer, not its failure.
        yield Line("database", "wrong", f"no answer: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    finally:
        await engine.dispose()


def _secret(settings: Settings) -> Line:
    if len(settings.secret_key) < 32:
        return Line("secret key", "wrong", "SECRET_KEY has fewer than 32 characters")
    return Line("secret key", "ok", "long enough")


def _base_url(settings: Settings) -> Line:
    host = urlsplit(settings.base_url).hostname or ""
    if settings.is_https:
        return Line("base url", "ok", settings.base_url)
    if host in {"localhost", "::1"} or host.startswith("127."):
        return Line("base url", "note", f"{settings.base_url}: only people on this machine can open an approval link")
    return Line("base url", "wrong", f"{settings.base_url} is not https: approval links and sessions would cross the network in clear")


def _disk(settings: Settings) -> Line:
    settings.data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data).free
    verdict: Verdict = "ok" if free >= LEAST_FREE_BYTES else "wrong"
    return Line("disk", verdict, f"{free // 2**20:,} MiB free in {settings.data}")


def _mail(settings: Settings) -> Line:
    if settings.smtp_url is None:
        return Line("mail", "wrong", "SMTP_URL is not set: approval requests and invoices wait")
    try:
        server = SmtpTransport(settings.smtp_url)
    except (Invalid, ValueError) as error:
        return Line("mail", "wrong", f"SMTP_URL cannot be used: {error}")
    try:
        with socket.create_connection((server.host, server.port), timeout=5):
            return Line("mail", "ok", f"{server.host}:{server.port} answers")
    except OSError as error:
        return Line("mail", "wrong", f"{server.host}:{server.port} does not answer: {error}")


def _stripe(settings: Settings) -> Line:
    key = settings.stripe_secret_key
    if key is None:
        return Line(
            "stripe", "note", "no STRIPE_SECRET_KEY: invoices show bank details only, unless an organization connects its own account"
        )
    kind = "live" if "_live_" in key else "test"
    if settings.stripe_webhook_secret is None:
        return Line("stripe", "wrong", f"{kind} mode, but STRIPE_WEBHOOK_SECRET is not set: payments are noticed only by the poll")
    where = f", at {settings.stripe_api_base} (not Stripe itself)" if settings.stripe_api_base else ""
    return Line("stripe", "note" if where else "ok", f"{kind} mode{where}")


def _theme() -> Line:
    try:
        load_theme("classic")
    except Exception as error:  # A broken theme of any kind must not hide the other answers.
        return Line("invoice design", "wrong", str(error))
    return Line("invoice design", "ok", "classic")


async def _revision(connection: AsyncConnection) -> Line:
    found = (await connection.execute(text("select version_num from alembic_version"))).scalar_one_or_none()
    needed = migrating.newest_revision()
    if found != needed:
        return Line("schema", "wrong", f"at {found}, this release needs {needed}: run `tollgate migrate`")
    return Line("schema", "ok", str(found))


async def _role(connection: AsyncConnection) -> Line:
    row = (await connection.execute(text("select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user"))).one()
    owner = (
        await connection.execute(text("select pg_get_userbyid(relowner) from pg_class where relname = 'invoice'"))
    ).scalar_one_or_none()
    if row.rolsuper or row.rolbypassrls:
        return Line("database role", "wrong", f"{row.rolname} bypasses row-level security: use tollgate_app in DATABASE_URL")
    if owner == row.rolname:
        return Line("database role", "wrong", f"{row.rolname} owns the tables: serve as tollgate_app, migrate as tollgate_owner")
    return Line("database role", "ok", f"{row.rolname}, tables owned by {owner}")


async def _row_security(connection: AsyncConnection) -> Line:
    rows = await connection.execute(text("select relname from pg_class where relrowsecurity and relforcerowsecurity"))
    missing = set(tenant_tables()) - {str(row[0]) for row in rows}
    if missing:
        return Line("row-level security", "wrong", f"not forced on {', '.join(sorted(missing))}")
    return Line("row-level security", "ok", f"forced on all {len(tenant_tables())} tenant tables")


async def _database_clock(connection: AsyncConnection) -> Line:
    there = (await connection.execute(text("select clock_timestamp()"))).scalar_one()
    difference = abs(there - clock.now())
    verdict: Verdict = "ok" if difference <= MOST_CLOCK_DIFFERENCE else "wrong"
    return Line("clock", verdict, f"{difference.total_seconds():.1f} s apart from the database's")


async def _dead_jobs(connection: AsyncConnection) -> Line:
    counts = {str(state): int(count) for state, count in await connection.execute(text("select state, count from job_counts()"))}
    dead = counts.get("dead", 0)
    if dead:
        return Line("jobs", "wrong", f"{dead} dead: an admin sees and requeues them on the home page")
    return Line("jobs", "ok", f"{counts.get('ready', 0)} waiting, none dead")
