"""Only the moves of the table are possible. The expected table is written out here by hand, from the domain's own."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.contracts.names import NAMES, name
from tollgate.contracts.rules import (
    CONTRACT_NOT_YET,
    CONTRACT_TRANSITIONS,
    NOT_YET,
    TRANSITIONS,
    ContractEvent,
    ContractState,
    Event,
    MilestoneFacts,
    Party,
    Role,
    RoleTooSmall,
    State,
    TransitionRefused,
    allowed_contract_events,
    allowed_events,
    may,
    next_contract_state,
    next_state,
    possible_events,
    require,
)

BEFORE = ("planned", "in_progress", "changes_requested")
TABLE = {
    ("planned", "start"): "in_progress",
    **{(state, "deliver"): "delivered" for state in BEFORE},
    **{(state, "deliver_part"): "delivered" for state in BEFORE},
    ("delivered", "withdraw"): "in_progress",
    ("delivered", "approve"): "approved",
    ("delivered", "approve_part"): "approved",
    ("delivered", "request_changes"): "changes_requested",
    ("delivered", "record_approval"): "approved",
    ("delivered", "deem"): "approved",
    ("delivered", "supersede"): "in_progress",
    ("approved", "reopen"): "in_progress",
    ("approved", "invoice"): "invoiced",
    ("invoiced", "release"): "approved",
    ("paid", "release"): "approved",
    ("invoiced", "settle"): "paid",
    ("paid", "reverse"): "invoiced",
    **{(state, "cancel"): "cancelled" for state in (*BEFORE, "delivered")},
}
LATER = {"deliver_part", "approve_part", "deem", "supersede"}

# Facts under which the guards of each event are content; some guards contradict one another, so there is one set per event.
CONTENT = MilestoneFacts(
    deliverables=1,
    approvers=1,
    policy_complete=True,
    reason="wrong colour",
    signed_document=True,
    invoice_issued=True,
    payable_settled=True,
)
GOOD = dict.fromkeys(Event, CONTENT) | {
    Event.WITHDRAW: replace(CONTENT, policy_complete=False),
    Event.REVERSE: replace(CONTENT, payable_settled=False),
    Event.CANCEL: replace(CONTENT, contract_state=ContractState.DRAFT),
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_only_listed_moves_are_possible(state: State, event: Event) -> None:
    target = TABLE.get((state.value, event.value))
    assert (TRANSITIONS[state, event].target.value if (state, event) in TRANSITIONS else None) == target
    if target is not None and event.value not in LATER:
        assert next_state(state, event, GOOD[event]).value == target
        return
    with pytest.raises(TransitionRefused) as refused:
        next_state(state, event, GOOD[event])
    assert refused.value.slug == "transition-refused"
    assert refused.value.facts["state"] == state.value
    assert refused.value.facts["event"] == event.value
    assert refused.value.facts["allowed"] == [item.value for item in possible_events(state, GOOD[event])]
    for item in (state, event, *possible_events(state, GOOD[event])):
        assert str(name(item)) in str(refused.value)


def test_what_comes_later_is_data_and_never_offered() -> None:
    assert {event.value for event in NOT_YET} == LATER
    everything = replace(CONTENT, part_minor=1, amount_minor=2, order_changes_it=True, deadline_passed=True)
    for state, who in product(State, [*Role, *Party]):
        assert not set(allowed_events(state, everything, who)) & NOT_YET


def test_a_split_leaves_the_other_half_where_the_domain_says() -> None:
    remainders = {event: transition.remainder for (_, event), transition in TRANSITIONS.items() if transition.remainder}
    assert remainders == {Event.DELIVER_PART: State.IN_PROGRESS, Event.APPROVE_PART: State.CHANGES_REQUESTED}


@pytest.mark.parametrize(
    ("state", "event", "change", "reason"),
    [
        ("planned", "start", {"contract_state": ContractState.DRAFT}, "must be active, and it is"),
        ("planned", "start", {"contract_state": ContractState.ON_HOLD}, "must be active, and it is"),
        ("planned", "start", {"deposit_settled": False}, "deposit"),
        ("planned", "deliver", {"contract_state": ContractState.ON_HOLD}, "must be active, and it is"),
        ("in_progress", "deliver", {"deliverables": 0}, "deliverable"),
        ("changes_requested", "deliver", {"approvers": 0}, "approver"),
        ("delivered", "withdraw", {"policy_complete": True}, "approved this round"),
        ("delivered", "approve", {"policy_complete": False}, "approvals"),
        ("delivered", "request_changes", {"reason": "  \n"}, "reason"),
        ("delivered", "record_approval", {"signed_document": False}, "document"),
        ("delivered", "record_approval", {"delivered_by_actor": True}, "another admin"),
        ("approved", "reopen", {"live_invoices": 1}, "live invoice"),
        ("approved", "reopen", {"reason": ""}, "reason"),
        ("approved", "invoice", {"live_invoices": 1}, "live invoice"),
        ("approved", "invoice", {"invoice_issued": False}, "not issued"),
        ("approved", "invoice", {"contract_state": ContractState.ON_HOLD}, "until the contract is active"),
        ("approved", "invoice", {"billing_held": True, "automatic": True}, "held"),
        ("invoiced", "release", {"live_invoices": 1}, "neither void"),
        ("paid", "release", {"live_invoices": 1}, "neither void"),
        ("invoiced", "settle", {"payable_settled": False}, "not settled"),
        ("paid", "reverse", {"payable_settled": True}, "still settled"),
        ("planned", "cancel", {"contract_state": ContractState.ACTIVE}, "change order"),
    ],
)
def test_each_guard_refuses_on_its_own(state: str, event: str, change: dict[str, object], reason: str) -> None:
    facts = replace(GOOD[Event(event)], **change)  # type: ignore[arg-type]
    with pytest.raises(TransitionRefused) as refused:
        next_state(State(state), Event(event), facts)
    assert len(refused.value.reasons) == 1
    assert reason in str(refused.value.reasons[0])


def test_every_reason_is_given_at_once() -> None:
    facts = MilestoneFacts(contract_state=ContractState.DRAFT)
    with pytest.raises(TransitionRefused) as refused:
        next_state(State.PLANNED, Event.DELIVER, facts)
    assert len(refused.value.facts["reasons"]) == 3
    assert all(reason in str(refused.value) for reason in refused.value.facts["reasons"])
    assert refused.value.facts["allowed"] == ["cancel"]


@pytest.mark.parametrize("state", [ContractState.COMPLETED, ContractState.TERMINATED])
def test_accepted_work_is_billed_after_the_contract_ended(state: ContractState) -> None:
    assert next_state(State.APPROVED, Event.INVOICE, replace(CONTENT, contract_state=state)) is State.INVOICED


def test_finance_bills_again_after_a_release_and_the_system_does_not() -> None:
    assert next_state(State.APPROVED, Event.INVOICE, replace(CONTENT, billing_held=True)) is State.INVOICED


def test_a_hold_leaves_decisions_and_payments_alone() -> None:
    held = {"contract_state": ContractState.ON_HOLD}
    for state, event in ((State.DELIVERED, Event.APPROVE), (State.DELIVERED, Event.REQUEST_CHANGES), (State.INVOICED, Event.SETTLE)):
        assert next_state(state, event, replace(GOOD[event], **held))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "who", "events"),
    [
        ("planned", Role.VIEWER, []),
        ("planned", Role.ACCOUNT_MANAGER, ["start", "deliver"]),
        ("planned", Role.ADMIN, ["start", "deliver"]),
        ("in_progress", Role.FINANCE, ["deliver"]),
        ("delivered", Role.ACCOUNT_MANAGER, ["withdraw"]),
        ("delivered", Role.ADMIN, ["withdraw", "record_approval"]),
        ("delivered", Party.APPROVER, ["approve", "request_changes"]),
        ("changes_requested", Role.ACCOUNT_MANAGER, ["deliver"]),
        ("approved", Role.ACCOUNT_MANAGER, []),
        ("approved", Role.FINANCE, ["invoice"]),
        ("approved", Role.ADMIN, ["reopen", "invoice"]),
        ("approved", Party.SYSTEM, ["invoice"]),
        ("invoiced", Role.ADMIN, []),
        ("cancelled", Role.ADMIN, []),
    ],
)
def test_buttons_of_each_role(state: str, who: Role | Party, events: list[str]) -> None:
    # The button for a step is there before its reason or document is: those come with the click.
    facts = MilestoneFacts(deliverables=1, approvers=1)
    assert [event.value for event in allowed_events(State(state), facts, who)] == events


def test_nothing_is_offered_that_would_be_refused() -> None:
    assert allowed_events(State.PLANNED, MilestoneFacts(), Role.ADMIN) == (Event.START,)
    assert allowed_events(State.PLANNED, MilestoneFacts(contract_state=ContractState.DRAFT), Role.ADMIN) == (Event.CANCEL,)


@given(st.sampled_from(State), st.sampled_from(Event), st.sampled_from(Role), st.sampled_from(Role))
def test_a_larger_role_may_all_that_a_smaller_one_may(state: State, event: Event, one: Role, other: Role) -> None:
    if one.includes(other) and may(other, state, event):
        assert may(one, state, event)


def test_no_member_signs_for_the_client() -> None:
    for event in (Event.APPROVE, Event.REQUEST_CHANGES):
        assert not any(may(role, State.DELIVERED, event) for role in Role)
        with pytest.raises(RoleTooSmall) as refused:
            require(Role.ADMIN, State.DELIVERED, event)
        assert refused.value.slug == "role-too-small"
    require(Party.APPROVER, State.DELIVERED, Event.APPROVE)
    require(Role.VIEWER, State.PAID, Event.START)


def test_every_state_event_and_actor_has_a_name() -> None:
    assert set(NAMES) == {item.value for kind in (State, Event, Role, Party, ContractState, ContractEvent) for item in kind}


CONTRACT_TABLE = {
    ("draft", "send"): "sent",
    ("sent", "recall"): "draft",
    ("draft", "activate"): "active",
    ("sent", "activate"): "active",
    ("active", "hold"): "on_hold",
    ("on_hold", "resume"): "active",
    ("active", "complete"): "completed",
    ("on_hold", "complete"): "completed",
    ("completed", "reactivate"): "active",
    ("active", "terminate"): "terminated",
    ("on_hold", "terminate"): "terminated",
}


@pytest.mark.parametrize(("state", "event"), list(product(ContractState, ContractEvent)))
def test_only_listed_moves_of_a_contract_are_possible(state: ContractState, event: ContractEvent) -> None:
    target = CONTRACT_TABLE.get((state.value, event.value))
    found = CONTRACT_TRANSITIONS.get((state, event))
    assert (found.value if found else None) == target
    if target is not None and event not in CONTRACT_NOT_YET:
        assert next_contract_state(state, event).value == target
        assert event in allowed_contract_events(state)
        return
    assert event not in allowed_contract_events(state)
    with pytest.raises(TransitionRefused) as refused:
        next_contract_state(state, event)
    assert refused.value.facts["allowed"] == [item.value for item in allowed_contract_events(state)]
