"""Bodies that come in two shapes, JSON or multipart with a file: read by content type, refused with the same pointers."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from litestar import Request

from tollgate.errors import FieldError, Invalid, _, invalid
from tollgate.http.problems import Problem

T = TypeVar("T")

MOST_BYTES = 52 * 1024 * 1024
"""Largest request with a file: the file's own limit and room for the fields beside it."""

_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`")
_AT = re.compile(r" - at `\$(?P<path>.*)`$")


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file, read whole."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Multipart:
    """The text fields and files of a form."""

    fields: dict[str, str]
    files: dict[str, Upload]


def is_multipart(request: Request[Any, Any, Any]) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_multipart(request: Request[Any, Any, Any], *, known: Collection[str]) -> Multipart:
    """The form; a field that is not `known`, or comes twice, is refused at its pointer."""
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    for name, value in (await request.form()).multi_items():
        if name not in known:
            raise invalid(f"/{name}", _("This member is not known here"))
        if name in fields or name in files:
            raise invalid(f"/{name}", _("This member came twice"))
        if isinstance(value, str):
            fields[name] = value
        else:
            await value.seek(0)
            files[name] = Upload(value.filename or "", value.content_type or "", await value.read())
    return Multipart(fields, files)


async def read_json(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """The JSON body as `kind`; an empty body is `{}`. Raises `Invalid` with the pointer of what does not fit."""
    return decode_json(await request.body() or b"{}", kind)


def decode_json(body: bytes, kind: type[T]) -> T:
    """JSON as `kind`. Raises `Invalid` with the pointer of what does not fit, `Problem` (400) for what is no JSON in UTF-8."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "malformed", _("The body cannot be read as what its media type says")) from None


def _invalid(message: str) -> Invalid:
    where = _AT.search(message)
    path = where["path"] if where else ""
    pointer = "".join(f"/{part}" for part in re.split(r"[.\[\]]+", path) if part)
    unknown = _UNKNOWN.search(message)
    if unknown:
        return Invalid(errors=[FieldError(f"{pointer}/{unknown[1]}", _("This member is not known here"))])
    return Invalid(errors=[FieldError(pointer, _("%(problem)s", problem=_AT.sub("", message)))])
