"""Create tables: the whole first schema, one statement per table, in the order of their foreign keys.

Revision: create_tables, the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from tollgate.db import types as tollgate_types

revision = "create_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("grant usage on schema public to tollgate_app")
    op.create_table(
        "api_key",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String(length=40)), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("revoked_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("role in ('viewer', 'account_manager', 'finance', 'admin')", name=op.f("ck_api_key_role_known")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_api_key")),
    )
    op.create_table(
        "api_key_route",
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("secret_sha256", name=op.f("pk_api_key_route")),
    )
    op.create_table(
        "attempt",
        sa.Column("bucket", sa.LargeBinary(length=32), nullable=False),
        sa.Column("window_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "window_at", name=op.f("pk_attempt")),
    )
    op.create_table(
        "audit_event",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("subject_kind", sa.String(length=40), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=True),
        sa.Column("happened_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("seq > 0", name=op.f("ck_audit_event_seq_positive")),
        sa.PrimaryKeyConstraint("organization_id", "seq", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_contract", "audit_event", ["organization_id", "contract_id", "seq"], unique=False)
    op.create_index("ix_audit_event_subject", "audit_event", ["organization_id", "subject_id", "seq"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "client",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("legal_name", sa.String(length=200), nullable=False),
        sa.Column("locale", sa.String(length=16), server_default="en", nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("archived_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("country", sa.String(length=2, collation="C"), nullable=False),
        sa.Column("line1", sa.String(length=200), server_default="", nullable=False),
        sa.Column("line2", sa.String(length=200), server_default="", nullable=False),
        sa.Column("postal_code", sa.String(length=20), server_default="", nullable=False),
        sa.Column("city", sa.String(length=120), server_default="", nullable=False),
        sa.Column("region", sa.String(length=120), server_default="", nullable=False),
        sa.Column("tax_id", sa.String(length=40), server_default="", nullable=False),
        sa.Column("email", sa.String(length=254), server_default="", nullable=False),
        sa.CheckConstraint("char_length(legal_name) > 0", name=op.f("ck_client_legal_name_given")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_client")),
    )
    op.create_index("ix_client_name", "client", ["organization_id", "legal_name", "id"], unique=False)
    op.create_table(
        "document",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("locale", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("theme", sa.String(length=60), nullable=False),
        sa.Column("theme_overrides", sa.Text(), server_default="{}", nullable=False),
        sa.Column("renderer_version", sa.String(length=20), nullable=False),
        sa.Column("pdf_sha256_hex", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("pdf_size", sa.Integer(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("rendered_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("retain_until", sa.Date(), nullable=False),
        sa.CheckConstraint("kind in ('invoice', 'credit_note', 'certificate')", name=op.f("ck_document_kind_known")),
        sa.CheckConstraint("(pdf_sha256_hex is null) = (rendered_at is null)", name=op.f("ck_document_rendered_whole")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_document")),
    )
    op.create_index("uq_document_subject", "document", ["organization_id", "kind", "subject_id"], unique=True)
    op.create_table(
        "gateway_account",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=80), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("secret_key_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("webhook_secret_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("removed_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_gateway_account")),
    )
    op.create_index(
        "uq_gateway_account_active", "gateway_account", ["organization_id"], unique=True, postgresql_where=sa.text("removed_at is null")
    )
    op.create_table(
        "gateway_endpoint",
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name=op.f("pk_gateway_endpoint")),
    )
    op.create_table(
        "gateway_poll",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(length=80), nullable=False),
        sa.Column("last_event_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("polled_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "account_id", name=op.f("pk_gateway_poll")),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("verb", sa.String(length=200), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint("char_length(key) > 0", name=op.f("ck_idempotency_key_key_not_empty")),
        sa.PrimaryKeyConstraint("organization_id", "actor", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_table(
        "identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity")),
        sa.UniqueConstraint("email", name=op.f("uq_identity_email")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(length=10), server_default="ready", nullable=False),
        sa.Column("run_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="40", nullable=False),
        sa.Column("faults", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("dedupe", sa.String(length=120), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("finished_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('ready', 'running', 'done', 'dead')", name=op.f("ck_job_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(
        "ix_job_due", "job", ["organization_id", "run_at"], unique=False, postgresql_where=sa.text("state in ('ready', 'running')")
    )
    op.create_index("ix_job_state_run_at", "job", ["state", "run_at"], unique=False)
    op.create_index("uq_job_dedupe", "job", ["organization_id", "kind", "dedupe"], unique=True, postgresql_where=sa.text("state = 'ready'"))
    op.create_table(
        "journal_entry",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=120), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("subject_kind", sa.String(length=40), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_journal_entry")),
    )
    op.create_index("ix_journal_entry_booked_on", "journal_entry", ["organization_id", "booked_on"], unique=False)
    op.create_index("ix_journal_entry_subject", "journal_entry", ["organization_id", "subject_id"], unique=False)
    op.create_index("uq_journal_entry_source", "journal_entry", ["organization_id", "source"], unique=True)
    op.create_table(
        "mail_message",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.String(length=60), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("member_id", sa.Uuid(), nullable=True),
        sa.Column("contract_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=10), server_default="waiting", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("accepted_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('waiting', 'accepted', 'refused', 'dropped')", name=op.f("ck_mail_message_state_known")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_mail_message")),
    )
    op.create_index("ix_mail_message_contract", "mail_message", ["organization_id", "contract_id", "created_at"], unique=False)
    op.create_index("ix_mail_message_state", "mail_message", ["organization_id", "state", "created_at"], unique=False)
    op.create_index("uq_mail_message_message_id", "mail_message", ["organization_id", "message_id"], unique=True)
    op.create_table(
        "member",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("locale", sa.String(length=16), server_default="en", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("removed_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("role in ('viewer', 'account_manager', 'finance', 'admin')", name=op.f("ck_member_role_known")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_member")),
    )
    op.create_index("uq_member_identity", "member", ["organization_id", "identity_id"], unique=True)
    op.create_table(
        "number_series",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=60, collation="C"), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("last_issued_on", sa.Date(), nullable=False),
        sa.CheckConstraint("kind in ('invoice', 'credit_note')", name=op.f("ck_number_series_kind_known")),
        sa.CheckConstraint("last_seq > 0", name=op.f("ck_number_series_seq_positive")),
        sa.PrimaryKeyConstraint("organization_id", "kind", "key", name=op.f("pk_number_series")),
    )
    op.create_table(
        "organization",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("legal_name", sa.String(length=200), nullable=False),
        sa.Column("registration_number", sa.String(length=80), server_default="", nullable=False),
        sa.Column("phone", sa.String(length=40), server_default="", nullable=False),
        sa.Column("website", sa.String(length=200), server_default="", nullable=False),
        sa.Column("bank_name", sa.String(length=120), server_default="", nullable=False),
        sa.Column("iban", sa.String(length=34, collation="C"), server_default="", nullable=False),
        sa.Column("bic", sa.String(length=11, collation="C"), server_default="", nullable=False),
        sa.Column("locale", sa.String(length=16), server_default="en", nullable=False),
        sa.Column("time_zone", sa.String(length=60), server_default="UTC", nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("invoice_number_format", sa.String(length=60), server_default="INV-{year}-{seq:04}", nullable=False),
        sa.Column("credit_note_number_format", sa.String(length=60), server_default="CN-{year}-{seq:04}", nullable=False),
        sa.Column("default_tax_category", sa.String(length=2), server_default="S", nullable=False),
        sa.Column("default_tax_rate_percent", sa.Numeric(precision=9, scale=6), server_default="0", nullable=False),
        sa.Column("default_payment_days", sa.SmallInteger(), server_default="30", nullable=False),
        sa.Column("theme", sa.String(length=60), server_default="classic", nullable=False),
        sa.Column("accent", sa.String(length=7), server_default="#1f5f8b", nullable=False),
        sa.Column("logo_sha256_hex", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("stripe_sends_mail", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("privacy_salt", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("country", sa.String(length=2, collation="C"), nullable=False),
        sa.Column("line1", sa.String(length=200), server_default="", nullable=False),
        sa.Column("line2", sa.String(length=200), server_default="", nullable=False),
        sa.Column("postal_code", sa.String(length=20), server_default="", nullable=False),
        sa.Column("city", sa.String(length=120), server_default="", nullable=False),
        sa.Column("region", sa.String(length=120), server_default="", nullable=False),
        sa.Column("tax_id", sa.String(length=40), server_default="", nullable=False),
        sa.Column("email", sa.String(length=254), server_default="", nullable=False),
        sa.CheckConstraint("accent ~ '^#[0-9a-f]{6}$'", name=op.f("ck_organization_accent_form")),
        sa.CheckConstraint("default_tax_category in ('S', 'Z', 'E')", name=op.f("ck_organization_default_tax_category_known")),
        sa.CheckConstraint("char_length(legal_name) > 0", name=op.f("ck_organization_legal_name_given")),
        sa.CheckConstraint("default_payment_days between 0 and 365", name=op.f("ck_organization_payment_days_bounded")),
        sa.CheckConstraint("default_tax_rate_percent between 0 and 100", name=op.f("ck_organization_tax_rate_bounded")),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_organization")),
    )
    op.create_table(
        "stored_file",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("sha256_hex", sa.String(length=64, collation="C"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.String(length=120), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint("sha256_hex ~ '^[0-9a-f]{64}$'", name=op.f("ck_stored_file_sha256_hex_form")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_stored_file_size_not_negative")),
        sa.PrimaryKeyConstraint("organization_id", "sha256_hex", name=op.f("pk_stored_file")),
    )
    op.create_table(
        "webhook_event",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(length=80), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False),
        sa.Column("type", sa.String(length=80), nullable=False),
        sa.Column("object_id", sa.String(length=120), nullable=False),
        sa.Column("occurred_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("received_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("found_by", sa.String(length=10), nullable=False),
        sa.Column("handled_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=200), nullable=True),
        sa.CheckConstraint("found_by in ('webhook', 'poll')", name=op.f("ck_webhook_event_found_by_known")),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_webhook_event")),
    )
    op.create_index("uq_webhook_event_id", "webhook_event", ["organization_id", "account_id", "event_id"], unique=True)
    op.create_table(
        "contact",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("is_approver", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_billing_contact", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("locale", sa.String(length=16), server_default="en", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("removed_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"], ["client.organization_id", "client.id"], name=op.f("fk_contact_organization_id_client_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_contact")),
    )
    op.create_index("ix_contact_client", "contact", ["organization_id", "client_id"], unique=False)
    op.create_index(
        "uq_contact_email",
        "contact",
        ["organization_id", "client_id", sa.literal_column("lower(email)")],
        unique=True,
        postgresql_where=sa.text("removed_at is null"),
    )
    op.create_table(
        "contract",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("reference", sa.String(length=60), server_default="", nullable=False),
        sa.Column("purchase_order", sa.String(length=60), server_default="", nullable=False),
        sa.Column("buyer_reference", sa.String(length=60), server_default="", nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("value_minor", sa.BigInteger(), nullable=False),
        sa.Column("contingency_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_basis", sa.String(length=5), server_default="net", nullable=False),
        sa.Column("tax_category", sa.String(length=2), nullable=False),
        sa.Column("tax_rate_percent", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("payment_days", sa.SmallInteger(), nullable=False),
        sa.Column("payment_from", sa.String(length=12), server_default="issue", nullable=False),
        sa.Column("approval_policy", sa.String(length=10), server_default="any_one", nullable=False),
        sa.Column("invoicing_on_approval", sa.String(length=10), server_default="issue", nullable=False),
        sa.Column("state", sa.String(length=12), server_default="draft", nullable=False),
        sa.Column("owner_member_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("activated_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("completed_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'draft') = (activated_at is null)", name=op.f("ck_contract_active_since")),
        sa.CheckConstraint("approval_policy in ('any_one')", name=op.f("ck_contract_approval_policy_known")),
        sa.CheckConstraint("invoicing_on_approval in ('issue', 'review')", name=op.f("ck_contract_invoicing_on_approval_known")),
        sa.CheckConstraint("payment_from in ('issue', 'end_of_month')", name=op.f("ck_contract_payment_from_known")),
        sa.CheckConstraint("price_basis in ('net', 'gross')", name=op.f("ck_contract_price_basis_known")),
        sa.CheckConstraint("state in ('draft', 'active', 'completed')", name=op.f("ck_contract_state_known")),
        sa.CheckConstraint("tax_category in ('S', 'Z', 'E')", name=op.f("ck_contract_tax_category_known")),
        sa.CheckConstraint("contingency_minor between 0 and value_minor", name=op.f("ck_contract_contingency_within_value")),
        sa.CheckConstraint("payment_days between 0 and 365", name=op.f("ck_contract_payment_days_bounded")),
        sa.CheckConstraint("tax_rate_percent between 0 and 100", name=op.f("ck_contract_tax_rate_bounded")),
        sa.CheckConstraint("value_minor between 0 and 1000000000000000", name=op.f("ck_contract_value_bounded")),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"], ["client.organization_id", "client.id"], name=op.f("fk_contract_organization_id_client_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_contract")),
    )
    op.create_index("ix_contract_client", "contract", ["organization_id", "client_id"], unique=False)
    op.create_index("ix_contract_newest", "contract", ["organization_id", "created_at", "id"], unique=False)
    op.create_table(
        "gateway_customer",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(length=80), nullable=False),
        sa.Column("customer_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"],
            ["client.organization_id", "client.id"],
            name=op.f("fk_gateway_customer_organization_id_client_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "client_id", "account_id", name=op.f("pk_gateway_customer")),
    )
    op.create_table(
        "journal_posting",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("account", sa.String(length=40), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("book_amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("book_currency", sa.String(length=3, collation="C"), nullable=False),
        sa.CheckConstraint("abs(amount_minor) <= 1000000000000000", name=op.f("ck_journal_posting_amount_bounded")),
        sa.ForeignKeyConstraint(
            ["organization_id", "entry_id"],
            ["journal_entry.organization_id", "journal_entry.id"],
            name=op.f("fk_journal_posting_organization_id_entry_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "entry_id", "position", name=op.f("pk_journal_posting")),
    )
    op.create_index("ix_journal_posting_account", "journal_posting", ["organization_id", "account", "currency"], unique=False)
    op.create_index("ix_journal_posting_contract", "journal_posting", ["organization_id", "contract_id", "account"], unique=False)
    op.create_index("ix_journal_posting_invoice", "journal_posting", ["organization_id", "invoice_id", "account"], unique=False)
    op.create_table(
        "membership",
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_membership_identity_id")),
        sa.PrimaryKeyConstraint("identity_id", "organization_id", name=op.f("pk_membership")),
    )
    op.create_table(
        "payment",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=False),
        sa.Column("provider_payment_id", sa.String(length=120), nullable=True),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("reference", sa.String(length=140), server_default="", nullable=False),
        sa.Column("state", sa.String(length=10), server_default="received", nullable=False),
        sa.Column("reversed_on", sa.Date(), nullable=True),
        sa.Column("reversal_reason", sa.String(length=500), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'reversed') = (reversed_on is not null)", name=op.f("ck_payment_reversed_on_a_day")),
        sa.CheckConstraint("method in ('stripe', 'bank_transfer')", name=op.f("ck_payment_method_known")),
        sa.CheckConstraint("state in ('received', 'reversed')", name=op.f("ck_payment_state_known")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_amount_positive")),
        sa.CheckConstraint("refunded_minor between 0 and amount_minor", name=op.f("ck_payment_refund_within_amount")),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"], ["client.organization_id", "client.id"], name=op.f("fk_payment_organization_id_client_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_payment")),
    )
    op.create_index("ix_payment_client", "payment", ["organization_id", "client_id"], unique=False)
    op.create_index("ix_payment_received", "payment", ["organization_id", "received_on", "id"], unique=False)
    op.create_index("uq_payment_provider", "payment", ["organization_id", "provider_payment_id"], unique=True)
    op.create_table(
        "session",
        sa.Column("id_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("expires_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_session_identity_id")),
        sa.PrimaryKeyConstraint("id_sha256", name=op.f("pk_session")),
    )
    op.create_index("ix_session_identity", "session", ["identity_id"], unique=False)
    op.create_index("ix_session_member", "session", ["organization_id", "member_id"], unique=False)
    op.create_table(
        "contract_approver",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "contact_id"],
            ["contact.organization_id", "contact.id"],
            name=op.f("fk_contract_approver_organization_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_id"],
            ["contract.organization_id", "contract.id"],
            name=op.f("fk_contract_approver_organization_id_contract_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "contract_id", "contact_id", name=op.f("pk_contract_approver")),
    )
    op.create_table(
        "contract_version",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("agreement_sha256_hex", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("agreement_file_name", sa.String(length=200), nullable=True),
        sa.Column("agreed_on", sa.Date(), nullable=True),
        sa.Column("agreed_by", sa.String(length=120), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_id"],
            ["contract.organization_id", "contract.id"],
            name=op.f("fk_contract_version_organization_id_contract_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_contract_version")),
    )
    op.create_index("uq_contract_version_number", "contract_version", ["organization_id", "contract_id", "number"], unique=True)
    op.create_table(
        "invoice",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), server_default="milestone", nullable=False),
        sa.Column("state", sa.String(length=14), server_default="draft", nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(length=26), nullable=True),
        sa.Column("series_key", sa.String(length=60, collation="C"), nullable=True),
        sa.Column("series_seq", sa.Integer(), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=True),
        sa.Column("supplied_on", sa.Date(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("price_basis", sa.String(length=5), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("gross_minor", sa.BigInteger(), nullable=False),
        sa.Column("prepaid_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rounding_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("amount_due_minor", sa.BigInteger(), nullable=False),
        sa.Column("retained_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("payable_minor", sa.BigInteger(), nullable=False),
        sa.Column("paid_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("credited_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("written_off_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("issued_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("sent_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("voided_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("void_reason", sa.String(length=500), nullable=True),
        sa.Column("stripe_invoice_id", sa.String(length=80), nullable=True),
        sa.Column("stripe_hosted_url", sa.String(length=1000), nullable=True),
        sa.Column("stripe_step", sa.String(length=20), server_default="none", nullable=False),
        sa.Column("stripe_problem", sa.String(length=500), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "(state = 'draft') = (number is null) and (number is null) = (series_key is null) and (number is null) = (series_seq is null) and (number is null) = (issued_on is null) and (number is null) = (issued_at is null) and (number is null) = (due_on is null)",
            name=op.f("ck_invoice_draft_has_no_number"),
        ),
        sa.CheckConstraint("(state = 'void') = (voided_at is not null)", name=op.f("ck_invoice_void_since")),
        sa.CheckConstraint("kind in ('milestone')", name=op.f("ck_invoice_kind_known")),
        sa.CheckConstraint("price_basis in ('net', 'gross')", name=op.f("ck_invoice_price_basis_known")),
        sa.CheckConstraint(
            "state <> 'paid' or paid_minor + credited_minor + written_off_minor = payable_minor", name=op.f("ck_invoice_paid_means_settled")
        ),
        sa.CheckConstraint("state <> 'void' or (paid_minor = 0 and credited_minor = 0)", name=op.f("ck_invoice_void_unpaid")),
        sa.CheckConstraint("state in ('draft', 'issued', 'partly_paid', 'paid', 'void', 'credited')", name=op.f("ck_invoice_state_known")),
        sa.CheckConstraint(
            "stripe_step in ('none', 'waiting', 'customer', 'draft', 'lines', 'compared', 'finalized', 'sent', 'voided', 'not_needed', 'stopped')",
            name=op.f("ck_invoice_stripe_step_known"),
        ),
        sa.CheckConstraint("amount_due_minor = gross_minor - prepaid_minor + rounding_minor", name=op.f("ck_invoice_amount_due_adds_up")),
        sa.CheckConstraint("gross_minor = net_minor + tax_minor", name=op.f("ck_invoice_gross_is_net_and_tax")),
        sa.CheckConstraint("paid_minor + credited_minor + written_off_minor <= payable_minor", name=op.f("ck_invoice_never_over_settled")),
        sa.CheckConstraint(
            "paid_minor >= 0 and credited_minor >= 0 and written_off_minor >= 0", name=op.f("ck_invoice_settlement_not_negative")
        ),
        sa.CheckConstraint(
            "payable_minor = amount_due_minor - retained_minor and payable_minor >= 0", name=op.f("ck_invoice_payable_adds_up")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"], ["client.organization_id", "client.id"], name=op.f("fk_invoice_organization_id_client_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_id"],
            ["contract.organization_id", "contract.id"],
            name=op.f("fk_invoice_organization_id_contract_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_invoice")),
    )
    op.create_index("ix_invoice_client_due", "invoice", ["organization_id", "client_id", "due_on"], unique=False)
    op.create_index("ix_invoice_contract", "invoice", ["organization_id", "contract_id"], unique=False)
    op.create_index("ix_invoice_newest", "invoice", ["organization_id", "created_at", "id"], unique=False)
    op.create_index("uq_invoice_number", "invoice", ["organization_id", "number"], unique=True)
    op.create_index("uq_invoice_series", "invoice", ["organization_id", "series_key", "series_seq"], unique=True)
    op.create_index("uq_invoice_stripe", "invoice", ["organization_id", "stripe_invoice_id"], unique=True)
    op.create_table(
        "milestone",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("acceptance_criteria", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("deliverables_expected", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("planned_on", sa.Date(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("percent", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("tax_category", sa.String(length=2), nullable=True),
        sa.Column("tax_rate_percent", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("state", sa.String(length=20), server_default="planned", nullable=False),
        sa.Column("billing_held", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("round_number", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("delivered_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("approved_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state in ('planned', 'in_progress', 'delivered', 'changes_requested', 'approved', 'invoiced', 'paid', 'cancelled')",
            name=op.f("ck_milestone_state_known"),
        ),
        sa.CheckConstraint(
            "state not in ('delivered', 'changes_requested', 'approved', 'invoiced', 'paid') or round_id is not null",
            name=op.f("ck_milestone_reviewed"),
        ),
        sa.CheckConstraint("tax_category in ('S', 'Z', 'E')", name=op.f("ck_milestone_tax_category_known")),
        sa.CheckConstraint("(tax_category is null) = (tax_rate_percent is null)", name=op.f("ck_milestone_tax_whole")),
        sa.CheckConstraint("amount_minor between 0 and 1000000000000000", name=op.f("ck_milestone_amount_bounded")),
        sa.CheckConstraint("percent between 0 and 100", name=op.f("ck_milestone_percent_bounded")),
        sa.CheckConstraint("tax_rate_percent between 0 and 100", name=op.f("ck_milestone_tax_rate_bounded")),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_id"],
            ["contract.organization_id", "contract.id"],
            name=op.f("fk_milestone_organization_id_contract_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_milestone")),
    )
    op.create_index("ix_milestone_state", "milestone", ["organization_id", "state", "due_on"], unique=False)
    op.create_index("uq_milestone_position", "milestone", ["organization_id", "contract_id", "position"], unique=True)
    op.create_table(
        "billing_block",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("milestone_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("pointer", sa.String(length=120), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "milestone_id"],
            ["milestone.organization_id", "milestone.id"],
            name=op.f("fk_billing_block_organization_id_milestone_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "milestone_id", name=op.f("pk_billing_block")),
    )
    op.create_table(
        "credit_note",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=26), nullable=False),
        sa.Column("series_key", sa.String(length=60, collation="C"), nullable=False),
        sa.Column("series_seq", sa.Integer(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("gross_minor", sa.BigInteger(), nullable=False),
        sa.Column("rounding_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("payable_minor", sa.BigInteger(), nullable=False),
        sa.Column("from_open_minor", sa.BigInteger(), nullable=False),
        sa.Column("from_retained_minor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("from_paid_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("sent_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('correction')", name=op.f("ck_credit_note_kind_known")),
        sa.CheckConstraint(
            "from_open_minor + from_retained_minor + from_paid_minor = payable_minor", name=op.f("ck_credit_note_takes_add_up")
        ),
        sa.CheckConstraint("gross_minor = net_minor + tax_minor", name=op.f("ck_credit_note_gross_is_net_and_tax")),
        sa.CheckConstraint("payable_minor = gross_minor + rounding_minor", name=op.f("ck_credit_note_payable_adds_up")),
        sa.ForeignKeyConstraint(
            ["organization_id", "client_id"], ["client.organization_id", "client.id"], name=op.f("fk_credit_note_organization_id_client_id")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_id"],
            ["contract.organization_id", "contract.id"],
            name=op.f("fk_credit_note_organization_id_contract_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_credit_note_organization_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_credit_note")),
    )
    op.create_index(
        "uq_credit_note_correction",
        "credit_note",
        ["organization_id", "invoice_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'correction'"),
    )
    op.create_index("uq_credit_note_number", "credit_note", ["organization_id", "number"], unique=True)
    op.create_index("uq_credit_note_series", "credit_note", ["organization_id", "series_key", "series_seq"], unique=True)
    op.create_table(
        "deliverable",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("milestone_id", sa.Uuid(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=4), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("sha256_hex", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("content_type", sa.String(length=120), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("added_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("removed_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("(kind = 'file') = (sha256_hex is not null)", name=op.f("ck_deliverable_file_whole")),
        sa.CheckConstraint("(kind = 'link') = (url is not null)", name=op.f("ck_deliverable_link_whole")),
        sa.CheckConstraint("(kind = 'note') = (note is not null)", name=op.f("ck_deliverable_note_whole")),
        sa.CheckConstraint("kind in ('file', 'link', 'note')", name=op.f("ck_deliverable_kind_known")),
        sa.ForeignKeyConstraint(
            ["organization_id", "milestone_id"],
            ["milestone.organization_id", "milestone.id"],
            name=op.f("fk_deliverable_organization_id_milestone_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_deliverable")),
    )
    op.create_index("ix_deliverable_milestone", "deliverable", ["organization_id", "milestone_id"], unique=False)
    op.create_table(
        "gateway_step",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("idempotency_key", sa.String(length=120), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), server_default="planned", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_called_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("object_id", sa.String(length=80), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("done_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('planned', 'done', 'refused')", name=op.f("ck_gateway_step_state_known")),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_gateway_step_organization_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_gateway_step")),
    )
    op.create_index("uq_gateway_step_idempotency_key", "gateway_step", ["organization_id", "idempotency_key"], unique=True)
    op.create_index("uq_gateway_step_name", "gateway_step", ["organization_id", "invoice_id", "name"], unique=True)
    op.create_table(
        "invoice_link",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("expires_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("revoked_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "contact_id"],
            ["contact.organization_id", "contact.id"],
            name=op.f("fk_invoice_link_organization_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_invoice_link_organization_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_invoice_link")),
    )
    op.create_index(
        "uq_invoice_link_right",
        "invoice_link",
        ["organization_id", "invoice_id", "contact_id"],
        unique=True,
        postgresql_where=sa.text("revoked_at is null"),
    )
    op.create_table(
        "invoice_tax",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("category", sa.String(length=2), nullable=False),
        sa.Column("rate_percent", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_invoice_tax_organization_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "invoice_id", "category", "rate_percent", name=op.f("pk_invoice_tax")),
    )
    op.create_table(
        "payment_allocation",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_payment_allocation_amount_not_zero")),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_payment_allocation_organization_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "payment_id"],
            ["payment.organization_id", "payment.id"],
            name=op.f("fk_payment_allocation_organization_id_payment_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_payment_allocation")),
    )
    op.create_index("ix_payment_allocation_invoice", "payment_allocation", ["organization_id", "invoice_id"], unique=False)
    op.create_index("ix_payment_allocation_payment", "payment_allocation", ["organization_id", "payment_id"], unique=False)
    op.create_table(
        "review_round",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("contract_id", sa.Uuid(), nullable=False),
        sa.Column("milestone_id", sa.Uuid(), nullable=False),
        sa.Column("contract_version_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), server_default="open", nullable=False),
        sa.Column("policy", sa.String(length=10), nullable=False),
        sa.Column("required", sa.SmallInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("delivered_by", sa.Uuid(), nullable=True),
        sa.Column("opened_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("closed_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("reopened_because", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'open') = (closed_at is null)", name=op.f("ck_review_round_closed_since")),
        sa.CheckConstraint(
            "state in ('open', 'approved', 'changes_requested', 'withdrawn', 'cancelled', 'reopened')",
            name=op.f("ck_review_round_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_id"],
            ["contract.organization_id", "contract.id"],
            name=op.f("fk_review_round_organization_id_contract_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "contract_version_id"],
            ["contract_version.organization_id", "contract_version.id"],
            name=op.f("fk_review_round_organization_id_contract_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "milestone_id"],
            ["milestone.organization_id", "milestone.id"],
            name=op.f("fk_review_round_organization_id_milestone_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_review_round")),
    )
    op.create_index("uq_review_round_number", "review_round", ["organization_id", "milestone_id", "number"], unique=True)
    op.create_index(
        "uq_review_round_open", "review_round", ["organization_id", "milestone_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_table(
        "approval_link",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("expires_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("revoked_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("revoked_because", sa.String(length=20), nullable=True),
        sa.Column("used_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("confirmation_due", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("code_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("code_expires_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("code_attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "revoked_because in ('revoked', 'withdrawn', 'superseded', 'round_closed')", name=op.f("ck_approval_link_revoked_because_known")
        ),
        sa.CheckConstraint("(revoked_at is null) = (revoked_because is null)", name=op.f("ck_approval_link_revoked_whole")),
        sa.ForeignKeyConstraint(
            ["organization_id", "contact_id"],
            ["contact.organization_id", "contact.id"],
            name=op.f("fk_approval_link_organization_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "round_id"],
            ["review_round.organization_id", "review_round.id"],
            name=op.f("fk_approval_link_organization_id_round_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_approval_link")),
    )
    op.create_index(
        "uq_approval_link_right",
        "approval_link",
        ["organization_id", "round_id", "contact_id"],
        unique=True,
        postgresql_where=sa.text("revoked_at is null"),
    )
    op.create_table(
        "credit_note_tax",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("credit_note_id", sa.Uuid(), nullable=False),
        sa.Column("category", sa.String(length=2), nullable=False),
        sa.Column("rate_percent", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("base_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "credit_note_id"],
            ["credit_note.organization_id", "credit_note.id"],
            name=op.f("fk_credit_note_tax_organization_id_credit_note_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "credit_note_id", "category", "rate_percent", name=op.f("pk_credit_note_tax")),
    )
    op.create_table(
        "invoice_line",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("milestone_id", sa.Uuid(), nullable=True),
        sa.Column("round_id", sa.Uuid(), nullable=True),
        sa.Column("round_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("quantity", sa.Numeric(precision=12, scale=4), nullable=False),
        sa.Column("unit_price_minor", sa.BigInteger(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_category", sa.String(length=2), nullable=False),
        sa.Column("tax_rate_percent", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.Column("live", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.CheckConstraint(
            "(milestone_id is null) = (round_id is null) and (round_id is null) = (round_sha256 is null)",
            name=op.f("ck_invoice_line_approved_whole"),
        ),
        sa.CheckConstraint("unit_price_minor >= 0", name=op.f("ck_invoice_line_unit_price_not_negative")),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_invoice_line_organization_id_invoice_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "milestone_id"],
            ["milestone.organization_id", "milestone.id"],
            name=op.f("fk_invoice_line_organization_id_milestone_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "round_id"],
            ["review_round.organization_id", "review_round.id"],
            name=op.f("fk_invoice_line_organization_id_round_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_invoice_line")),
    )
    op.create_index(
        "uq_invoice_line_live",
        "invoice_line",
        ["organization_id", "milestone_id", "round_id"],
        unique=True,
        postgresql_where=sa.text("live"),
    )
    op.create_index("uq_invoice_line_position", "invoice_line", ["organization_id", "invoice_id", "position"], unique=True)
    op.create_table(
        "round_approver",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "contact_id"],
            ["contact.organization_id", "contact.id"],
            name=op.f("fk_round_approver_organization_id_contact_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "round_id"],
            ["review_round.organization_id", "review_round.id"],
            name=op.f("fk_round_approver_organization_id_round_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "round_id", "contact_id", name=op.f("pk_round_approver")),
    )
    op.create_table(
        "sign_off",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("approval_link_id", sa.Uuid(), nullable=True),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("how", sa.String(length=10), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signed_name", sa.String(length=120), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("ip", sa.String(length=45), nullable=True),
        sa.Column("user_agent", sa.String(length=200), nullable=True),
        sa.Column("recorded_by", sa.Uuid(), nullable=True),
        sa.Column("document_sha256_hex", sa.String(length=64, collation="C"), nullable=True),
        sa.Column("document_file_name", sa.String(length=200), nullable=True),
        sa.Column("copied_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint("(how = 'link') = (approval_link_id is not null)", name=op.f("ck_sign_off_by_link")),
        sa.CheckConstraint(
            "(how = 'recorded') = (recorded_by is not null and document_sha256_hex is not null)", name=op.f("ck_sign_off_recorded_whole")
        ),
        sa.CheckConstraint("decision <> 'request_changes' or reason is not null", name=op.f("ck_sign_off_reason_given")),
        sa.CheckConstraint("decision in ('approve', 'request_changes')", name=op.f("ck_sign_off_decision_known")),
        sa.CheckConstraint("how in ('link', 'recorded')", name=op.f("ck_sign_off_how_known")),
        sa.ForeignKeyConstraint(
            ["organization_id", "round_id"],
            ["review_round.organization_id", "review_round.id"],
            name=op.f("fk_sign_off_organization_id_round_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_sign_off")),
    )
    op.create_index("uq_sign_off_decision", "sign_off", ["organization_id", "round_id", "contact_id"], unique=True)
    op.create_table(
        "colleague",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("round_id", sa.Uuid(), nullable=False),
        sa.Column("approval_link_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("state", sa.String(length=10), server_default="proposed", nullable=False),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("decided_at", tollgate_types.Instant(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("state in ('proposed', 'confirmed', 'declined')", name=op.f("ck_colleague_state_known")),
        sa.ForeignKeyConstraint(
            ["organization_id", "approval_link_id"],
            ["approval_link.organization_id", "approval_link.id"],
            name=op.f("fk_colleague_organization_id_approval_link_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "round_id"],
            ["review_round.organization_id", "review_round.id"],
            name=op.f("fk_colleague_organization_id_round_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_colleague")),
    )
    op.create_table(
        "credit_note_line",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("credit_note_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_line_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_category", sa.String(length=2), nullable=False),
        sa.Column("tax_rate_percent", sa.Numeric(precision=9, scale=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "credit_note_id"],
            ["credit_note.organization_id", "credit_note.id"],
            name=op.f("fk_credit_note_line_organization_id_credit_note_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_line_id"],
            ["invoice_line.organization_id", "invoice_line.id"],
            name=op.f("fk_credit_note_line_organization_id_invoice_line_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_credit_note_line")),
    )
    op.create_table(
        "link_open",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("approval_link_id", sa.Uuid(), nullable=True),
        sa.Column("invoice_link_id", sa.Uuid(), nullable=True),
        sa.Column("opened_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("ip_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_agent", sa.String(length=200), nullable=False),
        sa.CheckConstraint("(approval_link_id is null) <> (invoice_link_id is null)", name=op.f("ck_link_open_one_link")),
        sa.ForeignKeyConstraint(
            ["organization_id", "approval_link_id"],
            ["approval_link.organization_id", "approval_link.id"],
            name=op.f("fk_link_open_organization_id_approval_link_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_link_id"],
            ["invoice_link.organization_id", "invoice_link.id"],
            name=op.f("fk_link_open_organization_id_invoice_link_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_link_open")),
    )
    op.create_index("ix_link_open_approval_link", "link_open", ["organization_id", "approval_link_id"], unique=False)
    op.create_index("ix_link_open_invoice_link", "link_open", ["organization_id", "invoice_link_id"], unique=False)
    op.create_table(
        "link_token",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("approval_link_id", sa.Uuid(), nullable=True),
        sa.Column("invoice_link_id", sa.Uuid(), nullable=True),
        sa.Column("nonce_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sent_by", sa.String(length=6), nullable=False),
        sa.Column("copied_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.Column("expires_at", tollgate_types.Instant(timezone=True), nullable=False),
        sa.CheckConstraint("(sent_by = 'copy') = (copied_by is not null)", name=op.f("ck_link_token_copied_whole")),
        sa.CheckConstraint("sent_by in ('mail', 'copy')", name=op.f("ck_link_token_sent_by_known")),
        sa.CheckConstraint("(approval_link_id is null) <> (invoice_link_id is null)", name=op.f("ck_link_token_one_link")),
        sa.ForeignKeyConstraint(
            ["organization_id", "approval_link_id"],
            ["approval_link.organization_id", "approval_link.id"],
            name=op.f("fk_link_token_organization_id_approval_link_id"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_link_id"],
            ["invoice_link.organization_id", "invoice_link.id"],
            name=op.f("fk_link_token_organization_id_invoice_link_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_link_token")),
    )
    op.create_index("ix_link_token_approval_link", "link_token", ["organization_id", "approval_link_id"], unique=False)
    op.create_index("ix_link_token_invoice_link", "link_token", ["organization_id", "invoice_link_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_link_token_invoice_link", table_name="link_token")
    op.drop_index("ix_link_token_approval_link", table_name="link_token")
    op.drop_table("link_token")
    op.drop_index("ix_link_open_invoice_link", table_name="link_open")
    op.drop_index("ix_link_open_approval_link", table_name="link_open")
    op.drop_table("link_open")
    op.drop_table("credit_note_line")
    op.drop_table("colleague")
    op.drop_index("uq_sign_off_decision", table_name="sign_off")
    op.drop_table("sign_off")
    op.drop_table("round_approver")
    op.drop_index("uq_invoice_line_position", table_name="invoice_line")
    op.drop_index("uq_invoice_line_live", table_name="invoice_line", postgresql_where=sa.text("live"))
    op.drop_table("invoice_line")
    op.drop_table("credit_note_tax")
    op.drop_index("uq_approval_link_right", table_name="approval_link", postgresql_where=sa.text("revoked_at is null"))
    op.drop_table("approval_link")
    op.drop_index("uq_review_round_open", table_name="review_round", postgresql_where=sa.text("state = 'open'"))
    op.drop_index("uq_review_round_number", table_name="review_round")
    op.drop_table("review_round")
    op.drop_index("ix_payment_allocation_payment", table_name="payment_allocation")
    op.drop_index("ix_payment_allocation_invoice", table_name="payment_allocation")
    op.drop_table("payment_allocation")
    op.drop_table("invoice_tax")
    op.drop_index("uq_invoice_link_right", table_name="invoice_link", postgresql_where=sa.text("revoked_at is null"))
    op.drop_table("invoice_link")
    op.drop_index("uq_gateway_step_name", table_name="gateway_step")
    op.drop_index("uq_gateway_step_idempotency_key", table_name="gateway_step")
    op.drop_table("gateway_step")
    op.drop_index("ix_deliverable_milestone", table_name="deliverable")
    op.drop_table("deliverable")
    op.drop_index("uq_credit_note_series", table_name="credit_note")
    op.drop_index("uq_credit_note_number", table_name="credit_note")
    op.drop_index("uq_credit_note_correction", table_name="credit_note", postgresql_where=sa.text("kind = 'correction'"))
    op.drop_table("credit_note")
    op.drop_table("billing_block")
    op.drop_index("uq_milestone_position", table_name="milestone")
    op.drop_index("ix_milestone_state", table_name="milestone")
    op.drop_table("milestone")
    op.drop_index("uq_invoice_stripe", table_name="invoice")
    op.drop_index("uq_invoice_series", table_name="invoice")
    op.drop_index("uq_invoice_number", table_name="invoice")
    op.drop_index("ix_invoice_newest", table_name="invoice")
    op.drop_index("ix_invoice_contract", table_name="invoice")
    op.drop_index("ix_invoice_client_due", table_name="invoice")
    op.drop_table("invoice")
    op.drop_index("uq_contract_version_number", table_name="contract_version")
    op.drop_table("contract_version")
    op.drop_table("contract_approver")
    op.drop_index("ix_session_member", table_name="session")
    op.drop_index("ix_session_identity", table_name="session")
    op.drop_table("session")
    op.drop_index("uq_payment_provider", table_name="payment")
    op.drop_index("ix_payment_received", table_name="payment")
    op.drop_index("ix_payment_client", table_name="payment")
    op.drop_table("payment")
    op.drop_table("membership")
    op.drop_index("ix_journal_posting_invoice", table_name="journal_posting")
    op.drop_index("ix_journal_posting_contract", table_name="journal_posting")
    op.drop_index("ix_journal_posting_account", table_name="journal_posting")
    op.drop_table("journal_posting")
    op.drop_table("gateway_customer")
    op.drop_index("ix_contract_newest", table_name="contract")
    op.drop_index("ix_contract_client", table_name="contract")
    op.drop_table("contract")
    op.drop_index("uq_contact_email", table_name="contact", postgresql_where=sa.text("removed_at is null"))
    op.drop_index("ix_contact_client", table_name="contact")
    op.drop_table("contact")
    op.drop_index("uq_webhook_event_id", table_name="webhook_event")
    op.drop_table("webhook_event")
    op.drop_table("stored_file")
    op.drop_table("organization")
    op.drop_table("number_series")
    op.drop_index("uq_member_identity", table_name="member")
    op.drop_table("member")
    op.drop_index("uq_mail_message_message_id", table_name="mail_message")
    op.drop_index("ix_mail_message_state", table_name="mail_message")
    op.drop_index("ix_mail_message_contract", table_name="mail_message")
    op.drop_table("mail_message")
    op.drop_index("uq_journal_entry_source", table_name="journal_entry")
    op.drop_index("ix_journal_entry_subject", table_name="journal_entry")
    op.drop_index("ix_journal_entry_booked_on", table_name="journal_entry")
    op.drop_table("journal_entry")
    op.drop_index("uq_job_dedupe", table_name="job", postgresql_where=sa.text("state = 'ready'"))
    op.drop_index("ix_job_state_run_at", table_name="job")
    op.drop_index("ix_job_due", table_name="job", postgresql_where=sa.text("state in ('ready', 'running')"))
    op.drop_table("job")
    op.drop_table("identity")
    op.drop_table("idempotency_key")
    op.drop_table("gateway_poll")
    op.drop_table("gateway_endpoint")
    op.drop_index("uq_gateway_account_active", table_name="gateway_account", postgresql_where=sa.text("removed_at is null"))
    op.drop_table("gateway_account")
    op.drop_index("uq_document_subject", table_name="document")
    op.drop_table("document")
    op.drop_index("ix_client_name", table_name="client")
    op.drop_table("client")
    op.drop_table("audit_head")
    op.drop_index("ix_audit_event_subject", table_name="audit_event")
    op.drop_index("ix_audit_event_contract", table_name="audit_event")
    op.drop_table("audit_event")
    op.drop_table("attempt")
    op.drop_table("api_key_route")
    op.drop_table("api_key")
