"""The active ISO 4217 codes that have minor units, and how many digits each carries.

ISO 4217 is the source, not CLDR: CLDR's digits say how an amount is usually displayed (IQD 0, ISK 0), ours how it is
counted (IQD 3). Metals, bond units, SDR and test codes (XAU, XDR, XXX …) have no minor unit, so nothing can be billed in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tollgate.errors import Invalid, _

_CODES_BY_DIGITS: Mapping[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU "
        "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES "
        "KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR "
        "NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP "
        "TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

EXPONENTS: Mapping[str, int] = MappingProxyType({code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()})
"""Code to number of digits after the point, for every currency Tollgate bills in."""


class UnknownCurrency(Invalid):
    """No active ISO 4217 currency with minor units has this code."""

    slug = "unknown-currency"
    title = _("This currency is not known")

    def __init__(self, code: str) -> None:
        super().__init__(_("%(code)s is not an active ISO 4217 currency; write a code such as EUR, USD or JPY", code=repr(code)[:20]))


def digits(currency: str) -> int:
    """Digits after the point of `currency` (JPY 0, EUR 2, KWD 3). Raises UnknownCurrency; codes are upper case."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None
