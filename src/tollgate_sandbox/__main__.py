"""`python -m tollgate_sandbox`."""

from __future__ import annotations

import sys

from tollgate_sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main())
