"""What people do at Stripe, by hand or by a script: payers pay, sellers refund in the dashboard, banks dispute, somebody tampers.

Each function finds the object in whichever account has it, does the thing with its events, writes it down and returns the object as
the API shows it. Refusals are `StripeError`, as at Stripe.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tollgate_sandbox.collection import attempt_failed, must_be_payable, pay_with_card, receive
from tollgate_sandbox.currencies import MAXIMUM_CHARGE, SUPPORTED, show
from tollgate_sandbox.disputes import end_dispute, open_dispute
from tollgate_sandbox.errors import StripeError, no_such
from tollgate_sandbox.payments import (
    Card,
    begin_debit,
    charge_card,
    charges_of,
    end_debit,
    payments_under_way,
    resize_default_payment,
)
from tollgate_sandbox.refunds import fail_refund, refund_charge, settle_refund
from tollgate_sandbox.store import Account, Object, World
from tollgate_sandbox.views import changing, invoice_items, render

DECLINED = Card(last4="0002", decline_code="generic_decline")
REFUND_OUTCOMES = ("succeeded", "pending", "failed")


def perform(account: Account, invoice: Object, outcome: str, amount: int | None = None) -> Object:
    """Let somebody pay, in one of the ways of `OUTCOMES`; `amount` in minor units goes with those in `WITH_AMOUNT`.

    Returns the charge. Raises `StripeError`, also for the decline (402), after its events were emitted.
    """
    if outcome not in OUTCOMES:
        raise StripeError(f"outcome must be one of {', '.join(OUTCOMES)}", param="outcome")
    if amount is not None and outcome not in WITH_AMOUNT:
        raise StripeError(f"amount goes with the outcomes {', '.join(WITH_AMOUNT)}", param="amount")
    return _OUTCOMES[outcome](account, invoice, amount)


def _paid(account: Account, invoice: Object, _amount: int | None) -> Object:
    return pay_with_card(account, invoice, invoice["amount_remaining"], Card())


def _declined(account: Account, invoice: Object, _amount: int | None) -> Object:
    return pay_with_card(account, invoice, invoice["amount_remaining"], DECLINED)


def _partial(account: Account, invoice: Object, amount: int | None) -> Object:
    must_be_payable(invoice)
    return pay_with_card(account, invoice, max(invoice["amount_remaining"] // 2, 1) if amount is None else amount, Card())


def _over(account: Account, invoice: Object, amount: int | None) -> Object:
    must_be_payable(invoice)
    remaining = invoice["amount_remaining"]
    wanted = remaining + max(remaining // 10, 1) if amount is None else amount
    if not remaining < wanted <= MAXIMUM_CHARGE:
        raise StripeError(f"To pay too much, pay more than {show(remaining, invoice['currency'])}.", param="amount")
    return _charged(account, invoice, wanted)


def _double(account: Account, invoice: Object, _amount: int | None) -> Object:
    """Two tabs: both payments were begun while the invoice was open. On a paid invoice: the second tab of the last payment."""
    if invoice["status"] == "paid":
        paid = [charge for charge in charges_of(account, invoice) if charge["paid"]]
        if not paid:
            raise StripeError(f"Invoice {invoice['id']} was not paid by card, so nobody has a second tab open.")
        return _charged(account, invoice, paid[-1]["amount"])
    must_be_payable(invoice)
    asked = invoice["amount_remaining"]
    _charged(account, invoice, asked)
    return _charged(account, invoice, asked)


def _charged(account: Account, invoice: Object, amount: int) -> Object:
    charge = charge_card(account, invoice, amount, Card())
    receive(account, invoice, amount)
    return charge


def _processing(account: Account, invoice: Object, amount: int | None) -> Object:
    must_be_payable(invoice)
    wanted = invoice["amount_remaining"] if amount is None else amount
    if not 0 < wanted <= MAXIMUM_CHARGE:
        raise StripeError("The amount must be above zero.", param="amount")
    return begin_debit(account, invoice, wanted)


def _settle(account: Account, invoice: Object, _amount: int | None) -> Object:
    charge = end_debit(account, _under_way(account, invoice), bounced=False)
    receive(account, invoice, charge["amount"])
    return charge


def _bounce(account: Account, invoice: Object, _amount: int | None) -> Object:
    payment = _under_way(account, invoice)
    charge = end_debit(account, payment, bounced=True)
    if invoice["status"] in ("open", "uncollectible"):
        attempt_failed(account, invoice)
        resize_default_payment(account, invoice)
    elif payment["is_default"]:
        payment["status"] = "canceled"
        account.save(payment)
    return charge


def _late(account: Account, invoice: Object, amount: int | None) -> Object:
    if invoice["status"] != "void":
        raise StripeError(f"Only on a void invoice is a payment late; this one is {invoice['status']}.")
    return _charged(account, invoice, invoice["amount_remaining"] if amount is None else amount)


def _under_way(account: Account, invoice: Object) -> Object:
    found = payments_under_way(account, invoice)
    if not found:
        raise StripeError(f"No bank debit is under way for invoice {invoice['id']}.")
    return found[0]


_OUTCOMES: dict[str, Callable[[Account, Object, int | None], Object]] = {
    "paid": _paid,
    "declined": _declined,
    "partial": _partial,
    "over": _over,
    "double": _double,
    "processing": _processing,
    "settle": _settle,
    "bounce": _bounce,
    "late": _late,
}
OUTCOMES = tuple(_OUTCOMES)
"""paid; declined; partial (half unless an amount); over (a tenth too much unless an amount); double (two tabs); processing (a bank
debit begins), then settle or bounce; late (a payment that was confirmed before the invoice was made void succeeds after it)."""
WITH_AMOUNT = ("partial", "over", "processing", "late")


def pay(world: World, invoice_id: str, outcome: str = "paid", amount: int | None = None) -> tuple[Object, Object, Object | None]:
    """Pay an invoice: (invoice, charge, the decline's error or None)."""
    account, invoice = find(world, "invoice", invoice_id)
    error = None
    try:
        charge = perform(account, invoice, outcome, amount)
    except StripeError as refusal:
        if refusal.status != 402:
            raise
        error = refusal.body["error"]
        charge = account.get("charge", error["charge"])
    finally:
        world.commit()
    return render(account, invoice), render(account, charge), error


def refund(world: World, about: str, amount: int | None = None, outcome: str = "succeeded", reason: str | None = None) -> Object:
    """Refund a charge, or the newest charge of an invoice that has enough left."""
    if outcome not in REFUND_OUTCOMES:
        raise StripeError(f"outcome must be one of {', '.join(REFUND_OUTCOMES)}", param="outcome")
    account, charge = _charge(world, about, lambda row: row["amount_captured"] - row["amount_refunded"] >= (amount or 1))
    made = refund_charge(account, charge, amount, reason, {}, pending=outcome != "succeeded")
    if outcome == "succeeded":
        settle_refund(account, made)
    elif outcome == "failed":
        fail_refund(account, made)
    world.commit()
    return render(account, made)


def end_refund(world: World, refund_id: str, *, failed: bool) -> Object:
    """A refund arrives or comes back."""
    account, made = find(world, "refund", refund_id)
    (fail_refund if failed else settle_refund)(account, made)
    world.commit()
    return render(account, made)


def dispute(world: World, about: str, reason: str = "fraudulent", amount: int | None = None) -> Object:
    """Dispute a charge, or the newest charge of an invoice that was not disputed."""
    account, charge = _charge(world, about, lambda row: not row["disputed"] and row["amount_captured"] > row["amount_refunded"])
    opened = open_dispute(account, charge, reason, amount)
    world.commit()
    return render(account, opened)


def close_dispute(world: World, dispute_id: str, *, won: bool) -> Object:
    """Decide a dispute."""
    account, opened = find(world, "dispute", dispute_id)
    end_dispute(account, opened, won=won)
    world.commit()
    return render(account, opened)


def tamper(world: World, invoice_id: str, *, total: int | None = None, currency: str | None = None, number: str | None = None) -> Object:
    """Change what Stripe's API would not let anybody change. The lines and the open payment follow, as if it had been so all along."""
    account, invoice = find(world, "invoice", invoice_id)
    items = invoice_items(account, invoice)
    if total is not None and (not items or not 0 <= total <= MAXIMUM_CHARGE):
        raise StripeError("total must not be below zero, and the invoice needs a line that can carry it.", param="total")
    if currency is not None and currency.lower() not in SUPPORTED:
        raise StripeError(f"Invalid currency: {currency}", param="currency")
    with changing(account, invoice, updated="invoice.updated"):
        if total is not None:
            _set_total(account, invoice, items, total)
        if currency is not None:
            _set_currency(account, invoice, items, currency.lower())
        if number is not None:
            invoice["number"] = number
    if invoice["status"] in ("open", "uncollectible") and invoice["amount_remaining"]:
        resize_default_payment(account, invoice)
    world.commit()
    return render(account, invoice)


def _set_total(account: Account, invoice: Object, items: list[Object], total: int) -> None:
    change = total - invoice["total"]
    items[-1]["amount"] += change
    account.save(items[-1])
    due = max(invoice["amount_due"] + change, 0)
    invoice.update(subtotal=total, subtotal_excluding_tax=total, total=total, total_excluding_tax=total, amount_due=due)
    invoice["amount_remaining"] = 0 if invoice["status"] == "paid" else max(due - invoice["amount_paid"], 0)


def _set_currency(account: Account, invoice: Object, items: list[Object], currency: str) -> None:
    invoice["currency"] = currency
    open_payments = [row for row in account.all("invoice_payment") if row["invoice"] == invoice["id"] and row["status"] == "open"]
    intents = [account.get("payment_intent", row["payment"]["payment_intent"]) for row in open_payments]
    for thing in (*items, *open_payments, *intents):
        thing["currency"] = currency
        account.save(thing)


def events(world: World, account_id: str) -> list[Object]:
    """Every event of an account as a webhook carries it, oldest first; copies, so that nobody changes ours."""
    account = world.accounts.get(account_id)
    shown = [] if account is None else [render(account, event) for event in account.all("event")]
    copies: list[Object] = json.loads(json.dumps(shown))
    return copies


def find(world: World, kind: str, identifier: str) -> tuple[Account, Object]:
    """An object and whose it is, or Stripe's resource_missing."""
    for account in world.accounts.values():
        found = account.table(kind).get(identifier)
        if found is not None:
            return account, found
    raise no_such(kind, identifier)


def _charge(world: World, about: str, fits: Callable[[Object], bool]) -> tuple[Account, Object]:
    if about.startswith("ch_"):
        return find(world, "charge", about)
    account, invoice = find(world, "invoice", about)
    charges = [charge for charge in charges_of(account, invoice) if charge["paid"]]
    if not charges:
        raise StripeError(f"Nobody has paid invoice {about} by card or debit.")
    # None that fits: the newest says why in Stripe's words.
    return account, next((charge for charge in reversed(charges) if fits(charge)), charges[-1])
