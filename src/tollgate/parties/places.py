"""Countries and what usually holds in them: time zone, currency, standard VAT or GST rate. Defaults only; the organization decides."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import available_timezones

from babel import Locale
from babel.core import get_global

_NOT_COUNTRIES = frozenset("AC CP CQ DG EA EU EZ IC QO TA UN XA XB ZZ".split())
"""CLDR's territories beyond ISO 3166-1; Kosovo (XK) stays, because post and payments know it."""

STANDARD_RATES: Mapping[str, Decimal] = MappingProxyType(
    {
        country: Decimal(rate)
        for rate, countries in {
            "3": "TW",
            "5": "AE CA OM",
            "7": "TH",
            "8.1": "CH LI",
            "9": "SG",
            "10": "AU JP KR VN",
            "15": "NZ SA ZA",
            "16": "MX",
            "17": "LU",
            "18": "IN MT RS TR",
            "19": "CL CO CY DE",
            "20": "AT BG FR GB MD UA",
            "21": "BE CZ ES LT LV NL RO",
            "22": "IT SI",
            "23": "IE PL PT SK",
            "24": "EE GR IS",
            "25": "DK HR NO SE",
            "25.5": "FI",
            "27": "HU",
        }.items()
        for country in countries.split()
    }
)
"""Standard rates in per cent, as of November 2026."""

_MAIN_ZONES: Mapping[str, str] = MappingProxyType(
    {
        "AR": "America/Argentina/Buenos_Aires",
        "AU": "Australia/Sydney",
        "BR": "America/Sao_Paulo",
        "CA": "America/Toronto",
        "CL": "America/Santiago",
        "CN": "Asia/Shanghai",
        "CY": "Asia/Nicosia",
        "DE": "Europe/Berlin",
        "ES": "Europe/Madrid",
        "GB": "Europe/London",
        "ID": "Asia/Jakarta",
        "KZ": "Asia/Almaty",
        "MX": "America/Mexico_City",
        "MY": "Asia/Kuala_Lumpur",
        "NZ": "Pacific/Auckland",
        "PT": "Europe/Lisbon",
        "RU": "Europe/Moscow",
        "UA": "Europe/Kyiv",
        "US": "America/New_York",
    }
)


@lru_cache(maxsize=8)
def countries(tag: str = "en") -> tuple[tuple[str, str], ...]:
    """Every country as (ISO 3166 code, name in this language), by name."""
    names = Locale.parse(tag, sep="_" if "_" in tag else "-").territories
    found = [(code, str(name)) for code, name in names.items() if len(code) == 2 and code.isalpha() and code not in _NOT_COUNTRIES]
    return tuple(sorted(found, key=lambda one: one[1]))


@lru_cache(maxsize=1)
def country_codes() -> frozenset[str]:
    """ISO 3166 codes."""
    return frozenset(code for code, _name in countries())


def country_name(code: str, tag: str = "en") -> str:
    """The country's name in this language; an unknown code is its own name."""
    return dict(countries(tag)).get(code, code)


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    """IANA names that a person may choose: places, and UTC."""
    left_out = ("Etc/", "SystemV/", "US/", "posix/", "right/")
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith(left_out)))


def default_time_zone(country: str) -> str:
    """The zone of the country, its capital's or largest city's where it has several; UTC where none is known."""
    if country in _MAIN_ZONES:
        return _MAIN_ZONES[country]
    # CLDR names some zones as IANA did long ago (Asia/Calcutta); both are in available_timezones().
    territories = get_global("zone_territories").items()
    zones = sorted(zone for zone, territory in territories if territory == country and zone in available_timezones())
    return zones[0] if zones else "UTC"


def default_tax_rate(country: str) -> Decimal:
    """The country's standard rate in per cent; 0 where there is none or we do not know it."""
    return STANDARD_RATES.get(country, Decimal(0))
