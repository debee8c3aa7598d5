"""Stand-ins for the outside world: a Stripe-like server and a mail catcher, on loopback.

This is not Stripe and not affiliated with Stripe. No card is charged and no money moves. Nothing here imports `tollgate`,
so that the product meets these stand-ins only over HTTP and SMTP, as it would meet the real ones.
"""

from __future__ import annotations

from tollgate_sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
