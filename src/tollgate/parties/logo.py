"""An uploaded logo, made harmless: decoded and encoded anew, so that nothing rides along in it."""

from __future__ import annotations

import asyncio
import warnings
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from tollgate.errors import Invalid, TooLarge, _, invalid

MOST_BYTES = 2_000_000
MOST_PIXELS = 25_000_000
_BOX = (900, 400)
"""Sharp at 300 dpi in the largest box a document gives it."""


async def reencoded(upload: bytes) -> bytes:
    """A PNG of at most 900 by 400 pixels. Raises `Invalid` at /logo for anything but a PNG or JPEG, `TooLarge` over 2 MB."""
    if len(upload) > MOST_BYTES:
        raise TooLarge(_("The logo is larger than 2 MB"))
    return await asyncio.to_thread(_reencoded, upload)


def _reencoded(upload: bytes) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(BytesIO(upload), formats=("PNG", "JPEG")) as image:
                # The header tells the size before any pixel is unpacked: a bomb is refused while it is small.
                if image.width * image.height > MOST_PIXELS:
                    raise invalid("/logo", _("The logo has more than 25 million pixels"))
                picture = ImageOps.exif_transpose(image).convert("RGBA")
    except Invalid:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError, Warning):
        raise invalid("/logo", _("The logo is no PNG or JPEG image that can be read")) from None
    picture.thumbnail(_BOX, Image.Resampling.LANCZOS)
    # A new image takes over pixels only: no text chunks, no profile, no EXIF.
    clean = Image.new("RGBA", picture.size)
    clean.paste(picture)
    written = BytesIO()
    clean.save(written, format="PNG", optimize=True)
    return written.getvalue()
