"""Take the pictures of README and docs anew: a demo on fresh data, driven in Chromium, and a page of a real invoice.

    python tools/screenshots.py

Writes docs/pictures/*.png, each with a palette and below 150 kB. The sample data hangs on today's date, so new pictures show new dates.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pypdfium2
from PIL import Image, ImageChops
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from tests.__main__ import browser_or_complaint  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
Ready = dict[str, Any]


@contextlib.contextmanager
def demo() -> Iterator[Ready]:
    """A demo on fresh sample data, and the line that it prints."""
    with tempfile.TemporaryDirectory(prefix="tollgate-pictures-") as data:
        command = [sys.executable, "-m", "tollgate.cli", "demo", "--json", "--port", "0", "--data", data]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        for name in ("DATABASE_URL", "STRIPE_SECRET_KEY", "SMTP_URL"):
            environment.pop(name, None)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the demo ended before it was ready")
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(60)


def shrunk(picture: Image.Image) -> bytes:
    """A PNG with a palette, with fewer colours where it must be smaller. Raises when it is too large all the same."""
    for colours in (256, 128, 64, 32):
        output = io.BytesIO()
        picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(output, "PNG", optimize=True)
        if output.tell() <= MOST_BYTES:
            return output.getvalue()
    raise SystemExit(f"a picture of {picture.size} does not get below {MOST_BYTES} bytes")


def keep(name: str, picture: Image.Image) -> Image.Image:
    """Write a picture and say so."""
    content = shrunk(picture)
    (PICTURES / f"{name}.png").write_bytes(content)
    print(f"docs/pictures/{name}.png  {picture.width} x {picture.height}  {len(content) // 1024} kB")
    return picture


def shot(page: Page, name: str, *, at: str | None = None) -> Image.Image:
    """What a page's window shows, scrolled to the element `at`."""
    page.wait_for_load_state("networkidle")
    if at is not None:
        page.locator(at).first.evaluate("element => element.scrollIntoView({block: 'start'})")
    return keep(name, Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))))


def call(ready: Ready, path: str) -> Any:
    """An answer of the API."""
    request = urllib.request.Request(f"{ready['web']}/api/v1{path}", headers={"Authorization": f"Bearer {ready['api_key']}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read() if path.endswith("/pdf") else json.load(answer)


def newest_link(ready: Ready, kind: str, about: str = "") -> str:
    """The address in the newest mail that has one of this kind (`a` approval, `i` invoice) and speaks of `about`."""
    with urllib.request.urlopen(f"{ready['mail']}/messages", timeout=30) as answer:
        mails = json.load(answer)
    for mail in reversed(mails):
        found = re.search(rf"{re.escape(ready['web'])}/{kind}/\S+", mail["text"])
        if found and about in mail["subject"] + mail["text"]:
            return found[0]
    raise SystemExit(f"no mail has a link /{kind}/ about {about!r}")


def members_pages(browser: Browser, ready: Ready) -> dict[str, Image.Image]:
    """What the people of the seller see, on a desktop."""
    page = browser.new_page(viewport=DESKTOP, locale="en-GB", color_scheme="light")  # type: ignore[arg-type]
    page.goto(f"{ready['web']}/sign-in")
    page.fill("input[name=email]", ready["sign_in"]["email"])
    page.fill("input[name=password]", ready["sign_in"]["password"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(re.compile(rf"^{re.escape(ready['web'])}/$"))
    contracts = call(ready, "/contracts")["items"]
    active = max((item for item in contracts if item["state"] == "active"), key=lambda item: len(item["milestones"]))
    draft = next(item for item in contracts if item["state"] == "draft")
    next_up = next(item for item in active["milestones"] if item["state"] in ("planned", "in_progress", "changes_requested"))
    invoice = call(ready, "/invoices?state=paid")["items"][0]
    owing = call(ready, "/invoices?state=partly_paid")["items"][0]
    taken = {}
    for name, path in {
        "home": "/",
        "contracts": "/contracts",
        "contract": f"/contracts/{active['id']}",
        "contract-form": f"/contracts/{draft['id']}/edit",
        "deliver": f"/milestones/{next_up['id']}/delivery",
        "invoices": "/invoices",
        "invoice": f"/invoices/{invoice['id']}",
        "payments-report": "/reports/payments",
        "transfer": f"/payments/new?client_id={owing['client_id']}",
        "members": "/settings/members",
        "settings": "/settings",
    }.items():
        answer = page.goto(f"{ready['web']}{path}")
        if answer is None or answer.status != 200:
            raise SystemExit(f"{path} answered {answer and answer.status}")
        taken[name] = shot(page, name, at="h2:has-text('Milestones')" if name == "contract-form" else None)
    page.close()
    return taken


def clients_pages(browser: Browser, ready: Ready) -> dict[str, Image.Image]:
    """What a client sees, on a phone: the page of the link, the certificate's page after approving, the invoice."""
    waiting = call(ready, "/milestones?state=delivered")["items"][0]
    approver = call(ready, f"/rounds/{waiting['round_id']}")["approvers"][0]["name"]
    page = browser.new_page(viewport=PHONE, device_scale_factor=2, is_mobile=True, locale="en-GB", color_scheme="light")  # type: ignore[arg-type]
    page.goto(newest_link(ready, "a", waiting["title"]))
    taken = {"client-page": shot(page, "client-page")}
    page.fill("input[name=signed_name]", approver)
    page.check("input[name=agree]")
    page.locator("#decide").scroll_into_view_if_needed()
    taken["client-decision"] = shot(page, "client-decision")
    page.locator("#approval button.primary").click()
    page.wait_for_load_state("networkidle")
    until(lambda: call(ready, f"/milestones/{waiting['id']}")["state"] == "invoiced")
    number = call(ready, f"/invoices?contract_id={waiting['contract_id']}")["items"][0]["number"]
    until(lambda: number in urllib.request.urlopen(f"{ready['mail']}/messages", timeout=30).read().decode())
    page.reload()
    taken["client-approved"] = shot(page, "client-approved")
    page.goto(newest_link(ready, "i", number))
    taken["client-invoice"] = shot(page, "client-invoice")
    page.close()
    mail = browser.new_page(viewport={"width": 900, "height": 700}, locale="en-GB", color_scheme="light")
    mail.goto(ready["mail"])
    taken["mail-catcher"] = shot(mail, "mail-catcher")
    mail.close()
    return taken


def until(holds: Callable[[], bool]) -> None:
    """Wait for what the worker does."""
    for _ in range(150):
        if holds():
            return
        time.sleep(0.2)
    raise SystemExit("the worker did not get there in 30 s")


def documents(ready: Ready) -> dict[str, Image.Image]:
    """The first page of an invoice and of a credit note, as a reader shows them."""
    with_lines = max(call(ready, "/invoices")["items"], key=lambda item: (item["number"] is not None, len(item["lines"])))
    taken = {"invoice-pdf": keep("invoice-pdf", first_page(call(ready, f"/invoices/{with_lines['id']}/pdf")))}
    for item in call(ready, "/invoices")["items"]:
        if item["credit_notes"]:
            content = call(ready, f"/credit-notes/{item['credit_notes'][0]['id']}/pdf")
            taken["credit-note-pdf"] = keep("credit-note-pdf", first_page(content))
            break
    return taken


def first_page(content: bytes) -> Image.Image:
    """The first page of a PDF, with a thin frame so that paper stands out from paper."""
    document = pypdfium2.PdfDocument(content)
    try:
        sheet: Image.Image = document[0].render(scale=1.4).to_pil().convert("RGB")
    finally:
        document.close()
    return framed(sheet)


def framed(picture: Image.Image) -> Image.Image:
    """The picture in a line of one pixel."""
    frame = Image.new("RGB", (picture.width + 2, picture.height + 2), "#cfd4da")
    frame.paste(picture.convert("RGB"), (1, 1))
    return frame


def overview(phone: Image.Image, desktop: Image.Image, sheet: Image.Image) -> Image.Image:
    """Three pictures side by side for the README, at one height."""
    height, gap = 560, 28
    parts = [
        framed(part.convert("RGB").resize((round(part.width * height / part.height), height), Image.Resampling.LANCZOS))
        for part in (phone, desktop, sheet)
    ]
    whole = Image.new("RGB", (sum(part.width for part in parts) + gap * (len(parts) + 1), height + 2 * gap + 2), "#f2f4f7")
    x = gap
    for part in parts:
        whole.paste(part, (x, gap))
        x += part.width + gap
    assert ImageChops.difference(whole, Image.new("RGB", whole.size, "#f2f4f7")).getbbox() is not None
    return whole


def main() -> int:
    """Take all of them; old ones that are no longer taken are removed."""
    chromium, complaint = browser_or_complaint()
    if chromium is None:
        print(complaint, file=sys.stderr)
        return 3
    PICTURES.mkdir(parents=True, exist_ok=True)
    with demo() as ready, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        taken = {**members_pages(browser, ready), **clients_pages(browser, ready), **documents(ready)}
        browser.close()
    taken["overview"] = keep("overview", overview(taken["client-page"], taken["contract"], taken["invoice-pdf"]))
    for path in PICTURES.glob("*.png"):
        if path.stem not in taken:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
