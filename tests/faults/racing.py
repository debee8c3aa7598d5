"""Two at once, again and again: the track on which races are run, and the watch that says whether they were races at all.

A kind of race prepares many cases in bulk and runs one race per case. The sides start within milliseconds of each other, in an order
drawn from the seed, the kind and the number of the race, each on a connection of its own; a side that came first starts a little later
the next time, so that each comes first about as often on any machine. The watch looks at their transactions: two
sides overlapped when both had one open at the same time, and one waited when it asked for a lock before the other committed and got
its answer afterwards. After each batch every money invariant holds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import event, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.factories import make_contact
from tests.factories.proof import PROOF as PROOF_SIZE
from tests.factories.proof import SEED, seed, size
from tests.factories.shop import Shop, make_shop, services_on
from tollgate import clock
from tollgate.contracts.models import Deliverable, Milestone
from tollgate.db.command import Replayed
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.errors import TollgateError
from tollgate.http.problems import Problem, status_of
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ApprovalLink, ReviewRound, SignOff
from tollgate.signoff.service_input import LinkDecision
from tollgate.signoff.tokens import VerifiedLink

SUITE, PROOF = 200, 2_000
"""Races of a kind, in every run and in the long one; a kind may ask for others."""
FEW = 40
"""In every run of a kind that is a variation of another; the long run has as many of each."""
BATCH = 200
"""Races in one organization; then a new one, so that the last race costs no more than the first."""
AMOUNT = 1_000_01
LEAST_STEP, MOST_STEP, MOST_LATE = 0.0005, 0.004, 0.1
"""Seconds by which the start of a side that came first is moved, and how far at most."""
LEAST_OVERLAPPING_PERCENT = 20
"""Below this it was no race; a busy machine delays both sides alike."""
ENDINGS_FROM = 100
"""With fewer races an ending that is possible may not have come up."""

Side = Callable[[], Awaitable[Any]]
Link = tuple[VerifiedLink, LinkDecision]


# ---- the watch ------------------------------------------------------------------------------------------------------------


@dataclass
class Entrant:
    """One side's writing transactions, in seconds of a clock that only goes forward."""

    opened: dict[int, float | None] = field(default_factory=dict)
    """Connections with a transaction under way, since when; None for one that only reads."""
    transactions: list[tuple[float, float]] = field(default_factory=list)
    """Open at the server from … until COMMIT or ROLLBACK was sent."""
    locks: list[tuple[float, float]] = field(default_factory=list)
    """Statements that may wait for another transaction: sent, answered."""


_entrant: ContextVar[Entrant | None] = ContextVar("entrant", default=None)
_READS = "set transaction isolation level repeatable read, read only"


@contextmanager
def watched(database: Database) -> Iterator[Entrant]:
    """Let the statements of this database tell the entrant in whose task they run; what a server does goes to the one that is answered."""
    engine, anybody = database.engine.sync_engine, Entrant()

    def before(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        context.sent_at = time.perf_counter()

    def after(connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        entrant, now = _entrant.get() or anybody, time.perf_counter()
        if id(connection) not in entrant.opened:
            entrant.opened[id(connection)] = None if statement.startswith(_READS) else now
        if "FOR UPDATE" in statement or "ON CONFLICT" in statement:
            entrant.locks.append((context.sent_at, now))

    def ended(connection: Any) -> None:
        entrant = _entrant.get() or anybody
        if (since := entrant.opened.pop(id(connection), None)) is not None:
            entrant.transactions.append((since, time.perf_counter()))

    listening: tuple[tuple[str, Any], ...] = (
        ("before_cursor_execute", before),
        ("after_cursor_execute", after),
        ("commit", ended),
        ("rollback", ended),
    )
    for name, listener in listening:
        event.listen(engine, name, listener)
    try:
        yield anybody
    finally:
        for name, listener in listening:
            event.remove(engine, name, listener)


def overlapped(one: Entrant, other: Entrant) -> bool:
    """Whether both had a transaction open at one moment."""
    return any(began < until and since < ended for began, ended in one.transactions for since, until in other.transactions)


def waited(one: Entrant, other: Entrant) -> bool:
    """Whether `one` asked for a lock before a commit of `other` was sent, and was answered after it."""
    return any(sent < until < answered for sent, answered in one.locks for _since, until in other.transactions)


# ---- the track ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one side came out: what the verb answered, or the slug of the refusal."""

    answer: Any = None
    slug: str = ""
    detail: str = ""

    @property
    def won(self) -> bool:
        return not self.slug


Outcomes = dict[str, Outcome]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivered milestone and the links of both its approvers, Clara's first."""

    milestone_id: UUID
    links: list[Link]


@dataclass
class Track:
    """Where one kind of race is run."""

    kind: str
    shop: Shop
    owner: Database
    """As the role that owns the tables: to see and drop jobs, which the application may only enqueue."""
    other_id: UUID
    """A second approver, Carl."""
    anybody: Entrant
    """What is done in no entrant's task: a web server's work."""
    number: int = 0
    """The race that is next."""
    endings: Counter[str] = field(default_factory=Counter)
    overlapped: int = 0
    waited: int = 0
    late: dict[str, float] = field(default_factory=dict)
    """How many seconds a side waits before it starts, so that it does not always come first."""
    first: str = ""
    """Who came first in the last race."""
    step: float = 0
    expected: dict[UUID, tuple[int, str, int]] = field(default_factory=dict)
    """Per milestone: the race, the state it must be in, how many sign-offs it must have."""

    @property
    def db(self) -> Database:
        return self.shop.db

    @property
    def settings(self) -> Settings:
        return self.shop.services.settings

    def drawn(self) -> random.Random:
        """The dice of the next race: the same ones for the same seed, kind and number, however many races are run."""
        return random.Random(f"{seed()}:{self.kind}:{self.number}")

    async def race(self, **sides: Side) -> Outcomes:
        """Start all sides at nearly the same moment, and answer how each came out.

        A refusal must be one that the caller can act on: a status of 4xx, a slug and a sentence. Anything else fails the race.
        """
        drawn = self.drawn()
        order = [(name, drawn.choice((0, 0, 0.0005, 0.001)) + self.late.get(name, 0)) for name in drawn.sample(list(sides), len(sides))]
        entrants = {name: Entrant() for name in sides}
        self.anybody.transactions.clear()
        self.anybody.locks.clear()

        async def entered(name: str, after: float) -> tuple[str, Outcome]:
            _entrant.set(entrants[name])
            await asyncio.sleep(after)
            try:
                return name, Outcome(await sides[name]())
            except Replayed as replayed:
                return name, Outcome(replayed.resource_id, "replayed", "the answer of the first")
            except TollgateError as error:
                refused = error
            assert 400 <= status_of(refused) < 500, f"{name} was answered {status_of(refused)}"
            assert str(refused.detail), f"{name} was refused without a reason"
            slug = refused.problem_slug if isinstance(refused, Problem) else refused.slug
            return name, Outcome(None, slug, str(refused.detail))

        outcomes = dict(await asyncio.gather(*(entered(name, after) for name, after in order)))
        pairs = [(one, other) for one in entrants.values() for other in entrants.values() if one is not other]
        # Over HTTP it is not known whose transaction it was; but none waits for its own commit.
        waiting = any(waited(one, other) for one, other in [*pairs, (self.anybody, self.anybody)])
        self.overlapped += waiting or any(overlapped(one, other) for one, other in pairs)
        self.waited += waiting
        self.number += 1
        if len(sides) == 2:
            self._even_out(entrants)
        return outcomes

    def _even_out(self, entrants: dict[str, Entrant]) -> None:
        """Let whoever got the first lock start a little later the next time: the ways to the locks are not of one length, and longer on a busy machine."""
        came = {name: entrant.locks[0][1] for name, entrant in entrants.items() if entrant.locks}
        if len(came) < len(entrants):
            return
        first = min(came, key=lambda name: came[name])
        self.step = min(self.step * 2, MOST_STEP) if first == self.first else LEAST_STEP
        self.first = first
        other = next(name for name in entrants if name != first)
        spare = min(self.step, self.late.get(other, 0))
        self.late = {other: self.late.get(other, 0) - spare, first: min(self.late.get(first, 0) + self.step - spare, MOST_LATE)}

    def ended(self, ending: str, milestone_id: UUID | None = None, state: str = "", *, sign_offs: int = 1) -> None:
        """Count how the race ended, and what its milestone must look like when the batch is over."""
        self.endings[ending] += 1
        if milestone_id is not None:
            self.expected[milestone_id] = (self.number - 1, state, sign_offs)

    # ---- cases, in bulk

    async def milestones(self, count: int, **options: Any) -> list[UUID]:
        """So many milestones of active contracts, each with something to show."""
        found: list[UUID] = []
        while len(found) < count:
            found += await self.shop.active(*[AMOUNT] * min(50, count - len(found)), **{"invoicing_on_approval": "review", **options})
        async with self.db.transaction(self.shop.org.id) as session:
            session.add_all(
                Deliverable(
                    organization_id=self.shop.org.id,
                    id=uuid7(),
                    milestone_id=milestone_id,
                    kind="note",
                    title="Result",
                    note="It works",
                    created_at=clock.now(),
                )
                for milestone_id in found
            )
        return found

    async def deliver(self, milestone_id: UUID) -> UUID:
        """Show it to both approvers."""
        both = signoff.Delivery(contact_ids=[self.shop.contact_id, self.other_id])
        return await signoff.deliver(self.db, self.shop.org.command("account_manager"), milestone_id, both)

    async def delivered(self, count: int, **options: Any) -> list[Delivered]:
        """So many delivered milestones."""
        milestones = await self.milestones(count, **options)
        for milestone_id in milestones:
            await self.deliver(milestone_id)
        links = await self.links()
        return [Delivered(milestone_id, links[milestone_id]) for milestone_id in milestones]

    async def links(self) -> dict[UUID, list[Link]]:
        """What the pages behind the mails hold, of every open round: the verified link, and a decision on the content it shows."""
        found: dict[UUID, list[Link]] = {}
        async with self.db.reading(self.shop.org.id) as session:
            rows = await session.execute(
                select(ApprovalLink, ReviewRound.milestone_id, ReviewRound.content_sha256)
                .join(
                    ReviewRound, (ReviewRound.organization_id == ApprovalLink.organization_id) & (ReviewRound.id == ApprovalLink.round_id)
                )
                .where(ReviewRound.state == "open")
                .order_by(ApprovalLink.id)
            )
            for link, milestone_id, content in rows:
                verified = VerifiedLink(link.organization_id, "approval", link.id, uuid7(), None, link.expires_at)
                decision = LinkDecision(content_sha256_hex=content.hex(), signed_name="Clara Klient", reason="Please mend it")
                found.setdefault(milestone_id, []).append((verified, decision))
        return found

    def approve(self, link: Link, **command: Any) -> Side:
        """An approver presses "approve"."""
        return lambda: signoff.approve_by_link(self.db, self.shop.approver(**command), *link)

    def refuse(self, link: Link) -> Side:
        """An approver asks for changes."""
        return lambda: signoff.request_changes_by_link(self.db, self.shop.approver(), *link)

    async def count(self, model: type[Any], *conditions: Any) -> int:
        """How many rows there are of this organization."""
        async with self.db.reading(self.shop.org.id) as session:
            return int((await session.execute(select(func.count()).select_from(model).where(*conditions))).scalar_one())

    async def drop_jobs(self) -> None:
        """Leave nothing to do but billing what was approved: mails and PDFs are not what is raced here."""
        async with self.owner.engine.begin() as connection:
            await connection.execute(text("delete from job where kind <> 'signoff.milestone_approved'"))

    # ---- afterwards

    async def check(self) -> None:
        """What must hold when a batch is over: each milestone as its race ended, one bill asked for per approval, every invariant."""
        async with self.db.reading(self.shop.org.id) as session:
            states = {row.id: row.state for row in await session.execute(select(Milestone.id, Milestone.state))}
            signed = await self._sign_offs(session)
            approved = await session.execute(
                select(func.count()).select_from(ReviewRound).where(ReviewRound.state.in_(("approved", "reopened")))
            )
            found = await invariants.run(session, self.shop.org.id)
        wrong = [
            f"race {number}: {states[milestone_id]} with {signed[milestone_id]} sign-offs, expected {state} with {sign_offs}"
            for milestone_id, (number, state, sign_offs) in self.expected.items()
            if (states[milestone_id], signed[milestone_id]) != (state, sign_offs)
        ]
        assert not wrong, "; ".join(wrong[:5])
        async with self.owner.engine.connect() as connection:
            jobs = await connection.execute(
                text("select count(*) from job where kind = 'signoff.milestone_approved' and organization_id = :o"),
                {"o": self.shop.org.id},
            )
        assert jobs.scalar_one() == approved.scalar_one(), "each approval asks for one bill"
        assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []

    async def _sign_offs(self, session: AsyncSession) -> Counter[UUID]:
        rows = await session.execute(
            select(ReviewRound.milestone_id, func.count().label("times"))
            .join(SignOff, (SignOff.organization_id == ReviewRound.organization_id) & (SignOff.round_id == ReviewRound.id))
            .group_by(ReviewRound.milestone_id)
        )
        return Counter({row.milestone_id: row.times for row in rows})


def one_winner(outcomes: Outcomes, *slugs: str) -> str:
    """The name of the winner; the others were told one of these slugs."""
    winners = [name for name, outcome in outcomes.items() if outcome.won]
    assert len(winners) == 1, outcomes
    assert {outcome.slug for outcome in outcomes.values() if not outcome.won} <= set(slugs), outcomes
    return winners[0]


# ---- kinds of race --------------------------------------------------------------------------------------------------------

Run = Callable[[Track, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of race; `run` prepares so many cases and races each. `endings` are those that must all come up."""

    name: str
    run: Run
    endings: tuple[str, ...]
    suite: int = SUITE
    proof: int = PROOF

    def __str__(self) -> str:
        return self.name


@dataclass
class Card:
    """The kinds of one test module."""

    kinds: list[Kind] = field(default_factory=list)

    def __call__(self, *endings: str, suite: int = SUITE, proof: int = PROOF) -> Callable[[Run], Run]:
        def added(run: Run) -> Run:
            self.kinds.append(Kind(getattr(run, "__name__", ""), run, endings, suite, proof))
            return run

        return added


@dataclass
class Figures:
    """What all batches of a kind came to."""

    races: int = 0
    overlapped: int = 0
    waited: int = 0
    endings: Counter[str] = field(default_factory=Counter)

    def add(self, track: Track) -> None:
        """Count a batch."""
        self.races = track.number
        self.overlapped += track.overlapped
        self.waited += track.waited
        self.endings += track.endings

    def __str__(self) -> str:
        ended = ", ".join(f"{ending} {times}" for ending, times in sorted(self.endings.items()))
        return f"seed={seed()} races={self.races} overlapped={self.overlapped} waited for a lock={self.waited} ended: {ended}"

    def require(self, kind: Kind) -> None:
        """They were races, each ended, and not always the same way."""
        assert sum(self.endings.values()) == self.races, "each race ended some way"
        few = f"of {self.races} only {self.overlapped} were races at all"
        assert self.overlapped * 100 >= self.races * LEAST_OVERLAPPING_PERCENT, few
        missing = [ending for ending in kind.endings if not self.endings[ending]]
        assert self.races < ENDINGS_FROM or not missing, f"never ended with {missing}: one side always comes first"


async def run_kind(kind: Kind, db: Database, owner_url: str, settings: Settings, say: Callable[[str], None]) -> None:
    """Run as many races of a kind as are asked for, print the figures, and fail unless they were races with every ending."""
    wanted, figures, started = size(kind.suite, kind.proof), Figures(), time.perf_counter()
    owner = Database(owner_url, pool_size=1)
    try:
        with structlog.testing.capture_logs(), watched(db) as anybody:
            while figures.races < wanted:
                shop = await make_shop(services_on(settings, db))
                other = await make_contact(db, shop.org, shop.client_id, name="Carl Klient", is_billing_contact=False)
                track = Track(kind.name, shop, owner, other, anybody, number=figures.races)
                try:
                    await kind.run(track, min(BATCH, wanted - figures.races))
                    await track.check()
                except BaseException as error:
                    error.add_note(_again(track))
                    raise
                figures.add(track)
    finally:
        await owner.close()
    say(f"RACE {kind}: {figures} ({time.perf_counter() - started:.1f} s)")
    figures.require(kind)


def _again(track: Track) -> str:
    """Which race failed, and the command that runs it again."""
    return (
        f"kind {track.kind}, race {max(0, track.number - 1)}, seed {seed()}:"
        f" {SEED}={seed()} {PROOF_SIZE}={track.number + 1} python -m tests tests/faults -k '{track.kind}'"
    )
