"""Payments and the gateway account over HTTP: thin, every handler calls one verb and shows the resource."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, Parameter

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.db.command import Command, Replayed
from tollgate.db.database import Database
from tollgate.errors import NotFound
from tollgate.http.bodies import MOST_ITEMS, ListBody, clean, decode_cursor, etag, page_of, version_asked
from tollgate.http.commands import perform
from tollgate.payments import queries, reversal, service
from tollgate.payments.accounts import Gateways
from tollgate.payments.schemas import GatewayAccountBody, GatewayAccountRequest, PaymentBody, PaymentRequest, ReversalRequest
from tollgate.settings import Settings

READ = [requires(Permission.READ)]
BILL = [requires(Permission.BILL)]
ADMINISTER = [requires(Permission.ADMINISTER)]
Limit = Annotated[int, Parameter(ge=1, le=MOST_ITEMS)]


async def show_payment(db: Database, organization_id: UUID, payment_id: UUID) -> PaymentBody:
    """One payment as it is now."""
    async with db.reading(organization_id) as session:
        return PaymentBody.of(await queries.show_payment(session, organization_id, payment_id))


@post("/payments", operation_id="RecordPayment", guards=BILL, status_code=201)
async def record_payment(
    data: JSONBody[PaymentRequest], caller: NamedDependency[Caller], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[PaymentBody]:
    """Record a bank transfer: it settles what `allocations` say, else the oldest due first; the rest is client credit (R14)."""
    verb = service.record_transfer(db, command, data.read())
    return await perform(verb, lambda payment_id: show_payment(db, caller.organization_id, payment_id), status=201)


@get("/payments", operation_id="ListPayments", guards=READ)
async def list_payments(
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    client_id: FromQuery[UUID | None] = None,
    invoice_id: FromQuery[UUID | None] = None,
    method: FromQuery[Literal["stripe", "bank_transfer"] | None] = None,
    cursor: FromQuery[str | None] = None,
    limit: FromQuery[Limit] = 50,
) -> ListBody[PaymentBody]:
    """Payments, last received first."""
    after = decode_cursor(cursor, date.fromisoformat, UUID) if cursor else None
    asked = queries.PaymentsAsked(client_id=client_id, invoice_id=invoice_id, method=method, after=after, limit=limit)
    async with db.reading(caller.organization_id) as session:
        rows = await queries.list_payments(session, caller.organization_id, asked)
    kept, following = page_of(rows, limit, lambda row: (row.received_on, row.id))
    return ListBody([PaymentBody.of(row) for row in kept], following)


@get("/payments/{payment_id:uuid}", operation_id="GetPayment", guards=READ)
async def get_payment(payment_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> PaymentBody:
    """One payment and where its money went."""
    return await show_payment(db, caller.organization_id, payment_id)


@post("/payments/{payment_id:uuid}/reversal", operation_id="ReversePayment", guards=BILL, status_code=200)
async def reverse_payment(
    payment_id: FromPath[UUID],
    data: JSONBody[ReversalRequest],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[PaymentBody]:
    """Take a bank transfer back that was recorded wrongly: what it settled is open again, its client credit is gone (R14)."""
    verb = reversal.reverse_payment(db, command, payment_id, clean(data.reason, "/reason"))
    return await perform(verb, lambda made: show_payment(db, caller.organization_id, made))


async def show_account(gateways: Gateways, organization_id: UUID) -> GatewayAccountBody:
    """The account as it is now. Raises `NotFound` when there is none."""
    base_url = gateways.settings.base_url
    if await gateways.is_of_environment(organization_id):
        connected = await gateways.of(organization_id)
        if connected is not None:
            return GatewayAccountBody(
                id=None,
                account_id=connected.account_id,
                mode="live" if connected.live else "test",
                webhook_url=f"{base_url}/webhooks/stripe",
                source="environment",
                connected_at=None,
            )
    async with gateways.db.reading(organization_id) as session:
        account = await queries.active_account(session, organization_id)
    if account is None:
        raise NotFound
    return GatewayAccountBody.of(account, base_url)


@get("/gateway-account", operation_id="GetGatewayAccount", guards=ADMINISTER)
async def get_account(
    caller: NamedDependency[Caller], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[GatewayAccountBody]:
    """The Stripe account connected: its mode, and the webhook address to enter at Stripe. Secrets are never shown."""
    body = await show_account(Gateways(db, settings), caller.organization_id)
    return Response(body, headers={"ETag": etag(1)})


@post("/gateway-account", operation_id="ConnectGatewayAccount", guards=ADMINISTER, status_code=201)
async def connect_account(
    data: JSONBody[GatewayAccountRequest],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Response[GatewayAccountBody]:
    """Connect the organization's own Stripe account. Live keys are taken only by a server that runs with STRIPE_LIVE=1."""
    gateways = Gateways(db, settings)
    return await perform(
        service.connect_account(gateways, command, data.read()),
        lambda _account_id: show_account(gateways, caller.organization_id),
        status=201,
        headers=lambda _body: {"ETag": etag(1)},
    )


@delete("/gateway-account", operation_id="DisconnectGatewayAccount", guards=ADMINISTER, status_code=204)
async def disconnect_account(request: Request[Any, Any, Any], command: NamedDependency[Command], db: NamedDependency[Database]) -> None:
    """Forget the account and its secrets (If-Match)."""
    try:
        await service.disconnect_account(db, command, version=version_asked(request))
    except Replayed:
        return


api_router = Router(
    path="/api/v1",
    route_handlers=[record_payment, list_payments, get_payment, reverse_payment, get_account, connect_account, disconnect_account],
    tags=["Payments"],
)
