"""Attempts at something guessable, counted in PostgreSQL: every web process sees the same count."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import text

from tollgate import clock
from tollgate.db.database import Database
from tollgate.errors import TooManyAttempts, _


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` attempts of one subject in each `window`."""

    name: str
    most: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Attempted:
    """One counted attempt, for `give_back`."""

    bucket: bytes
    window_at: datetime


log = structlog.get_logger("tollgate.access")

SIGN_IN_EMAIL = Limit("sign-in-email", 10, timedelta(minutes=15))
SIGN_IN_ADDRESS = Limit("sign-in-address", 50, timedelta(minutes=15))


async def attempt(db: Database, limit: Limit, subject: str, secret_key: str) -> Attempted:
    """Count one attempt, in a transaction of its own so that a refusal is counted too.

    `subject` is an e-mail, an address, a link id; only its keyed hash is stored, for two days (R23).
    Raises `TooManyAttempts` with `retry_after` in seconds.
    """
    now = clock.now()
    length = limit.window.total_seconds()
    start = now.timestamp() // length * length
    made = Attempted(_bucket(limit, subject, secret_key), datetime.fromtimestamp(start, UTC))
    async with db.directory() as session:
        statement = text("select attempt_hit(:bucket, :window_at, :now)")
        hits = (await session.execute(statement, {"bucket": made.bucket, "window_at": made.window_at, "now": now})).scalar_one()
    if hits > limit.most:
        log.warning("too many attempts", limit=limit.name)
        wait = max(1, int(start + length - now.timestamp()) + 1)
        raise TooManyAttempts(_("Too many attempts. Try again in %(minutes)s minutes", minutes=-(-wait // 60)), retry_after=wait)
    return made


async def give_back(db: Database, *attempts: Attempted) -> None:
    """Do not count these: they succeeded. Failures of others on the same subject stay counted."""
    async with db.directory() as session:
        for one in attempts:
            await session.execute(text("select attempt_give_back(:bucket, :window_at)"), {"bucket": one.bucket, "window_at": one.window_at})


def network_of(ip: str) -> str:
    """What one attacker has at will: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else ip


def _bucket(limit: Limit, subject: str, secret_key: str) -> bytes:
    return hmac.new(secret_key.encode(), f"{limit.name}\n{subject}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
