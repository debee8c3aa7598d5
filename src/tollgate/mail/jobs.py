"""Send mails: claim and compose (tx) → SMTP → record (tx). After a crash a mail can repeat, under the same Message-ID."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from tollgate import clock
from tollgate.errors import NotFound
from tollgate.files.storage import Storage
from tollgate.jobs import Job
from tollgate.jobs.worker import Handler, Run
from tollgate.mail.composing import Accepted, Composed, Composer, render
from tollgate.mail.models import MailMessage
from tollgate.mail.service import SendMail
from tollgate.mail.transport import Attachment, RefusedForGood, Transport, build

log = structlog.get_logger("tollgate.mail")


def handlers(
    transport: Transport, storage: Storage, composers: Mapping[str, Composer], accepted: Mapping[str, Accepted], *, sender: str
) -> dict[type[Job], Handler]:
    """The mail room's jobs."""

    async def send(run: Run, job: SendMail) -> None:
        row, composed = await _claim(run, job)
        if row.state != "waiting":
            return
        if composed is None:
            async with run.record() as session:
                await _write(session, row, "dropped", None)
            return
        subject, text, html = render(row.template, composed)
        message = build(
            sender=sender,
            seller=str(composed.context["seller"]),
            to_name=composed.to_name,
            to_email=composed.to_email,
            subject=subject,
            text=text,
            html=html,
            message_id=message_id_of(row, sender),
            attachments=[
                Attachment(ref.file_name, ref.content_type, await storage.get(run.organization_id, ref.sha256_hex))
                for ref in composed.attachments
            ],
            reply_to=str(composed.context.get("reply_to", "")),
        )
        try:
            await transport.send(message)
        except RefusedForGood as refusal:
            async with run.record() as session:
                await _write(session, row, "refused", str(refusal))
            return
        except Exception as error:  # Noted on the row whatever it was, so that the waiting mail says why; then retried.
            async with run.step() as session:
                await _write(session, row, "waiting", str(error)[:500])
            raise
        async with run.record() as session:
            await _write(session, row, "accepted", None)
            if row.template in accepted:
                await accepted[row.template](session, row)

    async def _claim(run: Run, job: SendMail) -> tuple[MailMessage, Composed | None]:
        async with run.step() as session:
            row = await session.get(MailMessage, (run.organization_id, job.mail_id))
            if row is None:
                raise NotFound
            if row.state != "waiting":
                return row, None
            row.attempts += 1
            return row, await composers[row.template](session, row)

    return {SendMail: send}


async def _write(session: AsyncSession, row: MailMessage, state: str, error: str | None) -> None:
    values: dict[str, object] = {"state": state, "last_error": error}
    if state == "accepted":
        values["accepted_at"] = clock.now()
    await session.execute(
        update(MailMessage).where(MailMessage.organization_id == row.organization_id, MailMessage.id == row.id).values(values)
    )


def message_id_of(row: MailMessage, sender: str) -> str:
    """A stable Message-ID from what the mail is about; hashed, because `once` may name internal things."""
    host = sender.rpartition("@")[2].strip("> ") or "localhost"
    digest = hashlib.sha256(f"{row.organization_id}:{row.message_id}".encode()).hexdigest()[:32]
    return f"<{digest}@{host}>"
