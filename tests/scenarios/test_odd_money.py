"""A week of odd money: a debit on its way, too much, a refund, a dispute; what finance reads and what the client reads.

A real server and worker, webhooks signed and delivered over HTTP by the sandbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.stage import open_stage, until
from tests.scenarios.test_finance import API, a_shop, approved
from tollgate.access.rules import Role


async def test_a_week_of_odd_money(database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, tmp_path) as stage:
        shop = await a_shop(stage)
        fiona = await stage.member("Fiona Adler", Role.FINANCE)
        clara = stage.visitor()
        books = await stage.api(Role.FINANCE)
        (milestone,) = await shop.active(1_000_00)
        await approved(shop, milestone)

        async def invoice() -> dict[str, Any]:
            found = (await books.get(f"{API}/invoices")).json()["items"]
            return dict(found[0]) if found else {}

        async def becomes(**wanted: Any) -> dict[str, Any]:
            async def has() -> Any:
                now = await invoice()
                return now if all(now.get(name) == value for name, value in wanted.items()) else None

            return dict(await until(has))

        async def handed_over() -> Any:
            now = await invoice()
            return now if now and now["stripe"]["step"] == "sent" else None

        one = dict(await until(handed_over))
        at_stripe, there = one["stripe"]["invoice_id"], f"/invoices/{one['id']}"
        mail = await stage.mail("clara@hafen.example", one["number"])
        link = stage.link_in(mail, "i")
        assert "Pay €1,200.00" in await clara.open(link)

        # A card is declined: a fact for Fiona, nothing for Clara but to try again.
        stage.sandbox.pay(at_stripe, "declined")
        await until(lambda: declined(invoice))
        assert "did not go through" in await fiona.open(there)
        text = await clara.open(link)
        assert "Your last payment did not go through; nothing was taken." in text and "Pay €1,200.00" in text

        # She lets it be debited, which takes days: no second payment is asked for.
        stage.sandbox.pay(at_stripe, "processing")
        await becomes(reminders_stopped="processing")
        assert "A payment is on its way" in await fiona.open(there)
        text = await clara.open(link)
        assert "A payment is on its way" in text and "Pay €" not in text and "IBAN" not in text
        assert "did not go through" not in text
        stage.sandbox.pay(at_stripe, "settle")
        await becomes(state="paid", reminders_stopped=None)

        # Her bookkeeper had paid in another tab as well: it is her credit, and both are told.
        stage.sandbox.pay(at_stripe, "double")

        async def twice() -> Any:
            return len((await books.get(f"{API}/payments")).json()["items"]) == 2

        await until(twice)
        assert "is more than was open: client credit" in await fiona.open(there)
        assert "€1,200.00 more than was to be paid" in await clara.open(link)

        # Fiona gives the second one back at Stripe, and the books follow without her.
        stage.sandbox.refund(at_stripe)

        async def given_back() -> Any:
            rows = (await books.get(f"{API}/payments")).json()["items"]
            return [row["state"] for row in rows if row["state"] == "returned"] and all(
                row["client_credit"]["amount"] == "0.00" for row in rows
            )

        await until(given_back)
        assert (await invoice())["state"] == "paid"
        text = await clara.open(link)
        assert "Sent back to you" in text and "more than was to be paid" not in text
        assert "open again" not in text

        # Clara's bank asks questions: the invoice is flagged, and Fiona is told where to answer.
        dispute = stage.sandbox.dispute(at_stripe, "product_not_received")
        await becomes(reminders_stopped="disputed", state="paid")
        text = await fiona.open("/")
        assert "Disputed" in text and one["number"] in text and "answer at Stripe by" in text
        assert "the payer says nothing was delivered" in await fiona.open(there)

        # It is lost: the invoice is open again, and Stripe cannot collect it any more.
        stage.sandbox.close_dispute(dispute["id"], won=False)
        last = await becomes(state="issued", reminders_stopped=None)
        assert last["open"]["amount"] == "1200.00" and "went back to the payer" in last["stripe"]["problem"]
        text = await fiona.open("/")
        assert "went back to the payer" in text and "Money went back" in text and "Look at Stripe" not in text
        text = await fiona.open(there)
        assert "Closed at Stripe" in text and "Withdrawn" not in text
        text = await clara.open(link)
        assert "Given back by your bank" in text and "Pay €" not in text and "IBAN" in text
        assert "€1,200.00 of your payment was returned to you." in text and "did not go through" not in text

        # The report has each of it on its day, and its sum is the money that is here: nothing.
        report = (await books.get(f"{API}/reports/payments")).json()
        assert sorted(item["event"] for item in report["items"]) == [
            "payment_dispute_lost",
            "payment_received",
            "payment_received",
            "payment_refunded",
        ]
        assert [(total["amount"]["amount"], total["payments"], total["returned"]) for total in report["totals"]] == [("0.00", 2, 2)]
        await stage.sound()


async def declined(invoice: Any) -> Any:
    """Whether a payment of it failed."""
    return (await invoice())["declined"]
