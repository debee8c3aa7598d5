"""The mail catcher, fed by a real SMTP client and read over HTTP."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.sandbox.conftest import running
from tollgate_sandbox import Sandbox

PDF = b"%PDF-1.7\n" + bytes(range(256))


def mail(subject: str = "Rechnung für März €", message_id: str = "<one@tollgate.test>", html: bool = True) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Studio Grün <billing@studio.test>"
    message["To"] = "Anna Ådal <anna@client.test>"
    message["Subject"] = subject
    message["Message-ID"] = message_id
    message["X-Tollgate-Kind"] = "invoice"
    message.set_content("Please approve:\nhttp://127.0.0.1:8000/sign/abc?x=1&y=2.\n<b>Größe</b>\n")
    if html:
        message.add_alternative(
            '<html><head></head><body><a href="http://127.0.0.1:8000/sign/abc">Größe</a><img src="cid:logo@x"></body></html>', "html"
        )
        message.get_payload()[1].add_related(b"\x89PNG\r\n", "image", "png", cid="<logo@x>", filename="logo.png")  # type: ignore[index,union-attr]
    message.add_attachment(PDF, "application", "pdf", filename="Rechnung März/7.pdf")
    return message


def send(sandbox: Sandbox, message: EmailMessage, *recipients: str, login: bool = False) -> None:
    parts = urlsplit(sandbox.smtp_url)
    with smtplib.SMTP(str(parts.hostname), parts.port or 0, timeout=10) as client:
        if login:
            client.login("anybody", "anything")
        client.send_message(message, to_addrs=list(recipients) or None)


def test_a_mail_arrives_whole(sandbox: Sandbox, inbox: httpx.Client) -> None:
    send(sandbox, mail())
    [shown] = inbox.get("/messages").json()
    assert (shown["to"], shown["from"], shown["subject"]) == ("anna@client.test", "billing@studio.test", "Rechnung für März €")
    assert shown["recipients"] == ["anna@client.test"]
    assert shown["text"].startswith("Please approve:\nhttp://127.0.0.1:8000/sign/abc?x=1&y=2.\n")
    assert 'href="http://127.0.0.1:8000/sign/abc"' in shown["html"] and "Größe" in shown["html"]
    assert (shown["message_id"], shown["headers"]["X-Tollgate-Kind"], shown["repeats"], shown["repeat_of"]) == (
        "<one@tollgate.test>",
        "invoice",
        1,
        None,
    )
    logo, pdf = shown["attachments"]
    assert (logo["filename"], logo["content_type"]) == ("logo.png", "image/png")
    assert (pdf["filename"], pdf["content_type"], pdf["size"]) == ("Rechnung März_7.pdf", "application/pdf", len(PDF))
    answer = inbox.get(pdf["url"])
    assert (answer.content, answer.headers["content-type"]) == (PDF, "application/pdf")


def test_newest_is_last_and_deleting_empties_without_reusing_numbers(sandbox: Sandbox, inbox: httpx.Client) -> None:
    send(sandbox, mail("first", "<1@x>"))
    send(sandbox, mail("second", "<2@x>"), "a@x.test", "b@x.test", login=True)
    first, second = inbox.get("/messages").json()
    assert (first["subject"], second["subject"], second["to"]) == ("first", "second", "a@x.test, b@x.test")
    page = inbox.get("/").text.partition("<main")[2]
    assert page.index(">second<") < page.index(">first<")
    assert inbox.delete("/messages").status_code == 204
    assert inbox.get("/messages").json() == []
    assert "No mail yet" in inbox.get("/").text
    send(sandbox, mail("third", "<3@x>"))
    [third] = inbox.get("/messages").json()
    assert int(third["id"]) > int(second["id"])


def test_a_repeated_message_id_is_shown_as_a_repeat(sandbox: Sandbox, inbox: httpx.Client) -> None:
    send(sandbox, mail())
    send(sandbox, mail("another", "<other@x>"))
    send(sandbox, mail())
    first, other, repeat = inbox.get("/messages").json()
    assert (first["repeats"], repeat["repeats"], other["repeats"]) == (2, 2, 1)
    assert (first["repeat_of"], repeat["repeat_of"], other["repeat_of"]) == (None, first["id"], None)
    assert "sent 2 times" in inbox.get("/").text and f"repeat of {first['id']}" in inbox.get("/").text
    assert f"mail {first['id']}" in inbox.get(f"/messages/{repeat['id']}").text


def test_the_page_shows_text_as_text_and_html_in_a_sandbox(sandbox: Sandbox, inbox: httpx.Client) -> None:
    send(sandbox, mail("<script>alert(1)</script>"))
    [shown] = inbox.get("/messages").json()
    page = inbox.get(f"/messages/{shown['id']}").text
    assert "<script>alert" not in page and "&lt;b&gt;Größe" in page
    assert '<a href="http://127.0.0.1:8000/sign/abc?x=1&amp;y=2" rel="noreferrer">' in page
    framed = inbox.get(f"/messages/{shown['id']}/html")
    assert (
        framed.headers["content-security-policy"].startswith("sandbox ")
        and "allow-scripts" not in framed.headers["content-security-policy"]
    )
    assert '<base target="_top">' in framed.text and "/attachments/0/inline" in framed.text
    assert inbox.get(f"/messages/{shown['id']}/raw").content.startswith(b"From: ")
    for missing in ("/messages/9999", "/messages/x", f"/messages/{shown['id']}/attachments/7/x", "/nothing"):
        assert inbox.get(missing).status_code == 404
    assert inbox.post("/").status_code == 405


def test_malformed_mail_is_kept_and_shown(sandbox: Sandbox, inbox: httpx.Client) -> None:
    parts = urlsplit(sandbox.smtp_url)
    raws = [
        b"",
        b"no headers at all",
        b"Subject: =?utf-8?q?=ff=fe?=\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe",
        b"Message-ID: <[broken\r\nTo: <<<\r\n\r\nx",
    ]
    with smtplib.SMTP(str(parts.hostname), parts.port or 0, timeout=10) as client:
        for raw in raws:
            client.sendmail("", ["x@y.test"], raw)
    shown = inbox.get("/messages").json()
    assert len(shown) == len(raws)
    for row in shown:
        assert inbox.get(f"/messages/{row['id']}").status_code == 200
    assert inbox.get("/").status_code == 200


def test_mails_are_found_again_in_the_next_life(state: Path) -> None:
    with running(state=state) as first:
        send(first, mail())
        before = httpx.get(f"{first.mail_url}/messages").json()
    with running(state=state) as second:
        after = httpx.get(f"{second.mail_url}/messages").json()
        assert [row | {"attachments": []} for row in after] == [row | {"attachments": []} for row in before]
        assert httpx.get(after[0]["attachments"][1]["url"]).content == PDF
        httpx.delete(f"{second.mail_url}/messages")
    with running(state=state) as third:
        assert httpx.get(f"{third.mail_url}/messages").json() == []
