"""Plans for misbehaviour as scripts send them (JSON) and as the page sends them (a form)."""

from __future__ import annotations

from typing import Any

from tollgate_sandbox.asgi import Request
from tollgate_sandbox.faults import CallFault, Faults
from tollgate_sandbox.store import account_named
from tollgate_sandbox.webhooks import Webhooks

_NAMES: dict[type, str] = {int: "an integer", str: "a text", bool: "true or false", float: "a number"}
NUMBER = float


def read(request: Request, **members: type) -> dict[str, Any]:
    """The members of a JSON body, of just these types; what is null counts as absent. Raises ValueError for anything else."""
    wish = request.json()
    if unknown := set(wish) - set(members):
        raise ValueError(f"unknown members: {', '.join(sorted(unknown))}")
    found = {name: value for name, value in wish.items() if value is not None}
    for name, value in found.items():
        wanted = members[name]
        fits = isinstance(value, (int, float)) if wanted is NUMBER else isinstance(value, wanted)
        if wanted is not object and (not fits or (isinstance(value, bool) and wanted is not bool)):
            raise ValueError(f"{name} must be {_NAMES[wanted]}")
    return found


def plan_call(faults: Faults, request: Request) -> CallFault:
    """`POST /_sandbox/faults`: a fault for API calls; `times` of null means until cleared."""
    wish = read(request, kind=str, match=str, times=int, skip=int, account=str, seconds=NUMBER)
    if "kind" not in wish:
        raise ValueError("kind is needed")
    if "times" in request.json():
        wish.setdefault("times", None)
    return faults.call(wish.pop("kind"), **wish)


def plan_other(faults: Faults, request: Request, what: str) -> None:
    """`POST /_sandbox/faults/webhooks`, `/down` and `/clock`."""
    if what == "down":
        wish = read(request, down=bool, account=str)
        faults.down(wish.get("down", True), account=wish.get("account"))
    elif what == "clock":
        faults.clock(read(request, offset=NUMBER).get("offset", 0.0))
    else:
        members: dict[str, type] = {"duplicate": int, "shuffle": bool, "hold": bool, "account": str, "delay": object, "lose": object}
        wish = read(request, **members, seed=object)
        faults.webhooks(**wish | _loose(wish))


def _loose(wish: dict[str, Any]) -> dict[str, Any]:
    """The members that have several types."""
    checked: dict[str, Any] = {}
    if "delay" in wish:
        delay = wish["delay"]
        if not (isinstance(delay, list) and len(delay) == 2 and all(_is_number(one) for one in delay)):
            raise ValueError("delay must be two numbers of seconds, the smaller first")
        checked["delay"] = tuple(delay)
    if "lose" in wish:
        lose = wish["lose"]
        if not (isinstance(lose, str) or _is_number(lose) or (isinstance(lose, list) and all(isinstance(one, str) for one in lose))):
            raise ValueError('lose must be a probability, "all" or a list of event types')
    if "seed" in wish and not (isinstance(wish["seed"], str) or _is_number(wish["seed"])):
        raise ValueError("seed must be an integer or a text")
    return checked


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plan_from_form(faults: Faults, webhooks: Webhooks, form: dict[str, str]) -> None:
    """What the page's buttons ask for. Raises ValueError with a sentence for the person."""
    what = form.get("do", "")
    account = form.get("account", "").strip() or None
    if what == "call":
        times = form.get("times", "1").strip()
        faults.call(
            form.get("kind", ""),  # type: ignore[arg-type]
            form.get("match", "").strip() or "* /v1/**",
            times=_whole(times, "How often") if times else None,
            skip=_whole(form.get("skip", "").strip() or "0", "Let pass first"),
            seconds=_number(form.get("seconds", "").strip() or "0.5", "Seconds"),
            account=account,
        )
    elif what == "webhooks":
        lose = form.get("lose", "").strip()
        faults.webhooks(
            duplicate=_whole(form.get("duplicate", "").strip() or "0", "Further copies"),
            shuffle="shuffle" in form,
            hold="hold" in form,
            delay=(_number(form.get("least", "").strip() or "0", "Wait at least"), _number(form.get("most", "").strip() or "0", "At most")),
            lose=_lose(lose),
            seed=form.get("seed", "").strip() or "0",
            account=account,
        )
    elif what in ("down", "up"):
        faults.down(what == "down", account=account)
    elif what == "clock":
        faults.clock(_number(form.get("offset", "").strip() or "0", "The clock"))
    elif what == "release":
        webhooks.release(account_named(account))
    elif what == "clear":
        fault = form.get("fault", "")
        faults.clear(_whole(fault, "The fault") if fault else None)
    else:
        raise ValueError("there is no such button")


def _lose(text: str) -> Any:
    if not text:
        return 0.0
    if text == "all":
        return "all"
    if text.endswith("%"):
        return _number(text[:-1].strip(), "To lose") / 100
    return [one.strip() for one in text.split(",") if one.strip()]


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{what}: '{text[:40]}' is not a whole number")
    return int(text)


def _number(text: str, what: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    if value != value or abs(value) == float("inf"):
        raise ValueError(f"{what}: '{text[:40]}' is not a number")
    return value
