"""Deliver and withdraw: a review round begins and ends by the seller's hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.canonical import canonical_json
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.models import Contract, ContractVersion, Deliverable, Milestone
from tollgate.contracts.rules import ContractState, Event, MilestoneFacts
from tollgate.contracts.service import check_move, lock_milestone, move
from tollgate.contracts.service_checks import resolve_approvers
from tollgate.contracts.service_milestones import tax_for
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.documents.printable import printing_problem
from tollgate.errors import Invalid
from tollgate.mail import service as mail
from tollgate.money.amount import Money
from tollgate.money.rates import percent_text
from tollgate.signoff import queries
from tollgate.signoff.models import ApprovalLink, ReviewRound, RoundApprover
from tollgate.signoff.queries import Review
from tollgate.signoff.rules import DeliverableFacts, RevokedBecause, RoundContent, RoundState
from tollgate.signoff.service_input import LINK_LIFE, Delivery


async def deliver(db: Database, command: Command, milestone_id: UUID, delivery: Delivery) -> UUID:
    """Show the work to the client: a new round under a content hash, one link per approver, one mail per link.

    Raises `TransitionRefused` (contract not active, no deliverable, no approver), `Invalid` or `NotFound` for wrong contacts,
    `Invalid` for what cannot be printed (R12).
    """
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        approvers = await _approvers(session, contract, delivery.contact_ids)
        shown = (await contract_queries.deliverables_of(session, command.organization_id, [milestone_id]))[milestone_id]
        facts = MilestoneFacts(contract_state=ContractState(contract.state), deliverables=len(shown), approvers=len(approvers))
        # Asked here already: a draft has no contract version that the content could name.
        await check_move(session, contract, milestone, Event.DELIVER, facts)
        people = await contract_queries.contacts(session, command.organization_id, approvers)
        names = [text for contact in people.values() for text in (contact.name, contact.email)]
        _check_printable(delivery.message, shown, names, await queries.member_name(session, command.organization_id, command.actor_id))
        agreed = await queries.contract_version(session, command.organization_id, contract.id)
        if agreed is None:
            raise RuntimeError(f"contract {contract.id} is active without a version")
        opened = await _open_round(session, command, contract, milestone, _Opening(agreed, shown, approvers, delivery.message, facts))
        for contact_id in approvers:
            await add_link(session, contract.id, opened, contact_id, once=f"round:{opened.id}:contact:{contact_id}:request")
        return answer(session, milestone_id)


async def withdraw(db: Database, command: Command, milestone_id: UUID) -> UUID:
    """Take a delivery back before it is decided: its links die and the approvers are told. Raises `TransitionRefused`."""
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        await move(session, contract, milestone, Event.WITHDRAW, round=milestone.round_number)
        if milestone.round_id is None:
            raise RuntimeError(f"milestone {milestone_id} was delivered without a round")
        review = await queries.review_for_update(session, command.organization_id, milestone.round_id)
        told = [link.contact_id for link in review.live_links()]
        await close_round(session, review, RoundState.WITHDRAWN, RevokedBecause.WITHDRAWN)
        for contact_id in told:
            await mail.ask(
                session,
                command.organization_id,
                "signoff/round_withdrawn",
                {"round_id": review.round.id},
                once=f"round:{review.round.id}:contact:{contact_id}:withdrawn",
                contact_id=contact_id,
                contract_id=contract.id,
            )
        return answer(session, milestone_id)


async def close_round(session: AsyncSession, review: Review, state: RoundState, because: RevokedBecause) -> None:
    """End a locked round; every link that has not decided loses its right, for the reason its page will give."""
    now = clock.now()
    review.round.state = state.value
    review.round.closed_at = now
    for link in review.live_links():
        revoke(session, review.contract.id, link, because, now)
    await session.flush()


def revoke(session: AsyncSession, contract_id: UUID, link: ApprovalLink, because: RevokedBecause, now: datetime) -> None:
    """Take a locked link's right away."""
    link.revoked_at = now
    link.revoked_because = because.value
    link.code_sha256 = link.code_expires_at = None
    audit.record(
        session,
        "link.revoked",
        ("approval_link", link.id),
        contract_id=contract_id,
        round_id=link.round_id,
        contact_id=link.contact_id,
        because=because.value,
    )


async def add_link(session: AsyncSession, contract_id: UUID, row: ReviewRound, contact_id: UUID, *, once: str) -> ApprovalLink:
    """Give a contact the right to decide in an open round, and mail it. The mail's token is minted when it is sent (R10)."""
    now = clock.now()
    link = ApprovalLink(
        organization_id=row.organization_id,
        id=uuid7(),
        round_id=row.id,
        contact_id=contact_id,
        created_at=now,
        expires_at=now + LINK_LIFE,
        confirmation_due=False,
        code_attempts=0,
    )
    session.add(link)
    await session.flush()
    audit.record(session, "link.created", ("approval_link", link.id), contract_id=contract_id, round_id=row.id, contact_id=contact_id)
    await ask_for_decision(session, contract_id, link, "signoff/approval_request", once=once)
    return link


async def ask_for_decision(session: AsyncSession, contract_id: UUID, link: ApprovalLink, template: str, *, once: str) -> bool:
    """Mail a link to its contact; False when the same mail was asked for before."""
    return await mail.ask(
        session,
        link.organization_id,
        template,
        {"link_id": link.id},
        once=once,
        contact_id=link.contact_id,
        contract_id=contract_id,
    )


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a new round is made of."""

    agreed: ContractVersion
    shown: Sequence[Deliverable]
    approvers: Sequence[UUID]
    message: str
    facts: MilestoneFacts


async def _open_round(session: AsyncSession, command: Command, contract: Contract, milestone: Milestone, opening: _Opening) -> ReviewRound:
    number = milestone.round_number + 1
    content = _content(contract, milestone, number, opening)
    content_sha256 = hashlib.sha256(content.encode()).digest()
    round_id = uuid7()
    amount = Money(milestone.amount_minor, milestone.currency)
    milestone.round_number, milestone.round_id = number, round_id
    await move(
        session,
        contract,
        milestone,
        Event.DELIVER,
        opening.facts,
        round=number,
        content_sha256=content_sha256,
        amount=amount.decimal_string(),
        currency=amount.currency,
    )
    row = ReviewRound(
        organization_id=command.organization_id,
        id=round_id,
        contract_id=contract.id,
        milestone_id=milestone.id,
        contract_version_id=opening.agreed.id,
        number=number,
        state=RoundState.OPEN.value,
        policy=contract.approval_policy,
        required=1,
        amount_minor=amount.minor,
        currency=amount.currency,
        message=opening.message,
        content=content,
        content_sha256=content_sha256,
        delivered_by=command.actor_id,
        opened_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    for item in opening.shown:
        item.round_id = item.round_id or round_id
    session.add_all(
        RoundApprover(organization_id=command.organization_id, round_id=round_id, contact_id=contact_id, position=position)
        for position, contact_id in enumerate(opening.approvers)
    )
    await session.flush()
    return row


def _content(contract: Contract, milestone: Milestone, number: int, opening: _Opening) -> str:
    """The canonical JSON that the approvers sign; its SHA-256 names the round ever after."""
    tax = tax_for(contract, milestone)
    content = RoundContent(
        contract_id=contract.id,
        contract_version=opening.agreed.number,
        contract_version_sha256_hex=opening.agreed.content_sha256.hex(),
        milestone_id=milestone.id,
        round_number=number,
        title=milestone.title,
        description=milestone.description,
        acceptance_criteria=milestone.acceptance_criteria,
        amount=Money(milestone.amount_minor, milestone.currency),
        price_basis=contract.price_basis,
        tax_category=tax.category.value,
        tax_rate_percent=percent_text(Decimal(tax.rate_percent)),
        payment_days=contract.payment_days,
        payment_from=contract.payment_from,
        due_on=milestone.due_on,
        message=opening.message,
        deliverables=[_deliverable(item) for item in opening.shown],
    ).as_dict()
    content |= {"approvers": list(opening.approvers), "deliverables_expected": list(milestone.deliverables_expected)}
    return canonical_json(content).decode()


def _deliverable(row: Deliverable) -> DeliverableFacts:
    sha256_hex = hashlib.sha256(row.note.encode()).hexdigest() if row.note is not None else row.sha256_hex
    return DeliverableFacts(kind=row.kind, title=row.title, sha256_hex=sha256_hex, size=row.size, url=row.url, note=row.note)


def _check_printable(message: str, shown: Sequence[Deliverable], approvers: Sequence[str], member: str) -> None:
    """All that the certificate will show. Who approves and who delivered stands there by name, and by address where a link was mailed."""
    texts = [text for item in shown for text in (item.title, item.url, item.note)]
    asked = [
        printing_problem("/message", message),
        printing_problem("/deliverables", *texts),
        printing_problem("/contact_ids", *approvers),
        printing_problem("/delivered_by", member),
    ]
    problems = [problem for problem in asked if problem is not None]
    if problems:
        raise Invalid(problems[0].detail if len(problems) == 1 else None, errors=problems)


async def _approvers(session: AsyncSession, contract: Contract, named: Sequence[UUID] | None) -> list[UUID]:
    if named is not None:
        return await resolve_approvers(session, contract.organization_id, contract.client_id, named, pointer="/contact_ids")
    agreed = (await contract_queries.approvers_of(session, contract.organization_id, [contract.id]))[contract.id]
    contacts = await contract_queries.contacts(session, contract.organization_id, agreed)
    # Somebody who left the client since must not decide for it.
    return [contact_id for contact_id in agreed if contact_id in contacts and contacts[contact_id].removed_at is None]
