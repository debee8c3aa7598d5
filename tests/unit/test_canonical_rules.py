"""One spelling per value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.canonical import canonical_json, sha256_hex

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
)


@given(plain)
def test_plain_data_reads_back_the_same(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(), min_size=2))
def test_order_does_not_matter(value: dict[str, int]) -> None:
    assert sha256_hex(value) == sha256_hex(dict(reversed(value.items())))


def test_the_bytes_are_fixed_for_ever() -> None:
    class Colour(StrEnum):
        RED = "red"

    value = {
        "z": (1, None, True),
        "ä": "€\n",
        "rate": Decimal("20.00"),
        "on": date(2026, 1, 2),
        "colour": Colour.RED,
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
        "id": UUID(int=1),
    }
    assert (
        canonical_json(value)
        == (
            '{"at":"2026-01-02T02:04:05.000000Z","colour":"red","id":"00000000-0000-0000-0000-000000000001","on":"2026-01-02",'
            '"rate":"20","z":[1,null,true],"ä":"€\\n"}'
        ).encode()
    )
    assert sha256_hex({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@given(st.decimals(-(10**9), 10**9, places=6))
def test_one_number_has_one_spelling(number: Decimal) -> None:
    assert canonical_json(number) == canonical_json(number.normalize()) == canonical_json(number + Decimal("0.00000000"))


@pytest.mark.parametrize("value", [1.0, float("nan"), Decimal("NaN"), b"x", {1: 2}, {None: 1}, datetime(2026, 1, 1), {1, 2}, object()])  # noqa: DTZ001
def test_what_has_no_exact_spelling_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json({"deep": [value]} if not isinstance(value, dict) else value)


def test_an_instant_is_the_same_in_every_zone() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert canonical_json(noon) == canonical_json(noon.astimezone(timezone(timedelta(hours=-5))))
