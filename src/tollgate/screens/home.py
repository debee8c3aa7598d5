"""Home, "Needs me": one list, most urgent first; five figures that open their lists; the next six weeks."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import audit, clock, i18n
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.billing.service_views import ReadyToInvoice, ready_to_invoice
from tollgate.contracts.rules import Health, State, health
from tollgate.db.command import Command
from tollgate.db.database import Database, answer
from tollgate.errors import Message, NotFound, _, ngettext
from tollgate.jobs import outbox
from tollgate.jobs.service import jobs_of, requeue
from tollgate.money.amount import Money
from tollgate.parties import queries as parties
from tollgate.parties.rules import Seller
from tollgate.payments import queries as payments
from tollgate.payments import queries_returns as returns
from tollgate.screens import queries
from tollgate.screens.queries import MilestoneRow, Tally
from tollgate.web.actions import act
from tollgate.web.forms import Form
from tollgate.web.rendering import page
from tollgate.web.timeline import Bar, TimelineView, layout

READ = [requires(Permission.READ)]
ADMINISTER = [requires(Permission.ADMINISTER)]
WEEKS = 6
EXPIRES_SOON = timedelta(days=5)
MAILS_FOR = timedelta(days=30)
BILLED_WITHIN = timedelta(minutes=10)
"""How long the job that bills an approval may take before it counts as forgotten."""
NOTHING = Tally(0, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One line of the list. Sorted by `rank` (smaller is more urgent), then by `since`."""

    rank: int
    since: datetime
    tone: str
    word: Message
    title: str
    detail: Message
    href: str
    amount: Money | None = None
    action: Message | None = None
    """What the link beside it says."""
    action_href: str = ""
    post_to: str = ""
    """Set where one button does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure that opens its list."""

    label: Message
    value: str
    href: str
    note: Message | None
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """One thing to do before the first invoice."""

    done: bool
    title: Message
    text: Message
    action: Message
    href: str


@get("/", guards=READ)
async def home(request: Request[Any, Any, Any], caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """What needs the reader, and how things stand."""
    async with db.reading(caller.organization_id) as session:
        seller = await parties.organization(session, caller.organization_id)
        today = clock.today(seller.time_zone)
        clients, contracts, agreed = await queries.counts(session, caller.organization_id)
        needs = await needs_of(session, caller, seller, today) if contracts else []
        shown = await _figures(session, caller.organization_id, seller, today) if contracts else []
        timeline = await _timeline(session, caller.organization_id, seller, today) if agreed else None
        held = await outbox.state(session) if caller.may(Permission.ADMINISTER) else None
    steps = first_steps(seller, clients, contracts, agreed)
    return page(
        "screens/home.html",
        shell=shell_for(request, "home"),
        form=Form.empty(csrf_token=csrf_token_for(request)),
        needs=needs,
        figures=shown,
        timeline=timeline,
        steps=[] if all(step.done for step in steps) else steps,
        today=today,
        fresh=contracts == 0,
        may_add=caller.may(Permission.MANAGE_CONTRACTS),
        held=None if held is None else _held(held, seller.time_zone),
    )


def _held(held: outbox.Hold, zone: str) -> Message:
    return _(
        "Restored from a backup of %(instant)s: nothing is sent, billed or asked of Stripe until whoever runs this server "
        "confirms with the command tollgate outbox --release",
        instant=i18n.instant(held.backup_made_at, zone),
    )


def first_steps(seller: Seller, clients: int, contracts: int, agreed: int) -> list[FirstStep]:
    """What a fresh organization does, in order."""
    complete = bool(seller.address.line1 and seller.address.city and (seller.tax_id or seller.registration_number) and seller.iban)
    return [
        FirstStep(
            done=complete,
            title=_("Complete your own details"),
            text=_("Address, tax number and bank account stand on every invoice."),
            action=_("Open settings"),
            href="/settings",
        ),
        FirstStep(
            done=contracts > 0,
            title=_("Write the first contract"),
            text=_("Client, value and milestones on one page; you see every invoice that will follow."),
            action=_("New contract"),
            href="/contracts/new",
        ),
        FirstStep(
            done=agreed > 0,
            title=_("Activate it"),
            text=_("From then on milestones can be delivered, signed by the client and billed."),
            action=_("To the contracts"),
            href="/contracts",
        ),
    ]


# The list ---------------------------------------------------------------------------------------------------------------


async def needs_of(session: AsyncSession, caller: Caller, seller: Seller, today: date) -> list[Need]:
    """Everything that waits for a member, most urgent first: what is stuck, then what earns, then what is waited for."""
    found: list[Need] = []
    found += await _stuck(session, caller)
    found += await _work(session, caller, seller, today)
    found += await _waiting(session, caller, seller)
    return sorted(found, key=lambda need: (need.rank, need.since))


async def _stuck(session: AsyncSession, caller: Caller) -> list[Need]:
    organization_id, found = caller.organization_id, []
    mails = await queries.troubled_mails(session, organization_id, clock.now() - MAILS_FOR)
    found += [_refused_mail(mail) for mail in mails if mail.state == "refused"]
    for error, waiting in groupby([mail for mail in mails if mail.state == "waiting"], key=lambda mail: mail.last_error):
        # One cause holds all of them up, so it is one thing to do.
        held = list(waiting)
        found.append(
            Need(
                rank=3,
                since=held[-1].created_at,
                tone="at_risk",
                word=_("Mail waits"),
                title=i18n.translate(ngettext("%(n)s mail", "%(n)s mails", len(held))),
                detail=_("%(error)s; sent by itself once that is over", error=error.removeprefix("Unavailable: ")),
                href="/contracts",
            )
        )
    for stopped in await payments.stopped(session, organization_id):
        halted, went_back = stopped.step == "stopped", stopped.code == "went_back"
        found.append(
            Need(
                rank=1 if halted else 3,
                since=clock.now(),
                tone="overdue" if halted else "at_risk",
                word=_("Stripe stopped") if halted else _("Money went back") if went_back else _("Look at Stripe"),
                title=stopped.number,
                # The sentence names the amount.
                detail=_("%(client)s · %(problem)s", client=stopped.client_name, problem=stopped.problem) if went_back else stopped.problem,
                href=f"/invoices/{stopped.invoice_id}",
            )
        )
    for dispute in await returns.disputed(session, organization_id):
        answer_by = i18n.day(dispute.respond_by) if dispute.respond_by is not None else ""
        what = (
            _("%(client)s · answer at Stripe by %(day)s, or it is lost", client=dispute.client_name, day=answer_by)
            if answer_by
            else _("%(client)s · answer at Stripe", client=dispute.client_name)
        )
        found.append(
            Need(
                rank=1,
                since=dispute.created_at,
                tone="at_risk",
                word=_("Disputed"),
                title=dispute.number,
                detail=what,
                href=f"/invoices/{dispute.invoice_id}",
                amount=dispute.amount,
            )
        )
    if caller.may(Permission.ADMINISTER):
        for job in await jobs_of(session, organization_id):
            found.append(
                Need(
                    rank=1,
                    since=job.created_at,
                    tone="overdue",
                    word=_("Job failed"),
                    title=job.kind,
                    detail=_("%(error)s (%(n)s tries)", error=(job.last_error or "")[:200], n=job.attempts),
                    href="/",
                    action=_("Try again"),
                    post_to=f"/jobs/{job.id}/requeue",
                )
            )
    return found


def _refused_mail(mail: queries.TroubledMail) -> Need:
    return Need(
        rank=0,
        since=mail.created_at,
        tone="overdue",
        word=_("Mail refused"),
        title=mail.recipient or i18n.translate(_("A mail")),
        detail=_("%(error)s", error=mail.last_error or i18n.translate(_("no reason given"))),
        href=f"/contracts/{mail.contract_id}?tab=activity" if mail.contract_id else "/clients",
    )


async def _work(session: AsyncSession, caller: Caller, seller: Seller, today: date) -> list[Need]:
    organization_id, found = caller.organization_id, []
    for one in await ready_to_invoice(session, organization_id):
        need = _unbilled(one, may_bill=caller.may(Permission.BILL))
        if need is not None:
            found.append(need)
    for row in await queries.milestones(session, organization_id, states=("changes_requested",)):
        found.append(_need(row, 2, "at_risk", _("Changes requested"), _("The client asked for changes"), action=_("Deliver again")))
    for row in await queries.milestones(session, organization_id, states=queries.WORKING, due_before=today):
        if row.state == "changes_requested":
            continue  # it stands above already, and what to do is the same
        late = (today - row.due_on).days if row.due_on else 0
        detail = ngettext("%(n)s day past the agreed day", "%(n)s days past the agreed day", late)
        found.append(_need(row, 6, "overdue", _("Overdue"), detail, action=_("Deliver")))
    return found


def _need(
    row: MilestoneRow, rank: int, tone: str, word: Message, detail: Message, *, action: Message | None = None, since: datetime | None = None
) -> Need:
    return Need(
        rank=rank,
        since=since or row.delivered_at or row.approved_at or row.started_at or clock.now(),
        tone=tone,
        word=word,
        title=row.title,
        detail=_("%(client)s · %(contract)s · %(what)s", client=row.client_name, contract=row.contract_title, what=detail),
        href=f"/milestones/{row.id}",
        amount=row.amount,
        action=action,
        action_href=f"/milestones/{row.id}/delivery" if action else "",
    )


def _unbilled(one: ReadyToInvoice, *, may_bill: bool) -> Need | None:
    since, page_of_it = one.since or clock.now(), f"/milestones/{one.milestone_id}"
    what, action, href = _("Billing is held since its last invoice was taken back"), _("Invoice it") if may_bill else _("Open"), page_of_it
    blocked = one.why == "blocked" and one.blocked_because
    if blocked:
        what, action, href = _("%(reason)s", reason=blocked), _("Add what is missing"), field_of(one.blocked_at or "", one.client_id)
    elif one.draft_id is not None:
        what, action, href = _("A draft waits for review"), _("Review the draft"), f"/invoices/{one.draft_id}"
    elif one.why == "waiting" and since > clock.now() - BILLED_WITHIN:
        return None
    elif one.why != "held":
        what = _("Approved and not billed yet")
    return Need(
        rank=0 if blocked else 5,
        since=since,
        tone="overdue" if blocked else "on_time",
        word=_("Cannot be billed") if blocked else _("Ready to invoice"),
        title=one.title,
        detail=_("%(client)s · %(contract)s · %(what)s", client=one.client_name, contract=one.contract_title, what=what),
        href=page_of_it,
        amount=one.amount,
        action=action,
        action_href=href,
    )


def field_of(pointer: str, client_id: UUID) -> str:
    """Where the field is that a block points at (R18): the client's page for the buyer, the settings for the seller."""
    side, _slash, rest = pointer.removeprefix("/").partition("/")
    return f"{f'/clients/{client_id}/edit' if side == 'buyer' else '/settings'}#{rest.rpartition('/')[2]}"


def _with(need: Need, *, action: Message, action_href: str) -> Need:
    return Need(
        rank=need.rank,
        since=need.since,
        tone=need.tone,
        word=need.word,
        title=need.title,
        detail=need.detail,
        href=need.href,
        amount=need.amount,
        action=action,
        action_href=action_href,
    )


async def _waiting(session: AsyncSession, caller: Caller, seller: Seller) -> list[Need]:
    organization_id, now, found = caller.organization_id, clock.now(), []
    for one in await queries.proposals(session, organization_id):
        found.append(
            Need(
                rank=4,
                since=one.created_at,
                tone="waiting",
                word=_("“Not me”"),
                title=one.milestone_title,
                detail=_("%(name)s (%(email)s) was proposed to decide instead", name=one.name, email=one.email),
                href=f"/milestones/{one.milestone_id}",
                action=_("Confirm or decline"),
                action_href=f"/milestones/{one.milestone_id}#colleagues",
            )
        )
    links: dict[UUID, list[queries.OpenLink]] = {}
    for link in await queries.open_links(session, organization_id):
        links.setdefault(link.round_id, []).append(link)
    for row in await queries.milestones(session, organization_id, states=("delivered",)):
        theirs = links.get(row.round_id, []) if row.round_id else []
        found.append(_waits_for_client(row, theirs, seller, now))
        soon = [link for link in theirs if not link.used and link.expires_at <= now + EXPIRES_SOON]
        found += [_expires(row, link, seller, now) for link in soon]
    return found


def _waits_for_client(row: MilestoneRow, links: list[queries.OpenLink], seller: Seller, now: datetime) -> Need:
    since = row.delivered_at or now
    days = (clock.day_of(now, seller.time_zone) - clock.day_of(since, seller.time_zone)).days
    opens = sum(link.opens for link in links)
    waited = ngettext("waiting %(n)s day", "waiting %(n)s days", days) if days else _("delivered today")
    opened = ngettext("link opened once", "link opened %(n)s times", opens) if opens else _("link not opened yet")
    need = _need(row, 8, "waiting", _("Waiting for the client"), _("%(waited)s, %(opened)s", waited=waited, opened=opened), since=since)
    return _with(need, action=_("Remind or resend"), action_href=f"/milestones/{row.id}#links")


def _expires(row: MilestoneRow, link: queries.OpenLink, seller: Seller, now: datetime) -> Need:
    gone = link.expires_at <= now
    day = i18n.day(clock.day_of(link.expires_at, seller.time_zone))
    what = (
        _("the link of %(name)s expired on %(day)s", name=link.contact_name, day=day)
        if gone
        else _("the link of %(name)s expires on %(day)s", name=link.contact_name, day=day)
    )
    need = _need(row, 3 if gone else 7, "at_risk", _("Link expired") if gone else _("Link expires soon"), what, since=link.expires_at)
    return _with(need, action=_("Send it again"), action_href=f"/milestones/{row.id}#links")


# Figures and timeline ---------------------------------------------------------------------------------------------------


async def _figures(session: AsyncSession, organization_id: UUID, seller: Seller, today: date) -> list[Figure]:
    working = await queries.milestone_tally(session, organization_id, ("in_progress", "changes_requested"))
    waiting = await queries.milestone_tally(session, organization_id, ("delivered",))
    outstanding = await queries.open_tally(session, organization_id)
    overdue = await queries.open_tally(session, organization_id, today)
    first = today.replace(day=1)
    paid = await queries.received_tally(session, organization_id, first, today)
    period = f"/reports/payments?from={first.isoformat()}&to={today.isoformat()}"
    return [
        _figure(_("In progress"), i18n.number(working.count), "/milestones?state=in_progress", _sum_note(working), ""),
        _figure(
            _("Waiting for approval"),
            i18n.number(waiting.count),
            "/milestones?state=delivered",
            _sum_note(waiting),
            "waiting" if waiting.count else "",
        ),
        _figure(_("Outstanding"), _amounts(outstanding, seller), "/invoices?state=open", _invoices(outstanding), ""),
        _figure(_("Overdue"), _amounts(overdue, seller), "/invoices?state=overdue", _invoices(overdue), "overdue" if overdue.count else ""),
        _figure(_("Paid this month"), _amounts(paid, seller), period, _payments(paid), "paid" if paid.count else ""),
    ]


def _figure(label: Message, value: str, href: str, note: Message | None, tone: str) -> Figure:
    return Figure(label=label, value=value, href=href, note=note, tone=tone)


def _amounts(tally: Tally, seller: Seller) -> str:
    # One figure per currency: they are never added up.
    return " · ".join(i18n.money(amount) for amount in tally.amounts) or i18n.money(Money.zero(seller.currency))


def _sum_note(tally: Tally) -> Message | None:
    return _("%(amounts)s", amounts=" · ".join(i18n.money(one) for one in tally.amounts)) if tally.count else None


def _invoices(tally: Tally) -> Message | None:
    return ngettext("%(n)s invoice", "%(n)s invoices", tally.count) if tally.count else None


def _payments(tally: Tally) -> Message | None:
    return ngettext("%(n)s payment", "%(n)s payments", tally.count) if tally.count else None


async def _timeline(session: AsyncSession, organization_id: UUID, seller: Seller, today: date) -> TimelineView | None:
    rows = await queries.upcoming(session, organization_id, today, WEEKS)
    bars = [bar for row in rows[:20] if (bar := bar_of(row, today, seller.time_zone)) is not None]
    return layout(bars, today=today, first=today - timedelta(days=7), last=today + timedelta(weeks=WEEKS)) if bars else None


def bar_of(row: MilestoneRow, today: date, zone: str) -> Bar | None:
    """A milestone as a bar; None without any day."""
    end = row.planned_on or row.due_on
    if end is None:
        return None
    start = clock.day_of(row.started_at, zone) if row.started_at else min(end, max(today, end - timedelta(days=10)))
    delivered_on = clock.day_of(row.delivered_at, zone) if row.delivered_at else None
    well = health(State(row.state), due_on=row.due_on, planned_on=row.planned_on, delivered_on=delivered_on, today=today)
    kind = "waiting" if row.state == "delivered" else (well or Health.ON_TIME).value
    return Bar(
        label=f"{row.title} · {row.client_name}",
        starts_on=min(start, end),
        planned_on=end,
        due_on=row.due_on,
        kind=kind,
        href=f"/milestones/{row.id}",
    )


@post("/jobs/{job_id:uuid}/requeue", guards=ADMINISTER)
async def requeue_job(job_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[None]:
    """Give a dead job its attempts back."""
    return await act(_requeue(db, command, job_id), "/", _("The job runs again"))


async def _requeue(db: Database, command: Command, job_id: UUID) -> UUID:
    async with db.transaction(command.organization_id, command) as session:
        kind = next((job.kind for job in await jobs_of(session, command.organization_id) if job.id == job_id), None)
        if kind is None or not await requeue(session, command.organization_id, job_id):
            raise NotFound
        audit.record(session, "job.requeued", ("job", job_id), kind=kind)
        return answer(session, job_id)


handlers = [home, requeue_job]
