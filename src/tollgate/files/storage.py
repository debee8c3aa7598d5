"""Where bytes are kept, named by their SHA-256.

`Storage` is the port; `LocalStorage` keeps files under the data folder. A file is written and synced before the row
that names it is committed, so a row never points at nothing; a file without a row is only space.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Protocol, runtime_checkable
from uuid import UUID

from tollgate.errors import NotFound, Unavailable, _

TRIAL_BYTES = 16 * 1024
"""What a trial writes: less than the smallest PDF."""


@runtime_checkable
class Storage(Protocol):
    """A place for immutable contents, apart per organization."""

    async def put(self, organization_id: UUID, content: bytes) -> str:
        """Keep `content`; answers its SHA-256 in hex once it is safe. Raises `Unavailable` when it cannot be kept."""
        ...

    async def get(self, organization_id: UUID, sha256_hex: str) -> bytes:
        """The content. Raises `NotFound` when it is not there, `Unavailable` when it no longer matches its name."""
        ...

    async def size(self, organization_id: UUID, sha256_hex: str) -> int | None:
        """How many bytes are kept under that name, without reading them; None when it is not there."""
        ...

    async def problem(self) -> str | None:
        """Why nothing can be kept at the moment, in a few words; None when something can."""
        ...


class LocalStorage:
    """Files in `<folder>/<organization>/<first two hex digits>/<sha256>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put(self, organization_id: UUID, content: bytes) -> str:
        """See `Storage.put`."""
        return await asyncio.to_thread(self._put, organization_id, content)

    async def get(self, organization_id: UUID, sha256_hex: str) -> bytes:
        """See `Storage.get`."""
        return await asyncio.to_thread(self._get, organization_id, sha256_hex)

    async def size(self, organization_id: UUID, sha256_hex: str) -> int | None:
        """See `Storage.size`."""
        return await asyncio.to_thread(self._size, organization_id, sha256_hex)

    async def problem(self) -> str | None:
        """See `Storage.problem`."""
        return await asyncio.to_thread(self._problem)

    def _path(self, organization_id: UUID, sha256_hex: str) -> Path:
        if len(sha256_hex) != 64 or not set(sha256_hex) <= set("0123456789abcdef"):
            raise NotFound
        return self.folder / str(organization_id) / sha256_hex[:2] / sha256_hex

    def _put(self, organization_id: UUID, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        path = self._path(organization_id, name)
        if path.exists() and path.stat().st_size == len(content):
            return name
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
        except OSError as error:
            raise Unavailable(_("The file could not be kept: %(reason)s", reason=error.strerror or type(error).__name__)) from error
        return name

    def _get(self, organization_id: UUID, sha256_hex: str) -> bytes:
        try:
            content = self._path(organization_id, sha256_hex).read_bytes()
        except FileNotFoundError:
            raise NotFound(_("The file is not in the store")) from None
        if hashlib.sha256(content).hexdigest() != sha256_hex:
            raise Unavailable(_("The stored file no longer matches its checksum"))
        return content

    def _size(self, organization_id: UUID, sha256_hex: str) -> int | None:
        path = self._path(organization_id, sha256_hex)
        try:
            return path.stat().st_size if path.is_file() else None
        except OSError as error:
            raise Unavailable(_("The file could not be read: %(reason)s", reason=error.strerror or type(error).__name__)) from error

    def _problem(self) -> str | None:
        # Tried rather than computed: quotas, read-only mounts and full disks all say it in the same way.
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix="trial-") as file:
                file.write(bytes(TRIAL_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            return error.strerror or type(error).__name__
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
