"""Take the steps of `steps.py`: plan and freeze (tx) → call → record (tx), one step at a time.

A step's key and body are committed before its call. When the answer is lost, the next attempt sends the same body under the
same key; after 23 hours, when the gateway is about to forget the key, it looks up what the call made before it calls again. After a
restore every step looks first: calls may have been made of which the backup knows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock, i18n
from tollgate.billing import queries as billing
from tollgate.billing.models import Invoice
from tollgate.billing.settlement import lock_invoice, record_gateway
from tollgate.billing.snapshot import document_locale
from tollgate.billing.stripe_problems import StripeProblem
from tollgate.contracts.models import Contract
from tollgate.db.types import uuid7
from tollgate.errors import Message, _
from tollgate.i18n import use_locale
from tollgate.jobs import outbox
from tollgate.jobs.worker import Run
from tollgate.money.amount import Money
from tollgate.money.rates import percent_text
from tollgate.parties.models import Client, Organization
from tollgate.payments import problems, queries, queries_returns
from tollgate.payments.accounts import Connected, Gateways
from tollgate.payments.gateway import (
    AddLine,
    AskLess,
    EnsureCustomer,
    Finalize,
    Gateway,
    GatewayBusy,
    GatewayRefused,
    KeyRefused,
    MarkPaidElsewhere,
    OpenDraft,
    Order,
    SeenInvoice,
    Send,
    Withdraw,
    end_of,
)
from tollgate.payments.models import GatewayCustomer, GatewayStep
from tollgate.payments.rules import ExpectedInvoice, is_chargeable, provider_minor
from tollgate.payments.steps import (
    ASK_LESS,
    TO_COMPOSE,
    GroupAmounts,
    LineAmount,
    StepName,
    StepState,
    Wanted,
    closed_by,
    lines_for,
    next_step,
    position_of,
)

LOOK_UP_AFTER = timedelta(hours=23)
"""Stripe keeps idempotency keys for at least a day."""
LOOK_UP_SINCE_RESTORE = timedelta(days=30)
"""How long after a restore every step is looked up: also what is billed again only later may be there already."""
NO_REQUEST = ""
"""Body of a step that only reads (compare), or that the organization does not want (send)."""
_SHOWN = {
    StepName.CUSTOMER: "customer",
    StepName.DRAFT: "draft",
    StepName.COMPARE: "compared",
    StepName.FINALIZE: "finalized",
    StepName.SEND: "sent",
}
_WITHDRAWN = {Wanted.CLOSED: "voided", Wanted.TOO_LITTLE: "below_minimum"}
_ON_INVOICE: dict[StepName, type[Finalize | Send | Withdraw | MarkPaidElsewhere]] = {
    StepName.FINALIZE: Finalize,
    StepName.SEND: Send,
    StepName.WITHDRAW: Withdraw,
    StepName.MARK_PAID: MarkPaidElsewhere,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One planned step, ready to be called."""

    invoice_id: UUID
    client_id: UUID
    step_id: UUID
    name: str
    key: str
    frozen: str
    first_called_at: datetime
    expected: ExpectedInvoice
    provider_invoice_id: str | None
    shown: str | None
    """What the invoice shows as its step once this one is done."""

    restored: outbox.Hold | None
    """The restore that this database comes from, if any."""

    @property
    def look_up_since(self) -> datetime | None:
        """From when on to look for what an earlier call made; None when this key alone makes the call happen once."""
        now, since = clock.now(), self.first_called_at
        if self.restored is not None and now - self.restored.held_at < LOOK_UP_SINCE_RESTORE:
            return min(since, self.restored.backup_made_at) - timedelta(hours=1)
        return since - timedelta(hours=1) if now - since > LOOK_UP_AFTER else None


async def advance(run: Run, gateways: Gateways, invoice_id: UUID) -> None:
    """Take every step that is left. Raises `GatewayBusy` to be called again; a refusal stops visibly and ends the job."""
    connected = await gateways.of(run.organization_id)
    if connected is None:
        return
    gateway = gateways.open(connected)
    while True:
        work = await _plan(run, gateway, connected, invoice_id)
        if work is None:
            return
        try:
            object_id, seen = await _call(gateway, work)
        except GatewayRefused as refusal:
            await _refuse(run, work, StripeProblem("refused", {"answer": str(refusal)}))
            return
        except GatewayBusy as busy:
            await _note(run, work, busy)
            raise
        problem = problems.mismatch(work.expected, seen) if seen is not None else None
        if problem is not None:
            await _refuse(run, work, problem, object_id)
            return
        await _record(run, connected, work, object_id, seen)


async def _call(gateway: Gateway, work: Work) -> tuple[str, SeenInvoice | None]:
    """The id of the object, and the invoice where it has to be compared: before it is finalized, and as it was finalized."""
    if work.name == StepName.COMPARE:
        seen = await gateway.invoice(str(work.provider_invoice_id))
        return seen.id, seen
    if work.frozen == NO_REQUEST:
        return str(work.provider_invoice_id), None
    found = await gateway.find(work.frozen, work.look_up_since) if work.look_up_since is not None else None
    object_id = found or await gateway.carry_out(work.frozen, work.key)
    return object_id, await gateway.invoice(object_id) if work.name == StepName.FINALIZE else None


async def _plan(run: Run, gateway: Gateway, connected: Connected, invoice_id: UUID) -> Work | None:
    """Choose the next step under the invoice's lock, and store its key and body before anything is called."""
    async with run.step() as session:
        contract, _milestones, invoice = await lock_invoice(session, run.organization_id, invoice_id)
        taken = await queries.steps_of(session, run.organization_id, invoice_id)
        payable = Money(invoice.payable_minor, invoice.currency)
        if invoice.state == "draft" or await _needs_nothing(session, invoice, payable, taken):
            return None
        lines = await _lines(session, invoice)
        untold = await _untold(session, invoice, taken)
        states = {step.name: StepState(step.state) for step in taken.values()}
        name = next_step(wanted_of(invoice), len(lines), states, asks_too_much=untold.is_positive)
        if name is None:
            await _finish(session, invoice, taken)
            return None
        step = taken.get(name)
        if step is None:
            order = await _order(session, connected, contract, invoice, name, lines, taken, untold)
            step = GatewayStep(
                organization_id=run.organization_id,
                id=uuid7(),
                invoice_id=invoice_id,
                position=position_of(name, len(lines)),
                name=name,
                idempotency_key=f"tollgate:{invoice_id}:{name.replace(' ', '-')}:1",
                body=NO_REQUEST if order is None else gateway.freeze(order),
                amount_minor=untold.minor if isinstance(order, AskLess) else None,
                state=StepState.PLANNED.value,
                attempts=0,
                created_at=clock.now(),
            )
            session.add(step)
        elif step.body == TO_COMPOSE:
            # Somebody asked to try again: composed anew, under a key of its own.
            if name.startswith(ASK_LESS):
                untold = Money(step.amount_minor or 0, invoice.currency)
            order = await _order(session, connected, contract, invoice, name, lines, taken, untold)
            step.body = NO_REQUEST if order is None else gateway.freeze(order)
        step.attempts += 1
        step.first_called_at = step.first_called_at or clock.now()
        if invoice.stripe_step == "none":
            await record_gateway(session, invoice_id, step="waiting")
        await session.flush()
        return Work(
            invoice_id=invoice_id,
            client_id=invoice.client_id,
            step_id=step.id,
            name=name,
            key=step.idempotency_key,
            frozen=step.body,
            first_called_at=step.first_called_at,
            expected=ExpectedInvoice(invoice_id=invoice_id, number=str(invoice.number), payable=payable),
            provider_invoice_id=invoice.stripe_invoice_id,
            restored=await _restored(session, invoice, name),
            shown="lines" if name == f"line {len(lines)}" else _SHOWN.get(StepName(name)) if name in set(StepName) else None,
        )


async def _restored(session: AsyncSession, invoice: Invoice, name: str) -> outbox.Hold | None:
    """The restore after which this step may have been taken already. Mailing leaves no trace: only a new invoice is surely unsent."""
    found = await outbox.restored(session)
    return None if found is not None and name == StepName.SEND and invoice.created_at > found.held_at else found


async def _untold(session: AsyncSession, invoice: Invoice, taken: Mapping[str, GatewayStep]) -> Money:
    """What was settled elsewhere and is still asked for at the gateway; below zero when some of that was taken back since."""
    told = sum(step.amount_minor or 0 for step in taken.values() if step.name.startswith(ASK_LESS))
    return Money(await queries_returns.settled_elsewhere(session, invoice) - told, invoice.currency)


async def _needs_nothing(session: AsyncSession, invoice: Invoice, payable: Money, taken: Mapping[str, GatewayStep]) -> bool:
    """Whether there is nothing to hand over at all (R22); says so on the invoice."""
    if taken:
        return False
    wanted = wanted_of(invoice)
    if wanted is Wanted.PAYABLE and is_chargeable(payable):
        return False
    await record_gateway(session, invoice.id, step="below_minimum" if wanted in {Wanted.PAYABLE, Wanted.TOO_LITTLE} else "not_needed")
    return True


async def _finish(session: AsyncSession, invoice: Invoice, taken: Mapping[str, GatewayStep]) -> None:
    """Nothing is left to do: say how it ended where a step did not say it."""
    way_back = taken.get(StepName.WITHDRAW)
    wanted = wanted_of(invoice)
    if wanted is Wanted.CLOSED and way_back is None:
        await record_gateway(session, invoice.id, step="voided", problem="")
    closed = closed_by({step.name: StepState(step.state) for step in taken.values()})
    if wanted is Wanted.PAYABLE and closed is not None and invoice.stripe_problem_code != "went_back":
        await record_gateway(session, invoice.id, step="voided", problem=problems.closed(str(invoice.number), closed))


def wanted_of(invoice: Invoice) -> Wanted:
    """What an issued invoice wants of the gateway now."""
    if invoice.state in {"void", "credited"}:
        return Wanted.CLOSED
    if invoice.state == "paid":
        return Wanted.SETTLED
    return Wanted.PAYABLE if is_chargeable(billing.open_of(invoice)) else Wanted.TOO_LITTLE


async def _lines(session: AsyncSession, invoice: Invoice) -> tuple[LineAmount, ...]:
    rows = await billing.lines_of(session, invoice)
    groups = []
    for group in await billing.groups_of(session, invoice):
        treatment = (group.treatment.category.value, group.treatment.rate_percent)
        titles = dict.fromkeys(row.title for row in rows if (row.tax_category, row.tax_rate_percent) == treatment)
        title = ", ".join(titles) or str(invoice.number)
        groups.append(GroupAmounts(title=title, rate=f"{percent_text(group.treatment.rate_percent)} %", base=group.base, tax=group.tax))

    def money(minor: int) -> Money:
        return Money(minor, invoice.currency)

    return lines_for(
        str(invoice.number),
        groups,
        prepaid=money(invoice.prepaid_minor),
        rounding=money(invoice.rounding_minor),
        retained=money(invoice.retained_minor),
        payable=money(invoice.payable_minor),
    )


async def _order(
    session: AsyncSession,
    connected: Connected,
    contract: Contract,
    invoice: Invoice,
    name: str,
    lines: tuple[LineAmount, ...],
    taken: Mapping[str, GatewayStep],
    untold: Money,
) -> Order | None:
    """What a step asks of the gateway; None for the comparison, which only reads, and for mails that nobody wants."""
    if name == StepName.COMPARE:
        return None
    if name == StepName.SEND and not (await session.get_one(Organization, invoice.organization_id)).stripe_sends_mail:
        # The pay link is ready; our own mail carries it, so that nobody gets two documents.
        return None
    if name == StepName.CUSTOMER:
        return await _customer(session, connected, contract, invoice)
    if name == StepName.DRAFT:
        return await _draft(session, contract, invoice, str(taken[StepName.CUSTOMER].object_id))
    at = str(taken[StepName.DRAFT].object_id)
    if name.startswith("line "):
        number = int(name.removeprefix("line "))
        line = lines[number - 1]
        return AddLine(
            invoice_id=str(invoice.id),
            customer_id=str(taken[StepName.CUSTOMER].object_id),
            provider_invoice_id=at,
            position=number,
            description=await _in_their_words(session, invoice, line.label),
            amount=provider_minor(line.amount),
            currency=invoice.currency,
        )
    if name.startswith(ASK_LESS):
        memo = await _in_their_words(session, invoice, _("Paid by bank transfer"))
        return AskLess(provider_invoice_id=at, amount=provider_minor(untold), memo=memo, step=name)
    return _ON_INVOICE[StepName(name)](at)


async def _customer(session: AsyncSession, connected: Connected, contract: Contract, invoice: Invoice) -> EnsureCustomer:
    organization_id = invoice.organization_id
    seller = await session.get_one(Organization, organization_id)
    client = await session.get_one(Client, (organization_id, invoice.client_id))
    contacts = await billing.billing_contacts(session, organization_id, contract)
    return EnsureCustomer(
        client_id=str(client.id),
        organization_id=str(organization_id),
        name=client.legal_name,
        email=contacts[0].email if contacts else client.email,
        locale=document_locale(client, seller),
        address={
            "line1": client.line1,
            "line2": client.line2,
            "postal_code": client.postal_code,
            "city": client.city,
            "state": client.region,
            "country": client.country,
        },
        customer_id=await queries.customer_id(session, organization_id, client.id, connected.account_id),
    )


async def _draft(session: AsyncSession, contract: Contract, invoice: Invoice, customer_id: str) -> OpenDraft:
    seller = await session.get_one(Organization, invoice.organization_id)
    due_at = end_of(invoice.due_on, seller.time_zone) if invoice.due_on is not None else None
    return OpenDraft(
        organization_id=str(invoice.organization_id),
        invoice_id=str(invoice.id),
        customer_id=customer_id,
        number=str(invoice.number),
        currency=invoice.currency,
        description=contract.title,
        due_at=due_at if due_at is not None and due_at > clock.now() else None,
    )


async def _in_their_words(session: AsyncSession, invoice: Invoice, label: Message) -> str:
    seller = await session.get_one(Organization, invoice.organization_id)
    client = await session.get_one(Client, (invoice.organization_id, invoice.client_id))
    with use_locale(document_locale(client, seller)):
        return i18n.translate(label)


async def _record(run: Run, connected: Connected, work: Work, object_id: str, seen: SeenInvoice | None) -> None:
    """The step is done: its object, and what the invoice shows. Committed before the next step is planned."""
    async with run.step() as session:
        await _set(session, work, state=StepState.DONE.value, object_id=object_id, last_error=None, done_at=clock.now())
        if work.name == StepName.CUSTOMER:
            await _keep_customer(session, connected, work, object_id)
        shown = work.shown
        if work.name == StepName.WITHDRAW:
            _contract, _milestones, invoice = await lock_invoice(session, run.organization_id, work.invoice_id)
            shown = _WITHDRAWN.get(wanted_of(invoice), "not_needed")
        await record_gateway(
            session,
            work.invoice_id,
            stripe_invoice_id=object_id if work.name == StepName.DRAFT else None,
            hosted_url=seen.hosted_url if seen is not None else None,
            step=shown,
            problem="",
        )


async def _keep_customer(session: AsyncSession, connected: Connected, work: Work, object_id: str) -> None:
    row = {
        "organization_id": connected.organization_id,
        "client_id": work.client_id,
        "account_id": connected.account_id,
        "customer_id": object_id,
        "created_at": clock.now(),
    }
    kept = insert(GatewayCustomer).values(row)
    keys = ["organization_id", "client_id", "account_id"]
    await session.execute(kept.on_conflict_do_update(index_elements=keys, set_={"customer_id": object_id}))


async def _refuse(run: Run, work: Work, problem: StripeProblem, object_id: str | None = None) -> None:
    """The gateway said no, or its invoice is not ours: the hand-over stops and says why."""
    async with run.record() as session:
        changes = {"object_id": object_id} if object_id else {}
        await _set(session, work, state=StepState.REFUSED.value, last_error=problem.english, **changes)
        await record_gateway(session, work.invoice_id, step="stopped", problem=problem)


async def _note(run: Run, work: Work, busy: GatewayBusy) -> None:
    """What went wrong this time; shown on the invoice only where somebody has to do something about it."""
    async with run.step() as session:
        await _set(session, work, last_error=str(busy)[:500])
        if isinstance(busy, KeyRefused):
            await record_gateway(session, work.invoice_id, problem=StripeProblem("key_refused", {"answer": str(busy)}))


async def _set(session: AsyncSession, work: Work, **changes: object) -> None:
    organization_id = session.info["organization_id"]
    await session.execute(
        update(GatewayStep).where(GatewayStep.organization_id == organization_id, GatewayStep.id == work.step_id).values(**changes)
    )


__all__ = ["advance", "wanted_of"]
