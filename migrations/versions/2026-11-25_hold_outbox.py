"""Hold the outbox: after a restore no job calls outside until somebody confirms.

Revision: hold_outbox, after add_refunds_and_disputes
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "hold_outbox"
down_revision = "add_refunds_and_disputes"
branch_labels = None
depends_on = None

# Only the owner writes a hold (a restore does); the application sees it, and may end it.
FUNCTIONS = (
    """
create function outbox_state() returns table (held_at timestamptz, backup_made_at timestamptz, released_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
  select held_at, backup_made_at, released_at from outbox_hold
$$""",
    """
create function outbox_release(p_now timestamptz) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  update outbox_hold set released_at = p_now where released_at is null;
  if found then perform pg_notify('tollgate_job', ''); return true; end if;
  return false;
end $$""",
    """
create function outbox_waiting(p_now timestamptz)
returns table (kind varchar, jobs bigint, due bigint, oldest_at timestamptz, due_since timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
  select kind, count(*), count(*) filter (where run_at <= p_now), min(created_at), min(run_at) filter (where run_at <= p_now)
  from job where state in ('ready', 'running') group by kind order by kind
$$""",
    # The claim of before does the work; held, it is not even asked, so no lease is judged and no attempt counted.
    """
create function job_claim(p_limit integer, p_now timestamptz, p_until timestamptz)
returns table (id uuid, organization_id uuid, kind varchar, arguments jsonb, fence bigint, attempts integer, max_attempts integer)
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if exists (select 1 from outbox_hold where released_at is null) then
    return;
  end if;
  return query select * from job_claim_unheld(p_limit, p_now, p_until);
end $$""",
)
NAMES = ("outbox_state", "outbox_release", "outbox_waiting", "job_claim")


def upgrade() -> None:
    """Add what is new; every row of before stays as it is."""
    op.create_table(
        "outbox_hold",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("backup_made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("one", name=op.f("ck_outbox_hold_one_row")),
        sa.PrimaryKeyConstraint("one", name="pk_outbox_hold"),
    )
    op.execute("alter function job_claim(integer, timestamptz, timestamptz) rename to job_claim_unheld")
    op.execute("revoke execute on function job_claim_unheld(integer, timestamptz, timestamptz) from tollgate_app")
    for function in FUNCTIONS:
        # An asyncpg statement without arguments may hold ':' and '%' freely; SQLAlchemy's text() may not.
        op.get_bind().exec_driver_sql(function)
    for name in NAMES:
        op.execute(f"revoke all on function {name} from public")
        op.execute(f"grant execute on function {name} to tollgate_app")


def downgrade() -> None:
    """Take it away again."""
    for name in NAMES:
        op.execute(f"drop function {name}")
    op.execute("alter function job_claim_unheld(integer, timestamptz, timestamptz) rename to job_claim")
    op.execute("grant execute on function job_claim to tollgate_app")
    op.drop_table("outbox_hold")
