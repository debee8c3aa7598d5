"""A TrueType face ready for many documents: widths, encoded strings, and embedded subsets made once.

The first 255 glyphs of every embedded font are the same (Latin, punctuation, currency signs), so its bytes are made once
per process; other scripts get further subsets of their own, kept in a small cache. That, and strings encoded by table,
is what makes this about three times faster than ReportLab's own per-document subsetting (`benchmarks/bench_invoice_pdf.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from io import BytesIO
from typing import Any

from reportlab.pdfbase.ttfonts import TTFError, TTFontFace, makeToUnicodeCMap

from tollgate.documents.pdf import Ready, packed, stream
from tollgate.documents.text import BOX

_COMMON = "€–—‘’‚“”„…•‹›′″→−✓□№™‰₺₴₹₽\u202f\u2009\u2007ŠšŽžČčĆćĐđĄąĘęŁłŃńŚśŹźŻżŘřŐőŰűĞğİıŞ"
_SUBSETS_KEPT = 256
Stream = tuple[bytes, bytes]


def _first_subset() -> list[int]:
    """Code → character of the fixed subset: ASCII and Latin-1 at their own codes, the rest of `_COMMON` in the gaps."""
    codes = [0] * 256
    for code in (*range(32, 127), *range(161, 256)):
        codes[code] = code
    codes[160] = 0xA0
    gaps = [*range(1, 32), *range(127, 160)]
    extra = [ord(char) for char in _COMMON if ord(char) > 255]
    for code, char in zip(gaps, extra, strict=False):
        codes[code] = char
    return codes


FIRST_SUBSET = tuple(_first_subset())


def _escaped(code: int) -> str:
    """One byte of a PDF string literal, as ASCII."""
    char = chr(code)
    if char in "()\\":
        return "\\" + char
    return char if 32 <= code < 127 else f"\\{code:03o}"


class _Widths(dict[str, float]):
    """Advance width by character; anything the face lacks is as wide as the box drawn for it."""

    def __missing__(self, char: str) -> float:
        width = self[BOX] if char != BOX else 0.5
        self[char] = width
        return width


class Face:
    """One weight of a typeface. Threads may share it: what is cached is immutable, making a subset takes a lock.

    Raises ValueError for bytes that are no usable TrueType font.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._ttf = TTFontFace(BytesIO(data))
        except TTFError as problem:
            raise ValueError(f"not a usable TrueType font: {problem}") from None
        ttf = self._ttf
        self.covered = frozenset(chr(code) for code in ttf.charToGlyph)
        self.widths = _Widths({chr(code): width / 1000 for code, width in ttf.charWidths.items()})
        self.ascent: float = ttf.ascent / 1000
        self._codes = {char: index for index, char in enumerate(FIRST_SUBSET) if char and chr(char) in self.covered}
        self._literals = {char: _escaped(code) for char, code in self._codes.items()}
        self.first = frozenset(map(chr, self._codes))
        name = ttf.name.decode("latin-1") if isinstance(ttf.name, bytes) else str(ttf.name)
        self._name = "".join(char for char in name if char.isascii() and (char.isalnum() or char == "-")) or "Font"
        self._subsets: OrderedDict[tuple[int, ...], tuple[Stream, Stream]] = OrderedDict()
        self._lock = threading.Lock()

    def width(self, text: str) -> float:
        """Width of one line of text at size 1."""
        return sum(map(self.widths.__getitem__, text))

    def literal(self, text: str) -> str | None:
        """`text` as the inside of a PDF string in the fixed subset, or None where it needs another subset."""
        if text.isascii():
            if text.isprintable():
                return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") if _needs_escape(text) else text
            return None
        return text.translate(self._literals) if self.first.issuperset(text) else None

    def code_in_first(self, char: str) -> int | None:
        """The code of `char` in the fixed subset."""
        return self._codes.get(ord(char))

    def embedded(self, number: int, subset: tuple[int, ...]) -> tuple[Stream, Stream]:
        """The font program stream and the ToUnicode stream of one subset, compressed; made once, then remembered."""
        with self._lock:
            if subset in self._subsets:
                self._subsets.move_to_end(subset)
            else:
                program = self._ttf.makeSubset(list(subset))
                mapping = makeToUnicodeCMap(self.base_name(number), list(subset)).encode("latin-1")
                self._subsets[subset] = (stream(packed(program), f"/Length1 {len(program)}"), stream(packed(mapping), ""))
                if len(self._subsets) > _SUBSETS_KEPT:
                    self._subsets.popitem(last=False)
            return self._subsets[subset]

    def base_name(self, number: int) -> str:
        """PostScript name with the tag that marks subset `number`."""
        tag = "".join(chr(ord("A") + number // 26**place % 26) for place in range(5, -1, -1))
        return f"{tag}+{self._name}"

    def descriptor(self, number: int) -> bytes:
        """The FontDescriptor, with a gap for its font file."""
        ttf = self._ttf
        box = " ".join(f"{edge:.0f}" for edge in ttf.bbox)
        return (
            f"<< /Type /FontDescriptor /FontName /{self.base_name(number)} /Flags 4 /FontBBox [{box}] /ItalicAngle {ttf.italicAngle:.0f}"
            f" /Ascent {ttf.ascent:.0f} /Descent {ttf.descent:.0f} /CapHeight {ttf.capHeight:.0f} /StemV {ttf.stemV}"
            f" /MissingWidth {ttf.defaultWidth:.0f}"
        ).encode() + b" /FontFile2 %b >>\n"

    def dictionary(self, number: int, name: str, subset: tuple[int, ...]) -> bytes:
        """The Font object of one subset, with gaps for ToUnicode and descriptor."""
        ttf = self._ttf
        widths = " ".join(f"{ttf.charWidths.get(code, ttf.defaultWidth):.6g}" for code in subset)
        return (
            f"<< /Type /Font /Subtype /TrueType /Name /{name} /BaseFont /{self.base_name(number)} /FirstChar 0"
            f" /LastChar {len(subset) - 1} /Widths [{widths}]"
        ).encode() + b" /ToUnicode %b /FontDescriptor %b >>\n"


def _needs_escape(text: str) -> bool:
    return "(" in text or ")" in text or "\\" in text


class FontInUse:
    """One face inside one document: which characters beyond the fixed subset it met, in order. ReportLab calls `addObjects`."""

    def __init__(self, face: Face, name: str) -> None:
        self.face = face
        self.name = name
        self._more: list[list[int]] = []
        self._assigned: dict[str, tuple[int, int]] = {}

    def runs(self, text: str) -> list[tuple[int, str]]:
        """`text` as (subset, inside of a PDF string) pairs; characters the face lacks become boxes."""
        runs: list[tuple[int, list[str]]] = []
        for char in text:
            subset, code = self._assigned.get(char) or self._assign(char)
            if not runs or runs[-1][0] != subset:
                runs.append((subset, []))
            runs[-1][1].append(_escaped(code))
        return [(subset, "".join(parts)) for subset, parts in runs]

    def _assign(self, char: str) -> tuple[int, int]:
        shown = char if char in self.face.covered else BOX
        first = self.face.code_in_first(shown)
        if first is not None:
            place = (0, first)
        elif shown not in self.face.covered:
            place = (0, 0)
        else:
            if not self._more or len(self._more[-1]) == 256:
                self._more.append([0])
            # Code 32 is kept for a space: viewers widen it when they justify.
            if len(self._more[-1]) == 32:
                self._more[-1].append(32)
            place = (len(self._more), len(self._more[-1]))
            self._more[-1].append(ord(shown))
        self._assigned[char] = place
        return place

    def addObjects(self, document: Any) -> None:
        """Put this face's subsets into the document (ReportLab's hook, hence the name)."""
        fonts = document.idToObject["BasicFonts"].dict
        for number, subset in enumerate((FIRST_SUBSET, *map(tuple, self._more))):
            name = f"{self.name}+{number}"
            program, mapping = self.face.embedded(number, subset)
            program_reference = document.Reference(Ready(program[0], tail=program[1]), f"program:{name}")
            mapping_reference = document.Reference(Ready(mapping[0], tail=mapping[1]), f"unicode:{name}")
            descriptor = document.Reference(Ready(self.face.descriptor(number), program_reference), f"descriptor:{name}")
            font = Ready(self.face.dictionary(number, name, subset), mapping_reference, descriptor)
            document.Reference(font, name)
            fonts[name] = font
