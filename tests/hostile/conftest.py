"""What hostile input is thrown at: the whole application on loopback, with an organization that has something of everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest

from tests.factories.filled import fill
from tests.factories.shop import Shop, make_shop, services_on
from tollgate.access import service as access
from tollgate.cli.serving import listen, web
from tollgate.db.database import Database
from tollgate.settings import Settings


@dataclass(frozen=True, slots=True)
class House:
    """A running server, one of its organizations, and a key that may do everything there. Jobs run when a test says so."""

    url: str
    shop: Shop
    key: str
    api: httpx.AsyncClient

    @property
    def bearer(self) -> dict[str, str]:
        """The header that the key comes in."""
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture
async def house(settings: Settings, db: Database) -> AsyncIterator[House]:
    """An empty organization that can bill at once."""
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    services = services_on(replace(settings, base_url=url), db)
    shop = await make_shop(services)
    key = (await access.create_api_key(db, shop.org.command("admin"), name="hostile")).secret
    async with web(services.settings, services, sock):
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=120) as api:
            yield House(url, shop, key, api)


@pytest.fixture
async def filled(house: House) -> House:
    """The same with contracts, invoices, payments and decisions in every state."""
    await fill(house.shop)
    return house
