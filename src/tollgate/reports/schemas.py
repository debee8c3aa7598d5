"""The JSON of reports. Items have the names of the CSV's columns."""

from datetime import date
from uuid import UUID

from msgspec import Struct

from tollgate.http.bodies import MoneyBody, encode_cursor
from tollgate.reports.queries import CurrencyTotal, PaymentRow, Place
from tollgate.reports.service import PaymentsReport


class PaymentItem(Struct, kw_only=True):
    """What one payment did for one invoice; without an invoice it is client credit."""

    received_on: date
    client: str
    contract: str
    invoice: str
    method: str
    reference: str
    state: str
    event: str
    currency: str
    amount: MoneyBody
    client_id: UUID
    contract_id: UUID | None
    invoice_id: UUID | None
    payment_id: UUID

    @classmethod
    def of(cls, row: PaymentRow) -> "PaymentItem":
        """The JSON shape."""
        return cls(
            received_on=row.received_on,
            client=row.client,
            contract=row.contract,
            invoice=row.invoice,
            method=row.method,
            reference=row.reference,
            state=row.state,
            event=row.event,
            currency=row.amount.currency,
            amount=MoneyBody.of(row.amount),
            client_id=row.client_id,
            contract_id=row.contract_id,
            invoice_id=row.invoice_id,
            payment_id=row.payment_id,
        )


class TotalBody(Struct, kw_only=True):
    """The sum in one currency, over all pages: `payments` came and were not taken back; of `returned` something went back."""

    currency: str
    amount: MoneyBody
    payments: int
    returned: int

    @classmethod
    def of(cls, total: CurrencyTotal) -> "TotalBody":
        """The JSON shape."""
        return cls(currency=total.amount.currency, amount=MoneyBody.of(total.amount), payments=total.payments, returned=total.returned)


class PaymentsReportBody(Struct, kw_only=True):
    """The payments report, last received first."""

    items: list[PaymentItem]
    totals: list[TotalBody]
    next_cursor: str | None

    @classmethod
    def of(cls, report: PaymentsReport) -> "PaymentsReportBody":
        """The JSON shape."""
        return cls(
            items=[PaymentItem.of(row) for row in report.rows],
            totals=[TotalBody.of(total) for total in report.totals],
            next_cursor=cursor_of(report.following),
        )


def cursor_of(place: Place | None) -> str | None:
    """The cursor of the next page."""
    return None if place is None else encode_cursor(place.received_on, place.payment_id, place.part)
