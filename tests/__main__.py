"""`python -m tests [pytest arguments]`: see that there is a browser, then run pytest; the exit code is pytest's.

The browser tests drive Chromium. It is looked up in TOLLGATE_CHROMIUM, on PATH, and where Playwright keeps its own;
when there is none it is installed, and when that fails too, the one command that would do it is named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "TOLLGATE_CHROMIUM"


def works(browser: str | None) -> bool:
    """Whether it starts at all: on some systems `chromium` is a stub that only names another package manager."""
    if not browser:
        return False
    try:
        return (
            subprocess.run([browser, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_browser() -> str | None:
    """The path of a Chromium that starts, or None."""
    for name in NAMES:
        browser = shutil.which(name)
        if works(browser):
            return browser
    asked = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    answer = subprocess.run([sys.executable, "-c", asked], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    browser = answer.stdout.strip()
    return browser if works(browser) else None


def install_browser() -> None:
    """Try the ways that need nobody's answer; whether one worked is for `find_browser` to say."""
    ways: list[list[str]] = []
    is_root = os.geteuid() == 0
    if is_root and shutil.which("apt-get"):
        ways.append(["apt-get", "update", "-qq"])
        ways.append(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"])
    ways.append([sys.executable, "-m", "playwright", "install", *(["--with-deps"] if is_root else []), "chromium"])
    for way in ways:
        print("no Chromium yet, trying:", *way, file=sys.stderr, flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(way, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment, check=False)
        if way[1] != "update" and find_browser():
            return


def browser_or_complaint() -> tuple[str | None, str]:
    """A browser, or None and what to do about it."""
    named = os.environ.get(VARIABLE)
    if named:
        return (named, "") if works(named) else (None, f"{VARIABLE} is {named}, which does not start; unset it, or name a Chromium")
    browser = find_browser()
    if browser is None:
        install_browser()
        browser = find_browser()
    return browser, "The browser tests need Chromium. Run: sudo apt-get install chromium"


def main(arguments: list[str]) -> int:
    """Run pytest in this interpreter, from the top of the repository."""
    browser, complaint = browser_or_complaint()
    if browser is None:
        print(complaint, file=sys.stderr)
        return 3
    os.environ[VARIABLE] = browser
    os.chdir(ROOT)
    # A developer's own keys and servers are none of the tests' business.
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "STRIPE_SECRET_KEY", "STRIPE_LIVE", "SMTP_URL", "TOLLGATE_DATA"):
        os.environ.pop(name, None)
    import pytest

    # A process per core and one more, for outages and lost answers are waited for; each has a PostgreSQL of its own, and a file
    # stays in one process, for its shared fixtures. In the order of the folders: the long files of faults/ come early, not last.
    spread = (
        []
        if any(argument.startswith(("-n", "-p", "--pdb")) for argument in arguments)
        else ["-n", str(min(4, (os.cpu_count() or 1) + 1)), "--dist", "loadfile", "--no-loadscope-reorder"]
    )
    return int(pytest.main(["-q", *spread, *arguments]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
