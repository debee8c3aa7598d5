"""The JSON of sign-off. Tokens never appear here (R10)."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from tollgate.http.bodies import MoneyBody, clean
from tollgate.signoff.service import Delivery
from tollgate.signoff.service_input import LONGEST_MESSAGE
from tollgate.signoff.service_views import RoundView


class DeliveryRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A word to the client, and who decides (the contract's approvers where left out)."""

    message: str = ""
    contact_ids: Annotated[list[UUID], Meta(max_length=50)] | None = None

    def read(self) -> Delivery:
        """As the verb takes it."""
        return Delivery(message=clean(self.message, "/message", most=LONGEST_MESSAGE, lines=True), contact_ids=self.contact_ids)


class LinkRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to send a fresh mail."""

    contact_id: UUID


class RoundContact(Struct, kw_only=True):
    """An approver of the round."""

    contact_id: UUID
    name: str
    email: str


class DecisionBody(Struct, kw_only=True):
    """One decision. `how` is `link` or `recorded`."""

    contact_id: UUID | None
    name: str
    decision: str
    how: str
    signed_name: str
    reason: str | None
    decided_at: datetime
    recorded_by: UUID | None
    copied_by: UUID | None
    document_sha256: str | None


class LinkBody(Struct, kw_only=True):
    """One approver's link: what it can do and how often its page was opened. Never a token."""

    id: UUID
    contact_id: UUID
    state: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_because: str | None
    opens: int
    first_opened_at: datetime | None
    last_opened_at: datetime | None


class ColleagueBody(Struct, kw_only=True):
    """A colleague whom an approver proposed instead."""

    id: UUID
    link_id: UUID
    name: str
    email: str
    state: str
    created_at: datetime


class FrozenBody(Struct, kw_only=True):
    """One deliverable as frozen in the round."""

    kind: str
    title: str
    url: str | None
    text: str | None
    sha256: str | None
    size: int | None


class CertificateBody(Struct, kw_only=True):
    """The sign-off certificate; `pdf_sha256` is null until it is rendered."""

    title: str
    content_sha256: str
    pdf_sha256: str | None


class RoundBody(Struct, kw_only=True):
    """One delivery and its decisions."""

    id: UUID
    contract_id: UUID
    milestone_id: UUID
    number: int
    state: str
    policy: str
    amount: MoneyBody
    message: str
    content_sha256: str
    contract_version_sha256: str
    deliverables: list[FrozenBody]
    approvers: list[RoundContact]
    decisions: list[DecisionBody]
    links: list[LinkBody]
    colleagues: list[ColleagueBody]
    opens: int
    certificate: CertificateBody | None
    delivered_by: UUID | None
    opened_at: datetime
    closed_at: datetime | None
    reopened_because: str | None

    @classmethod
    def of(cls, view: RoundView) -> "RoundBody":
        """The JSON shape."""
        same = ("id", "contract_id", "milestone_id", "number", "message", "delivered_by", "opened_at", "closed_at", "reopened_because")
        certificate = view.certificate
        return cls(
            **{name: getattr(view, name) for name in same},
            state=view.state.value,
            policy=view.policy,
            amount=MoneyBody.of(view.amount),
            content_sha256=view.content_sha256_hex,
            contract_version_sha256=view.contract_version_sha256_hex,
            deliverables=[
                FrozenBody(kind=item.kind, title=item.title, url=item.url, text=item.note, sha256=item.sha256_hex, size=item.size)
                for item in view.deliverables
            ],
            approvers=[RoundContact(contact_id=item.contact_id, name=item.name, email=item.email) for item in view.approvers],
            decisions=[
                DecisionBody(
                    contact_id=item.contact_id,
                    name=item.contact_name,
                    decision=item.decision,
                    how=item.how,
                    signed_name=item.signed_name,
                    reason=item.reason or None,
                    decided_at=item.decided_at,
                    recorded_by=item.recorded_by,
                    copied_by=item.copied_by,
                    document_sha256=item.document_sha256_hex,
                )
                for item in view.decisions
            ],
            links=[
                LinkBody(
                    id=item.id,
                    contact_id=item.contact_id,
                    state=item.state.value,
                    created_at=item.created_at,
                    expires_at=item.expires_at,
                    used_at=item.used_at,
                    revoked_at=item.revoked_at,
                    revoked_because=item.revoked_because,
                    opens=item.opens,
                    first_opened_at=item.first_opened_at,
                    last_opened_at=item.last_opened_at,
                )
                for item in view.links
            ],
            colleagues=[
                ColleagueBody(
                    id=item.id, link_id=item.link_id, name=item.name, email=item.email, state=item.state, created_at=item.created_at
                )
                for item in view.colleagues
            ],
            opens=sum(item.opens for item in view.links),
            certificate=CertificateBody(
                title=certificate.title, content_sha256=certificate.content_sha256.hex(), pdf_sha256=certificate.pdf_sha256_hex
            )
            if certificate
            else None,
        )
