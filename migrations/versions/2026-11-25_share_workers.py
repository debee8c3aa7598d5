"""Share the workers: an organization with thousands of jobs does not keep another's waiting, however few slots are free.

Revision: share_workers, after hold_outbox
"""

from __future__ import annotations

from alembic import op

revision = "share_workers"
down_revision = "hold_outbox"
branch_labels = None
depends_on = None

BEFORE = """
create or replace function job_claim_unheld(p_limit integer, p_now timestamptz, p_until timestamptz)
returns table (id uuid, organization_id uuid, kind varchar, arguments jsonb, fence bigint, attempts integer, max_attempts integer)
language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
begin
  -- A lease that ran out is a worker that died, perhaps of this very job.
  update job set faults = faults + 1, fence = fence + 1, leased_until = null,
      state = case when faults + 1 >= 8 or attempts >= max_attempts then 'dead' else 'ready' end,
      finished_at = case when faults + 1 >= 8 or attempts >= max_attempts then p_now end,
      last_error = 'the worker died while running it'
    where state = 'running' and leased_until < p_now;
  return query
  with waiting as (
    select distinct organization_id from job where state = 'ready' and run_at <= p_now
  ), turn as (
    -- Fairness: every organization with work gets a share of the batch before any gets more.
    select due.id, row_number() over (partition by due.organization_id order by due.run_at) as place, due.run_at
    from waiting cross join lateral (
      select j.id, j.organization_id, j.run_at from job j
      where j.organization_id = waiting.organization_id and j.run_at <= p_now
        and j.state = 'ready'
      order by j.run_at limit p_limit for update skip locked
    ) due
  ), chosen as (
    select turn.id from turn order by place, run_at limit p_limit
  )
  update job set state = 'running', attempts = job.attempts + 1, fence = job.fence + 1, leased_until = p_until, dedupe = null
  from chosen where job.id = chosen.id
  returning job.id, job.organization_id, job.kind, job.arguments, job.fence, job.attempts, job.max_attempts;
end $$"""
AFTER = """
create or replace function job_claim_unheld(p_limit integer, p_now timestamptz, p_until timestamptz)
returns table (id uuid, organization_id uuid, kind varchar, arguments jsonb, fence bigint, attempts integer, max_attempts integer)
language plpgsql security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
begin
  -- A lease that ran out is a worker that died, perhaps of this very job.
  update job set faults = faults + 1, fence = fence + 1, leased_until = null,
      state = case when faults + 1 >= 8 or attempts >= max_attempts then 'dead' else 'ready' end,
      finished_at = case when faults + 1 >= 8 or attempts >= max_attempts then p_now end,
      last_error = 'the worker died while running it'
    where state = 'running' and leased_until < p_now;
  return query
  with waiting as (
    select distinct organization_id from job where state = 'ready' and run_at <= p_now
  ), working as (
    select organization_id, count(*) as jobs from job where state = 'running' group by organization_id
  ), lot as (
    select organization_id, random() as drawn from waiting
  ), turn as (
    -- Fairness: every organization with work gets a share of the workers before any gets more, what runs already counted.
    select due.id, coalesce(working.jobs, 0) + row_number() over (partition by due.organization_id order by due.run_at) as place, lot.drawn
    from waiting cross join lateral (
      select j.id, j.organization_id, j.run_at from job j
      where j.organization_id = waiting.organization_id and j.run_at <= p_now
        and j.state = 'ready'
      order by j.run_at limit p_limit for update skip locked
    ) due
    join lot on lot.organization_id = due.organization_id
    left join working on working.organization_id = due.organization_id
  ), chosen as (
    -- Among equals by lot: by the time they wait, a worker with one free slot would serve the longest queue alone until it is empty.
    select turn.id from turn order by place, drawn limit p_limit
  )
  update job set state = 'running', attempts = job.attempts + 1, fence = job.fence + 1, leased_until = p_until, dedupe = null
  from chosen where job.id = chosen.id
  returning job.id, job.organization_id, job.kind, job.arguments, job.fence, job.attempts, job.max_attempts;
end $$"""


def upgrade() -> None:
    """What claims jobs, fairer; no row changes."""
    # An asyncpg statement without arguments may hold ':' and '%' freely; SQLAlchemy's text() may not.
    op.get_bind().exec_driver_sql(AFTER)


def downgrade() -> None:
    """As it was."""
    op.get_bind().exec_driver_sql(BEFORE)
