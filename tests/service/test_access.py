"""Members, sessions, passwords and API keys on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from tests.factories import Org
from tollgate import clock
from tollgate.access import limits, passwords, queries, service, sessions
from tollgate.access.callers import digest
from tollgate.access.emails import email_problem
from tollgate.access.rules import Permission, Role
from tollgate.access.service import LastAdmin, NewMember
from tollgate.access.sessions import SignedIn, WrongCredentials
from tollgate.audit import service as audit
from tollgate.db.command import ActorKind, Command, Replayed
from tollgate.db.database import Database
from tollgate.errors import Invalid, NotAllowed, NotFound, NotSignedIn, Stale, TooManyAttempts

KEY = "test-secret-key"
PASSWORD = "seven green bicycles"


async def add(db: Database, organization: Org, email: str = "vera@nordlicht.example", role: Role = Role.VIEWER, **more: str) -> NewMember:
    return await service.create_member(
        db, organization.command(), email=email, name="Vera Viewer", role=role, **{"password": PASSWORD, **more}
    )


async def enter(db: Database, email: str = "vera@nordlicht.example", password: str = PASSWORD, ip: str = "192.0.2.1") -> SignedIn:
    return await sessions.sign_in(db, email=email, password=password, ip=ip, secret_key=KEY)


async def is_alive(db: Database, cookie: str) -> bool:
    async with db.directory() as session:
        found = await session.execute(text("select * from access_session(:id, :now)"), {"id": digest(cookie), "now": clock.now()})
        return found.one_or_none() is not None


async def test_a_member_signs_in_and_only_the_hash_of_the_cookie_is_kept(db: Database, organization: Org, owner_url: str) -> None:
    made = await add(db, organization)
    opened = await enter(db, email=" Vera@Nordlicht.example ")
    assert (opened.organization_id, opened.member_id) == (organization.id, made.id)
    assert await is_alive(db, opened.cookie)
    owner = Database(owner_url)
    async with owner.directory() as session:
        ids = (await session.execute(text("select id_sha256 from session"))).scalars().all()
        hashes = (await session.execute(text("select password_hash from identity"))).scalars().all()
    await owner.close()
    assert ids == [digest(opened.cookie)]
    assert hashes[0].startswith("$argon2id$")
    async with db.reading(organization.id) as session:
        assert (await audit.verify(session, organization.id)).broken_at is None


async def test_a_session_ends_after_fourteen_days_and_at_sign_out(db: Database, organization: Org) -> None:
    await add(db, organization)
    opened = await enter(db)
    with clock.shifted(timedelta(days=14, seconds=1)):
        assert not await is_alive(db, opened.cookie)
    assert await is_alive(db, opened.cookie)
    await sessions.sign_out(db, digest(opened.cookie))
    assert not await is_alive(db, opened.cookie)


async def test_signing_in_replaces_the_session_that_was_there(db: Database, organization: Org) -> None:
    await add(db, organization)
    first = await enter(db)
    second = await sessions.sign_in(
        db, email="vera@nordlicht.example", password=PASSWORD, ip="", secret_key=KEY, replaces=digest(first.cookie)
    )
    assert not await is_alive(db, first.cookie)
    assert await is_alive(db, second.cookie)


@pytest.mark.parametrize(
    "email", ["vera@nordlicht.example", "nobody@nordlicht.example", "not an address", "x\x00@nordlicht.example", "\ud800@a.b"]
)
async def test_a_wrong_password_and_an_unknown_address_answer_alike(db: Database, organization: Org, email: str) -> None:
    await add(db, organization)
    with pytest.raises(WrongCredentials) as refused:
        await enter(db, email=email, password="wrong")
    assert str(refused.value.detail) == "The e-mail address or the password is not right"


async def test_an_unknown_address_costs_as_much_work(monkeypatch: pytest.MonkeyPatch, db: Database, organization: Org) -> None:
    await add(db, organization)
    checked: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            checked.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    for email in ("vera@nordlicht.example", "nobody@nordlicht.example"):
        with pytest.raises(WrongCredentials):
            await enter(db, email=email, password="wrong")
    known, unknown = checked
    assert known.split("$")[1:4] == unknown.split("$")[1:4], "the same parameters, so the same time"


async def test_the_eleventh_failure_for_an_address_is_refused_with_the_time_to_wait(db: Database, organization: Org) -> None:
    await add(db, organization)
    with clock.moved_to(datetime(2026, 11, 24, 12, 3, tzinfo=UTC)):
        for number in range(10):
            with pytest.raises(WrongCredentials):
                await enter(db, password="wrong", ip=f"192.0.2.{number}")
        with pytest.raises(TooManyAttempts) as refused:
            await enter(db)
        assert refused.value.facts["retry_after"] == 12 * 60 + 1
    with clock.moved_to(datetime(2026, 11, 24, 12, 15, 1, tzinfo=UTC)):
        assert (await enter(db)).organization_id == organization.id


async def test_one_network_is_limited_over_all_addresses(db: Database) -> None:
    limit = limits.Limit("test", 2, timedelta(minutes=15))
    with clock.moved_to(datetime(2026, 11, 24, 12, 3, tzinfo=UTC)):
        for ip in ("2001:db8::1", "2001:db8::2"):
            await limits.attempt(db, limit, limits.network_of(ip), KEY)
        with pytest.raises(TooManyAttempts):
            await limits.attempt(db, limit, limits.network_of("2001:db8:0:0:ffff::3"), KEY)
        await limits.attempt(db, limit, limits.network_of("2001:db8:0:1::1"), KEY)


async def test_successes_are_not_counted_but_do_not_forgive_failures(db: Database, organization: Org) -> None:
    await add(db, organization)
    with clock.moved_to(datetime(2026, 11, 24, 12, 3, tzinfo=UTC)):
        for _number in range(9):
            with pytest.raises(WrongCredentials):
                await enter(db, password="wrong")
        for _number in range(3):
            await enter(db)
        with pytest.raises(WrongCredentials):
            await enter(db, password="wrong")
        with pytest.raises(TooManyAttempts):
            await enter(db)


async def test_a_password_is_generated_once_for_a_new_person_only(db: Database, organization: Org) -> None:
    made = await service.create_member(db, organization.command(), email="a@b.example", name="A B", role=Role.FINANCE)
    assert made.password is not None
    assert (await enter(db, "a@b.example", made.password)).member_id == made.id
    other = Command.operator(uuid4())
    async with db.transaction(other.organization_id) as session:
        await session.execute(
            text(
                "insert into organization (organization_id, legal_name, country, currency, privacy_salt, created_at) values (:id, 'Other', 'AT', 'EUR', '', now())"
            ),
            {"id": other.organization_id},
        )
    again = await service.create_member(db, other, email="A@B.example", name="A B", role=Role.ADMIN)
    assert again.password is None
    await enter(db, "a@b.example", made.password)
    with pytest.raises(Invalid):
        await service.create_member(db, organization.command(), email="a@b.example", name="A B", role=Role.ADMIN)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaa", "vera@nordlicht.example", "x" * 201])
async def test_weak_passwords_are_refused_at_the_field(db: Database, organization: Org, password: str) -> None:
    with pytest.raises(Invalid) as refused:
        await add(db, organization, password=password)
    assert [error.pointer for error in refused.value.errors] == ["/password"]


async def test_a_new_role_closes_the_members_sessions(db: Database, organization: Org) -> None:
    made = await add(db, organization)
    opened = await enter(db)
    await service.change_role(db, organization.command(), made.id, 1, Role.FINANCE)
    assert not await is_alive(db, opened.cookie)
    async with db.reading(organization.id) as session:
        member = await queries.member(session, organization.id, made.id)
    assert (member.role, member.version) == ("finance", 2)
    with pytest.raises(Stale):
        await service.change_role(db, organization.command(), made.id, 1, Role.VIEWER)


async def test_the_last_admin_stays(db: Database, organization: Org) -> None:
    with pytest.raises(LastAdmin):
        await service.remove_member(db, organization.command(), organization.admin_id, 1)
    with pytest.raises(LastAdmin):
        await service.change_role(db, organization.command(), organization.admin_id, 1, Role.VIEWER)


async def test_two_admins_removing_each_other_at_once_leave_one(db: Database, organization: Org) -> None:
    second = await add(db, organization, role=Role.ADMIN)
    results = await asyncio.gather(
        service.remove_member(db, organization.command(), organization.admin_id, 1),
        service.remove_member(db, organization.command(), second.id, 1),
        return_exceptions=True,
    )
    assert [type(result) for result in results if isinstance(result, BaseException)] == [LastAdmin]


async def test_a_removed_member_is_out_at_once_and_can_come_back(db: Database, organization: Org) -> None:
    made = await add(db, organization)
    opened = await enter(db)
    await service.remove_member(db, organization.command(), made.id, 1)
    assert not await is_alive(db, opened.cookie)
    with pytest.raises(WrongCredentials):
        await enter(db)
    again = await add(db, organization, role=Role.FINANCE, password=None)
    assert again.id == made.id
    assert (await enter(db)).member_id == made.id


async def test_changing_the_password_closes_every_other_session(db: Database, organization: Org) -> None:
    made = await add(db, organization)
    here, elsewhere = await enter(db), await enter(db)
    own = Command(organization.id, ActorKind.MEMBER, made.id, "viewer")
    with pytest.raises(Invalid) as refused:
        await service.change_password(db, own, current="wrong", new="another long password")
    assert refused.value.errors[0].pointer == "/current"
    await service.change_password(db, own, current=PASSWORD, new="another long password", keep_session=digest(here.cookie))
    assert await is_alive(db, here.cookie)
    assert not await is_alive(db, elsewhere.cookie)
    with pytest.raises(WrongCredentials):
        await enter(db)
    await enter(db, password="another long password")


async def test_only_the_command_line_resets_a_password(db: Database, organization: Org) -> None:
    made = await add(db, organization)
    with pytest.raises(NotAllowed):
        await service.reset_password(db, organization.command(), made.id)
    fresh = await service.reset_password(db, Command.operator(organization.id), made.id)
    await enter(db, password=fresh)


async def test_a_person_of_two_organizations_switches_between_them(db: Database, organization: Org) -> None:
    from tests.factories import make_organization
    from tollgate.access.callers import Caller

    other = await make_organization(db, legal_name="Other Ltd")
    await add(db, organization)
    there = await service.create_member(db, other.command(), email="vera@nordlicht.example", name="Vera", role=Role.ADMIN)
    opened = await enter(db)
    async with db.directory() as session:
        found = await session.execute(text("select * from access_session(:id, :now)"), {"id": digest(opened.cookie), "now": clock.now()})
        identity: UUID = found.one().identity_id
    caller = Caller(
        opened.organization_id, ActorKind.MEMBER, opened.member_id, Role.VIEWER, identity_id=identity, session_sha256=digest(opened.cookie)
    )
    gone = await sessions.switch(db, caller, other.id)
    assert (gone.organization_id, gone.member_id) == (other.id, there.id)
    assert not await is_alive(db, opened.cookie)
    with pytest.raises(NotFound):
        await sessions.switch(db, caller, uuid4())
    with pytest.raises(NotSignedIn):
        await sessions.switch(db, Caller(organization.id, ActorKind.API_KEY, uuid4(), Role.ADMIN), other.id)


async def test_a_key_is_found_by_its_secret_until_it_is_revoked(db: Database, organization: Org) -> None:
    made = await service.create_api_key(
        db, organization.command(), name="Books", role=Role.FINANCE, scopes=[Permission.READ, Permission.BILL]
    )
    assert made.secret.startswith("tg_")

    async def route() -> object:
        async with db.directory() as session:
            return (await session.execute(text("select * from access_api_key(:secret)"), {"secret": digest(made.secret)})).one_or_none()

    found = await route()
    assert found is not None
    assert (found.organization_id, found.role, sorted(found.scopes)) == (organization.id, "finance", ["billing", "read"])  # type: ignore[attr-defined]
    await service.revoke_api_key(db, organization.command(), made.id)
    assert await route() is None
    with pytest.raises(Stale):
        await service.revoke_api_key(db, organization.command(), made.id)


async def test_a_repeated_request_for_a_key_makes_none_and_shows_none(db: Database, organization: Org) -> None:
    command = organization.command(key="once", request_sha256=bytes(32))
    made = await service.create_api_key(db, command, name="Books")
    with pytest.raises(Replayed) as repeat:
        await service.create_api_key(db, command, name="Books")
    assert (repeat.value.resource_id, repeat.value.status) == (made.id, 201)
    assert made.secret not in repr(repeat.value)
    async with db.reading(organization.id) as session:
        assert len(await queries.api_keys(session, organization.id)) == 1


async def test_a_key_has_no_more_rights_than_its_role_or_its_maker(db: Database, organization: Org) -> None:
    with pytest.raises(Invalid) as refused:
        await service.create_api_key(db, organization.command(), name="Books", role=Role.VIEWER, scopes=[Permission.BILL])
    assert refused.value.errors[0].pointer == "/scopes"
    with pytest.raises(NotAllowed):
        await service.create_api_key(db, organization.command("finance"), name="Books", role=Role.ADMIN)


async def test_another_organizations_members_and_keys_are_not_there(db: Database, organization: Org) -> None:
    from tests.factories import make_organization

    other = await make_organization(db, legal_name="Other Ltd")
    made = await service.create_api_key(db, organization.command(), name="Books")
    with pytest.raises(NotFound):
        await service.revoke_api_key(db, other.command(), made.id)
    with pytest.raises(NotFound):
        await service.remove_member(db, other.command(), organization.manager_id, 1)


@pytest.mark.parametrize(
    ("email", "good"),
    [
        ("a@b.example", True),
        ("o'neil+tag@sub.b-c.example", True),
        ("root@localhost", True),
        ("straße@bücher.example", True),
        ("a@b", False),
        ("a@@b.example", False),
        ("a b@c.example", False),
        ("a@-b.example", False),
        ("a@b..example", False),
        (".a@b.example", False),
        ("a\n@b.example", False),
        ("a\u202e@b.example", False),
        ("@b.example", False),
        ("a" * 250 + "@b.example", False),
    ],
)
def test_an_address_is_checked_sanely(email: str, good: bool) -> None:
    assert (email_problem(email) is None) is good
