"""The worked cases of the rules, loaded from `tests/cases/*.json` as they are: decimals as text, never as floats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tollgate.money.amount import Money

FOLDER = Path(__file__).parents[1] / "cases"


def load(name: str) -> dict[str, Any]:
    """The content of `tests/cases/<name>.json`. A JSON number with a point would be a float: refused."""

    def no_float(text: str) -> Any:
        raise ValueError(f"{name}: {text} is a float")

    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"), parse_float=no_float)
    return content


def euros(text: str) -> Money:
    """An amount in EUR, as the cases write it."""
    return Money.parse(text, "EUR")


def euro_list(texts: list[str]) -> list[Money]:
    """Amounts in EUR."""
    return [euros(text) for text in texts]
