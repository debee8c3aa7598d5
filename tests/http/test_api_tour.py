"""The tour in docs/api.md runs as it stands, and its list of calls is the list of what the server takes."""

from __future__ import annotations

import asyncio
import html
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.factories import Org
from tollgate.access import service as access
from tollgate.access.rules import NEEDS, Role
from tollgate.app import Services, create_app
from tollgate.cli import serving
from tollgate.settings import Settings
from tollgate_sandbox.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
APPROVAL = "<!-- The client approves here. -->"
SHIM = Path(__file__).with_name("curl_shim.py")
PROGRAM = "curl" if shutil.which("curl") else "shim"
"""The tour's curl: where the machine has none, a stand-in for the options that the tour uses."""


@dataclass
class Live:
    """Addresses and the key that the tour begins with."""

    web: str
    mail: str
    key: str


@pytest.fixture
async def live(settings: Settings, organization: Org) -> AsyncIterator[Live]:
    """A web server, a worker and a mail catcher on loopback."""
    sock = serving.listen("127.0.0.1", 0)
    web = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with Sandbox() as sandbox:
        shared = Services.of(settings.with_(base_url=web, smtp_url=f"{sandbox.smtp_url}?starttls=0"))
        made = await access.create_api_key(shared.db, organization.command(), name="Tour", role=Role.ADMIN)
        async with serving.web(shared.settings, shared, sock), serving.worker(shared):
            yield Live(web, sandbox.mail_url, str(made.secret))


def blocks(text: str) -> list[str]:
    """The shell blocks of a part of the page."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


async def run(script: str, folder: Path, live: Live) -> str:
    """The script's output, blank lines and all. Fails with its errors when any line fails."""
    path = os.environ["PATH"]
    if PROGRAM == "shim":
        programs = folder / "programs"
        programs.mkdir(exist_ok=True)
        (programs / "curl").write_text(f'#!/bin/sh\nexec {sys.executable} {SHIM} "$@"\n')
        (programs / "curl").chmod(0o755)
        path = f"{programs}:{path}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script,
        cwd=folder,
        env={"PATH": path, "TOLLGATE": live.web, "KEY": live.key, "MAIL": live.mail, "NO_PROXY": "127.0.0.1", "LC_ALL": "C.UTF-8"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, f"{output.decode()}\n{errors.decode()}"
    return output.decode()


async def approve(mail: str) -> None:
    """What the client does between two blocks: opens the mailed link in a browser, types a name, ticks, approves."""
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as browser:
        mails = (await browser.get(f"{mail}/messages")).json()
        found = re.search(r"http://\S+/a/\S+", mails[-1]["text"])
        assert found is not None, mails[-1]["text"]
        shown = await browser.get(found[0])
        form = re.search(r'<form[^>]*action="([^"]*/approval)".*?</form>', shown.text, re.DOTALL)
        assert form is not None, shown.text
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[0])
        fields = {name: html.unescape(value) for name, value in hidden}
        answer = await browser.post(
            str(shown.url.join(form[1])),
            data={**fields, "signed_name": "Lena Sommer", "agree": "yes"},
            headers={"Origin": f"{shown.url.scheme}://{shown.url.netloc.decode()}", "Sec-Fetch-Site": "same-origin"},
        )
        assert answer.status_code == 200, answer.text


async def test_the_tour_runs_as_it_stands(live: Live, tmp_path: Path) -> None:
    before, _marker, after = PAGE.partition(APPROVAL)
    variables = tmp_path / "variables"
    keep = f"\ndeclare -p client contact contract milestone round > {variables}; declare -f >> {variables}\n"
    first = await run("\n".join(blocks(before)) + keep, tmp_path, live)
    assert "Idempotency-Replayed: true".lower() in first.lower()
    lines = first.splitlines()
    assert lines[0] == "Nordlicht Studio GmbH"
    assert {"PO-2027-1", "https://tollgate.example/problems/stale", "active", "link", "open"} <= set(lines)
    await approve(live.mail)
    second = (await run(f". {variables}\n" + "\n".join(blocks(after)), tmp_path, live)).splitlines()
    assert second[0].startswith("%PDF-")
    assert "paid" in second
    assert second[-1] == "True"


def test_there_is_a_tour_on_both_sides_of_the_approval() -> None:
    before, _marker, after = PAGE.partition(APPROVAL)
    assert len(blocks(before)) >= 8
    assert len(blocks(after)) >= 3


def written() -> dict[str, str]:
    """Call → role, as the page lists them."""
    rows = re.findall(r"^\| `((?:GET|POST|PATCH|DELETE) /[^`]*)` \|.*\| ([a-z ]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len({call for call, _role in rows}), "a call is listed twice"
    return dict(rows)


def served(settings: Settings) -> dict[str, str]:
    """Call → least role, as the server has them."""
    found = {}
    for route in create_app(settings).routes:
        if not route.path.startswith("/api/v1/"):
            continue
        for handler in getattr(route, "route_handlers", ()):
            permissions = [permission for guard in handler.resolve_guards() if (permission := permission_of(guard)) is not None]
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                assert permissions, f"{method} {route.path} has no guard"
                path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path.removeprefix("/api/v1"))
                found[f"{method} {path}"] = NEEDS[permissions[0]].value.replace("_", " ")
    return found


def permission_of(guard: object) -> object:
    """What `requires(…)` asks for; Litestar wraps guards."""
    return getattr(guard, "permission", None) or getattr(getattr(guard, "func", None), "permission", None)


def test_the_list_of_calls_is_what_the_server_takes(settings: Settings) -> None:
    assert written() == served(settings)
