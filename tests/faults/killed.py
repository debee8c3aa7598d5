"""The process that is killed or frozen: a fork server, whose children work until a counted point and die or stop there.

Points are every statement and commit (before and after) and every call outside (before it, and after it when its answer is
lost): files, the Stripe-like sandbox over HTTP, SMTP. One order per line of JSON on stdin, one answer per line on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import structlog
import uvloop
from litestar import Litestar
from sqlalchemy import event, text

from tollgate import clock
from tollgate.app import Services, create_app
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.jobs import Job, enqueue
from tollgate.jobs.worker import Run, Worker
from tollgate.mail.transport import SmtpTransport
from tollgate.payments.news import Reconcile
from tollgate.payments.stripe_gateway import StripeGateway
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.rules import AlreadyDecided
from tollgate.signoff.service_input import LinkDecision
from tollgate_sandbox.webhooks import signature

TOLD = ("invoice_payment.paid", "invoice.paid")
"""The events that Stripe sends about a payment, as far as they are delivered here: the second says nothing new."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OUTSIDE: tuple[tuple[type, str], ...] = (
    (LocalStorage, "put"),
    (LocalStorage, "get"),
    (SmtpTransport, "send"),
    (StripeGateway, "carry_out"),
    (StripeGateway, "invoice"),
    (StripeGateway, "find"),
    (StripeGateway, "payments"),
    (StripeGateway, "events_since"),
)


@dataclass
class Counter:
    """Counts points; at the wanted one the process is gone, or frozen, without a word to anybody."""

    stop_at: int
    signal: int = signal.SIGKILL
    names: list[str] = field(default_factory=list)
    paused: bool = False

    def point(self, name: str) -> None:
        if self.paused:
            return
        self.names.append(name)
        if len(self.names) == self.stop_at:
            os.kill(os.getpid(), self.signal)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What other people and processes do meanwhile."""
        self.paused = True
        yield
        self.paused = False


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
    engine.dialect.do_commit = committing  # type: ignore[method-assign,assignment]
    restore = [calling(owner, name) for owner, name in OUTSIDE]
    try:
        yield
    finally:
        for undo in restore:
            undo()
        engine.dialect.do_commit = commit  # type: ignore[method-assign]
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


@dataclass
class World:
    """What the children of the fork server inherit: the program with everything it has compiled and cached, and no connection."""

    services: Services
    app: Litestar

    @classmethod
    def of(cls, given: dict[str, Any], *, idle_seconds: float | None = None) -> World:
        settings = Settings(**{**given, "data": Path(given["data"])})
        services = Services.of(settings)
        if idle_seconds is not None:
            services.db.most_idle = timedelta(seconds=idle_seconds)
        return cls(services, create_app(settings, services))

    async def live(self, order: dict[str, Any]) -> list[str]:
        """Do what the order says, from wherever the last process was stopped. Answers the points that were passed."""
        counter = Counter(order["stop_at"], order.get("signal", signal.SIGKILL))
        with clock.shifted(timedelta(seconds=order["shift_seconds"])), counted(counter, self.services.db):
            try:
                if "milestone_id" in order:
                    await self._from_approval_to_money(order, counter)
                else:
                    await Worker(self.services.db, {Ring: ring}, concurrency=1).run_until_idle()
            finally:
                await self.services.db.close()
        return counter.names

    async def _from_approval_to_money(self, order: dict[str, Any], counter: Counter) -> None:
        organization_id, milestone_id = UUID(order["organization_id"]), UUID(order["milestone_id"])
        await self._approve(order)
        await self._work()
        with counter.pause():
            invoice_id = await self._pay(organization_id, milestone_id)
        if order["way"] == "webhook":
            with counter.pause():
                told = self._events(invoice_id)
            for payload in told:
                await self._hear(payload)
        else:
            async with self.services.db.transaction(organization_id) as session:
                await enqueue(session, Reconcile(organization_id=organization_id), dedupe="poll")
        await self._work()

    async def _approve(self, order: dict[str, Any]) -> None:
        """The client presses the button; whoever saw no answer presses it again."""
        services = self.services
        link = await signoff.verify(services.db, services.settings.secret_key, order["token"])
        assert link is not None
        decision = LinkDecision(content_sha256_hex=order["content"], signed_name="Clara Klient")
        approver = UUID(order["contact_id"])
        command = Command(link.organization_id, ActorKind.CONTACT, approver, ip="203.0.113.9", user_agent="test")
        with suppress(AlreadyDecided):
            await signoff.approve_by_link(services.db, command, link, decision)

    async def _work(self) -> None:
        """One job after the other, so that a life is the same each time."""
        await self.services.worker(concurrency=1).run_until_idle()

    async def _pay(self, organization_id: UUID, milestone_id: UUID) -> str:
        """The client pays on the pay page unless that is done. Answers the invoice's id at Stripe."""
        async with self.services.db.reading(organization_id) as session:
            found = await session.execute(
                text(
                    "select i.stripe_invoice_id from invoice i join invoice_line l on l.organization_id = i.organization_id"
                    " and l.invoice_id = i.id where l.milestone_id = :milestone_id and l.live"
                ),
                {"milestone_id": milestone_id},
            )
            invoice_id = str(found.scalar_one())
        if self._ask(f"/v1/invoices/{invoice_id}")["status"] == "open":
            self._ask(f"/_sandbox/invoices/{invoice_id}/pay", {"outcome": "paid"})
        return invoice_id

    def _events(self, invoice_id: str) -> list[bytes]:
        """The webhooks about the payment, as Stripe repeats them until somebody answers 2xx."""
        found = self._ask("/v1/events?limit=100")["data"]
        about = [
            one
            for one in reversed(found)
            if one["type"] in TOLD and invoice_id in {one["data"]["object"].get("id"), one["data"]["object"].get("invoice")}
        ]
        assert len(about) == len(TOLD), f"the sandbox told {[one['type'] for one in found]}"
        return [json.dumps(one).encode() for one in about]

    async def _hear(self, payload: bytes) -> None:
        """A webhook arrives at the web application."""
        secret = self.services.settings.stripe_webhook_secret or ""
        headers = {"stripe-signature": signature(secret, payload, int(clock.now().timestamp()))}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://tollgate") as http:  # type: ignore[arg-type]
            answer = await http.post("/webhooks/stripe", content=payload, headers=headers)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"

    def _ask(self, path: str, sent: dict[str, str] | None = None) -> Any:
        """One call to the sandbox, as somebody else makes it; nothing else happens here meanwhile."""
        request = urllib.request.Request(
            f"{self.services.settings.stripe_api_base}{path}",
            data=None if sent is None else json.dumps(sent).encode(),
            headers={"Authorization": f"Bearer {self.services.settings.stripe_secret_key}", "Content-Type": "application/json"},
        )
        with DIRECT.open(request, timeout=30) as answer:
            return json.loads(answer.read())


class Ring(Job, frozen=True, kw_only=True):
    """A job of the tests, which leaves one `Rung` behind."""

    kind = "test.ring"
    number: int


class Rung(Job, frozen=True, kw_only=True):
    """What a `Ring` leaves behind. Nobody handles it."""

    kind = "test.rung"
    number: int


async def ring(run: Run, job: Ring) -> None:
    """Record that it rang, together with the job's end."""
    async with run.record() as session:
        await enqueue(session, Rung(organization_id=job.organization_id, number=job.number), run_at=clock.now() + timedelta(days=900))


def in_a_child(world: World, order: dict[str, Any]) -> dict[str, Any]:
    """Live an order in a fork; answers how that ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            uvloop.run(world.live(order))
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return end_of(child)


def end_of(child: int) -> dict[str, Any]:
    """Wait until a child is frozen, dead or done."""
    _pid, ended = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(ended):
        return {"killed": False, "frozen": child}
    if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL:
        return {"killed": True}
    return {"killed": False} if ended == 0 else {"error": f"it ended with {ended}"}


def thaw(child: int) -> dict[str, Any]:
    """Let a frozen child go on to its end."""
    os.kill(child, signal.SIGCONT)
    return end_of(child)


def serve() -> None:
    """Take orders until there are no more. An order with settings is lived here, which warms everything up for the children."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    gc.disable()
    world: World | None = None
    for line in sys.stdin:
        order = json.loads(line)
        if "thaw" in order:
            # Whatever it was in the middle of may be gone: that it fails is as good as that it notices in time.
            answer: dict[str, Any] = {"ended": "error" not in thaw(order["thaw"])}
        elif "settings" in order or world is None:
            if world is None or order["settings"]["database_url"] != world.services.settings.database_url:
                world = World.of(order["settings"], idle_seconds=order.get("idle_seconds"))
            answer = {"killed": False, "points": uvloop.run(world.live(order))}
            # The children are short; walking through all that they inherited would be most of what they do.
            gc.collect()
            gc.freeze()
        else:
            answer = in_a_child(world, order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
