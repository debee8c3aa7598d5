"""`tollgate demo`: everything on one machine, with sample data: PostgreSQL, web, worker, and the sandbox as a process.

What must stay the same over restarts (ports, the API key, the password) is kept in `demo.json` in the data folder. A
demo that was interrupted while its sample data was made begins again from nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tollgate.access import service as access
from tollgate.access.rules import Role
from tollgate.app import Services
from tollgate.cli import runtime, sample, serving
from tollgate.db.command import Command
from tollgate.db.embedded import EmbeddedServer
from tollgate.errors import Unavailable, _
from tollgate.parties import service as parties
from tollgate.settings import Settings

EMAIL = "ada@nordlicht.example"
SANDBOX_READY_SECONDS = 30


@dataclass
class Kept:
    """What a demo remembers between two starts."""

    web_port: int = 0
    stripe_port: int = 0
    mail_port: int = 0
    smtp_port: int = 0
    stripe_secret_key: str = field(default_factory=lambda: f"sk_test_{secrets.token_hex(12)}")
    webhook_secret: str = field(default_factory=lambda: f"whsec_{secrets.token_hex(24)}")
    password: str = field(default_factory=lambda: f"{secrets.token_hex(2)}-{secrets.token_hex(2)}-{secrets.token_hex(2)}")
    api_key: str = ""
    empty: bool = False
    whole: bool = False
    """The sample data is complete."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `demo`."""
    parser.add_argument("--port", type=int, help="port of the web server; 0 takes a free one")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    parser.add_argument("--empty", action="store_true", help="one organization that can issue at once, and no other data")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Start all, say where, wait for Ctrl-C or SIGTERM, stop all."""
    if settings.database_url is not None:
        raise Unavailable(_("The demo runs on its own embedded database; unset DATABASE_URL, or use `serve` and `worker`"))
    if options.data is None and "TOLLGATE_DATA" not in os.environ:
        settings = settings.with_(data=settings.data / "demo")
    with _alone(settings.data):
        kept = _load(settings.data)
        if options.empty and kept.whole and not kept.empty:
            raise Unavailable(_("%(data)s holds the sample data already; give another folder with --data", data=settings.data))
        with runtime.database(settings, create=True) as (ready, server):
            assert server is not None
            try:
                asyncio.run(_run(options, ready, server, kept))
            except asyncio.CancelledError:
                return 1
    return 0


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One demo per data folder: a second would share the sandbox's files, and take the first's half-made sample for an interrupted one."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = _("A demo runs on %(data)s already; end it, or give this one a folder of its own with --data", data=data)
            raise Unavailable(text) from None
        yield


async def _run(options: argparse.Namespace, settings: Settings, server: EmbeddedServer, kept: Kept) -> None:
    stop = asyncio.Event()
    wanted_port = options.port if options.port is not None else (kept.web_port or settings.port)
    sock = serving.listen("127.0.0.1", wanted_port, or_next=options.port is None)
    kept.web_port = sock.getsockname()[1]
    base_url = f"http://127.0.0.1:{kept.web_port}"
    with runtime.stop_on_signals(stop):
        async with _sandbox(settings, kept, base_url) as addresses:
            live = _with_sandbox(settings, kept, addresses, base_url)
            async with runtime.services(live) as shared, runtime.keeping(server), serving.web(live, shared, sock):
                _save(settings.data, kept)
                if not kept.whole:
                    await _fill(shared, kept, empty=options.empty)
                    kept.empty, kept.whole = options.empty, True
                    _save(settings.data, kept)
                async with serving.worker(shared):
                    _announce(options, kept, base_url, addresses, live)
                    await stop.wait()


def _with_sandbox(settings: Settings, kept: Kept, addresses: dict[str, str], base_url: str) -> Settings:
    """The demo's settings. Stripe keys of the environment win: then the same demo talks to Stripe."""
    own_keys = settings.stripe_secret_key is not None
    return settings.with_(
        base_url=base_url,
        smtp_url=settings.smtp_url or f"{addresses['smtp']}?starttls=0",
        stripe_secret_key=settings.stripe_secret_key or kept.stripe_secret_key,
        stripe_webhook_secret=settings.stripe_webhook_secret if own_keys else kept.webhook_secret,
        stripe_api_base=settings.stripe_api_base if own_keys else addresses["stripe"],
    )


@asynccontextmanager
async def _sandbox(settings: Settings, kept: Kept, base_url: str) -> AsyncIterator[dict[str, str]]:
    """The sandbox as a process of its own: the product never imports it.

    It listens where it did last, so that addresses in mails and on pay pages still work, unless somebody took that port.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "tollgate_sandbox", "--json",
        "--stripe-port", str(kept.stripe_port), "--mail-port", str(kept.mail_port), "--smtp-port", str(kept.smtp_port), "--or-next",
        "--webhook", f"{base_url}/webhooks/stripe", "--webhook-secret", kept.webhook_secret,
        "--state", str(settings.data / "sandbox"), "--with-parent",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), SANDBOX_READY_SECONDS)
            addresses: dict[str, str] = json.loads(line)
        except (TimeoutError, ValueError) as error:
            raise Unavailable(_("The sandbox did not start; install it with `pip install 'tollgate[sandbox]'`")) from error
        for name in ("stripe", "mail", "smtp"):
            setattr(kept, f"{name}_port", urlsplit(addresses[name]).port)
        yield addresses
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _fill(shared: Services, kept: Kept, *, empty: bool) -> None:
    organization_id = await parties.create_organization(shared.db, sample.SELLER)
    command = Command.operator(organization_id)
    admin = await access.create_member(shared.db, command, email=EMAIL, name="Ada Nordlicht", role=Role.ADMIN, password=kept.password)
    kept.api_key = (await access.create_api_key(shared.db, command, name="Demo", role=Role.ADMIN)).secret
    if not empty:
        await sample.fill(shared, organization_id, admin.id, kept.password)


def _announce(options: argparse.Namespace, kept: Kept, base_url: str, addresses: dict[str, str], live: Settings) -> None:
    stripe = live.stripe_api_base or "https://api.stripe.com"
    sign_in = {"email": EMAIL, "password": kept.password}
    if options.json:
        ready = {
            "web": base_url,
            "mail": addresses["mail"],
            "stripe": stripe,
            "stripe_webhook_secret": live.stripe_webhook_secret,
            "api_key": kept.api_key,
            "sign_in": sign_in,
        }
        print(json.dumps(ready), flush=True)
        return
    print(
        f"""
Tollgate is ready.

  Open        {base_url}
  Sign in     {EMAIL}   {kept.password}
  Mails       {addresses["mail"]}      (what clients get; nothing leaves this machine)
  Payments    {stripe}      {"(a sandbox, not Stripe: no money moves)" if live.stripe_api_base else ""}
  API         {base_url}/api/docs   key {kept.api_key}

Ctrl-C ends it; the data stays in {live.data}.
""",
        flush=True,
    )


def _load(data: Path) -> Kept:
    path = data / "demo.json"
    try:
        kept = Kept(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Kept()
    except (ValueError, TypeError) as error:
        raise Unavailable(_("%(path)s cannot be read; remove the folder %(data)s to begin again", path=path, data=data)) from error
    if not kept.whole:
        # Half a sample would look like lost data; nothing of anybody's is in there yet.
        for name in ("postgres", "files", "sandbox", "demo.json"):
            _remove(data / name)
        return Kept()
    return kept


def _remove(path: Path) -> None:
    if path.is_symlink():
        shutil.rmtree(path.resolve(), ignore_errors=True)
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _save(data: Path, kept: Kept) -> None:
    path = data / "demo.json"
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(kept), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
