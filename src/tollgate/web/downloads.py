"""Files that people take away: always as an attachment, never run or shown by the browser in our name."""

from __future__ import annotations

import re
from urllib.parse import quote

from litestar import Response

_TYPES = frozenset({"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp", "text/plain", "text/csv", "application/zip"})
"""What keeps its type; everything else, HTML and SVG above all, is just bytes."""


_NO_NAME = re.compile(r'[\x00-\x1f\x7f-\x9f"*/:<>?\\|\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]')
"""What is part of no file's name on some system, or makes a name read other than it is."""


def download_name(name: str) -> str:
    """A name under which a file can be saved: no path, nothing hidden, nothing that turns the reading direction round, not a dot first."""
    return _NO_NAME.sub("_", name).strip(" .")[:200] or "file"


def attachment(name: str, content: bytes, content_type: str | None = None) -> Response[bytes]:
    """A download under its own name (RFC 6266), in a sandbox of its own should a browser show it after all."""
    name = download_name(name)
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name).strip() or "file"
    return Response(
        content,
        media_type=content_type if content_type in _TYPES else "application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        },
    )
