"""The journal: balanced, append-only, booked once, and its balances are sums of postings."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.factories import Org
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.ledger import queries, rules
from tollgate.ledger.rules import Account, Posting
from tollgate.ledger.service import AlreadyBooked, Side, post
from tollgate.money.amount import Money

DAY = date(2026, 11, 24)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


async def book(db: Database, org: Org, source: str, postings: tuple[Posting | Side, ...], **about: UUID | None) -> UUID | None:
    async with db.transaction(org.id) as session:
        return await post(
            session,
            organization_id=org.id,
            event="test",
            source=source,
            booked_on=DAY,
            subject=("invoice", uuid7()),
            postings=postings,
            **about,
        )


async def test_balances_are_the_sums_of_postings_by_every_dimension(db: Database, organization: Org) -> None:
    contract, client, first, second = uuid7(), uuid7(), uuid7(), uuid7()
    about = {"contract_id": contract, "client_id": client}
    amounts = rules.DocumentAmounts(net=eur(10000), tax=eur(2000), rounding=eur(0), retained=eur(0), payable=eur(12000))
    for invoice in (first, second):
        await book(db, organization, f"issued:{invoice}", rules.issued(amounts), **about, invoice_id=invoice)
    # One payment settles the first and a part of the second; the rest is credit of the client.
    sides = (
        Posting(Account.BANK, eur(15500)),
        Side(Posting(Account.RECEIVABLE, eur(-12000)), first, contract),
        Side(Posting(Account.RECEIVABLE, eur(-3000)), second, contract),
        Posting(Account.CLIENT_CREDIT, eur(-500)),
    )
    await book(db, organization, "payment:1", sides, client_id=client)
    async with db.reading(organization.id) as session:
        assert (await queries.balances(session, organization.id))["EUR"] == {
            Account.BANK: eur(15500),
            Account.RECEIVABLE: eur(9000),
            Account.CLIENT_CREDIT: eur(-500),
            Account.CONTRACT_ASSET: eur(-20000),
            Account.TAX_PAYABLE: eur(-4000),
        }
        assert await queries.by_invoice(session, organization.id, Account.RECEIVABLE) == {second: eur(9000)}
        assert (await queries.of_invoice(session, organization.id, second))[Account.RECEIVABLE] == eur(9000)
        assert (await queries.of_contract(session, organization.id, contract))["EUR"][Account.RECEIVABLE] == eur(9000)
        assert (await queries.of_client(session, organization.id, client))["EUR"][Account.RECEIVABLE] == eur(9000)
        assert await queries.client_credit(session, organization.id, client, "EUR") == eur(500)
        assert (await queries.balances(session, organization.id, as_of=date(2026, 11, 23))) == {}


async def test_one_source_is_booked_once(db: Database, organization: Org) -> None:
    await book(db, organization, "once", rules.approved(eur(100)))
    with pytest.raises(AlreadyBooked):
        await book(db, organization, "once", rules.approved(eur(100)))
    async with db.reading(organization.id) as session:
        assert (await queries.balances(session, organization.id))["EUR"][Account.REVENUE] == eur(-100)


async def test_an_entry_of_nothing_is_not_booked(db: Database, organization: Org) -> None:
    assert await book(db, organization, "zero", rules.approved(eur(0))) is None


async def test_the_database_refuses_an_entry_that_does_not_balance(db: Database, organization: Org) -> None:
    with pytest.raises(DBAPIError, match="does not balance"):
        await book(db, organization, "skewed", (Posting(Account.BANK, eur(100)), Posting(Account.RECEIVABLE, eur(-99))))
    async with db.reading(organization.id) as session:
        assert (await session.execute(text("select count(*) from journal_entry"))).scalar_one() == 0


async def test_the_database_refuses_a_side_that_comes_later(db: Database, organization: Org) -> None:
    entry_id = await book(db, organization, "first", rules.approved(eur(100)))
    with pytest.raises(DBAPIError, match="does not balance"):
        async with db.transaction(organization.id) as session:
            await session.execute(
                text(
                    "insert into journal_posting (organization_id, entry_id, position, account, amount_minor, currency, book_amount_minor, book_currency)"
                    " select organization_id, entry_id, position + 10, account, amount_minor, currency, book_amount_minor, book_currency"
                    " from journal_posting where entry_id = :entry"
                ),
                {"entry": entry_id},
            )


@pytest.mark.parametrize("statement", ["update journal_posting set amount_minor = 1", "delete from journal_entry"])
async def test_nothing_in_the_journal_can_be_changed(db: Database, organization: Org, statement: str) -> None:
    await book(db, organization, "kept", rules.approved(eur(100)))
    with pytest.raises(DBAPIError, match=r"permission denied|immutable"):
        async with db.transaction(organization.id) as session:
            await session.execute(text(statement))
