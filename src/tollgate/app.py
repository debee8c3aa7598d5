"""`create_app(settings)`: the only place that wires things together.

Rooms know nothing of each other's routers or job handlers; news travels upward by the maps made here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from litestar import Litestar, Response, Router, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from tollgate import __version__
from tollgate.access import api as access_api
from tollgate.access import callers
from tollgate.access import pages as access_pages
from tollgate.audit.anchors import EVERY as ANCHOR_EVERY
from tollgate.audit.anchors import Anchor, Anchors
from tollgate.billing import api as billing_api
from tollgate.billing import jobs as billing_jobs
from tollgate.billing import mails as billing_mails
from tollgate.billing import pages as billing_pages
from tollgate.billing import queries as billing_queries
from tollgate.contracts import api as contracts_api
from tollgate.contracts import pages as contracts_pages
from tollgate.db.database import Database
from tollgate.documents import jobs as document_jobs
from tollgate.files.storage import LocalStorage, Storage
from tollgate.http.describing import Description
from tollgate.http.heads import HeadAsGet
from tollgate.http.health import health_router
from tollgate.http.metrics import Metrics, Stopwatch, metrics_page
from tollgate.http.problems import problem_response
from tollgate.http.queries import refuse_unknown
from tollgate.http.requests import Request
from tollgate.http.strict import StrictJson
from tollgate.jobs import Job, periodic
from tollgate.jobs.worker import Handler, Worker
from tollgate.mail import jobs as mail_jobs
from tollgate.mail.transport import NoTransport, SmtpTransport, Transport
from tollgate.parties import api as parties_api
from tollgate.parties import pages as parties_pages
from tollgate.payments import api as payments_api
from tollgate.payments import jobs as payment_jobs
from tollgate.payments import pages as payments_pages
from tollgate.payments.accounts import Gateways
from tollgate.payments.webhooks import webhook_router
from tollgate.reports import api as reports_api
from tollgate.reports import pages as reports_pages
from tollgate.screens import audit_api, client_pages
from tollgate.screens import pages as screens_pages
from tollgate.screens.client_links import is_link_path, link_session_id_of
from tollgate.settings import Settings
from tollgate.signoff import api as signoff_api
from tollgate.signoff import jobs as signoff_jobs
from tollgate.signoff import mails as signoff_mails
from tollgate.signoff import pages as signoff_pages
from tollgate.signoff.news import Timers
from tollgate.web.csrf import AnyConnection, Csrf
from tollgate.web.failures import failure_response
from tollgate.web.headers import SecurityHeaders
from tollgate.web.language import LanguageMiddleware
from tollgate.web.pages import style_page
from tollgate.web.rendering import page
from tollgate.web.static_files import favicon, static_file

MOST_BODY_BYTES = 4 * 1024 * 1024
"""A body without files: the largest schedule has less. The routes that take files say more."""


@dataclass
class Services:
    """What the routes and jobs of one process share."""

    settings: Settings
    db: Database
    storage: Storage
    transport: Transport
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def of(cls, settings: Settings) -> Services:
        """The services that these settings name; the database's address must be known by now."""
        if settings.database_url is None:
            raise ValueError("the database is not running yet")
        return cls(
            settings,
            Database(settings.database_url),
            LocalStorage(settings.files_folder),
            SmtpTransport(settings.smtp_url) if settings.smtp_url else NoTransport(),
        )

    @cached_property
    def handlers(self) -> dict[type[Job], Handler]:
        """Every kind of job and who does it."""
        found: dict[type[Job], Handler] = dict(periodic.handlers())
        rendered = {**billing_jobs.rendered(), "certificate": signoff_jobs.certificate_rendered}
        found.update(document_jobs.handlers(self.storage, rendered))
        composers = {**signoff_mails.composers(self.settings), **billing_mails.composers(self.settings)}
        accepted = {**signoff_mails.accepted(), **billing_mails.accepted}
        found.update(mail_jobs.handlers(self.transport, self.storage, composers, accepted, sender=self.settings.mail_from))
        found.update(self.anchors.handlers())
        found.update(signoff_jobs.handlers(billing_queries.contract_of_invoice_link))
        found.update(billing_jobs.handlers(self.settings))
        found.update(payment_jobs.handlers(self.gateways))
        return found

    @property
    def periodic(self) -> Sequence[periodic.Periodic]:
        """What the clock asks for, of all rooms."""
        return [
            *periodic.PERIODIC,
            periodic.Periodic(Anchor, ANCHOR_EVERY),
            periodic.Periodic(Timers, timedelta(hours=1)),
            *(periodic.Periodic(kind, every) for kind, every in payment_jobs.PERIODIC),
        ]

    @cached_property
    def anchors(self) -> Anchors:
        """The audit chain's heads, outside the database."""
        return Anchors(self.settings.data / "anchors", self.settings.secret_key)

    @cached_property
    def gateways(self) -> Gateways:
        """The payment accounts of the organizations."""
        return Gateways(self.db, self.settings)

    def worker(self, **options: Any) -> Worker:
        """A worker over all rooms' jobs."""
        return Worker(self.db, self.handlers, watcher=self.metrics, **options)


@get("/api/docs", include_in_schema=False, sync_to_thread=False)
def api_docs() -> Response[str]:
    """Swagger UI over the description, from files of this server."""
    return page("api_docs.html")


def _api_routers() -> Sequence[Router]:
    return [
        parties_api.api_router,
        access_api.api_router,
        contracts_api.api_router,
        signoff_api.api_router,
        billing_api.api_router,
        payments_api.api_router,
        reports_api.api_router,
        audit_api.api_router,
    ]


def _page_routers() -> Sequence[Router]:
    return [
        access_pages.page_router,
        parties_pages.page_router,
        contracts_pages.page_router,
        signoff_pages.page_router,
        billing_pages.page_router,
        screens_pages.page_router,
        payments_pages.page_router,
        reports_pages.page_router,
        client_pages.page_router,
    ]


def _session_id_of(connection: AnyConnection) -> str | None:
    """What a form belongs to: a client's page to the cookie of its link, every other page to the member's session."""
    if is_link_path(connection.url.path):
        return link_session_id_of(connection)
    return callers.session_id_of(connection)


def create_app(settings: Settings, services: Services | None = None) -> Litestar:
    """The web application. `services` are given by tests and the demo; otherwise made from the settings."""
    shared = services or Services.of(settings)
    csrf = Csrf(settings.secret_key, _session_id_of, settings.base_url)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        yield
        await shared.db.close()

    calls = Router(path="/", route_handlers=list(_api_routers()), dto=StrictJson, return_dto=None)
    # For those who build pages: on a server for others (https) nobody needs it.
    looks = [] if settings.is_https else [style_page]
    pages = Router(path="/", route_handlers=list(_page_routers()), guards=[csrf.guard], include_in_schema=False)
    app = Litestar(
        route_handlers=[health_router, metrics_page, static_file, favicon, api_docs, *looks, webhook_router, calls, pages],
        dependencies={
            "db": Provide(lambda: shared.db, sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
            "metrics": Provide(lambda: shared.metrics, sync_to_thread=False),
            "storage": Provide(lambda: shared.storage, sync_to_thread=False),
            "caller": Provide(callers.provide_caller),
            "command": Provide(callers.provide_command),
        },
        middleware=[
            Stopwatch,
            LanguageMiddleware,
            DefineMiddleware(callers.CallerMiddleware, db=shared.db, settings=settings),
        ],
        before_send=[SecurityHeaders(https=settings.is_https), shared.metrics.answered],
        guards=[refuse_unknown],
        exception_handlers={Exception: failure_response},
        request_class=Request,
        lifespan=[lifespan],
        state=State({"csrf": csrf, "settings": settings}),
        openapi_config=OpenAPIConfig(
            title="Tollgate",
            version=__version__,
            description="Contract milestone billing: everything the pages do. Names and shapes are stable.",
            path="/api",
            # Only the description itself: the stock viewers load scripts from other hosts.
            render_plugins=[Description(path="/openapi.json")],
            components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer", description="An API key, `tg_…`")}),
            security=[{"key": []}],
        ),
        logging_config=None,
        request_max_body_size=MOST_BODY_BYTES,
        debug=False,
        pdb_on_exception=False,
    )
    app.asgi_handler = HeadAsGet(app.asgi_handler)
    return app


def create_figures(settings: Settings, shared: Services) -> Litestar:
    """What a worker shows of itself when asked to: its health and its figures."""
    return Litestar(
        route_handlers=[health_router, metrics_page],
        dependencies={
            "db": Provide(lambda: shared.db, sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
            "storage": Provide(lambda: shared.storage, sync_to_thread=False),
            "metrics": Provide(lambda: shared.metrics, sync_to_thread=False),
        },
        before_send=[SecurityHeaders(https=settings.is_https)],
        exception_handlers={Exception: problem_response},
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
