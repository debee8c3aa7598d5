"""Forms keep what was typed, name what is wrong, and read nothing that was not sent."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

import pytest

from tollgate import i18n
from tollgate.errors import FieldError, Invalid, NotFound, _
from tollgate.money.amount import Money
from tollgate.web.forms import Form


def form(**values: str | list[str]) -> Form:
    named = {name.replace("__", "-"): value if isinstance(value, list) else [value] for name, value in values.items()}
    return Form(named, csrf_token="token")


def test_values_are_read_in_the_readers_notation() -> None:
    typed = form(value="1.234,56", share="33,34", starts_on="24.12.2026", days="14", agree="yes", policy="all", id=str(uuid.UUID(int=7)))
    with i18n.use_locale("de"):
        assert typed.amount("value", "EUR") == Money(123456, "EUR")
        assert typed.percent("share") == Decimal("33.34")
        assert typed.day("starts_on") == date(2026, 12, 24)
    assert typed.whole("days") == 14
    assert typed.ticked("agree") and not typed.ticked("other")
    assert typed.choice("policy", ["any_one", "all"]) == "all"
    assert typed.uuid("id") == uuid.UUID(int=7)
    assert typed.is_valid


def test_a_bad_value_reads_as_nothing_keeps_what_was_typed_and_says_why() -> None:
    typed = form(value="12.345", days="-1", policy="mine", id="1 or 1=1", share="101", starts_on="soon")
    assert typed.amount("value", "EUR") is None
    assert typed.whole("days") is None
    assert typed.choice("policy", ["all"]) is None
    assert typed.uuid("id") is None
    assert typed.percent("share") is None
    assert typed.day("starts_on") is None
    assert list(typed.errors) == ["value", "days", "policy", "id", "share", "starts_on"]
    assert typed.value("value") == "12.345"


def test_empty_fields_are_nothing_and_required_ones_are_asked_for() -> None:
    typed = form(title="  ", value="")
    assert typed.amount("value", "EUR") is None
    assert typed.day("missing") is None
    assert typed.is_valid
    assert typed.required("title", _("Enter a title")) == ""
    assert str(typed.error("title")) == "Enter a title"


@pytest.mark.parametrize("hostile", ["a\x00b", "a\u202eb", "a\u2066b", "a\x1bb", "a\nb", "a\rb"])
def test_characters_that_cannot_be_stored_or_that_mislead_are_refused(hostile: str) -> None:
    typed = form(title=hostile)
    assert typed.text("title") == ""
    assert not typed.is_valid


def test_markup_and_formulas_are_only_text() -> None:
    assert form(title="<script>=1+1</script>").text("title") == "<script>=1+1</script>"


def test_text_longer_than_its_limit_is_refused_and_cut() -> None:
    typed = form(title="x" * 501)
    assert len(typed.text("title")) == 500
    assert "501" in str(typed.error("title"))


def test_lines_are_one_entry_each() -> None:
    assert form(criteria=" one \r\n\r\n two\n").lines("criteria") == ["one", "two"]


def rows() -> Form:
    return form(
        milestones__0__title="A", milestones__0__amount="", milestones__1__title=" ", milestones__10__title="C", milestones__10__amount="x"
    )


def test_rows_come_in_order_and_blank_ones_do_not_count() -> None:
    typed = rows()
    assert [row.text("title") for row in typed.rows("milestones")] == ["A", "C"]
    assert typed.row_numbers("milestones") == [0, 1, 10]
    assert typed.rows("milestones")[1].amount("amount", "EUR") is None
    assert list(typed.errors) == ["milestones-10-amount"]


def test_a_verbs_refusal_finds_the_row_that_was_shown() -> None:
    typed = rows()
    typed.take(
        Invalid(
            errors=[
                FieldError("/milestones/1/amount", _("too much")),
                FieldError("/title", _("too long")),
                FieldError("/address/line1", _("x")),
            ]
        )
    )
    typed.take(NotFound())
    assert list(typed.errors) == ["milestones-10-amount", "title", "address-line1", ""]


def test_rows_can_be_added_removed_and_moved_without_script() -> None:
    typed = rows()
    assert typed.with_row_added("milestones").row_numbers("milestones") == [0, 1, 10, 11]
    assert form().with_row_added("milestones").row_numbers("milestones") == [0]
    assert typed.with_row_removed("milestones", "1").row_numbers("milestones") == [0, 10]
    moved = typed.with_row_moved("milestones", "10", -1).with_row_moved("milestones", "1", -1)
    assert [row.text("title") for row in moved.rows("milestones")] == ["C", "A"]
    assert [row.text("title") for row in typed.with_row_moved("milestones", "0", -1).rows("milestones")] == ["A", "C"]


def test_every_showing_gets_a_new_key_while_the_sent_one_is_kept() -> None:
    key = uuid.uuid4()
    typed = Form({}, csrf_token="", form_key=key)
    assert typed.form_key == key
    assert typed.next_key != key
