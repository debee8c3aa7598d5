"""R12: credit notes. Never more than is left per line and rate; a full one is exact; the last one closes to the cent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tollgate.billing.tax import DocumentTotals, Line, TaxGroup, TaxTreatment, tax_groups
from tollgate.errors import Conflict, FieldError, Invalid, _
from tollgate.money.amount import Money, total
from tollgate.money.splitting import split


class CreditKind(StrEnum):
    """`correction` takes the invoice back in full and releases its milestones; `price_reduction` lowers what is billed."""

    CORRECTION = "correction"
    PRICE_REDUCTION = "price_reduction"


class NothingLeftToCredit(Conflict):
    """The invoice is credited in full already."""

    slug = "nothing-left-to-credit"
    title = _("This invoice is credited in full already")


class CreditTooLarge(Invalid):
    """More than is left of a line, a rate or the document."""

    slug = "credit-too-large"
    title = _("This is more than is left to credit")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditLine:
    """What of one invoice line is taken back; `key` is the invoice line's."""

    key: str
    net: Money
    treatment: TaxTreatment


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTotals:
    """A credit note's sums, positive as printed: payable = gross + rounding."""

    kind: CreditKind
    lines: tuple[CreditLine, ...]
    groups: tuple[TaxGroup, ...]
    net: Money
    tax: Money
    gross: Money
    rounding: Money
    payable: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """Where a credit comes from, in this order; `from_paid` becomes refund or client credit."""

    from_open: Money
    from_retained: Money
    from_paid: Money


def left_per_line(invoice: DocumentTotals, earlier: Sequence[CreditTotals]) -> dict[str, Money]:
    """Net of each invoice line that no credit note has taken yet, by line key."""
    left = {line.key: line.net for line in invoice.lines}
    for credit in earlier:
        for line in credit.lines:
            left[line.key] = left[line.key] - line.net
    return left


def left_to_credit(invoice: DocumentTotals, earlier: Sequence[CreditTotals]) -> Money:
    """What credit notes can still take: gross + rounding of the invoice, minus all of theirs."""
    return invoice.gross + invoice.rounding - total((credit.payable for credit in earlier), invoice.net.currency)


def correction(invoice: DocumentTotals, earlier: Sequence[CreditTotals] = ()) -> CreditTotals:
    """The credit note that takes back all that is left, exactly: afterwards invoice and credit notes sum to zero.

    Raises NothingLeftToCredit.
    """
    left = left_per_line(invoice, earlier)
    if left_to_credit(invoice, earlier).is_zero and all(net.is_zero for net in left.values()) and earlier:
        raise NothingLeftToCredit()
    return _credit(CreditKind.CORRECTION, invoice, earlier, {key: net for key, net in left.items() if not (earlier and net.is_zero)})


def price_reduction(invoice: DocumentTotals, nets: Mapping[str, Money], earlier: Sequence[CreditTotals] = ()) -> CreditTotals:
    """A reduction of the lines in `nets` (line key to net, above zero and at most what is left of the line).

    Tax follows R2 on the credit note itself, but never above what is left of its rate. The reduction that takes the last of
    every line uses the rounding amount, so that nothing is left over. Raises CreditTooLarge naming each line, or Invalid.
    """
    left = left_per_line(invoice, earlier)
    lines = {line.key: line for line in invoice.lines}
    problems = []
    for key, net in nets.items():
        at = f"/lines/{key}"
        if key not in lines:
            problems.append(FieldError(at, _("the invoice has no such line")))
        elif not net.is_positive:
            problems.append(FieldError(at, _("a reduction is more than zero")))
        elif net > left[key]:
            problems.append(FieldError(at, _("only %(left)s of this line is left to credit", left=left[key])))
    if problems:
        raise CreditTooLarge(problems[0].detail if len(problems) == 1 else None, errors=problems)
    if not nets:
        raise Invalid(_("choose at least one line to credit"))
    _require_left_of_rates(lines, left, nets)
    return _credit(CreditKind.PRICE_REDUCTION, invoice, earlier, nets)


def reduction_by_amount(invoice: DocumentTotals, net: Money, earlier: Sequence[CreditTotals] = ()) -> CreditTotals:
    """A reduction by a net amount, shared over what is left of the lines by R1. Raises CreditTooLarge or Invalid."""
    left = {key: amount for key, amount in left_per_line(invoice, earlier).items() if amount.is_positive}
    most = total(left.values(), net.currency)
    if not net.is_positive:
        raise Invalid(_("a reduction is more than zero"))
    if net > most:
        raise CreditTooLarge(_("only %(left)s of this invoice is left to credit", left=most))
    parts = split(net, [Decimal(amount.minor) for amount in left.values()])
    shares = dict(zip(left, parts, strict=True))
    return price_reduction(invoice, {key: part for key, part in shares.items() if part.is_positive}, earlier)


def takes(amount: Money, *, open_: Money, retained: Money, paid: Money) -> Takes:
    """Take `amount` from what is open, then from held retainage, then from what is paid. Raises CreditTooLarge beyond their sum."""
    from_open = min(amount, open_)
    from_retained = min(amount - from_open, retained)
    from_paid = amount - from_open - from_retained
    if from_paid > paid:
        raise CreditTooLarge(_("%(amount)s is more than the invoice's open, retained and paid amounts", amount=amount))
    return Takes(from_open=from_open, from_retained=from_retained, from_paid=from_paid)


def _credit(kind: CreditKind, invoice: DocumentTotals, earlier: Sequence[CreditTotals], nets: Mapping[str, Money]) -> CreditTotals:
    currency = invoice.net.currency
    lines = tuple(CreditLine(key=line.key, net=nets[line.key], treatment=line.treatment) for line in invoice.lines if line.key in nets)
    by_rule = tax_groups([(line.net, line.treatment) for line in lines], currency)
    groups = tuple(_capped(group, _left_of_rate(invoice.groups, earlier, group.treatment)) for group in by_rule)
    net = total((line.net for line in lines), currency)
    tax = total((group.tax for group in groups), currency)
    gross = net + tax
    # The last credit note closes the document: rounding carries the cents by which separately rounded taxes differ (R12).
    # An earlier one uses it only where a gross-priced invoice was rounded down and less is left than net and tax say.
    left = left_to_credit(invoice, earlier)
    rounding = left - gross if gross > left or _takes_all(invoice.lines, earlier, lines) else Money.zero(currency)
    return CreditTotals(kind=kind, lines=lines, groups=groups, net=net, tax=tax, gross=gross, rounding=rounding, payable=gross + rounding)


def _require_left_of_rates(lines: Mapping[str, Line], left: Mapping[str, Money], nets: Mapping[str, Money]) -> None:
    # Deductions share the group of the lines they reduce, so a line alone can look larger than its rate.
    for treatment in {lines[key].treatment for key in nets}:
        of_rate = [key for key, line in lines.items() if line.treatment == treatment]
        left_minor = sum(left[key].minor for key in of_rate)
        if sum(nets[key].minor for key in of_rate if key in nets) > left_minor:
            currency = lines[of_rate[0]].net.currency
            raise CreditTooLarge(_("only %(left)s at this tax rate is left to credit", left=Money(left_minor, currency)))


def _capped(group: TaxGroup, left: Money) -> TaxGroup:
    # A group of deductions is negative, so the cap is on the size.
    tax = group.tax if abs(group.tax) <= abs(left) else left
    return TaxGroup(treatment=group.treatment, base=group.base, tax=tax)


def _left_of_rate(groups: Iterable[TaxGroup], earlier: Sequence[CreditTotals], treatment: TaxTreatment) -> Money:
    billed = next(group.tax for group in groups if group.treatment == treatment)
    for credit in earlier:
        for group in credit.groups:
            if group.treatment == treatment:
                billed = billed - group.tax
    return billed


def _takes_all(invoiced: Sequence[Line], earlier: Sequence[CreditTotals], lines: Sequence[CreditLine]) -> bool:
    left = {line.key: line.net.minor for line in invoiced}
    for line in [line for credit in earlier for line in credit.lines] + list(lines):
        left[line.key] -= line.net.minor
    return not any(left.values())
