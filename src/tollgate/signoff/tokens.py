"""Tokens of client links (R10): random, signed, one per mailed copy. Only the hash of the nonce is stored.

A token is an itsdangerous signature over organization, kind of link, link and nonce, so that a made-up one is refused
without asking the database. Approval links and invoice links share the form.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.database import Database
from tollgate.db.types import uuid7
from tollgate.signoff.models import LinkToken

Kind = Literal["approval", "invoice"]
_LETTERS: dict[str, Kind] = {"a": "approval", "i": "invoice"}
_SALT = "tollgate.client-link"
NONCE_BYTES = 24
LONGEST = 400
"""Characters of a token; longer text is not one of ours."""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a well-signed token says. Whether it still works is the database's to say."""

    organization_id: UUID
    kind: Kind
    link_id: UUID
    nonce_sha256: bytes


@dataclass(frozen=True, slots=True)
class VerifiedLink:
    """A token that is ours and on record: the key of every client verb. Expiry and use are judged when something is done."""

    organization_id: UUID
    kind: Kind
    link_id: UUID
    token_id: UUID
    copied_by: UUID | None
    """The member who copied this token; None for one that was mailed to the contact."""
    expires_at: datetime


async def mint(
    session: AsyncSession,
    secret_key: str,
    *,
    organization_id: UUID,
    approval_link_id: UUID | None = None,
    invoice_link_id: UUID | None = None,
    sent_by: Literal["mail", "copy"],
    copied_by: UUID | None = None,
    expires_at: datetime,
) -> str:
    """A fresh token of one link, its hash on record. The text exists only in what is returned."""
    token, _row = await mint_row(
        session,
        secret_key,
        organization_id=organization_id,
        approval_link_id=approval_link_id,
        invoice_link_id=invoice_link_id,
        sent_by=sent_by,
        copied_by=copied_by,
        expires_at=expires_at,
    )
    return token


async def mint_row(
    session: AsyncSession,
    secret_key: str,
    *,
    organization_id: UUID,
    approval_link_id: UUID | None = None,
    invoice_link_id: UUID | None = None,
    sent_by: Literal["mail", "copy"],
    copied_by: UUID | None = None,
    expires_at: datetime,
) -> tuple[str, LinkToken]:
    """`mint`, and the row that was written."""
    link_id = approval_link_id or invoice_link_id
    if link_id is None or (approval_link_id is not None and invoice_link_id is not None):
        raise ValueError("a token belongs to exactly one link")
    nonce = secrets.token_bytes(NONCE_BYTES)
    row = LinkToken(
        organization_id=organization_id,
        id=uuid7(),
        approval_link_id=approval_link_id,
        invoice_link_id=invoice_link_id,
        nonce_sha256=hashlib.sha256(nonce).digest(),
        sent_by=sent_by,
        copied_by=copied_by,
        created_at=clock.now(),
        expires_at=expires_at,
    )
    session.add(row)
    await session.flush()
    letter = "a" if approval_link_id is not None else "i"
    token = _serializer(secret_key).dumps([letter, *(_pack(part) for part in (organization_id.bytes, link_id.bytes, nonce))])
    return str(token), row


def read_token(secret_key: str, token: str) -> TokenFacts | None:
    """What the token says; None for anything that this server did not sign."""
    if len(token) > LONGEST:
        return None
    try:
        letter, organization, link, nonce = _serializer(secret_key).loads(token)
        return TokenFacts(
            UUID(bytes=_unpack(organization)), _LETTERS[letter], UUID(bytes=_unpack(link)), hashlib.sha256(_unpack(nonce)).digest()
        )
    except (BadSignature, ValueError, TypeError, KeyError):
        return None


async def find_token(session: AsyncSession, facts: TokenFacts) -> VerifiedLink | None:
    """The token's row within its own organization; None when there is none."""
    link_column = LinkToken.approval_link_id if facts.kind == "approval" else LinkToken.invoice_link_id
    row = await session.scalar(
        select(LinkToken).where(
            LinkToken.organization_id == facts.organization_id,
            link_column == facts.link_id,
            LinkToken.nonce_sha256 == facts.nonce_sha256,
        )
    )
    if row is None:
        return None
    return VerifiedLink(facts.organization_id, facts.kind, facts.link_id, row.id, row.copied_by, row.expires_at)


async def verify(db: Database, secret_key: str, token: str) -> VerifiedLink | None:
    """Signature and record of a token, read-only; None means that the page says "this link is not valid"."""
    facts = read_token(secret_key, token)
    if facts is None:
        return None
    async with db.reading(facts.organization_id) as session:
        return await find_token(session, facts)


def _serializer(secret_key: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret_key, salt=_SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256})


def _pack(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
