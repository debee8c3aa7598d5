"""What README and docs say is there: links, variables, commands, rules, rooms, jobs, states and events."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from tollgate.app import Services
from tollgate.cli import build_parser
from tollgate.contracts.states import State
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.jobs import periodic
from tollgate.mail.transport import NoTransport
from tollgate.settings import Settings
from tollgate_sandbox.cli import build_parser as build_sandbox_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
TOP_LEVEL = {"migrations/", "invoice_templates/", "tests/", "benchmarks/", "docs/", "tools/", "templates/"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def links() -> list[tuple[Path, str]]:
    """Every link and picture, with the page it stands on."""
    return [(page, target) for page in PAGES for target in LINK.findall(prose(page))]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere_in_the_clone() -> None:
    found = links()
    assert len(found) > 20
    broken = []
    for page, target in found:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_picture_is_shown_somewhere_and_small() -> None:
    shown = {(page.parent / target).resolve() for page, target in links() if target.endswith(".png")}
    pictures = set((ROOT / "docs" / "pictures").glob("*.png"))
    assert pictures == shown
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []


def variables() -> set[str]:
    """Every variable that the product reads from the environment: in settings.py, and where PostgreSQL's programs are looked up."""
    read = (ROOT / "src/tollgate/settings.py").read_text()
    found = set(re.findall(r"env(?:\.get\(|\[)\"([A-Z_]+)\"", read))
    return (found | {"TOLLGATE_PG_BIN"}) - {"HOME", "XDG_DATA_HOME"}


def test_every_variable_is_explained() -> None:
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    assert len(variables()) > 10
    assert rows == variables()


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a parser."""
    action = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a command, without --help."""
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = dict(re.findall(r"^\| `tollgate ([\w-]+)` \| (.*) \|$", text, re.MULTILINE))
    known = commands(build_parser())
    assert set(rows) == set(known)
    for name, parser in known.items():
        for option in options(parser) - {"--data", "--json"}:
            assert option in rows[name], f"{option} of tollgate {name}"
    assert "--data DIR" in text
    assert "--json" in text


def test_every_option_of_the_sandbox_is_documented() -> None:
    text = (ROOT / "docs/sandbox.md").read_text()
    assert {option for option in options(build_sandbox_parser()) if f"`{option}" not in text and f"{option}" not in text} == set()


def test_every_command_that_a_page_names_exists() -> None:
    known = set(commands(build_parser()))
    for page in PAGES:
        named = set(re.findall(r"\btollgate ((?:create-)?[a-z-]+)(?=[`\s])", " ".join(re.findall(r"`[^`]+`", prose(page)))))
        assert named <= known | {"create"}, page


def test_every_rule_has_its_paragraph() -> None:
    text = (ROOT / "docs/domain.md").read_text()
    found = [int(number) for number in re.findall(r"\*\*R(\d+) ", text)]
    assert sorted(found) == list(range(1, 24))


def test_every_state_of_a_milestone_is_explained() -> None:
    text = (ROOT / "docs/domain.md").read_text()
    for state in State:
        assert state.value in text.replace(" ", "_"), state


def test_every_room_is_listed() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = set(re.findall(r"`([\w/]+(?:\.py)?)`", "\n".join(line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `"))))
    there = {f"{path.parent.name}/" for path in (ROOT / "src/tollgate").glob("*/__init__.py")}
    there |= {path.name for path in (ROOT / "src/tollgate").glob("*.py") if path.name != "__init__.py"}
    assert there - rooms == set()
    assert {room for room in rooms if (room.endswith("/") and room.count("/") == 1)} - there <= TOP_LEVEL


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Everything wired, nothing connected."""
    settings = Settings(data=tmp_path, database_url="postgresql+asyncpg://nobody@127.0.0.1:9/nothing", secret_key="k" * 32)
    return Services(settings, Database(str(settings.database_url)), LocalStorage(tmp_path), NoTransport())


def test_every_job_is_on_the_map(services: Services) -> None:
    table = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`((?:signoff|parties|billing|documents|mail|payments|jobs|audit|reports)\.\w+)`", table))
    kinds = {kind.kind for kind in services.handlers}
    assert kinds - named == set()
    assert isinstance(services.periodic[0], periodic.Periodic)
    assert {one.kind.kind for one in services.periodic} <= kinds


def test_decisions_are_listed_and_have_their_four_parts() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert listed == {path.name for path in pages}
    for number, path in enumerate(pages, 1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Alternatives"]


def test_every_habit_that_the_readme_names_is_one_of_make() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", (ROOT / "README.md").read_text()))
    assert named <= targets | {"help"}
    assert {"test", "check", "bench", "proof", "screenshots", "translations"} <= targets
    assert list((ROOT / "benchmarks").glob("bench_*.py"))
