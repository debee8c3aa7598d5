"""The mail catcher: an SMTP server on loopback that keeps every mail and delivers none.

Mails are kept in memory, and as `.eml` files with a small JSON beside each when a folder is given.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tollgate_sandbox.asgi import bind

MAX_MAIL_BYTES = 40_000_000
SHOWN_HEADERS = (
    "Subject",
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "List-Unsubscribe",
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the mail's text: its bytes as sent."""

    filename: str
    content_type: str
    content_id: str | None
    content: bytes


@dataclass(frozen=True)
class Mail:
    """One accepted SMTP delivery. `repeat_of` is the id of the first mail with the same Message-ID, if this is not the first."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    received_at: float
    raw: bytes
    parsed: EmailMessage
    repeat_of: str | None = None

    @cached_property
    def message_id(self) -> str | None:
        """The Message-ID header, or None."""
        return _header(self.parsed, "Message-ID")

    @cached_property
    def subject(self) -> str:
        """The decoded Subject, or an empty string."""
        return (_header(self.parsed, "Subject") or "").strip()

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers that help a reader or a test, and every X- header."""
        names = [name for name in self.parsed if name in SHOWN_HEADERS or name.lower().startswith("x-")]
        return {name: _header(self.parsed, name) or "" for name in names}

    @cached_property
    def text(self) -> str:
        """The plain text body, or an empty string."""
        return _body(self.parsed, "plain")

    @cached_property
    def html(self) -> str:
        """The HTML body, or an empty string."""
        return _body(self.parsed, "html")

    @cached_property
    def attachments(self) -> list[Attachment]:
        """Attached and inline files, in order."""
        return list(_attachments(self.parsed))


class Mailbox:
    """Every mail the catcher took, oldest first."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.mails: dict[str, Mail] = {}
        self._last = 0
        self._by_message_id: dict[str, list[str]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.glob("*.eml")):
                self._read(file)

    def accept(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> Mail:
        """Keep a mail. The files are written before it returns, so that an SMTP 250 is the truth."""
        self._last += 1
        identifier, received_at = str(self._last), time.time()
        if self.folder is not None:
            facts = {"sender": sender, "recipients": recipients, "received_at": received_at}
            file = self.folder / f"{self._last:08}.eml"
            file.with_suffix(".json").write_text(json.dumps(facts), "utf-8")
            partial = file.with_suffix(".partial")
            partial.write_bytes(raw)
            partial.replace(file)
        return self._keep(identifier, sender, recipients, received_at, raw)

    def clear(self) -> None:
        """Forget every mail, files too. The numbers go on."""
        self.mails.clear()
        self._by_message_id.clear()
        if self.folder is not None:
            for file in [*self.folder.glob("*.eml"), *self.folder.glob("*.json")]:
                file.unlink()

    def repeats(self, mail: Mail) -> int:
        """How many deliveries share this mail's Message-ID, itself included."""
        return len(self.same(mail))

    def same(self, mail: Mail) -> list[str]:
        """Ids of the deliveries that share this mail's Message-ID, itself included, oldest first."""
        return self._by_message_id[mail.message_id] if mail.message_id else [mail.id]

    def _read(self, file: Path) -> None:
        facts = json.loads(file.with_suffix(".json").read_text("utf-8"))
        self._last = int(file.stem)
        self._keep(str(self._last), facts["sender"], tuple(facts["recipients"]), facts["received_at"], file.read_bytes())

    def _keep(self, identifier: str, sender: str, recipients: tuple[str, ...], received_at: float, raw: bytes) -> Mail:
        parsed = BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)
        message_id = _header(parsed, "Message-ID")
        same = self._by_message_id.setdefault(message_id, []) if message_id else []
        mail = Mail(identifier, sender, recipients, received_at, raw, parsed, same[0] if same else None)
        same.append(identifier)
        self.mails[identifier] = mail
        return mail


def as_json(mail: Mail, mailbox: Mailbox, base_url: str) -> dict[str, Any]:
    """One mail as `GET /messages` shows it. `to` is the envelope's recipients, joined by ", "."""
    return {
        "id": mail.id,
        "to": ", ".join(mail.recipients),
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "attachments": [
            {
                "filename": attachment.filename,
                "content_type": attachment.content_type,
                "size": len(attachment.content),
                "url": f"{base_url}/messages/{mail.id}/attachments/{index}/{quote(attachment.filename, safe='')}",
            }
            for index, attachment in enumerate(mail.attachments)
        ],
        "from": mail.sender,
        "recipients": list(mail.recipients),
        "message_id": mail.message_id,
        "headers": mail.headers,
        "received_at": mail.received_at,
        "repeat_of": mail.repeat_of,
        "repeats": mailbox.repeats(mail),
    }


class SmtpListener:
    """The SMTP port. Any sender, recipient and password is taken; nothing goes out."""

    def __init__(self, mailbox: Mailbox, port: int, host: str = "127.0.0.1", *, or_next: bool = False) -> None:
        self.mailbox = mailbox
        self._host, self._port, self._or_next = host, port, or_next
        self._server: asyncio.Server | None = None
        self._sessions: set[SMTP] = set()

    async def start(self) -> str:
        """Listen; returns `smtp://127.0.0.1:<port>`."""
        listening = bind(self._host, self._port, or_next=self._or_next)
        self._server = await asyncio.get_running_loop().create_server(self._session, sock=listening)
        return f"smtp://{self._host}:{listening.getsockname()[1]}"

    async def stop(self) -> None:
        """Close the port and every open session."""
        if self._server is None:
            return
        self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                session.transport.close()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def _session(self) -> SMTP:
        session = SMTP(
            self,
            hostname="sandbox.localhost",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=lambda *anything: AuthResult(success=True),
            loop=asyncio.get_running_loop(),
        )
        self._sessions.add(session)
        return session

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep what was sent."""
        content = envelope.original_content or b""
        mail = self.mailbox.accept(envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        return f"250 OK: kept as {mail.id}; the sandbox delivers nothing"


def _header(message: EmailMessage, name: str) -> str | None:
    try:
        value = message[name]
    except (ValueError, IndexError, KeyError, AttributeError):  # the parser fails on some malformed headers; the raw mail is still there
        return None
    return None if value is None else re.sub(r"\s*\r?\n\s*", " ", str(value))


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return "" if part is None else _content(part).replace("\r\n", "\n")


def _content(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except (LookupError, UnicodeError):
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _attachments(message: EmailMessage) -> Iterator[Attachment]:
    bodies = {id(part) for kind in ("plain", "html") if (part := message.get_body((kind,))) is not None}
    for number, part in enumerate(message.walk()):
        if part.is_multipart() or id(part) in bodies:
            continue
        payload = part.get_payload(decode=True)
        content_id = part.get("Content-ID")
        name = part.get_filename() or f"part-{number}"
        content = payload if isinstance(payload, bytes) else b""
        yield Attachment(name.replace("/", "_"), part.get_content_type(), str(content_id).strip("<> ") if content_id else None, content)
