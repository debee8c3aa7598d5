"""Empty jobs per second: our worker against the same statements sent by the bare driver, as many at a time.

Both claim batches under a lease and finish each job in a transaction of its own that is bound to its organization; so
the ratio is what the worker, SQLAlchemy and the logging context cost on top of PostgreSQL. The rounds are interleaved on
one private PostgreSQL. Prints one line `BENCH name=jobs ratio=… must=0.15 reach=0.4`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import asyncpg  # noqa: E402

from tests.factories import make_organization  # noqa: E402
from tollgate import clock  # noqa: E402
from tollgate.db import embedded, migrating  # noqa: E402
from tollgate.db.database import Database  # noqa: E402
from tollgate.jobs import Job, enqueue  # noqa: E402
from tollgate.jobs.worker import LEASE, Run, Worker  # noqa: E402

MUST, REACH = 0.15, 0.4
AT_A_TIME = 4


class Nothing(Job, frozen=True, kw_only=True):
    """A job that does nothing, so that only its handling is measured."""

    kind = "bench.nothing"
    number: int


async def ask(db: Database, organization_id: UUID, count: int) -> None:
    """Let jobs wait."""
    async with db.transaction(organization_id) as session:
        for number in range(count):
            await enqueue(session, Nothing(organization_id=organization_id, number=number))


async def ours(db: Database) -> None:
    """The worker, until nothing is due."""

    async def handle(run: Run, _job: Nothing) -> None:
        async with run.record():
            pass

    await Worker(db, {Nothing: handle}, concurrency=AT_A_TIME).run_until_idle()


async def plain(connections: list[asyncpg.Connection]) -> None:
    """The same statements on the driver."""

    async def finish(connection: asyncpg.Connection, row: Any) -> None:
        async with connection.transaction():
            await connection.execute("select set_config('tollgate.organization_id', $1, true)", str(row["organization_id"]))
            await connection.fetchval("select job_finish($1, $2, $3)", row["id"], row["fence"], clock.now())

    while True:
        async with connections[0].transaction():
            await connections[0].execute("select set_config('tollgate.organization_id', '', true)")
            rows = await connections[0].fetch("select * from job_claim($1, $2, $3)", AT_A_TIME, clock.now(), clock.now() + LEASE)
        if not rows:
            return
        await asyncio.gather(*(finish(connection, row) for connection, row in zip(connections, rows, strict=False)))


async def measure(url: str, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Seconds of each round, ours and the floor's."""
    db = Database(url)
    connections = [await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://")) for _ in range(AT_A_TIME)]
    try:
        organization = await make_organization(db)
        mine, floor = [], []
        for number in range(rounds + 1):
            await ask(db, organization.id, count)
            start = time.perf_counter()
            await ours(db)
            between = time.perf_counter()
            await ask(db, organization.id, count)
            again = time.perf_counter()
            await plain(connections)
            if number:  # the first round fills pools and caches
                mine.append(between - start)
                floor.append(time.perf_counter() - again)
        return mine, floor
    finally:
        for connection in connections:
            await connection.close()
        await db.close()


def main() -> int:
    """Run, print the medians and the ratio; 1 when the must is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=400, help="jobs in a round")
    options = parser.parse_args()
    with embedded.throwaway(durable=True) as server:
        migrating.upgrade(server.url("tollgate_owner"))
        mine, floor = asyncio.run(measure(server.url("tollgate_app"), options.rounds, options.count))
    median, floor_median = statistics.median(mine), statistics.median(floor)
    ratio = floor_median / median
    count = options.count
    print(f"ours {count / median:.0f} jobs/s, bare driver {count / floor_median:.0f} jobs/s, {options.rounds} interleaved rounds")
    print(f"BENCH name=jobs ratio={ratio:.2f} must={MUST} reach={REACH}")
    return 0 if ratio >= MUST else 1


if __name__ == "__main__":
    sys.exit(main())
