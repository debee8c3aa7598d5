"""Which answers of a mail server end a mail, and which only delay it: asked of a real server on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage

import pytest

from tollgate.errors import Unavailable
from tollgate.mail.transport import RefusedForGood, SmtpTransport, build

GOOD = {
    "greeting": "220 mail.example ready",
    "EHLO": "250-mail.example\r\n250 AUTH PLAIN",
    "HELO": "250 mail.example",
    "AUTH": "235 welcome",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    "content": "250 kept",
    "RSET": "250 ok",
    "QUIT": "221 bye",
}


class Server:
    """A mail server that answers one command as it is told, and notes what it was asked and what it took."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = {**GOOD, **answers}
        self.asked: list[str] = []
        self.taken: list[bytes] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            self._say(writer, "greeting")
            while line := await reader.readline():
                verb = line.split()[0].decode().upper()
                self.asked.append(verb)
                self._say(writer, verb)
                if verb == "DATA" and self.answers[verb].startswith("354"):
                    content = await reader.readuntil(b"\r\n.\r\n")
                    if self.answers["content"].startswith("250"):
                        self.taken.append(content)
                    self._say(writer, "content")
                if verb == "QUIT":
                    return
        finally:
            writer.close()

    def _say(self, writer: asyncio.StreamWriter, about: str) -> None:
        writer.write(self.answers[about].encode() + b"\r\n")


@asynccontextmanager
async def serving(login: str = "", **answers: str) -> AsyncIterator[tuple[Server, SmtpTransport]]:
    """A server and the transport that sends to it."""
    server = Server(answers)
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    async with listening:
        yield server, SmtpTransport(f"smtp://{login}127.0.0.1:{listening.sockets[0].getsockname()[1]}")


def message() -> EmailMessage:
    return build(
        sender="billing@studio.example",
        seller="Studio",
        to_name="Clara",
        to_email="clara@hafen.example",
        subject="Invoice",
        text="Here it is.",
        html="<p>Here it is.</p>",
        message_id="<1@studio.example>",
        attachments=[],
    )


async def test_a_mail_that_is_taken() -> None:
    async with serving(login="user:secret@") as (server, transport):
        await transport.send(message())
        assert len(server.taken) == 1
        assert server.asked == ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize(
    ("command", "answer", "code"),
    [
        ("RCPT", "550 5.1.1 no such user", "550"),
        ("RCPT", "553 5.1.3 not an address", "553"),
        ("RCPT", "554 5.7.1 not from you", "554"),
        ("DATA", "554 5.5.1 no", "554"),
        ("content", "552 5.3.4 too big", "552"),
        ("content", "554 5.7.1 looks like spam", "554"),
    ],
)
async def test_a_receiver_or_a_content_refused_ends_the_mail(command: str, answer: str, code: str) -> None:
    async with serving(**{command: answer}) as (server, transport):
        with pytest.raises(RefusedForGood, match=code):
            await transport.send(message())
        assert server.taken == []


@pytest.mark.parametrize(
    ("command", "answer", "code"),
    [
        ("greeting", "521 5.3.2 this host takes no mail", "521"),
        ("greeting", "554 5.7.1 your address is blocked", "554"),
        ("greeting", "421 4.3.2 too busy", "421"),
        ("AUTH", "535 5.7.8 wrong password", "535"),
        ("AUTH", "538 5.7.11 encrypt first", "538"),
        ("MAIL", "530 5.7.0 must issue a STARTTLS command first", "530"),
        ("MAIL", "535 5.7.8 sign in first", "535"),
        ("MAIL", "550 5.7.1 this sender may not send here", "550"),
        ("MAIL", "554 5.7.1 no", "554"),
        ("MAIL", "451 4.3.0 later", "451"),
        ("RCPT", "450 4.2.0 greylisted", "right now"),
        ("RCPT", "530 5.7.0 authentication required", "right now"),
        ("DATA", "451 4.3.0 later", "451"),
        ("DATA", "530 5.7.0 authentication required", "530"),
        ("content", "452 4.3.1 disk full", "452"),
        ("content", "nonsense", "answered -1"),
    ],
)
async def test_everything_else_is_tried_again(command: str, answer: str, code: str) -> None:
    async with serving(login="user:secret@", **{command: answer}) as (server, transport):
        with pytest.raises(Unavailable, match=code):
            await transport.send(message())
        assert server.taken == []


async def test_a_server_that_refuses_every_hello_is_tried_again() -> None:
    async with serving(EHLO="554 5.7.1 no", HELO="554 5.7.1 no") as (_server, transport):
        with pytest.raises(Unavailable, match="554"):
            await transport.send(message())


async def test_encryption_that_the_settings_ask_for_and_the_server_lacks_is_tried_again() -> None:
    async with serving() as (server, transport):
        transport.start_tls = True
        with pytest.raises(Unavailable):
            await transport.send(message())
        assert "MAIL" not in server.asked


async def test_a_mail_taken_before_a_rude_goodbye_is_sent() -> None:
    async with serving(QUIT="554 5.0.0 go away") as (server, transport):
        await transport.send(message())
        assert len(server.taken) == 1
