"""Static files under their content's hash: `/static/<hash>/tollgate.css` may be kept for a year, because a change makes a new address."""

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from litestar import Response, get
from litestar.params import FromPath

from tollgate.errors import NotFound

FOLDER = Path(__file__).parent / "static"
FOREVER = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is served: its bytes, content type and the first 16 hex digits of its SHA-256."""

    content: bytes
    media_type: str
    digest: str


@lru_cache(maxsize=1)
def static_files() -> dict[str, StaticFile]:
    """Every file of the static folder by its name below it. Read once: they change only with a new release."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and path.suffix != ".md":
            content = path.read_bytes()
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.relative_to(FOLDER).as_posix()] = StaticFile(content, kind, hashlib.sha256(content).hexdigest()[:16])
    return found


def static_url(name: str) -> str:
    """The address of a static file: `static_url("tollgate.css")`. A missing one is a bug and raises `KeyError`."""
    return f"/static/{static_files()[name].digest}/{name}"


@get("/static/{digest:str}/{name:path}", sync_to_thread=False, include_in_schema=False, name="static")
def static_file(digest: FromPath[str], name: FromPath[Path]) -> Response[bytes]:
    """A static file. A page of an older release asks for its old hash: it gets today's file, which is not kept."""
    found = static_files().get(name.as_posix().lstrip("/"))
    if found is None:
        raise NotFound
    cache = FOREVER if digest == found.digest else "no-cache"
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": cache, "ETag": f'"{found.digest}"'})


@get("/favicon.ico", sync_to_thread=False, include_in_schema=False)
def favicon() -> Response[bytes]:
    """Browsers ask for this address unasked; give them the mark instead of a 404 in the log."""
    mark = static_files()["favicon.svg"]
    return Response(mark.content, media_type=mark.media_type, headers={"Cache-Control": "public, max-age=86400"})
