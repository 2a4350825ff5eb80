"""Bytes become text: by their mark, by UTF-8, by the charset that they declare where it fits, or by likelihood."""

from __future__ import annotations

import codecs
import re

MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE_BYTES = 2**18
"""How much of a file is looked at to tell its charset."""
MIN_TELLING = 16
"""Bytes beyond ASCII; fewer of them tell nothing, and are taken for the west's."""

_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)|^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)""",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
# What the web calls Latin-1 is Windows' charset: https://encoding.spec.whatwg.org/#names-and-labels
_SAID_FOR = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "latin-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
_UNLIKELY = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")


def decode(data: bytes, media_type: str = "") -> str:
    """The text of bytes in a charset that nobody vouches for; what cannot be read is `U+FFFD`.

    The order: a byte order mark; UTF-8, which other charsets' texts hardly ever are by chance; the charset of
    `media_type` or of the document's own beginning, where the bytes are of it; what is most likely.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return data.decode(name, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for name in _find_declared(data, media_type):
        try:
            text = data.decode(name)
        except (UnicodeDecodeError, ValueError):
            continue
        if len(_UNLIKELY.findall(text[:SAMPLE_BYTES])) * 100 <= min(len(text), SAMPLE_BYTES):
            return text
    return _decode_likely(data)


def _find_declared(data: bytes, media_type: str) -> list[str]:
    names = _PARAMETER.findall(media_type)
    for groups in _DECLARED.findall(data[:4096]):
        names.extend(name.decode("ascii", "ignore") for name in groups if name)
    known: list[str] = []
    for name in names:
        try:
            found = codecs.lookup(name)
        except (LookupError, ValueError):
            continue
        # Not one of Python's transformations, like rot13, and not UTF-16, which would have a mark.
        if found._is_text_encoding and found.name not in ("utf-8", "idna", "punycode", "utf-7"):  # pyright: ignore[reportPrivateUsage]
            known.append(_SAID_FOR.get(found.name, found.name))
    return known


def _decode_likely(data: bytes) -> str:
    from charset_normalizer import from_bytes

    # A single broken byte in a text that is UTF-8 otherwise does not make it Windows' charset.
    text = data.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    if 0 < broken <= len(text) // 500 and sum(map(text.count, "éèàüöäñçåøłčšžœ’“”–")) > broken:
        return text
    # Bytes that tell charsets apart are rare in a text of the west: the sample is of lines that have some.
    lines = data[: SAMPLE_BYTES * 16].split(b"\n")
    telling = [line for line in lines if not line.isascii()]
    sample = b"\n".join(telling)[:SAMPLE_BYTES] or data[:SAMPLE_BYTES]
    best = from_bytes(sample).best() if sum(byte >= 128 for byte in sample) >= MIN_TELLING else None
    name = best.encoding if best is not None else "cp1252"
    return data.decode(_SAID_FOR.get(name.replace("_", "-"), name), errors="replace")
