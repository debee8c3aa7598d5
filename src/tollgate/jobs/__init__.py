"""Work outside the transaction that asked for it: enqueue, lease, retry, dead letter."""

from tollgate.jobs.service import Job, enqueue

__all__ = ["Job", "enqueue"]
