"""Errors as `application/problem+json` (RFC 9457). The only place that maps kinds of error to statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from tollgate import i18n
from tollgate.db.outages import is_outage
from tollgate.errors import (
    Conflict,
    FieldError,
    Invalid,
    Message,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Stale,
    TollgateError,
    TooLarge,
    TooManyAttempts,
    Unavailable,
    _,
)

log = structlog.get_logger("tollgate.http")

STATUSES: Mapping[type[TollgateError], int] = {
    NotFound: 404,
    NotSignedIn: 401,
    NotAllowed: 403,
    Conflict: 409,
    Stale: 412,
    TooLarge: 413,
    Invalid: 422,
    TooManyAttempts: 429,
    Unavailable: 503,
}
TYPE_BASE = "https://tollgate.example/problems/"
PROBLEM_JSON = "application/problem+json"
TRY_AGAIN_SECONDS = 10
"""What a 503 says when nobody knows better."""

GUARDED = frozenset({"signature-invalid", "other-mode", "other-account", "link-unknown"})
"""Refusals of something forged or not ours that answer neither 401 nor 403."""

_PARAMETER_NAMES = {"in_state": "state", "since": "from", "until": "to", "wanted": "format"}
"""Query parameters whose name in Python is another: Litestar reports the Python one."""
_UNKNOWN_MEMBER = re.compile(r"Object contains unknown field `(.+)`")


class Problem(TollgateError):
    """An error of the protocol (unknown route, wrong method, malformed body) in our own shape."""

    def __init__(self, status: int, slug: str, detail: Message, errors: tuple[FieldError, ...] = (), *, allow: str | None = None) -> None:
        super().__init__(detail, errors=errors)
        self.status = status
        self.problem_slug = slug
        self.allow = allow
        """Of a 405: the methods that the address takes, as the header `Allow` lists them."""


def status_of(error: TollgateError) -> int:
    """The HTTP status of an error's kind."""
    if isinstance(error, Problem):
        return error.status
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return status
    return 400


def as_tollgate_error(error: Exception) -> TollgateError:
    """Whatever was raised, as one of our kinds. A bug becomes a 500 that says nothing of its inside, and is logged."""
    if isinstance(error, TollgateError):
        return error
    if isinstance(error, ValidationException):
        return _from_validation(error)
    if isinstance(error, HTTPException):
        return _from_http(error)
    if isinstance(error, UnicodeDecodeError | RecursionError):
        # What a JSON parser says of bytes that are no UTF-8, and of a thousand brackets in one another.
        log.warning("unreadable request", exc_info=error)
        return Problem(400, "malformed", _("The body cannot be read as what its media type says"))
    if is_outage(error):
        log.warning("database unavailable", error=type(error).__name__)
        return Unavailable(_("The database does not answer right now. Nothing was changed; try again in a moment"), retry_after=2)
    log.error("unexpected error", exc_info=error)
    return Problem(500, "internal-error", _("Something went wrong here. It was recorded; trying once more is safe"))


def problem_json(error: TollgateError) -> dict[str, Any]:
    """The members of the problem document, in the reader's language."""
    slug = error.problem_slug if isinstance(error, Problem) else error.slug
    title = error.detail if isinstance(error, Problem) else error.title
    body: dict[str, Any] = {
        "type": TYPE_BASE + slug,
        "title": i18n.translate(title),
        "status": status_of(error),
        "detail": i18n.translate(error.detail),
    }
    if error.errors:
        body["errors"] = [{"pointer": item.pointer, "detail": i18n.translate(item.detail)} for item in error.errors]
    for name, value in error.facts.items():
        if value is not None:
            body[name] = value if isinstance(value, str | int | bool | list | dict) else str(value)
    return body


def headers_of(error: TollgateError) -> dict[str, str]:
    """Headers that belong to the kind of error."""
    retry_after = error.facts.get("retry_after")
    if retry_after is None and isinstance(error, Unavailable):
        retry_after = TRY_AGAIN_SECONDS
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if isinstance(error, NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Problem) and error.allow is not None:
        headers["Allow"] = error.allow
    return headers


def note_refusal(request: Request[Any, Any, Any], error: TollgateError) -> None:
    """Log who was kept from what by a guard: no right, a forged form or signature, a link that is none. Not signed in is told lower."""
    slug, status = error.problem_slug if isinstance(error, Problem) else error.slug, status_of(error)
    if status in {401, 403} or slug in GUARDED:
        caller = request.scope.get("user")
        # A path holds no secret but a link's token, and that is struck out; of whoever asks only ids are kept (R23).
        who = {"caller": f"{caller.kind}:{caller.id}", "organization": str(caller.organization_id)} if caller is not None else {}
        note = log.info if status == 401 else log.warning
        note("refused", because=slug, status=status, method=request.method, path=request.url.path[:200], **who)


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """The exception handler of everything that speaks JSON."""
    refused = as_tollgate_error(error)
    note_refusal(request, refused)
    return Response(problem_json(refused), status_code=status_of(refused), headers=headers_of(refused), media_type=PROBLEM_JSON)


def _from_validation(error: ValidationException) -> TollgateError:
    found: list[FieldError] = []
    extra = error.extra if isinstance(error.extra, list) else []
    for item in extra:
        key, message = str(item.get("key", "")), str(item.get("message", ""))
        source = str(item.get("source", "body"))
        pointer = _pointer(key) if source == "body" else f"/{_PARAMETER_NAMES.get(key, key)}"
        unknown = _UNKNOWN_MEMBER.search(message)
        if message == "'data'":
            found.append(FieldError("", _("Send a body")))  # Litestar's words for an empty one.
        elif unknown:
            found.append(FieldError(f"{pointer}/{unknown[1]}", _("This member is not known here")))
        else:
            found.append(FieldError(pointer, _("%(problem)s", problem=message)))
    return Problem(422, "invalid", _("Some of what was sent cannot be used"), tuple(found))


def _pointer(key: str) -> str:
    """`milestones[2].amount` → `/milestones/2/amount`; the body itself is ``."""
    key = key.removeprefix("data.") if key.startswith("data.") else ("" if key == "data" else key)
    parts = [part for part in re.split(r"[.\[\]]+", key) if part]
    return "".join(f"/{part}" for part in parts)


def _from_http(error: HTTPException) -> TollgateError:
    known: Mapping[int, tuple[str, Message]] = {
        400: ("malformed", _("The request cannot be read")),
        401: ("not-signed-in", _("Sign in first")),
        403: ("not-allowed", _("You are not allowed to do this")),
        404: ("not-found", _("Not found")),
        405: ("method-not-allowed", _("This address does not take that method")),
        413: ("too-large", _("The request is larger than the limit")),
        415: ("unsupported-media-type", _("This media type is not understood here")),
        429: ("too-many-attempts", _("Too many attempts")),
    }
    status = error.status_code
    if status == 404:
        return NotFound()
    if status == 400 and isinstance(error.__cause__, Exception):
        return Problem(400, "malformed", _("The body cannot be read as what its media type says"))
    slug, message = known.get(status, ("http-error", _("The request was refused")))
    return Problem(status, slug, message, allow=_allowed(error) if status == 405 else None)


def _allowed(error: HTTPException) -> str:
    methods = {method.strip() for method in (error.headers or {}).get("allow", "").split(",")} - {""}
    if "GET" in methods:
        methods.add("HEAD")  # `http.heads` runs it as GET.
    return ", ".join(sorted(methods))
