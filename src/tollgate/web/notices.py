"""One-time notices ("Client saved") carried over a redirect in a cookie, shown once and removed."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Literal, cast

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from tollgate.errors import Message
from tollgate.i18n import translate
from tollgate.settings import Settings
from tollgate.web.cookies import cookie_name

COOKIE = "tg-notice"
LONGEST = 500
"""Characters of one notice; a cookie may not grow into a header that a proxy refuses."""
NoticeKind = Literal["info", "success", "warning", "danger"]
KINDS = ("info", "success", "warning", "danger")


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the reader, already in the reader's language."""

    text: str
    kind: NoticeKind = "success"


def notice_cookie(notice: Message | str, kind: NoticeKind = "success") -> Cookie:
    """The cookie that carries a notice to the next page. It grants nothing and is shown as text, so it needs no signature.

    On https `web.headers` gives it Secure and the `__Host-` prefix, like every cookie.
    """
    text = translate(notice) if isinstance(notice, Message) else notice
    value = base64.urlsafe_b64encode(json.dumps([kind, text[:LONGEST]]).encode()).decode().rstrip("=")
    return Cookie(key=COOKIE, value=value, path="/", httponly=True, samesite="lax", max_age=60)


def shown_cookie() -> Cookie:
    """Removes the notice once it has been shown."""
    return Cookie(key=COOKIE, value="", path="/", httponly=True, samesite="lax", max_age=0)


def notices_of(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[Notice, ...]:
    """The notice that came with this request; anything unreadable is no notice."""
    settings: Settings | None = connection.app.state.get("settings")
    raw = connection.cookies.get(COOKIE if settings is None else cookie_name(settings, COOKIE), "")
    if not raw or len(raw) > 4 * LONGEST:
        return ()
    try:
        kind, text = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
    except (ValueError, TypeError, binascii.Error):
        return ()
    if kind not in KINDS or not isinstance(text, str):
        return ()
    return (Notice(text[:LONGEST], cast("NoticeKind", kind)),)
