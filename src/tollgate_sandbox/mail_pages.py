"""The mail catcher's HTTP side: JSON for scripts, pages for people."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

from markupsafe import Markup

from tollgate_sandbox.asgi import Request, Response, json_response
from tollgate_sandbox.mail import Mail, Mailbox, as_json
from tollgate_sandbox.pages import message_page, page_response

_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")
_POLL = b"""// Shows a new mail without a reload by hand; the list works without this.
const count = document.body.dataset.count;
setInterval(async () => {
  const answer = await fetch("/messages/count");
  if (answer.ok && (await answer.text()) !== count) location.reload();
}, 2000);
"""
HTML_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation; default-src 'none'; "
    "style-src 'unsafe-inline'; img-src * data:; font-src data:"
)
"""A mail may look as it likes and link where it likes, but runs nothing and reads nothing."""


class MailPages:
    """Answers the mail port."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.base_url = ""

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/messages" and request.method == "DELETE":
            self.mailbox.clear()
            return Response(b"", 204)
        if request.method not in ("GET", "HEAD"):
            return message_page("That does not work here", "Mails can be read here, and deleted by DELETE /messages.", 405, "mail")
        if request.path == "/":
            return self._list()
        if request.path == "/poll.js":
            return Response(_POLL, content_type="text/javascript")
        if request.path == "/messages":
            return json_response([as_json(mail, self.mailbox, self.base_url) for mail in self.mailbox.mails.values()])
        if request.path == "/messages/count":
            return Response(str(len(self.mailbox.mails)).encode(), content_type="text/plain")
        return self._one(request)

    def _one(self, request: Request) -> Response:
        match = re.fullmatch(r"/messages/([0-9]+)(?:/(html|raw|json|attachments/([0-9]+)/[^/]*))?", request.path)
        mail = self.mailbox.mails.get(match[1]) if match else None
        if match is None or mail is None:
            return message_page("There is no such mail", "It was deleted, or the address is wrong.", 404, "mail")
        if match[2] is None:
            return self._view(mail)
        if match[2] == "json":
            return json_response(as_json(mail, self.mailbox, self.base_url))
        if match[2] == "raw":
            return Response(mail.raw, content_type="text/plain; charset=utf-8")
        if match[2] == "html":
            headers = {"content-security-policy": HTML_POLICY, "referrer-policy": "no-referrer"}
            return Response(self._framed_html(mail).encode(), headers=headers)
        return self._attachment(mail, int(match[3]))

    def _attachment(self, mail: Mail, index: int) -> Response:
        if index >= len(mail.attachments):
            return message_page("There is no such attachment", "The address is wrong.", 404, "mail")
        attachment = mail.attachments[index]
        inline = attachment.content_type in ("application/pdf", "image/png", "image/jpeg", "image/gif")
        disposition = f"{'inline' if inline else 'attachment'}; filename*=UTF-8''{quote(attachment.filename, safe='')}"
        headers = {"content-disposition": disposition}
        if not inline:
            headers["content-security-policy"] = "sandbox; default-src 'none'"
        return Response(attachment.content, content_type=attachment.content_type, headers=headers)

    def _list(self) -> Response:
        rows = [(mail, as_json(mail, self.mailbox, ""), _preview(mail)) for mail in reversed(self.mailbox.mails.values())]
        return page_response("mails.html", rows=rows, count=len(rows))

    def _view(self, mail: Mail) -> Response:
        shown = as_json(mail, self.mailbox, "")
        return page_response("mail.html", mail=mail, shown=shown, text=_linked(mail.text), same=self.mailbox.same(mail))

    def _framed_html(self, mail: Mail) -> str:
        """The mail's HTML with its own inline pictures, and links that leave the frame."""
        source = mail.html
        for index, attachment in enumerate(mail.attachments):
            if attachment.content_id:
                source = source.replace(f"cid:{attachment.content_id}", f"{self.base_url}/messages/{mail.id}/attachments/{index}/inline")
        base = '<base target="_top">'
        head = re.search(r"<head[^>]*>", source, re.IGNORECASE)
        return source[: head.end()] + base + source[head.end() :] if head else base + source


def _preview(mail: Mail) -> str:
    text = mail.text or html.unescape(re.sub(r"<(style|head)\b.*?</\1>|<[^>]+>", " ", mail.html, flags=re.DOTALL | re.IGNORECASE))
    return " ".join(text.split())[:160]


def _linked(text: str) -> Markup:
    """Plain text, escaped, with its addresses as links."""
    parts, end = [], 0
    for match in _LINK.finditer(text):
        parts.append(html.escape(text[end : match.start()]))
        parts.append(f'<a href="{html.escape(match[0])}" rel="noreferrer">{html.escape(match[0])}</a>')
        end = match.end()
    return Markup("".join([*parts, html.escape(text[end:])]))
