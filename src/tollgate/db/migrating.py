"""Run Alembic on a database: up, down, check. Runs as `tollgate_owner`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


def migrations_folder() -> Path:
    """The migrations of a clone, or those that the wheel carries."""
    carried = Path(str(resources.files("tollgate"))) / "_data" / "migrations"
    if carried.is_dir():
        return carried
    return Path(__file__).resolve().parents[3] / "migrations"


def configuration(owner_url: str) -> Config:
    """Alembic's configuration; there is no alembic.ini, the URL comes from the settings."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.set_main_option("sqlalchemy.url", owner_url.replace("%", "%%"))
    return config


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Bring the schema to `revision`. Blocks; call it in a thread from a running loop."""
    command.upgrade(configuration(owner_url), revision)


def downgrade(owner_url: str, revision: str) -> None:
    """Take the schema back to `revision` (`base` empties it)."""
    command.downgrade(configuration(owner_url), revision)


def check(owner_url: str) -> None:
    """Raise `alembic.util.CommandError` when the models and the migrated schema differ."""
    command.check(configuration(owner_url))


def newest_revision() -> str:
    """The revision that this release expects."""
    head = ScriptDirectory.from_config(configuration("postgresql+asyncpg://")).get_current_head()
    if head is None:
        raise RuntimeError("no migrations found")
    return head


def knows(revision: str) -> bool:
    """Whether a revision is one of this release's: an unknown one is a newer release's."""
    return revision in {script.revision for script in ScriptDirectory.from_config(configuration("postgresql+asyncpg://")).walk_revisions()}


async def revision_of(url: str) -> str | None:
    """The revision a database is at; None when it was never migrated."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            if (await connection.execute(text("select to_regclass('alembic_version')"))).scalar_one() is None:
                return None
            found: str | None = (await connection.execute(text("select version_num from alembic_version"))).scalar_one_or_none()
            return found
    finally:
        await engine.dispose()
