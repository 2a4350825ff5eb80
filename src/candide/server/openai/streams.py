"""Answers on their way to the client, as server-sent events.

A stream's frames are the engine's own bytes, checked and not rebuilt: a token costs microseconds.
A failure after the first byte becomes an error frame, and the stream ends without `[DONE]`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from candide.domain.engines import ChatStream
from candide.errors import CandideError, EngineBroke
from candide.server.failures import error_body, internal_error

# The frame with which most engines open a stream, long before their first word.
_ONLY_ROLE = re.compile(rb'"delta":\s*\{\s*"role":\s*"assistant"(,\s*"content":\s*(""|null))?\s*\}')

DONE = b"data: [DONE]\n\n"


class FrameDelta(msgspec.Struct, gc=False):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class FrameChoice(msgspec.Struct, gc=False):
    delta: FrameDelta
    index: int = 0
    finish_reason: str | None = None


class ChatFrame(msgspec.Struct, gc=False):
    """The part of a `chat.completion.chunk` that must be right for clients to understand it."""

    choices: list[FrameChoice]
    model: str = ""


class TextChoice(msgspec.Struct, gc=False):
    text: str
    index: int = 0
    finish_reason: str | None = None


class TextFrame(msgspec.Struct, gc=False):
    """The same of a `text_completion`."""

    choices: list[TextChoice]
    model: str = ""


decode_chat_frame = msgspec.json.Decoder(ChatFrame).decode
decode_text_frame = msgspec.json.Decoder(TextFrame).decode


async def open_stream(open_chat: Callable[[], Awaitable[ChatStream]]) -> OpenStream:
    """Open a stream and wait until the engine says something, so that an early failure still gets its status.

    An engine that breaks off before that is given up for the next one, once.
    """
    stream = await open_chat()
    try:
        return await _read_first(stream)
    except EngineBroke:
        return await _read_first(await open_chat())


async def _read_first(stream: ChatStream) -> OpenStream:
    frames = aiter(stream)
    first: list[bytes] = []
    try:
        async for batch in frames:
            first += batch
            if not all(_ONLY_ROLE.search(payload) for payload in batch):
                break
    except BaseException:
        await stream.aclose()
        raise
    return OpenStream(stream, first, frames)


class OpenStream:
    """A stream whose first batch is there."""

    def __init__(self, stream: ChatStream, first: list[bytes], rest: AsyncIterator[list[bytes]]) -> None:
        self._stream = stream
        self._first = first
        self._rest = rest

    async def __aiter__(self) -> AsyncGenerator[list[bytes]]:
        if self._first:
            yield self._first
        async for batch in self._rest:
            yield batch

    @property
    def engine(self) -> str:
        return self._stream.engine

    async def aclose(self) -> None:
        await self._stream.aclose()


async def write_frames(
    stream: OpenStream, model: str, decode: Callable[[bytes], ChatFrame | TextFrame] = decode_chat_frame
) -> AsyncGenerator[bytes, None]:
    """An engine's frames as server-sent events, one write a batch, ending in `[DONE]` or in an error frame."""
    try:
        async for batch in stream:
            broken: EngineBroke | None = None
            for position, payload in enumerate(batch):
                try:
                    frame = decode(payload)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    broken = EngineBroke(f"engine '{stream.engine}' sent a malformed frame: {error}")
                    del batch[position:]
                    break
                if frame.model != model:
                    batch[position] = rename_model(payload, model)
            if batch:
                yield b"data: " + b"\n\ndata: ".join(batch) + b"\n\n"
            if broken is not None:
                raise broken
        yield DONE
    except Exception as error:  # noqa: BLE001 - the answer has begun: a bug ends it with a frame too
        yield b"data: " + msgspec.json.encode(describe_failure(error)) + b"\n\n"
    finally:
        await stream.aclose()


def describe_failure(error: Exception) -> dict[str, Any]:
    """What the last frame of a stream that broke says."""
    return error_body(error) if isinstance(error, CandideError) else internal_error("a stream")


def rename_model(payload: bytes, model: str) -> bytes:
    """The frame under the name that the caller knows the model by."""
    return msgspec.json.encode({**msgspec.json.decode(payload, type=dict[str, Any]), "model": model})
