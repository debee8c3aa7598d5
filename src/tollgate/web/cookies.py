"""Cookies that the rest of the host cannot set or read."""

from __future__ import annotations

from uuid import UUID

from litestar.datastructures import Cookie

from tollgate.settings import Settings


def cookie_name(settings: Settings, name: str) -> str:
    """`__Host-<name>` on https, where a browser then insists on Secure, Path=/ and no Domain; the bare name on plain http."""
    return f"__Host-{name}" if settings.is_https else name


def host_cookie(settings: Settings, name: str, value: str, *, max_age: int | None = None) -> Cookie:
    """An HttpOnly, SameSite=Lax cookie for this host alone; `max_age` in seconds, None lives as long as the browser."""
    return Cookie(
        key=cookie_name(settings, name), value=value, path="/", httponly=True, secure=settings.is_https, samesite="lax", max_age=max_age
    )


def hardened(set_cookie: str) -> str:
    """A `Set-Cookie` of an https server as `host_cookie` would write it: for cookies made where no settings are at hand (notices)."""
    name, _equals, rest = set_cookie.partition("=")
    prefixed = name if name.startswith("__Host-") else f"__Host-{name}"
    attributes = {part.partition("=")[0].strip().lower() for part in rest.split(";")[1:]}
    return f"{prefixed}={rest}" + ("" if "secure" in attributes else "; Secure")


def expired_cookie(settings: Settings, name: str) -> Cookie:
    """The cookie that removes `name` from the browser."""
    return host_cookie(settings, name, "", max_age=0)


def link_cookie(link_id: UUID) -> str:
    """The bare name of the cookie that holds one client link's token; each link has its own, so two open mails do not mix (R10)."""
    return f"tg-link-{link_id.hex}"
