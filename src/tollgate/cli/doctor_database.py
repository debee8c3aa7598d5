"""What `doctor` asks of the database: as the application's role, and of each organization in its own read-only session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from tollgate import audit, clock, models
from tollgate.app import Services
from tollgate.audit.anchors import EVERY as ANCHOR_EVERY
from tollgate.cli.doctor_findings import Line, fine, found
from tollgate.db import directory, migrating, postgres
from tollgate.db.base import tenant_tables
from tollgate.files import service as files
from tollgate.files.models import StoredFile
from tollgate.jobs import outbox
from tollgate.payments import queries as payments
from tollgate.payments.accounts import SECRET_KEY, WEBHOOK_SECRET
from tollgate.payments.sealing import Unreadable, unseal
from tollgate.settings import Settings

MOST_CLOCK_DIFFERENCE = timedelta(seconds=5)
JOBS_ARE_LATE = timedelta(minutes=15)
SAMPLE = 100
"""How many of the newest files of an organization are asked for without `--files`."""
TRIGGERS = frozenset(
    """
    audit_event.refuse_change contract.guard_contract contract_version.refuse_change credit_note.guard_credit_note
    credit_note_line.refuse_change credit_note_tax.refuse_change document.guard_document invoice.guard_invoice
    invoice_line.guard_invoice_line invoice_tax.guard_invoice_tax job.wake_workers journal_entry.refuse_change
    journal_posting.guard_postings journal_posting.refuse_change link_open.refuse_change milestone.guard_milestone
    number_series.guard_first_number number_series.guard_number_series payment_allocation.refuse_change
    payment_attempt.guard_return payment_dispute.guard_return payment_refund.guard_return review_round.guard_review_round
    sign_off.guard_sign_off
    """.split()
)
"""What a migrated database has; a test compares the two."""

assert models.metadata is not None


# --- The server and the schema, before anything of ours is trusted


async def version(connection: AsyncConnection) -> AsyncIterator[Line]:
    """PostgreSQL's major."""
    number = int((await connection.execute(text("show server_version_num"))).scalar_one())
    says = f"PostgreSQL {number // 10000}.{number % 10000}"
    yield fine("database", says) if number // 10000 >= postgres.OLDEST_MAJOR else found("database-old", says)


async def revision(connection: AsyncConnection) -> AsyncIterator[Line]:
    """The schema is this release's."""
    needed = migrating.newest_revision()
    there = (await connection.execute(text("select to_regclass('alembic_version')"))).scalar_one()
    at = (await connection.execute(text("select version_num from alembic_version"))).scalar_one_or_none() if there else None
    if at == needed:
        yield fine("schema", str(at))
    elif at is None or migrating.knows(at):
        yield found("schema-behind", f"at {at or 'nothing'}, and this release needs {needed}")
    else:
        yield found("schema-ahead", f"at {at}, which this release does not know")


async def role(connection: AsyncConnection) -> AsyncIterator[Line]:
    """We serve as somebody whom row-level security binds."""
    row = (await connection.execute(text("select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user"))).one()
    owner = await _owner(connection)
    if row.rolsuper or row.rolbypassrls:
        yield found("role-bypass", row.rolname)
    elif owner == row.rolname:
        yield found("role-owner", row.rolname)
    else:
        yield fine("database role", f"{row.rolname}, tables owned by {owner}")


async def _owner(connection: AsyncConnection) -> str | None:
    found_owner = await connection.execute(text("select pg_get_userbyid(relowner) from pg_class where relname = 'invoice'"))
    owner: str | None = found_owner.scalar_one_or_none()
    return owner


async def row_security(connection: AsyncConnection) -> AsyncIterator[Line]:
    """Forced on every tenant table, with the tenant's and the owner's policy."""
    rows = await connection.execute(
        text(
            "select relname from pg_class c where relrowsecurity and relforcerowsecurity"
            " and (select count(*) from pg_policy p where p.polrelid = c.oid) = 2"
        )
    )
    missing = set(tenant_tables()) - {str(row[0]) for row in rows}
    if missing:
        yield found("row-security", f"not forced, or without its policies, on {', '.join(sorted(missing))}")
    else:
        yield fine("row-level security", f"forced on all {len(tenant_tables())} tenant tables")


async def triggers(connection: AsyncConnection) -> AsyncIterator[Line]:
    """Every trigger that repeats an invariant is there and on."""
    rows = await connection.execute(
        text("select tgrelid::regclass::text || '.' || tgname from pg_trigger where not tgisinternal and tgenabled in ('O', 'A')")
    )
    missing = TRIGGERS - {str(row[0]) for row in rows}
    yield found("triggers", f"missing or off: {', '.join(sorted(missing))}") if missing else fine("triggers", f"{len(TRIGGERS)} are on")


async def database_clock(connection: AsyncConnection) -> AsyncIterator[Line]:
    """Both clocks agree."""
    there = (await connection.execute(text("select clock_timestamp()"))).scalar_one()
    apart = abs(there - clock.now())
    says = f"{apart.total_seconds():.1f} s apart from the database's"
    yield fine("clock", says) if apart <= MOST_CLOCK_DIFFERENCE else found("clock", says)


SERVER = (version, role, database_clock, revision)
SCHEMA = (row_security, triggers)
"""Only asked where the schema is this release's."""


async def owner_url(settings: Settings) -> Line:
    """DATABASE_OWNER_URL opens the same database, as the owner of its tables."""
    assert settings.database_owner_url is not None and settings.database_url is not None
    names = []
    for url in (settings.database_url, settings.database_owner_url):
        try:
            engine = create_async_engine(url)
            async with engine.connect() as connection:
                who = await connection.execute(
                    text("select current_database(), current_user, (select min(oid) from pg_database where datname = current_database())")
                )
                names.append((*who.one(), await _owner(connection)))
        except Exception as error:  # Whatever is wrong with the address is the answer.
            return found("owner-url", f"no answer ({type(error).__name__}: {str(error).splitlines()[0][:200]})")
        finally:
            await engine.dispose()
    (database, _app, oid, _), (owners_database, owner, owners_oid, tables_owner) = names
    if (database, oid) != (owners_database, owners_oid):
        return found("owner-url", f"it names the database {owners_database}, and DATABASE_URL {database}")
    if tables_owner not in {None, owner}:
        return found("owner-url", f"it signs in as {owner}, and the tables belong to {tables_owner}")
    return fine("owner role", str(owner))


# --- What is in it


async def jobs(shared: Services) -> AsyncIterator[Line]:
    """Nothing dead, nothing long overdue, nothing held."""
    async with shared.db.directory() as session:
        counts = {str(state): int(count) for state, count in await session.execute(text("select state, count from job_counts()"))}
        waiting = await outbox.waiting(session)
        held = await outbox.state(session)
    if dead := counts.get("dead", 0):
        yield found("jobs-dead", f"{dead} dead")
    if held is not None:
        yield found("outbox-held", f"restored from a backup of {held.backup_made_at:%Y-%m-%d %H:%M} UTC, nothing is sent")
        return
    late = [one.kind for one in waiting if one.due_since is not None and clock.now() - one.due_since > JOBS_ARE_LATE]
    if late:
        yield found("jobs-late", f"due for more than {int(JOBS_ARE_LATE.total_seconds()) // 60} minutes: {', '.join(late)}")
    if not dead and not late:
        yield fine("jobs", f"{counts.get('ready', 0)} waiting, none dead")


async def organizations(shared: Services, *, all_files: bool) -> AsyncIterator[Line]:
    """Files, trails and payment accounts, one organization at a time; one line for all that is well."""
    async with shared.db.directory() as session:
        known = await directory.organizations(session)
    kept, wrong = 0, list[Line]()
    for organization_id in known:
        count, broken = await _files(shared, organization_id, all_files=all_files)
        kept += count
        if broken:
            wrong.append(found("files-missing", "; ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")))
        async with shared.db.reading(organization_id) as session:
            wrong += [line async for line in _trail(session, shared, organization_id)]
            wrong += [line async for line in _account(session, shared.settings, organization_id)]
    for line in wrong:
        yield line
    if not any(line.id == "files-missing" for line in wrong):
        yield fine("files", f"{kept} asked for, all there" + ("" if all_files else f" (the newest {SAMPLE} each; --files asks for all)"))
    if not any(line.subject in {"anchors", "audit trail"} for line in wrong):
        yield fine("audit trail", f"{len(known)} trails whole, anchors fit")


async def _files(shared: Services, organization_id: UUID, *, all_files: bool) -> tuple[int, list[str]]:
    if all_files:
        return await files.compare(shared.db, shared.storage, organization_id)
    async with shared.db.reading(organization_id) as session:
        newest = await session.execute(
            select(StoredFile.sha256_hex, StoredFile.size)
            .where(StoredFile.organization_id == organization_id)
            .order_by(StoredFile.created_at.desc())
            .limit(SAMPLE)
        )
        rows = newest.all()
    broken = []
    for name, size in rows:
        if problem := await files.problem_of(shared.storage, organization_id, name, size):
            broken.append(f"{name} of {organization_id}: {problem}")
    return len(rows), broken


def made_at(data: Path) -> datetime | None:
    """When the embedded cluster was made, by the file that only initdb writes; None where there is none."""
    try:
        return datetime.fromtimestamp((data / "postgres" / "cluster" / "PG_VERSION").stat().st_mtime, UTC)
    except OSError:
        return None


async def _trail(session: AsyncSession, shared: Services, organization_id: UUID) -> AsyncIterator[Line]:
    chain = await audit.verify(session, organization_id)
    if chain.broken_at is not None:
        yield found("chain-broken", f"event {chain.broken_at} of {organization_id} does not fit")
    anchors = await shared.anchors.check(session, organization_id)
    if anchors.broken:
        yield found("anchors-broken", f"{len(anchors.broken)} of {anchors.anchors} anchors of {organization_id} do not fit the trail")
        return
    oldest = await session.execute(
        text("select min(happened_at) from audit_event where organization_id = :organization_id and seq > :seq"),
        {"organization_id": organization_id, "seq": shared.anchors.last(organization_id)},
    )
    since = oldest.scalar_one()
    if since is not None and (made := made_at(shared.settings.data)) is not None:
        # Sample data is back-dated: no anchor can be due since before there was a database.
        since = max(since, made)
    if since is not None and clock.now() - since > 2 * ANCHOR_EVERY:
        yield found("anchors-late", f"the trail of {organization_id} has had no anchor since {since:%Y-%m-%d %H:%M} UTC")


async def _account(session: AsyncSession, settings: Settings, organization_id: UUID) -> AsyncIterator[Line]:
    account = await payments.active_account(session, organization_id)
    if account is None:
        return
    if account.live and not settings.stripe_live:
        yield found("stripe-account-live", str(organization_id))
    try:
        unseal(settings.secret_key, organization_id, SECRET_KEY, account.secret_key_encrypted)
        unseal(settings.secret_key, organization_id, WEBHOOK_SECRET, account.webhook_secret_encrypted)
    except Unreadable:
        yield found("secret-changed", f"the Stripe keys of {organization_id} cannot be read, they were sealed under another SECRET_KEY")
