"""Activation, and the small steps of a milestone that need no page of their own."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.contracts import queries, service
from tollgate.contracts.rules import ContractState
from tollgate.contracts.service_views import ContractView, contract_view
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.errors import Message, NotFound, TollgateError, _
from tollgate.files.storage import Storage
from tollgate.http.commands import perform_once
from tollgate.http.uploads import MOST_BYTES
from tollgate.web.actions import act
from tollgate.web.downloads import attachment
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, see_other

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
AnyRequest = Request[Any, Any, Any]


async def shown_contract(db: Database, caller: Caller, contract_id: UUID) -> ContractView:
    """A contract as its pages show it. Raises `NotFound`."""
    async with db.reading(caller.organization_id) as session:
        return await contract_view(session, caller.organization_id, contract_id, caller.role, caller.id)


@get("/contracts/{contract_id:uuid}/activation", guards=MANAGE)
async def activation_page(
    request: AnyRequest, contract_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """What activation will do, with the numbers, and room for the agreement signed elsewhere."""
    view = await shown_contract(db, caller, contract_id)
    if view.state is not ContractState.DRAFT:
        return see_other(f"/contracts/{contract_id}")
    return await _activation(request, db, caller, view, Form.empty(csrf_token=csrf_token_for(request)))


@post("/contracts/{contract_id:uuid}/activation", guards=MANAGE, request_max_body_size=MOST_BYTES)
async def activate_contract(
    request: AnyRequest,
    contract_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[Any]:
    """Make the draft binding."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    view = await shown_contract(db, caller, contract_id)
    agreement = await _agreement(form)
    if not form.is_valid:
        return await _activation(request, db, caller, view, form, status=422)
    try:
        await perform_once(service.activate_contract(db, storage, command, contract_id, agreement))
    except NotFound:
        raise
    except TollgateError as refused:
        if view.state is not ContractState.DRAFT:
            return see_other(f"/contracts/{contract_id}", notice=refused.detail, kind="danger")
        form.take(refused, names={"/agreement/agreed_on": "agreed_on", "/file": "agreement"})
        return await _activation(request, db, caller, view, form, status=422)
    return see_other(f"/contracts/{contract_id}", notice=_("The contract is active. Version 1 is what was agreed."))


async def _agreement(form: Form) -> service.AgreementInput | None:
    agreed_on, agreed_by = form.day("agreed_on"), form.text("agreed_by", most=120)
    upload = next(iter(form.files("agreement")), None)
    if agreed_on is None and not agreed_by and upload is None:
        return None
    if agreed_on is None and not form.error("agreed_on"):
        form.refuse("agreed_on", _("Enter the day it was signed"))
    if not agreed_by and not form.error("agreed_by"):
        form.refuse("agreed_by", _("Enter who signed it"))
    if agreed_on is None or not agreed_by or not form.is_valid:
        return None
    file = None
    if upload is not None:
        await upload.seek(0)
        file = service.FileInput(name=clean_name(upload.filename), content_type=upload.content_type or "", content=await upload.read())
    return service.AgreementInput(agreed_on=agreed_on, agreed_by=agreed_by, file=file)


def clean_name(name: str) -> str:
    """A file's name without what cannot be printed."""
    return "".join(character for character in name if character.isprintable())[:1000] or "file"


async def _activation(
    request: AnyRequest, db: Database, caller: Caller, view: ContractView, form: Form, *, status: int = 200
) -> Response[str]:
    async with db.reading(caller.organization_id) as session:
        seller = await queries.organization(session, caller.organization_id)
        client = await queries.client(session, caller.organization_id, view.client_id)
        contacts = await queries.contacts(session, caller.organization_id, view.approver_ids)
        approvers = [contacts[one].name for one in view.approver_ids if one in contacts and contacts[one].removed_at is None]
        problems = await service.problems_of(session, caller.organization_id, view.id)
    return page(
        "contracts/activation.html",
        status=status,
        shell=shell_for(request, "contracts"),
        form=form,
        contract=view,
        approvers=approvers,
        seller_name=seller.legal_name,
        client_name=client.legal_name if client else "",
        problems=[(one.detail, _fix(one.pointer, view)) for one in problems],
    )


def _fix(pointer: str, view: ContractView) -> tuple[Message, str]:
    if pointer.startswith("/seller"):
        return _("Open settings"), "/settings"
    if pointer.startswith("/buyer"):
        return _("Open the client"), f"/clients/{view.client_id}"
    return _("Edit the draft"), f"/contracts/{view.id}/edit"


@get("/contracts/{contract_id:uuid}/agreement", guards=READ)
async def agreement_file(
    contract_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[bytes]:
    """The agreement that was attached on activation."""
    async with db.reading(caller.organization_id) as session:
        await queries.contract(session, caller.organization_id, contract_id)
        found = (await queries.newest_versions(session, caller.organization_id, [contract_id])).get(contract_id)
    if found is None or found.agreement_sha256_hex is None:
        raise NotFound
    content = await storage.get(caller.organization_id, found.agreement_sha256_hex)
    return attachment(found.agreement_file_name or "agreement", content)


# A milestone's small steps ----------------------------------------------------------------------------------------------


@post("/milestones/{milestone_id:uuid}/start", guards=MANAGE)
async def start_milestone(milestone_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Begin work."""
    return await act(service.start_milestone(db, command, milestone_id), f"/milestones/{milestone_id}", _("Work has started"))


@post("/milestones/{milestone_id:uuid}/plan", guards=MANAGE)
async def plan_milestone(
    request: AnyRequest, milestone_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Move the planned day; the agreed day stays."""
    form = await read_form(request, csrf_token="")
    planned_on, version = form.day("planned_on"), form.whole("version") or 0
    to = f"/milestones/{milestone_id}"
    if not form.is_valid:
        return see_other(to, notice=next(iter(form.errors.values()))[0], kind="danger")
    change = service.MilestoneChange(planned_on=planned_on)
    return await act(service.change_milestone(db, command, milestone_id, version, change), to, _("Planned day saved"))


@post("/milestones/{milestone_id:uuid}/cancellation", guards=MANAGE)
async def cancel_milestone(
    milestone_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Strike a milestone out of a draft."""
    return await act(service.cancel_milestone(db, command, milestone_id), f"/milestones/{milestone_id}", _("Milestone cancelled"))


@get("/deliverables/{deliverable_id:uuid}", guards=READ)
async def deliverable_file(
    deliverable_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[bytes]:
    """The file of a deliverable, as it was uploaded."""
    async with db.reading(caller.organization_id) as session:
        found = await queries.deliverable(session, caller.organization_id, deliverable_id)
    if found.sha256_hex is None:
        raise NotFound
    return attachment(found.title, await storage.get(caller.organization_id, found.sha256_hex), found.content_type)


handlers = [
    activation_page,
    activate_contract,
    agreement_file,
    start_milestone,
    plan_milestone,
    cancel_milestone,
    deliverable_file,
]
