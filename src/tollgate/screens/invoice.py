"""The invoice page: the document as issued, what was paid of it, and where it stands at Stripe."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.billing.pages import reasons_against_void
from tollgate.billing.service_views import show_invoice
from tollgate.db.database import Database
from tollgate.errors import Message, _
from tollgate.money.amount import Money
from tollgate.parties import queries as parties
from tollgate.payments import queries as payments
from tollgate.screens.activity import activity_of
from tollgate.screens.client_queries import kept_as_credit
from tollgate.web.forms import Form
from tollgate.web.rendering import page

READ = [requires(Permission.READ)]
STRIPE_WORDS: dict[str, tuple[str, Message, Message]] = {
    "none": ("neutral", _("Not connected"), _("No Stripe account is connected; the client pays by bank transfer.")),
    "waiting": ("waiting", _("Waiting"), _("It is handed to Stripe in a moment. The mail does not wait for that.")),
    "customer": ("waiting", _("Being handed over"), _("The client is known at Stripe; the invoice follows.")),
    "draft": ("waiting", _("Being handed over"), _("A draft lies at Stripe; its lines follow.")),
    "lines": ("waiting", _("Being handed over"), _("The lines are at Stripe; the totals are compared next.")),
    "compared": ("waiting", _("Being handed over"), _("Stripe's total is the same as ours; it is made payable next.")),
    "finalized": ("on_time", _("Payable online"), _("The client can pay by card or transfer on Stripe's page.")),
    "sent": ("on_time", _("Payable online"), _("The client can pay on Stripe's page; our mail and pages lead there.")),
    "voided": ("neutral", _("Withdrawn"), _("It can no longer be paid at Stripe.")),
    "not_needed": ("neutral", _("Nothing to collect"), _("There is nothing to pay online.")),
    "below_minimum": (
        "neutral",
        _("Below the card minimum"),
        _("What is open is less than a card can be charged with; it is paid by bank transfer."),
    ),
    "stopped": ("overdue", _("Stopped"), _("Stripe holds something else than our invoice says, so nothing goes on before somebody looks.")),
}
"""Tone, word and sentence of each step."""


@get("/invoices/{invoice_id:uuid}", guards=READ)
async def invoice_page(
    request: Request[Any, Any, Any], invoice_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """One invoice."""
    async with db.reading(caller.organization_id) as session:
        invoice = await show_invoice(session, caller.organization_id, invoice_id)
        seller = await parties.organization(session, caller.organization_id)
        asked = payments.PaymentsAsked(invoice_id=invoice_id, limit=100)
        received = await payments.list_payments(session, caller.organization_id, asked)
        billed_to = await parties.billing_contacts_of(session, caller.organization_id, invoice.client_id)
        subjects = {invoice_id, *(one.id for one in received)}
        activity = await activity_of(session, caller.organization_id, subjects=subjects, limit=50)
    return page(
        "screens/invoice.html",
        shell=shell_for(request, "invoices"),
        form=Form.empty(csrf_token=csrf_token_for(request), values={"version": invoice.version}),
        invoice=invoice,
        payments=[_for_this(one, invoice_id) for one in received],
        kept=kept_as_credit(received, invoice),
        billed_to=[one.name for one in billed_to],
        activity=activity,
        stripe=_stripe_words(invoice.stripe.step, invoice.state, paid_there=any(_paid_there(one, invoice_id) for one in received)),
        reasons=reasons_against_void(invoice),
        zone=seller.time_zone,
        may_bill=caller.may(Permission.BILL),
        is_admin=caller.may(Permission.ADMINISTER),
    )


@dataclass(frozen=True, slots=True)
class Settling:
    """A payment as the invoice shows it."""

    payment: payments.PaymentShown
    came: Money | None
    """What came for this invoice: all of it where it was paid on its page, else its part; None for nothing (any more)."""
    credit: Money | None
    """What of it is client credit, where it was made for this invoice."""


def _for_this(payment: payments.PaymentShown, invoice_id: UUID) -> Settling:
    settled = next((part.amount for part in payment.allocations if part.invoice_id == invoice_id), None)
    mine = payment.made_for is not None and payment.made_for.invoice_id == invoice_id
    return Settling(
        payment, payment.amount if mine else settled, payment.client_credit if mine and payment.client_credit.is_positive else None
    )


def _paid_there(payment: payments.PaymentShown, invoice_id: UUID) -> bool:
    return payment.method == "stripe" and payment.made_for is not None and payment.made_for.invoice_id == invoice_id


def _stripe_words(step: str, state: str, *, paid_there: bool) -> tuple[str, Message, Message]:
    if state == "paid" and step in {"finalized", "sent", "below_minimum"}:
        return "paid", _("Settled"), _("There is nothing left to pay at Stripe.")
    if step == "voided" and paid_there:
        tone, _word, says = STRIPE_WORDS[step]
        return tone, _("Closed at Stripe"), says
    return STRIPE_WORDS.get(step, STRIPE_WORDS["waiting"])


handlers = [invoice_page]
