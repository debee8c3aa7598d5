"""`create-organization`, `create-member`, `create-api-key`, `reset-password`: first steps on a server of one's own."""

from __future__ import annotations

import argparse
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tollgate.access import service as access
from tollgate.access.models import Member
from tollgate.access.rules import Permission, Role
from tollgate.app import Services
from tollgate.db import directory
from tollgate.db.command import Command
from tollgate.errors import NotFound, _, invalid
from tollgate.parties import service as parties
from tollgate.parties.rules import NewOrganization


def add_arguments(command: Any) -> None:
    """Declare the three commands; `command(name, does, text)` makes each parser."""
    new = command("create-organization", create_organization, "Begin an organization that bills.")
    new.add_argument("--name", required=True, help="legal name, as it stands on invoices")
    new.add_argument("--country", required=True, metavar="AT", help="ISO 3166 code")
    new.add_argument("--currency", required=True, metavar="EUR", help="ISO 4217 code of the books")
    member = command("create-member", create_member, "Let a person sign in to an organization.")
    member.add_argument("--organization", required=True, metavar="ID")
    member.add_argument("--email", required=True)
    member.add_argument("--name", required=True)
    member.add_argument("--role", choices=[str(role) for role in Role], default=str(Role.ADMIN))
    member.add_argument("--password", help="made up and printed once when not given")
    key = command("create-api-key", create_api_key, "Make a key for a program; it is printed once.")
    key.add_argument("--organization", required=True, metavar="ID")
    key.add_argument("--name", default="Command line")
    key.add_argument("--role", choices=[str(role) for role in Role], default=str(Role.ADMIN))
    key.add_argument("--scope", action="append", choices=[str(scope) for scope in Permission], help="narrow the key; may be repeated")
    reset = command("reset-password", reset_password, "Give a member another password; every session of theirs ends.")
    reset.add_argument("--organization", required=True, metavar="ID")
    reset.add_argument("--email", required=True)
    reset.add_argument("--password", help="made up and printed once when not given")
    for parser in (new, member, key, reset):
        parser.add_argument("--json", action="store_true", help="print one line of JSON")


async def create_organization(shared: Services, options: argparse.Namespace) -> dict[str, object]:
    """Answers the id."""
    made = await parties.create_organization(
        shared.db, NewOrganization(legal_name=options.name, country=options.country.upper(), currency=options.currency.upper())
    )
    return {"organization": made}


async def create_member(shared: Services, options: argparse.Namespace) -> dict[str, object]:
    """Answers the id, and the password where one was made up."""
    command = Command.operator(await organization_of(shared, options.organization))
    made = await access.create_member(
        shared.db, command, email=options.email, name=options.name, role=Role(options.role), password=options.password
    )
    result: dict[str, object] = {"member": made.id, "email": options.email}
    if made.password is not None:
        result["password"] = made.password
    return result


async def create_api_key(shared: Services, options: argparse.Namespace) -> dict[str, object]:
    """Answers the id and the secret."""
    command = Command.operator(await organization_of(shared, options.organization))
    scopes = [Permission(scope) for scope in options.scope] if options.scope else None
    made = await access.create_api_key(shared.db, command, name=options.name, role=Role(options.role), scopes=scopes)
    return {"id": made.id, "api_key": made.secret}


async def reset_password(shared: Services, options: argparse.Namespace) -> dict[str, object]:
    """Answers the password."""
    organization_id = await organization_of(shared, options.organization)
    async with shared.db.reading(organization_id) as session:
        wanted = select(Member.id).where(
            Member.organization_id == organization_id, Member.email == options.email.lower(), Member.removed_at.is_(None)
        )
        member_id = (await session.execute(wanted)).scalar_one_or_none()
    if member_id is None:
        raise NotFound(_("There is no member with the address %(email)s", email=options.email))
    password = await access.reset_password(shared.db, Command.operator(organization_id), member_id, options.password)
    return {"member": member_id, "password": password}


async def organization_of(shared: Services, given: str) -> UUID:
    """The organization of an id as typed. Raises `Invalid` or `NotFound`."""
    try:
        wanted = UUID(given)
    except ValueError:
        raise invalid("/organization", _("%(given)s is not an id", given=given)) from None
    async with shared.db.directory() as session:
        known = await directory.organizations(session)
    if wanted not in known:
        raise NotFound(_("There is no organization %(given)s", given=given))
    return wanted
