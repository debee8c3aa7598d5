"""docs/security.md is true: every requirement of the standard once, every named test there, every count right."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

from tollgate.access import passwords

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
CHAPTERS = sorted((ROOT / "docs" / "security").glob("v*.md"))
STANDARD = json.loads((Path(__file__).parent / "asvs_5_0_0.json").read_text(encoding="utf-8"))
ROW = re.compile(r"^\| (V[\d.]+) \| (\d) \| (.+?) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
KINDS = ("test", "documented", "does not apply", "open")


def rows() -> list[tuple[Path, str, int, str, str]]:
    """Every line: its page, number, level, statement and evidence."""
    return [
        (page, number, int(level), statement, evidence)
        for page in CHAPTERS
        for number, level, statement, evidence in ROW.findall(page.read_text(encoding="utf-8"))
    ]


def kind(evidence: str) -> str:
    """What sort of evidence a line has; empty for none."""
    start = re.match(r"(Documented|Does not apply|Open): \S", evidence)
    return start[1].lower() if start else "test" if TEST.match(evidence) else ""


@cache
def defined_in(file: str) -> frozenset[str]:
    """The test functions that a file defines, read from its syntax."""
    path = ROOT / file
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    return frozenset(
        node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_requirement_of_both_levels_has_one_line_of_its_level() -> None:
    wanted = {number: level for level in (1, 2) for number in STANDARD[f"level_{level}"]}
    assert (STANDARD["version"], len(wanted)) == ("5.0.0", 253)
    found = rows()
    assert [number for number, times in Counter(number for _page, number, *_rest in found).items() if times > 1] == []
    assert {number: level for _page, number, level, *_rest in found} == wanted
    # And each stands in its own chapter.
    assert [number for page, number, *_rest in found if page.stem != f"v{int(number[1:].split('.')[0]):02}"] == []
    # No line of a table escapes the pattern by which these tests read it.
    assert sum(len(re.findall(r"^\| V\d", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in CHAPTERS) == len(found)


def test_no_line_is_without_evidence_and_every_statement_is_short() -> None:
    assert [number for _page, number, _level, _statement, evidence in rows() if not kind(evidence)] == []
    assert [number for _page, number, _level, statement, _evidence in rows() if len(statement.split()) > 20] == []
    # A line that rests on tests names nothing else.
    extra = [number for _page, number, _level, _statement, shown in rows() if kind(shown) == "test" and TEST.sub("", shown).strip(", ")]
    assert extra == []


def test_every_test_that_is_named_exists() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in [PAGE, *CHAPTERS])
    named = set(TEST.findall(pages))
    assert len(named) > 100
    assert sorted(f"{file}::{name}" for file, name in named if name not in defined_in(file)) == []
    # Nothing that looks like the name of a test escapes the pattern.
    assert pages.count("::test_") == len(TEST.findall(pages))


def test_the_summary_counts_what_is_there() -> None:
    text, found = PAGE.read_text(encoding="utf-8"), rows()
    shown = re.findall(
        r"^\| \[V(\d+) [^\]]+\]\((security/v\d\d\.md)\) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE
    )
    assert [name for _chapter, name, *_counts in shown] == [f"security/{page.name}" for page in CHAPTERS]
    total = Counter[str]()
    for chapter, name, *counts in shown:
        kinds = Counter(kind(evidence) for page, _number, _level, _statement, evidence in found if page.name == Path(name).name)
        assert [int(count) for count in counts] == [kinds.total(), *(kinds[one] for one in KINDS)], f"V{chapter}"
        total += kinds
    together = re.search(r"^\| together \| (.+) \|$", text, re.MULTILINE)
    assert together is not None
    assert [int(count) for count in together[1].split(" | ")] == [len(found), *(total[one] for one in KINDS)]
    listed = re.search(r"^\*\*Open\*\*: (.+?)\. Each", text, re.MULTILINE)
    assert listed is not None
    assert re.findall(r"\[(V[\d.]+)\]", listed[1]) == [number for _page, number, _level, _said, shown in found if kind(shown) == "open"]


def test_the_words_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    words = re.search(r"besides `([a-z ]+)`", text)
    assert words is not None
    assert set(words[1].split()) == passwords.CONTEXT_WORDS
    assert f"{passwords.SHORTEST} to {passwords.LONGEST} characters" in text
