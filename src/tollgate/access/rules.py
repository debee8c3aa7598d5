"""Roles, and what each may do. Pure."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a member may do; each role adds to the one before it."""

    VIEWER = "viewer"
    ACCOUNT_MANAGER = "account_manager"
    FINANCE = "finance"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may do all that `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Permission(StrEnum):
    """What a route asks for; also the scopes an API key can be narrowed to."""

    READ = "read"
    MANAGE_CONTRACTS = "contracts"
    """Clients, contacts, contracts, deliverables, delivery, invoice drafts."""
    BILL = "billing"
    """Issue, void, credit, payments, reports."""
    ADMINISTER = "admin"
    """Members, settings, API keys, reopen, record approval, gateway, jobs."""


NEEDS: dict[Permission, Role] = {
    Permission.READ: Role.VIEWER,
    Permission.MANAGE_CONTRACTS: Role.ACCOUNT_MANAGER,
    Permission.BILL: Role.FINANCE,
    Permission.ADMINISTER: Role.ADMIN,
}


def may(role: Role, scopes: frozenset[Permission] | None, permission: Permission) -> bool:
    """Whether a caller may; `scopes` narrow an API key and are None for a member."""
    return role.includes(NEEDS[permission]) and (scopes is None or permission in scopes)
