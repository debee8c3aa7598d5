"""The verbs of payments: record a transfer, connect and disconnect a gateway account, try a stopped hand-over again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.billing import queries as billing
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import lock_invoice, record_gateway
from tollgate.contracts import service_moves as contracts
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Conflict, NotFound, Stale, _, invalid
from tollgate.jobs import enqueue
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Organization
from tollgate.payments import queries
from tollgate.payments.accounts import SECRET_KEY, WEBHOOK_SECRET, Gateways, is_live, require_webhook_secret
from tollgate.payments.applying import shown_step
from tollgate.payments.gateway import GatewayBusy, GatewayRefused, KeyRefused
from tollgate.payments.models import GatewayAccount
from tollgate.payments.news import HandOver, Observe
from tollgate.payments.receiving import Received, receive
from tollgate.payments.rules import Chosen, OpenInvoice, allocate
from tollgate.payments.sealing import seal
from tollgate.payments.steps import CLOSING, TO_COMPOSE

EARLIEST_DAY = date(2000, 1, 1)
"""No transfer of before is recorded: such a day is a slip of the keyboard."""


class SetByServer(Conflict):
    """The account is the one of the server's environment; members cannot change it."""

    slug = "gateway-set-by-server"
    title = _("The payment account of this organization is set by the server (STRIPE_SECRET_KEY)")


class AlreadyConnected(Conflict):
    """There is an account; it is disconnected first."""

    slug = "gateway-already-connected"
    title = _("A payment account is connected already. Disconnect it first")


class NotStopped(Conflict):
    """Nothing was refused, so there is nothing to try again."""

    slug = "hand-over-not-stopped"
    title = _("This invoice's hand-over to Stripe has not stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTransfer:
    """A bank transfer as finance saw it on the statement. Without `allocations` the oldest due is settled first (R14)."""

    client_id: UUID
    amount: Money
    received_on: date
    reference: str = ""
    allocations: tuple[Chosen, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """A Stripe account to connect."""

    secret_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)


async def record_transfer(db: Database, command: Command, asked: NewTransfer) -> UUID:
    """Record a bank transfer and settle invoices with it. Answers the payment's id.

    Raises `NotFound` for a foreign client, `CannotAllocate` naming each wrong allocation, `Invalid` for a day that has not come.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        if await session.get(Client, (organization_id, asked.client_id)) is None:
            raise NotFound
        seller = await session.get_one(Organization, organization_id)
        if asked.amount.currency != seller.currency:
            # The books know one currency until exchange rates exist (R17).
            raise invalid(
                "/amount",
                _(
                    "Payments in %(currency)s are not available yet; enter the amount in %(own)s",
                    currency=asked.amount.currency,
                    own=seller.currency,
                ),
            )
        if not EARLIEST_DAY <= asked.received_on <= clock.today(seller.time_zone):
            raise invalid("/received_on", _("Enter the day on which the money arrived: not in the future, and not before the year 2000"))
        invoices = await _lock_open(session, organization_id, asked)
        result = allocate(asked.amount, [_open(invoice) for invoice in invoices.values()], asked.allocations)
        received = Received(
            client_id=asked.client_id,
            method="bank_transfer",
            amount=asked.amount,
            received_on=asked.received_on,
            reference=asked.reference,
        )
        settles = [(invoices[item.invoice_id], item.amount) for item in result.allocations]
        payment_id = await receive(session, organization_id, received, settles)
        for invoice, _amount in settles:
            await _tell_gateway(session, invoice)
        return answer(session, payment_id, 201)


async def _lock_open(session: AsyncSession, organization_id: UUID, asked: NewTransfer) -> dict[UUID, Invoice]:
    """What is open of the client, locked: all contracts first, in the order of their ids, then each one's milestones and invoice."""
    candidates = await queries.open_invoices(session, organization_id, asked.client_id, asked.amount.currency)
    if asked.allocations is not None:
        wanted = {choice.invoice_id for choice in asked.allocations}
        candidates = [found for found in candidates if found[1] in wanted]
    for contract_id in sorted({contract_id for contract_id, _invoice_id in candidates}):
        await contracts.lock_contract(session, organization_id, contract_id)
    found: dict[UUID, Invoice] = {}
    for _contract_id, invoice_id in candidates:
        _contract, _milestones, invoice = await lock_invoice(session, organization_id, invoice_id)
        # Paid by somebody quicker while this verb waited for the lock.
        if invoice.state in queries.OPEN_STATES:
            found[invoice_id] = invoice
    return found


def _open(invoice: Invoice) -> OpenInvoice:
    if invoice.due_on is None or invoice.issued_on is None:
        raise ValueError(f"invoice {invoice.id} is open and not issued")
    return OpenInvoice(
        invoice_id=invoice.id, due_on=invoice.due_on, issued_on=invoice.issued_on, number=str(invoice.number), open=billing.open_of(invoice)
    )


async def _tell_gateway(session: AsyncSession, invoice: Invoice) -> None:
    """Money settled elsewhere is told to Stripe at once, before any reminder (R14)."""
    if invoice.state == "paid" and invoice.stripe_step == "voided" and invoice.stripe_problem:
        # It could only be collected by transfer, and now it was.
        await record_gateway(session, invoice.id, problem="")
    if invoice.stripe_step not in {"none", "not_needed", "voided", "below_minimum"}:
        await enqueue(session, HandOver(organization_id=invoice.organization_id, invoice_id=invoice.id), dedupe=str(invoice.id))


async def connect_account(gateways: Gateways, command: Command, asked: NewAccount) -> UUID:
    """Connect the organization's own Stripe account, after asking Stripe whose key it is. Answers the account row's id.

    Raises `Invalid` at the field for keys that are none, are live without STRIPE_LIVE=1, or are not taken by Stripe; `AlreadyConnected`.
    """
    organization_id = command.organization_id
    live = is_live(asked.secret_key, live_allowed=gateways.settings.stripe_live)
    require_webhook_secret(asked.webhook_secret)
    if await gateways.is_of_environment(organization_id):
        raise SetByServer
    # The one call outside comes before the transaction, as always.
    account_id = await _whose(gateways, asked.secret_key)
    async with gateways.db.transaction(organization_id, command) as session:
        if await queries.account_for_update(session, organization_id) is not None:
            raise AlreadyConnected
        endpoint = secrets.token_hex(12)
        await session.execute(
            text("select gateway_add_endpoint(:endpoint, :organization)"), {"endpoint": endpoint, "organization": organization_id}
        )
        sealing = gateways.settings.secret_key
        account = GatewayAccount(
            organization_id=organization_id,
            id=uuid7(),
            endpoint=endpoint,
            account_id=account_id[:80],
            live=live,
            secret_key_encrypted=seal(sealing, organization_id, SECRET_KEY, asked.secret_key),
            webhook_secret_encrypted=seal(sealing, organization_id, WEBHOOK_SECRET, asked.webhook_secret),
            created_at=clock.now(),
        )
        session.add(account)
        await session.flush()
        audit.record(session, "gateway.connected", ("gateway_account", account.id), account_id=account.account_id, live=live)
        return answer(session, account.id, 201)


async def _whose(gateways: Gateways, key: str) -> str:
    try:
        return (await gateways.with_key(key).identity()).account_id
    except KeyRefused as error:
        raise invalid("/secret_key", _("Stripe does not take this key: %(answer)s", answer=str(error))) from error
    except (GatewayBusy, GatewayRefused) as error:
        detail = _("Stripe could not be asked about this key: %(answer)s. Try again in a moment", answer=str(error))
        raise invalid("/secret_key", detail) from error


async def disconnect_account(db: Database, command: Command, *, version: int = 1) -> UUID:
    """Forget the account and its secrets. Invoices that are open at Stripe stay payable there, but nothing of them is heard any more."""
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        account = await queries.account_for_update(session, organization_id)
        if account is None:
            raise NotFound
        if version != 1:
            # An account is never edited: it has one version until it is gone.
            raise Stale(version=1)
        account.removed_at = clock.now()
        account.secret_key_encrypted = account.webhook_secret_encrypted = b""
        await session.flush()
        audit.record(session, "gateway.disconnected", ("gateway_account", account.id), account_id=account.account_id)
        return answer(session, account.id, 204)


async def try_again(db: Database, command: Command, invoice_id: UUID) -> UUID:
    """Take a refused step once more, composed anew under a new key, or look once more at what stopped there, after what was wrong has
    been put right. Raises `NotStopped`.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        _contract, _milestones, invoice = await lock_invoice(session, organization_id, invoice_id)
        steps = await queries.steps_of(session, organization_id, invoice_id)
        # A refusal to close it there is not tried again on an invoice that is open.
        left_out = CLOSING if invoice.state in queries.OPEN_STATES else ()
        refused = [step for step in steps.values() if step.state == "refused" and step.name not in left_out]
        if not refused and invoice.stripe_step == "stopped":
            # It was handed over, and what was seen there later was not ours: look again.
            await record_gateway(session, invoice_id, step=await shown_step(session, invoice), problem="")
            await enqueue(session, Observe(organization_id=organization_id, invoice_id=invoice_id), dedupe=str(invoice_id))
            return answer(session, invoice.id, 200)
        if not refused:
            raise NotStopped
        for step in refused:
            base, _colon, generation = step.idempotency_key.rpartition(":")
            step.state, step.body, step.first_called_at = "planned", TO_COMPOSE, None
            step.idempotency_key = f"{base}:{int(generation) + 1}"
        await session.flush()
        await record_gateway(session, invoice_id, step="waiting", problem="")
        await enqueue(session, HandOver(organization_id=organization_id, invoice_id=invoice_id), dedupe=str(invoice_id))
        return answer(session, invoice.id, 200)
