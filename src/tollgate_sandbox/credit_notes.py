"""Credit notes: before payment they lower what is due, after payment they need a refund, a balance credit or money given outside."""

from __future__ import annotations

from typing import Any

from tollgate_sandbox.calls import Call, merge_metadata
from tollgate_sandbox.collection import mark_paid
from tollgate_sandbox.customers import move_balance
from tollgate_sandbox.errors import StripeError, parameter_error, unsupported
from tollgate_sandbox.payments import cancel_open_payments, charges_of, resize_default_payment
from tollgate_sandbox.refunds import refund_charge
from tollgate_sandbox.store import Account, Object, new_id
from tollgate_sandbox.views import changing, emit, invoice_items, list_of, page, render


def create(call: Call) -> Object:
    """POST /v1/credit_notes."""
    params, account = call.params, call.account
    if "shipping_cost" in params:
        raise unsupported("shipping_cost")
    metadata = merge_metadata({}, params.get("metadata", {}))
    invoice = account.get("invoice", params["invoice"], "invoice", 400)
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise StripeError(
            f"You can only create credit notes for finalized invoices that are not void; this one is {invoice['status']}.", param="invoice"
        )
    lines, total = _lines(account, invoice, params)
    _check_total(account, invoice, total)
    before = min(total, invoice["amount_remaining"])
    after = total - before
    refunds = _linked_refunds(account, params)
    _check_split(params, after, sum(link["amount_refunded"] for link in refunds))
    charge = _charge_for(account, invoice, params["refund_amount"]) if params.get("refund_amount") else None
    if charge is not None:
        refund = refund_charge(account, charge, params["refund_amount"], None, {})
        refunds.append({"amount_refunded": refund["amount"], "payment_record_refund": None, "refund": refund["id"], "type": "refund"})
    if params.get("credit_amount"):
        customer = account.get("customer", invoice["customer"])
        move_balance(account, customer, invoice["currency"], -params["credit_amount"], "credit_note", invoice["id"])
    note = account.save(_note(account, invoice, params, lines, total, before) | {"metadata": metadata, "refunds": refunds})
    emit(account, "credit_note.created", render(account, note))
    _take_off(account, invoice, before, after)
    return render(account, note)


def retrieve(call: Call) -> Object:
    """GET /v1/credit_notes/{id}."""
    return render(call.account, call.account.get("credit_note", call.ids[0], "id"))


def list_all(call: Call) -> Object:
    """GET /v1/credit_notes, newest first, by customer and invoice."""
    params = call.params
    if "customer_account" in params:
        raise unsupported("customer_account")
    rows = [
        row for row in call.account.all("credit_note") if all(params.get(name, row[name]) == row[name] for name in ("customer", "invoice"))
    ]
    return page(call.account, rows, params, "/v1/credit_notes")


def void(call: Call) -> Object:
    """POST /v1/credit_notes/{id}/void: only while the invoice is open; what was taken off is due again."""
    account = call.account
    note = account.get("credit_note", call.ids[0], "id")
    invoice = account.get("invoice", note["invoice"])
    if note["status"] == "void":
        raise StripeError("This credit note is already void.")
    if invoice["status"] != "open" or note["post_payment_amount"]:
        raise StripeError("You can only void a credit note whose invoice is open and that gave nothing back.")
    with changing(account, note, "credit_note.voided"):
        note.update(status="void", voided_at=account.now())
    amount = note["pre_payment_amount"]
    with changing(account, invoice, updated="invoice.updated"):
        invoice["pre_payment_credit_notes_amount"] -= amount
        invoice.update(amount_due=invoice["amount_due"] + amount, amount_remaining=invoice["amount_remaining"] + amount)
    resize_default_payment(account, invoice)
    return render(account, note)


def _lines(account: Account, invoice: Object, params: dict[str, Any]) -> tuple[list[Object], int]:
    if "lines" not in params:
        if "amount" not in params:
            raise parameter_error("You must supply one of amount, lines or shipping_cost.", "amount", "parameter_missing")
        return [_line("custom_line_item", params["amount"], params.get("memo"), None, 1, {})], params["amount"]
    items = {item["_line"]: item for item in invoice_items(account, invoice)}
    lines = [_one_line(line, items, f"lines[{index}]") for index, line in enumerate(params["lines"])]
    total = sum(line["amount"] for line in lines)
    if params.get("amount", total) != total:
        raise parameter_error(f"The sum of the lines ({total}) must equal the amount ({params['amount']}).", "amount")
    return lines, total


def _one_line(line: dict[str, Any], items: dict[str, Object], where: str) -> Object:
    for name in ("tax_rates", "tax_amounts", "unit_amount_decimal"):
        if line.get(name):
            raise unsupported(f"{where}[{name}]")
    metadata = line.get("metadata", {})
    if line["type"] == "custom_line_item":
        if "unit_amount" not in line or "description" not in line:
            raise parameter_error("A custom_line_item needs a description and a unit_amount.", f"{where}[unit_amount]", "parameter_missing")
        quantity = line.get("quantity", 1)
        return _line("custom_line_item", line["unit_amount"] * quantity, line["description"], None, quantity, metadata)
    item = items.get(line.get("invoice_line_item", ""))
    if item is None:
        raise StripeError(
            f"No such invoice line item: '{line.get('invoice_line_item')}'", code="resource_missing", param=f"{where}[invoice_line_item]"
        )
    if "amount" not in line and line.get("quantity", item["quantity"]) != item["quantity"]:
        raise unsupported(f"{where}[quantity]")
    amount: int = line["amount"] if "amount" in line else item["amount"]
    if abs(amount) > abs(item["amount"]) or amount * item["amount"] < 0:
        raise parameter_error(f"The amount must not exceed the line's ({item['amount']}).", f"{where}[amount]")
    return _line("invoice_line_item", amount, line.get("description") or item["description"], item["_line"], item["quantity"], metadata)


def _line(kind: str, amount: int, description: str | None, line_id: str | None, quantity: int, metadata: dict[str, str]) -> Object:
    return {
        "id": new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": line_id,
        "livemode": False,
        "metadata": metadata,
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "taxes": [],
        "type": kind,
        "unit_amount": amount if quantity == 1 else None,
        "unit_amount_decimal": None,
    }


def _check_total(account: Account, invoice: Object, total: int) -> None:
    if total < 1:
        raise parameter_error("The amount of a credit note must be at least 1.", "amount", "parameter_invalid_integer")
    credited = sum(row["total"] for row in account.all("credit_note") if row["invoice"] == invoice["id"] and row["status"] == "issued")
    left = invoice["total"] - credited
    if total > left:
        raise StripeError(
            f"The credit note amount ({total}) is more than what can still be credited on the invoice ({left}).", param="amount"
        )


def _check_split(params: dict[str, Any], after: int, linked: int) -> None:
    given = sum(params.get(name, 0) for name in ("refund_amount", "credit_amount", "out_of_band_amount")) + linked
    if given != after:
        raise StripeError(
            "The sum of refund_amount, credit_amount, out_of_band_amount and refunds "
            f"({given}) must equal the part of the credit note that comes after payment ({after}).",
            param="amount",
        )


def _linked_refunds(account: Account, params: dict[str, Any]) -> list[Object]:
    links = []
    for index, link in enumerate(params.get("refunds", [])):
        if link.get("type", "refund") != "refund" or "payment_record_refund" in link:
            raise unsupported(f"refunds[{index}][payment_record_refund]")
        refund = account.get("refund", link.get("refund", ""), f"refunds[{index}][refund]", 400)
        amount = link.get("amount_refunded", refund["amount"])
        links.append({"amount_refunded": amount, "payment_record_refund": None, "refund": refund["id"], "type": "refund"})
    return links


def _charge_for(account: Account, invoice: Object, amount: int) -> Object:
    for charge in charges_of(account, invoice):
        if charge["status"] == "succeeded" and charge["amount_captured"] - charge["amount_refunded"] >= amount:
            return charge
    raise StripeError("There is no charge on this invoice that can be refunded by refund_amount.", param="refund_amount")


def _note(account: Account, invoice: Object, params: dict[str, Any], lines: list[Object], total: int, before: int) -> Object:
    count = sum(row["invoice"] == invoice["id"] for row in account.all("credit_note"))
    identifier, moment = new_id("cn"), account.now()
    return {
        "id": identifier,
        "object": "credit_note",
        "amount": total,
        "amount_shipping": 0,
        "created": moment,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": params.get("effective_at", moment),
        "invoice": invoice["id"],
        "lines": list_of(lines, f"/v1/credit_notes/{identifier}/lines"),
        "livemode": False,
        "memo": params.get("memo"),
        "number": f"{invoice['number']}-CN-{count + 1:02}",
        "out_of_band_amount": params.get("out_of_band_amount"),
        "post_payment_amount": total - before,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "reason": params.get("reason"),
        "shipping_cost": None,
        "status": "issued",
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
        "total_taxes": [],
        "type": "pre_payment" if before == total else "mixed" if before else "post_payment",
        "voided_at": None,
        "_secret": new_id("test", 40),
    }


def _take_off(account: Account, invoice: Object, before: int, after: int) -> None:
    with changing(account, invoice, updated="invoice.updated"):
        invoice["pre_payment_credit_notes_amount"] += before
        invoice["post_payment_credit_notes_amount"] += after
        invoice.update(amount_due=invoice["amount_due"] - before, amount_remaining=invoice["amount_remaining"] - before)
    if invoice["status"] == "paid" or not before:
        return
    if invoice["amount_remaining"] == 0:
        cancel_open_payments(account, invoice)
        mark_paid(account, invoice)
    else:
        resize_default_payment(account, invoice)
