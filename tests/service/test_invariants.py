"""Each invariant is broken on purpose, once per way, in a filled database; the check that watches it must say so.

The damage is done as the superuser with triggers off, in a transaction that is rolled back: the application's role
could not do most of it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from tests.conftest import TEMPLATE
from tests.factories.filled import fill
from tests.factories.shop import make_shop, services_on
from tollgate.db import embedded
from tollgate.db.database import Database
from tollgate.reports import invariants
from tollgate.settings import Settings

NAME = "filled_for_invariants"
SHORT = {
    "<line>": "[invoice_line: invoice_id in (select id from invoice where state in ('issued', 'paid'))]",
    "<allocated>": "[payment_allocation: amount_minor > 0]",
    "<taxed>": "(select t.invoice_id from invoice_tax t join invoice i on i.id = t.invoice_id"
    " where i.state = 'partly_paid' and t.rate_percent > 0 order by 1 limit 1)",
}


def sql(damage: str) -> str:
    """The statement: `[table: condition]` is the id of one such row."""
    for name, meaning in SHORT.items():
        damage = damage.replace(name, meaning)
    return re.sub(
        r"\[(\w+)(?:: ([^\]]*))?\]", lambda found: f"(select id from {found[1]} where {found[2] or 'true'} order by id limit 1)", damage
    )


DAMAGE: tuple[tuple[str, str], ...] = (
    ("milestones_sum", "update milestone set amount_minor = amount_minor + 1 where id = [milestone: state = 'planned' and round_id is null and contract_id in (select id from contract where state = 'active')]"),
    ("milestones_sum", "update contract set contingency_minor = contingency_minor + 1 where state = 'active'"),
    ("milestones_sum", "update contract set value_minor = value_minor + 1 where state = 'completed'"),
    ("contract_version", "update contract_version set content = content || ' ' where id = [contract_version]"),
    ("contract_version", "delete from contract_version where id = [contract_version]"),
    ("contract_state", "update contract set state = 'active', completed_at = null where state = 'completed'"),
    ("contract_state", "update contract set state = 'completed', completed_at = now() where id = [contract: state = 'active']"),
    ("round_content", "update review_round set content = content || ' ' where id = [review_round]"),
    ("round_content", "update review_round set amount_minor = amount_minor + 1 where id = [review_round: state = 'open']"),
    ("round_signed", "delete from sign_off where id = [sign_off: decision = 'approve']"),
    ("round_signed", "update sign_off set content_sha256 = sha256('x') where id = [sign_off]"),
    ("round_signed", "update review_round set state = 'approved' where id = [review_round: state = 'withdrawn']"),
    ("round_signed", "update review_round set state = 'withdrawn' where state = 'reopened'"),
    ("approved_milestone", "update review_round set state = 'withdrawn', closed_at = now() where state = 'open'"),
    ("approved_milestone", "update review_round set state = 'reopened' where id in (select round_id from milestone where state = 'paid')"),
    ("approved_milestone", "update milestone set state = 'changes_requested' where state = 'delivered'"),
    ("invoice_lines", "update invoice_line set net_minor = net_minor + 1 where id = <line>"),
    ("invoice_lines", "update invoice_tax set tax_minor = tax_minor + 1 where invoice_id = <taxed>"),
    ("invoice_lines", "with i as (update invoice set tax_minor = tax_minor + 1, gross_minor = gross_minor + 1, amount_due_minor = amount_due_minor + 1, payable_minor = payable_minor + 1 where id = <taxed> returning id) update invoice_tax set tax_minor = tax_minor + 1 where invoice_id in (select id from i)"),
    ("invoice_lines", "update invoice set net_minor = net_minor - 1, tax_minor = tax_minor + 1 where id = <taxed>"),
    ("credit_lines", "update credit_note_line set net_minor = net_minor + 1 where id = [credit_note_line]"),
    ("credit_lines", "update credit_note_tax set tax_minor = tax_minor + 1"),
    ("credit_lines", "with c as (update credit_note set tax_minor = tax_minor + 1, gross_minor = gross_minor + 1, payable_minor = payable_minor + 1, from_open_minor = from_open_minor + 1 returning 1) update credit_note_tax set tax_minor = tax_minor + 1"),
    ("billed_once", "update invoice_line set round_sha256 = sha256('x') where id = [invoice_line]"),
    ("billed_once", "update review_round set amount_minor = amount_minor + 1 where id = (select round_id from invoice_line where id = <line>)"),
    ("billed_once", "update invoice_line set live = false where invoice_id in (select id from invoice where state = 'paid')"),
    ("billed_once", "update milestone set state = 'approved' where state = 'invoiced'"),
    ("live_lines", "update invoice_line set live = true where invoice_id in (select id from invoice where state = 'void')"),
    ("live_lines", "update invoice_line set live = false where id = <line>"),
    ("numbers", "update invoice set series_seq = series_seq + 100 where series_seq = (select max(series_seq) from invoice)"),
    ("numbers", "update invoice set issued_on = issued_on - 1 where series_seq = 3"),
    ("numbers", "update number_series set last_seq = last_seq + 1"),
    ("numbers", "update number_series set last_issued_on = last_issued_on + 1"),
    ("invoice_state", "update invoice set state = 'issued' where state = 'paid'"),
    ("invoice_state", "update invoice set state = 'issued' where state = 'partly_paid'"),
    ("milestone_paid", "update milestone set state = 'paid' where state = 'invoiced'"),
    ("milestone_paid", "update milestone set state = 'invoiced' where id = [milestone: state = 'paid']"),
    ("entries_balance", "update journal_posting set amount_minor = amount_minor + 1 where (entry_id, position) = (select entry_id, position from journal_posting order by 1, 2 limit 1)"),
    ("entries_balance", "update journal_posting set book_amount_minor = book_amount_minor + 1 where (entry_id, position) = (select entry_id, position from journal_posting order by 1, 2 limit 1)"),
    ("entries_balance", "delete from journal_posting where entry_id = (select min(entry_id::text)::uuid from journal_posting)"),
    ("receivable", "update invoice set paid_minor = paid_minor - 1 where state = 'partly_paid'"),
    ("receivable", "update journal_posting set invoice_id = null where account = 'receivable'"),
    ("receivable", "update journal_posting set amount_minor = amount_minor * 2, book_amount_minor = book_amount_minor * 2 where account in ('receivable', 'bank')"),
    ("contract_asset", "update journal_posting set account = 'revenue' where account = 'contract_asset'"),
    ("contract_asset", "delete from journal_posting where entry_id = (select id from journal_entry where event = 'milestone_approved' order by id limit 1)"),
    ("tax_payable", "update journal_posting set account = 'revenue' where account = 'tax_payable'"),
    ("tax_payable", "update invoice set tax_minor = tax_minor + 1, net_minor = net_minor - 1 where state = 'partly_paid'"),
    ("paid", "delete from payment_allocation where id = <allocated>"),
    ("paid", "update invoice set paid_minor = paid_minor + 1 where state = 'partly_paid'"),
    ("payments", "update payment set amount_minor = 1 where id = (select payment_id from payment_allocation where id = <allocated>)"),
    ("payments", "update payment_allocation set amount_minor = -amount_minor where id = <allocated>"),
    ("bank", "update journal_posting set account = 'revenue' where account = 'bank'"),
    ("bank", "update payment set amount_minor = amount_minor + 1 where id = [payment]"),
    ("client_credit", "update journal_posting set account = 'revenue' where account = 'client_credit'"),
    ("client_credit", "update credit_note set from_paid_minor = from_paid_minor - 1, from_open_minor = from_open_minor + 1 where from_paid_minor > 0"),
    ("sent_back", "update payment_refund set state = 'failed'"),
    ("sent_back", "update payment_refund set amount_minor = amount_minor - 1"),
    ("sent_back", "delete from payment_dispute where state = 'lost'"),
    ("sent_back", "update payment_dispute set state = 'lost', closed_on = opened_on where state = 'open'"),
    ("sent_back", "update payment set refunded_minor = refunded_minor + 1 where id = [payment: refunded_minor = 0]"),
    ("sent_back", "update payment set invoice_id = null where id = [payment: invoice_id is not null]"),
    ("sent_back", "update payment set invoice_id = [invoice] where id = [payment: invoice_id is null]"),
    ("sent_back", "update payment_refund set currency = 'USD'"),
    ("sent_back", "update payment_dispute set currency = 'USD' where state = 'lost'"),
    ("own_invoice_first", "update payment set amount_minor = amount_minor + 1 where provider_payment_id = 'pi_refunded'"),
    ("own_invoice_first", "update payment set invoice_id = [invoice: state = 'paid'] where provider_payment_id = 'pi_refunded'"),
    ("signals", "update invoice set disputed_on = null, dispute_reason = null where disputed_on is not null"),
    ("signals", "update invoice set disputed_on = issued_on, dispute_reason = 'general' where id = [invoice: state = 'paid' and disputed_on is null]"),
    ("signals", "update invoice set pending_minor = 0"),
    ("signals", "update invoice set declined_at = null, decline_code = null"),
    ("signals", "update payment_attempt set state = 'failed' where state = 'processing'"),
    ("signals", "delete from payment_dispute where state = 'open'"),
    ("payments", "update payment set refunded_minor = amount_minor where provider_payment_id = 'pi_refunded'"),
    ("bank", "update payment set refunded_minor = refunded_minor - 1 where provider_payment_id = 'pi_refunded'"),
    ("client_credit", "update payment set refunded_minor = refunded_minor - 1 where provider_payment_id = 'pi_lost'"),
    ("one_currency", "update milestone set currency = 'USD' where id = [milestone: round_id is null]"),
    ("one_currency", "update invoice set currency = 'USD' where id = [invoice]"),
    ("one_currency", "update payment set currency = 'USD'"),
    ("one_currency", "update journal_posting set currency = 'USD' where account = 'receivable'"),
    ("documents", "update document set content = content || ' ' where id = [document: kind = 'invoice']"),
    ("documents", "delete from document where id = [document: kind = 'invoice']"),
    ("documents", "delete from document where id = [document: kind = 'credit_note']"),
    ("documents", "delete from document where subject_id in (select round_id from milestone where state = 'paid')"),
    ("stored_files", "delete from stored_file where sha256_hex = (select pdf_sha256_hex from document where kind = 'invoice' order by id limit 1)"),
    ("stored_files", "delete from stored_file where sha256_hex in (select document_sha256_hex from sign_off)"),
    ("idempotency", "update idempotency_key set resource_id = null"),
    ("idempotency", "update idempotency_key set status = null"),
    ("all_billed", "update contract set invoicing_on_approval = 'issue'"),
    ("all_billed", "update milestone set billing_held = false where state = 'approved'"),
    ("all_rendered", "update document set pdf_sha256_hex = null, pdf_size = null, rendered_at = null where id = [document]"),
    ("audit_chain", "update audit_event set content = replace(content, 'milestone', 'milestones') where seq = (select min(seq) from audit_event where content like '%milestone%')"),
    ("audit_chain", "update audit_event set hash = sha256('x') where seq = 4"),
    ("audit_chain", "update audit_event set happened_at = happened_at + interval '1 microsecond' where seq = 4"),
    ("audit_chain", "update audit_event set name = 'milestone.paid' where seq = 2"),
    ("audit_chain", "update audit_event set subject_id = gen_random_uuid() where seq = 2"),
    ("audit_chain", "update audit_event set contract_id = gen_random_uuid() where seq = 2"),
    ("audit_chain", "delete from audit_event where seq = 5"),
    ("audit_chain", "delete from audit_event where seq = (select max(seq) from audit_event)"),
    ("audit_chain", "delete from audit_event"),
    ("audit_chain", "update audit_head set seq = seq + 1"),
    ("audit_chain", "update audit_event a set content = b.content, hash = b.hash, name = b.name from audit_event b where a.seq = 3 and b.seq = 4"),
)  # fmt: skip
"""A check's name, and one way to break what it watches."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled database, looked at by the superuser."""

    engine: AsyncEngine
    organization_id: UUID


@pytest.fixture(scope="module")
async def filled(cluster: embedded.EmbeddedServer) -> AsyncIterator[Filled]:
    embedded.run_sql(cluster, f"create database {NAME} template {TEMPLATE} owner tollgate_owner", "postgres")
    url = cluster.url("tollgate_app", NAME)
    with tempfile.TemporaryDirectory() as folder, structlog.testing.capture_logs():
        settings = Settings(data=Path(folder), database_url=url, secret_key="test-secret-key-of-32-characters!")
        database = Database(url)
        shop = await make_shop(services_on(settings, database))
        await fill(shop)
        await database.close()
    engine = create_async_engine(cluster.url("postgres", NAME))
    yield Filled(engine, shop.org.id)
    await engine.dispose()
    embedded.run_sql(cluster, f"drop database {NAME} with (force)", "postgres")


async def findings(filled: Filled, damage: str | None = None) -> dict[str, invariants.Finding]:
    """What the checks find as the application's role, after the damage; nothing of it is kept."""
    async with AsyncSession(filled.engine) as session:
        if damage is not None:
            await session.execute(text("set local session_replication_role = replica"))
            done = await session.execute(text(sql(damage).replace(":", r"\:")))
            assert done.rowcount, "the damage must hit something"  # type: ignore[attr-defined]
        await session.execute(text("set local role tollgate_app"))
        await session.execute(text("select set_config('tollgate.organization_id', :id, true)"), {"id": str(filled.organization_id)})
        found = await invariants.run(session, filled.organization_id, jobs_idle=True)
        await session.rollback()
    return {finding.check: finding for finding in found}


async def test_a_database_that_the_verbs_filled_passes(filled: Filled) -> None:
    found = await findings(filled)
    assert [(name, finding.broken) for name, finding in found.items() if not finding.holds] == []
    assert [name for name, finding in found.items() if finding.looked_at == 0] == [], "every check has something to look at"


def test_every_check_has_its_damage() -> None:
    known = {check.name for check in (*invariants.CHECKS, *invariants.IDLE_CHECKS)} | {"audit_chain"}
    assert {name for name, _damage in DAMAGE} == known


@pytest.mark.parametrize(("check", "damage"), DAMAGE, ids=[f"{name}-{index}" for index, (name, _damage) in enumerate(DAMAGE)])
async def test_damage_is_found(filled: Filled, check: str, damage: str) -> None:
    found = await findings(filled, damage)
    assert not found[check].holds, f"{check} does not see: {damage}"
