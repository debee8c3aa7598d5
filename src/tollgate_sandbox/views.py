"""How objects are shown: private members left out, lines and links added, `expand`, lists with cursors, events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from stripe._api_version import _ApiVersion

from tollgate_sandbox.errors import StripeError, no_such, parameter_error
from tollgate_sandbox.store import Account, Object, new_id

API_VERSION = _ApiVersion.CURRENT
"""The version whose shapes the sandbox answers: the one that the installed `stripe` library pins."""


def render(account: Account, thing: Object) -> Object:
    """The object as the API shows it."""
    shown = {name: value for name, value in thing.items() if not name.startswith("_")}
    if thing["object"] == "invoice":
        shown["lines"] = list_of(invoice_lines(account, thing), f"/v1/invoices/{thing['id']}/lines", limit=10, counted=True)
        page = invoice_page(account, thing)
        shown["hosted_invoice_url"] = page
        shown["invoice_pdf"] = f"{page}/pdf" if page else None
    elif thing["object"] == "customer":
        balances: dict[str, int] = thing["_balances"]
        shown["balance"] = balances.get(thing["currency"] or account_currency(account), 0)
        shown["invoice_credit_balance"] = dict(balances)
    elif thing["object"] == "credit_note":
        shown["pdf"] = f"{account.world.base_url}/pay/{account.id}/credit/{thing['_secret']}/pdf"
    return shown


def account_currency(account: Account) -> str:
    """The account's default currency."""
    return "eur"


def invoice_page(account: Account, invoice: Object) -> str | None:
    """Address of the hosted pay page; there is none before finalization."""
    if invoice["status_transitions"]["finalized_at"] is None:
        return None
    return f"{account.world.base_url}/pay/{account.id}/{invoice['_secret']}"


def invoice_items(account: Account, invoice: Object) -> list[Object]:
    """The items attached to an invoice, oldest first."""
    table = account.table("invoiceitem")
    return [table[identifier] for identifier in invoice["_items"]]


def invoice_lines(account: Account, invoice: Object) -> list[Object]:
    """The invoice's lines in Stripe's shape."""
    return [_line(item, invoice) for item in invoice_items(account, invoice)]


def _line(item: Object, invoice: Object) -> Object:
    details = {"invoice_item": item["id"], "proration": False, "proration_details": {"credited_items": None}, "subscription": None}
    return {
        "id": item["_line"],
        "object": "line_item",
        "amount": item["amount"],
        "currency": item["currency"],
        "description": item["description"],
        "discount_amounts": [],
        "discountable": item["discountable"],
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": dict(item["metadata"]),
        "parent": {"invoice_item_details": details, "subscription_item_details": None, "type": "invoice_item_details"},
        "period": dict(item["period"]),
        "pretax_credit_amounts": [],
        "pricing": item["pricing"],
        "quantity": item["quantity"],
        "quantity_decimal": item["quantity_decimal"],
        "subscription": None,
        "subtotal": item["amount"],
        "taxes": [],
    }


def list_of(shown: list[Object], url: str, *, limit: int | None = None, counted: bool = False) -> Object:
    """A list object of things already rendered, in the order given."""
    cut = shown if limit is None else shown[:limit]
    answer: Object = {"object": "list", "data": cut, "has_more": len(cut) < len(shown), "url": url}
    return answer | {"total_count": len(shown)} if counted else answer


def page(account: Account, things: Iterable[Object], params: dict[str, Any], url: str, *, newest_first: bool = True) -> Object:
    """One page of a list, by `limit`, `starting_after`, `ending_before` and `created`."""
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise parameter_error(f"Limit must be between 1 and 100, not {limit}.", "limit", "parameter_invalid_integer")
    if "starting_after" in params and "ending_before" in params:
        raise parameter_error("You cannot parameterize both starting_after and ending_before.", "starting_after")
    rows = [thing for thing in things if _within(thing.get("created"), params.get("created"))]
    if newest_first:
        rows.reverse()
    rows, has_more = _cut(rows, params, limit)
    shown = [thing if thing["object"] == "line_item" else render(account, thing) for thing in rows]
    return {"object": "list", "data": shown, "has_more": has_more, "url": url}


def _cut(rows: list[Object], params: dict[str, Any], limit: int) -> tuple[list[Object], bool]:
    if "starting_after" in params:
        rows = rows[_position(rows, params["starting_after"], "starting_after") + 1 :]
    elif "ending_before" in params:
        rows = rows[: _position(rows, params["ending_before"], "ending_before")]
        return rows[-limit:], len(rows) > limit
    return rows[:limit], len(rows) > limit


def _position(rows: list[Object], identifier: str, param: str) -> int:
    for index, thing in enumerate(rows):
        if thing["id"] == identifier:
            return index
    raise no_such("object", identifier, param, 400)


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, limit: value > limit,
    "gte": lambda value, limit: value >= limit,
    "lt": lambda value, limit: value < limit,
    "lte": lambda value, limit: value <= limit,
}


def _within(value: int | None, limits: int | dict[str, int] | None) -> bool:
    if limits is None:
        return True
    if value is None:
        return False
    if isinstance(limits, int):
        return value == limits
    return all(_COMPARE[name](value, limit) for name, limit in limits.items())


def within(thing: Object, member: str, params: dict[str, Any]) -> bool:
    """Whether a member lies inside the range parameter of the same name."""
    return _within(thing[member], params.get(member))


def expand(account: Account, shown: Object, paths: list[str]) -> None:
    """Replace ids by objects along `a.b.c`, at most four deep; on a list, paths begin with `data`."""
    for path in paths:
        steps = path.split(".")
        if len(steps) - (steps[0] == "data") > 4:
            raise parameter_error("You cannot expand more than 4 levels of a property", "expand")
        _expand(account, shown, steps, path)


def _expand(account: Account, here: Any, steps: list[str], path: str) -> None:
    if isinstance(here, list):
        for element in here:
            _expand(account, element, steps, path)
        return
    if not steps or here is None:
        return
    name = steps[0]
    if name == "payments" and isinstance(here, dict) and here.get("object") == "invoice" and name not in here:
        rows = [render(account, payment) for payment in account.all("invoice_payment") if payment["invoice"] == here["id"]]
        here[name] = list_of(rows, "/v1/invoice_payments", limit=10)
    if not isinstance(here, dict) or name not in here:
        raise StripeError(f"This property cannot be expanded ({path}).", saved=False, param="expand")
    value = here[name]
    if isinstance(value, str):
        found = account.find(value)
        if found is None:
            raise StripeError(f"This property cannot be expanded ({path}).", saved=False, param="expand")
        here[name] = value = render(account, found)
    elif len(steps) == 1 and not isinstance(value, (dict, list, type(None))):
        raise StripeError(f"This property cannot be expanded ({path}).", saved=False, param="expand")
    _expand(account, value, steps[1:], path)


def emit(account: Account, kind: str, shown: Object, previous: Object | None = None) -> None:
    """Store an event about a rendered object and hand it to the webhooks."""
    data: Object = {"object": shown} if previous is None else {"object": shown, "previous_attributes": previous}
    event = account.save(
        {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": account.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": dict(account.request),
            "type": kind,
            "_deliveries": [],
        }
    )
    account.world.on_event(account, event)


@contextmanager
def changing(account: Account, thing: Object, *events: str, updated: str | None = None) -> Iterator[None]:
    """Change an object inside the block, then emit `updated` with the former values, then the other events."""
    before = render(account, thing)
    yield
    account.save(thing)
    after = render(account, thing)
    previous = {name: value for name, value in before.items() if after.get(name) != value}
    if updated is not None and previous:
        emit(account, updated, after, previous)
    for event in events:
        emit(account, event, render(account, thing))
