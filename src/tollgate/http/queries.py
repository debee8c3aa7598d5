"""Query parameters of the API: one that is not known is refused, because a filter that is ignored answers the wrong question."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from tollgate.errors import FieldError, Invalid, _

API = "/api/v1/"


def refuse_unknown(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard for the whole application. Raises `Invalid` naming each parameter that the call does not take, or that comes twice."""
    if not connection.url.path.startswith(API):
        return
    names = [name for name, _value in connection.query_params.multi_items()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        # Of two values a proxy, a filter and we might each believe another one.
        raise Invalid(errors=[FieldError(f"/{name}", _("This parameter came twice")) for name in twice])
    unknown = sorted(set(names) - known_parameters(handler))
    if unknown:
        raise Invalid(errors=[FieldError(f"/{name}", _("This parameter is not known here")) for name in unknown])


@lru_cache(maxsize=1024)
def known_parameters(handler: BaseRouteHandler) -> frozenset[str]:
    """The query parameters that a handler declares, by the names that callers use."""
    injected = set(handler.resolve_dependencies())
    declared = handler.parsed_fn_signature.parameters.items()
    return frozenset(getattr(field.kwarg_definition, "name", None) or name for name, field in declared if name not in injected)
