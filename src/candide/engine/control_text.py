"""Text that must stay text: what people write can never become a control token of the chat template.

A tokenizer turns `<|im_start|>` into the token that opens a message wherever it stands in a prompt,
in a question or a web page too. So every such text is broken on its way in, by an invisible word
joiner after its first character, and what the model repeats of it is mended on its way out: the
reader sees exactly what was written. Breaking is reversible, whatever the text holds already, and
depends on nothing but the text, so that the engine's cached prefixes still serve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

BREAK = "\u2060"

_PREFIX_LENGTH = 3
_MARKUP = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]{0,9}/?>")
_SENTENCE_MARKS = frozenset({"<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<cls>", "<sep>"})

# What the templates of the common families use; for servers that do not show their vocabulary.
COMMON_CONTROL_TEXTS = (
    *_SENTENCE_MARKS,
    *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<turn|>", "<|turn>"),
    *("[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]"),
    *("[/AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]", "[ARGS]", "[IMG]"),
    *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
    *("]~b]", "[e~[", "<seed:bos>", "<seed:eos>"),
)
_PIPED = re.compile(r"<[|｜](?=[^<>\n]{1,80}[|｜]>)")


class ControlTexts:
    """The texts that one model's tokenizer takes for control tokens."""

    def __init__(self, texts: Iterable[str], template: str = "", *, any_piped: bool = False) -> None:
        """Of `texts`, plain markup like `<b>` counts only when the chat template uses it.

        With `any_piped` everything that looks like `<|this|>` counts, for vocabularies that are not known.
        """
        by_prefix: dict[str, list[str]] = {}
        firsts: set[str] = {"<"} if any_piped else set()
        for text in set(texts):
            # A single character cannot be broken, and white space is never a command.
            if len(text.strip()) < 2 or text[0].isspace():
                continue
            if _MARKUP.fullmatch(text) and text not in _SENTENCE_MARKS and text not in template:
                continue
            firsts.add(text[0])
            by_prefix.setdefault(text[:_PREFIX_LENGTH], []).append(text)
        self._by_prefix = {prefix: tuple(found) for prefix, found in by_prefix.items()}
        self._any_piped = any_piped
        characters = "".join(re.escape(first) for first in sorted(firsts))
        self._first = re.compile(f"[{characters}]") if firsts else None
        self._broken = re.compile(f"([{characters}]){BREAK}") if firsts else None

    def escape(self, text: str) -> str:
        """The text with every control text in it broken; the same object when there is none."""
        if self._first is None:
            return text
        pieces: list[str] = []
        copied = 0
        for match in self._first.finditer(text):
            position = match.end()
            # A break that was there already is doubled, so that mending gives it back.
            if text.startswith(BREAK, position) or self._begins_at(text, match.start()):
                pieces += (text[copied:position], BREAK)
                copied = position
        return "".join(pieces) + text[copied:] if pieces else text

    def mend(self, text: str) -> str:
        """The inverse of `escape`."""
        return self._broken.sub(r"\1", text) if self._broken else text

    def is_first(self, character: str) -> bool:
        return self._first is not None and self._first.match(character) is not None

    def _begins_at(self, text: str, position: int) -> bool:
        if self._any_piped and _PIPED.match(text, position):
            return True
        for length in range(2, _PREFIX_LENGTH + 1):
            found = self._by_prefix.get(text[position : position + length])
            if found and text.startswith(found, position):
                return True
        return False


class Escape:
    """One request's texts on their way in; `happened` tells whether any of them was broken."""

    def __init__(self, texts: ControlTexts) -> None:
        self.texts = texts
        self.happened = False

    def text(self, text: str) -> str:
        escaped = self.texts.escape(text)
        self.happened = self.happened or escaped is not text
        return escaped

    def tree(self, value: Any) -> Any:
        """The same for every string in a JSON value, the names of members too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.tree(item) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            return {self.text(name): self.tree(item) for name, item in cast("dict[str, Any]", value).items()}
        return value


class Mender:
    """Mends a text that comes in pieces."""

    def __init__(self, texts: ControlTexts) -> None:
        self._texts = texts
        self._after_first = False

    def feed(self, text: str) -> str:
        if not text:
            return text
        if self._after_first and text[0] == BREAK:
            rest, mended = text[1:], ""
            if not rest:
                self._after_first = False
                return ""
            mended = self._texts.mend(rest)
        else:
            rest = text
            mended = self._texts.mend(text)
        self._after_first = self._texts.is_first(rest[-1])
        return mended
