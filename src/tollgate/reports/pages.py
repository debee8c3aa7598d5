"""Reports for people: the same figures as the API and the CSV."""

from datetime import date
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.response import Stream
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import shell_for
from tollgate.contracts.models import Contract
from tollgate.db.database import Database
from tollgate.errors import Invalid, _
from tollgate.parties.models import Client
from tollgate.payments.models import Payment
from tollgate.reports import service
from tollgate.reports.api import csv_of, read_place
from tollgate.reports.queries import PaymentsAsked
from tollgate.reports.schemas import cursor_of
from tollgate.web.forms import Form
from tollgate.web.rendering import page

BILL = [requires(Permission.BILL)]
FILTERS = ("from", "to", "client_id", "contract_id", "currency", "method", "state")
METHODS = (("stripe", _("Stripe")), ("bank_transfer", _("Bank transfer")))
STATES = (
    ("received", _("Received")),
    ("partly_returned", _("Partly sent back")),
    ("returned", _("Sent back")),
    ("reversed", _("Taken back")),
)
AnyRequest = Request[Any, Any, Any]


async def _choices(session: AsyncSession, organization_id: UUID) -> dict[str, list[tuple[Any, Any]]]:
    """What each filter can be set to."""
    clients = await session.execute(
        select(Client.id, Client.legal_name).where(Client.organization_id == organization_id).order_by(Client.legal_name, Client.id)
    )
    contracts = await session.execute(
        select(Contract.id, Contract.title)
        .where(Contract.organization_id == organization_id, Contract.state != "draft")
        .order_by(Contract.title, Contract.id)
    )
    currencies = await session.execute(select(Payment.currency).where(Payment.organization_id == organization_id).distinct())
    return {
        "clients": [(row.id, row.legal_name) for row in clients],
        "contracts": [(row.id, row.title) for row in contracts],
        "currencies": sorted((code, code) for code in currencies.scalars()),
    }


def _asked(form: Form, choices: dict[str, list[tuple[Any, Any]]]) -> PaymentsAsked:
    """The filters as typed; a wrong one is shown at its field; no figures are shown beside it."""
    since, until = form.day("from"), form.day("to")
    if since is not None and until is not None and since > until:
        form.refuse("to", _("The last day comes before the first"))
        since = until = None

    def one_of(name: str, allowed: list[tuple[Any, Any]]) -> str | None:
        return form.choice(name, [str(value) for value, _label in allowed])

    client_id, contract_id = one_of("client_id", choices["clients"]), one_of("contract_id", choices["contracts"])
    return PaymentsAsked(
        since=since,
        until=until,
        client_id=UUID(client_id) if client_id else None,
        contract_id=UUID(contract_id) if contract_id else None,
        currency=one_of("currency", choices["currencies"]),
        method=one_of("method", list(METHODS)),
        state=one_of("state", list(STATES)),
    )


@get("/reports/payments", guards=BILL)
async def show_payments(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str] | Stream:
    """The payments report: filters, totals, rows; `?format=csv` downloads it."""
    typed = {name: value for name in FILTERS if (value := request.query_params.get(name, "").strip())}
    form = Form.empty(csrf_token="", values=typed)
    async with db.reading(caller.organization_id) as session:
        choices = await _choices(session, caller.organization_id)
    asked = _asked(form, choices)
    if request.query_params.get("format") == "csv" and form.is_valid:
        return csv_of(db, caller.organization_id, asked)
    try:
        after = read_place(request.query_params.get("cursor"))
    except Invalid:
        after = None
    # Without the filter that was wrong the figures would be those of more than was asked for, so there are none.
    report = await service.payments_report(db, caller.organization_id, asked, after=after, limit=100) if form.is_valid else None
    return page(
        "reports/payments.html",
        status=200 if form.is_valid else 422,
        shell=shell_for(request, active="payments"),
        form=form,
        report=report,
        methods=METHODS,
        states=STATES,
        filtered=bool(typed),
        csv=_address(typed, format="csv"),
        following=_address(typed, cursor=cursor_of(report.following)) if report is not None and report.following is not None else None,
        first=_address(typed) if after is not None else None,
        clients=choices["clients"],
        contracts=choices["contracts"],
        currencies=choices["currencies"],
    )


def _address(typed: dict[str, str], **more: str | date | None) -> str:
    query = urlencode({**typed, **{name: str(value) for name, value in more.items() if value is not None}})
    return f"/reports/payments?{query}" if query else "/reports/payments"


page_router = Router(path="/", route_handlers=[show_payments], include_in_schema=False)
