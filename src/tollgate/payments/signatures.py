"""Is this webhook really from the gateway, and from now? Stripe's scheme, over the raw bytes."""

from __future__ import annotations

import hashlib
import hmac

from tollgate import clock

TOLERANCE_SECONDS = 300
"""Into the past and into the future: the library takes any future instant (measured), and with it a replay prepared for later."""


def is_signed(payload: bytes, header: str, secret: str) -> bool:
    """Whether `header` (`t=…,v1=…`) signs exactly these bytes under `secret`, at most five minutes from now either way."""
    stamps: list[str] = []
    signatures: list[str] = []
    for part in header.split(","):
        name, _equals, value = part.strip().partition("=")
        if name == "t":
            stamps.append(value)
        elif name == "v1":
            signatures.append(value)
    if len(stamps) != 1 or not stamps[0].isascii() or not stamps[0].isdigit() or len(stamps[0]) > 12 or not secret:
        return False
    expected = hmac.new(secret.encode(), stamps[0].encode() + b"." + payload, hashlib.sha256).hexdigest().encode()
    # Two signatures come while a secret is rolled; every one is compared, so that the time tells nothing.
    matches = [hmac.compare_digest(expected, signature.encode("utf-8", "surrogatepass")) for signature in signatures[:10]]
    return any(matches) and abs(clock.now().timestamp() - int(stamps[0])) <= TOLERANCE_SECONDS
