"""What a client's browser meets: links as their mails carry them, forms as a page sends them, and every row of the database."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from html import unescape
from typing import Any
from uuid import UUID

import asyncpg
from httpx import Response
from litestar.testing import AsyncTestClient
from sqlalchemy import select

from tests.service.signoff_world import SECRET, World
from tollgate.app import create_app
from tollgate.billing import jobs as billing_jobs
from tollgate.billing import queries as billing_queries
from tollgate.billing.mails import LINK_LIFE
from tollgate.billing.models import Invoice, InvoiceLink
from tollgate.clock import now
from tollgate.db.types import uuid7
from tollgate.documents import jobs as document_jobs
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Worker
from tollgate.settings import Settings
from tollgate.signoff import jobs as signoff_jobs
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ApprovalLink

Browser = AsyncTestClient[Any]
NOTED = frozenset({"link_open", "job", "audit_event", "audit_head"})
"""Tables that note an opening; everything else must be as it was."""


def new_browser(settings: Settings) -> Browser:
    """A fresh browser without script on the web application, in this process."""
    return AsyncTestClient(create_app(settings), base_url=settings.base_url)


async def mailed(world: World, milestone_id: UUID, contact_id: UUID | None = None) -> str:
    """The address in the approver's mail."""
    row = await world.round(milestone_id)
    return f"/a/{await world.token((await world.links(row.id))[contact_id or world.clara_id])}"


async def copied(world: World, milestone_id: UUID) -> str:
    """The address that a member copied."""
    link = await approval_link(world, milestone_id)
    return await signoff.copy_link(world.db, SECRET, "", world.command(), link.id)


async def approval_link(world: World, milestone_id: UUID, contact_id: UUID | None = None) -> ApprovalLink:
    """The newest link of an approver."""
    row = await world.round(milestone_id)
    return (await world.links(row.id))[contact_id or world.clara_id]


async def enter(browser: Browser, address: str) -> tuple[str, str]:
    """Press the button of a mail: the page's address and its HTML."""
    first = await browser.get(address, follow_redirects=False)
    assert first.status_code == 303, first.text
    there = first.headers["location"]
    shown = await browser.get(there)
    assert shown.status_code == 200, shown.text
    return there, shown.text


def fields_of(html: str, form: str) -> dict[str, str]:
    """What the form that is sent to `form` carries by itself: every hidden field, and the text that stands in the others."""
    found = re.search(rf'<form method="post" action="[^"]*{re.escape(form)}".*?</form>', html, re.DOTALL)
    assert found is not None, f"no form is sent to {form}"
    inputs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', found[0])
    return {name: unescape(value) for name, value in inputs}


async def send(browser: Browser, here: str, html: str, form: str, **typed: str) -> Response:
    """Send one form of a page as a browser without script does."""
    headers = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"}
    return await browser.post(here + form, data={**fields_of(html, form), **typed}, headers=headers, follow_redirects=False)


async def run_jobs(world: World, settings: Settings, *extra: dict[type[Job], Handler]) -> None:
    """Let the worker do what is due: certificate, invoice and their PDFs."""
    found: dict[type[Job], Handler] = {
        **document_jobs.handlers(world.storage, {**billing_jobs.rendered()}),
        **billing_jobs.handlers(settings),
        **signoff_jobs.handlers(billing_queries.contract_of_invoice_link),
    }
    for more in extra:
        found.update(more)
    await Worker(world.db, found).run_until_idle()


async def invoice_of(world: World) -> Invoice:
    """The one invoice there is."""
    async with world.db.reading(world.org.id) as session:
        return (await session.scalars(select(Invoice))).one()


async def invoice_address(world: World, invoice: Invoice, *, expires_at: Any = None) -> str:
    """The address in the mail about an invoice."""
    link_id = uuid7()
    ends = expires_at or now() + LINK_LIFE
    async with world.db.transaction(world.org.id) as session:
        session.add(
            InvoiceLink(
                organization_id=world.org.id,
                id=link_id,
                invoice_id=invoice.id,
                contact_id=world.clara_id,
                created_at=now(),
                expires_at=ends,
            )
        )
        await session.flush()
        token = await signoff.mint(session, SECRET, organization_id=world.org.id, invoice_link_id=link_id, sent_by="mail", expires_at=ends)
    return f"/i/{token}"


async def digests(owner_url: str, *, without: Sequence[str] = ()) -> dict[str, str]:
    """A hash of every row of every table, seen with the eyes of the database's owner."""
    connection = await asyncpg.connect(owner_url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        names = [row[0] for row in await connection.fetch("select tablename from pg_tables where schemaname = 'public' order by 1")]
        found = {}
        for name in names:
            if name in without:
                continue
            rows = sorted(str(row[0]) for row in await connection.fetch(f'select t::text from "{name}" t'))
            found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
        return found
    finally:
        await connection.close()
