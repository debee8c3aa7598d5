"""What Tollgate asks of a payment gateway, in our words. `stripe_gateway.py` is the one that speaks Stripe's.

An order is frozen to text before it is carried out, so that a retry sends the very same request under the same key.
Amounts of orders and answers are counts of the gateway's own minor units (`rules.provider_minor`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from tollgate.jobs.worker import TryLater
from tollgate.payments.returns import AttemptState, DisputeState, RefundState
from tollgate.payments.rules import ProviderInvoice, ProviderInvoiceState, ProviderPaymentState


class GatewayBusy(TryLater):
    """The gateway is away, slow or counts too many requests: the same order again later is right."""


class KeyRefused(GatewayBusy):
    """The gateway does not take our key, or the key lacks a right: somebody has to look at the settings, then it goes on."""


class GatewayRefused(Exception):
    """The gateway understood and said no. Asking again gives the same answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureCustomer:
    """Our client as the gateway's customer: made, or brought up to date when `customer_id` is known."""

    client_id: str
    organization_id: str
    name: str
    email: str
    locale: str
    address: Mapping[str, str]
    customer_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDraft:
    """An empty invoice with our number, to be sent and not charged; the gateway computes neither tax nor totals."""

    organization_id: str
    invoice_id: str
    customer_id: str
    number: str
    currency: str
    description: str
    due_at: datetime | None
    """None: due at once, because the day has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLine:
    """One amount on the draft; negative for what is held back or prepaid."""

    invoice_id: str
    customer_id: str
    provider_invoice_id: str
    position: int
    description: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Finalize:
    """Let the draft be paid."""

    provider_invoice_id: str


@dataclass(frozen=True, slots=True)
class Send:
    """Let the gateway mail it too (a switch of the organization)."""

    provider_invoice_id: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nothing is to be paid any more: the draft is deleted, the open invoice made void, the rest of a partly paid one credited."""

    provider_invoice_id: str


@dataclass(frozen=True, slots=True)
class MarkPaidElsewhere:
    """The money came another way: nobody may pay or be reminded there."""

    provider_invoice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLess:
    """A part of the money came another way: a credit note over that part, so that only the rest is asked for there (R22)."""

    provider_invoice_id: str
    amount: int
    memo: str
    step: str


Order = EnsureCustomer | OpenDraft | AddLine | Finalize | Send | Withdraw | MarkPaidElsewhere | AskLess


@dataclass(frozen=True, slots=True)
class SeenInvoice:
    """An invoice as the gateway has it now."""

    id: str
    facts: ProviderInvoice
    amount_remaining: int
    hosted_url: str | None

    @property
    def state(self) -> ProviderInvoiceState:
        """The gateway's state of it."""
        return self.facts.state


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAttempt:
    """A try to pay: a bank debit that takes days, or a charge that failed."""

    id: str
    amount: int
    currency: str
    state: AttemptState
    at: datetime
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRefund:
    """Money sent back, or on its way back."""

    id: str
    amount: int
    currency: str
    state: RefundState
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDispute:
    """A charge that the payer's bank questions."""

    id: str
    amount: int
    currency: str
    reason: str
    state: DisputeState
    at: datetime
    respond_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class SeenPayment:
    """One payment of an invoice, keyed by the gateway's payment object, with all that became of it."""

    payment_id: str
    amount: int
    currency: str
    state: ProviderPaymentState
    paid_at: datetime | None
    attempts: tuple[SeenAttempt, ...] = ()
    refunds: tuple[SeenRefund, ...] = ()
    disputes: tuple[SeenDispute, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """A signal that something happened; what it says is fetched anew and never believed."""

    id: str
    type: str
    object_id: str
    """The invoice concerned; the payment where the event is about one, its refund or its dispute."""
    occurred_at: datetime
    live: bool
    account_id: str | None = None
    """Set when it is about somebody else's (connected) account."""


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """Whose account a key opens."""

    account_id: str
    live: bool
    name: str = ""
    default_currency: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


class Gateway(Protocol):
    """One account at a payment gateway. Everything raises `GatewayBusy`, `KeyRefused` or `GatewayRefused`."""

    def freeze(self, order: Order) -> str:
        """The request that will be sent for `order`, as text to store before it is sent."""

    async def carry_out(self, frozen: str, key: str) -> str:
        """Send a frozen order under its idempotency key; answers the id of the object it is about."""

    async def find(self, frozen: str, since: datetime) -> str | None:
        """The object that an earlier sending since then already made, looked up by our ids; None when there is none."""

    async def invoice(self, provider_invoice_id: str) -> SeenInvoice:
        """The invoice as it is now."""

    async def payments(self, provider_invoice_id: str) -> list[SeenPayment]:
        """Every payment of an invoice, with attempts, refunds and disputes, in the order in which they were begun."""

    async def invoice_of(self, provider_payment_id: str) -> str | None:
        """The gateway's invoice that a payment is for, None when it is for none."""

    async def events_since(self, since: datetime) -> list[SeenEvent]:
        """Events that concern us, oldest first."""

    async def identity(self) -> GatewayIdentity:
        """Whose key this is."""


def end_of(day: date, zone: str) -> datetime:
    """The last second of a legal day, as the gateway counts due days."""
    from zoneinfo import ZoneInfo

    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=ZoneInfo(zone))
