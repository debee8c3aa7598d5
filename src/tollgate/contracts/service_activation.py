"""Activation: from a draft to what is agreed, frozen as contract version 1 under its hash."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock
from tollgate.canonical import canonical_json
from tollgate.contracts import queries
from tollgate.contracts.models import Contract, ContractVersion, Milestone
from tollgate.contracts.rules import (
    ContractDraft,
    ContractEvent,
    ContractState,
    NotReady,
    PartyFacts,
    State,
    TaxCategory,
    TaxTreatment,
    activation_problems,
    next_contract_state,
)
from tollgate.contracts.service_deliverables import check_file, content_type_of, file_name_of
from tollgate.contracts.service_input import AgreementInput
from tollgate.contracts.service_milestones import draft_of, price, tax_for
from tollgate.contracts.service_moves import lock_contract
from tollgate.contracts.service_printing import printing_problems
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import FieldError, _, invalid
from tollgate.files.service import keep
from tollgate.files.storage import Storage
from tollgate.money.amount import Money
from tollgate.parties.models import Client, Contact, Organization


async def activate_contract(
    db: Database, storage: Storage, command: Command, contract_id: UUID, agreement: AgreementInput | None = None
) -> UUID:
    """Make a draft binding: contract version 1, with the agreement signed elsewhere where there is one.

    Raises `NotReady` naming everything that is missing, the difference to the value above all; `TransitionRefused` for no draft.
    """
    sha256_hex = None
    if agreement is not None and agreement.file is not None:
        check_file(agreement.file)
        async with db.reading(command.organization_id) as session:
            await queries.contract(session, command.organization_id, contract_id)
        sha256_hex = await storage.put(command.organization_id, agreement.file.content)
    async with db.transaction(command.organization_id, command) as session:
        contract = await lock_contract(session, command.organization_id, contract_id)
        target = next_contract_state(ContractState(contract.state), ContractEvent.ACTIVATE)
        seller = await queries.organization(session, command.organization_id)
        client = await queries.client(session, command.organization_id, contract.client_id)
        if client is None:
            raise RuntimeError(f"contract {contract_id} has no client")
        rows = await queries.milestones_of(session, command.organization_id, [contract_id])
        live = [row for row in rows if row.state != State.CANCELLED]
        named = (await queries.approvers_of(session, command.organization_id, [contract_id]))[contract_id]
        contacts = await queries.contacts(session, command.organization_id, named)
        approvers = [contact for contact_id in named if (contact := contacts.get(contact_id)) and contact.removed_at is None]
        if agreement is not None:
            _check_day(agreement, seller)
        # The value may have moved since the shares were last written.
        price(contract, rows)
        problems = _problems(contract, live, approvers, seller, client)
        if problems:
            raise NotReady(problems[0].detail if len(problems) == 1 else None, errors=problems)
        content = canonical_json(agreed_content(contract, live, approvers, seller, client)).decode()
        version = _version(command, contract_id, content, agreement, sha256_hex)
        if agreement is not None and agreement.file is not None and sha256_hex is not None:
            await keep(session, command.organization_id, sha256_hex, len(agreement.file.content), content_type_of(agreement.file))
        # The milestones' last changes must reach the database while the contract is still a draft: its guard refuses them later.
        await session.flush()
        contract.state = target.value
        contract.activated_at = clock.now()
        contract.version += 1
        session.add(version)
        audit.record(
            session,
            "contract.activated",
            ("contract", contract_id),
            contract_id=contract_id,
            version=1,
            content_sha256=version.content_sha256,
            agreement_sha256=sha256_hex,
        )
        return answer(session, contract_id)


async def problems_of(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> list[FieldError]:
    """What stands between a draft and being active, without doing anything: what the page shows beside the button."""
    contract = await queries.contract(session, organization_id, contract_id)
    seller = await queries.organization(session, organization_id)
    client = await queries.client(session, organization_id, contract.client_id)
    rows = await queries.milestones_of(session, organization_id, [contract_id])
    named = (await queries.approvers_of(session, organization_id, [contract_id]))[contract_id]
    contacts = await queries.contacts(session, organization_id, named)
    approvers = [contact for contact in contacts.values() if contact.removed_at is None]
    if client is None:
        raise RuntimeError(f"contract {contract_id} has no client")
    live = [row for row in rows if row.state != State.CANCELLED]
    return _problems(contract, live, approvers, seller, client)


def _problems(
    contract: Contract, live: list[Milestone], approvers: list[Contact], seller: Organization, client: Client
) -> list[FieldError]:
    facts = _draft_facts(contract, live, approvers, seller, client)
    return activation_problems(facts) + printing_problems(contract, live, seller, client)


def _version(
    command: Command, contract_id: UUID, content: str, agreement: AgreementInput | None, sha256_hex: str | None
) -> ContractVersion:
    return ContractVersion(
        organization_id=command.organization_id,
        id=uuid7(),
        contract_id=contract_id,
        number=1,
        content=content,
        content_sha256=hashlib.sha256(content.encode()).digest(),
        agreement_sha256_hex=sha256_hex,
        agreement_file_name=file_name_of(agreement.file) if agreement and agreement.file else None,
        agreed_on=agreement.agreed_on if agreement else None,
        agreed_by=agreement.agreed_by if agreement else None,
        created_by=command.actor_id,
        created_at=clock.now(),
    )


def agreed_content(
    contract: Contract, milestones: list[Milestone], approvers: list[Contact], seller: Organization, client: Client
) -> dict[str, Any]:
    """What version 1 says, as plain data for `canonical_json`. Contacts are ids only (R23); the parties are named as agreed."""
    return {
        "approval": {"contact_ids": [contact.id for contact in approvers], "policy": contract.approval_policy},
        "buyer_reference": contract.buyer_reference,
        "client": _party(client, client.id),
        "contingency": _money(contract.contingency_minor, contract.currency),
        "contract_id": contract.id,
        "invoicing": {"on_approval": contract.invoicing_on_approval},
        "milestones": [_milestone(contract, row) for row in milestones],
        "number": 1,
        "payment_terms": {"days": contract.payment_days, "from": contract.payment_from},
        "price_basis": contract.price_basis,
        "purchase_order": contract.purchase_order,
        "reference": contract.reference,
        "seller": _party(seller, seller.organization_id),
        "tax": {"category": contract.tax_category, "rate_percent": Decimal(contract.tax_rate_percent)},
        "title": contract.title,
        "value": _money(contract.value_minor, contract.currency),
    }


def _milestone(contract: Contract, row: Milestone) -> dict[str, Any]:
    tax = tax_for(contract, row)
    return {
        "acceptance_criteria": list(row.acceptance_criteria),
        "amount": _money(row.amount_minor, row.currency),
        "deliverables_expected": list(row.deliverables_expected),
        "description": row.description,
        "due_on": row.due_on,
        "id": row.id,
        "position": row.position,
        "tax": {"category": tax.category, "rate_percent": tax.rate_percent},
        "title": row.title,
    }


def _party(party: Organization | Client, party_id: UUID) -> dict[str, Any]:
    return {"country": party.country, "id": party_id, "legal_name": party.legal_name, "tax_id": party.tax_id}


def _money(minor: int, currency: str) -> dict[str, str]:
    return {"amount": Money(minor, currency).decimal_string(), "currency": currency}


def _draft_facts(
    contract: Contract, rows: list[Milestone], approvers: list[Contact], seller: Organization, client: Client
) -> ContractDraft:
    return ContractDraft(
        value=Money(contract.value_minor, contract.currency),
        contingency=Money(contract.contingency_minor, contract.currency),
        milestones=[draft_of(row) for row in rows],
        tax=TaxTreatment(TaxCategory(contract.tax_category), Decimal(contract.tax_rate_percent)),
        approvers=len(approvers),
        seller=party_facts(seller),
        buyer=party_facts(client),
    )


def party_facts(party: Organization | Client) -> PartyFacts:
    """What tax documents need to know of a party."""
    return PartyFacts(
        legal_name=party.legal_name,
        line1=party.line1,
        city=party.city,
        country=party.country,
        tax_id=party.tax_id,
        registration_number=party.registration_number if isinstance(party, Organization) else "",
    )


def _check_day(agreement: AgreementInput, seller: Organization) -> None:
    # A client further east may have signed on what is tomorrow here.
    if agreement.agreed_on > clock.today(seller.time_zone) + timedelta(days=1):
        raise invalid("/agreement/agreed_on", _("the agreement cannot be signed in the future"))
