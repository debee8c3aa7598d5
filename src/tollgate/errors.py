"""The few kinds of error Tollgate raises on purpose, and the lazy message marker they speak through.

Knows no web framework: `http/` alone turns a kind into a status. A bug stays an ordinary exception.
Messages are marked with `_()` where they are written and translated where they are shown, so that a rule
needs no locale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Message:
    """A translatable sentence with `%(name)s` placeholders, in English until somebody shows it.

    >>> str(_("left over: %(amount)s", amount="0.01 EUR"))
    'left over: 0.01 EUR'
    """

    text: str
    arguments: dict[str, Any] = field(default_factory=dict)
    plural: str | None = None
    count: int | None = None

    def __str__(self) -> str:
        text = self.plural if self.plural is not None and self.count != 1 else self.text
        return text % self.arguments if self.arguments else text


def _(text: str, **arguments: Any) -> Message:
    """Mark a sentence for translation; `i18n.translate` turns it into the reader's language."""
    return Message(text, arguments)


def ngettext(singular: str, plural: str, n: int, **arguments: Any) -> Message:
    """Mark a sentence that depends on a count; `%(n)s` is the count itself."""
    return Message(singular, {"n": n, **arguments}, plural, n)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field. `pointer` is a JSON pointer into the body (RFC 6901): `/milestones/2/amount`."""

    pointer: str
    detail: Message


class TollgateError(Exception):
    """Something was refused, and the caller can act on it. `slug` is stable and public: clients switch on it."""

    slug: ClassVar[str] = "error"
    title: ClassVar[Message] = _("The request was refused")

    def __init__(self, detail: Message | None = None, *, errors: Sequence[FieldError] = (), **facts: Any) -> None:
        self.detail = detail if detail is not None else self.title
        self.errors = tuple(errors)
        self.facts = facts
        """Machine-readable members of the problem document (ids, states, instants); never personal data."""
        super().__init__(str(self.detail))


class NotFound(TollgateError):
    """There is no such thing for this caller. A foreign organization's id answers exactly like a missing one."""

    slug = "not-found"
    title = _("Not found")


class NotSignedIn(TollgateError):
    """No valid session or API key came with the request."""

    slug = "not-signed-in"
    title = _("Sign in first")


class NotAllowed(TollgateError):
    """The caller is known but may not do this."""

    slug = "not-allowed"
    title = _("You are not allowed to do this")


class Conflict(TollgateError):
    """The state of the thing, or somebody quicker, forbids it."""

    slug = "conflict"
    title = _("This is not possible in the present state")


class Stale(TollgateError):
    """The version that the caller edited is not the newest one (If-Match)."""

    slug = "stale"
    title = _("Somebody changed this in the meantime")


class Invalid(TollgateError):
    """The input is wrong; `errors` names each field, the reason and the way out."""

    slug = "invalid"
    title = _("Some of what was entered cannot be used")


class TooLarge(TollgateError):
    """More bytes, rows or digits than the stated limit."""

    slug = "too-large"
    title = _("This is larger than the limit")


class TooManyAttempts(TollgateError):
    """A limit on attempts was reached; `retry_after` seconds are in the facts."""

    slug = "too-many-attempts"
    title = _("Too many attempts")


class Unavailable(TollgateError):
    """Something outside (database, Stripe, mail) does not answer now; trying again later is right."""

    slug = "unavailable"
    title = _("Not available at the moment")


def invalid(pointer: str, detail: Message) -> Invalid:
    """The common case of one wrong field."""
    return Invalid(detail, errors=[FieldError(pointer, detail)])
