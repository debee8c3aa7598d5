"""R14, the way back: refunds, disputes and attempts that failed. What counts of them, and where the money is taken from. Pure.

Each of the provider's objects only goes forward by rank, so whatever order its news comes in, the same state is kept. What went back
of a payment is the sum of the objects' states and not of the news, so it is the same too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

from tollgate.money.amount import Money, total


class RefundState(StrEnum):
    """How far a refund has come. Pending moves nothing yet; a failed one (or one called off) moves nothing any more."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class DisputeState(StrEnum):
    """Open moves nothing: the bank holds the money, and who gets it is not said yet. Lost is money gone, won is money kept."""

    OPEN = "open"
    LOST = "lost"
    WON = "won"


class AttemptState(StrEnum):
    """A bank debit is processing for days; a card is declined at once. Arrived: the money is a payment now."""

    PROCESSING = "processing"
    FAILED = "failed"
    ARRIVED = "arrived"


REFUND_RANK: Mapping[RefundState, int] = MappingProxyType({RefundState.PENDING: 0, RefundState.SUCCEEDED: 1, RefundState.FAILED: 2})
"""A refund that had succeeded can still come back from the payer's bank: failed is the last word."""
DISPUTE_RANK: Mapping[DisputeState, int] = MappingProxyType({DisputeState.OPEN: 0, DisputeState.LOST: 1, DisputeState.WON: 2})
"""A lost dispute is sometimes won late; a won one is questioned again only by a dispute of its own."""
ATTEMPT_RANK: Mapping[AttemptState, int] = MappingProxyType({AttemptState.PROCESSING: 0, AttemptState.FAILED: 1, AttemptState.ARRIVED: 2})

State = TypeVar("State", RefundState, DisputeState, AttemptState)


def later(rank: Mapping[State, int], known: State | None, seen: State) -> State:
    """The state to keep: a stale answer never takes us back."""
    return seen if known is None or rank[seen] > rank[known] else known


def gone(amount: Money, refunds: Iterable[tuple[RefundState, Money]], disputes: Iterable[tuple[DisputeState, Money]]) -> Money:
    """What went back of a payment of `amount`: refunds that succeeded and disputes that were lost, at most all of it."""
    back = [money for state, money in refunds if state is RefundState.SUCCEEDED]
    back += [money for state, money in disputes if state is DisputeState.LOST]
    return min(amount, total(back, amount.currency))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A payment as it stands: `allocated` is what settles its invoice, whether that still `stands` or was credited since."""

    amount: Money
    gone: Money
    allocated: Money
    stands: bool

    @property
    def own_credit(self) -> Money:
        """What of it is client credit. Nothing where more went back than that: then a credit note's part went, too."""
        return max(Money.zero(self.amount.currency), self.amount - self.gone - self.allocated)


@dataclass(frozen=True, slots=True)
class TakenFrom:
    """Where money that goes back is taken from; the two sum to it."""

    invoice: Money
    client_credit: Money


def take_from(held: Held, back: Money) -> TakenFrom:
    """Take `back` of a payment: its own client credit first, then its invoice, which is open again by that much.

    An invoice that is void or credited takes nothing: what had settled it is client credit by now, and goes off that. `back` is
    at most what is left of the payment; raises ValueError otherwise.
    """
    if back > held.amount - held.gone:
        raise ValueError(f"{back} goes back, and {held.amount - held.gone} is left of the payment")
    credit = min(back, held.own_credit)
    from_invoice = min(back - credit, held.allocated) if held.stands else Money.zero(back.currency)
    return TakenFrom(from_invoice, back - from_invoice)


def refill(open_: Money, spare: Sequence[tuple[UUID, Money]]) -> list[tuple[UUID, Money]]:
    """What each payment made for an invoice gives of its own client credit while that invoice is open, in the given order.

    The payer chose this invoice by paying on its page, so its money is client credit only when the invoice needs no more.
    """
    found = []
    for payment_id, credit in spare:
        part = min(open_, credit)
        if part.is_positive:
            found.append((payment_id, part))
            open_ = open_ - part
    return found
