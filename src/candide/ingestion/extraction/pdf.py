"""PDF, by PDFium: its lines become paragraphs and headings again, page by page.

Lines that stand at the head or the foot of most pages are left out, and so is what nobody sees: text without size, off
the page, or white on white. Text that is drawn invisibly stays: it is how a scan says what is in its picture.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.draft import Draft, clean, join_spaces

MIN_SIZE = 1.0
"""Points; smaller text is there to be not seen."""
FURNITURE_PAGES = 0.6
"""The part of the pages that a line at their edge must stand on to be none of the text."""
HEADING_SIZE = 1.15
"""How much larger than the text a heading is."""
MAX_HEADING_CHARACTERS = 200
MAX_LEVELS = 4
RENDERED_PIXELS = 800
"""Of the longer side of a page that is drawn to see whether white text stands on white."""

_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_ITEM = re.compile(r"(?:[•‣▪●○◦■□➢✓–—*-]|\(?(?:\d{1,3}|[a-z])[.)])\s+\S")
_DIGITS = re.compile(r"\d+")
_DATE = re.compile(r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?)?")
_HYPHENS = "\x02\u00ad"
_CUT = re.compile(r"([^\W\d_]*)\x02([^\W\d_]*)")
_GENERATED = (2, 10, 13, 32, 160)
"""Characters that PDFium may have put in itself: they have no size."""
_END = re.compile(r"[.!?…:;。！？]['\"”’»)\]]*$")


class _Line:
    __slots__ = ("base", "bottom", "first_base", "is_bold", "left", "right", "size", "text", "top")

    def __init__(self, text: str, left: float, right: float, bottom: float, top: float) -> None:
        self.text = text
        self.left = left
        self.right = right
        self.bottom = bottom
        self.top = top
        # Where its letters stand: what is between two lines is the same from line to line, whatever their letters. A
        # word that is cut at the end of a line makes one line of two.
        self.first_base = 0.0
        self.base = 0.0
        self.size = 0.0
        self.is_bold = False


def read_pdf(data: bytes) -> Document:
    """The document of a PDF; raises UnreadableDocument where it is locked or broken. One of pictures has no text."""
    import pypdfium2 as _pdfium  # pyright: ignore

    pdfium: Any = _pdfium  # pyright: ignore
    raw = pdfium.raw
    try:
        file = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD or "password" in str(error).lower():
            raise UnreadableDocument(
                "the PDF is locked with a password", hint="save it without one"
            ) from error
        raise UnreadableDocument("the PDF is broken", hint="open it and print it to a new PDF") from error
    pages: list[list[_Line]] = []
    broken = 0
    for index in range(len(file)):
        try:
            page = file[index]
        except pdfium.PdfiumError:
            broken += 1
            pages.append([])
            continue
        pages.append(list(_find_lines(page, raw)))
        page.close()
    if broken and broken == len(file):
        raise UnreadableDocument(
            "the PDF is broken: none of its pages can be read", hint="open it and print it to a new PDF"
        )
    _remove_furniture(pages)
    draft = Draft()
    _write(pages, draft)
    said: dict[str, str] = file.get_metadata_dict()
    facts = {
        "title": _tidy(said.get("Title", "")),
        "author": _tidy(said.get("Author", "")),
        "published": parse_pdf_date(said.get("CreationDate", "")),
    }
    if not facts["title"] or re.search(
        r"\.(docx?|tex|dvi|indd|pptx?|xlsx?|odt)$|^untitled|^microsoft", str(facts["title"]), re.I
    ):
        facts["title"] = next((section.heading for section in draft.sections if section.level == 1), "")
    return draft.document(**facts)


def _tidy(text: str) -> str:
    return join_spaces(clean(text))[:500]


def parse_pdf_date(text: str) -> float | None:
    """Seconds since 1970 of a date as PDF writes it, like `D:20240131120000+01'00'`; None for what is none."""
    match = _DATE.match(text.strip())
    if not match:
        return None
    year, month, day, hour, minute, second, sign, hours, minutes = match.groups()
    try:
        date = datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return (date + offset if sign == "-" else date - offset).timestamp()


def _find_lines(page: Any, raw: Any) -> Iterator[_Line]:
    """The lines of a page in PDFium's order, which is that of the file, mended."""
    text_page = page.get_textpage()
    handle = text_page.raw
    count: int = raw.FPDFText_CountChars(handle)
    codes = [raw.FPDFText_GetUnicode(handle, index) for index in range(count)]
    frame: tuple[float, float, float, float] = page.get_bbox()
    white = _WhiteText(page)
    start = 0
    for index in range(count + 1):
        if index < count and codes[index] not in (10, 13):
            continue
        line = _read_line(handle, codes, start, index, raw)
        start = index + 1
        if line is None or line.top - line.bottom < MIN_SIZE * 0.3 or line.size < MIN_SIZE:
            continue
        if line.right < frame[0] or line.left > frame[2] or line.top < frame[1] or line.bottom > frame[3]:
            continue
        if white.hides(line, handle, codes, start, index, raw):
            continue
        yield line
    text_page.close()


def _read_line(handle: Any, codes: list[int], start: int, stop: int, raw: Any) -> _Line | None:
    while start < stop and codes[start] in (32, 160, 0):
        start += 1
    while stop > start and codes[stop - 1] in (32, 160, 0):
        stop -= 1
    if stop <= start:
        return None
    text = "".join(map(chr, codes[start:stop])).translate(_LIGATURES)
    # The first and the last character tell where the line is, one in the middle how large it is.
    middle = (start + stop) // 2
    while middle > start and codes[middle] in _GENERATED:
        middle -= 1
    boxes = [_find_box(handle, index, raw) for index in {start, middle, stop - 1}]
    line = _Line(
        text,
        min(box[0] for box in boxes),
        max(box[1] for box in boxes),
        min(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )
    line.first_base, line.base = _find_base(handle, start, raw), _find_base(handle, stop - 1, raw)
    line.size = _find_size(handle, middle, raw)
    line.is_bold = _is_bold(handle, middle, raw) and _is_bold(handle, start, raw)
    return line


def _find_base(handle: Any, index: int, raw: Any) -> float:
    across, up = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(handle, index, across, up)
    return up.value


def _find_box(handle: Any, index: int, raw: Any) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a character, in points."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    raw.FPDFText_GetCharBox(handle, index, left, right, bottom, top)
    return left.value, right.value, bottom.value, top.value


def _find_size(handle: Any, index: int, raw: Any) -> float:
    """The size that a character is drawn in: that of its font, as the page scales it."""
    matrix = raw.FS_MATRIX()
    size: float = raw.FPDFText_GetFontSize(handle, index)
    if raw.FPDFText_GetMatrix(handle, index, matrix):
        scale = (matrix.b * matrix.b + matrix.d * matrix.d) ** 0.5 or (
            matrix.a * matrix.a + matrix.c * matrix.c
        ) ** 0.5
        return round(size * scale, 1)
    return round(size, 1)


def _is_bold(handle: Any, index: int, raw: Any) -> bool:
    if raw.FPDFText_GetFontWeight(handle, index) >= 600:
        return True
    flags = ctypes.c_int()
    name = ctypes.create_string_buffer(200)
    raw.FPDFText_GetFontInfo(handle, index, name, 200, flags)
    said = name.value.lower()
    return any(word in said for word in (b"bold", b"black", b"heavy", b"demi", b"medi", b"cmbx")) or bool(
        flags.value & (1 << 18)
    )


class _WhiteText:
    """Tells white text on white, which nobody sees, from white text on a colour: the page is drawn where there is any."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._drawn: Any = None
        self._scale = 1.0

    def hides(self, line: _Line, handle: Any, codes: list[int], start: int, stop: int, raw: Any) -> bool:
        red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
        middle = max(0, min(stop - 1, len(codes) - 1))
        while middle > 0 and codes[middle] in (32, 10, 13):
            middle -= 1
        if not raw.FPDFText_GetFillColor(handle, middle, red, green, blue, alpha):
            return False
        if min(red.value, green.value, blue.value) < 250:
            return False
        return self._is_blank(line)

    def _is_blank(self, line: _Line) -> bool:
        if self._drawn is None:
            width, height = self._page.get_size()
            self._scale = min(RENDERED_PIXELS / max(width, height, 1), 2.0)
            self._drawn = self._page.render(scale=self._scale, grayscale=True).to_numpy()
        frame = self._page.get_bbox()
        rows, columns = self._drawn.shape[:2]
        left, right = (
            int((line.left - frame[0]) * self._scale),
            int((line.right - frame[0]) * self._scale) + 1,
        )
        top, bottom = (
            int((frame[3] - line.top) * self._scale),
            int((frame[3] - line.bottom) * self._scale) + 1,
        )
        region = self._drawn[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
        return bool(region.size) and bool(region.min() >= 245)


def _remove_furniture(pages: list[list[_Line]]) -> None:
    """Take out the lines at the edges that most pages share but for their numbers."""
    if len(pages) < 3:
        return
    shared: Counter[str] = Counter()
    for lines in pages:
        shared.update({_key(line) for line in _edges(lines)})
    furniture = {key for key, count in shared.items() if count >= max(3, len(pages) * FURNITURE_PAGES)}
    for index, lines in enumerate(pages):
        doomed = {id(line) for line in _edges(lines) if _key(line) in furniture}
        pages[index] = [line for line in lines if id(line) not in doomed]


def _edges(lines: list[_Line]) -> list[_Line]:
    """The two highest and the two lowest lines of a page."""
    if len(lines) < 3:
        return []
    ordered = sorted(lines, key=lambda line: line.top)
    return ordered[:2] + ordered[-2:]


def _key(line: _Line) -> str:
    return _DIGITS.sub("0", join_spaces(line.text))[:200]


def _write(pages: list[list[_Line]], draft: Draft) -> None:
    sizes: Counter[float] = Counter()
    words: set[str] = set()
    for lines in pages:
        for line in lines:
            sizes[round(line.size * 2) / 2] += len(line.text)
            words.update(line.text.split())
    body = max(sizes, key=lambda size: sizes[size], default=0.0)
    larger = sorted({size for size in sizes if size >= body * HEADING_SIZE}, reverse=True)
    # Sizes that hardly differ are one level.
    levels: dict[float, int] = {}
    last, level = 0.0, 0
    for size in larger:
        if level == 0 or size < last * 0.93:
            level, last = min(level + 1, MAX_LEVELS), size
        levels[size] = level
    for lines in pages:
        draft.page()
        for block in _find_blocks(lines):
            _write_block(block, draft, levels, body, words)


def _find_blocks(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Lines that stand together: near each other, one below the other, of one size."""
    block: list[_Line] = []
    for line in lines:
        if block and _begins_block(block, line):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _begins_block(block: list[_Line], line: _Line) -> bool:
    last = block[-1]
    if abs(line.size - last.size) > 0.12 * max(line.size, last.size) or line.is_bold != last.is_bold:
        return True
    if _ITEM.match(line.text):
        return True
    height = max(last.size, line.size, 1.0)
    pitch = last.base - line.first_base
    if pitch > 2.2 * height:
        return True
    if pitch < -height:
        # A paragraph that goes on in the next column does not end in the middle of a sentence.
        return bool(_END.search(last.text)) or not line.text[:1].islower()
    if len(block) > 1:
        usual = block[-2].base - last.first_base
        if 0 < usual * 1.25 < pitch:
            return True
    elif pitch > 1.75 * height:
        return True
    # A short line that ends a sentence ends a paragraph too; the next begins at the margin, or further in.
    right = max(one.right for one in block)
    return (
        len(block) > 1
        and bool(_END.search(last.text))
        and last.right < right - 0.1 * (right - last.left) - height
    )


def _write_block(
    block: list[_Line], draft: Draft, levels: dict[float, int], body: float, words: set[str]
) -> None:
    first = block[0]
    text = _join(block, words)
    size = round(first.size * 2) / 2
    is_title = len(text) <= MAX_HEADING_CHARACTERS and sum(map(str.isalpha, text)) >= max(3, len(text) // 2)
    if is_title and size in levels and len(block) <= 4:
        draft.heading(levels[size], text)
    elif (
        is_title
        and first.is_bold
        and len(block) <= 2
        and len(text) <= 100
        and size >= body * 0.95
        and not _END.search(text)
        and not _ITEM.match(text[:3] + " x")
    ):
        draft.heading(MAX_LEVELS + 1, text)
    else:
        draft.paragraph(text)


def _join(block: list[_Line], words: set[str]) -> str:
    """The lines as running text where they fill their column, below each other where they do not, as in a table."""
    left, right = min(line.left for line in block), max(line.right for line in block)
    parts: list[str] = []
    for index, line in enumerate(block):
        text = line.text
        if index == len(block) - 1:
            parts.append(text.rstrip(_HYPHENS))
            break
        following = block[index + 1].text
        if text[-1] in _HYPHENS or (
            text[-1] in "-‐" and len(text) > 1 and text[-2].isalpha() and following[:1].islower()
        ):
            parts.append(_mend(text, following, words))
        elif line.right >= right - 0.25 * (right - left) or following[:1].islower():
            parts.append(text + " ")
        else:
            parts.append(text + "\n")
    return _CUT.sub(lambda cut: _mend(cut.group(1) + "-", cut.group(2), words) + cut.group(2), "".join(parts))


def _mend(text: str, following: str, words: set[str]) -> str:
    """A line that ends in a hyphen, which goes unless the document writes the word with it elsewhere."""
    stem = text[:-1]
    beginning = stem.split()[-1] if stem.split() else ""
    rest = re.match(r"[^\W\d_]*", following)
    whole = f"{beginning}-{rest.group() if rest else ''}"
    return f"{stem}-" if whole in words or beginning.isdecimal() else stem
