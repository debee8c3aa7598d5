"""`tollgate check`: every invariant of `reports/invariants.py`, the anchors and the stored files, one organization at a time."""

from __future__ import annotations

from tollgate.app import Services
from tollgate.db import directory
from tollgate.files import service as files
from tollgate.jobs.service import idle
from tollgate.reports import invariants

Total = tuple[str, int, list[str]]
"""What a line says, how many things it looked at, and which of them are broken."""


async def check(shared: Services) -> bool:
    """Print a line per check with its count; True when all hold."""
    async with shared.db.directory() as session:
        organizations = await directory.organizations(session)
        jobs_idle = await idle(session)
    totals: dict[str, Total] = {}
    for organization_id in organizations:
        async with shared.db.reading(organization_id) as session:
            for finding in await invariants.run(session, organization_id, jobs_idle=jobs_idle):
                _add(totals, finding.check, finding.says, finding.looked_at, list(finding.broken))
            anchors = await shared.anchors.check(session, organization_id)
            lines = [f"{organization_id}.jsonl line {number}" for number in anchors.broken]
            _add(totals, "anchors", "every anchor outside the database is in the audit trail", anchors.anchors, lines)
        kept, broken = await files.compare(shared.db, shared.storage, organization_id)
        _add(totals, "files", "every stored file is there, with its size", kept, broken)
    for name, (says, count, broken) in totals.items():
        print(f"{'ok   ' if not broken else 'WRONG'}  {name:<18} {count:>9}  {says}")
        for thing in broken:
            print(f"         {thing}")
    wrong = sum(1 for _says, _count, broken in totals.values() if broken)
    jobs = "jobs are idle" if jobs_idle else "jobs are under way: what they still have to bill or render was not checked"
    print(f"{len(totals)} checks on {len(organizations)} organizations, {wrong} wrong; {jobs}")
    return wrong == 0


def _add(totals: dict[str, Total], name: str, says: str, looked_at: int, broken: list[str]) -> None:
    _says, count, before = totals.get(name, (says, 0, []))
    totals[name] = (says, count + looked_at, before + broken)
