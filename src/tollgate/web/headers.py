"""Headers that every answer carries, set as the answer starts, whatever produced it."""

from __future__ import annotations

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from tollgate.web.cookies import hardened

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"
PERMISSIONS_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # under no-referrer a browser sends `Origin: null` with a form (R10)
    "permissions-policy": PERMISSIONS_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""What is set unless the handler set it: an approval link's first answer says `no-referrer`, a static file says how long it lives."""


class SecurityHeaders:
    """A `before_send` hook of the application: unlike a middleware it also covers addresses that no route knows.

    `https` adds HSTS, and Secure and `__Host-` to every cookie.
    """

    def __init__(self, *, https: bool = False) -> None:
        self._https = https
        self._headers = {**HEADERS, **({"strict-transport-security": STRICT_TRANSPORT_SECURITY} if https else {})}

    async def __call__(self, message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            if self._https and "set-cookie" in headers:
                cookies = [hardened(cookie) for cookie in headers.getall("set-cookie")]
                del headers["set-cookie"]
                for cookie in cookies:
                    headers.add("set-cookie", cookie)
