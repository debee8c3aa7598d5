"""R14 and the gateway's side of it: which invoice a payment settles, and what to believe of a provider's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from tollgate.errors import FieldError, Invalid, _
from tollgate.money.amount import CurrencyMismatch, Money, total
from tollgate.money.currencies import digits


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInvoice:
    """An invoice that something is open of, in the payer's currency."""

    invoice_id: UUID
    due_on: date
    issued_on: date
    number: str
    open: Money


@dataclass(frozen=True, slots=True)
class Chosen:
    """The payer's own words on where the money goes."""

    invoice_id: UUID
    amount: Money


@dataclass(frozen=True, slots=True)
class Allocated:
    """How much of the payment settles an invoice, and what stays open of it."""

    invoice_id: UUID
    amount: Money
    left: Money


@dataclass(frozen=True, slots=True)
class AllocationResult:
    """Every minor unit of the payment: allocated to invoices, the rest client credit."""

    allocations: tuple[Allocated, ...]
    client_credit: Money


class CannotAllocate(Invalid):
    """The payer's choice does not fit the payment or the invoices; `errors` names each."""

    slug = "cannot-allocate"
    title = _("The payment cannot be allocated like this")


def allocate(payment: Money, open_invoices: Sequence[OpenInvoice], chosen: Sequence[Chosen] | None = None) -> AllocationResult:
    """Share `payment` over invoices (R14): as chosen, else oldest due first (then issue day, then number). The rest is client credit.

    A choice settles only what it names; nothing else is touched. Raises CannotAllocate, or CurrencyMismatch for a foreign invoice.
    """
    if not payment.is_positive:
        raise CannotAllocate(_("a payment is more than zero"))
    for invoice in open_invoices:
        if invoice.open.currency != payment.currency:
            raise CurrencyMismatch(payment.currency, invoice.open.currency)
    return _oldest_first(payment, open_invoices) if chosen is None else _as_chosen(payment, open_invoices, chosen)


def _oldest_first(payment: Money, open_invoices: Sequence[OpenInvoice]) -> AllocationResult:
    allocations = []
    rest = payment
    for invoice in sorted(open_invoices, key=lambda item: (item.due_on, item.issued_on, item.number)):
        amount = min(rest, invoice.open)
        if amount.is_positive:
            allocations.append(Allocated(invoice.invoice_id, amount, invoice.open - amount))
            rest = rest - amount
    return AllocationResult(tuple(allocations), rest)


def _as_chosen(payment: Money, open_invoices: Sequence[OpenInvoice], chosen: Sequence[Chosen]) -> AllocationResult:
    found = {invoice.invoice_id: invoice for invoice in open_invoices}
    problems = []
    seen: set[UUID] = set()
    for index, choice in enumerate(chosen):
        at = f"/allocations/{index}"
        invoice = found.get(choice.invoice_id)
        if invoice is None or choice.invoice_id in seen:
            problems.append(FieldError(f"{at}/invoice_id", _("nothing is open of this invoice, or it is named twice")))
        elif choice.amount.currency != payment.currency:
            problems.append(FieldError(f"{at}/amount", _("the payment is in %(currency)s", currency=payment.currency)))
        elif not choice.amount.is_positive:
            problems.append(FieldError(f"{at}/amount", _("an allocation is more than zero")))
        elif choice.amount > invoice.open:
            problems.append(FieldError(f"{at}/amount", _("only %(open)s is open of this invoice", open=invoice.open)))
        seen.add(choice.invoice_id)
    if not problems:
        spent = total((choice.amount for choice in chosen), payment.currency)
        if spent > payment:
            problems.append(FieldError("/allocations", _("the allocations come to %(more)s more than the payment", more=spent - payment)))
    if problems:
        raise CannotAllocate(problems[0].detail if len(problems) == 1 else None, errors=problems)
    allocations = tuple(Allocated(choice.invoice_id, choice.amount, found[choice.invoice_id].open - choice.amount) for choice in chosen)
    return AllocationResult(allocations, payment - spent)


class ProviderInvoiceState(StrEnum):
    """Stripe's invoice states."""

    DRAFT = "draft"
    OPEN = "open"
    UNCOLLECTIBLE = "uncollectible"
    PAID = "paid"
    VOID = "void"


class ProviderPaymentState(StrEnum):
    """How far a provider's payment has come, in our words."""

    PENDING = "pending"
    PROCESSING = "processing"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    REFUNDED = "refunded"


INVOICE_RANK: Mapping[ProviderInvoiceState, int] = MappingProxyType(
    {
        ProviderInvoiceState.DRAFT: 0,
        ProviderInvoiceState.OPEN: 1,
        ProviderInvoiceState.UNCOLLECTIBLE: 2,
        ProviderInvoiceState.VOID: 3,
        ProviderInvoiceState.PAID: 4,
    }
)
"""Paid beats void: money that arrived is never forgotten, whatever arrives after it."""

PAYMENT_RANK: Mapping[ProviderPaymentState, int] = MappingProxyType(
    {
        ProviderPaymentState.PENDING: 0,
        ProviderPaymentState.PROCESSING: 1,
        # A declined card is tried again and may then succeed.
        ProviderPaymentState.FAILED: 2,
        ProviderPaymentState.SUCCEEDED: 3,
        ProviderPaymentState.REFUNDED: 4,
    }
)


def later_invoice_state(known: ProviderInvoiceState | None, fetched: ProviderInvoiceState) -> ProviderInvoiceState:
    """The state to keep: a stale answer never takes us back, so every order of arrival ends the same."""
    return fetched if known is None or INVOICE_RANK[fetched] > INVOICE_RANK[known] else known


def later_payment_state(known: ProviderPaymentState | None, fetched: ProviderPaymentState) -> ProviderPaymentState:
    """The state to keep of a payment, by rank."""
    return fetched if known is None or PAYMENT_RANK[fetched] > PAYMENT_RANK[known] else known


class Mismatch(StrEnum):
    """Why a provider's invoice is not ours."""

    NUMBER = "number"
    CURRENCY = "currency"
    TOTAL = "total"
    AMOUNT_DUE = "amount_due"
    AMOUNT_PAID = "amount_paid"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedInvoice:
    """Our invoice as the provider must show it."""

    invoice_id: UUID
    number: str
    payable: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInvoice:
    """The provider's invoice as fetched: its own minor units and lower-case currency, untranslated."""

    number: str | None
    currency: str
    total: int
    amount_due: int
    amount_paid: int
    state: ProviderInvoiceState
    our_invoice_id: str | None


def compare_invoice(ours: ExpectedInvoice, theirs: ProviderInvoice) -> tuple[Mismatch, ...]:
    """Every way in which the provider's invoice differs from ours, before it is finalized; empty when it may be.

    The number is compared once it is set. A total that lies on a customer's balance shows as amount_due below total.
    """
    expected = provider_minor(ours.payable)
    found = []
    if theirs.our_invoice_id != str(ours.invoice_id):
        found.append(Mismatch.METADATA)
    if theirs.number not in {None, ours.number}:
        found.append(Mismatch.NUMBER)
    if theirs.currency.upper() != ours.payable.currency:
        found.append(Mismatch.CURRENCY)
    if theirs.total != expected:
        found.append(Mismatch.TOTAL)
    if theirs.amount_due != expected:
        found.append(Mismatch.AMOUNT_DUE)
    return tuple(found)


def money_missing(ours: ExpectedInvoice, theirs: ProviderInvoice) -> tuple[Mismatch, ...]:
    """Why "paid" does not mean that our money arrived: another currency or total, or less paid than payable; empty when it did.

    Below its minimum charge Stripe marks an invoice paid and moves the debt to the customer's balance: amount_paid stays 0.
    """
    expected = provider_minor(ours.payable)
    found = []
    if theirs.currency.upper() != ours.payable.currency:
        found.append(Mismatch.CURRENCY)
    if theirs.total != expected:
        found.append(Mismatch.TOTAL)
    if theirs.amount_paid < expected:
        found.append(Mismatch.AMOUNT_PAID)
    return tuple(found)


_PROVIDER_WHOLE_UNITS = frozenset(("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"))
_PROVIDER_THREE_DIGITS = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))

MINIMUM_CHARGES: Mapping[str, int] = MappingProxyType(
    {
        "AED": 200,
        "AUD": 50,
        "BRL": 50,
        "CAD": 50,
        "CHF": 50,
        "CZK": 1500,
        "DKK": 250,
        "EUR": 50,
        "GBP": 30,
        "HKD": 400,
        "HUF": 17500,
        "INR": 50,
        "JPY": 50,
        "MXN": 1000,
        "MYR": 200,
        "NOK": 300,
        "NZD": 50,
        "PLN": 200,
        "RON": 200,
        "SEK": 300,
        "SGD": 50,
        "THB": 1000,
        "USD": 50,
    }
)
"""Stripe's minimum charge in its own minor units; a smaller payable makes no Stripe invoice (R22)."""


class NotChargeable(Invalid):
    """Stripe cannot express this amount in its own minor units."""

    slug = "not-chargeable"
    title = _("This amount cannot be charged by card")


def provider_digits(currency: str) -> int:
    """Stripe's exponent, which is not ISO 4217's everywhere: MGA 0 for 2, ISK and UGX 2 for 0."""
    if currency in _PROVIDER_WHOLE_UNITS:
        return 0
    return 3 if currency in _PROVIDER_THREE_DIGITS else 2


def provider_minor(money: Money) -> int:
    """`money` in Stripe's minor units, exact. Raises NotChargeable where Stripe cannot say it (0.001 KWD, 0.01 MGA, 0.001 IQD)."""
    scale: int = 10 ** provider_digits(money.currency)
    value, rest = divmod(money.minor * scale, int(10 ** digits(money.currency)))
    # Stripe takes three-digit currencies in steps of ten.
    if rest or (money.currency in _PROVIDER_THREE_DIGITS and value % 10):
        raise NotChargeable(_("%(amount)s cannot be charged by card: it is finer than the card network's unit", amount=money))
    return value


def money_of_provider(amount: int, currency: str) -> Money:
    """Stripe's count of its minor units as Money; `currency` in any case. Raises NotChargeable where ISO 4217 is coarser (½ ISK)."""
    code = currency.upper()
    scale: int = 10 ** digits(code)
    value, rest = divmod(amount * scale, int(10 ** provider_digits(code)))
    if rest:
        raise NotChargeable(_("%(amount)s minor units of %(currency)s are not a whole amount", amount=amount, currency=code))
    return Money(value, code)


def is_chargeable(payable: Money) -> bool:
    """Whether a Stripe invoice is made at all: above zero, at least the minimum charge, expressible (R22)."""
    try:
        value = provider_minor(payable)
    except NotChargeable:
        return False
    return value > 0 and value >= MINIMUM_CHARGES.get(payable.currency, 1)
