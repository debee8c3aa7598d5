"""SIGKILL between an approval and the money: nothing lost, nothing doubled, no number skipped."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from tests.conftest import TEMPLATE
from tests.factories.proof import seed, size
from tests.faults import kills
from tollgate.db import embedded


async def test_killed_lives(cluster: embedded.EmbeddedServer, say: Callable[[str], None]) -> None:
    count = size(150, 10_000)
    with structlog.testing.capture_logs():
        async with kills.databases(cluster, TEMPLATE) as new:
            figures = await kills.run(new, range(1, count + 1), seed(), say)
    assert figures.lives == count
    # Only what a poll looks at may differ by a few statements from life to life, so that the last points are not always reached.
    assert figures.killed >= count * 98 // 100
    assert figures.again > 0 or count < 100
    assert len(figures.hits) >= min(count, figures.points) * 98 // 100, "each life is killed at a point of its own"
    # A few stand at four points of more than a thousand, and are surely met only where there is a life for every point.
    every = ("Smtp", "Storage", "INSERT INTO payment ") if count >= figures.points else ()
    often = ("before commit", "after commit", "StripeGateway", "set_config") if count >= 100 else ()
    for word in (*often, *every):
        assert [place for place in figures.hits if word in place.name], f"some must be killed around {word}"


def test_the_plan_visits_every_point_and_does_not_depend_on_the_number_of_lives() -> None:
    places = [kills.Place("webhook", number, "") for number in range(1, 1001)]
    planned = [kills.plan(7, number, places) for number in range(1, 3001)]
    assert {one.place for one in planned[:1000]} == {one.place for one in planned[1000:2000]} == set(places)
    assert planned[211] == kills.plan(7, 212, places)
    assert len({one.place.point // 100 for one in planned[:30]}) >= 10, "the first thirty lie evenly already"
    assert [one.place for one in planned[:50]] != [kills.plan(8, number, places).place for number in range(1, 51)]
