"""The one-page contract form, read into what the verbs take. A page and its live preview read the same fields by the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import UNSET

from tollgate import i18n
from tollgate.contracts.rules import (
    Allocation,
    ContractDraft,
    Hint,
    MilestoneDraft,
    PartyFacts,
    TaxCategory,
    TaxTreatment,
    activation_problems,
    allocation_bar,
    hints,
    milestone_amounts,
    sum_message,
)
from tollgate.contracts.service_input import ContractChange, ContractInput, MilestoneInput
from tollgate.contracts.service_views import ContractView, MilestoneView
from tollgate.errors import FieldError, Invalid, Message, TollgateError, _
from tollgate.money.amount import Money
from tollgate.money.rates import percent_text
from tollgate.parties import places
from tollgate.parties.rules import ClientChanges, ContactChanges, checked, given
from tollgate.web.forms import Form, Row

NEW = "new"
"""The choice of the client field that asks for the fields of a new one."""
ROWS = "milestones"
BLANK_ROWS = 3
"""Rows of an empty grid."""
TAX_CHOICES: tuple[tuple[str, Message], ...] = (("S", _("Standard rate")), ("Z", _("Zero rate")), ("E", _("Exempt")))
BASIS_CHOICES: tuple[tuple[str, Message], ...] = (("net", _("Net, tax is added")), ("gross", _("Gross, tax is included")))
TERMS_CHOICES: tuple[tuple[str, Message], ...] = (("issue", _("from the invoice day")), ("end_of_month", _("from the end of its month")))
INVOICING_CHOICES: tuple[tuple[str, Message, Message], ...] = (
    ("issue", _("Issue and send at once"), _("Approval makes the invoice: nothing to chase, nothing to retype.")),
    ("review", _("Make a draft for review"), _("Finance looks at each draft and issues it.")),
)
_CLIENT_FIELDS = {
    "legal_name": "client_legal_name",
    "country": "client_country",
    "line1": "client_line1",
    "postal_code": "client_postal_code",
    "city": "client_city",
    "tax_id": "client_tax_id",
    "email": "client_email",
}
_CLIENT_NAMES = {
    "/legal_name": "client_legal_name",
    "/country": "client_country",
    "/address/line1": "client_line1",
    "/address/postal_code": "client_postal_code",
    "/address/city": "client_city",
    "/tax_id": "client_tax_id",
    "/email": "client_email",
}
_CONTACT_NAMES = {"/name": "contact_name", "/email": "contact_email"}
NAMES: Mapping[str, str] = {
    "/tax/category": "tax_category",
    "/tax/rate_percent": "tax_rate",
    "/payment_terms/days": "payment_days",
    "/approval/contact_ids": "approvers",
    "/buyer/legal_name": "client_id",
    "/buyer/country": "client_id",
}
"""Where the verbs' pointers stand on this page, when not under their own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """A client and its approver, entered in the same form as their first contract."""

    client: ClientChanges
    contact: ContactChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the form says. `contract.client_id` is meaningless while `new` is there."""

    contract: ContractInput
    new: NewClient | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The schedule as far as it can be read while it is typed."""

    value: Money | None
    milestones: Sequence[MilestoneDraft]
    amounts: Sequence[Money]
    tax: TaxTreatment
    price_basis: str
    allocation: Allocation
    difference: Message | None
    """The sentence that names the difference to the value."""
    hints: Sequence[Hint]


def read_draft(form: Form, currency: str, kept: Mapping[UUID, MilestoneView] | None = None) -> Draft | None:
    """The form's contract; None when something cannot be used, which then stands beside its field.

    `kept` are the milestones of the draft that is edited: what the grid does not show (description, own tax) stays theirs.
    """
    title = form.required("title", _("Enter a title"), most=200)
    value = form.amount("value", currency)
    if value is None and not form.error("value"):
        form.refuse("value", _("Enter the value of the contract"))
    new = _read_new_client(form) if form.raw("client_id") == NEW else None
    client_id = None if form.raw("client_id") == NEW else form.uuid("client_id", missing=_("Choose a client, or enter a new one"))
    approvers = _read_approvers(form)
    tax = _read_tax(form)
    milestones = [_read_row(row, currency, kept or {}) for row in form.rows(ROWS)]
    reference, order = form.text("reference", most=60), form.text("purchase_order", most=60)
    days = form.whole("payment_days", most=365)
    basis = form.choice("price_basis", ("net", "gross")) or "net"
    terms = form.choice("payment_from", ("issue", "end_of_month")) or "issue"
    invoicing = form.choice("invoicing", ("issue", "review")) or "issue"
    if not form.is_valid or value is None or (client_id is None and new is None):
        return None
    contract = ContractInput(
        client_id=client_id or UUID(int=0),
        title=title,
        value=value,
        reference=reference,
        purchase_order=order,
        price_basis=basis,
        tax=tax,
        payment_days=days,
        payment_from=terms,
        approver_ids=None if new is not None else approvers,
        invoicing_on_approval=invoicing,
        milestones=milestones,
    )
    return Draft(contract=contract, new=new)


def _read_new_client(form: Form) -> NewClient:
    fields = {name: form.text(field, most=300) for name, field in _CLIENT_FIELDS.items()}
    contact = ContactChanges(
        name=form.text("contact_name", most=120), email=form.text("contact_email", most=254), is_approver=True, is_billing_contact=True
    )
    new = NewClient(client=ClientChanges(**fields), contact=contact)
    # The same checks as on saving, so that every wrong field is named at once and nothing is saved before all are right.
    _check(form, lambda: checked(given(new.client), country=fields["country"]), _CLIENT_NAMES)
    _check(form, lambda: checked(given(contact), country=fields["country"], contact=True), _CONTACT_NAMES)
    return new


def _check(form: Form, check: Any, names: Mapping[str, str]) -> None:
    try:
        check()
    except Invalid as error:
        for one in error.errors:
            name = names.get(one.pointer, "")
            if not name or name not in form.errors:
                form.errors.setdefault(name, []).append(one.detail)


def _read_approvers(form: Form) -> list[UUID] | None:
    found = []
    for typed in form.all_values("approvers"):
        try:
            found.append(UUID(typed))
        except ValueError:
            form.refuse("approvers", _("Choose from the list"))
    return found or None


def _read_tax(form: Form) -> TaxTreatment | None:
    category = form.choice("tax_category", ("S", "Z", "E"))
    rate = form.percent("tax_rate")
    if category is None or form.error("tax_rate"):
        return None
    return TaxTreatment(TaxCategory(category), rate if rate is not None else Decimal(0))


def _read_row(row: Row, currency: str, kept: Mapping[UUID, MilestoneView]) -> MilestoneInput:
    amount, percent = row.amount("amount", currency), row.percent("percent")
    before = kept.get(_id_of(row)) if _id_of(row) else None
    return MilestoneInput(
        title=row.required("title", _("Enter a title"), most=200),
        description=before.description if before else "",
        acceptance_criteria=row.lines("criteria"),
        deliverables_expected=row.lines("deliverables"),
        due_on=row.day("due_on"),
        planned_on=row.day("planned_on"),
        amount=amount,
        # Without script both can come: the amount wins.
        percent=None if amount is not None or row.form.error(row.name("amount")) else percent,
        tax=before.own_tax if before else None,
    )


def _id_of(row: Row) -> UUID:
    try:
        return UUID(row.raw("id"))
    except ValueError:
        return UUID(int=0)


def preview_of(form: Form, currency: str, default: TaxTreatment) -> Preview:
    """The schedule of a form that is still being typed: what cannot be read counts nothing, and no error is shown for it."""
    scratch = Form(form.values, csrf_token="")
    value = scratch.amount("value", currency)
    tax = _read_tax(scratch) or default
    rows = [_read_row(row, currency, {}) for row in scratch.rows(ROWS)]
    drafts = [
        MilestoneDraft(
            title=row.title,
            amount=row.amount,
            percent=row.percent,
            acceptance_criteria=row.acceptance_criteria,
            deliverables_expected=row.deliverables_expected,
            due_on=row.due_on,
            planned_on=row.planned_on,
        )
        for row in rows
    ]
    zero = Money.zero(currency)
    amounts = milestone_amounts(value or zero, drafts)
    bar = allocation_bar(value or zero, zero, amounts)
    return Preview(
        value=value,
        milestones=drafts,
        amounts=amounts,
        tax=tax,
        price_basis=scratch.choice("price_basis", ("net", "gross")) or "net",
        allocation=bar,
        difference=sum_message(value, bar) if value is not None and rows else None,
        hints=hints(drafts),
    )


def readiness(draft: Draft, seller: PartyFacts, buyer: PartyFacts, approvers: int, default: TaxTreatment) -> list[FieldError]:
    """What stands between this draft and being active, before anything is saved: the same rule as activation's."""
    asked = draft.contract
    return activation_problems(
        ContractDraft(
            value=asked.value,
            contingency=Money.zero(asked.value.currency),
            milestones=[
                MilestoneDraft(title=row.title, amount=row.amount, percent=row.percent, due_on=row.due_on, tax=row.tax)
                for row in asked.milestones
            ],
            tax=asked.tax or default,
            approvers=approvers,
            seller=seller,
            buyer=buyer,
        )
    )


def buyer_of(new: NewClient) -> PartyFacts:
    """The facts of a client that is not saved yet."""
    client = new.client
    return PartyFacts(
        legal_name=client.legal_name or "",
        line1=client.line1 or "",
        city=client.city or "",
        country=client.country or "",
        tax_id=client.tax_id or "",
    )


def take(form: Form, error: TollgateError, *, new: bool = False) -> None:
    """Show a verb's refusal at the fields of this page; what belongs to the seller stands on top."""
    names = {**NAMES, **(_CLIENT_NAMES | _CONTACT_NAMES if new else {})}
    rest = []
    for one in error.errors:
        if one.pointer.startswith("/seller"):
            form.refuse("", one.detail)
        else:
            rest.append(one)
    if not error.errors:
        form.take(error)
    elif rest:
        form.take(Invalid(error.detail, errors=rest), names=names)


def take_problems(form: Form, problems: Sequence[FieldError]) -> None:
    """The same for a list of problems; none is fine."""
    if not problems:
        return
    take(form, Invalid(errors=problems))


def change_of(asked: ContractInput) -> ContractChange:
    """The whole form as a change of a draft."""
    return ContractChange(
        client_id=asked.client_id,
        title=asked.title,
        value=asked.value,
        reference=asked.reference,
        purchase_order=asked.purchase_order,
        price_basis=asked.price_basis,
        tax=asked.tax if asked.tax is not None else UNSET,
        payment_days=asked.payment_days if asked.payment_days is not None else UNSET,
        payment_from=asked.payment_from,
        approver_ids=asked.approver_ids if asked.approver_ids is not None else UNSET,
        invoicing_on_approval=asked.invoicing_on_approval,
        milestones=asked.milestones,
    )


def with_client(draft: Draft, client_id: UUID) -> ContractInput:
    """The contract for the client that has just been entered."""
    return replace(draft.contract, client_id=client_id, approver_ids=None)


def values_of(view: ContractView) -> dict[str, Any]:
    """A draft as the form's fields, in the reader's notation."""
    values: dict[str, Any] = {
        "client_id": view.client_id,
        "title": view.title,
        "reference": view.reference,
        "purchase_order": view.purchase_order,
        "value": i18n.amount(view.value),
        "price_basis": view.price_basis,
        "tax_category": view.tax.category.value,
        "tax_rate": percent_field(view.tax.rate_percent),
        "payment_days": view.payment_days,
        "payment_from": view.payment_from,
        "invoicing": view.invoicing_on_approval,
        "approvers": [str(one) for one in view.approver_ids],
        "version": view.version,
    }
    for number, row in enumerate(one for one in view.milestones if one.state != "cancelled"):
        start = f"{ROWS}-{number}-"
        values |= {
            f"{start}id": row.id,
            f"{start}title": row.title,
            f"{start}amount": "" if row.percent is not None else i18n.amount(row.amount),
            f"{start}percent": percent_field(row.percent),
            f"{start}due_on": _day(row.due_on),
            f"{start}planned_on": _day(row.planned_on),
            f"{start}criteria": "\n".join(row.acceptance_criteria),
            f"{start}deliverables": "\n".join(row.deliverables_expected),
        }
    return values


def percent_field(value: Decimal | None) -> str:
    """Per cents as the reader writes them."""
    return (percent_text(value) if value is not None else "").replace(".", i18n.number_marks().decimal)


def _day(value: date | None) -> str:
    return value.isoformat() if value else ""


def country_choices() -> tuple[tuple[str, str], ...]:
    """Countries in the reader's language."""
    return places.countries(i18n.current_locale.get().replace("-", "_"))


__all__ = [
    "NEW",
    "Draft",
    "NewClient",
    "Preview",
    "buyer_of",
    "change_of",
    "country_choices",
    "percent_field",
    "preview_of",
    "read_draft",
    "readiness",
    "take",
    "take_problems",
    "values_of",
    "with_client",
]
