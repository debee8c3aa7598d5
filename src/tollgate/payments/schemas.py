"""The JSON of payments. Names are those of the API's contract."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from tollgate.errors import FieldError, Invalid
from tollgate.http.bodies import MoneyBody, clean
from tollgate.payments.models import GatewayAccount
from tollgate.payments.queries import AllocationShown, PaymentShown, ReversalShown
from tollgate.payments.queries_returns import DisputeShown, RefundShown
from tollgate.payments.rules import Chosen
from tollgate.payments.service import NewAccount, NewTransfer


class AllocationRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much of the payment settles which invoice."""

    invoice_id: UUID
    amount: MoneyBody


class PaymentRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A bank transfer that arrived. Without `allocations` the oldest due is settled first; the rest is client credit."""

    client_id: UUID
    amount: MoneyBody
    received_on: date
    method: Literal["bank_transfer"]
    reference: Annotated[str, Meta(max_length=140)] = ""
    allocations: Annotated[list[AllocationRequest], Meta(max_length=200)] | UnsetType = UNSET

    def read(self) -> NewTransfer:
        """What the verb takes. Raises `Invalid` with every wrong field."""
        problems: list[FieldError] = []

        def amount(body: MoneyBody, pointer: str) -> object:
            try:
                return body.read(pointer)
            except Invalid as error:
                problems.extend(error.errors)
                return None

        total = amount(self.amount, "/amount")
        chosen = None
        if self.allocations is not UNSET:
            parts = [(one.invoice_id, amount(one.amount, f"/allocations/{index}/amount")) for index, one in enumerate(self.allocations)]
            chosen = tuple(Chosen(invoice_id, part) for invoice_id, part in parts if part is not None)  # type: ignore[arg-type]
        try:
            reference = clean(self.reference, "/reference", most=140)
        except Invalid as error:
            problems.extend(error.errors)
            reference = ""
        if problems:
            raise Invalid(problems[0].detail if len(problems) == 1 else None, errors=problems)
        return NewTransfer(
            client_id=self.client_id,
            amount=total,  # type: ignore[arg-type]
            received_on=self.received_on,
            reference=reference,
            allocations=chosen,
        )


class AllocationBody(Struct, kw_only=True):
    """How much of a payment settled which invoice."""

    invoice_id: UUID
    invoice_number: str
    contract_id: UUID
    amount: MoneyBody

    @classmethod
    def of(cls, shown: AllocationShown) -> "AllocationBody":
        """The JSON shape."""
        return cls(
            invoice_id=shown.invoice_id,
            invoice_number=shown.invoice_number,
            contract_id=shown.contract_id,
            amount=MoneyBody.of(shown.amount),
        )


class ReversalRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a transfer is taken back: kept with the payment."""

    reason: Annotated[str, Meta(max_length=500)]


class ReversalBody(Struct, kw_only=True):
    """A payment taken back: the payment's amount = reopened + from_client_credit."""

    reversed_on: date
    reason: str
    reopened: list[AllocationBody]
    """By how much which invoice is open again."""
    from_client_credit: MoneyBody

    @classmethod
    def of(cls, shown: ReversalShown) -> "ReversalBody":
        """The JSON shape."""
        return cls(
            reversed_on=shown.reversed_on,
            reason=shown.reason,
            reopened=[AllocationBody.of(one) for one in shown.reopened],
            from_client_credit=MoneyBody.of(shown.from_client_credit),
        )


class RefundBody(Struct, kw_only=True):
    """A refund at the provider: `pending` moves nothing yet, `failed` moves nothing any more."""

    provider_refund_id: str
    amount: MoneyBody
    state: str
    refunded_on: date

    @classmethod
    def of(cls, shown: RefundShown) -> "RefundBody":
        """The JSON shape."""
        return cls(
            provider_refund_id=shown.provider_refund_id,
            amount=MoneyBody.of(shown.amount),
            state=shown.state,
            refunded_on=shown.refunded_on,
        )


class DisputeBody(Struct, kw_only=True):
    """A dispute at the provider: `open` moves nothing, `lost` is like a refund, `won` leaves all as it was."""

    provider_dispute_id: str
    amount: MoneyBody
    reason: str
    state: str
    opened_on: date
    respond_by: date | None
    closed_on: date | None

    @classmethod
    def of(cls, shown: DisputeShown) -> "DisputeBody":
        """The JSON shape."""
        return cls(
            provider_dispute_id=shown.provider_dispute_id,
            amount=MoneyBody.of(shown.amount),
            reason=shown.reason,
            state=shown.state,
            opened_on=shown.opened_on,
            respond_by=shown.respond_by,
            closed_on=shown.closed_on,
        )


class PaymentBody(Struct, kw_only=True):
    """A payment. amount = allocations + client_credit + refunded, where refunded is what refunds and lost disputes sent back.

    Once `reversed` it settles nothing; `reversal` says what opened again. `invoice_id` is the invoice on whose page it was paid.
    """

    id: UUID
    client_id: UUID
    client: str
    method: str
    amount: MoneyBody
    refunded: MoneyBody
    received_on: date
    reference: str
    state: str
    provider_payment_id: str | None
    invoice_id: UUID | None
    allocations: list[AllocationBody]
    client_credit: MoneyBody
    reversal: ReversalBody | None
    refunds: list[RefundBody]
    disputes: list[DisputeBody]
    created_at: datetime

    @classmethod
    def of(cls, shown: PaymentShown) -> "PaymentBody":
        """The JSON shape."""
        return cls(
            id=shown.id,
            client_id=shown.client_id,
            client=shown.client_name,
            method=shown.method,
            amount=MoneyBody.of(shown.amount),
            refunded=MoneyBody.of(shown.refunded),
            received_on=shown.received_on,
            reference=shown.reference,
            state=shown.state,
            provider_payment_id=shown.provider_payment_id,
            invoice_id=shown.made_for.invoice_id if shown.made_for is not None else None,
            allocations=[AllocationBody.of(one) for one in shown.allocations],
            client_credit=MoneyBody.of(shown.client_credit),
            reversal=ReversalBody.of(shown.reversal) if shown.reversal is not None else None,
            refunds=[RefundBody.of(one) for one in shown.refunds],
            disputes=[DisputeBody.of(one) for one in shown.disputes],
            created_at=shown.created_at,
        )


class GatewayAccountRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Stripe key (restricted ones are welcome) and the signing secret of its webhook. Neither is ever shown again."""

    secret_key: Annotated[str, Meta(max_length=255)]
    webhook_secret: Annotated[str, Meta(max_length=255)]

    def read(self) -> NewAccount:
        """What the verb takes."""
        return NewAccount(secret_key=self.secret_key.strip(), webhook_secret=self.webhook_secret.strip())


class GatewayAccountBody(Struct, kw_only=True):
    """The account connected, without its secrets."""

    id: UUID | None
    """Null for the account of the server's environment."""
    account_id: str
    mode: Literal["test", "live"]
    webhook_url: str
    source: Literal["environment", "organization"]
    connected_at: datetime | None

    @classmethod
    def of(cls, account: GatewayAccount, base_url: str) -> "GatewayAccountBody":
        """The JSON shape of a connected account."""
        return cls(
            id=account.id,
            account_id=account.account_id,
            mode="live" if account.live else "test",
            webhook_url=f"{base_url}/webhooks/stripe/{account.endpoint}",
            source="organization",
            connected_at=account.created_at,
        )
