"""Everything that `tollgate doctor` can find, as data: a stable id, what it is about, how bad it is, and the way out.

A test per id provokes the finding for real; another test compares these ids with the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Line:
    """One answer: `wrong` ones make the command exit with 1. `id` is empty where all is well."""

    subject: str
    verdict: Verdict
    says: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be found."""

    subject: str
    verdict: Verdict
    way_out: str


FINDINGS: dict[str, Kind] = {
    # --- the environment
    "setting": Kind("settings", "wrong", "correct the variable; docs/operations.md lists them"),
    "secret-short": Kind("secret key", "wrong", "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"),
    "secret-weak": Kind("secret key", "wrong", "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"),
    "secret-generated": Kind("secret key", "note", "set SECRET_KEY where web and worker do not share the data folder, and keep a copy"),
    "secret-open": Kind("secret key", "wrong", "chmod 600 the file"),
    "secret-changed": Kind("secret key", "wrong", "set the SECRET_KEY of before, or let the organization connect its account again"),
    "base-url-plain": Kind("base url", "wrong", "put a proxy with https in front and set BASE_URL to its address"),
    "base-url-local": Kind("base url", "note", "only people on this machine can open an approval link; set BASE_URL to a public address"),
    "base-url-path": Kind("base url", "wrong", "Tollgate answers at the root of a host: set BASE_URL to https://host without a path"),
    "base-url-away": Kind("base url", "note", "start `tollgate serve`, and check the proxy, its certificate and the name in DNS"),
    "proxies-all": Kind("proxies", "wrong", "anybody could pretend another address: name your proxy's address in TRUSTED_PROXIES"),
    "proxies-form": Kind("proxies", "wrong", "TRUSTED_PROXIES takes addresses and networks, comma-separated"),
    # --- this machine
    "data-unusable": Kind("data folder", "wrong", "let TOLLGATE_DATA name a folder in which this user may write"),
    "data-foreign": Kind(
        "data folder", "wrong", "run as the folder's owner, or change its owner: what this user writes the other cannot read"
    ),
    "data-writable": Kind("data folder", "wrong", "others may write into it: chmod 700"),
    "data-readable": Kind("data folder", "note", "others may look into it: chmod 700"),
    "disk-low": Kind("disk", "wrong", "make room: without it PostgreSQL and the files stop"),
    "time-zones": Kind("time zones", "wrong", "install the time zone database (package tzdata of the system or of Python)"),
    "design": Kind("invoice design", "wrong", "reinstall tollgate, or mend the theme"),
    "package": Kind("package", "wrong", "files of the package are missing: reinstall tollgate"),
    # --- outside
    "mail-unset": Kind("mail", "wrong", "set it: until then approval requests and invoices wait"),
    "mail-url": Kind("mail", "wrong", "SMTP_URL looks like smtp://user:password@host:587"),
    "mail-away": Kind("mail", "wrong", "check host, port and firewall; mails wait meanwhile"),
    "mail-refuses": Kind("mail", "wrong", "check user, password and encryption (?starttls=1) in SMTP_URL; mails wait meanwhile"),
    "mail-from-unset": Kind("mail from", "wrong", "set it to an address of yours, with SPF and DKIM for the mail server"),
    "mail-from-form": Kind("mail from", "wrong", "MAIL_FROM looks like Billing <billing@example.com>"),
    "stripe-none": Kind("stripe", "note", "invoices show bank details only, unless an organization connects its own account"),
    "stripe-live": Kind("stripe", "wrong", "set STRIPE_LIVE=1 to really charge people, or use a test key"),
    "stripe-test": Kind("stripe", "note", "STRIPE_LIVE=1, but the key is a test key: nobody is charged"),
    "stripe-key-form": Kind("stripe", "wrong", "a secret or restricted key begins with sk_test_, rk_test_, sk_live_ or rk_live_"),
    "stripe-key-refused": Kind("stripe", "wrong", "make a new key in the dashboard, with the rights that docs/operations.md lists"),
    "stripe-away": Kind("stripe", "note", "hand-overs wait until Stripe answers"),
    "stripe-elsewhere": Kind("stripe", "note", "STRIPE_API_BASE is set: this is not Stripe itself"),
    "stripe-webhook-unset": Kind("stripe", "wrong", "set it: until then payments are noticed only by the poll"),
    "stripe-webhook-form": Kind("stripe", "wrong", "STRIPE_WEBHOOK_SECRET is the endpoint's signing secret, whsec_…"),
    "stripe-account-live": Kind("stripe", "note", "an organization's live account is ignored: set STRIPE_LIVE=1 to charge people"),
    # --- the database
    "embedded-none": Kind("database", "wrong", "pip install 'tollgate[embedded]', or set TOLLGATE_PG_BIN or DATABASE_URL"),
    "embedded-major": Kind("database", "wrong", "install that major and set TOLLGATE_PG_BIN, or move by backup and restore"),
    "database-none": Kind("database", "wrong", "name its folder with --data, or set DATABASE_URL; `tollgate serve` makes a new one"),
    "database-away": Kind("database", "wrong", "check the address, and that PostgreSQL runs and lets this role in"),
    "database-old": Kind("database", "wrong", "move to PostgreSQL 15 or newer, by backup and restore"),
    "schema-behind": Kind("schema", "wrong", "run `tollgate migrate`"),
    "schema-ahead": Kind("schema", "wrong", "a newer release migrated this database: install that release"),
    "role-bypass": Kind("database role", "wrong", "it bypasses row-level security: use tollgate_app in DATABASE_URL"),
    "role-owner": Kind("database role", "wrong", "it owns the tables: serve as tollgate_app, migrate as tollgate_owner"),
    "owner-url": Kind("owner role", "wrong", "DATABASE_OWNER_URL names the same database as tollgate_owner, who owns the tables"),
    "row-security": Kind(
        "row-level security", "wrong", "somebody switched it off: restore a backup, or ALTER TABLE … FORCE ROW LEVEL SECURITY"
    ),
    "triggers": Kind("triggers", "wrong", "somebody switched them off: ALTER TABLE … ENABLE TRIGGER ALL, then `tollgate check`"),
    "clock": Kind("clock", "wrong", "synchronise both machines' clocks (NTP)"),
    # --- what runs
    "worker-away": Kind("worker", "wrong", "start `tollgate worker`, or restart it; jobs wait meanwhile"),
    "worker-never": Kind("worker", "note", "start `tollgate worker`: it makes documents, mails and invoices"),
    "jobs-dead": Kind("jobs", "wrong", "mend the cause, then requeue them on the home page of an admin"),
    "jobs-late": Kind("jobs", "wrong", "start more workers, or look at what the log says of these kinds"),
    "outbox-held": Kind("outbox", "wrong", "look at `tollgate outbox`, then confirm with `tollgate outbox --release`"),
    "files-missing": Kind("files", "wrong", "bring them back from a backup; `tollgate check` lists all"),
    "anchors-late": Kind("anchors", "wrong", "they are a job: look at worker, jobs and disk"),
    "anchors-broken": Kind(
        "anchors", "wrong", "another SECRET_KEY, or a trail that somebody rewrote: compare with a copy from another machine"
    ),
    "chain-broken": Kind("audit trail", "wrong", "somebody changed the trail: compare with a backup"),
    "backup-old": Kind("backup", "wrong", "run `tollgate backup` every night, and copy it to another machine"),
    "backup-none": Kind("backup", "note", "run `tollgate backup` every night; none was made from this data folder"),
}


def found(id: str, fact: str) -> Line:
    """A finding: the fact, then the way out."""
    kind = FINDINGS[id]
    return Line(kind.subject, kind.verdict, f"{fact}: {kind.way_out}" if fact else kind.way_out, id)


def fine(subject: str, says: str) -> Line:
    """Nothing to find here."""
    return Line(subject, "ok", says)
