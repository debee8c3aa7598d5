"""The states of a milestone and of a contract, as tables. Whatever is not in a table is refused.

The same tables decide which buttons a page shows, draw the diagram in the docs and feed the test that tries every pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tollgate.access.rules import Role
from tollgate.contracts.names import listed, name
from tollgate.errors import Conflict, Message, NotAllowed, _


class State(StrEnum):
    """Where a milestone stands."""

    PLANNED = "planned"
    IN_PROGRESS = "in_progress"
    DELIVERED = "delivered"
    CHANGES_REQUESTED = "changes_requested"
    APPROVED = "approved"
    INVOICED = "invoiced"
    PAID = "paid"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a milestone."""

    START = "start"
    DELIVER = "deliver"
    DELIVER_PART = "deliver_part"
    WITHDRAW = "withdraw"
    APPROVE = "approve"
    APPROVE_PART = "approve_part"
    REQUEST_CHANGES = "request_changes"
    RECORD_APPROVAL = "record_approval"
    DEEM = "deem"
    SUPERSEDE = "supersede"
    REOPEN = "reopen"
    INVOICE = "invoice"
    RELEASE = "release"
    SETTLE = "settle"
    REVERSE = "reverse"
    CANCEL = "cancel"


class Party(StrEnum):
    """Who acts without being a member."""

    APPROVER = "approver"
    SYSTEM = "system"
    CLOCK = "clock"
    CHANGE_ORDER = "change_order"


class ContractState(StrEnum):
    """Where a contract stands."""

    DRAFT = "draft"
    SENT = "sent"
    ACTIVE = "active"
    ON_HOLD = "on_hold"
    COMPLETED = "completed"
    TERMINATED = "terminated"


class ContractEvent(StrEnum):
    """What can happen to a contract."""

    SEND = "send"
    RECALL = "recall"
    ACTIVATE = "activate"
    HOLD = "hold"
    RESUME = "resume"
    COMPLETE = "complete"
    REACTIVATE = "reactivate"
    TERMINATE = "terminate"


NOT_YET: frozenset[Event] = frozenset({Event.DELIVER_PART, Event.APPROVE_PART, Event.DEEM, Event.SUPERSEDE})
"""In the table, but no verb does them yet; never offered and always refused."""

CONTRACT_NOT_YET: frozenset[ContractEvent] = frozenset(
    {ContractEvent.SEND, ContractEvent.RECALL, ContractEvent.HOLD, ContractEvent.RESUME, ContractEvent.TERMINATE}
)
"""Of the contract's events, the ones that no verb does yet."""

CONTRACT_TRANSITIONS: Mapping[tuple[ContractState, ContractEvent], ContractState] = MappingProxyType(
    {
        (ContractState.DRAFT, ContractEvent.SEND): ContractState.SENT,
        (ContractState.SENT, ContractEvent.RECALL): ContractState.DRAFT,
        (ContractState.DRAFT, ContractEvent.ACTIVATE): ContractState.ACTIVE,
        (ContractState.SENT, ContractEvent.ACTIVATE): ContractState.ACTIVE,
        (ContractState.ACTIVE, ContractEvent.HOLD): ContractState.ON_HOLD,
        (ContractState.ON_HOLD, ContractEvent.RESUME): ContractState.ACTIVE,
        (ContractState.ACTIVE, ContractEvent.COMPLETE): ContractState.COMPLETED,
        # Decisions and payments go on during a hold, so the last payment can arrive in one.
        (ContractState.ON_HOLD, ContractEvent.COMPLETE): ContractState.COMPLETED,
        (ContractState.COMPLETED, ContractEvent.REACTIVATE): ContractState.ACTIVE,
        (ContractState.ACTIVE, ContractEvent.TERMINATE): ContractState.TERMINATED,
        (ContractState.ON_HOLD, ContractEvent.TERMINATE): ContractState.TERMINATED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneFacts:
    """What the guards need to know, read under the row locks of the verb.

    The first group is the state of the world; the second comes with the event itself (a reason, an attached file).
    """

    contract_state: ContractState = ContractState.ACTIVE
    deposit_settled: bool = True
    """The contract's deposit is paid, or it does not ask for that before work starts."""
    deliverables: int = 0
    approvers: int = 0
    """Approvers that the contract, or the delivery, names."""
    policy_complete: bool = False
    """The open round has all the approvals its policy asks for."""
    live_invoices: int = 0
    """Issued invoices, neither void nor fully credited by a correction, that bill this milestone and round."""
    billing_held: bool = False
    """A release holds billing until finance invoices again."""
    payable_settled: bool = False
    """Nothing of its invoice's payable is open."""
    delivered_by_actor: bool = False
    """Whoever acts is the one who delivered this round."""
    ended_by_order: bool = False
    """A signed change order or the contract's termination cancels this milestone."""
    order_changes_it: bool = False
    """A signed change order changes scope, amount or date of this milestone."""
    deadline_passed: bool = False
    """The contract version agrees to deemed acceptance and its deadline passed with the reminders it needs (R9)."""

    reason: str = ""
    signed_document: bool = False
    automatic: bool = False
    """The system acts by itself, no member asked."""
    invoice_issued: bool = False
    """The event carries an invoice that is issued in the same transaction."""
    part_minor: int = 0
    amount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a guard says no, written so that the reader knows what to do."""

    message: Message


Guard = Callable[[MilestoneFacts], Refusal | None]


def contract_is_active(facts: MilestoneFacts) -> Refusal | None:
    """Hold, and every state but active, refuses start, deliver and deem."""
    if facts.contract_state is ContractState.ACTIVE:
        return None
    return Refusal(_("the contract must be active, and it is: %(contract_state)s", contract_state=name(facts.contract_state)))


def contract_lets_bill(facts: MilestoneFacts) -> Refusal | None:
    """Accepted work is billed even after completion or termination, but not during a hold."""
    if facts.contract_state in {ContractState.ACTIVE, ContractState.COMPLETED, ContractState.TERMINATED}:
        return None
    return Refusal(
        _("nothing is billed until the contract is active, and it is: %(contract_state)s", contract_state=name(facts.contract_state))
    )


def deposit_is_settled(facts: MilestoneFacts) -> Refusal | None:
    """Only where the contract asks for the deposit first."""
    return None if facts.deposit_settled else Refusal(_("the deposit of this contract must be paid before work starts"))


def has_deliverable(facts: MilestoneFacts) -> Refusal | None:
    """A client cannot accept nothing."""
    return None if facts.deliverables > 0 else Refusal(_("add at least one deliverable before delivering"))


def has_approver(facts: MilestoneFacts) -> Refusal | None:
    """Somebody must be able to decide."""
    return None if facts.approvers > 0 else Refusal(_("name at least one approver before delivering"))


def policy_complete(facts: MilestoneFacts) -> Refusal | None:
    """The approval policy (any one, all, in order, k of n) is complete."""
    return None if facts.policy_complete else Refusal(_("not all approvals are there yet"))


def round_not_complete(facts: MilestoneFacts) -> Refusal | None:
    """What the client has signed is not taken back by withdrawing."""
    return Refusal(_("the client has approved this round already")) if facts.policy_complete else None


def has_reason(facts: MilestoneFacts) -> Refusal | None:
    """The other side must learn why."""
    return None if facts.reason.strip() else Refusal(_("give a reason"))


def has_signed_document(facts: MilestoneFacts) -> Refusal | None:
    """A recorded approval stands on the document that the client signed."""
    return None if facts.signed_document else Refusal(_("attach the document that the client signed"))


def not_own_delivery(facts: MilestoneFacts) -> Refusal | None:
    """Nobody records the approval of what they delivered themselves."""
    return Refusal(_("another admin must record this approval: you delivered this milestone")) if facts.delivered_by_actor else None


def no_live_invoice(facts: MilestoneFacts) -> Refusal | None:
    """At most one live invoice line per milestone and round; billed work is corrected by void or credit note first."""
    return Refusal(_("a live invoice bills this milestone; void or credit it first")) if facts.live_invoices > 0 else None


def invoice_is_issued(facts: MilestoneFacts) -> Refusal | None:
    """A draft bills nothing."""
    return None if facts.invoice_issued else Refusal(_("the invoice is not issued yet"))


def billing_is_free(facts: MilestoneFacts) -> Refusal | None:
    """After a release only finance bills again, never the system by itself."""
    if facts.billing_held and facts.automatic:
        return Refusal(_("billing is held since the last invoice was taken back; finance must invoice again"))
    return None


def invoice_is_dead(facts: MilestoneFacts) -> Refusal | None:
    """Void, or fully credited by a correction."""
    return None if facts.live_invoices == 0 else Refusal(_("its invoice is neither void nor fully credited"))


def payable_is_settled(facts: MilestoneFacts) -> Refusal | None:
    """Open retainage does not count."""
    return None if facts.payable_settled else Refusal(_("its invoice is not settled yet"))


def payable_is_open(facts: MilestoneFacts) -> Refusal | None:
    """A refund or a lost dispute left something to pay."""
    return Refusal(_("its invoice is still settled")) if facts.payable_settled else None


def part_is_inside(facts: MilestoneFacts) -> Refusal | None:
    """0 < part < amount."""
    return None if 0 < facts.part_minor < facts.amount_minor else Refusal(_("the part must be more than zero and less than the amount"))


def deadline_has_passed(facts: MilestoneFacts) -> Refusal | None:
    """R9."""
    return None if facts.deadline_passed else Refusal(_("the agreed time for an answer is not over"))


def an_order_changes_it(facts: MilestoneFacts) -> Refusal | None:
    """R7: signing supersedes only rounds of the milestones that the order changes."""
    return None if facts.order_changes_it else Refusal(_("no signed change order changes this milestone"))


def may_be_cancelled(facts: MilestoneFacts) -> Refusal | None:
    """A draft is ours to change; what is agreed ends by change order or termination only."""
    if facts.ended_by_order or facts.contract_state is ContractState.DRAFT:
        return None
    return Refusal(_("an agreed milestone is cancelled by a change order or by terminating the contract"))


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of the table. `remainder` is the state of the other half when the event splits the milestone.

    `guards` look at the world and decide what is offered; `asks` look at what comes with the event and are checked on doing it.
    """

    target: State
    by: tuple[Role | Party, ...]
    guards: tuple[Guard, ...] = ()
    asks: tuple[Guard, ...] = ()
    remainder: State | None = None


_DELIVER = Transition(State.DELIVERED, (Role.ACCOUNT_MANAGER,), (contract_is_active, has_deliverable, has_approver))
_DELIVER_PART = Transition(
    State.DELIVERED,
    (Role.ACCOUNT_MANAGER,),
    (contract_is_active, has_deliverable, has_approver),
    (part_is_inside,),
    remainder=State.IN_PROGRESS,
)
_RELEASE = Transition(State.APPROVED, (Party.SYSTEM,), (invoice_is_dead,))
_CANCEL = Transition(State.CANCELLED, (Role.ACCOUNT_MANAGER, Party.CHANGE_ORDER), (may_be_cancelled,))

TRANSITIONS: Mapping[tuple[State, Event], Transition] = MappingProxyType(
    {
        (State.PLANNED, Event.START): Transition(State.IN_PROGRESS, (Role.ACCOUNT_MANAGER,), (contract_is_active, deposit_is_settled)),
        (State.PLANNED, Event.DELIVER): _DELIVER,
        (State.IN_PROGRESS, Event.DELIVER): _DELIVER,
        (State.CHANGES_REQUESTED, Event.DELIVER): _DELIVER,
        (State.PLANNED, Event.DELIVER_PART): _DELIVER_PART,
        (State.IN_PROGRESS, Event.DELIVER_PART): _DELIVER_PART,
        (State.CHANGES_REQUESTED, Event.DELIVER_PART): _DELIVER_PART,
        (State.DELIVERED, Event.WITHDRAW): Transition(State.IN_PROGRESS, (Role.ACCOUNT_MANAGER,), (round_not_complete,)),
        (State.DELIVERED, Event.APPROVE): Transition(State.APPROVED, (Party.APPROVER,), asks=(policy_complete,)),
        (State.DELIVERED, Event.APPROVE_PART): Transition(
            State.APPROVED, (Party.APPROVER,), asks=(policy_complete, part_is_inside), remainder=State.CHANGES_REQUESTED
        ),
        (State.DELIVERED, Event.REQUEST_CHANGES): Transition(State.CHANGES_REQUESTED, (Party.APPROVER,), asks=(has_reason,)),
        (State.DELIVERED, Event.RECORD_APPROVAL): Transition(State.APPROVED, (Role.ADMIN,), (not_own_delivery,), (has_signed_document,)),
        (State.DELIVERED, Event.DEEM): Transition(State.APPROVED, (Party.CLOCK,), (contract_is_active, deadline_has_passed)),
        (State.DELIVERED, Event.SUPERSEDE): Transition(State.IN_PROGRESS, (Party.CHANGE_ORDER,), (an_order_changes_it,)),
        (State.APPROVED, Event.REOPEN): Transition(State.IN_PROGRESS, (Role.ADMIN,), (no_live_invoice,), (has_reason,)),
        (State.APPROVED, Event.INVOICE): Transition(
            State.INVOICED, (Role.FINANCE, Party.SYSTEM), (contract_lets_bill, no_live_invoice), (billing_is_free, invoice_is_issued)
        ),
        (State.INVOICED, Event.RELEASE): _RELEASE,
        (State.PAID, Event.RELEASE): _RELEASE,
        (State.INVOICED, Event.SETTLE): Transition(State.PAID, (Party.SYSTEM,), (payable_is_settled,)),
        (State.PAID, Event.REVERSE): Transition(State.INVOICED, (Party.SYSTEM,), (payable_is_open,)),
        (State.PLANNED, Event.CANCEL): _CANCEL,
        (State.IN_PROGRESS, Event.CANCEL): _CANCEL,
        (State.CHANGES_REQUESTED, Event.CANCEL): _CANCEL,
        (State.DELIVERED, Event.CANCEL): _CANCEL,
    }
)
"""The whole table of the domain: what is not here is refused."""


class TransitionRefused(Conflict):
    """This event is not possible now. `facts`: state, event, reasons, allowed (the events that are possible)."""

    slug = "transition-refused"
    title = _("This step is not possible now")

    def __init__(self, state: StrEnum, event: StrEnum, reasons: tuple[Message, ...], allowed: tuple[StrEnum, ...]) -> None:
        self.reasons = reasons
        super().__init__(
            _(
                "%(event)s is not possible in the state “%(state)s”: %(reasons)s. Possible now: %(allowed)s",
                event=name(event),
                state=name(state),
                reasons=joined(reasons),
                allowed=listed(allowed),
            ),
            state=state.value,
            event=event.value,
            reasons=[str(reason) for reason in reasons],
            allowed=[item.value for item in allowed],
        )


class RoleTooSmall(NotAllowed):
    """The member's role does not include this step."""

    slug = "role-too-small"
    title = _("Your role does not allow this step")


def joined(reasons: tuple[Message, ...]) -> Message:
    """Several sentences as one, still translatable piece by piece."""
    result = reasons[0]
    for reason in reasons[1:]:
        result = _("%(first)s; %(then)s", first=result, then=reason)
    return result


def next_state(state: State, event: Event, facts: MilestoneFacts) -> State:
    """Where `event` takes a milestone in `state`. Raises TransitionRefused with every reason at once."""
    reasons = refusals(state, event, facts)
    if reasons:
        raise TransitionRefused(state, event, tuple(reason.message for reason in reasons), possible_events(state, facts))
    return TRANSITIONS[state, event].target


def refusals(state: State, event: Event, facts: MilestoneFacts, *, offered: bool = False) -> tuple[Refusal, ...]:
    """Every reason against `event` now; empty when it is possible. With `offered`, what comes with the event is not asked for yet."""
    transition = TRANSITIONS.get((state, event))
    if transition is None:
        return (Refusal(_("this state knows no such step")),)
    if event in NOT_YET:
        return (Refusal(_("this step is not available in this version")),)
    guards = transition.guards if offered else transition.guards + transition.asks
    return tuple(refusal for guard in guards if (refusal := guard(facts)) is not None)


def possible_events(state: State, facts: MilestoneFacts) -> tuple[Event, ...]:
    """The events that could happen now, whoever does them, in the order of Event."""
    return tuple(event for event in Event if not refusals(state, event, facts, offered=True))


def allowed_events(state: State, facts: MilestoneFacts, who: Role | Party) -> tuple[Event, ...]:
    """The events that `who` (a member's role, or another party) can set off now: the buttons of a page, `allowed_events` of the API."""
    return tuple(event for event in possible_events(state, facts) if may(who, state, event))


def may(who: Role | Party, state: State, event: Event) -> bool:
    """Whether the table gives this step to `who`; a larger role may do all that a smaller one may."""
    transition = TRANSITIONS.get((state, event))
    if transition is None:
        return False
    if isinstance(who, Role):
        return any(isinstance(doer, Role) and who.includes(doer) for doer in transition.by)
    return who in transition.by


def require(who: Role | Party, state: State, event: Event) -> None:
    """Raise RoleTooSmall unless the table gives this step to `who`. A step not in the table passes: next_state explains it better."""
    if (state, event) in TRANSITIONS and not may(who, state, event):
        doers = listed(TRANSITIONS[state, event].by)
        raise RoleTooSmall(_("%(event)s is for: %(doers)s", event=name(event), doers=doers), state=state.value, event=event.value)


def next_contract_state(state: ContractState, event: ContractEvent) -> ContractState:
    """Where `event` takes a contract in `state`. Raises TransitionRefused naming what is possible."""
    target = CONTRACT_TRANSITIONS.get((state, event))
    if target is None or event in CONTRACT_NOT_YET:
        unknown = _("this state knows no such step")
        reason = unknown if target is None else _("this step is not available in this version")
        raise TransitionRefused(state, event, (reason,), allowed_contract_events(state))
    return target


def allowed_contract_events(state: ContractState) -> tuple[ContractEvent, ...]:
    """The contract's events that work in `state`, in the order of ContractEvent."""
    return tuple(event for event in ContractEvent if (state, event) in CONTRACT_TRANSITIONS and event not in CONTRACT_NOT_YET)
