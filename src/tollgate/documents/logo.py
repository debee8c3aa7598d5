"""A logo made harmless and cheap: decoded by Pillow, scaled down, and kept as the compressed pixels a PDF wants.

What an organization uploads never enters a document as it came, so nothing can ride along in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from tollgate.documents.pdf import packed
from tollgate.errors import Invalid, _, invalid

MAX_LOGO_BYTES = 2_000_000
MAX_LOGO_PIXELS = 25_000_000
_KEPT_PIXELS = (900, 400)
"""Sharp at 300 dpi in the largest box a theme may give it; more would only make every document larger."""


_UNREADABLE = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, MemoryError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Logo:
    """Pixels ready to embed. `pixels` and `mask` are compressed samples; `mask` is None for an opaque image."""

    width: int
    height: int
    sha256: str
    source: bytes = field(repr=False)
    pixels: bytes = field(repr=False)
    mask: bytes | None = field(repr=False)


@lru_cache(maxsize=64)
def load_logo(data: bytes) -> Logo:
    """Decode a PNG or JPEG of at most 2 MB and 25 million pixels. Raises `Invalid` for anything else."""
    if len(data) > MAX_LOGO_BYTES:
        raise invalid("/logo", _("The logo is larger than %(limit)s MB", limit=MAX_LOGO_BYTES // 1_000_000))
    try:
        return _decode(data)
    except Invalid:
        raise
    except _UNREADABLE:
        raise invalid("/logo", _("The logo is no PNG or JPEG image that can be read")) from None


def _decode(data: bytes) -> Logo:
    with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
        # The header is read, the pixels are not yet.
        if image.width * image.height > MAX_LOGO_PIXELS:
            raise invalid("/logo", _("The logo has more than %(limit)s million pixels", limit=MAX_LOGO_PIXELS // 1_000_000))
        picture = ImageOps.exif_transpose(image).convert("RGBA")
    picture.thumbnail(_KEPT_PIXELS, Image.Resampling.LANCZOS)
    alpha = picture.getchannel("A")
    mask = None if alpha.getextrema() == (255, 255) else packed(alpha.tobytes())
    digest = hashlib.sha256(data).hexdigest()
    return Logo(picture.width, picture.height, digest, data, packed(picture.convert("RGB").tobytes()), mask)
