"""How large a random suite runs, and from which seed: small in every run, large with TOLLGATE_PROOF=1 (`make proof`)."""

from __future__ import annotations

import os

PROOF = "TOLLGATE_PROOF"
SEED = "TOLLGATE_SEED"
DEFAULT_SEED = 20261124


def size(suite: int, proof: int) -> int:
    """How often: `suite` times, or `proof` times in the long run; another number in TOLLGATE_PROOF is taken as it is."""
    asked = os.environ.get(PROOF, "")
    if not asked.isdigit() or asked == "0":
        return suite
    return proof if asked == "1" else int(asked)


def seed() -> int:
    """TOLLGATE_SEED, else always the same one, so that a failure of the suite is the same everywhere."""
    return int(os.environ.get(SEED, DEFAULT_SEED))
