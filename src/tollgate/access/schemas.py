"""Members and API keys as JSON."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from tollgate.access.models import ApiKey, Member
from tollgate.access.rules import Permission, Role

Name = Annotated[str, Meta(max_length=500)]


class MemberBody(Struct, kw_only=True):
    """A person of the organization. `password` is there only in the first answer to adding somebody new."""

    id: UUID
    name: str
    email: str
    role: Role
    locale: str
    version: int
    created_at: datetime
    password: str | UnsetType | None = UNSET

    @classmethod
    def of(cls, row: Member, password: str | UnsetType | None = UNSET) -> "MemberBody":
        """The JSON shape of a row."""
        return cls(
            id=row.id,
            name=row.name,
            email=row.email,
            role=Role(row.role),
            locale=row.locale,
            version=row.version,
            created_at=row.created_at,
            password=password,
        )


class NewMemberBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who to add. A password is generated and answered once; a person with an account elsewhere keeps theirs."""

    email: Name
    name: Name
    role: Role = Role.VIEWER


class MemberChangesBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change of a member."""

    name: Name | UnsetType = UNSET
    role: Role | UnsetType = UNSET


class ApiKeyBody(Struct, kw_only=True):
    """A key for programs. `secret` is there only in the first answer to making it."""

    id: UUID
    name: str
    prefix: str
    role: Role
    scopes: list[Permission]
    created_by: UUID | None
    created_at: datetime
    revoked_at: datetime | None
    version: int
    secret: str | UnsetType | None = UNSET

    @classmethod
    def of(cls, row: ApiKey, secret: str | UnsetType | None = UNSET) -> "ApiKeyBody":
        """The JSON shape of a row."""
        return cls(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            role=Role(row.role),
            scopes=[Permission(scope) for scope in row.scopes],
            created_by=row.created_by,
            created_at=row.created_at,
            revoked_at=row.revoked_at,
            version=1 if row.revoked_at is None else 2,
            secret=secret,
        )


class NewApiKeyBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The key to make. Without `scopes` it may all that its role may."""

    name: Name
    role: Role = Role.VIEWER
    scopes: Annotated[list[Permission], Meta(max_length=20)] | None = None
