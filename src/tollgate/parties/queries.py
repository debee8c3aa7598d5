"""Reading the seller, clients and contacts; other rooms get frozen views, never rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.errors import NotFound, _
from tollgate.ledger.models import JournalEntry
from tollgate.parties.models import Client, Contact, Organization
from tollgate.parties.rules import Address, ClientView, ContactView, Seller


def _address(row: Any) -> Address:
    return Address(line1=row.line1, line2=row.line2, postal_code=row.postal_code, city=row.city, region=row.region)


def seller_of(row: Organization) -> Seller:
    """The view of a row."""
    return Seller(
        id=row.organization_id,
        address=_address(row),
        **{name: getattr(row, name) for name in Seller.__dataclass_fields__ if name not in {"id", "address"}},
    )


def client_of(row: Client) -> ClientView:
    """The view of a row."""
    return ClientView(address=_address(row), **{name: getattr(row, name) for name in ClientView.__dataclass_fields__ if name != "address"})


def contact_of(row: Contact) -> ContactView:
    """The view of a row."""
    return ContactView(**{name: getattr(row, name) for name in ContactView.__dataclass_fields__})


async def organization_row(session: AsyncSession, organization_id: UUID, *, lock: bool = False) -> Organization:
    """The organization's row. Raises `NotFound`."""
    wanted = select(Organization).where(Organization.organization_id == organization_id)
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(_("There is no such organization"))
    return found


async def organization(session: AsyncSession, organization_id: UUID) -> Seller:
    """The seller. Raises `NotFound`."""
    return seller_of(await organization_row(session, organization_id))


async def has_books(session: AsyncSession, organization_id: UUID) -> bool:
    """Whether anything was booked yet: from then on the books' currency stays."""
    return bool((await session.execute(select(exists().where(JournalEntry.organization_id == organization_id)))).scalar_one())


async def client_row(session: AsyncSession, organization_id: UUID, client_id: UUID, *, lock: bool = False) -> Client:
    """A client's row. Raises `NotFound`."""
    wanted = select(Client).where(Client.organization_id == organization_id, Client.id == client_id)
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(_("There is no such client"))
    return found


async def client(session: AsyncSession, organization_id: UUID, client_id: UUID) -> ClientView:
    """One client, archived ones too. Raises `NotFound`."""
    return client_of(await client_row(session, organization_id, client_id))


async def clients(
    session: AsyncSession,
    organization_id: UUID,
    *,
    search: str = "",
    archived: bool | None = False,
    limit: int = 50,
    after: tuple[str, UUID] | None = None,
) -> list[ClientView]:
    """Clients by name. `search` is part of the name or e-mail, in any case; `archived` None gives both kinds."""
    wanted = select(Client).where(Client.organization_id == organization_id)
    if archived is not None:
        wanted = wanted.where(Client.archived_at.is_not(None) if archived else Client.archived_at.is_(None))
    if search:
        wanted = wanted.where(Client.legal_name.icontains(search, autoescape=True) | Client.email.icontains(search, autoescape=True))
    if after is not None:
        wanted = wanted.where(tuple_(Client.legal_name, Client.id) > after)
    rows = await session.execute(wanted.order_by(Client.legal_name, Client.id).limit(limit))
    return [client_of(row) for row in rows.scalars()]


async def client_names(session: AsyncSession, organization_id: UUID, client_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Names by id, for lists of other rooms."""
    rows = await session.execute(
        select(Client.id, Client.legal_name).where(Client.organization_id == organization_id, Client.id.in_(client_ids))
    )
    return {row.id: row.legal_name for row in rows}


async def contact_row(session: AsyncSession, organization_id: UUID, client_id: UUID, contact_id: UUID, *, lock: bool = False) -> Contact:
    """A contact's row, unless it was removed. Raises `NotFound`."""
    wanted = select(Contact).where(
        Contact.organization_id == organization_id, Contact.client_id == client_id, Contact.id == contact_id, Contact.removed_at.is_(None)
    )
    found = (await session.execute(wanted.with_for_update() if lock else wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(_("There is no such contact"))
    return found


async def contact(session: AsyncSession, organization_id: UUID, contact_id: UUID) -> ContactView:
    """One contact, removed ones too: a decision keeps the name of who made it. Raises `NotFound`."""
    wanted = select(Contact).where(Contact.organization_id == organization_id, Contact.id == contact_id)
    found = (await session.execute(wanted)).scalar_one_or_none()
    if found is None:
        raise NotFound(_("There is no such contact"))
    return contact_of(found)


async def contacts_of(session: AsyncSession, organization_id: UUID, client_id: UUID) -> list[ContactView]:
    """A client's contacts, oldest first, without those who were removed."""
    wanted = (
        select(Contact)
        .where(Contact.organization_id == organization_id, Contact.client_id == client_id, Contact.removed_at.is_(None))
        .order_by(Contact.created_at, Contact.id)
    )
    return [contact_of(row) for row in (await session.execute(wanted)).scalars()]


async def approvers_of(session: AsyncSession, organization_id: UUID, client_id: UUID) -> list[ContactView]:
    """The contacts who may sign, oldest first."""
    return [one for one in await contacts_of(session, organization_id, client_id) if one.is_approver]


async def billing_contacts_of(session: AsyncSession, organization_id: UUID, client_id: UUID) -> list[ContactView]:
    """The contacts who get invoices, oldest first; where nobody is named, the approvers do."""
    found = await contacts_of(session, organization_id, client_id)
    return [one for one in found if one.is_billing_contact] or [one for one in found if one.is_approver]
