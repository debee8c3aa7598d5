"""The table of every route: who may, what its address and body name, and a request that is carried out.

A new route needs a row here, or the build fails (`test_matrix.py`). Ids are names in `Seller.ids`: `ms_planned` is a planned
milestone of the organization that asks; the same name of the other organization is what must never be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

READ, CONTRACTS, BILLING, ADMIN = "read", "contracts", "billing", "admin"
PUBLIC = "public"
"""For everybody."""
LINK = "link"
"""For whoever opened the link of a mail."""
EARNED = {"viewer": {READ}, "account_manager": {READ, CONTRACTS}, "finance": {READ, CONTRACTS, BILLING}}
EARNED["admin"] = EARNED["finance"] | {ADMIN}
NARROWED = {"read only": {READ}, "contracts only": {CONTRACTS}, "billing only": {BILLING}, "admin only": {ADMIN}}
API = "/api/v1"
CAME = ("2026-11-02", "2.11.2026")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One route. In `body`, `"@name"` stands for the id with that name."""

    method: str
    path: str
    needs: str
    ids: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the path → name of an id; `"=text"` is a text that is no id."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Filter that takes an id → name."""
    body: Mapping[str, Any] | None = None
    """JSON of a call, fields of a form."""
    file: str | None = None
    """Field of a PDF that is sent with it."""
    version: tuple[str, str] | None = None
    """Table and name of what is edited: its version goes into If-Match or the field `version`."""
    link: str = ""
    """State of the client's link whose cookie is held."""
    form_page: str = ""
    """Where a form of a client's page gets its token, where that is not the link's own page."""
    status: int = 200
    """Of a request that is carried out."""
    again: int = 0
    """Status of the same form sent again where that is not `status`: it ended the session it was sent in."""
    notes: tuple[str, ...] = ()
    """Tables that a repeat or a refusal may write: attempts are counted."""
    unknown: tuple[int, ...] = (404,)
    """Statuses for another organization's id in the path."""
    ends_session: bool = False
    """Carried out, it closes the session that it was sent in."""
    signed: bool = False
    """Signed by Stripe."""
    once: bool = True
    """Sent twice under one key it is carried out once."""

    @property
    def name(self) -> str:
        """`POST /clients/new`."""
        return f"{self.method} {self.path}"

    @property
    def is_api(self) -> bool:
        """Whether programs call it."""
        return self.path.startswith("/api/v1/")

    @property
    def writes(self) -> bool:
        """Whether the method is one that may change something."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}

    @property
    def body_ids(self) -> list[str]:
        """The places of ids in the body, as `approval.contact_ids.0`."""
        return [place for place, value in _leaves(self.body or {}) if "@" in place or (isinstance(value, str) and value.startswith("@"))]

    @property
    def positions(self) -> list[tuple[str, str]]:
        """Every place of an id: (path, query or body; where)."""
        found = [("path", name) for name, value in self.ids.items() if not value.startswith("=")]
        return found + [("query", name) for name in self.query] + [("body", place) for place in self.body_ids]

    def may(self, who: str) -> bool:
        """Whether a role, or a key, has the right; the answer of the table, not of the code."""
        return self.needs == PUBLIC or self.needs in EARNED.get(who, set()) | NARROWED.get(who, set())


def _leaves(value: Any, at: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{at}.{key}" if at else str(key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, f"{at}.{index}")]
    return [(at, value)]


def get(path: str, needs: str, /, *, query: Mapping[str, str] | None = None, **ids: str) -> Row:
    """A page or a call to read."""
    return Row(method="GET", path=path, needs=needs, ids=ids, query=query or {})


def call(method: str, path: str, needs: str, body: Mapping[str, Any] | None = None, *, status: int = 200, **more: Any) -> Row:
    """A writing call of the API; `more` are ids of its path, and members of `Row`."""
    return _row(method, API + path, needs, body, status, more)


def form(path: str, needs: str, body: Mapping[str, Any] | None = None, /, *, status: int = 303, **more: Any) -> Row:
    """A form of a page."""
    return _row("POST", path, needs, body or {}, status, more)


def _row(method: str, path: str, needs: str, body: Mapping[str, Any] | None, status: int, more: Mapping[str, Any]) -> Row:
    known = set(Row.__dataclass_fields__)
    ids = {name: value for name, value in more.items() if name not in known}
    rest = {name: value for name, value in more.items() if name in known}
    return Row(method=method, path=path, needs=needs, body=body, status=status, ids=ids, **rest)


def eur(amount: str) -> dict[str, str]:
    """An amount as a call writes it."""
    return {"amount": amount, "currency": "EUR"}


DRAFT = {
    "client_id": "@client",
    "title": "New",
    "value": eur("300.00"),
    "approval": {"contact_ids": ["@contact"]},
    "milestones": [{"title": "One", "amount": eur("100.00")}, {"title": "Two", "amount": eur("200.00")}],
}
TRANSFER = {
    "client_id": "@client",
    "amount": eur("10.00"),
    "received_on": CAME[0],
    "method": "bank_transfer",
    "reference": "R",
    "allocations": [{"invoice_id": "@invoice_sent", "amount": eur("10.00")}],
}
CLIENT_ID: dict[str, Any] = {"client_id": "client_idle"}
CONTACT_ID: dict[str, Any] = {**CLIENT_ID, "contact_id": "contact_idle"}
REASON = {"reason": "It was wrong"}

CALLS = [
    get(f"{API}/organization", READ),
    call("PATCH", "/organization", ADMIN, {"phone": "+43 1 234"}, version=("organization", "organization")),
    get(f"{API}/clients", READ),
    call("POST", "/clients", CONTRACTS, {"legal_name": "Neu AG", "country": "AT"}, status=201),
    get(f"{API}/clients/{{client_id}}", READ, client_id="client"),
    call("PATCH", "/clients/{client_id}", CONTRACTS, {"legal_name": "Anders AG"}, version=("client", "client_idle"), **CLIENT_ID),
    call("POST", "/clients/{client_id}/archival", CONTRACTS, version=("client", "client_idle"), **CLIENT_ID),
    call("DELETE", "/clients/{client_id}/archival", CONTRACTS, version=("client", "client_archived"), client_id="client_archived"),
    get(f"{API}/clients/{{client_id}}/contacts", READ, client_id="client"),
    call("POST", "/clients/{client_id}/contacts", CONTRACTS, {"name": "Neu", "email": "neu@x.example"}, status=201, **CLIENT_ID),
    get(f"{API}/clients/{{client_id}}/contacts/{{contact_id}}", READ, client_id="client", contact_id="contact"),
    call(
        "PATCH", "/clients/{client_id}/contacts/{contact_id}", CONTRACTS, {"name": "N"}, version=("contact", "contact_idle"), **CONTACT_ID
    ),
    call("DELETE", "/clients/{client_id}/contacts/{contact_id}", CONTRACTS, status=204, version=("contact", "contact_idle"), **CONTACT_ID),
    get(f"{API}/members", READ),
    call("POST", "/members", ADMIN, {"email": "neu@x.example", "name": "Neu", "role": "viewer"}, status=201),
    get(f"{API}/members/{{member_id}}", READ, member_id="member"),
    call("PATCH", "/members/{member_id}", ADMIN, {"role": "finance"}, version=("member", "member"), member_id="member"),
    call("DELETE", "/members/{member_id}", ADMIN, status=204, version=("member", "member"), member_id="member"),
    get(f"{API}/api-keys", ADMIN),
    call("POST", "/api-keys", ADMIN, {"name": "Neu", "role": "viewer", "scopes": ["read"]}, status=201),
    get(f"{API}/api-keys/{{key_id}}", ADMIN, key_id="api_key"),
    call("DELETE", "/api-keys/{key_id}", ADMIN, status=204, version=("", "1"), key_id="api_key"),
    get(f"{API}/contracts", READ, query={"client_id": "client"}),
    call("POST", "/contracts", CONTRACTS, DRAFT, status=201),
    call("POST", "/contracts/preview", CONTRACTS, DRAFT, once=False),
    get(f"{API}/contracts/{{contract_id}}", READ, contract_id="contract"),
    call("PATCH", "/contracts/{contract_id}", CONTRACTS, DRAFT, version=("contract", "contract_draft"), contract_id="contract_draft"),
    call("DELETE", "/contracts/{contract_id}", CONTRACTS, status=204, version=("contract", "contract_draft"), contract_id="contract_draft"),
    call("POST", "/contracts/{contract_id}/activation", CONTRACTS, {}, contract_id="contract_draft"),
    get(f"{API}/contracts/{{contract_id}}/schedule", READ, contract_id="contract"),
    get(f"{API}/milestones", READ, query={"contract_id": "contract"}),
    get(f"{API}/milestones/{{milestone_id}}", READ, milestone_id="ms_delivered"),
    call(
        "PATCH",
        "/milestones/{milestone_id}",
        CONTRACTS,
        {"planned_on": "2027-01-02"},
        version=("milestone", "ms_planned"),
        milestone_id="ms_planned",
    ),
    call("POST", "/milestones/{milestone_id}/start", CONTRACTS, milestone_id="ms_planned"),
    call("POST", "/milestones/{milestone_id}/cancellation", CONTRACTS, milestone_id="ms_draft"),
    call(
        "POST",
        "/milestones/{milestone_id}/deliverables",
        CONTRACTS,
        {"kind": "note", "text": "Done"},
        status=201,
        milestone_id="ms_started",
    ),
    get(
        f"{API}/milestones/{{milestone_id}}/deliverables/{{deliverable_id}}/file",
        READ,
        milestone_id="ms_prepared",
        deliverable_id="deliverable_of_prepared",
    ),
    call(
        "DELETE",
        "/milestones/{milestone_id}/deliverables/{deliverable_id}",
        CONTRACTS,
        status=204,
        version=("milestone", "ms_prepared"),
        milestone_id="ms_prepared",
        deliverable_id="deliverable_of_prepared",
    ),
    call(
        "POST",
        "/milestones/{milestone_id}/delivery",
        CONTRACTS,
        {"contact_ids": ["@contact"], "message": "Look"},
        milestone_id="ms_prepared",
    ),
    call("POST", "/milestones/{milestone_id}/withdrawal", CONTRACTS, milestone_id="ms_delivered"),
    call("POST", "/milestones/{milestone_id}/recorded-approval", ADMIN, {"contact_id": "@contact"}, file="file", milestone_id="ms_paper"),
    get(f"{API}/rounds/{{round_id}}", READ, round_id="round_used"),
    get(f"{API}/rounds/{{round_id}}/certificate", READ, round_id="round_used"),
    call("POST", "/rounds/{round_id}/reminders", CONTRACTS, round_id="round_delivered"),
    call("POST", "/rounds/{round_id}/links", CONTRACTS, {"contact_id": "@contact"}, status=201, round_id="round_delivered"),
    get(f"{API}/invoices", READ, query={"client_id": "client", "contract_id": "contract", "milestone_id": "ms_of_used"}),
    get(f"{API}/invoices/{{invoice_id}}", READ, invoice_id="invoice_sent"),
    call("DELETE", "/invoices/{invoice_id}", CONTRACTS, status=204, version=("invoice", "invoice_draft"), invoice_id="invoice_draft"),
    get(f"{API}/invoices/{{invoice_id}}/pdf", READ, invoice_id="invoice_sent"),
    call("POST", "/milestones/{milestone_id}/invoice", BILLING, status=201, milestone_id="ms_released"),
    call("POST", "/milestones/{milestone_id}/reopening", ADMIN, REASON, milestone_id="ms_released"),
    call("POST", "/invoices/{invoice_id}/issue", BILLING, invoice_id="invoice_draft"),
    call("POST", "/invoices/{invoice_id}/void", BILLING, REASON, invoice_id="invoice_unsent"),
    call("POST", "/invoices/{invoice_id}/credit-notes", BILLING, {"kind": "correction", **REASON}, status=201, invoice_id="invoice_sent"),
    call("POST", "/invoices/{invoice_id}/send", BILLING, invoice_id="invoice_sent"),
    get(f"{API}/credit-notes/{{credit_note_id}}", READ, credit_note_id="credit_note"),
    get(f"{API}/credit-notes/{{credit_note_id}}/pdf", READ, credit_note_id="credit_note"),
    get(f"{API}/payments", READ, query={"client_id": "client", "invoice_id": "invoice_paid"}),
    call("POST", "/payments", BILLING, TRANSFER, status=201),
    get(f"{API}/payments/{{payment_id}}", READ, payment_id="payment"),
    call("POST", "/payments/{payment_id}/reversal", BILLING, REASON, payment_id="payment"),
    get(f"{API}/gateway-account", ADMIN),
    call("POST", "/gateway-account", ADMIN, {"secret_key": "sk_test_neu", "webhook_secret": "whsec_neu"}, status=201),
    call("DELETE", "/gateway-account", ADMIN, status=204, version=("", "1")),
    get(f"{API}/reports/payments", BILLING, query={"client_id": "client", "contract_id": "contract"}),
    get(f"{API}/audit-events", READ, query={"contract_id": "contract", "subject_id": "ms_delivered"}),
    get(f"{API}/audit-events/verification", READ),
]

CONTRACT_FORM = {
    "client_id": "@client",
    "title": "New",
    "value": "300.00",
    "price_basis": "net",
    "tax_category": "S",
    "tax_rate": "20",
    "payment_days": "30",
    "payment_from": "issue",
    "invoicing": "issue",
    "approvers": ["@contact"],
    "milestones-0-title": "One",
    "milestones-0-amount": "100",
    "milestones-1-title": "Two",
    "milestones-1-amount": "200",
    "save": "1",
}
TRANSFER_FORM = {"client_id": "@client", "currency": "EUR", "received_on": CAME[0], "amount": "10", "reference": "R"}
SETTINGS_FORM = {"phone": "+43 1 234"}
CLIENT_FORM = {"legal_name": "Neu AG", "country": "AT", "currency": "EUR", "locale": "en"}
CONTACT_FORM = {"name": "Neu", "email": "neu@x.example", "locale": "en"}
DELIVERY_FORM = {"contact_ids": ["@contact"], "message": "Look"}
MS = "/milestones/{milestone_id}"

PAGES = [
    get("/sign-in", PUBLIC),
    form("/sign-in", PUBLIC, {"email": "", "password": ""}, status=422, once=False),
    form("/sign-out", PUBLIC, {}, ends_session=True),
    form("/organizations", READ, {"organization_id": "@sister"}, ends_session=True),
    get("/settings/password", READ),
    form("/settings/password", READ, {"current": "x", "new": "y", "again": "z"}, status=422, once=False),
    get("/settings/members", READ),
    get("/settings/members/new", ADMIN),
    form("/settings/members/new", ADMIN, {"email": "neu@x.example", "name": "Neu", "role": "viewer"}, status=201, again=303),
    get("/settings/members/{member_id}", ADMIN, member_id="member"),
    form("/settings/members/{member_id}", ADMIN, {"name": "N", "role": "finance"}, version=("member", "member"), member_id="member"),
    form("/settings/members/{member_id}/removal", ADMIN, version=("member", "member"), member_id="member"),
    get("/settings/api-keys", ADMIN),
    get("/settings/api-keys/new", ADMIN),
    form("/settings/api-keys/new", ADMIN, {"name": "Neu", "scopes": ["read"]}, status=201, again=303),
    form("/settings/api-keys/{key_id}/revocation", ADMIN, key_id="api_key"),
    get("/settings", READ),
    form("/settings", ADMIN, SETTINGS_FORM, version=("organization", "organization")),
    get("/clients", READ),
    get("/clients/new", CONTRACTS),
    form("/clients/new", CONTRACTS, CLIENT_FORM),
    get("/clients/{client_id}", READ, client_id="client"),
    get("/clients/{client_id}/edit", CONTRACTS, client_id="client"),
    form("/clients/{client_id}/edit", CONTRACTS, CLIENT_FORM, version=("client", "client_idle"), **CLIENT_ID),
    form("/clients/{client_id}/archival", CONTRACTS, version=("client", "client_idle"), **CLIENT_ID),
    form("/clients/{client_id}/restoration", CONTRACTS, version=("client", "client_archived"), client_id="client_archived"),
    get("/clients/{client_id}/contacts/new", CONTRACTS, client_id="client"),
    form("/clients/{client_id}/contacts/new", CONTRACTS, CONTACT_FORM, **CLIENT_ID),
    get("/clients/{client_id}/contacts/{contact_id}", CONTRACTS, client_id="client", contact_id="contact"),
    form("/clients/{client_id}/contacts/{contact_id}", CONTRACTS, CONTACT_FORM, version=("contact", "contact_idle"), **CONTACT_ID),
    form("/clients/{client_id}/contacts/{contact_id}/removal", CONTRACTS, version=("contact", "contact_idle"), **CONTACT_ID),
    get("/contracts", READ, query={"client_id": "client"}),
    form("/contracts", CONTRACTS, CONTRACT_FORM),
    get("/contracts/new", CONTRACTS, query={"client_id": "client"}),
    form("/contracts/approvers", CONTRACTS, {"client_id": "@client"}, status=200, once=False),
    form("/contracts/preview-table", CONTRACTS, {**CONTRACT_FORM, "contract_id": "@contract_draft"}, status=200, once=False),
    get("/contracts/{contract_id}", READ, contract_id="contract"),
    get("/contracts/{contract_id}/edit", CONTRACTS, contract_id="contract_draft"),
    form("/contracts/{contract_id}/edit", CONTRACTS, CONTRACT_FORM, version=("contract", "contract_draft"), contract_id="contract_draft"),
    form("/contracts/{contract_id}/deletion", CONTRACTS, version=("contract", "contract_draft"), contract_id="contract_draft"),
    get("/contracts/{contract_id}/activation", CONTRACTS, contract_id="contract_draft"),
    form("/contracts/{contract_id}/activation", CONTRACTS, contract_id="contract_draft"),
    get("/contracts/{contract_id}/agreement", READ, contract_id="contract"),
    get("/milestones", READ),
    get(MS, READ, milestone_id="ms_delivered"),
    form(f"{MS}/start", CONTRACTS, milestone_id="ms_planned"),
    form(f"{MS}/plan", CONTRACTS, {"planned_on": "2027-01-02"}, version=("milestone", "ms_planned"), milestone_id="ms_planned"),
    form(f"{MS}/cancellation", CONTRACTS, milestone_id="ms_draft"),
    get(f"{MS}/delivery", CONTRACTS, milestone_id="ms_prepared"),
    form(f"{MS}/delivery", CONTRACTS, DELIVERY_FORM, milestone_id="ms_prepared"),
    form(f"{MS}/deliverables/{{deliverable_id}}/removal", CONTRACTS, milestone_id="ms_prepared", deliverable_id="deliverable_of_prepared"),
    form(f"{MS}/withdrawal", CONTRACTS, milestone_id="ms_delivered"),
    get(f"{MS}/recorded-approval", ADMIN, milestone_id="ms_paper"),
    form(f"{MS}/recorded-approval", ADMIN, {"contact_id": "@contact"}, file="file", milestone_id="ms_paper"),
    get("/deliverables/{deliverable_id}", READ, deliverable_id="deliverable_of_prepared"),
    form("/rounds/{round_id}/reminders", CONTRACTS, round_id="round_delivered"),
    form("/rounds/{round_id}/links", CONTRACTS, {"contact_id": "@contact"}, round_id="round_delivered"),
    form("/links/{link_id}/copy", CONTRACTS, status=200, again=303, link_id="link_delivered"),
    form("/links/{link_id}/revocation", CONTRACTS, link_id="link_delivered"),
    form("/colleagues/{colleague_id}/confirmation", CONTRACTS, colleague_id="colleague"),
    form("/colleagues/{colleague_id}/refusal", CONTRACTS, colleague_id="colleague"),
    get("/rounds/{round_id}/certificate.pdf", READ, round_id="round_used"),
    get("/rounds/{round_id}/documents/{sha256}", READ, round_id="round_recorded", sha256="document_sha"),
    get("/invoices", READ, query={"client_id": "client", "contract_id": "contract"}),
    get("/invoices/{invoice_id}", READ, invoice_id="invoice_sent"),
    form(f"{MS}/invoice", BILLING, milestone_id="ms_released"),
    form("/invoices/{invoice_id}/issue", BILLING, invoice_id="invoice_draft"),
    form("/invoices/{invoice_id}/deletion", BILLING, version=("invoice", "invoice_draft"), invoice_id="invoice_draft"),
    form("/invoices/{invoice_id}/send", BILLING, invoice_id="invoice_sent"),
    get("/invoices/{invoice_id}/pdf", READ, invoice_id="invoice_sent"),
    get("/invoices/{invoice_id}/void", BILLING, invoice_id="invoice_unsent"),
    form("/invoices/{invoice_id}/void", BILLING, REASON, invoice_id="invoice_unsent"),
    get("/invoices/{invoice_id}/credit", BILLING, invoice_id="invoice_sent"),
    form("/invoices/{invoice_id}/credit", BILLING, REASON, invoice_id="invoice_sent"),
    get("/credit-notes/{credit_note_id}", READ, credit_note_id="credit_note"),
    get("/credit-notes/{credit_note_id}/pdf", READ, credit_note_id="credit_note"),
    get(f"{MS}/reopening", ADMIN, milestone_id="ms_released"),
    form(f"{MS}/reopening", ADMIN, REASON, milestone_id="ms_released"),
    get("/", READ),
    form("/jobs/{job_id}/requeue", ADMIN, job_id="job"),
    get("/payments/new", BILLING, query={"client_id": "client"}),
    form("/payments/new", BILLING, {**TRANSFER_FORM, "allocate_@invoice_sent": "10"}),
    get("/payments/{payment_id}", READ, payment_id="payment"),
    get("/payments/{payment_id}/reversal", BILLING, payment_id="payment"),
    form("/payments/{payment_id}/reversal", BILLING, REASON, payment_id="payment"),
    get("/settings/payments", ADMIN),
    form("/settings/payments", ADMIN, {"secret_key": "sk_test_neu", "webhook_secret": "whsec_neu"}),
    form("/settings/payments/disconnect", ADMIN),
    form("/settings/payments/invoices/{invoice_id}/retry", ADMIN, invoice_id="invoice_stopped"),
    get("/reports/payments", BILLING, query={"client_id": "client", "contract_id": "contract"}),
]

SIGN, INVOICE = "/sign/{link_id}", "/invoice/{link_id}"
SIGNED = {"signed_name": "Clara Klient", "agree": "yes", "content_sha256": "@content_delivered"}
CHANGES = {"changes_name": "Clara Klient", "reason": "Mend it", "content_sha256": "@content_delivered"}
OPEN: dict[str, Any] = {"link_id": "link_delivered", "link": "delivered"}
APPROVED: dict[str, Any] = {"link_id": "link_used", "link": "used"}


def seen(path: str, **more: Any) -> Row:
    """A page of a client's link."""
    return _row("GET", path, LINK, None, 200, {"unknown": (403, 404), **more})


def sent(path: str, body: Mapping[str, Any] | None = None, **more: Any) -> Row:
    """A form of a client's page."""
    return _row("POST", path, LINK, body or {}, 303, {"unknown": (403, 404), **more})


CLIENT_PAGES = [
    replace(get("/a/{token}", PUBLIC, token="=~delivered"), status=303, notes=("link_open", "job")),
    seen(SIGN, **OPEN),
    sent(f"{SIGN}/approval", SIGNED, **OPEN),
    sent(f"{SIGN}/changes", CHANGES, **OPEN),
    sent(f"{SIGN}/colleague", {"colleague_name": "Karl", "colleague_email": "karl@x.example"}, notes=("attempt",), **OPEN),
    sent(f"{SIGN}/code", notes=("attempt",), link_id="link_delivered", link="copied"),
    sent(f"{SIGN}/fresh-link", notes=("attempt",), link_id="link_expired", link="expired"),
    seen(f"{SIGN}/files/{{sha256_hex}}", sha256_hex="file_sha", **OPEN),
    seen(f"{SIGN}/certificate.pdf", **APPROVED),
    seen(f"{SIGN}/invoice.pdf", **APPROVED),
    replace(get("/i/{token}", PUBLIC, token="=~invoice_open"), status=303, notes=("link_open", "job")),
    seen(INVOICE, link_id="invoice_link_open", link="invoice_open"),
    seen(f"{INVOICE}/invoice.pdf", link_id="invoice_link_open", link="invoice_open"),
    sent(f"{INVOICE}/fresh-link", notes=("attempt",), link_id="invoice_link_expired", link="invoice_expired"),
    get("/pay/{reference}", PUBLIC, reference="=@pay_reference"),
    # Pressed again it mails again, at most once in a while: the limit is its key.
    form("/pay/{reference}", PUBLIC, notes=("attempt",), form_page="/pay/{reference}", reference="=@pay_reference"),
]

PLAIN = [
    get("/health/live", PUBLIC),
    get("/health/ready", PUBLIC),
    get("/static/{digest}/{name}", PUBLIC, digest="=x", name="=tollgate.css"),
    replace(get("/metrics", PUBLIC), status=404),  # METRICS_TOKEN is not set.
    get("/favicon.ico", PUBLIC),
    get("/brand/{name}", PUBLIC, name="=@organization.css"),
    replace(get("/brand/{organization_id}/logo.png", PUBLIC, organization_id="=@organization"), status=404),  # There is no logo.
    get("/api/docs", PUBLIC),
    get("/api", PUBLIC),
    get("/api/openapi.json", PUBLIC),
    replace(get("/api/{path}", PUBLIC, path="=nothing"), status=404),
    get("/style", PUBLIC),
    Row(method="POST", path="/webhooks/stripe", needs=PUBLIC, body={}, status=404, signed=True, once=False),
    Row(method="POST", path="/webhooks/stripe/{endpoint}", needs=PUBLIC, ids={"endpoint": "=@endpoint"}, body={}, signed=True),
]
ROWS = [*CALLS, *PAGES, *CLIENT_PAGES, *PLAIN]
