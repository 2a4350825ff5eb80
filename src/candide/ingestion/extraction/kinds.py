"""What kind of file it is: told by its content first, then by its name, then by the media type that came with it."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal[
    "html", "markdown", "text", "pdf", "docx", "pptx", "sheet", "odf", "epub", "csv", "eml", "msg", "notebook"
]

_OOXML = "application/vnd.openxmlformats-officedocument"
_ODF = "application/vnd.oasis.opendocument"

MEDIA_TYPES: dict[str, Kind] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/plain": "text",
    "application/pdf": "pdf",
    f"{_OOXML}.wordprocessingml.document": "docx",
    f"{_OOXML}.presentationml.presentation": "pptx",
    f"{_OOXML}.spreadsheetml.sheet": "sheet",
    "application/vnd.ms-excel": "sheet",
    f"{_ODF}.text": "odf",
    f"{_ODF}.presentation": "odf",
    f"{_ODF}.spreadsheet": "sheet",
    "application/epub+zip": "epub",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "message/rfc822": "eml",
    "application/vnd.ms-outlook": "msg",
    "application/x-ipynb+json": "notebook",
}
"""What is read, and as what."""

SUFFIXES: dict[str, str] = {
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".pdf": "application/pdf",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".tab": "text/tab-separated-values",
    ".eml": "message/rfc822",
    ".ipynb": "application/x-ipynb+json",
    ".docx": f"{_OOXML}.wordprocessingml.document",
    ".docm": f"{_OOXML}.wordprocessingml.document",
    ".pptx": f"{_OOXML}.presentationml.presentation",
    ".pptm": f"{_OOXML}.presentationml.presentation",
    ".xlsx": f"{_OOXML}.spreadsheetml.sheet",
    ".xlsm": f"{_OOXML}.spreadsheetml.sheet",
    ".xls": "application/vnd.ms-excel",
    ".odt": f"{_ODF}.text",
    ".odp": f"{_ODF}.presentation",
    ".ods": f"{_ODF}.spreadsheet",
    ".epub": "application/epub+zip",
    ".msg": "application/vnd.ms-outlook",
}
"""The media type of files that end so; what ends otherwise and is text is read as text."""

_NAMED: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"BM", "a picture"),
    (b"II*\x00", "a picture"),
    (b"MM\x00*", "a picture"),
    (b"\x1f\x8b", "a compressed file"),
    (b"BZh", "a compressed file"),
    (b"\xfd7zXZ", "a compressed file"),
    (b"(\xb5/\xfd", "a compressed file"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"ustar", "an archive"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound"),
    (b"fLaC", "a sound"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"SQLite format 3", "a database"),
    (b"wOF", "a font"),
    (b"\x00\x01\x00\x00\x00", "a font"),
    (b"OTTO", "a font"),
)
_CONTENT_TYPES = re.compile(
    rb"(wordprocessingml|presentationml|spreadsheetml)\.[\w.]*main\+xml|ms-(word|powerpoint|excel)\.[\w.]*macroEnabled[\w.]*main\+xml"
)
_HTML = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html[\s>]|head[\s>]|body[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_TAGS = re.compile(
    rb"<(p|div|br|h[1-6]|table|ul|ol|li|span|a|section|article|title|meta)[\s/>]", re.IGNORECASE
)
_HEADERS = re.compile(rb"(?:[A-Za-z][A-Za-z0-9-]*:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*){2,}(?:\r?\n|\Z)")
_MAIL_HEADER = re.compile(
    rb"^(from|to|subject|date|message-id|mime-version|received|return-path|delivered-to):", re.I | re.M
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x08")) + b"\x7f"


class Unknown(Exception):
    """It is of no kind that is read; the text says what it is, as a noun."""


def tell_media_type(data: bytes, name: str = "", media_type: str = "") -> str:
    """The media type of a file's bytes, one of MEDIA_TYPES; raises Unknown.

    A name or a media type decides only between kinds that have no mark of their own: text, Markdown, tables, mail.
    """
    declared = media_type.split(";")[0].strip().lower()
    named = SUFFIXES.get(PurePosixPath(name.replace("\\", "/")).suffix.lower(), "")
    beginning = data[:4096]
    if b"%PDF-" in data[:1024]:
        return "application/pdf"
    if beginning.startswith(b"PK\x03\x04"):
        return _tell_zip(data)
    if beginning.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _tell_compound(data)
    for mark, noun in _NAMED:
        if beginning.startswith(mark) and not (mark in (b"BM", b"MZ", b"ID3") and _is_text(data)):
            raise Unknown(noun)
    if beginning[4:8] == b"ftyp":
        raise Unknown("a film, a sound or a picture")
    if beginning.startswith(b"RIFF"):
        raise Unknown("a sound, a film or a picture")
    if not _is_text(data):
        raise Unknown("no text")
    return _tell_text(data, named, declared)


def _tell_text(data: bytes, named: str, declared: str) -> str:
    beginning = data[:4096].removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(beginning):
        return "text/html"
    if beginning.lstrip().startswith(b"{") and b'"cells"' in data and b'"nbformat"' in data:
        return "application/x-ipynb+json"
    for candidate in (named, declared):
        kind = MEDIA_TYPES.get(candidate)
        if kind in ("markdown", "csv", "eml"):
            return candidate
        if kind == "html" and (_TAGS.search(data[: 2**16]) or candidate == declared):
            return candidate
    headers = _HEADERS.match(beginning)
    if headers and len(_MAIL_HEADER.findall(headers.group())) >= 3:
        return "message/rfc822"
    if not named and not declared and len(_TAGS.findall(beginning)) >= 3:
        return "text/html"
    return "text/plain"


def _is_text(data: bytes) -> bool:
    sample = data[: 2**16]
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if not sample:
        return True
    return len(sample) - len(sample.translate(None, _CONTROL)) <= len(sample) // 1000


def _tell_zip(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist()[:10_000])
            if "mimetype" in names:
                with archive.open("mimetype") as file:
                    found = file.read(200).decode("ascii", "replace").strip().removesuffix("-template")
                if found in MEDIA_TYPES:
                    return found
            if "[Content_Types].xml" in names:
                with archive.open("[Content_Types].xml") as file:
                    match = _CONTENT_TYPES.search(file.read(2**20))
                if match:
                    part = (match.group(1) or match.group(2)).decode()
                    suffix = {"w": ".docx", "p": ".pptx"}.get(part[0], ".xlsx")
                    return SUFFIXES[suffix]
            # Writers that leave the list of types out, or compress it in a way that is not read.
            for part, suffix in (
                ("word/document.xml", ".docx"),
                ("ppt/presentation.xml", ".pptx"),
                ("xl/workbook.xml", ".xlsx"),
            ):
                if part in names:
                    return SUFFIXES[suffix]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise Unknown("a broken ZIP archive, or an Office file that was cut off") from error
    raise Unknown("an archive")


def _tell_compound(data: bytes) -> str:
    """Of Microsoft's older container: the names of its streams are UTF-16 in its directory."""

    def has(name: str) -> bool:
        return name.encode("utf-16-le") in data

    if has("EncryptedPackage"):
        raise Unknown("an Office file that is locked with a password")
    if has("__properties_version1.0") or has("__substg1.0_"):
        return "application/vnd.ms-outlook"
    if has("Workbook") or has("Book"):
        return "application/vnd.ms-excel"
    if has("WordDocument"):
        raise Unknown("a document of Word before 2007")
    if has("PowerPoint Document"):
        raise Unknown("a presentation of PowerPoint before 2007")
    raise Unknown("no text")
