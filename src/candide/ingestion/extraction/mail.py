"""E-mail: who wrote what to whom and when, then what was written."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from candide.domain.sources import Document
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
