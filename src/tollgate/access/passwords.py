"""Passwords: argon2id in threads, a rule for new ones, and a generator for those that nobody chose."""

from __future__ import annotations

import asyncio
import gzip
import re
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tollgate.errors import Message, _

SHORTEST, LONGEST = 10, 200
CONTEXT_WORDS = frozenset(
    "account admin administrator billing bonjour changeme client contract finance geheim hallo invoice kennwort letmein login manager"
    " member milestone passphrase passwort password payment secret stripe tollgate viewer welcome willkommen".split()
)
"""What somebody would try first at this program's door; with them the organization's name, and the person's own name and address."""
_OWN_LETTERS = 6
"""Letters and digits that a password has besides such words."""
_BREACHED = Path(__file__).parent / "breached" / "passwords.txt.gz"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is mistaken for something else when read aloud

_hasher = PasswordHasher()
# Each hash takes 64 MiB: a crowd at the door may wait, but may not take the memory of the whole server.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="password")


def _bytes(password: str) -> bytes:
    # NFC: one keyboard sends "é" as one character, another as two.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_bytes(16))


async def hash_password(password: str) -> str:
    """The argon2id hash, computed in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, _bytes(password))


async def is_right(password_hash: str | None, password: str) -> bool:
    """Whether `password` belongs to the hash. Without a hash (unknown address) it takes the same time and is False."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _is_right, password_hash, password)


def _is_right(password_hash: str | None, password: str) -> bool:
    try:
        return _hasher.verify(password_hash or _nobodys_hash(), _bytes(password[: LONGEST + 1])) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


def generate() -> str:
    """A password of 99 random bits in five groups, for a person to copy once."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _number in range(4)) for _group in range(5))


def weakness(password: str, *near: str) -> Message | None:
    """Why a new password is refused; None when it will do. `near` are words around it: e-mail address, name, organization.

    No rule asks for kinds of characters, and none asks for a change after a while.
    """
    if len(password) < SHORTEST:
        return _("Use at least %(least)s characters; several words are easy to remember", least=SHORTEST)
    if len(password) > LONGEST:
        return _("Use at most %(most)s characters", most=LONGEST)
    if len(set(password)) < 5:
        return _("Use more than four different characters")
    plain = unicodedata.normalize("NFC", password).casefold()
    if any(len(word) >= 4 and plain.replace(" ", "") == word.casefold().replace(" ", "") for word in near):
        return _("A password may not be your own name or e-mail address")
    if _is_mostly(plain, near):
        return _("These are words that anyone would try here, such as your name or your organization's; add some of your own")
    if is_breached(plain):
        return _("This password is on public lists of stolen passwords, which are tried first; use another one")
    return None


def is_breached(password: str) -> bool:
    """Whether a password, in lower case, with or without its spaces, is on the list of published ones."""
    # Read anew each time: a password is chosen rarely, and the list would take megabytes in every process.
    known = gzip.decompress(_BREACHED.read_bytes()).decode().split("\n")
    return not {password, password.replace(" ", "")}.isdisjoint(known)


def _is_mostly(plain: str, near: tuple[str, ...]) -> bool:
    words = CONTEXT_WORDS | {word for text in near for word in re.findall(r"[^\W_]{4,}", text.casefold())}
    # The longest first, so that "administrator" does not leave "istrator" behind.
    for word in sorted(words, key=len, reverse=True):
        plain = plain.replace(word, " ")
    return sum(map(str.isalnum, plain)) < _OWN_LETTERS
