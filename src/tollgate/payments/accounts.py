"""Which gateway account an organization has, and how it is opened.

The environment's keys are the first organization's, at `/webhooks/stripe`; any other organization connects its own account,
found by the random endpoint in its webhook's address before a signature is checked.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate.db.database import Database
from tollgate.errors import _, invalid
from tollgate.payments import queries
from tollgate.payments.gateway import Gateway
from tollgate.payments.models import GatewayAccount
from tollgate.payments.sealing import unseal
from tollgate.payments.stripe_gateway import StripeGateway
from tollgate.settings import Settings

_KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9_]{1,240}", re.ASCII)
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9_+/=]{1,240}", re.ASCII)
SECRET_KEY, WEBHOOK_SECRET = "secret_key", "webhook_secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """An organization's account, with its secrets; never shown, logged or stored like this."""

    organization_id: UUID
    account_id: str
    live: bool
    key: str = field(repr=False)
    webhook_secret: str | None = field(repr=False)
    endpoint: str | None
    """None: the environment's, at `/webhooks/stripe`."""


def is_live(key: str, *, live_allowed: bool, pointer: str = "/secret_key") -> bool:
    """Whether a key is a live one. Secret and restricted keys are taken; raises `Invalid` for others, and for live keys unless allowed."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise invalid(pointer, _("Enter a secret or restricted key of Stripe: it begins with sk_test_, rk_test_, sk_live_ or rk_live_"))
    if found[2] == "live" and not live_allowed:
        raise invalid(pointer, _("This is a live key, which charges real money. The server takes it only when it runs with STRIPE_LIVE=1"))
    return found[2] == "live"


def require_webhook_secret(secret: str, pointer: str = "/webhook_secret") -> None:
    """Raise `Invalid` for what is not a webhook's signing secret."""
    if _WEBHOOK_SECRET.fullmatch(secret) is None:
        raise invalid(pointer, _("Enter the signing secret of the webhook: it begins with whsec_"))


class Gateways:
    """Finds and opens the accounts of organizations."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db = db
        self.settings = settings

    def open(self, connected: Connected) -> Gateway:
        """The account, ready to be asked."""
        return self.with_key(connected.key)

    def with_key(self, key: str) -> Gateway:
        """The account that a key opens."""
        return StripeGateway(key, api_base=self.settings.stripe_api_base)

    async def of(self, organization_id: UUID) -> Connected | None:
        """The organization's account, None when it has none."""
        if self.settings.stripe_secret_key and organization_id == await self._first_organization():
            return self._of_environment(organization_id)
        async with self.db.reading(organization_id) as session:
            account = await queries.active_account(session, organization_id)
        return None if account is None else self._of_row(account)

    async def by_endpoint(self, endpoint: str | None) -> Connected | None:
        """Whose webhook an address is; None for `/webhooks/stripe` itself."""
        if endpoint is None:
            first = await self._first_organization() if self.settings.stripe_secret_key else None
            return None if first is None else self._of_environment(first)
        async with self.db.looking_up() as session:
            found = await session.execute(text("select gateway_endpoint_of(:endpoint)"), {"endpoint": endpoint})
            organization_id: UUID | None = found.scalar_one_or_none()
        if organization_id is None:
            return None
        async with self.db.reading(organization_id) as session:
            account = await queries.active_account(session, organization_id)
        return None if account is None or account.endpoint != endpoint else self._of_row(account)

    async def is_of_environment(self, organization_id: UUID) -> bool:
        """Whether the organization's account is set by the server's environment, and not by its members."""
        return bool(self.settings.stripe_secret_key) and organization_id == await self._first_organization()

    async def _first_organization(self) -> UUID | None:
        async with self.db.looking_up() as session:
            return await first_organization(session)

    def _of_environment(self, organization_id: UUID) -> Connected:
        key = str(self.settings.stripe_secret_key)
        return Connected(
            organization_id=organization_id,
            # Without a call to Stripe, which a restricted key may not even allow: another key is another account to us.
            account_id=f"environment-{hashlib.sha256(key.encode()).hexdigest()[:24]}",
            live=is_live(key, live_allowed=self.settings.stripe_live),
            key=key,
            webhook_secret=self.settings.stripe_webhook_secret,
            endpoint=None,
        )

    def _of_row(self, account: GatewayAccount) -> Connected | None:
        if account.live and not self.settings.stripe_live:
            # The same database under a server that must not charge: as if nothing was connected.
            return None

        def opened(kind: str, sealed: bytes) -> str:
            return unseal(self.settings.secret_key, account.organization_id, kind, sealed)

        return Connected(
            organization_id=account.organization_id,
            account_id=account.account_id,
            live=account.live,
            key=opened(SECRET_KEY, account.secret_key_encrypted),
            webhook_secret=opened(WEBHOOK_SECRET, account.webhook_secret_encrypted),
            endpoint=account.endpoint,
        )


async def first_organization(session: AsyncSession) -> UUID | None:
    """The organization that was there first; `session` is one of `Database.directory()`."""
    found = await session.execute(text("select organization_id from directory_organizations() limit 1"))
    organization_id: UUID | None = found.scalar_one_or_none()
    return organization_id
