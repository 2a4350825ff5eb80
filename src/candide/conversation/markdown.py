"""A conversation to be read: one branch as Markdown, with its pictures and files as links."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from candide.conversation.fences import close_fences
from candide.domain.grounding import Grounding, read_grounding, split_extract
from candide.domain.messages import Conversation, File, Message
from candide.domain.sources import NumberedSource

NOT_BORNE_OUT = "The sources do not bear this answer out. Their own sentences that come nearest:"
NO_ANSWER = "Extract of the sources: the model gave no answer, and these are their own sentences."
"""What stands before the sentences of an extract."""

_UNSAFE = re.compile(r"[^\w.-]+")
_IN_LINK = re.compile(r"([\[\]\\`*_<>])")


def write_markdown(conversation: Conversation, branch: Sequence[Message], *, files: str = "files/") -> str:
    """A heading for each who speaks, and what they said as it stands; `files` is the folder of what they attached."""
    parts = [f"# {' '.join(conversation.title.split()) or 'Conversation'}"]
    for message in branch:
        moment = _moment(message.created_at)
        speaker = "You" if message.role == "user" else message.model or message.role.capitalize()
        state = "" if message.state == "complete" else f", {message.state}"
        parts.append(f"## {' '.join(speaker.split())} ({moment}{state})")
        if message.reasoning.strip():
            quoted = "\n".join(f"> {line}".rstrip() for line in message.reasoning.strip("\n").split("\n"))
            parts.append(f"<details><summary>Reasoning</summary>\n\n{quoted}\n\n</details>")
        grounding = read_grounding(message)
        own, extract = split_extract(message.text, grounding.extract if grounding is not None else [])
        if own.strip():
            parts.append(close_fences(own.strip("\n")))
        if extract:
            is_refuted = bool(own.strip()) and message.finish_reason != "extract"
            parts.append(NOT_BORNE_OUT if is_refuted else NO_ANSWER)
            parts.append("\n".join(f"> {line}".rstrip() for line in extract.strip("\n").split("\n")))
        if grounding is not None:
            parts.extend(_describe_grounding(grounding))
        parts.extend(link for part in message.parts if (link := _link(part, files)))
    return "\n\n".join(parts) + "\n"


def _describe_grounding(grounding: Grounding) -> list[str]:
    """The sources of an answer with what is cited of them, and what none of them bears out."""
    parts: list[str] = []
    if grounding.unread:
        lines = [f"- {' '.join(line.split())}" for line in grounding.unread]
        parts.append("\n".join(["Could not be read:", "", *lines]))
    if grounding.sources:
        quotes: dict[int, dict[str, None]] = {}
        for sentence in (*grounding.sentences, *grounding.extract):
            for citation in sentence.citations:
                quotes.setdefault(citation.number, {})[" ".join(citation.quote.split())] = None
        lines: list[str] = []
        for source in grounding.sources:
            lines.append(f"- [{source.number}] {_name_source(source)}")
            lines.extend(f"  > {_escape(quote)}" for quote in quotes.get(source.number, ()))
        parts.append("\n".join(["Sources:" if grounding.is_good else "The nearest sources:", "", *lines]))
    doubtful = [s for s in grounding.sentences if s.support == "unsupported"]
    if doubtful:
        lines = [f"- {_escape(' '.join(sentence.text.split()))}" for sentence in doubtful]
        parts.append("\n".join(["No source bears out:", "", *lines]))
    return parts


def _name_source(source: NumberedSource) -> str:
    title = _escape(" ".join((source.title or source.uri).split()))
    # Nothing but a web address is a link: what a source calls itself is not to be believed.
    is_link = re.fullmatch(r"https?://[^\s<>()]+", source.uri) is not None
    date = "" if source.published is None else f", {_moment(source.published)[:10]}"
    site = f", {_escape(source.site)}" if source.site else ""
    return f"{f'[{title}]({source.uri})' if is_link else title}{site}{date}"


def _escape(text: str) -> str:
    return _IN_LINK.sub(r"\\\1", text)


def file_path(file: File) -> str:
    """Where a file lies in an archive, under its folder of files."""
    name = _UNSAFE.sub("_", file.name).strip("._")[-80:]
    return f"{file.id}-{name}" if name else file.id


def page_path(conversation: Conversation) -> str:
    """What the page of a conversation is called in an archive."""
    name = _UNSAFE.sub("-", conversation.title.strip()).strip("-.")[:60].strip("-.")
    day = _moment(conversation.created_at)[:10]
    return f"{day}-{name or 'conversation'}-{conversation.id[-6:]}.md"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"


def _link(part: dict[str, Any], files: str) -> str:
    try:
        file = msgspec.convert(part.get("file"), File)
    except msgspec.ValidationError:
        return ""
    name = _escape(" ".join(file.name.split()))
    return f"{'!' if file.is_image else ''}[{name}]({files}{file_path(file)})"
