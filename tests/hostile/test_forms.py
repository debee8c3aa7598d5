"""Every form of every member's page, each of its text fields filled with hostile text: taken, or shown again as it was typed; never a fault."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from tests.factories import proof
from tests.hostile import payloads
from tests.hostile.conftest import House
from tests.hostile.fields import typed
from tests.hostile.life import Life, Words, begin, live
from tests.hostile.places import addresses, get_paths, ids_of
from tests.hostile.reading import one_line, outline

FIELDS = frozenset({"text", "email", "search", "tel", "url", "textarea", "number", "date", ""})
"""Kinds of input in which something is typed."""
ENDS = ("/sign-out", "/disconnect", "/removal", "/revocation", "/deletion", "/settings/password", "/archival", "/organizations")
"""Forms that are one button, or that end the life before it is over."""


@dataclass(slots=True)
class Sheet:
    """A form of a page: where it is sent, what it carries by itself, and what can be typed into it."""

    action: str
    kept: list[tuple[str, str]] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    multipart: bool = False


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Sheet] = []
        self._inside: Sheet | None = None
        self._choice = self._chosen = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form" and has.get("method", "").lower() == "post":
            self._inside = Sheet(has.get("action", ""), multipart=has.get("enctype", "").startswith("multipart/"))
            self.found.append(self._inside)
        if tag == "option" and self._choice and ("selected" in has or (has.get("value") and not self._chosen)):
            self._chosen = has.get("value", "")
        if self._inside is None or not has.get("name"):
            return
        if tag == "select":
            self._choice, self._chosen = has["name"], ""
        kind = "textarea" if tag == "textarea" else has.get("type", "") if tag == "input" else tag
        if kind in FIELDS and "__number__" not in has["name"]:  # A row that a script copies is no field yet.
            self._inside.typed.append(has["name"])
            self._inside.kept.append((has["name"], has.get("value", "")))
        elif kind == "hidden" or (kind in {"checkbox", "radio"} and "checked" in has) or (kind == "submit" and "value" in has):
            self._inside.kept.append((has["name"], has.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._inside is not None:
            self._inside.kept.append((self._choice, self._chosen))
            self._choice = ""
        if tag == "form":
            self._inside = None


def sheets(html: str) -> list[Sheet]:
    """The forms of a page in which something can be typed."""
    reader = _Forms()
    reader.feed(html)
    return [one for one in reader.found if one.typed and not one.action.endswith(ENDS)]


async def send(life: Life, sheet: Sheet, name: str, text: str) -> httpx.Response:
    """Send a form with one of its fields changed."""
    data: dict[str, list[str]] = {}
    for one, value in sheet.kept:
        data.setdefault(one, []).append(text if one == name else value)
    data["form_key"] = [f"{abs(hash((sheet.action, name, text))):032x}"[-32:]]
    files = {"unused": ("", b"")} if sheet.multipart else None
    return await life.member.post(sheet.action, data=data, files=files)


async def test_every_field_of_every_form_takes_hostile_text_or_shows_it_again(house: House) -> None:
    life = await begin(house.shop.db, house.shop, house.url, Words("f", dict.fromkeys(typed(), "word")))
    asked = [one for one in payloads.chosen(40) if not re.search("[\ud800-\udfff]", one.text)]
    wrong: list[str] = []
    statuses: Counter[int] = Counter()
    seen: dict[str, tuple[str, Sheet]] = {}
    try:
        await live(life)
        ids = await ids_of(life)
        for _name, address in addresses(
            [path for path in get_paths(life) if not path.startswith(("/api", "/sign", "/a/", "/i/", "/pay", "/static", "/style"))], ids
        ):
            page = await life.member.get(address)
            if page.status_code == 200 and page.headers["content-type"].startswith("text/html"):
                for sheet in sheets(page.text):
                    seen.setdefault(re.sub(r"[0-9a-f-]{36}", "…", sheet.action), (address, sheet))
        for action, (address, sheet) in sorted(seen.items()):
            for index, name in enumerate(dict.fromkeys(sheet.typed)):
                for payload in asked[index % 3 :: 3] if proof.size(1, 2) == 1 else asked:
                    answer = await send(life, sheet, name, payload.text)
                    statuses[answer.status_code] += 1
                    if answer.status_code in {303, 412}:
                        # What was saved has a newer version: the page is opened again, as a person would.
                        again = sheets((await life.member.get(address)).text)
                        sheet = next((one for one in again if one.action == sheet.action), sheet)
                    wrong += [f"{action} {name} {payload}: {line}" for line in judged(answer, payload.text, sheet.action)]
    finally:
        await life.close()
    print(
        f"\n{len(seen)} forms, {sum(len(set(one.typed)) for _address, one in seen.values())} fields, {dict(sorted(statuses.items()))}; seed {proof.seed()}"
    )
    assert len(seen) >= 15 and statuses[422] > 50 and statuses[303] > 20
    assert not wrong, "\n".join(wrong[:60])


def judged(answer: httpx.Response, text: str, action: str) -> list[str]:
    """What is wrong with the answer to a form."""
    if answer.status_code >= 500 or answer.status_code in {400, 404, 405}:
        return [f"{answer.status_code} {answer.text[:200]}"]
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return []
    seen = outline(answer.text)
    found = [
        f"an address that is none: {one[:60]!r}"
        for one in seen.addresses
        if one.strip().lower().startswith(("javascript:", "data:text", "vbscript:"))
    ]
    found += [
        f"a script: {one}"
        for one in seen.elements
        if one.startswith("<script") and one not in {"<script defer src>", "<script src type>", "<script src>"}
    ]
    found += [
        f"an element of the text: {one}"
        for one in seen.elements
        if re.match(r"<(iframe|object|embed|base|style|marquee|img src>)|<.* on\w+", one)
    ]
    is_shown_again = f'action="{action}"' in answer.text  # An activation with something to mend shows what, and no form.
    if (
        answer.status_code == 422
        and is_shown_again
        and one_line(text)
        and not any(one_line(text)[:40] in one_line(piece) for piece in seen.texts)
    ):
        found.append("what was typed is lost")
    return found
