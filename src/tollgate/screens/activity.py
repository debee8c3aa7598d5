"""The audit trail of a contract in words for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.access import queries as access
from tollgate.access.models import ApiKey
from tollgate.audit.models import AuditEvent
from tollgate.contracts import queries as contracts
from tollgate.contracts.models import Milestone
from tollgate.errors import Invalid, Message, _, ngettext
from tollgate.money.amount import Money
from tollgate.signoff.models import ApprovalLink

Words = Mapping[str, Message]

PLAIN: Words = {
    "contract.changed": _("changed the draft"),
    "contract.completed": _("The contract is completed"),
    "contract.resumed": _("The contract is active again"),
    "contract.deleted": _("deleted the draft"),
    "billing.unblocked": _("Billing goes on"),
    "colleague.proposed": _("proposed a colleague to decide"),
    "colleague.declined": _("declined the proposed colleague"),
    "colleague.confirmed": _("confirmed the proposed colleague"),
    "invoice.deleted": _("deleted a draft invoice"),
    "round.recorded": _("attached the signed document"),
    "payment.reversed": _("A payment was taken back"),
    "invoice.dispute_ended": _("No payment of it is disputed any more"),
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the activity: when, who (empty for the system), what."""

    at: datetime
    who: str
    what: Message


@dataclass(frozen=True, slots=True)
class _Names:
    members: Mapping[UUID, str]
    contacts: Mapping[UUID, str]
    links: Mapping[UUID, UUID]
    milestones: Mapping[UUID, str]


async def activity_of(
    session: AsyncSession, organization_id: UUID, *, contract_id: UUID | None = None, subjects: set[UUID] | None = None, limit: int = 100
) -> list[Happening]:
    """What happened to a contract, or to some subjects, newest first."""
    query = select(AuditEvent).where(AuditEvent.organization_id == organization_id)
    if contract_id is not None:
        query = query.where(AuditEvent.contract_id == contract_id)
    if subjects is not None:
        query = query.where(AuditEvent.subject_id.in_(subjects))
    rows = list(await session.scalars(query.order_by(AuditEvent.seq.desc()).limit(limit)))
    contents = [json.loads(row.content) for row in rows]
    names = await _names(session, organization_id, rows, contents)
    found = [
        (row, Happening(row.happened_at, _who(content, names), what))
        for row, content in zip(rows, contents, strict=True)
        if (what := words(row.name, content["data"], row.subject_id, names)) is not None
    ]
    return [happening for _row, happening in found]


async def _names(session: AsyncSession, organization_id: UUID, rows: list[AuditEvent], contents: list[dict[str, Any]]) -> _Names:
    actors = {UUID(one["actor"]["id"]) for one in contents if one["actor"]["id"]}
    members = dict(await access.names_of(session, organization_id, list(actors)))
    keys = await session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.organization_id == organization_id, ApiKey.id.in_(actors)))
    members |= {row.id: row.name for row in keys}
    asked = {UUID(value) for one in contents if (value := one["data"].get("contact_id"))} | actors
    contacts = await contracts.contacts(session, organization_id, list(asked))
    links = await session.execute(
        select(ApprovalLink.id, ApprovalLink.contact_id).where(
            ApprovalLink.organization_id == organization_id, ApprovalLink.id.in_({row.subject_id for row in rows} | actors)
        )
    )
    by_link = {row.id: row.contact_id for row in links}
    contacts |= await contracts.contacts(session, organization_id, list(by_link.values()))
    about = {row.subject_id for row in rows} | {UUID(value) for one in contents if (value := one["data"].get("milestone_id"))}
    titles = await session.execute(
        select(Milestone.id, Milestone.title).where(Milestone.organization_id == organization_id, Milestone.id.in_(about))
    )
    return _Names(members, {key: row.name for key, row in contacts.items()}, by_link, {row.id: row.title for row in titles})


def _who(content: dict[str, Any], names: _Names) -> str:
    actor = content["actor"]
    if not actor["id"]:
        return ""
    actor_id = UUID(actor["id"])
    by_link = names.links.get(actor_id)
    return names.members.get(actor_id) or names.contacts.get(actor_id) or (names.contacts.get(by_link, "") if by_link else "")


def words(name: str, data: dict[str, Any], subject_id: UUID, names: _Names) -> Message | None:
    """What an event means to a reader; None for one that is only bookkeeping."""
    if name in PLAIN:
        return PLAIN[name]
    if name.startswith("milestone."):
        return _milestone(name, names.milestones.get(subject_id, ""))
    contact = names.contacts.get(UUID(data["contact_id"])) if data.get("contact_id") else None
    if name == "link.opened":
        return _("The approval page was opened") if subject_id in names.links else _("The invoice page was opened")
    return _contract(name, data) or _deliverable(name, data, names) or _link(name, data, contact) or _invoice(name, data)


def _milestone(name: str, title: str) -> Message | None:
    match name:
        case "milestone.started":
            return _("started %(title)s", title=title)
        case "milestone.planned":
            return _("moved the planned day of %(title)s", title=title)
        case "milestone.cancelled":
            return _("cancelled %(title)s", title=title)
        case "milestone.delivered":
            return _("delivered %(title)s", title=title)
        case "milestone.withdrawn":
            return _("took back the delivery of %(title)s", title=title)
        case "milestone.approved":
            return _("completed the approval of %(title)s", title=title)
        case "milestone.changes_requested":
            return _("sent %(title)s back for changes", title=title)
        case "milestone.reopened":
            return _("reopened %(title)s", title=title)
        case "milestone.invoiced":
            return _("%(title)s is invoiced", title=title)
        case "milestone.released":
            return _("%(title)s is approved again: its invoice no longer stands", title=title)
        case "milestone.paid":
            return _("%(title)s is paid", title=title)
        case "milestone.reversed":
            return _("%(title)s is no longer paid in full", title=title)
    return None


def _contract(name: str, data: dict[str, Any]) -> Message | None:
    if name == "contract.created":
        count, value = int(data["milestones"]), Money.parse(data["value"], data["currency"])
        return ngettext(
            "wrote the draft: %(value)s in %(n)s milestone", "wrote the draft: %(value)s in %(n)s milestones", count, value=value
        )
    if name == "contract.activated":
        return _("activated the contract: version %(version)s, hash %(hash)s", version=data["version"], hash=data["content_sha256"][:12])
    if name == "billing.blocked":
        return _("Billing waits: %(reason)s", reason=data["reason"])
    return None


def _deliverable(name: str, data: dict[str, Any], names: _Names) -> Message | None:
    title = names.milestones.get(UUID(data["milestone_id"]), "") if data.get("milestone_id") else ""
    if name == "deliverable.added":
        return _("added a deliverable to %(title)s", title=title)
    if name == "deliverable.removed":
        return _("left a deliverable of %(title)s out", title=title)
    return None


def _link(name: str, data: dict[str, Any], contact: str | None) -> Message | None:
    match name:
        case "link.mailed":
            return _("An approval link went to %(contact)s", contact=contact or "")
        case "link.copied":
            return _("copied the approval link of %(contact)s", contact=contact or "")
        case "link.revoked" if data.get("because") == "revoked":
            return _("took the approval link of %(contact)s back", contact=contact or "")
        case "round.signed_off" if data.get("decision") == "approve":
            by_link = data.get("how") == "link"
            return _("%(contact)s approved by signed link", contact=contact or "") if by_link else _("recorded an approval")
        case "round.signed_off":
            return _("%(contact)s asked for changes", contact=contact or "")
    return None


def _invoice(name: str, data: dict[str, Any]) -> Message | None:
    match name:
        case "invoice.drafted":
            return _("A draft invoice was made")
        case "invoice.issued":
            return _("Invoice %(number)s over %(payable)s was issued", number=data["number"], payable=_amount(data, "payable"))
        case "invoice.voided":
            return _("made invoice %(number)s void", number=data["number"])
        case "invoice.sent":
            return _("Invoice %(number)s was mailed", number=data["number"])
        case "invoice.paid":
            return _("Invoice %(number)s is paid", number=data["number"])
        case "invoice.partly_paid":
            return _("Invoice %(number)s is partly paid", number=data["number"])
        case "invoice.reopened":
            return _("Invoice %(number)s is open again", number=data["number"])
        case "invoice.credited":
            return _("credited invoice %(number)s", number=data["number"])
        case "invoice.stopped_at_stripe":
            return _("The hand-over to Stripe stopped: %(reason)s", reason=data["reason"])
        case "invoice.payment_pending":
            return _("A bank debit of %(amount)s is processing", amount=_amount(data, "amount"))
        case "invoice.payment_declined":
            return _("A payment did not go through (%(code)s)", code=data["code"] or "–")
        case "invoice.disputed":
            return _("A payment of it is disputed (%(reason)s)", reason=data["reason"])
        case "payment.refunded":
            return _("%(amount)s of a payment was refunded at Stripe", amount=_amount(data, "amount"))
        case "payment.refund_failed":
            return _("A refund failed: %(amount)s is here again", amount=_amount(data, "amount"))
        case "payment.dispute_lost":
            return _("A dispute was lost: %(amount)s went back", amount=_amount(data, "amount"))
        case "payment.dispute_won":
            return _("A dispute was won: %(amount)s is here again", amount=_amount(data, "amount"))
        case "credit_note.issued":
            return _("Credit note %(number)s was issued", number=data["number"])
    return None


def _amount(data: dict[str, Any], name: str) -> Money | str:
    try:
        return Money.parse(data[name], data["currency"])
    except (Invalid, KeyError):
        return str(data.get(name, ""))
