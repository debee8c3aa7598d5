"""Numbers that authorities and banks give out, checked by python-stdnum: VAT numbers, IBAN, BIC."""

from __future__ import annotations

import re

from stdnum import bic as bic_numbers
from stdnum import iban as iban_numbers
from stdnum.eu import vat as vat_numbers
from stdnum.exceptions import InvalidChecksum, ValidationError

from tollgate.errors import Invalid, Message, _

_PREFIXES = {"EL": "GR", **{state.upper(): state.upper() for state in vat_numbers.MEMBER_STATES if state != "gr"}}
"""What an EU VAT number begins with, and whose it is; Greece writes EL, Northern Ireland XI."""
_LONGEST = 40


def checked_tax_id(tax_id: str, country: str) -> str:
    """A tax number as it is kept: an EU VAT number without spaces, anything else as it was written.

    A VAT number of `country` with a wrong length or form is refused; one whose check digit is wrong is kept, and
    `tax_id_warning` says so, because authorities have given out such numbers. National tax numbers pass as they are.
    """
    written = " ".join(tax_id.split())
    if len(written) > _LONGEST:
        raise Invalid(_("Use at most %(most)s characters", most=_LONGEST))
    if written and not re.search(r"\d", written):
        raise Invalid(_("A tax number has digits in it"))
    number = _vat(written)
    if number is None:
        return written
    try:
        vat_numbers.validate(number)
    except InvalidChecksum:
        return number if _PREFIXES[number[:2]] == country else written
    except ValidationError:
        # Of another country it may be anything that happens to begin with these letters, such as an Italian fiscal code.
        if _PREFIXES[number[:2]] != country:
            return written
        raise Invalid(_("%(number)s does not have the form of a VAT number of %(country)s", number=number, country=country)) from None
    return number


def tax_id_warning(tax_id: str, country: str) -> Message | None:
    """What looks wrong with a tax number that was kept; None when nothing does."""
    number = _vat(tax_id)
    if number is None or _PREFIXES[number[:2]] != country or vat_numbers.is_valid(number):
        return None
    return _("The check digit of %(number)s does not fit; look for a typing error", number=number)


def _vat(written: str) -> str | None:
    """The compact form of what looks like an EU VAT number."""
    number = re.sub(r"[\s.\-/]", "", written).upper()
    return number if number[:2] in _PREFIXES and re.fullmatch(r"[A-Z]{2}[0-9A-Z+*]*\d[0-9A-Z+*]*", number) else None


def checked_iban(iban: str) -> str:
    """An IBAN without spaces, or "". Raises `Invalid`: money sent to a mistyped account is hard to get back."""
    compact = re.sub(r"\s", "", iban).upper()
    if not compact:
        return ""
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", compact):
        raise Invalid(_("This is not an IBAN"))
    try:
        return str(iban_numbers.validate(compact))
    except InvalidChecksum:
        raise Invalid(_("The check digits of this IBAN do not fit; look for a typing error")) from None
    except ValidationError:
        raise Invalid(_("This is not an IBAN")) from None


def checked_bic(bic: str) -> str:
    """A BIC of 8 or 11 characters, or ""."""
    compact = re.sub(r"\s", "", bic).upper()
    if not compact:
        return ""
    try:
        return str(bic_numbers.validate(compact))
    except ValidationError:
        raise Invalid(_("A BIC has 8 or 11 letters and digits")) from None


def grouped_iban(iban: str) -> str:
    """An IBAN in groups of four, as it is printed."""
    return " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))
