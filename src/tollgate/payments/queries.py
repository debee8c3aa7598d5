"""Selects of payments. Verbs lock through `billing.settlement.lock_invoice`, contract first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.billing.models import Invoice
from tollgate.billing.queries import LIVE_STATES
from tollgate.billing.service_views import problem_of
from tollgate.contracts.models import Contract
from tollgate.errors import Message, NotFound
from tollgate.money.amount import Money, total
from tollgate.parties.models import Client
from tollgate.payments.models import (
    GatewayAccount,
    GatewayCustomer,
    GatewayStep,
    Payment,
    PaymentAllocation,
    PaymentRefund,
    WebhookEvent,
)
from tollgate.payments.queries_returns import DisputeShown, RefundShown, shown_returns

OPEN_STATES = ("issued", "partly_paid")
AT_GATEWAY = ("finalized", "sent")
UNDER_WAY = ("waiting", "customer", "draft", "lines", "compared", "finalized")


async def active_account(session: AsyncSession, organization_id: UUID) -> GatewayAccount | None:
    """The connected account."""
    found = await session.execute(
        select(GatewayAccount).where(GatewayAccount.organization_id == organization_id, GatewayAccount.removed_at.is_(None))
    )
    return found.scalar_one_or_none()


async def account_for_update(session: AsyncSession, organization_id: UUID) -> GatewayAccount | None:
    """The connected account, locked."""
    found = await session.execute(
        select(GatewayAccount)
        .where(GatewayAccount.organization_id == organization_id, GatewayAccount.removed_at.is_(None))
        .with_for_update()
    )
    return found.scalar_one_or_none()


async def customer_id(session: AsyncSession, organization_id: UUID, client_id: UUID, account_id: str) -> str | None:
    """The client's customer at that account."""
    found = await session.get(GatewayCustomer, (organization_id, client_id, account_id))
    return None if found is None else found.customer_id


async def steps_of(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> dict[str, GatewayStep]:
    """The steps of an invoice by name, as they are now."""
    rows = await session.execute(
        select(GatewayStep)
        .where(GatewayStep.organization_id == organization_id, GatewayStep.invoice_id == invoice_id)
        .execution_options(populate_existing=True)
    )
    return {row.name: row for row in rows.scalars()}


async def invoice_of_provider(session: AsyncSession, organization_id: UUID, provider_invoice_id: str) -> UUID | None:
    """Our invoice behind one of the gateway's."""
    found = await session.execute(
        select(Invoice.id).where(Invoice.organization_id == organization_id, Invoice.stripe_invoice_id == provider_invoice_id)
    )
    return found.scalar_one_or_none()


async def event(session: AsyncSession, organization_id: UUID, event_id: UUID) -> WebhookEvent | None:
    """A row of the inbox."""
    return await session.get(WebhookEvent, (organization_id, event_id))


async def known_payments(session: AsyncSession, organization_id: UUID, provider_payment_ids: Sequence[str]) -> set[str]:
    """Which of the gateway's payments are in our books."""
    rows = await session.execute(
        select(Payment.provider_payment_id).where(
            Payment.organization_id == organization_id, Payment.provider_payment_id.in_(provider_payment_ids)
        )
    )
    return {str(row) for row in rows.scalars()}


async def open_invoices(session: AsyncSession, organization_id: UUID, client_id: UUID, currency: str) -> list[tuple[UUID, UUID]]:
    """Contract and invoice of everything that is open of a client in a currency, in the order in which contracts are locked."""
    rows = await session.execute(
        select(Invoice.contract_id, Invoice.id)
        .where(
            Invoice.organization_id == organization_id,
            Invoice.client_id == client_id,
            Invoice.currency == currency,
            Invoice.state.in_(OPEN_STATES),
        )
        .order_by(Invoice.contract_id, Invoice.id)
    )
    return [(row.contract_id, row.id) for row in rows]


async def at_gateway(session: AsyncSession, organization_id: UUID) -> list[UUID]:
    """Invoices on which something may happen at the gateway now: somebody pays, a refund arrives, a dispute ends."""
    returning = (
        select(Payment.invoice_id)
        .join(PaymentRefund, (PaymentRefund.organization_id == Payment.organization_id) & (PaymentRefund.payment_id == Payment.id))
        .where(Payment.organization_id == organization_id, PaymentRefund.state == "pending")
    )
    payable = Invoice.state.in_(OPEN_STATES) & Invoice.stripe_step.in_(AT_GATEWAY)
    rows = await session.execute(
        select(Invoice.id).where(
            Invoice.organization_id == organization_id,
            payable | Invoice.disputed_on.is_not(None) | (Invoice.pending_minor > 0) | Invoice.id.in_(returning),
        )
    )
    return list(rows.scalars())


async def stuck(session: AsyncSession, organization_id: UUID, before: datetime) -> list[UUID]:
    """Invoices whose hand-over began and neither ended nor was refused, last touched before that instant."""
    last = select(func.max(GatewayStep.created_at)).where(
        GatewayStep.organization_id == Invoice.organization_id, GatewayStep.invoice_id == Invoice.id
    )
    rows = await session.execute(
        select(Invoice.id).where(
            Invoice.organization_id == organization_id,
            Invoice.state.in_((*OPEN_STATES, "void", "credited")),
            Invoice.stripe_step.in_(UNDER_WAY),
            func.coalesce(last.scalar_subquery(), Invoice.issued_at) < before,
        )
    )
    return list(rows.scalars())


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationShown:
    """How much of a payment settled which invoice."""

    invoice_id: UUID
    invoice_number: str
    contract_id: UUID
    contract_title: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalShown:
    """A payment taken back: by how much which invoice is open again, and what went off the client's credit."""

    reversed_on: date
    reason: str
    reopened: tuple[AllocationShown, ...]
    from_client_credit: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFor:
    """The invoice on whose page a payment was made."""

    invoice_id: UUID
    invoice_number: str
    stands: bool
    """False where it is void or credited: what came is client credit then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentShown:
    """A payment and where its money went; nowhere any more once it was taken back.

    amount = allocations + client_credit + refunded. What a refund took off the client credit of a credited invoice is not shown as
    allocated to that invoice any more.
    """

    id: UUID
    client_id: UUID
    client_name: str
    method: str
    amount: Money
    refunded: Money
    received_on: date
    reference: str
    state: str
    """`received`, `reversed`, or what refunds and disputes left of it: `partly_returned`, `returned`."""
    provider_payment_id: str | None
    made_for: MadeFor | None
    allocations: tuple[AllocationShown, ...]
    client_credit: Money
    reversal: ReversalShown | None
    refunds: tuple[RefundShown, ...]
    disputes: tuple[DisputeShown, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentsAsked:
    """Which payments, newest first."""

    client_id: UUID | None = None
    invoice_id: UUID | None = None
    method: str | None = None
    after: tuple[date, UUID] | None = None
    limit: int = 50


async def list_payments(session: AsyncSession, organization_id: UUID, asked: PaymentsAsked) -> list[PaymentShown]:
    """One payment more than asked for, where there is one, so that the caller knows of a next page."""
    query = select(Payment).where(Payment.organization_id == organization_id)
    if asked.client_id is not None:
        query = query.where(Payment.client_id == asked.client_id)
    if asked.method is not None:
        query = query.where(Payment.method == asked.method)
    if asked.invoice_id is not None:
        settled = select(PaymentAllocation.payment_id).where(
            PaymentAllocation.organization_id == organization_id, PaymentAllocation.invoice_id == asked.invoice_id
        )
        query = query.where(Payment.id.in_(settled) | (Payment.invoice_id == asked.invoice_id))
    if asked.after is not None:
        query = query.where(tuple_(Payment.received_on, Payment.id) < asked.after)
    rows = await session.execute(query.order_by(Payment.received_on.desc(), Payment.id.desc()).limit(asked.limit + 1))
    return await _show(session, organization_id, list(rows.scalars()))


async def show_payment(session: AsyncSession, organization_id: UUID, payment_id: UUID) -> PaymentShown:
    """One payment. Raises `NotFound`."""
    payment = await session.get(Payment, (organization_id, payment_id))
    if payment is None:
        raise NotFound
    return (await _show(session, organization_id, [payment]))[0]


async def _show(session: AsyncSession, organization_id: UUID, payments: list[Payment]) -> list[PaymentShown]:
    allocations = await _allocations(session, organization_id, [payment.id for payment in payments if payment.state != "reversed"])
    undone = [payment.id for payment in payments if payment.state == "reversed"]
    reopened = await _allocations(session, organization_id, undone, taken_back=True) if undone else {}
    names = await client_names(session, organization_id, {payment.client_id for payment in payments})
    made_for = await _made_for(session, organization_id, {payment.invoice_id for payment in payments if payment.invoice_id is not None})
    refunds, disputes = await shown_returns(session, organization_id, [payment.id for payment in payments])
    return [
        _shown(
            payment,
            names[payment.client_id],
            reopened.get(payment.id, []) if payment.state == "reversed" else allocations.get(payment.id, []),
            made_for.get(payment.invoice_id) if payment.invoice_id is not None else None,
            refunds.get(payment.id, []),
            disputes.get(payment.id, []),
        )
        for payment in payments
    ]


def _shown(
    payment: Payment,
    client_name: str,
    allocations: list[AllocationShown],
    made_for: MadeFor | None,
    refunds: list[RefundShown],
    disputes: list[DisputeShown],
) -> PaymentShown:
    amount, refunded = Money(payment.amount_minor, payment.currency), Money(payment.refunded_minor, payment.currency)
    credit = total([amount, -refunded, *(-one.amount for one in allocations)], payment.currency)
    reversal = None
    if payment.reversed_on is not None:
        reversal = ReversalShown(
            reversed_on=payment.reversed_on,
            reason=payment.reversal_reason or "",
            reopened=tuple(allocations),
            from_client_credit=credit,
        )
        allocations, credit = [], Money.zero(payment.currency)
    if credit.is_negative:
        # A refund took what a credit note had made client credit of.
        allocations, credit = _less(allocations, -credit), Money.zero(payment.currency)
    went = "returned" if refunded == amount else "partly_returned" if refunded.is_positive else payment.state
    return PaymentShown(
        id=payment.id,
        client_id=payment.client_id,
        client_name=client_name,
        method=payment.method,
        amount=amount,
        refunded=refunded,
        received_on=payment.received_on,
        reference=payment.reference,
        state=payment.state if payment.state == "reversed" else went,
        provider_payment_id=payment.provider_payment_id,
        made_for=made_for,
        allocations=tuple(allocations),
        client_credit=credit,
        reversal=reversal,
        refunds=tuple(refunds),
        disputes=tuple(disputes),
        created_at=payment.created_at,
    )


def _less(allocations: list[AllocationShown], back: Money) -> list[AllocationShown]:
    found = []
    for one in allocations:
        part = min(one.amount, back)
        back = back - part
        if part < one.amount:
            found.append(replace(one, amount=one.amount - part))
    return found


async def _made_for(session: AsyncSession, organization_id: UUID, ids: set[UUID]) -> dict[UUID, MadeFor]:
    rows = await session.execute(
        select(Invoice.id, Invoice.number, Invoice.state).where(Invoice.organization_id == organization_id, Invoice.id.in_(ids))
    )
    return {row.id: MadeFor(invoice_id=row.id, invoice_number=str(row.number), stands=row.state in LIVE_STATES) for row in rows}


async def _allocations(
    session: AsyncSession, organization_id: UUID, ids: Sequence[UUID], *, taken_back: bool = False
) -> dict[UUID, list[AllocationShown]]:
    """What payments settle now; with `taken_back` what they settled once and do no more."""
    amount = -func.sum(PaymentAllocation.amount_minor) if taken_back else func.sum(PaymentAllocation.amount_minor)
    query = (
        select(PaymentAllocation.payment_id, Invoice.id, Invoice.number, Invoice.currency, Contract.id, Contract.title, amount)
        .join(Invoice, (Invoice.organization_id == PaymentAllocation.organization_id) & (Invoice.id == PaymentAllocation.invoice_id))
        .join(Contract, (Contract.organization_id == Invoice.organization_id) & (Contract.id == Invoice.contract_id))
        .where(PaymentAllocation.organization_id == organization_id, PaymentAllocation.payment_id.in_(ids))
        .where(PaymentAllocation.amount_minor < 0 if taken_back else true())
        .group_by(PaymentAllocation.payment_id, Invoice.id, Invoice.number, Invoice.currency, Contract.id, Contract.title)
        .having(amount != 0)
        .order_by(Invoice.number)
    )
    found: dict[UUID, list[AllocationShown]] = defaultdict(list)
    for payment_id, invoice_id, number, currency, contract_id, title, minor in await session.execute(query):
        shown = AllocationShown(
            invoice_id=invoice_id,
            invoice_number=str(number),
            contract_id=contract_id,
            contract_title=title,
            amount=Money(int(minor), currency),
        )
        found[payment_id].append(shown)
    return found


async def settled_by(session: AsyncSession, organization_id: UUID, payment_id: UUID) -> list[tuple[UUID, UUID, int]]:
    """Contract, invoice and minor units that a payment settles now, in the order in which contracts are locked."""
    amount = func.sum(PaymentAllocation.amount_minor)
    rows = await session.execute(
        select(Invoice.contract_id, Invoice.id, amount)
        .join(
            PaymentAllocation, (PaymentAllocation.organization_id == Invoice.organization_id) & (PaymentAllocation.invoice_id == Invoice.id)
        )
        .where(PaymentAllocation.organization_id == organization_id, PaymentAllocation.payment_id == payment_id)
        .group_by(Invoice.contract_id, Invoice.id)
        .having(amount != 0)
        .order_by(Invoice.contract_id, Invoice.id)
    )
    return [(contract_id, invoice_id, int(minor)) for contract_id, invoice_id, minor in rows]


async def payment_for_update(session: AsyncSession, organization_id: UUID, payment_id: UUID) -> Payment | None:
    """A payment, locked after its contracts and invoices."""
    found = await session.execute(
        select(Payment)
        .where(Payment.organization_id == organization_id, Payment.id == payment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found.scalar_one_or_none()


async def client_names(session: AsyncSession, organization_id: UUID, ids: set[UUID]) -> dict[UUID, str]:
    """Names of clients by id."""
    rows = await session.execute(select(Client.id, Client.legal_name).where(Client.organization_id == organization_id, Client.id.in_(ids)))
    return {row.id: row.legal_name for row in rows}


async def clients(session: AsyncSession, organization_id: UUID) -> list[Client]:
    """Every client, by name."""
    rows = await session.execute(select(Client).where(Client.organization_id == organization_id).order_by(Client.legal_name, Client.id))
    return list(rows.scalars())


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenShown:
    """An invoice that a payment could settle."""

    id: UUID
    number: str
    contract_title: str
    due_on: date
    open: Money


async def open_of_client(session: AsyncSession, organization_id: UUID, client_id: UUID) -> list[OpenShown]:
    """What a client owes, oldest due first."""
    rows = await session.execute(
        select(Invoice, Contract.title)
        .join(Contract, (Contract.organization_id == Invoice.organization_id) & (Contract.id == Invoice.contract_id))
        .where(Invoice.organization_id == organization_id, Invoice.client_id == client_id, Invoice.state.in_(OPEN_STATES))
        .order_by(Invoice.due_on, Invoice.issued_on, Invoice.number)
    )
    return [
        OpenShown(
            id=row.id,
            number=str(row.number),
            contract_title=title,
            due_on=row.due_on or row.created_at.date(),
            open=Money(row.payable_minor - row.paid_minor - row.credited_minor - row.written_off_minor, row.currency),
        )
        for row, title in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedShown:
    """An invoice whose hand-over somebody has to look at."""

    invoice_id: UUID
    number: str
    step: str
    problem: Message
    code: str | None
    client_name: str


async def stopped(session: AsyncSession, organization_id: UUID, limit: int = 50) -> list[StoppedShown]:
    """Hand-overs that stopped or wait with a problem, newest first."""
    rows = await session.execute(
        select(Invoice)
        .where(
            Invoice.organization_id == organization_id,
            Invoice.stripe_problem.is_not(None),
        )
        .order_by(Invoice.created_at.desc(), Invoice.id.desc())
        .limit(limit)
    )
    found = list(rows.scalars())
    names = await client_names(session, organization_id, {row.client_id for row in found})
    return [
        StoppedShown(
            invoice_id=row.id,
            number=str(row.number),
            step=row.stripe_step,
            problem=problem,
            code=row.stripe_problem_code,
            client_name=names[row.client_id],
        )
        for row in found
        if (problem := problem_of(row)) is not None
    ]
