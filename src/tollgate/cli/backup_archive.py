"""What a backup is: one tar file that begins with its manifest, and how it is read and proved.

manifest.json                       what is inside, with the SHA-256 of everything and of itself
database.dump                       pg_dump's custom format
anchors/<organization>.jsonl        heads of the audit trails, signed with SECRET_KEY
files/<organization>/<sha256>       every stored file that the dump names
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO
from uuid import UUID

import msgspec

from tollgate.canonical import canonical_json
from tollgate.errors import Invalid, NotFound, _

FORMAT = 1
MANIFEST, DUMP, ANCHORS, FILES = "manifest.json", "database.dump", "anchors", "files"
CHUNK = 1024 * 1024
MOST_MANIFEST_BYTES = 512 * 1024 * 1024
MOST_NAMED = 20
"""How many damaged members are listed."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an organization's audit trail ended."""

    seq: int
    hash: str


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member of the archive: size in bytes, and SHA-256 in hex."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup says of itself. Counts and heads are of the very snapshot that was dumped."""

    format: int
    tollgate: str
    revision: str
    postgresql: int
    made_at: datetime
    secret_key_fingerprint: str
    tables: dict[str, int]
    audit_heads: dict[UUID, Head]
    dump: Kept
    anchors: dict[UUID, Kept]
    files: dict[UUID, dict[str, int]]
    """Per organization: SHA-256 in hex, and size."""

    def members(self) -> dict[str, Kept]:
        """Every member after the manifest, in order."""
        anchors = {f"{ANCHORS}/{organization}.jsonl": kept for organization, kept in self.anchors.items()}
        files = {
            f"{FILES}/{organization}/{name}": Kept(size, name) for organization, kept in self.files.items() for name, size in kept.items()
        }
        return {DUMP: self.dump, **anchors, **files}

    @property
    def file_count(self) -> int:
        """How many stored files are inside."""
        return sum(len(kept) for kept in self.files.values())

    def encoded(self) -> bytes:
        """The bytes of `manifest.json`: the manifest and the hash over its canonical spelling."""
        plain = json.loads(msgspec.json.encode(self))
        return msgspec.json.format(
            msgspec.json.encode({"manifest": plain, "sha256": hashlib.sha256(canonical_json(plain)).hexdigest()}), indent=1
        )


@dataclass(frozen=True, slots=True)
class Member:
    """One member that was found, whole or not; its bytes were given to `sink`."""

    name: str
    problem: str = ""


def fingerprint(secret_key: str) -> str:
    """A word by which a SECRET_KEY is recognised and from which it cannot be found."""
    return hashlib.blake2b(secret_key.encode(), person=b"tollgate-backup").hexdigest()[:16]


def sha256_of(file: IO[bytes], copy_to: IO[bytes] | None = None) -> Kept:
    """Size and hash of what is left in a file, copied on the way."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    return Kept(size, digest.hexdigest())


def add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int, made_at: datetime) -> None:
    """Append a member; nothing of the machine that wrote it comes along."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(made_at.timestamp())
    archive.addfile(info, content)


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes, made_at: datetime) -> None:
    """Append a small member."""
    add(archive, name, io.BytesIO(content), len(content), made_at)


def read_manifest(path: Path) -> Manifest:
    """The manifest alone. Raises `NotFound`, and `Invalid` for what is no backup, is damaged, or is of an unknown release."""
    try:
        with tarfile.open(path, "r:") as archive:
            return _manifest_in(archive, path)
    except (tarfile.TarError, EOFError) as error:
        raise Invalid(_("%(path)s is not a backup of Tollgate: %(reason)s", path=path, reason=error)) from error
    except FileNotFoundError:
        raise NotFound(_("There is no file %(path)s", path=path)) from None
    except IsADirectoryError:
        raise Invalid(_("%(path)s is a folder: name one backup in it", path=path)) from None
    except OSError as error:
        raise Invalid(_("%(path)s cannot be read: %(reason)s", path=path, reason=error.strerror or error)) from error


def _manifest_in(archive: tarfile.TarFile, path: Path) -> Manifest:
    first = archive.next()
    content = archive.extractfile(first) if first is not None and first.name == MANIFEST and first.size <= MOST_MANIFEST_BYTES else None
    if content is None:
        raise Invalid(_("%(path)s is not a backup of Tollgate: it does not begin with a manifest", path=path))
    try:
        told = json.loads(content.read())
        plain = told["manifest"]
        is_whole = told["sha256"] == hashlib.sha256(canonical_json(plain)).hexdigest()
        known = plain["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(_("The manifest of %(path)s is damaged: %(reason)s", path=path, reason=error)) from error
    if not is_whole:
        raise Invalid(_("The manifest of %(path)s is damaged: it does not match its own checksum", path=path))
    if known != FORMAT:
        raise Invalid(
            _("%(path)s has the backup format %(format)s, and this release reads %(known)s: use the release that made it, %(release)s",
              path=path, format=known, known=FORMAT, release=plain.get("tollgate", "-"))
        )  # fmt: skip
    try:
        return msgspec.convert(plain, Manifest)
    except msgspec.ValidationError as error:
        raise Invalid(_("The manifest of %(path)s is damaged: %(reason)s", path=path, reason=error)) from error


Sink = Callable[[str, Kept], IO[bytes] | None]
"""Where a member's bytes go while they are compared; None when they are only compared."""


def walk(path: Path, manifest: Manifest, sink: Sink = lambda name, kept: None) -> Iterator[Member]:
    """Compare every member with the manifest; what is missing, unknown, twice there, cut or changed has a problem."""
    missing = manifest.members()
    try:
        with tarfile.open(path, "r:") as archive:
            archive.next()
            while (info := archive.next()) is not None:
                expected = missing.pop(info.name, None)
                content = archive.extractfile(info) if info.isreg() else None
                if expected is None or content is None:
                    yield Member(info.name, "is not in the manifest")
                    continue
                target = sink(info.name, expected)
                found = sha256_of(content, target)
                if target is not None:
                    target.close()
                yield Member(info.name, "" if found == expected else f"is damaged: SHA-256 {found.sha256}, {found.size} bytes")
    except (tarfile.TarError, EOFError) as error:
        yield Member(path.name, f"ends too early or is damaged: {error}")
    yield from (Member(name, "is missing") for name in missing)


def verify(path: Path) -> Manifest:
    """Read the whole backup. Raises `Invalid` that names what is damaged."""
    manifest = read_manifest(path)
    refuse_damaged(path, [member for member in walk(path, manifest) if member.problem])
    return manifest


def refuse_damaged(path: Path, damaged: list[Member]) -> None:
    """Raise `Invalid` that names the members with a problem, if there are any."""
    if damaged:
        named = "; ".join(f"{member.name} {member.problem}" for member in damaged[:MOST_NAMED])
        raise Invalid(_("%(path)s is damaged (%(count)s): %(named)s", path=path, count=len(damaged), named=named))
