"""E-mail: who wrote what to whom and when, then what was written."""

from __future__ import annotations

import email
import email.policy
import io
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.charsets import decode
from candide.ingestion.extraction.draft import Draft, join_spaces
from candide.ingestion.extraction.html import read_fragment


def read_mail(data: bytes) -> Document:
    """A message as RFC 5322 has it: its subject is the heading, its text follows; attachments are named only."""
    message: Any = email.message_from_bytes(data, policy=email.policy.default)
    subject, sender = _header(message, "Subject"), _header(message, "From")
    draft = Draft()
    write_head(
        draft, subject, sender, _header(message, "To"), _header(message, "Cc"), _header(message, "Date")
    )
    body: EmailMessage | None = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        text = _text(body)
        if body.get_content_type() == "text/html":
            read_fragment(text, draft)
        else:
            write_lines(draft, text)
    names = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    if names:
        draft.paragraph("Attachments: " + ", ".join(names))
    return draft.document(title=subject, author=sender, published=_date(_header(message, "Date")))


def read_outlook(data: bytes) -> Document:
    """A message that Outlook saved (MS-OXMSG): its properties are streams of a compound file."""
    import olefile as _olefile  # pyright: ignore

    olefile: Any = _olefile  # pyright: ignore
    try:
        streams = olefile.OleFileIO(io.BytesIO(data))
    except (OSError, ValueError) as error:
        raise UnreadableDocument("it is broken: it is no message of Outlook") from error

    def find(tag: str, folder: str = "") -> str:
        """A property that is text: in UTF-16, or in a charset that the message does not tell."""
        for suffix in ("001F", "001E", "0102"):
            path = f"{folder}__substg1.0_{tag}{suffix}"
            if streams.exists(path):
                value: bytes = streams.openstream(path).read()
                return value.decode("utf-16-le", "replace") if suffix == "001F" else decode(value)
        return ""

    subject, sender, address = find("0037"), find("0C1A"), find("5D01") or find("0C1F")
    who = f"{sender} <{address}>" if "@" in address and address != sender else sender
    published = _find_outlook_date(streams)
    date = "" if published is None else datetime.fromtimestamp(published, UTC).isoformat(" ", "minutes")
    draft = Draft()
    write_head(draft, subject, who, find("0E04"), find("0E03"), date)
    body, page = find("1000"), find("1013")
    if body.strip():
        write_lines(draft, body)
    elif page:
        read_fragment(page, draft)
    folders = sorted({path[0] for path in streams.listdir() if path[0].startswith("__attach_")})
    names = [find("3707", f"{folder}/") or find("3704", f"{folder}/") for folder in folders]
    if any(names):
        draft.paragraph("Attachments: " + ", ".join(name for name in names if name))
    return draft.document(title=join_spaces(subject), author=join_spaces(who), published=published)


def _find_outlook_date(streams: Any) -> float | None:
    """When the message was submitted or delivered: a count of 100 ns since 1601, among the properties of fixed size."""
    if not streams.exists("__properties_version1.0"):
        return None
    properties: bytes = streams.openstream("__properties_version1.0").read()
    for tag in (b"\x40\x00\x39\x00", b"\x40\x00\x06\x0e"):
        for start in range(32, len(properties) - 15, 16):
            if properties[start : start + 4] == tag:
                return int.from_bytes(properties[start + 8 : start + 16], "little") / 1e7 - 11_644_473_600
    return None


def write_head(draft: Draft, subject: str, sender: str, to: str, cc: str, date: str) -> None:
    """The lines above a message; those that are empty are left out."""
    draft.heading(1, subject)
    lines = (("From", sender), ("To", to), ("Cc", cc), ("Date", date))
    draft.paragraph("\n".join(f"{name}: {value}" for name, value in lines if value))


def write_lines(draft: Draft, text: str) -> None:
    """The paragraphs of a plain message."""
    for block in text.replace("\r\n", "\n").split("\n\n"):
        draft.paragraph(block)


def _header(message: Any, name: str) -> str:
    try:
        return join_spaces(str(message.get(name) or ""))[:1000]
    except Exception:  # noqa: BLE001 - the standard library's parser raises many things over broken headers
        return ""


def _text(part: Any) -> str:
    data = part.get_payload(decode=True)
    return decode(data if isinstance(data, bytes) else b"", part.get("Content-Type", ""))


def _date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
