"""News of parties: what higher rooms act on. Ids only (R23)."""

from __future__ import annotations

from tollgate.jobs import Job


class PartyChanged(Job, frozen=True, kw_only=True):
    """The organization or one of its clients was saved: what billing was blocked for may be there now (R18)."""

    kind = "parties.changed"
