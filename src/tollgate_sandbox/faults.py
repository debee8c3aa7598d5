"""Misbehaviour on demand: what goes wrong at the Stripe-like server, planned beforehand and done in the order it was planned.

One object, `sandbox.faults`, for tests in the process, for scripts (`/_sandbox/faults`) and for people (the page `/_sandbox`).
It may be used from any thread. Plans belong to one life of the sandbox, as webhook addresses do; what they did to objects and
deliveries is kept with them.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any, Literal, get_args

from tollgate_sandbox.store import account_named

Kind = Literal[
    "rate_limited",
    "conflict",
    "locked",
    "failed",
    "failed_saved",
    "done_failed_saved",
    "unavailable",
    "slow",
    "reset",
    "lost_request",
    "lost_response",
]
KINDS: dict[str, str] = {
    "rate_limited": "429, too many requests; nothing is done",
    "conflict": "409, another call with this key is under way; nothing is done",
    "locked": "429 lock_timeout, somebody else holds the object; nothing is done",
    "failed": "500, not saved under the key; nothing is done",
    "failed_saved": "500, saved under the key, so that every repetition gets it again; nothing is done",
    "done_failed_saved": "500, saved under the key, although it was done",
    "unavailable": "503; nothing is done",
    "slow": "waits, then does it and answers",
    "reset": "the connection is reset before anything is done",
    "lost_request": "the request never arrives: nothing is done, and after a while the connection closes without an answer",
    "lost_response": "it is done and saved under the key, then the connection closes without an answer",
}
"""Every kind of misbehaving call, and what it means to the caller."""
assert set(KINDS) == set(get_args(Kind))
MOST_SECONDS = 600.0
MOST_TIMES = 1_000_000
REMEMBERED_CALLS = 10_000
_MATCH = re.compile(r"(\*|GET|POST|DELETE|PUT|PATCH) (/[^\s?#]*)")


@dataclass(frozen=True, slots=True)
class Seen:
    """One API call that arrived. `status` is None while it runs and when it got no answer; `fault` is the kind that met it."""

    method: str
    path: str
    key: str | None
    """Its idempotency key."""
    status: int | None
    account: str | None
    """The account's id; None when the key was refused."""
    fault: str | None = None

    def __iter__(self) -> Any:
        """Unpacks as (method, path, idempotency key, status)."""
        return iter((self.method, self.path, self.key, self.status))


@dataclass(slots=True)
class CallFault:
    """One planned fault. It meets the calls that fit `match`, lets `skip` of them pass, then takes `times` (None: until cleared)."""

    id: int
    kind: Kind
    match: str
    times: int | None
    skip: int
    account: str | None
    """An account's id; None: any account."""
    seconds: float
    passed: int = 0
    done: int = 0

    @property
    def over(self) -> bool:
        """Nothing is left of it."""
        return self.times is not None and self.done >= self.times


@dataclass(frozen=True, slots=True)
class WebhookFaults:
    """How deliveries go wrong. `delay` is in seconds; `lose` is a probability, "all", or event types (`invoice.*` works)."""

    duplicate: int = 0
    shuffle: bool = False
    hold: bool = False
    delay: tuple[float, float] = (0.0, 0.0)
    lose: float | Literal["all"] | tuple[str, ...] = 0.0
    seed: int | str = 0
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one event at one address: lost, or `copies` deliveries after `delays` seconds each, held or not."""

    lost: bool = False
    delays: tuple[float, ...] = (0.0,)
    held: bool = False


@dataclass(slots=True)
class _WebhookPlan:
    wish: WebhookFaults
    random: dict[str, random.Random] = field(default_factory=dict)
    """One stream by account, so that accounts do not disturb each other's luck."""


class Faults:
    """Everything that is planned and everything that was done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plan: list[CallFault] = []
        self._past: deque[CallFault] = deque(maxlen=100)
        self._next_id = 1
        self._calls: deque[Seen] = deque(maxlen=REMEMBERED_CALLS)
        self._webhooks: dict[str | None, _WebhookPlan] = {}
        self._down: set[str | None] = set()
        self._offset = 0.0

    # API calls.

    def call(
        self,
        kind: Kind,
        match: str = "* /v1/**",
        *,
        times: int | None = 1,
        skip: int = 0,
        account: str | None = None,
        seconds: float = 0.5,
    ) -> CallFault:
        """Plan a fault for API calls.

        `match` is a method and a path, `*` standing for any method or any one step of the path and `**` for the rest of it:
        `POST /v1/invoices/*/finalize`. `skip` calls that fit pass first, then `times` of them are met (None: until cleared).
        `seconds` is how long `slow` waits and `lost_request` stays silent. `account` is an id, a name or a key. Of several planned
        faults that fit a call, the one planned first meets it; the others do not count that call. Raises ValueError.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        _glob(match)
        if times is not None and not 1 <= times <= MOST_TIMES:
            raise ValueError(f"times must be between 1 and {MOST_TIMES}, or absent for until cleared")
        if not 0 <= skip <= MOST_TIMES:
            raise ValueError(f"skip must be between 0 and {MOST_TIMES}")
        if not 0 <= seconds <= MOST_SECONDS:
            raise ValueError(f"seconds must be between 0 and {MOST_SECONDS:.0f}")
        with self._lock:
            fault = CallFault(self._next_id, kind, match, times, skip, account_named(account), seconds)
            self._next_id += 1
            self._plan.append(fault)
            return fault

    def down(self, is_down: bool = True, *, account: str | None = None) -> None:
        """Stripe is down, or up again: every API call (of one account, or of all) is reset before anything is done."""
        with self._lock:
            (self._down.add if is_down else self._down.discard)(account_named(account))

    def is_down(self, account_id: str | None) -> bool:
        """Whether calls of this account are reset."""
        return None in self._down or account_id in self._down

    def take(self, method: str, path: str, account_id: str) -> CallFault | None:
        """The planned fault that meets this call, counted as done."""
        with self._lock:
            for fault in self._plan:
                if fault.account not in (None, account_id) or not fits(fault.match, method, path):
                    continue
                if fault.passed < fault.skip:
                    fault.passed += 1
                    continue
                fault.done += 1
                if fault.over:
                    self._plan.remove(fault)
                    self._past.append(fault)
                return fault
        return None

    def planned(self) -> list[CallFault]:
        """What is still to come, in order."""
        with self._lock:
            return [replace(fault) for fault in self._plan]

    def past(self) -> list[CallFault]:
        """What was done to the end or cleared, oldest first."""
        with self._lock:
            return [replace(fault) for fault in self._past]

    def clear(self, fault_id: int | None = None) -> bool:
        """Take back one planned fault (False: there is none), or everything: calls, webhooks, the outage and the clock."""
        with self._lock:
            gone = [fault for fault in self._plan if fault_id in (None, fault.id)]
            self._plan = [fault for fault in self._plan if fault not in gone]
            self._past.extend(fault for fault in gone if fault.done)
            if fault_id is None:
                self._webhooks.clear()
                self._down.clear()
                self._offset = 0.0
            return bool(gone)

    # Calls that arrived.

    @property
    def seen(self) -> list[Seen]:
        """The API calls that arrived, oldest first, at most the last 10,000."""
        with self._lock:
            return list(self._calls)

    def calls(self, match: str = "* /**", account: str | None = None) -> list[Seen]:
        """The calls that fit `match`, of one account or of all, oldest first."""
        wanted = account_named(account)
        return [seen for seen in self.seen if wanted in (None, seen.account) and fits(match, seen.method, seen.path)]

    def forget(self) -> None:
        """Forget the calls that arrived, so that a test counts from here."""
        with self._lock:
            self._calls.clear()

    def note(self, seen: Seen, answered: Seen | None = None) -> None:
        """Remember a call on arrival, and put what became of it in its place afterwards."""
        with self._lock:
            if answered is None:
                self._calls.append(seen)
                return
            for index in range(len(self._calls) - 1, -1, -1):
                if self._calls[index] is seen:
                    self._calls[index] = answered
                    return

    # Webhooks.

    def webhooks(
        self,
        *,
        duplicate: int = 0,
        shuffle: bool = False,
        hold: bool = False,
        delay: tuple[float, float] = (0.0, 0.0),
        lose: float | Literal["all"] | Sequence[str] = 0.0,
        seed: int | str = 0,
        account: str | None = None,
    ) -> None:
        """From now on deliver like this; without arguments, deliver properly again. One account's plan goes before that of all.

        Each event comes `duplicate` times more, each time after `delay` = (least, most) seconds. `hold` keeps deliveries until
        `sandbox.webhooks.release()`; `shuffle` delivers held ones in another order, and without `hold` holds them until no event
        came for a moment. `lose` is a probability, "all" or a list of event types: those are shown as lost and never delivered.
        The same seed and the same events of an account in the same order meet the same fate. Raises ValueError.
        """
        least, most = delay
        if not 0 <= least <= most <= MOST_SECONDS:
            raise ValueError(f"delay must be two numbers of seconds between 0 and {MOST_SECONDS:.0f}, the smaller first")
        if not 0 <= duplicate <= 100:
            raise ValueError("duplicate must be between 0 and 100")
        if isinstance(lose, str) and lose != "all":
            raise ValueError('lose must be a probability, "all" or a list of event types')
        if isinstance(lose, (int, float)) and not 0 <= lose <= 1:
            raise ValueError("the probability to lose an event must be between 0 and 1")
        which = lose if isinstance(lose, (int, float)) or lose == "all" else tuple(lose)
        wish = WebhookFaults(duplicate, shuffle, hold, (least, most), which, seed, account_named(account))
        with self._lock:
            if replace(wish, seed=0, account=None) == WebhookFaults():
                self._webhooks.pop(wish.account, None)
            else:
                self._webhooks[wish.account] = _WebhookPlan(wish)

    def webhook_plan(self, account_id: str) -> WebhookFaults:
        """How events of this account are delivered."""
        with self._lock:
            plan = self._plan_of(account_id)
            return plan.wish if plan else WebhookFaults()

    def webhook_plans(self) -> list[WebhookFaults]:
        """Every plan in force."""
        with self._lock:
            return [plan.wish for plan in self._webhooks.values()]

    def fate(self, account_id: str, kind: str) -> Fate:
        """What becomes of the account's next event, at one address."""
        with self._lock:
            plan = self._plan_of(account_id)
            if plan is None:
                return Fate()
            wish = plan.wish
            # A number by event, whatever is asked of it: so the luck of an event does not hang on the other options.
            luck = self._luck(plan, account_id)
            lost = luck.random() < wish.lose if isinstance(wish.lose, (int, float)) else _loses(wish.lose, kind)
            return Fate(lost, tuple(luck.uniform(*wish.delay) for _ in range(1 + wish.duplicate)), wish.hold or wish.shuffle)

    def order(self, account_id: str, count: int) -> list[int]:
        """In which order so many held deliveries leave."""
        order = list(range(count))
        with self._lock:
            plan = self._plan_of(account_id)
            if plan is not None and plan.wish.shuffle:
                self._luck(plan, account_id).shuffle(order)
        return order

    def _plan_of(self, account_id: str) -> _WebhookPlan | None:
        return self._webhooks.get(account_id) or self._webhooks.get(None)

    def _luck(self, plan: _WebhookPlan, account_id: str) -> random.Random:
        if account_id not in plan.random:
            # By the order in which accounts come, not by their names: a test's account is named at random.
            plan.random[account_id] = random.Random(f"{plan.wish.seed}:{len(plan.random)}")
        return random.Random(plan.random[account_id].random())

    # The clock.

    def clock(self, offset_seconds: float = 0.0) -> None:
        """Let the sandbox's clock be off: objects, events, signatures and the Date header. Above 0: it is ahead of ours."""
        if not -1e9 <= offset_seconds <= 1e9:
            raise ValueError("the clock can be off by at most a billion seconds")
        self._offset = offset_seconds

    @property
    def offset(self) -> float:
        """By how many seconds the clock is off."""
        return self._offset

    def now(self) -> float:
        """Seconds since the epoch by the sandbox's clock."""
        return time.time() + self._offset

    def as_json(self) -> dict[str, Any]:
        """Everything planned, for scripts."""
        with self._lock:
            down = sorted(account or "*" for account in self._down)
        return {
            "planned": [asdict(fault) for fault in self.planned()],
            "past": [asdict(fault) for fault in self.past()],
            "down": down,
            "webhooks": [asdict(plan) for plan in self.webhook_plans()],
            "clock": self._offset,
        }


def fits(match: str, method: str, path: str) -> bool:
    """Whether a call fits `METHOD /path/*/glob`. Raises ValueError for a pattern that is none."""
    wanted, pattern = _glob(match)
    return wanted in ("*", method) and pattern.fullmatch(path) is not None


@cache
def _glob(match: str) -> tuple[str, re.Pattern[str]]:
    read = _MATCH.fullmatch(match)
    if read is None:
        raise ValueError("match must be a method and a path, such as 'POST /v1/invoices/*/finalize'")
    parts = re.split(r"(\*\*|\*)", read[2])
    known = {"**": ".*", "*": "[^/]*"}
    return read[1], re.compile("".join(known.get(part) or re.escape(part) for part in parts))


def _loses(lose: str | tuple[str, ...], kind: str) -> bool:
    return lose == "all" or any(kind.startswith(one[:-1]) if one.endswith("*") else kind == one for one in lose)
