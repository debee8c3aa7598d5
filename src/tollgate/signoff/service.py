"""The verbs of sign-off under one name. They live beside, by what they are about: rounds, decisions, links, the client's page."""

from tollgate.signoff.service_decisions import CodeNeeded, approve_by_link, record_approval, reopen_in, request_changes_by_link
from tollgate.signoff.service_input import Delivery, LinkDecision, Recorded
from tollgate.signoff.service_links import (
    NothingToRemind,
    confirm_colleague,
    copy_link,
    decline_colleague,
    propose_colleague,
    record_open,
    remind,
    request_code,
    revoke_link,
    send_link,
)
from tollgate.signoff.service_page import LinkPage, link_file, link_page
from tollgate.signoff.service_rounds import deliver, withdraw
from tollgate.signoff.service_views import RoundView, round_view
from tollgate.signoff.tokens import VerifiedLink, mint, read_token, verify

__all__ = [
    "CodeNeeded",
    "Delivery",
    "LinkDecision",
    "LinkPage",
    "NothingToRemind",
    "Recorded",
    "RoundView",
    "VerifiedLink",
    "approve_by_link",
    "confirm_colleague",
    "copy_link",
    "decline_colleague",
    "deliver",
    "link_file",
    "link_page",
    "mint",
    "propose_colleague",
    "read_token",
    "record_approval",
    "record_open",
    "remind",
    "reopen_in",
    "request_changes_by_link",
    "request_code",
    "revoke_link",
    "round_view",
    "send_link",
    "verify",
    "withdraw",
]
