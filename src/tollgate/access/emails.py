"""E-mail addresses as they are typed: a sane check, not a proof; only a mail that arrives proves anything."""

from __future__ import annotations

import re

from tollgate.errors import Invalid, Message, _, invalid

LONGEST = 254
_ADDRESS = re.compile(r"(?P<local>[^\s@<>()\[\],;:\\\"]{1,64})@(?P<domain>[^\s@<>()\[\],;:\\\"/]+)")
_LABEL = re.compile(r"[^\W_]([\w-]*[^\W_])?")


def email_problem(email: str) -> Message | None:
    """What is wrong with an address; None when it will do. One @, a domain with a dot (or localhost), no spaces, at most 254 characters."""
    if len(email) > LONGEST:
        return _("An e-mail address has at most %(most)s characters", most=LONGEST)
    found = _ADDRESS.fullmatch(email)
    if found is None or not email.isprintable():
        return _("Write an e-mail address such as name@example.com")
    local, domain = found["local"], found["domain"].lower()
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return _("The part before the @ cannot begin or end with a dot")
    labels = domain.split(".")
    if domain != "localhost" and len(labels) < 2:
        return _("The part after the @ needs a dot, as in example.com")
    if any(len(label) > 63 or _LABEL.fullmatch(label) is None for label in labels):
        return _("The part after the @ is not a domain")
    return None


def checked_email(email: str, pointer: str) -> str:
    """The trimmed address as it was written. Raises `Invalid` at `pointer`."""
    found = email.strip()
    problem = email_problem(found)
    if problem is not None:
        raise invalid(pointer, problem)
    return found


def normal_email(email: str, pointer: str = "/email") -> str:
    """The address that names a person: lower case. Raises `Invalid` at `pointer`."""
    return checked_email(email, pointer).lower()


def email_or_none(email: str) -> str | None:
    """The address that names a person, None for what cannot be one."""
    try:
        return normal_email(email)
    except Invalid:
        return None
