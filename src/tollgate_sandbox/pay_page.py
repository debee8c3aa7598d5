"""The hosted pay page of an invoice: for people, on a phone first, without script. Opening it changes nothing; only its buttons do."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from tollgate_sandbox.asgi import Request, Response, see_other
from tollgate_sandbox.collection import must_be_payable, pay_with_card
from tollgate_sandbox.currencies import exponent, show
from tollgate_sandbox.errors import StripeError
from tollgate_sandbox.pages import message_page, page_response
from tollgate_sandbox.payments import Card
from tollgate_sandbox.pdf import plain_pdf
from tollgate_sandbox.store import Account, Object, World
from tollgate_sandbox.views import invoice_items, invoice_page

DECLINED = Card(last4="0002", decline_code="generic_decline")
OUTCOMES = ("paid", "declined", "partial")


class PayPages:
    """`/pay/<account>/<secret>` and what hangs below it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def handle(self, request: Request) -> Response:
        """Show the page, or do what its button says and show the page again."""
        parts = request.path.strip("/").split("/")[1:]
        account = self.world.accounts.get(parts[0]) if parts else None
        if account is not None and len(parts) == 4 and parts[1] == "credit" and parts[3] == "pdf":
            return _credit_note_pdf(account, parts[2])
        invoice = _by_secret(account, "invoice", parts[1]) if account is not None and len(parts) in (2, 3) else None
        if account is None or invoice is None or invoice["status"] == "draft":
            return message_page("There is no such pay page", "The link is wrong or the invoice was never finalized.", 404)
        if request.method == "POST" and len(parts) == 3 and parts[2] in OUTCOMES:
            return self._act(account, invoice, parts[2], request.form.get("amount", ""))
        if request.method not in ("GET", "HEAD"):
            return message_page("That does not work here", "This page can be read, and paid with its buttons.", 405)
        if len(parts) == 3:
            return _invoice_pdf(account, invoice) if parts[2] == "pdf" else see_other(str(invoice_page(account, invoice)))
        return _page(account, invoice)

    def _act(self, account: Account, invoice: Object, outcome: str, amount_text: str) -> Response:
        try:
            amount = _minor(amount_text, invoice) if outcome == "partial" else None
            perform(account, invoice, outcome, amount)
        except StripeError as refusal:
            self.world.commit()
            return _page(account, invoice, problem=str(refusal), typed=amount_text, status=refusal.status if refusal.status != 402 else 200)
        self.world.commit()
        return see_other(str(invoice_page(account, invoice)))


def perform(account: Account, invoice: Object, outcome: str, amount: int | None = None) -> Object:
    """Let somebody pay: all that remains (`paid`), a part (`partial`, half unless `amount` minor units are given), or `declined`.

    Returns the charge. Raises `StripeError`, also for the decline (402), after its events were emitted.
    """
    must_be_payable(invoice)
    if outcome == "declined":
        return pay_with_card(account, invoice, invoice["amount_remaining"], DECLINED)
    if outcome == "partial":
        return pay_with_card(account, invoice, max(invoice["amount_remaining"] // 2, 1) if amount is None else amount, Card())
    return pay_with_card(account, invoice, invoice["amount_remaining"], Card())


def _minor(text: str, invoice: Object) -> int:
    places = exponent(invoice["currency"])
    try:
        value = Decimal(text.strip().replace(",", ".")).scaleb(places)
        if value.is_finite() and value == int(value):
            return int(value)
    except InvalidOperation:
        pass
    raise StripeError(
        f"'{text[:40]}' is not an amount in {invoice['currency'].upper()} with at most {places} decimal places.", param="amount"
    )


def _page(account: Account, invoice: Object, *, problem: str | None = None, typed: str = "", status: int = 200) -> Response:
    intents = {row["payment"]["payment_intent"] for row in account.all("invoice_payment") if row["invoice"] == invoice["id"]}
    payments = [row for row in account.all("charge") if row["payment_intent"] in intents and row["paid"]]
    half = Decimal(max(invoice["amount_remaining"] // 2, 1)).scaleb(-exponent(invoice["currency"]))
    return page_response(
        "pay.html",
        status,
        account=account,
        invoice=invoice,
        items=invoice_items(account, invoice),
        payments=payments,
        problem=problem,
        typed=typed or f"{half:f}",
        address=invoice_page(account, invoice),
    )


def _by_secret(account: Account, kind: str, secret: str) -> Object | None:
    return next((row for row in account.all(kind) if row["_secret"] == secret), None)


def _invoice_pdf(account: Account, invoice: Object) -> Response:
    currency = invoice["currency"]
    lines = ["SANDBOX: this is not Stripe; no money moves.", "", f"Invoice {invoice['number']} ({invoice['status']})", ""]
    lines += [f"{(item['description'] or '')[:70]}   {show(item['amount'], currency)}" for item in invoice_items(account, invoice)[:35]]
    lines += ["", f"Total {show(invoice['total'], currency)}", f"Left to pay {show(invoice['amount_remaining'], currency)}"]
    return Response(plain_pdf(lines), content_type="application/pdf")


def _credit_note_pdf(account: Account, secret: str) -> Response:
    note = _by_secret(account, "credit_note", secret)
    if note is None:
        return message_page("There is no such document", "The link is wrong.", 404)
    lines = [
        "SANDBOX: this is not Stripe; no money moves.",
        "",
        f"Credit note {note['number']}",
        f"Total {show(note['total'], note['currency'])}",
    ]
    return Response(plain_pdf(lines), content_type="application/pdf")
