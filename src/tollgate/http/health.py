"""Is it alive, is it ready: for load balancers and for people who watch."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get
from litestar.di import NamedDependency
from sqlalchemy import text

from tollgate.db.database import Database
from tollgate.errors import TollgateError
from tollgate.files.storage import Storage
from tollgate.http.problems import as_tollgate_error
from tollgate.jobs import outbox


@get("/health/live", include_in_schema=False, sync_to_thread=False)
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@get("/health/ready", include_in_schema=False)
async def ready(db: NamedDependency[Database], storage: NamedDependency[Storage]) -> Response[dict[str, Any]]:
    """The process can serve: the database answers and was migrated. `outbox` is `held` after a restore: pages work, jobs wait.

    `degraded` when files cannot be kept (`files` says why): everything works but uploads and new PDFs, which wait.
    """
    try:
        async with db.looking_up() as session:
            await session.execute(text("select organization_id from directory_organizations() limit 1"))
            held = await outbox.state(session)
    except Exception as error:  # Whatever keeps the database from answering makes this server not ready.
        refused: TollgateError = as_tollgate_error(error)
        return Response({"status": "not ready", "because": refused.slug}, status_code=503, headers={"Retry-After": "2"})
    problem = await storage.problem()
    facts = {"status": "ready" if problem is None else "degraded", "outbox": "open" if held is None else "held"}
    return Response(facts | ({} if problem is None else {"files": problem}))


health_router = Router(path="/", route_handlers=[live, ready])
