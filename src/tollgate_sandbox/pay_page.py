"""The hosted pay page of an invoice: for people, on a phone first, without script. Opening it changes nothing; only its buttons do."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from tollgate_sandbox import actions
from tollgate_sandbox.asgi import Request, Response, see_other
from tollgate_sandbox.currencies import exponent, show
from tollgate_sandbox.disputes import OPEN
from tollgate_sandbox.errors import StripeError
from tollgate_sandbox.pages import message_page, page_response
from tollgate_sandbox.payments import charges_of, intent_of, payments_under_way
from tollgate_sandbox.pdf import plain_pdf
from tollgate_sandbox.store import Account, Object, World
from tollgate_sandbox.views import invoice_items, invoice_page

SELLER_ACTIONS = ("refund", "refund-fails", "dispute", "won", "lost")
"""What the seller's dashboard and the payer's bank can do here, besides paying."""


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
        if request.method == "POST" and len(parts) == 3 and parts[2] in (*actions.OUTCOMES, *SELLER_ACTIONS):
            return self._act(account, invoice, parts[2], request.form.get("amount", "").strip())
        if request.method not in ("GET", "HEAD"):
            return message_page("That does not work here", "This page can be read, and paid with its buttons.", 405)
        if len(parts) == 3:
            return _invoice_pdf(account, invoice) if parts[2] == "pdf" else see_other(str(invoice_page(account, invoice)))
        return _page(account, invoice)

    def _act(self, account: Account, invoice: Object, act: str, amount_text: str) -> Response:
        try:
            # A part must be said; elsewhere an empty field means the usual amount.
            amount = _minor(amount_text, invoice) if amount_text or act == "partial" else None
            if act in SELLER_ACTIONS:
                self._as_seller(account, invoice, act, amount)
            else:
                actions.perform(account, invoice, act, amount)
        except StripeError as refusal:
            self.world.commit()
            status = 200 if refusal.status == 402 else refusal.status
            return _page(account, invoice, problem=str(refusal), act=act, typed=amount_text, status=status)
        self.world.commit()
        return see_other(str(invoice_page(account, invoice)))

    def _as_seller(self, account: Account, invoice: Object, act: str, amount: int | None) -> None:
        if act == "dispute":
            actions.dispute(self.world, invoice["id"], amount=amount)
        elif act in ("won", "lost"):
            for dispute in _open_disputes(account, invoice):
                actions.close_dispute(self.world, dispute["id"], won=act == "won")
        else:
            actions.refund(self.world, invoice["id"], amount, "failed" if act == "refund-fails" else "succeeded")


def _open_disputes(account: Account, invoice: Object) -> list[Object]:
    charges = {charge["id"] for charge in charges_of(account, invoice)}
    return [row for row in account.all("dispute") if row["charge"] in charges and row["status"] in OPEN]


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


def _page(account: Account, invoice: Object, *, problem: str | None = None, act: str = "", typed: str = "", status: int = 200) -> Response:
    payments = [row for row in charges_of(account, invoice) if row["paid"]]
    places, remaining = exponent(invoice["currency"]), invoice["amount_remaining"]
    usual = {"partial": max(remaining // 2, 1), "over": remaining + max(remaining // 10, 1)}
    return page_response(
        "pay.html",
        status,
        account=account,
        invoice=invoice,
        items=invoice_items(account, invoice),
        payments=payments,
        under_way=[intent_of(account, row) for row in payments_under_way(account, invoice)],
        disputes=[row for row in account.all("dispute") if row["charge"] in {charge["id"] for charge in payments}],
        disputable=any(not row["disputed"] and row["amount"] > row["amount_refunded"] for row in payments),
        refundable=any(row["amount"] > row["amount_refunded"] and not row["disputed"] for row in payments),
        problem=problem,
        act=act,
        typed={name: f"{Decimal(minor).scaleb(-places):f}" for name, minor in usual.items()} | {act: typed},
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
