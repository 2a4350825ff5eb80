"""The turn: the durable unit of work that turns one user message into one answer.

`TurnEvent` is a closed union. Everything that a turn shows, to the SSE endpoint, the command line,
the page and the store alike, is one of its members, under a sequence number that starts at 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from candide.domain.citations import Sentence
from candide.domain.grounding import Grounding, SearchWishes
from candide.domain.sources import NumberedSource

TurnState = Literal["queued", "running", "finished", "stopped", "failed"]

UNFINISHED_STATES: tuple[TurnState, ...] = ("queued", "running")
FINAL_STATES: frozenset[TurnState] = frozenset({"finished", "stopped", "failed"})


class Turn(msgspec.Struct, kw_only=True):
    id: str
    conversation_id: str
    user_message_id: str
    answer_message_id: str
    state: TurnState
    model: str
    """The name that the user chose; empty for the default model."""
    params: dict[str, Any] = {}
    """Sampling parameters for the engine, in the OpenAI shape."""
    search: SearchWishes | None = None
    """Where the answer is looked for; what the conversation wished when the question was asked."""
    stop_requested: bool = False
    owner: str | None = None
    """The process that runs it."""
    error: dict[str, Any] | None = None
    created_at: float = 0.0
    finished_at: float | None = None


def merge_params(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One set of parameters of several, a later one before an earlier; null leaves a parameter to the engine."""
    merged: dict[str, Any] = {}
    for layer in layers:
        # Two names of one thing.
        if not _LENGTHS.isdisjoint(layer):
            merged = {name: value for name, value in merged.items() if name not in _LENGTHS}
        merged |= layer
    return {name: value for name, value in merged.items() if value is not None}


_LENGTHS = frozenset({"max_tokens", "max_completion_tokens"})


class _Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Base of the union; the JSON member `kind` is the class's name."""


class TurnStarted(_Event, tag=True):
    model: str
    engine: str
    continued: bool = False
    """True when an earlier owner had begun the answer and this one goes on from its last checkpoint."""


class TextDelta(_Event, tag=True):
    text: str


class ReasoningDelta(_Event, tag=True):
    """What a model that thinks writes before its answer."""

    text: str


class EngineSwitched(_Event, tag=True):
    """The engine failed and the answer goes on, at another route or the same one started again."""

    reason: str
    from_engine: str
    to_engine: str


class ContextCompacted(_Event, tag=True):
    """The branch no longer fits the model's context; its oldest messages were left out."""

    dropped_messages: int


class SearchStarted(_Event, tag=True):
    """The question is searched, made self-contained from what was said before it."""

    query: str
    libraries: list[str] = []
    """Names."""
    web: bool = False


class SourcesFound(_Event, tag=True):
    """What the answer is to rest on, frozen into the turn; a turn that goes on after it does not search again."""

    query: str
    sources: list[NumberedSource]
    """The best first; the nearest ones where none is good enough."""
    is_good: bool = True
    unread: list[str] = []
    """What of the libraries and the question's files could not be read."""
    missing: list[str] = []
    """Parts of the search that did not work: `words`, `vectors`, `web`."""


class CitationMarked(_Event, tag=True):
    """A mark like `[2]` stands in the answer's text so far, at `[start, end)` in characters."""

    number: int
    start: int
    end: int


class CitationsChecked(_Event, tag=True):
    """The answer was checked, sentence by sentence."""

    text: str | None = None
    """The answer as it was corrected, in place of all text before this event; None where nothing was to correct."""
    sentences: list[Sentence] = []
    abstained: bool = False
    extract: list[Sentence] = []
    """Where the model failed: the sentences of the sources that answer best; offsets are those of the answer."""


class TurnFinished(_Event, tag=True):
    """The end of an answer that is whole or was stopped by the user."""

    state: Literal["finished", "stopped"]
    finish_reason: str
    """`stop`, `length`, `tool_calls`, ... as the engine gave it; `stopped` when the user did it."""
    usage: dict[str, Any] = {}
    timings: dict[str, Any] = {}
    """`first_token_ms`, `total_ms`, `tokens_per_second`."""


class TurnFailed(_Event, tag=True):
    """No engine could finish the answer; what was written is kept."""

    code: str
    message: str
    hint: str | None = None


TurnEvent = (
    TurnStarted
    | SearchStarted
    | SourcesFound
    | TextDelta
    | ReasoningDelta
    | CitationMarked
    | EngineSwitched
    | ContextCompacted
    | CitationsChecked
    | TurnFinished
    | TurnFailed
)

FINAL_EVENTS = (TurnFinished, TurnFailed)

encode_event = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(TurnEvent)


def decode_event(data: bytes | str) -> TurnEvent:
    """Read an event as `encode_event` wrote it; raises msgspec.ValidationError on anything else."""
    return _decoder.decode(data)


def join_text(events: Iterable[TurnEvent]) -> str:
    """The answer's text after these events."""
    pieces: list[str] = []
    for event in events:
        if isinstance(event, TextDelta):
            pieces.append(event.text)
        elif isinstance(event, CitationsChecked) and event.text is not None:
            pieces = [event.text]
    return "".join(pieces)


def begin_grounding(found: SourcesFound) -> Grounding:
    """What an answer rests on that is still to be written."""
    return Grounding(
        query=found.query,
        sources=found.sources,
        is_good=found.is_good,
        unread=found.unread,
        missing=found.missing,
    )


def finish_grounding(grounding: Grounding, checked: CitationsChecked) -> Grounding:
    """The same once the answer was checked."""
    return msgspec.structs.replace(
        grounding,
        sentences=checked.sentences,
        abstained=checked.abstained,
        extract=checked.extract,
        checked=True,
    )


def event_kind(event: TurnEvent) -> str:
    """The member of the union, as the SSE field `event:` names it."""
    return type(event).__name__
