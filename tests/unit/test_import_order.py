"""Imports point one way, and the tool that says so is not asleep."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint(source: Path) -> tuple[int, str]:
    """Exit code and output of import-linter on the packages in this folder."""
    run = "import sys; from importlinter.cli import lint_imports_command as c; sys.argv = ['lint-imports', *sys.argv[1:]]; c()"
    answer = subprocess.run(
        [sys.executable, "-c", run, "--no-cache", str(ROOT / ".importlinter")],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_every_import_points_down() -> None:
    code, output = lint(ROOT / "src")
    assert code == 0, output


PLANTED = [
    # module it is planted in, the line, the contract that must notice
    ("tollgate/db/planted.py", "import tollgate.billing", "Rooms import only what lies below them"),
    ("tollgate/errors.py", "import tollgate.settings", "Rooms import only what lies below them"),
    ("tollgate/billing/planted.py", "import tollgate.payments", "Rooms import only what lies below them"),
    ("tollgate/new_room/__init__.py", "", "Rooms import only what lies below them"),
    ("tollgate/billing/models.py", "import tollgate.billing.service", "Within a room"),
    ("tollgate/signoff/rules.py", "import tollgate.signoff.models", "Within a room"),
    ("tollgate/billing/rules.py", "from sqlalchemy import select", "rules.py does no I/O"),
    ("tollgate/signoff/rules.py", "from tollgate.clock import now", "rules.py does no I/O"),
    ("tollgate/billing/planted.py", "import stripe", "Only payments/stripe_gateway.py imports stripe"),
    ("tollgate/payments/rules.py", "from stripe import StripeClient", "Only payments/stripe_gateway.py imports stripe"),
    ("tollgate/billing/planted.py", "from reportlab.pdfgen import canvas", "Only documents/ imports reportlab"),
    ("tollgate/web/planted.py", "import httpx", "Nothing that only tests"),
    ("tollgate/web/planted.py", "import tollgate_sandbox", "Product and sandbox"),
    ("tollgate_sandbox/planted.py", "import tollgate.money", "Product and sandbox"),
]


@pytest.mark.parametrize(("module", "line", "contract"), PLANTED, ids=[f"{module}: {line}" for module, line, _ in PLANTED])
def test_a_planted_import_is_caught_by_name(module: str, line: str, contract: str, tmp_path: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__", "static", "locales", "templates")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=skipped)
    planted = tmp_path / "src" / module
    planted.parent.mkdir(exist_ok=True)
    if line.startswith("import tollgate.billing.service"):
        (planted.parent / "service.py").touch()
    with planted.open("a") as file:
        file.write(f"\n{line}\n")
    code, output = lint(tmp_path / "src")
    assert code == 1, output
    broken = output.partition("Broken contracts")[2]
    assert contract in broken, output
    if line:
        assert module.removesuffix(".py").replace("/", ".") in broken, output
