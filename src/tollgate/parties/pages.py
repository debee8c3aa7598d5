"""The organization's settings, clients and contacts, and the brand that the client's pages wear."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from tollgate import i18n
from tollgate.access.callers import Caller, requires
from tollgate.access.rules import Permission
from tollgate.access.shell import csrf_token_for, shell_for
from tollgate.db.command import Command
from tollgate.db.database import Database
from tollgate.errors import Conflict, Invalid, Message, Stale, TollgateError, TooLarge, _
from tollgate.files.storage import Storage
from tollgate.http.bodies import clean, decode_cursor, page_of
from tollgate.http.commands import perform_once
from tollgate.http.problems import status_of
from tollgate.money.currencies import EXPONENTS
from tollgate.parties import places, queries, service
from tollgate.parties.brand import brand, logo
from tollgate.parties.identifiers import grouped_iban, tax_id_warning
from tollgate.parties.rules import POINTERS, ClientChanges, ClientView, ContactChanges, OrganizationChanges, Seller
from tollgate.web.forms import Form, read_form
from tollgate.web.rendering import page, see_other

AnyRequest = Request[Any, Any, Any]
READ = [requires(Permission.READ)]
MANAGE = [requires(Permission.MANAGE_CONTRACTS)]
ADMINISTER = [requires(Permission.ADMINISTER)]
REFUSALS = (Invalid, Conflict, Stale, TooLarge)
FIELD_NAMES: Mapping[str, str] = {pointer: name for name, pointer in POINTERS.items()} | {"/logo": "logo"}
"""Pointers of the API to the inputs of the forms, which are named as the columns are."""
TAX_OPTIONS = [("S", _("Standard rate")), ("Z", _("Zero rated")), ("E", _("Exempt"))]
ADDRESS = ("line1", "line2", "postal_code", "city", "region")
PAGE_LENGTH = 50


def _refused(form: Form, error: TollgateError) -> int:
    """Take an error of a verb into the form; the status to show it under."""
    if isinstance(error, TooLarge):
        form.refuse("logo", error.detail)
    else:
        form.take(error, names=FIELD_NAMES)
    return status_of(error)


def _version(form: Form) -> int:
    return form.whole("version", least=1, most=999_999_999) or 0


def _choices() -> dict[str, Any]:
    """What the selects offer, in the reader's language."""
    tag = i18n.current_locale.get()
    return {
        "countries": places.countries(tag),
        "currencies": [(code, code) for code in sorted(EXPONENTS)],
        "locales": list(i18n.SUPPORTED.items()),
        "zones": [(zone, zone.replace("_", " ")) for zone in places.time_zones()],
        "categories": TAX_OPTIONS,
    }


def _with_own(options: list[tuple[str, str]], own: str) -> list[tuple[str, str]]:
    """A value that came by the API stays choosable, or saving anything else on the form would change it."""
    return options if own in dict(options) else [*options, (own, own)]


# The seller


def _settings(request: AnyRequest, seller: Seller, form: Form, status: int = 200) -> Response[str]:
    choices = _choices()
    choices["locales"] = _with_own(choices["locales"], seller.locale)
    choices["zones"] = _with_own(choices["zones"], seller.time_zone)
    warning = tax_id_warning(seller.tax_id, seller.country)
    shell = shell_for(request, "settings")
    return page("parties/settings.html", shell=shell, form=form, seller=seller, warning=warning, is_admin=True, status=status, **choices)


async def _seller(db: Database, caller: Caller) -> Seller:
    async with db.reading(caller.organization_id) as session:
        return await queries.organization(session, caller.organization_id)


@get("/settings", guards=READ)
async def settings_form(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """The seller: a form for an admin, a page to read for everybody else."""
    seller = await _seller(db, caller)
    if not caller.may(Permission.ADMINISTER):
        shown: dict[str, Any] = {
            "country": places.country_name(seller.country, i18n.current_locale.get()),
            "iban": grouped_iban(seller.iban),
        }
        return page("parties/settings_read.html", shell=shell_for(request, "settings"), seller=seller, is_admin=False, **shown)
    return _settings(request, seller, Form.empty(csrf_token=csrf_token_for(request), values=_seller_values(seller)))


def _seller_values(seller: Seller) -> dict[str, Any]:
    same = "legal_name country tax_id registration_number email phone website bank_name bic locale time_zone currency version".split()
    same += "invoice_number_format credit_note_number_format default_tax_category default_payment_days accent".split()
    values: dict[str, Any] = {name: getattr(seller, name) for name in same}
    values |= {name: getattr(seller.address, name) for name in ADDRESS}
    values["iban"] = grouped_iban(seller.iban)
    values["default_tax_rate_percent"] = i18n.number(seller.default_tax_rate_percent.normalize() + 0)
    values["stripe_sends_mail"] = "yes" if seller.stripe_sends_mail else ""
    return values


def _read_seller(form: Form) -> OrganizationChanges:
    texts = "legal_name country tax_id registration_number email phone website bank_name iban bic locale time_zone currency".split()
    texts += ["invoice_number_format", "credit_note_number_format", "default_tax_category", "accent", *ADDRESS]
    values: dict[str, Any] = {name: form.text(name) for name in texts if name in form.values}
    if "default_tax_rate_percent" in form.values:
        values["default_tax_rate_percent"] = form.percent("default_tax_rate_percent")
        if not form.raw("default_tax_rate_percent").strip():
            form.refuse("default_tax_rate_percent", _("Enter a rate, 0 where there is none"))
    if "default_payment_days" in form.values:
        values["default_payment_days"] = form.whole("default_payment_days", most=365)
        if not form.raw("default_payment_days").strip():
            form.refuse("default_payment_days", _("Enter the days until an invoice is due"))
    return OrganizationChanges(
        **values, stripe_sends_mail=form.ticked("stripe_sends_mail"), logo_sha256_hex="" if form.ticked("remove_logo") else None
    )


@post("/settings", guards=ADMINISTER, status_code=200)
async def save_settings(
    request: AnyRequest,
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
    storage: NamedDependency[Storage],
) -> Response[Any]:
    """Save the seller."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    changes, version = _read_seller(form), _version(form)
    uploads = form.files("logo")
    try:
        if not form.is_valid:
            raise Invalid
        logo = await uploads[0].read() if uploads else None
        await perform_once(service.change_organization(db, command, version, changes, storage=storage, logo=logo))
    except REFUSALS as error:
        status = 422 if not form.is_valid else _refused(form, error)
        return _settings(request, await _seller(db, caller), form, status)
    return see_other("/settings", notice=_("The settings are saved"))


# Clients


@get("/clients", guards=READ)
async def client_list(
    request: AnyRequest,
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
    q: FromQuery[str] = "",
    archived: FromQuery[bool] = False,
    cursor: FromQuery[str] = "",
) -> Response[str]:
    """Clients by name, with a search."""
    search = clean(q, "/q", most=200)
    after = decode_cursor(cursor, lambda name: clean(name, "/cursor"), UUID) if cursor else None
    async with db.reading(caller.organization_id) as session:
        found = await queries.clients(session, caller.organization_id, search=search, archived=archived, limit=PAGE_LENGTH + 1, after=after)
    kept, following = page_of(found, PAGE_LENGTH, lambda client: (client.legal_name, client.id))
    return page(
        "parties/clients.html",
        shell=shell_for(request, "clients"),
        clients=kept,
        country_names=dict(places.countries(i18n.current_locale.get())),
        search=search,
        archived=archived,
        following=following,
        is_first=not cursor,
        may_manage=caller.may(Permission.MANAGE_CONTRACTS),
    )


def _client_form(request: AnyRequest, form: Form, client: ClientView | None, status: int = 200) -> Response[str]:
    choices = _choices()
    choices["locales"] = _with_own(choices["locales"], client.locale if client else form.value("locale"))
    return page("parties/client_form.html", shell=shell_for(request, "clients"), form=form, client=client, status=status, **choices)


def _read_client(form: Form) -> ClientChanges:
    names = ("legal_name", "country", *ADDRESS, "tax_id", "email", "locale", "currency")
    return ClientChanges(**{name: form.text(name) for name in names if name in form.values})


@get("/clients/new", guards=MANAGE)
async def new_client(request: AnyRequest, caller: NamedDependency[Caller], db: NamedDependency[Database]) -> Response[str]:
    """The form for a new client; most are in the seller's own country."""
    seller = await _seller(db, caller)
    values = {"country": seller.country, "currency": seller.currency, "locale": seller.locale}
    return _client_form(request, Form.empty(csrf_token=csrf_token_for(request), values=values), None)


@post("/clients/new", guards=MANAGE, status_code=200)
async def create_client(request: AnyRequest, command: NamedDependency[Command], db: NamedDependency[Database]) -> Response[Any]:
    """Enter a client."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    try:
        changes = _read_client(form)
        if not form.is_valid:
            return _client_form(request, form, None, 422)
        client_id = await perform_once(service.create_client(db, command, changes))
    except REFUSALS as error:
        return _client_form(request, form, None, _refused(form, error))
    return see_other(f"/clients/{client_id}", notice=_("The client is saved. Add the people who approve and who get the invoices"))


@get("/clients/{client_id:uuid}", guards=READ)
async def client_page(
    request: AnyRequest, client_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """A client and its contacts."""
    async with db.reading(caller.organization_id) as session:
        client = await queries.client(session, caller.organization_id, client_id)
        contacts = await queries.contacts_of(session, caller.organization_id, client_id)
    tag = i18n.current_locale.get()
    return page(
        "parties/client.html",
        shell=shell_for(request, "clients"),
        client=client,
        contacts=contacts,
        country=places.country_name(client.country, tag),
        warning=tax_id_warning(client.tax_id, client.country),
        language=dict(i18n.SUPPORTED).get(client.locale, client.locale),
        form=Form.empty(csrf_token=csrf_token_for(request)),
        may_manage=caller.may(Permission.MANAGE_CONTRACTS),
    )


async def _client(db: Database, caller: Caller, client_id: UUID) -> ClientView:
    async with db.reading(caller.organization_id) as session:
        return await queries.client(session, caller.organization_id, client_id)


@get("/clients/{client_id:uuid}/edit", guards=MANAGE)
async def edit_client(
    request: AnyRequest, client_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """The form with what is there."""
    client = await _client(db, caller, client_id)
    same = "legal_name country tax_id email locale currency version".split()
    values = {name: getattr(client, name) for name in same} | {name: getattr(client.address, name) for name in ADDRESS}
    return _client_form(request, Form.empty(csrf_token=csrf_token_for(request), values=values), client)


@post("/clients/{client_id:uuid}/edit", guards=MANAGE, status_code=200)
async def change_client(
    request: AnyRequest,
    client_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Save a client."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    changes, version = _read_client(form), _version(form)
    client = await _client(db, caller, client_id)
    if not form.is_valid:
        return _client_form(request, form, client, 422)
    try:
        await perform_once(service.change_client(db, command, client_id, version, changes))
    except REFUSALS as error:
        return _client_form(request, form, client, _refused(form, error))
    return see_other(f"/clients/{client_id}", notice=_("The client is saved"))


async def _archive(request: AnyRequest, client_id: UUID, command: Command, db: Database, archived: bool, done: Message) -> Response[None]:
    form = await read_form(request, csrf_token="")
    try:
        await perform_once(service.archive_client(db, command, client_id, _version(form), archived=archived))
    except Stale as error:
        return see_other(f"/clients/{client_id}", notice=error.title, kind="warning")
    return see_other(f"/clients/{client_id}", notice=done)


@post("/clients/{client_id:uuid}/archival", guards=MANAGE, status_code=303)
async def archive_client(
    request: AnyRequest, client_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Take a client out of the lists."""
    return await _archive(request, client_id, command, db, True, _("The client is archived"))


@post("/clients/{client_id:uuid}/restoration", guards=MANAGE, status_code=303)
async def restore_client(
    request: AnyRequest, client_id: FromPath[UUID], command: NamedDependency[Command], db: NamedDependency[Database]
) -> Response[None]:
    """Bring an archived client back."""
    return await _archive(request, client_id, command, db, False, _("The client is back in the list"))


# Contacts


async def _contact_form(
    request: AnyRequest, db: Database, caller: Caller, client_id: UUID, form: Form, contact_id: UUID | None, status: int = 200
) -> Response[str]:
    client = await _client(db, caller, client_id)
    locales = _with_own(list(i18n.SUPPORTED.items()), form.value("locale") or client.locale)
    shell = shell_for(request, "clients")
    return page("parties/contact_form.html", shell=shell, form=form, client=client, contact_id=contact_id, locales=locales, status=status)


def _read_contact(form: Form) -> ContactChanges:
    return ContactChanges(
        name=form.required("name", _("Enter a name"), most=120),
        email=form.required("email", _("Enter an e-mail address"), most=254),
        is_approver=form.ticked("is_approver"),
        is_billing_contact=form.ticked("is_billing_contact"),
        locale=form.text("locale") or None,
    )


@get("/clients/{client_id:uuid}/contacts/new", guards=MANAGE)
async def new_contact(
    request: AnyRequest, client_id: FromPath[UUID], caller: NamedDependency[Caller], db: NamedDependency[Database]
) -> Response[str]:
    """The form for a person at the client; the first one mostly does both."""
    async with db.reading(caller.organization_id) as session:
        client = await queries.client(session, caller.organization_id, client_id)
        is_first = not await queries.contacts_of(session, caller.organization_id, client_id)
    ticked = "yes" if is_first else ""
    values = {"locale": client.locale, "is_approver": ticked, "is_billing_contact": ticked}
    form = Form.empty(csrf_token=csrf_token_for(request), values=values)
    return await _contact_form(request, db, caller, client_id, form, None)


@post("/clients/{client_id:uuid}/contacts/new", guards=MANAGE, status_code=200)
async def add_contact(
    request: AnyRequest,
    client_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Add a person at the client."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    changes = _read_contact(form)
    if not form.is_valid:
        return await _contact_form(request, db, caller, client_id, form, None, 422)
    try:
        await perform_once(service.add_contact(db, command, client_id, changes))
    except REFUSALS as error:
        return await _contact_form(request, db, caller, client_id, form, None, _refused(form, error))
    return see_other(f"/clients/{client_id}", notice=_("%(name)s was added", name=changes.name))


@get("/clients/{client_id:uuid}/contacts/{contact_id:uuid}", guards=MANAGE)
async def edit_contact(
    request: AnyRequest,
    client_id: FromPath[UUID],
    contact_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    db: NamedDependency[Database],
) -> Response[str]:
    """The form with what is there."""
    async with db.reading(caller.organization_id) as session:
        row = await queries.contact_row(session, caller.organization_id, client_id, contact_id)
    values = {"name": row.name, "email": row.email, "locale": row.locale, "version": row.version}
    values |= {"is_approver": "yes" if row.is_approver else "", "is_billing_contact": "yes" if row.is_billing_contact else ""}
    form = Form.empty(csrf_token=csrf_token_for(request), values=values)
    return await _contact_form(request, db, caller, client_id, form, contact_id)


@post("/clients/{client_id:uuid}/contacts/{contact_id:uuid}", guards=MANAGE, status_code=200)
async def change_contact(
    request: AnyRequest,
    client_id: FromPath[UUID],
    contact_id: FromPath[UUID],
    caller: NamedDependency[Caller],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[Any]:
    """Save a contact."""
    form = await read_form(request, csrf_token=csrf_token_for(request))
    changes, version = _read_contact(form), _version(form)
    if not form.is_valid:
        return await _contact_form(request, db, caller, client_id, form, contact_id, 422)
    try:
        await perform_once(service.change_contact(db, command, client_id, contact_id, version, changes))
    except REFUSALS as error:
        return await _contact_form(request, db, caller, client_id, form, contact_id, _refused(form, error))
    return see_other(f"/clients/{client_id}", notice=_("%(name)s is saved", name=changes.name))


@post("/clients/{client_id:uuid}/contacts/{contact_id:uuid}/removal", guards=MANAGE, status_code=303)
async def remove_contact(
    request: AnyRequest,
    client_id: FromPath[UUID],
    contact_id: FromPath[UUID],
    command: NamedDependency[Command],
    db: NamedDependency[Database],
) -> Response[None]:
    """Take a person out."""
    form = await read_form(request, csrf_token="")
    try:
        await perform_once(service.remove_contact(db, command, client_id, contact_id, _version(form)))
    except Stale as error:
        return see_other(f"/clients/{client_id}", notice=error.title, kind="warning")
    return see_other(f"/clients/{client_id}", notice=_("The contact was removed"))


page_router = Router(
    path="/",
    route_handlers=[
        settings_form,
        save_settings,
        client_list,
        new_client,
        create_client,
        client_page,
        edit_client,
        change_client,
        archive_client,
        restore_client,
        new_contact,
        add_contact,
        edit_contact,
        change_contact,
        remove_contact,
        brand,
        logo,
    ],
    include_in_schema=False,
)
