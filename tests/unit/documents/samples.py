"""Believable documents for the tests of this room and for looking at."""

from io import BytesIO

from PIL import Image, ImageDraw

from tollgate.documents.views import (
    CertificateView,
    ColumnsView,
    CreditNoteView,
    DecisionView,
    DeliveredView,
    DocumentInfo,
    Fact,
    InvoiceView,
    LineView,
    PartyView,
    PayLinkView,
    PaymentView,
    SectionView,
    TaxRowView,
    TaxTableView,
    TotalRowView,
)

SELLER = PartyView(
    name="Nordlicht Studio GmbH",
    address=("Schottenfeldgasse 24/7", "1070 Wien", "Austria"),
    tax_ids=("VAT ATU68541544", "FN 412703 k"),
    contact=("billing@nordlicht.example", "+43 1 890 12 34"),
)
BUYER = PartyView(
    label="Billed to",
    name="Kowalski & Søn Logistics A/S",
    address=("Attn. Accounts Payable", "Vesterbrogade 149, 3. tv.", "1620 København V", "Denmark"),
    tax_ids=("VAT DK28866984",),
)
FOOTER = (
    ("Nordlicht Studio GmbH", "Schottenfeldgasse 24/7, 1070 Wien", "Managing director: Mag. Ilse Brandstätter"),
    ("Commercial register FN 412703 k", "Handelsgericht Wien", "VAT ATU68541544"),
    ("Erste Bank", "IBAN AT61 1904 3002 3457 3201", "BIC GIBAATWWXXX"),
)
COLUMNS = ColumnsView(position="No.", title="Milestone", quantity="Qty", unit_price="Unit price", tax_rate="VAT", net="Net (EUR)")


def info(title: str) -> DocumentInfo:
    """Metadata of a sample."""
    return DocumentInfo(
        language="en",
        title=title,
        running_title=title,
        author=SELLER.name,
        subject="Contract C-2026-014",
        dated="2026-11-24",
        page_of="Page {page} of {pages}",
    )


def invoice(lines: tuple[LineView, ...] | None = None) -> InvoiceView:
    """One page: two milestones, a drawn deposit, two rates, retainage."""
    return InvoiceView(
        info=info("Invoice INV-2026-0042"),
        title="Invoice",
        number="INV-2026-0042",
        headline=Fact(label="Payable", value="20,358.00 EUR"),
        headline_note="by 24 December 2026",
        facts=(
            Fact(label="Issued", value="24 November 2026"),
            Fact(label="Supplied", value="19 November 2026"),
            Fact(label="Due", value="24 December 2026"),
            Fact(label="Contract", value="C-2026-014 Warehouse portal"),
            Fact(label="Purchase order", value="4500118273"),
            Fact(label="Customer number", value="K-1042"),
        ),
        seller=SELLER,
        buyer=BUYER,
        columns=COLUMNS,
        lines=lines
        or (
            LineView(
                position="1",
                title="M2 Scanner integration",
                description=(
                    "Handheld scanners of halls 2 and 3 book goods in and out without paper; offline for up to four hours.",
                    "Approved by Anna Kowalski on 19 November 2026, round 2, certificate C-2026-014-M2-R2.",
                ),
                quantity="1",
                unit_price="18,000.00",
                tax_rate="20 %",
                net="18,000.00",
            ),
            LineView(
                position="2",
                title="M3 Training material, printed",
                description=("Forty bound copies in Danish and English.",),
                quantity="40",
                unit_price="48.75",
                tax_rate="10 %",
                net="1,950.00",
            ),
            LineView(
                position="3",
                title="Deposit INV-2026-0007 drawn down",
                quantity="−1",
                unit_price="1,200.00",
                tax_rate="20 %",
                net="−1,200.00",
            ),
        ),
        taxes=TaxTableView(
            label="VAT",
            base="Base",
            tax="Tax",
            rows=(
                TaxRowView(label="20 % standard rate", base="16,800.00", tax="3,360.00"),
                TaxRowView(label="10 % reduced rate", base="1,950.00", tax="195.00"),
            ),
        ),
        totals=(
            TotalRowView(label="Net", amount="18,750.00"),
            TotalRowView(label="VAT", amount="3,555.00"),
            TotalRowView(label="Gross", amount="22,305.00"),
            TotalRowView(label="Retained until completion (10 %)", amount="−1,947.00", emphasis="muted"),
            TotalRowView(label="Payable", amount="20,358.00 EUR", emphasis="strong"),
        ),
        notes=("Thank you for working with us. Retained value is invoiced on completion of the contract, expected on 31 March 2027.",),
        payment=PaymentView(
            title="How to pay",
            facts=(
                Fact(label="Account holder", value="Nordlicht Studio GmbH"),
                Fact(label="IBAN", value="AT61 1904 3002 3457 3201"),
                Fact(label="BIC", value="GIBAATWWXXX"),
                Fact(label="Reference", value="INV-2026-0042"),
            ),
            link=PayLinkView(
                label="Or pay by card or bank debit; a fresh link is mailed to your billing contact:",
                url="https://bill.nordlicht.example/pay/INV-2026-0042",
            ),
        ),
        footer=FOOTER,
    )


def long_invoice(count: int = 200) -> InvoiceView:
    """Many pages; every seventh line is long."""
    lines = tuple(
        LineView(
            position=str(number),
            title=f"Work package {number:03} "
            + ("with a title that goes on and on because the contract says so, word for word" if number % 7 == 0 else "on site"),
            description=("Second paragraph of explanation that is long enough to wrap at least once in the narrow column. " * 2,)
            * (number % 7 == 0),
            quantity=f"{number}",
            unit_price="1,234.50",
            tax_rate="20 %",
            net=f"{number * 1234.5:,.2f}",
        )
        for number in range(1, count + 1)
    )
    return invoice(lines)


def credit_note() -> CreditNoteView:
    """A full correction."""
    base = invoice()
    return CreditNoteView(
        info=info("Credit note CN-2026-0003"),
        title="Credit note",
        number="CN-2026-0003",
        headline=Fact(label="Credited", value="2,145.00 EUR"),
        corrects="Corrects invoice INV-2026-0041 of 3 November 2026.",
        reason="The printed training material was billed twice. The milestone is billed again by its own invoice.",
        facts=(
            Fact(label="Issued", value="24 November 2026"),
            Fact(label="Corrected invoice", value="INV-2026-0041"),
            Fact(label="Its issue date", value="3 November 2026"),
            Fact(label="Contract", value="C-2026-014 Warehouse portal"),
        ),
        seller=SELLER,
        buyer=BUYER,
        columns=COLUMNS,
        lines=(base.lines[1],),
        taxes=TaxTableView(
            label="VAT", base="Base", tax="Tax", rows=(TaxRowView(label="10 % reduced rate", base="1,950.00", tax="195.00"),)
        ),
        totals=(
            TotalRowView(label="Net", amount="1,950.00"),
            TotalRowView(label="VAT", amount="195.00"),
            TotalRowView(label="Credited", amount="2,145.00 EUR", emphasis="strong"),
        ),
        notes=("The amount is set off against the open part of the invoice; what was paid already is refunded.",),
        footer=FOOTER,
    )


def certificate() -> CertificateView:
    """A milestone approved in its second round by two approvers, one of them recorded."""
    return CertificateView(
        info=info("Certificate C-2026-014-M2-R2"),
        title="Sign-off certificate",
        number="C-2026-014-M2-R2",
        headline=Fact(label="Accepted value", value="18,000.00 EUR"),
        headline_note="net of VAT",
        seller=SELLER,
        statement="Kowalski & Søn Logistics A/S accepted milestone M2 “Scanner integration” of contract C-2026-014 as delivered in "
        "review round 2. What was accepted is identified by the hashes below; this certificate was made when the round was complete and does not change.",
        facts=(
            Fact(label="Contract", value="C-2026-014 Warehouse portal, version 3"),
            Fact(label="Client", value="Kowalski & Søn Logistics A/S"),
            Fact(label="Milestone", value="M2 Scanner integration"),
            Fact(label="Review round", value="2"),
            Fact(label="Delivered", value="16 November 2026"),
            Fact(label="Completed", value="19 November 2026, 14:07:32 CET"),
        ),
        promised=SectionView(
            title="What was promised",
            paragraphs=(
                "Handheld scanners of halls 2 and 3 book goods in and out without paper.",
                "A scanner works without network for four hours and catches up by itself, without doubled or lost bookings.",
                "Error rate below 0.1 % over three working days, measured by the client.",
            ),
        ),
        delivered_title="What was delivered",
        delivered=(
            DeliveredView(
                kind="File",
                name="acceptance-protocol-halls-2-3.pdf",
                details=("1.8 MB",),
                hash_label="SHA-256",
                sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
            DeliveredView(
                kind="File",
                name="scanner-firmware-2.4.1.zip",
                details=("38.2 MB",),
                hash_label="SHA-256",
                sha256="60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
            ),
            DeliveredView(
                kind="Link", name="https://staging.kowalski.example/warehouse/scanners", details=("Test system with data of 12 November",)
            ),
            DeliveredView(
                kind="Note", name="The fourth charger is on back order and follows in week 49; agreed by phone with Ms Kowalski."
            ),
        ),
        decisions_title="Decisions",
        decisions=(
            DecisionView(
                outcome="Approved",
                name="Anna Kowalski",
                role="Head of Operations, approver",
                instant="19 November 2026, 14:07:32 CET",
                how="By signed link sent to a.kowalski@kowalski.example",
                details=("“Works well in both halls. Thank you for the night shift.”",),
            ),
            DecisionView(
                outcome="Approved",
                name="Γιώργος Παπαδόπουλος",
                role="Chief Financial Officer, approver",
                instant="18 November 2026, 09:41:05 CET",
                how="Recorded by Ilse Brandstätter, not signed by link; signed document attached",
            ),
        ),
        evidence_title="Evidence",
        evidence=(
            Fact(label="Content hash of the round (SHA-256)", value="b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
            Fact(label="Anchor of the audit trail (head hash)", value="2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
        ),
        footer=FOOTER,
    )


def logo(width: int = 600, height: int = 150) -> bytes:
    """A PNG with transparency."""
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((5, 5, height - 5, height - 5), fill=(31, 95, 139, 255))
    pen.rectangle((height + 20, height // 3, width - 10, height * 2 // 3), fill=(27, 36, 48, 255))
    output = BytesIO()
    picture.save(output, "PNG")
    return output.getvalue()
