"""Tool calls that a model writes as text, read while they are being written.

`CallFinder` looks for calls in an answer that may hold prose: `<tool_call>{...}</tool_call>` as
Hermes and Qwen write them, a fenced block of JSON, bare JSON. Only a call of a tool that was offered
is one; anything else stays text, and text that cannot become a call is not held back.

`CallReader` reads an answer that was constrained to be calls and nothing else, and passes their
arguments on while they are written.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import msgspec

OPEN_TAG = "<tool_call>"
CLOSE_TAG = "</tool_call>"
FENCE = "```"

_CALL_MEMBERS = ("name", "function", "arguments", "parameters", "type", "id")
_LONGEST_OPENER = len(OPEN_TAG)
_FENCE_LINE = re.compile(r"```[ \t]*(?:json|JSON|tool_calls?|tool_code|xml)?[ \t]*\n?")


@dataclass(frozen=True)
class CallStart:
    """A call of the answer's `index`th tool begins."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """A piece of that call's arguments, which are JSON as text."""

    index: int
    text: str


Part = str | CallStart | CallArguments


def make_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def parse_calls(text: str, offered: Collection[str]) -> list[tuple[str, str]] | None:
    """The calls that a text consists of, as names and arguments; None when it is anything else."""
    found: list[tuple[str, str]] = []
    for value in _read_values(text):
        for entry in cast("list[Any]", value) if isinstance(value, list) else [value]:
            call = _read_call(entry)
            if call is None or call[0] not in offered:
                return None
            found.append(call)
    return found or None


def _read_values(text: str) -> list[Any]:
    """The JSON values that stand one after the other in a text; none when anything else is there."""
    text = text.strip()
    if text.startswith("{{") and text.endswith("}}"):
        text = text[1:-1]  # as some templates show it by mistake
    try:
        return [msgspec.json.decode(text)]
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return [msgspec.json.decode(line) for line in text.splitlines() if line.strip(" ,\t")]
    except (msgspec.DecodeError, RecursionError):
        return []


def _read_call(entry: Any) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    call = cast("dict[str, Any]", entry)
    if isinstance(call.get("function"), dict):
        call = cast("dict[str, Any]", call["function"])
    name = call.get("name", call.get("function"))
    arguments = call.get("arguments", call.get("parameters", {}))
    if not isinstance(name, str):
        return None
    if isinstance(arguments, dict):
        return name, msgspec.json.encode(arguments).decode()
    if isinstance(arguments, str):
        try:
            msgspec.json.decode(arguments, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return None
        return name, arguments
    return None


class CallFinder:
    """Splits an answer, fed in pieces, into text and calls of the tools that were offered."""

    def __init__(self, offered: Collection[str], *, parallel: bool = True) -> None:
        self._offered = offered
        self._most = 128 if parallel else 1
        self._held = ""
        self._said = False
        self._inside = ""
        self.count = 0

    def feed(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        while self._step(parts):
            pass
        return parts

    def end(self) -> list[Part]:
        """What was still held back when the answer ended."""
        parts: list[Part] = []
        held, self._held = self._held, ""
        content = held
        if self._inside == OPEN_TAG:
            content = held.removeprefix(OPEN_TAG)
        elif self._inside == FENCE:
            content = _FENCE_LINE.sub("", held, count=1)
        if not (self._inside and self._emit_calls(content, parts)):
            self._emit_text(held, parts)
        self._inside = ""
        return parts

    def _step(self, parts: list[Part]) -> bool:
        """Take one thing off what is held; whether there may be another."""
        if not self._held:
            return False
        if not self._inside:
            position, opener = self._find_opener()
            self._emit_text(self._held[:position], parts)
            self._held = self._held[position:]
            self._inside = opener
            return bool(opener)
        if not self._may_be_call():
            # The opener is text; what follows it is looked at anew.
            length = 1 if self._inside == "{" else len(self._inside)
            self._emit_text(self._held[:length], parts)
            self._held = self._held[length:]
            self._inside = ""
            return True
        if self._inside == "{":
            return False
        head = OPEN_TAG if self._inside == OPEN_TAG else self._fence_head()
        if head is None:
            return False
        close = CLOSE_TAG if self._inside == OPEN_TAG else FENCE
        end = self._held.find(close, len(head))
        if end < 0:
            return False
        block = self._held[: end + len(close)]
        if not self._emit_calls(self._held[len(head) : end], parts):
            self._emit_text(block, parts)
        self._held = self._held[len(block) :]
        self._inside = ""
        return True

    def _find_opener(self) -> tuple[int, str]:
        """Where the text stops that is surely no call, and what may begin one there."""
        positions = [(self._held.find(opener), opener) for opener in (OPEN_TAG, FENCE)]
        if not self._said:
            start = len(self._held) - len(self._held.lstrip())
            if self._held[start : start + 1] in ("{", "["):
                positions.append((start, "{"))
        found = [(position, opener) for position, opener in positions if position >= 0]
        if found:
            return min(found)
        for length in range(min(_LONGEST_OPENER, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if OPEN_TAG.startswith(tail) or FENCE.startswith(tail):
                return len(self._held) - length, ""
        return len(self._held), ""

    def _fence_head(self) -> str | None:
        """The line that opens the fence, once it is there."""
        match = _FENCE_LINE.match(self._held)
        assert match is not None
        return match.group() if match.end() < len(self._held) else None

    def _may_be_call(self) -> bool:
        """Whether what follows the opener can still be the JSON of a call."""
        if self._inside == FENCE:
            if "\n" not in self._held and re.fullmatch(r"```[ \t]*\w*[ \t]*", self._held):
                return True
            head = self._fence_head()
            if head is None:
                return True
            content = self._held[len(head) :]
            if content.lstrip().startswith(OPEN_TAG):
                return False
        elif self._inside == OPEN_TAG:
            content = self._held[len(OPEN_TAG) :]
        else:
            content = self._held
        compact = re.sub(r"\s", "", content[:200]).lstrip("[")
        compact = "{" + compact.lstrip("{") if compact.startswith("{") else compact
        if not compact:
            return True
        return any(
            opening.startswith(compact) or compact.startswith(opening)
            for opening in (f'{{"{member}":' for member in _CALL_MEMBERS)
        )

    def _emit_text(self, text: str, parts: list[Part]) -> None:
        if not text or (self.count and not text.strip()):
            return
        if text.strip():
            self._said = True
        parts.append(text)

    def _emit_calls(self, text: str, parts: list[Part]) -> bool:
        calls = parse_calls(text, self._offered)
        if calls is None:
            return False
        # White space between prose and a call says nothing.
        if parts and isinstance(parts[-1], str) and not parts[-1].strip():
            parts.pop()
        for name, arguments in calls[: self._most - self.count]:
            parts.append(CallStart(self.count, make_call_id(), name))
            parts.append(CallArguments(self.count, arguments))
            self.count += 1
        return True


_CALL_HEAD = re.compile(r'[\s,\[\]}]*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')
"""From the end of one call's arguments to the beginning of the next one's."""


class CallReader:
    """Reads `[{"name": ..., "arguments": {...}}, ...]` or one such object, as it is written."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.count = 0

    def feed(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        while self._held:
            if not self._inside:
                match = _CALL_HEAD.match(self._held)
                if match is None:
                    break
                name = msgspec.json.decode(match.group(1), type=str)
                parts.append(CallStart(self.count, make_call_id(), name))
                self._held = self._held[match.end() :]
                self._inside = True
                continue
            if self._depth == 0:
                self._held = self._held.lstrip()
            length = self._scan()
            if length:
                parts.append(CallArguments(self.count, self._held[:length]))
            ended = self._depth == 0 and length > 0
            self._held = self._held[length:]
            if not ended:
                break
            self._inside = False
            self.count += 1
        return parts

    def end(self) -> list[Part]:
        """Nothing is left to say; a call that was cut off counts all the same."""
        if self._inside:
            self.count += 1
        return []

    def _scan(self) -> int:
        """How much of what is held belongs to the arguments, up to the brace that closes them."""
        for position, character in enumerate(self._held):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return position + 1
        return len(self._held)
