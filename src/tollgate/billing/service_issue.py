"""From an approved milestone to a numbered invoice: draft, check, number, freeze, book (R2, R3, R11, R12, R18)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock, i18n
from tollgate.billing import queries, settlement, snapshot
from tollgate.billing.models import BillingBlock, Invoice, InvoiceLine, InvoiceTax
from tollgate.billing.news import InvoiceIssued
from tollgate.billing.numbers import take_number
from tollgate.billing.queries import Locked
from tollgate.billing.rules import (
    DocumentTotals,
    InvoiceState,
    LineInput,
    PaymentTerms,
    PriceBasis,
    TaxGroup,
    TermsFrom,
    draft_invoice,
    due_day,
)
from tollgate.contracts import service_moves as contracts
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import Event, MilestoneFacts, Party, PartyFacts, Role, State, TaxCategory, TaxTreatment, tax_problems
from tollgate.contracts.service_printing import party_printing_problems
from tollgate.db.database import command_of
from tollgate.db.types import uuid7
from tollgate.documents import service as documents
from tollgate.errors import Conflict, FieldError, Invalid, _
from tollgate.jobs import enqueue
from tollgate.ledger import rules as ledger_rules
from tollgate.ledger import service as ledger
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Organization
from tollgate.settings import Settings
from tollgate.signoff.models import ReviewRound


class AlreadyInvoiced(Conflict):
    """Somebody was quicker: a live invoice bills this milestone. The facts say which, since when, and by whom."""

    slug = "already-invoiced"
    title = _("This milestone is invoiced already")


class NotIssuable(Invalid):
    """Data that the tax treatment needs is missing; `errors` names each field (R18)."""

    slug = "invoice-not-issuable"
    title = _("This invoice cannot be issued yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An approved milestone, locked, with what was signed."""

    organization: Organization
    client: Client
    contract: Contract
    milestone: Milestone
    round: ReviewRound


async def lock_approved(session: AsyncSession, organization_id: UUID, milestone_id: UUID) -> Approved | None:
    """Contract and milestone, locked; None unless the milestone is approved. Raises `NotFound`."""
    contract, milestone = await contracts.lock_milestone(session, organization_id, milestone_id)
    if milestone.state != State.APPROVED or milestone.round_id is None:
        return None
    return Approved(
        organization=await queries.organization(session, organization_id),
        client=await queries.client(session, organization_id, contract.client_id),
        contract=contract,
        milestone=milestone,
        round=await session.get_one(ReviewRound, (organization_id, milestone.round_id)),
    )


def treatment_of(contract: Contract, milestone: Milestone) -> TaxTreatment:
    """The milestone's own tax treatment, else the contract's."""
    if milestone.tax_category is not None and milestone.tax_rate_percent is not None:
        return TaxTreatment(TaxCategory(milestone.tax_category), milestone.tax_rate_percent)
    return TaxTreatment(TaxCategory(contract.tax_category), contract.tax_rate_percent)


def totals_for(amount: Money, treatment: TaxTreatment, price_basis: str, *, key: str = "line", description: str = "") -> DocumentTotals:
    """The sums of a document that bills one milestone: what previews show and what issuing writes."""
    line = LineInput(key=key, amount=amount, tax=treatment, description=description)
    return draft_invoice([line], PriceBasis(price_basis), amount.currency)


def party_facts(party: Organization | Client) -> PartyFacts:
    """What the tax check reads of a seller or buyer."""
    return PartyFacts(
        legal_name=party.legal_name,
        line1=party.line1,
        city=party.city,
        country=party.country,
        tax_id=party.tax_id,
        registration_number=getattr(party, "registration_number", ""),
    )


def missing(seller: Organization, buyer: Client, treatments: list[TaxTreatment]) -> list[FieldError]:
    """Everything the tax check still misses, each once (R18), and names or addresses that the documents cannot print (R12)."""
    found = party_printing_problems(seller, buyer)
    for treatment in dict.fromkeys(treatments):
        found += [problem for problem in tax_problems(treatment, "/tax", party_facts(seller), party_facts(buyer)) if problem not in found]
    return found


async def draft(session: AsyncSession, approved: Approved) -> Invoice:
    """A draft that bills the approved milestone as it was signed: amount and content hash are the round's."""
    contract, milestone = approved.contract, approved.milestone
    line_id, invoice_id = uuid7(), uuid7()
    command = command_of(session)
    treatment = treatment_of(contract, milestone)
    signed = Money(approved.round.amount_minor, contract.currency)
    totals = totals_for(signed, treatment, contract.price_basis, key=str(line_id), description=milestone.title)
    approved_on = clock.day_of(milestone.approved_at or clock.now(), approved.organization.time_zone)
    invoice = Invoice(
        organization_id=contract.organization_id,
        id=invoice_id,
        kind="milestone",
        state="draft",
        contract_id=contract.id,
        client_id=contract.client_id,
        supplied_on=approved_on,
        currency=contract.currency,
        price_basis=contract.price_basis,
        net_minor=totals.net.minor,
        tax_minor=totals.tax.minor,
        gross_minor=totals.gross.minor,
        prepaid_minor=totals.prepaid.minor,
        rounding_minor=totals.rounding.minor,
        amount_due_minor=totals.amount_due.minor,
        retained_minor=totals.retained.minor,
        payable_minor=totals.payable.minor,
        paid_minor=0,
        credited_minor=0,
        written_off_minor=0,
        created_by=command.actor_id if command else None,
        created_at=clock.now(),
        stripe_step="none",
        version=1,
    )
    session.add(invoice)
    await session.flush()
    with i18n.use_locale(snapshot.document_locale(approved.client, approved.organization)):
        description = snapshot.line_description(milestone.description, approved_on, approved.round.number)
    await session.execute(insert(InvoiceLine).values(_line_row(approved, invoice, line_id, totals, description)))
    await session.execute(insert(InvoiceTax).values(_tax_rows(invoice, totals)))
    audit.record(
        session,
        "invoice.drafted",
        ("invoice", invoice.id),
        contract_id=contract.id,
        milestone_ids=[milestone.id],
        amount=totals.payable.decimal_string(),
        currency=contract.currency,
    )
    return invoice


def _line_row(approved: Approved, invoice: Invoice, line_id: UUID, totals: DocumentTotals, description: str) -> dict[str, object]:
    line = totals.lines[0]
    return {
        "organization_id": invoice.organization_id,
        "id": line_id,
        "invoice_id": invoice.id,
        "position": 1,
        "milestone_id": approved.milestone.id,
        "round_id": approved.round.id,
        "round_sha256": approved.round.content_sha256,
        "title": approved.milestone.title,
        "description": description,
        "quantity": line.quantity,
        "unit_price_minor": line.unit_price.minor,
        "net_minor": line.net.minor,
        "tax_category": line.treatment.category.value,
        "tax_rate_percent": line.treatment.rate_percent,
        "live": True,
    }


def _tax_rows(invoice: Invoice, totals: DocumentTotals) -> list[dict[str, object]]:
    return [
        {
            "organization_id": invoice.organization_id,
            "invoice_id": invoice.id,
            "category": group.treatment.category.value,
            "rate_percent": group.treatment.rate_percent,
            "base_minor": group.base.minor,
            "tax_minor": group.tax.minor,
        }
        for group in totals.groups
    ]


async def issue(session: AsyncSession, locked: Locked, settings: Settings, *, who: Role | Party) -> None:
    """Give a locked draft its number and make it final. Raises `NotIssuable` or `TransitionRefused`; nothing is kept then.

    The number's row is locked last of all, so that issuers queue for a moment only and a failure before it takes no number.
    """
    invoice, contract = locked.invoice, locked.contract
    organization = await queries.organization(session, invoice.organization_id)
    client = await queries.client(session, invoice.organization_id, invoice.client_id)
    lines = await queries.lines_of(session, invoice)
    groups = await queries.groups_of(session, invoice)
    problems = missing(organization, client, [group.treatment for group in groups])
    if problems:
        raise NotIssuable(problems[0].detail if len(problems) == 1 else None, errors=problems)
    for milestone in locked.milestones:
        facts = MilestoneFacts(invoice_issued=True, automatic=who is Party.SYSTEM, billing_held=milestone.billing_held)
        await contracts.move(session, contract, milestone, Event.INVOICE, facts, who=who, invoice_id=invoice.id)
    number = await take_number(
        session, invoice.organization_id, "invoice", organization.invoice_number_format, clock.today(organization.time_zone)
    )
    invoice.number, invoice.series_key, invoice.series_seq = number.text, number.series_key, number.seq
    invoice.issued_on, invoice.issued_at = number.issued_on, clock.now()
    invoice.due_on = due_day(number.issued_on, PaymentTerms(contract.payment_days, TermsFrom(contract.payment_from)))
    invoice.state = InvoiceState.ISSUED.value
    invoice.version += 1
    await session.flush()
    parties = snapshot.Parties(organization=organization, client=client, contract=contract)
    document = await _freeze(session, invoice, lines, parties, groups, settings)
    await _book(session, invoice, "invoice_issued", ledger_rules.issued(amounts_of(invoice)))
    audit.record(
        session,
        "invoice.issued",
        ("invoice", invoice.id),
        contract_id=contract.id,
        number=number.text,
        payable=Money(invoice.payable_minor, invoice.currency).decimal_string(),
        currency=invoice.currency,
        milestone_ids=[milestone.id for milestone in locked.milestones],
        content_sha256=document.content_sha256,
    )
    await enqueue(session, InvoiceIssued(organization_id=invoice.organization_id, invoice_id=invoice.id))
    for milestone in locked.milestones:
        await unblock(session, contract, milestone)
    if invoice.payable_minor == 0:
        await settlement.settle(session, invoice)


def amounts_of(invoice: Invoice) -> ledger_rules.DocumentAmounts:
    """The invoice's sums as the journal takes them."""
    currency = invoice.currency
    return ledger_rules.DocumentAmounts(
        net=Money(invoice.net_minor, currency),
        tax=Money(invoice.tax_minor, currency),
        rounding=Money(invoice.rounding_minor, currency),
        retained=Money(invoice.retained_minor, currency),
        payable=Money(invoice.payable_minor, currency),
    )


async def _book(session: AsyncSession, invoice: Invoice, event: str, postings: ledger_rules.Postings) -> None:
    if invoice.issued_on is None:
        raise ValueError("a draft is not booked")
    await ledger.post(
        session,
        organization_id=invoice.organization_id,
        event=event,
        source=f"{event}:{invoice.id}",
        booked_on=invoice.issued_on,
        subject=("invoice", invoice.id),
        contract_id=invoice.contract_id,
        client_id=invoice.client_id,
        invoice_id=invoice.id,
        postings=postings,
    )


async def _freeze(
    session: AsyncSession,
    invoice: Invoice,
    lines: list[InvoiceLine],
    parties: snapshot.Parties,
    groups: tuple[TaxGroup, ...],
    settings: Settings,
) -> documents.DocumentInfo:
    locale = snapshot.document_locale(parties.client, parties.organization)
    with i18n.use_locale(locale):
        view = snapshot.invoice_view(parties, invoice, lines, groups, base_url=settings.base_url)
    return await documents.freeze(
        session,
        organization_id=invoice.organization_id,
        kind="invoice",
        subject_id=invoice.id,
        title=str(invoice.number),
        locale=locale,
        view=view,
        design=snapshot.design_of(parties.organization, settings.base_url),
        retain_until=documents.retain_until(parties.organization.country, invoice.issued_on or clock.today(parties.organization.time_zone)),
    )


async def bill_approved(
    session: AsyncSession, organization_id: UUID, milestone_id: UUID, settings: Settings, *, round_id: UUID | None = None
) -> UUID | None:
    """What an approval sets off: an issued invoice, a draft for review, or a visible block. Answers the invoice's id, if any.

    Safe to repeat: a milestone whose newest round is billed, that was reopened, or approved in another round is left alone.
    """
    approved = await lock_approved(session, organization_id, milestone_id)
    if approved is None or (round_id is not None and approved.milestone.round_id != round_id):
        return None
    if await queries.live_invoice(session, approved.milestone) is not None:
        return None
    contract, milestone = approved.contract, approved.milestone
    if contract.invoicing_on_approval != "issue" or milestone.billing_held:
        return (await draft(session, approved)).id
    if problems := await _lasting_problems(session, approved):
        await block(session, approved, problems)
        return None
    invoice = await draft(session, approved)
    await issue(session, Locked(contract=contract, milestones=[milestone], invoice=invoice), settings, who=Party.SYSTEM)
    return invoice.id


async def _lasting_problems(session: AsyncSession, approved: Approved) -> list[FieldError]:
    wanted = [treatment_of(approved.contract, approved.milestone)]
    if not missing(approved.organization, approved.client, wanted):
        return []
    # Read again under a lock: whoever saves the missing field at this moment must find the block, or be found by it.
    for party in (approved.organization, approved.client):
        await session.refresh(party, with_for_update={"read": True})
    return missing(approved.organization, approved.client, wanted)


async def block(session: AsyncSession, approved: Approved, problems: list[FieldError]) -> None:
    """Show under "Needs me" why the invoice waits; saving the missing field issues it (R18)."""
    reason = "; ".join(str(problem.detail) for problem in problems)[:300]
    row = {
        "organization_id": approved.contract.organization_id,
        "milestone_id": approved.milestone.id,
        "reason": reason,
        "pointer": problems[0].pointer,
        "created_at": clock.now(),
    }
    made = upsert(BillingBlock).values(row)
    kept = made.on_conflict_do_update(
        index_elements=["organization_id", "milestone_id"],
        set_={name: row[name] for name in ("reason", "pointer")},
        where=BillingBlock.reason != reason,
    )
    changed = await session.execute(kept.returning(BillingBlock.milestone_id))
    if changed.scalar_one_or_none() is not None:
        audit.record(session, "billing.blocked", ("milestone", approved.milestone.id), contract_id=approved.contract.id, reason=reason)


async def unblock(session: AsyncSession, contract: Contract, milestone: Milestone) -> None:
    """Take the block away, if there is one."""
    gone = await session.execute(
        delete(BillingBlock)
        .where(BillingBlock.organization_id == milestone.organization_id, BillingBlock.milestone_id == milestone.id)
        .returning(BillingBlock.milestone_id)
        .execution_options(synchronize_session=False)
    )
    if gone.scalar_one_or_none() is not None:
        audit.record(session, "billing.unblocked", ("milestone", milestone.id), contract_id=contract.id)
