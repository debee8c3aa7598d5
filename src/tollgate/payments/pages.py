"""Payments for people: record a transfer, look at a payment, connect the gateway account."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tollgate import clock
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.errors import NotFound, TollgateError, _
from tollgate.http.bodies import uuid_or_none
from tollgate.http.commands import perform_once
from tollgate.money.currencies import EXPONENTS
from tollgate.parties.models import Client, Organization
from tollgate.payments import queries, reversal, service
from tollgate.payments.accounts import Gateways
from tollgate.payments.api import show_account
from tollgate.payments.rules import Chosen
from tollgate.payments.schemas import GatewayAccountBody
from tollgate.payments.sealing import Unreadable
from tollgate.settings import Settings
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, see_other

READ = [requires(Permission.READ)]
BILL = [requires(Permission.BILL)]
ADMINISTER = [requires(Permission.ADMINISTER)]
AnyRequest = Request[Any, Any, Any]


async def _transfer_page(request: AnyRequest, db: Database, caller: Caller, form: Form, status: int = 200) -> Response[str]:
    """The form with what is open of the chosen client; without a client, the choice of one."""
    client_id = uuid_or_none(form.value("client_id"))
    async with db.reading(caller.organization_id) as session:
        client = await session.get(Client, (caller.organization_id, client_id)) if client_id is not None else None
        open_ = await queries.open_of_client(session, caller.organization_id, client.id) if client is not None else []
        clients = await queries.clients(session, caller.organization_id)
    currency = form.value("currency") or (open_[0].open.currency if open_ else client.currency if client is not None else "")
    form.values["currency"] = [currency]
    return page(
        "payments/transfer.html",
        status=status,
        shell=shell_for(request, active="payments"),
        form=form,
        client=None if client is None else {"id": client.id, "name": client.legal_name},
        clients=[(row.id, row.legal_name) for row in clients],
        currencies=[(code, code) for code in sorted({currency, *(row.open.currency for row in open_)} - {""} or set(EXPONENTS))],
        open_invoices=open_,
    )


@get("/payments/new", guards=BILL)
async def new_transfer(
    request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database], client_id: FromQuery[str | None] = None
) -> Response[str]:
    """The form for a transfer that arrived."""
    async with db.reading(caller.organization_id) as session:
        seller = await session.get_one(Organization, caller.organization_id)
    values = {"client_id": client_id, "received_on": clock.today(seller.time_zone)}
    return await _transfer_page(request, db, caller, Form.empty(csrf_token=csrf_token_for(request), values=values))


@post("/payments/new", guards=BILL)
async def record_transfer(
    request: AnyRequest, caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[Any]:
    """Record a transfer."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    asked, names = await _read_transfer(form, db, caller)
    if asked is not None and form.is_valid:
        try:
            payment_id = await perform_once(service.record_transfer(db, command, asked))
        except NotFound:
            raise
        except TollgateError as error:
            form.take(error, names=names)
        else:
            return see_other(f"/payments/{payment_id}", notice=_("The transfer is recorded"))
    return await _transfer_page(request, db, caller, form, 422)


async def _read_transfer(form: Form, db: Database, caller: Caller) -> tuple[service.NewTransfer | None, dict[str, str]]:
    """The verb's input, and which input of the form each pointer of a refusal belongs to."""
    client_id = form.uuid("client_id", missing=_("Choose who paid"))
    currency = form.choice("currency", EXPONENTS, missing=_("Choose the currency"))
    received_on = form.day("received_on")
    reference = form.text("reference", most=140)
    amount = form.amount("amount", currency) if currency is not None else None
    if not form.value("amount").strip():
        form.refuse("amount", _("Enter the amount that arrived"))
    if not form.value("received_on").strip():
        form.refuse("received_on", _("Enter the day on which the money arrived"))
    chosen: list[Chosen] = []
    names: dict[str, str] = {}
    for name in [name for name in form.values if name.startswith("allocate_") and form.value(name).strip()]:
        part = form.amount(name, currency) if currency is not None else None
        invoice_id = uuid_or_none(name.removeprefix("allocate_").replace("_", "-"))
        if part is not None and invoice_id is not None:
            names |= {f"/allocations/{len(chosen)}/{member}": name for member in ("amount", "invoice_id")}
            chosen.append(Chosen(invoice_id, part))
    names["/allocations"] = "amount"
    if not form.is_valid or client_id is None or amount is None or received_on is None:
        return None, names
    asked = service.NewTransfer(
        client_id=client_id, amount=amount, received_on=received_on, reference=reference, allocations=tuple(chosen) or None
    )
    return asked, names


@get("/payments/{payment_id:uuid}", guards=READ)
async def show_payment(
    request: AnyRequest, payment_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """One payment and where its money went."""
    async with db.reading(caller.organization_id) as session:
        payment = await queries.show_payment(session, caller.organization_id, payment_id)
    return page("payments/payment.html", shell=shell_for(request, active="payments"), payment=payment, may_bill=caller.may(Permission.BILL))


async def _reversal_page(
    request: AnyRequest, db: Database, caller: Caller, payment_id: UUID, form: Form, status: int = 200
) -> Response[str]:
    async with db.reading(caller.organization_id) as session:
        payment = await queries.show_payment(session, caller.organization_id, payment_id)
        outlook = await reversal.outlook(session, caller.organization_id, payment_id)
    return page(
        "payments/reversal.html",
        status=status,
        shell=shell_for(request, active="payments"),
        form=form,
        payment=payment,
        outlook=outlook,
    )


@get("/payments/{payment_id:uuid}/reversal", guards=BILL)
async def confirm_reversal(
    request: AnyRequest, payment_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """What taking a transfer back will do, with the numbers."""
    return await _reversal_page(request, db, caller, payment_id, Form.empty(csrf_token=csrf_token_for(request)))


@post("/payments/{payment_id:uuid}/reversal", guards=BILL)
async def reverse_payment(
    request: AnyRequest,
    payment_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Take a transfer back."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    reason = form.required("reason", _("Say why"), most=500)
    if form.is_valid:
        try:
            await perform_once(reversal.reverse_payment(db, command, payment_id, reason))
        except NotFound:
            raise
        except TollgateError as error:
            form.take(error)
        else:
            return see_other(f"/payments/{payment_id}", notice=_("The payment is taken back"))
    return await _reversal_page(request, db, caller, payment_id, form, 422)


async def _settings_page(
    request: AnyRequest, db: Database, settings: Settings, caller: Caller, form: Form, status: int = 200
) -> Response[str]:
    gateways = Gateways(db, settings)
    account: GatewayAccountBody | None
    try:
        account = await show_account(gateways, caller.organization_id)
    except NotFound:
        account = None
    try:
        usable = account is not None and await gateways.of(caller.organization_id) is not None
        problem = _("This account is live, and the server does not run with STRIPE_LIVE=1: it is not used.")
    except Unreadable as error:
        # The page must stay: it is where the account is disconnected and connected again.
        usable, problem = False, error.detail
    async with db.reading(caller.organization_id) as session:
        stopped = await queries.stopped(session, caller.organization_id)
        seller = await session.get_one(Organization, caller.organization_id)
    return page(
        "payments/settings.html",
        status=status,
        shell=shell_for(request, active="settings"),
        form=form,
        account=account,
        usable=usable,
        problem=problem,
        sandbox=settings.stripe_api_base,
        live_allowed=settings.stripe_live,
        stopped=stopped,
        zone=seller.time_zone,
    )


@get("/settings/payments", guards=ADMINISTER)
async def show_settings(
    request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[str]:
    """The gateway account: connected or not, test or live, and what has stopped."""
    return await _settings_page(request, db, settings, caller, Form.empty(csrf_token=csrf_token_for(request)))


@post("/settings/payments", guards=ADMINISTER)
async def connect(
    request: AnyRequest,
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[Any]:
    """Connect the account whose keys were entered."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    asked = service.NewAccount(
        secret_key=form.required("secret_key", _("Enter the key"), most=255),
        webhook_secret=form.required("webhook_secret", _("Enter the webhook's signing secret"), most=255),
    )
    if form.is_valid:
        try:
            await perform_once(service.connect_account(Gateways(db, settings), command, asked))
        except TollgateError as error:
            form.take(error)
        else:
            return see_other("/settings/payments", notice=_("The Stripe account is connected"))
    return await _settings_page(request, db, settings, caller, form, 422)


@post("/settings/payments/disconnect", guards=ADMINISTER)
async def disconnect(command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Forget the account."""
    await perform_once(service.disconnect_account(db, command))
    return see_other("/settings/payments", notice=_("The Stripe account is disconnected"))


@post("/settings/payments/invoices/{invoice_id:uuid}/retry", guards=ADMINISTER)
async def retry(invoice_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Hand a stopped invoice over once more."""
    try:
        await perform_once(service.try_again(db, command, invoice_id))
    except service.NotStopped as error:
        return see_other("/settings/payments", notice=error.detail, kind="info")
    return see_other("/settings/payments", notice=_("The invoice is handed over once more"))


page_router = Router(
    path="/",
    route_handlers=[
        new_transfer,
        record_transfer,
        show_payment,
        confirm_reversal,
        reverse_payment,
        show_settings,
        connect,
        disconnect,
        retry,
    ],
    include_in_schema=False,
)
