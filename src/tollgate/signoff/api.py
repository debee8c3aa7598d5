"""Sign-off over HTTP. There is no call that signs: decisions come from the approver's own page only (R10)."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.contracts.api import MANAGE, READ, file_input, show_milestone, tag
from tollgate.contracts.schemas import MilestoneBody
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.documents import service as documents
from tollgate.errors import _, invalid
from tollgate.files.storage import Storage
from tollgate.http.bodies import clean, uuid_or_none
from tollgate.http.commands import perform
from tollgate.http.describing import takes
from tollgate.http.uploads import MOST_BYTES, read_multipart
from tollgate.signoff import service
from tollgate.signoff.certificate import KIND
from tollgate.signoff.schemas import DeliveryRequest, LinkRequest, RoundBody
from tollgate.web.downloads import attachment


async def show_round(db: Database, organization_id: UUID, round_id: UUID) -> RoundBody:
    """One round."""
    async with db.reading(organization_id) as session:
        return RoundBody.of(await service.round_view(session, organization_id, round_id))


@post("/milestones/{milestone_id:uuid}/delivery", operation_id="DeliverMilestone", guards=MANAGE, status_code=200)
async def deliver(
    milestone_id: FromPath[UUID],
    data: JSONBody[DeliveryRequest],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[MilestoneBody]:
    """Show the work to the client: opens a review round and mails a link to each approver."""
    verb = service.deliver(db, command, milestone_id, data.read())
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=tag)


@post("/milestones/{milestone_id:uuid}/withdrawal", operation_id="WithdrawDelivery", guards=MANAGE, status_code=200)
async def withdraw(
    milestone_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[MilestoneBody]:
    """Take a delivery back before it is decided."""
    verb = service.withdraw(db, command, milestone_id)
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=tag)


@post(
    "/milestones/{milestone_id:uuid}/recorded-approval",
    operation_id="RecordApproval",
    guards=[requires(Permission.ADMINISTER)],
    status_code=200,
    request_max_body_size=MOST_BYTES,
    opt=takes(form={"file": "binary", "contact_id": "uuid", "signed_name": ""}),
)
async def record_approval(
    milestone_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[MilestoneBody]:
    """Record an approval given on paper: multipart `file` (the signed document), `contact_id?`, `signed_name?`."""
    verb = service.record_approval(db, storage, command, milestone_id, await _recorded(request))
    return await perform(verb, lambda found: show_milestone(db, caller, found), headers=tag)


@get("/rounds/{round_id:uuid}", operation_id="GetRound", guards=READ)
async def get_round(round_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> RoundBody:
    """One delivery with its decisions, links (never their tokens) and opens."""
    return await show_round(db, caller.organization_id, round_id)


@get("/rounds/{round_id:uuid}/certificate", operation_id="GetCertificatePdf", guards=READ, media_type="application/pdf")
async def get_certificate(
    round_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[bytes]:
    """The sign-off certificate's PDF; 409 `being-rendered` while it is made, 404 for a round that was not approved."""
    name, content = await documents.pdf(db, storage, caller.organization_id, KIND, round_id)
    return attachment(name, content, "application/pdf")


@post("/rounds/{round_id:uuid}/reminders", operation_id="RemindApprovers", guards=MANAGE, status_code=200)
async def remind(round_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[RoundBody]:
    """Remind every approver who has not decided; each mail carries a fresh link."""
    return await perform(service.remind(db, command, round_id), lambda found: show_round(db, command.organization_id, found))


@post("/rounds/{round_id:uuid}/links", operation_id="SendLink", guards=MANAGE, status_code=201)
async def send_link(
    round_id: FromPath[UUID], data: JSONBody[LinkRequest], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[RoundBody]:
    """Send one approver a fresh mail."""
    verb = service.send_link(db, command, round_id, data.contact_id)
    return await perform(verb, lambda found: show_round(db, command.organization_id, found), status=201)


async def _recorded(request: Request[Any, Any, Any]) -> service.Recorded:
    form = await read_multipart(request, known=("file", "contact_id", "signed_name"))
    upload = form.files.get("file")
    if upload is None:
        raise invalid("/file", _("attach the document that the client signed"))
    contact_id = None
    if form.fields.get("contact_id"):
        contact_id = uuid_or_none(form.fields["contact_id"])
        if contact_id is None:
            raise invalid("/contact_id", _("this is not an id"))
    signed_name = clean(form.fields.get("signed_name", ""), "/signed_name", most=120) or None
    return service.Recorded(document=file_input(upload), contact_id=contact_id, signed_name=signed_name)


api_router = Router(
    path="/api/v1",
    route_handlers=[deliver, withdraw, record_approval, get_round, get_certificate, remind, send_link],
    tags=["Sign-off"],
)
