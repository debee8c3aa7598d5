"""Secrets at rest: AES-256-GCM under a key derived from SECRET_KEY (HKDF), bound to the organization and the kind of secret."""

from __future__ import annotations

import os
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tollgate.errors import Unavailable, _

_NONCE_BYTES = 12


class Unreadable(Unavailable):
    """The stored secret was sealed under another SECRET_KEY."""

    slug = "gateway-secret-unreadable"
    title = _("The stored payment keys cannot be read: SECRET_KEY has changed. Connect the account again")


def seal(secret_key: str, organization_id: UUID, kind: str, secret: str) -> bytes:
    """`secret` as bytes that only this SECRET_KEY opens, for this organization and kind."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(secret_key).encrypt(nonce, secret.encode(), _about(organization_id, kind))


def unseal(secret_key: str, organization_id: UUID, kind: str, sealed: bytes) -> str:
    """The secret again. Raises `Unreadable`."""
    try:
        plain = _cipher(secret_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _about(organization_id, kind))
    except (InvalidTag, ValueError):
        raise Unreadable from None
    return plain.decode()


@lru_cache(maxsize=4)
def _cipher(secret_key: str) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=None, info=b"tollgate gateway account").derive(secret_key.encode()))


def _about(organization_id: UUID, kind: str) -> bytes:
    # A row copied to another organization or column does not open.
    return organization_id.bytes + kind.encode()
