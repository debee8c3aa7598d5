"""What the fault suites share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line of figures, whether or not output is captured. On stderr, the only one that the processes of xdist share."""

    def printed(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", file=sys.stderr, end="", flush=True)

    return printed
