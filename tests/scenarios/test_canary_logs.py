"""Canaries: a whole job, and much that goes wrong, with every secret and every personal datum known by its word. None is in a log.

The same words must not stand in the rows that are kept for ever or read by operators: jobs, idempotency keys, the audit trail, the inbox (R23).
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.scenarios.stage import PASSWORD, SECRET, Stage, open_stage, until
from tests.scenarios.test_client import CLARA, delivered, the_invoice
from tollgate import logs
from tollgate.access.rules import Role

PERSONAL = (
    CLARA,
    "Clara Huber",
    "max@nordlicht.example",
    "Max Berger",
    "paula@nordlicht.example",
    "203.0.113.77",
    "AT87654324",
    "Hauptplatz 1",
)
WRONG = "wrong-password-canary"
BODY = "a-body-canary"
QUERY = "a-query-canary"
KEPT_ROWS = ("job", "idempotency_key", "audit_event", "webhook_event")
CATCHER = ("mail.log", "tollgate_sandbox")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged, down to debug, by us and by the libraries."""
    out = io.StringIO()
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    logs.configure("debug", stream=out)
    yield out
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.reset_defaults()


async def a_whole_job(stage: Stage) -> list[str]:
    """Deliver, approve, invoice, pay; answers the secrets that came up on the way."""
    await delivered(stage)
    asked = stage.link_in(await stage.mail(CLARA, "Concept"), "a")
    clara = stage.visitor()
    clara.http.headers["X-Forwarded-For"] = "203.0.113.77"
    await clara.open(asked)
    await clara.send("/approval", signed_name="Clara Huber", agree="yes")
    invoiced = stage.link_in(await stage.mail(CLARA, "Invoice"), "i")
    await clara.open(invoiced)
    invoice = await until(lambda: the_invoice(stage))
    await until(lambda: sent(stage))
    invoice = await the_invoice(stage)
    assert invoice is not None and invoice.stripe_invoice_id is not None
    async with httpx.AsyncClient(base_url=stage.sandbox.stripe_url, trust_env=False) as stripe:
        assert (await stripe.post(f"/_sandbox/invoices/{invoice.stripe_invoice_id}/pay", json={"outcome": "paid"})).status_code == 200
    await until(lambda: paid(stage))
    tokens = [address.rsplit("/", 1)[1] for address in (asked, invoiced)]
    return [*tokens, *(str(cookie.value) for cookie in clara.http.cookies.jar)]


async def sent(stage: Stage) -> bool:
    invoice = await the_invoice(stage)
    return invoice is not None and invoice.stripe_step == "sent"


async def paid(stage: Stage) -> bool:
    invoice = await the_invoice(stage)
    return invoice is not None and invoice.state == "paid"


async def much_that_goes_wrong(stage: Stage, key: str) -> None:
    """Refusals, forgeries and bugs, each with a word that must not be written down."""
    program = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=stage.url, trust_env=False) as http:
        for address in (
            f"/a/{BODY}",
            f"/i/{BODY}",
            f"/a/{'x' * 3000}{BODY}",
            f"/api/v1/clients?email={QUERY}",
            f"/nothing/{BODY}?token={QUERY}",
        ):
            assert (await http.get(address, headers=program)).status_code < 500
        for content in (
            b'{"legal_name": "' + BODY.encode(),
            json.dumps({"legal_name": BODY, "vat": BODY}).encode(),
            b"\xff\xfe" + BODY.encode(),
        ):
            answer = await http.post("/api/v1/clients", content=content, headers={**program, "Content-Type": "application/json"})
            assert answer.status_code in {400, 422}
        assert (await http.get("/api/v1/clients", headers={"Authorization": f"Bearer tg_{BODY}"})).status_code == 401
        forged = {"Stripe-Signature": f"t=1,v1={BODY}"}
        assert 400 <= (await http.post("/webhooks/stripe", content=BODY.encode(), headers=forged)).status_code < 500
    stranger = stage.visitor()
    await stranger.open("/sign-in")
    await stranger.send("/sign-in", status=401, email="paula@nordlicht.example", password=WRONG)


async def rows_as_text(owner_url: str) -> str:
    """What operators and auditors read for ever."""
    engine = create_async_engine(owner_url)
    try:
        async with engine.connect() as connection:
            found = []
            for table in KEPT_ROWS:
                found += [str(row[0]) for row in await connection.execute(text(f"select to_jsonb(t)::text from {table} t"))]
            return "\n".join(found)
    finally:
        await engine.dispose()


async def test_no_canary_is_logged_or_kept(written: io.StringIO, database_url: str, owner_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, tmp_path) as stage:
        paula = await stage.member("Paula Kern", Role.FINANCE)
        api = await stage.api(Role.ADMIN)
        key = str(api.headers["Authorization"]).removeprefix("Bearer ")
        # Nobody answers for a while: what is retried is logged too.
        stage.sandbox.faults.down(True)
        secrets = await a_whole_job_through_an_outage(stage, written)
        await much_that_goes_wrong(stage, key)
        secrets += [key, *(str(cookie.value) for cookie in paula.http.cookies.jar)]
        await asyncio.sleep(0)
        settings = stage.settings
    # The catcher logs every line of every mail; it runs in this process, and is not the product.
    log = "\n".join(line for line in written.getvalue().splitlines() if json.loads(line)["logger"] not in CATCHER)
    rows = await rows_as_text(owner_url)
    assert log.count("\n") > 20 and "GatewayBusy" in log, "the story was logged, and the outage in it"
    secrets += [PASSWORD, WRONG, BODY, QUERY, SECRET, settings.secret_key, "sk_test_stories"]
    assert all(len(secret) >= 8 for secret in secrets)
    assert [secret for secret in secrets if secret in log] == []
    assert [word for word in PERSONAL if word in log] == []
    assert [word for word in (*secrets, *PERSONAL) if word in rows] == []


async def a_whole_job_through_an_outage(stage: Stage, written: io.StringIO) -> list[str]:
    """The job, with Stripe gone until the invoice exists."""

    async def back_later() -> None:
        await until(noticed)
        stage.sandbox.faults.down(False)

    async def noticed() -> bool:
        return "GatewayBusy" in written.getvalue()

    coming = asyncio.create_task(back_later())
    found = await a_whole_job(stage)
    await coming
    return found
