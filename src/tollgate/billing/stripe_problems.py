"""What can be wrong with an invoice at Stripe: a code with its facts on the invoice, a sentence for whoever reads it.

The row keeps the English sentence, too: for the API, for the audit trail, and for problems of before codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tollgate.errors import Invalid, Message, _
from tollgate.money.amount import Money

SENTENCES: Mapping[str, Message] = {
    "refused": _("%(answer)s"),
    "key_refused": _("%(answer)s"),
    "differs": _("Stripe's invoice differs in %(what)s: ours is %(ours)s, Stripe's is %(theirs)s"),
    "unpaid": _("Stripe calls %(number)s paid, but no payment of it is there: look at the customer's balance, or record the transfer"),
    "marked_paid": _(
        "%(number)s was marked paid at Stripe before its payment was taken back, and Stripe does not open it again: collect by transfer"
    ),
    "withdrawn": _(
        "%(number)s was withdrawn at Stripe before its payment was taken back, and Stripe does not open it again: collect by transfer"
    ),
    "voided_there": _("Somebody made this invoice void at Stripe; it can be paid by transfer"),
    "went_back": _(
        "%(amount)s went back to the payer, and Stripe cannot reopen a paid invoice: collect %(open)s by transfer, or credit the invoice"
    ),
    "asks_less": _("Stripe asks for %(theirs)s of the %(open)s that are open, since money went back: collect the rest by transfer"),
    "no_whole_amount": _("%(count)s minor units of %(currency)s at Stripe are no whole amount of ours"),
    "foreign_money": _("Money came in %(currency)s, the invoice is in %(own)s"),
    "foreign_return": _("A refund or dispute at Stripe is in %(currency)s, the payment was in %(own)s"),
    "more_back": _("Refunds and lost disputes of a payment come to %(back)s, and only %(amount)s was paid: the rest is not booked"),
}
_FIELDS: Mapping[str, Message] = {
    "number": _("number"),
    "currency": _("currency"),
    "total": _("total"),
    "amount_due": _("amount due"),
    "amount_paid": _("amount paid"),
    "metadata": _("our reference"),
}
_AMOUNTS = frozenset(("ours", "theirs", "amount", "open", "back"))


@dataclass(frozen=True, slots=True)
class StripeProblem:
    """One thing that somebody has to look at. Facts are text: amounts as `1200.00 EUR`, fields by their names."""

    code: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def english(self) -> str:
        """The sentence as it is stored beside the code."""
        return str(sentence(self.code, self.facts))[:500]


def sentence(code: str | None, facts: Mapping[str, str] | None, stored: str = "") -> Message:
    """The problem for a reader, in the reader's language once it is shown; `stored` where the code is not known."""
    if code is None or code not in SENTENCES:
        return _("%(problem)s", problem=stored)
    return Message(SENTENCES[code].text, {name: _argument(name, text) for name, text in (facts or {}).items()})


def _argument(name: str, text: str) -> str | Money | Message:
    if name == "what":
        found = [_FIELDS.get(one) or _("%(name)s", name=one) for one in text.split(" ")]
        listed = found[0]
        for one in found[1:]:
            listed = _("%(first)s, %(then)s", first=listed, then=one)
        return listed
    if name not in _AMOUNTS:
        return text
    decimal, _space, currency = text.rpartition(" ")
    try:
        return Money.parse(decimal, currency)
    except Invalid:
        # Minor units that are no amount of ours.
        return text
