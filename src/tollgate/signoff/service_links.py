"""What members and approvers do with links besides deciding: remind, send anew, copy, revoke, ask for a code, name a colleague."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.access.emails import checked_email
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.documents.printable import require_printable
from tollgate.errors import Conflict, TooManyAttempts, _
from tollgate.jobs import enqueue
from tollgate.mail import service as mail
from tollgate.parties.models import Contact, Organization
from tollgate.signoff import queries
from tollgate.signoff.models import ApprovalLink, Colleague, LinkOpen, ReviewRound, RoundApprover
from tollgate.signoff.news import ChainOpen
from tollgate.signoff.queries import Review
from tollgate.signoff.rules import LinkRevoked, LinkState, NotAnApprover, RevokedBecause, RoundClosed, RoundState, clean_name, link_state
from tollgate.signoff.service_decisions import ip_hash
from tollgate.signoff.service_input import LINK_LIFE
from tollgate.signoff.service_rounds import add_link, ask_for_decision, revoke
from tollgate.signoff.tokens import VerifiedLink, mint_row

log = structlog.get_logger("tollgate.signoff")

CODE_EVERY_SECONDS = 120
MOST_PROPOSALS = 5


class NothingToRemind(Conflict):
    """Everybody has decided, or the round is over."""

    slug = "nothing-to-remind"
    title = _("Nobody is left to remind")


async def remind(db: Database, command: Command, round_id: UUID) -> UUID:
    """Remind every approver who has not decided, now: at most once a minute. Each mail carries a fresh, working token (R10).

    Raises `RoundClosed` or `NothingToRemind` (everybody decided; expired links are sent anew instead).
    """
    async with db.transaction(command.organization_id, command) as session:
        review = await _open_review(session, command.organization_id, round_id)
        now = clock.now()
        add_links = [link for link in review.live_links() if link.expires_at > now]
        if not add_links:
            raise NothingToRemind(_("no link is open; send a fresh one"))
        for link in add_links:
            once = f"round:{round_id}:contact:{link.contact_id}:again:{int(now.timestamp()) // 60}"
            await ask_for_decision(session, review.contract.id, link, "signoff/approval_reminder", once=once)
        return answer(session, round_id)


async def send_link(db: Database, command: Command, round_id: UUID, contact_id: UUID) -> UUID:
    """Send an approver of an open round a fresh mail, at most once a minute. An expired link gets its full time again,
    a revoked one is replaced.

    Raises `RoundClosed`, `NotFound` for a foreign contact, `NotAnApprover`, `Conflict` when the contact has decided.
    """
    async with db.transaction(command.organization_id, command) as session:
        review = await _open_review(session, command.organization_id, round_id)
        await queries.contact(session, command.organization_id, contact_id)
        if contact_id not in review.approvers:
            raise NotAnApprover()
        now = clock.now()
        once = f"round:{round_id}:contact:{contact_id}:sent:{int(now.timestamp()) // 60}"
        link = _newest(review, contact_id)
        if link is not None and link.used_at is not None:
            raise Conflict(_("this approver has decided already"), decided_at=link.used_at.isoformat())
        if link is None or link.revoked_at is not None:
            if command.actor_kind is ActorKind.CONTACT:
                # What a member took back, only a member gives again: an old link must not renew itself.
                raise LinkRevoked()
            await add_link(session, review.contract.id, review.round, contact_id, once=once)
        else:
            link.expires_at = max(link.expires_at, now + LINK_LIFE)
            await ask_for_decision(session, review.contract.id, link, "signoff/approval_request", once=once)
        return answer(session, round_id, 201)


async def copy_link(db: Database, secret_key: str, base_url: str, command: Command, link_id: UUID) -> str:
    """A token's address, shown once on a page and never in the API. It decides only with a code mailed to the approver.

    The trail and the certificate name the member who copied it. Raises `RoundClosed`, `Conflict` for a link that cannot decide.
    """
    if command.actor_id is None:
        raise ValueError("a link is copied by somebody")
    async with db.transaction(command.organization_id, command) as session:
        review = await _open_review(
            session, command.organization_id, await queries.round_of_link(session, command.organization_id, link_id)
        )
        link = next(row for row in review.links if row.id == link_id)
        state = link_state(queries.link_facts(link), clock.now())
        if state is not LinkState.OPEN:
            raise Conflict(_("this link is %(state)s; send a fresh one", state=state.value), state=state.value)
        token, row = await mint_row(
            session,
            secret_key,
            organization_id=command.organization_id,
            approval_link_id=link.id,
            sent_by="copy",
            copied_by=command.actor_id,
            expires_at=link.expires_at,
        )
        link.confirmation_due = True
        audit.record(
            session,
            "link.copied",
            ("approval_link", link.id),
            contract_id=review.contract.id,
            round_id=review.round.id,
            contact_id=link.contact_id,
            token_id=row.id,
        )
        answer(session, link.id)
    return f"{base_url}/a/{token}"


async def revoke_link(db: Database, command: Command, link_id: UUID) -> UUID:
    """Take one approver's right to decide away. Answers the round's id. Raises `RoundClosed`, `Conflict` for a used or dead link."""
    async with db.transaction(command.organization_id, command) as session:
        review = await _open_review(
            session, command.organization_id, await queries.round_of_link(session, command.organization_id, link_id)
        )
        link = next(row for row in review.links if row.id == link_id)
        if link.used_at is not None or link.revoked_at is not None:
            raise Conflict(_("this link can no longer decide"))
        revoke(session, review.contract.id, link, RevokedBecause.REVOKED, clock.now())
        return answer(session, review.round.id)


async def request_code(db: Database, command: Command, verified: VerifiedLink) -> UUID:
    """Mail the approver the code that a copied link asks for. The code is made when the mail is sent and is never stored in clear.

    One mail in two minutes. Answers the link's id. Raises `Conflict` for a link that cannot decide.
    """
    async with db.transaction(verified.organization_id, command) as session:
        review = await _review_of(session, verified)
        link = next(row for row in review.links if row.id == verified.link_id)
        if link_state(queries.link_facts(link), clock.now()) is not LinkState.OPEN:
            raise Conflict(_("this link can no longer decide"))
        window = int(clock.now().timestamp()) // CODE_EVERY_SECONDS
        await mail.ask(
            session,
            verified.organization_id,
            "signoff/link_code",
            {"link_id": link.id},
            once=f"link:{link.id}:code:{window}",
            contact_id=link.contact_id,
            contract_id=review.contract.id,
        )
        return answer(session, link.id)


async def propose_colleague(db: Database, command: Command, verified: VerifiedLink, name: str, email: str) -> UUID:
    """ "Not me": name who should decide instead; a member confirms before anything is sent. Answers the link's id."""
    name, email = clean_name(name), checked_email(email, "/email")
    # Once confirmed they decide, and the certificate names them.
    require_printable("/signed_name", name)
    require_printable("/email", email)
    async with db.transaction(verified.organization_id, command) as session:
        review = await _review_of(session, verified)
        if review.round.state != RoundState.OPEN:
            raise RoundClosed(state=review.round.state)
        link = next(row for row in review.links if row.id == verified.link_id)
        if link_state(queries.link_facts(link), clock.now()) is not LinkState.OPEN:
            raise Conflict(_("this link can no longer decide"))
        present = await queries.colleagues_of(session, verified.organization_id, review.round.id)
        if len([row for row in present if row.state == "proposed"]) >= MOST_PROPOSALS:
            raise TooManyAttempts(_("enough colleagues are proposed; a member answers soon"))
        row = Colleague(
            organization_id=verified.organization_id,
            id=uuid7(),
            round_id=review.round.id,
            approval_link_id=link.id,
            name=name,
            email=email,
            state="proposed",
            created_at=clock.now(),
        )
        session.add(row)
        await session.flush()
        audit.record(
            session, "colleague.proposed", ("colleague", row.id), contract_id=review.contract.id, round_id=review.round.id, link_id=link.id
        )
        member_id = await queries.member_to_tell(session, review.round, review.contract)
        if member_id is not None:
            await mail.ask(
                session,
                verified.organization_id,
                "signoff/colleague_proposed",
                {"colleague_id": row.id},
                once=f"colleague:{row.id}:proposed",
                member_id=member_id,
                contract_id=review.contract.id,
            )
        return answer(session, link.id)


async def confirm_colleague(db: Database, command: Command, colleague_id: UUID) -> UUID:
    """Let the proposed colleague decide: a contact of the client, an approver of the round, a link of their own by mail.

    Whoever proposed them keeps their link. Answers the round's id. Raises `RoundClosed`, `Conflict` when it was answered before.
    """
    async with db.transaction(command.organization_id, command) as session:
        round_id = await queries.round_of_colleague(session, command.organization_id, colleague_id)
        review = await _open_review(session, command.organization_id, round_id)
        row = await _answered(session, command, colleague_id, "confirmed")
        contact_id = await _contact_for(session, review, row)
        if contact_id not in review.approvers:
            session.add(
                RoundApprover(
                    organization_id=command.organization_id, round_id=round_id, contact_id=contact_id, position=len(review.approvers)
                )
            )
            await session.flush()
        if _newest(review, contact_id) is None:
            await add_link(session, review.contract.id, review.round, contact_id, once=f"colleague:{row.id}:request")
        audit.record(
            session, "colleague.confirmed", ("colleague", row.id), contract_id=review.contract.id, round_id=round_id, contact_id=contact_id
        )
        return answer(session, round_id)


async def decline_colleague(db: Database, command: Command, colleague_id: UUID) -> UUID:
    """Say no to a proposed colleague. Answers the round's id. Raises `Conflict` when it was answered before."""
    async with db.transaction(command.organization_id, command) as session:
        round_id = await queries.round_of_colleague(session, command.organization_id, colleague_id)
        review = await queries.review_for_update(session, command.organization_id, round_id)
        row = await _answered(session, command, colleague_id, "declined")
        audit.record(session, "colleague.declined", ("colleague", row.id), contract_id=review.contract.id, round_id=round_id)
        return answer(session, round_id)


async def record_open(db: Database, verified: VerifiedLink, *, ip: str, user_agent: str) -> None:
    """Note that a link's page was opened: an append-only row and the job that chains it, apart from the page's own reading.

    Never raises: a page is shown whether or not its opening could be noted.
    """
    try:
        async with db.transaction(verified.organization_id) as session:
            organization = await session.get(Organization, verified.organization_id)
            if organization is None:
                return
            row = LinkOpen(
                organization_id=verified.organization_id,
                id=uuid7(),
                approval_link_id=verified.link_id if verified.kind == "approval" else None,
                invoice_link_id=verified.link_id if verified.kind == "invoice" else None,
                opened_at=clock.now(),
                ip_hash=ip_hash(organization, ip),
                user_agent=user_agent[:200],
            )
            session.add(row)
            await enqueue(session, ChainOpen(organization_id=verified.organization_id, open_id=row.id))
    except Exception as error:  # The client's page must open whatever keeps the note from being written.
        log.warning("opening not noted", error=type(error).__name__, link=str(verified.link_id))


async def _open_review(session: AsyncSession, organization_id: UUID, round_id: UUID) -> Review:
    review = await queries.review_for_update(session, organization_id, round_id)
    _require_open(review.round)
    return review


def _require_open(row: ReviewRound) -> None:
    if row.state != RoundState.OPEN:
        raise RoundClosed(state=row.state, closed_at=row.closed_at.isoformat() if row.closed_at else None)


async def _review_of(session: AsyncSession, verified: VerifiedLink) -> Review:
    round_id = await queries.round_of_link(session, verified.organization_id, verified.link_id)
    review = await queries.review_for_update(session, verified.organization_id, round_id)
    if clock.now() >= verified.expires_at:
        raise Conflict(_("this link can no longer decide"))
    return review


def _newest(review: Review, contact_id: UUID) -> ApprovalLink | None:
    return next((row for row in reversed(review.links) if row.contact_id == contact_id), None)


async def _answered(session: AsyncSession, command: Command, colleague_id: UUID, state: str) -> Colleague:
    row = await queries.colleague_for_update(session, command.organization_id, colleague_id)
    if row.state != "proposed":
        raise Conflict(_("this colleague is %(state)s already", state=row.state), state=row.state)
    row.state, row.decided_at, row.decided_by = state, clock.now(), command.actor_id
    return row


async def _contact_for(session: AsyncSession, review: Review, row: Colleague) -> UUID:
    """The client's contact with that address, or a new one."""
    organization_id, client_id = row.organization_id, review.contract.client_id
    found = await session.scalar(
        select(Contact).where(
            Contact.organization_id == organization_id,
            Contact.client_id == client_id,
            func.lower(Contact.email) == row.email.lower(),
            Contact.removed_at.is_(None),
        )
    )
    if found is not None:
        return found.id
    proposer = await queries.contact(
        session, organization_id, (await queries.link(session, organization_id, row.approval_link_id)).contact_id
    )
    contact = Contact(
        organization_id=organization_id,
        id=uuid7(),
        client_id=client_id,
        name=row.name,
        email=row.email,
        is_approver=True,
        is_billing_contact=False,
        locale=proposer.locale,
        version=1,
        created_at=clock.now(),
    )
    session.add(contact)
    await session.flush()
    audit.record(session, "contact.added", ("contact", contact.id), client_id=client_id, is_approver=True, is_billing_contact=False)
    return contact.id
