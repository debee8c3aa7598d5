"""Every place of one life where a text can be shown: fetched, taken apart, and looked over for what must not be there."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote

from sqlalchemy import select

from tests.hostile.life import Life, newest_link
from tests.hostile.reading import one_line, outline, parts_of, pdf_actions, pdf_text, sent
from tollgate.access.models import ApiKey, Member
from tollgate.app import create_app
from tollgate.billing.models import CreditNote, Invoice
from tollgate.contracts.models import Contract, Deliverable, Milestone
from tollgate.documents.text import BOX
from tollgate.parties.models import Client, Contact
from tollgate.payments.models import Payment
from tollgate.signoff.models import ReviewRound

TABLES: dict[str, Any] = {
    "client_id": Client,
    "contact_id": Contact,
    "contract_id": Contract,
    "milestone_id": Milestone,
    "deliverable_id": Deliverable,
    "round_id": ReviewRound,
    "invoice_id": Invoice,
    "credit_note_id": CreditNote,
    "payment_id": Payment,
    "member_id": Member,
    "key_id": ApiKey,
}
"""What each id in an address names."""
ELSEWHERE = (
    "/a/",
    "/i/",
    "/sign/",
    "/invoice/",
    "/pay/",
    "/api",
    "/static/",
    "/brand/",
    "/health/",
    "/favicon.ico",
    "/style",
    "/sign-in",
    "/webhooks/",
    "/metrics",
)
"""Addresses that show nothing typed, or that are read below with what they need."""
HEADERS = frozenset(
    (
        "from",
        "to",
        "reply-to",
        "subject",
        "date",
        "message-id",
        "auto-submitted",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    )
)
SAFE_ADDRESS = re.compile(r"(https?://|/(?!/)|#|\?|mailto:|tel:|data:image/|$)")
MOST = 5
"""Rows of one table whose pages are read."""
FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+@\-|\uff1d\uff0b\uff20\uff0d\t\r\n]")
"""How a cell begins that a spreadsheet may run."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place, taken apart. `name` is the same in every life."""

    name: str
    kind: str
    elements: Counter[str]
    texts: tuple[str, ...]
    """Decoded texts as a reader sees them; of JSON and CSV each string by itself."""
    wrong: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """All places of a life."""

    places: list[Place] = field(default_factory=list)

    def page(self, name: str, html: str) -> None:
        """A page as HTML."""
        seen = outline(html)
        wrong = tuple(f"an address that is none: {one[:80]!r}" for one in seen.addresses if not SAFE_ADDRESS.match(one.strip().lower()))
        self.places.append(Place(name, "page", Counter(seen.elements), tuple(seen.texts), wrong))

    def mails(self, messages: Sequence[EmailMessage]) -> None:
        """Every mail as its receiver reads it, as one place: those of one moment go out in any order."""
        parts = [_mail(one) for one in messages]
        elements = sum((one.elements for one in parts), Counter[str]())
        self.places.append(
            Place(
                "mails",
                "mail",
                elements,
                tuple(text for one in parts for text in one.texts),
                tuple(line for one in parts for line in one.wrong),
            )
        )

    def pdf(self, name: str, content: bytes) -> None:
        """A PDF."""
        actions = pdf_actions(content)
        words = pdf_text(content)
        wrong = sorted(one for one in actions if not one.startswith("/URI http://127.0.0.1"))
        wrong += [f"a box instead of a letter: {words[max(0, place - 30) : place + 10]!r}" for place in [words.find(BOX)] if place >= 0]
        self.places.append(Place(name, "pdf", Counter(), (words,), tuple(wrong)))

    def json(self, name: str, value: Any) -> None:
        """An answer of the API."""
        self.places.append(Place(name, "json", Counter(), tuple(_strings(value))))

    def csv(self, name: str, text: str) -> None:
        """A report as a spreadsheet reads it."""
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        wrong = [f"a row of {len(row)} cells" for row in rows if len(row) != len(rows[0])]
        wrong += [
            f"a formula: {cell[:60]!r}" for row in rows for cell in row if FORMULA.match(cell) and not re.fullmatch(r"-?[\d.]+", cell)
        ]
        self.places.append(Place(name, "csv", Counter(), tuple(cell for row in rows for cell in row), tuple(wrong)))


def _mail(message: EmailMessage) -> Place:
    """One mail, serialized and parsed."""
    read = sent(message)
    wrong = [f"a header {one!r}" for one in read if one.lower() not in HEADERS]
    wrong += [f"{one} twice" for one, count in Counter(map(str.lower, read)).items() if count > 1]
    wrong += [f"more than one receiver: {read['to']}"] if len(read["to"].addresses) != 1 else []
    wrong += ["a subject of several lines"] if len(str(read["subject"]).splitlines()) > 1 else []
    plain, html = parts_of(read)
    names = [str(part.get_filename()) for part in read.iter_attachments()]
    wrong += [f"an attachment called {one!r}" for one in names if re.search(r"[\x00-\x1f\x7f/\\\"<>]", one) or not one.endswith(".pdf")]
    seen = outline(html)
    wrong += [f"an address that is none: {one[:80]!r}" for one in seen.addresses if not SAFE_ADDRESS.match(one.strip().lower())]
    people = [one for name in ("from", "to", "reply-to") if name in read for one in read[name].addresses]
    texts = (str(read["subject"]), *(one.display_name for one in people), *(one.addr_spec for one in people), plain, *seen.texts)
    return Place("", "mail", Counter([*seen.elements, *(f"part {part.get_content_type()}" for part in read.walk())]), texts, tuple(wrong))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


async def ids_of(life: Life) -> dict[str, list[str]]:
    """Every id that an address can name, in the order of making."""
    found: dict[str, list[str]] = {}
    async with life.shop.db.reading(life.shop.org.id) as session:
        for name, model in TABLES.items():
            rows = await session.scalars(select(model.id).where(model.organization_id == life.shop.org.id).order_by(model.id))
            found[name] = [str(one) for one in rows]
    draft = (await life.api.get(f"/contracts/{life.ids['draft_id']}")).json()
    found["milestone_id"] = [*life.ids["milestones"], draft["milestones"][0]["id"]]
    found["contract_id"] = [life.ids["contract_id"], life.ids["draft_id"]]
    return found


def addresses(paths: Sequence[str], ids: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Each path with ids in it, and a name that is the same in every life."""
    for path in sorted(paths):
        names = re.findall(r"\{(\w+)(?::\w+)?\}", path)
        if not all(name in ids for name in names):
            continue
        choices = [list(enumerate(ids[name])) for name in names]
        for drawn in itertools.islice(itertools.product(*choices), MOST):
            address = path
            for name, (_index, one) in zip(names, drawn, strict=True):
                address = re.sub(rf"\{{{name}(:\w+)?\}}", one, address)
            yield f"{path} {[index for index, _one in drawn]}", address


_PATHS: list[frozenset[str]] = []


def get_paths(life: Life) -> frozenset[str]:
    """Every address that answers a GET, from the application's own routes."""
    if not _PATHS:
        app = create_app(life.shop.services.settings, life.shop.services)
        _PATHS.append(
            frozenset(
                route.path for route in app.routes for handler in getattr(route, "route_handlers", ()) if "GET" in handler.http_methods
            )
        )
    return _PATHS[0]


async def visit(life: Life, mails: Sequence[EmailMessage], needle: str) -> Found:
    """Read every place of a life. `needle` is searched for, so that it stands in a page as something typed."""
    found, ids = Found(), await ids_of(life)
    paths = get_paths(life)
    pages = [path for path in paths if not path.startswith(ELSEWHERE)]
    one = f"/contracts/{life.ids['contract_id']}"
    more = [(f"contract {query}", f"{one}?{query}") for query in ("view=board", "view=timeline", "tab=activity")]
    for name, address in [*addresses(pages, ids), *more]:
        await _get(found, life, name, address)
    for path in ("/contracts", "/clients", "/sign-in", "/reports/payments"):
        answer = await life.member.get(path, params={"q": needle, "next": needle, "from": needle})
        assert answer.status_code < 500, path
        if answer.status_code in {200, 422}:
            found.page(f"search {answer.status_code} {path}", answer.text)
    await _client_pages(found, life)
    found.mails(mails)
    calls = [path for path in paths if path.startswith("/api/v1/")]
    for name, address in addresses(calls, ids):
        answer = await life.api.get(address.removeprefix("/api/v1"))
        assert answer.status_code < 500, f"{address}: {answer.text}"
        if answer.status_code == 200 and "json" in answer.headers["content-type"]:
            found.json(name, answer.json())
    found.csv("CSV of the API", (await life.api.get("/reports/payments", params={"format": "csv"})).text)
    found.csv("CSV of the page", (await life.member.get("/reports/payments", params={"format": "csv"})).text)
    return found


async def _get(found: Found, life: Life, name: str, address: str) -> None:
    answer = await life.member.get(address)
    assert answer.status_code < 500, f"{address}: {answer.status_code} {answer.text[:300]}"
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html"):
        found.page(name, answer.text)
    elif (kind.startswith("application/pdf") and answer.content.startswith(b"%PDF-1.4\n%")) or (
        "certificate" in address and answer.status_code == 200
    ):
        found.pdf(name, answer.content)


async def _client_pages(found: Found, life: Life) -> None:
    """What a client reads behind a link."""
    for name in ("sent_back", "approved", "open"):
        there = life.ids[name]
        found.page(f"/sign {name}", (await life.client.get(there)).text)
    found.pdf("/sign certificate", (await life.client.get(life.ids["approved"] + "/certificate.pdf")).content)
    found.pdf("/sign invoice", (await life.client.get(life.ids["approved"] + "/invoice.pdf")).content)
    entered = await life.client.get(newest_link(life, "i"))
    there = entered.headers["location"]
    found.page("/invoice", (await life.client.get(there)).text)


def is_shown(text: str, values: Sequence[str]) -> bool:
    """Whether a text that holds a marker holds the whole value, or is a piece of it; addresses may be percent-encoded."""
    seen = one_line(text)
    candidates = (seen, one_line(unquote(text)))
    for value in map(one_line, values):
        if any(value in one or one in value for one in candidates):
            return True
        # Cut for its place, with an ellipsis where the rest was.
        if any(piece and piece in value for piece in (part.strip() for part in seen.split("…"))) and "…" in seen:
            return True
    return False


def squeezed(text: str) -> str:
    """Without blanks and breaks: how a PDF's words are compared, whose lines end where the paper does."""
    return re.sub(r"\s+", "", text)
