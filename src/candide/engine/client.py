"""The client of one OpenAI-compatible server.

It promises that whatever the server does ends in an answer or in one of the errors of
`candide.errors`: a refused connection, a 500, a stream that is cut, stalls, or carries something
that is not the protocol. It does not retry, and it does not choose: that is `routes.py`.

Streams are read in batches: one read of the socket may bring several tokens, and when many streams
are open each one waits a little between reads, so that a token costs microseconds and not a wake-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from candide.domain.addresses import is_loopback, locate
from candide.domain.engines import ModelFacts
from candide.engine.facts import read_facts
from candide.errors import (
    BadRequest,
    CandideError,
    ContextTooLong,
    EngineBroke,
    EngineError,
    EngineOverloaded,
    EngineUnavailable,
)

if TYPE_CHECKING:
    import aiohttp

MAX_FRAME_BYTES = 16 * 1024 * 1024
LARGE_BODY_BYTES = 256 * 1024
"""A larger request is sent piece by piece and leaves the loop to others in between."""

MAX_ERROR_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 5.0
LONGEST_RETRY_S = 86_400.0

# A reader rests this long between two reads for each stream that is open: one stream is not held up, and at
# 128 streams one read brings what would have been twenty, at a tenth of the cost. The first words never wait.
REST_PER_STREAM_S = 0.001
MAX_REST_S = 0.125
HURRIED_BATCHES = 2

_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_ERROR_FRAME = re.compile(rb'^\s*\{\s*"error"\s*:\s*[^n\s]')  # `"error": null` is no error


class EngineClient:
    """One server. `base_url` ends where the paths of the protocol begin, usually in `/v1`."""

    def __init__(self, name: str, base_url: str, api_key: str = "", timeout_s: float = 600.0) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._listed: dict[str, Any] = {}
        """The entries of the last list of models, whole."""

    @property
    def location(self) -> str:
        return locate(self.base_url)

    async def models(self) -> list[str]:
        reply = await self.get("/models")
        try:
            listed = msgspec.convert(reply.get("data"), list[_ListedModel])
            self._listed = dict(zip((entry.id for entry in listed), reply["data"], strict=True))
            return list(self._listed)
        except msgspec.ValidationError as error:
            raise EngineUnavailable(f"engine '{self.name}' does not list its models: {error}") from error

    async def describe(self, model: str) -> ModelFacts:
        return read_facts(self._listed.get(model), self.location)

    async def ready(self) -> bool:
        try:
            await self.models()
        except CandideError:
            return False
        return True

    async def get(self, path: str) -> dict[str, Any]:
        return await self._exchange("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._exchange("POST", path, body)

    async def open_chat(self, body: Mapping[str, Any], *, adapted: bool = False) -> HttpChatStream:
        # Which adapters a server has is its own business.
        return await self.open_stream("/chat/completions", body)

    async def open_stream(self, path: str, body: Mapping[str, Any]) -> HttpChatStream:
        """POST a streaming request to any path of the protocol; returns once it is accepted."""
        response = await self._send("POST", path, {**body, "stream": True})
        if response.content_type != "text/event-stream":
            text = await _read_beginning(response)
            response.close()
            error = _read_error(text, self.name)
            raise error or EngineBroke(f"engine '{self.name}' answered a streaming request without a stream")
        return HttpChatStream(self.name, response)

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        response = await self._send(method, path, body)
        try:
            return _read_object(await self._read_body(response), self.name)
        finally:
            # Closing an unread response is what tells the engine to stop when the caller was cancelled.
            response.close()

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> aiohttp.ClientResponse:
        """Send a request and wait for its status; the caller closes the response."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                # llama.cpp closes what was idle for five seconds.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=self._timeout_s),
                # Proxies are for what lies outside; looking for their settings costs more than the request.
                trust_env=not is_loopback(urllib.parse.urlsplit(self.base_url).hostname or ""),
                read_bufsize=256 * 1024,
            )
        data: bytes | io.BytesIO | None = None if body is None else msgspec.json.encode(body)
        if data is not None and len(data) > LARGE_BODY_BYTES:
            data = io.BytesIO(data)
        try:
            response = await self._session.request(
                method, self.base_url + path, data=data, headers={"Content-Type": "application/json"}
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineUnavailable(
                f"engine '{self.name}' cannot be reached at {self.base_url}: {error or type(error).__name__}",
                hint="is it running? candide doctor tells",
            ) from error
        if response.status >= 400:
            retry_after = response.headers.get("Retry-After")
            text = await _read_beginning(response)
            response.close()
            raise _error_of_status(response.status, retry_after, text, self.name)
        return response

    async def _read_body(self, response: aiohttp.ClientResponse) -> bytes:
        import aiohttp

        try:
            return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineBroke(
                f"engine '{self.name}' broke off its reply: {error or type(error).__name__}"
            ) from error


async def _read_beginning(response: aiohttp.ClientResponse) -> bytes:
    """What an engine says of its failure, as far as it comes and has a sensible length."""
    import aiohttp

    text = b""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        while len(text) < MAX_ERROR_BYTES and (data := await response.content.readany()):
            text += data
    return text


class HttpChatStream:
    """The SSE answer of an engine; see `candide.domain.engines.ChatStream`."""

    open_count = 0

    def __init__(self, engine: str, response: aiohttp.ClientResponse) -> None:
        self.engine = engine
        self._response = response
        self._closed = False
        HttpChatStream.open_count += 1

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[list[bytes]]:
        import aiohttp

        content = self._response.content
        rest = b""
        finished = False
        hurried = HURRIED_BATCHES
        while True:
            try:
                data = await content.readany()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise EngineBroke(
                    f"engine '{self.engine}' broke off: {error or type(error).__name__}"
                ) from error
            if not data:
                if finished and not rest.strip():
                    return
                raise EngineBroke(f"engine '{self.engine}' ended its stream before the answer was whole")
            data = rest + data
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n")
            whole, separator, rest = data.rpartition(b"\n\n")
            if len(rest) > MAX_FRAME_BYTES:
                raise EngineBroke(f"engine '{self.engine}' sent a frame of over {MAX_FRAME_BYTES} bytes")
            if not separator:
                continue
            batch = _payloads(whole)
            done = b"[DONE]" in batch
            if done:
                del batch[batch.index(b"[DONE]") :]
            if b"error" in whole:
                for position, payload in enumerate(batch):
                    if _ERROR_FRAME.match(payload):
                        if position:
                            yield batch[:position]
                        raise _broken_by(payload, self.engine)
            finished = finished or _FINISHED.search(whole) is not None
            if batch:
                yield batch
            if done:
                return
            hurried -= 1
            pause = min(HttpChatStream.open_count * REST_PER_STREAM_S, MAX_REST_S)
            if hurried < 0 and pause > 2 * REST_PER_STREAM_S:
                await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Leave what comes to the kernel for a while, so that one read brings it all."""
        connection = self._response.connection
        transport = connection.transport if connection is not None else None
        if transport is None:
            await asyncio.sleep(seconds)
            return
        transport.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            # Also when cancelled: the connection may serve another request.
            if not transport.is_closing():
                transport.resume_reading()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            HttpChatStream.open_count -= 1
            # Closing the connection, not releasing it, is what tells the engine to stop.
            if self._response.content.at_eof():
                self._response.release()
            else:
                self._response.close()


def _payloads(frames: bytes) -> list[bytes]:
    """The data of SSE frames (WHATWG HTML, 9.2), each on one line."""
    if frames.startswith(b"data: "):
        payloads = frames[6:].split(b"\n\ndata: ")
        if frames.count(b"\n") == 2 * (len(payloads) - 1):
            return payloads
    return [payload for frame in frames.split(b"\n\n") if (payload := _payload(frame)) is not None]


def _payload(frame: bytes) -> bytes | None:
    """The data of one frame, None for comments and empty ones."""
    lines: list[bytes] = []
    for line in frame.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"error:"):  # llama.cpp, before it learned to write it as data
            lines.append(b'{"error":' + line[6:].strip() + b"}")
    # JSON takes any white space where it takes a line's end.
    return b" ".join(lines) if lines else None


class _ListedModel(msgspec.Struct):
    id: str


class _ErrorBody(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


def _parse_error(text: bytes) -> _ErrorBody | None:
    """Find an error in a reply: OpenAI's shape, or the plain `detail` and `message` of others."""
    try:
        data = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = data.get("error") or data.get("detail") or data.get("message")
    if isinstance(found, str):
        return _ErrorBody(message=found)
    try:
        return msgspec.convert(found, _ErrorBody, strict=False) if found else None
    except msgspec.ValidationError:
        return _ErrorBody(message=str(found)[:1000])


def _read_error(text: bytes, engine: str) -> CandideError | None:
    parsed = _parse_error(text)
    if parsed is None:
        return None
    status = parsed.code if isinstance(parsed.code, int) else 500
    return _error_of_status(status, None, text, engine)


def _broken_by(payload: bytes, engine: str) -> CandideError:
    parsed = _parse_error(payload)
    return EngineBroke(f"engine '{engine}' failed: {parsed.message if parsed else 'unknown error'}")


_CONTEXT_WORDS = re.compile(r"context (length|size|window)|maximum context|too many tokens", re.IGNORECASE)


def _error_of_status(status: int, retry_after: str | None, text: bytes, engine: str) -> CandideError:
    parsed = _parse_error(text) or _ErrorBody(message=text[:300].decode("utf-8", "replace").strip())
    said = parsed.message or f"status {status}"
    if status == 429:
        try:
            seconds = float(retry_after or 1)
        except ValueError:
            seconds = 1.0
        if not 0 <= seconds <= LONGEST_RETRY_S:
            seconds = 1.0
        return EngineOverloaded(f"engine '{engine}' is overloaded: {said}", retry_after=seconds)
    if status in (400, 413, 422):
        too_long = parsed.code == "context_length_exceeded" or parsed.type == "exceed_context_size_error"
        if too_long or _CONTEXT_WORDS.search(said):
            return ContextTooLong(said, prompt_tokens=parsed.n_prompt_tokens, context_tokens=parsed.n_ctx)
        return BadRequest(said, param=parsed.param)
    if status in (401, 403):
        return EngineError(f"engine '{engine}' refuses the key: {said}", hint="check its key in the settings")
    return EngineUnavailable(f"engine '{engine}' answered {status}: {said}")


def _read_object(text: bytes, engine: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise EngineBroke(f"engine '{engine}' sent a reply that is not a JSON object") from error
