"""What the Stripe-like server knows: accounts and their objects, in memory, written to SQLite after every change when a file is given.

Objects are plain dicts in Stripe's shape. Members that begin with an underscore are the sandbox's own and are never shown.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tollgate_sandbox.errors import no_such

Object = dict[str, Any]
_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """A random identifier that looks like Stripe's: `in_1aB…`."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(length))}"


def account_id_of(name: str) -> str:
    """The account that the key `sk_test_<name>` or `rk_test_<name>` belongs to, the same in every life of the sandbox."""
    return f"acct_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def account_named(text: str | None) -> str | None:
    """The id of an account that is given as its id, its name or one of its keys; None stays None."""
    if text is None or text.startswith("acct_"):
        return text
    return account_id_of(re.sub(r"^[sr]k_test_", "", text))


@dataclass(slots=True)
class Account:
    """One Stripe account: objects by kind and id, in the order they were made."""

    id: str
    name: str
    world: World
    tables: dict[str, dict[str, Object]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    """Kind by object id, so that any id can be expanded."""
    request: dict[str, str | None] = field(default_factory=lambda: {"id": None, "idempotency_key": None})
    """The request that is being handled, which events name."""

    def now(self) -> int:
        """Seconds since the epoch by the sandbox's clock."""
        return self.world.now()

    def table(self, kind: str) -> dict[str, Object]:
        """Every object of one kind, oldest first."""
        return self.tables.setdefault(kind, {})

    def all(self, kind: str) -> Iterator[Object]:
        """The objects of one kind, oldest first."""
        return iter(self.table(kind).values())

    def get(self, kind: str, identifier: str, param: str = "id", status: int = 404) -> Object:
        """The object, or Stripe's resource_missing. `param` names the parameter that held the id."""
        found = self.table(kind).get(identifier)
        if found is None:
            raise no_such(kind.replace("_", " ") if kind != "invoiceitem" else "invoiceitem", identifier, param, status)
        return found

    def find(self, identifier: str) -> Object | None:
        """Any object by its id."""
        kind = self.kinds.get(identifier)
        return self.tables[kind].get(identifier) if kind else None

    def save(self, thing: Object) -> Object:
        """Keep an object, new or changed."""
        self.table(thing["object"])[thing["id"]] = thing
        self.kinds[thing["id"]] = thing["object"]
        self.world.touch(self, thing["object"], thing["id"])
        return thing

    def drop(self, thing: Object) -> None:
        """Forget an object."""
        del self.tables[thing["object"]][thing["id"]]
        del self.kinds[thing["id"]]
        self.world.touch(self, thing["object"], thing["id"])


class World:
    """Every account, the saved answers of idempotency keys, and the file they are kept in."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.base_url = ""
        self._clock = clock
        self.accounts: dict[str, Account] = {}
        self.on_event: Callable[[Account, Object], None] = lambda account, event: None
        self._touched: dict[tuple[str, str, str], None] = {}
        self._database = _open(file) if file is not None else None
        if self._database is not None:
            self._load(self._database)

    def now(self) -> int:
        """Seconds since the epoch; the only reader of time for objects. The clock may be off on purpose."""
        return int(self._clock())

    def account(self, name: str) -> Account:
        """The account of `sk_test_<name>`, made when it is first seen."""
        identifier = account_id_of(name)
        if identifier not in self.accounts:
            self.accounts[identifier] = Account(identifier, name, self)
            if self._database is not None:
                self._database.execute("INSERT OR IGNORE INTO account VALUES (?, ?)", (identifier, name))
        return self.accounts[identifier]

    def touch(self, account: Account, kind: str, identifier: str) -> None:
        """Remember to write this object at the next commit."""
        self._touched[(account.id, kind, identifier)] = None

    def commit(self) -> None:
        """Write everything touched since the last commit, all or nothing."""
        touched, self._touched = self._touched, {}
        if self._database is None or not touched:
            return
        with self._database:
            for account_id, kind, identifier in touched:
                thing = self.accounts[account_id].table(kind).get(identifier)
                key = (account_id, kind, identifier)
                if thing is None:
                    self._database.execute("DELETE FROM object WHERE account = ? AND kind = ? AND id = ?", key)
                else:
                    statement = "INSERT INTO object VALUES (?, ?, ?, ?) ON CONFLICT (account, kind, id) DO UPDATE SET body = excluded.body"
                    self._database.execute(statement, (*key, json.dumps(thing)))

    def close(self) -> None:
        """Write what is left and let the file go."""
        self.commit()
        if self._database is not None:
            self._database.commit()
            self._database.close()
            self._database = None

    def _load(self, database: sqlite3.Connection) -> None:
        for identifier, name in database.execute("SELECT id, name FROM account ORDER BY rowid"):
            self.accounts[identifier] = Account(identifier, name, self)
        for account_id, kind, identifier, body in database.execute("SELECT account, kind, id, body FROM object ORDER BY rowid"):
            account = self.accounts[account_id]
            account.table(kind)[identifier] = json.loads(body)
            account.kinds[identifier] = kind


def _open(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(file, check_same_thread=False)
    database.executescript(
        """
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = NORMAL;
        CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, name TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS object (account TEXT, kind TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (account, kind, id));
        """
    )
    return database
