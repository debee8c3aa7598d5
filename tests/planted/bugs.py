"""The planted bugs, as data: what is changed where, and the suite that must turn red.

`old` stands exactly once in its file; when the code moves on, `test_planted.py` fails until the entry follows it. A suite is one test
or one file, as narrow as possible. Bugs that several layers would have to share name every layer.
"""

from __future__ import annotations

from dataclasses import dataclass

SRC = "src/tollgate"
MIGRATIONS = "migrations/versions"
GUARDS = f"{MIGRATIONS}/2026-11-24_guard_rows.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """One place in one file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug and who catches it."""

    name: str
    edits: tuple[Edit, ...]
    suite: str
    """A file of tests, or one test in it."""


def _bug(name: str, file: str, old: str, new: str, suite: str, *more: Edit) -> Bug:
    return Bug(name, (Edit(file, old, new), *more), suite)


NUMBERS = (
    _bug(
        "a number is taken outside the transaction",
        f"{SRC}/billing/numbers.py",
        "    parsed = NumberFormat.parse(number_format)\n    while True:",
        "    parsed = NumberFormat.parse(number_format)\n"
        "    if not session.info.get('apart'):\n"
        "        async with AsyncSession(session.bind) as apart, apart.begin():\n"
        "            apart.info['apart'] = True\n"
        "            from sqlalchemy import text\n\n"
        "            await apart.execute(\n"
        "                text(\"select set_config('tollgate.organization_id', :o, true)\"), {'o': str(organization_id)}\n"
        "            )\n"
        "            return await take_number(apart, organization_id, kind, number_format, today)\n"
        "    while True:",
        "tests/service/test_billing_numbers.py::test_a_failed_verb_gives_its_number_back",
    ),
    _bug(
        "the number's row is not locked",
        f"{SRC}/billing/numbers.py",
        "            .order_by(NumberSeries.key)\n            .with_for_update()",
        "            .order_by(NumberSeries.key)",
        "tests/service/test_billing_numbers.py::test_twenty_issuers_of_twenty_contracts_do_not_meet_before_the_number",
    ),
    _bug(
        "issue and due days are those of UTC",
        f"{SRC}/billing/service_issue.py",
        '"invoice", organization.invoice_number_format, clock.today(organization.time_zone)',
        '"invoice", organization.invoice_number_format, clock.today("UTC")',
        "tests/service/test_billing.py::test_the_day_of_issue_and_supply_is_the_sellers_day",
    ),
)

SIGN_OFF = (
    _bug(
        "opening the page of a link approves",
        f"{SRC}/screens/client_pages.py",
        "    link = await load(db, await require_link(request, db, settings, link_id))\n"
        "    with use_locale(link.locale):\n"
        "        return await show(request, db, link)",
        "    verified = await require_link(request, db, settings, link_id)\n"
        "    link = await load(db, verified)\n"
        "    if link.state is LinkState.OPEN:\n"
        "        asked = LinkDecision(content_sha256_hex=link.content_sha256_hex, signed_name=link.approver_name)\n"
        "        await signoff.approve_by_link(db, Command(link.organization_id, ActorKind.CONTACT, link.contact_id), verified, asked)\n"
        "    with use_locale(link.locale):\n"
        "        return await show(request, db, link)",
        "tests/http/test_client_pages.py::test_what_mail_scanners_do_changes_nothing",
    ),
    _bug(
        "an expired link still decides",
        f"{SRC}/signoff/rules.py",
        "    return LinkState.EXPIRED if at >= link.expires_at else LinkState.OPEN",
        "    return LinkState.OPEN",
        "tests/unit/test_signoff_rules.py::test_each_link_state_has_its_own_answer",
    ),
    _bug(
        "an old copy of a link is as good as a fresh one",
        f"{SRC}/signoff/service_decisions.py",
        "        if now >= verified.expires_at:",
        "        if now >= link.expires_at:",
        "tests/service/test_signoff.py::test_a_copy_older_than_its_link_stays_as_old_as_it_is",
    ),
    _bug(
        "a revoked link still decides",
        f"{SRC}/signoff/rules.py",
        "    if link.revoked_at is not None:\n        return LinkState.REVOKED if",
        "    if link.revoked_because is RevokedBecause.ROUND_CLOSED:\n        return LinkState.REVOKED if",
        "tests/service/test_signoff.py::test_a_revoked_link_decides_nothing_and_can_be_replaced",
    ),
    _bug(
        "a decision counts whatever the page showed",
        f"{SRC}/signoff/rules.py",
        "    if not hmac.compare_digest(facts.content_sha256_hex.encode(), decision.content_sha256_hex.encode()):",
        "    if not decision.content_sha256_hex:",
        "tests/unit/test_signoff_rules.py::test_another_content_than_the_one_seen_is_refused",
    ),
    _bug(
        "reopening is not booked",
        f"{SRC}/signoff/service_decisions.py",
        '    await _book(session, review, "milestone_reopened")\n',
        "",
        "tests/service/test_signoff.py::test_reopening_reverses_and_tells_why",
    ),
)

TWO_AT_ONCE = (
    _bug(
        "the contract's row is not locked",
        f"{SRC}/contracts/queries.py",
        "session.get(Contract, (organization_id, contract_id), with_for_update=True, populate_existing=True)",
        "session.get(Contract, (organization_id, contract_id), populate_existing=True)",
        "tests/faults/test_races.py::test_races[two_activations]",
    ),
    _bug(
        "a stale If-Match is accepted",
        f"{SRC}/contracts/service_moves.py",
        "    if present != version:\n        raise Stale",
        "    if present < version:\n        raise Stale",
        "tests/faults/test_races.py::test_races[two_editors]",
    ),
    _bug(
        "an idempotency key is kept outside the transaction",
        f"{SRC}/db/database.py",
        "                await _take_key(session, command)\n            yield session",
        "                async with AsyncSession(self.engine) as apart, apart.begin():\n"
        '                    await apart.execute(_SET_TENANT, {"organization_id": str(organization_id)})\n'
        "                    await _take_key(apart, command)\n"
        "            yield session",
        "tests/service/test_foundation.py::test_a_failed_command_leaves_its_key_free",
    ),
    _bug(
        "an idempotency key takes any body",
        f"{SRC}/db/database.py",
        "    if verb != command.verb or request_sha256 != command.request_sha256:",
        "    if verb != command.verb:",
        "tests/faults/test_races.py::test_races[same_key_other_body]",
    ),
)

MONEY = (
    _bug(
        "a half is rounded to even",
        f"{SRC}/money/amount.py",
        "    doubled = abs(exact) * 2\n",
        "    return round(exact)\n    doubled = abs(exact) * 2\n",
        "tests/unit/money/test_amount.py::test_a_half_goes_away_from_zero",
    ),
    _bug(
        "tax is rounded per line",
        f"{SRC}/billing/tax.py",
        "    return tuple(TaxGroup(treatment=item, base=base, tax=percent_of(base, item.rate_percent)) for item, base in bases.items())",
        "    return tuple(\n"
        "        TaxGroup(\n"
        "            treatment=item,\n"
        "            base=base,\n"
        "            tax=total((percent_of(net, item.rate_percent) for net, other in lines if other == item), currency),\n"
        "        )\n"
        "        for item, base in bases.items()\n"
        "    )",
        "tests/unit/test_billing_tax_rules.py::test_worked_documents",
    ),
    _bug(
        "the last milestone does not take the remainder",
        f"{SRC}/money/splitting.py",
        "        parts.append(reached - before)",
        "        parts.append(round_half_up(minor * Fraction(weight) / Fraction(whole)))",
        "tests/unit/money/test_splitting.py::test_a_split_keeps_every_minor_unit",
    ),
    _bug(
        "client credit is booked as revenue",
        f"{SRC}/payments/receiving.py",
        "Side(Posting(Account.CLIENT_CREDIT, -credit), None, None)",
        "Side(Posting(Account.REVENUE, -credit), None, None)",
        "tests/service/test_payments_transfers.py::test_the_oldest_due_is_settled_first_and_the_rest_is_client_credit",
    ),
    _bug(
        "a release does not hold billing",
        f"{SRC}/contracts/service_moves.py",
        "            milestone.billing_held = True",
        "            milestone.billing_held = False",
        "tests/service/test_billing_credit.py::test_a_void_invoice_keeps_its_number_and_frees_its_milestone",
    ),
    _bug(
        "a paid invoice can be made void",
        f"{SRC}/billing/rules.py",
        "    if facts.paid.is_positive:\n        problems",
        "    if facts.paid.is_positive and facts.sent:\n        problems",
        "tests/faults/test_money_races.py::test_races[transfer_against_void]",
    ),
    _bug(
        "more is settled than is open",
        f"{SRC}/payments/rules.py",
        "        elif choice.amount > invoice.open:",
        "        elif choice.amount > payment:",
        "tests/unit/test_payment_rules.py::test_a_choice_that_does_not_fit_is_refused",
    ),
)

STRIPE = (
    _bug(
        "a webhook's signature is not checked",
        f"{SRC}/payments/signatures.py",
        "    return any(matches) and abs(",
        "    return bool(matches) and abs(",
        "tests/http/test_webhooks.py::test_a_forged_signature_is_refused",
    ),
    _bug(
        "a webhook of the future is accepted",
        f"{SRC}/payments/signatures.py",
        "abs(clock.now().timestamp() - int(stamps[0])) <= TOLERANCE_SECONDS",
        "clock.now().timestamp() - int(stamps[0]) <= TOLERANCE_SECONDS",
        "tests/http/test_webhooks.py::test_a_signature_of_another_time_is_refused",
    ),
    _bug(
        "a webhook is believed instead of fetched",
        f"{SRC}/payments/webhooks.py",
        '        await inbox.store(session, connected, event, "webhook")',
        '        await inbox.store(session, connected, event, "webhook")\n'
        "        from tollgate.billing.settlement import lock_invoice\n"
        "        from tollgate.money.amount import Money\n"
        "        from tollgate.payments import queries\n"
        "        from tollgate.payments.receiving import Received, receive\n\n"
        '        said = json.loads(payload)["data"]["object"]\n'
        "        ours = await queries.invoice_of_provider(session, connected.organization_id, event.object_id)\n"
        '        if ours is not None and event.type == "invoice.paid":\n'
        "            _contract, _milestones, invoice = await lock_invoice(session, connected.organization_id, ours)\n"
        '            amount = Money(said["amount_paid"], invoice.currency)\n'
        "            day = event.occurred_at.date()\n"
        '            got = Received(client_id=invoice.client_id, method="stripe", amount=amount, received_on=day)\n'
        "            await receive(session, connected.organization_id, got, [(invoice, amount)])",
        "tests/http/test_webhook_words.py",
    ),
    _bug(
        "a payment is known by the event that told of it",
        f"{SRC}/payments/applying.py",
        "        provider_payment_id=payment.payment_id,",
        '        provider_payment_id=f"{payment.payment_id}:{clock.now().timestamp()}",',
        "tests/faults/test_money_races.py::test_races[one_payment_told_twice]",
    ),
    _bug(
        "a retry calls Stripe under a new key",
        f"{SRC}/payments/handover.py",
        "            key=step.idempotency_key,",
        '            key=f"{step.idempotency_key}:{step.attempts}",',
        "tests/service/test_payments.py::test_a_lost_answer_is_asked_for_again_under_the_same_key",
    ),
)

MAIL_AND_PAPER = (
    _bug(
        "a mail gets a new Message-ID at each attempt",
        f"{SRC}/mail/jobs.py",
        'f"{row.organization_id}:{row.message_id}".encode()',
        'f"{row.organization_id}:{row.message_id}:{row.attempts}".encode()',
        "tests/service/test_mail_again.py",
    ),
    _bug(
        "a name is markup in one mail",
        f"{SRC}/signoff/templates/mail/approval_request.html",
        '<h1>{{ _("Please approve: %(milestone)s", milestone=milestone) }}</h1>',
        '<h1>{{ _("Please approve: %(milestone)s", milestone=milestone | safe) }}</h1>',
        "tests/service/test_signoff_links.py::test_markup_in_a_name_is_text_in_the_mail",
    ),
    _bug(
        "a PDF is made again after it was issued",
        f"{SRC}/documents/jobs.py",
        "        if document.pdf_sha256_hex is not None:\n            return\n        frozen",
        "        frozen",
        "tests/service/test_billing_documents.py::test_the_pdf_is_written_once_and_made_again_byte_for_byte",
        Edit(
            f"{SRC}/documents/jobs.py",
            "        if (await session.execute(locked.with_for_update())).scalar_one() is not None:",
            "        if not (await session.execute(locked.with_for_update())).all():",
        ),
        Edit(GUARDS, "  if tg_op = 'DELETE' or old.pdf_sha256_hex is not null\n     or to_jsonb", "  if tg_op = 'DELETE' or to_jsonb"),
    ),
    _bug(
        "a CSV cell is a formula",
        f"{SRC}/reports/queries.py",
        '_guarded_sql(f"report.{name}") if name in _TEXTS else f"report.{name}"',
        'f"report.{name}"',
        "tests/http/test_reports.py::test_no_text_cell_is_a_formula",
    ),
    _bug(
        "secrets stand in the log",
        f"{SRC}/logs.py",
        "    return SECRET_TEXTS.sub(STRUCK, text)",
        "    return text",
        "tests/unit/test_logs.py",
    ),
)

TENANTS = (
    _bug(
        "a PDF is served to another organization",
        f"{SRC}/documents/service.py",
        "select(Document).where(Document.organization_id == organization_id, Document.kind == kind, Document.subject_id == subject_id)",
        "select(Document).where(Document.kind == kind, Document.subject_id == subject_id)",
        "tests/http/test_billing_api.py::test_a_foreign_organizations_ids_are_not_found",
        Edit(
            GUARDS,
            '        op.execute(f"create policy tenant on {table} to tollgate_app using ({tenant}) with check ({tenant})")',
            '        seen = "true" if table == "document" else tenant\n'
            '        op.execute(f"create policy tenant on {table} to tollgate_app using ({seen}) with check ({tenant})")',
        ),
        Edit(
            f"{SRC}/files/storage.py",
            "        return self.folder / str(organization_id) / sha256_hex[:2] / sha256_hex",
            "        return self.folder / sha256_hex[:2] / sha256_hex",
        ),
    ),
    _bug(
        "one table has no row-level security",
        GUARDS,
        '        op.execute(f"alter table {table} enable row level security")',
        '        if table != "deliverable":\n            op.execute(f"alter table {table} enable row level security")',
        "tests/service/test_foundation.py::test_every_tenant_table_is_guarded",
    ),
    _bug(
        "an audit row does not hold the hash before it",
        f"{SRC}/audit/service.py",
        '                "previous_hash": previous,',
        '                "previous_hash": GENESIS,',
        "tests/service/test_foundation.py::test_the_audit_chain_finds_edits_cuts_and_reorders",
    ),
)

_RECLAIMED = (
    'AFTER = """\n'
    "create or replace function job_claim_unheld(p_limit integer, p_now timestamptz, p_until timestamptz)\n"
    "returns table (id uuid, organization_id uuid, kind varchar, arguments jsonb, fence bigint, attempts integer, max_attempts integer)\n"
    "language plpgsql security definer set search_path = public, pg_temp as $$\n"
    "#variable_conflict use_column\n"
    "begin\n"
    "  -- A lease that ran out is a worker that died, perhaps of this very job.\n"
    "  update job set faults = faults + 1, fence"
)
"""The newest of the functions that claim jobs: a bug in an older one would do nothing."""

JOBS = (
    _bug(
        "a job is finished without its fence",
        GUARDS,
        "  update job set state = 'done', finished_at = p_now, leased_until = null, last_error = null\n"
        "    where id = p_id and fence = p_fence and state = 'running';",
        "  update job set state = 'done', finished_at = p_now, leased_until = null, last_error = null\n    where id = p_id;",
        "tests/service/test_foundation.py::test_a_lost_lease_records_nothing",
    ),
    _bug(
        "a lease is not renewed",
        f"{SRC}/jobs/worker.py",
        "            await asyncio.sleep(LEASE.total_seconds() / 3)",
        "            await asyncio.sleep(LEASE.total_seconds() * 1000)",
        "tests/service/test_foundation.py::test_a_slow_job_keeps_no_other_waiting_and_keeps_its_lease",
    ),
    _bug(
        "a job that kills its worker is tried for ever",
        f"{MIGRATIONS}/2026-11-25_share_workers.py",
        _RECLAIMED,
        _RECLAIMED.replace("faults = faults + 1, ", ""),
        "tests/service/test_foundation.py::test_a_job_that_kills_its_worker_is_given_up_too",
    ),
)

PEOPLE = (
    _bug(
        "the session from before the sign-in stays alive",
        f"{SRC}/access/sessions.py",
        "    if replaces is not None:",
        "    if replaces == b'':",
        "tests/service/test_access.py::test_signing_in_replaces_the_session_that_was_there",
    ),
    _bug(
        "a form's token is not checked",
        f"{SRC}/web/csrf.py",
        "        return hmac.compare_digest(signature.encode(), expected.encode())",
        "        return bool(expected)",
        "tests/http/test_client_pages.py::test_a_form_without_its_token_is_refused_and_nothing_is_lost",
    ),
    _bug(
        "failed sign-ins are not counted",
        f"{SRC}/access/limits.py",
        "    if hits > limit.most:",
        "    if hits > 1_000_000:",
        "tests/service/test_access.py::test_the_eleventh_failure_for_an_address_is_refused_with_the_time_to_wait",
    ),
)

BUGS: tuple[Bug, ...] = (*NUMBERS, *SIGN_OFF, *TWO_AT_ONCE, *MONEY, *STRIPE, *MAIL_AND_PAPER, *TENANTS, *JOBS, *PEOPLE)
