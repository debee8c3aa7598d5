"""Where the gateway posts its events: verify the raw bytes, store, answer. Nothing is believed and nothing is fetched here."""

import json
from typing import Any

from litestar import MediaType, Request, Response, Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.errors import NotFound, _
from tollgate.http.problems import Problem
from tollgate.payments import inbox
from tollgate.payments.accounts import Connected, Gateways
from tollgate.payments.signatures import is_signed
from tollgate.payments.stripe_gateway import read_event
from tollgate.settings import Settings

MOST_BYTES = 1024 * 1024
SIGNATURE = "stripe-signature"


@post(
    "/webhooks/stripe",
    operation_id="ReceiveStripeEvent",
    status_code=200,
    request_max_body_size=MOST_BYTES,
    security=[{}],
    opt={"public": True},
)
async def receive_event(
    request: Request[Any, Any, Any], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[dict[str, bool]]:
    """Events of the account whose keys the server's environment holds, signed by Stripe."""
    return await _receive(request, db, await Gateways(db, settings).by_endpoint(None))


@post(
    "/webhooks/stripe/{endpoint:str}",
    operation_id="ReceiveStripeEventOfAccount",
    status_code=200,
    request_max_body_size=MOST_BYTES,
    security=[{}],
    opt={"public": True},
)
async def receive_event_of_account(
    request: Request[Any, Any, Any], endpoint: FromPath[str], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[dict[str, bool]]:
    """Events of an account that an organization connected; the address was shown when it did."""
    # An address that no endpoint can have is not looked up.
    is_one = len(endpoint) <= 40 and endpoint.isascii() and endpoint.isalnum()
    return await _receive(request, db, await Gateways(db, settings).by_endpoint(endpoint) if is_one else None)


async def _receive(request: Request[Any, Any, Any], db: Database, connected: Connected | None) -> Response[dict[str, bool]]:
    if connected is None or connected.webhook_secret is None:
        raise NotFound
    payload = await request.body()
    if not is_signed(payload, request.headers.get(SIGNATURE, ""), connected.webhook_secret):
        raise Problem(400, "signature-invalid", _("The signature is missing, wrong, or not of now"))
    try:
        event = read_event(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
        raise Problem(400, "malformed", _("The body is not an event")) from None
    if event.live != connected.live:
        raise Problem(400, "other-mode", _("This event is of the other mode (test or live) than the account connected here"))
    if event.account_id is not None and event.account_id != connected.account_id:
        raise Problem(400, "other-account", _("This event is of another account"))
    async with db.transaction(connected.organization_id, Command.system(connected.organization_id)) as session:
        await inbox.store(session, connected, event, "webhook")
    return Response({"received": True}, media_type=MediaType.JSON)


webhook_router = Router(path="/", route_handlers=[receive_event, receive_event_of_account], tags=["Webhooks"])
