"""The verbs on the seller, its clients and their contacts."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.audit import service as audit
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Stale, _, invalid
from tollgate.files import service as files
from tollgate.files.storage import Storage
from tollgate.jobs.service import enqueue
from tollgate.parties import places, queries, rules
from tollgate.parties.logo import reencoded
from tollgate.parties.models import Client, Contact, Organization
from tollgate.parties.news import PartyChanged
from tollgate.parties.rules import ClientChanges, ContactChanges, NewOrganization, OrganizationChanges


async def create_organization(db: Database, new: NewOrganization, *, organization_id: UUID | None = None) -> UUID:
    """Begin an organization, with the time zone and standard tax rate of its country unless told otherwise.

    Raises `Invalid` with every wrong field. It has no members yet: `access.service.create_member` with `Command.operator`.
    """
    values = rules.checked(rules.given(new), country=new.country)
    rate = new.default_tax_rate_percent if new.default_tax_rate_percent is not None else places.default_tax_rate(new.country)
    made = Organization(
        **{
            **values,
            "organization_id": organization_id or uuid7(),
            "time_zone": new.time_zone or places.default_time_zone(new.country),
            "default_tax_rate_percent": rate,
            "default_tax_category": "S" if rate else "Z",
            # Salts the hashes of personal data; destroying it makes them meaningless (R23).
            "privacy_salt": os.urandom(32),
            "created_at": clock.now(),
        }
    )
    async with db.transaction(made.organization_id, Command.operator(made.organization_id)) as session:
        session.add(made)
        await session.flush()
        audit.record(session, "organization.created", ("organization", made.organization_id), country=made.country, currency=made.currency)
    return made.organization_id


async def change_organization(
    db: Database, command: Command, version: int, changes: OrganizationChanges, *, storage: Storage | None = None, logo: bytes | None = None
) -> UUID:
    """Change the seller's data; issued documents keep what they were issued with (R12).

    `logo` is an uploaded PNG or JPEG, kept re-encoded in `storage`. Raises `Stale`, `CurrencyFixed`, `Invalid` with every wrong field.
    """
    image = await reencoded(logo) if logo is not None else None
    given = rules.given(changes)
    if image is not None and storage is not None:
        given["logo_sha256_hex"] = await storage.put(command.organization_id, image)
    async with db.transaction(command.organization_id, command) as session:
        row = await queries.organization_row(session, command.organization_id, lock=True)
        _check_version(row.version, version)
        values = rules.checked(given, country=given.get("country", row.country))
        if "logo_sha256_hex" in values:
            values["logo_sha256_hex"] = values["logo_sha256_hex"] or None
        if image is not None and values.get("logo_sha256_hex"):
            await files.keep(session, command.organization_id, values["logo_sha256_hex"], len(image), "image/png")
        if values.get("currency", row.currency) != row.currency and await queries.has_books(session, command.organization_id):
            raise rules.CurrencyFixed
        changed = _apply(row, values)
        _check_together(row, changed)
        if changed:
            audit.record(session, "organization.changed", ("organization", row.organization_id), fields=changed)
            await _tell(session, command.organization_id)
        return answer(session, row.organization_id, 200)


_TOGETHER = ("invoice_number_format", "credit_note_number_format", "default_tax_category", "default_tax_rate_percent")


def _check_together(row: Organization, changed: list[str]) -> None:
    if set(changed) & set(_TOGETHER):
        rules.check_together({name: getattr(row, name) for name in _TOGETHER})


async def create_client(db: Database, command: Command, new: ClientChanges) -> UUID:
    """Enter a client; language and currency are the organization's unless given. Raises `Invalid` with every wrong field."""
    async with db.transaction(command.organization_id, command) as session:
        return answer(session, await create_client_in(session, command.organization_id, new), 201)


async def create_client_in(session: AsyncSession, organization_id: UUID, new: ClientChanges) -> UUID:
    """`create_client` inside a verb that does more, such as a contract for a client who is new."""
    seller = await queries.organization(session, organization_id)
    given = {"legal_name": "", "country": "", "locale": seller.locale, "currency": seller.currency, **rules.given(new)}
    values = rules.checked(given, country=given["country"])
    made = Client(organization_id=organization_id, id=uuid7(), created_at=clock.now(), **values)
    session.add(made)
    await session.flush()
    audit.record(session, "client.created", ("client", made.id), country=made.country)
    return made.id


async def change_client(db: Database, command: Command, client_id: UUID, version: int, changes: ClientChanges) -> UUID:
    """Change a client's data. Raises `Stale`, `NotFound`, `Invalid` with every wrong field."""
    given = rules.given(changes)
    async with db.transaction(command.organization_id, command) as session:
        row = await queries.client_row(session, command.organization_id, client_id, lock=True)
        _check_version(row.version, version)
        changed = _apply(row, rules.checked(given, country=given.get("country", row.country)))
        if changed:
            audit.record(session, "client.changed", ("client", client_id), fields=changed)
            await _tell(session, command.organization_id)
        return answer(session, client_id, 200)


async def archive_client(db: Database, command: Command, client_id: UUID, version: int, *, archived: bool = True) -> UUID:
    """Take a client out of the lists, or bring it back. Its contracts and invoices stay as they are."""
    async with db.transaction(command.organization_id, command) as session:
        row = await queries.client_row(session, command.organization_id, client_id, lock=True)
        _check_version(row.version, version)
        if archived != (row.archived_at is not None):
            row.archived_at = clock.now() if archived else None
            row.version += 1
            audit.record(session, "client.archived" if archived else "client.restored", ("client", client_id))
        return answer(session, client_id, 200)


async def add_contact(db: Database, command: Command, client_id: UUID, new: ContactChanges) -> UUID:
    """Add a person at the client. Raises `Invalid` at /email when there is one with this address already."""
    async with db.transaction(command.organization_id, command) as session:
        return answer(session, await add_contact_in(session, command.organization_id, client_id, new), 201)


async def add_contact_in(session: AsyncSession, organization_id: UUID, client_id: UUID, new: ContactChanges) -> UUID:
    """`add_contact` inside a verb that does more."""
    client = await queries.client_row(session, organization_id, client_id, lock=True)
    given = {"name": "", "email": "", "locale": client.locale, **rules.given(new)}
    values = rules.checked(given, country=client.country, contact=True)
    made = Contact(organization_id=organization_id, id=uuid7(), client_id=client_id, created_at=clock.now(), **values)
    session.add(made)
    await _flush_contact(session)
    audit.record(
        session,
        "contact.added",
        ("contact", made.id),
        client_id=client_id,
        is_approver=bool(made.is_approver),
        is_billing_contact=bool(made.is_billing_contact),
    )
    return made.id


async def change_contact(db: Database, command: Command, client_id: UUID, contact_id: UUID, version: int, changes: ContactChanges) -> UUID:
    """Change a contact. Raises `Stale`, `NotFound`, `Invalid`."""
    async with db.transaction(command.organization_id, command) as session:
        row = await queries.contact_row(session, command.organization_id, client_id, contact_id, lock=True)
        _check_version(row.version, version)
        changed = _apply(row, rules.checked(rules.given(changes), country="", contact=True))
        await _flush_contact(session)
        if changed:
            audit.record(session, "contact.changed", ("contact", contact_id), fields=changed)
        return answer(session, contact_id, 200)


async def remove_contact(db: Database, command: Command, client_id: UUID, contact_id: UUID, version: int) -> UUID:
    """Take a person out: no more mails. What they decided stays with their name."""
    async with db.transaction(command.organization_id, command) as session:
        row = await queries.contact_row(session, command.organization_id, client_id, contact_id, lock=True)
        _check_version(row.version, version)
        row.removed_at = clock.now()
        row.version += 1
        audit.record(session, "contact.removed", ("contact", contact_id))
        return answer(session, contact_id, 204)


async def _flush_contact(session: AsyncSession) -> None:
    try:
        await session.flush()
    except IntegrityError as error:
        # Only the index knows for certain: two requests may add the same person at once.
        if "uq_contact_email" not in str(error.orig):
            raise
        raise invalid("/email", _("This client has a contact with this e-mail address already")) from None


def _apply(row: Any, values: dict[str, Any]) -> list[str]:
    """Set what differs; the names of what did. The version counts real changes only."""
    changed = sorted(name for name, value in values.items() if _differs(getattr(row, name), value))
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.version += 1
    return changed


def _differs(before: Any, after: Any) -> bool:
    return Decimal(before) != after if isinstance(after, Decimal) else bool(before != after)


async def _tell(session: AsyncSession, organization_id: UUID) -> None:
    """What an invoice was blocked for may be there now (R18). One job that still waits serves for several changes."""
    await enqueue(session, PartyChanged(organization_id=organization_id), dedupe=str(organization_id))


def _check_version(actual: int, asked: int) -> None:
    if actual != asked:
        raise Stale(version=actual)
