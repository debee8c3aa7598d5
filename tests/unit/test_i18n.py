"""What a reader sees and types: formats, readings, the choice of a language, and the tool that keeps the catalogs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate import i18n
from tollgate.errors import Invalid, Message, _, ngettext
from tollgate.i18n import catalogs
from tollgate.money.amount import Money
from tollgate.money.currencies import EXPONENTS

TOOL = Path(__file__).resolve().parents[2] / "tools" / "translations.py"


@pytest.mark.parametrize(
    ("locale", "value", "expected"),
    [
        ("en", Money(120000, "EUR"), "€1,200.00"),
        ("de", Money(120000, "EUR"), "1.200,00\xa0€"),
        ("fr", Money(-120050, "EUR"), "-1\u202f200,50\xa0€"),
        ("en", Money(4800, "JPY"), "JP¥4,800"),
        ("en", Money(1234567, "KWD"), "KWD1,234.567"),
        ("en", Money(1234567, "IQD"), "IQD1,234.567"),  # CLDR shows dinars without decimals, ISO 4217 counts three
        ("en", Money(10**15, "EUR"), "€10,000,000,000,000.00"),
    ],
)
def test_money_is_written_for_the_reader_with_iso_digits(locale: str, value: Money, expected: str) -> None:
    with i18n.use_locale(locale):
        assert i18n.money(value) == expected
        assert i18n.money(value.minor, value.currency) == expected


def test_minor_units_without_a_currency_are_refused() -> None:
    with pytest.raises(TypeError):
        i18n.money(100)


def test_numbers_percents_and_days_follow_the_locale() -> None:
    with i18n.use_locale("de"):
        assert i18n.percent(Decimal("33.34")) == "33,34\xa0%"
        assert i18n.number(1234) == "1.234"
        assert i18n.amount(Money(123456, "EUR")) == "1.234,56"
        assert i18n.day(date(2026, 12, 24)) == "24.12.2026"
    assert i18n.percent(Decimal("33.34")) == "33.34%"
    assert i18n.percent(Decimal(20)) == "20%"
    assert i18n.day(date(2026, 12, 24)) == "24 Dec 2026"
    with i18n.use_locale("en-US"):
        assert i18n.day(date(2026, 12, 24)) == "Dec 24, 2026"


def test_an_instant_is_shown_as_the_clock_on_the_wall_with_its_zone() -> None:
    summer = datetime(2026, 7, 1, 22, 30, tzinfo=UTC)
    assert i18n.instant(summer, "Europe/Vienna") == "2 Jul 2026, 00:30 CEST"
    with pytest.raises(ValueError, match="time zone"):
        i18n.instant(summer.replace(tzinfo=None), "Europe/Vienna")


@pytest.mark.parametrize(
    ("typed", "locale", "currency", "minor"),
    [
        ("1.234,56", "de", "EUR", 123456),
        ("1.234", "de", "EUR", 123400),
        ("1,234.56", "en", "EUR", 123456),
        ("1,234.56", "de", "EUR", 123456),  # cannot be anything else
        ("12.50", "de", "EUR", 1250),
        ("12,5", "en", "EUR", 1250),
        ("1\u202f234,56 €", "fr", "EUR", 123456),
        ("1'234.50", "de-CH", "CHF", 123450),
        ("EUR 5", "en", "EUR", 500),
        (".5", "en", "EUR", 50),
        ("7.", "en", "EUR", 700),
        ("1,234", "en", "JPY", 1234),
        ("1.234", "en", "KWD", 1234),
        ("12.3400", "en", "EUR", 1234),
        ("١٢٫٥", "ar", "EUR", 1250),
    ],
)
def test_amounts_are_read_in_the_readers_notation(typed: str, locale: str, currency: str, minor: int) -> None:
    assert i18n.parse_amount(typed, locale, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("typed", "locale", "currency", "reason"),
    [
        ("1,234", "de", "EUR", "could mean"),
        ("12.345", "en", "EUR", "could mean"),
        ("1,234", "en", "KWD", "could mean"),
        ("1.234", "fr", "EUR", "could mean"),
        ("1.23456", "en", "EUR", "has 2 decimals"),
        ("1.5", "en", "JPY", "no decimals"),
        ("1,23,4", "en", "EUR", "like 1,234.56"),
        ("twelve", "de", "EUR", "like 1.234,56"),
        ("1.2.3", "en", "EUR", "like"),
        ("5 USD", "en", "EUR", "like"),
        ("-5", "en", "EUR", "zero or more"),
        ("9" * 16, "en", "EUR", "too large"),
        ("9" * 10_000, "en", "EUR", "like"),
        ("  ", "en", "EUR", "Enter an amount"),
        (".", "en", "EUR", "like"),
        ("1e5", "en", "EUR", "like"),
    ],
)
def test_what_is_no_amount_or_could_be_two_is_refused_with_the_way_out(typed: str, locale: str, currency: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        i18n.parse_amount(typed, locale, currency)
    assert reason in i18n.translate(refused.value.detail)


def test_a_negative_amount_is_read_where_it_is_asked_for() -> None:
    assert i18n.parse_amount("\u22125,00", "de", "EUR", negative=True) == Money(-500, "EUR")


@given(
    minor=st.integers(0, 10**13),
    currency=st.sampled_from(sorted(EXPONENTS)),
    locale=st.sampled_from(["en", "en-US", "de", "fr", "de-CH", "ar", "ja", "sv"]),
)
def test_every_amount_that_is_written_with_decimals_is_read_back(minor: int, currency: str, locale: str) -> None:
    with i18n.use_locale(locale):
        written = i18n.amount(Money(minor, currency))
    assert i18n.parse_amount(written, locale, currency).minor == minor


@pytest.mark.parametrize(("typed", "expected"), [("33.34", "33.34"), ("33,34 %", "33.34"), ("100", "100"), ("0,000001", "0.000001")])
def test_percents_are_read_with_point_or_comma(typed: str, expected: str) -> None:
    assert i18n.parse_percent(typed, "de") == Decimal(expected)


@pytest.mark.parametrize("typed", ["1.234,5", "x", "-1", "1e2", "0.0000001", "1234"])
def test_what_is_no_percentage_is_refused(typed: str) -> None:
    with pytest.raises(Invalid):
        i18n.parse_percent(typed, "en")


@pytest.mark.parametrize(
    ("typed", "locale", "expected"),
    [
        ("2026-12-24", "de", date(2026, 12, 24)),
        ("24.12.2026", "de", date(2026, 12, 24)),
        ("24. 12. 2026", "cs", date(2026, 12, 24)),
        ("12/24/2026", "en-US", date(2026, 12, 24)),
        ("03/04/2026", "en-GB", date(2026, 4, 3)),
        ("24/12/2026", "en", date(2026, 12, 24)),
        ("12/24/2026", "en", date(2026, 12, 24)),
        ("2026/12/24", "ja", date(2026, 12, 24)),
    ],
)
def test_days_are_read_in_the_readers_order(typed: str, locale: str, expected: date) -> None:
    assert i18n.parse_day(typed, locale) == expected


@pytest.mark.parametrize(
    ("typed", "locale", "reason"),
    [
        ("03/04/2026", "en", "two days"),
        ("31.2.2026", "de", "no such day"),
        ("24.12.26", "de", "like"),
        ("", "en", "Enter a date"),
        ("0001-01-01", "en", "year"),
    ],
)
def test_a_day_that_cannot_be_told_is_refused(typed: str, locale: str, reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        i18n.parse_day(typed, locale)
    assert reason in i18n.translate(refused.value.detail)


def test_a_message_writes_its_arguments_for_the_reader() -> None:
    message = _(
        "left over: %(amount)s until %(day)s, see %(other)s", amount=Money(123456, "EUR"), day=date(2026, 12, 24), other=_("Invoices")
    )
    with i18n.use_locale("de"):
        assert i18n.translate(message) == "left over: 1.234,56\xa0€ until 24.12.2026, see Invoices"
    assert i18n.translate(ngettext("%(n)s row", "%(n)s rows", 1)) == "1 row"
    assert i18n.translate(ngettext("%(n)s row", "%(n)s rows", 2000)) == "2,000 rows"
    assert i18n.translate(_("100 % sure")) == "100 % sure"


@pytest.mark.parametrize(
    ("wishes", "header", "expected"),
    [
        ((), "", "en"),
        ((None, "en-US"), "", "en-US"),
        (("xx",), "de;q=0.9, en-GB;q=0.8", "en-GB"),
        ((), "en-US;q=0.1, en-GB", "en-GB"),
        ((), "en;q=0, de", "en"),
        ((), "en;q=much, en-AU;q=0.3", "en-AU"),
        (("en-../../etc",), "", "en"),
    ],
)
def test_the_reader_gets_the_first_shipped_language(wishes: tuple[str | None, ...], header: str, expected: str) -> None:
    assert i18n.choose(*wishes, accept_language=header) == expected


def test_the_locale_lasts_for_the_block_and_an_unknown_one_is_english() -> None:
    with i18n.use_locale("ar"):
        assert i18n.direction() == "rtl"
        with i18n.use_locale("nonsense-tag"):
            assert (i18n.current_locale.get(), i18n.direction()) == ("en", "ltr")
        assert i18n.direction() == "rtl"
    assert i18n.current_locale.get() == "en"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translations_tool", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "src" / "templates").mkdir(parents=True)
    (tmp_path / "src" / "rules.py").write_text('x = _("Enter a title")\ny = ngettext("%(n)s row", "%(n)s rows", 3)\n', encoding="utf-8")
    (tmp_path / "src" / "templates" / "page.html").write_text('<p>{{ _("Due %(day)s", day=x) }}</p>', encoding="utf-8")
    return tmp_path


def test_the_template_holds_what_python_and_pages_say(tool: ModuleType, project: Path) -> None:
    ids = {message.id for message in tool.extract(project / "src") if message.id}
    assert ids == {"Enter a title", ("%(n)s row", "%(n)s rows"), "Due %(day)s"}


def test_the_check_names_a_stale_template_and_each_missing_translation(tool: ModuleType, project: Path) -> None:
    source, locales = project / "src", project / "locales"
    assert tool.problems(source, locales) == ["messages.pot is out of date: run tools/translations.py"]
    tool.update(source, locales)
    assert tool.problems(source, locales) == []
    tool.update(source, locales, add=["de"])
    assert sorted(tool.problems(source, locales)) == [
        f"de: not translated: {text!r}" for text in ("%(n)s row", "Due %(day)s", "Enter a title")
    ]
    (source / "rules.py").write_text('x = _("Enter a name")\n', encoding="utf-8")
    assert "messages.pot is out of date: run tools/translations.py" in tool.problems(source, locales)


@pytest.fixture
def german(tool: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    source, locales = project / "src", project / "locales"
    tool.update(source, locales, add=["de"])
    path = locales / "de" / "LC_MESSAGES" / "messages.po"
    text = path.read_text(encoding="utf-8")
    text = text.replace('msgid "Enter a title"\nmsgstr ""', 'msgid "Enter a title"\nmsgstr "Titel eingeben"')
    text = text.replace('msgid "Due %(day)s"\nmsgstr ""', 'msgid "Due %(day)s"\nmsgstr "Fällig am %(tag)s"')
    text = text.replace('msgstr[0] ""', 'msgstr[0] "%(n)s Zeile"').replace('msgstr[1] ""', 'msgstr[1] "%(n)s Zeilen"')
    path.write_text(text, encoding="utf-8")
    tool.update(source, locales)
    monkeypatch.setattr(catalogs, "LOCALES", locales)
    catalogs.translations.cache_clear()
    yield locales
    catalogs.translations.cache_clear()


def test_a_translation_with_another_placeholder_is_incomplete(tool: ModuleType, project: Path, german: Path) -> None:
    assert tool.problems(project / "src", german) == ["de: not translated: 'Due %(day)s'"]


def test_a_shipped_catalog_speaks_for_its_regions_too(german: Path) -> None:
    with i18n.use_locale("de-AT"):
        assert i18n.translate(_("Enter a title")) == "Titel eingeben"
        assert i18n.translate(ngettext("%(n)s row", "%(n)s rows", 1200)).endswith("200 Zeilen")
        assert i18n.translate(Message("Never seen")) == "Never seen"
    assert i18n.translate(_("Enter a title")) == "Enter a title"
