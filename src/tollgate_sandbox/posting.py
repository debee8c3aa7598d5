"""One POST over a connection of its own, as webhooks are sent: small, and no client library that could follow or retry by itself."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 10.0


async def post(url: str, payload: bytes, signed: str) -> tuple[int | None, str | None]:
    """POST and read the status line. Returns (status, None) or (None, what went wrong); redirects are not followed, as at Stripe."""
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _exchange(url, payload, signed), None
    except TimeoutError:
        return None, f"no answer within {TIMEOUT:.0f} seconds"
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as problem:
        return None, str(problem) or type(problem).__name__


async def _exchange(url: str, payload: bytes, signed: str) -> int:
    parts = urlsplit(url)
    secure: Any = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: TollgateSandbox/1.0 (not Stripe)\r\n"
            f"Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(payload)}\r\nStripe-Signature: {signed}\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + payload)
        await writer.drain()
        line = (await reader.readuntil(b"\n")).decode("latin-1").split()
        if len(line) < 2 or not line[0].startswith("HTTP/"):
            raise ValueError("the answer is not HTTP")
        status = int(line[1])
        # Read to the end, else closing resets the connection under a server that is still writing its answer.
        while await reader.read(65_536):
            pass
        return status
    finally:
        writer.close()
