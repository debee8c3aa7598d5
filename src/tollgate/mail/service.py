"""Ask for a mail in the caller's transaction: a row with template and ids, and the job that sends it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.db.types import uuid7
from tollgate.jobs import Job, enqueue
from tollgate.mail.models import MailMessage


class SendMail(Job, frozen=True, kw_only=True):
    """Send one mail."""

    kind = "mail.send"
    mail_id: UUID


async def ask(
    session: AsyncSession,
    organization_id: UUID,
    template: str,
    arguments: dict[str, Any],
    *,
    once: str,
    contact_id: UUID | None = None,
    member_id: UUID | None = None,
    contract_id: UUID | None = None,
    send_at: datetime | None = None,
) -> bool:
    """Ask for one mail to a contact or a member. False when a mail under the word `once` was asked for before.

    `arguments` are ids and words as text, never personal data or tokens. `once` makes the Message-ID, so that asking
    twice is one mail and a repeat after a crash is the same mail.
    """
    mail_id = uuid7()
    row = {
        "organization_id": organization_id,
        "id": mail_id,
        "template": template,
        "arguments": {key: str(value) for key, value in arguments.items()},
        "contact_id": contact_id,
        "member_id": member_id,
        "contract_id": contract_id,
        "message_id": once[:120],
        "created_at": clock.now(),
    }
    asked = await session.execute(
        insert(MailMessage).values(row).on_conflict_do_nothing(index_elements=["organization_id", "message_id"]).returning(MailMessage.id)
    )
    if asked.scalar_one_or_none() is None:
        return False
    await enqueue(session, SendMail(organization_id=organization_id, mail_id=mail_id), run_at=send_at)
    return True
