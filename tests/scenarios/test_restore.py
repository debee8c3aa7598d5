"""The operator's story: the machine is lost, last night's backup is restored into a new folder, and nothing happens twice.

Life went on at Stripe after the backup: the invoice was finalized there and paid. The backup was made in the middle of the
hand-over, at a call whose answer it does not have.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.factories.filled import approve, invoice_of
from tests.factories.shop import Letterbox, Shop, make_shop, services_on
from tests.sandbox.conftest import running
from tollgate import clock
from tollgate.app import Services
from tollgate.cli import backup, checking, restore
from tollgate.cli.main import build_parser
from tollgate.db import embedded
from tollgate.db.database import Database
from tollgate.errors import TollgateError
from tollgate.jobs import enqueue, outbox
from tollgate.payments.models import Payment
from tollgate.payments.news import Reconcile
from tollgate.payments.stripe_gateway import StripeGateway
from tollgate.settings import Settings


class BackedUp(StripeGateway):
    """The real gateway; a backup is made when Stripe has carried out one of its orders, and nobody knows yet."""

    order = ""
    settings: Settings
    path: Path

    async def carry_out(self, frozen: str, key: str) -> str:
        """See `Gateway.carry_out`."""
        answer = await super().carry_out(frozen, key)
        if json.loads(frozen)["order"] == self.order and not self.path.exists():
            await asyncio.to_thread(backup.make, self.settings, self.path)
        return answer


@asynccontextmanager
async def restored(path: Path, settings: Settings) -> AsyncIterator[Services]:
    """The services of the restored folder, with a letterbox and the same Stripe."""
    options = build_parser().parse_args(["restore", str(path), "--data", str(settings.data)])
    assert await asyncio.to_thread(restore.run, options, settings.with_(database_url=None, database_owner_url=None)) == 0
    server = await asyncio.to_thread(embedded.ensure_running, settings.data)
    database = Database(server.url("tollgate_app"))
    try:
        yield services_on(settings.with_(database_url=database.url), database)
    finally:
        await database.close()
        await asyncio.to_thread(server.stop)


@pytest.mark.parametrize(
    ("order", "later"),
    [("approved", timedelta(hours=26)), ("customer", timedelta(hours=26)), ("draft", timedelta(hours=26)), ("finalize", timedelta(0))],
    ids=["approved", "customer", "draft", "finalize"],
)
async def test_what_went_on_at_stripe_after_the_backup_happens_once(
    settings: Settings, owner_url: str, db: Database, tmp_path: Path, order: str, later: timedelta, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"t{uuid.uuid4().hex[:12]}"
    with running() as sandbox:
        used = settings.with_(
            data=tmp_path / "first",
            database_owner_url=owner_url,
            stripe_secret_key=f"sk_test_{name}",
            stripe_webhook_secret="whsec_of_the_tests",
            stripe_api_base=sandbox.stripe_url,
        )
        shop = await make_shop(services_on(used, db))
        path = tmp_path / "night.tar"
        gateway = BackedUp(f"sk_test_{name}", api_base=sandbox.stripe_url)
        gateway.order, gateway.settings, gateway.path = order, used, path
        shop.services.gateways.open = lambda connected: gateway  # type: ignore[method-assign]
        (milestone_id,) = await shop.active(1_000_00)
        await approve(shop, milestone_id)
        if order == "approved":
            await asyncio.to_thread(backup.make, used, path)
        await shop.work()
        assert path.exists(), "the backup was made in the middle"
        sent = mails_of(shop.services)
        invoice = await invoice_of(shop, milestone_id)
        account = sandbox.world.account(name)
        async with httpx.AsyncClient(base_url=sandbox.stripe_url) as http:
            paid = await http.post(f"/_sandbox/invoices/{invoice.stripe_invoice_id}/pay", json={"outcome": "paid"})
            assert paid.status_code == 200, paid.text
        if later:
            # Stripe forgets keys after a day.
            account.table("idempotency").clear()

        with clock.shifted(later):
            async with restored(path, used.with_(data=tmp_path / "second")) as services:
                again = Shop(services, shop.org, shop.client_id, shop.contact_id, shop.currency)
                await again.work()
                assert mails_of(services) == [], "held"
                if order != "approved":
                    assert (await invoice_of(again, milestone_id)).state == "issued"
                async with services.db.directory() as session:
                    assert await outbox.release(session)
                await again.work()
                async with services.db.transaction(again.org.id) as session:
                    await enqueue(session, Reconcile(organization_id=again.org.id))
                await again.work()
                with clock.shifted(later + timedelta(days=1)):
                    await again.work()
                    async with services.db.transaction(again.org.id) as session:
                        await enqueue(session, Reconcile(organization_id=again.org.id))
                    await again.work()

                assert [row["id"] for row in account.all("invoice")] == [invoice.stripe_invoice_id], "one invoice at Stripe"
                assert len(list(account.all("customer"))) == 1
                billed = await invoice_of(again, milestone_id)
                async with services.db.reading(again.org.id) as session:
                    amounts = [payment.amount_minor for payment in await session.scalars(select(Payment))]
                if order == "approved":
                    # Billed anew under the same number: what Stripe has under it belongs to an invoice that we do not know.
                    assert (billed.state, billed.number, billed.stripe_step) == ("issued", invoice.number, "stopped")
                    assert billed.stripe_problem and amounts == []
                else:
                    assert (billed.state, amounts) == ("paid", [invoice.payable_minor])
                # What is sent again is the same mail, by its Message-ID; nothing else is.
                repeated = mails_of(services)
                assert len(repeated) == len(set(repeated)), repeated
                if order != "approved":
                    assert set(repeated) & set(sent), (sent, repeated)
                    assert {subject for subject, message_id in repeated if (subject, message_id) not in sent} <= paid_news(services)
                capsys.readouterr()
                assert await checking.check(services), capsys.readouterr().out


def mails_of(services: Services) -> list[tuple[str, str]]:
    """Subject and Message-ID of what was sent."""
    assert isinstance(services.transport, Letterbox)
    return [(str(mail["Subject"]), str(mail["Message-ID"])) for mail in services.transport.mails]


def paid_news(services: Services) -> set[str]:
    """Subjects of mails that are about the payment, which the first life did not see."""
    return {subject for subject, _message_id in mails_of(services) if "paid" in subject.lower() or "payment" in subject.lower()}


def entries(folder: Path) -> list[str]:
    """What lies in a folder, hidden things too."""
    return sorted(entry.name for entry in folder.iterdir())


async def process(*arguments: str) -> tuple[int | None, str]:
    """A `tollgate` command as its own process: exit code and what it says."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "SECRET", "TOLLGATE_DATA", "STRIPE", "SMTP"))
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tollgate.cli", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=kept
    )
    printed, _none = await asyncio.wait_for(started.communicate(), 120)
    return started.returncode, printed.decode()


async def test_the_commands_on_an_embedded_server_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, again = tmp_path / "data", tmp_path / "again"

    async def command(*arguments: str) -> tuple[int, str]:
        """The same in this process, for speed."""
        options = build_parser().parse_args(arguments)
        capsys.readouterr()
        try:
            code = await asyncio.to_thread(
                options.does, options, Settings.from_environment({"HOME": str(tmp_path)}, data=Path(options.data))
            )
        except TollgateError as error:
            return 1, str(error.detail)
        return code, capsys.readouterr().out

    # A server that runs, with a database that this process holds open.
    server = await asyncio.to_thread(embedded.ensure_running, data)
    try:
        code, says = await command("create-organization", "--data", str(data), "--name", "X", "--country", "AT", "--currency", "EUR")
        assert code == 0, says
        left, says = await process("backup", str(tmp_path / "one.tar"), "--data", str(data))
        assert left == 0 and "Wrote and verified" in says and "Keep SECRET_KEY" in says, says
    finally:
        await asyncio.to_thread(server.stop)
    code, says = await command("backup", "--verify", str(tmp_path / "one.tar"), "--data", str(tmp_path / "nowhere"))
    assert code == 0 and "is whole" in says and not (tmp_path / "nowhere").exists(), says
    code, says = await command("restore", "--try", str(tmp_path / "one.tar"), "--data", str(data))
    assert code == 0 and "This backup can be restored; the copy is gone again" in says and "WARNING" not in says, says
    code, says = await command("restore", str(tmp_path / "one.tar"), "--data", str(data))
    assert code == 1 and "is not empty" in says, says
    left, says = await process("restore", str(tmp_path / "one.tar"))
    assert left == 1 and "Say where to: name a new folder with --data" in says, says
    code, says = await command("restore", str(tmp_path / "one.tar"), "--data", str(tmp_path / "one.tar"))
    assert code == 1 and "is no folder" in says, says
    again.mkdir()
    (again / "secret-key").write_bytes((data / "secret-key").read_bytes())
    code, says = await command("restore", str(tmp_path / "one.tar"), "--data", str(again))
    assert code == 0 and "WARNING" not in says and f"tollgate outbox --release --data {again}" in says, says
    code, says = await command("outbox", "--data", str(again), "--release")
    assert code == 0 and "The outbox is held since" in says and "Released" in says, says
    code, says = await command("outbox", "--data", str(again), "--release")
    assert code == 0 and f"Nothing was held in {again}" in says, says
    code, says = await command("check", "--data", str(again))
    assert code == 0 and "1 organizations, 0 wrong" in says, says
    code, says = await command("backup", str(tmp_path / "two.tar"), "--data", str(tmp_path / "typo"))
    assert code == 1 and "There is no Tollgate in" in says and not (tmp_path / "typo").exists(), says
    assert entries(tmp_path) == ["again", "data", "one.tar"]


async def test_a_restore_that_fails_leaves_no_folder(tmp_path: Path, settings: Settings, owner_url: str, db: Database) -> None:
    """The target gets its name only when everything is there: an unusable backup leaves nothing, not even half of it."""
    await make_shop(services_on(settings, db))
    path = await asyncio.to_thread(backup.make, settings.with_(database_owner_url=owner_url, data=tmp_path / "first"), tmp_path / "one.tar")

    def fails(*_arguments: Any) -> Any:
        raise OSError("no space left on device")

    target = settings.with_(database_url=None, data=tmp_path / "second")
    options = build_parser().parse_args(["restore", str(path), "--data", str(target.data)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore, "_read_back", fails)
        with pytest.raises(OSError, match="no space left"):
            await asyncio.to_thread(restore.run, options, target)
    assert entries(tmp_path) == ["first", "one.tar"]
