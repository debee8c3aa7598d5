"""Every misconfiguration that `tollgate doctor` names is provoked for real, seen under its id, and comes with a way out."""

from __future__ import annotations

import asyncio
import os
import socket
import zoneinfo
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.factories.shop import Shop, make_shop, services_on
from tests.sandbox.conftest import running
from tests.service.test_backup import held, with_files
from tollgate import clock
from tollgate.audit.anchors import Anchor
from tollgate.cli import backup, doctor, doctor_database, doctor_machine, runtime, serving
from tollgate.cli.doctor_findings import FINDINGS, Line
from tollgate.cli.main import build_parser
from tollgate.db import embedded, migrating, postgres
from tollgate.db.database import Database
from tollgate.db.embedded import EmbeddedServer, run_sql
from tollgate.db.types import uuid7
from tollgate.documents import theme
from tollgate.jobs import Job, enqueue
from tollgate.payments.sealing import seal
from tollgate.settings import Settings

GOOD_KEY = "Kz3-fT0pQ_8sWm2LxVbN7rYcHdJ5uEaG1oRi"


class Broken(Job, frozen=True, kw_only=True):
    """Work that nobody does."""

    kind = "test.broken"
    max_attempts = 1


@dataclass
class Ward:
    """An installation that is well, until somebody spoils it."""

    settings: Settings
    shop: Shop
    server: EmbeddedServer
    database: str
    patch: pytest.MonkeyPatch
    smtp_port: int
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def set(self, **changes: object) -> None:
        self.settings = self.settings.with_(**changes)

    async def sql(self, statement: str, role: str = "postgres") -> None:
        await asyncio.to_thread(run_sql, self.server, statement, self.database, role)

    async def enqueue(self, job: Job) -> None:
        async with self.shop.db.transaction(self.shop.org.id) as session:
            await enqueue(session, job)

    async def examine(self, *, all_files: bool = False) -> list[Line]:
        return await asyncio.to_thread(doctor.examine, self.settings, all_files=all_files)


@contextmanager
def mail_server(**options: object) -> Iterator[int]:
    """A mail server on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    controller = Controller(object(), hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    """Somebody who gives every request the same answer over HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


LIVES = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"status":"live"}'
OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


@pytest.fixture(scope="module")
def smtp() -> Iterator[int]:
    with mail_server() as port:
        yield port


@pytest.fixture
async def ward(
    settings: Settings,
    owner_url: str,
    database_name: str,
    cluster: EmbeddedServer,
    db: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    smtp: int,
) -> Ward:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    well = settings.with_(
        data=data,
        database_owner_url=owner_url,
        secret_key=GOOD_KEY,
        smtp_url=f"smtp://127.0.0.1:{smtp}",
        mail_from="Billing <billing@nordlicht.example>",
    )
    shop = await make_shop(services_on(well, db))
    (data / serving.ALIVE).touch()
    backup._remember(data, clock.now(), data / "night.tar")
    return Ward(well, shop, cluster, database_name, monkeypatch, smtp)


Spoil = Callable[[Ward], Awaitable[None]]
SPOILED: dict[str, Spoil] = {}


def spoils(*ids: str) -> Callable[[Spoil], Spoil]:
    """What provokes a finding."""

    def keep(spoil: Spoil) -> Spoil:
        SPOILED.update(dict.fromkeys(ids, spoil))
        return spoil

    return keep


def simply(*ids: str, **changes: object) -> None:
    """Findings that settings provoke: every question is asked, also after a wrong answer."""

    async def spoil(ward: Ward) -> None:
        ward.set(**changes)

    SPOILED.update(dict.fromkeys(ids, spoil))


# --- The environment

simply(
    "secret-short", "base-url-plain", "proxies-all", "mail-away", "mail-from-unset", "stripe-none",
    secret_key="short", base_url="http://192.0.2.1", trusted_proxies="127.0.0.1, 0.0.0.0/0", smtp_url="smtp://127.0.0.1:1",
    mail_from="Tollgate <billing@localhost.localdomain>",
)  # fmt: skip
simply(
    "secret-weak", "base-url-path", "base-url-local", "base-url-away", "proxies-form", "mail-url", "mail-from-form", "stripe-key-form",
    secret_key="changeme-changeme-changeme-changeme", base_url="http://127.0.0.1:1/tollgate", trusted_proxies="127.0.0.1,proxy.example",
    smtp_url="http://127.0.0.1", mail_from="billing", stripe_secret_key="pk_test_public",
)  # fmt: skip
simply("secret-generated", "mail-unset", secret_key="", smtp_url=None)


@spoils("stripe-away", "stripe-elsewhere", "stripe-webhook-unset", "stripe-test")
async def _(ward: Ward) -> None:
    ward.set(stripe_secret_key="sk_test_x", stripe_api_base="http://127.0.0.1:1", stripe_live=True)


@spoils("stripe-webhook-form")
async def _(ward: Ward) -> None:
    ward.set(stripe_secret_key="sk_test_x", stripe_api_base="http://127.0.0.1:1", stripe_webhook_secret="secret")


@spoils("secret-open")
async def _(ward: Ward) -> None:
    ward.set(secret_key="")
    (ward.settings.data / "secret-key").write_text(GOOD_KEY)
    (ward.settings.data / "secret-key").chmod(0o644)


async def connected(ward: Ward, secret_key: str, *, live: bool) -> None:
    """An account that the organization entered itself, sealed under a key."""
    org = ward.shop.org.id
    engine = create_async_engine(str(ward.settings.database_owner_url))
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "insert into gateway_account (organization_id, id, endpoint, account_id, live, secret_key_encrypted, webhook_secret_encrypted, created_at)"
                " values (:org, :id, 'e', 'acct_1', :live, :key, :hook, now())"
            ),
            {
                "org": org,
                "id": uuid7(),
                "live": live,
                "key": seal(secret_key, org, "secret_key", "sk_test_x"),
                "hook": seal(secret_key, org, "webhook_secret", "whsec_x"),
            },
        )
    await engine.dispose()


@spoils("secret-changed")
async def _(ward: Ward) -> None:
    await connected(ward, "the key of before, which was another", live=False)


@spoils("stripe-account-live")
async def _(ward: Ward) -> None:
    await connected(ward, GOOD_KEY, live=True)


@spoils("setting", "stripe-live")
async def _(ward: Ward) -> None:
    """Seen before there are settings: see `test_variables_that_cannot_be_read_are_findings`."""


# --- This machine


@spoils("data-unusable")
async def _(ward: Ward) -> None:
    # Below a file there is no folder, not even for root.
    (ward.settings.data / "file").touch()
    ward.set(data=ward.settings.data / "file" / "below")


@spoils("data-foreign")
async def _(ward: Ward) -> None:
    ward.patch.setattr(os, "geteuid", lambda: ward.settings.data.stat().st_uid + 1)


@spoils("data-writable", "disk-low", "backup-none", "worker-never")
async def _(ward: Ward) -> None:
    ward.settings.data.chmod(0o770)
    ward.patch.setattr(doctor_machine, "LEAST_FREE_BYTES", 2**62)
    (ward.settings.data / backup.LAST).unlink()
    (ward.settings.data / serving.ALIVE).unlink()


@spoils("data-readable", "design", "package", "backup-old", "worker-away")
async def _(ward: Ward) -> None:
    ward.settings.data.chmod(0o755)
    designs = ward.settings.data / "designs"
    (designs / "classic").mkdir(parents=True)
    (designs / "classic" / "theme.toml").write_text("name = 'no design'")
    ward.patch.setattr(theme, "templates_folder", lambda: designs)
    ward.patch.setattr(doctor_machine, "PACKAGE", ward.settings.data)
    backup._remember(ward.settings.data, clock.now() - timedelta(days=9), ward.settings.data / "night.tar")
    before = clock.now().timestamp() - 90
    os.utime(ward.settings.data / serving.ALIVE, (before, before))


@spoils("time-zones")
async def _(ward: Ward) -> None:
    zoneinfo.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()

    async def back() -> None:
        zoneinfo.reset_tzpath()

    ward.closing.append(back)


# --- Outside


@spoils("mail-refuses")
async def _(ward: Ward) -> None:
    ward.set(smtp_url=f"smtp://somebody:wrong@127.0.0.1:{ward.smtp_port}")


@spoils("stripe-key-refused")
async def _(ward: Ward) -> None:
    running_sandbox = running()
    sandbox = running_sandbox.__enter__()

    async def stop() -> None:
        running_sandbox.__exit__(None, None, None)

    ward.closing.append(stop)
    # The form is right, and the account does not know it: a rolled key.
    ward.set(stripe_secret_key="sk_live_revoked", stripe_api_base=sandbox.stripe_url, stripe_live=True)


# --- The database


@spoils("embedded-none")
async def _(ward: Ward) -> None:
    ward.set(database_url=None)
    ward.patch.setenv("TOLLGATE_PG_BIN", str(ward.settings.data))


@spoils("database-none")
async def _(ward: Ward) -> None:
    ward.set(database_url=None)


@spoils("embedded-major")
async def _(ward: Ward) -> None:
    ward.set(database_url=None)
    (ward.settings.data / "postgres" / "cluster").mkdir(parents=True)
    (ward.settings.data / "postgres" / "cluster" / "PG_VERSION").write_text("13\n")


@spoils("database-away")
async def _(ward: Ward) -> None:
    ward.set(database_url="postgresql+asyncpg://tollgate_app@127.0.0.1:1/tollgate")


@spoils("database-old")
async def _(ward: Ward) -> None:
    ward.patch.setattr(postgres, "OLDEST_MAJOR", 99)


@spoils("schema-behind")
async def _(ward: Ward) -> None:
    await asyncio.to_thread(migrating.downgrade, str(ward.settings.database_owner_url), "add_refunds_and_disputes")


@spoils("schema-ahead")
async def _(ward: Ward) -> None:
    await ward.sql("update alembic_version set version_num = 'of_the_future'")


@spoils("role-bypass")
async def _(ward: Ward) -> None:
    ward.set(database_url=ward.server.url("postgres", ward.database))


@spoils("role-owner")
async def _(ward: Ward) -> None:
    ward.set(database_url=ward.settings.database_owner_url)


@spoils("owner-url")
async def _(ward: Ward) -> None:
    ward.set(database_owner_url=ward.settings.database_url)


@spoils("row-security", "triggers")
async def _(ward: Ward) -> None:
    await ward.sql("alter table invoice no force row level security")
    await ward.sql("alter table invoice disable trigger guard_invoice")


@spoils("clock")
async def _(ward: Ward) -> None:
    moved = clock.shifted(timedelta(seconds=-20))
    moved.__enter__()

    async def back() -> None:
        moved.__exit__(None, None, None)

    ward.closing.append(back)


# --- What runs


@spoils("jobs-dead", "jobs-late")
async def _(ward: Ward) -> None:
    await ward.enqueue(Broken(organization_id=ward.shop.org.id))
    await ward.shop.work()
    with clock.shifted(timedelta(minutes=-20)):
        await ward.enqueue(Broken(organization_id=ward.shop.org.id))


@spoils("outbox-held")
async def _(ward: Ward) -> None:
    await held(ward.shop.db, str(ward.settings.database_owner_url))


@spoils("files-missing")
async def _(ward: Ward) -> None:
    await with_files(ward.shop)
    next(path for path in ward.settings.files_folder.rglob("*") if path.is_file()).unlink()


@spoils("anchors-late")
async def _(ward: Ward) -> None:
    with clock.shifted(timedelta(hours=-3)):
        await with_files(ward.shop)


@spoils("anchors-broken")
async def _(ward: Ward) -> None:
    await with_files(ward.shop)
    await ward.enqueue(Anchor(organization_id=ward.shop.org.id))
    await ward.shop.work()
    ward.set(secret_key="Another-one-Kz3-fT0pQ_8sWm2LxVbN7rYcHd")


@spoils("chain-broken")
async def _(ward: Ward) -> None:
    await with_files(ward.shop)
    await ward.sql("alter table audit_event disable trigger refuse_change")
    await ward.sql("update audit_event set content = replace(content, '\"seq\":2', '\"seq\": 2') where seq = 2")
    await ward.sql("alter table audit_event enable trigger refuse_change")


# --- The tests


async def test_a_healthy_installation_has_nothing_wrong(ward: Ward) -> None:
    async with answering(LIVES) as url:
        ward.set(base_url=url)
        await with_files(ward.shop)
        lines = await ward.examine()
    assert [line for line in lines if line.verdict == "wrong"] == []
    assert {line.id for line in lines if line.verdict == "note"} == {"base-url-local", "stripe-none"}
    subjects = {line.subject for line in lines if line.verdict == "ok"}
    assert subjects >= {
        "database",
        "schema",
        "database role",
        "owner role",
        "row-level security",
        "triggers",
        "clock",
        "jobs",
        "files",
        "audit trail",
    }
    assert subjects >= {
        "secret key",
        "proxies",
        "data folder",
        "disk",
        "package",
        "time zones",
        "invoice design",
        "mail",
        "mail from",
        "backup",
        "worker",
    }


def test_everything_that_can_be_found_is_provoked_here() -> None:
    assert SPOILED.keys() == FINDINGS.keys()


GROUPS = [tuple(id for id in SPOILED if SPOILED[id] is spoil) for spoil in dict.fromkeys(SPOILED.values())]


@pytest.mark.parametrize("ids", [ids for ids in GROUPS if "setting" not in ids], ids="+".join)
async def test_it_is_found_and_named_with_the_way_out(ward: Ward, ids: tuple[str, ...]) -> None:
    """That none of these is found without being provoked is the test above."""
    await SPOILED[ids[0]](ward)
    try:
        found = await ward.examine()
    finally:
        # In this task: a moved clock belongs to it.
        for close in ward.closing:
            await close()
    for id in ids:
        lines = [line for line in found if line.id == id]
        assert lines, id
        for line in lines:
            assert line.says.endswith(FINDINGS[id].way_out)
            assert (line.subject, line.verdict) == (FINDINGS[id].subject, FINDINGS[id].verdict)
            assert id == "backup-none" or len(line.says) > len(FINDINGS[id].way_out) + 2, "the fact is named, too"


async def test_somebody_else_at_our_address_is_not_us(ward: Ward) -> None:
    async with answering(OTHER) as url:
        ward.set(base_url=url)
        assert "base-url-away" in {line.id for line in await ward.examine()}


@pytest.mark.parametrize(
    ("variable", "value", "id"),
    [
        ("STRIPE_SECRET_KEY", "sk_live_x", "stripe-live"),
        ("PORT", "eighty", "setting"),
        ("LOG_LEVEL", "loud", "setting"),
        ("DATABASE_URL", "mysql://x", "setting"),
        ("DATABASE_OWNER_URL", "mysql://x", "setting"),
    ],
)
def test_variables_that_cannot_be_read_are_findings(tmp_path: Path, variable: str, value: str, id: str) -> None:
    settings, lines, refused = doctor_machine.read_settings({variable: value, "PORT": "8001" if variable != "PORT" else value}, tmp_path)
    assert [line.id for line in lines] == [id] and variable in lines[0].says
    assert refused == {variable}
    assert settings.data == tmp_path


def test_several_unreadable_variables_are_all_named(tmp_path: Path) -> None:
    _settings, lines, refused = doctor_machine.read_settings({"PORT": "x", "LOG_LEVEL": "y", "STRIPE_SECRET_KEY": "rk_live_z"}, tmp_path)
    assert refused == {"PORT", "LOG_LEVEL", "STRIPE_SECRET_KEY"} and len(lines) == 3


async def test_every_file_is_asked_for_when_it_is_wished(ward: Ward) -> None:
    ward.patch.setattr(doctor_database, "SAMPLE", 0)
    await SPOILED["files-missing"](ward)
    assert "files-missing" not in {line.id for line in await ward.examine()}
    assert "files-missing" in {line.id for line in await ward.examine(all_files=True)}


async def test_the_triggers_that_it_looks_for_are_those_of_the_schema(ward: Ward) -> None:
    rows = await asyncio.to_thread(
        embedded.fetch_sql,
        ward.server,
        "select tgrelid::regclass::text || '.' || tgname from pg_trigger where not tgisinternal",
        database=ward.database,
    )
    assert {row[0] for row in rows} == doctor_database.TRIGGERS, "a migration added one: tell doctor_database.TRIGGERS"


async def test_the_exit_code(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    options = build_parser().parse_args(["doctor"])
    assert await asyncio.to_thread(doctor.run, options, ward.settings) == 0
    assert "note   base url" in capsys.readouterr().out
    await SPOILED["jobs-dead"](ward)
    assert await asyncio.to_thread(doctor.run, options, ward.settings) == 1
    assert "wrong  jobs                 1 dead: mend the cause" in capsys.readouterr().out


def cluster_made(data: Path, ago: timedelta) -> None:
    """The file by which the age of an embedded cluster is known."""
    file = data / "postgres" / "cluster" / "PG_VERSION"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    at = (clock.now() - ago).timestamp()
    os.utime(file, (at, at))


async def test_back_dated_events_make_no_anchor_late_before_one_could_be_written(ward: Ward) -> None:
    """A demo's sample happened months ago, and its database is of today."""
    await SPOILED["anchors-late"](ward)
    cluster_made(ward.settings.data, timedelta(minutes=5))
    assert "anchors-late" not in {line.id for line in await ward.examine()}
    cluster_made(ward.settings.data, timedelta(hours=2, minutes=30))
    assert "anchors-late" in {line.id for line in await ward.examine()}


async def test_a_misspelt_folder_is_wrong_and_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "typo"
    options = build_parser().parse_args(["doctor", "--data", str(wrong)])
    assert await asyncio.to_thread(doctor.run, options, Settings(data=wrong, base_url="http://127.0.0.1:1")) == 1
    says = capsys.readouterr().out
    assert f"there is no Tollgate in {wrong}" in says and f"`tollgate serve --data {wrong}`" in says
    assert os.listdir(tmp_path) == []


async def test_a_way_out_names_the_folder_that_was_given(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    await SPOILED["outbox-held"](ward)
    options = build_parser().parse_args(["doctor", "--data", "my folder"])
    await asyncio.to_thread(doctor.run, options, ward.settings)
    assert "`tollgate outbox --release --data 'my folder'`" in capsys.readouterr().out


async def test_a_fresh_folder_is_well(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "fresh", base_url="http://127.0.0.1:1")

    def make() -> None:
        with runtime.database(settings, create=True):
            pass

    await asyncio.to_thread(make)
    lines = await asyncio.to_thread(doctor.examine, settings)
    assert {line.id for line in lines if line.verdict == "wrong"} == {"mail-unset"}
    assert {line.subject for line in lines if line.verdict == "ok"} >= {"schema", "row-level security", "triggers", "database role"}
