"""From a row of the table to a request: ids and versions filled in, signed where Stripe signs, sent as a program or a browser does."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.http.matrix import Row
from tests.http.matrix_world import ENDPOINT_SECRET, Door, Seller, as_owner


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent, but for who sends it."""

    method: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, Any] | None = None
    file: str | None = None
    content: bytes | None = None


async def request_of(door: Door, row: Row, seller: Seller, *, other: Seller | None = None, at: tuple[str, str] | None = None) -> Request:
    """The row's request with this seller's ids, but for the one place `at`, which names something of `other`."""

    def value(place: tuple[str, str], name: str) -> str:
        owner = other if other is not None and place == at else seller
        return _text(owner, name)

    path = row.path
    for parameter, name in row.ids.items():
        path = path.replace("{" + parameter + "}", value(("path", parameter), name))
    if at is not None and at[0] == "query":
        path += f"?{at[1]}={value(at, row.query[at[1]])}"
    body: Any = None
    if row.body is not None:
        body = _filled(copy.deepcopy(dict(row.body)), "", lambda place, name: value(("body", place), name))
    version = await _version(door, row, seller) if row.version is not None else None
    headers: dict[str, str] = {}
    if row.signed:
        return _event(row, path)
    if row.is_api:
        if version is not None:
            headers["if-match"] = f'"{version}"'
        if row.file is not None:
            return Request(method=row.method, address=path, headers=headers, form=body, file=row.file)
        return Request(method=row.method, address=path, headers=headers, json=body)
    if row.writes and version is not None:
        body["version"] = version
    return Request(method=row.method, address=path, headers=headers, form=body, file=row.file)


def _text(seller: Seller, name: str) -> str:
    """`client` → its id; `=text` → the text, in which `@name` is an id and `~state` the token of a link."""
    if not name.startswith("="):
        return seller.ids[name]
    found = name[1:]
    if found.startswith("~"):
        return seller.links[found[1:]]
    for key in sorted(seller.ids, key=len, reverse=True):
        found = found.replace(f"@{key}", seller.ids[key])
    return found


def _filled(value: Any, at: str, find: Any) -> Any:
    if isinstance(value, dict):
        return {_named(key, at, find): _filled(item, f"{at}.{key}" if at else key, find) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, f"{at}.{index}", find) for index, item in enumerate(value)]
    return find(at, value[1:]) if isinstance(value, str) and value.startswith("@") else value


def _named(key: str, at: str, find: Any) -> str:
    """A field whose own name holds an id: `allocate_@invoice_sent`."""
    stem, mark, name = key.partition("@")
    return stem + str(find(f"{at}.{key}" if at else key, name)).replace("-", "_") if mark else key


async def _version(door: Door, row: Row, seller: Seller) -> int:
    assert row.version is not None
    table, name = row.version
    if not table:
        return int(name)
    column = "organization_id" if table == "organization" else "id"
    connection = await as_owner(door.owner_url)
    try:
        return int(await connection.fetchval(f"select version from {table} where {column} = $1::uuid", seller.ids[name]))
    finally:
        await connection.close()


def _event(row: Row, path: str) -> Request:
    payload = json.dumps(
        {
            "id": "evt_matrix",
            "object": "event",
            "type": "invoice.paid",
            "created": 1_780_000_000,
            "livemode": False,
            "data": {"object": {"id": "in_nobodys", "object": "invoice"}},
        }
    ).encode()
    stamp = str(int(time.time()))
    signature = hmac.new(ENDPOINT_SECRET.encode(), stamp.encode() + b"." + payload, hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t={stamp},v1={signature}", "content-type": "application/json"}
    return Request(method=row.method, address=path, headers=headers, content=payload)


PDF = ("signed.pdf", b"%PDF-1.4 signed", "application/pdf")


async def send(door: Door, asked: Request, who: Mapping[str, str], *, key: str | None = None, token: str | None = None) -> Any:
    """Send it, as a program (`key` is its Idempotency-Key) or as a browser (`key` is the form's nonce, `token` the page's)."""
    headers = {**asked.headers, **who}
    files = {asked.file: PDF} if asked.file else None
    if asked.content is not None:
        return await door.call(asked.method, asked.address, headers, content=asked.content)
    if asked.form is None or asked.address.startswith("/api/"):
        if key is not None:
            headers["idempotency-key"] = key
        if asked.form is not None:
            return await door.call(asked.method, asked.address, headers, data=dict(asked.form), files=files)
        return await door.call(asked.method, asked.address, headers, **({} if asked.json is None else {"json": asked.json}))
    fields = dict(asked.form)
    if key is not None:
        fields["form_key"] = key
    if token is not None:
        fields["csrf_token"] = token
    return await door.call(
        asked.method,
        asked.address,
        {**headers, "sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"},
        data=fields,
        files=files,
    )
