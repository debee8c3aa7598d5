"""The audit trail: a closed catalogue of events, chained by hashes."""

from tollgate.audit.service import Verification, head, record, verify

__all__ = ["Verification", "head", "record", "verify"]
