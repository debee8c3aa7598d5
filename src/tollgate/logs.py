"""Structured logs, one JSON object a line on stderr, with secrets and tokens struck out wherever they stand."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

STRUCK = "[struck out]"
SECRET_NAMES = re.compile(r"password|secret|token|authorization|cookie|signature|api_key|email|ip\b", re.IGNORECASE)
SECRET_TEXTS = re.compile(
    r"(?:sk|rk|pk)_(?:test|live)_\w+|whsec_\w+|tg_[\w-]{8,}|(?<=/a/)[\w.~-]+|(?<=/i/)[\w.~-]+|(?<=Bearer )[\w.~-]+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    # PostgreSQL quotes the row that it refused, and SQLAlchemy what a statement was given.
    r"|(?<=DETAIL: )[^\n]*|(?<=\[parameters: )[^\n]*"
)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Strike out what is named like a secret and what looks like one: keys, tokens in addresses, e-mail addresses."""
    for name, value in event.items():
        if SECRET_NAMES.search(name):
            event[name] = STRUCK
        else:
            event[name] = _struck(value)
    return event


def strike(text: str) -> str:
    """A text without what looks like a secret: for what is kept of an error."""
    return SECRET_TEXTS.sub(STRUCK, text)


def _struck(value: Any) -> Any:
    if isinstance(value, str):
        return strike(value)
    if isinstance(value, dict):
        return {key: STRUCK if SECRET_NAMES.search(str(key)) else _struck(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_struck(item) for item in value]
    return value


def configure(level: str = "info", *, stream: Any = None) -> None:
    """Send structlog and the standard library's loggers through the same processors. Call once per process."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer(sort_keys=True)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Addresses hold approval tokens, and our own access line leaves them out; statements and rows hold whatever people typed.
    for noisy in ("uvicorn.access", "httpx", "httpcore", "stripe", "alembic", "alembic.runtime.migration", "sqlalchemy.engine"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
