"""SIGKILL between an approval and the client's mail: nothing lost, nothing doubled, no number skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

from tests.factories.proof import seed, size
from tests.faults import kills


async def test_killed_lives(database_url: str, tmp_path: Path, capsys: Any) -> None:
    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)

    count = size(30, 10_000)
    with structlog.testing.capture_logs():
        async with kills.make_lives(database_url, tmp_path) as lives:
            ended = await kills.run(lives, count=count, seed=seed(), say=say)
    assert sum(life.killed for life in ended) >= count * 9 // 10, "nearly every life must reach the point at which it is killed"
    outside = [
        life.name for life in ended if "Stripe" in life.name or "Smtp" in life.name or "Storage" in life.name or "commit" in life.name
    ]
    assert outside, "some must be killed at a commit or around a call outside"
