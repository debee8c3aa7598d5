"""The invoice as the client sees it: behind the link of a mail, and the address in a PDF that only mails such a link (R10)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from tollgate import clock
from tollgate.access import limits
from tollgate.access.shell import csrf_token_for
from tollgate.billing import service as billing
from tollgate.billing.service import LINK_REQUEST_MINUTES
from tollgate.billing.snapshot import read_pay_reference
from tollgate.db.database import Database
from tollgate.documents import service as documents
from tollgate.errors import NotFound, TooManyAttempts, _
from tollgate.files.storage import Storage
from tollgate.http.commands import client_address
from tollgate.i18n import use_locale
from tollgate.screens import client_queries as queries
from tollgate.screens.client_links import exchange, note_open, require_link
from tollgate.settings import Settings
from tollgate.signoff.service import VerifiedLink
from tollgate.web.downloads import attachment
from tollgate.web.forms import Form
from tollgate.web.notices import notices_of, shown_cookie
from tollgate.web.rendering import page, see_other

AnyRequest = Request[Any, Any, Any]
ASK_FOR_LINK = limits.Limit("invoice-link", 20, timedelta(hours=1))
ON_ITS_WAY = _("If this invoice is open, a fresh link is on its way to the billing contact")


@get("/i/{token:str}")
async def open_invoice_link(
    request: AnyRequest, token: FromPath[str], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """The address in an invoice's mail."""

    async def opened(verified: VerifiedLink) -> None:
        await note_open(db, request, verified)

    return await exchange(request, db, settings, token, "invoice", opened)


async def _load(db: Database, verified: VerifiedLink) -> queries.InvoicePage:
    async with db.reading(verified.organization_id) as session:
        return await queries.invoice_page(session, verified, clock.now())


@get("/invoice/{link_id:uuid}")
async def invoice_link_page(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[str]:
    """An invoice: what it is for, what is open, how to pay it, what was paid."""
    link = await _load(db, await require_link(request, db, settings, link_id, "invoice"))
    notices = notices_of(request)
    template = "invoice_revoked" if link.revoked else "invoice_expired" if link.expired else "invoice"
    with use_locale(link.locale):
        return page(
            f"screens/client/{template}.html",
            cookies=[shown_cookie()] if notices else [],
            link=link,
            here=f"/invoice/{link_id}",
            seller=link.seller,
            invoice=link.invoice,
            notices=notices,
            form=Form.empty(csrf_token=csrf_token_for(request)),
        )


@get("/invoice/{link_id:uuid}/invoice.pdf")
async def invoice_link_pdf(
    request: AnyRequest,
    link_id: FromPath[UUID],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """The invoice's PDF."""
    link = await _load(db, await require_link(request, db, settings, link_id, "invoice"))
    if link.revoked or link.expired:
        raise NotFound
    name, content = await documents.pdf(db, storage, link.organization_id, "invoice", link.invoice.shown.id)
    return attachment(name, content, "application/pdf")


@post("/invoice/{link_id:uuid}/fresh-link", status_code=303)
async def fresh_invoice_link(
    request: AnyRequest, link_id: FromPath[UUID], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """Mail a fresh link to the billing contacts, in place of one that is too old."""
    link = await _load(db, await require_link(request, db, settings, link_id, "invoice"))
    with use_locale(link.locale):
        if link.revoked or not link.expired:
            return see_other(f"/invoice/{link_id}")
        return await _ask(request, db, settings, (link.organization_id, link.invoice.shown.id), f"/invoice/{link_id}")


@get("/pay/{reference:str}")
async def pay_page(request: AnyRequest, reference: FromPath[str]) -> Response[str]:
    """Where the link in a PDF leads. It holds no secret, so the page tells nothing, not even whether there is such an invoice."""
    notices = notices_of(request)
    return page(
        "screens/client/pay.html",
        cookies=[shown_cookie()] if notices else [],
        reference=reference,
        notices=notices,
        minutes=LINK_REQUEST_MINUTES,
        form=Form.empty(csrf_token=csrf_token_for(request)),
    )


@post("/pay/{reference:str}", status_code=303)
async def ask_for_invoice_link(
    request: AnyRequest, reference: FromPath[str], db: NamedDependency[Database], settings: NamedDependency[Settings]
) -> Response[None]:
    """Mail a fresh link to the billing contacts of an invoice; the answer is the same for one that does not exist."""
    ids = read_pay_reference(reference) if len(reference) <= 100 else None
    # A reference that is none leads to one address, so that nothing that was typed comes back in a header.
    return await _ask(request, db, settings, ids, f"/pay/{reference}" if ids else "/pay/unknown")


async def _ask(request: AnyRequest, db: Database, settings: Settings, ids: tuple[UUID, UUID] | None, back: str) -> Response[None]:
    try:
        await limits.attempt(db, ASK_FOR_LINK, limits.network_of(client_address(request)), settings.secret_key)
    except TooManyAttempts as refused:
        return see_other(back, notice=refused.detail, kind="danger")
    if ids is not None:
        await billing.request_invoice_link(db, *ids)
    return see_other(back, notice=ON_ITS_WAY)


invoice_handlers = [
    open_invoice_link,
    invoice_link_page,
    invoice_link_pdf,
    fresh_invoice_link,
    pay_page,
    ask_for_invoice_link,
]
