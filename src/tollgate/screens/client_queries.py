"""What the client's pages show beyond a link's own round: the invoice that follows, how to pay it, newer deliveries."""

from __future__ import annotations

from collections.abc import Sequence
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
from tollgate.money.amount import Money, total
from tollgate.parties.models import Client, Contact, Organization
from tollgate.payments import queries as payments
from tollgate.payments.queries import UNDER_WAY
from tollgate.signoff.models import ApprovalLink, ReviewRound
from tollgate.signoff.service import LinkPage, VerifiedLink
from tollgate.signoff.service_page import PageDecision, PageDeliverable
from tollgate.web.rendering import Seller

NOT_PAYABLE = frozenset(("voided", "stopped", "below_minimum"))
PAYABLE_STATES = (InvoiceState.ISSUED, InvoiceState.PARTLY_PAID)
TAKEN_BACK = (InvoiceState.VOID, InvoiceState.CREDITED)
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
    credit: Money
    """What was paid on its page beyond what was open: the client's credit. Of an invoice that was taken back, all that is left."""
    returned: Money
    """What of the open amount was paid on its page and went back: by refunds, and disputes that were lost."""
    last_failed: bool
    """Whether the last payment failed (a declined card, a debit that bounced) and nothing came since."""
    below_minimum: bool
    """Too little for a card: by transfer only."""

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
    def is_open_again(self) -> bool:
        """Whether something is open since money went back."""
        return self.shown.state in PAYABLE_STATES and self.returned.is_positive

    @property
    def is_on_its_way(self) -> bool:
        """Whether a bank debit is processing: nobody is to pay a second time."""
        return self.shown.pending.is_positive and not self.is_settled

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
    # What is closed or stopped at Stripe is open here; its page there takes no money, or not what is owed.
    payable = is_open and shown.stripe.step not in NOT_PAYABLE and not shown.pending.is_positive
    url = shown.stripe.hosted_url if payable else None
    received = await payments.list_payments(session, organization_id, payments.PaymentsAsked(invoice_id=invoice_id, limit=100))
    mine = [one for one in received if one.made_for is not None and one.made_for.invoice_id == invoice_id]
    return PayableInvoice(
        shown=shown,
        pay_url=url if url and url.startswith(("https://", "http://")) else None,
        pay_pending=payable and not url and shown.stripe.step in UNDER_WAY and shown.stripe.problem is None,
        bank=_bank(organization, shown.number) if is_open and not shown.pending.is_positive else None,
        payments=_payments(list(reversed(received)), invoice_id),
        credit=kept_as_credit(received, shown),
        # What was too much went back first; it explains nothing of what is open.
        returned=min(total((one.refunded for one in mine), shown.currency), shown.open),
        last_failed=is_open and not shown.pending.is_positive and _last_failed(received, shown.declined_at),
        below_minimum=is_open and shown.stripe.step == "below_minimum",
    )


def kept_as_credit(received: Sequence[payments.PaymentShown], invoice: InvoiceShown) -> Money:
    """What of an invoice's payments is the client's credit: what was too much, and all that is left once it was taken back."""
    kept = [one.client_credit for one in received if one.made_for is not None and one.made_for.invoice_id == invoice.id]
    if invoice.state in TAKEN_BACK:
        kept += [part.amount for one in received for part in one.allocations if part.invoice_id == invoice.id]
    return total(kept, invoice.currency)


def _last_failed(received: Sequence[payments.PaymentShown], declined_at: datetime | None) -> bool:
    return declined_at is not None and all(one.created_at < declined_at for one in received)


def _bank(organization: Organization, number: str) -> BankView | None:
    if not organization.iban:
        return None
    iban = " ".join(organization.iban[start : start + 4] for start in range(0, len(organization.iban), 4))
    return BankView(holder=organization.legal_name, bank=organization.bank_name, iban=iban, bic=organization.bic, reference=number)


def _payments(received: Sequence[payments.PaymentShown], invoice_id: UUID) -> tuple[PaymentRow, ...]:
    """What came for an invoice and what of it went back, by day. A transfer counts with its part for this invoice."""
    rows = []
    for one in received:
        whole = one.made_for is not None and one.made_for.invoice_id == invoice_id
        parts = [one.amount] if whole else [part.amount for part in one.allocations if part.invoice_id == invoice_id]
        came = total(parts, one.amount.currency)
        if came.is_positive:
            rows.append(PaymentRow(received_on=one.received_on, method=METHODS.get(one.method, _("Payment")), amount=came))
        for refund in one.refunds:
            if refund.state == "succeeded":
                rows.append(PaymentRow(received_on=refund.refunded_on, method=_("Sent back to you"), amount=-refund.amount))
        for dispute in one.disputes:
            if dispute.state == "lost" and dispute.closed_on is not None:
                rows.append(PaymentRow(received_on=dispute.closed_on, method=_("Given back by your bank"), amount=-dispute.amount))
    return tuple(sorted(rows, key=lambda row: row.received_on))


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
