"""Hostile text in every text field of the models, and every place where it is shown: pages, mails, PDFs, CSV, JSON, logs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import structlog
from sqlalchemy import text

from tests.factories import proof
from tests.factories.shop import Letterbox
from tests.hostile import payloads
from tests.hostile.conftest import House
from tests.hostile.fields import FIELDS, Copied, Typed, text_columns, typed
from tests.hostile.life import AT_END, FILE_NAMES, PLAIN, Life, Words, begin, kept, live
from tests.hostile.payloads import Payload
from tests.hostile.places import Found, Place, is_shown, squeezed, visit
from tests.hostile.reading import one_line
from tollgate.db.database import Database

HEADERS = frozenset({"sign_off.user_agent", "link_open.user_agent", "idempotency_key.key"})
"""Fields that come as headers, whose text HTTP changes on the way."""


NEEDLE = "zz9 "
"""Before what is searched for, so that nothing is found in any life."""
SEARCH = "search "
"""Pages that a text is searched on: one that cannot be searched for is refused, with another page."""
MORE_ROWS = frozenset({"contract tab=activity", "/contracts/{contract_id:uuid}/activation [1]"})
"""Pages on which a life whose texts were refused has more rows of the same kind: it wrote again, or its draft lists what to mend."""


@dataclass(slots=True)
class Lived:
    """A life at its end: what is kept by column, and every place."""

    words: Words
    kept: dict[str, list[str]]
    found: Found
    logged: list[str] = field(default_factory=list)
    _values: dict[str, list[str]] = field(default_factory=dict)

    def values(self, name: str) -> list[str]:
        """Every stored text that holds the field's marker, wherever it is copied to."""
        if not self._values:
            every = {one for rows in self.kept.values() for row in rows for one in _inner(row)}
            self._values = {one: [text for text in every if self.words.marker(one) in text] for one in typed()}
        return self._values[name]


def _inner(row: str) -> list[str]:
    """A column's text, and the texts inside when it is JSON."""
    try:
        value = json.loads(row)
    except ValueError:
        return [row]
    waiting, found = [value], [row]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
    return found


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[Database]:
    """The database as its owner reads it."""
    database = Database(owner_url)
    yield database
    await database.close()


async def lived(house: House, owner: Database, words: Words, needle: str) -> Lived:
    """Live, then look everywhere."""
    letterbox = house.shop.services.transport
    assert isinstance(letterbox, Letterbox)
    before = len(letterbox.mails)
    life = await begin(house.shop.db, house.shop, house.url, words)
    try:
        with structlog.testing.capture_logs() as events:
            await live(life)
            found = await visit(life, letterbox.mails[before:], needle)
        assert await broken_jobs(owner, life) == []
        return Lived(words, await kept(life, owner), found, [repr(one) for one in events])
    finally:
        await life.close()


async def broken_jobs(owner: Database, life: Life) -> list[str]:
    """Jobs of the life that are dead, or that failed by a fault of ours rather than an outage."""
    sql = "select kind, last_error from job where organization_id = :id and (state = 'dead' or faults > 0)"
    async with owner.directory() as session:
        return [str(row) for row in await session.execute(text(sql), {"id": life.shop.org.id})]


def harmless(typed_text: str) -> str:
    """A text of the same length and lines in which nothing is hostile."""
    return "".join("\n" if char == "\n" else " " if char.isspace() else "x" for char in typed_text.replace("\r\n", "\n"))


def twin_of(words: Words) -> Words:
    """The same life with harmless texts."""
    texts = {name: harmless(one) for name, one in words.texts.items()}
    return Words("z", texts, words.at_start, set(words.cut), set(words.plain))


def shape(words: Words) -> str:
    """Lives of one shape look alike: by the lines of what takes several, whether it is long, and which fields cannot hold a marker."""
    several = [words(name) for name in ("milestone.description", "deliverable.note", "review_round.message", "sign_off.reason")]
    lines = [(one.strip().count("\n"), len(one) // 1000) for one in several]
    return repr((lines, sorted(words.plain & set(PLAIN))))


def test_every_text_column_is_accounted_for() -> None:
    assert set(text_columns()) == set(FIELDS), "a text column without a row in fields.py, or a row without a column"


def test_every_payload_stands_in_the_lists() -> None:
    assert len(payloads.every()) >= 300
    assert {(one.kind, one.text) for one in payloads.every()} >= set(payloads.CHOSEN)


async def test_hostile_text_is_refused_at_its_field_or_shown_as_text_everywhere(house: House, owner: Database) -> None:
    """One life per payload. Each place is compared with the same place of a life of harmless texts, each text with what is stored."""
    twins: dict[str, Lived] = {}
    wrong: list[str] = []
    cells: Counter[str] = Counter()
    taken = refused = 0
    asked = payloads.chosen()
    for index, payload in enumerate(asked):
        words = Words("a", dict.fromkeys(typed(), payload.text), at_start=payload.kind not in AT_END and index % 2 == 1)
        words.letter = chr(ord("a") + index % 25)
        one = await lived(house, owner, words, NEEDLE + payload.text[:100])
        twin = twins.get(shape(words))
        if twin is None:
            twin = twins[shape(words)] = await lived(house, owner, twin_of(words), NEEDLE + harmless(payload.text[:100]))
            missing = set(typed()) - set(twin.kept) - {name for name in words.plain if name.endswith("tax_id")}
            wrong += [f"{name} is never written" for name in sorted(missing)]
        wrong += [f"{payload}: {line}" for line in compare(one, twin, payload, cells)]
        refused += len(words.plain)
        taken += len(typed()) - len(words.plain)
    print(
        f"\n{len(asked)} payloads × {len(typed())} fields: {taken} taken, {refused} refused; {len(twins)} harmless lives;"
        f" {sum(cells.values())} cells looked at: {dict(cells)}; seed {proof.seed()}"
    )
    assert not wrong, "\n".join(wrong[:200])


def compare(one: Lived, twin: Lived, payload: Payload, cells: Counter[str]) -> list[str]:
    """Everything that is wrong with a life."""
    wrong = stored_wrong(one)
    wrong += [f"a log line holds {name}" for name in typed() for line in one.logged if one.words.marker(name) in line]
    others = {place.name: place for place in twin.found.places}
    known = {element for place in twin.found.places for element in place.elements}
    names = [place.name for place in one.found.places]
    wrong += [f"{name} is missing" for name in others if name not in names and not name.startswith(SEARCH)]
    for place in one.found.places:
        wrong += [f"{place.name}: {line}" for line in place.wrong]
        other = others.get(place.name)
        if other is None:
            wrong += [] if place.name.startswith(SEARCH) else [f"{place.name} is there only with hostile texts"]
            continue
        differing = (place.elements - other.elements) + (other.elements - place.elements)
        if place.name in MORE_ROWS:
            differing = Counter(set(place.elements) - known)
        for element in differing:
            wrong.append(f"{place.name}: {element} {place.elements[element]} times, with harmless texts {other.elements[element]}")
        wrong += [f"{place.name}: {line}" for line in text_wrong(one, twin, place, other, cells)]
    return wrong


def stored_wrong(one: Lived) -> list[str]:
    """Whether each column holds what was typed there, and no other column holds anything typed."""
    wrong = []
    for name, rows in one.kept.items():
        row = FIELDS[name]
        if not isinstance(row, Typed | Copied):
            wrong.append(f"{name} is written by the system and holds {rows[0][:80]!r}")
        elif isinstance(row, Typed) and name not in FILE_NAMES | HEADERS and name not in one.words.plain:
            asked = one_line(one.words(name))
            if not any(asked == one_line(found) for value in rows for found in _inner(value)):
                wrong.append(f"{name} was asked to hold {asked[:80]!r} and holds {rows[0][:80]!r}")
    return wrong


def text_wrong(one: Lived, twin: Lived, place: Place, other: Place, cells: Counter[str]) -> list[str]:
    """Whether each field's text stands whole where it stands at all, and in the same places as a harmless one."""
    wrong = []
    for name in typed():
        mark, twin_mark = one.words.marker(name), twin.words.marker(name)
        texts = [found for found in place.texts if mark in found]
        if bool(texts) != any(twin_mark in found for found in other.texts):
            wrong.append(f"{name} is shown {'only' if texts else 'not'} when its text is hostile")
        if not texts:
            continue
        cells[place.kind] += 1
        values = one.values(name)
        for found in texts:
            if (place.kind == "json" and found not in values) or (
                place.kind == "csv" and found not in values and found.removeprefix("'") not in values
            ):
                wrong.append(f"{name} is {found[:80]!r}")
            elif place.kind in {"page", "mail"} and not is_shown(found, values):
                wrong.append(f"{name} is shown as {found[:120]!r}")
            elif place.kind == "pdf" and all(map(_is_plain, values)) and not any(squeezed(value) in squeezed(found) for value in values):
                wrong.append(f"{name} is not printed as it is kept")
    return wrong


def _is_plain(value: str) -> bool:
    return value.isascii() and re.search(r"[\x00-\x1f]", value) is None
