"""Every planted bug still fits the code it is planted in, and would be a bug that runs; `make proof` plants them."""

from __future__ import annotations

import re

import pytest

from tests.planted.__main__ import ROOT, Wrong, changed, planted
from tests.planted.bugs import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: re.sub(r"\W+", "_", bug.name))
def test_it_can_be_planted(bug: Bug) -> None:
    for path, text in changed(ROOT, bug).items():
        assert text != path.read_text()
        if path.suffix == ".py":
            compile(text, str(path), "exec")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: re.sub(r"\W+", "_", bug.name))
def test_its_suite_is_there(bug: Bug) -> None:
    file, _, node = bug.suite.partition("::")
    name, _, case = node.rstrip("]").partition("[")
    text = (ROOT / file).read_text()
    assert not name or re.search(rf"def {name}\(", text), f"{file} has no {name}"
    assert not case or re.search(rf"def {case}\(", text), f"{file} has no kind {case}"


def test_there_are_enough_and_each_is_named_once() -> None:
    names = [bug.name for bug in BUGS]
    assert len(names) >= 28
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("text", ["", "one", "two two"])
def test_a_stale_entry_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        planted(text, "two", "three", "file.py")
