"""A mail that was handed over while its answer was lost is sent again, as the same mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage

import structlog
from sqlalchemy import select

from tests.factories.shop import Letterbox, make_shop, services_on
from tollgate import clock
from tollgate.db.database import Database
from tollgate.errors import Unavailable, _
from tollgate.mail.models import MailMessage
from tollgate.settings import Settings


@dataclass
class Forgetful(Letterbox):
    """Takes each mail twice: the first time the connection breaks before it says so."""

    async def send(self, message: EmailMessage) -> None:
        """See `mail.transport.Transport`."""
        self.mails.append(message)
        if [mail["Subject"] for mail in self.mails].count(message["Subject"]) == 1:
            raise Unavailable(_("The mail server cannot be reached"))


async def test_a_repeat_carries_the_same_message_id(db: Database, settings: Settings) -> None:
    letterbox = Forgetful()
    with structlog.testing.capture_logs():
        shop = await make_shop(services_on(settings, db, letterbox))
        (milestone_id,) = await shop.active(10_00)
        await shop.add_note(milestone_id)
        await shop.deliver(milestone_id)
        await shop.work()
        with clock.shifted(timedelta(minutes=5)):
            await shop.work()
    first, second = letterbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    async with db.reading(shop.org.id) as session:
        (row,) = await session.scalars(select(MailMessage))
    assert (row.state, row.attempts) == ("accepted", 2)
