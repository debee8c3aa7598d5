"""The SQL of reports. One statement serves the screen, the API and the CSV, so that their figures cannot differ."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import BigInteger, Date, SmallInteger, Uuid

from tollgate.money.amount import Money
from tollgate.money.currencies import EXPONENTS

Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsAsked:
    """Which payments: received from and to these days (both included), of one client, contract, currency, method, state."""

    since: date | None = None
    until: date | None = None
    client_id: UUID | None = None
    contract_id: UUID | None = None
    currency: str | None = None
    method: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in the report, for the next page."""

    received_on: date
    payment_id: UUID
    part: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRow:
    """What one payment did for one invoice, or left as client credit; with a minus on the day on which it was taken back."""

    received_on: date
    client: str
    contract: str
    invoice: str
    method: str
    reference: str
    state: str
    amount: Money
    client_id: UUID
    contract_id: UUID | None
    invoice_id: UUID | None
    payment_id: UUID
    part: int

    @property
    def place(self) -> Place:
        """Where the next page begins after this row."""
        return Place(self.received_on, self.payment_id, self.part)


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The sum of the report in one currency; currencies are never added up."""

    amount: Money
    payments: int


# One row per payment and invoice it settled, and one for what is left as client credit. A payment that was taken back has its rows as they
# were, and the same with a minus on the day of its reversal: a period that was reported once never changes, and the sum is nothing.
_ROWS = """
with settled as (
  select a.organization_id, a.payment_id, a.invoice_id, sum(a.amount_minor) as amount_minor
  from payment_allocation a join payment p on p.organization_id = a.organization_id and p.id = a.payment_id
  where p.state = 'received' or a.amount_minor > 0
  group by a.organization_id, a.payment_id, a.invoice_id
), parts as (
  select s.organization_id, s.payment_id, s.invoice_id, s.amount_minor from settled s where s.amount_minor <> 0
  union all
  select p.organization_id, p.id, null, p.amount_minor - p.refunded_minor - coalesce(sum(s.amount_minor), 0)
  from payment p left join settled s on s.organization_id = p.organization_id and s.payment_id = p.id
  group by p.organization_id, p.id, p.amount_minor, p.refunded_minor
  having p.amount_minor - p.refunded_minor - coalesce(sum(s.amount_minor), 0) <> 0
), report as (
  select case sign when 1 then p.received_on else p.reversed_on end as received_on, c.legal_name as client,
    coalesce(k.title, '') as contract, coalesce(i.number, '') as invoice, p.method, p.reference,
    p.state, p.currency, sign * parts.amount_minor as amount_minor, p.client_id, k.id as contract_id, i.id as invoice_id,
    p.id as payment_id,
    (row_number() over (partition by p.id order by sign desc, i.number nulls last, i.id))::smallint as part
  from parts
  join payment p on p.organization_id = parts.organization_id and p.id = parts.payment_id
  join (values (1), (-1)) as way (sign) on sign = 1 or p.state = 'reversed'
  join client c on c.organization_id = p.organization_id and c.id = p.client_id
  left join invoice i on i.organization_id = parts.organization_id and i.id = parts.invoice_id
  left join contract k on k.organization_id = i.organization_id and k.id = i.contract_id
)
select {columns} from report
where (cast(:since as date) is null or received_on >= :since)
  and (cast(:until as date) is null or received_on <= :until)
  and (cast(:client_id as uuid) is null or client_id = :client_id)
  and (cast(:contract_id as uuid) is null or contract_id = :contract_id)
  and (cast(:currency as text) is null or currency = :currency)
  and (cast(:method as text) is null or method = :method)
  and (cast(:state as text) is null or state = :state)
"""
_ORDER = " order by report.received_on desc, report.payment_id desc, report.part"
_COLUMNS = (
    "received_on, client, contract, invoice, method, reference, state, currency, amount_minor,"
    " client_id, contract_id, invoice_id, payment_id, part"
)
_TYPES = (
    bindparam("since", type_=Date),
    bindparam("until", type_=Date),
    bindparam("client_id", type_=Uuid),
    bindparam("contract_id", type_=Uuid),
)
CSV_COLUMNS = (
    "received_on",
    "client",
    "contract",
    "invoice",
    "method",
    "reference",
    "state",
    "currency",
    "amount",
    "client_id",
    "contract_id",
    "invoice_id",
    "payment_id",
)
"""The names of the CSV's columns, which are those of the items in JSON."""
_TEXTS = frozenset(("client", "contract", "invoice", "method", "reference", "state", "currency"))


def _params(asked: PaymentsAsked) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in PaymentsAsked.__dataclass_fields__}


async def payment_rows(session: AsyncSession, asked: PaymentsAsked, *, after: Place | None, limit: int) -> list[PaymentRow]:
    """Rows, last received first; one more than `limit` where there is one."""
    params = _params(asked) | {"limit": limit + 1}
    sql = _ROWS.format(columns=_COLUMNS)
    types = [*_TYPES, bindparam("limit", type_=BigInteger)]
    if after is not None:
        # Days and payments go down, parts go up: spelled out, for a row comparison knows one direction only.
        sql += (
            " and (received_on < :after_on or (received_on = :after_on and payment_id < :after_id)"
            " or (received_on = :after_on and payment_id = :after_id and part > :after_part))"
        )
        params |= {"after_on": after.received_on, "after_id": after.payment_id, "after_part": after.part}
        types += [bindparam("after_on", type_=Date), bindparam("after_id", type_=Uuid), bindparam("after_part", type_=SmallInteger)]
    rows = await session.execute(text(sql + _ORDER + " limit :limit").bindparams(*types), params)
    return [
        PaymentRow(
            received_on=row.received_on,
            client=row.client,
            contract=row.contract,
            invoice=row.invoice,
            method=row.method,
            reference=row.reference,
            state=row.state,
            amount=Money(int(row.amount_minor), row.currency),
            client_id=row.client_id,
            contract_id=row.contract_id,
            invoice_id=row.invoice_id,
            payment_id=row.payment_id,
            part=row.part,
        )
        for row in rows
    ]


async def payment_totals(session: AsyncSession, asked: PaymentsAsked) -> list[CurrencyTotal]:
    """The sum of each currency over the whole report, not over one page."""
    columns = "currency, sum(amount_minor) as amount_minor, count(distinct payment_id) as payments"
    sql = text(_ROWS.format(columns=columns) + " group by currency order by currency").bindparams(*_TYPES)
    rows = await session.execute(sql, _params(asked))
    return [CurrencyTotal(Money(int(row.amount_minor), row.currency), row.payments) for row in rows]


async def copy_payments(session: AsyncSession, asked: PaymentsAsked, write: Write) -> None:
    """Stream the report as CSV, formatted by PostgreSQL: no row is ever held here.

    `session` is one of `Database.reading`: READ ONLY, REPEATABLE READ, one organization.
    """
    columns = ", ".join(f"{_csv_cell(name)} as {name}" for name in CSV_COLUMNS)
    sql, arguments = _positional(_ROWS.format(columns=columns) + _ORDER, _params(asked))
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.copy_from_query(sql, *arguments, output=write, format="csv", header=True, encoding="utf-8")


def _csv_cell(name: str) -> str:
    if name == "amount":
        return _decimal_sql("report.amount_minor", "report.currency")
    return _guarded_sql(f"report.{name}") if name in _TEXTS else f"report.{name}"


def _guarded_sql(cell: str) -> str:
    """A spreadsheet runs a cell that begins like this as a formula; an apostrophe makes it text."""
    return f"case when {cell} ~ E'^[=+@\\\\t\\\\r\\\\n-]' then '''' || {cell} else {cell} end"


def _decimal_sql(minor: str, currency: str) -> str:
    """A count of minor units as a decimal string with exactly the currency's digits."""
    cases = " ".join(
        f"when {currency} in ({', '.join(repr(code) for code, places in EXPONENTS.items() if places == digits)}) then {digits}"
        for digits in sorted(set(EXPONENTS.values()))
        if digits != 2
    )
    places = f"case {cases} else 2 end"
    return f"cast(round(cast({minor} as numeric) / power(cast(10 as numeric), {places}), {places}) as text)"


def _positional(sql: str, params: dict[str, Any]) -> tuple[str, list[Any]]:
    """`:name` as `$1`: the driver's COPY takes numbered arguments and quotes them by asking the server."""
    names = list(params)
    found = re.sub(r"(?<![:\w]):([a-z_]+)", lambda match: f"${names.index(match[1]) + 1}", sql)
    return found, [params[name] for name in names]
