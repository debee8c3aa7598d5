"""What is wrong with the gateway's invoice, in one sentence that finance can act on."""

from __future__ import annotations

from tollgate.payments.gateway import SeenInvoice
from tollgate.payments.rules import (
    ExpectedInvoice,
    Mismatch,
    NotChargeable,
    ProviderInvoiceState,
    compare_invoice,
    money_missing,
    money_of_provider,
)
from tollgate.payments.steps import StepName


def mismatch_text(ours: ExpectedInvoice, seen: SeenInvoice) -> str | None:
    """Why Stripe's invoice may not be paid: it is not the one we issued. None when it is."""
    found = compare_invoice(ours, seen.facts)
    return None if not found else _sentence(ours, seen, found)


def foreign_text(ours: ExpectedInvoice, seen: SeenInvoice) -> str | None:
    """The same for an invoice that is already open or paid: another currency or total means that its payments are not for ours."""
    found = tuple(one for one in money_missing(ours, seen.facts) if one in {Mismatch.CURRENCY, Mismatch.TOTAL})
    return None if not found else _sentence(ours, seen, found)


def unpaid_text(ours: ExpectedInvoice, seen: SeenInvoice) -> str | None:
    """Stripe calls the invoice paid, and no payment of it is to be found: the debt lies elsewhere. None while it is not called paid."""
    if seen.state is not ProviderInvoiceState.PAID:
        return None
    return f"Stripe calls {ours.number} paid, but no payment of it is there: look at the customer's balance, or record the transfer"


def closed_text(number: str, by: StepName) -> str:
    """Our invoice is open again after its payment was taken back, and the gateway's is closed for good: where the money comes from now."""
    what = "marked paid" if by is StepName.MARK_PAID else "withdrawn"
    return f"{number} was {what} at Stripe before its payment was taken back, and Stripe does not open it again: collect by transfer"


def _sentence(ours: ExpectedInvoice, seen: SeenInvoice, found: tuple[Mismatch, ...]) -> str:
    what = ", ".join(str(one).replace("_", " ") for one in found)
    return f"Stripe's invoice differs in {what}: ours is {ours.payable}, Stripe's is {_shown(seen)}"


def _shown(seen: SeenInvoice) -> str:
    try:
        return str(money_of_provider(seen.facts.total, seen.facts.currency))
    except (NotChargeable, ValueError):
        return f"{seen.facts.total} minor units of {seen.facts.currency.upper()}"
