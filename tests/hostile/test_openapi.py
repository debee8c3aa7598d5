"""The API against its own description: schemathesis makes fitting and unfitting calls of every operation; none is a 5xx or undescribed."""

from __future__ import annotations

import asyncio
import random
from typing import Any, TypeVar

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select

from tests.factories import proof
from tests.hostile.conftest import House
from tollgate.access.models import ApiKey, Member
from tollgate.billing.models import CreditNote, Invoice
from tollgate.contracts.models import Contract, Deliverable, Milestone
from tollgate.parties.models import Client, Contact
from tollgate.payments.models import Payment
from tollgate.signoff.models import ReviewRound

SUITE, PROOF = 5, 150
"""Calls of each operation, in each of the two ways."""
TABLES: dict[str, Any] = {
    "client_id": Client,
    "contact_id": Contact,
    "contract_id": Contract,
    "milestone_id": Milestone,
    "deliverable_id": Deliverable,
    "round_id": ReviewRound,
    "invoice_id": Invoice,
    "credit_note_id": CreditNote,
    "payment_id": Payment,
    "member_id": Member,
    "key_id": ApiKey,
}
"""What each id in an address names."""
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]

Ids = dict[str, list[str]]
T = TypeVar("T")


async def ids_of(house: House) -> Ids:
    """Every id that an address can name."""
    found: Ids = {}
    async with house.shop.db.reading(house.shop.org.id) as session:
        for name, model in TABLES.items():
            rows = await session.scalars(select(model.id).where(model.organization_id == house.shop.org.id).order_by(model.id))
            found[name] = [str(one) for one in rows]
    # The key that asks must not be taken back by a call that it makes.
    async with house.shop.db.reading(house.shop.org.id) as session:
        asking = await session.scalars(select(ApiKey.id).where(ApiKey.name == "hostile"))
        found["key_id"] = [one for one in found["key_id"] if one not in {str(row) for row in asking}]
    return found


def is_wrong(case: Any) -> bool:
    """Whether the body breaks the description. Paths and headers are put right by `call`, and in a query all is text: `null` may be one."""
    components = case.meta.components if case.meta is not None else {}
    return ParameterLocation.BODY in components and components[ParameterLocation.BODY].mode is GenerationMode.NEGATIVE


def explore(house: House, description: dict[str, Any], mode: GenerationMode, ids: Ids) -> tuple[int, dict[int, int], list[str]]:
    """Call every operation with generated input; answers how many calls, how often each status, and one line per kind of failure."""
    schema = schemathesis.openapi.from_dict(description)
    schema.config.generation.update(modes=[mode])
    drawn = random.Random(proof.seed())
    statuses: dict[int, int] = {}
    wrong: dict[str, str] = {}

    def call(case: Any) -> None:
        if mode is GenerationMode.POSITIVE or drawn.random() < 0.7:
            # Calls of what exists go deeper than calls of nothing; what was deleted meanwhile is a 404 like any other.
            for name in case.path_parameters or {}:
                if ids.get(name):
                    case.path_parameters[name] = drawn.choice(ids[name])
        for name in [one for one in case.headers if one.lower() == "authorization"]:
            del case.headers[name]  # A wrong key is refused before anything else is looked at.
        case.headers["If-Match"] = f'"{drawn.choice([1, 1, 2, 3])}"'
        response = case.call(base_url=house.url, headers=house.bearer, timeout=120)
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
        label = f"{case.method} {case.path} → {response.status_code}"
        if response.status_code >= 500:
            wrong.setdefault(f"{label}: the server failed", case.as_curl_command()[:900])
        if response.status_code < 400 and is_wrong(case):
            wrong.setdefault(f"{label}: took what its description forbids", case.as_curl_command()[:900])
        for check in CHECKS:
            try:
                case.validate_response(response, checks=[check])
            except (Exception, FailureGroup) as error:
                wrong.setdefault(f"{label}: {check.__name__}", str(error)[:900])

    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue  # There is nothing to get wrong.
        strategy = operation.as_strategy(generation_mode=mode)
        run = settings(
            max_examples=proof.size(SUITE, PROOF),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        seed(proof.seed())(run(given(case=strategy)(call)))()
    return sum(statuses.values()), statuses, [f"{one}: {why}" for one, why in wrong.items()]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_every_operation_answers_as_described(filled: House, mode: GenerationMode) -> None:
    description = (await filled.api.get(f"{filled.url}/api/openapi.json")).json()
    description["paths"] = {path: item for path, item in description["paths"].items() if path.startswith("/api/v1/")}
    calls, statuses, wrong = await asyncio.to_thread(explore, filled, description, mode, await ids_of(filled))
    print(
        f"\n{mode.name.lower()}: {calls} calls, {len(description['paths'])} addresses, {dict(sorted(statuses.items()))}, seed {proof.seed()}"
    )
    assert not wrong, "\n".join(wrong)
