"""A stand-in for curl where a machine has none: the options that docs/api.md uses, and no others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import httpx


def main() -> int:
    """Make the call; print or keep the answer. 22 with -f for a status of 400 or more, as curl does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-S", action="store_true")
    parser.add_argument("-i", action="store_true", help="print status and headers, too")
    parser.add_argument("-f", action="store_true")
    parser.add_argument("-X", default=None)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d", default=None)
    parser.add_argument("-F", action="append", default=[])
    parser.add_argument("-o", default=None)
    parser.add_argument("url")
    options = parser.parse_args()
    headers = dict(line.split(": ", 1) for line in options.H)
    content: bytes | None = None
    if options.d is not None:
        content = Path(options.d[1:]).read_text().replace("\n", "").encode() if options.d.startswith("@") else options.d.encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    files = [part(field) for field in options.F] or None
    method = options.X or ("POST" if content is not None or files else "GET")
    answer = httpx.request(method, options.url, headers=headers, content=content, files=files, timeout=30, trust_env=False)
    if options.f and answer.status_code >= 400:
        return 22
    if options.i:
        print(f"HTTP/1.1 {answer.status_code}", *(f"{name}: {value}" for name, value in answer.headers.items()), "", sep="\r\n")
    if options.o is not None:
        Path(options.o).write_bytes(answer.content)
    else:
        sys.stdout.buffer.write(answer.content)
    return 0


def part(field: str) -> tuple[str, tuple[str | None, bytes]]:
    """`name=text` or `name=@file` as a part of a multipart body."""
    name, _, value = field.partition("=")
    if value.startswith("@"):
        return name, (Path(value[1:]).name, Path(value[1:]).read_bytes())
    return name, (None, value.encode())


if __name__ == "__main__":
    sys.exit(main())
