"""Languages: which one a reader gets, the words (gettext), and how numbers and days are written and read.

`current_locale` is a ContextVar, so a request, a mail job and a PDF rendered at the same time do not disturb each other.
"""

from tollgate.i18n.catalogs import gettext, ngettext, translate
from tollgate.i18n.choice import DEFAULT, SUPPORTED, choose, current_locale, direction, is_known, use_locale
from tollgate.i18n.formats import amount, day, day_month, file_size, instant, money, number, percent, say
from tollgate.i18n.reading import NumberMarks, number_marks, parse_amount, parse_day, parse_percent

__all__ = [
    "DEFAULT",
    "SUPPORTED",
    "NumberMarks",
    "amount",
    "choose",
    "current_locale",
    "day",
    "day_month",
    "direction",
    "file_size",
    "gettext",
    "instant",
    "is_known",
    "money",
    "ngettext",
    "number",
    "number_marks",
    "parse_amount",
    "parse_day",
    "parse_percent",
    "percent",
    "say",
    "translate",
    "use_locale",
]
