"""The seller, clients and contacts as JSON."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from tollgate.errors import Invalid, _, invalid
from tollgate.i18n import translate
from tollgate.money.rates import parse_percent, percent_text
from tollgate.parties.identifiers import tax_id_warning
from tollgate.parties.rules import Address, ClientChanges, ClientView, ContactChanges, ContactView, OrganizationChanges, Seller

# What a field may hold is the rules' to say; this only keeps a body from being endless.
Text = Annotated[str, Meta(max_length=500)]
Maybe = Text | UnsetType


class AddressBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """An address as it is printed. In a change, what is left out stays."""

    line1: Maybe = UNSET
    line2: Maybe = UNSET
    postal_code: Maybe = UNSET
    city: Maybe = UNSET
    region: Maybe = UNSET

    @classmethod
    def of(cls, address: Address) -> "AddressBody":
        """The JSON shape of an address."""
        return cls(line1=address.line1, line2=address.line2, postal_code=address.postal_code, city=address.city, region=address.region)


class BankAccountBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where clients transfer to."""

    bank_name: Maybe = UNSET
    iban: Maybe = UNSET
    bic: Maybe = UNSET


class NumberFormatsBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """How numbers are written (R11): `INV-{year}-{seq:04}`."""

    invoice: Maybe = UNSET
    credit_note: Maybe = UNSET


class DefaultTaxBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What new contracts begin with. `rate_percent` is a decimal string of per cents."""

    category: Maybe = UNSET
    rate_percent: Maybe = UNSET


class WarningBody(Struct, kw_only=True):
    """Something that was kept but looks wrong."""

    pointer: str
    detail: str


class OrganizationBody(Struct, kw_only=True):
    """The seller."""

    id: UUID
    legal_name: str
    country: str
    address: AddressBody
    tax_id: str
    registration_number: str
    email: str
    phone: str
    website: str
    bank_account: BankAccountBody
    locale: str
    time_zone: str
    currency: str
    number_formats: NumberFormatsBody
    default_tax: DefaultTaxBody
    default_payment_days: int
    theme: str
    accent: str
    logo: str | None
    stripe_sends_mail: bool
    version: int
    warnings: list[WarningBody]

    @classmethod
    def of(cls, seller: Seller) -> "OrganizationBody":
        """The JSON shape of the seller."""
        same = "id legal_name country tax_id registration_number email phone website locale time_zone currency".split()
        same += "default_payment_days theme accent stripe_sends_mail version".split()
        return cls(
            **{name: getattr(seller, name) for name in same},
            address=AddressBody.of(seller.address),
            bank_account=BankAccountBody(bank_name=seller.bank_name, iban=seller.iban, bic=seller.bic),
            number_formats=NumberFormatsBody(invoice=seller.invoice_number_format, credit_note=seller.credit_note_number_format),
            default_tax=DefaultTaxBody(category=seller.default_tax_category, rate_percent=percent_text(seller.default_tax_rate_percent)),
            logo=f"/brand/{seller.id}/logo.png" if seller.logo_sha256_hex else None,
            warnings=_warnings(seller.tax_id, seller.country),
        )


class OrganizationChangesBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change of the seller; what is left out stays."""

    legal_name: Maybe = UNSET
    country: Maybe = UNSET
    address: AddressBody | UnsetType = UNSET
    tax_id: Maybe = UNSET
    registration_number: Maybe = UNSET
    email: Maybe = UNSET
    phone: Maybe = UNSET
    website: Maybe = UNSET
    bank_account: BankAccountBody | UnsetType = UNSET
    locale: Maybe = UNSET
    time_zone: Maybe = UNSET
    currency: Maybe = UNSET
    number_formats: NumberFormatsBody | UnsetType = UNSET
    default_tax: DefaultTaxBody | UnsetType = UNSET
    default_payment_days: int | UnsetType = UNSET
    theme: Maybe = UNSET
    accent: Maybe = UNSET
    stripe_sends_mail: bool | UnsetType = UNSET

    def read(self) -> OrganizationChanges:
        """What the verb takes."""
        sent = _sent(self)
        sent |= _sent(sent.pop("address", UNSET)) | _sent(sent.pop("bank_account", UNSET))
        formats, tax = _sent(sent.pop("number_formats", UNSET)), _sent(sent.pop("default_tax", UNSET))
        sent |= {f"{kind}_number_format": text for kind, text in formats.items()}
        if "category" in tax:
            sent["default_tax_category"] = tax["category"]
        if "rate_percent" in tax:
            sent["default_tax_rate_percent"] = _percent(tax["rate_percent"], "/default_tax/rate_percent")
        return OrganizationChanges(**sent)


class ClientBody(Struct, kw_only=True):
    """The business that buys."""

    id: UUID
    legal_name: str
    country: str
    address: AddressBody
    tax_id: str
    email: str
    locale: str
    currency: str
    version: int
    created_at: datetime
    archived_at: datetime | None
    warnings: list[WarningBody]

    @classmethod
    def of(cls, client: ClientView) -> "ClientBody":
        """The JSON shape of a client."""
        same = "id legal_name country tax_id email locale currency version created_at archived_at".split()
        return cls(
            **{name: getattr(client, name) for name in same},
            address=AddressBody.of(client.address),
            warnings=_warnings(client.tax_id, client.country),
        )


class ClientChangesBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A client to enter, or what to change of one; what is left out stays, or follows the organization."""

    legal_name: Maybe = UNSET
    country: Maybe = UNSET
    address: AddressBody | UnsetType = UNSET
    tax_id: Maybe = UNSET
    email: Maybe = UNSET
    locale: Maybe = UNSET
    currency: Maybe = UNSET

    def read(self) -> ClientChanges:
        """What the verb takes."""
        sent = _sent(self)
        address = _sent(sent.pop("address", UNSET))
        return ClientChanges(**sent, **address)


class NewClientBody(ClientChangesBody, forbid_unknown_fields=True, kw_only=True):
    """A client to enter; language and currency are the organization's unless given."""

    legal_name: Text
    country: Text


class ContactBody(Struct, kw_only=True):
    """A person at the client."""

    id: UUID
    client_id: UUID
    name: str
    email: str
    is_approver: bool
    is_billing_contact: bool
    locale: str
    version: int

    @classmethod
    def of(cls, contact: ContactView) -> "ContactBody":
        """The JSON shape of a contact."""
        return cls(**{name: getattr(contact, name) for name in cls.__struct_fields__})


class ContactChangesBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change of a contact; what is left out stays."""

    name: Maybe = UNSET
    email: Maybe = UNSET
    is_approver: bool | UnsetType = UNSET
    is_billing_contact: bool | UnsetType = UNSET
    locale: Maybe = UNSET

    def read(self) -> ContactChanges:
        """What the verb takes."""
        return ContactChanges(**_sent(self))


class NewContactBody(ContactChangesBody, forbid_unknown_fields=True, kw_only=True):
    """A contact to add; the language is the client's unless given."""

    name: Text
    email: Text


def _sent(body: Any) -> dict[str, Any]:
    if body is UNSET:
        return {}
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not UNSET}


def _percent(text: str, pointer: str) -> Decimal:
    try:
        return parse_percent(text)
    except Invalid:
        raise invalid(pointer, _('Write a decimal string such as "20" or "5.5"')) from None


def _warnings(tax_id: str, country: str) -> list[WarningBody]:
    found = tax_id_warning(tax_id, country)
    return [WarningBody(pointer="/tax_id", detail=translate(found))] if found is not None else []
