"""What the client's pages show beyond a link's own round: the invoice that follows, how to pay it, newer deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import i18n
from tollgate.billing.models import Invoice, InvoiceLine, InvoiceLink
from tollgate.billing.rules import InvoiceState
from tollgate.billing.service_views import InvoiceShown, show_invoice
from tollgate.billing.snapshot import tax_label
from tollgate.errors import Message, NotFound, _
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Contact, Organization
from tollgate.payments.models import Payment, PaymentAllocation
from tollgate.payments.queries import UNDER_WAY
from tollgate.signoff.models import ApprovalLink, ReviewRound
from tollgate.signoff.service import LinkPage, VerifiedLink
from tollgate.signoff.service_page import PageDecision, PageDeliverable
from tollgate.web.rendering import Seller

PAYABLE_STATES = (InvoiceState.ISSUED, InvoiceState.PARTLY_PAID)
SOON = timedelta(minutes=10)
"""How long a page looks by itself for what follows in a moment: the invoice, its PDF, the Pay button."""
METHODS = {"stripe": _("Paid online"), "bank_transfer": _("Bank transfer")}


@dataclass(frozen=True, slots=True, kw_only=True)
class BankView:
    """Where to send a transfer, and what to write on it."""

    holder: str
    bank: str
    iban: str
    bic: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRow:
    """Money that arrived for an invoice."""

    received_on: date
    method: Message
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PayableInvoice:
    """An issued invoice as the client sees it."""

    shown: InvoiceShown
    pay_url: str | None
    """Stripe's hosted page, while something is open and Stripe is ready."""
    pay_pending: bool
    """Stripe is being told; the Pay button follows by itself."""
    bank: BankView | None
    payments: tuple[PaymentRow, ...]

    @property
    def taxes(self) -> list[tuple[str, Money]]:
        """Label and tax of each group, in the present locale."""
        return [(tax_label(group.treatment), group.tax) for group in self.shown.taxes]

    @property
    def number(self) -> str:
        """The invoice number."""
        return self.shown.number or ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be paid."""
        return not self.shown.open.is_positive

    @property
    def has_pdf(self) -> bool:
        """Whether the PDF is made."""
        return self.shown.document_sha256 is not None

    @property
    def is_unfinished(self) -> bool:
        """Whether a part of it appears by itself in a moment."""
        return not self.has_pdf or self.pay_pending


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoicePage:
    """One invoice link with what its page shows."""

    organization_id: UUID
    link_id: UUID
    contact_id: UUID
    expired: bool
    revoked: bool
    seller: Seller
    client_name: str
    locale: str
    invoice: PayableInvoice
    looks_again: bool
    """Whether what is still missing is worth looking for by itself: soon after the invoice was issued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverableRow:
    """A deliverable as the page lists it; `href` is set where something can be opened."""

    kind: str
    title: str
    href: str | None
    note: str
    size: str


def seller_of(page: LinkPage) -> Seller:
    """The frame of an approval link's pages."""
    return Seller(
        name=page.seller.name,
        logo=f"/brand/{page.organization_id}/logo.png" if page.seller.logo_sha256_hex else None,
        brand=f"/brand/{page.organization_id}.css",
        email=page.seller.email,
    )


def deliverable_rows(page: LinkPage) -> list[DeliverableRow]:
    """What was delivered, in the order of the frozen round."""
    return [_row(page, item) for item in page.deliverables]


def _row(page: LinkPage, item: PageDeliverable) -> DeliverableRow:
    href = None
    if item.kind == "file" and item.sha256_hex:
        href = f"/sign/{page.link_id}/files/{item.sha256_hex}"
    elif item.kind == "link" and item.url and item.url.startswith(("https://", "http://")):
        href = item.url
    size = i18n.file_size(item.size) if item.kind == "file" and item.size is not None else ""
    return DeliverableRow(kind=item.kind, title=item.title, href=href, note=item.note or "", size=size)


def last_decision(page: LinkPage) -> PageDecision | None:
    """The decision that closed the round."""
    return page.decisions[-1] if page.decisions else None


async def newer_delivery(session: AsyncSession, page: LinkPage) -> datetime | None:
    """When a later round of the same milestone was sent to the same contact; None when there is none."""
    found: datetime | None = await session.scalar(
        select(ReviewRound.opened_at)
        .join(ApprovalLink, (ApprovalLink.organization_id == ReviewRound.organization_id) & (ApprovalLink.round_id == ReviewRound.id))
        .where(
            ReviewRound.organization_id == page.organization_id,
            ReviewRound.milestone_id == page.milestone_id,
            ReviewRound.number > page.round_number,
            ApprovalLink.contact_id == page.contact_id,
        )
        .order_by(ReviewRound.number.desc())
        .limit(1)
    )
    return found


async def invoice_of_round(session: AsyncSession, page: LinkPage) -> PayableInvoice | None:
    """The newest issued invoice that bills an approved round; None while it is being prepared."""
    invoice_id = await session.scalar(
        select(Invoice.id)
        .join(InvoiceLine, (InvoiceLine.organization_id == Invoice.organization_id) & (InvoiceLine.invoice_id == Invoice.id))
        .where(Invoice.organization_id == page.organization_id, InvoiceLine.round_id == page.round_id, Invoice.state != "draft")
        .order_by(Invoice.created_at.desc(), Invoice.id.desc())
        .limit(1)
    )
    return None if invoice_id is None else await payable_invoice(session, page.organization_id, invoice_id)


async def payable_invoice(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> PayableInvoice:
    """An issued invoice with how to pay it. Raises `NotFound`, for a draft too: a client never sees one."""
    shown = await show_invoice(session, organization_id, invoice_id)
    if shown.number is None:
        raise NotFound
    organization = await session.get_one(Organization, organization_id)
    is_open = shown.state in PAYABLE_STATES and shown.open.is_positive
    # What is closed at Stripe is open here after a payment was taken back; its page there takes no money.
    url = shown.stripe.hosted_url if is_open and shown.stripe.step != "voided" else None
    return PayableInvoice(
        shown=shown,
        pay_url=url if url and url.startswith(("https://", "http://")) else None,
        pay_pending=is_open and not url and shown.stripe.step in UNDER_WAY and shown.stripe.problem is None,
        bank=_bank(organization, shown.number) if is_open else None,
        payments=await _payments(session, organization_id, invoice_id),
    )


def _bank(organization: Organization, number: str) -> BankView | None:
    if not organization.iban:
        return None
    iban = " ".join(organization.iban[start : start + 4] for start in range(0, len(organization.iban), 4))
    return BankView(holder=organization.legal_name, bank=organization.bank_name, iban=iban, bic=organization.bic, reference=number)


async def _payments(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> tuple[PaymentRow, ...]:
    rows = await session.execute(
        select(Payment.received_on, Payment.method, Payment.currency, PaymentAllocation.amount_minor)
        .join(
            PaymentAllocation,
            (PaymentAllocation.organization_id == Payment.organization_id) & (PaymentAllocation.payment_id == Payment.id),
        )
        .where(
            PaymentAllocation.organization_id == organization_id,
            PaymentAllocation.invoice_id == invoice_id,
            Payment.state == "received",
        )
        .order_by(Payment.received_on, PaymentAllocation.created_at)
    )
    return tuple(
        PaymentRow(received_on=row.received_on, method=METHODS.get(row.method, _("Payment")), amount=Money(row.amount_minor, row.currency))
        for row in rows
    )


async def invoice_page(session: AsyncSession, verified: VerifiedLink, now: datetime) -> InvoicePage:
    """What the page of an invoice link shows. Changes nothing. Raises `NotFound`."""
    organization_id = verified.organization_id
    link = await session.get(InvoiceLink, (organization_id, verified.link_id))
    if link is None:
        raise NotFound
    invoice = await payable_invoice(session, organization_id, link.invoice_id)
    organization = await session.get_one(Organization, organization_id)
    contact = await session.get_one(Contact, (organization_id, link.contact_id))
    client = await session.get_one(Client, (organization_id, contact.client_id))
    return InvoicePage(
        organization_id=organization_id,
        link_id=link.id,
        contact_id=contact.id,
        expired=now >= min(link.expires_at, verified.expires_at),
        revoked=link.revoked_at is not None,
        seller=Seller(
            name=organization.legal_name,
            logo=f"/brand/{organization_id}/logo.png" if organization.logo_sha256_hex else None,
            brand=f"/brand/{organization_id}.css",
            email=organization.email,
        ),
        client_name=client.legal_name,
        locale=i18n.choose(contact.locale, client.locale, organization.locale),
        invoice=invoice,
        looks_again=invoice.is_unfinished and invoice.shown.issued_at is not None and now - invoice.shown.issued_at < SOON,
    )
