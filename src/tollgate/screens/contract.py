"""The contract page: its value and progress, three views of the same milestones, and what hangs on it."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tollgate import clock, i18n
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.billing.service_schedule import Schedule, schedule
from tollgate.billing.service_views import InvoiceFilter, InvoiceShown, list_invoices
from tollgate.contracts import queries as contracts
from tollgate.contracts.progress import Stage, stages, worst_health
from tollgate.contracts.rules import ContractState, Event, Health, State
from tollgate.contracts.service_views import ContractView, MilestoneView, contract_view
from tollgate.db.database import Database
from tollgate.errors import Message, _
from tollgate.parties import queries as parties
from tollgate.screens.activity import Happening, activity_of
from tollgate.web.forms import Form
from tollgate.web.rendering import page
from tollgate.web.timeline import Bar, layout

READ = [requires(Permission.READ)]
VIEWS = ("timeline", "board", "table")
TABS = ("milestones", "invoices", "files", "activity")
BOARD: tuple[tuple[str, Message, frozenset[State]], ...] = (
    ("planned", _("Planned"), frozenset({State.PLANNED})),
    ("in_progress", _("In progress"), frozenset({State.IN_PROGRESS, State.CHANGES_REQUESTED})),
    ("delivered", _("With the client"), frozenset({State.DELIVERED})),
    ("approved", _("Approved"), frozenset({State.APPROVED})),
    ("invoiced", _("Invoiced"), frozenset({State.INVOICED})),
    ("paid", _("Paid"), frozenset({State.PAID})),
)
"""Columns of the board."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileShown:
    """One file, link or note of the contract, or a document made of it."""

    name: str
    href: str
    size: int | None
    note: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What other rooms know of the contract."""

    invoices: list[InvoiceShown]
    activity: list[Happening]
    files: list[FileShown]
    schedule: Schedule | None


@get("/contracts/{contract_id:uuid}", guards=READ)
async def contract_page(
    request: Request[Any, Any, Any],
    contract_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    tab: FromQuery[str] = "",
    view: FromQuery[str] = "",
) -> Response[str]:
    """One contract."""
    shown_tab, shown_view = tab if tab in TABS else "milestones", view if view in VIEWS else "table"
    async with db.reading(caller.organization_id) as session:
        contract = await contract_view(session, caller.organization_id, contract_id, caller.role, caller.id)
        seller = await parties.organization(session, caller.organization_id)
        names = await contracts.contacts(session, caller.organization_id, contract.approver_ids)
        invoices = await list_invoices(session, caller.organization_id, InvoiceFilter(contract_id=contract_id, limit=200))
        around = Around(
            invoices=invoices,
            activity=await activity_of(session, caller.organization_id, contract_id=contract_id) if shown_tab == "activity" else [],
            files=_files(contract, invoices),
            schedule=await schedule(session, caller.organization_id, contract_id) if contract.milestones else None,
        )
    today = clock.today(seller.time_zone)
    live = [one for one in contract.milestones if one.state is not State.CANCELLED]
    return page(
        "screens/contract.html",
        shell=shell_for(request, "contracts"),
        form=Form.empty(csrf_token=csrf_token_for(request)),
        contract=contract,
        around=around,
        stages=stages(contract),
        explained=[(stage.label, _explained(stage)) for stage in stages(contract)],
        health=worst_health(contract.milestones) if contract.state is ContractState.ACTIVE else None,
        approvers=[names[one].name for one in contract.approver_ids if one in names],
        tab=shown_tab,
        view=shown_view,
        board=[(label, [one for one in live if one.state in states]) for _key, label, states in BOARD],
        timeline=_timeline(live, today, seller.time_zone) if shown_view == "timeline" else None,
        may_edit=caller.may(Permission.MANAGE_CONTRACTS),
        zone=seller.time_zone,
        next_steps={one.id: _next_step(one) for one in live},
    )


def _explained(stage: Stage) -> list[tuple[str, str]]:
    """The formula behind a figure: the milestones it sums."""
    lines = [(one.title, i18n.money(one.amount)) for one in stage.milestones]
    return [*lines, (i18n.translate(stage.label), i18n.money(stage.amount))]


def _timeline(milestones: list[MilestoneView], today: date, zone: str) -> Any:
    bars = [bar for one in milestones if (bar := _bar(one, today, zone)) is not None]
    return layout(bars, today=today) if bars else None


def _bar(one: MilestoneView, today: date, zone: str) -> Bar | None:
    end = one.planned_on or one.due_on
    if one.delivered_at is not None:
        end = clock.day_of(one.delivered_at, zone)
    if end is None:
        return None
    start = clock.day_of(one.started_at, zone) if one.started_at else end - timedelta(days=13)
    waiting: Literal["waiting", "paid"] | None = (
        "waiting" if one.state is State.DELIVERED else "paid" if one.state in {State.INVOICED, State.PAID, State.APPROVED} else None
    )
    kind = waiting or (one.health or Health.ON_TIME).value
    return Bar(label=one.title, starts_on=min(start, end), planned_on=end, due_on=one.due_on, kind=kind, href=f"/milestones/{one.id}")


def _next_step(one: MilestoneView) -> tuple[Message, str] | None:
    """The step that a member would take next, for the table."""
    if one.state in {State.PLANNED, State.IN_PROGRESS, State.CHANGES_REQUESTED} and Event.START in one.allowed_events:
        return _("Deliver"), f"/milestones/{one.id}/delivery"
    if one.state in {State.IN_PROGRESS, State.CHANGES_REQUESTED}:
        return _("Deliver"), f"/milestones/{one.id}/delivery"
    return None


def _files(contract: ContractView, invoices: list[InvoiceShown]) -> list[FileShown]:
    found = []
    if contract.agreed is not None and contract.agreed.agreement_sha256_hex:
        note = i18n.translate(_("agreement, signed by %(name)s", name=contract.agreed.agreed_by or ""))
        href = f"/contracts/{contract.id}/agreement"
        found.append(FileShown(name=contract.agreed.agreement_file_name or "agreement", href=href, size=None, note=note, kind="file"))
    for milestone in contract.milestones:
        for one in milestone.deliverables:
            href = f"/deliverables/{one.id}" if one.kind == "file" else one.url or f"/milestones/{milestone.id}"
            found.append(FileShown(name=one.title, href=href, size=one.size, note=milestone.title, kind=one.kind))
    for invoice in invoices:
        if invoice.number and invoice.document_sha256:
            note = i18n.translate(_("invoice"))
            found.append(FileShown(name=f"{invoice.number}.pdf", href=f"/invoices/{invoice.id}/pdf", size=None, note=note, kind="file"))
    return found


handlers = [contract_page]
