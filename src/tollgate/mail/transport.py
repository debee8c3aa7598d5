"""The way out: SMTP, or nothing yet (then mails wait, visibly)."""

from __future__ import annotations

from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from tollgate import clock
from tollgate.errors import Invalid, Unavailable, _

SECONDS = 30
SETUP_CODES = frozenset({530, 534, 535, 538})
"""Sign in first, encrypt first: about the connection, whatever command they answer."""


class RefusedForGood(Exception):
    """The server will never take this mail: 5xx for its receiver or its content. A fault of the settings never raises this."""


class Transport(Protocol):
    """Something that takes mails."""

    async def send(self, message: EmailMessage) -> None:
        """Raises `RefusedForGood` for a permanent refusal, `Unavailable` for everything worth another try."""
        ...


@dataclass(frozen=True, slots=True)
class Attachment:
    """Bytes to attach."""

    file_name: str
    content_type: str
    content: bytes


class SmtpTransport:
    """`smtp://user:password@host:587?starttls=1` or `smtps://…`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise Invalid(_("SMTP_URL must look like smtp://user:password@host:587"))
        query = parse_qs(parts.query)
        self.host = parts.hostname
        self.tls = parts.scheme == "smtps"
        self.port = parts.port or (465 if self.tls else 587)
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else None
        self.start_tls = None if "starttls" not in query else query["starttls"][0] in {"1", "true", "yes"}

    async def send(self, message: EmailMessage) -> None:
        """See `Transport.send`."""
        try:
            await aiosmtplib.send(
                message,
                hostname=self.host,
                port=self.port,
                username=self.user,
                password=self.password,
                use_tls=self.tls,
                start_tls=None if self.tls else self.start_tls,
                timeout=SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [recipient.code for recipient in error.recipients]
            if codes and all(_for_good(code) for code in codes):
                raise RefusedForGood(f"the address was refused ({codes[0]})") from None
            raise Unavailable(_("The mail server does not take the address right now")) from error
        except aiosmtplib.SMTPDataError as error:
            if _for_good(error.code):
                raise RefusedForGood(f"the mail server refused the message ({error.code})") from None
            raise Unavailable(_("The mail server answered %(code)s", code=error.code)) from error
        except aiosmtplib.SMTPResponseException as error:
            # Greeting, EHLO, STARTTLS, AUTH, MAIL: nothing of this mail was judged yet. Settings can mend it, so no mail is lost to it.
            raise Unavailable(_("The mail server answered %(code)s", code=error.code)) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Unavailable(_("The mail server cannot be reached")) from error

    async def greet(self, seconds: float) -> str:
        """Connect, encrypt and sign in as for a mail, and send none. Why the server does not let us in, empty when it does.

        Raises `Unavailable` when nobody answers; the reason is in its facts.
        """
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=self.tls,
            start_tls=None if self.tls else self.start_tls,
            timeout=seconds,
        )
        try:
            async with client:
                return ""
        except (aiosmtplib.SMTPResponseException, ValueError) as error:
            return f"refuses: {error}"[:200]
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPTimeoutError, OSError, TimeoutError) as error:
            raise Unavailable(_("The mail server cannot be reached"), reason=str(error)[:200]) from error
        except aiosmtplib.SMTPException as error:
            return f"refuses: {error}"[:200]


def _for_good(code: int) -> bool:
    return 500 <= code <= 599 and code not in SETUP_CODES


class NoTransport:
    """No SMTP_URL: every mail waits, and says so."""

    async def send(self, message: EmailMessage) -> None:
        """Never succeeds."""
        raise Unavailable(_("SMTP_URL is not set: mails wait until it is"))


def build(
    *,
    sender: str,
    seller: str,
    to_name: str,
    to_email: str,
    subject: str,
    text: str,
    html: str,
    message_id: str,
    attachments: list[Attachment],
    reply_to: str = "",
) -> EmailMessage:
    """One message. Names go through the header registry, so no text can add a header or a receiver."""
    message = EmailMessage()
    _name, sender_address = parseaddr(sender)
    user, _at, host = sender_address.rpartition("@")
    message["From"] = Address(_one_line(seller), user, host)
    to_user, _at, to_host = to_email.rpartition("@")
    message["To"] = Address(_one_line(to_name), to_user, to_host)
    if reply_to:
        reply_user, _at, reply_host = reply_to.rpartition("@")
        message["Reply-To"] = Address(_one_line(seller), reply_user, reply_host)
    message["Subject"] = _one_line(subject)
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    for attachment in attachments:
        main, _slash, sub = attachment.content_type.partition("/")
        message.add_attachment(
            attachment.content, maintype=main or "application", subtype=sub or "octet-stream", filename=_one_line(attachment.file_name)
        )
    return message


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()
