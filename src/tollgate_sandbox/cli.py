"""`tollgate-sandbox`: the stand-ins for Stripe and for the mail server, in one process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tollgate_sandbox.sandbox import Sandbox


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C. Exit status 0 after a clean end, 1 when a port is taken, 2 for wrong arguments."""
    options = build_parser().parse_args(argv)
    if options.webhook_secret and not options.webhook_secret.startswith("whsec_"):
        build_parser().error("--webhook-secret must begin with whsec_")
    try:
        asyncio.run(_run(options))
    except (OSError, ValueError) as problem:
        print(f"tollgate-sandbox: {problem}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Every option of the command line."""
    parser = argparse.ArgumentParser(
        prog="tollgate-sandbox", description="A Stripe-like server and a mail catcher on loopback. This is not Stripe; no money moves."
    )
    parser.add_argument("--stripe-port", type=int, default=0, metavar="N", help="port of the Stripe-like server (0: a free one)")
    parser.add_argument("--mail-port", type=int, default=0, metavar="N", help="port of the mail catcher's pages (0: a free one)")
    parser.add_argument("--smtp-port", type=int, default=0, metavar="N", help="port that takes mail (0: a free one)")
    parser.add_argument(
        "--mail-host", default="127.0.0.1", metavar="ADDRESS", help="where the mail catcher listens; a container needs 0.0.0.0"
    )
    parser.add_argument("--or-next", action="store_true", help="take a free port where the wanted one is taken")
    parser.add_argument("--webhook", metavar="URL", help="send the events of every account there")
    parser.add_argument("--webhook-secret", metavar="whsec_…", help="sign them with this (made up and printed when not given)")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep everything in this folder and find it again")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="let every API call take this long")
    parser.add_argument(
        "--with-parent", action="store_true", help="end when standard input is closed, so when whoever started this is gone, killed or not"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    return parser


async def _run(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.with_parent:
        # A killed parent sends no signal; its end of the pipe closes all the same.
        threading.Thread(target=_read_to_end, args=(loop, ended), daemon=True).start()
    sandbox = Sandbox(
        stripe_port=options.stripe_port,
        mail_port=options.mail_port,
        smtp_port=options.smtp_port,
        mail_host=options.mail_host,
        or_next=options.or_next,
        state=options.state,
        latency=options.latency,
    )
    async with sandbox:
        ready = {"stripe": sandbox.stripe_url, "mail": sandbox.mail_url, "smtp": sandbox.smtp_url}
        if options.webhook:
            secret = options.webhook_secret or f"whsec_{secrets.token_urlsafe(24)}"
            sandbox.set_webhook(options.webhook, secret)
            ready["webhook_secret"] = secret
        _announce(ready, as_json=options.json)
        await ended.wait()


def _read_to_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):  # The loop is closed: it ended in another way.
        loop.call_soon_threadsafe(ended.set)


def _announce(ready: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(ready), flush=True)
        return
    print("Sandbox: this is not Stripe; no money moves and no mail leaves.")
    print(f"  Stripe-like API   {ready['stripe']}   (any key sk_test_<name>; overview at {ready['stripe']}/_sandbox)")
    print(f"  Mail catcher      {ready['mail']}   (takes mail at {ready['smtp']})")
    if "webhook_secret" in ready:
        print(f"  Webhook secret    {ready['webhook_secret']}")
    print("Ctrl-C ends it.", flush=True)
