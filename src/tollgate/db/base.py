"""The declarative base, and the helpers that keep every tenant table's keys beginning with `organization_id`."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """All tables; `Base.metadata` is what `alembic check` compares with the database."""

    metadata = MetaData(naming_convention=NAMING)


class Tenant:
    """A table of one organization: row-level security is forced on it and its keys begin with `organization_id`."""

    __tenant__: ClassVar[bool] = True

    organization_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-2)


class TenantRow(Tenant):
    """A tenant table whose rows have an id of their own."""

    id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-1)


def belongs_to(table: str, column: str | None = None, **options: Any) -> ForeignKeyConstraint:
    """A foreign key within the organization: `(organization_id, client_id) → client`."""
    column = column or f"{table}_id"
    return ForeignKeyConstraint(["organization_id", column], [f"{table}.organization_id", f"{table}.id"], **options)


def one_of(column: str, *values: str) -> CheckConstraint:
    """CHECK that a word column holds one of the words of `docs/domain.md`."""
    return CheckConstraint(f"{column} in ({', '.join(repr(value) for value in values)})", name=f"{column}_known")


def tenant_tables() -> list[str]:
    """Names of all tenant tables that are mapped, for the tests that compare them with the database's policies."""
    return sorted(mapper.local_table.name for mapper in Base.registry.mappers if getattr(mapper.class_, "__tenant__", False))  # type: ignore[attr-defined]
