"""What is wrong with the gateway's invoice: a code and facts, said in one sentence that finance can act on."""

from __future__ import annotations

from tollgate.billing.stripe_problems import StripeProblem
from tollgate.money.amount import Money
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


def mismatch(ours: ExpectedInvoice, seen: SeenInvoice) -> StripeProblem | None:
    """Why Stripe's invoice may not be paid: it is not the one we issued. None when it is."""
    found = compare_invoice(ours, seen.facts)
    return None if not found else _differs(ours, seen, found)


def foreign(ours: ExpectedInvoice, seen: SeenInvoice) -> StripeProblem | None:
    """The same for an invoice that is already open or paid: another currency or total means that its payments are not for ours."""
    found = tuple(one for one in money_missing(ours, seen.facts) if one in {Mismatch.CURRENCY, Mismatch.TOTAL})
    return None if not found else _differs(ours, seen, found)


def unpaid(ours: ExpectedInvoice, seen: SeenInvoice) -> StripeProblem | None:
    """Stripe calls the invoice paid, and no payment of it is to be found: the debt lies elsewhere. None while it is not called paid."""
    return StripeProblem("unpaid", {"number": ours.number}) if seen.state is ProviderInvoiceState.PAID else None


def closed(number: str, by: StepName) -> StripeProblem:
    """Our invoice is open again after its payment was taken back, and the gateway's is closed for good: where the money comes from now."""
    return StripeProblem("marked_paid" if by is StepName.MARK_PAID else "withdrawn", {"number": number})


def went_back(back: Money, open_: Money) -> StripeProblem:
    """A refund or a lost dispute opened our invoice again, and the gateway's stays paid."""
    return StripeProblem("went_back", {"amount": str(back), "open": str(open_)})


def _differs(ours: ExpectedInvoice, seen: SeenInvoice, found: tuple[Mismatch, ...]) -> StripeProblem:
    what = " ".join(one.value for one in found)
    return StripeProblem("differs", {"what": what, "ours": str(ours.payable), "theirs": _shown(seen)})


def _shown(seen: SeenInvoice) -> str:
    try:
        return str(money_of_provider(seen.facts.total, seen.facts.currency))
    except (NotChargeable, ValueError):
        return f"{seen.facts.total} minor units of {seen.facts.currency.upper()}"
