"""What readers of exports give: a whole conversation, and the files and folder that it asks for.

Ids are derived from those of the source, so that reading the same export again gives the same ids. A
message's id begins with its time, as all ids do, and ends with what is the source's alone: that end finds
the message again although a later export tells another time. Readers believe nothing of what they read.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import msgspec

from candide.domain.ids import spell_id
from candide.domain.messages import Conversation, Message

MAX_TEXT_CHARS = 4_000_000
MAX_NAME_CHARS = 300
IDENTITY_CHARS = 13
"""How many characters at the end of a derived message id are the source's alone."""

_ORDERS = 1 << 15
_LAST_MS = (1 << 48) - 1


class WantedFile(msgspec.Struct, kw_only=True):
    """A file of a message, as the source names it; its bytes, where the document itself holds them."""

    key: str
    name: str = ""
    media_type: str = ""
    data: bytes | None = None

    def as_part(self) -> dict[str, Any]:
        """The part that holds the file's place in a message until it is stored."""
        return {"type": WANTED, "key": self.key}


WANTED = "wanted_file"


class WantedFolder(msgspec.Struct, kw_only=True):
    name: str
    instructions: str | None = None


class ImportedTree(msgspec.Struct, kw_only=True):
    """A conversation as it was read; parents come before their children."""

    conversation: Conversation
    messages: list[Message]
    files: dict[str, WantedFile] = {}
    """By their keys. Those that parts of the messages stand for."""
    folder: WantedFolder | None = None
    notes: list[str] = []
    """What of it was left out or changed, each a sentence for the user."""


class UnreadableError(Exception):
    """A conversation cannot be taken over; the text says why, and `title` names it if it has one."""

    def __init__(self, reason: str, title: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.title = title


def derive_id(prefix: str, *names: str) -> str:
    """An id that stands for these names, and for nothing else."""
    return spell_id(prefix, _digest(names) >> 126)


def derive_message_id(moment: float, order: int, *names: str) -> str:
    """The id of a message of this time, in seconds; `order` sorts those of one millisecond."""
    extra, order = divmod(order, _ORDERS)
    ms = min(max(0, int(moment * 1000)) + extra, _LAST_MS)
    return spell_id("msg", (ms << 15 | order) << 65 | _digest(names) >> 191)


def identity(message_id: str) -> str:
    """What of a derived id is the source's alone, whatever the time."""
    return message_id[-IDENTITY_CHARS:]


def _digest(names: tuple[str, ...]) -> int:
    data = "\0".join(names).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(data).digest())


def clean_text(text: str) -> str:
    """The text with U+FFFD for what no database keeps: NUL, and half of a surrogate pair."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def clean_value(value: Any) -> Any:
    """JSON of any shape with its texts cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [clean_value(member) for member in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {clean_text(k): clean_value(member) for k, member in cast("dict[str, Any]", value).items()}
    return value


# What a member is, whatever stands there: the shapes of others' documents change without notice.


def as_dict(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def as_moment(value: Any) -> float | None:
    """Seconds since 1970 of a number that may be one, in seconds, milliseconds or nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e20:
        return None
    moment = float(value)
    while moment > 1e11:
        moment /= 1000
    return moment
