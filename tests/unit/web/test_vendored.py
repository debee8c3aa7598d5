"""Vendored files are what their README says they are."""

from __future__ import annotations

import hashlib
import re

from tollgate.web.static_files import FOLDER


def test_every_vendored_file_has_the_hash_that_is_written_down() -> None:
    readme = (FOLDER / "vendor" / "README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    vendored = [path for path in (FOLDER / "vendor").rglob("*") if path.suffix in {".js", ".css"}]
    actual = {path.relative_to(FOLDER / "vendor").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in vendored}
    assert actual == stated
    assert stated
