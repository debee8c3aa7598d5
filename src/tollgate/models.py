"""Every table, imported in one place for migrations and tests that need the whole metadata."""

from tollgate.access import models as access
from tollgate.audit import models as audit
from tollgate.billing import models as billing
from tollgate.contracts import models as contracts
from tollgate.db import command
from tollgate.db.base import Base
from tollgate.documents import models as documents
from tollgate.files import models as files
from tollgate.jobs import models as jobs
from tollgate.ledger import models as ledger
from tollgate.mail import models as mail
from tollgate.parties import models as parties
from tollgate.payments import models as payments
from tollgate.signoff import models as signoff

metadata = Base.metadata

__all__ = [
    "access",
    "audit",
    "billing",
    "command",
    "contracts",
    "documents",
    "files",
    "jobs",
    "ledger",
    "mail",
    "metadata",
    "parties",
    "payments",
    "signoff",
]
