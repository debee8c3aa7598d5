"""A small believable sample, made by calling the verbs under a moved clock: nothing is written past them."""

from __future__ import annotations

from uuid import UUID

from tollgate.app import Services
from tollgate.parties.rules import NewOrganization

SELLER = NewOrganization(
    legal_name="Nordlicht Studio GmbH",
    country="AT",
    currency="EUR",
    line1="Lindengasse 12",
    postal_code="1070",
    city="Wien",
    tax_id="ATU12345675",
    registration_number="FN 412345 b",
    email="office@nordlicht.example",
    phone="+43 1 5550123",
    website="https://nordlicht.example",
    bank_name="Donaubank",
    iban="AT611904300234573201",
    bic="BKAUATWW",
)


async def fill(shared: Services, organization_id: UUID, admin_id: UUID, password: str) -> None:
    """Fill the organization."""
