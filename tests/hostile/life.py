"""One organization whose every text is hostile: written through the API and the client's pages as anybody would, step by step.

A text that is refused is written again cut to its column's length, and then plainly; a refusal must name its field. So every
life gets to its end, and what was taken stands in every place where that text can be shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select, text

from tests.factories import make_organization
from tests.factories.shop import Letterbox, Shop
from tests.hostile.fields import FIELDS, Typed, text_columns, typed
from tollgate import clock
from tollgate.access import service as access
from tollgate.access import sessions
from tollgate.access.rules import Role
from tollgate.billing.models import Invoice
from tollgate.contracts.models import Milestone
from tollgate.db.command import Command
from tollgate.db.database import Database

PASSWORD = "correct horse battery staple"
LIMITS = text_columns()
NUMBERS = {name: index for index, name in enumerate(sorted(typed()))}
PLAIN = {"organization.tax_id": "ATU12345675", "client.tax_id": "ATU87654324"}
"""What is written where the marker itself would be refused."""
KEY = "idempotency_key.key"
FILE_NAMES = frozenset({"contract_version.agreement_file_name", "sign_off.document_file_name", "deliverable.title"})
"""Fields that take the last part of a path: what stands before it goes."""
AT_END = frozenset({"formula", "header", "control", "path"})
"""Kinds that count by how they begin."""

Ask = Callable[[], Awaitable[httpx.Response]]


@dataclass(slots=True)
class Words:
    """What a life types into each field, and what became of it. `letter` tells lives of one database apart."""

    letter: str
    texts: dict[str, str]
    at_start: bool = False
    """Whether the marker comes first."""
    cut: set[str] = field(default_factory=set)
    plain: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    """Field to the status of its first refusal."""

    def marker(self, name: str) -> str:
        """By which a field's text is found wherever it is shown."""
        return f"q{NUMBERS[name]:02d}{self.letter}"

    def __call__(self, name: str) -> str:
        """The text to type."""
        row = FIELDS[name]
        assert isinstance(row, Typed)
        mark = self.marker(name)
        if name in self.plain:
            return PLAIN.get(name, row.shape.replace("{}", f"plain{mark}"))
        typed_text = self.texts[name]
        limit = LIMITS[name]
        if name in self.cut and limit is not None:
            typed_text = typed_text[: max(0, limit - len(row.shape) - len(mark))]
        first = self.at_start and name not in FILE_NAMES
        return row.shape.replace("{}", f"{mark}{typed_text}" if first else f"{typed_text}{mark}")

    def refuse(self, name: str, status: int) -> None:
        """Type less next time."""
        self.refused.setdefault(name, status)
        limit = LIMITS[name]
        if name not in self.cut and limit is not None and len(self(name)) > limit:
            self.cut.add(name)
        else:
            assert name not in self.plain, f"{name} refuses a plain text: {self(name)!r}"
            self.plain.add(name)


@dataclass(slots=True)
class Life:
    """The organization and what its texts became."""

    shop: Shop
    api: httpx.AsyncClient
    member: httpx.AsyncClient
    client: httpx.AsyncClient
    words: Words
    ids: dict[str, Any] = field(default_factory=dict)

    async def step(self, ask: Ask, fields: dict[str, str], repair: Callable[[], Awaitable[None]] | None = None) -> httpx.Response:
        """Call until it is taken. `fields`: pointer, or input of a form, to the field that stands there."""
        for _attempt in range(3 * len(fields) + 1):
            answer = await ask()
            assert answer.status_code < 500, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
            if answer.status_code < 400:
                return answer
            pointers = [re.sub(r"(?<=[a-z])/\d+$", "", one) for one in _pointers(answer)]  # A line of a list is named by its number.
            named = {fields[one] for one in pointers if one in fields}
            assert named, (
                f"{answer.request.method} {answer.request.url} refused without naming a field: {answer.status_code} {answer.text[:2000]}"
            )
            for name in named:
                self.words.refuse(name, answer.status_code)
            if repair is not None:
                await repair()
        raise AssertionError(f"never taken: {answer.request.url} {answer.text[:500]}")

    async def send(
        self, method: str, path: str, fields: dict[str, str], rest: dict[str, Any] | None = None, *, keyed: bool = False, version: str = ""
    ) -> Any:
        """A JSON call in which each pointer holds its field's text; with an idempotency key where asked for."""

        async def ask() -> httpx.Response:
            body = json.loads(json.dumps(rest or {}))
            for pointer, name in fields.items():
                _put(body, pointer, self.words(name))
            # Written with escapes, so that half a character of UTF-16 can be asked for.
            sending = {b"Content-Type": b"application/json"}
            if version:
                sending[b"If-Match"] = version.encode()
            if keyed:
                sending[b"Idempotency-Key"] = header(self.words(KEY))
            return await self.api.request(method, path, content=json.dumps(body), headers=sending)

        answer = await self.step(ask, fields | ({"/idempotency-key": KEY} if keyed else {}))
        return answer.json() if answer.content else None

    async def work(self) -> None:
        """Let the jobs run."""
        await self.shop.work()

    async def close(self) -> None:
        """Leave."""
        for one in (self.api, self.member, self.client):
            await one.aclose()


def _pointers(answer: httpx.Response) -> list[str]:
    if "json" in answer.headers["content-type"]:
        return [one["pointer"] for one in answer.json().get("errors", [])]
    return re.findall(r'id="([\w-]+)-error"', answer.text)


def _put(body: Any, pointer: str, value: str) -> None:
    *way, last = pointer.strip("/").split("/")
    for part in way:
        body = body[int(part)] if isinstance(body, list) else body.setdefault(part, {})
    body[last] = [value] if last in {"acceptance_criteria", "deliverables_expected"} else value


def party_fields(table: str, prefix: str = "") -> dict[str, str]:
    """Pointers of a party's data; with `/seller` or `/buyer` those of an activation's refusal."""
    names = ["legal_name", "tax_id", "email", *(("registration_number", "phone", "website") if table == "organization" else ())]
    found = {f"{prefix}/{name}": f"{table}.{name}" for name in names}
    found |= {f"{prefix}/address/{name}": f"{table}.{name}" for name in ("line1", "line2", "postal_code", "city", "region")}
    return found | ({f"{prefix}/bank_account/bank_name": "organization.bank_name"} if table == "organization" else {})


CONTRACT = {f"/{name}": f"contract.{name}" for name in ("title", "reference", "purchase_order", "buyer_reference")}
ROW = ("title", "description", "acceptance_criteria", "deliverables_expected")
MILESTONES = {f"/milestones/{index}/{name}": f"milestone.{name}" for index in range(4) for name in ROW}
SELLER, BUYER = party_fields("organization"), party_fields("client")


async def begin(db: Database, shop: Shop, url: str, words: Words) -> Life:
    """An organization with a signed-in admin and a key, before anything is typed."""
    org = await make_organization(db)
    email = f"admin-{org.id.hex[-12:]}@nordlicht.example"
    await access.create_member(db, Command.operator(org.id), email=email, name="Mara", role=Role.ADMIN, password=PASSWORD)
    opened = await sessions.sign_in(db, email=email, password=PASSWORD, ip="127.0.0.1", secret_key=shop.services.settings.secret_key)
    key = (await access.create_api_key(db, org.command("admin"), name="life")).secret
    api = httpx.AsyncClient(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=120)
    member = httpx.AsyncClient(base_url=url, cookies={"tg-session": opened.cookie}, timeout=120)
    client = httpx.AsyncClient(base_url=url, timeout=120)
    return Life(replace(shop, org=org), api, member, client, words)


async def live(life: Life) -> None:
    """From the seller's address to the reversed payment."""
    await parties(life)
    await agreement(life)
    await first_milestone(life)
    await others(life)


async def parties(life: Life) -> None:
    """Seller, member, key, client and contact."""
    await life.send("PATCH", "/organization", SELLER, version=(await life.api.get("/organization")).headers["etag"])
    made = await life.send("POST", "/members", {"/name": "member.name", "/email": "member.email"}, {"role": "viewer"})
    life.ids["member_id"] = made["id"]
    life.ids["key_id"] = (await life.send("POST", "/api-keys", {"/name": "api_key.name"}))["id"]
    life.ids["client_id"] = (await life.send("POST", "/clients", BUYER, {"country": "AT"}))["id"]
    contact = {"is_approver": True, "is_billing_contact": True}
    path = f"/clients/{life.ids['client_id']}/contacts"
    life.ids["contact_id"] = (await life.send("POST", path, {"/name": "contact.name", "/email": "contact.email"}, contact))["id"]


def _contract(life: Life) -> dict[str, Any]:
    rows = [{"amount": {"amount": "100.00", "currency": "EUR"}, "due_on": f"2027-0{index + 1}-01"} for index in range(4)]
    return {"client_id": life.ids["client_id"], "value": {"amount": "400.00", "currency": "EUR"}, "milestones": rows}


async def agreement(life: Life) -> None:
    """One contract that stays a draft, and one that is activated with a signed file. What cannot be printed is put right in the draft."""
    fields = CONTRACT | MILESTONES
    life.ids["draft_id"] = (await life.send("POST", "/contracts", fields, _contract(life), keyed=True))["id"]
    contract_id = (await life.send("POST", "/contracts", fields, _contract(life)))["id"]
    life.ids["contract_id"] = contract_id
    words = life.words

    async def repair() -> None:
        for path, pointers, rest in (
            ("/organization", SELLER, {}),
            (f"/clients/{life.ids['client_id']}", BUYER, {}),
            (f"/contracts/{contract_id}", fields, {"milestones": _contract(life)["milestones"]}),
        ):
            await life.send("PATCH", path, pointers, rest, version=(await life.api.get(path)).headers["etag"])

    async def activate() -> httpx.Response:
        data = {"agreed_on": "2026-01-02", "agreed_by": words("contract_version.agreed_by")}
        file = (words("contract_version.agreement_file_name"), b"%PDF-1.4 signed", "application/pdf")
        return await life.api.post(f"/contracts/{contract_id}/activation", data=data, files={"file": file})

    named = {"/agreed_by": "contract_version.agreed_by", "/file": "contract_version.agreement_file_name", **fields}
    await life.step(activate, named | party_fields("organization", "/seller") | party_fields("client", "/buyer"), repair)
    found = (await life.api.get(f"/contracts/{contract_id}")).json()
    life.ids["milestones"] = [row["id"] for row in found["milestones"]]


async def show(life: Life, milestone_id: str) -> None:
    """A link, a note and a file, delivered with a word."""
    path = f"/milestones/{milestone_id}/deliverables"
    title = {"/title": "deliverable.title"}
    await life.send("POST", path, {**title, "/url": "deliverable.url"}, {"kind": "link"})
    await life.send("POST", path, {**title, "/text": "deliverable.note"}, {"kind": "note"})

    async def file() -> httpx.Response:
        return await life.api.post(path, files={"file": (life.words("deliverable.title"), b"<script>alert(1)</script>", "text/html")})

    await life.step(file, {"/file": "deliverable.title", **title})

    async def deliver() -> httpx.Response:
        body = json.dumps({"message": life.words("review_round.message")})
        return await life.api.post(f"/milestones/{milestone_id}/delivery", content=body, headers={"Content-Type": "application/json"})

    async def repair() -> None:
        if "contact.name" in life.words.plain:
            # The refusal names the approvers; which of their texts it is, its sentence says.
            life.words.plain.add("contact.email")
            one = f"/clients/{life.ids['client_id']}/contacts/{life.ids['contact_id']}"
            fields = {"/name": "contact.name", "/email": "contact.email"}
            await life.send("PATCH", one, fields, version=(await life.api.get(one)).headers["etag"])

    await life.step(deliver, {"/message": "review_round.message", "/contact_ids": "contact.name"}, repair)
    await life.work()


def newest_link(life: Life, place: str) -> str:
    """The address in the newest mail that has one of that kind."""
    letterbox = life.shop.services.transport
    assert isinstance(letterbox, Letterbox)
    for message in reversed(letterbox.mails):
        plain = message.get_body(("plain",))
        found = re.search(rf"/{place}/[\w.~-]+", str(plain.get_content())) if plain is not None else None
        if found:
            return found[0]
    raise AssertionError(f"no mail leads to /{place}/")


async def enter(life: Life) -> tuple[str, str]:
    """Open the newest approval link under a hostile browser name: the page's address and its HTML."""

    async def opened() -> httpx.Response:
        return await life.client.get(newest_link(life, "a"), headers={b"User-Agent": header(life.words("link_open.user_agent"))})

    there = (await life.step(opened, {})).headers["location"]
    return there, (await life.client.get(there)).text


async def press(life: Life, there: str, action: str, fields: dict[str, str], **rest: str) -> httpx.Response:
    """Send a form of the client's page."""

    async def ask() -> httpx.Response:
        html = (await life.client.get(there)).text
        form = re.search(rf'<form method="post" action="{re.escape(there + action)}".*?</form>', html, re.DOTALL)
        assert form is not None, html
        hidden = re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)">', form[0])
        data = {name: unescape(value) for name, value in hidden} | rest | {one: life.words(name) for one, name in fields.items()}
        headers = {b"User-Agent": header(life.words("sign_off.user_agent"))}
        return await life.client.post(there + action, data=data, headers=headers)

    return await life.step(ask, fields)


def header(text: str) -> bytes:
    """A text as a header can carry it: HTTP itself has no room for control characters."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", text).strip().encode("utf-8", "surrogatepass")


async def first_milestone(life: Life) -> None:
    """Delivered, a colleague proposed, sent back, delivered, approved, invoiced, paid, taken back, credited."""
    milestone_id = life.ids["milestones"][0]
    await show(life, milestone_id)
    there, _html = await enter(life)
    await press(life, there, "/colleague", {"colleague_name": "colleague.name", "colleague_email": "colleague.email"})
    await press(life, there, "/changes", {"reason": "sign_off.reason", "changes_name": "sign_off.signed_name"})
    await show(life, milestone_id)
    life.ids["sent_back"] = there
    there, _html = await enter(life)
    await press(life, there, "/approval", {"signed_name": "sign_off.signed_name"}, agree="yes")
    life.ids["approved"] = there
    await life.work()
    invoice = await _invoice(life)
    payment = {
        "client_id": life.ids["client_id"],
        "amount": {"amount": "10.00", "currency": "EUR"},
        "received_on": "2026-11-01",
        "method": "bank_transfer",
    }
    reference = {"/reference": "payment.reference"}
    life.ids["payment_id"] = (await life.send("POST", "/payments", reference, payment))["id"]
    second = (await life.send("POST", "/payments", reference, payment))["id"]
    await life.send("POST", f"/payments/{second}/reversal", {"/reason": "payment.reversal_reason"})
    credit = {"/reason": "credit_note.reason"}
    life.ids["credit_note_id"] = (await life.send("POST", f"/invoices/{invoice}/credit-notes", credit, {"kind": "correction"}))["id"]
    await life.work()


async def _invoice(life: Life) -> str:
    async with life.shop.db.reading(life.shop.org.id) as session:
        rows = await session.scalars(
            select(Invoice.id).where(Invoice.organization_id == life.shop.org.id).order_by(Invoice.created_at.desc())
        )
        return str(rows.first())


async def others(life: Life) -> None:
    """One approved on paper and made void before its mail left, one reopened, one that waits for the client."""
    _first, void, reopened, waiting = life.ids["milestones"]
    letterbox = life.shop.services.transport
    assert isinstance(letterbox, Letterbox)
    shop = replace(life.shop, client_id=UUID(life.ids["client_id"]), contact_id=UUID(life.ids["contact_id"]))
    for milestone_id in (void, reopened):
        await shop.add_note(UUID(milestone_id))
        await shop.deliver(UUID(milestone_id))
    letterbox.down = True
    await recorded(life, void)
    await life.work()
    await life.send("POST", f"/invoices/{await _invoice(life)}/void", {"/reason": "invoice.void_reason"})
    letterbox.down = False
    await recorded(life, reopened)
    await life.send("POST", f"/milestones/{reopened}/reopening", {"/reason": "review_round.reopened_because"})
    with clock.shifted(timedelta(days=1)):
        await life.work()
    await show(life, waiting)
    life.ids["open"], _html = await enter(life)
    await life.work()


async def recorded(life: Life, milestone_id: str) -> None:
    """The client's approval on paper."""

    async def ask() -> httpx.Response:
        file = (life.words("sign_off.document_file_name"), b"%PDF-1.4 signed", "application/pdf")
        data = {"signed_name": life.words("sign_off.signed_name")}
        return await life.api.post(f"/milestones/{milestone_id}/recorded-approval", data=data, files={"file": file})

    await life.step(ask, {"/file": "sign_off.document_file_name", "/signed_name": "sign_off.signed_name"})


async def kept(life: Life, owner: Database) -> dict[str, list[str]]:
    """Every text of this organization's database in which one of the life's markers stands, by column."""
    found: dict[str, list[str]] = {}
    async with owner.directory() as session:
        for name in LIMITS:
            table, column = name.split(".")
            rows = await session.execute(
                text(f"select {column}::text from {table} where {column}::text ~ 'q[0-9][0-9]{life.words.letter}'")
            )
            found[name] = [row[0] for row in rows]
    return {name: rows for name, rows in found.items() if rows}


__all__ = ["AT_END", "FIELDS", "Life", "Milestone", "Words", "begin", "enter", "kept", "live", "newest_link"]
