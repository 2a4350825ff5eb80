"""What an answer rests on: frozen into its turn, shown with it, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from candide.domain.citations import Sentence
from candide.domain.messages import Message
from candide.domain.retrieval import Filters
from candide.domain.sources import NumberedSource


class SearchWishes(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Where an answer is to be looked for. Of a conversation they hold until they are changed; a turn freezes its own."""

    libraries: tuple[str, ...] = ()
    """Ids."""
    web: bool = False
    off: bool = False
    """Whether the libraries stay attached and are not searched."""
    limit: int | None = None
    """How many passages at most, where that is fewer than are shown anyway."""
    filters: Filters | None = None
    """What sources must be beside that; its libraries are not looked at."""

    @property
    def is_on(self) -> bool:
        """Whether anything is to be searched."""
        return not self.off and (bool(self.libraries) or self.web)


class Grounding(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Of an answer."""

    query: str = ""
    """What was searched."""
    sources: list[NumberedSource] = []
    is_good: bool = True
    """Whether the sources were good enough to answer from; else they are the nearest."""
    unread: list[str] = []
    """What of the libraries and the question's files could not be read."""
    missing: list[str] = []
    """Parts of the search that did not work."""
    sentences: list[Sentence] = []
    abstained: bool = False
    """Whether the answer is that the sources do not say."""
    extract: list[Sentence] = []
    """Sentences of the sources, shown where the model failed; offsets are those of the answer."""
    checked: bool = False
    """Whether the answer was checked; one that was stopped is not."""


def read_grounding(answer: Message) -> Grounding | None:
    """What an answer rests on; None when it was written without sources."""
    return None if answer.grounding is None else msgspec.convert(answer.grounding, Grounding)


def read_groundings(messages: Iterable[Message]) -> dict[str, Grounding]:
    """Those of all answers, by the question's id; of several answers to a question, the last one's."""
    found: dict[str, Grounding] = {}
    for message in messages:
        grounding = read_grounding(message)
        if grounding is not None and message.parent_id is not None:
            found[message.parent_id] = grounding
    return found


def split_extract(text: str, extract: Sequence[Sentence]) -> tuple[str, str]:
    """An answer's text in two: what the model wrote, and the sentences of the sources that follow it, if there are any."""
    start = extract[0].start if extract else len(text)
    return text[:start], text[start:]
