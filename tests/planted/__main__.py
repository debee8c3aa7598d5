"""`python -m tests.planted [--only NAME …]`: plant each bug in a copy of the repository, and see its suite turn red there.

All the suites are run on the clean copy first and must pass. With a bug in place pytest must report failed tests: a suite that cannot be
collected, finds no test, or looks at another copy of the product proves nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.planted.bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "dist", "build")
LONGEST_SECONDS = 900
MOST_SHOWN = 120
WHERE = "TOLLGATE_PLANTED_IN"
"""The folder whose `src` must be the one that is imported (`imported.py` looks)."""
OTHERS = ("TOLLGATE_PROOF", "TOLLGATE_SEED", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "DATABASE_URL", "STRIPE_SECRET_KEY", "SMTP_URL")


class Wrong(Exception):
    """A bug was not caught, or its suite says nothing."""


def planted(text: str, old: str, new: str, file: str) -> str:
    """The text with the bug. Raises `Wrong` unless `old` stands there exactly once."""
    if text.count(old) != 1:
        raise Wrong(f"{file} holds {text.count(old)} times what is to be changed: {old.strip()[:100]}")
    return text.replace(old, new)


def changed(root: Path, bug: Bug) -> dict[Path, str]:
    """Every file that the bug changes, with its new text."""
    files: dict[Path, str] = {}
    for edit in bug.edits:
        path = root / edit.file
        files[path] = planted(files.get(path) or path.read_text(), edit.old, edit.new, edit.file)
    return files


@contextmanager
def in_place(root: Path, bug: Bug) -> Iterator[None]:
    """The copy holds the bug."""
    files = changed(root, bug)
    before = {path: path.read_text() for path in files}
    try:
        for path, text in files.items():
            path.write_text(text)
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)


def run(root: Path, *suites: str) -> tuple[int, str]:
    """The exit code of pytest on the copy, and what it said."""
    environment = {name: value for name, value in os.environ.items() if name not in OTHERS}
    environment |= {
        WHERE: str(root),
        "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
        # A bug of the same length, planted in the same second, would run from the old bytecode.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.planted.imported", *suites]
    try:
        ended = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return -1, f"no end after {LONGEST_SECONDS} s"
    return ended.returncode, ended.stdout + ended.stderr


def not_clean(root: Path, suites: Sequence[str]) -> dict[str, str]:
    """The suites that do not pass without any bug, and what they said: all in one run, and one by one where that fails."""
    code, said = run(root, *suites)
    if code == 0:
        return {}
    if len(suites) == 1:
        return {suites[0]: f"{suites[0]} does not pass without a bug (exit {code})\n{said[-3000:]}"}
    return {suite: text for one in suites for suite, text in not_clean(root, [one]).items()}


def expect_caught(root: Path, bug: Bug) -> str:
    """The suite fails with the bug; answers the first test that did. Raises `Wrong`."""
    with in_place(root, bug):
        code, said = run(root, bug.suite)
    failed = re.search(r"^FAILED (\S+)", said, re.MULTILINE)
    if code != 1 or failed is None:
        raise Wrong(f"{bug.suite} did not catch it (exit {code})\n{said[-3000:]}")
    return failed[1] if len(failed[1]) <= MOST_SHOWN else f"{failed[1][:MOST_SHOWN]}…"


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant them all; 0 when every one was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="bugs whose name holds this; may be given again")
    only: list[str] = parser.parse_args(arguments).only or [""]
    bugs = [bug for bug in BUGS if any(name in bug.name for name in only)]
    if not bugs:
        parser.error(f"no bug is called {', '.join(only)}")
    missed = 0
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tollgate-planted-") as folder:
        root = Path(folder, "copy").resolve()
        shutil.copytree(ROOT, root, ignore=LEFT_OUT)
        dirty = not_clean(root, sorted({bug.suite for bug in bugs}))
        print(f"without a bug, {time.perf_counter() - begun:.0f} s: {len(dirty)} suites do not pass\n")
        print("| planted bug | caught by | seconds |\n| --- | --- | --- |", flush=True)
        for bug in bugs:
            started = time.perf_counter()
            try:
                if bug.suite in dirty:
                    raise Wrong(dirty[bug.suite])
                caught_by = expect_caught(root, bug)
            except Wrong as wrong:
                missed += 1
                print(f"| {bug.name} | NOT CAUGHT | {time.perf_counter() - started:.0f} |\n{wrong}", flush=True)
            else:
                print(f"| {bug.name} | `{caught_by}` | {time.perf_counter() - started:.0f} |", flush=True)
    print(f"PLANTED bugs={len(bugs)} caught={len(bugs) - missed} not caught={missed} seconds={time.perf_counter() - begun:.0f}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
