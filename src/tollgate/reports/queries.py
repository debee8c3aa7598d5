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
    """What one payment did for one invoice, or left as client credit; with a minus on the day on which it was taken or sent back."""

    received_on: date
    client: str
    contract: str
    invoice: str
    method: str
    reference: str
    state: str
    event: str
    """What happened that day, in the journal's word: `payment_received`, `payment_refunded`, …"""
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
    """Payments that came in it and were not taken back since."""
    returned: int
    """Payments of which something went back in it: taken back, refunded or lost in a dispute."""


# One row per journal entry of a payment and invoice it touched, and one for what it did to the client's credit: what came has its day, and
# what went back has its own, with a minus. A period that was reported once never changes, and the sums are the journal's.
_ROWS = """
with report as (
  select e.booked_on as received_on, c.legal_name as client, coalesce(k.title, '') as contract, coalesce(i.number, '') as invoice, p.method,
    p.reference, case when p.state = 'reversed' then 'reversed' when p.refunded_minor = p.amount_minor then 'returned'
      when p.refunded_minor > 0 then 'partly_returned' else p.state end as state, p.state = 'received' as stays,
    e.event, p.currency, -sum(j.amount_minor) as amount_minor, p.client_id, k.id as contract_id, i.id as invoice_id, p.id as payment_id,
    (row_number() over (partition by p.id order by e.booked_on, e.id, i.number nulls last, i.id))::smallint as part
  from payment p
  join journal_entry e on e.organization_id = p.organization_id and e.subject_id = p.id
  join journal_posting j on j.organization_id = e.organization_id and j.entry_id = e.id and j.account in ('receivable', 'client_credit')
  join client c on c.organization_id = p.organization_id and c.id = p.client_id
  left join invoice i on i.organization_id = j.organization_id and i.id = j.invoice_id
  left join contract k on k.organization_id = i.organization_id and k.id = i.contract_id
  group by p.organization_id, p.id, e.organization_id, e.id, c.organization_id, c.id, i.organization_id, i.id, k.organization_id, k.id
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
    "received_on, client, contract, invoice, method, reference, state, event, currency, amount_minor,"
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
    "event",
    "currency",
    "amount",
    "client_id",
    "contract_id",
    "invoice_id",
    "payment_id",
)
"""The names of the CSV's columns, which are those of the items in JSON."""
_FORMULA = r"E'^[\\s\u00a0\u200b-\u200f\u2060\ufeff'']*[=+@|\uff1d\uff0b\uff20\uff0d-]|^[\\t\\r\\n]'"
_TEXTS = frozenset(("client", "contract", "invoice", "method", "reference", "state", "event", "currency"))


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
            event=row.event,
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
    columns = (
        "currency, sum(amount_minor) as amount_minor,"
        " count(distinct payment_id) filter (where event = 'payment_received' and stays) as payments,"
        " count(distinct payment_id) filter (where event in ('payment_reversed', 'payment_refunded', 'payment_dispute_lost')) as returned"
    )
    sql = text(_ROWS.format(columns=columns) + " group by currency order by currency").bindparams(*_TYPES)
    rows = await session.execute(sql, _params(asked))
    return [CurrencyTotal(Money(int(row.amount_minor), row.currency), row.payments, row.returned) for row in rows]


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
    """A spreadsheet runs a cell that begins like this as a formula; an apostrophe makes it text.

    Blanks, also unseen ones, are skipped by some, and full-width signs read as plain ones by others. Apostrophes before such a sign get
    one more, so that what was typed can always be read back.
    """
    return f"case when {cell} ~ {_FORMULA} then '''' || {cell} else {cell} end"


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
