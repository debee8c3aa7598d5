"""R18, domestic part: which tax data a document needs. The same check runs in preview, on activation and at issue."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tollgate.errors import FieldError, _
from tollgate.money.rates import HUNDRED


class TaxCategory(StrEnum):
    """Codes of EN 16931 (UNCL 5305)."""

    STANDARD = "S"
    ZERO = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    INTRA_COMMUNITY = "K"
    EXPORT = "G"
    OUTSIDE = "O"


DOMESTIC = frozenset({TaxCategory.STANDARD, TaxCategory.ZERO, TaxCategory.EXEMPT})
"""The categories that work now."""


@dataclass(frozen=True, slots=True)
class TaxTreatment:
    """A tax category and its exact rate in percent."""

    category: TaxCategory
    rate_percent: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyFacts:
    """What a tax document says about its seller or buyer."""

    legal_name: str = ""
    line1: str = ""
    city: str = ""
    country: str = ""
    tax_id: str = ""
    registration_number: str = ""


def treatment_problems(tax: TaxTreatment, at: str) -> list[FieldError]:
    """What is wrong with category and rate themselves; `at` is the JSON pointer of the treatment."""
    if tax.category not in DOMESTIC:
        return [FieldError(f"{at}/category", _("this tax category is not available in this version; S, Z and E are"))]
    if not 0 <= tax.rate_percent <= HUNDRED:
        return [FieldError(f"{at}/rate_percent", _("a tax rate is between 0 and 100"))]
    if tax.category is TaxCategory.STANDARD and tax.rate_percent == 0:
        return [FieldError(f"{at}/rate_percent", _("category S needs a rate above 0; use Z for a zero rate or E for an exemption"))]
    if tax.category is not TaxCategory.STANDARD and tax.rate_percent != 0:
        return [FieldError(f"{at}/rate_percent", _("the rate of category %(category)s is 0", category=tax.category.value))]
    return []


def tax_problems(tax: TaxTreatment, at: str, seller: PartyFacts, buyer: PartyFacts) -> list[FieldError]:
    """Everything a domestic invoice under `tax` still lacks. Pointers of parties are `/seller/…` and `/buyer/…`."""
    problems = treatment_problems(tax, at)
    problems += _party_problems(seller, "/seller") + _party_problems(buyer, "/buyer")
    if not (seller.tax_id.strip() or seller.registration_number.strip()):
        # EN 16931 BR-S-02, BR-Z-02, BR-E-02 and BR-CO-26: the seller must be identifiable.
        problems.append(FieldError("/seller/tax_id", _("the seller's tax number is missing; add it in the settings")))
    elif tax.category is TaxCategory.STANDARD and not seller.tax_id.strip():
        problems.append(FieldError("/seller/tax_id", _("charging tax needs the seller's tax number; add it in the settings")))
    return problems


def _party_problems(party: PartyFacts, at: str) -> list[FieldError]:
    names = {"legal_name": party.legal_name, "country": party.country}
    texts = {
        "/seller/legal_name": _("the seller's name is missing; add it in the settings"),
        "/seller/country": _("the seller's country is missing; add it in the settings"),
        "/buyer/legal_name": _("the client's name is missing"),
        "/buyer/country": _("the client's country is missing"),
    }
    return [FieldError(f"{at}/{name}", texts[f"{at}/{name}"]) for name, value in names.items() if not value.strip()]
