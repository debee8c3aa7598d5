"""Errors as pages: what happened, in the reader's words, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from litestar import Request, Response

from tollgate import i18n
from tollgate.errors import NotSignedIn, _
from tollgate.http.problems import Problem, as_tollgate_error, headers_of, note_refusal, problem_response, status_of
from tollgate.web.csrf import Csrf, CsrfFailed
from tollgate.web.rendering import page, see_other

MACHINES = ("/api/", "/webhooks/", "/health/", "/metrics")

LONGEST_RETURN = 500
"""Characters of an address that somebody is brought back to after signing in."""


def failure_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The application's exception handler: JSON for machines, a page for people, the sign-in for those not signed in."""
    path = request.url.path
    if path.startswith(MACHINES):
        return problem_response(request, error)
    refused = as_tollgate_error(error)
    note_refusal(request, refused)
    if isinstance(refused, NotSignedIn):
        here = _asked(request) if request.method == "GET" and path != "/" else ""
        if len(here) > LONGEST_RETURN:
            here = path if len(path) <= LONGEST_RETURN else ""  # The sign-in would not go back there, and no header should be endless.
        return see_other(f"/sign-in?next={quote(here)}" if here else "/sign-in")
    title = i18n.translate(refused.detail if isinstance(refused, Problem) else refused.title)
    detail = i18n.translate(refused.detail)
    again = again_of(request, refused)
    if again is not None:
        title = detail = i18n.translate(_("This form had expired"))
    return page(
        "error.html",
        status=status_of(refused),
        headers=headers_of(refused),
        title=title,
        detail="" if detail == title else detail,
        way_out=None,
        reference=None,
        form_expired=isinstance(refused, CsrfFailed),
        again=again,
    )


def _asked(request: Request[Any, Any, Any]) -> str:
    """The address as it was asked for, filters and place in the list with it."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


@dataclass(frozen=True, slots=True)
class Again:
    """A refused form as it was typed, with a token that is valid now."""

    action: str
    token: str
    fields: tuple[tuple[str, str], ...]
    signed_out: bool
    """The member's session has ended: it is renewed in another tab first."""


def again_of(request: Request[Any, Any, Any], refused: Exception, *, members: bool = True) -> Again | None:
    """What was typed into a form whose token was stale, to be sent again with one press; None where there is nothing to keep."""
    if not isinstance(refused, CsrfFailed) or not refused.typed:
        return None
    csrf: Csrf = request.app.state.csrf
    return Again(_asked(request), csrf.token(request), refused.typed, signed_out=members and request.scope.get("user") is None)
