"""What a Prometheus server reads at `/metrics`: requests, jobs, the database, the outbox. Counts only: no names, no ids, no money.

Labels are bounded: a route is its template (`/contracts/{contract_id}`), never an address, so tokens and ids cannot become labels.
The text format is Prometheus' 0.0.4, written by its own client library.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import text

from tollgate import __version__, clock
from tollgate.db.database import Database
from tollgate.errors import NotFound
from tollgate.settings import Settings

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 0.5, 1, 2.5, 5, 10)
JOB_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
JOB_STATES = ("ready", "running", "dead")
BEGAN = "tollgate_began"


class Metrics:
    """The counters of one process. Each application has its own, so that two in one process never count together."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("tollgate_http_requests", "Answers by route and status", ["method", "route", "status"], **own)
        self.request_seconds = Histogram(
            "tollgate_http_request_seconds", "Time to the first byte of an answer", ["method", "route"], buckets=SECONDS, **own
        )
        self.jobs = Counter(
            "tollgate_job_attempts", "Attempts at jobs by kind and outcome: done, outage, fault or lease_lost", ["kind", "outcome"], **own
        )
        self.job_seconds = Histogram("tollgate_job_seconds", "Time of one attempt at a job", ["kind"], buckets=JOB_SECONDS, **own)
        self.last_round = Gauge("tollgate_worker_last_round_timestamp_seconds", "When the worker last looked for jobs", **own)
        Gauge("tollgate_build_info", "Which release this is", ["version"], **own).labels(__version__).set(1)

    async def answered(self, message: Message, scope: Scope) -> None:
        """A `before_send` hook: count the answer, also one that no route made."""
        if message["type"] != "http.response.start":
            return
        method = str(scope.get("method", ""))
        labels = (method if method in METHODS else "other", str(scope.get("path_template") or "unmatched"))
        self.requests.labels(*labels, str(message["status"])).inc()
        began = scope.get("state", {}).get(BEGAN)
        if began is not None:
            self.request_seconds.labels(*labels).observe(clock.ticks() - began)

    def attempted(self, kind: str, outcome: str, seconds: float) -> None:
        """A worker's attempt at a job; see `jobs.worker.Watcher`."""
        self.jobs.labels(kind, outcome).inc()
        self.job_seconds.labels(kind).observe(seconds)

    def looked(self) -> None:
        """A worker's round; see `jobs.worker.Watcher`."""
        self.last_round.set(clock.now().timestamp())


class Stopwatch:
    """Notes when a request began."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            scope.setdefault("state", {})[BEGAN] = clock.ticks()
        await self.app(scope, receive, send)


class _Now:
    """Figures of the database at this moment, in Prometheus' terms."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield from self.families


async def exposition(db: Database, metrics: Metrics) -> bytes:
    """Everything, in the text format. An outage of the database is a figure too (`tollgate_database_up 0`)."""
    moment = CollectorRegistry()
    moment.register(_Now(await _figures(db)))
    return generate_latest(metrics.registry) + generate_latest(moment)


async def _figures(db: Database) -> list[Metric]:
    up = GaugeMetricFamily("tollgate_database_up", "Whether the database answers")
    try:
        async with db.looking_up() as session:
            counts = {str(state): int(jobs) for state, jobs in await session.execute(text("select state, count from job_counts()"))}
            now = {"now": clock.now()}
            waiting = list(await session.execute(text("select kind, due, due_since from outbox_waiting(:now)"), now))
            held = list(await session.execute(text("select held_at from outbox_state() where released_at is null")))
    except Exception:  # Whatever keeps the database from answering, the scrape still says so.
        up.add_metric([], 0)
        return [up]
    up.add_metric([], 1)
    jobs = GaugeMetricFamily("tollgate_jobs", "Jobs that are not done, by state", labels=["state"])
    for state in JOB_STATES:
        jobs.add_metric([state], counts.get(state, 0))
    due = GaugeMetricFamily("tollgate_jobs_due", "Jobs that could run now, by kind", labels=["kind"])
    for row in waiting:
        due.add_metric([row.kind], row.due)
    since = [row.due_since for row in waiting if row.due_since is not None]
    lag = GaugeMetricFamily("tollgate_oldest_due_job_seconds", "For how long the job that waits longest could have run")
    lag.add_metric([], max((clock.now() - min(since)).total_seconds(), 0) if since else 0)
    hold = GaugeMetricFamily("tollgate_outbox_held", "Whether a restored server waits for somebody to release its outbox")
    hold.add_metric([], len(held))
    pool: Any = db.engine.pool
    busy = GaugeMetricFamily("tollgate_database_connections_busy", "Connections of this process that are in use")
    busy.add_metric([], pool.checkedout())
    return [up, jobs, due, lag, hold, busy]


@get("/metrics", include_in_schema=False)
async def metrics_page(
    request: Request[Any, Any, Any], db: NamedDependency[Database], settings: NamedDependency[Settings], metrics: NamedDependency[Metrics]
) -> Response[bytes]:
    """The figures, for whoever has METRICS_TOKEN. Without that setting there is no such page."""
    if not settings.metrics_token:
        raise NotFound
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), settings.metrics_token.encode()):
        return Response(b"", status_code=401, headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
    return Response(await exposition(db, metrics), media_type=CONTENT_TYPE_LATEST)
