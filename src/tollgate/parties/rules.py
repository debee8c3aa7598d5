"""What a seller, a client and a contact are, and what may stand in their fields. Pure.

The views here are what other rooms get; issued documents copy them, so a later change of address changes no invoice (R12).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from tollgate.access.emails import email_problem
from tollgate.errors import Conflict, FieldError, Invalid, _
from tollgate.i18n import is_known
from tollgate.i18n.visible import is_blank
from tollgate.money.currencies import digits
from tollgate.parties.identifiers import checked_bic, checked_iban, checked_tax_id
from tollgate.parties.places import country_codes, time_zones

THEMES = ("classic",)
TAX_CATEGORIES = ("S", "Z", "E")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_ACCENT = re.compile(r"#[0-9a-f]{6}")
_WEBSITE = re.compile(r"(https?://)?[^\s/@:]+\.[^\s@]+")
_TOKEN = re.compile(r"\{year\}|\{seq(:0[1-9])?\}")
_LITERAL = re.compile(r"[A-Za-z0-9 ./_#-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a party is, as it is printed."""

    line1: str = ""
    line2: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """The organization that bills. Percentages are exact decimals of per cents."""

    id: UUID
    legal_name: str
    country: str
    address: Address
    tax_id: str
    email: str
    registration_number: str
    phone: str
    website: str
    bank_name: str
    iban: str
    bic: str
    locale: str
    time_zone: str
    currency: str
    invoice_number_format: str
    credit_note_number_format: str
    default_tax_category: str
    default_tax_rate_percent: Decimal
    default_payment_days: int
    theme: str
    accent: str
    logo_sha256_hex: str | None
    stripe_sends_mail: bool
    version: int
    privacy_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """The business that buys."""

    id: UUID
    legal_name: str
    country: str
    address: Address
    tax_id: str
    email: str
    locale: str
    currency: str
    version: int
    created_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactView:
    """A person at the client."""

    id: UUID
    client_id: UUID
    name: str
    email: str
    is_approver: bool
    is_billing_contact: bool
    locale: str
    version: int
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrganization:
    """What it takes to begin; what is None follows from the country."""

    legal_name: str
    country: str
    currency: str
    line1: str = ""
    line2: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""
    tax_id: str = ""
    email: str = ""
    registration_number: str = ""
    phone: str = ""
    website: str = ""
    bank_name: str = ""
    iban: str = ""
    bic: str = ""
    locale: str = "en"
    time_zone: str | None = None
    default_tax_rate_percent: Decimal | None = None
    default_payment_days: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationChanges:
    """What to change; None leaves a field as it is, "" empties it."""

    legal_name: str | None = None
    country: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    tax_id: str | None = None
    email: str | None = None
    registration_number: str | None = None
    phone: str | None = None
    website: str | None = None
    bank_name: str | None = None
    iban: str | None = None
    bic: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    currency: str | None = None
    invoice_number_format: str | None = None
    credit_note_number_format: str | None = None
    default_tax_category: str | None = None
    default_tax_rate_percent: Decimal | None = None
    default_payment_days: int | None = None
    theme: str | None = None
    accent: str | None = None
    stripe_sends_mail: bool | None = None
    logo_sha256_hex: str | None = None
    """Of a content that `files` keeps; "" removes the logo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChanges:
    """What to change, or what a new client is made of; None leaves a field as it is (or at the organization's)."""

    legal_name: str | None = None
    country: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    tax_id: str | None = None
    email: str | None = None
    locale: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactChanges:
    """What to change, or what a new contact is made of; None leaves a field as it is."""

    name: str | None = None
    email: str | None = None
    is_approver: bool | None = None
    is_billing_contact: bool | None = None
    locale: str | None = None


class CurrencyFixed(Conflict):
    """The books have begun in their currency."""

    slug = "currency-fixed"
    title = _("The books have entries in their currency already, so it cannot be changed any more")


POINTERS: Mapping[str, str] = {
    **{name: f"/address/{name}" for name in ("line1", "line2", "postal_code", "city", "region")},
    **{name: f"/bank_account/{name}" for name in ("bank_name", "iban", "bic")},
    "invoice_number_format": "/number_formats/invoice",
    "credit_note_number_format": "/number_formats/credit_note",
    "default_tax_category": "/default_tax/category",
    "default_tax_rate_percent": "/default_tax/rate_percent",
    "logo_sha256_hex": "/logo",
}
"""Where a field stands in an API body, when not under its own name."""


def pointer_of(name: str) -> str:
    """The JSON pointer of a field."""
    return POINTERS.get(name, f"/{name}")


def given(changes: Any) -> dict[str, Any]:
    """The fields of a changes dataclass that are not None."""
    return {one.name: value for one in fields(changes) if (value := getattr(changes, one.name)) is not None}


def _text(most: int) -> Callable[[str, str], str]:
    def check(value: str, _country: str) -> str:
        found = value.strip()
        if len(found) > most:
            raise Invalid(_("Use at most %(most)s characters", most=most))
        return found

    return check


def _required(most: int) -> Callable[[str, str], str]:
    def check(value: str, country: str) -> str:
        found = " ".join(_text(most)(value, country).split())
        if not found:
            raise Invalid(_("Enter a name"))
        return found

    return check


def _email(value: str, _country: str) -> str:
    found = value.strip()
    if found and (problem := email_problem(found)) is not None:
        raise Invalid(problem)
    return found


def _required_email(value: str, country: str) -> str:
    found = _email(value, country)
    if not found:
        raise Invalid(_("Enter an e-mail address"))
    return found


def _country(value: str, _same: str) -> str:
    if value not in country_codes():
        raise Invalid(_("Choose a country; in the API write its ISO 3166 code, such as AT"))
    return value


def _currency(value: str, _country: str) -> str:
    digits(value)
    return value


def _locale(value: str, _country: str) -> str:
    if not 2 <= len(value) <= 16 or not is_known(value):
        raise Invalid(_("This language is not known; write a tag such as en or de-AT"))
    return value.replace("_", "-")


def _time_zone(value: str, _country: str) -> str:
    if value not in time_zones():
        raise Invalid(_("This time zone is not known; write a name such as Europe/Vienna"))
    return value


def _website(value: str, country: str) -> str:
    found = _text(200)(value, country)
    if found and _WEBSITE.fullmatch(found) is None:
        raise Invalid(_("Write an address such as www.example.com"))
    return found


def _accent(value: str, _country: str) -> str:
    found = value.strip().lower()
    if _ACCENT.fullmatch(found) is None:
        raise Invalid(_("Write a colour such as #1f5f8b"))
    return found


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def check(value: str, _country: str) -> str:
        if value not in allowed:
            raise Invalid(_("Use one of: %(allowed)s", allowed=", ".join(allowed)))
        return value

    return check


def _rate(value: Decimal, _country: str) -> Decimal:
    if not value.is_finite() or not 0 <= value <= 100 or value != round(value, 6):
        raise Invalid(_("A tax rate is between 0 and 100, with at most six decimals"))
    return value


def _days(value: int, _country: str) -> int:
    if not 0 <= value <= 365:
        raise Invalid(_("Use a number of days between 0 and 365"))
    return value


def _number_format(value: str, _country: str) -> str:
    """R11: text with `{seq}` (or `{seq:04}`) once and `{year}` at most once. The invoice room checks the same again on issue."""
    found = value.strip()
    tokens = [token[0] for token in _TOKEN.finditer(found)]
    years = tokens.count("{year}")
    if len(tokens) - years != 1 or years > 1:
        raise Invalid(_("A number format holds {seq} (or {seq:04}) once, and {year} at most once"))
    if _LITERAL.fullmatch(_TOKEN.sub("", found)) is None:
        raise Invalid(_("Around {year} and {seq} use letters A to Z, digits, spaces and - . / _ # only"))
    width = max(7, *(int(token[6]) for token in tokens if token.startswith("{seq:")), 0)
    if len(found) > 60 or len(_TOKEN.sub("", found)) + 4 * years + width > 26:
        raise Invalid(_("A number has at most 26 characters, with room for seven digits"))
    return found


def _unchanged(value: Any, _country: str) -> Any:
    return value


_CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "legal_name": _required(200),
    "name": _required(120),
    "country": _country,
    "line1": _text(200),
    "line2": _text(200),
    "postal_code": _text(20),
    "city": _text(120),
    "region": _text(120),
    "tax_id": checked_tax_id,
    "email": _email,
    "registration_number": _text(80),
    "phone": _text(40),
    "website": _website,
    "bank_name": _text(120),
    "iban": lambda value, _country: checked_iban(value),
    "bic": lambda value, _country: checked_bic(value),
    "locale": _locale,
    "time_zone": _time_zone,
    "currency": _currency,
    "invoice_number_format": _number_format,
    "credit_note_number_format": _number_format,
    "default_tax_category": _one_of(*TAX_CATEGORIES),
    "default_tax_rate_percent": _rate,
    "default_payment_days": _days,
    "theme": _one_of(*THEMES),
    "accent": _accent,
}


def checked(values: Mapping[str, Any], *, country: str, contact: bool = False) -> dict[str, Any]:
    """The values as they are kept. `country` is the party's. Raises `Invalid` with every wrong field at once."""
    found: dict[str, Any] = {}
    errors: list[FieldError] = []
    for name, value in values.items():
        check = _required_email if contact and name == "email" else _CHECKS.get(name, _unchanged)
        try:
            if isinstance(value, str) and _UNPRINTABLE.search(value.strip()):
                raise Invalid(_("Remove the characters that cannot be printed"))
            # A name of which nothing can be seen is no name.
            found[name] = check("" if isinstance(value, str) and is_blank(value) else value, country)
        except Invalid as error:
            errors.append(FieldError(pointer_of(name), error.detail))
    if errors:
        raise Invalid(errors=errors)
    return found


def check_together(values: Mapping[str, Any]) -> None:
    """What must fit between an organization's fields: two kinds of document may never write one number, and S means a rate above 0."""
    errors = []
    formats = [values["invoice_number_format"], values["credit_note_number_format"]]
    if len({re.sub(r"[0-9]+", "0", _TOKEN.sub("0", one)) for one in formats}) == 1:
        errors.append(
            FieldError(
                pointer_of("credit_note_number_format"), _("Invoices and credit notes could get the same number; use different letters")
            )
        )
    if (values["default_tax_category"] == "S") == (values["default_tax_rate_percent"] == 0):
        errors.append(FieldError(pointer_of("default_tax_rate_percent"), _("Category S needs a rate above 0, and Z and E have the rate 0")))
    if errors:
        raise Invalid(errors=errors)
