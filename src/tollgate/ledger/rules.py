"""R21: the fixed account list and which entry each event makes. Debits are positive, credits negative; an entry sums to 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tollgate.errors import Message, _
from tollgate.money.amount import Money


class Account(StrEnum):
    """The fixed accounts, by the code that postings carry."""

    BANK = "bank"
    RECEIVABLE = "receivable"
    RETAINAGE_RECEIVABLE = "retainage_receivable"
    CONTRACT_ASSET = "contract_asset"
    CONTRACT_LIABILITY = "contract_liability"
    CLIENT_CREDIT = "client_credit"
    TAX_PAYABLE = "tax_payable"
    REVENUE = "revenue"
    LATE_INTEREST = "late_interest"
    ROUNDING = "rounding"
    EXCHANGE_DIFFERENCE = "exchange_difference"
    WRITE_OFF = "write_off"


class Kind(StrEnum):
    """What a balance of the account means."""

    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """One line of the account list: a number for accountants, a name for people."""

    code: Account
    number: str
    name: Message
    kind: Kind


ACCOUNTS: Mapping[Account, AccountInfo] = MappingProxyType(
    {
        info.code: info
        for info in (
            AccountInfo(Account.BANK, "1000", _("Bank and payment providers"), Kind.ASSET),
            AccountInfo(Account.RECEIVABLE, "1200", _("Receivables"), Kind.ASSET),
            AccountInfo(Account.RETAINAGE_RECEIVABLE, "1210", _("Retainage receivable"), Kind.ASSET),
            AccountInfo(Account.CONTRACT_ASSET, "1300", _("Contract asset: earned, not billed"), Kind.ASSET),
            AccountInfo(Account.CONTRACT_LIABILITY, "2100", _("Contract liability: deposits not used"), Kind.LIABILITY),
            AccountInfo(Account.CLIENT_CREDIT, "2200", _("Client credit"), Kind.LIABILITY),
            AccountInfo(Account.TAX_PAYABLE, "2300", _("Tax payable"), Kind.LIABILITY),
            AccountInfo(Account.REVENUE, "4000", _("Revenue"), Kind.INCOME),
            AccountInfo(Account.LATE_INTEREST, "4100", _("Late interest"), Kind.INCOME),
            AccountInfo(Account.ROUNDING, "4900", _("Rounding differences"), Kind.INCOME),
            AccountInfo(Account.EXCHANGE_DIFFERENCE, "4910", _("Exchange differences"), Kind.INCOME),
            AccountInfo(Account.WRITE_OFF, "6000", _("Receivables written off"), Kind.EXPENSE),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry: debit positive, credit negative."""

    account: Account
    amount: Money


Postings = tuple[Posting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAmounts:
    """An invoice's or credit note's sums, as billing has them. net + tax + rounding = payable + retained."""

    net: Money
    tax: Money
    rounding: Money
    retained: Money
    payable: Money


def balanced(postings: Iterable[Posting]) -> bool:
    """Whether the postings sum to 0 in each currency."""
    sums: dict[str, int] = {}
    for posting in postings:
        sums[posting.amount.currency] = sums.get(posting.amount.currency, 0) + posting.amount.minor
    return not any(sums.values())


def reversal(postings: Sequence[Posting]) -> Postings:
    """The entry that takes `postings` back. Entries are never edited."""
    return tuple(Posting(posting.account, -posting.amount) for posting in postings)


def approved(net: Money) -> Postings:
    """Accepted work is earned: contract asset to revenue, net."""
    return _entry((Account.CONTRACT_ASSET, net), (Account.REVENUE, -net))


def reopened(net: Money) -> Postings:
    """An approval taken back."""
    return reversal(approved(net))


def issued(document: DocumentAmounts) -> Postings:
    """An invoice: receivable and retainage receivable to contract asset, tax and rounding."""
    return _entry(
        (Account.RECEIVABLE, document.payable),
        (Account.RETAINAGE_RECEIVABLE, document.retained),
        (Account.CONTRACT_ASSET, -document.net),
        (Account.TAX_PAYABLE, -document.tax),
        (Account.ROUNDING, -document.rounding),
    )


def voided(document: DocumentAmounts) -> Postings:
    """An invoice made void: the work is earned and unbilled again."""
    return reversal(issued(document))


def corrected(*, net: Money, tax: Money, rounding: Money, from_open: Money, from_retained: Money, from_paid: Money) -> Postings:
    """A credit note of kind correction: the work is earned and unbilled again; what was paid becomes client credit."""
    return _credited(Account.CONTRACT_ASSET, net, tax, rounding, from_open, from_retained, from_paid)


def price_reduced(*, net: Money, tax: Money, rounding: Money, from_open: Money, from_retained: Money, from_paid: Money) -> Postings:
    """A credit note of kind price_reduction: the work earns less; what was paid becomes client credit."""
    return _credited(Account.REVENUE, net, tax, rounding, from_open, from_retained, from_paid)


def received(*, allocated: Money, client_credit: Money) -> Postings:
    """A payment: bank to receivable, the rest to client credit."""
    return _entry((Account.BANK, allocated + client_credit), (Account.RECEIVABLE, -allocated), (Account.CLIENT_CREDIT, -client_credit))


def payment_reversed(*, allocated: Money, client_credit: Money) -> Postings:
    """A payment that bounced or was lost in a dispute: what it settled is open again."""
    return reversal(received(allocated=allocated, client_credit=client_credit))


def refunded(*, from_allocated: Money, from_client_credit: Money) -> Postings:
    """Money sent back: invoices it had settled are open again by `from_allocated`, client credit falls by the other."""
    return payment_reversed(allocated=from_allocated, client_credit=from_client_credit)


def dispute_lost(*, from_allocated: Money, from_client_credit: Money) -> Postings:
    """A disputed payment that the bank gave back to the payer: as if it had been refunded."""
    return payment_reversed(allocated=from_allocated, client_credit=from_client_credit)


def returned(amount: Money) -> Postings:
    """Money that had gone back is here again (a refund failed, a lost dispute was won late): bank to client credit."""
    return received(allocated=Money.zero(amount.currency), client_credit=amount)


def credit_applied(amount: Money) -> Postings:
    """Client credit settles an invoice: because somebody said so, or because it was paid for that very invoice, which is open again."""
    return _entry((Account.CLIENT_CREDIT, amount), (Account.RECEIVABLE, -amount))


def allocation_released(amount: Money) -> Postings:
    """An allocation taken back: the invoice is open again and the money is client credit."""
    return reversal(credit_applied(amount))


def written_off(amount: Money) -> Postings:
    """An open amount given up."""
    return _entry((Account.WRITE_OFF, amount), (Account.RECEIVABLE, -amount))


def write_off_reversed(amount: Money) -> Postings:
    """A later payment first takes back that much of the write-off."""
    return reversal(written_off(amount))


def _credited(
    against: Account, net: Money, tax: Money, rounding: Money, from_open: Money, from_retained: Money, from_paid: Money
) -> Postings:
    return _entry(
        (against, net),
        (Account.TAX_PAYABLE, tax),
        (Account.ROUNDING, rounding),
        (Account.RECEIVABLE, -from_open),
        (Account.RETAINAGE_RECEIVABLE, -from_retained),
        (Account.CLIENT_CREDIT, -from_paid),
    )


def _entry(*sides: tuple[Account, Money]) -> Postings:
    postings = tuple(Posting(account, amount) for account, amount in sides if not amount.is_zero)
    if not balanced(postings):
        # A bug of the caller, not something a user can act on.
        raise ValueError(f"postings do not sum to 0: {', '.join(f'{item.account} {item.amount}' for item in postings)}")
    return postings
