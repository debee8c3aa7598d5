"""Words: gettext catalogs, looked up for the present locale at the moment something is shown."""

from __future__ import annotations

from functools import lru_cache
from gettext import NullTranslations
from pathlib import Path
from typing import Any

from babel.support import Translations

from tollgate.errors import Message
from tollgate.i18n.choice import current_locale
from tollgate.i18n.formats import shown

LOCALES = Path(__file__).parent / "locales"
"""`messages.pot` and one folder per shipped catalog, written by `tools/translations.py`."""


@lru_cache(maxsize=64)
def translations(tag: str) -> NullTranslations:
    """The catalog for a tag: `de-AT` looks for de_AT, then de, then falls back to the English of the source."""
    language, _, region = tag.replace("_", "-").partition("-")
    wanted = [f"{language}_{region}", language] if region else [language]
    return Translations.load(LOCALES, wanted)


def gettext(text: str) -> str:
    """The sentence in the present locale, its placeholders untouched."""
    return translations(current_locale.get()).gettext(text) if text else ""


def ngettext(singular: str, plural: str, n: int) -> str:
    """The form of the sentence for a count in the present locale."""
    return translations(current_locale.get()).ngettext(singular, plural, n)


def translate(message: Message | str) -> str:
    """A marked message as text for the reader: translated, and its arguments (money, days, numbers, messages) written their way."""
    if isinstance(message, str):
        return gettext(message)
    if message.plural is not None and message.count is not None:
        text = ngettext(message.text, message.plural, message.count)
    else:
        text = gettext(message.text)
    if not message.arguments:
        return text
    return text % {name: argument(value) for name, value in message.arguments.items()}


def argument(value: Any) -> Any:
    """A placeholder's value as the reader writes it."""
    return translate(value) if isinstance(value, Message) else shown(value)
