"""Wait for `tollgate demo --json` to print its line into a file, and see that what it names answers.

Used as: await_demo.py FILE PID. Needs nothing but Python, for it looks at an installation from outside.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

PATIENCE_SECONDS = 180


def main(file: str, pid: str) -> int:
    """0 when the demo is ready, healthy and shows its sign-in page; otherwise 1 and the reason."""
    until = time.monotonic() + PATIENCE_SECONDS
    while "\n" not in (text := Path(file).read_text()):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return _fail("the demo ended before it was ready")
        if time.monotonic() > until:
            return _fail(f"the demo was not ready after {PATIENCE_SECONDS} s")
        time.sleep(0.2)
    ready = json.loads(text.splitlines()[0])
    for name in ("web", "mail", "stripe", "stripe_webhook_secret", "api_key", "sign_in"):
        if not ready.get(name):
            return _fail(f"the demo's line does not name {name}")
    for address in (f"{ready['web']}/health/ready", f"{ready['web']}/sign-in", f"{ready['mail']}/messages"):
        with urllib.request.urlopen(address, timeout=30) as answer:
            print(answer.status, address)
            if answer.status != 200:
                return _fail(f"{address} answered {answer.status}")
    return 0


def _fail(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
