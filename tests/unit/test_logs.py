"""Secrets never reach the logs, wherever they stand."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from tollgate import logs

CANARIES = (
    "sk_test_canary123",
    "rk_live_canary123",
    "whsec_canary123",
    "tg_canary123456",
    "clara.huber@hafenkontor.example",
    "WyJhIiwiQ2FuYXJ5Il0.c2ln",
    "hunter2canary",
)


@pytest.fixture
def stream() -> io.StringIO:
    out = io.StringIO()
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    logs.configure("info", stream=out)
    yield out  # type: ignore[misc]
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.reset_defaults()


def test_what_looks_like_a_secret_is_struck_out(stream: io.StringIO) -> None:
    log = structlog.get_logger("tollgate.test")
    log.info(
        f"called with {CANARIES[0]} and {CANARIES[1]}",
        address=f"GET /a/{CANARIES[5]}",
        header=f"Bearer {CANARIES[3]}",
        nested={"deep": [f"to {CANARIES[4]}"], "password": CANARIES[6]},
        database=f"postgresql://user:{CANARIES[6]}@host/db",
        webhook_secret=CANARIES[2],
    )
    logging.getLogger("other").warning("smtp to %s with %s", CANARIES[4], CANARIES[2])
    written = stream.getvalue()
    assert written.count("\n") == 2
    for line in written.splitlines():
        json.loads(line)
    for canary in CANARIES:
        assert canary not in written
    assert "called with" in written and "smtp to" in written


def test_an_exception_is_struck_out_too(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"bad key {CANARIES[0]} of {CANARIES[4]}")
    except ValueError:
        structlog.get_logger("tollgate.test").error("failed", exc_info=True)
    written = stream.getvalue()
    assert "ValueError" in written
    assert CANARIES[0] not in written and CANARIES[4] not in written


def test_what_postgresql_and_sqlalchemy_quote_is_struck_out() -> None:
    """A refused row stands in the error's detail, a statement's values in its parameters."""
    said = logs.strike(
        "IntegrityError: duplicate key value violates unique constraint\nDETAIL:  Key (name)=(Clara Huber) already exists.\n"
        "[SQL: insert into contact (name) values ($1)]\n[parameters: ('Clara Huber',)]\nafter"
    )
    assert "Clara" not in said
    assert "duplicate key" in said and "insert into contact" in said and said.endswith("after")
