"""The seller, clients and contacts on a real database."""

from __future__ import annotations

import asyncio
import struct
import zlib
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import text

from tests.factories import Org, make_client, make_organization
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.audit import service as audit
from tollgate.db.command import Command, Replayed
from tollgate.db.database import Database
from tollgate.errors import Invalid, NotFound, Stale, TollgateError
from tollgate.files.storage import LocalStorage
from tollgate.parties import queries, service
from tollgate.parties.identifiers import checked_iban, checked_tax_id, tax_id_warning
from tollgate.parties.logo import reencoded
from tollgate.parties.places import countries, default_tax_rate, default_time_zone
from tollgate.parties.rules import ClientChanges, ContactChanges, CurrencyFixed, NewOrganization, OrganizationChanges, Seller

HAFEN = ClientChanges(legal_name="Hafen & Söhne AG", country="AT")


async def seller(db: Database, organization: Org) -> Seller:
    async with db.reading(organization.id) as session:
        return await queries.organization(session, organization.id)


def pointers(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return sorted(error.pointer for error in refused.value.errors)


async def test_a_new_organization_follows_its_country(db: Database) -> None:
    made = await service.create_organization(db, NewOrganization(legal_name="Studio", country="FR", currency="EUR"))
    async with db.reading(made) as session:
        found = await queries.organization(session, made)
        events = (await session.execute(text("select name from audit_event"))).scalars().all()
    assert (found.time_zone, found.default_tax_rate_percent, found.default_tax_category) == ("Europe/Paris", Decimal(20), "S")
    assert len(found.privacy_salt) == 32
    assert list(events) == ["organization.created"]
    member = await access.create_member(db, Command.operator(made), email="a@studio.example", name="Ada", role=Role.ADMIN)
    assert member.password


async def test_every_wrong_field_of_a_new_organization_is_named(db: Database) -> None:
    with pytest.raises(Invalid) as refused:
        await service.create_organization(
            db, NewOrganization(legal_name=" ", country="XX", currency="EURO", email="no", iban="AT00", time_zone="Mars/Base")
        )
    assert pointers(refused) == ["/bank_account/iban", "/country", "/currency", "/email", "/legal_name", "/time_zone"]


async def test_the_audit_trail_names_the_fields_that_changed_and_no_values(db: Database, organization: Org) -> None:
    changes = OrganizationChanges(legal_name="Südlicht GmbH", city="Graz", country="AT")
    await service.change_organization(db, organization.command(), 1, changes)
    found = await seller(db, organization)
    assert (found.legal_name, found.address.city, found.version) == ("Südlicht GmbH", "Graz", 2)
    async with db.reading(organization.id) as session:
        content = (await session.execute(text("select content from audit_event where name = 'organization.changed'"))).scalar_one()
        assert (await audit.verify(session, organization.id)).broken_at is None
    assert '"fields":["city","legal_name"]' in content
    assert "Graz" not in content


async def test_billing_is_told_once_that_something_it_waits_for_may_be_there(db: Database, organization: Org, owner_url: str) -> None:
    client = await make_client(db, organization)
    await service.change_organization(db, organization.command(), 1, OrganizationChanges(city="Graz"))
    await service.change_client(db, organization.command(), client, 1, ClientChanges(city="Wels"))
    owner = Database(owner_url)
    async with owner.directory() as session:
        jobs = (await session.execute(text("select organization_id, kind from job"))).all()
    await owner.close()
    assert jobs == [(organization.id, "parties.changed")]


async def test_changing_nothing_makes_no_version(db: Database, organization: Org) -> None:
    await service.change_organization(
        db, organization.command(), 1, OrganizationChanges(country="AT", default_tax_rate_percent=Decimal(20))
    )
    assert (await seller(db, organization)).version == 1


async def test_of_two_who_edit_the_same_version_one_is_told(db: Database, organization: Org) -> None:
    results = await asyncio.gather(
        *(service.change_organization(db, organization.command(), 1, OrganizationChanges(city=city)) for city in ("Graz", "Linz")),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["Stale", "UUID"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"iban": "AT611904300234573202"}, "/bank_account/iban"),
        ({"bic": "X"}, "/bank_account/bic"),
        ({"invoice_number_format": "INV"}, "/number_formats/invoice"),
        ({"invoice_number_format": "{seq}{seq}"}, "/number_formats/invoice"),
        ({"invoice_number_format": "A" * 20 + "{seq}"}, "/number_formats/invoice"),
        ({"credit_note_number_format": "INV-{year}-{seq:04}"}, "/number_formats/credit_note"),
        ({"default_tax_rate_percent": Decimal(101)}, "/default_tax/rate_percent"),
        ({"default_tax_rate_percent": Decimal(0)}, "/default_tax/rate_percent"),
        ({"default_payment_days": 366}, "/default_payment_days"),
        ({"accent": "red"}, "/accent"),
        ({"locale": "xx-YY"}, "/locale"),
        ({"website": "javascript:alert(1)"}, "/website"),
        ({"legal_name": "a\x00b"}, "/legal_name"),
        ({"legal_name": "a\u202eb"}, "/legal_name"),
        ({"line1": "x" * 201}, "/address/line1"),
        ({"tax_id": "ATU1234"}, "/tax_id"),
    ],
)
async def test_what_cannot_be_used_is_refused_at_its_field(db: Database, organization: Org, changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        await service.change_organization(db, organization.command(), 1, OrganizationChanges(**changes))
    assert pointers(refused) == [pointer]
    assert (await seller(db, organization)).version == 1


async def test_the_books_currency_stays_once_something_is_booked(db: Database, organization: Org) -> None:
    await service.change_organization(db, organization.command(), 1, OrganizationChanges(currency="CHF"))
    async with db.transaction(organization.id) as session:
        await session.execute(
            text(
                "insert into journal_entry (organization_id, id, event, source, booked_on, subject_kind, subject_id, created_at)"
                " values (:id, :id, 'payment_received', 'x', '2026-11-24', 'payment', :id, now())"
            ),
            {"id": organization.id},
        )
    with pytest.raises(CurrencyFixed):
        await service.change_organization(db, organization.command(), 2, OrganizationChanges(currency="EUR"))
    await service.change_organization(db, organization.command(), 2, OrganizationChanges(currency="CHF", city="Graz"))


async def test_a_client_is_entered_changed_archived_and_brought_back(db: Database, organization: Org) -> None:
    made = await service.create_client(db, organization.command(), HAFEN)
    await service.change_client(db, organization.command(), made, 1, ClientChanges(tax_id="atu 123 45 675", city="Linz"))
    async with db.reading(organization.id) as session:
        found = await queries.client(session, organization.id, made)
    assert (found.legal_name, found.tax_id, found.address.city, found.currency, found.version) == (
        "Hafen & Söhne AG",
        "ATU12345675",
        "Linz",
        "EUR",
        2,
    )
    with pytest.raises(Stale):
        await service.change_client(db, organization.command(), made, 1, ClientChanges(city="Wels"))
    await service.archive_client(db, organization.command(), made, 2)
    async with db.reading(organization.id) as session:
        assert await queries.clients(session, organization.id) == []
        assert [one.id for one in await queries.clients(session, organization.id, archived=True)] == [made]
    await service.archive_client(db, organization.command(), made, 3, archived=False)
    async with db.reading(organization.id) as session:
        assert len(await queries.clients(session, organization.id)) == 1


async def test_a_client_without_name_and_country_is_refused_at_both(db: Database, organization: Org) -> None:
    with pytest.raises(Invalid) as refused:
        await service.create_client(db, organization.command(), ClientChanges(email="x@y.example"))
    assert pointers(refused) == ["/country", "/legal_name"]


async def test_a_repeated_command_enters_one_client(db: Database, organization: Org) -> None:
    command = organization.command(key="once", request_sha256=bytes(32))
    made = await service.create_client(db, command, HAFEN)
    with pytest.raises(Replayed) as repeat:
        await service.create_client(db, command, HAFEN)
    assert (repeat.value.resource_id, repeat.value.status) == (made, 201)


async def test_search_takes_what_was_typed_literally(db: Database, organization: Org) -> None:
    for name in ("Hafen AG", "100% Sport", "Hafner"):
        await make_client(db, organization, legal_name=name, email="")
    async with db.reading(organization.id) as session:
        assert [one.legal_name for one in await queries.clients(session, organization.id, search="haf")] == ["Hafen AG", "Hafner"]
        assert [one.legal_name for one in await queries.clients(session, organization.id, search="%")] == ["100% Sport"]
        first = await queries.clients(session, organization.id, limit=2)
        rest = await queries.clients(session, organization.id, after=(first[-1].legal_name, first[-1].id))
    assert [one.legal_name for one in [*first, *rest]] == ["100% Sport", "Hafen AG", "Hafner"]


async def test_contacts_are_added_changed_and_removed(db: Database, organization: Org) -> None:
    client = await make_client(db, organization)
    clara = await service.add_contact(
        db, organization.command(), client, ContactChanges(name="Clara", email="clara@hafen.example", is_approver=True)
    )
    bill = await service.add_contact(db, organization.command(), client, ContactChanges(name="Bill", email="bill@hafen.example"))
    async with db.reading(organization.id) as session:
        assert [one.id for one in await queries.approvers_of(session, organization.id, client)] == [clara]
        assert [one.id for one in await queries.billing_contacts_of(session, organization.id, client)] == [clara]
    await service.change_contact(db, organization.command(), client, bill, 1, ContactChanges(is_billing_contact=True))
    async with db.reading(organization.id) as session:
        assert [one.id for one in await queries.billing_contacts_of(session, organization.id, client)] == [bill]
    await service.remove_contact(db, organization.command(), client, clara, 1)
    async with db.reading(organization.id) as session:
        assert await queries.approvers_of(session, organization.id, client) == []
        assert (await queries.contact(session, organization.id, clara)).name == "Clara"
    with pytest.raises(NotFound):
        await service.change_contact(db, organization.command(), client, clara, 2, ContactChanges(name="X"))


async def test_an_address_is_one_contact_of_a_client(db: Database, organization: Org) -> None:
    client = await make_client(db, organization)
    new = ContactChanges(name="Clara", email="clara@hafen.example")
    results = await asyncio.gather(
        *(service.add_contact(db, organization.command(), client, new) for _number in range(2)), return_exceptions=True
    )
    assert [type(result).__name__ for result in results if isinstance(result, TollgateError)] == ["Invalid"]
    other = await service.add_contact(db, organization.command(), client, ContactChanges(name="Bill", email="bill@hafen.example"))
    with pytest.raises(Invalid) as refused:
        await service.change_contact(db, organization.command(), client, other, 1, ContactChanges(email="CLARA@hafen.example"))
    assert pointers(refused) == ["/email"]
    with pytest.raises(Invalid) as refused:
        await service.add_contact(db, organization.command(), client, ContactChanges(email=""))
    assert pointers(refused) == ["/email", "/name"]


async def test_another_organizations_clients_are_not_there(db: Database, organization: Org) -> None:
    other = await make_organization(db, legal_name="Other Ltd")
    client = await make_client(db, organization)
    for attempt in (
        service.change_client(db, other.command(), client, 1, ClientChanges(city="X")),
        service.archive_client(db, other.command(), client, 1),
        service.add_contact(db, other.command(), client, ContactChanges(name="A", email="a@b.example")),
        service.remove_contact(db, other.command(), client, uuid4(), 1),
    ):
        with pytest.raises(NotFound):
            await attempt


def png(size: tuple[int, int] = (40, 20)) -> bytes:
    written = BytesIO()
    secret = PngImagePlugin.PngInfo()
    secret.add_text("Comment", "<script>alert(1)</script>")
    Image.new("RGB", size, "#884422").save(written, "PNG", pnginfo=secret)
    return written.getvalue() + b"trailing payload"


def bomb() -> bytes:
    """A PNG of 60,000 by 60,000 pixels in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


async def test_a_logo_is_kept_as_pixels_only(db: Database, organization: Org, storage: LocalStorage) -> None:
    await service.change_organization(db, organization.command(), 1, OrganizationChanges(), storage=storage, logo=png((3000, 1000)))
    found = await seller(db, organization)
    assert found.logo_sha256_hex is not None
    kept = await storage.get(organization.id, found.logo_sha256_hex)
    assert b"script" not in kept
    assert b"trailing" not in kept
    with Image.open(BytesIO(kept)) as image:
        assert (image.format, image.size) == ("PNG", (900, 300))
    await service.change_organization(db, organization.command(), 2, OrganizationChanges(logo_sha256_hex=""))
    assert (await seller(db, organization)).logo_sha256_hex is None


@pytest.mark.parametrize("upload", [bomb(), b"<svg/>", b"", b"GIF89a", png()[:60], b"\x00" * 2_000_001])
async def test_no_bomb_and_no_other_file_becomes_a_logo(upload: bytes) -> None:
    with pytest.raises(TollgateError) as refused:
        await reencoded(upload)
    assert refused.value.slug in {"invalid", "too-large"}


@pytest.mark.parametrize(
    ("typed", "country", "kept", "warned"),
    [
        ("de 136 695 976", "DE", "DE136695976", False),
        ("DE123456789", "DE", "DE123456789", True),
        ("12/345/67890", "DE", "12/345/67890", False),
        ("EL094259216", "GR", "EL094259216", False),
        ("CHE-123.456.788 MWST", "CH", "CHE-123.456.788 MWST", False),
        ("MTNFNC85A01H501Z", "IT", "MTNFNC85A01H501Z", False),
        ("", "AT", "", False),
    ],
)
def test_a_tax_number_is_kept_as_its_country_writes_it(typed: str, country: str, kept: str, warned: bool) -> None:
    assert checked_tax_id(typed, country) == kept
    assert (tax_id_warning(kept, country) is not None) is warned


@pytest.mark.parametrize(("typed", "country"), [("DE12", "DE"), ("ATU1234567", "AT"), ("no digits", "US"), ("9" * 41, "US")])
def test_a_clearly_malformed_tax_number_is_refused(typed: str, country: str) -> None:
    with pytest.raises(Invalid):
        checked_tax_id(typed, country)


def test_an_iban_is_kept_without_spaces() -> None:
    assert checked_iban("at61 1904 3002 3457 3201") == "AT611904300234573201"


@pytest.mark.parametrize(
    ("country", "rate", "zone"),
    [("DE", "19", "Europe/Berlin"), ("AT", "20", "Europe/Vienna"), ("NL", "21", "Europe/Amsterdam"), ("US", "0", "America/New_York")],
)
def test_a_country_brings_its_rate_and_zone(country: str, rate: str, zone: str) -> None:
    assert (default_tax_rate(country), default_time_zone(country)) == (Decimal(rate), zone)


def test_every_country_has_a_name_and_a_zone_that_exists() -> None:
    from zoneinfo import ZoneInfo

    codes = [code for code, _name in countries()]
    assert len(codes) == len(set(codes)) == 250
    assert {"AT", "US", "XK"} <= set(codes)
    assert not {"EU", "ZZ", "UN"} & set(codes)
    for code in codes:
        ZoneInfo(default_time_zone(code))
