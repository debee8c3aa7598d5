"""A party as it stands on a document, in the present locale."""

from __future__ import annotations

from tollgate import i18n
from tollgate.errors import _
from tollgate.i18n.choice import babel_locale
from tollgate.parties.models import Client, Organization


def address_lines(party: Organization | Client) -> tuple[str, ...]:
    """An address as it is written on an envelope, the country by its name; what is empty is left out."""
    country = str(babel_locale(i18n.current_locale.get()).territories.get(party.country, party.country))
    town = " ".join(part for part in (party.postal_code, party.city) if part)
    return tuple(line for line in (party.line1, party.line2, town, party.region, country) if line)


def tax_lines(party: Organization | Client) -> tuple[str, ...]:
    """The numbers by which authorities know the party, each with its name."""
    lines = [i18n.translate(_("Tax number %(number)s", number=party.tax_id))] if party.tax_id else []
    registration = getattr(party, "registration_number", "")
    if registration:
        lines.append(i18n.translate(_("Registration number %(number)s", number=registration)))
    return tuple(lines)


def contact_lines(organization: Organization) -> tuple[str, ...]:
    """How to reach the seller."""
    return tuple(part for part in (organization.email, organization.phone, organization.website) if part)
