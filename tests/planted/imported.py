"""A plugin of pytest for a run on a copy: the product under test must be the copy's own, not the one that is installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tollgate
import tollgate_sandbox


def pytest_sessionstart() -> None:
    """End with a code that is no result of a test when another copy was imported."""
    wanted = Path(os.environ["TOLLGATE_PLANTED_IN"]) / "src"
    for package in (tollgate, tollgate_sandbox):
        found = Path(str(package.__file__)).resolve()
        if not found.is_relative_to(wanted):
            pytest.exit(f"{found} was imported, and not the one under {wanted}", returncode=99)
