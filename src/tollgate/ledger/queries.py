"""Balances of the journal. Every balance is the sum of its postings; nothing is stored beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from tollgate.ledger.models import JournalEntry, JournalPosting
from tollgate.ledger.rules import Account
from tollgate.money.amount import Money

Balances = dict[Account, Money]
"""By account, in one currency; an account without a balance may be absent. Debit positive, credit negative."""


@dataclass(frozen=True, slots=True)
class BookedPosting:
    """One line of the journal."""

    entry_id: UUID
    event: str
    source: str
    booked_on: date
    account: Account
    amount: Money
    contract_id: UUID | None
    client_id: UUID | None
    invoice_id: UUID | None


async def balances(session: AsyncSession, organization_id: UUID, *, as_of: date | None = None) -> dict[str, Balances]:
    """The trial balance per currency, of entries booked up to `as_of`."""
    query = select(JournalPosting.currency, JournalPosting.account, func.sum(JournalPosting.amount_minor)).where(
        JournalPosting.organization_id == organization_id
    )
    if as_of is not None:
        query = query.join(
            JournalEntry, (JournalEntry.organization_id == JournalPosting.organization_id) & (JournalEntry.id == JournalPosting.entry_id)
        ).where(JournalEntry.booked_on <= as_of)
    found: dict[str, Balances] = {}
    for currency, account, minor in await session.execute(query.group_by(JournalPosting.currency, JournalPosting.account)):
        found.setdefault(currency, {})[Account(account)] = Money(int(minor), currency)
    return found


async def of_contract(session: AsyncSession, organization_id: UUID, contract_id: UUID) -> dict[str, Balances]:
    """Balances of one contract, per currency."""
    return await _of(session, organization_id, JournalPosting.contract_id, contract_id)


async def of_client(session: AsyncSession, organization_id: UUID, client_id: UUID) -> dict[str, Balances]:
    """Balances of one client, per currency: what it owes (receivable) and what we owe it (client credit)."""
    return await _of(session, organization_id, JournalPosting.client_id, client_id)


async def of_invoice(session: AsyncSession, organization_id: UUID, invoice_id: UUID) -> Balances:
    """Balances of one invoice; its receivable is what is open of it."""
    found = await _of(session, organization_id, JournalPosting.invoice_id, invoice_id)
    return next(iter(found.values()), {})


async def by_invoice(session: AsyncSession, organization_id: UUID, account: Account) -> dict[UUID, Money]:
    """One account's balance per invoice: for the receivable, every invoice's open amount."""
    return await _grouped(session, organization_id, JournalPosting.invoice_id, account)


async def by_contract(session: AsyncSession, organization_id: UUID, account: Account) -> dict[UUID, Money]:
    """One account's balance per contract: for the contract asset, what is earned and not billed."""
    return await _grouped(session, organization_id, JournalPosting.contract_id, account)


async def client_credit(session: AsyncSession, organization_id: UUID, client_id: UUID, currency: str) -> Money:
    """What we owe the client in that currency, positive."""
    held = (await of_client(session, organization_id, client_id)).get(currency, {}).get(Account.CLIENT_CREDIT)
    return -held if held is not None else Money.zero(currency)


async def _of(
    session: AsyncSession, organization_id: UUID, column: InstrumentedAttribute[UUID | None], wanted: UUID
) -> dict[str, Balances]:
    rows = await session.execute(
        select(JournalPosting.currency, JournalPosting.account, func.sum(JournalPosting.amount_minor))
        .where(JournalPosting.organization_id == organization_id, column == wanted)
        .group_by(JournalPosting.currency, JournalPosting.account)
    )
    found: dict[str, Balances] = {}
    for currency, account, minor in rows:
        found.setdefault(currency, {})[Account(account)] = Money(int(minor), currency)
    return found


async def _grouped(
    session: AsyncSession, organization_id: UUID, column: InstrumentedAttribute[UUID | None], account: Account
) -> dict[UUID, Money]:
    rows = await session.execute(
        select(column, JournalPosting.currency, func.sum(JournalPosting.amount_minor))
        .where(JournalPosting.organization_id == organization_id, JournalPosting.account == account.value, column.is_not(None))
        .group_by(column, JournalPosting.currency)
    )
    found: dict[UUID, Money] = {}
    for key, currency, minor in rows:
        if key is not None and minor:
            found[key] = Money(int(minor), currency)
    return found
