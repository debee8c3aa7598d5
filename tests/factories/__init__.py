"""Makes the rows that a test needs but is not about. The rest is made by the verbs themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tollgate import clock
from tollgate.access.models import Member
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.parties.models import Client, Contact, Organization


@dataclass(frozen=True, slots=True)
class Org:
    """An organization and its people, as commands."""

    id: UUID
    admin_id: UUID
    manager_id: UUID
    finance_id: UUID

    def command(self, role: str = "admin", *, key: str | None = None, verb: str = "test", request_sha256: bytes = b"") -> Command:
        """A command of the member with that role."""
        member = {"admin": self.admin_id, "finance": self.finance_id, "account_manager": self.manager_id}[role]
        return Command(self.id, ActorKind.MEMBER, member, role, verb, key, request_sha256)


async def make_organization(db: Database, **changes: Any) -> Org:
    """A complete seller in Vienna, books in EUR, 20 % VAT, with an admin, an account manager and somebody in finance."""
    organization = Org(uuid7(), uuid7(), uuid7(), uuid7())
    values: dict[str, Any] = {
        "legal_name": "Nordlicht Studio GmbH",
        "country": "AT",
        "line1": "Lindengasse 12",
        "postal_code": "1070",
        "city": "Wien",
        "tax_id": "ATU12345675",
        "email": "office@nordlicht.example",
        "iban": "AT611904300234573201",
        "bic": "BKAUATWW",
        "bank_name": "Testbank",
        "currency": "EUR",
        "time_zone": "Europe/Vienna",
        "default_tax_rate_percent": 20,
        **changes,
    }
    async with db.transaction(organization.id) as session:
        session.add(Organization(organization_id=organization.id, privacy_salt=os.urandom(32), created_at=clock.now(), **values))
        people = (
            ("Ada Admin", "admin", organization.admin_id),
            ("Max Manager", "account_manager", organization.manager_id),
            ("Fin Ance", "finance", organization.finance_id),
        )
        for name, role, member_id in people:
            session.add(
                Member(
                    organization_id=organization.id,
                    id=member_id,
                    identity_id=uuid7(),
                    name=name,
                    email=f"{role}@nordlicht.example",
                    role=role,
                    created_at=clock.now(),
                )
            )
    return organization


async def make_client(db: Database, organization: Org, **changes: Any) -> UUID:
    """A client with an address."""
    values: dict[str, Any] = {
        "legal_name": "Hafen & Söhne AG",
        "country": "AT",
        "line1": "Hauptplatz 1",
        "postal_code": "4020",
        "city": "Linz",
        "tax_id": "ATU87654324",
        "email": "office@hafen.example",
        "currency": "EUR",
        **changes,
    }
    client_id = uuid7()
    async with db.transaction(organization.id) as session:
        session.add(Client(organization_id=organization.id, id=client_id, created_at=clock.now(), **values))
    return client_id


async def make_contact(db: Database, organization: Org, client_id: UUID, **changes: Any) -> UUID:
    """A contact who approves and gets the invoices."""
    contact_id = uuid7()
    values: dict[str, Any] = {
        "name": "Clara Klient",
        "email": f"{contact_id.hex[-10:]}@hafen.example",
        "is_approver": True,
        "is_billing_contact": True,
        **changes,
    }
    async with db.transaction(organization.id) as session:
        session.add(Contact(organization_id=organization.id, id=contact_id, client_id=client_id, created_at=clock.now(), **values))
    return contact_id
