"""Invoices: their state, what is open, when they are due, and when they may be void. Tax, numbers and credits by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from tollgate.billing.credits import (
    CreditKind,
    CreditLine,
    CreditTooLarge,
    CreditTotals,
    NothingLeftToCredit,
    Takes,
    correction,
    left_per_line,
    left_to_credit,
    price_reduction,
    reduction_by_amount,
    takes,
)
from tollgate.billing.numbering import MalformedFormat, Number, NumberFormat, SeriesFull, check_formats, issue_day, next_number
from tollgate.billing.tax import (
    DocumentTotals,
    Line,
    LineInput,
    NegativeInvoice,
    NothingToBill,
    TaxCategory,
    TaxGroup,
    TaxTreatment,
    draft_invoice,
    line_net,
    series_rounding,
    tax_groups,
)
from tollgate.contracts.rules import PaymentTerms, PriceBasis, TermsFrom, due_day, net_of_gross
from tollgate.errors import Conflict, Message, _
from tollgate.money.amount import Money

__all__ = [
    "CreditKind",
    "CreditLine",
    "CreditTooLarge",
    "CreditTotals",
    "DocumentTotals",
    "InvoiceFacts",
    "InvoiceState",
    "Line",
    "LineInput",
    "MalformedFormat",
    "NegativeInvoice",
    "NothingLeftToCredit",
    "NothingToBill",
    "Number",
    "NumberFormat",
    "PaymentTerms",
    "PriceBasis",
    "ReminderStop",
    "SeriesFull",
    "Takes",
    "TaxCategory",
    "TaxGroup",
    "TaxTreatment",
    "TermsFrom",
    "VoidFacts",
    "VoidRefused",
    "check_formats",
    "check_void",
    "correction",
    "draft_invoice",
    "due_day",
    "invoice_state",
    "is_overdue",
    "issue_day",
    "left_per_line",
    "left_to_credit",
    "line_net",
    "net_of_gross",
    "next_number",
    "open_amount",
    "price_reduction",
    "reduction_by_amount",
    "reminder_stop",
    "series_rounding",
    "takes",
    "tax_groups",
    "void_problems",
]


class InvoiceState(StrEnum):
    """Where an invoice stands. Overdue, sent, seen and disputed are separate facts."""

    DRAFT = "draft"
    ISSUED = "issued"
    PARTLY_PAID = "partly_paid"
    PAID = "paid"
    VOID = "void"
    CREDITED = "credited"
    UNCOLLECTIBLE = "uncollectible"


LIVE_STATES = frozenset({InvoiceState.ISSUED, InvoiceState.PARTLY_PAID, InvoiceState.PAID, InvoiceState.UNCOLLECTIBLE})
"""An invoice in one of these bills its milestones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFacts:
    """What an invoice's state is derived from.

    `paid` is allocated and not refunded; `credited` is what credit notes took off the open amount; `credited_in_full` says
    that credit notes took back the whole document, from wherever.
    """

    payable: Money
    paid: Money
    credited: Money
    written_off: Money
    issued: bool = True
    void: bool = False
    credited_in_full: bool = False


def open_amount(facts: InvoiceFacts) -> Money:
    """payable − paid − credited − written off; nothing is open of a draft or a void invoice."""
    if facts.void or not facts.issued:
        return Money.zero(facts.payable.currency)
    return facts.payable - facts.paid - facts.credited - facts.written_off


def invoice_state(facts: InvoiceFacts) -> InvoiceState:
    """The state that these facts mean. A payable of 0.00 is settled on issue (R6)."""
    if not facts.issued:
        return InvoiceState.DRAFT
    if facts.void:
        return InvoiceState.VOID
    if facts.credited_in_full:
        return InvoiceState.CREDITED
    if not open_amount(facts).is_positive:
        return InvoiceState.UNCOLLECTIBLE if facts.written_off.is_positive else InvoiceState.PAID
    return InvoiceState.PARTLY_PAID if facts.paid.is_positive else InvoiceState.ISSUED


class ReminderStop(StrEnum):
    """Why nobody is reminded of an open invoice."""

    PROCESSING = "processing"
    DISPUTED = "disputed"


def reminder_stop(*, pending: Money, disputed: bool) -> ReminderStop | None:
    """What stops reminders (and, while disputed, interest): a dispute, or a bank debit on its way (R14)."""
    if disputed:
        return ReminderStop.DISPUTED
    return ReminderStop.PROCESSING if pending.is_positive else None


def is_overdue(open_: Money, due_on: date, today: date) -> bool:
    """Something is open and the day after the due day has come (R19: due today is not overdue)."""
    return open_.is_positive and today > due_on


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidFacts:
    """What decides whether an invoice may be void."""

    state: InvoiceState
    sent: bool
    paid: Money
    credited: bool
    period_closed: bool = False


class VoidRefused(Conflict):
    """Only an issued invoice that is unsent, unpaid and uncredited, in an open period, may be void."""

    slug = "void-refused"
    title = _("This invoice cannot be made void")


def void_problems(facts: VoidFacts) -> list[Message]:
    """Every reason against making it void; empty when it may be."""
    problems = []
    if facts.state is InvoiceState.DRAFT:
        problems.append(_("a draft has no number yet; delete it instead"))
    if facts.state is InvoiceState.VOID:
        problems.append(_("it is void already"))
    if facts.state is InvoiceState.UNCOLLECTIBLE:
        problems.append(_("it is written off; reverse that first"))
    if facts.sent:
        problems.append(_("it was sent already; write a credit note instead"))
    if facts.paid.is_positive:
        problems.append(_("%(paid)s is paid already; write a credit note instead", paid=facts.paid))
    if facts.credited:
        problems.append(_("a credit note belongs to it"))
    if facts.period_closed:
        problems.append(_("its accounting period is closed; write a credit note instead"))
    return problems


def check_void(facts: VoidFacts) -> None:
    """Raise VoidRefused with every reason at once unless the invoice may be void."""
    problems = void_problems(facts)
    if problems:
        sentence = problems[0]
        for problem in problems[1:]:
            sentence = _("%(first)s; %(then)s", first=sentence, then=problem)
        raise VoidRefused(sentence, reasons=[str(problem) for problem in problems])
