"""States and events as words for people. Data, API and `facts` of errors carry the codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tollgate.errors import Message, _

NAMES: Mapping[str, Message] = MappingProxyType(
    {
        # states of a milestone
        "planned": _("Planned"),
        "in_progress": _("In progress"),
        "delivered": _("Delivered"),
        "changes_requested": _("Changes requested"),
        "approved": _("Approved"),
        "invoiced": _("Invoiced"),
        "paid": _("Paid"),
        "cancelled": _("Cancelled"),
        # states of a contract
        "draft": _("Draft"),
        "sent": _("Sent"),
        "active": _("Active"),
        "on_hold": _("On hold"),
        "completed": _("Completed"),
        "terminated": _("Terminated"),
        # events of a milestone
        "start": _("Start"),
        "deliver": _("Deliver"),
        "deliver_part": _("Deliver part"),
        "withdraw": _("Withdraw"),
        "approve": _("Approve"),
        "approve_part": _("Approve part"),
        "request_changes": _("Request changes"),
        "record_approval": _("Record approval"),
        "deem": _("Deem approved"),
        "supersede": _("Supersede"),
        "reopen": _("Reopen"),
        "invoice": _("Invoice"),
        "release": _("Release"),
        "settle": _("Settle"),
        "reverse": _("Reverse"),
        "cancel": _("Cancel"),
        # events of a contract
        "send": _("Send"),
        "recall": _("Recall"),
        "activate": _("Activate"),
        "hold": _("Put on hold"),
        "resume": _("Resume"),
        "complete": _("Complete"),
        "reactivate": _("Reactivate"),
        "terminate": _("Terminate"),
        # who acts
        "viewer": _("viewers"),
        "account_manager": _("account managers"),
        "finance": _("finance"),
        "admin": _("admins"),
        "approver": _("approvers"),
        "system": _("the system"),
        "clock": _("the clock"),
        "change_order": _("change orders"),
    }
)


def name(item: StrEnum) -> Message:
    """The words for a state, event, role or party."""
    return NAMES[item.value]


def listed(items: tuple[StrEnum, ...]) -> Message:
    """Several of them, with commas; "nothing" for none."""
    if not items:
        return _("nothing")
    result = name(items[0])
    for item in items[1:]:
        result = _("%(first)s, %(then)s", first=result, then=name(item))
    return result
