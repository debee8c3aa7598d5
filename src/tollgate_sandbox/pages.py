"""The sandbox's own HTML: Jinja templates with autoescape, one stylesheet, a policy that loads nothing from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jinja2

from tollgate_sandbox.asgi import Response
from tollgate_sandbox.currencies import show

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-src 'self'; connect-src 'self'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def amount(minor: int, currency: str) -> str:
    """An amount for a page, with a real minus sign."""
    return show(minor, currency).replace("-", "−")


def day(seconds: int | None) -> str:
    """A day for people, in UTC: `24 November 2026`."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%-d %B %Y}"


def moment(seconds: float | None) -> str:
    """An instant for people, in UTC."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%-d %b %Y, %H:%M:%S} UTC"


_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("tollgate_sandbox"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.filters.update(amount=amount, day=day, moment=moment)


def page_response(template: str, status: int = 200, **values: Any) -> Response:
    """A rendered page."""
    body = _templates.get_template(template).render(**values).encode()
    headers = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}
    return Response(body, status, headers=headers)


def message_page(title: str, text: str, status: int, kind: str = "stripe") -> Response:
    """A page that says one thing."""
    return page_response("message.html", status, title=title, text=text, kind=kind)
