"""The frame round a member's page, filled from the caller."""

from __future__ import annotations

from typing import Any

from litestar import Request

from tollgate.access.callers import caller_of
from tollgate.access.rules import Permission
from tollgate.web.csrf import Csrf
from tollgate.web.notices import notices_of
from tollgate.web.rendering import Shell


def csrf_token_for(request: Request[Any, Any, Any]) -> str:
    """A token for the forms of this page, bound to the session."""
    csrf: Csrf = request.app.state.csrf
    return csrf.token(request)


def shell_for(request: Request[Any, Any, Any], active: str = "") -> Shell:
    """Bar, navigation and notices of a signed-in member's page. `active` is a key of `web.rendering.NAVIGATION`."""
    caller = caller_of(request)
    return Shell(
        organization=caller.organization_name,
        member=caller.name,
        active=active,
        brand=f"/brand/{caller.organization_id}.css",
        csrf_token=csrf_token_for(request),
        notices=notices_of(request),
        hidden=frozenset() if caller.may(Permission.BILL) else frozenset({"payments"}),
    )
