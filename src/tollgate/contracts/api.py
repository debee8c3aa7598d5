"""Contracts and milestones over HTTP: thin, every handler calls one verb and shows the resource."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, Parameter, QueryParameter

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.contracts import queries, service
from tollgate.contracts.schemas import (
    ActivationRequest,
    ContractBody,
    ContractPatch,
    ContractRequest,
    DeliverableBody,
    LinkOrNoteRequest,
    MilestoneBody,
    MilestonePatch,
)
from tollgate.contracts.service_views import contract_view, contract_views, deliverable_view, milestone_view, milestone_views
from tollgate.db.command import Command, Replayed
from tollgate.db.database import Database
from tollgate.errors import NotFound, _, invalid
from tollgate.files.storage import Storage
from tollgate.http.bodies import MOST_ITEMS, ListBody, clean, decode_cursor, etag, instant_key, page_of, version_asked
from tollgate.http.commands import perform
from tollgate.http.describing import takes
from tollgate.http.uploads import MOST_BYTES, Upload, is_multipart, read_json, read_multipart
from tollgate.web.downloads import attachment

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
Limit = Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]
ContractStateName = Literal["draft", "sent", "active", "on_hold", "completed", "terminated"]
MilestoneStateName = Literal["planned", "in_progress", "delivered", "changes_requested", "approved", "invoiced", "paid", "cancelled"]


async def show_contract(db: Database, caller: Caller, contract_id: UUID) -> ContractBody:
    """One contract as the caller sees it."""
    async with db.reading(caller.organization_id) as session:
        return ContractBody.of(await contract_view(session, caller.organization_id, contract_id, caller.role, caller.id))


async def show_milestone(db: Database, caller: Caller, milestone_id: UUID) -> MilestoneBody:
    """One milestone as the caller sees it."""
    async with db.reading(caller.organization_id) as session:
        return MilestoneBody.of(await milestone_view(session, caller.organization_id, milestone_id, caller.role, caller.id))


def tag(body: ContractBody | MilestoneBody) -> dict[str, str]:
    """The entity tag of what is shown."""
    return {"ETag": etag(body.version)}


def file_input(upload: Upload, pointer: str = "/file") -> service.FileInput:
    """An upload as the verbs take it, its name cleaned."""
    return service.FileInput(name=clean(upload.name, pointer, most=1000), content_type=upload.content_type, content=upload.content)


@post("/contracts", operation_id="CreateContract", guards=MANAGE)
async def create_contract(
    data: JSONBody[ContractRequest], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[ContractBody]:
    """Keep a new draft with its schedule."""
    verb = service.create_contract(db, command, data.read())
    return await perform(verb, lambda found: show_contract(db, caller, found), status=201, headers=tag)


@get("/contracts", operation_id="ListContracts", guards=READ)
async def list_contracts(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    client_id: FromQuery[UUID | None] = None,
    in_state: Annotated[ContractStateName | None, QueryParameter(name="state")] = None,
    q: FromQuery[str] = "",
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[Limit] = 50,
) -> ListBody[ContractBody]:
    """Contracts, newest first; `q` looks in title, reference and the client's name."""
    after = decode_cursor(cursor, instant_key, UUID) if cursor else None
    asked = queries.ContractFilter(client_id=client_id, state=in_state, q=clean(q, "/q", most=200), after=after, limit=limit)
    async with db.reading(caller.organization_id) as session:
        rows, following = page_of(
            await queries.list_contracts(session, caller.organization_id, asked), limit, lambda row: (row.created_at, row.id)
        )
        views = await contract_views(session, caller.organization_id, rows, caller.role, caller.id)
    return ListBody([ContractBody.of(view) for view in views], following)


@get("/contracts/{contract_id:uuid}", operation_id="GetContract", guards=READ)
async def get_contract(
    contract_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[ContractBody]:
    """One contract with its schedule and ETag."""
    body = await show_contract(db, caller, contract_id)
    return Response(body, headers=tag(body))


@patch("/contracts/{contract_id:uuid}", operation_id="ChangeContract", guards=MANAGE)
async def change_contract(
    contract_id: FromPath[UUID],
    data: JSONBody[ContractPatch],
    request: Request[Any, Any, Any],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[ContractBody]:
    """Change a draft (If-Match); `milestones` replaces the whole schedule."""
    verb = service.change_contract(db, command, contract_id, version_asked(request), data.read())
    return await perform(verb, lambda found: show_contract(db, caller, found), headers=tag)


@delete("/contracts/{contract_id:uuid}", operation_id="DeleteContract", guards=MANAGE, status_code=204)
async def delete_contract(
    contract_id: FromPath[UUID], request: Request[Any, Any, Any], command: NamedDependency[Command], db: NamedDependency[Database]
) -> None:
    """Delete a draft (If-Match)."""
    try:
        await service.delete_contract(db, command, contract_id, version_asked(request))
    except Replayed:
        return


@post(
    "/contracts/{contract_id:uuid}/activation",
    operation_id="ActivateContract",
    guards=MANAGE,
    status_code=200,
    request_max_body_size=MOST_BYTES,
    opt=takes(json=ActivationRequest, form={"file": "binary", "agreed_on": "date", "agreed_by": ""}),
)
async def activate_contract(
    contract_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[ContractBody]:
    """Make a draft binding: JSON `{"agreement": {"agreed_on", "agreed_by"}}`, or multipart `file`, `agreed_on`, `agreed_by`."""
    verb = service.activate_contract(db, storage, command, contract_id, await _agreement(request))
    return await perform(verb, lambda found: show_contract(db, caller, found), headers=tag)


@get("/milestones", operation_id="ListMilestones", guards=READ)
async def list_milestones(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    contract_id: FromQuery[UUID | None] = None,
    in_state: Annotated[MilestoneStateName | None, QueryParameter(name="state")] = None,
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[Limit] = 50,
) -> ListBody[MilestoneBody]:
    """Milestones by contract, in the order of their schedule."""
    after = decode_cursor(cursor, UUID, int) if cursor else None
    asked = queries.MilestoneFilter(contract_id=contract_id, state=in_state, after=after, limit=limit)
    async with db.reading(caller.organization_id) as session:
        rows, following = page_of(
            await queries.list_milestones(session, caller.organization_id, asked), limit, lambda row: (row.contract_id, row.position)
        )
        views = await milestone_views(session, caller.organization_id, rows, caller.role, caller.id)
    return ListBody([MilestoneBody.of(view) for view in views], following)


@get("/milestones/{milestone_id:uuid}", operation_id="GetMilestone", guards=READ)
async def get_milestone(
    milestone_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[MilestoneBody]:
    """One milestone with the events that the caller can set off now."""
    body = await show_milestone(db, caller, milestone_id)
    return Response(body, headers=tag(body))


@patch("/milestones/{milestone_id:uuid}", operation_id="ChangeMilestone", guards=MANAGE)
async def change_milestone(
    milestone_id: FromPath[UUID],
    data: JSONBody[MilestonePatch],
    request: Request[Any, Any, Any],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[MilestoneBody]:
    """Move `planned_on` at any time; everything else on drafts only (If-Match)."""
    verb = service.change_milestone(db, command, milestone_id, version_asked(request), data.read())
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=tag)


@post("/milestones/{milestone_id:uuid}/start", operation_id="StartMilestone", guards=MANAGE, status_code=200)
async def start_milestone(
    milestone_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[MilestoneBody]:
    """Begin work."""
    verb = service.start_milestone(db, command, milestone_id)
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=tag)


@post("/milestones/{milestone_id:uuid}/cancellation", operation_id="CancelMilestone", guards=MANAGE, status_code=200)
async def cancel_milestone(
    milestone_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[MilestoneBody]:
    """Strike a milestone out of a draft."""
    verb = service.cancel_milestone(db, command, milestone_id)
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=tag)


@post(
    "/milestones/{milestone_id:uuid}/deliverables",
    operation_id="AddDeliverable",
    guards=MANAGE,
    request_max_body_size=MOST_BYTES,
    opt=takes(json=LinkOrNoteRequest, form={"file": "binary", "title": ""}),
)
async def add_deliverable(
    milestone_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[DeliverableBody]:
    """Multipart with `file` (≤ 50 MB) and `title`, or `{"kind": "link", "url"}`, or `{"kind": "note", "text"}`."""
    asked = await _deliverable(request)

    async def show(deliverable_id: UUID) -> DeliverableBody:
        async with db.reading(command.organization_id) as session:
            return DeliverableBody.of(deliverable_view(await queries.deliverable(session, command.organization_id, deliverable_id)))

    return await perform(service.add_deliverable(db, storage, command, milestone_id, asked), show, status=201)


@get("/milestones/{milestone_id:uuid}/deliverables/{deliverable_id:uuid}/file", operation_id="GetDeliverableFile", guards=READ)
async def get_deliverable_file(
    milestone_id: FromPath[UUID],
    deliverable_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """A delivered file, as a download; removed ones too, for the rounds that showed them."""
    async with db.reading(caller.organization_id) as session:
        row = await queries.deliverable(session, caller.organization_id, deliverable_id)
    if row.milestone_id != milestone_id or row.sha256_hex is None:
        raise NotFound
    return attachment(row.title, await storage.get(caller.organization_id, row.sha256_hex), row.content_type)


@delete(
    "/milestones/{milestone_id:uuid}/deliverables/{deliverable_id:uuid}", operation_id="RemoveDeliverable", guards=MANAGE, status_code=204
)
async def remove_deliverable(
    milestone_id: FromPath[UUID],
    deliverable_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> None:
    """Leave a deliverable out of the next delivery; If-Match carries the milestone's ETag."""
    try:
        await service.remove_deliverable(db, command, milestone_id, deliverable_id, version_asked(request))
    except Replayed:
        return


async def _agreement(request: Request[Any, Any, Any]) -> service.AgreementInput | None:
    if not is_multipart(request):
        body = (await read_json(request, ActivationRequest)).agreement
        if body is None:
            return None
        return service.AgreementInput(agreed_on=body.agreed_on, agreed_by=_agreed_by(body.agreed_by, "/agreement/agreed_by"))
    form = await read_multipart(request, known=("file", "agreed_on", "agreed_by"))
    upload = form.files.get("file")
    if upload is None:
        raise invalid("/file", _("attach the signed agreement, or send JSON without a file"))
    try:
        agreed_on = date.fromisoformat(form.fields.get("agreed_on", ""))
    except ValueError:
        raise invalid("/agreed_on", _("give the day it was agreed on, like 2026-12-24")) from None
    return service.AgreementInput(
        agreed_on=agreed_on, agreed_by=_agreed_by(form.fields.get("agreed_by", ""), "/agreed_by"), file=file_input(upload)
    )


def _agreed_by(text: str, pointer: str) -> str:
    name = clean(text, pointer, most=120)
    if not name:
        raise invalid(pointer, _("say who agreed"))
    return name


async def _deliverable(request: Request[Any, Any, Any]) -> service.DeliverableInput:
    if is_multipart(request):
        form = await read_multipart(request, known=("file", "title"))
        upload = form.files.get("file")
        if upload is None:
            raise invalid("/file", _("attach a file"))
        return service.DeliverableInput(title=clean(form.fields.get("title", ""), "/title", most=200), file=file_input(upload))
    body = await read_json(request, LinkOrNoteRequest)
    if body.kind == "link" and body.text is not None:
        raise invalid("/text", _("a link has no text; give its url"))
    if body.kind == "note" and body.url is not None:
        raise invalid("/url", _("a note has no url; give its text"))
    if body.kind == "link":
        return service.DeliverableInput(title=clean(body.title, "/title", most=200), url=clean(body.url or "", "/url", most=2000))
    return service.DeliverableInput(
        title=clean(body.title, "/title", most=200), note=clean(body.text or "", "/text", most=20_000, lines=True)
    )


api_router = Router(
    path="/api/v1",
    route_handlers=[
        create_contract,
        list_contracts,
        get_contract,
        change_contract,
        delete_contract,
        activate_contract,
        list_milestones,
        get_milestone,
        change_milestone,
        start_milestone,
        cancel_milestone,
        add_deliverable,
        get_deliverable_file,
        remove_deliverable,
    ],
    tags=["Contracts"],
)
