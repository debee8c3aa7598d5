"""Buttons of pages: carry out a verb once, go back to its page, and say there what came of it."""

from __future__ import annotations

from collections.abc import Awaitable
from uuid import UUID

from litestar import Response

from tollgate.errors import Message, NotFound, NotSignedIn, TollgateError
from tollgate.http.commands import perform_once
from tollgate.web.rendering import see_other


async def act(verb: Awaitable[UUID], to: str, done: Message) -> Response[None]:
    """303 to `to` with the notice `done`, or with the refusal's own words. What is not there stays a 404."""
    try:
        await perform_once(verb)
    except (NotFound, NotSignedIn):
        raise
    except TollgateError as refused:
        return see_other(to, notice=refused.detail, kind="danger")
    return see_other(to, notice=done)
