"""Members' pages of sign-off: the deliver panel, recording an approval given on paper, and the small steps of a round."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.contracts import queries as contract_queries
from tollgate.contracts import service as contracts
from tollgate.contracts.rules import Event, Price, price_of
from tollgate.contracts.service_deliverables import OPEN_STATES
from tollgate.contracts.service_milestones import due_if_issued
from tollgate.contracts.service_views import ContractView, MilestoneView, contract_view
from tollgate.contracts.step_pages import clean_name
from tollgate.db.command import Command, Replayed
from tollgate.db.database import Database
from tollgate.documents import service as documents
from tollgate.errors import NotFound, TollgateError, _
from tollgate.files.storage import Storage
from tollgate.http.commands import perform_once
from tollgate.http.uploads import MOST_BYTES
from tollgate.parties import queries as parties
from tollgate.parties.rules import ContactView
from tollgate.settings import Settings
from tollgate.signoff import queries, service
from tollgate.signoff.certificate import KIND
from tollgate.signoff.service_input import LINK_LIFE, LONGEST_MESSAGE
from tollgate.web.actions import act
from tollgate.web.downloads import attachment
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, see_other

READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
ADMINISTER = [requires(Permission.ADMINISTER)]
AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverFrame:
    """What the deliver panel shows beside the form: the milestone, who decides, and what the client will see."""

    milestone: MilestoneView
    contract: ContractView
    seller_name: str
    approvers: list[ContactView]
    price: Price
    due_if_approved_today: date
    link_days: int

    @property
    def criteria(self) -> list[tuple[str, str]]:
        """The acceptance criteria to tick."""
        return [(str(number), text) for number, text in enumerate(self.milestone.acceptance_criteria)]

    @property
    def approver_choices(self) -> list[tuple[str, str, str]]:
        """The client's approvers to choose from."""
        return [(str(one.id), one.name, one.email) for one in self.approvers]


async def _frame(session: AsyncSession, caller: Caller, milestone_id: UUID) -> DeliverFrame:
    contract_id = await contract_queries.contract_of_milestone(session, caller.organization_id, milestone_id)
    contract = await contract_view(session, caller.organization_id, contract_id, caller.role, caller.id)
    milestone = next(one for one in contract.milestones if one.id == milestone_id)
    seller = await parties.organization(session, caller.organization_id)
    row = await contract_queries.contract(session, caller.organization_id, contract_id)
    return DeliverFrame(
        milestone=milestone,
        contract=contract,
        seller_name=seller.legal_name,
        approvers=await parties.approvers_of(session, caller.organization_id, contract.client_id),
        price=price_of(milestone.amount, contract.price_basis, milestone.tax),
        due_if_approved_today=due_if_issued(clock.today(seller.time_zone), row.payment_days, row.payment_from),
        link_days=LINK_LIFE.days,
    )


def _deliver_page(request: AnyRequest, form: Form, frame: DeliverFrame, *, status: int = 200) -> Response[str]:
    return page("signoff/deliver.html", status=status, shell=shell_for(request, "contracts"), form=form, frame=frame)


@get("/milestones/{milestone_id:uuid}/delivery", guards=MANAGE)
async def delivery_page(
    request: AnyRequest, milestone_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """The deliver panel."""
    async with db.reading(caller.organization_id) as session:
        frame = await _frame(session, caller, milestone_id)
    if frame.milestone.state not in OPEN_STATES:
        return see_other(f"/milestones/{milestone_id}", notice=_("This milestone cannot be delivered in its present state"), kind="warning")
    values = {"contact_ids": [str(one) for one in frame.contract.approver_ids]}
    return _deliver_page(request, Form.empty(csrf_token=csrf_token_for(request), values=values), frame)


@post("/milestones/{milestone_id:uuid}/delivery", guards=MANAGE, request_max_body_size=2 * MOST_BYTES)
async def deliver(
    request: AnyRequest,
    milestone_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[Any]:
    """Add what was dropped; with "Send", deliver it all. What was added stays added, whatever is wrong with the rest."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    async with db.reading(caller.organization_id) as session:
        frame = await _frame(session, caller, milestone_id)
    sending = form.action("add") is None
    message = form.long_text("message", most=LONGEST_MESSAGE)
    contact_ids = _contacts(form)
    await _add_all(db, storage, command, milestone_id, form)
    async with db.reading(caller.organization_id) as session:
        frame = await _frame(session, caller, milestone_id)
    if sending:
        _check_sending(form, frame, contact_ids)
    if not form.is_valid or not sending:
        return _deliver_page(request, form, frame, status=200 if form.is_valid else 422)
    try:
        await perform_once(service.deliver(db, command, milestone_id, service.Delivery(message=message, contact_ids=contact_ids)))
    except TollgateError as refused:
        if isinstance(refused, NotFound) and not refused.errors:
            raise
        form.take(refused, names={"/deliverables": "file"})
        return _deliver_page(request, form, frame, status=422)
    return see_other(f"/milestones/{milestone_id}", notice=_("Delivered. The approvers get their links by mail."))


def _contacts(form: Form) -> list[UUID]:
    found = []
    for typed in form.all_values("contact_ids"):
        try:
            found.append(UUID(typed))
        except ValueError:
            form.refuse("contact_ids", _("Choose from the list"))
    return found


def _check_sending(form: Form, frame: DeliverFrame, contact_ids: list[UUID]) -> None:
    if not frame.milestone.deliverables and not form.error("file"):
        form.refuse("file", _("Add at least one file, link or note to show the client"))
    if not contact_ids and not form.error("contact_ids"):
        form.refuse("contact_ids", _("Choose who is asked to approve"))
    if len(form.all_values("criteria")) < len(frame.milestone.acceptance_criteria):
        form.refuse("criteria", _("Tick each acceptance criterion once you have checked it"))


async def _add_all(db: Database, storage: Storage, command: Command, milestone_id: UUID, form: Form) -> None:
    """Each file, link and note by a verb of its own, under a key of its own: sending the form again adds nothing twice."""
    note, links = form.long_text("note"), form.lines("links", most=20)
    asked: list[tuple[str, contracts.DeliverableInput]] = []
    for upload in form.files("file"):
        await upload.seek(0)
        content = await upload.read()
        file = contracts.FileInput(name=clean_name(upload.filename), content_type=upload.content_type or "", content=content)
        asked.append(("file", contracts.DeliverableInput(file=file)))
    asked += [("links", contracts.DeliverableInput(url=url)) for url in links]
    if note:
        asked.append(("note", contracts.DeliverableInput(note=note)))
    left: dict[str, list[str]] = {"links": [], "note": []}
    for number, (field, one) in enumerate(asked):
        try:
            part = replace(command, key=f"{command.key}:{number}" if command.key else None)
            await perform_once(contracts.add_deliverable(db, storage, part, milestone_id, one))
        except NotFound:
            raise
        except TollgateError as refused:
            form.refuse(field, refused.errors[0].detail if refused.errors else refused.detail)
            if field in left:
                left[field].append(one.url or one.note or "")
    if asked:
        # What was added stands in the list now; only what was refused stays typed.
        form.values["links"], form.values["note"] = ["\n".join(left["links"])], left["note"] or [""]


@post("/milestones/{milestone_id:uuid}/deliverables/{deliverable_id:uuid}/removal", guards=MANAGE)
async def remove_deliverable(
    milestone_id: FromPath[UUID], deliverable_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Leave a deliverable out of the next delivery."""
    to = f"/milestones/{milestone_id}/delivery"
    return await act(contracts.remove_deliverable(db, command, milestone_id, deliverable_id), to, _("Left out of the delivery"))


@post("/milestones/{milestone_id:uuid}/withdrawal", guards=MANAGE)
async def withdraw(milestone_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Take a delivery back before it is decided."""
    to = f"/milestones/{milestone_id}"
    return await act(service.withdraw(db, command, milestone_id), to, _("Taken back. The links no longer work and the approvers are told."))


# An approval on paper ---------------------------------------------------------------------------------------------------


async def _record_page(
    request: AnyRequest, db: Database, caller: Caller, milestone_id: UUID, form: Form, *, status: int = 200
) -> Response[Any]:
    async with db.reading(caller.organization_id) as session:
        frame = await _frame(session, caller, milestone_id)
        if frame.milestone.round_id is None or Event.RECORD_APPROVAL not in frame.milestone.allowed_events:
            return see_other(f"/milestones/{milestone_id}", notice=_("No approval can be recorded here now"), kind="warning")
        shown = await service.round_view(session, caller.organization_id, frame.milestone.round_id)
    return page(
        "signoff/record.html",
        status=status,
        shell=shell_for(request, "contracts"),
        form=form,
        frame=frame,
        round=shown,
        contacts=[(str(one.contact_id), one.name) for one in shown.approvers],
    )


@get("/milestones/{milestone_id:uuid}/recorded-approval", guards=ADMINISTER)
async def record_page(
    request: AnyRequest, milestone_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[Any]:
    """What recording does, and the form for the signed document."""
    return await _record_page(request, db, caller, milestone_id, Form.empty(csrf_token=csrf_token_for(request)))


@post("/milestones/{milestone_id:uuid}/recorded-approval", guards=ADMINISTER, request_max_body_size=MOST_BYTES)
async def record_approval(
    request: AnyRequest,
    milestone_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[Any]:
    """Record an approval given on paper."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    contact_id, signed_name = form.uuid("contact_id"), form.text("signed_name", most=120)
    upload = next(iter(form.files("file")), None)
    if upload is None:
        form.refuse("file", _("Attach the document that the client signed"))
    if not form.is_valid or upload is None:
        return await _record_page(request, db, caller, milestone_id, form, status=422)
    await upload.seek(0)
    document = contracts.FileInput(name=clean_name(upload.filename), content_type=upload.content_type or "", content=await upload.read())
    recorded = service.Recorded(document=document, contact_id=contact_id, signed_name=signed_name or None)
    try:
        await perform_once(service.record_approval(db, storage, command, milestone_id, recorded))
    except NotFound:
        raise
    except TollgateError as refused:
        form.take(refused)
        return await _record_page(request, db, caller, milestone_id, form, status=422)
    return see_other(f"/milestones/{milestone_id}", notice=_("Approval recorded. The certificate says who recorded it."))


# The small steps of a round ---------------------------------------------------------------------------------------------


async def _page_of_round(db: Database, caller: Caller, round_id: UUID) -> str:
    async with db.reading(caller.organization_id) as session:
        review = await queries.review(session, caller.organization_id, round_id)
    return f"/milestones/{review.milestone.id}"


async def _page_of_link(db: Database, caller: Caller, link_id: UUID) -> str:
    async with db.reading(caller.organization_id) as session:
        round_id = await queries.round_of_link(session, caller.organization_id, link_id)
    return await _page_of_round(db, caller, round_id)


@post("/rounds/{round_id:uuid}/reminders", guards=MANAGE)
async def remind(
    round_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Remind everybody who has not decided."""
    to = await _page_of_round(db, caller, round_id)
    return await act(service.remind(db, command, round_id), to, _("A reminder with a fresh link is on its way"))


@post("/rounds/{round_id:uuid}/links", guards=MANAGE)
async def send_link(
    request: AnyRequest,
    round_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[None]:
    """Mail one approver a fresh link."""
    to = await _page_of_round(db, caller, round_id)
    contact_id = (await read_form(request, csrf_token="")).uuid("contact_id")
    if contact_id is None:
        raise NotFound
    return await act(service.send_link(db, command, round_id, contact_id), to, _("A fresh link is on its way"))


@post("/links/{link_id:uuid}/copy", guards=MANAGE, status_code=200)
async def copy_link(
    request: AnyRequest,
    link_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """Show a copy of the link, once. It asks for a code mailed to the approver, and the record says who copied it (R10)."""
    to = await _page_of_link(db, caller, link_id)
    try:
        address = await service.copy_link(db, settings.secret_key, settings.base_url, command, link_id)
    except Replayed:
        return see_other(to, notice=_("The link was shown once and cannot be shown again; copy it anew"), kind="warning")
    except NotFound:
        raise
    except TollgateError as refused:
        return see_other(to, notice=refused.detail, kind="danger")
    async with db.reading(caller.organization_id) as session:
        link = await queries.link(session, caller.organization_id, link_id)
        contact = await queries.contact(session, caller.organization_id, link.contact_id)
    return page(
        "signoff/copied.html",
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
        shell=shell_for(request, "contracts"),
        address=address,
        approver=contact.name,
        back=to,
    )


@post("/links/{link_id:uuid}/revocation", guards=MANAGE)
async def revoke_link(
    link_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Take one approver's right away."""
    to = await _page_of_link(db, caller, link_id)
    return await act(service.revoke_link(db, command, link_id), to, _("The link no longer works"))


@post("/colleagues/{colleague_id:uuid}/confirmation", guards=MANAGE)
async def confirm_colleague(
    colleague_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Let a proposed colleague decide."""
    to = await _page_of_colleague(db, caller, colleague_id)
    return await act(service.confirm_colleague(db, command, colleague_id), to, _("Confirmed. A link of their own is on its way."))


@post("/colleagues/{colleague_id:uuid}/refusal", guards=MANAGE)
async def decline_colleague(
    colleague_id: FromPath[UUID], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Say no to a proposed colleague."""
    to = await _page_of_colleague(db, caller, colleague_id)
    return await act(service.decline_colleague(db, command, colleague_id), to, _("Declined. Nothing was sent."))


async def _page_of_colleague(db: Database, caller: Caller, colleague_id: UUID) -> str:
    async with db.reading(caller.organization_id) as session:
        round_id = await queries.round_of_colleague(session, caller.organization_id, colleague_id)
    return await _page_of_round(db, caller, round_id)


@get("/rounds/{round_id:uuid}/certificate.pdf", guards=READ)
async def certificate(
    round_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database], storage: NamedDependency[Storage]
) -> Response[Any]:
    """The sign-off certificate."""
    try:
        name, content = await documents.pdf(db, storage, caller.organization_id, KIND, round_id)
    except documents.BeingRendered as waiting:
        return see_other(await _page_of_round(db, caller, round_id), notice=waiting.detail, kind="info")
    return attachment(name, content, "application/pdf")


@get("/rounds/{round_id:uuid}/documents/{sha256:str}", guards=READ)
async def recorded_document(
    round_id: FromPath[UUID],
    sha256: FromPath[str],
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """The signed document behind a recorded approval."""
    async with db.reading(caller.organization_id) as session:
        shown = await service.round_view(session, caller.organization_id, round_id)
    found = next((one for one in shown.decisions if one.document_sha256_hex == sha256), None)
    if found is None:
        raise NotFound
    return attachment(found.document_file_name or "signed", await storage.get(caller.organization_id, sha256))


page_router = Router(
    path="/",
    route_handlers=[
        delivery_page,
        deliver,
        remove_deliverable,
        withdraw,
        record_page,
        record_approval,
        remind,
        send_link,
        copy_link,
        revoke_link,
        confirm_colleague,
        decline_colleague,
        certificate,
        recorded_document,
    ],
    include_in_schema=False,
)
