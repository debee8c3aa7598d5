"""Every money invariant of what exists, as data: `tollgate check` runs them on live data, the tests after every step.

Each check is two statements over one organization: how many things it looked at, and which of them are broken. The
words are those of `docs/domain.md`; a check that finds nothing to look at passes with a count of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant. `looked_at` counts; `broken` selects one text per thing that violates it."""

    name: str
    says: str
    looked_at: str
    broken: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in one organization."""

    check: str
    says: str
    looked_at: int
    broken: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is broken."""
        return not self.broken


ISSUED = "state <> 'draft'"
LIVE = "state not in ('draft', 'void', 'credited')"
ROUNDED_TAX = "sign(base_minor * rate_percent) * floor(abs(base_minor * rate_percent) / 100 + 0.5)"

CHECKS: tuple[Check, ...] = (
    Check(
        "milestones_sum",
        "milestones and contingency sum to the contract's value",
        "select count(*) from contract where state <> 'draft'",
        "select c.id::text from contract c left join milestone m on m.organization_id = c.organization_id and m.contract_id = c.id and m.state <> 'cancelled'"
        " where c.state <> 'draft' group by c.id, c.value_minor, c.contingency_minor having c.contingency_minor + coalesce(sum(m.amount_minor), 0) <> c.value_minor",
    ),
    Check(
        "contract_version",
        "every active contract has its version 1, and versions hash to what was agreed",
        "select count(*) from contract_version",
        "select id::text from contract_version where sha256(convert_to(content, 'UTF8')) <> content_sha256"
        " union all select c.id::text from contract c where c.state <> 'draft' and not exists"
        " (select 1 from contract_version v where v.organization_id = c.organization_id and v.contract_id = c.id and v.number = 1)",
    ),
    Check(
        "contract_state",
        "a contract is completed exactly when every milestone is paid or cancelled",
        "select count(*) from contract where state <> 'draft'",
        "select c.id::text from contract c left join milestone m on m.organization_id = c.organization_id and m.contract_id = c.id"
        " where c.state in ('active', 'completed') group by c.id, c.state"
        " having (c.state = 'completed') <> coalesce(bool_and(m.state in ('paid', 'cancelled')), false)",
    ),
    Check(
        "round_content",
        "a review round hashes to what was frozen, and its amount is the milestone's",
        "select count(*) from review_round",
        "select r.id::text from review_round r join milestone m on m.organization_id = r.organization_id and m.id = r.milestone_id"
        " where sha256(convert_to(r.content, 'UTF8')) <> r.content_sha256 or r.amount_minor <> m.amount_minor or r.currency <> m.currency",
    ),
    Check(
        "round_signed",
        "each approved round has a complete sign-off set over its content, and no other round has",
        "select count(*) from review_round where state in ('approved', 'reopened')",
        "select r.id::text from review_round r left join sign_off s on s.organization_id = r.organization_id and s.round_id = r.id"
        " group by r.id, r.state, r.required, r.content_sha256 having (r.state in ('approved', 'reopened'))"
        " <> (count(s.id) filter (where s.decision = 'approve' and s.content_sha256 = r.content_sha256) >= r.required"
        " and count(s.id) filter (where s.decision <> 'approve') = 0)"
        " or count(s.id) filter (where s.content_sha256 <> r.content_sha256) > 0",
    ),
    Check(
        "approved_milestone",
        "an approved, invoiced or paid milestone stands on its newest round, which was approved",
        "select count(*) from milestone where state in ('approved', 'invoiced', 'paid')",
        "select m.id::text from milestone m left join review_round r on r.organization_id = m.organization_id and r.id = m.round_id"
        " where (m.state in ('approved', 'invoiced', 'paid') and coalesce(r.state, '') <> 'approved') or (m.state = 'delivered' and coalesce(r.state, '') <> 'open')"
        " or (m.state = 'changes_requested' and coalesce(r.state, '') <> 'changes_requested')",
    ),
    Check(
        "invoice_lines",
        "an invoice's net is the sum of its lines and its tax is rounded once per group (R2)",
        f"select count(*) from invoice where {ISSUED}",
        "select i.id::text from invoice i left join lateral (select sum(net_minor) net from invoice_line l where l.organization_id = i.organization_id and l.invoice_id = i.id) l on true"
        " left join lateral (select sum(base_minor) base, sum(tax_minor) tax from invoice_tax t where t.organization_id = i.organization_id and t.invoice_id = i.id) t on true"
        " where coalesce(l.net, 0) <> i.net_minor or coalesce(t.base, 0) <> i.net_minor or coalesce(t.tax, 0) <> i.tax_minor"
        f" union all select invoice_id::text from invoice_tax where tax_minor <> {ROUNDED_TAX}"
        " union all select t.invoice_id::text from invoice_tax t where t.base_minor <> (select coalesce(sum(l.net_minor), 0) from invoice_line l"
        " where l.organization_id = t.organization_id and l.invoice_id = t.invoice_id and l.tax_category = t.category and l.tax_rate_percent = t.rate_percent)",
    ),
    Check(
        "credit_lines",
        "a credit note's net is the sum of its lines and its tax is rounded once per group (R2, R12)",
        "select count(*) from credit_note",
        "select c.id::text from credit_note c left join lateral (select sum(net_minor) net from credit_note_line l where l.organization_id = c.organization_id and l.credit_note_id = c.id) l on true"
        " left join lateral (select sum(base_minor) base, sum(tax_minor) tax from credit_note_tax t where t.organization_id = c.organization_id and t.credit_note_id = c.id) t on true"
        " where coalesce(l.net, 0) <> c.net_minor or coalesce(t.base, 0) <> c.net_minor or coalesce(t.tax, 0) <> c.tax_minor"
        f" union all select credit_note_id::text from credit_note_tax where tax_minor <> {ROUNDED_TAX}",
    ),
    Check(
        "billed_once",
        "what is billed for a milestone is what its round was signed for, once",
        "select count(*) from invoice_line where milestone_id is not null",
        "select l.id::text from invoice_line l join review_round r on r.organization_id = l.organization_id and r.id = l.round_id"
        " where l.round_sha256 <> r.content_sha256 or r.milestone_id <> l.milestone_id"
        " union all select l.invoice_id::text from invoice_line l join invoice i on i.organization_id = l.organization_id and i.id = l.invoice_id"
        " join review_round r on r.organization_id = l.organization_id and r.id = l.round_id"
        " group by l.organization_id, l.invoice_id, i.price_basis, i.amount_due_minor"
        " having sum(r.amount_minor) <> case i.price_basis when 'net' then sum(l.net_minor) else i.amount_due_minor end"
        " union all select m.id::text from milestone m left join invoice_line l on l.organization_id = m.organization_id and l.milestone_id = m.id and l.live"
        " left join invoice i on i.organization_id = l.organization_id and i.id = l.invoice_id"
        " group by m.id, m.state having (m.state in ('invoiced', 'paid')) <> (count(i.id) filter (where i.state <> 'draft') = 1)",
    ),
    Check(
        "live_lines",
        "a line is live exactly while its invoice is neither void nor credited",
        "select count(*) from invoice_line",
        "select l.id::text from invoice_line l join invoice i on i.organization_id = l.organization_id and i.id = l.invoice_id where l.live <> (i.state not in ('void', 'credited'))",
    ),
    Check(
        "numbers",
        "numbers of a series are 1 to n without gap or repeat, and issue dates never go back (R11)",
        "select count(*) from number_series",
        "with issued as (select organization_id, series_key, series_seq, issued_on from invoice where number is not null"
        " union all select organization_id, series_key, series_seq, issued_on from credit_note), walked as"
        " (select *, row_number() over w place, lag(issued_on) over w before from issued window w as (partition by organization_id, series_key order by series_seq))"
        " select series_key || ' ' || series_seq from walked where series_seq <> place or issued_on < before"
        " union all select s.key from number_series s where s.last_seq <> (select count(*) from issued i where i.organization_id = s.organization_id and i.series_key = s.key)"
        " or s.last_issued_on <> (select max(issued_on) from issued i where i.organization_id = s.organization_id and i.series_key = s.key)",
    ),
    Check(
        "invoice_state",
        "paid exactly when nothing is open and not void or credited; partly paid when some is settled",
        f"select count(*) from invoice where {ISSUED}",
        "select id::text from invoice where state in ('issued', 'partly_paid', 'paid') and state <> case"
        " when paid_minor + credited_minor + written_off_minor = payable_minor then 'paid' when paid_minor > 0 then 'partly_paid' else 'issued' end",
    ),
    Check(
        "milestone_paid",
        "a milestone is paid exactly when its live invoice is",
        "select count(*) from milestone where state in ('invoiced', 'paid')",
        "select m.id::text from milestone m join invoice_line l on l.organization_id = m.organization_id and l.milestone_id = m.id and l.live"
        " join invoice i on i.organization_id = l.organization_id and i.id = l.invoice_id where (m.state = 'paid') <> (i.state = 'paid')",
    ),
    Check(
        "entries_balance",
        "every journal entry sums to 0 in its currency and in the books'",
        "select count(*) from journal_entry",
        "select entry_id::text from journal_posting group by entry_id, currency having sum(amount_minor) <> 0"
        " union all select entry_id::text from journal_posting group by entry_id, book_currency having sum(book_amount_minor) <> 0"
        " union all select e.id::text from journal_entry e where not exists (select 1 from journal_posting p where p.organization_id = e.organization_id and p.entry_id = e.id)",
    ),
    Check(
        "receivable",
        "open of each invoice is its receivable in the journal",
        f"select count(*) from invoice where {ISSUED}",
        "select i.id::text from invoice i left join lateral (select coalesce(sum(p.amount_minor), 0) balance from journal_posting p"
        " where p.organization_id = i.organization_id and p.invoice_id = i.id and p.account = 'receivable') j on true"
        f" where j.balance <> case when i.{LIVE} then i.payable_minor - i.paid_minor - i.credited_minor - i.written_off_minor else 0 end",
    ),
    Check(
        "contract_asset",
        "what is approved and not yet billed is the contract asset in the journal",
        "select count(*) from milestone where state in ('approved', 'invoiced', 'paid')",
        "select c.id::text from contract c left join lateral (select coalesce(sum(p.amount_minor), 0) balance from journal_posting p"
        " where p.organization_id = c.organization_id and p.contract_id = c.id and p.account = 'contract_asset') j on true"
        " left join lateral (select coalesce(sum(m.amount_minor), 0) amount from milestone m where m.organization_id = c.organization_id and m.contract_id = c.id and m.state = 'approved') m on true"
        " where c.price_basis = 'net' and j.balance <> m.amount",
    ),
    Check(
        "tax_payable",
        "tax in the journal is the tax on live invoices",
        f"select count(*) from invoice where {ISSUED}",
        "select i.id::text from invoice i left join lateral (select coalesce(sum(p.amount_minor), 0) balance from journal_posting p"
        " where p.organization_id = i.organization_id and p.invoice_id = i.id and p.account = 'tax_payable') j on true"
        f" where -j.balance <> case when i.{LIVE} then i.tax_minor else 0 end",
    ),
    Check(
        "paid",
        "paid of each invoice is the sum of what payments were allocated to it",
        "select count(*) from payment_allocation",
        "select i.id::text from invoice i left join payment_allocation a on a.organization_id = i.organization_id and a.invoice_id = i.id"
        " group by i.id, i.paid_minor having coalesce(sum(a.amount_minor), 0) <> i.paid_minor",
    ),
    Check(
        "payments",
        "a payment never settles more than what is left of it, nor less than nothing of any invoice",
        "select count(*) from payment",
        # What settles a credited invoice is client credit by now, and may have been sent back from there.
        "select p.id::text from payment p left join payment_allocation a on a.organization_id = p.organization_id and a.payment_id = p.id"
        " left join invoice i on i.organization_id = a.organization_id and i.id = a.invoice_id"
        " group by p.id, p.amount_minor, p.refunded_minor having coalesce(sum(a.amount_minor), 0) > p.amount_minor"
        f" or coalesce(sum(a.amount_minor) filter (where i.{LIVE}), 0) > p.amount_minor - p.refunded_minor"
        " union all select payment_id::text from payment_allocation group by payment_id, invoice_id having sum(amount_minor) < 0",
    ),
    Check(
        "bank",
        "bank in the journal is what was received and not sent back",
        "select count(*) from payment",
        "select p.id::text from payment p left join lateral (select coalesce(sum(j.amount_minor), 0) balance from journal_posting j"
        " join journal_entry e on e.organization_id = j.organization_id and e.id = j.entry_id"
        " where e.organization_id = p.organization_id and e.subject_id = p.id and j.account = 'bank') b on true"
        " where b.balance <> case p.state when 'reversed' then 0 else p.amount_minor - p.refunded_minor end",
    ),
    Check(
        "client_credit",
        "client credit in the journal is what was received or credited and not used, and never negative",
        "select count(*) from client",
        "select c.id::text from client c left join lateral (select coalesce(-sum(j.amount_minor), 0) balance from journal_posting j"
        " where j.organization_id = c.organization_id and j.client_id = c.id and j.account = 'client_credit') l on true"
        " where l.balance < 0 or l.balance <>"
        " (select coalesce(sum(case p.state when 'reversed' then 0 else p.amount_minor - p.refunded_minor end), 0) from payment p where p.organization_id = c.organization_id and p.client_id = c.id)"
        " - (select coalesce(sum(a.amount_minor), 0) from payment_allocation a join payment p on p.organization_id = a.organization_id and p.id = a.payment_id"
        " where p.organization_id = c.organization_id and p.client_id = c.id)"
        " + (select coalesce(sum(n.from_paid_minor), 0) from credit_note n where n.organization_id = c.organization_id and n.client_id = c.id and n.from_paid_minor <> 0"
        " and exists (select 1 from payment_allocation a where a.organization_id = n.organization_id and a.invoice_id = n.invoice_id having sum(a.amount_minor) > 0))",
    ),
    Check(
        "sent_back",
        "what went back of a payment is its refunds that succeeded and its disputes that were lost, and nothing of a bank transfer",
        "select count(*) from payment",
        "select p.id::text from payment p"
        " left join lateral (select coalesce(sum(r.amount_minor), 0) back from payment_refund r where r.organization_id = p.organization_id"
        " and r.payment_id = p.id and r.state = 'succeeded') r on true"
        " left join lateral (select coalesce(sum(d.amount_minor), 0) back from payment_dispute d where d.organization_id = p.organization_id"
        " and d.payment_id = p.id and d.state = 'lost') d on true"
        " where p.refunded_minor <> least(p.amount_minor, r.back + d.back)"
        " union all select p.id::text from payment p where (p.invoice_id is null) <> (p.method <> 'stripe')"
        " union all select r.id::text from payment_refund r join payment p on p.organization_id = r.organization_id and p.id = r.payment_id"
        " where r.currency <> p.currency"
        " union all select d.id::text from payment_dispute d join payment p on p.organization_id = d.organization_id and p.id = d.payment_id"
        " where d.currency <> p.currency",
    ),
    Check(
        "own_invoice_first",
        "money paid on an invoice's own page is client credit only where that invoice needs no more",
        "select count(*) from payment where invoice_id is not null",
        "select p.id::text from payment p join invoice i on i.organization_id = p.organization_id and i.id = p.invoice_id"
        " left join payment_allocation a on a.organization_id = p.organization_id and a.payment_id = p.id"
        " where i.state in ('issued', 'partly_paid') group by p.id, p.amount_minor, p.refunded_minor"
        " having coalesce(sum(a.amount_minor), 0) < p.amount_minor - p.refunded_minor"
        " union all select p.id::text from payment p join payment_allocation a on a.organization_id = p.organization_id and a.payment_id = p.id"
        " where p.invoice_id is not null and a.invoice_id <> p.invoice_id",
    ),
    Check(
        "signals",
        "an invoice shows as disputed, processing and declined exactly what its payments' disputes and attempts say",
        f"select count(*) from invoice where {ISSUED}",
        "select i.id::text from invoice i where (i.disputed_on is not null) <> exists (select 1 from payment_dispute d"
        " join payment p on p.organization_id = d.organization_id and p.id = d.payment_id"
        " where p.organization_id = i.organization_id and p.invoice_id = i.id and d.state = 'open')"
        " union all select i.id::text from invoice i left join payment_attempt a on a.organization_id = i.organization_id and a.invoice_id = i.id"
        " group by i.id, i.pending_minor, i.declined_at having i.pending_minor <> coalesce(sum(a.amount_minor) filter (where a.state = 'processing'), 0)"
        " or i.declined_at is distinct from max(a.attempted_at) filter (where a.state = 'failed')",
    ),
    Check(
        "one_currency",
        "currency agrees along contract, milestone, round, invoice, payment and journal",
        "select count(*) from contract",
        "select m.id::text from milestone m join contract c on c.organization_id = m.organization_id and c.id = m.contract_id where m.currency <> c.currency"
        " union all select i.id::text from invoice i join contract c on c.organization_id = i.organization_id and c.id = i.contract_id where i.currency <> c.currency"
        " union all select a.id::text from payment_allocation a join payment p on p.organization_id = a.organization_id and p.id = a.payment_id"
        " join invoice i on i.organization_id = a.organization_id and i.id = a.invoice_id where p.currency <> i.currency or p.client_id <> i.client_id"
        " union all select j.entry_id::text from journal_posting j join invoice i on i.organization_id = j.organization_id and i.id = j.invoice_id where j.currency <> i.currency",
    ),
    Check(
        "documents",
        "every issued document is frozen, unchanged since, and hashes to what it says",
        "select count(*) from document",
        "select id::text from document where sha256(convert_to(content, 'UTF8')) <> content_sha256"
        " union all select i.id::text from invoice i where i.state <> 'draft' and not exists"
        " (select 1 from document d where d.organization_id = i.organization_id and d.kind = 'invoice' and d.subject_id = i.id)"
        " union all select c.id::text from credit_note c where not exists"
        " (select 1 from document d where d.organization_id = c.organization_id and d.kind = 'credit_note' and d.subject_id = c.id)"
        " union all select r.id::text from review_round r where r.state = 'approved' and not exists"
        " (select 1 from document d where d.organization_id = r.organization_id and d.kind = 'certificate' and d.subject_id = r.id)",
    ),
    Check(
        "stored_files",
        "every content that a document, deliverable or agreement names has its row",
        "select count(*) from stored_file",
        "select named.hex from (select organization_id, pdf_sha256_hex hex from document union all select organization_id, sha256_hex from deliverable"
        " union all select organization_id, agreement_sha256_hex from contract_version union all select organization_id, document_sha256_hex from sign_off) named"
        " where named.hex is not null and not exists (select 1 from stored_file f where f.organization_id = named.organization_id and f.sha256_hex = named.hex)",
    ),
    Check(
        "idempotency",
        "every command with a key says what it made",
        "select count(*) from idempotency_key",
        "select actor || ' ' || key from idempotency_key where resource_id is null or status is null",
    ),
)

IDLE_CHECKS: tuple[Check, ...] = (
    Check(
        "all_billed",
        "once jobs are idle, every approved milestone is billed, held, blocked or under review",
        "select count(*) from milestone where state = 'approved'",
        "select m.id::text from milestone m join contract c on c.organization_id = m.organization_id and c.id = m.contract_id"
        " where m.state = 'approved' and not m.billing_held and c.invoicing_on_approval = 'issue'"
        " and not exists (select 1 from billing_block b where b.organization_id = m.organization_id and b.milestone_id = m.id)",
    ),
    Check(
        "all_rendered",
        "once jobs are idle, every document has its PDF",
        "select count(*) from document",
        "select id::text from document where pdf_sha256_hex is null",
    ),
)


async def run(session: AsyncSession, organization_id: UUID, *, jobs_idle: bool = False) -> list[Finding]:
    """All checks on one organization, in its own read-only session (row-level security narrows every statement)."""
    found = []
    for check in CHECKS + (IDLE_CHECKS if jobs_idle else ()):
        looked_at = (await session.execute(text(check.looked_at))).scalar_one()
        broken = tuple(str(row[0]) for row in await session.execute(text(check.broken + " limit 20")))
        found.append(Finding(check.name, check.says, looked_at, broken))
    chain = await audit.verify(session, organization_id)
    broken_at = (f"event {chain.broken_at}",) if chain.broken_at is not None else ()
    found.append(Finding("audit_chain", "the audit trail is whole: no event edited, cut or moved", chain.events, broken_at))
    return found
