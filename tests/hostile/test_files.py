"""Files with hostile names and contents: taken as bytes, given back as an attachment that nothing runs; names never reach a path."""

from __future__ import annotations

import gc
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import httpx
import pytest

from tests.hostile.conftest import House

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _given_up() -> Iterator[None]:
    """Litestar leaves the temporary files of a form that it gave up to the collector, which closes them with a warning: here, not later."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


NAMES = (
    "../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/etc/passwd",
    "C:\\boot.ini",
    "....//....//x",
    "%2e%2e%2fx",
    "a\x00b.pdf",
    "a\r\nSet-Cookie: stolen=1\r\n\r\n.pdf",
    "a\nb.pdf",
    "invoice \u202egnp.exe",
    "\u200bzero.pdf",
    "x" * 300 + ".pdf",
    "ö" * 255,
    "CON",
    "NUL.txt",
    "com1.pdf",
    ".htaccess",
    "..",
    ".",
    "-rf",
    "--help.pdf",
    "page.html",
    "picture.svg",
    "invoice.pdf.exe",
    'a"; filename="b.html',
    "a'b;c=d%22.pdf",
    "a\\",
    "<script>alert(1)</script>.html",
    "=cmd|' /C calc'!A0.csv",
    "名前.pdf",
    "😀.pdf",
    " ",
    "a/",
    "\ud800.pdf",
    "tab\there.pdf",
    "\u2028.pdf",
    "{{7*7}}%s.pdf",
)
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def bomb() -> bytes:
    """A ZIP of 10 kB that unpacks to 10 MB: nothing here unpacks it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../zeroes", b"\0" * 10_000_000)
    return made.getvalue()


CONTENTS = (
    ("image/png", b"<html><script>alert(1)</script></html>"),
    ("application/pdf", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
    ("text/html", b"<script>alert(document.cookie)</script>"),
    ("image/svg+xml", b"<svg onload=alert(1)>"),
    ("application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'/>"),
    ("text/xml", b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"),
    ("application/pdf", b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj"),
    ("application/zip", bomb()),
    ("application/octet-stream", EICAR),
    ("image/gif", b"GIF89a/*<script>*/=alert(1)//"),
    ("image/jpeg", PNG),
    ("text/plain\r\nX-Injected: 1", b"x"),
    ("text/html; charset=utf-7", b"+ADw-script+AD4-"),
    ("", b"\0"),
    ("x" * 500 + "/y", b"x"),
    ("message/rfc822", b"Content-Type: text/html\n\n<script>"),
    ("application/javascript", b"alert(1)"),
    ("multipart/form-data; boundary=x", b"--x--"),
)


async def milestone_of(house: House) -> UUID:
    """An open milestone of an active contract."""
    (milestone_id,) = await house.shop.active(100_00)
    return milestone_id


def part(name: str, filename: str, content: bytes, content_type: str) -> bytes:
    """One file of a multipart form, with its name written as a hostile program would: unescaped but for the quote that ends it."""
    quoted = filename.replace('"', '\\"').encode("utf-8", "surrogatepass")
    head = b'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: %s\r\n\r\n'
    return b"--b\r\n" + head % (name.encode(), quoted, content_type.encode()) + content + b"\r\n"


async def upload(house: House, milestone_id: UUID, filename: str, content: bytes, content_type: str) -> httpx.Response:
    """Add a file to a milestone."""
    body = part("file", filename, content, content_type) + b"--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return await house.api.post(f"/milestones/{milestone_id}/deliverables", content=body, headers=headers)


def files_of(house: House) -> list[Path]:
    """Everything in the data folder."""
    return [path for path in house.shop.services.settings.data.rglob("*") if path.is_file()]


def assert_harmless(answer: httpx.Response, content: bytes) -> str:
    """Whether a download is bytes and nothing else; answers its name."""
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["content-type"].split(";")[0] not in {
        "text/html",
        "image/svg+xml",
        "text/xml",
        "application/xhtml+xml",
        "application/javascript",
    }
    assert "x-injected" not in answer.headers and "set-cookie" not in answer.headers
    disposition = answer.headers["content-disposition"]
    assert disposition.isascii() and disposition.isprintable() and disposition.startswith("attachment; ")
    found = re.fullmatch(r"attachment; filename=\"([A-Za-z0-9._ -]+)\"; filename\*=UTF-8''([A-Za-z0-9._~%-]+)", disposition)
    assert found is not None, disposition
    # As a browser reads it: one plain name, and one that wins over it.
    message = Message()
    message["Content-Disposition"] = disposition
    assert message.get_filename() is not None
    name = unquote(found[2])
    for one in (name, found[1]):
        assert not re.search(r"[\x00-\x1f\x7f/\\\u202a-\u202e\u2066-\u2069]", one), one
        assert not one.startswith("."), one
    return name


async def test_names_are_labels_and_never_paths(house: House) -> None:
    milestone_id = await milestone_of(house)
    taken = refused = 0
    for index, name in enumerate(NAMES):
        content = f"file {index}".encode()
        made = await upload(house, milestone_id, name, content, "application/pdf")
        assert made.status_code in {201, 400, 422}, f"{name!r}: {made.status_code} {made.text}"
        if made.status_code != 201:
            refused += 1
            if made.status_code == 422:
                assert made.json()["errors"][0]["pointer"] == "/file", name
            continue
        taken += 1
        body = made.json()
        answer = await house.api.get(f"/milestones/{milestone_id}/deliverables/{body['id']}/file")
        assert_harmless(answer, content)
    assert taken > len(NAMES) // 2, (taken, refused)
    folder = house.shop.services.settings.files_folder
    stray = [path for path in files_of(house) if not re.fullmatch(r"[0-9a-f]{64}", path.name) or folder not in path.parents]
    assert stray == []


async def test_contents_are_bytes_whatever_they_claim_to_be(house: House) -> None:
    milestone_id = await milestone_of(house)
    for content_type, content in CONTENTS:
        made = await upload(house, milestone_id, "file.bin", content, content_type)
        assert made.status_code in {201, 400}, f"{content_type!r}: {made.status_code} {made.text}"
        if made.status_code == 201:
            answer = await house.api.get(f"/milestones/{milestone_id}/deliverables/{made.json()['id']}/file")
            assert_harmless(answer, content)


@pytest.mark.parametrize(
    ("content", "statuses"),
    [(b"", {422}), (b"\0" * (50 * 1024 * 1024 + 1), {413}), (b"\0" * (53 * 1024 * 1024), {413})],
    ids=["empty", "50 MB + 1", "53 MB"],
)
async def test_empty_and_too_large_files_are_refused_and_leave_nothing(house: House, content: bytes, statuses: set[int]) -> None:
    milestone_id = await milestone_of(house)
    before = files_of(house)
    try:
        refused = await upload(house, milestone_id, "file.bin", content, "application/pdf")
    except httpx.WriteError:
        refused = None  # The server answered and closed before it had read it all.
    assert refused is None or refused.status_code in statuses, refused.text
    assert files_of(house) == before


MANY = b"".join(b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % index for index in range(10_000)) + b"--b--\r\n"
NESTED = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n'
    b'--c\r\nContent-Disposition: attachment; filename="y"\r\n\r\nz\r\n--c--\r\n\r\n--b--\r\n'
)
FIELD = b'--b\r\nContent-Disposition: form-data; name="title"\r\nContent-Type: text/plain; charset=%s\r\n\r\n%s\r\n--b--\r\n'
BROKEN = {
    "10,000 parts": ("multipart/form-data; boundary=b", MANY, {413}),
    "nested": ("multipart/form-data; boundary=b", NESTED, {201}),
    "no boundary": ("multipart/form-data", MANY[:200], {400, 422}),
    "empty boundary": ("multipart/form-data; boundary=", MANY[:200], {400, 422}),
    "long boundary": (f"multipart/form-data; boundary={'b' * 5000}", b"--" + b"b" * 5000 + b"--", {400, 422}),
    "no end": ("multipart/form-data; boundary=b", b"--b\r\n", {400, 422}),
    "cut in a header": ("multipart/form-data; boundary=b", b"--b\r\nContent-Dispos", {400, 422}),
    "no name": ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", {400, 422}),
    "endless header": ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\nx\r\n--b--\r\n", {400, 413, 422}),
    "unknown character set": ("multipart/form-data; boundary=b", FIELD % (b"klingon", b"x"), {400}),
    "no text encoding": ("multipart/form-data; boundary=b", FIELD % (b"rot13", b"x"), {400}),
    "half a character": ("multipart/form-data; boundary=b", FIELD % (b"unicode_escape", rb"\ud800"), {400}),
    "punycode": ("multipart/form-data; boundary=b", FIELD % (b"punycode", b"\xff-\xff"), {400}),
    "wrong bytes": ("multipart/form-data; boundary=b", FIELD % (b"utf-8", b"\xff\xfe"), {400}),
    "empty": ("multipart/form-data; boundary=b", b"", {400, 422}),
    "not multipart": ("multipart/form-data; boundary=b", b"hello", {400, 422}),
}


async def test_broken_forms_are_the_senders_fault(house: House) -> None:
    path = f"/milestones/{await milestone_of(house)}/deliverables"
    wrong = []
    async with httpx.AsyncClient(base_url=house.url) as browser:
        for name, (content_type, body, statuses) in BROKEN.items():
            answer = await house.api.post(path, content=body, headers={"Content-Type": content_type})
            if answer.status_code not in statuses:
                wrong.append(f"{name}: {answer.status_code} {answer.text[:300]}")
            # The same where people send forms: without a session a refusal, never a fault.
            page = await browser.post("/sign-in", content=body, headers={"Content-Type": content_type})
            if not 300 <= page.status_code < 500:
                wrong.append(f"{name} at /sign-in: {page.status_code}")
    assert not wrong, "\n".join(wrong)
