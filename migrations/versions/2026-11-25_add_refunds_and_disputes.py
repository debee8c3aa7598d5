"""Add refunds and disputes: money that a provider sends back, payments that a bank questions, and attempts that did not go through.

Revision: add_refunds_and_disputes, after guard_rows
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "add_refunds_and_disputes"
down_revision = "guard_rows"
branch_labels = None
depends_on = None

TABLES = ("payment_attempt", "payment_refund", "payment_dispute")
STEPS = "'none', 'waiting', 'customer', 'draft', 'lines', 'compared', 'finalized', 'sent', 'voided', 'not_needed', 'stopped'"
NEW_COLUMNS = (
    "pending_minor",
    "disputed_on",
    "dispute_reason",
    "declined_at",
    "decline_code",
    "stripe_problem_code",
    "stripe_problem_facts",
)
KEPT = (
    "'state', 'paid_minor', 'credited_minor', 'written_off_minor', 'sent_at', 'voided_at', 'void_reason',\n"
    "  'stripe_invoice_id', 'stripe_hosted_url', 'stripe_step', 'stripe_problem', 'version'"
)

GUARD_INVOICE = """
create or replace function guard_invoice() returns trigger language plpgsql as $$
declare kept constant text[] := array[{kept}];
begin
  if old.state = 'draft' then
    return case when tg_op = 'DELETE' then old else new end;
  end if;
  if tg_op = 'DELETE' then
    raise exception 'an issued invoice cannot be deleted' using errcode = 'restrict_violation';
  end if;
  if new.state = 'draft' or (old.state in ('void', 'credited') and new.state <> old.state) then
    raise exception 'invoice % cannot go from % to %', old.number, old.state, new.state using errcode = 'restrict_violation';
  end if;
  if to_jsonb(new) - kept is distinct from to_jsonb(old) - kept then
    raise exception 'an issued invoice cannot be changed' using errcode = 'restrict_violation';
  end if;
  return new;
end $$
"""
GUARD_RETURN = """
create function guard_return() returns trigger language plpgsql as $$
declare ranks constant jsonb := '{"pending": 0, "processing": 0, "open": 0, "succeeded": 1, "lost": 1, "failed": 2, "won": 2, "arrived": 3}';
  moves constant text[] := array['state', 'code', 'closed_on', 'respond_by'];
begin
  if tg_op = 'DELETE' or to_jsonb(new) - moves is distinct from to_jsonb(old) - moves
     or (ranks ->> new.state)::integer < (ranks ->> old.state)::integer then
    raise exception '% rows only go forward', tg_table_name using errcode = 'restrict_violation';
  end if;
  return new;
end $$
"""


def upgrade() -> None:
    """Add what is new; every row of before stays as it is."""
    _payments()
    _invoices()
    op.add_column("gateway_step", sa.Column("amount_minor", sa.BigInteger(), nullable=True))
    _attempts()
    _refunds()
    _disputes()
    _guard()


def _payments() -> None:
    op.add_column("payment", sa.Column("invoice_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_payment_organization_id_invoice_id"), "payment", "invoice", ["organization_id", "invoice_id"], ["organization_id", "id"]
    )
    op.create_index("ix_payment_invoice", "payment", ["organization_id", "invoice_id"], unique=False)
    # Which invoice a payment at Stripe was made for stood in its reference only.
    op.execute(
        "update payment p set invoice_id = i.id from invoice i"
        " where i.organization_id = p.organization_id and i.number = p.reference and p.method = 'stripe'"
    )


def _invoices() -> None:
    op.add_column("invoice", sa.Column("pending_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoice", sa.Column("disputed_on", sa.Date(), nullable=True))
    op.add_column("invoice", sa.Column("dispute_reason", sa.String(length=60), nullable=True))
    op.add_column("invoice", sa.Column("declined_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("invoice", sa.Column("decline_code", sa.String(length=60), nullable=True))
    op.add_column("invoice", sa.Column("stripe_problem_code", sa.String(length=40), nullable=True))
    op.add_column("invoice", sa.Column("stripe_problem_facts", JSONB(), nullable=True))
    op.create_check_constraint(op.f("ck_invoice_pending_not_negative"), "invoice", "pending_minor >= 0")
    op.create_check_constraint(op.f("ck_invoice_disputed_with_reason"), "invoice", "(disputed_on is null) = (dispute_reason is null)")
    op.create_check_constraint(op.f("ck_invoice_declined_with_code"), "invoice", "(declined_at is null) = (decline_code is null)")
    op.drop_constraint(op.f("ck_invoice_stripe_step_known"), "invoice")
    op.create_check_constraint(op.f("ck_invoice_stripe_step_known"), "invoice", f"stripe_step in ({STEPS}, 'below_minimum')")


def _attempts() -> None:
    op.create_table(
        "payment_attempt",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("provider_attempt_id", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("code", sa.String(length=60), server_default="", nullable=False),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state in ('processing', 'failed', 'arrived')", name=op.f("ck_payment_attempt_state_known")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_attempt_amount_positive")),
        sa.ForeignKeyConstraint(
            ["organization_id", "invoice_id"],
            ["invoice.organization_id", "invoice.id"],
            name=op.f("fk_payment_attempt_organization_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_payment_attempt")),
    )
    op.create_index("uq_payment_attempt_provider", "payment_attempt", ["organization_id", "provider_attempt_id"], unique=True)
    op.create_index("ix_payment_attempt_invoice", "payment_attempt", ["organization_id", "invoice_id"], unique=False)


def _refunds() -> None:
    op.create_table(
        "payment_refund",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("provider_refund_id", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("refunded_on", sa.Date(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state in ('pending', 'succeeded', 'failed')", name=op.f("ck_payment_refund_state_known")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_refund_amount_positive")),
        sa.ForeignKeyConstraint(
            ["organization_id", "payment_id"],
            ["payment.organization_id", "payment.id"],
            name=op.f("fk_payment_refund_organization_id_payment_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_payment_refund")),
    )
    op.create_index("uq_payment_refund_provider", "payment_refund", ["organization_id", "provider_refund_id"], unique=True)
    op.create_index("ix_payment_refund_payment", "payment_refund", ["organization_id", "payment_id"], unique=False)


def _disputes() -> None:
    op.create_table(
        "payment_dispute",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("provider_dispute_id", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=3, collation="C"), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("opened_on", sa.Date(), nullable=False),
        sa.Column("respond_by", sa.Date(), nullable=True),
        sa.Column("closed_on", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state in ('open', 'lost', 'won')", name=op.f("ck_payment_dispute_state_known")),
        sa.CheckConstraint("(state = 'open') = (closed_on is null)", name=op.f("ck_payment_dispute_closed_on_a_day")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_dispute_amount_positive")),
        sa.ForeignKeyConstraint(
            ["organization_id", "payment_id"],
            ["payment.organization_id", "payment.id"],
            name=op.f("fk_payment_dispute_organization_id_payment_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_payment_dispute")),
    )
    op.create_index("uq_payment_dispute_provider", "payment_dispute", ["organization_id", "provider_dispute_id"], unique=True)
    op.create_index("ix_payment_dispute_payment", "payment_dispute", ["organization_id", "payment_id"], unique=False)


def _guard() -> None:
    for table in TABLES:
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        tenant = "organization_id = (select nullif(current_setting('tollgate.organization_id', true), '')::uuid)"
        op.execute(f"create policy tenant on {table} to tollgate_app using ({tenant}) with check ({tenant})")
        op.execute(f"create policy owner on {table} to tollgate_owner using (true) with check (true)")
        op.execute(f"grant select, insert on {table} to tollgate_app")
    op.execute("grant update (state, code) on payment_attempt to tollgate_app")
    op.execute("grant update (state) on payment_refund to tollgate_app")
    op.execute("grant update (state, closed_on, respond_by) on payment_dispute to tollgate_app")
    kept = ", ".join((KEPT, *(f"'{name}'" for name in NEW_COLUMNS)))
    # An asyncpg statement without arguments may hold ':' and '%' freely; SQLAlchemy's text() may not.
    op.get_bind().exec_driver_sql(GUARD_INVOICE.format(kept=kept))
    op.get_bind().exec_driver_sql(GUARD_RETURN)
    for table in TABLES:
        op.execute(f"create trigger guard_return before update or delete on {table} for each row execute function guard_return()")
    op.execute("revoke all on function guard_return from public")
    op.execute("grant execute on function guard_return to tollgate_app")


def downgrade() -> None:
    """Take it away again, where nothing went back yet: the older schema has no place for a refund, and a booking without its cause is wrong."""
    returned = "select exists (select 1 from payment_refund) or exists (select 1 from payment_dispute)"
    if op.get_bind().execute(sa.text(returned)).scalar_one():
        raise RuntimeError("there are refunds or disputes, which the older schema cannot hold: restore the backup made before the upgrade")
    op.get_bind().exec_driver_sql(GUARD_INVOICE.format(kept=KEPT))
    for table in TABLES:
        op.drop_table(table)
    op.execute("drop function guard_return")
    op.drop_column("gateway_step", "amount_minor")
    op.execute("update invoice set stripe_step = 'not_needed' where stripe_step = 'below_minimum'")
    op.drop_constraint(op.f("ck_invoice_stripe_step_known"), "invoice")
    op.create_check_constraint(op.f("ck_invoice_stripe_step_known"), "invoice", f"stripe_step in ({STEPS})")
    for name in NEW_COLUMNS:
        op.drop_column("invoice", name)
    op.drop_index("ix_payment_invoice", "payment")
    op.drop_constraint(op.f("fk_payment_organization_id_invoice_id"), "payment")
    op.drop_column("payment", "invoice_id")
