"""One answer, written to its end whatever happens to the engines.

An engine that fails in the middle of a sentence makes way for the model's next route, or is tried
again when it is the last, and is given what was written so far to go on from. Nothing that was
handed out is ever taken back or said twice.

How a partial answer is given depends on the engine. Most continue a last message of the assistant's
(llama.cpp, SGLang, Anthropic; vLLM and TGI with `continue_final_message`). Those that refuse these
fields are asked in words, and what they repeat is trimmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from candide.domain.engines import ChatStream, Completion, Model, Route
from candide.domain.turns import EngineSwitched, ReasoningDelta, TextDelta
from candide.engine.routes import Routes
from candide.errors import BadRequest, ContextTooLong, EngineBroke, EngineError, EngineOverloaded

CONTINUE_INSTRUCTION = (
    "Your answer was cut off. Go on with it exactly where it stops: write only what comes next, in the same "
    "language, without repeating anything and without any remark. It ended with:\n\n"
)
INSTRUCTION_TAIL_CHARS = 400
RESTART_SURE_CHARS = 48
"""So many characters that repeat the beginning of the partial answer mean that it was begun anew."""
WHOLE_SURE_CHARS = 4
"""A partial answer of so many characters that is repeated whole was begun anew too."""


class Patience(msgspec.Struct, frozen=True):
    """How long to try before an answer counts as failed; progress starts the count anew."""

    attempts: int = 8
    first_pause_s: float = 0.25
    longest_pause_s: float = 10.0

    def pause(self, attempt: int, error: EngineError) -> float:
        """Seconds to wait after the failed attempt number `attempt`, from 1."""
        if isinstance(error, EngineOverloaded):
            return min(max(error.retry_after, self.first_pause_s), 3 * self.longest_pause_s)
        return min(self.first_pause_s * 2 ** (attempt - 1), self.longest_pause_s)


Piece = TextDelta | ReasoningDelta | EngineSwitched | Completion


class Writer:
    """Writes answers with the models of `routes`; see `candide.domain.engines.AnswerWriter`."""

    def __init__(self, routes: Routes, patience: Patience | None = None) -> None:
        self._routes = routes
        self._patience = patience or Patience()
        self._asks_in_words: set[str] = set()

    async def first_engine(self, model: str) -> tuple[str, str]:
        """The model's full name and the engine that would answer now; waits for one as `write` does.

        A model that is being fetched is waited for as long as that takes. Raises WeightsError when it fails.
        """
        await self._routes.wait_for_weights(model)
        found = await self._resolve(model)
        return found.name, found.routes[0].engine.name

    async def write(
        self,
        model: str,
        messages: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        partial: str = "",
        *,
        adapted: bool = False,
    ) -> AsyncIterator[Piece]:
        """Write the answer to `messages`, going on from `partial`; ends with a Completion.

        Raises BadRequest (ContextTooLong among them) when the engine refuses the request, and the
        last EngineError when patience is at its end.
        """
        written = partial
        attempt = 0
        position = 0
        failed: tuple[str, EngineError] | None = None
        while True:
            found = await self._resolve(model)
            route = found.routes[position % len(found.routes)]
            if failed is not None:
                yield EngineSwitched(
                    reason=str(failed[1].message), from_engine=failed[0], to_engine=route.engine.name
                )
            try:
                async for piece in self._attempt(route, messages, params, written, adapted):
                    if isinstance(piece, TextDelta):
                        written += piece.text
                        attempt = 0
                    elif isinstance(piece, ReasoningDelta):
                        attempt = 0
                    yield piece
            except EngineError as error:
                attempt += 1
                failed = (route.engine.name, error)
                if attempt >= self._patience.attempts * len(found.routes):
                    raise
                position += 1
                if position % len(found.routes) == 0:
                    await asyncio.sleep(self._patience.pause(attempt, error))
            else:
                return

    async def _resolve(self, model: str) -> Model:
        """Find the routes, waiting while no engine can be asked for its models."""
        attempt = 0
        while True:
            try:
                return await self._routes.resolve(model)
            except EngineError as error:
                attempt += 1
                if attempt >= self._patience.attempts:
                    raise
                await asyncio.sleep(self._patience.pause(attempt, error))

    async def _attempt(
        self,
        route: Route,
        messages: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        written: str,
        adapted: bool,
    ) -> AsyncIterator[Piece]:
        if written and route.engine.name not in self._asks_in_words:
            body = {
                **params,
                "messages": [*messages, {"role": "assistant", "content": written}],
                "continue_final_message": True,
                "add_generation_prompt": False,
            }
            try:
                stream = await self._open(route, body, adapted)
            except ContextTooLong:
                raise
            except BadRequest:
                # The engine knows no such fields, or wants the last message to be the user's.
                self._asks_in_words.add(route.engine.name)
            else:
                try:
                    async for piece in _read(stream, RestartTrimmer(written)):
                        yield piece
                except BegunAnew:
                    self._asks_in_words.add(route.engine.name)
                    raise
                return
        if written:
            body = {**params, "messages": [*messages, *_ask_to_continue(written)]}
            stream = await self._open(route, body, adapted)
            async for piece in _read(stream, OverlapTrimmer(written)):
                yield piece
            return
        stream = await self._open(route, {**params, "messages": list(messages)}, adapted)
        async for piece in _read(stream, None):
            yield piece

    async def _open(self, route: Route, body: Mapping[str, Any], adapted: bool) -> ChatStream:
        return await route.engine.open_chat(
            {**body, "model": route.model, "stream_options": {"include_usage": True}}, adapted=adapted
        )


def _ask_to_continue(written: str) -> list[dict[str, Any]]:
    tail = written[-INSTRUCTION_TAIL_CHARS:]
    return [
        {"role": "assistant", "content": written},
        {"role": "user", "content": CONTINUE_INSTRUCTION + tail},
    ]


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


async def _read(stream: ChatStream, trimmer: RestartTrimmer | OverlapTrimmer | None) -> AsyncIterator[Piece]:
    """Turn the frames of one stream into pieces; one TextDelta for everything that one read brought."""
    finish_reason = "stop"
    usage: dict[str, Any] = {}
    try:
        async for batch in stream:
            text = reasoning = ""
            broken: EngineBroke | None = None
            for payload in batch:
                try:
                    chunk = _decode_chunk(payload)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    # What came before it is good, and is handed out first.
                    broken = EngineBroke(f"engine '{stream.engine}' sent a malformed frame: {error}")
                    break
                if chunk.usage:
                    usage = chunk.usage
                for choice in chunk.choices[:1]:
                    delta = choice.delta
                    text += delta.content or ""
                    reasoning += delta.reasoning_content or delta.reasoning or ""
                    finish_reason = choice.finish_reason or finish_reason
            if "\0" in text or "\0" in reasoning:
                # Nobody can see them, and no text in PostgreSQL holds them.
                text, reasoning = text.replace("\0", ""), reasoning.replace("\0", "")
            if reasoning:
                yield ReasoningDelta(text=reasoning)
            if text and trimmer is not None:
                text = trimmer.feed(text)
            if text:
                yield TextDelta(text=text)
            if broken is not None:
                raise broken
        if trimmer is not None and (rest := trimmer.end()):
            yield TextDelta(text=rest)
    finally:
        await stream.aclose()
    yield Completion(finish_reason=finish_reason, usage=usage)


class BegunAnew(EngineBroke):
    """The engine ignored the partial answer and wrote another one."""


class RestartTrimmer:
    """Drops the beginning of an answer that was begun anew instead of continued.

    It holds text back only while that repeats the partial answer from its first character.
    """

    def __init__(self, written: str) -> None:
        self._written = written
        self._seen = ""
        self._decided = False

    def feed(self, text: str) -> str:
        if self._decided:
            return text
        self._seen += text
        length = min(len(self._seen), len(self._written))
        if self._seen[:length] == self._written[:length]:
            if len(self._seen) < len(self._written):
                return ""
            return self._decide(restarted=len(self._written.strip()) >= WHOLE_SURE_CHARS)
        same = _shared_length(self._seen, self._written)
        if same >= RESTART_SURE_CHARS:
            # Begun anew and gone another way: nothing of it fits what was already shown.
            raise BegunAnew("the engine began the answer anew instead of continuing it")
        return self._decide(restarted=False)

    def _decide(self, *, restarted: bool) -> str:
        self._decided = True
        return self._seen[len(self._written) :] if restarted else self._seen

    def end(self) -> str:
        """What was held back when the stream ended."""
        if self._decided:
            return ""
        restarted = len(self._seen) >= RESTART_SURE_CHARS
        return "" if restarted else self._decide(restarted=False)


class OverlapTrimmer:
    """Drops from the beginning of a continuation what repeats the end of the partial answer."""

    def __init__(self, written: str, window: int = INSTRUCTION_TAIL_CHARS) -> None:
        self._tail = written[-window:]
        self._seen = ""
        self._decided = False

    def feed(self, text: str) -> str:
        if self._decided:
            return text
        self._seen += text
        # The text may still grow into a repetition of the tail.
        undecided = len(self._seen) < len(self._tail) and self._seen in self._tail
        return "" if undecided else self._decide()

    def _decide(self) -> str:
        self._decided = True
        for length in range(min(len(self._tail), len(self._seen)), 0, -1):
            if self._tail.endswith(self._seen[:length]) and (length >= 4 or length == len(self._tail)):
                return self._seen[length:]
        return self._seen

    def end(self) -> str:
        return "" if self._decided else self._decide()


def _shared_length(one: str, other: str) -> int:
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
