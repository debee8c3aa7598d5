"""The milestone page: where it stands, what shows the work, every round with its decisions and opens, and what can be done now."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.billing.service_views import InvoiceFilter, list_invoices
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.rules import ContractState, Event
from tollgate.contracts.service_deliverables import OPEN_STATES
from tollgate.contracts.service_views import contract_view
from tollgate.db.database import Database
from tollgate.parties import queries as parties
from tollgate.screens import queries
from tollgate.screens.home import field_of
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ReviewRound
from tollgate.signoff.service_views import RoundView
from tollgate.web.forms import Form
from tollgate.web.rendering import page

READ = [requires(Permission.READ)]
STATES = ("planned", "in_progress", "changes_requested", "delivered", "approved", "invoiced", "paid")


@get("/milestones", guards=READ)
async def milestone_list(
    request: Request[Any, Any, Any],
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    in_state: Annotated[str, QueryParameter(name="state")] = "",
) -> Response[str]:
    """Milestones of all agreed contracts in a state, earliest due first."""
    wanted = {"in_progress": ("in_progress", "changes_requested")}.get(in_state, (in_state,) if in_state in STATES else STATES)
    async with db.reading(caller.organization_id) as session:
        rows = await queries.milestones(session, caller.organization_id, states=wanted)
        seller = await parties.organization(session, caller.organization_id)
    return page(
        "screens/milestones.html",
        shell=shell_for(request, "contracts"),
        milestones=rows,
        filters=Form.empty(csrf_token="", values={"state": in_state if in_state in STATES else ""}),
        today=clock.today(seller.time_zone),
        most=queries.MOST,
    )


@get("/milestones/{milestone_id:uuid}", guards=READ)
async def milestone_page(
    request: Request[Any, Any, Any], milestone_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """One milestone."""
    async with db.reading(caller.organization_id) as session:
        contract_id = await contract_queries.contract_of_milestone(session, caller.organization_id, milestone_id)
        contract = await contract_view(session, caller.organization_id, contract_id, caller.role, caller.id)
        milestone = next(one for one in contract.milestones if one.id == milestone_id)
        rounds = await _rounds(session, caller.organization_id, milestone_id)
        seller = await parties.organization(session, caller.organization_id)
        invoices = await list_invoices(session, caller.organization_id, InvoiceFilter(milestone_id=milestone_id))
        block = await queries.block_of(session, caller.organization_id, milestone_id)
    events = frozenset(milestone.allowed_events)
    may_edit = caller.may(Permission.MANAGE_CONTRACTS)
    return page(
        "screens/milestone.html",
        shell=shell_for(request, "contracts"),
        form=Form.empty(csrf_token=csrf_token_for(request), values={"planned_on": milestone.planned_on, "version": milestone.version}),
        milestone=milestone,
        contract=contract,
        rounds=rounds,
        invoices=invoices,
        blocked=block.reason if block else "",
        zone=seller.time_zone,
        may_edit=may_edit,
        may_deliver=may_edit and contract.state is ContractState.ACTIVE and milestone.state in OPEN_STATES,
        can={event.value: event in events for event in Event},
        open_round=next((one for one in rounds if one.state == "open"), None),
        fix=field_of(block.pointer, contract.client_id) if block else "",
    )


async def _rounds(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> list[RoundView]:
    """Every round, newest first."""
    ids = await session.scalars(
        select(ReviewRound.id)
        .where(ReviewRound.organization_id == organization_id, ReviewRound.milestone_id == milestone_id)
        .order_by(ReviewRound.number.desc())
    )
    return [await signoff.round_view(session, organization_id, round_id) for round_id in ids]


handlers = [milestone_list, milestone_page]
