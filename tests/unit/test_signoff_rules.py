"""Rounds, policies and links (R8, R10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.errors import Invalid
from tollgate.money.amount import Money
from tollgate.signoff.rules import (
    AlreadyDecided,
    ContentChanged,
    Decision,
    DecisionKind,
    DeliverableFacts,
    LinkExpired,
    LinkFacts,
    LinkRevoked,
    LinkState,
    LinkSuperseded,
    Made,
    NotAnApprover,
    NotYourTurn,
    Policy,
    RevokedBecause,
    RoundClosed,
    RoundContent,
    RoundFacts,
    RoundState,
    SignedOff,
    clean_name,
    clean_reason,
    decide,
    is_complete,
    link_state,
    needed_approvals,
    policy_met,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ANNA, BORIS, CHLOE = (UUID(int=number) for number in (1, 2, 3))
HASH = "a" * 64
OPEN = LinkFacts(expires_at=NOW + SECOND)


def round_(policy: Policy = Policy.ANY_ONE, approvers: Sequence[UUID] = (ANNA, BORIS, CHLOE), required: int = 1) -> RoundFacts:
    return RoundFacts(
        round_id=UUID(int=9),
        content_sha256_hex=HASH,
        policy=policy,
        approvers=approvers,
        required=required,
        links=dict.fromkeys(approvers, OPEN),
    )


def decision(kind: DecisionKind = DecisionKind.APPROVE) -> Decision:
    return Decision(kind=kind, content_sha256_hex=HASH, signed_name="Anna Berg", decided_at=NOW, reason="The logo is missing")


def after(facts: RoundFacts, *contacts: UUID) -> RoundFacts:
    for contact in contacts:
        facts = replace(facts, decisions=[*facts.decisions, decide(facts, contact, decision()).as_made()])
    return facts


def test_one_approval_completes_any_one() -> None:
    signed = decide(round_(), BORIS, decision())
    assert signed == SignedOff(
        contact_id=BORIS,
        kind=DecisionKind.APPROVE,
        content_sha256_hex=HASH,
        signed_name="Anna Berg",
        reason="",
        decided_at=NOW,
        completes=True,
    )
    assert signed.ends


@pytest.mark.parametrize(
    ("policy", "required", "needed"),
    [
        (Policy.ANY_ONE, 1, 1),
        (Policy.ALL, 1, 3),
        (Policy.IN_ORDER, 1, 3),
        (Policy.K_OF_N, 1, 1),
        (Policy.K_OF_N, 2, 2),
        (Policy.K_OF_N, 3, 3),
    ],
)
def test_a_policy_completes_with_its_last_approval_and_not_before(policy: Policy, required: int, needed: int) -> None:
    facts = round_(policy, required=required)
    for count, contact in enumerate((ANNA, BORIS, CHLOE)[:needed], 1):
        assert not is_complete(facts)
        assert decide(facts, contact, decision()).completes == (count == needed)
        facts = after(facts, contact)
    assert is_complete(facts)


@pytest.mark.parametrize("required", [0, 4])
def test_a_k_that_n_cannot_reach_is_a_bug(required: int) -> None:
    with pytest.raises(ValueError, match="of 3 approvers"):
        needed_approvals(Policy.K_OF_N, 3, required)


def test_in_order_the_later_ones_wait_for_the_earlier() -> None:
    facts = round_(Policy.IN_ORDER)
    with pytest.raises(NotYourTurn) as refused:
        decide(facts, CHLOE, decision())
    assert refused.value.facts["waiting_for"] == [str(ANNA), str(BORIS)]
    with pytest.raises(NotYourTurn):
        decide(after(facts, ANNA), CHLOE, decision())
    assert decide(after(facts, ANNA, BORIS), CHLOE, decision()).completes


def test_a_second_decision_of_one_approver_names_the_first() -> None:
    facts = after(round_(Policy.ALL), ANNA)
    for kind in DecisionKind:
        with pytest.raises(AlreadyDecided) as refused:
            decide(facts, ANNA, decision(kind))
        assert refused.value.facts == {"decision": "approve", "decided_at": NOW.isoformat()}


def test_the_loser_of_a_race_learns_who_won() -> None:
    with pytest.raises(RoundClosed) as refused:
        decide(after(round_(), ANNA), BORIS, decision(DecisionKind.REQUEST_CHANGES))
    assert refused.value.facts["decided_by"] == str(ANNA)
    assert refused.value.facts["closed_at"] == NOW.isoformat()


@pytest.mark.parametrize("policy", [Policy.ANY_ONE, Policy.ALL, Policy.IN_ORDER])
def test_any_request_for_changes_ends_the_round(policy: Policy) -> None:
    facts = round_(policy)
    signed = decide(facts, ANNA, decision(DecisionKind.REQUEST_CHANGES))
    assert (signed.completes, signed.ends, signed.reason) == (False, True, "The logo is missing")
    facts = replace(facts, decisions=[signed.as_made()])
    assert not is_complete(facts)
    with pytest.raises(RoundClosed):
        decide(facts, BORIS, decision())


@pytest.mark.parametrize("state", [state for state in RoundState if state is not RoundState.OPEN])
def test_a_closed_round_takes_no_decision(state: RoundState) -> None:
    with pytest.raises(RoundClosed) as refused:
        decide(replace(round_(), state=state, closed_at=NOW), ANNA, decision())
    assert refused.value.facts["state"] == state.value


def test_only_named_approvers_decide() -> None:
    with pytest.raises(NotAnApprover):
        decide(round_(approvers=(ANNA,)), BORIS, decision())


LINKS = [
    (OPEN, LinkState.OPEN, None),
    (replace(OPEN, expires_at=NOW), LinkState.EXPIRED, LinkExpired),
    (replace(OPEN, expires_at=NOW - SECOND), LinkState.EXPIRED, LinkExpired),
    (replace(OPEN, revoked_at=NOW, revoked_because=RevokedBecause.REVOKED), LinkState.REVOKED, LinkRevoked),
    (replace(OPEN, revoked_at=NOW, revoked_because=RevokedBecause.SUPERSEDED), LinkState.SUPERSEDED, LinkSuperseded),
    (replace(OPEN, revoked_at=NOW, revoked_because=RevokedBecause.WITHDRAWN), LinkState.SUPERSEDED, LinkSuperseded),
    (replace(OPEN, revoked_at=NOW, revoked_because=RevokedBecause.ROUND_CLOSED), LinkState.SUPERSEDED, LinkSuperseded),
    (replace(OPEN, expires_at=NOW, revoked_at=NOW, revoked_because=RevokedBecause.REVOKED), LinkState.REVOKED, LinkRevoked),
    (replace(OPEN, expires_at=NOW, used_at=NOW), LinkState.USED, AlreadyDecided),
    (replace(OPEN, used_at=NOW, revoked_at=NOW, revoked_because=RevokedBecause.ROUND_CLOSED), LinkState.USED, AlreadyDecided),
]


@pytest.mark.parametrize(("link", "state", "error"), LINKS)
def test_each_link_state_has_its_own_answer(link: LinkFacts, state: LinkState, error: type[Exception] | None) -> None:
    assert link_state(link, NOW) is state
    facts = replace(round_(), links={ANNA: link})
    if error is None:
        assert decide(facts, ANNA, decision()).completes
        return
    with pytest.raises(error):
        decide(facts, ANNA, decision())


def test_without_a_link_nobody_decides() -> None:
    with pytest.raises(LinkRevoked):
        decide(replace(round_(), links={BORIS: OPEN}), ANNA, decision())


@pytest.mark.parametrize("seen", ["", "b" * 64, "A" * 64, "a" * 63, "ä"])
def test_another_content_than_the_one_seen_is_refused(seen: str) -> None:
    with pytest.raises(ContentChanged):
        decide(round_(), ANNA, replace(decision(), content_sha256_hex=seen))


orders = st.lists(st.tuples(st.sampled_from([ANNA, BORIS, CHLOE]), st.sampled_from(DecisionKind)), max_size=8)


@given(st.sampled_from(Policy), st.integers(1, 3), orders)
def test_whatever_the_order_one_decision_wins_per_approver(policy: Policy, required: int, posts: list[tuple[UUID, DecisionKind]]) -> None:
    facts, ended = round_(policy, required=required), False
    for contact, kind in posts:
        try:
            signed = decide(facts, contact, decision(kind))
        except (AlreadyDecided, RoundClosed, NotYourTurn):
            continue
        assert not ended
        ended = signed.ends
        facts = replace(facts, decisions=[*facts.decisions, signed.as_made()])
        assert is_complete(facts) == signed.completes
    assert len({made.contact_id for made in facts.decisions}) == len(facts.decisions)


def test_approvals_of_strangers_do_not_count() -> None:
    assert not policy_met(Policy.ANY_ONE, [ANNA], 1, [Made(BORIS, DecisionKind.APPROVE, NOW)])
    assert not policy_met(Policy.ALL, [], 1, [])


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("  Anna   Berg ", "Anna Berg"),
        ("李娜", "李娜"),
        ("أحمد علي", "أحمد علي"),
        ("e\u0301va", "\u00e9va"),
        ("J2", "J2"),
        ("x" * 120, "x" * 120),
    ],
)
def test_names_are_cleaned(typed: str, name: str) -> None:
    assert clean_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "A",
        "x" * 121,
        "12",
        "--",
        "Anna\x00Berg",
        "Anna\nBerg",
        "Anna\u202eBerg",
        "Anna\u2066Berg",
        "Anna\u2028Berg",
        "Anna\ud800",
        "\u200fAnna",
    ],
)
def test_names_that_cannot_be_shown_or_read_are_refused(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        clean_name(typed)
    assert refused.value.errors[0].pointer == "/signed_name"


def test_reasons_keep_their_lines() -> None:
    assert clean_reason(" one\r\ntwo\t3 ") == "one\ntwo\t3"


@pytest.mark.parametrize("typed", ["", " \n ", "x" * 4001, "a\x00b", "a\u202eb", "a\x1bb"])
def test_reasons_are_needed_and_readable(typed: str) -> None:
    with pytest.raises(Invalid) as refused:
        decide(round_(), ANNA, replace(decision(DecisionKind.REQUEST_CHANGES), reason=typed))
    assert refused.value.errors[0].pointer == "/reason"


CONTENT = RoundContent(
    contract_id=UUID(int=1),
    contract_version=1,
    contract_version_sha256_hex="c" * 64,
    milestone_id=UUID(int=2),
    round_number=1,
    title="Design",
    description="All pages",
    acceptance_criteria=["works"],
    amount=Money(120000, "EUR"),
    price_basis="net",
    tax_category="S",
    tax_rate_percent="20",
    payment_days=30,
    payment_from="issue",
    due_on=NOW.date(),
    message="Here it is",
    deliverables=[DeliverableFacts(kind="file", title="design.pdf", sha256_hex="d" * 64, size=5)],
)


def test_the_hash_covers_everything_that_is_signed() -> None:
    other = {
        "contract_id": UUID(int=7),
        "contract_version": 2,
        "contract_version_sha256_hex": "e" * 64,
        "milestone_id": UUID(int=7),
        "round_number": 2,
        "title": "Design!",
        "description": "",
        "acceptance_criteria": [],
        "amount": Money(120001, "EUR"),
        "price_basis": "gross",
        "tax_category": "Z",
        "tax_rate_percent": "10",
        "payment_days": 31,
        "payment_from": "end_of_month",
        "due_on": None,
        "message": "",
        "deliverables": [],
    }
    assert set(other) == set(RoundContent.__dataclass_fields__)
    hashes = {replace(CONTENT, **{name: value}).sha256_hex() for name, value in other.items()}  # type: ignore[arg-type]
    assert len(hashes | {CONTENT.sha256_hex()}) == len(other) + 1
    item = CONTENT.deliverables[0]
    for name, value in {"kind": "link", "title": "x", "sha256_hex": "f" * 64, "size": 6, "url": "https://a", "note": "n"}.items():
        assert replace(CONTENT, deliverables=[replace(item, **{name: value})]).sha256_hex() != CONTENT.sha256_hex()  # type: ignore[arg-type]
    assert replace(CONTENT).sha256_hex() == CONTENT.sha256_hex()
