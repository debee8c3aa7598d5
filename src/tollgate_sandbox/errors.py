"""Refusals in the shape Stripe answers them: `{"error": {"type", "code", "param", "message", …}}`."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """A refusal that becomes an HTTP answer. `saved` says whether an idempotency key keeps it (parameter errors are not kept)."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        saved: bool = True,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.headers = headers or {}
        facts = {"code": code, "message": message, "param": param, "type": kind, **more}
        if code is not None and kind != "api_error":
            facts["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        self.body: dict[str, Any] = {"error": {name: value for name, value in facts.items() if value is not None}}


def parameter_error(message: str, param: str, code: str | None = None) -> StripeError:
    """A parameter that cannot be used; the operation never began."""
    return StripeError(message, param=param, code=code, saved=False)


def unsupported(param: str) -> StripeError:
    """Stripe knows this parameter, the sandbox does not. Refused, because ignoring it would be a false promise."""
    return StripeError(
        f"The sandbox is not Stripe and does not support the parameter '{param}'.",
        param=param,
        code="sandbox_unsupported_parameter",
        saved=False,
    )


def no_such(kind: str, identifier: str, param: str = "id", status: int = 404) -> StripeError:
    """Missing, deleted or another account's: all look the same."""
    return StripeError(f"No such {kind}: '{identifier}'", status=status, code="resource_missing", param=param)
