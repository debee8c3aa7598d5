"""The process: what it prints, what it keeps, how it ends, what it must not import."""

from __future__ import annotations

import ast
import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from stripe import StripeClient

import tollgate_sandbox
from tests.sandbox.conftest import Receiver, draft, opened, running, stripe_client
from tollgate_sandbox.cli import main

SOURCE = Path(tollgate_sandbox.__file__).parent


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tollgate_sandbox", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SOURCE.parent), "PATH": ""}
    )


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    found: dict[str, str] = json.loads(line)
    return found


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    process.send_signal(number)
    errors = process.communicate(timeout=15)[1]
    assert process.returncode == 0, errors
    return errors


def test_it_says_where_it_listens_and_ends_cleanly(receiver: Receiver) -> None:
    process = start("--json", "--webhook", receiver.url, "--webhook-secret", "whsec_x")
    said = ready(process)
    assert set(said) == {"stripe", "mail", "smtp", "webhook_secret"}
    assert said["smtp"].startswith("smtp://127.0.0.1:")
    stripe_client(said["stripe"], "cli").v1.customers.create({})
    receiver.wait_for(1)
    assert httpx.get(f"{said['mail']}/messages").json() == []
    assert end(process) == ""


def test_a_restart_on_the_same_state_finds_its_invoices_even_after_sigkill(state: Path) -> None:
    first = start("--json", "--state", str(state))
    stripe = stripe_client(ready(first)["stripe"], "kept")
    invoice = opened(stripe, 5_000, number="KEPT-1")
    created = stripe.v1.customers.create({"name": "One"}, {"idempotency_key": "k"})
    first.kill()
    first.communicate()

    second = start("--json", "--state", str(state))
    url = ready(second)["stripe"]
    again: StripeClient = stripe_client(url, "kept")
    found = again.v1.invoices.retrieve(invoice.id)
    assert (found.status, found.number, found.total) == ("open", "KEPT-1", 5_000)
    assert found.hosted_invoice_url is not None and found.hosted_invoice_url.startswith(url)
    assert httpx.post(f"{found.hosted_invoice_url}/paid").status_code == 303
    assert again.v1.invoices.retrieve(invoice.id).status == "paid"
    assert again.v1.customers.create({"name": "One"}, {"idempotency_key": "k"}).id == created.id
    assert end(second, signal.SIGINT) == ""


def test_a_taken_port_and_wrong_arguments_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--stripe-port", str(taken.getsockname()[1])]) == 1
    assert "tollgate-sandbox:" in capsys.readouterr().err
    for wrong in (["--webhook", "http://x/", "--webhook-secret", "x"], ["--mail-port", "many"]):
        with pytest.raises(SystemExit) as refusal:
            main(wrong)
        assert refusal.value.code == 2


def test_a_taken_port_gives_way_where_that_is_wanted() -> None:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(3)]
        process = start("--json", "--or-next", "--stripe-port", str(taken[0]), "--mail-port", str(taken[1]), "--smtp-port", str(taken[2]))
        said = ready(process)
        addresses = [urlsplit(said[name]).port for name in ("stripe", "mail", "smtp")]
        assert len(set(addresses)) == 3 and not set(addresses) & set(taken)
        assert end(process, signal.SIGTERM) == ""


def test_state_in_process_keeps_the_order_of_things(state: Path) -> None:
    with running(state=state) as first:
        stripe = stripe_client(first.stripe_url, "order")
        ids = [draft(stripe, 100).id for _ in range(3)]
        stripe.v1.invoices.update(ids[0], {"metadata": {"changed": "last"}})
        stripe.v1.invoices.delete(ids[1])
    with running(state=state) as second:
        stripe = stripe_client(second.stripe_url, "order")
        assert [row.id for row in stripe.v1.invoices.list().data] == [ids[2], ids[0]]
        assert stripe.v1.invoices.retrieve(ids[0]).lines.data[0].amount == 100


@pytest.mark.parametrize("file", sorted(SOURCE.glob("*.py")), ids=lambda file: file.name)
def test_the_sandbox_never_imports_the_product(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names: list[Any] = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if str(name).split(".")[0] == "tollgate"], ast.dump(node)
