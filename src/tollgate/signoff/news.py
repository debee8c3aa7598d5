"""News and work of this room; higher rooms handle what concerns them. Ids only (R23)."""

from __future__ import annotations

from uuid import UUID

from tollgate.jobs import Job


class MilestoneApproved(Job, frozen=True, kw_only=True):
    """A round is complete; billing invoices the milestone."""

    kind = "signoff.milestone_approved"
    milestone_id: UUID
    round_id: UUID


class Timers(Job, frozen=True, kw_only=True):
    """Look at every open round of the organization and do what is due and not done."""

    kind = "signoff.timers"


class ChainOpen(Job, frozen=True, kw_only=True):
    """Note an opening of a link, written apart from its page, in the audit trail."""

    kind = "signoff.chain_open"
    open_id: UUID
