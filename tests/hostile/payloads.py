"""The lists of `payloads.json`, by kind, and the few that every run of the suite tries."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.factories import proof

HERE = Path(__file__).parent
CHOSEN = (
    ("markup", "</textarea><script>alert(1)</script>"),
    ("attribute", '" onmouseover="alert(1)'),
    ("template", "{{7*7}}"),
    ("template", "%s%s%s%n"),
    ("formula", "=cmd|' /C calc'!A0"),
    ("header", "x\r\nBcc: victim@evil.example"),
    ("bidi", "invoice \u202egnp.exe"),
    ("reportlab", "<img src=/etc/passwd>"),
    ("script", "😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽"),
    ("path", "..\\..\\..\\windows\\win.ini"),
)
"""One of each kind of trouble: enough to notice that an escape, a guard or a check was lost."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A hostile text."""

    kind: str
    text: str

    def __str__(self) -> str:
        shown = self.text.encode("unicode_escape").decode()
        return f"{self.kind}:{shown if len(shown) <= 50 else shown[:40] + f'… ({len(self.text)})'}"


@lru_cache(maxsize=1)
def every() -> tuple[Payload, ...]:
    """All of them. A long one is written as what is repeated and how often."""
    found = []
    for kind, entries in json.loads((HERE / "payloads.json").read_text(encoding="utf-8")).items():
        for entry in entries:
            text = entry if isinstance(entry, str) else entry["repeat"] * entry["times"]
            found.append(Payload(kind, text))
    return tuple(found)


def chosen(proof_size: int = 300) -> list[Payload]:
    """Ten in the suite; in the long run `proof_size` of all, drawn by the seed, with the ten among them."""
    ten = [Payload(kind, text) for kind, text in CHOSEN]
    most = proof.size(len(ten), proof_size)
    rest = [one for one in every() if one not in ten]
    random.Random(proof.seed()).shuffle(rest)
    return [*ten, *rest][:most] if most > len(ten) else ten[:most]
