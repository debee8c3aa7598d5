"""What billing's mails say: composed when they are sent, with names and fresh tokens that no row keeps (R10, R23)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock, i18n
from tollgate.billing import queries
from tollgate.billing.models import CreditNote, Invoice, InvoiceLink
from tollgate.contracts.models import Contract
from tollgate.db.types import uuid7
from tollgate.documents import service as documents
from tollgate.mail.composing import Accepted, AttachmentRef, Composed, Composer
from tollgate.mail.models import MailMessage
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Contact, Organization
from tollgate.settings import Settings
from tollgate.signoff import tokens

LINK_LIFE = timedelta(days=180)
"""How long a client's way to an invoice's page works; a mail about it later makes a new one."""
PDF = "application/pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Addressed:
    """A mail's receiver with the parties round it."""

    organization: Organization
    client: Client
    contract: Contract
    contact: Contact


def composers(settings: Settings) -> dict[str, Composer]:
    """By template. Each answers None when the mail is no longer wanted."""

    async def invoice(session: AsyncSession, row: MailMessage) -> Composed | None:
        return await _with_link(session, row, settings, attach=True)

    async def invoice_link(session: AsyncSession, row: MailMessage) -> Composed | None:
        return await _with_link(session, row, settings, attach=False)

    async def receipt(session: AsyncSession, row: MailMessage) -> Composed | None:
        return await _with_link(session, row, settings, attach=False)

    return {
        "billing/invoice": invoice,
        "billing/invoice_link": invoice_link,
        "billing/receipt": receipt,
        "billing/credit_note": compose_credit_note,
    }


async def mark_sent(session: AsyncSession, row: MailMessage) -> None:
    """The mail server took an invoice's first mail: from now on it is sent, and no longer void-able."""
    found = await session.execute(
        select(Invoice)
        .where(Invoice.organization_id == row.organization_id, Invoice.id == UUID(str(row.arguments["invoice_id"])))
        .with_for_update()
    )
    invoice = found.scalar_one_or_none()
    if invoice is None or invoice.sent_at is not None:
        return
    invoice.sent_at = clock.now()
    invoice.version += 1
    audit.record(
        session, "invoice.sent", ("invoice", invoice.id), contract_id=invoice.contract_id, number=str(invoice.number), mail_id=row.id
    )


async def mark_credit_note_sent(session: AsyncSession, row: MailMessage) -> None:
    """The mail server took a credit note's first mail."""
    note = await session.get_one(CreditNote, (row.organization_id, UUID(str(row.arguments["credit_note_id"]))), with_for_update=True)
    if note.sent_at is None:
        note.sent_at = clock.now()


accepted: dict[str, Accepted] = {"billing/invoice": mark_sent, "billing/credit_note": mark_credit_note_sent}
"""What happens once the mail server took a mail, by template."""


async def _with_link(session: AsyncSession, row: MailMessage, settings: Settings, *, attach: bool) -> Composed | None:
    organization_id = row.organization_id
    invoice = await session.get(Invoice, (organization_id, UUID(str(row.arguments["invoice_id"]))))
    if invoice is None or invoice.state not in queries.LIVE_STATES:
        return None
    to = await _addressed(session, row, invoice.contract_id)
    if to is None:
        return None
    document = await documents.info(session, organization_id, "invoice", invoice.id)
    if document is None or document.pdf_sha256_hex is None:
        return None
    context = _context(to) | {
        "number": invoice.number,
        "payable": Money(invoice.payable_minor, invoice.currency),
        "open": queries.open_of(invoice),
        "paid": Money(invoice.paid_minor, invoice.currency),
        "due_on": invoice.due_on,
        "link": await _fresh_link(session, settings, invoice, to.contact),
    }
    attached = (AttachmentRef(document.file_name, PDF, document.pdf_sha256_hex),) if attach else ()
    return Composed(to.contact.name, to.contact.email, _locale(to), context, attached)


async def compose_credit_note(session: AsyncSession, row: MailMessage) -> Composed | None:
    """The credit note as a PDF, and what it means for the client."""
    organization_id = row.organization_id
    note = await session.get_one(CreditNote, (organization_id, UUID(str(row.arguments["credit_note_id"]))))
    to = await _addressed(session, row, note.contract_id)
    document = await documents.info(session, organization_id, "credit_note", note.id)
    if to is None or document is None or document.pdf_sha256_hex is None:
        return None
    invoice = await session.get_one(Invoice, (organization_id, note.invoice_id))
    context = _context(to) | {
        "number": note.number,
        "invoice_number": invoice.number,
        "credited": Money(note.payable_minor, note.currency),
        "kept": Money(note.from_paid_minor, note.currency),
        "reason": note.reason,
    }
    attached = (AttachmentRef(document.file_name, PDF, document.pdf_sha256_hex),)
    return Composed(to.contact.name, to.contact.email, _locale(to), context, attached)


async def _addressed(session: AsyncSession, row: MailMessage, contract_id: UUID) -> _Addressed | None:
    organization_id = row.organization_id
    contact = await session.get(Contact, (organization_id, row.contact_id)) if row.contact_id else None
    if contact is None or contact.removed_at is not None:
        return None
    contract = await session.get_one(Contract, (organization_id, contract_id))
    return _Addressed(
        organization=await queries.organization(session, organization_id),
        client=await queries.client(session, organization_id, contract.client_id),
        contract=contract,
        contact=contact,
    )


def _context(to: _Addressed) -> dict[str, Any]:
    return {
        "seller": to.organization.legal_name,
        "reply_to": to.organization.email,
        "client": to.client.legal_name,
        "contract": to.contract.title,
    }


def _locale(to: _Addressed) -> str:
    return i18n.choose(to.contact.locale, to.client.locale, to.organization.locale)


async def _fresh_link(session: AsyncSession, settings: Settings, invoice: Invoice, contact: Contact) -> str:
    """The address of the invoice's page for this contact, with a token minted now: only its hash stays here (R10)."""
    link_id, expires_at = await _link(session, invoice, contact)
    token = await tokens.mint(
        session,
        settings.secret_key,
        organization_id=invoice.organization_id,
        invoice_link_id=link_id,
        sent_by="mail",
        expires_at=expires_at,
    )
    return f"{settings.base_url}/i/{token}"


async def _link(session: AsyncSession, invoice: Invoice, contact: Contact) -> tuple[UUID, datetime]:
    mine = (
        InvoiceLink.organization_id == invoice.organization_id,
        InvoiceLink.invoice_id == invoice.id,
        InvoiceLink.contact_id == contact.id,
        InvoiceLink.revoked_at.is_(None),
    )
    now = clock.now()
    fresh = {
        "organization_id": invoice.organization_id,
        "id": uuid7(),
        "invoice_id": invoice.id,
        "contact_id": contact.id,
        "created_at": now,
        "expires_at": now + LINK_LIFE,
    }
    await session.execute(insert(InvoiceLink).values(fresh).on_conflict_do_nothing())
    link = (await session.execute(select(InvoiceLink).where(*mine).with_for_update())).scalar_one()
    if link.expires_at < now + LINK_LIFE / 2:
        link.expires_at = now + LINK_LIFE
        await session.flush()
    return link.id, link.expires_at
