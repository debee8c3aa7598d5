"""Every text column of the database: who writes it and how, or why nobody can. A new column without a row here fails the suite.

`Typed`: a person or a program types it, through the route named; `copies`: the columns that repeat it, because something is frozen there.
`Chosen`: one of a closed list or of a strict form; hostile text is refused. `Written`: by the system only, and why it holds nothing typed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ARRAY, String
from sqlalchemy.dialects.postgresql import JSONB

from tollgate.models import metadata


@dataclass(frozen=True, slots=True)
class Typed:
    """Free text. `by` is the route that writes it (API or form), `form` the page that does the same."""

    by: str
    form: str = ""
    shape: str = "{}"
    """What the text is wrapped in where it must look like something; the payload stands at `{}`."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """From a list or of a strict form."""

    by: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What was typed elsewhere, frozen."""

    why: str


@dataclass(frozen=True, slots=True)
class Written:
    """By the system only."""

    why: str


Row = Typed | Chosen | Copied | Written

ORGANIZATION, SETTINGS = "PATCH /organization", "/settings"
CLIENT, CLIENT_FORM = "POST /clients", "/clients/new"
CONTACT, CONTACT_FORM = "POST /clients/{id}/contacts", "/clients/{id}/contacts/new"
CONTRACT, CONTRACT_FORM = "POST /contracts", "/contracts/new"
ACTIVATION = "POST /contracts/{id}/activation"
DELIVERABLE, DELIVER_FORM = "POST /milestones/{id}/deliverables", "/milestones/{id}/delivery"
STATE = Written("a word of the state table, kept by a CHECK")
CURRENCY = Written("copied from what it belongs to; a currency code")
HASH = Written("a SHA-256 of our own")
WORD = Written("a word of our own code, kept by a CHECK or a closed list")
STRIPE_WORD = Written("a word of Stripe's, read from its fetched objects; shown as text")
STRIPE = Written("an id that Stripe gave, read from its signed or fetched objects")

FIELDS: dict[str, Row] = {
    "organization.legal_name": Typed(ORGANIZATION, SETTINGS),
    "organization.line1": Typed(ORGANIZATION, SETTINGS),
    "organization.line2": Typed(ORGANIZATION, SETTINGS),
    "organization.postal_code": Typed(ORGANIZATION, SETTINGS),
    "organization.city": Typed(ORGANIZATION, SETTINGS),
    "organization.region": Typed(ORGANIZATION, SETTINGS),
    "organization.registration_number": Typed(ORGANIZATION, SETTINGS),
    "organization.phone": Typed(ORGANIZATION, SETTINGS),
    "organization.website": Typed(ORGANIZATION, SETTINGS, "www.example.com/{}"),
    "organization.bank_name": Typed(ORGANIZATION, SETTINGS),
    "organization.tax_id": Typed(ORGANIZATION, SETTINGS),
    "organization.email": Typed(ORGANIZATION, SETTINGS, "{}@example.com"),
    "organization.iban": Chosen(ORGANIZATION),
    "organization.bic": Chosen(ORGANIZATION),
    "organization.country": Chosen(ORGANIZATION),
    "organization.locale": Chosen(ORGANIZATION),
    "organization.time_zone": Chosen(ORGANIZATION),
    "organization.currency": Chosen(ORGANIZATION),
    "organization.invoice_number_format": Chosen(ORGANIZATION),
    "organization.credit_note_number_format": Chosen(ORGANIZATION),
    "organization.default_tax_category": Chosen(ORGANIZATION),
    "organization.theme": Chosen(ORGANIZATION),
    "organization.accent": Chosen(ORGANIZATION),
    "organization.logo_sha256_hex": HASH,
    "client.legal_name": Typed(CLIENT, CLIENT_FORM),
    "client.line1": Typed(CLIENT, CLIENT_FORM),
    "client.line2": Typed(CLIENT, CLIENT_FORM),
    "client.postal_code": Typed(CLIENT, CLIENT_FORM),
    "client.city": Typed(CLIENT, CLIENT_FORM),
    "client.region": Typed(CLIENT, CLIENT_FORM),
    "client.tax_id": Typed(CLIENT, CLIENT_FORM),
    "client.email": Typed(CLIENT, CLIENT_FORM, "{}@example.com"),
    "client.country": Chosen(CLIENT),
    "client.locale": Chosen(CLIENT),
    "client.currency": Chosen(CLIENT),
    "contact.name": Typed(CONTACT, CONTACT_FORM),
    "contact.email": Typed(CONTACT, CONTACT_FORM, "{}@example.com"),
    "contact.locale": Chosen(CONTACT),
    "member.name": Typed("POST /members", "/settings/members/new"),
    "member.email": Typed("POST /members", "/settings/members/new", "{}@example.com"),
    "member.role": Chosen("POST /members"),
    "member.locale": Written("the organization's when a member is added"),
    "identity.email": Copied("member.email in lower case: what one signs in with"),
    "identity.password_hash": Written("argon2 of a password; the password itself is nowhere"),
    "api_key.name": Typed("POST /api-keys", "/settings/api-keys/new"),
    "api_key.prefix": Written("the first characters of a random secret"),
    "api_key.role": Chosen("POST /api-keys"),
    "api_key.scopes": Chosen("POST /api-keys"),
    "contract.title": Typed(CONTRACT, CONTRACT_FORM),
    "contract.reference": Typed(CONTRACT, CONTRACT_FORM),
    "contract.purchase_order": Typed(CONTRACT, CONTRACT_FORM),
    "contract.buyer_reference": Typed(CONTRACT, CONTRACT_FORM),
    "contract.currency": Chosen(CONTRACT),
    "contract.price_basis": Chosen(CONTRACT),
    "contract.tax_category": Chosen(CONTRACT),
    "contract.payment_from": Chosen(CONTRACT),
    "contract.approval_policy": Chosen(CONTRACT),
    "contract.invoicing_on_approval": Chosen(CONTRACT),
    "contract.state": STATE,
    "milestone.title": Typed(CONTRACT, CONTRACT_FORM),
    "milestone.description": Typed(CONTRACT, CONTRACT_FORM),
    "milestone.acceptance_criteria": Typed(CONTRACT, CONTRACT_FORM),
    "milestone.deliverables_expected": Typed(CONTRACT, CONTRACT_FORM),
    "milestone.currency": CURRENCY,
    "milestone.tax_category": Chosen(CONTRACT),
    "milestone.state": STATE,
    "contract_version.content": Copied("the contract as it was agreed"),
    "contract_version.agreement_sha256_hex": HASH,
    "contract_version.agreement_file_name": Typed(ACTIVATION, "/contracts/{id}/activation"),
    "contract_version.agreed_by": Typed(ACTIVATION, "/contracts/{id}/activation"),
    "deliverable.kind": Chosen(DELIVERABLE),
    "deliverable.title": Typed(DELIVERABLE, DELIVER_FORM),
    "deliverable.url": Typed(DELIVERABLE, DELIVER_FORM, "https://example.com/{}"),
    "deliverable.note": Typed(DELIVERABLE, DELIVER_FORM),
    "deliverable.content_type": Chosen(DELIVERABLE),
    "deliverable.sha256_hex": HASH,
    "review_round.message": Typed("POST /milestones/{id}/delivery", DELIVER_FORM),
    "review_round.reopened_because": Typed("POST /milestones/{id}/reopening", "/milestones/{id}/reopening"),
    "review_round.content": Copied("what the approver signs: contract version, milestone, deliverables"),
    "review_round.state": STATE,
    "review_round.policy": WORD,
    "review_round.currency": CURRENCY,
    "sign_off.signed_name": Typed("form /sign/{id}/approval", "/sign/{id}"),
    "sign_off.reason": Typed("form /sign/{id}/changes", "/sign/{id}"),
    "sign_off.user_agent": Typed("header User-Agent of the client's browser"),
    "sign_off.ip": Written("the address of the connection, as the server or its trusted proxy sees it"),
    "sign_off.decision": WORD,
    "sign_off.how": WORD,
    "sign_off.document_sha256_hex": HASH,
    "sign_off.document_file_name": Typed("POST /milestones/{id}/recorded-approval", "/milestones/{id}/recorded-approval"),
    "colleague.name": Typed("form /sign/{id}/colleague", "/sign/{id}"),
    "colleague.email": Typed("form /sign/{id}/colleague", "/sign/{id}", "{}@example.com"),
    "colleague.state": STATE,
    "approval_link.revoked_because": WORD,
    "link_open.user_agent": Typed("header User-Agent of who opens a link"),
    "link_token.sent_by": WORD,
    "invoice.kind": WORD,
    "invoice.state": STATE,
    "invoice.number": Written("the organization's number format, which is of a strict form, and a count"),
    "invoice.series_key": Written("the number format and the year"),
    "invoice.currency": CURRENCY,
    "invoice.price_basis": WORD,
    "invoice.void_reason": Typed("POST /invoices/{id}/void", "/invoices/{id}/void"),
    "invoice.stripe_invoice_id": STRIPE,
    "invoice.stripe_hosted_url": Written("an address that Stripe gave; shown as a link only when it is https"),
    "invoice.stripe_step": WORD,
    "invoice.stripe_problem_code": WORD,
    "invoice.stripe_problem_facts": Written("numbers, amounts and Stripe's own sentence; shown as text"),
    "invoice.dispute_reason": STRIPE_WORD,
    "invoice.decline_code": STRIPE_WORD,
    "payment_attempt.provider_attempt_id": STRIPE,
    "payment_attempt.state": STATE,
    "payment_attempt.code": STRIPE_WORD,
    "payment_attempt.currency": CURRENCY,
    "payment_refund.provider_refund_id": STRIPE,
    "payment_refund.state": STATE,
    "payment_refund.currency": CURRENCY,
    "payment_dispute.provider_dispute_id": STRIPE,
    "payment_dispute.reason": STRIPE_WORD,
    "payment_dispute.state": STATE,
    "payment_dispute.currency": CURRENCY,
    "invoice.stripe_problem": Written("a sentence of ours, or Stripe's own about a refused call; shown as text"),
    "invoice_line.title": Copied("the milestone's title on issue"),
    "invoice_line.description": Copied("the milestone's description on issue"),
    "invoice_line.tax_category": WORD,
    "invoice_tax.category": WORD,
    "number_series.kind": WORD,
    "number_series.key": Written("the number format and the year"),
    "billing_block.reason": Written("sentences of ours; they name letters that cannot be printed, as text"),
    "billing_block.pointer": WORD,
    "credit_note.kind": WORD,
    "credit_note.number": Written("the organization's number format, which is of a strict form, and a count"),
    "credit_note.series_key": Written("the number format and the year"),
    "credit_note.currency": CURRENCY,
    "credit_note.reason": Typed("POST /invoices/{id}/credit-notes", "/invoices/{id}/credit"),
    "credit_note_line.title": Copied("the invoice line's title"),
    "credit_note_line.tax_category": WORD,
    "credit_note_tax.category": WORD,
    "document.kind": WORD,
    "document.title": Copied("the number, or a word and the milestone's title"),
    "document.locale": Copied("the client's language"),
    "document.content": Copied("all that the document says, frozen"),
    "document.theme": Written("a name of an installed design"),
    "document.theme_overrides": Copied("accent and logo of the organization, of strict forms"),
    "document.renderer_version": WORD,
    "document.pdf_sha256_hex": HASH,
    "payment.method": WORD,
    "payment.provider_payment_id": STRIPE,
    "payment.currency": CURRENCY,
    "payment.reference": Typed("POST /payments", "/payments/new"),
    "payment.state": STATE,
    "payment.reversal_reason": Typed("POST /payments/{id}/reversal", "/payments/{id}/reversal"),
    "stored_file.sha256_hex": HASH,
    "stored_file.content_type": Chosen(DELIVERABLE),
    "idempotency_key.actor": Written("kind and id of who asked"),
    "idempotency_key.key": Typed("header Idempotency-Key"),
    "idempotency_key.verb": Written("method and path of a known route"),
    "mail_message.template": WORD,
    "mail_message.arguments": Written("ids only: what a mail says is looked up when it is sent"),
    "mail_message.message_id": Written("ids and words of ours"),
    "mail_message.state": STATE,
    "mail_message.last_error": Written("the mail server's status, or a sentence of ours"),
    "job.kind": WORD,
    "job.arguments": Written("ids and kinds only"),
    "job.state": STATE,
    "job.dedupe": Written("ids and words of ours"),
    "job.last_error": Written("kind and sentence of an error of ours"),
    "journal_entry.event": WORD,
    "journal_entry.source": Written("a word and an id"),
    "journal_entry.subject_kind": WORD,
    "journal_posting.account": WORD,
    "journal_posting.currency": CURRENCY,
    "journal_posting.book_currency": CURRENCY,
    "audit_event.name": WORD,
    "audit_event.subject_kind": WORD,
    "audit_event.content": Written("ids, words, amounts and hashes only: no personal data (R23)"),
    "gateway_account.endpoint": Written("random"),
    "gateway_account.account_id": STRIPE,
    "gateway_endpoint.endpoint": Written("random"),
    "gateway_poll.account_id": STRIPE,
    "gateway_customer.account_id": STRIPE,
    "gateway_customer.customer_id": STRIPE,
    "gateway_step.name": WORD,
    "gateway_step.idempotency_key": Written("ids and words of ours"),
    "gateway_step.body": Copied("what is sent to Stripe: the invoice's lines and the client's name"),
    "gateway_step.state": STATE,
    "gateway_step.object_id": STRIPE,
    "gateway_step.last_error": Written("kind and sentence of an error of ours"),
    "webhook_event.account_id": STRIPE,
    "webhook_event.event_id": STRIPE,
    "webhook_event.type": STRIPE,
    "webhook_event.object_id": STRIPE,
    "webhook_event.found_by": WORD,
    "webhook_event.outcome": Written("a sentence of ours"),
}


def text_columns() -> dict[str, int | None]:
    """Every column that can hold text, with the most characters that it takes (None: no limit)."""
    found: dict[str, int | None] = {}
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, String | JSONB | ARRAY):
                found[f"{table.name}.{column.name}"] = getattr(column.type, "length", None)
    return found


def typed() -> dict[str, Typed]:
    """The columns that hold what people and programs type."""
    return {name: row for name, row in FIELDS.items() if isinstance(row, Typed)}
