"""Reports over HTTP: `format=json` answers a page, `format=csv` streams everything."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, Parameter, QueryParameter
from litestar.response import Stream

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.db.database import Database
from tollgate.errors import _, invalid
from tollgate.http.bodies import MOST_ITEMS, decode_cursor
from tollgate.money.currencies import digits
from tollgate.reports import service
from tollgate.reports.queries import PaymentsAsked, Place
from tollgate.reports.schemas import PaymentsReportBody

BILL = [requires(Permission.BILL)]
Limit = Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]
Method = Literal["stripe", "bank_transfer"]
State = Literal["received", "reversed", "partly_returned", "returned"]


def read_place(cursor: str | None) -> Place | None:
    """Where a page begins. Raises `Invalid` for a cursor that is not ours."""
    return Place(*decode_cursor(cursor, date.fromisoformat, UUID, int)) if cursor else None


def csv_of(db: Database, organization_id: UUID, asked: PaymentsAsked) -> Stream:
    """The CSV as a download, named by its period."""
    days = "_".join(str(day) for day in (asked.since, asked.until) if day is not None)
    name = f"payments_{days}.csv" if days else "payments.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return Stream(service.payments_csv(db, organization_id, asked), media_type="text/csv; header=present", headers=headers)


@get("/reports/payments", operation_id="GetPaymentsReport", guards=BILL)
async def get_payments_report(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    since: Annotated[date | None, QueryParameter(name="from")] = None,
    until: Annotated[date | None, QueryParameter(name="to")] = None,
    client_id: FromQuery[UUID | None] = None,
    contract_id: FromQuery[UUID | None] = None,
    currency: FromQuery[str | None] = None,
    method: FromQuery[Method | None] = None,
    in_state: Annotated[State | None, QueryParameter(name="state")] = None,
    wanted: Annotated[Literal["json", "csv"], QueryParameter(name="format")] = "json",
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[Limit] = 100,
) -> Response[Any] | Stream:
    """Payments received, one row per invoice they settled, and totals per currency. Days are included on both ends."""
    if currency is not None:
        digits(currency)
    if since is not None and until is not None and since > until:
        raise invalid("/from", _("The first day comes after the last"))
    asked = PaymentsAsked(
        since=since, until=until, client_id=client_id, contract_id=contract_id, currency=currency, method=method, state=in_state
    )
    if wanted == "csv":
        return csv_of(db, caller.organization_id, asked)
    report = await service.payments_report(db, caller.organization_id, asked, after=read_place(cursor), limit=limit)
    return Response(PaymentsReportBody.of(report))


api_router = Router(path="/api/v1", route_handlers=[get_payments_report], tags=["Reports"])
