"""A request as a command: who asks, under which key, and the answer when it was asked before."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from litestar import Request, Response

from tollgate.db.command import ActorKind, Command, Replayed
from tollgate.errors import _, invalid

T = TypeVar("T")

KEY_HEADER = "idempotency-key"


def client_address(request: Request[Any, Any, Any]) -> str:
    """The caller's address as the server sees it; behind a proxy uvicorn has already applied its headers."""
    return request.client.host if request.client else ""


async def command_from(
    request: Request[Any, Any, Any], organization_id: UUID, kind: ActorKind, actor_id: UUID | None, role: str, key: str | None
) -> Command:
    """The command of a writing request. The hash covers method, address and body, so that a key means one request."""
    if key is not None and not 0 < len(key) <= 255:
        raise invalid("/idempotency-key", _("An idempotency key has 1 to 255 characters"))
    content_type = request.headers.get("content-type", "")
    # A form's boundary or token differs on every send; its fields are what counts.
    body = (
        await _form_digest(request)
        if content_type.startswith(("multipart/", "application/x-www-form-urlencoded"))
        else await request.body()
    )
    seen = hashlib.sha256(f"{request.method} {request.url.path}\n".encode() + body).digest()
    return Command(
        organization_id=organization_id,
        actor_kind=kind,
        actor_id=actor_id,
        role=role,
        verb=f"{request.method} {request.url.path}"[:200],
        key=key,
        request_sha256=seen,
        ip=client_address(request)[:45],
        user_agent=request.headers.get("user-agent", "")[:200],
    )


async def _form_digest(request: Request[Any, Any, Any]) -> bytes:
    digest = hashlib.sha256()
    form = await request.form()
    for name, value in sorted(form.multi_items(), key=lambda item: item[0]):
        if name == "csrf_token":
            continue
        digest.update(name.encode() + b"\x00")
        if isinstance(value, str):
            digest.update(value.encode("utf-8", "surrogatepass"))
        else:
            content = await value.read()
            await value.seek(0)
            digest.update(hashlib.sha256(content).digest())
        digest.update(b"\x00")
    return digest.digest()


async def perform(
    verb: Awaitable[UUID], show: Callable[[UUID], Awaitable[T]], *, status: int = 200, headers: Callable[[T], dict[str, str]] | None = None
) -> Response[T]:
    """Carry out a verb once and show its resource; a repeat shows it anew, under the first status, marked as replayed."""
    replayed = False
    try:
        resource_id = await verb
    except Replayed as done:
        resource_id, status, replayed = done.resource_id, done.status, True
    shown = await show(resource_id)
    extra = headers(shown) if headers else {}
    if replayed:
        extra["Idempotency-Replayed"] = "true"
    return Response(shown, status_code=status, headers=extra)


async def perform_once(verb: Awaitable[UUID]) -> UUID:
    """The same for pages, which redirect to the resource either way."""
    try:
        return await verb
    except Replayed as done:
        return done.resource_id
