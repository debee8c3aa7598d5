"""What the client's page shows of a link: everything at once, as plain values, read-only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock, i18n
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.models import Deliverable
from tollgate.contracts.rules import Price, State, TaxTreatment, price_of
from tollgate.contracts.service_milestones import due_if_issued, tax_for
from tollgate.documents import service as documents
from tollgate.errors import NotFound
from tollgate.money.amount import Money
from tollgate.parties.models import Organization
from tollgate.parties.printing import address_lines
from tollgate.signoff import queries
from tollgate.signoff.certificate import KIND
from tollgate.signoff.models import ApprovalLink
from tollgate.signoff.queries import Review
from tollgate.signoff.rules import LinkState, RoundState, link_state
from tollgate.signoff.tokens import VerifiedLink


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerView:
    """Who asks."""

    name: str
    address: tuple[str, ...]
    email: str
    phone: str
    website: str
    tax_id: str
    accent: str
    logo_sha256_hex: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDeliverable:
    """One deliverable as frozen in the round."""

    kind: str
    title: str
    url: str | None
    note: str | None
    sha256_hex: str | None
    size: int | None
    content_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDecision:
    """One decision of the round: `how` is `link` or `recorded`."""

    contact_id: UUID | None
    contact_name: str
    decision: str
    how: str
    signed_name: str
    reason: str
    decided_at: datetime
    recorded_by: UUID | None
    recorded_by_name: str
    copied_by: UUID | None
    copied_by_name: str
    document_sha256_hex: str | None
    document_file_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPage:
    """One approval link with all that its page needs. Scope and amount come from the frozen round, never from later rows."""

    organization_id: UUID
    link_id: UUID
    round_id: UUID
    milestone_id: UUID
    contract_id: UUID
    contact_id: UUID
    state: LinkState
    """open, expired, revoked, superseded or used: each has its own page."""
    round_state: RoundState
    milestone_state: State
    seller: SellerView
    client_name: str
    approver_name: str
    approver_email: str
    locale: str
    time_zone: str
    contract_title: str
    contract_reference: str
    milestone_title: str
    description: str
    acceptance_criteria: tuple[str, ...]
    deliverables_expected: tuple[str, ...]
    round_number: int
    message: str
    delivered_at: datetime
    delivered_by_name: str
    deliverables: tuple[PageDeliverable, ...]
    amount: Money
    """As agreed: net or gross by `price_basis`."""
    price_basis: str
    price: Price
    tax: TaxTreatment
    payment_days: int
    payment_from: str
    due_if_approved_today: date
    due_on: date | None
    content_sha256_hex: str
    expires_at: datetime
    decisions: tuple[PageDecision, ...]
    own_decision: PageDecision | None
    code_needed: bool
    """This copy was made by a member: a decision needs the code mailed to the approver."""
    code_sent: bool
    """A code was mailed and is still good."""
    copied_by_name: str
    colleague_proposed: bool
    reopened_because: str
    certificate: documents.DocumentInfo | None


async def link_page(session: AsyncSession, verified: VerifiedLink) -> LinkPage:
    """What the page of a verified link shows. Changes nothing. Raises `NotFound` for a link that is not an approval link."""
    organization_id = verified.organization_id
    round_id = await queries.round_of_link(session, organization_id, verified.link_id)
    review = await queries.review(session, organization_id, round_id)
    link = next(row for row in review.links if row.id == verified.link_id)
    organization = await contract_queries.organization(session, organization_id)
    client = await contract_queries.client(session, organization_id, review.contract.client_id)
    contact = await queries.contact(session, organization_id, link.contact_id)
    content = json.loads(review.round.content)
    amount = Money(review.round.amount_minor, review.round.currency)
    tax = tax_for(review.contract, review.milestone)
    now = clock.now()
    decisions = await decisions_of(session, review)
    proposed = await queries.colleagues_of(session, organization_id, round_id)
    return LinkPage(
        organization_id=organization_id,
        link_id=link.id,
        round_id=round_id,
        milestone_id=review.milestone.id,
        contract_id=review.contract.id,
        contact_id=link.contact_id,
        state=state_of(link, verified, now),
        round_state=RoundState(review.round.state),
        milestone_state=State(review.milestone.state),
        seller=seller_view(organization),
        client_name=client.legal_name if client else "",
        approver_name=contact.name,
        approver_email=contact.email,
        locale=i18n.choose(contact.locale, client.locale if client else None, organization.locale),
        time_zone=organization.time_zone,
        contract_title=review.contract.title,
        contract_reference=review.contract.reference,
        milestone_title=content["title"],
        description=content["description"],
        acceptance_criteria=tuple(content["acceptance_criteria"]),
        deliverables_expected=tuple(content["deliverables_expected"]),
        round_number=review.round.number,
        message=review.round.message,
        delivered_at=review.round.opened_at,
        delivered_by_name=await queries.member_name(session, organization_id, review.round.delivered_by),
        deliverables=await frozen_deliverables(session, review, content),
        amount=amount,
        price_basis=review.contract.price_basis,
        price=price_of(amount, review.contract.price_basis, tax),
        tax=tax,
        payment_days=review.contract.payment_days,
        payment_from=review.contract.payment_from,
        due_if_approved_today=due_if_issued(
            clock.today(organization.time_zone), review.contract.payment_days, review.contract.payment_from
        ),
        due_on=review.milestone.due_on,
        content_sha256_hex=review.round.content_sha256.hex(),
        expires_at=min(link.expires_at, verified.expires_at),
        decisions=decisions,
        own_decision=next((item for item in decisions if item.contact_id == link.contact_id), None),
        code_needed=verified.copied_by is not None,
        code_sent=link.code_sha256 is not None and link.code_expires_at is not None and link.code_expires_at > now,
        copied_by_name=await queries.member_name(session, organization_id, verified.copied_by),
        colleague_proposed=any(row.state == "proposed" and row.approval_link_id == link.id for row in proposed),
        reopened_because=review.round.reopened_because or "",
        certificate=await documents.info(session, organization_id, KIND, round_id),
    )


async def link_file(session: AsyncSession, verified: VerifiedLink, sha256_hex: str) -> tuple[str, str]:
    """File name and content type of a file that this link's round shows. Raises `NotFound` for any other file."""
    round_id = await queries.round_of_link(session, verified.organization_id, verified.link_id)
    review = await queries.review(session, verified.organization_id, round_id)
    for item in await frozen_deliverables(session, review, json.loads(review.round.content)):
        if item.kind == "file" and item.sha256_hex == sha256_hex:
            return item.title, item.content_type or "application/octet-stream"
    raise NotFound


def state_of(link: ApprovalLink, verified: VerifiedLink, now: datetime) -> LinkState:
    """What the link can do in the hands of this token: a copy can be older than the link it belongs to."""
    state = link_state(queries.link_facts(link), now)
    return LinkState.EXPIRED if state is LinkState.OPEN and now >= verified.expires_at else state


def seller_view(organization: Organization) -> SellerView:
    """The seller as client pages show it."""
    return SellerView(
        name=organization.legal_name,
        address=address_lines(organization),
        email=organization.email,
        phone=organization.phone,
        website=organization.website,
        tax_id=organization.tax_id,
        accent=organization.accent,
        logo_sha256_hex=organization.logo_sha256_hex,
    )


async def decisions_of(session: AsyncSession, review: Review) -> tuple[PageDecision, ...]:
    """The decisions of a round, in the order they were made."""
    organization_id = review.round.organization_id
    contacts = await contract_queries.contacts(session, organization_id, [row.contact_id for row in review.sign_offs if row.contact_id])
    found = []
    for row in review.sign_offs:
        contact = contacts.get(row.contact_id) if row.contact_id else None
        found.append(
            PageDecision(
                contact_id=row.contact_id,
                contact_name=contact.name if contact else "",
                decision=row.decision,
                how=row.how,
                signed_name=row.signed_name or "",
                reason=row.reason or "",
                decided_at=row.decided_at,
                recorded_by=row.recorded_by,
                copied_by=row.copied_by,
                document_sha256_hex=row.document_sha256_hex,
                document_file_name=row.document_file_name,
                recorded_by_name=await queries.member_name(session, organization_id, row.recorded_by),
                copied_by_name=await queries.member_name(session, organization_id, row.copied_by),
            )
        )
    return tuple(found)


async def frozen_deliverables(
    session: AsyncSession, review: Review, content: dict[str, list[dict[str, str]]]
) -> tuple[PageDeliverable, ...]:
    """What a round shows, from its frozen content; content types are labels and come from the rows."""
    rows = await session.scalars(
        select(Deliverable).where(
            Deliverable.organization_id == review.round.organization_id, Deliverable.milestone_id == review.milestone.id
        )
    )
    types = {row.sha256_hex: row.content_type for row in rows if row.sha256_hex}
    return tuple(
        PageDeliverable(
            kind=item["kind"],
            title=item["title"],
            url=item["url"],
            note=item["note"],
            sha256_hex=item["sha256"],
            size=int(item["size"]) if item["size"] is not None else None,
            content_type=types.get(item["sha256"]),
        )
        for item in content["deliverables"]
    )
