"""What mail scanners, prefetchers and link checkers do to a client's mail: nothing is decided, and not a row changes but the notes of openings.

Thirteen behaviours over every address that a client gets, in every state of its link.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.http.matrix_world import BASE, Door, Ledger, as_owner, changed, transport_of

NOTED = ("link_open", "job")
"""The note of an opening, and the job that takes it into the audit trail."""
MAILED = ("attempt", "idempotency_key", "mail_message", "audit_event", "audit_head", "approval_link")
"""What a button that mails a fresh link or a code to the client's own address writes besides: asked for, counted, on record, a link good for longer."""
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
AGENTS = (
    "Barracuda Sentinel (EE)",
    "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "Microsoft Office/16.0 (Microsoft Outlook; SafeLinks)",
    "GoogleImageProxy",
    "Slackbot-LinkExpanding 1.0",
)
FORM = re.compile(r'<form method="(post|get)" action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
FIELD = re.compile(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"')
LINK = re.compile(r'<a\b[^>]*\bhref="([^"#]+)"')
DECIDING = ("/approval", "/changes", "/colleague")


class Scanner:
    """Something that opens mail in the client's place."""

    def __init__(self, door: Door, *, keeps: bool = True, ip: str = "203.0.113.7", agent: str = CHROME) -> None:
        self.web = httpx.AsyncClient(
            transport=transport_of(door.app, ip), base_url=BASE, headers={"user-agent": agent}, follow_redirects=True
        )
        self.keeps = keeps
        self.visits = 0

    async def go(self, method: str, address: str, headers: Mapping[str, str] | None = None, **sent: Any) -> httpx.Response:
        """One request and where it leads. It never ends in an error of ours."""
        if not self.keeps:
            self.web.cookies.clear()
        self.visits += 1
        answer = await self.web.request(method, address, headers=dict(headers or {}), **sent)
        assert answer.status_code < 500, (method, address, answer.status_code)
        return answer

    async def close(self) -> None:
        """Leave."""
        await self.web.aclose()


def links_of(answer: httpx.Response) -> list[str]:
    """Addresses of this server on a page, whatever they do."""
    if "text/html" not in answer.headers.get("content-type", ""):
        return []
    found = {urljoin(str(answer.url), unescape(href)) for href in LINK.findall(answer.text)}
    return sorted(one for one in found if urlsplit(one).netloc == urlsplit(BASE).netloc)


def forms_of(answer: httpx.Response) -> list[tuple[str, str, dict[str, str]]]:
    """Method, address and hidden fields of each form."""
    return [
        (method.upper(), urljoin(str(answer.url), unescape(action)), {name: unescape(value) for name, value in FIELD.findall(inner)})
        for method, action, inner in FORM.findall(answer.text)
    ]


# The behaviours ---------------------------------------------------------------------------------------------------------


async def opens(scanner: Scanner, address: str) -> None:
    """Opens the address and the page behind it."""
    await scanner.go("GET", address)


async def asks_for_headers(scanner: Scanner, address: str) -> None:
    """HEAD, to see whether it is a file."""
    answer = await scanner.go("HEAD", address)
    assert answer.content == b""


async def opens_twice_at_once(scanner: Scanner, address: str) -> None:
    """Two engines look at the same moment."""
    await asyncio.gather(scanner.go("GET", address), scanner.go("GET", address))


async def prefetches(scanner: Scanner, address: str) -> None:
    """A browser or mail program that looks ahead, in each of its dialects."""
    for headers in ({"sec-purpose": "prefetch"}, {"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}, {"x-moz": "prefetch"}):
        await scanner.go("GET", address, headers)


async def follows_links(scanner: Scanner, address: str) -> None:
    """Follows every link of the page, downloads too."""
    for link in links_of(await scanner.go("GET", address)):
        await scanner.go("GET", link)


async def submits_searches(scanner: Scanner, address: str) -> None:
    """Follows every link, and sends whatever can be sent by GET, the addresses of POST forms too."""
    page = await scanner.go("GET", address)
    for link in [*links_of(page), *(action for _method, action, _fields in forms_of(page))]:
        await scanner.go("GET", link)
    for _method, action, fields in forms_of(page):
        await scanner.go("GET", action, params={**fields, "agree": "yes", "signed_name": "Scanner"})


async def presses_buttons(scanner: Scanner, address: str) -> None:
    """Presses every button as a browser does, with no name typed and nothing ticked."""
    await _press(scanner, address, {})


async def ticks_without_a_name(scanner: Scanner, address: str) -> None:
    """Ticks every box and presses every button."""
    await _press(scanner, address, {"agree": "yes"})


async def types_without_a_tick(scanner: Scanner, address: str) -> None:
    """Fills every text field with a word and presses the buttons of forms that decide."""
    typed = {"signed_name": "Scanner", "changes_name": "Scanner"}
    await _press(scanner, address, typed, only=DECIDING)


async def _press(scanner: Scanner, address: str, typed: Mapping[str, str], only: tuple[str, ...] = ("",)) -> None:
    page = await scanner.go("GET", address)
    headers = {"sec-fetch-site": "same-origin", "origin": BASE}
    for method, action, fields in forms_of(page):
        if method == "POST" and action.endswith(only):
            await scanner.go("POST", action, headers, data={**fields, **typed})


async def comes_from_everywhere(scanner: Scanner, address: str) -> None:
    """Looks with the names of known scanners."""
    for agent in AGENTS:
        await scanner.go("GET", address, {"user-agent": agent, "x-forwarded-for": "198.51.100.9"})


async def forgets_cookies(scanner: Scanner, address: str) -> None:
    """Opens the address and then what it leads to, each time as somebody new."""
    scanner.keeps = False
    answer = await scanner.go("GET", address)
    await scanner.go("GET", str(answer.url))
    for method, action, fields in forms_of(answer):
        await scanner.go(method, action, data={**fields, "signed_name": "Scanner", "agree": "yes"})


async def reads_in_ranges(scanner: Scanner, address: str) -> None:
    """The first bytes, then some in the middle."""
    for part in ("bytes=0-10", "bytes=100-200", "bytes=-5", "bytes=9-1"):
        await scanner.go("GET", address, {"range": part})


async def asks_what_is_possible(scanner: Scanner, address: str) -> None:
    """OPTIONS, as a probe and as a preflight, and methods that nobody takes here."""
    page = await scanner.go("GET", address)
    for place in (address, str(page.url), *(action for _method, action, _fields in forms_of(page))):
        await scanner.go("OPTIONS", place, {"origin": "https://evil.example", "access-control-request-method": "POST"})
        for method in ("PUT", "DELETE", "PATCH", "PROPFIND"):
            assert (await scanner.go(method, place)).status_code == 405


async def revalidates(scanner: Scanner, address: str) -> None:
    """Asks whether its copy is still good."""
    await scanner.go("GET", address)
    await scanner.go(
        "GET", address, {"if-none-match": "*", "if-modified-since": "Wed, 25 Nov 2026 00:00:00 GMT", "cache-control": "max-age=0"}
    )


Behaviour = Callable[[Scanner, str], Awaitable[None]]
BEHAVIOURS: tuple[Behaviour, ...] = (
    opens,
    asks_for_headers,
    opens_twice_at_once,
    prefetches,
    follows_links,
    submits_searches,
    presses_buttons,
    ticks_without_a_name,
    types_without_a_tick,
    comes_from_everywhere,
    forgets_cookies,
    reads_in_ranges,
    asks_what_is_possible,
    revalidates,
)
PRESSING = (presses_buttons, ticks_without_a_name, forgets_cookies)
STATES = ("delivered", "copied", "expired", "revoked", "superseded", "used", "returned", "recorded")
INVOICES = ("invoice_open", "invoice_expired", "invoice_revoked")


def addresses(door: Door) -> dict[str, str]:
    """Every address that a client is given, by the state of its link."""
    own = door.world.own
    found = {state: f"/a/{own.links[state]}" for state in STATES} | {state: f"/i/{own.links[state]}" for state in INVOICES}
    token = own.links["delivered"]
    found["made up"] = f"/a/{token[:-4]}AAAA"
    found["of the other kind"] = f"/i/{token}"
    found["pay"] = f"/pay/{own.ids['pay_reference']}"
    found["pay nothing"] = "/pay/nothing"
    return found


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
async def test_a_scanner_changes_nothing_and_approves_nothing(door: Door, ledger: Ledger, behaviour: Behaviour) -> None:
    wrong: list[str] = []
    visits = Counter[str]()
    for number, (state, address) in enumerate(addresses(door).items()):
        before = await ledger.digest()
        scanner = Scanner(door, ip=f"203.0.113.{number + 1}")
        await behaviour(scanner, address)
        await scanner.close()
        visits[behaviour.__name__] += scanner.visits
        touched = set(changed(before, await ledger.digest())) - set(NOTED)
        if behaviour in PRESSING:
            touched -= set(MAILED)
        if touched:
            wrong.append(f"{behaviour.__name__} at a link that is {state}: {sorted(touched)}")
    assert not wrong, "\n" + "\n".join(wrong)
    print(f"\nscanners: {dict(visits)} over {len(addresses(door))} addresses")


async def test_pressing_mails_only_to_the_clients_own_address_and_only_so_often(door: Door) -> None:
    """A scanner that presses the one-button forms gets a link mailed to whom it belongs, a few times, and nothing else."""
    own = door.world.own
    connection = await as_owner(door.owner_url)
    try:
        last = await connection.fetchval("select max(id::text) from mail_message")
        for _time in range(6):
            for state in ("expired", "copied", "invoice_expired"):
                scanner = Scanner(door)
                await presses_buttons(scanner, addresses(door)[state])
                await scanner.close()
        rows = await connection.fetch("select template, contact_id::text, member_id from mail_message where id::text > $1", last)
    finally:
        await connection.close()
    asked = Counter(row["template"] for row in rows)
    assert {(row["contact_id"], row["member_id"]) for row in rows} == {(own.ids["contact"], None)}
    assert asked and max(asked.values()) <= 5, asked


async def test_the_page_that_scanners_looked_at_can_still_be_approved(door: Door, ledger: Ledger) -> None:
    """All of that, and the client decides as if nobody had been there."""
    address = addresses(door)["delivered"]
    for behaviour in BEHAVIOURS:
        scanner = Scanner(door)
        await behaviour(scanner, address)
        await scanner.close()
    client = Scanner(door)
    page = await client.go("GET", address)
    _method, action, fields = next(form for form in forms_of(page) if form[1].endswith("/approval"))
    sent = {**fields, "signed_name": "Clara Klient", "agree": "yes"}
    before = await ledger.digest()
    done = await client.go("POST", action, {"sec-fetch-site": "same-origin", "origin": BASE}, data=sent)
    await client.close()
    assert done.status_code == 200 and "You approved" in done.text
    assert {"sign_off", "milestone", "review_round"} <= set(changed(before, await ledger.digest()))
