"""What an invoice and a credit note say, in the client's language, copied from the rows at the moment of issue (R12)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import UUID

from tollgate import i18n
from tollgate.billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from tollgate.billing.tax import TaxCategory, TaxGroup, TaxTreatment
from tollgate.contracts.models import Contract
from tollgate.documents.service import Design
from tollgate.documents.views import (
    ColumnsView,
    CreditNoteView,
    DocumentInfo,
    Fact,
    InvoiceView,
    LineView,
    PartyView,
    PayLinkView,
    PaymentView,
    TaxRowView,
    TaxTableView,
    TotalRowView,
)
from tollgate.errors import Message, _
from tollgate.money.amount import Money
from tollgate.money.rates import percent_text
from tollgate.parties.models import Client, Organization
from tollgate.parties.printing import address_lines, contact_lines, tax_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Who bills whom under which contract: the rows that a document copies."""

    organization: Organization
    client: Client
    contract: Contract


def design_of(organization: Organization, base_url: str) -> Design:
    """The organization's design, with links to this server allowed."""
    host = urlsplit(base_url).netloc.lower()
    return Design(
        theme=organization.theme,
        accent=organization.accent,
        logo_sha256_hex=organization.logo_sha256_hex,
        link_hosts=(host,) if host else (),
    )


def document_locale(client: Client, organization: Organization) -> str:
    """The tag a document is written in: the client's wish, then the organization's, where we have the words."""
    return i18n.choose(client.locale, organization.locale)


def pay_reference(organization_id: UUID, invoice_id: UUID) -> str:
    """What follows `/pay/` on a document: both ids in 52 letters and digits, which survive a line break and retyping.

    No secret: the page only mails a link to the billing contact (R10).
    """
    return base64.b32encode(organization_id.bytes + invoice_id.bytes).decode().rstrip("=").lower()


def read_pay_reference(text: str) -> tuple[UUID, UUID] | None:
    """Organization and invoice of a `/pay/` address, None for anything that is not one."""
    try:
        raw = base64.b32decode(text.upper() + "====")
    except (ValueError, binascii.Error):
        return None
    return (UUID(bytes=raw[:16]), UUID(bytes=raw[16:])) if len(raw) == 32 else None


def pay_url(base_url: str, organization_id: UUID, invoice_id: UUID) -> str:
    """The page that a document's pay link opens."""
    return f"{base_url}/pay/{pay_reference(organization_id, invoice_id)}"


def invoice_view(
    parties: Parties, invoice: Invoice, lines: list[InvoiceLine], groups: tuple[TaxGroup, ...], *, base_url: str
) -> InvoiceView:
    """An issued invoice, finished. Call it inside `i18n.use_locale`."""
    payable = Money(invoice.payable_minor, invoice.currency)
    number, due_on = str(invoice.number), _day_of(invoice.due_on)
    url = pay_url(base_url, invoice.organization_id, invoice.id)
    title = _say(_("Invoice"))
    return InvoiceView(
        info=_info(parties, _say(_("Invoice %(number)s", number=number)), _day_of(invoice.issued_on)),
        title=title,
        number=number,
        headline=Fact(label=_say(_("Amount payable")), value=i18n.money(payable)),
        headline_note=_say(_("by %(day)s", day=due_on)) if payable.is_positive else _say(_("Nothing is to be paid")),
        facts=_invoice_facts(parties, invoice),
        seller=_seller(parties.organization),
        buyer=_buyer(parties),
        columns=_columns(invoice.currency),
        lines=tuple(_line(line, invoice.currency) for line in lines),
        taxes=_taxes(groups),
        totals=_totals(invoice),
        notes=_notes(groups),
        payment=_payment(parties.organization, number, url) if payable.is_positive else None,
        footer=_footer(parties.organization),
    )


def credit_note_view(
    parties: Parties, note: CreditNote, lines: list[tuple[CreditNoteLine, InvoiceLine]], groups: tuple[TaxGroup, ...], invoice: Invoice
) -> CreditNoteView:
    """An issued credit note, finished; amounts are positive, as what the client gets back. Call it inside `i18n.use_locale`."""
    issued_on = _day_of(invoice.issued_on)
    return CreditNoteView(
        info=_info(parties, _say(_("Credit note %(number)s", number=note.number)), note.issued_on),
        title=_say(_("Credit note")),
        number=note.number,
        headline=Fact(label=_say(_("Credited")), value=i18n.money(Money(note.payable_minor, note.currency))),
        facts=(Fact(label=_say(_("Issued")), value=i18n.day(note.issued_on)), *_contract_facts(parties.contract)),
        seller=_seller(parties.organization),
        buyer=_buyer(parties),
        columns=_columns(note.currency),
        lines=tuple(_credited_line(position, pair, note.currency) for position, pair in enumerate(lines, 1)),
        taxes=_taxes(groups),
        totals=_credit_totals(note),
        notes=_notes(groups),
        footer=_footer(parties.organization),
        corrects=_say(_("Corrects invoice %(number)s of %(day)s.", number=str(invoice.number), day=issued_on)),
        reason=note.reason,
    )


def line_description(milestone_description: str, approved_on: date, round_number: int) -> str:
    """The paragraphs under a line's title: what was agreed, and when it was accepted. In the present locale."""
    accepted = _say(_("Accepted on %(day)s, review round %(number)s.", day=approved_on, number=str(round_number)))
    return "\n".join(part for part in (milestone_description.strip(), accepted) if part)


def tax_label(treatment: TaxTreatment) -> str:
    """`Tax 20%`, `Zero rated`, `Exempt`: in the present locale."""
    if treatment.category is TaxCategory.ZERO:
        return _say(_("Zero rated"))
    if treatment.category is TaxCategory.EXEMPT:
        return _say(_("Exempt from tax"))
    return _say(_("Tax %(rate)s", rate=_percent(treatment)))


def _say(message: Message) -> str:
    return i18n.translate(message)


def _day_of(day: date | None) -> date:
    if day is None:
        raise ValueError("only an issued invoice has its days")
    return day


def _percent(treatment: TaxTreatment) -> str:
    # Digits without trailing zeros, and never 2E+1, which a format would write as 20 with other digits.
    return i18n.percent(Decimal(percent_text(treatment.rate_percent)))


def _info(parties: Parties, title: str, issued_on: date) -> DocumentInfo:
    contract = parties.contract
    return DocumentInfo(
        language=i18n.current_locale.get(),
        direction="rtl" if i18n.direction() == "rtl" else "ltr",
        title=title,
        author=parties.organization.legal_name,
        subject=" ".join(part for part in (contract.reference, contract.title) if part),
        dated=issued_on.isoformat(),
        page_of=_say(_("Page {page} of {pages}")),
        running_title=title,
    )


def _invoice_facts(parties: Parties, invoice: Invoice) -> tuple[Fact, ...]:
    facts = [Fact(label=_say(_("Issued")), value=i18n.day(_day_of(invoice.issued_on)))]
    if invoice.supplied_on is not None:
        facts.append(Fact(label=_say(_("Supplied")), value=i18n.day(invoice.supplied_on)))
    facts.append(Fact(label=_say(_("Due")), value=i18n.day(_day_of(invoice.due_on))))
    return (*facts, *_contract_facts(parties.contract))


def _contract_facts(contract: Contract) -> tuple[Fact, ...]:
    facts = [Fact(label=_say(_("Contract")), value=" ".join(part for part in (contract.reference, contract.title) if part))]
    if contract.purchase_order:
        facts.append(Fact(label=_say(_("Purchase order")), value=contract.purchase_order))
    if contract.buyer_reference:
        facts.append(Fact(label=_say(_("Your reference")), value=contract.buyer_reference))
    return tuple(facts)


def _seller(organization: Organization) -> PartyView:
    return PartyView(
        name=organization.legal_name,
        address=address_lines(organization),
        tax_ids=tax_lines(organization),
        contact=contact_lines(organization),
    )


def _buyer(parties: Parties) -> PartyView:
    client = parties.client
    return PartyView(label=_say(_("Billed to")), name=client.legal_name, address=address_lines(client), tax_ids=tax_lines(client))


def _columns(currency: str) -> ColumnsView:
    return ColumnsView(
        position=_say(_("No.")),
        title=_say(_("Milestone")),
        quantity=_say(_("Quantity")),
        unit_price=_say(_("Unit price")),
        tax_rate=_say(_("Tax")),
        net=_say(_("Net (%(currency)s)", currency=currency)),
    )


def _line(line: InvoiceLine, currency: str) -> LineView:
    return LineView(
        position=str(line.position),
        title=line.title,
        description=tuple(part for part in line.description.split("\n") if part.strip()),
        quantity=i18n.number(_quantity(line)),
        unit_price=i18n.amount(line.unit_price_minor, currency),
        tax_rate=_rate(line.tax_category, line),
        net=i18n.amount(line.net_minor, currency),
    )


def _credited_line(position: int, pair: tuple[CreditNoteLine, InvoiceLine], currency: str) -> LineView:
    credited, line = pair
    return LineView(
        position=str(position),
        title=credited.title,
        quantity=i18n.number(_quantity(line)),
        unit_price=i18n.amount(line.unit_price_minor, currency),
        tax_rate=_rate(line.tax_category, line),
        net=i18n.amount(credited.net_minor, currency),
    )


def _quantity(line: InvoiceLine) -> int:
    # Milestones are billed as one; deductions as minus one. Fractions come with the features that need them.
    return int(line.quantity)


def _rate(category: str, line: InvoiceLine) -> str:
    return _percent(TaxTreatment(TaxCategory(category), line.tax_rate_percent))


def _taxes(groups: tuple[TaxGroup, ...]) -> TaxTableView:
    return TaxTableView(
        label=_say(_("Tax")),
        base=_say(_("Net")),
        tax=_say(_("Amount")),
        rows=tuple(
            TaxRowView(label=tax_label(group.treatment), base=i18n.amount(group.base), tax=i18n.amount(group.tax)) for group in groups
        ),
    )


def _totals(invoice: Invoice) -> tuple[TotalRowView, ...]:
    currency = invoice.currency
    rows = [_row(_("Net"), invoice.net_minor, currency), _row(_("Tax"), invoice.tax_minor, currency)]
    rows.append(_row(_("Total"), invoice.gross_minor, currency))
    if invoice.prepaid_minor:
        rows.append(_row(_("Paid in advance"), -invoice.prepaid_minor, currency))
    if invoice.rounding_minor:
        rows.append(_row(_("Rounding"), invoice.rounding_minor, currency))
    if invoice.retained_minor:
        rows.append(_row(_("Retained"), -invoice.retained_minor, currency))
    rows.append(TotalRowView(label=_say(_("Amount payable")), amount=i18n.money(invoice.payable_minor, currency), emphasis="strong"))
    return tuple(rows)


def _credit_totals(note: CreditNote) -> tuple[TotalRowView, ...]:
    currency = note.currency
    sums = ((_("Net"), note.net_minor), (_("Tax"), note.tax_minor), (_("Total"), note.gross_minor))
    rows = [_row(label, minor, currency) for label, minor in sums]
    if note.rounding_minor:
        rows.append(_row(_("Rounding"), note.rounding_minor, currency))
    rows.append(TotalRowView(label=_say(_("Credited")), amount=i18n.money(note.payable_minor, currency), emphasis="strong"))
    parts = (
        (_("of it no longer to be paid"), note.from_open_minor),
        (_("of it no longer retained"), note.from_retained_minor),
        (_("of it paid already, kept as your credit"), note.from_paid_minor),
    )
    if note.from_open_minor != note.payable_minor:
        muted = [(label, minor) for label, minor in parts if minor]
        rows += [TotalRowView(label=_say(label), amount=i18n.amount(minor, currency), emphasis="muted") for label, minor in muted]
    return tuple(rows)


def _row(label: Message, minor: int, currency: str) -> TotalRowView:
    return TotalRowView(label=_say(label), amount=i18n.amount(minor, currency))


def _notes(groups: tuple[TaxGroup, ...]) -> tuple[str, ...]:
    if any(group.treatment.category is TaxCategory.EXEMPT for group in groups):
        return (_say(_("The lines marked as exempt are exempt from tax.")),)
    return ()


def _payment(organization: Organization, number: str, url: str) -> PaymentView:
    bank = ((_("Bank"), organization.bank_name), (_("IBAN"), _in_fours(organization.iban)), (_("BIC"), organization.bic))
    facts = [Fact(label=_say(label), value=value) for label, value in bank if value]
    facts.append(Fact(label=_say(_("Reference")), value=number))
    return PaymentView(title=_say(_("How to pay")), facts=tuple(facts), link=PayLinkView(label=_say(_("Pay online")), url=url))


def _footer(organization: Organization) -> tuple[tuple[str, ...], ...]:
    who = (organization.legal_name, ", ".join(address_lines(organization)))
    codes = (("IBAN", _in_fours(organization.iban)), ("BIC", organization.bic))
    bank = tuple(part for part in (organization.bank_name, *(f"{name} {code}" for name, code in codes if code)) if part)
    return tuple(column for column in (who, tax_lines(organization), bank) if column)


def _in_fours(iban: str) -> str:
    """`AT61 1904 3002 3457 3201`: as ISO 13616 prints it."""
    return " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
