"""Tax on one document (R2), over a series of documents and on gross prices (R3). Rounding is half-up away from zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tollgate.contracts.rules import PriceBasis, TaxCategory, TaxTreatment, net_of_gross
from tollgate.errors import Conflict, Invalid, _
from tollgate.money.amount import Money, round_half_up, total
from tollgate.money.rates import percent_of


class NegativeInvoice(Conflict):
    """An invoice is never negative and never turns into a credit note (R6)."""

    slug = "negative-invoice"
    title = _("An invoice cannot be negative")


class NothingToBill(Invalid):
    """A document needs at least one line."""

    slug = "nothing-to-bill"
    title = _("There is nothing to bill")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineInput:
    """A line to bill. `amount` is for the whole line, in the document's price basis; negative with quantity −1 is a deduction."""

    key: str
    amount: Money
    tax: TaxTreatment
    description: str = ""
    quantity: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as billed: rounded net, and its share of its group's tax (for show; the group's tax is what counts)."""

    key: str
    description: str
    quantity: Decimal
    unit_price: Money
    net: Money
    tax: Money
    treatment: TaxTreatment


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxGroup:
    """The lines of one category and rate: exact sum of their nets, and the tax on it, rounded once."""

    treatment: TaxTreatment
    base: Money
    tax: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTotals:
    """A document's sums (EN 16931): amount_due = gross − prepaid + rounding (BT-115); payable = amount_due − retained."""

    lines: tuple[Line, ...]
    groups: tuple[TaxGroup, ...]
    net: Money
    tax: Money
    gross: Money
    prepaid: Money
    rounding: Money
    amount_due: Money
    retained: Money
    payable: Money


def line_net(unit_price: Decimal, quantity: Decimal, currency: str, *, discount_percent: Decimal = Decimal(0)) -> Money:
    """unit price × quantity − discount, rounded once to the currency's exponent (R2). `unit_price` is in major units."""
    one = Fraction(Money(1, currency).decimal())
    exact = Fraction(unit_price) * Fraction(quantity) * (1 - Fraction(discount_percent) / 100)
    return Money(round_half_up(exact / one), currency)


def tax_groups(lines: Sequence[tuple[Money, TaxTreatment]], currency: str) -> tuple[TaxGroup, ...]:
    """Group rounded nets by category and rate, in order of first appearance; tax = round(base × rate) once per group (R2)."""
    bases: dict[TaxTreatment, Money] = {}
    for net, treatment in lines:
        bases[treatment] = bases.get(treatment, Money.zero(currency)) + net
    return tuple(TaxGroup(treatment=item, base=base, tax=percent_of(base, item.rate_percent)) for item, base in bases.items())


def draft_invoice(
    lines: Sequence[LineInput], price_basis: PriceBasis, currency: str, *, prepaid: Money | None = None, retained: Money | None = None
) -> DocumentTotals:
    """A document's lines and totals by R2; on gross prices by R3, where the rounding amount closes a gross that no net reaches.

    Raises NothingToBill without lines, NegativeInvoice when amount due or payable would be below zero.
    """
    if not lines:
        raise NothingToBill()
    nets = [line.amount for line in lines] if price_basis is PriceBasis.NET else _nets_of_gross(lines, currency)
    groups = tax_groups([(net, line.tax) for net, line in zip(nets, lines, strict=True)], currency)
    net = total(nets, currency)
    rounding = Money.zero(currency)
    if price_basis is PriceBasis.GROSS:
        rounding = total((line.amount for line in lines), currency) - net - total((group.tax for group in groups), currency)
    return _totals(_priced(lines, nets), groups, net, rounding, prepaid or Money.zero(currency), retained or Money.zero(currency))


def series_rounding(documents: Sequence[Sequence[TaxGroup]], currency: str) -> Money:
    """Tax on the whole minus the taxes of its documents: what R3 shows in the contract report and never pushes into an invoice."""
    bases: dict[TaxTreatment, Money] = {}
    charged = Money.zero(currency)
    for groups in documents:
        for group in groups:
            bases[group.treatment] = bases.get(group.treatment, Money.zero(currency)) + group.base
            charged = charged + group.tax
    whole = total((percent_of(base, item.rate_percent) for item, base in bases.items()), currency)
    return whole - charged


def _nets_of_gross(lines: Sequence[LineInput], currency: str) -> list[Money]:
    # Cumulative per group, so that the lines sum to the net of their group's gross.
    running: dict[TaxTreatment, Money] = {}
    reached: dict[TaxTreatment, Money] = {}
    nets = []
    for line in lines:
        running[line.tax] = running.get(line.tax, Money.zero(currency)) + line.amount
        net = net_of_gross(running[line.tax], line.tax.rate_percent)
        nets.append(net - reached.get(line.tax, Money.zero(currency)))
        reached[line.tax] = net
    return nets


def _priced(lines: Sequence[LineInput], nets: Sequence[Money]) -> tuple[Line, ...]:
    running: dict[TaxTreatment, Money] = {}
    priced = []
    for line, net in zip(lines, nets, strict=True):
        before = running.get(line.tax, Money.zero(net.currency))
        running[line.tax] = before + net
        tax = percent_of(running[line.tax], line.tax.rate_percent) - percent_of(before, line.tax.rate_percent)
        # BR-27: a unit price is never negative, so a deduction has quantity −1.
        quantity = Decimal(-1) if net.is_negative else line.quantity
        unit_price = Money(abs(round_half_up(net.minor / Fraction(quantity))), net.currency)
        priced.append(
            Line(key=line.key, description=line.description, quantity=quantity, unit_price=unit_price, net=net, tax=tax, treatment=line.tax)
        )
    return tuple(priced)


def _totals(
    lines: tuple[Line, ...], groups: tuple[TaxGroup, ...], net: Money, rounding: Money, prepaid: Money, retained: Money
) -> DocumentTotals:
    tax = total((group.tax for group in groups), net.currency)
    gross = net + tax
    amount_due = gross - prepaid + rounding
    payable = amount_due - retained
    if amount_due.is_negative or payable.is_negative:
        raise NegativeInvoice(_("this invoice would come to %(payable)s", payable=payable))
    return DocumentTotals(
        lines=lines,
        groups=groups,
        net=net,
        tax=tax,
        gross=gross,
        prepaid=prepaid,
        rounding=rounding,
        amount_due=amount_due,
        retained=retained,
        payable=payable,
    )


def by_treatment(groups: Sequence[TaxGroup]) -> Mapping[TaxTreatment, TaxGroup]:
    """The groups, found by category and rate."""
    return {group.treatment: group for group in groups}


__all__ = [
    "DocumentTotals",
    "Line",
    "LineInput",
    "NegativeInvoice",
    "NothingToBill",
    "TaxCategory",
    "TaxGroup",
    "TaxTreatment",
    "by_treatment",
    "draft_invoice",
    "line_net",
    "series_rounding",
    "tax_groups",
]
