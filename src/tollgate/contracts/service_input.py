"""What the verbs of contracts are told: plain values, cleaned by whoever read them (API or page)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from msgspec import UNSET, UnsetType

from tollgate.contracts.rules import TaxTreatment
from tollgate.money.amount import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneInput:
    """One row of the schedule: an `amount`, or a `percent` of the contract's value (R1), never both."""

    title: str
    description: str = ""
    acceptance_criteria: Sequence[str] = ()
    deliverables_expected: Sequence[str] = ()
    due_on: date | None = None
    planned_on: date | None = None
    amount: Money | None = None
    percent: Decimal | None = None
    tax: TaxTreatment | None = None
    """None: the contract's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractInput:
    """A new draft. What is None falls back on the organization's defaults; no approvers named means the client's approver contacts."""

    client_id: UUID
    title: str
    value: Money
    currency: str | None = None
    reference: str = ""
    purchase_order: str = ""
    buyer_reference: str = ""
    contingency: Money | None = None
    price_basis: str = "net"
    tax: TaxTreatment | None = None
    payment_days: int | None = None
    payment_from: str = "issue"
    approver_ids: Sequence[UUID] | None = None
    invoicing_on_approval: str = "issue"
    milestones: Sequence[MilestoneInput] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractChange:
    """What to change of a draft; UNSET members stay. `milestones` replaces the whole schedule."""

    client_id: UUID | UnsetType = UNSET
    title: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    value: Money | UnsetType = UNSET
    reference: str | UnsetType = UNSET
    purchase_order: str | UnsetType = UNSET
    buyer_reference: str | UnsetType = UNSET
    contingency: Money | UnsetType = UNSET
    price_basis: str | UnsetType = UNSET
    tax: TaxTreatment | UnsetType = UNSET
    payment_days: int | UnsetType = UNSET
    payment_from: str | UnsetType = UNSET
    approver_ids: Sequence[UUID] | UnsetType = UNSET
    invoicing_on_approval: str | UnsetType = UNSET
    milestones: Sequence[MilestoneInput] | UnsetType = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneChange:
    """What to change of a milestone; UNSET members stay. `planned_on` at any time, all else on drafts only."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    acceptance_criteria: Sequence[str] | UnsetType = UNSET
    deliverables_expected: Sequence[str] | UnsetType = UNSET
    due_on: date | UnsetType | None = UNSET
    planned_on: date | UnsetType | None = UNSET
    amount: Money | UnsetType = UNSET
    percent: Decimal | UnsetType = UNSET
    tax: TaxTreatment | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInput:
    """A file as it came, before it is stored."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementInput:
    """The agreement signed elsewhere: when, by whom, and the signed document where there is one."""

    agreed_on: date
    agreed_by: str
    file: FileInput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverableInput:
    """What shows the work: exactly one of a file, an http(s) address or a note."""

    title: str = ""
    file: FileInput | None = None
    url: str | None = None
    note: str | None = None
