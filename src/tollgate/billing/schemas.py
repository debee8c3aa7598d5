"""The JSON of this room. Names are those of the API's contract."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from tollgate.billing.service import Schedule, ScheduleItem
from tollgate.billing.service_views import CreditNoteRow, CreditNoteShown, InvoiceShown, LineShown
from tollgate.billing.tax import TaxGroup, TaxTreatment
from tollgate.contracts.schemas import TaxBody
from tollgate.http.bodies import MoneyBody
from tollgate.i18n import translate


class ReasonRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why: kept with the document, or told to the client."""

    reason: Annotated[str, Meta(max_length=500)]


class CreditLineRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A line of a partial credit note."""

    line_id: UUID
    net: MoneyBody


class CreditNoteRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """`correction` takes the whole invoice back; other kinds come later."""

    kind: Annotated[str, Meta(max_length=40)]
    reason: Annotated[str, Meta(max_length=500)] = ""
    lines: list[CreditLineRequest] | UnsetType = UNSET


class LineBody(Struct, kw_only=True):
    """One line; its tax is its share of its group's tax, which is rounded once per group."""

    id: UUID
    milestone_id: UUID | None
    title: str
    description: str
    quantity: str
    unit_price: MoneyBody
    net: MoneyBody
    tax: MoneyBody
    tax_category: str
    tax_rate_percent: str

    @classmethod
    def of(cls, line: LineShown) -> "LineBody":
        """The JSON shape."""
        treatment = TaxBody.of(line.treatment)
        return cls(
            id=line.id,
            milestone_id=line.milestone_id,
            title=line.title,
            description=line.description,
            quantity=line.quantity,
            unit_price=MoneyBody.of(line.unit_price),
            net=MoneyBody.of(line.net),
            tax=MoneyBody.of(line.tax),
            tax_category=treatment.category,
            tax_rate_percent=treatment.rate_percent,
        )


class TaxGroupBody(Struct, kw_only=True):
    """One category and rate: base and tax, rounded once (R2)."""

    category: Literal["S", "Z", "E", "AE", "K", "G", "O"]
    rate_percent: str
    base: MoneyBody
    tax: MoneyBody

    @classmethod
    def of(cls, group: TaxGroup) -> "TaxGroupBody":
        """The JSON shape."""
        treatment = TaxBody.of(TaxTreatment(group.treatment.category, group.treatment.rate_percent))
        amounts = {"base": MoneyBody.of(group.base), "tax": MoneyBody.of(group.tax)}
        return cls(category=treatment.category, rate_percent=treatment.rate_percent, **amounts)


class StripeBody(Struct, kw_only=True):
    """How far the hand-over to Stripe has come, and the page to pay on."""

    invoice_id: str | None
    hosted_url: str | None
    step: str
    problem: str | None


class CreditNoteLink(Struct, kw_only=True):
    """A credit note of this invoice."""

    id: UUID
    number: str
    kind: str
    issued_on: date
    payable: MoneyBody

    @classmethod
    def of(cls, row: CreditNoteRow) -> "CreditNoteLink":
        """The JSON shape."""
        return cls(id=row.id, number=row.number, kind=row.kind, issued_on=row.issued_on, payable=MoneyBody.of(row.payable))


class DocumentBody(Struct, kw_only=True):
    """The PDF: `pdf_sha256` is null until it is rendered."""

    pdf_sha256: str | None


class DisputeFlag(Struct, kw_only=True):
    """A payment of the invoice is disputed: no reminder goes out. `reason` is the provider's word."""

    opened_on: date
    reason: str

    @classmethod
    def of(cls, shown: InvoiceShown) -> "DisputeFlag | None":
        """The JSON shape; None while nothing is disputed."""
        if shown.disputed_on is None:
            return None
        return cls(opened_on=shown.disputed_on, reason=shown.dispute_reason or "")


class DeclineFact(Struct, kw_only=True):
    """The last payment that failed. `code` is the provider's word."""

    at: datetime
    code: str

    @classmethod
    def of(cls, shown: InvoiceShown) -> "DeclineFact | None":
        """The JSON shape; None where none failed."""
        return None if shown.declined_at is None else cls(at=shown.declined_at, code=shown.decline_code or "")


class InvoiceBody(Struct, kw_only=True):
    """An invoice.

    amount_due = gross − prepaid + rounding; payable = amount_due − retained; open = payable − paid − credited − written_off.
    """

    id: UUID
    number: str | None
    kind: str
    state: str
    contract_id: UUID
    contract_title: str
    client_id: UUID
    client_name: str
    currency: str
    issued_on: date | None
    supplied_on: date | None
    due_on: date | None
    overdue: bool
    days_overdue: int
    lines: list[LineBody]
    taxes: list[TaxGroupBody]
    net: MoneyBody
    tax: MoneyBody
    gross: MoneyBody
    prepaid: MoneyBody
    rounding: MoneyBody
    amount_due: MoneyBody
    retained: MoneyBody
    payable: MoneyBody
    paid: MoneyBody
    credited: MoneyBody
    written_off: MoneyBody
    open: MoneyBody
    pending: MoneyBody
    """Bank debits on their way: not paid yet."""
    dispute: DisputeFlag | None
    declined: DeclineFact | None
    reminders_stopped: Literal["processing", "disputed"] | None
    created_at: datetime
    issued_at: datetime | None
    sent_at: datetime | None
    seen_at: datetime | None
    voided_at: datetime | None
    void_reason: str | None
    stripe: StripeBody
    credit_notes: list[CreditNoteLink]
    document: DocumentBody
    version: int

    @classmethod
    def of(cls, shown: InvoiceShown) -> "InvoiceBody":
        """The JSON shape."""
        stripe = shown.stripe
        same: dict[str, Any] = {name: getattr(shown, name) for name in _SAME}
        same |= {name: MoneyBody.of(getattr(shown, name)) for name in _AMOUNTS}
        return cls(
            **same,
            state=shown.state.value,
            lines=[LineBody.of(line) for line in shown.lines],
            taxes=[TaxGroupBody.of(group) for group in shown.taxes],
            stripe=StripeBody(
                invoice_id=stripe.invoice_id,
                hosted_url=stripe.hosted_url,
                step=stripe.step,
                problem=translate(stripe.problem) if stripe.problem is not None else None,
            ),
            pending=MoneyBody.of(shown.pending),
            dispute=DisputeFlag.of(shown),
            declined=DeclineFact.of(shown),
            reminders_stopped=shown.reminders_stopped.value if shown.reminders_stopped is not None else None,
            credit_notes=[CreditNoteLink.of(row) for row in shown.credit_notes],
            document=DocumentBody(pdf_sha256=shown.document_sha256),
        )


_SAME = (
    "id", "number", "kind", "contract_id", "contract_title", "client_id", "client_name", "currency", "issued_on", "supplied_on", "due_on",
    "overdue", "days_overdue", "created_at", "issued_at", "sent_at", "seen_at", "voided_at", "void_reason", "version",
)  # fmt: skip
_AMOUNTS = (
    "net", "tax", "gross", "prepaid", "rounding", "amount_due", "retained", "payable", "paid", "credited", "written_off", "open",
)  # fmt: skip


class CreditedLineBody(Struct, kw_only=True):
    """What of an invoice line is taken back."""

    invoice_line_id: UUID
    title: str
    net: MoneyBody
    tax_category: str
    tax_rate_percent: str


class CreditNoteBody(Struct, kw_only=True):
    """A credit note; amounts are positive. payable = from_open + from_retained + from_paid, the last of which became client credit."""

    id: UUID
    number: str
    kind: str
    invoice_id: UUID
    invoice_number: str
    contract_id: UUID
    client_id: UUID
    currency: str
    issued_on: date
    reason: str
    lines: list[CreditedLineBody]
    taxes: list[TaxGroupBody]
    net: MoneyBody
    tax: MoneyBody
    gross: MoneyBody
    rounding: MoneyBody
    payable: MoneyBody
    from_open: MoneyBody
    from_retained: MoneyBody
    from_paid: MoneyBody
    created_at: datetime
    sent_at: datetime | None
    document: DocumentBody

    @classmethod
    def of(cls, shown: CreditNoteShown) -> "CreditNoteBody":
        """The JSON shape."""
        note = shown.note

        def money(minor: int) -> MoneyBody:
            return MoneyBody.of_minor(minor, note.currency)

        same = ("id", "number", "kind", "invoice_id", "contract_id", "client_id", "currency", "issued_on", "reason")
        amounts = ("net", "tax", "gross", "rounding", "payable", "from_open", "from_retained", "from_paid")
        members: dict[str, Any] = {name: getattr(note, name) for name in (*same, "created_at", "sent_at")}
        members |= {name: money(getattr(note, f"{name}_minor")) for name in amounts}
        return cls(
            **members,
            invoice_number=shown.invoice_number,
            lines=[
                CreditedLineBody(
                    invoice_line_id=line.invoice_line_id,
                    title=line.title,
                    net=money(line.net_minor),
                    tax_category=line.tax_category,
                    tax_rate_percent=f"{line.tax_rate_percent.normalize():f}",
                )
                for line in shown.lines
            ],
            taxes=[TaxGroupBody.of(group) for group in shown.taxes],
            document=DocumentBody(pdf_sha256=shown.document_sha256),
        )


class ScheduleItemBody(Struct, kw_only=True):
    """One document that will follow: net = milestone_net − deposit_drawn − retained_net."""

    kind: str
    milestone_id: UUID | None
    position: int
    title: str
    due_on: date | None
    milestone_net: MoneyBody
    deposit_drawn: MoneyBody
    retained_net: MoneyBody
    net: MoneyBody
    tax: MoneyBody
    gross: MoneyBody
    rounding: MoneyBody
    retained: MoneyBody
    payable: MoneyBody

    @classmethod
    def of(cls, item: ScheduleItem) -> "ScheduleItemBody":
        """The JSON shape."""
        amounts = ("milestone_net", "deposit_drawn", "retained_net", "net", "tax", "gross", "rounding", "retained", "payable")
        same = ("kind", "milestone_id", "position", "title", "due_on")
        members: dict[str, Any] = {name: getattr(item, name) for name in same}
        members |= {name: MoneyBody.of(getattr(item, name)) for name in amounts}
        return cls(**members)


class ProblemBody(Struct, kw_only=True):
    """What an invoice still lacks; `/seller/…` is in the settings, `/buyer/…` with the client."""

    pointer: str
    detail: str


class ScheduleBody(Struct, kw_only=True):
    """Every document that will follow. `series_rounding` is tax on the whole minus the taxes of the documents (R3)."""

    items: list[ScheduleItemBody]
    net: MoneyBody
    tax: MoneyBody
    gross: MoneyBody
    payable: MoneyBody
    series_rounding: MoneyBody
    problems: list[ProblemBody]

    @classmethod
    def of(cls, schedule: Schedule) -> "ScheduleBody":
        """The JSON shape."""
        return cls(
            items=[ScheduleItemBody.of(item) for item in schedule.items],
            net=MoneyBody.of(schedule.net),
            tax=MoneyBody.of(schedule.tax),
            gross=MoneyBody.of(schedule.gross),
            payable=MoneyBody.of(schedule.payable),
            series_rounding=MoneyBody.of(schedule.series_rounding),
            problems=[ProblemBody(pointer=item.pointer, detail=translate(item.detail)) for item in schedule.problems],
        )
