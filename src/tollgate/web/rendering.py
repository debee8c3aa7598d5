"""Pages out of templates: one Jinja environment, one helper. Templates get plain structs and format nothing themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import MediaType, Response
from litestar.datastructures import Cookie
from litestar.status_codes import HTTP_303_SEE_OTHER

from tollgate import i18n
from tollgate.errors import Message, _
from tollgate.i18n.formats import DayStyle, shown
from tollgate.money.currencies import EXPONENTS
from tollgate.web.forms import Form
from tollgate.web.notices import Notice, NoticeKind, notice_cookie, shown_cookie
from tollgate.web.static_files import static_url

PACKAGE = Path(__file__).parent.parent
NAVIGATION: tuple[tuple[str, Message, str], ...] = (
    ("home", _("Home"), "/"),
    ("clients", _("Clients"), "/clients"),
    ("contracts", _("Contracts"), "/contracts"),
    ("invoices", _("Invoices"), "/invoices"),
    ("payments", _("Payments report"), "/reports/payments"),
    ("settings", _("Settings"), "/settings"),
)
"""Key, word and address of each entry of the members' navigation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What the frame round a member's page shows."""

    organization: str
    member: str = ""
    """Name of who is signed in."""
    active: str = ""
    """Key of NAVIGATION."""
    brand: str | None = None
    """Address of the organization's stylesheet (`web.brand`)."""
    csrf_token: str = ""
    """For the sign-out button."""
    notices: tuple[Notice, ...] = ()
    hidden: frozenset[str] = frozenset()
    """Keys of NAVIGATION that this reader may not open."""
    sign_out: str = "/sign-out"
    switch: str | None = None
    """Where to change to another organization, for a person who belongs to several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """Whose page a client is reading."""

    name: str
    logo: str | None = None
    """Address of the logo, on this host."""
    brand: str | None = None
    email: str = ""
    """Whom to ask."""


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The one Jinja environment: autoescaping, undefined names raise, gettext over `current_locale`."""
    made = Environment(
        loader=_loader(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(i18n.gettext, i18n.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.globals.update(
        _=_say,
        static_url=static_url,
        locale=i18n.current_locale.get,
        direction=i18n.direction,
        navigation=NAVIGATION,
        number_marks=i18n.number_marks,
        other_digits=_other_digits,
        blank_form=lambda: Form({}, csrf_token=""),
    )
    made.filters.update(
        money=i18n.money,
        amount=i18n.amount,
        day=_day,
        instant=i18n.instant,
        percent=i18n.percent,
        number=i18n.number,
        say=i18n.say,
        file_size=i18n.file_size,
    )
    return made


def _loader() -> BaseLoader:
    """`base.html` is ours; `contracts/list.html` is `templates/list.html` of the room `contracts`."""
    rooms = {folder.parent.name: FileSystemLoader(folder) for folder in PACKAGE.glob("*/templates") if folder.parent.name != "web"}
    return ChoiceLoader([FileSystemLoader(PACKAGE / "web" / "templates"), PrefixLoader(rooms)])


@pass_context
def _say(context: Context, text: Message | str, **arguments: Any) -> Any:
    """`_()` of templates: marks and translates text, or shows a `Message` that a rule has marked."""
    if isinstance(text, Message):
        return i18n.translate(text)
    if not arguments:
        return i18n.gettext(text)
    return context.call(context.resolve("gettext"), text, **{name: shown(value) for name, value in arguments.items()})


def _day(value: date, style: DayStyle = "medium") -> str:
    return i18n.day(value, "full" if style == "long" else style)


@lru_cache(maxsize=1)
def _other_digits() -> str:
    """JSON of the currencies that do not have two digits, for `schedule-grid.js`."""
    return json.dumps({code: places for code, places in EXPONENTS.items() if places != 2})


def render(template: str, context: Mapping[str, Any]) -> str:
    """The text of a template in the present locale."""
    return environment().get_template(template).render(context)


def page(
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    cookies: Sequence[Cookie] = (),
    shell: Shell | None = None,
    **context: Any,
) -> Response[str]:
    """A page. It is rendered here, so a mistake in a template is an error of this request and not half an answer."""
    if shell is not None:
        context["shell"] = shell
        if shell.notices:
            cookies = [*cookies, shown_cookie()]
    return Response(
        render(template, {"status": status, **context}),
        media_type=MediaType.HTML,
        status_code=status,
        headers=dict(headers or {}),
        cookies=list(cookies),
    )


def see_other(url: str, *, notice: Message | None = None, kind: NoticeKind = "success", cookies: Sequence[Cookie] = ()) -> Response[None]:
    """303 to a page of this host after a form was taken, with a notice shown there once."""
    if not url.startswith("/") or url.startswith(("//", "/\\")):
        raise ValueError(f"not an address on this host: {url}")
    carried = [*cookies, notice_cookie(notice, kind)] if notice is not None else list(cookies)
    return Response(None, status_code=HTTP_303_SEE_OTHER, headers={"Location": url}, cookies=carried)
