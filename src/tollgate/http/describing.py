"""The OpenAPI description as it is served: what Litestar makes of the handlers, and what all calls of ours have in common.

Common are the problem documents, the two headers, and that a body with a member that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi.plugins import JsonRenderPlugin

from tollgate.http.problems import PROBLEM_JSON

API = "/api/v1/"
TAKES = "takes"
METHODS = ("get", "post", "put", "patch", "delete")

BYTES = ("/pdf", "/certificate", "/file")
"""Ends of the addresses that answer a file."""
_BYTES = {"type": "string", "format": "binary"}

PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Why a call was refused (RFC 9457). The last part of `type` is stable; other members are facts of that kind.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Each wrong member, by its JSON pointer; `/name` of a query parameter.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
ALWAYS = {
    "401": "No valid API key came along",
    "403": "The key has not this right",
    "422": "Something of what was sent cannot be used; `errors` names it",
    "429": "Too many attempts; `Retry-After` says how long to wait",
    "503": "Something that this needs does not answer; `Retry-After` may say when to try again",
}
MISSING = {"404": "There is no such thing, or not for this key"}
STATE = {"409": "The present state, or somebody quicker, forbids it"}
WRITING = {**STATE, "400": "The body cannot be read as what its media type says", "413": "Larger than the limit"}
STALE = {"412": "If-Match is missing, or not the newest version"}

_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A call that comes again under its key is carried out once, and answered as the first time.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of what was read.",
    "schema": {"type": "string", "examples": ['"1"']},
}


class Description(JsonRenderPlugin):
    """Serves the completed description."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The JSON of it."""
        complete(openapi_schema, request.app)
        return super().render(request, openapi_schema)


@dataclass(frozen=True, slots=True)
class Takes:
    """The body of a handler that reads it itself: a JSON struct, the fields of a form with a file, or either."""

    json: type[msgspec.Struct] | None = None
    form: Mapping[str, str] | None = None
    """Field to JSON schema format; `""` is plain text, `binary` a file. A file is required."""


def takes(*, json: type[msgspec.Struct] | None = None, form: Mapping[str, str] | None = None) -> dict[str, Any]:
    """For a handler's `opt`."""
    return {TAKES: Takes(json, form)}


def complete(description: dict[str, Any], app: Litestar) -> None:
    """Add to a description, in place, what all calls have in common, and the bodies that handlers read themselves."""
    _add_bodies(description, app)
    schemas = description["components"]["schemas"]
    schemas["Problem"] = dict(PROBLEM)
    closed = _closed_names()
    for schema in schemas.values():
        if schema.get("title") in closed:
            schema["additionalProperties"] = False
    for path, item in description["paths"].items():
        if path.startswith(API):
            for method in METHODS:
                if method in item:
                    _complete_operation(path, method, item[method])


def problems_of(path: str, method: str) -> dict[str, str]:
    """The statuses with which a call can be refused, and what each means."""
    found = dict(ALWAYS)
    if "{" in path or path.endswith("/gateway-account"):
        found |= MISSING
    if method != "get":
        found |= WRITING
    elif path.endswith(BYTES):
        found |= STATE
    if is_versioned(path, method):
        found |= STALE
    return dict(sorted(found.items()))


def is_versioned(path: str, method: str) -> bool:
    """Whether a call changes something that exists by its version."""
    return method in {"patch", "delete"} or path.endswith("/archival")


def _add_bodies(description: dict[str, Any], app: Litestar) -> None:
    """The request bodies named by `takes`."""
    own = {
        handler.operation_id: handler.opt[TAKES]
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if TAKES in handler.opt
    }
    for item in description["paths"].values():
        for method in METHODS:
            found = own.get(item.get(method, {}).get("operationId"))
            if found is not None:
                item[method]["requestBody"] = {"required": True, "content": _contents(found, description["components"]["schemas"])}


def _contents(found: Takes, schemas: dict[str, Any]) -> dict[str, Any]:
    contents: dict[str, Any] = {}
    if found.json is not None:
        (reference,), parts = msgspec.json.schema_components([found.json], ref_template="#/components/schemas/{name}")
        schemas.update({name: part for name, part in parts.items() if name not in schemas})
        contents["application/json"] = {"schema": reference}
    if found.form is not None:
        properties = {name: {"type": "string", **({"format": form} if form else {})} for name, form in found.form.items()}
        files = [name for name, form in found.form.items() if form == "binary"]
        schema = {"type": "object", "properties": properties, "required": files, "additionalProperties": False}
        contents["multipart/form-data"] = {"schema": schema}
    return contents


def _complete_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("400", None)  # Litestar's own shape, which is never sent.
    for status, response in responses.items():
        if status == "204":
            response.pop("content", None)
    if path.endswith(BYTES):
        responses["200"]["content"] = {"*/*" if path.endswith("/file") else "application/pdf": {"schema": _BYTES}}
    if path.startswith(f"{API}reports/"):
        responses["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    for status, meaning in problems_of(path, method).items():
        responses[status] = {
            "description": meaning,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    parameters = operation.setdefault("parameters", [])
    if method != "get":
        parameters.append(dict(_IDEMPOTENCY))
    if is_versioned(path, method):
        parameters.append(dict(_IF_MATCH))


def _closed_names() -> frozenset[str]:
    """Names of the structs that refuse unknown members, left out where an open one has the same name."""
    names: dict[str, bool] = {}
    for kind in _structs(msgspec.Struct):
        names[kind.__name__] = kind.__struct_config__.forbid_unknown_fields and names.get(kind.__name__, True)
    return frozenset(name for name, is_closed in names.items() if is_closed)


def _structs(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in kind.__subclasses__():
        if one.__module__.startswith("tollgate."):
            yield one
        yield from _structs(one)
