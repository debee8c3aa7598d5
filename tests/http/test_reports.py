"""The payments report: the same figures on screen, in JSON and in CSV; no cell is ever a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from tests.factories import make_client, make_organization
from tests.http.test_payments_api import key_of, signed_in
from tests.service.payments_world import PaidWorld, paid_world
from tollgate import clock
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import create_app
from tollgate.db.database import Database
from tollgate.files.storage import LocalStorage
from tollgate.money.amount import Money
from tollgate.money.currencies import EXPONENTS
from tollgate.payments import receiving, service
from tollgate.payments.receiving import Received
from tollgate.reports import service as reports
from tollgate.reports.queries import CSV_COLUMNS, PaymentsAsked
from tollgate.settings import Settings

REPORT = "/api/v1/reports/payments"
Web = AsyncTestClient[Any]


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> AsyncIterator[PaidWorld]:
    async with paid_world(db, storage, settings) as made:
        yield made


@pytest.fixture
async def web(world: PaidWorld) -> AsyncIterator[Web]:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        client.headers.update(await key_of(world, Role.FINANCE))
        yield client


async def receive(world: PaidWorld, amount: Money, *, on: date | None = None, reference: str = "", client_id: Any = None) -> None:
    """By the verb; other currencies than the books' below it, because a report must hold with what later versions bring, too."""
    if amount.currency == "EUR":
        asked = service.NewTransfer(
            client_id=client_id or world.billing.client_id,
            amount=amount,
            received_on=on or clock.today("Europe/Vienna"),
            reference=reference,
        )
        await service.record_transfer(world.db, world.billing.org.command("finance"), asked)
        return
    received = Received(
        client_id=client_id or world.billing.client_id,
        method="bank_transfer",
        amount=amount,
        received_on=on or clock.today("Europe/Vienna"),
        reference=reference,
    )
    async with world.db.transaction(world.billing.org.id, world.billing.org.command("finance")) as session:
        await receiving.receive(session, world.billing.org.id, received, [])


def eur(text: str) -> Money:
    return Money.parse(text, "EUR")


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_screen_json_and_csv_show_the_same(web: Web, world: PaidWorld) -> None:
    one, two = await world.issued("100.00"), await world.issued("200.00")
    await world.pay(two)
    await world.hear(*world.events())
    await world.work()
    await receive(world, eur("150.00"), reference="statement 7")
    body = (await web.get(REPORT)).json()
    assert body["next_cursor"] is None
    assert body["totals"] == [{"currency": "EUR", "amount": {"amount": "390.00", "currency": "EUR"}, "payments": 2, "returned": 0}]
    found = sorted((item["invoice"], item["method"], item["amount"]["amount"]) for item in body["items"])
    assert found == [("", "bank_transfer", "30.00"), (one.number, "bank_transfer", "120.00"), (two.number, "stripe", "240.00")]
    answer = await web.get(REPORT, params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv") and "attachment" in answer.headers["content-disposition"]
    lines = rows_of(answer)
    assert answer.text.splitlines()[0] == ",".join(CSV_COLUMNS)
    assert set(body["items"][0]) == set(CSV_COLUMNS)
    plain = [
        {name: item["amount"]["amount"] if name == "amount" else str(item[name]) if item[name] is not None else "" for name in CSV_COLUMNS}
        for item in body["items"]
    ]
    assert lines == plain
    assert sum(Decimal(line["amount"]) for line in lines) == Decimal("390.00")
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        page = await (await signed_in(world, client)).get("/reports/payments")
        download = await client.get("/reports/payments", params={"format": "csv"})
    assert page.status_code == 200
    for shown in ("€390.00", "€120.00", "€240.00", "€30.00", str(one.number), "statement 7", "Client credit"):
        assert shown in page.text
    assert download.text == answer.text


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|'/c calc'!A0", '=HYPERLINK("http://x")', "-", "=", "+", "@"])
async def test_no_text_cell_is_a_formula(web: Web, world: PaidWorld, evil: str) -> None:
    client_id = await make_client(world.db, world.billing.org, legal_name=f"{evil} GmbH")
    await receive(world, eur("1.00"), reference=evil, client_id=client_id)
    (line,) = rows_of(await web.get(REPORT, params={"format": "csv"}))
    assert (line["reference"], line["client"], line["amount"]) == (f"'{evil}", f"'{evil} GmbH", "1.00")
    (item,) = (await web.get(REPORT)).json()["items"]
    assert item["reference"] == evil, "JSON is no spreadsheet"


async def test_tab_and_return_do_not_begin_a_cell(world: PaidWorld) -> None:
    for name in ("\tx", "\rx", "\nx"):
        client_id = await make_client(world.db, world.billing.org, legal_name=name)
        await receive(world, eur("1.00"), client_id=client_id)
    text = b"".join([chunk async for chunk in reports.payments_csv(world.db, world.organization_id, PaymentsAsked())]).decode()
    assert {line["client"][:1] for line in csv.DictReader(io.StringIO(text, newline=""))} == {"'"}


async def test_quotes_commas_lines_and_scripts_survive(web: Web, world: PaidWorld) -> None:
    name = 'Müller, "Söhne" & Ко ✓ <script>'
    client_id = await make_client(world.db, world.billing.org, legal_name=name)
    await receive(world, eur("1.00"), reference="a,b;c\"d'e", client_id=client_id)
    (line,) = rows_of(await web.get(REPORT, params={"format": "csv"}))
    assert (line["client"], line["reference"]) == (name, "a,b;c\"d'e")


async def test_currencies_are_never_added_up_and_keep_their_digits(web: Web, world: PaidWorld) -> None:
    for money in (eur("1.05"), Money(7, "JPY"), Money(1_005, "KWD"), Money(12_345, "CLF"), eur("2.00")):
        await receive(world, money)
    body = (await web.get(REPORT)).json()
    assert [(total["amount"]["amount"], total["currency"], total["payments"]) for total in body["totals"]] == [
        ("1.2345", "CLF", 1),
        ("3.05", "EUR", 2),
        ("7", "JPY", 1),
        ("1.005", "KWD", 1),
    ]
    lines = rows_of(await web.get(REPORT, params={"format": "csv"}))
    assert sorted((line["currency"], line["amount"]) for line in lines) == [
        ("CLF", "1.2345"),
        ("EUR", "1.05"),
        ("EUR", "2.00"),
        ("JPY", "7"),
        ("KWD", "1.005"),
    ]


async def test_every_currency_is_written_as_money_writes_it(world: PaidWorld) -> None:
    for code in EXPONENTS:
        await receive(world, Money(123_456_789_012_345, code))
    text = b"".join([chunk async for chunk in reports.payments_csv(world.db, world.organization_id, PaymentsAsked())]).decode()
    found = {line["currency"]: line["amount"] for line in csv.DictReader(io.StringIO(text))}
    assert found == {code: Money(123_456_789_012_345, code).decimal_string() for code in EXPONENTS}


async def test_filters_narrow_all_three(web: Web, world: PaidWorld) -> None:
    today = clock.today("Europe/Vienna")
    invoice = await world.issued("100.00")
    other = await make_client(world.db, world.billing.org, legal_name="Other AG")
    await receive(world, eur("120.00"), on=today)
    await receive(world, eur("7.00"), on=today - timedelta(days=10), client_id=other)
    await receive(world, Money(500, "USD"), on=today - timedelta(days=3), client_id=other)
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({"from": str(today - timedelta(days=3))}, ["120.00", "5.00"]),
        ({"to": str(today - timedelta(days=3))}, ["5.00", "7.00"]),
        ({"from": str(today - timedelta(days=10)), "to": str(today - timedelta(days=10))}, ["7.00"]),
        ({"client_id": str(other)}, ["5.00", "7.00"]),
        ({"contract_id": str(invoice.contract_id)}, ["120.00"]),
        ({"currency": "USD"}, ["5.00"]),
        ({"method": "stripe"}, []),
        ({"state": "received"}, ["120.00", "5.00", "7.00"]),
        ({"state": "reversed"}, []),
    ]
    for filters, expected in cases:
        body = (await web.get(REPORT, params=filters)).json()
        assert [item["amount"]["amount"] for item in body["items"]] == expected, filters
        lines = rows_of(await web.get(REPORT, params={**filters, "format": "csv"}))
        assert [line["amount"] for line in lines] == expected, filters
    for wrong in (
        {"from": "soon"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"currency": "EURO"},
        {"method": "cash"},
        {"cursor": "x"},
        {"limit": "0"},
    ):
        assert (await web.get(REPORT, params=wrong)).status_code == 422, wrong


async def test_pages_of_the_report_join_without_gap_or_repeat(web: Web, world: PaidWorld) -> None:
    for _ in range(3):
        await world.issued("10.00")
    await receive(world, eur("40.00"))
    await receive(world, eur("1.00"))
    whole = (await web.get(REPORT)).json()
    seen, cursor = [], None
    for _ in range(10):
        page = (await web.get(REPORT, params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        assert page["totals"] == whole["totals"]
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole["items"] and len(seen) == 5


async def test_it_shows_this_organization_only_and_to_finance_only(web: Web, world: PaidWorld) -> None:
    await receive(world, eur("1.00"))
    stranger = await make_organization(world.db)
    made = await access.create_api_key(world.db, stranger.command(), name="Other")
    theirs = {"Authorization": f"Bearer {made.secret}"}
    assert (await web.get(REPORT, headers=theirs)).json()["items"] == []
    assert rows_of(await web.get(REPORT, params={"format": "csv"}, headers=theirs)) == []
    manager = await key_of(world, Role.ACCOUNT_MANAGER)
    assert (await web.get(REPORT, headers=manager)).status_code == 403


async def test_a_large_report_streams_and_a_reader_may_leave(world: PaidWorld) -> None:
    for _ in range(60):
        await receive(world, eur("1.00"), reference="x" * 140)
    chunks = reports.payments_csv(world.db, world.organization_id, PaymentsAsked())
    async for chunk in chunks:
        assert chunk
        break
    await chunks.aclose()  # type: ignore[attr-defined]
    assert world.db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_an_empty_report_says_what_to_do(world: PaidWorld) -> None:
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        browser = await signed_in(world, client)
        assert "No payment yet" in (await browser.get("/reports/payments")).text
        filtered = await browser.get("/reports/payments", params={"from": "2026-01-01"})
        assert "No payment fits" in filtered.text
        wrong = await browser.get("/reports/payments", params={"from": "2026-02-02", "to": "2026-02-01"})
        assert wrong.status_code == 422 and "There is a problem" in wrong.text


async def test_a_wrong_filter_shows_no_figures_of_others(world: PaidWorld) -> None:
    await receive(world, eur("77.31"), reference="of all clients")
    async with AsyncTestClient(create_app(world.billing.settings), base_url="http://127.0.0.1:8000") as client:
        browser = await signed_in(world, client)
        assert "77.31" in (await browser.get("/reports/payments")).text
        unknown = "01890000-0000-7000-8000-000000000000"
        for filters in ({"client_id": "zzz"}, {"client_id": unknown}, {"contract_id": unknown}, {"currency": "XXX"}, {"from": "soon"}):
            for more in ({}, {"format": "csv"}):
                wrong = await browser.get("/reports/payments", params={**filters, **more})
                assert wrong.status_code == 422 and "There is a problem" in wrong.text, filters
                shown = ("77.31", "of all clients", "Received in", "Download CSV", "No payment")
                assert not [one for one in shown if one in wrong.text], filters
