"""Numbers that authorities and banks give out, checked by python-stdnum: VAT numbers, IBAN, BIC."""

from __future__ import annotations

import re

from stdnum import bic as bic_numbers
from stdnum import iban as iban_numbers
from stdnum.eu import vat as vat_numbers
from stdnum.exceptions import InvalidChecksum, ValidationError

from tollgate.errors import Message, _, invalid

_PREFIXES = {"EL": "GR", **{state.upper(): state.upper() for state in vat_numbers.MEMBER_STATES if state != "gr"}}
"""What an EU VAT number begins with, and whose it is; Greece writes EL, Northern Ireland XI."""
_LONGEST = 40


def checked_tax_id(tax_id: str, pointer: str = "/tax_id") -> str:
    """A tax number as it is kept: an EU VAT number without spaces, anything else as it was written.

    A VAT number of the wrong length or form is refused at `pointer`; one whose check digit is wrong is kept, and
    `tax_id_warning` says so, because authorities have given out such numbers. National tax numbers pass as they are.
    """
    written = " ".join(tax_id.split())
    if len(written) > _LONGEST:
        raise invalid(pointer, _("Use at most %(most)s characters", most=_LONGEST))
    number = _vat(written)
    if number is None:
        if written and not re.search(r"\d", written):
            raise invalid(pointer, _("A tax number has digits in it"))
        return written
    try:
        vat_numbers.validate(number)
    except InvalidChecksum:
        return number
    except ValidationError:
        raise invalid(
            pointer, _("%(number)s does not have the form of a VAT number of %(country)s", number=number, country=_PREFIXES[number[:2]])
        ) from None
    return number


def tax_id_warning(tax_id: str) -> Message | None:
    """What looks wrong with a tax number that was kept; None when nothing does."""
    number = _vat(tax_id)
    if number is None or vat_numbers.is_valid(number):
        return None
    return _("The check digit of %(number)s does not fit; look for a typing error", number=number)


def _vat(written: str) -> str | None:
    """The compact form of what looks like an EU VAT number."""
    number = re.sub(r"[\s.\-/]", "", written).upper()
    looks_like_one = number[:2] in _PREFIXES and re.fullmatch(r"[A-Z]{2}[0-9A-Z+*]*", number) and re.search(r"\d", number)
    return number if looks_like_one else None


def checked_iban(iban: str, pointer: str = "/bank_account/iban") -> str:
    """An IBAN without spaces, or "". Raises `Invalid` at `pointer`: money sent to a mistyped account is hard to get back."""
    compact = re.sub(r"\s", "", iban).upper()
    if not compact:
        return ""
    try:
        return str(iban_numbers.validate(compact))
    except InvalidChecksum:
        raise invalid(pointer, _("The check digits of this IBAN do not fit; look for a typing error")) from None
    except ValidationError:
        raise invalid(pointer, _("This is not an IBAN")) from None


def checked_bic(bic: str, pointer: str = "/bank_account/bic") -> str:
    """A BIC of 8 or 11 characters, or ""."""
    compact = re.sub(r"\s", "", bic).upper()
    if not compact:
        return ""
    try:
        return str(bic_numbers.validate(compact))
    except ValidationError:
        raise invalid(pointer, _("A BIC has 8 or 11 letters and digits")) from None


def grouped_iban(iban: str) -> str:
    """An IBAN in groups of four, as it is printed."""
    return " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))


