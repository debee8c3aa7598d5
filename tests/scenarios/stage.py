"""The whole product on loopback for a story: web server and worker, PostgreSQL, SMTP to the catcher, and the Stripe-like sandbox.

`Visitor` is a browser without script: cookies, forms as the page carries them, nothing that a person could not do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import httpx

from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import Services
from tollgate.cli.serving import listen, web, worker
from tollgate.db.command import Command
from tollgate.parties import service as parties
from tollgate.parties.rules import NewOrganization
from tollgate.reports import invariants
from tollgate.settings import Settings
from tollgate_sandbox import Sandbox

PASSWORD = "correct horse battery staple"
SECRET = "whsec_of_the_stories"
SELLER = NewOrganization(
    legal_name="Nordlicht Studio GmbH",
    country="AT",
    currency="EUR",
    line1="Lindengasse 12",
    postal_code="1070",
    city="Wien",
    tax_id="ATU12345675",
    iban="AT611904300234573201",
    bic="BKAUATWW",
    bank_name="Testbank",
)


@dataclass
class Form:
    """A form as the page carries it."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    """Collects forms and what stands in their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select = self._text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        name = given.get("name", "")
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif not self.forms:
            return
        elif tag == "input" and name and given.get("type") not in {"checkbox", "radio", "file", "submit"}:
            self.forms[-1].fields[name] = given.get("value", "")
        elif tag == "input" and name and "checked" in given:
            self.forms[-1].fields[name] = given.get("value", "on")
        elif tag == "textarea":
            self._text = name
            self.forms[-1].fields[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in given or self._select not in self.forms[-1].fields):
            self.forms[-1].fields[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._text = ""
        elif tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._text:
            self.forms[-1].fields[self._text] += data


def forms_in(page: str) -> list[Form]:
    """The forms of a page, with what stands in their fields."""
    found = _Forms()
    found.feed(page)
    return found.forms


@dataclass
class Visitor:
    """Somebody with a browser."""

    http: httpx.AsyncClient
    page: httpx.Response | None = None

    @property
    def text(self) -> str:
        """The page that is open, as text without marks."""
        assert self.page is not None
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.page.text))

    async def open(self, address: str) -> str:
        """Go to an address; answers what can be read there."""
        self.page = await self.http.get(address, follow_redirects=True)
        assert self.page.status_code == 200, f"{address}: {self.page.status_code} {self.text[:500]}"
        return self.text

    async def send(self, action: str, *, status: int = 200, files: Any = None, **typed: str) -> str:
        """Fill in and send the form whose address ends so; answers what can be read afterwards."""
        assert self.page is not None
        found = forms_in(self.page.text)
        forms = [form for form in found if urlsplit(form.action).path.endswith(action)]
        assert forms, f"no form is sent to {action}: {[form.action for form in found]}"
        here = str(self.page.url)
        origin = f"{self.page.url.scheme}://{self.page.url.netloc.decode()}"
        headers = {"sec-fetch-site": "same-origin", "origin": origin, "referer": here}
        self.page = await self.http.post(
            urljoin(here, forms[0].action), data={**forms[0].fields, **typed}, files=files, headers=headers, follow_redirects=True
        )
        assert self.page.status_code == status, f"{action}: {self.page.status_code} {self.text[:1500]}"
        return self.text


@dataclass
class Stage:
    """Where a story plays."""

    url: str
    settings: Settings
    services: Services
    sandbox: Sandbox
    organization_id: UUID
    visitors: list[httpx.AsyncClient] = field(default_factory=list)

    def visitor(self) -> Visitor:
        """Somebody new, with an empty cookie jar."""
        http = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30)
        self.visitors.append(http)
        return Visitor(http)

    async def member(self, name: str, role: Role) -> Visitor:
        """A member, signed in by the page."""
        email = f"{name.split()[0].lower()}@nordlicht.example"
        operator = Command.operator(self.organization_id)
        await access.create_member(self.services.db, operator, email=email, name=name, role=role, password=PASSWORD)
        visitor = self.visitor()
        await visitor.open("/sign-in")
        await visitor.send("/sign-in", email=email, password=PASSWORD)
        return visitor

    async def api(self, role: Role) -> httpx.AsyncClient:
        """A program with an API key of that role."""
        made = await access.create_api_key(self.services.db, Command.operator(self.organization_id), name="Story", role=role)
        http = self.visitor().http
        http.headers["Authorization"] = f"Bearer {made.secret}"
        return http

    async def mail(self, to: str, words: str) -> dict[str, Any]:
        """The newest mail to somebody whose subject has these words, waited for."""
        async with httpx.AsyncClient(base_url=self.sandbox.mail_url, trust_env=False) as http:
            for _ in range(300):
                messages = (await http.get("/messages")).json()
                found = [message for message in messages if to in message["to"] and words in message["subject"]]
                if found:
                    return dict(max(found, key=lambda message: int(message["id"])))
                await asyncio.sleep(0.05)
            raise AssertionError(f"no mail to {to} about {words}: {[(message['to'], message['subject']) for message in messages]}")

    def link_in(self, mail: dict[str, Any], kind: str) -> str:
        """The address in a mail's text that begins with /a/ (sign) or /i/ (invoice)."""
        found = re.search(rf"{re.escape(self.url)}/{kind}/\S+", mail["text"])
        assert found is not None, mail["text"]
        return found[0]

    async def sound(self) -> None:
        """Every money invariant holds, with no job left that would change anything."""
        async with self.services.db.reading(self.organization_id) as session:
            found = await invariants.run(session, self.organization_id, jobs_idle=True)
        assert [(finding.check, finding.broken) for finding in found if not finding.holds] == []


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
    """Wait for what happens by itself, and answer it; fails when it does not."""
    async with asyncio.timeout(seconds):
        while not (found := await holds()):  # noqa: ASYNC110 - other processes make it true
            await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def open_stage(database_url: str, data: Path) -> AsyncIterator[Stage]:
    """A running server with everything around it, and an organization that can issue at once."""
    async with Sandbox(retry_delays=(0.1,) * 5) as sandbox:
        with listen("127.0.0.1", 0) as sock:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            sandbox.set_webhook(f"{url}/webhooks/stripe", SECRET, "stories")
            settings = Settings(
                data=data,
                database_url=database_url,
                base_url=url,
                secret_key="test-secret-key-of-32-characters!",
                smtp_url=sandbox.smtp_url,
                stripe_secret_key="sk_test_stories",
                stripe_webhook_secret=SECRET,
                stripe_api_base=sandbox.stripe_url,
            )
            services = Services.of(settings)
            organization_id = await parties.create_organization(services.db, SELLER)
            stage = Stage(url, settings, services, sandbox, organization_id)
            async with web(settings, services, sock), worker(services):
                try:
                    yield stage
                finally:
                    for http in stage.visitors:
                        await http.aclose()
