"""Take an issued invoice back: void where nobody has seen it, a correction credit note otherwise (R12)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock, i18n
from tollgate.billing import queries, settlement, snapshot
from tollgate.billing.models import CreditNote, CreditNoteLine, CreditNoteTax, Invoice, InvoiceLine
from tollgate.billing.news import InvoiceClosed
from tollgate.billing.numbers import take_number
from tollgate.billing.queries import Locked
from tollgate.billing.rules import CreditTotals, InvoiceState, Takes, VoidFacts, check_void, correction, takes
from tollgate.billing.service_issue import amounts_of
from tollgate.db.command import Command
from tollgate.db.database import Database, answer, command_of
from tollgate.db.types import uuid7
from tollgate.documents import service as documents
from tollgate.documents.printable import require_printable
from tollgate.errors import Conflict, _, invalid
from tollgate.jobs import enqueue
from tollgate.ledger import rules as ledger_rules
from tollgate.ledger import service as ledger
from tollgate.money.amount import Money
from tollgate.settings import Settings

REASON_MOST = 500


class NotCreditable(Conflict):
    """Only an issued invoice that is neither void nor credited can be credited."""

    slug = "not-creditable"
    title = _("This invoice cannot be credited")


def required_reason(reason: str) -> str:
    """The reason, trimmed. Raises `Invalid` at `/reason`: the other side must learn why."""
    found = reason.strip()
    if not found:
        raise invalid("/reason", _("give a reason"))
    if len(found) > REASON_MOST:
        raise invalid("/reason", _("Use at most %(most)s characters", most=REASON_MOST))
    return found


async def void_invoice(db: Database, command: Command, invoice_id: UUID, reason: str) -> UUID:
    """Make an unsent, unpaid, uncredited invoice void: it keeps its number, its milestones are approved again, billing held.

    Raises `VoidRefused` with every reason against it.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        locked = await queries.lock_invoice(session, organization_id, invoice_id)
        invoice = locked.invoice
        given = required_reason(reason)
        credited = bool(await queries.credit_notes_of(session, organization_id, [invoice_id]))
        paid = Money(invoice.paid_minor, invoice.currency)
        check_void(VoidFacts(state=InvoiceState(invoice.state), sent=invoice.sent_at is not None, paid=paid, credited=credited))
        invoice.state, invoice.voided_at, invoice.void_reason = InvoiceState.VOID.value, clock.now(), given
        invoice.version += 1
        await session.flush()
        await _end_lines(session, invoice)
        seller = await queries.organization(session, organization_id)
        await ledger.post(
            session,
            organization_id=organization_id,
            event="invoice_voided",
            source=f"invoice_voided:{invoice.id}",
            booked_on=_not_before(invoice, clock.today(seller.time_zone)),
            subject=("invoice", invoice.id),
            contract_id=invoice.contract_id,
            client_id=invoice.client_id,
            invoice_id=invoice.id,
            postings=ledger_rules.voided(amounts_of(invoice)),
        )
        audit.record(session, "invoice.voided", ("invoice", invoice.id), contract_id=invoice.contract_id, number=str(invoice.number))
        await settlement.release(session, locked)
        await enqueue(session, InvoiceClosed(organization_id=organization_id, invoice_id=invoice.id, because="void"))
        return answer(session, invoice.id, 200)


async def credit_invoice(
    db: Database, command: Command, invoice_id: UUID, *, kind: str, reason: str, settings: Settings, partial: bool = False
) -> UUID:
    """Write a credit note over the whole invoice; answers the credit note's id.

    It takes from what is open, then retained, then paid; what was paid becomes client credit. The milestones are approved
    again and billing is held until finance invoices anew.
    """
    organization_id = command.organization_id
    async with db.transaction(organization_id, command) as session:
        locked = await queries.lock_invoice(session, organization_id, invoice_id)
        if kind != "correction":
            raise invalid("/kind", _("“%(kind)s” is not available in this version; “correction” is", kind=kind[:40]))
        if partial:
            raise invalid("/lines", _("a correction takes every line back in full; leave the lines out"))
        given = required_reason(reason)
        require_printable("/reason", given)  # It stands on the credit note.
        _require_creditable(locked.invoice)
        invoice = locked.invoice
        lines = await queries.lines_of(session, invoice)
        totals = correction(queries.totals_of(invoice, lines, await queries.groups_of(session, invoice)))
        taken = takes(
            totals.payable,
            open_=queries.open_of(invoice),
            retained=Money(invoice.retained_minor, invoice.currency),
            paid=Money(invoice.paid_minor, invoice.currency),
        )
        invoice.credited_minor += taken.from_open.minor
        invoice.state = InvoiceState.CREDITED.value
        invoice.version += 1
        await session.flush()
        await _end_lines(session, invoice)
        await settlement.release(session, locked)
        note = await _write_note(session, locked, totals, taken, given, lines, settings)
        audit.record(
            session,
            "invoice.credited",
            ("invoice", invoice.id),
            contract_id=invoice.contract_id,
            number=str(invoice.number),
            credit_note_id=note.id,
        )
        await enqueue(session, InvoiceClosed(organization_id=organization_id, invoice_id=invoice.id, because="credited"))
        return answer(session, note.id, 201)


def _require_creditable(invoice: Invoice) -> None:
    reasons = {
        "draft": _("a draft has no number yet; delete it instead"),
        "void": _("a void invoice has nothing to credit"),
        "credited": _("it is credited in full already"),
    }
    reason = reasons.get(invoice.state)
    if reason is not None:
        raise NotCreditable(reason, state=invoice.state)


async def _end_lines(session: AsyncSession, invoice: Invoice) -> None:
    await session.execute(
        update(InvoiceLine)
        .where(InvoiceLine.organization_id == invoice.organization_id, InvoiceLine.invoice_id == invoice.id)
        .values(live=False)
        .execution_options(synchronize_session=False)
    )


def _not_before(invoice: Invoice, today: date) -> date:
    # An invoice can be dated after today when the clock ran back; nothing that follows it may be booked before it.
    return max(today, invoice.issued_on or today)


async def _write_note(
    session: AsyncSession, locked: Locked, totals: CreditTotals, taken: Takes, reason: str, lines: list[InvoiceLine], settings: Settings
) -> CreditNote:
    invoice, contract = locked.invoice, locked.contract
    organization = await queries.organization(session, invoice.organization_id)
    client = await queries.client(session, invoice.organization_id, invoice.client_id)
    today = _not_before(invoice, clock.today(organization.time_zone))
    number = await take_number(session, invoice.organization_id, "credit_note", organization.credit_note_number_format, today)
    command = command_of(session)
    note = CreditNote(
        organization_id=invoice.organization_id,
        id=uuid7(),
        invoice_id=invoice.id,
        contract_id=invoice.contract_id,
        client_id=invoice.client_id,
        kind=totals.kind.value,
        number=number.text,
        series_key=number.series_key,
        series_seq=number.seq,
        issued_on=number.issued_on,
        currency=invoice.currency,
        net_minor=totals.net.minor,
        tax_minor=totals.tax.minor,
        gross_minor=totals.gross.minor,
        rounding_minor=totals.rounding.minor,
        payable_minor=totals.payable.minor,
        from_open_minor=taken.from_open.minor,
        from_retained_minor=taken.from_retained.minor,
        from_paid_minor=taken.from_paid.minor,
        reason=reason,
        created_by=command.actor_id if command else None,
        created_at=clock.now(),
    )
    session.add(note)
    await session.flush()
    credited = _lines(note, totals, lines)
    await session.execute(insert(CreditNoteLine).values([_line_values(line) for line, _of in credited]))
    await session.execute(insert(CreditNoteTax).values(_tax_rows(note, totals)))
    locale = snapshot.document_locale(client, organization)
    parties = snapshot.Parties(organization=organization, client=client, contract=contract)
    with i18n.use_locale(locale):
        view = snapshot.credit_note_view(parties, note, credited, totals.groups, invoice)
    document = await documents.freeze(
        session,
        organization_id=note.organization_id,
        kind="credit_note",
        subject_id=note.id,
        title=note.number,
        locale=locale,
        view=view,
        design=snapshot.design_of(organization, settings.base_url),
        retain_until=documents.retain_until(organization.country, note.issued_on),
    )
    await _book(session, note, totals, taken)
    audit.record(
        session,
        "credit_note.issued",
        ("credit_note", note.id),
        contract_id=contract.id,
        number=note.number,
        invoice_id=invoice.id,
        kind=note.kind,
        payable=totals.payable.decimal_string(),
        currency=note.currency,
        content_sha256=document.content_sha256,
    )
    return note


def _lines(note: CreditNote, totals: CreditTotals, lines: list[InvoiceLine]) -> list[tuple[CreditNoteLine, InvoiceLine]]:
    by_id = {str(line.id): line for line in lines}
    return [
        (
            CreditNoteLine(
                organization_id=note.organization_id,
                id=uuid7(),
                credit_note_id=note.id,
                invoice_line_id=by_id[line.key].id,
                position=position,
                title=by_id[line.key].title,
                net_minor=line.net.minor,
                tax_category=line.treatment.category.value,
                tax_rate_percent=line.treatment.rate_percent,
            ),
            by_id[line.key],
        )
        for position, line in enumerate(totals.lines, 1)
    ]


def _line_values(line: CreditNoteLine) -> dict[str, object]:
    return {column.key: getattr(line, column.key) for column in CreditNoteLine.__table__.columns}


def _tax_rows(note: CreditNote, totals: CreditTotals) -> list[dict[str, object]]:
    return [
        {
            "organization_id": note.organization_id,
            "credit_note_id": note.id,
            "category": group.treatment.category.value,
            "rate_percent": group.treatment.rate_percent,
            "base_minor": group.base.minor,
            "tax_minor": group.tax.minor,
        }
        for group in totals.groups
    ]


async def _book(session: AsyncSession, note: CreditNote, totals: CreditTotals, taken: Takes) -> None:
    await ledger.post(
        session,
        organization_id=note.organization_id,
        event="invoice_corrected",
        source=f"credit_note:{note.id}",
        booked_on=note.issued_on,
        subject=("credit_note", note.id),
        contract_id=note.contract_id,
        client_id=note.client_id,
        invoice_id=note.invoice_id,
        postings=ledger_rules.corrected(
            net=totals.net,
            tax=totals.tax,
            rounding=totals.rounding,
            from_open=taken.from_open,
            from_retained=taken.from_retained,
            from_paid=taken.from_paid,
        ),
    )
