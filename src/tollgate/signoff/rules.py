"""Review rounds, approval policies and approval links (R8, R10), without clock or database."""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from tollgate.canonical import sha256_hex
from tollgate.errors import Conflict, NotAllowed, _, invalid
from tollgate.i18n.visible import is_blank
from tollgate.money.amount import Money

NAME_LIMITS = (2, 120)
REASON_LIMIT = 4000

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Cn", "Co", "Zl", "Zp"})


class Policy(StrEnum):
    """How many approvers must approve."""

    ANY_ONE = "any_one"
    ALL = "all"
    IN_ORDER = "in_order"
    K_OF_N = "k_of_n"


class DecisionKind(StrEnum):
    """What an approver decides."""

    APPROVE = "approve"
    REQUEST_CHANGES = "request_changes"


class RoundState(StrEnum):
    """Where a round stands; every state but open is its end."""

    OPEN = "open"
    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    REOPENED = "reopened"


class LinkState(StrEnum):
    """What a link can do now; each has its own page."""

    OPEN = "open"
    EXPIRED = "expired"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    USED = "used"


class RevokedBecause(StrEnum):
    """Why a link lost its right."""

    REVOKED = "revoked"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    ROUND_CLOSED = "round_closed"


class AlreadyDecided(Conflict):
    """This approver has decided in this round; `facts` say what and when."""

    slug = "already-decided"
    title = _("You have decided already")


class RoundClosed(Conflict):
    """The round ended; `facts` say how, when and by which contact."""

    slug = "round-closed"
    title = _("This review is over")


class LinkExpired(Conflict):
    """The link is too old; a member can send a fresh one."""

    slug = "link-expired"
    title = _("This link has expired")


class LinkRevoked(Conflict):
    """A member took the link back."""

    slug = "link-revoked"
    title = _("This link was taken back")


class LinkSuperseded(Conflict):
    """A newer delivery or change order took the place of what this link shows."""

    slug = "link-superseded"
    title = _("This link belongs to an earlier version")


class ContentChanged(Conflict):
    """What the approver saw is not what the round holds."""

    slug = "content-changed"
    title = _("What you saw is not what is to be decided")


class NotYourTurn(Conflict):
    """Ordered approval: somebody before this approver has not decided."""

    slug = "not-your-turn"
    title = _("Somebody else decides first")


class NotAnApprover(NotAllowed):
    """This contact is not among the round's approvers."""

    slug = "not-an-approver"
    title = _("You are not an approver of this milestone")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverableFacts:
    """One deliverable as frozen: a file or note by its hash, a link by its address."""

    kind: str
    title: str
    sha256_hex: str | None = None
    size: int | None = None
    url: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContent:
    """All that an approver signs. Its hash stands in links, sign-offs, certificate and invoice line."""

    contract_id: UUID
    contract_version: int
    contract_version_sha256_hex: str
    milestone_id: UUID
    round_number: int
    title: str
    description: str
    acceptance_criteria: Sequence[str]
    amount: Money
    price_basis: str
    tax_category: str
    tax_rate_percent: str
    payment_days: int
    payment_from: str
    due_on: date | None
    message: str
    deliverables: Sequence[DeliverableFacts]

    def as_dict(self) -> dict[str, Any]:
        """The content as plain data, ready for `canonical_json`."""
        return {
            "acceptance_criteria": list(self.acceptance_criteria),
            "amount": {"amount": self.amount.decimal_string(), "currency": self.amount.currency},
            "contract_id": self.contract_id,
            "contract_version": self.contract_version,
            "contract_version_sha256": self.contract_version_sha256_hex,
            "deliverables": [
                {"kind": item.kind, "note": item.note, "sha256": item.sha256_hex, "size": item.size, "title": item.title, "url": item.url}
                for item in self.deliverables
            ],
            "description": self.description,
            "due_on": self.due_on,
            "message": self.message,
            "milestone_id": self.milestone_id,
            "payment_terms": {"days": self.payment_days, "from": self.payment_from},
            "price_basis": self.price_basis,
            "round": self.round_number,
            "tax": {"category": self.tax_category, "rate_percent": self.tax_rate_percent},
            "title": self.title,
        }

    def sha256_hex(self) -> str:
        """The content hash: SHA-256 of the canonical JSON."""
        return sha256_hex(self.as_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFacts:
    """One approval link's row."""

    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_because: RevokedBecause | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A decision that stands in the round."""

    contact_id: UUID
    kind: DecisionKind
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFacts:
    """A round and its decisions, read under its lock. `approvers` are in order; `required` matters to k_of_n only."""

    round_id: UUID
    content_sha256_hex: str
    policy: Policy
    approvers: Sequence[UUID]
    required: int = 1
    decisions: Sequence[Made] = ()
    state: RoundState = RoundState.OPEN
    closed_at: datetime | None = None
    links: Mapping[UUID, LinkFacts] = field(default_factory=dict)
    """The newest link of each contact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an approver posts: the round's hash as the page showed it, a typed name, and a reason for changes."""

    kind: DecisionKind
    content_sha256_hex: str
    signed_name: str
    decided_at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOff:
    """The decision to write down, its texts cleaned. `completes` the round's policy, or `ends` the round with changes."""

    contact_id: UUID
    kind: DecisionKind
    content_sha256_hex: str
    signed_name: str
    reason: str
    decided_at: datetime
    completes: bool

    @property
    def ends(self) -> bool:
        """Whether the round is over with it."""
        return self.completes or self.kind is DecisionKind.REQUEST_CHANGES

    def as_made(self) -> Made:
        """It, as the round's facts will show it from now on."""
        return Made(self.contact_id, self.kind, self.decided_at)


def decide(facts: RoundFacts, contact_id: UUID, decision: Decision) -> SignedOff:
    """One approver's decision in a round; exactly one wins per approver and round (R8).

    Raises, in this order: NotAnApprover, AlreadyDecided (a retry is answered before any guard), RoundClosed, LinkSuperseded,
    LinkRevoked, LinkExpired, ContentChanged, NotYourTurn, Invalid (name, reason).
    """
    if contact_id not in facts.approvers:
        raise NotAnApprover()
    _require_undecided(facts, contact_id)
    _require_open_round(facts)
    _require_open_link(facts.links.get(contact_id), decision.decided_at)
    if not hmac.compare_digest(facts.content_sha256_hex.encode(), decision.content_sha256_hex.encode()):
        raise ContentChanged(_("the delivery changed since you opened this page; open it again to see what is to be decided"))
    waiting = waiting_for(facts, contact_id)
    if waiting:
        raise NotYourTurn(waiting_for=[str(item) for item in waiting])
    name = clean_name(decision.signed_name)
    reason = clean_reason(decision.reason) if decision.kind is DecisionKind.REQUEST_CHANGES else ""
    made = Made(contact_id, decision.kind, decision.decided_at)
    return SignedOff(
        contact_id=contact_id,
        kind=decision.kind,
        content_sha256_hex=facts.content_sha256_hex,
        signed_name=name,
        reason=reason,
        decided_at=decision.decided_at,
        completes=policy_met(facts.policy, facts.approvers, facts.required, [*facts.decisions, made]),
    )


def is_complete(facts: RoundFacts) -> bool:
    """Whether the round has all the approvals its policy asks for, and nobody asked for changes."""
    return policy_met(facts.policy, facts.approvers, facts.required, facts.decisions)


def policy_met(policy: Policy, approvers: Sequence[UUID], required: int, decisions: Sequence[Made]) -> bool:
    """Whether `decisions` of `approvers` complete `policy`. Any request for changes ends a round, so it never does."""
    if any(made.kind is DecisionKind.REQUEST_CHANGES for made in decisions):
        return False
    approved = {made.contact_id for made in decisions} & set(approvers)
    return bool(approvers) and len(approved) >= needed_approvals(policy, len(set(approvers)), required)


def needed_approvals(policy: Policy, approvers: int, required: int) -> int:
    """How many approvals complete a round of so many approvers. Raises ValueError for a k that n cannot reach."""
    match policy:
        case Policy.ANY_ONE:
            return 1
        case Policy.ALL | Policy.IN_ORDER:
            return approvers
        case Policy.K_OF_N:
            if not 1 <= required <= approvers:
                raise ValueError(f"{required} of {approvers} approvers")
            return required


def waiting_for(facts: RoundFacts, contact_id: UUID) -> list[UUID]:
    """Ordered approval: the approvers before this one who have not decided. Empty for every other policy."""
    if facts.policy is not Policy.IN_ORDER:
        return []
    decided = {made.contact_id for made in facts.decisions}
    before = list(facts.approvers)[: list(facts.approvers).index(contact_id)]
    return [item for item in before if item not in decided]


def link_state(link: LinkFacts, at: datetime) -> LinkState:
    """What the link is at the instant `at`. Used wins, so that the signer always gets the certificate; expiry comes last.

    A link that died because its round closed (another approver decided) counts as superseded.
    """
    if link.used_at is not None:
        return LinkState.USED
    if link.revoked_at is not None:
        return LinkState.REVOKED if link.revoked_because in {None, RevokedBecause.REVOKED} else LinkState.SUPERSEDED
    return LinkState.EXPIRED if at >= link.expires_at else LinkState.OPEN


def clean_name(text: str) -> str:
    """A typed name: NFC, outer and repeated spaces gone, 2 to 120 characters, a letter in it, no control or bidi characters.

    Raises Invalid at `/signed_name`.
    """
    if _has_hidden(text, allowed=""):
        raise invalid("/signed_name", _("the name holds characters that cannot be shown"))
    name = " ".join(unicodedata.normalize("NFC", text).split())
    least, most = NAME_LIMITS
    if not least <= len(name) <= most:
        raise invalid("/signed_name", _("type your name: %(least)s to %(most)s characters", least=least, most=most))
    if is_blank(name) or not any(character.isalpha() for character in name):
        raise invalid("/signed_name", _("type your name in letters"))
    return name


def clean_reason(text: str) -> str:
    """A reason for changes: NFC, trimmed, 1 to 4,000 characters; line breaks are kept. Raises Invalid at `/reason`."""
    text = text.replace("\r\n", "\n")
    if _has_hidden(text, allowed="\n\t"):
        raise invalid("/reason", _("the reason holds characters that cannot be shown"))
    reason = unicodedata.normalize("NFC", text).strip()
    if is_blank(reason):
        raise invalid("/reason", _("say what should change"))
    if len(reason) > REASON_LIMIT:
        raise invalid("/reason", _("a reason has at most %(limit)s characters", limit=REASON_LIMIT))
    return reason


def _require_undecided(facts: RoundFacts, contact_id: UUID) -> None:
    for made in facts.decisions:
        if made.contact_id == contact_id:
            raise AlreadyDecided(decision=made.kind.value, decided_at=made.decided_at.isoformat())


def _require_open_round(facts: RoundFacts) -> None:
    changes_asked = any(made.kind is DecisionKind.REQUEST_CHANGES for made in facts.decisions)
    if facts.state is RoundState.OPEN and not changes_asked and not is_complete(facts):
        return
    last = facts.decisions[-1] if facts.decisions else None
    closed_at = facts.closed_at or (last.decided_at if last else None)
    raise RoundClosed(
        state=facts.state.value,
        closed_at=closed_at.isoformat() if closed_at else None,
        decided_by=str(last.contact_id) if last else None,
    )


def _require_open_link(link: LinkFacts | None, at: datetime) -> None:
    state = LinkState.REVOKED if link is None else link_state(link, at)
    match state:
        case LinkState.OPEN:
            return
        case LinkState.USED:
            raise AlreadyDecided()
        case LinkState.REVOKED:
            raise LinkRevoked()
        case LinkState.SUPERSEDED:
            raise LinkSuperseded()
        case LinkState.EXPIRED:
            raise LinkExpired()


def _has_hidden(text: str, *, allowed: str) -> bool:
    hidden = (character for character in text if character in _BIDI_CONTROLS or unicodedata.category(character) in _HIDDEN_CATEGORIES)
    return any(character not in allowed for character in hidden)
