"""Decisions: by link, recorded from paper, and taken back. Exactly one wins per approver and round (R8)."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.models import Contract, Milestone
from tollgate.contracts.rules import Event, MilestoneFacts, Party, price_of
from tollgate.contracts.service import check_move, lock_milestone, move
from tollgate.contracts.service_deliverables import check_file, content_type_of, file_name_of
from tollgate.contracts.service_milestones import tax_for
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.documents.printable import require_printable
from tollgate.errors import Conflict, _, invalid
from tollgate.files.service import keep
from tollgate.files.storage import Storage
from tollgate.jobs import enqueue
from tollgate.ledger import rules as entries
from tollgate.ledger import service as ledger
from tollgate.mail import service as mail
from tollgate.money.amount import Money
from tollgate.parties.models import Organization
from tollgate.signoff import queries, rules
from tollgate.signoff.certificate import freeze_certificate
from tollgate.signoff.models import ApprovalLink, SignOff
from tollgate.signoff.news import MilestoneApproved
from tollgate.signoff.queries import Review
from tollgate.signoff.rules import Decision, DecisionKind, LinkExpired, RevokedBecause, RoundState, SignedOff
from tollgate.signoff.service_input import CODE_ATTEMPTS, LinkDecision, Recorded
from tollgate.signoff.service_rounds import close_round
from tollgate.signoff.tokens import VerifiedLink

log = structlog.get_logger("tollgate.signoff")


class CodeNeeded(Conflict):
    """The link was copied by a member: the code mailed to the approver is missing, wrong, used up or too old."""

    slug = "code-needed"
    title = _("Enter the code that was mailed to you")


async def approve_by_link(db: Database, command: Command, link: VerifiedLink, decision: LinkDecision) -> UUID:
    """Record one approver's approval; the link is used with it. Answers the link's id.

    Raises `AlreadyDecided`, `RoundClosed`, `LinkSuperseded`, `LinkRevoked`, `LinkExpired`, `ContentChanged`, `CodeNeeded`, `Invalid`.
    """
    return await _decide(db, command, link, decision, DecisionKind.APPROVE)


async def request_changes_by_link(db: Database, command: Command, link: VerifiedLink, decision: LinkDecision) -> UUID:
    """Record one approver's request for changes, which ends the round. Raises what `approve_by_link` raises."""
    return await _decide(db, command, link, decision, DecisionKind.REQUEST_CHANGES)


async def record_approval(db: Database, storage: Storage, command: Command, milestone_id: UUID, recorded: Recorded) -> UUID:
    """Record an approval given on paper, with the signed document. Answers the milestone's id.

    For admins who did not deliver the round. Raises `TransitionRefused`, `RoleTooSmall`, `AlreadyDecided`, `Invalid`, `NotFound`.
    """
    check_file(recorded.document)
    require_printable("/signed_name", recorded.signed_name)
    require_printable("/file", file_name_of(recorded.document))
    async with db.reading(command.organization_id) as session:
        await contract_queries.milestone(session, command.organization_id, milestone_id)
    sha256_hex = await storage.put(command.organization_id, recorded.document.content)
    async with db.transaction(command.organization_id, command) as session:
        contract, milestone = await lock_milestone(session, command.organization_id, milestone_id)
        await _check_recording(session, command, contract, milestone)
        if milestone.round_id is None:
            raise RuntimeError(f"milestone {milestone_id} was delivered without a round")
        review = await queries.review_for_update(session, command.organization_id, milestone.round_id)
        contact_id = _signer(review, recorded.contact_id)
        await keep(session, command.organization_id, sha256_hex, len(recorded.document.content), content_type_of(recorded.document))
        row = SignOff(
            organization_id=command.organization_id,
            id=uuid7(),
            round_id=review.round.id,
            contact_id=contact_id,
            decision=DecisionKind.APPROVE.value,
            how="recorded",
            content_sha256=review.round.content_sha256,
            signed_name=recorded.signed_name,
            recorded_by=command.actor_id,
            document_sha256_hex=sha256_hex,
            document_file_name=file_name_of(recorded.document),
            decided_at=clock.now(),
        )
        session.add(row)
        await session.flush()
        audit.record(session, "round.recorded", ("review_round", review.round.id), contract_id=contract.id, document_sha256=sha256_hex)
        # The document stands for the whole round, whatever its policy still waits for.
        await _complete(session, review, row, Event.RECORD_APPROVAL)
        return answer(session, milestone_id)


async def reopen_in(
    session: AsyncSession, organization_id: UUID, milestone_id: UUID, reason: str, *, live_invoices: int
) -> tuple[Contract, Milestone]:
    """Take an approval back within the caller's transaction, and tell the approvers why. Answers the locked rows.

    The caller knows the invoices: any live one refuses. Raises `TransitionRefused` or `RoleTooSmall`.
    """
    reason = rules.clean_reason(reason)
    contract, milestone = await lock_milestone(session, organization_id, milestone_id)
    await move(
        session, contract, milestone, Event.REOPEN, MilestoneFacts(live_invoices=live_invoices, reason=reason), round=milestone.round_number
    )
    milestone.billing_held = False
    if milestone.round_id is None:
        raise RuntimeError(f"milestone {milestone_id} was approved without a round")
    review = await queries.review_for_update(session, organization_id, milestone.round_id)
    review.round.state = RoundState.REOPENED.value
    review.round.reopened_because = reason
    await session.flush()
    await _book(session, review, "milestone_reopened")
    for contact_id in review.approvers:
        await mail.ask(
            session,
            organization_id,
            "signoff/milestone_reopened",
            {"round_id": review.round.id},
            once=f"round:{review.round.id}:contact:{contact_id}:reopened",
            contact_id=contact_id,
            contract_id=contract.id,
        )
    return contract, milestone


async def _decide(db: Database, command: Command, verified: VerifiedLink, decision: LinkDecision, kind: DecisionKind) -> UUID:
    if verified.copied_by is not None:
        await _count_code_attempt(db, verified)
    async with db.transaction(verified.organization_id, command) as session:
        round_id = await queries.round_of_link(session, verified.organization_id, verified.link_id)
        review = await queries.review_for_update(session, verified.organization_id, round_id)
        link = next(row for row in review.links if row.id == verified.link_id)
        now = clock.now()
        asked = Decision(
            kind=kind,
            content_sha256_hex=decision.content_sha256_hex,
            signed_name=decision.signed_name,
            decided_at=now,
            reason=decision.reason,
        )
        signed = rules.decide(review.facts(link), link.contact_id, asked)
        if kind is DecisionKind.APPROVE:
            # It stands on the certificate; a request for changes goes on no document and may be in any script.
            require_printable("/signed_name", signed.signed_name)
        if now >= verified.expires_at:
            # A fresh mail may have given the link more time; this copy of it stays as old as it is.
            raise LinkExpired()
        if verified.copied_by is not None:
            _check_code(link, decision.code)
        row = await _write(session, command, review, link, signed, verified.copied_by)
        if signed.completes:
            await _complete(session, review, row, Event.APPROVE)
        elif signed.ends:
            await _return(session, review, signed)
        return answer(session, link.id)


async def _write(
    session: AsyncSession, command: Command, review: Review, link: ApprovalLink, signed: SignedOff, copied_by: UUID | None
) -> SignOff:
    organization = await contract_queries.organization(session, link.organization_id)
    row = SignOff(
        organization_id=link.organization_id,
        id=uuid7(),
        round_id=review.round.id,
        contact_id=signed.contact_id,
        approval_link_id=link.id,
        decision=signed.kind.value,
        how="link",
        content_sha256=review.round.content_sha256,
        signed_name=signed.signed_name,
        reason=signed.reason or None,
        ip=command.ip or None,
        user_agent=command.user_agent or None,
        copied_by=copied_by,
        decided_at=signed.decided_at,
    )
    session.add(row)
    link.used_at = signed.decided_at
    link.code_sha256 = link.code_expires_at = None
    await session.flush()
    audit.record(
        session,
        "round.signed_off",
        ("review_round", review.round.id),
        contract_id=review.contract.id,
        contact_id=signed.contact_id,
        link_id=link.id,
        decision=signed.kind.value,
        content_sha256=review.round.content_sha256,
        ip_hash=ip_hash(organization, command.ip),
        how="link",
    )
    return row


def ip_hash(organization: Organization, ip: str) -> bytes:
    """An address as chains and logs keep it: without the organization's salt it means nothing (R23)."""
    return hmac.new(organization.privacy_salt, ip.encode(), hashlib.sha256).digest()


async def _complete(session: AsyncSession, review: Review, row: SignOff, event: Event) -> None:
    """The round is complete: the milestone is approved, earned, certified, and billing hears of it."""
    review.sign_offs.append(row)
    facts = MilestoneFacts(policy_complete=True, signed_document=event is Event.RECORD_APPROVAL)
    await move(
        session,
        review.contract,
        review.milestone,
        event,
        facts,
        who=Party.APPROVER if event is Event.APPROVE else None,
        round=review.round.number,
        content_sha256=review.round.content_sha256,
        how=row.how,
    )
    await close_round(session, review, RoundState.APPROVED, RevokedBecause.ROUND_CLOSED)
    await _book(session, review, "milestone_approved")
    await freeze_certificate(session, review)
    await enqueue(
        session,
        MilestoneApproved(organization_id=review.round.organization_id, milestone_id=review.milestone.id, round_id=review.round.id),
    )
    await _tell_member(session, review, "signoff/milestone_approved", "approved")


async def _return(session: AsyncSession, review: Review, signed: SignedOff) -> None:
    """Changes were requested: the round is over and the work goes on."""
    await move(
        session,
        review.contract,
        review.milestone,
        Event.REQUEST_CHANGES,
        MilestoneFacts(reason=signed.reason),
        who=Party.APPROVER,
        round=review.round.number,
    )
    await close_round(session, review, RoundState.CHANGES_REQUESTED, RevokedBecause.ROUND_CLOSED)
    await _tell_member(session, review, "signoff/changes_requested", "changes_requested")


async def _tell_member(session: AsyncSession, review: Review, template: str, word: str) -> None:
    member_id = await queries.member_to_tell(session, review.round, review.contract)
    if member_id is not None:
        await mail.ask(
            session,
            review.round.organization_id,
            template,
            {"round_id": review.round.id},
            once=f"round:{review.round.id}:{word}:member",
            member_id=member_id,
            contract_id=review.contract.id,
        )


async def _book(session: AsyncSession, review: Review, event: str) -> None:
    """Accepted work is earned: contract asset to revenue, net (R21); the reverse when it is reopened."""
    organization = await contract_queries.organization(session, review.round.organization_id)
    amount = Money(review.round.amount_minor, review.round.currency)
    net = price_of(amount, review.contract.price_basis, tax_for(review.contract, review.milestone)).net
    await ledger.post(
        session,
        organization_id=review.round.organization_id,
        event=event,
        source=f"{event}:{review.round.id}",
        booked_on=clock.today(organization.time_zone),
        subject=("milestone", review.milestone.id),
        contract_id=review.contract.id,
        client_id=review.contract.client_id,
        postings=entries.approved(net) if event == "milestone_approved" else entries.reopened(net),
    )


async def _check_recording(session: AsyncSession, command: Command, contract: Contract, milestone: Milestone) -> None:
    """Everything that speaks against it, before anything is written."""
    delivered_by = None
    if milestone.round_id is not None:
        delivered_by = (await queries.review(session, command.organization_id, milestone.round_id)).round.delivered_by
    behind = await queries.people_behind(session, command.organization_id, delivered_by)
    own = bool(behind & await queries.people_behind(session, command.organization_id, command.actor_id))
    # The certificate names who recorded it.
    require_printable("/recorded_by", await queries.member_name(session, command.organization_id, command.actor_id))
    facts = MilestoneFacts(delivered_by_actor=own, signed_document=True)
    await check_move(session, contract, milestone, Event.RECORD_APPROVAL, facts)


def _signer(review: Review, contact_id: UUID | None) -> UUID | None:
    """Which approver signed the paper: as said, or the only one there is."""
    if contact_id is None:
        return review.approvers[0] if len(review.approvers) == 1 else None
    if contact_id not in review.approvers:
        raise invalid("/contact_id", _("this contact is not an approver of this round"))
    if any(row.contact_id == contact_id for row in review.sign_offs):
        raise rules.AlreadyDecided()
    return contact_id


async def _count_code_attempt(db: Database, verified: VerifiedLink) -> None:
    # In a transaction of its own: the wrong guess itself rolls back, its count must not.
    async with db.transaction(verified.organization_id) as session:
        link = await session.get(ApprovalLink, (verified.organization_id, verified.link_id), with_for_update=True)
        if link is None or link.code_sha256 is None:
            return
        if link.code_attempts >= CODE_ATTEMPTS:
            raise CodeNeeded(_("too many wrong codes; ask for a new one"))
        link.code_attempts += 1


def _check_code(link: ApprovalLink, code: str) -> None:
    if link.code_sha256 is None or link.code_expires_at is None:
        raise CodeNeeded(_("this link was copied by a member; ask for a code, it is mailed to you"))
    if clock.now() >= link.code_expires_at:
        raise CodeNeeded(_("this code is too old; ask for a new one"))
    if not hmac.compare_digest(link.code_sha256, code_hash(link.id, code)):
        log.warning("code refused", link=str(link.id))
        raise CodeNeeded(_("this is not the code that was mailed to you"))


def code_hash(link_id: UUID, code: str) -> bytes:
    """How a mailed code is stored: bound to its link, spaces left out."""
    return hashlib.sha256(link_id.bytes + "".join(code.split()).encode("utf-8", "surrogatepass")).digest()
