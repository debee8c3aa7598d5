"""The PDF is made once from what was frozen, mailed only then, and the mail carries a fresh token that no row keeps."""

from __future__ import annotations

import hashlib
import io
import re
from uuid import UUID

import pytest
from pypdf import PdfReader
from sqlalchemy import select, text

from tests.factories import make_contact
from tests.service.billing_world import World, make_world
from tollgate import clock
from tollgate.audit.models import AuditEvent
from tollgate.billing import jobs, mails, service, settlement
from tollgate.billing.models import InvoiceLink
from tollgate.billing.service import NotSendable
from tollgate.billing.snapshot import pay_reference, read_pay_reference
from tollgate.db.database import Database
from tollgate.documents import Kind, load_theme, render
from tollgate.documents import service as documents
from tollgate.documents.models import Document
from tollgate.documents.news import RenderDocument
from tollgate.documents.service import BeingRendered, overrides_of
from tollgate.errors import NotFound
from tollgate.files.storage import LocalStorage
from tollgate.jobs import enqueue
from tollgate.mail.composing import Composed
from tollgate.mail.composing import render as render_mail
from tollgate.mail.models import MailMessage
from tollgate.parties.models import Client, Contact, Organization
from tollgate.settings import Settings
from tollgate.signoff.models import LinkToken
from tollgate.signoff.tokens import read_token


@pytest.fixture
async def world(db: Database, storage: LocalStorage, settings: Settings) -> World:
    return await make_world(db, storage, settings)


async def document_of(world: World, kind: str = "invoice") -> Document:
    async with world.db.reading(world.org.id) as session:
        return (await session.execute(select(Document).where(Document.kind == kind))).scalar_one()


async def asked(world: World, template: str) -> list[MailMessage]:
    async with world.db.reading(world.org.id) as session:
        return list(await session.scalars(select(MailMessage).where(MailMessage.template == template).order_by(MailMessage.created_at)))


async def compose(world: World, row: MailMessage) -> Composed | None:
    async with world.db.transaction(world.org.id) as session:
        return await mails.composers(world.settings)[row.template](session, row)


async def pdf_text(world: World, kind: str, subject_id: UUID) -> str:
    _name, content = await documents.pdf(world.db, world.storage, world.org.id, kind, subject_id)
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


async def test_the_pdf_says_what_the_invoice_says(world: World) -> None:
    (milestone_id,) = await world.contract("1234.50")
    invoice = await world.bill(milestone_id)
    said = await pdf_text(world, "invoice", invoice.id)
    for wanted in (
        str(invoice.number),
        "Nordlicht Studio GmbH",
        "ATU12345675",
        "Hafen & Söhne AG",
        "Stage 0",
        "1,234.50",
        "246.90",
        "€1,481.40",
        "20%",
        "AT61 1904 3002 3457 3201",
    ):
        assert wanted in said
    assert f"/pay/{pay_reference(world.org.id, invoice.id)}"[:30] in re.sub(r"\s", "", said)


async def test_the_pdf_is_written_once_and_made_again_byte_for_byte(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.bill(milestone_id)
    kept = await document_of(world)
    assert kept.content_sha256 == hashlib.sha256(kept.content.encode()).digest()
    theme = load_theme(kept.theme, overrides_of(kept.theme_overrides, None))
    assert hashlib.sha256(render(kept.kind, kept.content.encode(), theme)).hexdigest() == kept.pdf_sha256_hex
    async with world.db.transaction(world.org.id) as session:
        await enqueue(session, RenderDocument(organization_id=world.org.id, document_id=kept.id))
    await world.worker.run_until_idle()
    again = await document_of(world)
    assert (again.pdf_sha256_hex, again.rendered_at) == (kept.pdf_sha256_hex, kept.rendered_at)
    async with world.db.reading(world.org.id) as session:
        rendered = await session.scalars(select(AuditEvent.name).where(AuditEvent.name == "document.rendered"))
        # The certificate of the approval and the invoice.
        assert len(list(rendered)) == 2
    assert len(await asked(world, "billing/invoice")) == 1


async def test_what_is_frozen_does_not_follow_later_changes(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.approve(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        invoice_id = await service.bill_approved(session, world.org.id, milestone_id, world.settings)
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Organization, world.org.id)).legal_name = "Renamed AG"
        (await session.get_one(Client, (world.org.id, world.client_id))).legal_name = "Taken Over Ltd"
    await world.worker.run_until_idle()
    assert invoice_id is not None
    said = await pdf_text(world, "invoice", invoice_id)
    assert "Nordlicht Studio GmbH" in said and "Hafen & Söhne AG" in said and "Renamed" not in said


async def test_nothing_is_mailed_or_handed_out_before_the_pdf_is_there(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.approve(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        invoice_id = await service.bill_approved(session, world.org.id, milestone_id, world.settings)
    assert invoice_id is not None
    with pytest.raises(BeingRendered) as early:
        await documents.pdf(world.db, world.storage, world.org.id, "invoice", invoice_id)
    assert early.value.facts["retry_after"] > 0
    with pytest.raises(BeingRendered):
        await service.send_invoice(world.db, world.org.command("finance"), invoice_id)
    assert await asked(world, "billing/invoice") == []
    with pytest.raises(NotFound):
        await documents.pdf(world.db, world.storage, world.org.id, "invoice", milestone_id)
    await world.worker.run_until_idle()
    assert [row.contact_id for row in await asked(world, "billing/invoice")] == [world.contact_id]


async def test_the_invoice_mail_names_the_money_and_carries_a_fresh_link(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    (row,) = await asked(world, "billing/invoice")
    first, second = await compose(world, row), await compose(world, row)
    assert first is not None and second is not None
    subject, plain, html = render_mail(row.template, first)
    assert subject == f"Invoice {invoice.number} from Nordlicht Studio GmbH: €120.00"
    for said in (plain, html):
        assert str(invoice.number) in said and "€120.00" in said and str(first.context["link"]) in said
    (attachment,) = first.attachments
    assert (attachment.file_name, attachment.content_type) == (f"{invoice.number}.pdf", "application/pdf")
    assert attachment.sha256_hex == (await document_of(world)).pdf_sha256_hex
    assert first.context["link"] != second.context["link"]
    async with world.db.reading(world.org.id) as session:
        (link,) = await session.scalars(select(InvoiceLink))
        hashes = list(await session.scalars(select(LinkToken.nonce_sha256).where(LinkToken.invoice_link_id == link.id)))
    for composed in (first, second):
        token = str(composed.context["link"]).removeprefix(f"{world.settings.base_url}/i/")
        facts = read_token(world.settings.secret_key, token)
        assert facts is not None and facts.link_id == link.id and facts.nonce_sha256 in hashes
    assert "token" not in str(row.arguments)


async def test_an_accepted_mail_makes_the_invoice_sent_once(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    (row,) = await asked(world, "billing/invoice")
    for _ in range(2):
        async with world.db.transaction(world.org.id) as session:
            await mails.accepted["billing/invoice"](session, row)
    assert (await world.invoice(invoice.id)).sent_at is not None
    async with world.db.reading(world.org.id) as session:
        sent = list(await session.scalars(select(AuditEvent.name).where(AuditEvent.name == "invoice.sent")))
    assert sent == ["invoice.sent"]


async def test_sending_again_is_another_mail(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    await service.send_invoice(world.db, world.org.command("finance"), invoice.id)
    assert len(await asked(world, "billing/invoice")) == 2
    await world.credit(invoice.id)
    with pytest.raises(NotSendable):
        await service.send_invoice(world.db, world.org.command("finance"), invoice.id)
    # A mail that still waited is not sent for an invoice that was taken back.
    assert await compose(world, (await asked(world, "billing/invoice"))[0]) is None


async def test_billing_contacts_come_before_approvers(world: World) -> None:
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Contact, (world.org.id, world.contact_id))).is_billing_contact = False
    (milestone_id, later) = await world.contract("100.00", "200.00")
    await world.bill(milestone_id)
    assert [row.contact_id for row in await asked(world, "billing/invoice")] == [world.contact_id]
    payable = await make_contact(world.db, world.org, world.client_id, is_approver=False, is_billing_contact=True)
    await world.bill(later)
    assert [row.contact_id for row in await asked(world, "billing/invoice")] == [world.contact_id, payable]


async def test_asking_for_a_link_mails_it_to_the_billing_contact_only_so_often(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    found = read_pay_reference(pay_reference(world.org.id, invoice.id))
    assert found == (world.org.id, invoice.id)
    assert len(pay_reference(world.org.id, invoice.id)) == 52
    at = clock.now().replace(minute=0, second=0)
    with clock.moved_to(at):
        assert await service.request_invoice_link(world.db, *found)
        assert await service.request_invoice_link(world.db, *found)
    (row,) = await asked(world, "billing/invoice_link")
    composed = await compose(world, row)
    assert composed is not None and composed.attachments == ()
    subject, plain, _html = render_mail(row.template, composed)
    assert str(invoice.number) in subject and str(composed.context["link"]) in plain
    assert not await service.request_invoice_link(world.db, world.org.id, milestone_id)


@pytest.mark.parametrize("reference", ["", "x", "a" * 51 + "!", "a" * 60, "é" * 52, "=" * 52, "1" * 52])
def test_a_pay_reference_that_is_none(reference: str) -> None:
    assert read_pay_reference(reference) is None


async def test_a_credit_note_has_its_own_document_and_mail(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    note = await world.credit(invoice.id, reason="Billed to the wrong cost centre")
    await world.worker.run_until_idle()
    said = await pdf_text(world, "credit_note", note.id)
    for wanted in (note.number, str(invoice.number), "Billed to the wrong cost centre", "€120.00", "Stage 0"):
        assert wanted in said
    (row,) = await asked(world, "billing/credit_note")
    composed = await compose(world, row)
    assert composed is not None
    subject, plain, html = render_mail(row.template, composed)
    assert note.number in subject and str(invoice.number) in subject
    assert "Billed to the wrong cost centre" in plain and "nothing to pay" in html
    async with world.db.transaction(world.org.id) as session:
        await mails.accepted["billing/credit_note"](session, row)
    async with world.db.reading(world.org.id) as session:
        assert (await session.execute(text("select sent_at is not null from credit_note"))).scalar_one()


async def test_the_receipt_says_what_was_paid(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        _contract, _milestones, row = await settlement.lock_invoice(session, world.org.id, invoice.id)
        await settlement.apply_payment(session, row, 12000)
    (mail,) = await asked(world, "billing/receipt")
    composed = await compose(world, mail)
    assert composed is not None
    subject, plain, html = render_mail(mail.template, composed)
    assert "is paid" in subject and "€120.00" in plain and "€120.00" in html


async def test_a_void_invoice_is_not_mailed(world: World) -> None:
    (milestone_id,) = await world.contract("100.00")
    await world.approve(milestone_id)
    async with world.db.transaction(world.org.id) as session:
        invoice_id = await service.bill_approved(session, world.org.id, milestone_id, world.settings)
    assert invoice_id is not None
    await service.void_invoice(world.db, world.org.command("finance"), invoice_id, "wrong")
    await world.worker.run_until_idle()
    assert (await document_of(world)).pdf_sha256_hex is not None
    assert await asked(world, "billing/invoice") == []


async def test_hostile_text_comes_out_as_text(world: World) -> None:
    async with world.db.transaction(world.org.id) as session:
        (await session.get_one(Client, (world.org.id, world.client_id))).legal_name = "<b>A&B</b> <img src=x> {{ 7*7 }}"
    (milestone_id,) = await world.contract("100.00")
    invoice = await world.bill(milestone_id)
    assert "<img" in re.sub(r"\s+", " ", await pdf_text(world, "invoice", invoice.id))
    (row,) = await asked(world, "billing/invoice")
    composed = await compose(world, row)
    assert composed is not None
    evil = Composed("<script>x</script>", composed.to_email, composed.locale, composed.context)
    assert "<script>" not in render_mail(row.template, evil)[2]


def test_every_template_that_is_asked_for_has_a_composer(settings: Settings) -> None:
    assert set(mails.composers(settings)) == {"billing/invoice", "billing/invoice_link", "billing/receipt", "billing/credit_note"}
    assert set(jobs.rendered()) == {Kind.INVOICE, Kind.CREDIT_NOTE}
