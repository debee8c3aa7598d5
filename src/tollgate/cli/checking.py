"""`tollgate check`: every invariant of `reports/invariants.py`, one organization at a time."""

from __future__ import annotations

from tollgate.app import Services
from tollgate.db import directory
from tollgate.jobs.service import idle
from tollgate.reports import invariants


async def check(shared: Services) -> bool:
    """Print a line per check with its count; True when all hold."""
    async with shared.db.directory() as session:
        organizations = await directory.organizations(session)
        jobs_idle = await idle(session)
    totals: dict[str, tuple[str, int, list[str]]] = {}
    for organization_id in organizations:
        async with shared.db.reading(organization_id) as session:
            for finding in await invariants.run(session, organization_id, jobs_idle=jobs_idle):
                _says, count, broken = totals.get(finding.check, (finding.says, 0, []))
                totals[finding.check] = (finding.says, count + finding.looked_at, broken + list(finding.broken))
            anchors = await shared.anchors.check(session, organization_id)
            says, count, broken = totals.get("anchors", ("every anchor outside the database is in the audit trail", 0, []))
            lines = [f"{organization_id}.jsonl line {number}" for number in anchors.broken]
            totals["anchors"] = (says, count + anchors.anchors, broken + lines)
    for name, (says, count, broken) in totals.items():
        print(f"{'ok   ' if not broken else 'WRONG'}  {name:<18} {count:>9}  {says}")
        for thing in broken:
            print(f"         {thing}")
    wrong = sum(1 for _says, _count, broken in totals.values() if broken)
    jobs = "jobs are idle" if jobs_idle else "jobs are under way: what they still have to bill or render was not checked"
    print(f"{len(totals)} checks on {len(organizations)} organizations, {wrong} wrong; {jobs}")
    return wrong == 0
