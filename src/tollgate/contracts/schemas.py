"""The JSON of this room: requests read into the verbs' dataclasses, views written out. Names are those of the API's contract."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from tollgate.contracts.rules import TaxCategory, TaxTreatment
from tollgate.contracts.schemas_reading import Problems, read_lines, read_optional, read_percent
from tollgate.contracts.service import ContractChange, ContractInput, MilestoneChange, MilestoneInput
from tollgate.contracts.service_views import ContractView, DeliverableView, MilestoneView
from tollgate.http.bodies import MoneyBody, clean
from tollgate.i18n import translate
from tollgate.money.rates import percent_text

Lines = Annotated[list[str], Meta(max_length=50)]
PriceBasis = Literal["net", "gross"]
PaymentFrom = Literal["issue", "end_of_month"]
OnApproval = Literal["issue", "review"]


class TaxBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Category of EN 16931 and rate in percent, a decimal string."""

    category: Literal["S", "Z", "E", "AE", "K", "G", "O"]
    rate_percent: str

    @classmethod
    def of(cls, tax: TaxTreatment) -> "TaxBody":
        """The JSON shape."""
        return cls(category=tax.category.value, rate_percent=percent_text(tax.rate_percent))

    def read(self, pointer: str) -> TaxTreatment:
        """The treatment. Raises `Invalid`."""
        return TaxTreatment(TaxCategory(self.category), read_percent(self.rate_percent, f"{pointer}/rate_percent"))


class PaymentTermsBody(Struct, forbid_unknown_fields=True, kw_only=True, rename={"from_": "from"}):
    """So many days (0 to 365) from the issue day, or from the end of its month."""

    days: Annotated[int, Meta(ge=0, le=365)]
    from_: PaymentFrom = "issue"


class ApprovalBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who may sign off; any one of them decides."""

    policy: Literal["any_one"] = "any_one"
    contact_ids: Annotated[list[UUID], Meta(max_length=50)] | None = None


class InvoicingBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What an approval does: issue the invoice at once, or draft it for finance to review."""

    on_approval: OnApproval = "issue"


class MilestoneRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """One row of a schedule: an amount, or a percent of the contract's value."""

    title: str
    description: str = ""
    acceptance_criteria: Lines = []
    deliverables_expected: Lines = []
    due_on: date | None = None
    planned_on: date | None = None
    amount: MoneyBody | None = None
    percent: str | None = None
    tax: TaxBody | None = None

    def read(self, problems: Problems, at: str) -> MilestoneInput:
        """As the verbs take it."""
        return MilestoneInput(
            title=problems.read(lambda: clean(self.title, f"{at}/title", most=200), "?"),
            description=problems.read(lambda: clean(self.description, f"{at}/description", most=20_000, lines=True), ""),
            acceptance_criteria=read_lines(problems, self.acceptance_criteria, f"{at}/acceptance_criteria"),
            deliverables_expected=read_lines(problems, self.deliverables_expected, f"{at}/deliverables_expected"),
            due_on=self.due_on,
            planned_on=self.planned_on,
            amount=read_optional(problems, self.amount, lambda body: body.read(f"{at}/amount")),
            percent=read_optional(problems, self.percent, lambda text: read_percent(text, f"{at}/percent")),
            tax=read_optional(problems, self.tax, lambda body: body.read(f"{at}/tax")),
        )


class ContractRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A new draft."""

    client_id: UUID
    title: str
    value: MoneyBody
    reference: str = ""
    purchase_order: str = ""
    buyer_reference: str = ""
    currency: str | None = None
    price_basis: PriceBasis = "net"
    contingency: MoneyBody | None = None
    tax: TaxBody | None = None
    payment_terms: PaymentTermsBody | None = None
    approval: ApprovalBody | None = None
    invoicing: InvoicingBody | None = None
    milestones: Annotated[list[MilestoneRequest], Meta(max_length=200)] = []

    def read(self) -> ContractInput:
        """As the verb takes it. Raises `Invalid` with every wrong member."""
        problems = Problems()
        value = problems.read(lambda: self.value.read("/value"), None)
        milestones = [item.read(problems, f"/milestones/{index}") for index, item in enumerate(self.milestones)]
        contingency = read_optional(problems, self.contingency, lambda body: body.read("/contingency"))
        tax = read_optional(problems, self.tax, lambda body: body.read("/tax"))
        texts = {name: problems.read(_cleaning(getattr(self, name), name), "?") for name in _TEXTS}
        problems.refuse()
        assert value is not None
        return ContractInput(
            client_id=self.client_id,
            value=value,
            # A body that names the currency only once, in its value, means that one.
            currency=self.currency or value.currency,
            contingency=contingency,
            price_basis=self.price_basis,
            tax=tax,
            payment_days=self.payment_terms.days if self.payment_terms else None,
            payment_from=self.payment_terms.from_ if self.payment_terms else "issue",
            approver_ids=self.approval.contact_ids if self.approval else None,
            invoicing_on_approval=self.invoicing.on_approval if self.invoicing else "issue",
            milestones=milestones,
            **texts,
        )


class ContractPatch(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change of a draft; members left out stay. `milestones` replaces the whole schedule."""

    client_id: UUID | UnsetType = UNSET
    title: str | UnsetType = UNSET
    value: MoneyBody | UnsetType = UNSET
    reference: str | UnsetType = UNSET
    purchase_order: str | UnsetType = UNSET
    buyer_reference: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    price_basis: PriceBasis | UnsetType = UNSET
    contingency: MoneyBody | UnsetType = UNSET
    tax: TaxBody | UnsetType = UNSET
    payment_terms: PaymentTermsBody | UnsetType = UNSET
    approval: ApprovalBody | UnsetType = UNSET
    invoicing: InvoicingBody | UnsetType = UNSET
    milestones: Annotated[list[MilestoneRequest], Meta(max_length=200)] | UnsetType = UNSET

    def read(self) -> ContractChange:
        """As the verb takes it. Raises `Invalid` with every wrong member."""
        problems = Problems()
        given: dict[str, Any] = {
            name: problems.read(_cleaning(value, name), "?") for name in _TEXTS if (value := getattr(self, name)) is not UNSET
        }
        for name in ("client_id", "currency", "price_basis"):
            if (value := getattr(self, name)) is not UNSET:
                given[name] = value
        for name in ("value", "contingency", "tax"):
            if (body := getattr(self, name)) is not UNSET:
                given[name] = read_optional(problems, body, lambda body, name=name: body.read(f"/{name}"))  # type: ignore[misc]
        if self.payment_terms is not UNSET:
            given |= {"payment_days": self.payment_terms.days, "payment_from": self.payment_terms.from_}
        if self.approval is not UNSET and self.approval.contact_ids is not None:
            given["approver_ids"] = self.approval.contact_ids
        if self.invoicing is not UNSET:
            given["invoicing_on_approval"] = self.invoicing.on_approval
        if self.milestones is not UNSET:
            given["milestones"] = [item.read(problems, f"/milestones/{index}") for index, item in enumerate(self.milestones)]
        problems.refuse()
        return ContractChange(**given)


class MilestonePatch(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change of a milestone; members left out stay. `planned_on` at any time, the others on drafts only."""

    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    acceptance_criteria: Lines | UnsetType = UNSET
    deliverables_expected: Lines | UnsetType = UNSET
    due_on: date | UnsetType | None = UNSET
    planned_on: date | UnsetType | None = UNSET
    amount: MoneyBody | UnsetType = UNSET
    percent: str | UnsetType = UNSET
    tax: TaxBody | UnsetType | None = UNSET

    def read(self) -> MilestoneChange:
        """As the verb takes it. Raises `Invalid` with every wrong member."""
        problems = Problems()
        given: dict[str, Any] = {name: value for name in ("due_on", "planned_on") if (value := getattr(self, name)) is not UNSET}
        if self.title is not UNSET:
            given["title"] = problems.read(lambda: clean(str(self.title), "/title", most=200), "?")
        if self.description is not UNSET:
            given["description"] = problems.read(lambda: clean(str(self.description), "/description", most=20_000, lines=True), "")
        for name in ("acceptance_criteria", "deliverables_expected"):
            if (lines := getattr(self, name)) is not UNSET:
                given[name] = read_lines(problems, lines, f"/{name}")
        if self.amount is not UNSET:
            given["amount"] = read_optional(problems, self.amount, lambda body: body.read("/amount"))
        if self.percent is not UNSET:
            given["percent"] = read_optional(problems, self.percent, lambda text: read_percent(text, "/percent"))
        if self.tax is not UNSET:
            given["tax"] = read_optional(problems, self.tax, lambda body: body.read("/tax"))
        problems.refuse()
        return MilestoneChange(**given)


class AgreementBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The agreement signed elsewhere; its file comes as multipart field `file`."""

    agreed_on: date
    agreed_by: str


class ActivationRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Activation without a file."""

    agreement: AgreementBody | None = None


class LinkOrNoteRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """`{"kind": "link", "url": …}` or `{"kind": "note", "text": …}`."""

    kind: Literal["link", "note"]
    title: str = ""
    url: str | None = None
    text: str | None = None


class DeliverableBody(Struct, kw_only=True):
    """A file, link or note that shows the work."""

    id: UUID
    milestone_id: UUID
    round_id: UUID | None
    kind: str
    title: str
    url: str | None
    text: str | None
    sha256: str | None
    content_type: str | None
    size: int | None
    created_at: datetime

    @classmethod
    def of(cls, view: DeliverableView) -> "DeliverableBody":
        """The JSON shape."""
        return cls(
            id=view.id,
            milestone_id=view.milestone_id,
            round_id=view.round_id,
            kind=view.kind,
            title=view.title,
            url=view.url,
            text=view.note,
            sha256=view.sha256_hex,
            content_type=view.content_type,
            size=view.size,
            created_at=view.created_at,
        )


class MilestoneBody(Struct, kw_only=True):
    """A milestone. `round` is the number of its newest review round, 0 before the first delivery."""

    id: UUID
    contract_id: UUID
    position: int
    title: str
    description: str
    acceptance_criteria: list[str]
    deliverables_expected: list[str]
    due_on: date | None
    planned_on: date | None
    amount: MoneyBody
    percent: str | None
    tax: TaxBody | None
    state: str
    allowed_events: list[str]
    health: str | None
    billing_held: bool
    round: int
    round_id: UUID | None
    deliverables: list[DeliverableBody]
    started_at: datetime | None
    delivered_at: datetime | None
    approved_at: datetime | None
    version: int
    created_at: datetime

    @classmethod
    def of(cls, view: MilestoneView) -> "MilestoneBody":
        """The JSON shape."""
        same = ("id", "contract_id", "position", "title", "description", "due_on", "planned_on", "billing_held", "round_id")
        instants = ("started_at", "delivered_at", "approved_at", "version", "created_at")
        return cls(
            **{name: getattr(view, name) for name in same + instants},
            acceptance_criteria=list(view.acceptance_criteria),
            deliverables_expected=list(view.deliverables_expected),
            amount=MoneyBody.of(view.amount),
            percent=percent_text(view.percent) if view.percent is not None else None,
            tax=TaxBody.of(view.own_tax) if view.own_tax else None,
            state=view.state.value,
            allowed_events=[event.value for event in view.allowed_events],
            health=view.health.value if view.health else None,
            round=view.round_number,
            deliverables=[DeliverableBody.of(item) for item in view.deliverables],
        )


class AgreedBody(Struct, kw_only=True):
    """The contract version in force."""

    number: int
    content_sha256: str
    agreement_sha256: str | None
    agreement_file_name: str | None
    agreed_on: date | None
    agreed_by: str | None
    created_at: datetime


class AllocationBody(Struct, kw_only=True):
    """How much of the value the schedule and the contingency take; `left` is negative when they take too much."""

    allocated: MoneyBody
    left: MoneyBody
    percent: str


class HintBody(Struct, kw_only=True):
    """Advice on a draft, never a wall."""

    pointer: str
    slug: str
    detail: str


class ContractBody(Struct, kw_only=True):
    """A contract with its schedule."""

    id: UUID
    client_id: UUID
    client_name: str
    title: str
    reference: str
    purchase_order: str
    buyer_reference: str
    currency: str
    value: MoneyBody
    price_basis: str
    contingency: MoneyBody
    tax: TaxBody
    payment_terms: PaymentTermsBody
    approval: ApprovalBody
    invoicing: InvoicingBody
    state: str
    milestones: list[MilestoneBody]
    allocation: AllocationBody
    hints: list[HintBody]
    agreed: AgreedBody | None
    version: int
    created_at: datetime
    activated_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, view: ContractView) -> "ContractBody":
        """The JSON shape."""
        same = ("id", "client_id", "client_name", "title", "reference", "purchase_order", "buyer_reference", "currency", "price_basis")
        instants = ("version", "created_at", "activated_at", "completed_at")
        agreed, bar = view.agreed, view.allocation
        return cls(
            **{name: getattr(view, name) for name in same + instants},
            value=MoneyBody.of(view.value),
            contingency=MoneyBody.of(view.contingency),
            tax=TaxBody.of(view.tax),
            payment_terms=PaymentTermsBody(days=view.payment_days, from_=view.payment_from),  # type: ignore[arg-type]
            approval=ApprovalBody(contact_ids=list(view.approver_ids)),
            invoicing=InvoicingBody(on_approval=view.invoicing_on_approval),  # type: ignore[arg-type]
            state=view.state.value,
            milestones=[MilestoneBody.of(item) for item in view.milestones],
            allocation=AllocationBody(allocated=MoneyBody.of(bar.allocated), left=MoneyBody.of(bar.left), percent=str(bar.percent)),
            hints=[HintBody(pointer=hint.pointer, slug=hint.slug, detail=translate(hint.message)) for hint in view.hints],
            agreed=AgreedBody(
                number=agreed.number,
                content_sha256=agreed.content_sha256_hex,
                agreement_sha256=agreed.agreement_sha256_hex,
                agreement_file_name=agreed.agreement_file_name,
                agreed_on=agreed.agreed_on,
                agreed_by=agreed.agreed_by,
                created_at=agreed.created_at,
            )
            if agreed
            else None,
        )


_TEXTS = {"title": 200, "reference": 60, "purchase_order": 60, "buyer_reference": 60}
"""One-line members of a contract and their limits."""


def _cleaning(text: str, name: str) -> Callable[[], str]:
    return lambda: clean(text, f"/{name}", most=_TEXTS[name])
