"""From a mail's template and what its room knows to subject, text and HTML, in the reader's language."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import i18n
from tollgate.errors import Message
from tollgate.mail.models import MailMessage

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class AttachmentRef:
    """A stored file to attach: read from the store only when the mail is sent."""

    file_name: str
    content_type: str
    sha256_hex: str


@dataclass(frozen=True, slots=True)
class Composed:
    """What a room says about one mail: the receiver, the reader's locale, and the template's context."""

    to_name: str
    to_email: str
    locale: str
    context: Mapping[str, Any]
    """Must hold `seller` (name shown as sender) and may hold `reply_to`."""
    attachments: tuple[AttachmentRef, ...] = field(default=())


Composer = Callable[[AsyncSession, MailMessage], Awaitable[Composed | None]]
"""Runs in the sender's claim transaction, so that it can mint fresh tokens (R10). None: the mail is no longer wanted."""
Accepted = Callable[[AsyncSession, MailMessage], Awaitable[None]]
"""Runs in the recording transaction once the mail server took the mail."""


@lru_cache(maxsize=1)
def _environments() -> tuple[Environment, Environment]:
    rooms = {folder.parents[1].name: FileSystemLoader(folder) for folder in PACKAGE.glob("*/templates/mail")}
    loader = ChoiceLoader([FileSystemLoader(PACKAGE / "mail" / "templates"), PrefixLoader(rooms)])
    made = []
    for html in (False, True):
        environment = Environment(
            loader=loader,
            autoescape=html,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_callables(i18n.gettext, i18n.ngettext, newstyle=True)  # type: ignore[attr-defined]
        environment.globals.update(locale=i18n.current_locale.get, direction=i18n.direction)
        environment.filters.update(money=i18n.money, day=i18n.day, instant=i18n.instant, percent=i18n.percent, say=_say)
        made.append(environment)
    return made[0], made[1]


def _say(text: Message | str) -> str:
    return i18n.translate(text) if isinstance(text, Message) else text


def render(template: str, composed: Composed) -> tuple[str, str, str]:
    """Subject (one line), text and HTML of `template` (`signoff/approval_request`)."""
    plain, html = _environments()
    with i18n.use_locale(composed.locale):
        context = {"to_name": composed.to_name, **composed.context}
        subject = " ".join(plain.get_template(f"{template}.subject.txt").render(context).split())
        text = plain.get_template(f"{template}.txt").render(context).strip() + "\n"
        return subject, text, html.get_template(f"{template}.html").render(context, subject=subject)
