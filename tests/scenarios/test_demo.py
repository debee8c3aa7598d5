"""`tollgate demo` as a stranger runs it: one process, one line of JSON, clean end, the same data the next time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("STRIPE_", "SMTP_", "DATABASE_", "TOLLGATE_DATA"))}


async def command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tollgate.cli", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip


@asynccontextmanager
async def demo(data: Path, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    process = await command("demo", "--data", str(data), "--json", "--port", "0", *arguments)
    assert process.stdout is not None and process.stderr is not None
    line = await asyncio.wait_for(process.stdout.readline(), 120)
    if not line:
        raise AssertionError((await process.stderr.read()).decode()[-4000:])
    yield json.loads(line)
    process.send_signal(signal.SIGTERM)
    rest, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, rest) == (0, b""), complaints.decode()[-4000:]
    assert "Traceback" not in complaints.decode()


async def output(*arguments: str) -> tuple[int | None, str]:
    process = await command(*arguments)
    printed, complaints = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode, (printed + complaints).decode()


async def test_the_demo_is_whole_ends_cleanly_and_comes_back(tmp_path: Path) -> None:
    async with demo(tmp_path) as ready, httpx.AsyncClient(trust_env=False) as http:
        assert set(ready) == {"web", "mail", "stripe", "stripe_webhook_secret", "api_key", "sign_in"}
        assert (await http.get(f"{ready['web']}/health/ready")).status_code == 200
        key = {"Authorization": f"Bearer {ready['api_key']}"}
        invoices = (await http.get(f"{ready['web']}/api/v1/invoices", headers=key)).json()["items"]
        numbers = sorted(invoice["number"] for invoice in invoices if invoice["number"])
        assert [number.rsplit("-", 1)[1] for number in numbers] == [f"{n:04}" for n in range(1, len(numbers) + 1)]
        assert {invoice["state"] for invoice in invoices} >= {"draft", "issued", "partly_paid", "paid", "credited"}
        messages = (await http.get(f"{ready['mail']}/messages")).json()
        assert any(attachment["content_type"] == "application/pdf" for message in messages for attachment in message["attachments"])
        # Other commands work while the server runs.
        code, printed = await output("check", "--data", str(tmp_path))
        assert code == 0, printed
        assert " 0 wrong" in printed and "WRONG" not in printed
        report = (await http.get(f"{ready['web']}/api/v1/reports/payments?format=csv", headers=key)).text
        code, printed = await output("export", "payments", "--data", str(tmp_path))
        assert (code, printed.replace("\r\n", "\n")) == (0, report.replace("\r\n", "\n")), "the file of the command line is the API's"
        assert len(report.splitlines()) > 3
    async with demo(tmp_path) as again, httpx.AsyncClient(trust_env=False) as http:
        assert (again["api_key"], again["sign_in"]) == (ready["api_key"], ready["sign_in"])
        key = {"Authorization": f"Bearer {again['api_key']}"}
        assert len((await http.get(f"{again['web']}/api/v1/invoices", headers=key)).json()["items"]) == len(invoices)


async def test_an_empty_demo_can_issue_at_once(tmp_path: Path) -> None:
    async with demo(tmp_path, "--empty") as ready, httpx.AsyncClient(trust_env=False) as http:
        key = {"Authorization": f"Bearer {ready['api_key']}"}
        assert (await http.get(f"{ready['web']}/api/v1/clients", headers=key)).json()["items"] == []
        seller = (await http.get(f"{ready['web']}/api/v1/organization", headers=key)).json()
        assert seller["legal_name"] and seller["tax_id"]


async def test_first_steps_at_the_command_line(tmp_path: Path) -> None:
    code, made = await output(
        "create-organization", "--data", str(tmp_path), "--name", "Bau & Söhne", "--country", "DE", "--currency", "EUR", "--json"
    )
    assert code == 0, made
    organization = json.loads(made)["organization"]
    code, made = await output(
        "create-member", "--data", str(tmp_path), "--organization", organization, "--email", "chef@bau.example", "--name", "Chef", "--json"
    )
    assert code == 0 and json.loads(made)["password"]
    code, made = await output(
        "reset-password", "--data", str(tmp_path), "--organization", organization, "--email", "chef@bau.example", "--json"
    )
    assert code == 0 and len(json.loads(made)["password"]) > 10
    code, made = await output("create-api-key", "--data", str(tmp_path), "--organization", organization, "--role", "finance", "--json")
    assert code == 0 and json.loads(made)["api_key"].startswith("tg_")
    code, made = await output("create-api-key", "--data", str(tmp_path), "--organization", "nonsense")
    assert (code, made) == (1, "tollgate: nonsense is not an id\n  /organization: nonsense is not an id\n")
    code, made = await output("doctor", "--data", str(tmp_path))
    assert code == 1 and "wrong  mail" in made and "ok     row-level security" in made
    code, made = await output("migrate", "--check", "--data", str(tmp_path))
    assert code == 0, made
