"""What an organization looks like: its colour as a stylesheet, its logo as an image. Public, for clients' pages wear them too."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tollgate.db.database import Database
from tollgate.errors import NotFound
from tollgate.files.storage import Storage
from tollgate.http.bodies import uuid_or_none
from tollgate.parties import queries
from tollgate.web.brand import brand_stylesheet

AnyRequest = Request[Any, Any, Any]
FOREVER, FOR_NOW = "public, max-age=31536000, immutable", "public, max-age=300"


@get("/brand/{name:str}")
async def brand(request: AnyRequest, name: FromPath[str], db: NamedDependency[Database], v: FromQuery[str] = "") -> Response[bytes]:
    """`/brand/<organization>.css`: the accent colour, for members' and clients' pages. Public: it says a colour, nothing else."""
    organization_id = uuid_or_none(name.removesuffix(".css"))
    if organization_id is None or not name.endswith(".css"):
        raise NotFound
    async with db.reading(organization_id) as session:
        seller = await queries.organization(session, organization_id)
    return _cached(request, brand_stylesheet(seller.accent).encode(), "text/css", seller.accent.lstrip("#"), v)


@get("/brand/{organization_id:uuid}/logo.png")
async def logo(
    request: AnyRequest,
    organization_id: FromPath[UUID],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
    v: FromQuery[str] = "",
) -> Response[bytes]:
    """The logo, as it was encoded here."""
    async with db.reading(organization_id) as session:
        seller = await queries.organization(session, organization_id)
    if seller.logo_sha256_hex is None:
        raise NotFound
    content = await storage.get(organization_id, seller.logo_sha256_hex)
    return _cached(request, content, "image/png", seller.logo_sha256_hex[:16], v)


def _cached(request: AnyRequest, content: bytes, media_type: str, version: str, asked: str) -> Response[bytes]:
    """Kept for a year under `?v=<version>`, else asked for again after five minutes."""
    headers = {"ETag": f'"{version}"', "Cache-Control": FOREVER if asked == version else FOR_NOW}
    if request.headers.get("if-none-match") == f'"{version}"':
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(content, media_type=media_type, headers=headers)
