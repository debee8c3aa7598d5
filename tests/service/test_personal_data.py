"""R23: what somebody typed does not come to rest in a failed job or an error's text."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.factories import Org
from tollgate.db.database import Database
from tollgate.jobs import Job, enqueue
from tollgate.jobs.service import jobs_of
from tollgate.jobs.worker import Run, Worker

CANARY = "Clara Canary of Linz"
CANARY_EMAIL = "clara.canary@hafen.example"
INSERT = text("insert into colleague (organization_id, id, name) values (:organization_id, gen_random_uuid(), :name)")


class Clumsy(Job, frozen=True, kw_only=True):
    """A job with a bug that quotes whom it was about."""

    kind = "test.clumsy"


async def clumsy(run: Run, job: Clumsy) -> None:
    raise ValueError(f"no mailbox for {CANARY_EMAIL}, key sk_test_canary\nDETAIL: ({CANARY})")


async def test_an_error_that_quotes_people_is_not_kept_in_the_job(db: Database, organization: Org) -> None:
    async with db.transaction(organization.id) as session:
        await enqueue(session, Clumsy(organization_id=organization.id))
    await Worker(db, {Clumsy: clumsy}).run_once()
    async with db.reading(organization.id) as session:
        (job,) = await jobs_of(session, organization.id, ("ready",))
    assert job.last_error is not None and job.last_error.startswith("ValueError: no mailbox for ")
    assert not any(canary in job.last_error for canary in (CANARY, CANARY_EMAIL, "sk_test_canary"))


async def test_an_error_does_not_carry_what_the_statement_was_given(db: Database, organization: Org) -> None:
    with pytest.raises(IntegrityError) as refused:
        async with db.transaction(organization.id) as session:
            await session.execute(INSERT, {"organization_id": organization.id, "name": CANARY})
    assert "parameters hidden" in str(refused.value)
