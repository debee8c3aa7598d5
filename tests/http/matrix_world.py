"""Two organizations with one of everything that an address can name, and everybody who may knock: for tests over all routes.

Made once per run in a database that is then cloned; a clone holds the same ids, cookies, keys and links.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from litestar import Litestar
from sqlalchemy import select, text

from tests.factories import Org, make_client, make_contact, make_organization
from tests.factories.filled import invoice_of, pay, today
from tests.factories.shop import PAPER, Letterbox, Shop, make_shop, services_on
from tollgate import clock
from tollgate.access import service as access
from tollgate.access.callers import digest
from tollgate.access.models import Member
from tollgate.access.rules import Permission, Role
from tollgate.app import create_app
from tollgate.billing import service as billing
from tollgate.billing.models import InvoiceLink
from tollgate.billing.snapshot import pay_reference
from tollgate.contracts import queries as contract_queries
from tollgate.contracts import service as contracts
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.jobs import Job, enqueue
from tollgate.parties import service as parties
from tollgate.payments.accounts import SECRET_KEY, WEBHOOK_SECRET
from tollgate.payments.models import GatewayAccount, GatewayStep
from tollgate.payments.sealing import seal
from tollgate.settings import Settings
from tollgate.signoff import service as signoff
from tollgate.signoff.models import ApprovalLink, Colleague, ReviewRound
from tollgate.signoff.service_input import LinkDecision, Recorded

BASE = "http://127.0.0.1:8000"
PASSWORD = "correct horse battery staple"
ROLES = tuple(str(role) for role in Role)
SCOPED = ("read only", "contracts only", "billing only", "admin only")
"""Keys of an admin that were narrowed to one scope."""
NOBODY: dict[str, str] = {}
"""The headers of somebody who is not known."""
FOREIGN_NAME = "Fremdgut"
"""In every name of the other organization: it may not be seen in any answer."""
ENDPOINT_SECRET = "whsec_of_the_matrix"


class Nothing(Job, frozen=True, kw_only=True):
    """Work that nobody does."""

    kind = "test.nothing"


@dataclass
class Seller:
    """One organization: what its addresses name, and who may ask."""

    org: Org
    ids: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    """Session cookie by role."""
    keys: dict[str, str] = field(default_factory=dict)
    """API key by role, or by what it was narrowed to."""
    links: dict[str, str] = field(default_factory=dict)
    """Tokens of client links by the state that they are in."""
    emails: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """Both organizations."""

    own: Seller
    foreign: Seller


async def build(settings: Settings, owner_url: str) -> World:
    """Furnish both organizations in an empty database."""
    assert settings.database_url is not None
    database = Database(settings.database_url)
    try:
        own = await _seller(settings, database, owner_url, "Eigen")
        return World(own, await _seller(settings, database, owner_url, FOREIGN_NAME))
    finally:
        await database.close()


async def _seller(settings: Settings, database: Database, owner_url: str, name: str) -> Seller:
    shop = await make_shop(services_on(settings, database))
    seller = Seller(shop.org)
    await _rename(shop, name)
    await _people(shop, seller, name)
    await _parties(shop, seller, name)
    await _contracts(shop, seller)
    await _rounds(shop, seller, name)
    await _invoices(shop, seller)
    await _invoice_links(shop, seller)
    await _gateway(shop, seller)
    await _dead_job(shop, seller, owner_url)
    return seller


async def _rename(shop: Shop, name: str) -> None:
    async with shop.db.transaction(shop.org.id) as session:
        where = {"name": name, "organization": shop.org.id}
        await session.execute(text("update organization set legal_name = :name || ' GmbH' where organization_id = :organization"), where)
        await session.execute(text("update client set legal_name = :name || ' & Söhne' where organization_id = :organization"), where)
        await session.execute(text("update contact set name = :name || ' Klient' where organization_id = :organization"), where)


async def _people(shop: Shop, seller: Seller, name: str) -> None:
    operator = Command.operator(shop.org.id)
    for role in ROLES:
        email = seller.emails[role] = f"{role.replace('_', '-')}@{name.lower()}.example"
        made = await access.create_member(shop.db, operator, email=email, name=f"{name} {role}", role=Role(role), password=PASSWORD)
        seller.ids[f"member_{role}"] = str(made.id)
        seller.cookies[role] = await session_of(shop.db, shop.org.id, made.id)
    other = await access.create_member(shop.db, operator, email=f"other@{name.lower()}.example", name=f"{name} Other", role=Role.VIEWER)
    seller.ids["member"] = str(other.id)
    for role in ROLES:
        made_key = await access.create_api_key(shop.db, operator, name=f"{name} {role}", role=Role(role))
        seller.keys[role], seller.ids[f"key_{role}"] = made_key.secret, str(made_key.id)
    for narrowed, scope in zip(SCOPED, Permission, strict=True):
        seller.keys[narrowed] = (await access.create_api_key(shop.db, operator, name=f"{name} {narrowed}", scopes=[scope])).secret
    seller.ids["api_key"] = str((await access.create_api_key(shop.db, operator, name=f"{name} spare")).id)
    gone = await access.create_api_key(shop.db, operator, name=f"{name} gone")
    await access.revoke_api_key(shop.db, operator, gone.id)
    seller.keys["revoked"] = gone.secret
    # The admin belongs to a second organization.
    sister = await make_organization(shop.db, legal_name=f"{name} Schwester")
    place = await access.create_member(shop.db, Command.operator(sister.id), email=seller.emails["admin"], name=name, role=Role.VIEWER)
    seller.ids |= {"sister": str(sister.id), "organization": str(shop.org.id), "sister_member": str(place.id)}


async def session_of(db: Database, organization_id: UUID, member_id: UUID) -> str:
    """The cookie of a new session of a member, without typing the password."""
    async with db.reading(organization_id) as session:
        identity = await session.scalar(select(Member.identity_id).where(Member.id == member_id))
    cookie = uuid.uuid4().hex + uuid.uuid4().hex
    values: dict[str, Any] = {"id": digest(cookie), "identity": identity, "organization": organization_id, "member": member_id}
    values |= {"now": clock.now(), "expires": clock.now() + timedelta(days=14)}
    async with db.directory() as session:
        await session.execute(text("select access_open_session(:id, :identity, :organization, :member, :now, :expires)"), values)
    return cookie


async def _parties(shop: Shop, seller: Seller, name: str) -> None:
    idle = await make_client(shop.db, shop.org, legal_name=f"{name} Leerlauf")
    spare = await make_contact(shop.db, shop.org, idle, name=f"{name} Spare", email=f"spare@{name.lower()}.example")
    archived = await make_client(shop.db, shop.org, legal_name=f"{name} Archiv")
    await parties.archive_client(shop.db, shop.org.command("account_manager"), archived, 1)
    seller.ids |= {"client": str(shop.client_id), "contact": str(shop.contact_id), "client_idle": str(idle), "contact_idle": str(spare)}
    seller.ids["client_archived"] = str(archived)


async def _contracts(shop: Shop, seller: Seller) -> None:
    manager = shop.org.command("account_manager")
    draft, (first, second) = await shop.contract([100_00, 200_00])
    active, stages = await shop.contract([10_00 * n for n in range(1, 8)])
    agreement = contracts.AgreementInput(agreed_on=today(), agreed_by="Clara Klient", file=PAPER)
    await contracts.activate_contract(shop.db, shop.services.storage, manager, active, agreement)
    planned, started, prepared, delivered, paper, recorded, returned = stages
    await contracts.start_milestone(shop.db, manager, started)
    file = contracts.FileInput(name="work.pdf", content_type="application/pdf", content=b"%PDF-1.7 work of " + shop.org.id.bytes)
    for milestone in (prepared, delivered):
        made = await contracts.add_deliverable(
            shop.db, shop.services.storage, manager, milestone, contracts.DeliverableInput(title="Work", file=file)
        )
        seller.ids["deliverable_of_" + ("prepared" if milestone == prepared else "delivered")] = str(made)
    seller.ids |= {"contract_draft": str(draft), "ms_draft": str(first), "ms_draft_2": str(second), "contract": str(active)}
    seller.ids |= {"ms_planned": str(planned), "ms_started": str(started), "ms_prepared": str(prepared)}
    seller.ids |= {"ms_delivered": str(delivered), "ms_paper": str(paper), "ms_recorded": str(recorded), "ms_returned": str(returned)}


async def _rounds(shop: Shop, seller: Seller, name: str) -> None:
    for milestone in ("ms_delivered", "ms_paper", "ms_recorded"):
        await shop.add_note(UUID(seller.ids[milestone]))
        await shop.deliver(UUID(seller.ids[milestone]))
    paper = contracts.FileInput(name="signed.pdf", content_type="application/pdf", content=b"%PDF-1.4 signed " + shop.org.id.bytes)
    admin, storage = shop.org.command("admin"), shop.services.storage
    await signoff.record_approval(shop.db, storage, admin, UUID(seller.ids["ms_recorded"]), Recorded(document=paper))
    link, decision = await shop.delivered(UUID(seller.ids["ms_returned"]))
    wish = LinkDecision(content_sha256_hex=decision.content_sha256_hex, signed_name=f"{name} Klient", reason="Please mend it")
    await signoff.request_changes_by_link(shop.db, shop.approver(), link, wish)
    superseded, used = await shop.active(50_00, 60_00)
    link, _decision = await shop.delivered(superseded)
    await signoff.withdraw(shop.db, shop.org.command("account_manager"), superseded)
    link, decision = await shop.delivered(used)
    await signoff.approve_by_link(shop.db, shop.approver(), link, decision)
    revoked, expired = await shop.active(51_00, 61_00)
    link, _decision = await shop.delivered(revoked)
    await signoff.revoke_link(shop.db, shop.org.command("account_manager"), link.link_id)
    await shop.delivered(expired)
    open_link, _decision = await shop.opened(UUID(seller.ids["ms_delivered"]))
    await signoff.propose_colleague(shop.db, shop.approver(), open_link, f"{name} Kollege", f"colleague@{name.lower()}.example")
    named = {"delivered": seller.ids["ms_delivered"], "paper": seller.ids["ms_paper"], "recorded": seller.ids["ms_recorded"]}
    named |= {"returned": seller.ids["ms_returned"], "superseded": str(superseded), "used": str(used)}
    named |= {"revoked": str(revoked), "expired": str(expired)}
    await shop.work()
    for state, milestone in named.items():
        await _note_round(shop, seller, state, UUID(milestone))
    async with shop.db.reading(shop.org.id) as session:
        seller.ids["colleague"] = str(await session.scalar(select(Colleague.id)))
    address = await signoff.copy_link(
        shop.db, shop.services.settings.secret_key, "", shop.org.command("account_manager"), UUID(seller.ids["link_delivered"])
    )
    seller.links["copied"] = address.removeprefix("/a/")


async def _note_round(shop: Shop, seller: Seller, state: str, milestone_id: UUID) -> None:
    """The ids of a milestone's round and link, and a token of the link."""
    ends = clock.now() - timedelta(hours=1) if state == "expired" else None
    async with shop.db.transaction(shop.org.id) as session:
        row = (await session.scalars(select(ReviewRound).where(ReviewRound.milestone_id == milestone_id))).one()
        link = (await session.scalars(select(ApprovalLink).where(ApprovalLink.round_id == row.id))).one()
        if ends is not None:
            link.expires_at = ends
        seller.links[state] = await signoff.mint(
            session,
            shop.services.settings.secret_key,
            organization_id=shop.org.id,
            approval_link_id=link.id,
            sent_by="mail",
            expires_at=ends or link.expires_at,
        )
    seller.ids |= {f"round_{state}": str(row.id), f"link_{state}": str(link.id), f"content_{state}": row.content_sha256.hex()}
    seller.ids[f"ms_of_{state}"] = str(milestone_id)
    if state == "recorded":
        async with shop.db.reading(shop.org.id) as session:
            view = await signoff.round_view(session, shop.org.id, row.id)
        seller.ids["document_sha"] = str(view.decisions[0].document_sha256_hex)
    if state == "delivered":
        async with shop.db.reading(shop.org.id) as session:
            deliverable = await contract_queries.deliverable(session, shop.org.id, UUID(seller.ids["deliverable_of_delivered"]))
        seller.ids["file_sha"] = str(deliverable.sha256_hex)


async def _approved(shop: Shop, milestone_id: UUID) -> None:
    link, decision = await shop.delivered(milestone_id)
    await signoff.approve_by_link(shop.db, shop.approver(), link, decision)


async def _invoices(shop: Shop, seller: Seller) -> None:
    """Invoices in each state that an address is for, by name: sent, paid, credited, stopped, unsent, released, and a draft."""
    letterbox, finance = shop.services.transport, shop.org.command("finance")
    assert isinstance(letterbox, Letterbox)
    sent, paid, credited, stopped, unsent, released = await shop.active(100_00, 200_00, 300_00, 400_00, 500_00, 600_00)
    (reviewed,) = await shop.active(700_00, invoicing_on_approval="review")
    for milestone in (sent, paid, credited, stopped, reviewed):
        await _approved(shop, milestone)
    await shop.work()
    for name, milestone in (("sent", sent), ("paid", paid), ("credited", credited), ("stopped", stopped)):
        seller.ids[f"invoice_{name}"] = str((await invoice_of(shop, milestone)).id)
    seller.ids["invoice_draft"] = str((await invoice_of(shop, reviewed)).id)
    seller.ids["payment"] = str(await pay(shop, await invoice_of(shop, paid)))
    note = await billing.credit_invoice(
        shop.db, finance, UUID(seller.ids["invoice_credited"]), kind="correction", reason="wrong", settings=shop.services.settings
    )
    seller.ids["credit_note"] = str(note)
    await shop.work()
    # Last, and with no work after it: their mails would be tried again, and a sent invoice cannot be made void.
    letterbox.down = True
    for milestone in (unsent, released):
        await _approved(shop, milestone)
    await shop.work()
    seller.ids["invoice_unsent"] = str((await invoice_of(shop, unsent)).id)
    await billing.void_invoice(shop.db, finance, (await invoice_of(shop, released)).id, "wrong")
    seller.ids["ms_released"] = str(released)
    async with shop.db.transaction(shop.org.id) as session:
        invoice = await invoice_of(shop, stopped)
        key = f"{invoice.id}:finalize:0"
        session.add(
            GatewayStep(
                organization_id=shop.org.id,
                id=uuid7(),
                invoice_id=invoice.id,
                position=1,
                name="draft",
                idempotency_key=key,
                body="{}",
                state="refused",
                created_at=clock.now(),
            )
        )


async def _invoice_links(shop: Shop, seller: Seller) -> None:
    """Links of invoices: open, expired, revoked."""
    for state, name in (("open", "sent"), ("expired", "paid"), ("revoked", "unsent")):
        link_id, now = uuid7(), clock.now()
        ends = now - timedelta(hours=1) if state == "expired" else now + timedelta(days=60)
        async with shop.db.transaction(shop.org.id) as session:
            invoice_id = UUID(seller.ids[f"invoice_{name}"])
            await session.execute(text("update invoice_link set revoked_at = :now where invoice_id = :id"), {"now": now, "id": invoice_id})
            session.add(
                InvoiceLink(
                    organization_id=shop.org.id,
                    id=link_id,
                    invoice_id=invoice_id,
                    contact_id=shop.contact_id,
                    created_at=now - timedelta(days=1),
                    expires_at=ends,
                    revoked_at=now if state == "revoked" else None,
                )
            )
            await session.flush()
            seller.links[f"invoice_{state}"] = await signoff.mint(
                session,
                shop.services.settings.secret_key,
                organization_id=shop.org.id,
                invoice_link_id=link_id,
                sent_by="mail",
                expires_at=ends,
            )
        seller.ids[f"invoice_link_{state}"] = str(link_id)
    seller.ids["pay_reference"] = pay_reference(shop.org.id, UUID(seller.ids["invoice_sent"]))


async def _gateway(shop: Shop, seller: Seller) -> None:
    secret, endpoint = shop.services.settings.secret_key, uuid.uuid4().hex[:24]
    async with shop.db.transaction(shop.org.id) as session:
        values = {"endpoint": endpoint, "organization": shop.org.id}
        await session.execute(text("select gateway_add_endpoint(:endpoint, :organization)"), values)
        session.add(
            GatewayAccount(
                organization_id=shop.org.id,
                id=uuid7(),
                endpoint=endpoint,
                account_id="acct_1",
                live=False,
                secret_key_encrypted=seal(secret, shop.org.id, SECRET_KEY, "sk_test_matrix"),
                webhook_secret_encrypted=seal(secret, shop.org.id, WEBHOOK_SECRET, ENDPOINT_SECRET),
                created_at=clock.now(),
            )
        )
    seller.ids["endpoint"] = endpoint


async def _dead_job(shop: Shop, seller: Seller, owner_url: str) -> None:
    async with shop.db.transaction(shop.org.id) as session:
        await enqueue(session, Nothing(organization_id=shop.org.id))
    connection = await as_owner(owner_url)
    try:
        found = await connection.fetchval(
            "update job set state = 'dead' where organization_id = $1 and kind = 'test.nothing' returning id", shop.org.id
        )
        # What failed waits for long: the other organization's worker would do it too, and an unsent invoice would be sent.
        await connection.execute("update job set run_at = run_at + interval '30 days' where state = 'ready'")
    finally:
        await connection.close()
    seller.ids["job"] = str(found)


# Knocking ---------------------------------------------------------------------------------------------------------------


@dataclass
class Door:
    """The application over one clone, as anybody on the network meets it: no cookie is kept between two calls."""

    app: Litestar
    settings: Settings
    database: Database
    world: World
    web: httpx.AsyncClient
    owner_url: str
    tokens: dict[str, str] = field(default_factory=dict)

    @classmethod
    def onto(cls, settings: Settings, database: Database, world: World, owner_url: str) -> Door:
        """A door onto a clone of the world."""
        app = create_app(settings, services_on(settings, database))
        web = httpx.AsyncClient(transport=transport_of(app), base_url=BASE)
        return cls(app, settings, database, world, web, owner_url)

    async def call(self, method: str, address: str, headers: Mapping[str, str] | None = None, **sent: Any) -> httpx.Response:
        """One request, without following where it leads."""
        self.web.cookies.clear()
        answer = await self.web.request(method, address, headers=dict(headers or {}), follow_redirects=False, **sent)
        self.web.cookies.clear()
        return answer

    async def session(self, role: str) -> dict[str, str]:
        """A new session of our member with that role, for what ends it."""
        own = self.world.own
        return as_member(await session_of(self.database, own.org.id, UUID(own.ids[f"member_{role}"])))

    async def token(self, page: str, headers: Mapping[str, str]) -> str:
        """The CSRF token that a page's forms carry for whoever sends these headers; asked for once."""
        known = f"{page} {sorted(headers.items())}"
        if known not in self.tokens:
            shown = await self.call("GET", page, headers)
            found = re.search(r'name="csrf_token" value="([^"]*)"', shown.text)
            assert found is not None, f"{page} answers {shown.status_code} without a form"
            self.tokens[known] = unescape(found[1])
        return self.tokens[known]


def transport_of(app: Litestar, ip: str = "127.0.0.1") -> httpx.ASGITransport:
    """The application in this process, met from an address."""
    application: Any = app  # Its types are narrower than httpx's.
    return httpx.ASGITransport(application, client=(ip, 4711))


def as_member(cookie: str) -> dict[str, str]:
    """The headers of a browser in which a member is signed in."""
    return {"cookie": f"tg-session={cookie}"}


def as_key(secret: str) -> dict[str, str]:
    """The headers of a program with an API key."""
    return {"authorization": f"Bearer {secret}"}


def as_link(link_id: str, token: str) -> dict[str, str]:
    """The headers of a browser in which a client opened the link of a mail."""
    return {"cookie": f"tg-link-{UUID(link_id).hex}={token}"}


# The whole database in one hash -----------------------------------------------------------------------------------------


async def as_owner(owner_url: str) -> asyncpg.Connection[asyncpg.Record]:
    """A connection that sees every organization's rows."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(owner_url.replace("postgresql+asyncpg://", "postgresql://"))
    return connection


class Ledger:
    """Hashes of every row of every table, over one connection. `without` names tables that may note something."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], tables: Sequence[str]) -> None:
        self._connection = connection
        one = (
            "select '{0}' as name, count(*) as rows, md5(coalesce(string_agg(t::text, E'\\n' order by t::text), '')) as hash from \"{0}\" t"
        )
        self._statement = " union all ".join(one.format(name) for name in tables)

    @classmethod
    async def of(cls, owner_url: str) -> Ledger:
        """Over all tables there are."""
        connection = await as_owner(owner_url)
        names = await connection.fetch("select tablename from pg_tables where schemaname = 'public' order by 1")
        return cls(connection, [row["tablename"] for row in names])

    async def digest(self, *, without: Sequence[str] = ()) -> dict[str, str]:
        """Table → how many rows and the hash of them all."""
        rows = await self._connection.fetch(self._statement)
        return {row["name"]: f"{row['rows']} {row['hash']}" for row in rows if row["name"] not in without}

    async def close(self) -> None:
        """Give the connection back."""
        await self._connection.close()


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The tables that differ."""
    return sorted(name for name in before if before[name] != after.get(name))
