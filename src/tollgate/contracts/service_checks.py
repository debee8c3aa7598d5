"""What is checked whenever a draft is saved. Whether it adds up is asked on activation only: a draft may be half done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.contracts import queries
from tollgate.contracts.models import Contract
from tollgate.contracts.rules import TaxCategory, TaxTreatment, treatment_problems
from tollgate.contracts.service_input import MilestoneInput
from tollgate.errors import FieldError, Invalid, Message, NotFound, _
from tollgate.money.amount import Money
from tollgate.parties.models import Client

MOST_MILESTONES = 200
MOST_PAYMENT_DAYS = 365
MOST_APPROVERS = 50
EARLIEST_DAY, LATEST_DAY = date(2000, 1, 1), date(2199, 12, 31)


async def resolve_client(session: AsyncSession, organization_id: UUID, client_id: UUID) -> Client:
    """The client of a contract. Raises `NotFound` for none of ours, `Invalid` for an archived one."""
    client = await queries.client(session, organization_id, client_id)
    if client is None:
        raise _missing("/client_id", _("there is no such client"))
    if client.archived_at is not None:
        raise Invalid(errors=[FieldError("/client_id", _("this client is archived"))])
    return client


async def resolve_approvers(
    session: AsyncSession,
    organization_id: UUID,
    client_id: UUID,
    contact_ids: Sequence[UUID] | None,
    *,
    pointer: str = "/approval/contact_ids",
) -> list[UUID]:
    """The named contacts, each once and all of this client; None names the client's approver contacts."""
    if contact_ids is None:
        return await queries.approver_contacts(session, organization_id, client_id)
    wanted = list(dict.fromkeys(contact_ids))
    if len(wanted) > MOST_APPROVERS:
        raise Invalid(errors=[FieldError(pointer, _("name at most %(most)s approvers", most=MOST_APPROVERS))])
    found = await queries.contacts(session, organization_id, wanted)
    for index, contact_id in enumerate(contact_ids):
        if contact_id not in found:
            raise _missing(f"{pointer}/{index}", _("there is no such contact"))
        if found[contact_id].client_id != client_id:
            raise Invalid(errors=[FieldError(f"{pointer}/{index}", _("this contact belongs to another client"))])
        if found[contact_id].removed_at is not None:
            raise Invalid(errors=[FieldError(f"{pointer}/{index}", _("this contact was removed"))])
    return wanted


def check_contract(
    contract: Contract, books_currency: str, value: Money, contingency: Money | None, schedule: Sequence[MilestoneInput]
) -> None:
    """Refuse a draft that could not be kept. Raises `Invalid` with every problem at its pointer."""
    problems: list[FieldError] = []
    if contract.currency != books_currency:
        text = _("other currencies than the organization's %(currency)s are not available yet", currency=books_currency)
        raise Invalid(text, errors=[FieldError("/currency", text)])
    if not contract.title.strip():
        problems.append(FieldError("/title", _("give the contract a title")))
    problems += amount_problems(value, contract.currency, "/value")
    if contingency is not None:
        found = amount_problems(contingency, contract.currency, "/contingency")
        if not found and value.currency == contingency.currency and contingency > value:
            found = [FieldError("/contingency", _("the contingency cannot be more than the value"))]
        problems += found
    tax = TaxTreatment(TaxCategory(contract.tax_category), Decimal(contract.tax_rate_percent))
    problems += treatment_problems(tax, "/tax")
    if not 0 <= contract.payment_days <= MOST_PAYMENT_DAYS:
        problems.append(FieldError("/payment_terms/days", _("payment terms are 0 to %(most)s days", most=MOST_PAYMENT_DAYS)))
    if len(schedule) > MOST_MILESTONES:
        problems.append(FieldError("/milestones", _("a contract has at most %(most)s milestones", most=MOST_MILESTONES)))
    for index, milestone in enumerate(schedule[:MOST_MILESTONES]):
        problems += milestone_problems(milestone, contract.currency, f"/milestones/{index}")
    refuse(problems)


def milestone_problems(milestone: MilestoneInput, currency: str, at: str) -> list[FieldError]:
    """What is wrong with one row of the schedule."""
    problems: list[FieldError] = []
    if not milestone.title.strip():
        problems.append(FieldError(f"{at}/title", _("give the milestone a title")))
    if milestone.amount is None and milestone.percent is None:
        problems.append(FieldError(f"{at}/amount", _("give an amount or a percentage")))
    if milestone.amount is not None and milestone.percent is not None:
        problems.append(FieldError(f"{at}/amount", _("give an amount or a percentage, not both")))
    if milestone.amount is not None:
        problems += amount_problems(milestone.amount, currency, f"{at}/amount")
    if milestone.percent is not None and not 0 <= milestone.percent <= 100:
        problems.append(FieldError(f"{at}/percent", _("a percentage is between 0 and 100")))
    if milestone.tax is not None:
        problems += treatment_problems(milestone.tax, f"{at}/tax")
    problems += day_problems(milestone.due_on, f"{at}/due_on") + day_problems(milestone.planned_on, f"{at}/planned_on")
    return problems


def day_problems(day: date | None, at: str) -> list[FieldError]:
    """What is wrong with a day of a schedule: beyond these years it is a slip, and days before and after it could not be computed."""
    if day is None or EARLIEST_DAY <= day <= LATEST_DAY:
        return []
    return [FieldError(at, _("enter a day between %(first)s and %(last)s", first=EARLIEST_DAY, last=LATEST_DAY))]


def amount_problems(amount: Money, currency: str, at: str) -> list[FieldError]:
    """What is wrong with an amount of a contract in `currency`."""
    if amount.currency != currency:
        return [FieldError(at, _("this contract is in %(currency)s, not %(other)s", currency=currency, other=amount.currency))]
    if amount.is_negative:
        return [FieldError(at, _("the amount cannot be negative"))]
    return []


def refuse(problems: Sequence[FieldError]) -> None:
    """Raise `Invalid` when there is any problem."""
    if problems:
        raise Invalid(problems[0].detail if len(problems) == 1 else None, errors=problems)


def _missing(pointer: str, text: Message) -> NotFound:
    # A foreign organization's id answers like one that never was, wherever it stands.
    return NotFound(text, errors=[FieldError(pointer, text)])
