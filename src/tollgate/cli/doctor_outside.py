"""What `doctor` asks of the world: our own address, the mail server and Stripe."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import parseaddr
from urllib.error import HTTPError

from tollgate import clock
from tollgate.cli.doctor_findings import Line, fine, found
from tollgate.errors import Invalid, Unavailable
from tollgate.mail.transport import SmtpTransport
from tollgate.payments.accounts import is_live, require_webhook_secret
from tollgate.payments.gateway import GatewayBusy, GatewayRefused, KeyRefused
from tollgate.payments.stripe_gateway import StripeGateway
from tollgate.settings import DEFAULT_MAIL_FROM, Settings

PATIENCE_SECONDS = 5


async def address(settings: Settings) -> AsyncIterator[Line]:
    """Does a Tollgate answer at BASE_URL?"""
    says = await asyncio.to_thread(_nobody_at, f"{settings.base_url}/health/live")
    yield found("base-url-away", f"{settings.base_url}: {says}") if says else fine("base url", "Tollgate answers there")


def _nobody_at(url: str) -> str:
    """Why this is not a Tollgate that lives; empty when it is."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return "" if json.loads(answer.read(1000)).get("status") == "live" else "somebody else answers"
    except HTTPError as error:
        error.close()
        return f"answers {error.code}"
    except (OSError, ValueError) as error:
        return f"no Tollgate answers ({getattr(error, 'reason', None) or error})"
    except AttributeError:
        return "somebody else answers"


async def mail(settings: Settings) -> AsyncIterator[Line]:
    """The server answers and lets us in; the sender is an address."""
    if settings.smtp_url is None:
        yield found("mail-unset", "SMTP_URL is not set")
    else:
        yield await _server(settings.smtp_url)
    host = parseaddr(settings.mail_from)[1].rpartition("@")[2]
    if settings.mail_from == DEFAULT_MAIL_FROM:
        if settings.smtp_url is not None:
            yield found("mail-from-unset", "MAIL_FROM is not set")
    elif not host or "@" not in settings.mail_from or not parseaddr(settings.mail_from)[1].partition("@")[0]:
        yield found("mail-from-form", f"{settings.mail_from!r} is no address")
    else:
        yield fine("mail from", settings.mail_from)


async def _server(url: str) -> Line:
    try:
        server = SmtpTransport(url)
    except (Invalid, ValueError) as error:
        return found("mail-url", f"SMTP_URL cannot be used ({error})")
    where = f"{server.host}:{server.port}"
    try:
        refusal = await server.greet(PATIENCE_SECONDS)
    except Unavailable as error:
        return found("mail-away", f"{where} does not answer ({error.facts.get('reason', error)})")
    return found("mail-refuses", f"{where} {refusal}") if refusal else fine("mail", f"{where} lets us in")


async def stripe(settings: Settings) -> AsyncIterator[Line]:
    """The environment's key: its form, whether Stripe takes it, and the webhook's secret."""
    key = settings.stripe_secret_key
    if key is None:
        yield found("stripe-none", "no STRIPE_SECRET_KEY")
        return
    try:
        live = is_live(key, live_allowed=True)
    except Invalid:
        yield found("stripe-key-form", "STRIPE_SECRET_KEY is not one of Stripe's keys")
        return
    if settings.stripe_live and not live:
        yield found("stripe-test", "test mode")
    if settings.stripe_api_base:
        yield found("stripe-elsewhere", settings.stripe_api_base)
    yield _webhook(settings)
    mode = "live mode" if live else "test mode"
    try:
        await StripeGateway(key, api_base=settings.stripe_api_base).events_since(clock.now() - timedelta(minutes=1))
    except KeyRefused as error:
        yield found("stripe-key-refused", f"Stripe does not take the key ({error})")
    except (GatewayBusy, GatewayRefused) as error:
        yield found("stripe-away", f"Stripe does not answer ({error})")
    else:
        yield fine("stripe", f"{mode}, the key works")


def _webhook(settings: Settings) -> Line:
    if settings.stripe_webhook_secret is None:
        return found("stripe-webhook-unset", "no STRIPE_WEBHOOK_SECRET")
    try:
        require_webhook_secret(settings.stripe_webhook_secret)
    except Invalid:
        return found("stripe-webhook-form", "STRIPE_WEBHOOK_SECRET is not a signing secret")
    return fine("stripe", "the webhook's secret is set")


QUESTIONS = (address, mail, stripe)
