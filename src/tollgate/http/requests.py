"""The request as our routes see it: a form that cannot be read is the sender's fault, whichever way it is broken."""

from __future__ import annotations

from typing import Any

import litestar
from litestar.datastructures import FormMultiDict
from litestar.exceptions import ClientException, InternalServerException

from tollgate.errors import TooLarge, _
from tollgate.http.problems import Problem

MOST_FIELDS = 10_000
"""Fields of one form. A schedule of 200 rows has some 2,000; of a multipart form Litestar itself takes 1,000 parts."""


class Request(litestar.Request[Any, Any, Any]):
    """Litestar's request, which answers a broken form with 400 and an endless one with 413."""

    async def form(self) -> FormMultiDict:
        """The fields and files. Raises `Problem` for what is no form, `TooLarge` for too many fields."""
        try:
            found = await super().form()
            for name, value in found.multi_items():
                # A part may name a character set in which half a character can be written; nothing else of ours could hold it.
                f"{name}{value if isinstance(value, str) else value.filename}".encode()
        except ClientException as error:
            if error.status_code == 400 and error.detail == "Request Entity Too Large":  # Litestar's words for too many parts.
                raise _too_many() from None
            raise
        except (LookupError, UnicodeError, ValueError) as error:
            # A part in a character set that does not exist, or whose bytes are not of it; a boundary that cannot be one.
            raise Problem(400, "malformed", _("The form cannot be read as what its media type says")) from error
        if len(found) > MOST_FIELDS:
            raise _too_many()
        return found

    async def body(self) -> bytes:
        """The whole body. Raises `Problem` for a sender who went away in the middle of it: nobody is left to read a 500."""
        try:
            return await super().body()
        except InternalServerException as error:
            raise Problem(400, "malformed", _("The body ended too early")) from error


def _too_many() -> TooLarge:
    return TooLarge(_("This form has too many fields"))
