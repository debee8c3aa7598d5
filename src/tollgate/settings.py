"""One frozen settings object, read from the environment once.

Every variable is named here and nowhere else; `docs/operations.md` explains them and `tollgate doctor` checks them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tollgate.errors import Invalid, _

DEFAULT_MAIL_FROM = "Tollgate <billing@localhost.localdomain>"


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process is configured. Secrets are left out of `repr`."""

    data: Path
    """Folder for the embedded database, files, generated secrets (TOLLGATE_DATA)."""
    database_url: str | None = None
    """`postgresql://…` for the application's role (DATABASE_URL); None runs embedded."""
    database_owner_url: str | None = None
    """The owner's role, used by `migrate` only (DATABASE_OWNER_URL)."""
    base_url: str = "http://127.0.0.1:8000"
    """How people reach this server; approval links, pay pages and cookies follow it (BASE_URL)."""
    secret_key: str = ""
    """Signs tokens and encrypts stored gateway secrets (SECRET_KEY); generated into the data folder when absent."""
    smtp_url: str | None = None
    """`smtp://user:password@host:587?starttls=1` or `smtps://…` (SMTP_URL)."""
    mail_from: str = DEFAULT_MAIL_FROM
    """Sender of mails (MAIL_FROM)."""
    stripe_secret_key: str | None = None
    """The first organization's key (STRIPE_SECRET_KEY), secret or restricted."""
    stripe_webhook_secret: str | None = None
    """Signing secret for `/webhooks/stripe` (STRIPE_WEBHOOK_SECRET)."""
    stripe_api_base: str | None = None
    """Another address than Stripe's, for the sandbox (STRIPE_API_BASE)."""
    stripe_live: bool = False
    """Live keys are refused unless STRIPE_LIVE=1."""
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: str = "info"
    metrics_token: str = ""
    """Opens `/metrics` (METRICS_TOKEN); without it there is no such page."""
    trusted_proxies: str = "127.0.0.1"
    """Whose X-Forwarded-For and -Proto are believed: addresses or networks, comma-separated (TRUSTED_PROXIES)."""

    def __repr__(self) -> str:
        return f"Settings(data={str(self.data)!r}, base_url={self.base_url!r}, embedded={self.database_url is None})"

    @property
    def is_https(self) -> bool:
        """Whether cookies carry Secure and the `__Host-` prefix."""
        return self.base_url.startswith("https://")

    @property
    def files_folder(self) -> Path:
        """Where content-addressed files are kept."""
        return self.data / "files"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, *, data: Path | None = None) -> Settings:
        """Read the environment once. Raises `Invalid` naming the variable that cannot be used."""
        env = os.environ if environment is None else environment
        folder = data or Path(env.get("TOLLGATE_DATA") or _default_data_folder(env))
        key = env.get("STRIPE_SECRET_KEY") or None
        live = env.get("STRIPE_LIVE") == "1"
        if key and key.startswith(("sk_live_", "rk_live_")) and not live:
            raise Invalid(_("STRIPE_SECRET_KEY is a live key; set STRIPE_LIVE=1 to really charge people, or use a test key"))
        try:
            port = int(env.get("PORT") or "8000")
        except ValueError:
            raise Invalid(_("PORT must be a number, not %(value)s", value=env["PORT"])) from None
        level = (env.get("LOG_LEVEL") or "info").lower()
        if level not in {"debug", "info", "warning", "error"}:
            raise Invalid(_("LOG_LEVEL must be debug, info, warning or error, not %(value)s", value=level))
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL"):
            if env.get(name) and not env[name].startswith(("postgresql://", "postgres://", "postgresql+asyncpg://")):
                raise Invalid(_("%(name)s must begin with postgresql://", name=name))
        return cls(
            data=folder.expanduser().absolute(),
            database_url=env.get("DATABASE_URL") or None,
            database_owner_url=env.get("DATABASE_OWNER_URL") or None,
            base_url=(env.get("BASE_URL") or f"http://127.0.0.1:{port}").rstrip("/"),
            secret_key=env.get("SECRET_KEY", ""),
            smtp_url=env.get("SMTP_URL") or None,
            mail_from=env.get("MAIL_FROM") or DEFAULT_MAIL_FROM,
            stripe_secret_key=key,
            stripe_webhook_secret=env.get("STRIPE_WEBHOOK_SECRET") or None,
            stripe_api_base=env.get("STRIPE_API_BASE") or None,
            stripe_live=live,
            host=env.get("HOST") or "127.0.0.1",
            port=port,
            log_level=level,
            metrics_token=env.get("METRICS_TOKEN", ""),
            trusted_proxies=env.get("TRUSTED_PROXIES") or "127.0.0.1",
        )

    def with_secret(self) -> Settings:
        """These settings with a SECRET_KEY: the given one, else one kept in the data folder, made on first use."""
        if self.secret_key:
            if len(self.secret_key) < 32:
                raise Invalid(_("SECRET_KEY must have at least 32 characters"))
            return self
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.data / "secret-key"
        try:
            # O_EXCL: of two processes that start together, one makes the key and the other reads it.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return self.with_(secret_key=path.read_text().strip())
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        return self.with_(secret_key=path.read_text().strip())

    def with_(self, **changes: object) -> Settings:
        """A copy with some members changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def _default_data_folder(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_DATA_HOME") or str(Path(env.get("HOME") or Path.home()) / ".local" / "share")
    return Path(base) / "tollgate"
