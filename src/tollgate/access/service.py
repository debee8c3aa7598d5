"""Members and API keys: who may come in, and as what."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.access import passwords, queries
from tollgate.access.callers import digest
from tollgate.access.emails import normal_email
from tollgate.access.models import ApiKey, Member
from tollgate.access.rules import NEEDS, Permission, Role
from tollgate.audit import service as audit
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database, answer
from tollgate.db.types import uuid7
from tollgate.errors import Conflict, NotAllowed, Stale, _, invalid

KEY_PREFIX = "tg_"


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member just added. `password` is there only when it was generated here, and nowhere else ever after."""

    id: UUID
    password: str | None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key just made. The secret is shown once; a repeat of the command raises `Replayed` and shows none."""

    id: UUID
    secret: str


class LastAdmin(Conflict):
    """Somebody must be left who can let others in."""

    slug = "last-admin"
    title = _("This is the last admin; make somebody else an admin first")


async def create_member(
    db: Database, command: Command, *, email: str, name: str, role: Role, password: str | None = None, locale: str = "en"
) -> NewMember:
    """Let a person into the organization. A person who has an account elsewhere keeps its password.

    Without `password` one is generated and returned once. Raises `Invalid` at /email, /name or /password.
    """
    address, called = normal_email(email), _name(name)
    if password is not None:
        async with db.reading(command.organization_id) as session:
            organization = await queries.organization_name(session, command.organization_id)
        if (weak := passwords.weakness(password, address, called, organization)) is not None:
            raise invalid("/password", weak)
    chosen = password if password is not None else passwords.generate()
    password_hash = await passwords.hash_password(chosen)
    async with db.transaction(command.organization_id, command) as session:
        identity_id, is_new = await _identity(session, address, password_hash)
        if password is not None and not is_new:
            raise invalid("/password", _("This person signs in elsewhere already and keeps that password; leave it out"))
        member_id = await _place(session, command.organization_id, identity_id, address, called, role, locale)
        await session.execute(
            text("select access_add_membership(:identity, :organization, :member)"),
            {"identity": identity_id, "organization": command.organization_id, "member": member_id},
        )
        audit.record(session, "member.added", ("member", member_id), role=str(role))
        answer(session, member_id, 201)
    return NewMember(member_id, chosen if is_new and password is None else None)


async def _identity(session: AsyncSession, email: str, password_hash: str) -> tuple[UUID, bool]:
    own = uuid7()
    statement = text("select access_add_identity(:id, :email, :hash, :now)")
    found: UUID = (await session.execute(statement, {"id": own, "email": email, "hash": password_hash, "now": clock.now()})).scalar_one()
    return found, found == own


async def _place(session: AsyncSession, organization_id: UUID, identity_id: UUID, email: str, name: str, role: Role, locale: str) -> UUID:
    values = {
        "organization_id": organization_id,
        "id": uuid7(),
        "identity_id": identity_id,
        "name": name,
        "email": email,
        "role": str(role),
        "locale": locale,
        "created_at": clock.now(),
    }
    statement = insert(Member).values(values).on_conflict_do_nothing(index_elements=["organization_id", "identity_id"]).returning(Member.id)
    member_id = (await session.execute(statement)).scalar_one_or_none()
    if member_id is not None:
        return member_id
    # Somebody who was here before comes back as the same member, so that what they did stays theirs.
    statement_back = text(
        "update member set removed_at = null, name = :name, role = :role, version = version + 1"
        " where organization_id = :organization_id and identity_id = :identity_id and removed_at is not null returning id"
    )
    back: UUID | None = (await session.execute(statement_back, {key: values[key] for key in _COMES_BACK})).scalar_one_or_none()
    if back is None:
        raise invalid("/email", _("There is a member with this e-mail address already"))
    return back


_COMES_BACK = ("name", "role", "organization_id", "identity_id")


async def change_member(
    db: Database,
    command: Command,
    member_id: UUID,
    version: int,
    *,
    role: Role | None = None,
    name: str | None = None,
    locale: str | None = None,
    keep_session: bytes | None = None,
) -> UUID:
    """Change a member's role or name. A new role closes that member's sessions (`keep_session`: but this one, to be rotated).

    Raises `Stale`, `LastAdmin`, `NotFound`.
    """
    called = None if name is None else _name(name)
    async with db.transaction(command.organization_id, command) as session:
        admins = await queries.admins_for_update(session, command.organization_id)
        member = await queries.member(session, command.organization_id, member_id, lock=True)
        _check_version(member.version, version)
        before = Role(member.role)
        if role is not None and role is not before:
            _check_last_admin(admins, member_id)
            member.role = str(role)
            await _close_sessions(session, command.organization_id, member_id, keep_session)
            audit.record(session, "member.role_changed", ("member", member_id), before=str(before), after=str(role))
        wanted = {"name": called, "locale": locale}
        changed = [field for field, value in wanted.items() if value is not None and value != getattr(member, field)]
        member.name, member.locale = called or member.name, locale or member.locale
        if changed:
            audit.record(session, "member.changed", ("member", member_id), fields=changed)
        member.version += 1
        return answer(session, member_id, 200)


async def change_role(db: Database, command: Command, member_id: UUID, version: int, role: Role) -> UUID:
    """`change_member` with a new role only."""
    return await change_member(db, command, member_id, version, role=role)


async def remove_member(db: Database, command: Command, member_id: UUID, version: int) -> UUID:
    """Take a member out: no way in from the next request on. Raises `LastAdmin`, `Stale`, `NotFound`."""
    async with db.transaction(command.organization_id, command) as session:
        admins = await queries.admins_for_update(session, command.organization_id)
        member = await queries.member(session, command.organization_id, member_id, lock=True)
        _check_version(member.version, version)
        _check_last_admin(admins, member_id)
        member.removed_at = clock.now()
        member.version += 1
        await _close_sessions(session, command.organization_id, member_id, None)
        audit.record(session, "member.removed", ("member", member_id))
        return answer(session, member_id, 204)


def _check_last_admin(admins: Iterable[UUID], member_id: UUID) -> None:
    if set(admins) == {member_id}:
        raise LastAdmin


def _check_version(actual: int, asked: int) -> None:
    if actual != asked:
        raise Stale(version=actual)


async def _close_sessions(session: AsyncSession, organization_id: UUID, member_id: UUID, keep: bytes | None) -> None:
    await session.execute(
        text("select access_close_sessions(:organization, :member, :keep)"),
        {"organization": organization_id, "member": member_id, "keep": keep},
    )


async def change_password(db: Database, command: Command, *, current: str, new: str, keep_session: bytes | None = None) -> UUID:
    """Change the password of the member who asks, and close all other sessions of that person, in every organization.

    Pass a command whose `request_sha256` does not cover the form: a fast hash of a password may not be stored.
    Raises `Invalid` at /current or /new.
    """
    if command.actor_kind is not ActorKind.MEMBER or command.actor_id is None:
        raise NotAllowed
    async with db.reading(command.organization_id) as session:
        member = await queries.member(session, command.organization_id, command.actor_id)
        statement = text("select access_password(:identity)")
        password_hash: str = (await session.execute(statement, {"identity": member.identity_id})).scalar_one()
        organization = await queries.organization_name(session, command.organization_id)
    if not await passwords.is_right(password_hash, current):
        raise invalid("/current", _("This is not your present password"))
    if (weak := passwords.weakness(new, member.email, member.name, organization)) is not None:
        raise invalid("/new", weak)
    new_hash = await passwords.hash_password(new)
    async with db.transaction(command.organization_id, command) as session:
        await _set_password(session, member, new_hash, keep_session)
        return answer(session, member.id, 200)


async def reset_password(db: Database, command: Command, member_id: UUID, password: str | None = None) -> str:
    """Give a member another password, from the server's own command line only: an admin of one organization may not
    take over a person who belongs to others too. Returns the password, generated when none was given.
    """
    if command.actor_kind is not ActorKind.OPERATOR:
        raise NotAllowed
    if password is not None:
        async with db.reading(command.organization_id) as session:
            person = await queries.member(session, command.organization_id, member_id)
            organization = await queries.organization_name(session, command.organization_id)
        if (weak := passwords.weakness(password, person.email, person.name, organization)) is not None:
            raise invalid("/password", weak)
    chosen = password if password is not None else passwords.generate()
    password_hash = await passwords.hash_password(chosen)
    async with db.transaction(command.organization_id, command) as session:
        member = await queries.member(session, command.organization_id, member_id, lock=True)
        await _set_password(session, member, password_hash, None)
        answer(session, member.id, 200)
    return chosen


async def _set_password(session: AsyncSession, member: Member, password_hash: str, keep_session: bytes | None) -> None:
    identity = {"identity": member.identity_id}
    await session.execute(text("select access_set_password(:identity, :hash)"), {**identity, "hash": password_hash})
    await session.execute(text("select access_close_identity_sessions(:identity, :keep)"), {**identity, "keep": keep_session})
    audit.record(session, "member.password_changed", ("member", member.id))


async def create_api_key(
    db: Database,
    command: Command,
    *,
    name: str,
    role: Role = Role.ADMIN,
    scopes: Iterable[Permission] | None = None,
    within: frozenset[Permission] | None = None,
) -> NewApiKey:
    """Make a key for a program. `scopes` None is all that the role may; a scope beyond the role is refused at /scopes.

    `within` are the scopes of the key that asks (None for a member): a narrowed key makes no wider one.

    A repeat of the command raises `Replayed`: the secret is never shown again, because only its hash is kept.
    """
    called = _name(name)
    wanted = sorted(set(scopes) if scopes is not None else {scope for scope, needs in NEEDS.items() if role.includes(needs)})
    if not wanted:
        raise invalid("/scopes", _("Choose at least one scope"))
    if any(not role.includes(NEEDS[scope]) for scope in wanted):
        raise invalid("/scopes", _("The role %(role)s does not have all of these rights", role=str(role)))
    is_person_or_key = command.actor_kind in {ActorKind.MEMBER, ActorKind.API_KEY}
    if (is_person_or_key and not Role(command.role).includes(role)) or (within is not None and not within.issuperset(wanted)):
        raise NotAllowed(_("A key cannot have more rights than the one who makes it"))
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    key_id = uuid7()
    async with db.transaction(command.organization_id, command) as session:
        session.add(
            ApiKey(
                organization_id=command.organization_id,
                id=key_id,
                name=called,
                prefix=secret[:9],
                role=str(role),
                scopes=[str(scope) for scope in wanted],
                secret_sha256=digest(secret),
                created_by=command.actor_id,
                created_at=clock.now(),
            )
        )
        await session.execute(
            text("select access_add_api_key(:secret, :organization, :key)"),
            {"secret": digest(secret), "organization": command.organization_id, "key": key_id},
        )
        facts: dict[str, Any] = {"role": str(role), "scopes": [str(scope) for scope in wanted], "prefix": secret[:9]}
        audit.record(session, "api_key.created", ("api_key", key_id), **facts)
        answer(session, key_id, 201)
    return NewApiKey(key_id, secret)


async def revoke_api_key(db: Database, command: Command, key_id: UUID, version: int = 1) -> UUID:
    """Stop a key from the next request on. A revoked key has version 2, so revoking again is `Stale`."""
    async with db.transaction(command.organization_id, command) as session:
        key = await queries.api_key(session, command.organization_id, key_id, lock=True)
        _check_version(1 if key.revoked_at is None else 2, version)
        key.revoked_at = clock.now()
        audit.record(session, "api_key.revoked", ("api_key", key_id), prefix=key.prefix)
        return answer(session, key_id, 204)


def _name(name: str) -> str:
    found = " ".join(name.split())
    if not found:
        raise invalid("/name", _("Enter a name"))
    if len(found) > 120:
        raise invalid("/name", _("Use at most %(most)s characters", most=120))
    return found
