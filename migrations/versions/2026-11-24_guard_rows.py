"""Guard rows: row-level security, grants, triggers that repeat the invariants, narrow functions over the directory.

Revision: guard_rows, after create_tables
"""

from __future__ import annotations

from alembic import op

revision = "guard_rows"
down_revision = "create_tables"
branch_labels = None
depends_on = None

TENANT = """
api_key approval_link audit_event audit_head billing_block client colleague contact contract contract_approver contract_version
credit_note credit_note_line credit_note_tax deliverable document gateway_account gateway_customer gateway_poll gateway_step idempotency_key
invoice invoice_line invoice_link invoice_tax journal_entry journal_posting link_open link_token mail_message member milestone
number_series organization payment payment_allocation review_round round_approver sign_off stored_file webhook_event
""".split()

# What the application may do besides SELECT and INSERT; what is missing here it can never do.
UPDATES = {
    "api_key": "", "approval_link": "", "audit_head": "", "client": "", "colleague": "", "contact": "", "contract": "",
    "deliverable": "", "gateway_account": "", "gateway_customer": "", "gateway_poll": "", "gateway_step": "", "idempotency_key": "", "invoice": "",
    "invoice_link": "", "mail_message": "", "member": "", "milestone": "", "number_series": "", "organization": "", "payment": "",
    "review_round": "(state, closed_at, reopened_because)",
    "sign_off": "(signed_name, reason, ip, user_agent)",
    "document": "(pdf_sha256_hex, pdf_size, rendered_at)",
    "credit_note": "(sent_at)",
    "invoice_line": "(live)",
    "webhook_event": "(handled_at, outcome)",
    "billing_block": "",
}  # fmt: skip
DELETES = "contract contract_approver milestone deliverable idempotency_key billing_block invoice invoice_line invoice_tax".split()

IMMUTABLE = (
    "audit_event journal_entry journal_posting contract_version credit_note_line credit_note_tax payment_allocation link_open".split()
)

TRIGGERS = """
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% rows are immutable', tg_table_name using errcode = 'restrict_violation';
end $$;

create function guard_invoice() returns trigger language plpgsql as $$
declare kept constant text[] := array['state', 'paid_minor', 'credited_minor', 'written_off_minor', 'sent_at', 'voided_at', 'void_reason',
  'stripe_invoice_id', 'stripe_hosted_url', 'stripe_step', 'stripe_problem', 'version'];
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
end $$;

create function guard_invoice_part() returns trigger language plpgsql as $$
declare issued boolean;
begin
  select state <> 'draft' into issued from invoice
    where organization_id = coalesce(new.organization_id, old.organization_id) and id = coalesce(new.invoice_id, old.invoice_id);
  if not coalesce(issued, false) then
    return case when tg_op = 'DELETE' then old else new end;
  end if;
  if tg_op = 'UPDATE' and tg_table_name = 'invoice_line' then
    if to_jsonb(new) - 'live' is not distinct from to_jsonb(old) - 'live' and not new.live then
      return new;
    end if;
  end if;
  raise exception 'lines of an issued invoice cannot be changed' using errcode = 'restrict_violation';
end $$;

create function guard_document() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or old.pdf_sha256_hex is not null
     or to_jsonb(new) - array['pdf_sha256_hex', 'pdf_size', 'rendered_at'] is distinct from to_jsonb(old) - array['pdf_sha256_hex', 'pdf_size', 'rendered_at'] then
    raise exception 'a document is written once' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_credit_note() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or to_jsonb(new) - 'sent_at' is distinct from to_jsonb(old) - 'sent_at' then
    raise exception 'a credit note cannot be changed' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_sign_off() returns trigger language plpgsql as $$
declare erasable constant text[] := array['signed_name', 'reason', 'ip', 'user_agent'];
begin
  if tg_op = 'DELETE' or to_jsonb(new) - erasable is distinct from to_jsonb(old) - erasable
     or coalesce(new.signed_name, '') not in ('', coalesce(old.signed_name, '')) then
    raise exception 'a sign-off cannot be changed' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_number_series() returns trigger language plpgsql as $$
begin
  if new.last_seq <> old.last_seq + 1 or new.last_issued_on < old.last_issued_on or new.key <> old.key or new.kind <> old.kind then
    raise exception 'series % goes up by one and never back in time', old.key using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_first_number() returns trigger language plpgsql as $$
begin
  if new.last_seq <> 1 then
    raise exception 'series % starts at 1', new.key using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_review_round() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or (old.state <> 'open' and not (old.state = 'approved' and new.state = 'reopened')) then
    raise exception 'a closed review round cannot be changed' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_milestone() returns trigger language plpgsql as $$
declare contract_state text;
begin
  select state into contract_state from contract where organization_id = old.organization_id and id = old.contract_id;
  if contract_state is null or contract_state = 'draft' then
    return case when tg_op = 'DELETE' then old else new end;
  end if;
  if tg_op = 'DELETE' or new.amount_minor <> old.amount_minor or new.due_on is distinct from old.due_on
     or new.title <> old.title or new.description <> old.description or new.acceptance_criteria <> old.acceptance_criteria
     or new.deliverables_expected <> old.deliverables_expected or new.currency <> old.currency or new.position <> old.position
     or new.tax_category is distinct from old.tax_category or new.tax_rate_percent is distinct from old.tax_rate_percent then
    raise exception 'an agreed milestone changes by change order only' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_contract() returns trigger language plpgsql as $$
declare free constant text[] := array['state', 'version', 'completed_at', 'activated_at', 'owner_member_id'];
begin
  if old.state = 'draft' then
    return case when tg_op = 'DELETE' then old else new end;
  end if;
  if tg_op = 'DELETE' or new.state = 'draft' or to_jsonb(new) - free is distinct from to_jsonb(old) - free or new.activated_at is distinct from old.activated_at then
    raise exception 'an agreed contract changes by change order only' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

create function guard_postings() returns trigger language plpgsql as $$
declare broken record;
begin
  select organization_id, entry_id into broken from new_postings
    group by organization_id, entry_id, currency having sum(amount_minor) <> 0 limit 1;
  if not found then
    select organization_id, entry_id into broken from new_postings
      group by organization_id, entry_id, book_currency having sum(book_amount_minor) <> 0 limit 1;
  end if;
  if not found then
    -- All postings of an entry come in one statement; a later one could unbalance what was balanced.
    select n.organization_id, n.entry_id into broken from new_postings n
      join journal_posting p on p.organization_id = n.organization_id and p.entry_id = n.entry_id
      group by n.organization_id, n.entry_id having count(distinct p.position) > count(distinct n.position) limit 1;
  end if;
  if found then
    raise exception 'journal entry % does not balance', broken.entry_id using errcode = 'check_violation';
  end if;
  return null;
end $$;

create function wake_workers() returns trigger language plpgsql as $$
begin
  perform pg_notify('tollgate_job', '');
  return null;
end $$;

create trigger guard_invoice before update or delete on invoice for each row execute function guard_invoice();
create trigger guard_invoice_line before insert or update or delete on invoice_line for each row execute function guard_invoice_part();
create trigger guard_invoice_tax before insert or update or delete on invoice_tax for each row execute function guard_invoice_part();
create trigger guard_document before update or delete on document for each row execute function guard_document();
create trigger guard_credit_note before update or delete on credit_note for each row execute function guard_credit_note();
create trigger guard_sign_off before update or delete on sign_off for each row execute function guard_sign_off();
create trigger guard_number_series before update on number_series for each row execute function guard_number_series();
create trigger guard_first_number before insert on number_series for each row execute function guard_first_number();
create trigger guard_review_round before update or delete on review_round for each row execute function guard_review_round();
create trigger guard_milestone before update or delete on milestone for each row execute function guard_milestone();
create trigger guard_contract before update or delete on contract for each row execute function guard_contract();
create trigger guard_postings after insert on journal_posting referencing new table as new_postings
  for each statement execute function guard_postings();
create trigger wake_workers after insert on job for each statement execute function wake_workers();
"""

# Narrow doors to the directory tables: each runs as the owner, answers routing only, and is all that the application can reach.
FUNCTIONS = """
create function access_sign_in(p_email text)
returns table (identity_id uuid, password_hash text, organization_id uuid, member_id uuid)
language sql stable security definer set search_path = public, pg_temp as $$
  select i.id, i.password_hash, m.organization_id, m.member_id
  from identity i left join membership m on m.identity_id = i.id
  left join member on member.organization_id = m.organization_id and member.id = m.member_id
  where i.email = p_email and (member.id is null or member.removed_at is null)
  order by m.organization_id
$$;

create function access_open_session(p_id bytea, p_identity uuid, p_organization uuid, p_member uuid, p_now timestamptz, p_expires timestamptz)
returns void language sql security definer set search_path = public, pg_temp as $$
  delete from session where expires_at < p_now - interval '30 days';
  insert into session (id_sha256, identity_id, organization_id, member_id, created_at, expires_at)
  values (p_id, p_identity, p_organization, p_member, p_now, p_expires)
$$;

create function access_session(p_id bytea, p_now timestamptz)
returns table (organization_id uuid, identity_id uuid, member_id uuid, name text, email text, role text, locale text, organization_name text, expires_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
  select s.organization_id, s.identity_id, s.member_id, m.name, m.email, m.role, m.locale, o.legal_name, s.expires_at
  from session s
  join member m on m.organization_id = s.organization_id and m.id = s.member_id and m.removed_at is null
  join organization o on o.organization_id = s.organization_id
  where s.id_sha256 = p_id and s.expires_at > p_now
$$;

create function access_close_session(p_id bytea) returns void
language sql security definer set search_path = public, pg_temp as $$
  delete from session where id_sha256 = p_id
$$;

create function access_close_sessions(p_organization uuid, p_member uuid, p_except bytea) returns void
language sql security definer set search_path = public, pg_temp as $$
  delete from session where organization_id = p_organization and member_id = p_member and id_sha256 is distinct from p_except
$$;

create function access_close_identity_sessions(p_identity uuid, p_except bytea) returns void
language sql security definer set search_path = public, pg_temp as $$
  delete from session where identity_id = p_identity and id_sha256 is distinct from p_except
$$;

create function access_organizations(p_identity uuid)
returns table (organization_id uuid, member_id uuid, organization_name text)
language sql stable security definer set search_path = public, pg_temp as $$
  select m.organization_id, m.member_id, o.legal_name
  from membership m
  join member on member.organization_id = m.organization_id and member.id = m.member_id and member.removed_at is null
  join organization o on o.organization_id = m.organization_id
  where m.identity_id = p_identity order by o.legal_name
$$;

create function access_add_identity(p_id uuid, p_email text, p_hash text, p_now timestamptz) returns uuid
language plpgsql security definer set search_path = public, pg_temp as $$
declare found_id uuid;
begin
  insert into identity (id, email, password_hash, created_at) values (p_id, p_email, p_hash, p_now) on conflict (email) do nothing;
  select id into found_id from identity where email = p_email;
  return found_id;
end $$;

create function access_add_membership(p_identity uuid, p_organization uuid, p_member uuid) returns void
language sql security definer set search_path = public, pg_temp as $$
  insert into membership (identity_id, organization_id, member_id) values (p_identity, p_organization, p_member)
  on conflict (identity_id, organization_id) do update set member_id = excluded.member_id
$$;

create function access_set_password(p_identity uuid, p_hash text) returns void
language sql security definer set search_path = public, pg_temp as $$
  update identity set password_hash = p_hash where id = p_identity
$$;

create function access_password(p_identity uuid) returns text
language sql stable security definer set search_path = public, pg_temp as $$
  select password_hash from identity where id = p_identity
$$;

create function access_add_api_key(p_secret bytea, p_organization uuid, p_key uuid) returns void
language sql security definer set search_path = public, pg_temp as $$
  insert into api_key_route (secret_sha256, organization_id, api_key_id) values (p_secret, p_organization, p_key)
$$;

create function access_api_key(p_secret bytea)
returns table (organization_id uuid, api_key_id uuid, role text, scopes varchar[], locale text)
language sql stable security definer set search_path = public, pg_temp as $$
  select k.organization_id, k.id, k.role, k.scopes, o.locale
  from api_key_route r
  join api_key k on k.organization_id = r.organization_id and k.id = r.api_key_id and k.revoked_at is null
  join organization o on o.organization_id = k.organization_id
  where r.secret_sha256 = p_secret
$$;

create function attempt_hit(p_bucket bytea, p_window timestamptz, p_now timestamptz) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare hits integer;
begin
  insert into attempt (bucket, window_at, count) values (p_bucket, p_window, 1)
  on conflict (bucket, window_at) do update set count = attempt.count + 1 returning count into hits;
  if hits = 1 then
    delete from attempt where window_at < p_now - interval '2 days';
  end if;
  return hits;
end $$;

create function attempt_give_back(p_bucket bytea, p_window timestamptz) returns void
language sql security definer set search_path = public, pg_temp as $$
  update attempt set count = greatest(count - 1, 0) where bucket = p_bucket and window_at = p_window
$$;

create function directory_organizations() returns table (organization_id uuid, created_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
  select organization_id, created_at from organization order by created_at, organization_id
$$;

create function gateway_endpoint_of(p_endpoint text) returns uuid
language sql stable security definer set search_path = public, pg_temp as $$
  select organization_id from gateway_endpoint where endpoint = p_endpoint
$$;

create function gateway_add_endpoint(p_endpoint text, p_organization uuid) returns void
language sql security definer set search_path = public, pg_temp as $$
  insert into gateway_endpoint (endpoint, organization_id) values (p_endpoint, p_organization)
$$;

create function job_claim(p_limit integer, p_now timestamptz, p_until timestamptz)
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
end $$;

create function job_extend(p_id uuid, p_fence bigint, p_until timestamptz) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  update job set leased_until = p_until where id = p_id and fence = p_fence and state = 'running';
  return found;
end $$;

create function job_finish(p_id uuid, p_fence bigint, p_now timestamptz) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  update job set state = 'done', finished_at = p_now, leased_until = null, last_error = null
    where id = p_id and fence = p_fence and state = 'running';
  return found;
end $$;

create function job_fail(p_id uuid, p_fence bigint, p_error text, p_run_at timestamptz, p_fault boolean) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  update job set faults = faults + p_fault::integer, run_at = p_run_at, leased_until = null, last_error = p_error,
      state = case when attempts >= max_attempts or faults + p_fault::integer >= 8 then 'dead' else 'ready' end,
      finished_at = case when attempts >= max_attempts or faults + p_fault::integer >= 8 then p_run_at end
    where id = p_id and fence = p_fence and state = 'running';
  return found;
end $$;

create function job_list(p_organization uuid, p_states text[], p_limit integer)
returns table (id uuid, kind varchar, arguments jsonb, state varchar, attempts integer, run_at timestamptz, last_error text, created_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
  select id, kind, arguments, state, attempts, run_at, last_error, created_at from job
  where organization_id = p_organization and state = any(p_states) order by created_at desc limit p_limit
$$;

create function job_requeue(p_organization uuid, p_id uuid, p_now timestamptz) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
begin
  update job set state = 'ready', attempts = 0, faults = 0, run_at = p_now, finished_at = null where id = p_id and organization_id = p_organization and state = 'dead';
  if found then perform pg_notify('tollgate_job', ''); end if;
  return found;
end $$;

create function job_idle(p_now timestamptz) returns boolean
language sql stable security definer set search_path = public, pg_temp as $$
  select not exists (select 1 from job where state = 'running' or (state = 'ready' and run_at <= p_now))
$$;

create function job_counts() returns table (state varchar, count bigint)
language sql stable security definer set search_path = public, pg_temp as $$
  select state, count(*) from job where state <> 'done' group by state
$$;

create function job_prune(p_before timestamptz) returns void
language sql security definer set search_path = public, pg_temp as $$
  delete from job where state = 'done' and finished_at < p_before
$$;
"""

FUNCTION_NAMES = """
access_sign_in access_open_session access_session access_close_session access_close_sessions access_close_identity_sessions
access_organizations access_add_identity access_add_membership access_set_password access_password access_add_api_key access_api_key attempt_hit attempt_give_back directory_organizations
gateway_endpoint_of gateway_add_endpoint job_claim job_extend job_finish job_fail job_list job_requeue job_idle job_counts job_prune
""".split()
TRIGGER_FUNCTIONS = """
refuse_change guard_invoice guard_invoice_part guard_document guard_credit_note guard_sign_off guard_number_series guard_first_number
guard_review_round guard_milestone guard_contract guard_postings wake_workers
""".split()


def statements(script: str) -> list[str]:
    """Split a script at lines that end a statement, outside of function bodies: the driver takes one at a time."""
    found, current, quoted = [], [], False
    for line in script.strip().splitlines():
        current.append(line)
        if line.count("$$") % 2:
            quoted = not quoted
        if not quoted and line.rstrip().endswith(";"):
            found.append("\n".join(current))
            current = []
    return found


def upgrade() -> None:
    """Apply."""
    for table in TENANT:
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        # A sub-select is evaluated once per statement; '' (no tenant) becomes NULL and matches nothing.
        tenant = "organization_id = (select nullif(current_setting('tollgate.organization_id', true), '')::uuid)"
        op.execute(f"create policy tenant on {table} to tollgate_app using ({tenant}) with check ({tenant})")
        # Without a policy of its own, FORCE would let the owner's backfills silently touch no row.
        op.execute(f"create policy owner on {table} to tollgate_owner using (true) with check (true)")
        op.execute(f"grant select, insert on {table} to tollgate_app")
    for table, columns in UPDATES.items():
        op.execute(f"grant update {columns} on {table} to tollgate_app")
    for table in DELETES:
        op.execute(f"grant delete on {table} to tollgate_app")
    op.execute("grant insert on job to tollgate_app")
    op.execute("grant select on alembic_version to tollgate_app")
    for statement in statements(TRIGGERS) + statements(FUNCTIONS):
        # An asyncpg statement without arguments may hold ':' and '%' freely; SQLAlchemy's text() may not.
        op.get_bind().exec_driver_sql(statement)
    for table in IMMUTABLE:
        op.execute(f"create trigger refuse_change before update or delete on {table} for each row execute function refuse_change()")
    op.execute("revoke all on all functions in schema public from public")
    for name in FUNCTION_NAMES + TRIGGER_FUNCTIONS:
        op.execute(f"grant execute on function {name} to tollgate_app")


def downgrade() -> None:
    """Take back."""
    for name in FUNCTION_NAMES:
        op.execute(f"drop function {name}")
    for name in TRIGGER_FUNCTIONS:
        op.execute(f"drop function {name} cascade")
    for table in TENANT:
        op.execute(f"drop policy tenant on {table}")
        op.execute(f"drop policy owner on {table}")
        op.execute(f"alter table {table} no force row level security")
        op.execute(f"alter table {table} disable row level security")
        op.execute(f"revoke all on {table} from tollgate_app")
    op.execute("revoke all on job from tollgate_app")
    op.execute("revoke all on alembic_version from tollgate_app")
