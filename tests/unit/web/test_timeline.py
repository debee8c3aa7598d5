"""The timeline keeps every bar inside the picture, whatever the days and the direction."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tollgate import i18n
from tollgate.web.timeline import LABELS, WIDTH, Bar, layout

days = st.dates(date(2020, 1, 1), date(2035, 12, 31))


@given(st.lists(st.tuples(days, days, st.none() | days), max_size=5), days, st.sampled_from(["en", "ar"]))
def test_bars_ticks_and_today_stay_inside(spans: list[tuple[date, date, date | None]], today: date, locale: str) -> None:
    bars = [Bar(label="x" * 60, starts_on=start, planned_on=planned, due_on=due) for start, planned, due in spans]
    with i18n.use_locale(locale):
        view = layout(bars, today=today)
    low, high = (0, WIDTH - LABELS) if locale == "ar" else (LABELS, WIDTH)
    places = [x for bar in view.bars for x in (bar.x, bar.x + bar.width, bar.due_x) if x is not None]
    assert all(low <= x <= high for x in [*places, *(tick.x for tick in view.ticks), view.today_x or low])
    assert len(view.ticks) <= 80


def test_a_later_day_lies_further_in_reading_direction() -> None:
    bars = [
        Bar(label="a", starts_on=date(2026, 1, 1) + timedelta(days=10 * n), planned_on=date(2026, 1, 5) + timedelta(days=10 * n))
        for n in range(3)
    ]
    assert [bar.x for bar in layout(bars, today=date(2026, 1, 1)).bars] == sorted(
        bar.x for bar in layout(bars, today=date(2026, 1, 1)).bars
    )
    with i18n.use_locale("ar"):
        mirrored = [bar.x for bar in layout(bars, today=date(2026, 1, 1)).bars]
    assert mirrored == sorted(mirrored, reverse=True)
