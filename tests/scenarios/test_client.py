"""Clara, the client, who has no account: a mail, one page, one decision, an invoice, and a button to pay it."""

from __future__ import annotations

import io
from pathlib import Path

from pypdf import PdfReader
from sqlalchemy import select

from tests.factories import Org
from tests.scenarios.stage import Stage, Visitor, open_stage, until
from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.billing.models import Invoice
from tollgate.contracts import service as contracts
from tollgate.db.command import Command
from tollgate.money.amount import Money
from tollgate.parties import service as parties
from tollgate.parties.rules import ClientChanges, ContactChanges
from tollgate.signoff import service as signoff

CLARA = "clara@hafen.example"


async def delivered(stage: Stage) -> None:
    """What Max did before: one milestone of 1,000.00 is with Clara."""
    db, storage = stage.services.db, stage.services.storage
    operator = Command.operator(stage.organization_id)
    max_ = await access.create_member(
        db, operator, email="max@nordlicht.example", name="Max Berger", role=Role.ACCOUNT_MANAGER, password="a long enough passphrase"
    )
    manager = Org(stage.organization_id, max_.id, max_.id, max_.id).command("account_manager")
    client_id = await parties.create_client(
        db, manager, ClientChanges(legal_name="Hafenkontor Linz AG", country="AT", line1="Hauptplatz 1", city="Linz", tax_id="ATU87654324")
    )
    contact = ContactChanges(name="Clara Huber", email=CLARA, is_approver=True, is_billing_contact=True)
    await parties.add_contact(db, manager, client_id, contact)
    row = contracts.MilestoneInput(title="Concept", amount=Money.parse("1000.00", "EUR"), acceptance_criteria=("Twelve pages",))
    asked = contracts.ContractInput(client_id=client_id, title="Relaunch", value=Money.parse("1000.00", "EUR"), milestones=[row])
    contract_id = await contracts.create_contract(db, manager, asked)
    await contracts.activate_contract(db, storage, manager, contract_id)
    async with db.reading(stage.organization_id) as session:
        (milestone,) = await contracts.queries.milestones_of(session, stage.organization_id, [contract_id])
    file = contracts.FileInput(name="wireframes.txt", content_type="text/plain", content=b"twelve pages")
    await contracts.add_deliverable(db, storage, manager, milestone.id, contracts.DeliverableInput(file=file))
    await signoff.deliver(db, manager, milestone.id, signoff.Delivery(message="Twelve pages, as agreed."))


async def the_invoice(stage: Stage) -> Invoice | None:
    async with stage.services.db.reading(stage.organization_id) as session:
        return (await session.scalars(select(Invoice))).one_or_none()


async def test_one_decision_and_one_payment(database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, tmp_path) as stage:
        await delivered(stage)
        mail = await stage.mail(CLARA, "Concept")
        address = stage.link_in(mail, "a")

        # Her mail server's scanner opens every link first, twice. Nothing is decided by that.
        scanner = stage.visitor()
        for _ in range(2):
            await scanner.open(address)
            assert (await scanner.http.head(address)).status_code < 500

        # She opens it: the amount, the terms, the file, then the place to sign.
        clara: Visitor = stage.visitor()
        page = await clara.open(address)
        assert "€1,000.00" in page and "€1,200.00" in page and "Twelve pages" in page and "wireframes.txt" in page
        assert await the_invoice(stage) is None

        # Without the tick the page comes back and keeps her name.
        page = await clara.send("/approval", status=422, signed_name="Clara Huber")
        assert clara.page is not None and 'value="Clara Huber"' in clara.page.text
        assert "You approved" in await clara.send("/approval", signed_name="Clara Huber", agree="yes")

        # The old mail now shows the certificate; pressing again decides nothing more.
        await clara.open(address)
        assert "You approved" in clara.text
        certificate = await until(lambda: pdf(clara, f"{clara.page.url.path}/certificate.pdf" if clara.page else ""))
        assert "Clara Huber" in certificate and "Concept" in certificate

        # The invoice arrives by itself, as a PDF with her address on it, and a link to the page with the Pay button.
        invoice = await until(lambda: the_invoice(stage))
        mail = await stage.mail(CLARA, invoice.number)
        (attachment,) = mail["attachments"]
        assert attachment["content_type"] == "application/pdf"
        content = (await clara.http.get(attachment["url"])).content
        text = "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(content)).pages)
        for words in (invoice.number, "Hafenkontor Linz AG", "1,000.00", "200.00", "1,200.00"):
            assert words in text, words
        link = stage.link_in(mail, "i")

        async def can_pay() -> bool:
            return "Pay €1,200.00" in await clara.open(link)

        await until(can_pay)
        here = str(clara.page.url)
        hosted = (await until(lambda: the_invoice(stage))).stripe_hosted_url
        await clara.open(hosted)
        assert "1,200.00" in clara.text
        await clara.http.post(f"{hosted}/paid")

        # Stripe tells us; her page says that it is paid, and a receipt comes.
        async def paid() -> bool:
            found = await the_invoice(stage)
            return found is not None and found.state == "paid"

        await until(paid)
        assert "Pay €" not in await clara.open(here)
        await stage.mail(CLARA, "is paid: thank you")
        await stage.sound()


async def pdf(visitor: Visitor, path: str) -> str:
    """Its text, or nothing while it is being made."""
    answer = await visitor.http.get(path)
    if answer.status_code != 200 or not answer.content.startswith(b"%PDF"):
        return ""
    return "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(answer.content)).pages)
