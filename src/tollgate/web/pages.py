"""Pages of this room: the living style page, which shows every component in every state."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from litestar import Response, get

from tollgate import clock
from tollgate.errors import _
from tollgate.money.amount import Money
from tollgate.web.forms import Form
from tollgate.web.notices import Notice
from tollgate.web.rendering import Shell, page
from tollgate.web.timeline import Bar, layout


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A line of the sample table."""

    number: str
    client: str
    due_on: date
    payable: Money
    state: str


def sample_context(today: date) -> dict[str, Any]:
    """What the style page shows: made-up contracts, a filled form and a form with every kind of error."""
    filled = Form.empty(
        csrf_token="",
        values={
            "title": "Website relaunch",
            "value": "48,000.00",
            "starts_on": today,
            "country": "AT",
            "agree": "yes",
            "policy": "any_one",
            "milestones-0-title": "Concept and wireframes",
            "milestones-0-percent": "33.33",
            "milestones-0-due_on": today + timedelta(days=30),
            "milestones-0-criteria": "Wireframes of 12 pages\nOne round of comments worked in",
            "milestones-1-title": "Design system",
            "milestones-1-percent": "33.33",
            "milestones-2-title": "Build and launch",
            "milestones-2-percent": "33.34",
        },
    )
    wrong = Form.empty(
        csrf_token="",
        values={"wrong_value": "12.345", "wrong_starts_on": "2026-02-31", "wrong_notes": "…"},
    )
    wrong.refuse("wrong_title", _("Enter a title"))
    wrong.amount("wrong_value", "EUR")
    wrong.day("wrong_starts_on")
    wrong.refuse("wrong_country", _("Choose one of the list"))
    wrong.refuse("wrong_notes", _("Shorten this to %(most)s characters; it has %(length)s", most=2000, length=2311))
    wrong.refuse("wrong_agree", _("Tick this to go on"))
    wrong.refuse("wrong_policy", _("Choose one of the list"))
    wrong.refuse("wrong_file", _("This file is larger than %(limit)s MB", limit=50))
    week = timedelta(days=7)
    bars = [
        Bar(label="Concept and wireframes", starts_on=today - 5 * week, planned_on=today - 3 * week, due_on=today - 3 * week, kind="paid"),
        Bar(label="Design system", starts_on=today - 3 * week, planned_on=today - week, due_on=today - 2 * week, kind="overdue"),
        Bar(
            label="Build of the templates and components",
            starts_on=today - week,
            planned_on=today + 2 * week,
            due_on=today + week,
            kind="at_risk",
        ),
        Bar(label="Content", starts_on=today, planned_on=today + 3 * week, due_on=today + 3 * week, kind="on_time", href="#timeline"),
        Bar(label="Launch", starts_on=today + 3 * week, planned_on=today + 5 * week, due_on=today + 5 * week),
    ]
    rows = [
        SampleRow("INV-2026-0041", "Northwind Joinery GmbH", today + week, Money(1_200_000, "EUR"), "issued"),
        SampleRow("INV-2026-0040", "Ostrava Instruments", today - week, Money(845_050, "EUR"), "overdue"),
        SampleRow("INV-2026-0039", "Café Löwenzahn & Söhne", today - 3 * week, Money(99_99, "EUR"), "paid"),
    ]
    return {
        "filled": filled,
        "wrong": wrong,
        "timeline_view": layout(bars, today=today),
        "rows": rows,
        "today": today,
        "value": Money(4_800_000, "EUR"),
        "yen": Money(4800, "JPY"),
        "dinar": Money(4_800_000, "KWD"),
        "share": Decimal("33.34"),
    }


@get("/style", sync_to_thread=False, include_in_schema=False)
def style_page() -> Response[str]:
    """Every component in every state, to look at and to build on."""
    shell = Shell(organization="Atelier Brunner", member="Mara Brunner", active="contracts", notices=(Notice("Contract saved"),))
    return page("style.html", shell=shell, **sample_context(clock.today("UTC")))
