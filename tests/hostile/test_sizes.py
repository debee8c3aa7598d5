"""Requests that are too large, too deep, too many or no HTTP at all: a clear 4xx and a server that goes on, never a 5xx."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import httpx
import pytest

from tests.factories import proof
from tests.hostile.conftest import House

DEEP = 100_000
JSON = {"Content-Type": "application/json"}
MONEY = {"amount": "10.00", "currency": "EUR"}


def contract(house: House, **changes: Any) -> dict[str, Any]:
    """A contract that would be taken."""
    return {"client_id": str(house.shop.client_id), "title": "Harbour portal", "value": MONEY, **changes}


def rows(count: int) -> list[dict[str, Any]]:
    """A schedule of so many milestones of one cent."""
    return [{"title": f"Stage {index}", "amount": {"amount": "0.01", "currency": "EUR"}} for index in range(count)]


def money(cents: int) -> dict[str, str]:
    return {"amount": f"{cents // 100}.{cents % 100:02}", "currency": "EUR"}


async def test_200_milestones_work_through_activation_page_and_schedule(house: House) -> None:
    body = contract(house, value=money(200), milestones=rows(200))
    made = await house.api.post("/contracts", json=body)
    assert made.status_code == 201, made.text[:500]
    path = f"/contracts/{made.json()['id']}"
    active = await house.api.post(f"{path}/activation", json={})
    assert active.status_code == 200, active.text[:500]
    assert len(active.json()["milestones"]) == 200 and len(active.json()["agreed"]["content_sha256"]) == 64
    schedule = await house.api.get(f"{path}/schedule")
    assert len(schedule.json()["items"]) == 200


@pytest.mark.parametrize("count", [201, 5_000])
async def test_more_milestones_are_refused_by_their_number(house: House, count: int) -> None:
    refused = await house.api.post("/contracts", json=contract(house, value=money(count), milestones=rows(count)))
    assert refused.status_code == 422 and refused.json()["errors"][0]["pointer"] == "/milestones", refused.text[:500]
    assert (await house.api.get("/contracts")).json()["items"] == []


def bodies(house: House) -> dict[str, tuple[bytes, set[int]]]:
    """Bodies of `POST /contracts`, and the statuses that may follow."""
    whole = json.dumps(contract(house))
    title = '"Harbour portal"'
    found: dict[str, tuple[bytes, set[int]]] = {
        "10 MB of text": (whole.replace(title, json.dumps("x" * 10_000_000)).encode(), {413}),
        "1 MB of text": (whole.replace(title, json.dumps("x" * 1_000_000)).encode(), {422}),
        "10 MB of brackets": (b"[" * 10_000_000, {413}),
        "3 MB of empty objects": (b'{"milestones":[' + b"{}," * 1_000_000 + b"{}]}", {422}),
        "deep lists": (whole.replace(title, "[" * DEEP + "]" * DEEP).encode(), {400, 422}),
        "deep objects": (whole.replace(title, '{"a":' * DEEP + "1" + "}" * DEEP).encode(), {400, 422}),
        "deep in an unknown member": (whole.replace("{", '{"x":' + "[" * DEEP + "]" * DEEP + ",", 1).encode(), {400, 422}),
        "open brackets": (b"[" * DEEP, {400, 422}),
        "same member twice": (whole.replace('"title"', '"title": "First", "title"', 1).encode(), {201, 422}),
        "1e400": (whole.replace(title, "1e400").encode(), {400, 422}),
        "400 digits": (whole.replace(title, "1" * 400).encode(), {400, 422}),
        "400 digits as days": (
            json.dumps(contract(house, payment_terms={"days": 1})).replace('"days": 1', f'"days": {"9" * 400}').encode(),
            {400, 422},
        ),
        "text as days": (json.dumps(contract(house, payment_terms={"days": "30"})).encode(), {422}),
        "true as days": (json.dumps(contract(house, payment_terms={"days": True})).encode(), {422}),
        "amount of 400 digits": (json.dumps(contract(house, value={**MONEY, "amount": "9" * 400})).encode(), {422}),
        "amount in other digits": (json.dumps(contract(house, value={**MONEY, "amount": "١٠.٠٠"})).encode(), {422}),
        "amount as 1e3": (json.dumps(contract(house, value={**MONEY, "amount": "1e3"})).encode(), {422}),
        "amount NaN": (json.dumps(contract(house, value={**MONEY, "amount": "NaN"})).encode(), {422}),
        "NaN": (whole.replace(title, "NaN").encode(), {400, 422}),
        "Infinity": (whole.replace(title, "-Infinity").encode(), {400, 422}),
        "byte order mark": (b"\xef\xbb\xbf" + whole.encode(), {400}),
        "UTF-16": (whole.encode("utf-16"), {400}),
        "Latin-1": (whole.replace("Harbour", "Häfen").encode("latin-1"), {400, 422}),
        "NUL": (whole.replace("Harbour", "\\u0000").encode(), {422}),
        "half a character": (whole.replace("Harbour", "\\ud800").encode(), {400, 422}),
        "__proto__": (json.dumps(contract(house, __proto__={"admin": True})).encode(), {422}),
        "null": (b"null", {422}),
        "a list": (b"[]", {422}),
        "nothing": (b"", {400, 422}),
        "blanks": (b" " * 1000, {400, 422}),
        "two bodies": (whole.encode() * 2, {400}),
        "a comment": (b"/* */" + whole.encode(), {400}),
        "single quotes": (whole.replace('"', "'").encode(), {400}),
    }
    return found


async def test_strange_bodies_are_refused_and_the_server_goes_on(house: House) -> None:
    wrong = []
    for name, (body, statuses) in bodies(house).items():
        answer = await house.api.post("/contracts", content=body, headers=JSON)
        if answer.status_code not in statuses:
            wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", name
    assert not wrong, "\n".join(wrong)
    assert (await house.api.post("/contracts", json=contract(house))).status_code == 201


async def _chunks(total: int) -> Any:
    for _index in range(total // 65_536):
        yield b" " * 65_536
        await asyncio.sleep(0)


async def test_a_body_of_unknown_length_is_cut_off_at_the_same_limit(house: House) -> None:
    for path in ("/contracts", "/contracts/preview", "/clients"):
        answer = await house.api.post(path, content=_chunks(6_000_000), headers=JSON)
        assert answer.status_code == 413, f"{path}: {answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
    async with httpx.AsyncClient(base_url=house.url) as browser:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await browser.post("/sign-in", content=_chunks(6_000_000), headers=form)).status_code == 413
        many = "&".join(f"f{index}={index}" for index in range(100_000))
        assert (await browser.post("/sign-in", content=many, headers=form)).status_code == 413
        assert (await browser.post("/sign-in", content="%ED%A0%80=%FF%FE&a=%00", headers=form)).status_code in {400, 403, 422}


async def test_endless_queries_are_refused_or_ignored(house: House) -> None:
    many = "&".join(f"p{index}={index}" for index in range(5_000))
    long = ("q=" + "x" * 30_000, "&" * 10_000, "cursor=" + "A" * 20_000, "limit=9" + "9" * 400)
    strange = ("q=%00", "q=%ED%A0%80", "q=%FF", "next=//evil.example")
    for path in ("/api/v1/contracts", "/contracts", "/sign-in", "/reports/payments", "/health/live"):
        for query in (many, *long, *strange):
            answer = await house.api.get(f"{house.url}{path}?{query}", follow_redirects=False)
            assert answer.status_code < 500, f"{path}?{query[:40]}: {answer.status_code} {answer.text[:300]}"


async def raw(house: House, request: bytes) -> bytes:
    """Send bytes as they are, and read until the server has answered and closed, or says nothing more."""
    host, port = house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(65_536), 60)
    except ConnectionError:
        return b""  # Closed without a word, which is an answer too.
    finally:
        writer.close()


def _call(target: bytes = b"/health/live", headers: bytes = b"", body: bytes = b"", method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n" + body


RAW = {
    "100 kB header": _call(headers=b"X-Long: " + b"x" * 100_000 + b"\r\n"),
    "100 kB cookie": _call(target=b"/sign-in", headers=b"Cookie: tg-session=" + b"x" * 100_000 + b"\r\n"),
    "100 kB address": _call(target=b"/contracts/" + b"x" * 100_000),
    "5,000 headers": _call(headers=b"".join(b"X-%d: 1\r\n" % index for index in range(5_000))),
    "1,000 cookies": _call(target=b"/sign-in", headers=b"Cookie: " + b"; ".join(b"c%d=1" % index for index in range(1_000)) + b"\r\n"),
    "NUL in the address": _call(target=b"/contracts/%00"),
    "raw bytes in the address": _call(target=b"/contracts/\xff\xfe"),
    "half a character in the address": _call(target=b"/a/%ED%A0%80"),
    "dots in the address": _call(target=b"/static/../../../etc/passwd"),
    "encoded dots": _call(target=b"/static/x/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    "another host's address": _call(target=b"http://evil.example/health/live"),
    "no HTTP": b"hello\r\n\r\n",
    "strange method": _call(method=b"BREW", target=b"/contracts"),
    "TRACE": _call(method=b"TRACE", target=b"/"),
    "negative length": _call(method=b"POST", target=b"/api/v1/contracts", headers=b"Content-Length: -1\r\n"),
    "length that is none": _call(method=b"POST", target=b"/api/v1/contracts", headers=b"Content-Length: 1e3\r\n"),
    "two lengths": _call(method=b"POST", target=b"/api/v1/contracts", headers=b"Content-Length: 1\r\nContent-Length: 2\r\n", body=b"ab"),
    "length and chunks": _call(
        method=b"POST", target=b"/api/v1/contracts", headers=b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\n"
    ),
    "bad chunk": _call(method=b"POST", target=b"/api/v1/contracts", headers=b"Transfer-Encoding: chunked\r\n", body=b"zz\r\n"),
    "raw authorization": _call(target=b"/api/v1/clients", headers=b"Authorization: Bearer \xff\xfe\r\n"),
    "raw language": _call(target=b"/sign-in", headers=b"Accept-Language: " + b"a-" * 2_000 + b"\xff\r\n"),
    "raw content type": _call(
        method=b"POST", target=b"/sign-in", headers=b"Content-Type: \xff/;=;boundary\r\nContent-Length: 1\r\n", body=b"x"
    ),
    "raw host": _call(headers=b"Host: evil.example\r\n"),
    "raw range": _call(target=b"/favicon.ico", headers=b"Range: bytes=0-1,2-3,-5\r\nIf-None-Match: \xff\r\n"),
}


async def test_no_bytes_on_the_wire_make_the_server_fail(house: House) -> None:
    for name, request in RAW.items():
        answer = await raw(house, request)
        if answer:
            assert answer.startswith(b"HTTP/1.1 ") and answer[9:10] in b"234", f"{name}: {answer[:500]!r}"
            assert b"root:" not in answer, name
    async with httpx.AsyncClient(base_url=house.url) as browser:
        assert (await browser.get("/health/live")).status_code == 200


async def test_a_sender_who_goes_away_leaves_no_trace(house: House) -> None:
    head = f"Authorization: Bearer {house.key}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n".encode()
    host, port = house.url.removeprefix("http://").split(":")
    for _index in range(proof.size(3, 50)):
        _reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(_call(method=b"POST", target=b"/api/v1/contracts", headers=head, body=b'{"title": "x'))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await house.api.get("/contracts")).json()["items"] == []


async def test_days_far_away_and_amounts_without_end_are_refused_where_they_stand(house: House) -> None:
    payment = {"client_id": str(house.shop.client_id), "amount": MONEY, "received_on": date.max.isoformat(), "method": "bank_transfer"}
    cases = {
        "/received_on": payment,
        "/amount": {**payment, "received_on": "2026-01-01", "amount": {**MONEY, "amount": "1" * 30 + ".00"}},
    }
    for pointer, body in cases.items():
        refused = await house.api.post("/payments", json=body)
        assert refused.status_code == 422 and refused.json()["errors"][0]["pointer"] == pointer, refused.text
