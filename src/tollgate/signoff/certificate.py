"""The sign-off certificate: what was promised, delivered and decided, frozen in the approver's language when a round completes (R12)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock, i18n
from tollgate.contracts import queries as contract_queries
from tollgate.contracts.rules import price_of
from tollgate.contracts.service_milestones import tax_for
from tollgate.documents import service as documents
from tollgate.documents.service import Design
from tollgate.documents.views import CertificateView, DecisionView, DeliveredView, DocumentInfo, Fact, PartyView, SectionView
from tollgate.errors import Message, _
from tollgate.i18n import translate as say
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Contact, Organization
from tollgate.parties.printing import address_lines, contact_lines, tax_lines
from tollgate.signoff import queries
from tollgate.signoff.models import SignOff
from tollgate.signoff.queries import Review

KIND = "certificate"
KINDS = {"file": _("File"), "link": _("Link"), "note": _("Note")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a certificate copies."""

    review: Review
    content: dict[str, Any]
    organization: Organization
    client: Client
    contacts: dict[UUID, Contact]
    members: dict[UUID, str]
    version_sha256_hex: str
    anchor_hex: str


async def freeze_certificate(session: AsyncSession, review: Review) -> documents.DocumentInfo:
    """Freeze the certificate of a complete round and ask for its PDF."""
    organization_id = review.round.organization_id
    organization = await contract_queries.organization(session, organization_id)
    client = await contract_queries.client(session, organization_id, review.contract.client_id)
    if client is None:
        raise RuntimeError(f"contract {review.contract.id} has no client")
    contacts = await contract_queries.contacts(session, organization_id, review.approvers)
    people = {row.recorded_by for row in review.sign_offs} | {row.copied_by for row in review.sign_offs} | {review.round.delivered_by}
    members = {member_id: await queries.member_name(session, organization_id, member_id) for member_id in people if member_id}
    content = json.loads(review.round.content)
    parts = _Parts(
        review=review,
        content=content,
        organization=organization,
        client=client,
        contacts=contacts,
        members=members,
        version_sha256_hex=content["contract_version_sha256"],
        # Before this commit: the events of this very decision are chained after it.
        anchor_hex=(await audit.head(session, organization_id)).hex(),
    )
    last = review.sign_offs[-1]
    signer = contacts.get(last.contact_id) if last.contact_id else None
    locale = i18n.choose(signer.locale if signer else None, client.locale, organization.locale)
    today = clock.today(organization.time_zone)
    with i18n.use_locale(locale):
        view = certificate_view(parts, locale)
    return await documents.freeze(
        session,
        organization_id=organization_id,
        kind=KIND,
        subject_id=review.round.id,
        title=view.info.title,
        locale=locale,
        view=view,
        design=Design(theme=organization.theme, accent=organization.accent, logo_sha256_hex=organization.logo_sha256_hex),
        retain_until=documents.retain_until(organization.country, today),
    )


def certificate_view(parts: _Parts, locale: str) -> CertificateView:
    """The finished texts, in the present locale."""
    review, organization = parts.review, parts.organization
    amount = Money(review.round.amount_minor, review.round.currency)
    tax = tax_for(review.contract, review.milestone)
    price = price_of(amount, review.contract.price_basis, tax)
    title = say(_("Sign-off certificate"))
    return CertificateView(
        info=DocumentInfo(
            language=locale,
            direction=i18n.direction(locale),  # type: ignore[arg-type]
            title=_file_title(f"{title} {parts.content['title']}", review.round.number),
            author=organization.legal_name,
            subject=review.contract.title,
            dated=clock.today(organization.time_zone).isoformat(),
            page_of=say(_("Page {page} of {pages}")),
            running_title=f"{title}: {parts.content['title']}",
        ),
        title=title,
        number=review.contract.reference,
        headline=Fact(label=say(_("Accepted value")), value=i18n.money(amount)),
        headline_note=say(_("tax included") if review.contract.price_basis == "gross" else _("net of tax")),
        seller=_seller(organization),
        statement=say(_statement(parts)),
        facts=_facts(parts, i18n.money(price.payable)),
        promised=SectionView(title=say(_("What was promised")), paragraphs=_promised(parts.content)),
        delivered_title=say(_("What was delivered")),
        delivered=tuple(_delivered(item) for item in parts.content["deliverables"]),
        decisions_title=say(_("Decisions")),
        decisions=tuple(_decision(parts, row) for row in review.sign_offs),
        evidence_title=say(_("Evidence")),
        evidence=_evidence(parts),
        notes=(say(_("The hashes above pin down what was accepted. This certificate was made on completion and stays as it is.")),),
        footer=_footer(organization),
    )


def _statement(parts: _Parts) -> Message:
    if any(row.how == "recorded" for row in parts.review.sign_offs):
        return _(
            "%(client)s accepted the milestone “%(milestone)s” of the contract “%(contract)s” on paper; the signed document is kept.",
            client=parts.client.legal_name,
            milestone=parts.content["title"],
            contract=parts.review.contract.title,
        )
    return _(
        "%(client)s accepted the milestone “%(milestone)s” of the contract “%(contract)s” as delivered in review round %(number)s.",
        client=parts.client.legal_name,
        milestone=parts.content["title"],
        contract=parts.review.contract.title,
        number=parts.review.round.number,
    )


def _facts(parts: _Parts, gross: str) -> tuple[Fact, ...]:
    review, zone = parts.review, parts.organization.time_zone
    contract = f"{review.contract.reference} {review.contract.title}".strip()
    facts = [
        (_("Contract"), contract),
        (_("Contract version"), str(parts.content["contract_version"])),
        (_("Client"), parts.client.legal_name),
        (_("Milestone"), parts.content["title"]),
        (_("Review round"), i18n.number(review.round.number)),
        (_("Gross"), gross),
        (_("Delivered"), i18n.instant(review.round.opened_at, zone)),
    ]
    if review.round.delivered_by in parts.members:
        facts.append((_("Delivered by"), parts.members[review.round.delivered_by]))
    facts.append((_("Completed"), i18n.instant(review.sign_offs[-1].decided_at, zone)))
    return tuple(Fact(label=say(label), value=value) for label, value in facts if value)


def _promised(content: dict[str, Any]) -> tuple[str, ...]:
    described = [part for part in content["description"].splitlines() if part.strip()]
    expected = [say(_("To be handed over: %(name)s", name=name)) for name in content["deliverables_expected"]]
    promised = described + list(content["acceptance_criteria"]) + expected
    return tuple(promised or [content["title"]])


def _delivered(item: dict[str, Any]) -> DeliveredView:
    details: list[str] = []
    if item["size"] is not None:
        details.append(i18n.file_size(item["size"]))
    if item["kind"] == "link":
        details += [item["title"]] if item["title"] != item["url"] else []
    if item["kind"] == "note":
        details += [line for line in (item["note"] or "").splitlines() if line.strip() and line.strip() != item["title"]]
    return DeliveredView(
        kind=say(KINDS[item["kind"]]),
        name=item["url"] if item["kind"] == "link" else item["title"],
        details=tuple(details),
        hash_label="SHA-256" if item["sha256"] else "",
        sha256=item["sha256"] or "",
    )


def _decision(parts: _Parts, row: SignOff) -> DecisionView:
    contact = parts.contacts.get(row.contact_id) if row.contact_id else None
    name = row.signed_name or (contact.name if contact else "")
    details: list[str] = []
    if row.how == "recorded":
        how = _("Recorded by %(member)s, not signed by link", member=parts.members.get(row.recorded_by, "") if row.recorded_by else "")
        details.append(say(_("Signed document: %(name)s", name=row.document_file_name or "")))
        details.append(f"SHA-256 {row.document_sha256_hex}")
    else:
        how = _("By signed link mailed to %(email)s", email=contact.email if contact else "")
        if contact is not None and contact.name != name:
            details.append(say(_("Link of %(name)s", name=contact.name)))
    if row.copied_by:
        member = parts.members.get(row.copied_by, "")
        details.append(say(_("The link was copied by %(member)s; a code mailed to the approver confirmed it", member=member)))
    return DecisionView(
        outcome=say(_("Approved") if row.decision == "approve" else _("Changes requested")),
        name=name or say(_("See the signed document")),
        role=say(_("Approver for %(client)s", client=parts.client.legal_name)),
        instant=i18n.instant(row.decided_at, parts.organization.time_zone),
        how=say(how),
        details=tuple(details),
    )


def _evidence(parts: _Parts) -> tuple[Fact, ...]:
    facts = [
        (_("Content hash of the round (SHA-256)"), parts.review.round.content_sha256.hex()),
        (_("Hash of the contract version (SHA-256)"), parts.version_sha256_hex),
        (_("Anchor of the audit trail (head hash)"), parts.anchor_hex),
        (_("Round"), str(parts.review.round.id)),
    ]
    facts += [(_("Link"), str(row.approval_link_id)) for row in parts.review.sign_offs if row.approval_link_id]
    return tuple(Fact(label=say(label), value=value) for label, value in facts)


def _seller(organization: Organization) -> PartyView:
    return PartyView(
        label=say(_("Seller")),
        name=organization.legal_name,
        address=address_lines(organization),
        tax_ids=tax_lines(organization),
        contact=contact_lines(organization),
    )


def _footer(organization: Organization) -> tuple[tuple[str, ...], ...]:
    columns: Sequence[tuple[str, ...]] = (
        (organization.legal_name, *address_lines(organization)),
        contact_lines(organization),
        tax_lines(organization),
    )
    return tuple(column for column in columns if column)


def _file_title(title: str, number: int) -> str:
    """Also the download's name: without what file systems refuse, cut to the column's length."""
    plain = re.sub(r'[\\/:*?"<>|\s]+', " ", title).strip()
    return f"{plain[:180].strip()} ({number})"
