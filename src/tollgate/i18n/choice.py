"""Which locale is spoken: tags, the ContextVar that holds the present one, and the choice from a browser's wishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType

from babel import Locale, UnknownLocaleError

DEFAULT = "en"
"""The source language: every message is written in it, so it needs no catalog."""

SUPPORTED: Mapping[str, str] = MappingProxyType({"en": "English"})
"""Shipped languages by tag, with their own name. Adding one: its catalog under `locales/`, and a line here."""

current_locale: ContextVar[str] = ContextVar("tollgate_locale", default=DEFAULT)
"""BCP 47 tag of the reader (`en`, `de-AT`). Words fall back to English where no catalog is shipped; formats follow the tag."""


@contextmanager
def use_locale(tag: str) -> Iterator[None]:
    """Let everything inside be written for `tag`: a client's mail, a document, a member's page. An unknown tag means English."""
    token = current_locale.set(tag if is_known(tag) else DEFAULT)
    try:
        yield
    finally:
        current_locale.reset(token)


def is_known(tag: str) -> bool:
    """Whether numbers and days can be formatted for this tag (Babel's CLDR data)."""
    try:
        babel_locale(tag)
    except (UnknownLocaleError, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=256)
def babel_locale(tag: str) -> Locale:
    """Babel's locale for a tag. Plain `en` writes 24 Dec 2026 (en-GB): CLDR's `en` is the United States', whose 12/24 misleads others."""
    return Locale.parse("en-GB" if tag == "en" else tag, sep="_" if "_" in tag else "-")


def direction(tag: str | None = None) -> str:
    """`ltr` or `rtl`: the value of HTML's `dir`."""
    return str(babel_locale(tag or current_locale.get()).text_direction)


def choose(*wishes: str | None, accept_language: str = "") -> str:
    """The best tag for a reader: the first wish that is shipped, else the browser's, else English.

    Wishes come most personal first: member's or contact's, client's, organization's.
    A wish for a region of a shipped language keeps the region (`en-US`), because formats follow it.
    """
    for wish in (*wishes, *_by_quality(accept_language)):
        if wish and wish.replace("_", "-").split("-")[0].lower() in SUPPORTED and is_known(wish):
            return wish.replace("_", "-")
    return DEFAULT


def _by_quality(header: str) -> list[str]:
    """`Accept-Language` in the reader's order (RFC 9110 12.5.4); what cannot be read, and `q=0`, is left out."""
    ranked: list[tuple[float, int, str]] = []
    for position, part in enumerate(header[:500].split(",")):
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if tag and tag != "*" and 0 < quality <= 1:
            ranked.append((-quality, position, tag))
    return [tag for _, _, tag in sorted(ranked)]
