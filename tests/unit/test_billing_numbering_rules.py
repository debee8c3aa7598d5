"""R11: numbers without gap or repeat, dates that never go backwards."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.billing.rules import MalformedFormat, Number, NumberFormat, SeriesFull, check_formats, issue_day, next_number

DAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("INV-{year}-{seq:04}", "INV-2026-0007"),
        ("{seq}", "7"),
        ("{year}/{seq:06}", "2026/000007"),
        ("{seq:03}.{year} A", "007.2026 A"),
        ("R_#{seq:09}", "R_#000000007"),
    ],
)
def test_formats_that_work(text: str, number: str) -> None:
    parsed = NumberFormat.parse(text)
    assert parsed.render(2026, 7) == number
    assert parsed.text == text
    assert parsed.has_year == ("{year}" in text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INV",
        "INV-{year}",
        "{seq}{seq}",
        "{year}{year}{seq}",
        "{seq:4}",
        "{seq:00}",
        "{seq:010}",
        "{seq:0}",
        "{month}{seq}",
        "{seq",
        "INV-{seq!r}",
        "{0}{seq}",
        " {seq}",
        "{seq} ",
        "Ä{seq}",
        "<b>{seq}",
        "=1+{seq}",
        "{seq}\n",
        "a" * 20 + "{seq}",
        "{year}" + "a" * 16 + "{seq}",
        "a" * 100 + "{seq}",
        "INV-{seq.__class__}",
        "{{seq}}",
        "INV\u202e{seq}",
        "{SEQ}",
    ],
)
def test_formats_that_do_not_are_refused(text: str) -> None:
    with pytest.raises(MalformedFormat) as refused:
        NumberFormat.parse(text)
    assert refused.value.slug == "malformed-number-format"


def test_the_longest_format_leaves_room_for_seven_digits() -> None:
    longest = NumberFormat.parse("a" * 19 + "{seq}")
    assert len(longest.render(2026, 9_999_999)) == 26
    with pytest.raises(SeriesFull):
        longest.render(2026, 10_000_000)


def test_a_series_is_a_format_and_its_year() -> None:
    parsed = NumberFormat.parse("INV-{year}-{seq:04}")
    assert parsed.series_key(DAY) == "INV-2026-{seq:04}"
    assert parsed.series_key(date(2027, 1, 1)) == "INV-2027-{seq:04}"
    assert NumberFormat.parse("INV-{seq:05}").series_key(DAY) == "INV-{seq:05}"


def test_the_next_number_carries_its_place() -> None:
    assert next_number(NumberFormat.parse("INV-{year}-{seq:04}"), DAY, 41) == Number("INV-2026-0042", "INV-2026-{seq:04}", 42, DAY)
    with pytest.raises(ValueError, match="-1"):
        next_number(NumberFormat.parse("{seq}"), DAY, -1)


def test_a_late_clock_takes_the_last_date_and_its_year() -> None:
    assert issue_day(date(2026, 12, 31), date(2027, 1, 1)) == date(2027, 1, 1)
    assert issue_day(DAY, None) == DAY
    assert issue_day(DAY, DAY - timedelta(days=1)) == DAY


formats = st.sampled_from(["INV-{year}-{seq:04}", "{seq}", "{year}{seq}", "{seq:02}{year}", "A1{seq:03}"]).map(NumberFormat.parse)


@given(formats, st.lists(st.integers(-400, 400), min_size=1, max_size=60))
def test_any_clock_gives_a_series_without_gap_repeat_or_step_back(number_format: NumberFormat, offsets: list[int]) -> None:
    last_on: date | None = None
    last_seq: dict[str, int] = {}
    taken: list[Number] = []
    for offset in offsets:
        day = issue_day(DAY + timedelta(days=offset), last_on)
        number = next_number(number_format, day, last_seq.get(number_format.series_key(day), 0))
        last_on, last_seq[number.series_key] = number.issued_on, number.seq
        taken.append(number)
    assert len({number.text for number in taken}) == len(taken)
    assert [number.issued_on for number in taken] == sorted(number.issued_on for number in taken)
    assert all(number.issued_on >= DAY + timedelta(days=offset) for number, offset in zip(taken, offsets, strict=True))
    for key in last_seq:
        assert [number.seq for number in taken if number.series_key == key] == list(range(1, last_seq[key] + 1))
    assert len(last_seq) == (len({number.issued_on.year for number in taken}) if number_format.has_year else 1)
    assert all(not number_format.has_year or str(number.issued_on.year) in number.text for number in taken)


literals = st.text("AB1-", max_size=3)
any_format = st.builds(
    lambda a, b, c, year, width: NumberFormat.parse(a + ("{year}" if year else "") + b + width + c),
    literals,
    literals,
    literals,
    st.booleans(),
    st.sampled_from(["{seq}", "{seq:02}", "{seq:03}"]),
)
places = st.tuples(st.integers(2020, 2030), st.integers(1, 2000))


@given(any_format, any_format, places, places)
def test_formats_that_pass_never_write_the_same_number(
    one: NumberFormat, other: NumberFormat, here: tuple[int, int], there: tuple[int, int]
) -> None:
    try:
        check_formats({"invoice": one, "credit_note": other})
    except MalformedFormat:
        return
    assert one.render(*here) != other.render(*there)


def test_formats_that_could_meet_are_refused() -> None:
    for one, other in (
        ("{seq}", "{seq:04}"),
        ("A{seq}", "A1{seq}"),
        ("A{year}{seq}", "A{seq}"),
        ("INV-{year}-{seq}", "INV-{year}-{seq:04}"),
    ):
        with pytest.raises(MalformedFormat, match="invoice and credit_note"):
            check_formats({"invoice": NumberFormat.parse(one), "credit_note": NumberFormat.parse(other)})
    check_formats({"invoice": NumberFormat.parse("INV-{year}-{seq:04}"), "credit_note": NumberFormat.parse("CN-{year}-{seq:04}")})
