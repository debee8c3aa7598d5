"""Read form-encoded parameters and hold them against the types that Stripe publishes in `stripe.params`.

The names, types and required members come from the TypedDicts of the installed `stripe` library, so that a parameter the
library does not list is refused here as it would be there. Lengths are not in those types and are listed below.
"""

from __future__ import annotations

import re
import types
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import stripe.params
from stripe._request_options import RequestOptions
from typing_extensions import is_typeddict

from tollgate_sandbox.errors import StripeError, parameter_error

Form = dict[str, Any]
"""Parameters as nested dicts with text leaves; list indices are still keys ("0", "1", …)."""

DEFAULT_LENGTH = 5000
LENGTHS = {
    "number": 26,
    "statement_descriptor": 22,
    "invoice.description": 1500,
    "name": 256,
    "email": 512,
    "phone": 20,
    "invoice_prefix": 12,
    "custom_fields[name]": 40,
    "custom_fields[value]": 140,
}
LIST_LENGTHS = {"custom_fields": 4, "types": 20, "expand": 20}
METADATA_KEYS, METADATA_KEY_LENGTH, METADATA_VALUE_LENGTH = 50, 40, 500
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,12})?")
_SEGMENT = re.compile(r"\[([^\[\]]*)\]")


def parse_form(encoded: str) -> Form:
    """Turn `a[b]=1&c[0]=2` into nested dicts. Raises `StripeError` on text that is not form encoding or contradicts itself."""
    form: Form = {}
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(encoded), max_num_fields=5000, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise StripeError("Invalid request: the parameters are not form-encoded UTF-8", saved=False) from None
    for key, value in pairs:
        if "\0" in key or "\0" in value:
            raise parameter_error("Invalid string: contains a null byte", key.replace("\0", ""))
        _place(form, _path(key), value, key)
    return form


def _path(key: str) -> list[str]:
    head, bracket, _ = key.partition("[")
    rest = key[len(head) :]
    segments = _SEGMENT.findall(rest)
    if not head or (bracket and "".join(f"[{segment}]" for segment in segments) != rest) or len(segments) > 8:
        raise parameter_error(f"Invalid parameter name: {key}", key)
    return [head, *segments]


def _place(form: Form, path: list[str], value: str, key: str) -> None:
    here = form
    for segment in path[:-1]:
        name = segment or str(len(here))
        inner = here.setdefault(name, {})
        if not isinstance(inner, dict):
            raise parameter_error(f"Invalid parameter: {key} is given both as a value and as a hash", key)
        here = inner
    name = path[-1] or str(len(here))
    if isinstance(here.get(name), dict):
        raise parameter_error(f"Invalid parameter: {key} is given both as a value and as a hash", key)
    here[name] = value


def validate(form: Form, params_class: str, noun: str) -> dict[str, Any]:
    """Typed parameters of one operation, or a `StripeError` naming the first that is wrong.

    `params_class` names a TypedDict of `stripe.params`; `noun` is the object's kind, for limits that differ by kind.
    An empty string that unsets a member stays `""`.
    """
    return _typed_dict(form, getattr(stripe.params, params_class), "", noun)


@cache
def members(typed_dict: Any) -> dict[str, tuple[Any, bool]]:
    """Member → (type, required) of a `stripe.params` TypedDict, without the client's own request options."""
    # Inherited client options name things of their own module, one of them imported for type checkers only; they are dropped below.
    names = {**vars(stripe._request_options), "StripeContext": object}
    hints = get_type_hints(typed_dict, localns=names, include_extras=True)
    found = {}
    for name, hint in hints.items():
        if name in RequestOptions.__annotations__:
            continue
        required = name in typed_dict.__required_keys__
        if get_origin(hint) in (NotRequired, Required):
            required = get_origin(hint) is Required
            hint = get_args(hint)[0]
        found[name] = (hint, required)
    return found


def _typed_dict(value: Any, typed_dict: Any, where: str, noun: str) -> dict[str, Any]:
    known = members(typed_dict)
    unknown = [_inside(where, name) for name in value if name not in known]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        raise parameter_error(f"Received unknown parameter{plural}: {', '.join(unknown)}", unknown[0], "parameter_unknown")
    for name, (_, required) in known.items():
        if required and name not in value:
            param = _inside(where, name)
            raise parameter_error(f"Missing required param: {param}.", param, "parameter_missing")
    return {name: _typed(inner, known[name][0], _inside(where, name), noun) for name, inner in value.items()}


def _inside(where: str, name: str) -> str:
    return f"{where}[{name}]" if where else name


@cache
def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(choice for part in get_args(hint) for choice in _alternatives(part))
    return (hint,)


def _typed(value: Any, hint: Any, where: str, noun: str) -> Any:
    choices = _alternatives(hint)
    literals = [literal for choice in choices if get_origin(choice) is Literal for literal in get_args(choice)]
    if value == "" and "" in literals:
        return ""
    if isinstance(value, dict):
        return _structured(value, choices, where, noun)
    if value == "" and not any(get_origin(choice) is dict for choice in choices):
        raise parameter_error(
            f"You passed an empty string for '{where}'. We assume empty values are an attempt to unset a field; however '{where}' "
            f"cannot be unset. You should remove '{where}' from your request or supply a non-empty value.",
            where,
            "parameter_invalid_empty",
        )
    return _scalar(value, choices, [literal for literal in literals if literal != ""], where, noun)


def _structured(value: Form, choices: tuple[Any, ...], where: str, noun: str) -> Any:
    for choice in choices:
        if is_typeddict(choice):
            return _typed_dict(value, choice, where, noun)
        if get_origin(choice) is dict:
            return _text_map(value, get_args(choice)[1], where, noun)
        if get_origin(choice) in (list, tuple):
            return _list(value, get_args(choice)[0], where, noun)
    raise parameter_error(f"Invalid {_name_of(choices)}: a hash is not accepted here", where)


def _list(value: Form, hint: Any, where: str, noun: str) -> list[Any]:
    if not all(re.fullmatch("[0-9]{1,6}", index) for index in value):
        raise parameter_error("Invalid array", where)
    limit = LIST_LENGTHS.get(where)
    if limit is not None and len(value) > limit:
        raise parameter_error(f"Invalid array: {where} may have at most {limit} elements", where)
    return [_typed(value[index], hint, f"{where}[{index}]", noun) for index in sorted(value, key=int)]


def _text_map(value: Form, hint: Any, where: str, noun: str) -> dict[str, Any]:
    if hint is not str:
        raise parameter_error(f"The sandbox does not support {where}", where)
    if len(value) > METADATA_KEYS:
        raise parameter_error(f"Metadata can have at most {METADATA_KEYS} keys, you passed in {len(value)}.", where)
    for key, text in value.items():
        param = f"{where}[{key}]"
        if not isinstance(text, str):
            raise parameter_error("Metadata values must be strings, but you passed in a hash or array.", param)
        if len(key) > METADATA_KEY_LENGTH:
            raise parameter_error(
                f"Metadata keys can have up to {METADATA_KEY_LENGTH} characters, but you passed one of {len(key)}.", param
            )
        if len(text) > METADATA_VALUE_LENGTH:
            raise parameter_error(
                f"Metadata values can have up to {METADATA_VALUE_LENGTH} characters, but you passed in one of {len(text)} characters.",
                param,
            )
    return dict(value)


def _scalar(value: str, choices: tuple[Any, ...], literals: list[Any], where: str, noun: str) -> Any:
    if value in literals:
        return value
    if int in choices:
        return _integer(value, where)
    if bool in choices:
        if value not in ("true", "false"):
            raise parameter_error(f"Invalid boolean: {_short(value)}", where)
        return value == "true"
    if Decimal in choices:
        return _decimal(value, where)
    if literals:
        names = [str(literal) for literal in literals]
        allowed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, or {names[-1]}"
        raise parameter_error(f"Invalid {where}: must be one of {allowed}", where)
    if str in choices:
        return _text(value, where, noun)
    raise parameter_error(f"Invalid {_name_of(choices)}: {_short(value)}", where)


def _integer(value: str, where: str) -> int:
    if not _INTEGER.fullmatch(value):
        raise parameter_error(f"Invalid integer: {_short(value)}", where, "parameter_invalid_integer")
    return int(value)


def _decimal(value: str, where: str) -> Decimal:
    try:
        if _DECIMAL.fullmatch(value):
            return Decimal(value)
    except InvalidOperation:
        pass
    raise parameter_error(f"Invalid decimal: {_short(value)}; must be a decimal with at most 12 decimal places", where)


def _text(value: str, where: str, noun: str) -> str:
    plain = re.sub(r"\[[0-9]+\]", "", where)
    limit = LENGTHS.get(f"{noun}.{plain}", LENGTHS.get(plain, DEFAULT_LENGTH))
    if len(value) > limit:
        raise parameter_error(f"Invalid string: {_short(value)}; must be at most {limit} characters", where)
    return value


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:10]}...{value[-10:]}"


def _name_of(choices: tuple[Any, ...]) -> str:
    for choice in choices:
        if is_typeddict(choice) or get_origin(choice) is dict:
            return "object"
        if get_origin(choice) in (list, tuple):
            return "array"
        if choice is int:
            return "integer"
        if choice is bool:
            return "boolean"
    return "string"
