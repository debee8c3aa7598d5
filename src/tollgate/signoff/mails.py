"""What this room's mails say. Composers run in the sender's claim, where they mint the token that the mail carries (R10)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock, i18n
from tollgate.access.models import Member
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.rules import price_of
from tollgate.contracts.service_milestones import due_if_issued, tax_for
from tollgate.documents import service as documents
from tollgate.mail.composing import Accepted, AttachmentRef, Composed, Composer
from tollgate.mail.models import MailMessage
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Contact, Organization
from tollgate.settings import Settings
from tollgate.signoff import queries
from tollgate.signoff.certificate import KIND
from tollgate.signoff.models import ApprovalLink, Colleague
from tollgate.signoff.queries import Review
from tollgate.signoff.rules import LinkState, RoundState, link_state
from tollgate.signoff.service_decisions import code_hash
from tollgate.signoff.service_input import CODE_LIFE
from tollgate.signoff.tokens import mint

CODE_DIGITS = 8

Compose = Callable[[AsyncSession, MailMessage, Settings], Awaitable[Composed | None]]


def composers(settings: Settings) -> dict[str, Composer]:
    """The composer of each template of this room."""
    made: dict[str, Compose] = {
        "signoff/approval_request": _asking,
        "signoff/approval_reminder": _asking,
        "signoff/round_withdrawn": _withdrawn,
        "signoff/milestone_reopened": _reopened,
        "signoff/link_code": _code,
        "signoff/approved_certificate": _certificate,
        "signoff/milestone_approved": _to_member,
        "signoff/changes_requested": _to_member,
        "signoff/colleague_proposed": _colleague,
    }
    return {template: _bound(compose, settings) for template, compose in made.items()}


def accepted() -> dict[str, Accepted]:
    """What is noted once the mail server took a mail: that the link was mailed."""

    async def mailed(session: AsyncSession, row: MailMessage) -> None:
        link = await queries.link(session, row.organization_id, _id(row, "link_id"))
        audit.record(
            session,
            "link.mailed",
            ("approval_link", link.id),
            contract_id=row.contract_id,
            round_id=link.round_id,
            contact_id=link.contact_id,
        )

    return {"signoff/approval_request": mailed, "signoff/approval_reminder": mailed}


@dataclass(frozen=True, slots=True)
class _Scene:
    """Who writes to whom about which round."""

    review: Review
    organization: Organization
    client: Client
    content: dict[str, Any]

    def context(self) -> dict[str, Any]:
        """What every template of this room may show."""
        review = self.review
        amount = Money(review.round.amount_minor, review.round.currency)
        price = price_of(amount, review.contract.price_basis, tax_for(review.contract, review.milestone))
        return {
            "seller": self.organization.legal_name,
            "reply_to": self.organization.email,
            "client": self.client.legal_name,
            "contract": review.contract.title,
            "milestone": self.content["title"],
            "round": review.round.number,
            "amount": amount,
            "gross": price.payable,
            "net": price.net,
            "price_basis": review.contract.price_basis,
            "zone": self.organization.time_zone,
        }


def _bound(compose: Compose, settings: Settings) -> Composer:
    async def composer(session: AsyncSession, row: MailMessage) -> Composed | None:
        return await compose(session, row, settings)

    return composer


async def _asking(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    """Request and reminder: dropped when the link can no longer decide, so that no mail leads to a dead page."""
    link = await queries.link(session, row.organization_id, _id(row, "link_id"))
    if link_state(queries.link_facts(link), clock.now()) is not LinkState.OPEN:
        return None
    scene = await _scene(session, row.organization_id, link.round_id)
    contact = await _contact(session, row)
    if contact is None or scene.review.round.state != RoundState.OPEN:
        return None
    token = await mint(
        session,
        settings.secret_key,
        organization_id=row.organization_id,
        approval_link_id=link.id,
        sent_by="mail",
        expires_at=link.expires_at,
    )
    contract, zone = scene.review.contract, scene.organization.time_zone
    today = clock.today(zone)
    return Composed(
        contact.name,
        contact.email,
        _locale(contact, scene),
        {
            **scene.context(),
            "message": scene.review.round.message,
            "url": f"{settings.base_url}/a/{token}",
            "answer_by": clock.day_of(link.expires_at, zone),
            "payment_due": due_if_issued(today, contract.payment_days, contract.payment_from),
            "deliverables": [item["title"] for item in scene.content["deliverables"]],
            "delivered_by": await queries.member_name(session, row.organization_id, scene.review.round.delivered_by),
            "delivered_at": scene.review.round.opened_at,
        },
    )


async def _withdrawn(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    scene = await _scene(session, row.organization_id, _id(row, "round_id"))
    contact = await _contact(session, row)
    if contact is None:
        return None
    return Composed(contact.name, contact.email, _locale(contact, scene), scene.context())


async def _reopened(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    scene = await _scene(session, row.organization_id, _id(row, "round_id"))
    contact = await _contact(session, row)
    if contact is None:
        return None
    reason = scene.review.round.reopened_because or ""
    return Composed(contact.name, contact.email, _locale(contact, scene), {**scene.context(), "reason": reason})


async def _code(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    """A fresh code, its hash on the link. A mail that repeats after a crash carries a newer code, and the newest counts."""
    found = await session.get(ApprovalLink, (row.organization_id, _id(row, "link_id")), with_for_update=True)
    contact = await _contact(session, row)
    if found is None or contact is None or link_state(queries.link_facts(found), clock.now()) is not LinkState.OPEN:
        return None
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
    found.code_sha256 = code_hash(found.id, code)
    found.code_expires_at = clock.now() + CODE_LIFE
    found.code_attempts = 0
    await session.flush()
    scene = await _scene(session, row.organization_id, found.round_id)
    context = {**scene.context(), "code": f"{code[:4]} {code[4:]}", "valid_until": found.code_expires_at}
    return Composed(contact.name, contact.email, _locale(contact, scene), context)


async def _certificate(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    """The certificate, attached; it is asked for only once its PDF is there."""
    scene = await _scene(session, row.organization_id, _id(row, "round_id"))
    contact = await _contact(session, row)
    document = await documents.info(session, row.organization_id, KIND, scene.review.round.id)
    if contact is None or document is None or document.pdf_sha256_hex is None:
        return None
    attachment = AttachmentRef(document.file_name, "application/pdf", document.pdf_sha256_hex)
    context = {**scene.context(), "decided_at": scene.review.round.closed_at}
    return Composed(contact.name, contact.email, _locale(contact, scene), context, (attachment,))


async def _to_member(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    """To the member who delivered: approved, or what is to change, in the approver's own words."""
    scene = await _scene(session, row.organization_id, _id(row, "round_id"))
    member = await _member(session, row)
    if member is None or not scene.review.sign_offs:
        return None
    last = scene.review.sign_offs[-1]
    contacts = await contract_queries.contacts(session, row.organization_id, [last.contact_id] if last.contact_id else [])
    name = next((contact.name for contact in contacts.values()), "") or last.signed_name or scene.client.legal_name
    context = {
        **scene.context(),
        "approver": name,
        "reason": last.reason or "",
        "recorded": last.how == "recorded",
        "url": f"{settings.base_url}/milestones/{scene.review.milestone.id}",
    }
    return Composed(member.name, member.email, i18n.choose(member.locale, scene.organization.locale), context)


async def _colleague(session: AsyncSession, row: MailMessage, settings: Settings) -> Composed | None:
    colleague = await session.get(Colleague, (row.organization_id, _id(row, "colleague_id")))
    member = await _member(session, row)
    if colleague is None or member is None or colleague.state != "proposed":
        return None
    link = await queries.link(session, row.organization_id, colleague.approval_link_id)
    scene = await _scene(session, row.organization_id, colleague.round_id)
    context = {
        **scene.context(),
        "approver": (await queries.contact(session, row.organization_id, link.contact_id)).name,
        "colleague_name": colleague.name,
        "colleague_email": colleague.email,
        "url": f"{settings.base_url}/milestones/{scene.review.milestone.id}",
    }
    return Composed(member.name, member.email, i18n.choose(member.locale, scene.organization.locale), context)


async def _scene(session: AsyncSession, organization_id: UUID, round_id: UUID) -> _Scene:
    review = await queries.review(session, organization_id, round_id)
    organization = await contract_queries.organization(session, organization_id)
    client = await contract_queries.client(session, organization_id, review.contract.client_id)
    if client is None:
        raise RuntimeError(f"contract {review.contract.id} has no client")
    return _Scene(review, organization, client, json.loads(review.round.content))


async def _contact(session: AsyncSession, row: MailMessage) -> Contact | None:
    """The receiver; None for one who was removed, whom nobody writes to any more."""
    contact = await session.get(Contact, (row.organization_id, row.contact_id)) if row.contact_id else None
    return contact if contact is not None and contact.removed_at is None else None


async def _member(session: AsyncSession, row: MailMessage) -> Member | None:
    member = await session.get(Member, (row.organization_id, row.member_id)) if row.member_id else None
    return member if member is not None and member.removed_at is None else None


def _locale(contact: Contact, scene: _Scene) -> str:
    return i18n.choose(contact.locale, scene.client.locale, scene.organization.locale)


def _id(row: MailMessage, name: str) -> UUID:
    return UUID(str(row.arguments[name]))
