"""Signing in and out, and going to another organization. Every step up gives a new cookie; only its hash is kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from litestar.datastructures import Cookie
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.access import limits, passwords, queries
from tollgate.access.callers import SESSION_COOKIE, Caller, digest
from tollgate.access.emails import email_or_none
from tollgate.audit import service as audit
from tollgate.db.command import ActorKind, Command
from tollgate.db.database import Database
from tollgate.errors import NotFound, NotSignedIn, _
from tollgate.settings import Settings
from tollgate.web.cookies import expired_cookie, host_cookie

log = structlog.get_logger("tollgate.access")

LIFETIME = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. `cookie` is its only copy."""

    cookie: str
    organization_id: UUID
    member_id: UUID


class WrongCredentials(NotSignedIn):
    """Unknown address and wrong password answer alike, and after the same work."""

    slug = "wrong-credentials"
    title = _("The e-mail address or the password is not right")


@dataclass(frozen=True, slots=True)
class _Person:
    identity_id: UUID
    password_hash: str
    organization_id: UUID | None
    member_id: UUID | None


async def sign_in(
    db: Database, *, email: str, password: str, ip: str, secret_key: str, replaces: bytes | None = None, user_agent: str = ""
) -> SignedIn:
    """Check a person's password and open a session in their first organization; `replaces` (a session's hash) is closed.

    Raises `WrongCredentials`, or `TooManyAttempts` after 10 failures for one address or 50 from one network in 15 minutes.
    """
    address = email_or_none(email)
    counted = [
        await limits.attempt(db, limits.SIGN_IN_ADDRESS, limits.network_of(ip), secret_key),
        await limits.attempt(db, limits.SIGN_IN_EMAIL, address or email.strip().lower()[:300], secret_key),
    ]
    person = await _person(db, address)
    right = await passwords.is_right(person.password_hash if person else None, password)
    if not right or person is None or person.organization_id is None or person.member_id is None:
        because = "unknown address" if person is None else "wrong password" if not right else "no organization"
        log.warning("sign-in refused", because=because, identity=None if person is None else str(person.identity_id))
        raise WrongCredentials
    rehashed = await passwords.hash_password(password) if passwords.needs_rehash(person.password_hash) else None
    await limits.give_back(db, *counted)
    actor = Command(person.organization_id, ActorKind.MEMBER, person.member_id, verb="sign in", ip=ip[:45], user_agent=user_agent[:200])
    async with db.transaction(person.organization_id, actor) as session:
        if rehashed is not None:
            await session.execute(text("select access_set_password(:identity, :hash)"), {"identity": person.identity_id, "hash": rehashed})
        return await _open(session, person.identity_id, person.organization_id, person.member_id, replaces)


async def _person(db: Database, email: str | None) -> _Person | None:
    async with db.looking_up() as session:
        rows = await session.execute(text("select * from access_sign_in(:email)"), {"email": email or ""})
        first = rows.first()
    return _Person(first.identity_id, first.password_hash, first.organization_id, first.member_id) if first is not None else None


async def switch(db: Database, caller: Caller, organization_id: UUID) -> SignedIn:
    """Go to another organization that the person belongs to, under a new session. Raises `NotFound` for any other."""
    if caller.identity_id is None:
        raise NotSignedIn
    async with db.looking_up() as session:
        places = await queries.places(session, caller.identity_id)
    there = next((place for place in places if place.organization_id == organization_id), None)
    if there is None:
        raise NotFound(_("You are not a member of this organization"))
    actor = Command(organization_id, ActorKind.MEMBER, there.member_id, verb="switch organization")
    async with db.transaction(organization_id, actor) as session:
        return await _open(session, caller.identity_id, organization_id, there.member_id, caller.session_sha256)


async def rotate(db: Database, caller: Caller) -> SignedIn:
    """A new session in place of the caller's own, after a change of role or password."""
    if caller.identity_id is None:
        raise NotSignedIn
    async with db.directory() as session:
        return await _replace(session, caller.identity_id, caller.organization_id, caller.id, caller.session_sha256)


async def sign_out(db: Database, session_sha256: bytes) -> None:
    """Close a session; it is dead for every copy of its cookie."""
    async with db.directory() as session:
        await session.execute(text("select access_close_session(:id)"), {"id": session_sha256})


async def _open(session: AsyncSession, identity_id: UUID, organization_id: UUID, member_id: UUID, replaces: bytes | None) -> SignedIn:
    # Locked, so that being removed at this moment either comes first and is seen here, or closes what is opened here.
    await queries.member(session, organization_id, member_id, lock=True)
    opened = await _replace(session, identity_id, organization_id, member_id, replaces)
    audit.record(session, "member.signed_in", ("member", member_id))
    log.info("signed in", how="session", organization=str(organization_id), member=str(member_id))
    return opened


async def _replace(session: AsyncSession, identity_id: UUID, organization_id: UUID, member_id: UUID, replaces: bytes | None) -> SignedIn:
    cookie = secrets.token_urlsafe(32)
    if replaces is not None:
        await session.execute(text("select access_close_session(:id)"), {"id": replaces})
    values: dict[str, Any] = {"id": digest(cookie), "identity": identity_id, "organization": organization_id, "member": member_id}
    values |= {"now": clock.now(), "expires": clock.now() + LIFETIME}
    await session.execute(text("select access_open_session(:id, :identity, :organization, :member, :now, :expires)"), values)
    return SignedIn(cookie, organization_id, member_id)


def session_cookie(settings: Settings, opened: SignedIn) -> Cookie:
    """The cookie of a new session: for this host alone, out of reach of scripts, for 14 days."""
    return host_cookie(settings, SESSION_COOKIE, opened.cookie, max_age=int(LIFETIME.total_seconds()))


def no_session_cookie(settings: Settings) -> Cookie:
    """The cookie that removes a session from the browser."""
    return expired_cookie(settings, SESSION_COOKIE)
