"""Killed lives: from an approval to the client's mail, a process is killed at a counted point, and another finishes.

Points are every statement and commit (before and after) and every call outside (before it, and after it when its answer is
lost): files, the Stripe-like sandbox over HTTP, SMTP. Each life is one milestone; a fork server keeps the start cheap.

`python -m tests.faults.kills --lives 300 --seed 7` runs lives; `--point 412` kills each of them there: the replay of one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import event, select

from tests.factories.filled import invoice_of
from tests.factories.shop import Shop, make_shop
from tollgate import clock
from tollgate.app import Services
from tollgate.billing.models import Invoice
from tollgate.db import embedded, migrating
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.documents.models import Document
from tollgate.files.storage import LocalStorage
from tollgate.mail.models import MailMessage
from tollgate.mail.transport import SmtpTransport
from tollgate.payments.stripe_gateway import StripeGateway
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.rules import AlreadyDecided
from tollgate.signoff.service_input import LinkDecision
from tollgate_sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "kills"
AFTER_THE_LEASE = timedelta(seconds=90)
"""How far the clock moves on before the next worker: the dead one's lease has ended."""


# ---- the process that is killed -----------------------------------------------------------------------------------------


@dataclass
class Counter:
    """Counts points; at the wanted one the process is gone, without a word to anybody."""

    kill_at: int
    names: list[str] = field(default_factory=list)

    def point(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def counted(counter: Counter, database: Database) -> Iterator[None]:
    """Let every statement, commit and outside call of this process pass the counter."""
    engine = database.engine.sync_engine
    commit = engine.dialect.do_commit

    def before(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        counter.point(f"before {statement[:40]}")

    def after(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        counter.point(f"after {statement[:40]}")

    def committing(connection: Any) -> None:
        counter.point("before commit")
        commit(connection)
        counter.point("after commit")

    def calling(owner: type, name: str) -> Callable[[], None]:
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            counter.point(f"before {owner.__name__}.{name}")
            result = await original(*arguments, **named)
            counter.point(f"after {owner.__name__}.{name}")
            return result

        setattr(owner, name, call)
        return lambda: setattr(owner, name, original)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    engine.dialect.do_commit = committing  # type: ignore[method-assign]
    outside = [
        (LocalStorage, "put"),
        (SmtpTransport, "send"),
        (StripeGateway, "carry_out"),
        (StripeGateway, "invoice"),
        (StripeGateway, "find"),
    ]
    restore = [calling(owner, name) for owner, name in outside]
    try:
        yield
    finally:
        for undo in restore:
            undo()


async def live(order: dict[str, Any]) -> list[str]:
    """Approve by the link unless that is done, and work until nothing is due. Answers the points that were passed."""
    settings = Settings(**{**order["settings"], "data": Path(order["settings"]["data"])})
    services = Services.of(settings)
    counter = Counter(order["kill_at"])
    with clock.shifted(timedelta(seconds=order["shift_seconds"])), counted(counter, services.db):
        link = await signoff.verify(services.db, settings.secret_key, order["token"])
        assert link is not None
        decision = LinkDecision(content_sha256_hex=order["content"], signed_name="Clara Klient")
        approver = UUID(order["contact_id"])
        command = Command(link.organization_id, ActorKind.CONTACT, approver, ip="203.0.113.9", user_agent="test")
        with suppress(AlreadyDecided):
            # Whoever saw no answer presses the button again.
            await signoff.approve_by_link(services.db, command, link, decision)
        await services.worker(concurrency=1).run_until_idle()
    await services.db.close()
    return counter.names


def serve() -> None:
    """The fork server: one order per line; the first is lived here, which warms everything up, the others in a child each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    warm = False
    for line in sys.stdin:
        order = json.loads(line)
        if not warm:
            print(json.dumps({"killed": False, "points": asyncio.run(live(order))}), flush=True)
            warm = True
            continue
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.run(live(order))
                status = 0
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(status)
        _pid, ended = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
        if not killed and ended != 0:
            print(json.dumps({"error": ended}), flush=True)
        else:
            print(json.dumps({"killed": killed}), flush=True)


# ---- the process that looks on ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Life:
    """One killed life."""

    number: int
    point: int
    name: str
    killed: bool


@dataclass
class Lives:
    """Many lives of one organization: the numbers, the Stripe account and the audit trail are theirs together."""

    settings: Settings
    shop: Shop
    sandbox: Sandbox
    server: asyncio.subprocess.Process
    shift: timedelta = timedelta()
    milestones: list[UUID] = field(default_factory=list)

    async def order(self, number: int) -> dict[str, Any]:
        """A delivered milestone, and what the process has to know to approve it."""
        with clock.shifted(self.shift):
            (milestone_id,) = await self.shop.active(1_000_00 + number, rates=["20" if number % 2 else "10"])
            await self.shop.delivered(milestone_id)
            await self.shop.work()
            link, decision = await self.shop.opened(milestone_id)
            async with self.shop.db.transaction(self.shop.org.id) as session:
                token = await signoff.mint(
                    session,
                    self.settings.secret_key,
                    organization_id=self.shop.org.id,
                    approval_link_id=link.link_id,
                    sent_by="mail",
                    expires_at=link.expires_at,
                )
        self.milestones.append(milestone_id)
        return {
            "settings": {name: str(value) if name == "data" else value for name, value in asdict(self.settings).items()},
            "token": token,
            "content": decision.content_sha256_hex,
            "contact_id": str(self.shop.contact_id),
        }

    async def send(self, order: dict[str, Any], kill_at: int) -> dict[str, Any]:
        """Let the fork server live it, after the lease of whoever was before."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.shift += AFTER_THE_LEASE
        line = json.dumps({**order, "kill_at": kill_at, "shift_seconds": self.shift.total_seconds()})
        self.server.stdin.write(line.encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(self.server.stdout.readline(), 120))
        assert "error" not in answer, f"the life ended with {answer}"
        return dict(answer)

    async def check(self, milestone_id: UUID) -> None:
        """One life came to its one end."""
        org = self.shop.org.id
        invoice = await invoice_of(self.shop, milestone_id)
        assert invoice.state == "issued" and invoice.number, f"{invoice.state} {invoice.number}"
        assert (invoice.stripe_step, invoice.stripe_problem) == ("sent", None)
        account = self.sandbox.world.account(ACCOUNT)
        theirs = [found for found in account.all("invoice") if found["number"] == invoice.number]
        assert [(found["status"], found["total"], found["id"]) for found in theirs] == [
            ("open", invoice.payable_minor, invoice.stripe_invoice_id)
        ]
        async with self.shop.db.reading(org) as session:
            documents = list(await session.scalars(select(Document).where(Document.kind == "invoice", Document.subject_id == invoice.id)))
        assert len(documents) == 1 and documents[0].pdf_sha256_hex is not None
        pdf = await self.shop.services.storage.get(org, documents[0].pdf_sha256_hex)
        assert pdf.startswith(b"%PDF")
        mails = [mail for mail in self.sandbox.mailbox.mails.values() if mail.attachments and str(invoice.number) in mail.subject]
        assert mails and len({mail.message_id for mail in mails}) == 1, "the invoice was mailed, a repeat under the same Message-ID"
        assert all(mail.attachments[0].content == pdf for mail in mails)

    async def check_all(self) -> int:
        """All lives together; answers how many mails came twice."""
        async with self.shop.db.reading(self.shop.org.id) as session:
            invoices = list(await session.scalars(select(Invoice).order_by(Invoice.series_seq)))
            mails = list(await session.scalars(select(MailMessage)))
            found = await invariants.run(session, self.shop.org.id, jobs_idle=True)
        assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []
        assert [invoice.series_seq for invoice in invoices] == list(range(1, len(self.milestones) + 1)), "no number skipped or doubled"
        account = self.sandbox.world.account(ACCOUNT)
        theirs = list(account.all("invoice"))
        assert sorted(str(one["number"]) for one in theirs) == sorted(str(invoice.number) for invoice in invoices), "one each at Stripe"
        assert {mail.state for mail in mails} == {"accepted"}
        taken = list(self.sandbox.mailbox.mails.values())
        assert len({mail.message_id for mail in taken}) == len(mails), "each mail arrived, and no mail under a second Message-ID"
        return len(taken) - len(mails)


@asynccontextmanager
async def make_lives(database_url: str, data: Path) -> Any:
    """An organization at the sandbox, and a fork server that has not started to live."""
    async with Sandbox() as sandbox:
        settings = Settings(
            data=data,
            database_url=database_url,
            secret_key="test-secret-key-of-32-characters!",
            smtp_url=sandbox.smtp_url,
            stripe_secret_key=f"sk_test_{ACCOUNT}",
            stripe_webhook_secret="whsec_of_the_kills",
            stripe_api_base=sandbox.stripe_url,
        )
        services = Services.of(settings)
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.kills",
            "--serve",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**22,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        )
        try:
            yield Lives(settings, await make_shop(services), sandbox, server)
        finally:
            assert server.stdin is not None
            server.stdin.close()
            await server.wait()
            await services.db.close()


async def run(lives: Lives, *, count: int, seed: int, point: int | None = None, say: Callable[[str], None] = print) -> list[Life]:
    """Kill `count` lives, one in each of `count` equal stretches of all points; the last check is over all of them."""
    points = (await lives.send(await lives.order(0), 0))["points"]
    await lives.check(lives.milestones[0])
    say(f"seed={seed} lives={count} points in one life={len(points)}")
    drawn = random.Random(seed)
    ended = []
    for number in range(1, count + 1):
        low, high = (number - 1) * len(points) // count, number * len(points) // count
        wanted = point or drawn.randint(low + 1, max(low + 1, high))
        order = await lives.order(number)
        try:
            killed = (await lives.send(order, wanted))["killed"]
            if killed:
                await lives.send(order, 0)
            await lives.check(lives.milestones[-1])
        except BaseException:
            say(f"failed in life {number}: replay with python -m tests.faults.kills --seed {seed} --lives 1 --point {wanted}")
            say(f"the point is: {points[min(wanted, len(points)) - 1]}")
            raise
        ended.append(Life(number, wanted, points[min(wanted, len(points)) - 1], killed))
    repeats = await lives.check_all()
    distinct = len({life.point for life in ended})
    say(f"killed={sum(life.killed for life in ended)} distinct points={distinct} mails repeated={repeats} lost=0 doubled=0 skipped=0")
    return ended


async def main(arguments: argparse.Namespace) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with embedded.throwaway() as server, tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(migrating.upgrade, server.url("tollgate_owner"))
        async with make_lives(server.url(), Path(folder)) as lives:
            await run(lives, count=arguments.lives, seed=arguments.seed, point=arguments.point)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lives", type=int, default=30)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--point", type=int, help="kill every life at this point")
    asked = parser.parse_args()
    if asked.serve:
        serve()
    else:
        asyncio.run(main(asked))
