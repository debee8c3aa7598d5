"""Fiona, finance: reviews before anything goes out, corrects, books transfers, and hands the month to the accountant."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.factories import Org, make_client, make_contact
from tests.factories.shop import Shop
from tests.scenarios.stage import Stage, open_stage, until
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.clock import today
from tollgate.db.command import Command
from tollgate.signoff import service as signoff

API = "/api/v1"


async def a_shop(stage: Stage) -> Shop:
    """What the others did before: a client, and an account manager who delivers."""
    operator = Command.operator(stage.organization_id)
    ids = {}
    for name, role in (("Max Berger", Role.ACCOUNT_MANAGER), ("Ada Admin", Role.ADMIN)):
        made = await access.create_member(
            stage.services.db,
            operator,
            email=f"{name.split()[0].lower()}@nordlicht.example",
            name=name,
            role=role,
            password="a long enough passphrase",
        )
        ids[role] = made.id
    org = Org(stage.organization_id, ids[Role.ADMIN], ids[Role.ACCOUNT_MANAGER], ids[Role.ADMIN])
    client_id = await make_client(stage.services.db, org)
    contact = await make_contact(stage.services.db, org, client_id, email="clara@hafen.example")
    return Shop(stage.services, org, client_id, contact, "EUR")


async def approved(shop: Shop, milestone_id: UUID) -> None:
    link, decision = await shop.delivered(milestone_id)
    await signoff.approve_by_link(shop.db, shop.approver(), link, decision)


async def test_a_month_of_finance(database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, tmp_path) as stage:
        shop = await a_shop(stage)
        fiona = await stage.member("Fiona Adler", Role.FINANCE)
        books = await stage.api(Role.FINANCE)

        async def invoices() -> list[dict[str, Any]]:
            return list((await books.get(f"{API}/invoices")).json()["items"])

        async def invoice(number: str) -> dict[str, Any]:
            return next(row for row in await invoices() if row["number"] == number)

        # Two milestones under review, at two rates. Approval makes drafts; nothing is mailed, no number is taken.
        first, second = await shop.active(6_200_00, 1_000_33, rates=["20", "10"], invoicing_on_approval="review")
        await approved(shop, first)
        drafts = await until(invoices)
        assert [(row["state"], row["number"], row["payable"]["amount"]) for row in drafts] == [("draft", None, "7440.00")]
        assert not [mail for mail in stage.sandbox.mailbox.mails.values() if "Invoice" in mail.subject]

        # She issues it on its page. The purchase order was missing, so she credits it and bills anew under the next number.
        await fiona.open(f"/invoices/{drafts[0]['id']}")
        assert "INV-" in await fiona.send(f"/invoices/{drafts[0]['id']}/issue")
        issued = (await invoices())[0]
        assert issued["number"].endswith("0001")
        await stage.mail("clara@hafen.example", issued["number"])

        async def handed_over() -> bool:
            return [row["stripe"]["step"] for row in await invoices() if row["number"]] == ["sent"]

        await until(handed_over)
        late = await books.post(f"{API}/invoices/{issued['id']}/void", json={"reason": "too late for that"})
        assert (late.status_code, late.json()["type"].rsplit("/")[-1]) == (409, "void-refused")
        await fiona.open(f"/invoices/{issued['id']}/credit")
        await fiona.send("/credit", reason="The purchase order was missing")
        note = await stage.mail("clara@hafen.example", "CN-")
        assert note["attachments"][0]["content_type"] == "application/pdf"
        assert (await invoice(issued["number"]))["state"] == "credited"
        again = await books.post(f"{API}/milestones/{first}/invoice", headers={"Idempotency-Key": "month-1"})
        repeat = await books.post(f"{API}/milestones/{first}/invoice", headers={"Idempotency-Key": "month-1"})
        assert (again.status_code, again.json()["number"][-4:]) == (201, "0002"), again.text
        assert (repeat.status_code, repeat.json()["id"]) == (201, again.json()["id"])

        # The second milestone: 1,000.33 + 10 % = 1,100.36.
        await approved(shop, second)

        async def drafted() -> Any:
            return [row for row in await invoices() if row["state"] == "draft"]

        (draft,) = await until(drafted)
        sent = await books.post(f"{API}/invoices/{draft['id']}/issue")
        assert (sent.status_code, sent.json()["payable"]["amount"], sent.json()["number"][-4:]) == (200, "1100.36", "0003"), sent.text

        async def payable_at_stripe() -> bool:
            return [row["stripe"]["step"] for row in await invoices() if row["state"] == "issued"] == ["sent", "sent"]

        await until(payable_at_stripe)

        # A transfer for more than both: the form settles the oldest due first, and what is left is the client's credit.
        await fiona.open(f"/payments/new?client_id={shop.client_id}")
        day = today("Europe/Vienna").isoformat()
        text = await fiona.send("/payments/new", amount="8600.00", received_on=day, reference="Statement 11/2")
        assert "59.64" in text, text
        for number in (again.json()["number"], sent.json()["number"]):
            assert (await invoice(number))["state"] == "paid"
            assert (await invoice(number))["open"]["amount"] == "0.00"

        # The day after tomorrow has not come, and money is more than nothing.
        for wrong in ({"amount": "10.00", "received_on": "2999-01-01"}, {"amount": "0.00", "received_on": day}):
            await fiona.open(f"/payments/new?client_id={shop.client_id}")
            await fiona.send("/payments/new", status=422, **wrong)

        # The report for the accountant: same money as the screen, a line per settled invoice.
        answer = await books.get(f"{API}/reports/payments", params={"format": "csv"})
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert sorted((line["invoice"], line["amount"]) for line in lines if line["invoice"]) == [
            (again.json()["number"], "7440.00"),
            (sent.json()["number"], "1100.36"),
        ]
        assert "8,600.00" in await fiona.open("/reports/payments")

        # What Stripe was told: the credited one void, the paid ones no longer payable there, one each.
        account = stage.sandbox.world.account("stories")

        def at_stripe() -> list[tuple[str, str]]:
            return sorted((str(row["number"])[-4:], row["status"]) for row in account.all("invoice"))

        wanted = [("0001", "void"), ("0002", "paid"), ("0003", "paid")]

        async def told() -> bool:
            return at_stripe() == wanted

        with suppress(TimeoutError):
            await until(told, seconds=60)
        assert at_stripe() == wanted, [(row["number"], row["stripe"]) for row in await invoices()]
        await stage.sound()
