"""Forms of pages: what was typed, read into values, with each error beside its field and nothing lost.

A handler reads every field through the `Form`, builds the verb's dataclass when `form.is_valid`, and otherwise renders
the page again with the same `Form` and status 422. Errors of a verb come back through `take`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from litestar import Request
from litestar.datastructures import UploadFile

from tollgate.db.command import KeyReused
from tollgate.errors import Invalid, Message, Stale, TollgateError, _
from tollgate.i18n import current_locale, parse_amount, parse_day, parse_percent
from tollgate.i18n.visible import is_blank
from tollgate.money.amount import Money

MOST_ROWS = 200
"""Rows of a nested list; more are refused, so that a body cannot make a page endless."""
LONGEST_TEXT, LONGEST_TEXTAREA = 500, 20_000
"""Characters of one field, unless the page says otherwise."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters, which PostgreSQL or a PDF cannot hold, and bidi overrides, which make text read other than it is."""


T = TypeVar("T")


class Fields:
    """Reading of named fields; a form reads its own, a row those of its index. A bad value adds an error and reads as None."""

    form: Form

    def name(self, field: str) -> str:
        """The name of the input: `amount`, in a row `milestones-0-amount`."""
        raise NotImplementedError

    def refuse(self, field: str, detail: Message) -> None:
        """Say what is wrong with a field; `""` for the form as a whole."""
        self.form.errors.setdefault(self.name(field) if field else "", []).append(detail)

    def raw(self, field: str) -> str:
        """What was typed, unchanged, `""` when the field did not come."""
        return self.form.value(self.name(field))

    def text(self, field: str, *, most: int = LONGEST_TEXT) -> str:
        """One trimmed line, empty when nothing of it can be seen. Line breaks, control and bidi characters, and too much are refused."""
        return self._clean(field, " ".join(self.raw(field).split("\t")).strip(), most, several_lines=False)

    def long_text(self, field: str, *, most: int = LONGEST_TEXTAREA) -> str:
        """Trimmed text of several lines, with `\\n` between them."""
        return self._clean(field, self.raw(field).replace("\r\n", "\n").replace("\r", "\n").strip(), most, several_lines=True)

    def lines(self, field: str, *, most: int = 50) -> list[str]:
        """One entry per line, blank ones dropped."""
        found = [line.strip() for line in self.long_text(field).split("\n") if not is_blank(line)]
        if len(found) > most:
            self.refuse(field, _("Enter at most %(most)s lines", most=most))
        return found[:most]

    def required(self, field: str, missing: Message, *, most: int = LONGEST_TEXT) -> str:
        """`text`, refusing an empty one with `missing` ("Enter a title")."""
        found = self.text(field, most=most)
        if not found and self.name(field) not in self.form.errors:
            self.refuse(field, missing)
        return found

    def amount(self, field: str, currency: str, *, negative: bool = False) -> Money | None:
        """An amount in the reader's notation; None when empty or refused."""
        return self._read(field, lambda typed: parse_amount(typed, current_locale.get(), currency, negative=negative))

    def percent(self, field: str, *, most: Decimal = Decimal(100)) -> Decimal | None:
        """Per cents from 0 to `most`."""
        found = self._read(field, lambda typed: parse_percent(typed, current_locale.get()))
        if found is not None and found > most:
            self.refuse(field, _("Enter at most %(most)s %%", most=most))
            return None
        return found

    def day(self, field: str) -> date | None:
        """A day, as a date field sends it or as the reader writes it."""
        return self._read(field, lambda typed: parse_day(typed, current_locale.get()))

    def whole(self, field: str, *, least: int = 0, most: int = 100_000) -> int | None:
        """A whole number between `least` and `most`."""
        typed = self.raw(field).strip()
        if not typed:
            return None
        if not re.fullmatch(r"\d{1,9}", typed, re.ASCII) or not least <= int(typed) <= most:
            self.refuse(field, _("Enter a whole number between %(least)s and %(most)s", least=least, most=most))
            return None
        return int(typed)

    def choice(self, field: str, allowed: Iterable[str], *, missing: Message | None = None) -> str | None:
        """One of `allowed`; None when nothing was chosen, which `missing` refuses."""
        typed = self.raw(field).strip()
        if typed in set(allowed) and typed:
            return typed
        if typed or missing is not None:
            self.refuse(field, missing if missing is not None and not typed else _("Choose one of the list"))
        return None

    def uuid(self, field: str, *, missing: Message | None = None) -> uuid.UUID | None:
        """An id; anything else is refused."""
        typed = self.raw(field).strip()
        try:
            return uuid.UUID(typed) if typed or missing is not None else None
        except ValueError:
            self.refuse(field, missing if missing is not None and not typed else _("Choose one of the list"))
            return None

    def ticked(self, field: str) -> bool:
        """Whether a checkbox was ticked."""
        return bool(self.raw(field))

    def _read(self, field: str, reader: Callable[[str], T]) -> T | None:
        typed = self.raw(field)
        if not typed.strip():
            return None
        try:
            return reader(typed)
        except Invalid as error:
            self.refuse(field, error.detail)
            return None

    def _clean(self, field: str, found: str, most: int, *, several_lines: bool) -> str:
        if _UNPRINTABLE.search(found) or (not several_lines and "\n" in found) or (not several_lines and "\r" in found):
            self.refuse(field, _("Remove the characters that cannot be printed"))
            return ""
        if len(found) > most:
            self.refuse(field, _("Shorten this to %(most)s characters; it has %(length)s", most=most, length=len(found)))
        return "" if is_blank(found) else found[:most]


class Row(Fields):
    """One row of a nested list, `milestones-3-…`."""

    def __init__(self, form: Form, prefix: str, number: int) -> None:
        self.form, self.prefix, self.number = form, prefix, number

    def name(self, field: str) -> str:
        return f"{self.prefix}-{self.number}-{field}"

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed in any of its fields."""
        return not any(value.strip() for name, values in self.form.values.items() if name.startswith(self.name("")) for value in values)


class Form(Fields):
    """One form on its way between browser and handler."""

    def __init__(
        self,
        values: Mapping[str, Sequence[str]],
        *,
        csrf_token: str,
        form_key: uuid.UUID | None = None,
        files: Mapping[str, Sequence[UploadFile]] | None = None,
    ) -> None:
        self.values: dict[str, list[str]] = {name: list(found) for name, found in values.items()}
        self.errors: dict[str, list[Message]] = {}
        self.csrf_token = csrf_token
        self.form_key = form_key if form_key is not None else uuid.uuid4()
        """Nonce that makes sending twice the same as sending once; a page that shows the form again gets `next_key`."""
        self.next_key = uuid.uuid4()
        self._files = {name: list(found) for name, found in (files or {}).items()}
        self.form = self

    @classmethod
    def empty(cls, *, csrf_token: str, values: Mapping[str, Any] | None = None) -> Form:
        """A form for its first showing. `values` are text, lists, or anything whose text is right (days, ids); None is left out."""
        shown = {
            name: [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
            for name, value in (values or {}).items()
            if value is not None
        }
        return cls(shown, csrf_token=csrf_token)

    def name(self, field: str) -> str:
        return field

    @property
    def is_valid(self) -> bool:
        """Whether nothing has been refused so far."""
        return not self.errors

    def value(self, name: str) -> str:
        """What was typed into the input called `name`."""
        found = self.values.get(name)
        return found[0] if found else ""

    def all_values(self, name: str) -> list[str]:
        """Every value sent under one name, for groups of checkboxes."""
        return self.values.get(name, [])

    def error(self, name: str) -> Message | None:
        """The first thing wrong with the input called `name`."""
        found = self.errors.get(name)
        return found[0] if found else None

    def action(self, name: str) -> str | None:
        """The value of the submit button called `name`, None when another was pressed."""
        return self.value(name) if name in self.values else None

    def files(self, name: str) -> list[UploadFile]:
        """The uploads under one name; a file field left empty gives none."""
        return [upload for upload in self._files.get(name, []) if upload.filename]

    def take(self, error: TollgateError, *, names: Mapping[str, str] | None = None) -> None:
        """Show a verb's refusal at its fields. `names` maps pointers (`/address/line1`) to inputs called otherwise.

        A stale form learns the version that it now competes with, so that it can be sent again.
        """
        if isinstance(error, Stale) and "version" in error.facts:
            self.values["version"] = [str(error.facts["version"])]
            self.refuse("", _("Somebody saved something else here in the meantime. Check it, then save again to put yours in its place"))
            return
        if isinstance(error, KeyReused):
            self.refuse("", _("This form was sent before, with other words, and that was kept. Send it again only to do it once more"))
            return
        for one in error.errors:
            name = (names or {}).get(one.pointer) or self._name_of(one.pointer)
            self.errors.setdefault(name, []).append(one.detail)
        if not error.errors:
            self.errors.setdefault("", []).append(error.detail)

    def _name_of(self, pointer: str) -> str:
        """`/milestones/2/amount` counts the rows that were read; the input's name counts the rows that were shown."""
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.strip("/").split("/")]
        if len(parts) == 3 and parts[1].isdecimal():
            rows = self.rows(parts[0])
            if int(parts[1]) < len(rows):
                return rows[int(parts[1])].name(parts[2])
        return "-".join(parts)

    def row_numbers(self, prefix: str, *, at_least: int = 0) -> list[int]:
        """The numbers of every row that was sent, blank ones too, for showing them again; filled up to `at_least` rows."""
        found = {int(match[1]) for name in self.values if (match := re.fullmatch(rf"{re.escape(prefix)}-(\d{{1,4}})-\w+", name, re.ASCII))}
        numbers = sorted(found)[:MOST_ROWS]
        while len(numbers) < at_least:
            numbers.append(numbers[-1] + 1 if numbers else 0)
        return numbers

    def rows(self, prefix: str) -> list[Row]:
        """The rows in which something was typed, in order."""
        return [row for number in self.row_numbers(prefix) if not (row := Row(self, prefix, number)).is_blank]

    def with_row_added(self, prefix: str) -> Form:
        """The form with one more blank row at the end (the "Add row" button without script)."""
        numbers = self.row_numbers(prefix)
        added = Form(self.values, csrf_token=self.csrf_token, files=self._files)
        if len(numbers) < MOST_ROWS:
            added.values[f"{prefix}-{numbers[-1] + 1 if numbers else 0}-title"] = [""]
        return added

    def with_row_removed(self, prefix: str, number: str | int | None) -> Form:
        """The form without one row."""
        start = f"{prefix}-{number}-"
        kept = {name: found for name, found in self.values.items() if not name.startswith(start)}
        return Form(kept, csrf_token=self.csrf_token, files=self._files)

    def with_row_moved(self, prefix: str, number: str | int | None, by: int) -> Form:
        """The form with a row changed over with its neighbour; at the end nothing happens."""
        numbers = [str(one) for one in self.row_numbers(prefix)]
        moved = Form(self.values, csrf_token=self.csrf_token, files=self._files)
        if str(number) not in numbers or not 0 <= numbers.index(str(number)) + by < len(numbers):
            return moved
        one, other = f"{prefix}-{number}-", f"{prefix}-{numbers[numbers.index(str(number)) + by]}-"
        swapped = {one: other, other: one}
        moved.values = {self._swapped(name, swapped): found for name, found in self.values.items()}
        return moved

    @staticmethod
    def _swapped(name: str, starts: Mapping[str, str]) -> str:
        for start, instead in starts.items():
            if name.startswith(start):
                return instead + name[len(start) :]
        return name


async def read_form(request: Request[Any, Any, Any], *, csrf_token: str) -> Form:
    """The form that came with a POST, urlencoded or multipart. `csrf_token` is the one for showing it again."""
    values: dict[str, list[str]] = {}
    files: dict[str, list[UploadFile]] = {}
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            files.setdefault(name, []).append(value)
        else:
            values.setdefault(name, []).append(value if isinstance(value, str) else str(value))
    values.pop("csrf_token", None)
    key = values.pop("form_key", [""])[0]
    try:
        form_key = uuid.UUID(key)
    except ValueError:
        raise Invalid(_("This form is incomplete; open the page again and send it once more")) from None
    return Form(values, csrf_token=csrf_token, form_key=form_key, files=files)
