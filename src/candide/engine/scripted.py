"""A real HTTP server that speaks the OpenAI protocol from a script, with chosen pace and faults.

Tests, benchmarks and demos use it where a model would be slow or would not fail on demand. It is an
engine like any other: given a partial answer as the last message it continues it, it reports usage,
and it counts as cached the longest prefix that an earlier prompt shares with this one.

A script is a JSON object, a `Script` below. Everything is optional:

    {"models": ["scripted"], "pace_ms": 5, "first_token_ms": 0,
     "replies": [{"match": "weather", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]},
                 {"match": "fragile", "answer": "one two three", "times": 1,
                  "faults": [{"at": 2, "kind": "cut"}]},
                 {"tokens": 200}]}

The first reply whose `match` (a regular expression, searched in the last user message) fits and whose
`times` are not used up is given. Faults happen before the token number `at` of the whole answer:
`stall` (for `seconds`), `cut` (the connection is reset), `end` (the stream ends as if it were whole,
without `[DONE]`), `malformed` (a frame that is not JSON), `error` (an error frame), `exit` (the process dies).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from candide.errors import SettingsError

if TYPE_CHECKING:
    from aiohttp import web

TOKENS_PER_WRITE = 16
"""At full speed tokens leave in groups of this many, so that the event loop is not one write each."""

MAX_UNSENT_BYTES = 256 * 1024
"""A client that reads slower than this piles up is waited for."""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["stall", "cut", "end", "malformed", "error", "exit"]
    at: int = 0
    seconds: float = 1.0
    times: int | None = None
    """How often it happens; always when absent."""


class ScriptedCall(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    match: str | None = None
    times: int | None = None
    answer: str | list[str] | None = None
    """A text, cut into words, or the tokens themselves."""
    tokens: int = 0
    """Length of a made-up answer `w1 w2 w3 ...`, where there is no `answer`."""
    reasoning: str = ""
    tool_calls: list[ScriptedCall] = []
    finish_reason: str | None = None
    pace_ms: float | None = None
    first_token_ms: float | None = None
    status: int = 200
    """Another status refuses the request with an error in OpenAI's shape."""
    message: str = "scripted error"
    retry_after: float | None = None
    faults: list[Fault] = []


class Script(msgspec.Struct, forbid_unknown_fields=True):
    models: list[str] = msgspec.field(default_factory=lambda: ["scripted"])
    pace_ms: float = 0.0
    first_token_ms: float = 0.0
    continues: bool = True
    """Whether a partial answer at the end of the messages is continued, or the answer begun anew."""
    context_tokens: int = 32768
    api_key: str = ""
    replies: list[Reply] = []


def read_script(path: Path) -> Script:
    """Read a script from a JSON file; raises SettingsError with what is wrong in it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Script)
    except OSError as error:
        raise SettingsError(f"script '{path}' cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"script '{path}' is not a script: {error}") from error


def split_words(text: str) -> list[str]:
    """Cut a text into tokens that give it back when joined: words with the white space before them."""
    return re.findall(r"\s*\S+|\s+$", text)


class ScriptedEngine:
    """Serves one script; `port` is known once `start` has returned."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.port = 0
        self.requests: list[dict[str, Any]] = []
        """The bodies of the chat requests seen, the last thousand of them."""
        self.active = 0
        """Answers being written now; falls as soon as a client goes away."""
        self._uses: dict[int, int] = {}
        self._fault_uses: dict[int, int] = {}
        self._prompts: list[list[str]] = []
        self._runner: web.AppRunner | None = None
        self._number = itertools.count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError when the port is in use."""
        from aiohttp import web

        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._text)
        app.router.add_post("/v1/embeddings", self._embeddings)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> ScriptedEngine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return _json({"status": "ok"})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "scripted"}
            for name in self.script.models
        ]
        return _json({"object": "list", "data": data})

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        given: Any = body["input"]
        one = isinstance(given, str) or all(isinstance(token, int) for token in given)
        texts = cast("list[Any]", [given] if one else given)
        data = [
            {
                "object": "embedding",
                "index": i,
                "embedding": [b / 255 for b in hashlib.sha256(str(t).encode()).digest()],
            }
            for i, t in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return _json({"object": "list", "model": body.get("model"), "data": data, "usage": usage})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, msgspec.json.decode(await request.read(), type=dict[str, Any]))

    async def _text(self, request: web.Request) -> web.StreamResponse:
        """A prompt without a template is answered like one message; of several prompts, the first."""
        body = msgspec.json.decode(await request.read(), type=dict[str, Any])
        prompt = body["prompt"] if isinstance(body["prompt"], str) else str(body["prompt"][0])
        body["messages"] = [{"role": "user", "content": prompt}]
        return await self._answer(request, body, legacy=True)

    async def _answer(
        self, request: web.Request, body: dict[str, Any], *, legacy: bool = False
    ) -> web.StreamResponse:
        if self.script.api_key and request.headers.get("Authorization") != f"Bearer {self.script.api_key}":
            return _refuse(401, "wrong key")
        self.requests.append(body)
        del self.requests[:-1000]
        messages: list[dict[str, Any]] = body.get("messages") or []
        model = str(body.get("model"))
        if model not in self.script.models:
            return _refuse(404, f"model '{model}' does not exist")
        reply = self._choose_reply(messages)
        if reply.status != 200:
            headers = {} if reply.retry_after is None else {"Retry-After": str(reply.retry_after)}
            return _refuse(reply.status, reply.message, headers)
        prompt = [word for message in messages for word in split_words(_text_of(message))]
        if len(prompt) > self.script.context_tokens:
            error = {"message": "the prompt exceeds the context size", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}  # fmt: skip
            return _json({"error": error}, status=400)
        tokens = _answer_tokens(reply)
        skipped, tokens = self._skip_partial(messages, tokens)
        limit: int = body.get("max_completion_tokens") or body.get("max_tokens") or len(tokens)
        finish = reply.finish_reason or (
            "tool_calls" if reply.tool_calls else "length" if limit < len(tokens) else "stop"
        )
        answer = _Answer(
            id=f"chatcmpl-scripted-{next(self._number)}",
            model=model,
            reply=reply,
            skipped=skipped,
            tokens=tokens[:limit],
            finish_reason=finish,
            legacy=legacy,
            usage=self._count(prompt, min(limit, len(tokens))),
            pace_s=(self.script.pace_ms if reply.pace_ms is None else reply.pace_ms) / 1000,
            first_s=(self.script.first_token_ms if reply.first_token_ms is None else reply.first_token_ms)
            / 1000,
        )
        options = msgspec.convert(body.get("stream_options"), _StreamOptions | None)
        self.active += 1
        try:
            if body.get("stream"):
                return await self._stream(request, answer, options is not None and options.include_usage)
            return await self._whole(request, answer)
        finally:
            self.active -= 1

    def _choose_reply(self, messages: list[dict[str, Any]]) -> Reply:
        question = next((_text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
        for index, reply in enumerate(self.script.replies):
            if reply.times is not None and self._uses.get(index, 0) >= reply.times:
                continue
            if reply.match is None or re.search(reply.match, question):
                self._uses[index] = self._uses.get(index, 0) + 1
                return reply
        return Reply(answer=f"You said: {question}")

    def _skip_partial(self, messages: list[dict[str, Any]], tokens: list[str]) -> tuple[int, list[str]]:
        """Go on after the partial answer at the end of the messages; how many tokens it held, and the rest."""
        if not (self.script.continues and messages and messages[-1].get("role") == "assistant"):
            return 0, tokens
        partial = _text_of(messages[-1])
        if not "".join(tokens).startswith(partial):
            return 0, tokens
        length = 0
        for index, token in enumerate(tokens):
            if length + len(token) > len(partial):
                rest = token[len(partial) - length :]
                return index, [rest, *tokens[index + 1 :]]
            length += len(token)
        return len(tokens), []

    def _count(self, prompt: list[str], completion_tokens: int) -> dict[str, Any]:
        cached = max((_shared_prefix(prompt, earlier) for earlier in self._prompts), default=0)
        self._prompts = [*self._prompts[-7:], prompt]
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": completion_tokens,
            "total_tokens": len(prompt) + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _due(self, reply: Reply, position: int) -> Fault | None:
        for fault in reply.faults:
            if fault.at != position:
                continue
            used = self._fault_uses.get(id(fault), 0)
            if fault.times is None or used < fault.times:
                self._fault_uses[id(fault)] = used + 1
                return fault
        return None

    async def _stream(self, request: web.Request, answer: _Answer, include_usage: bool) -> web.StreamResponse:
        from aiohttp import web

        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        write = _chunk_writer(request)
        reply, pace_s = answer.reply, answer.pace_s
        try:
            await write(answer.frame({"role": "assistant", "content": ""}))
            for word in split_words(reply.reasoning):
                await write(answer.frame({"reasoning_content": word}))
            due = time.monotonic() + answer.first_s
            fault_positions = {fault.at for fault in reply.faults}
            head, tail = answer.delta_parts()
            pending: list[bytes] = []
            for position, token in enumerate(answer.tokens, answer.skipped):
                if position in fault_positions and (fault := self._due(reply, position)):
                    if pending:
                        await write(b"".join(pending))
                        pending.clear()
                    if not await self._suffer(fault, request, response):
                        return response
                wait = due - time.monotonic()
                if pace_s == 0 and wait <= 0:
                    pending.append(head + msgspec.json.encode(token) + tail)
                    if len(pending) < TOKENS_PER_WRITE:
                        continue
                else:
                    # A token whose time has come while the loop was busy leaves with the next one.
                    if wait > 0:
                        if pending:
                            await write(b"".join(pending))
                            pending.clear()
                        await asyncio.sleep(wait)
                    pending.append(head + msgspec.json.encode(token) + tail)
                    due += pace_s
                    if due < time.monotonic() and len(pending) < TOKENS_PER_WRITE:
                        continue
                await write(b"".join(pending))
                pending.clear()
                if pace_s == 0:
                    await asyncio.sleep(0)
            pending.extend(answer.frame({"tool_calls": [call]}) for call in answer.tool_calls())
            pending.append(answer.frame({}, finish_reason=answer.finish_reason))
            if include_usage:
                pending.append(answer.usage_frame())
            pending.append(b"data: [DONE]\n\n")
            await write(b"".join(pending))
            await response.write_eof()
        except ConnectionError:
            pass  # the client went away: that is its right, and the end of the answer
        return response

    async def _suffer(self, fault: Fault, request: web.Request, response: web.StreamResponse) -> bool:
        """Let a fault happen; whether the answer goes on after it."""
        if fault.kind == "exit":
            os._exit(1)
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
            return True
        if fault.kind == "cut":
            if request.transport is not None:
                request.transport.abort()
            return False
        if fault.kind == "malformed":
            await response.write(b'data: {"choices": [{"delta": {"content": "\xff\n\n')
            return True
        if fault.kind == "error":
            await response.write(
                b'data: {"error": {"message": "scripted failure", "type": "server_error"}}\n\n'
            )
        await response.write_eof()
        return False

    async def _whole(self, request: web.Request, answer: _Answer) -> web.StreamResponse:
        await asyncio.sleep(answer.first_s + answer.pace_s * len(answer.tokens))
        for fault in answer.reply.faults:
            if self._due(answer.reply, fault.at):
                if fault.kind == "exit":
                    os._exit(1)
                if fault.kind == "stall":
                    await asyncio.sleep(fault.seconds)
                elif fault.kind in ("cut", "end", "malformed") and request.transport is not None:
                    request.transport.abort()
                else:
                    return _refuse(500, "scripted failure")
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.tokens)}
        if answer.reply.reasoning:
            message["reasoning_content"] = answer.reply.reasoning
        if calls := answer.tool_calls():
            message |= {"content": None, "tool_calls": calls}
        choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish_reason}
        choice |= {"text": message["content"]} if answer.legacy else {"message": message}
        return _json(
            {"id": answer.id, "object": answer.kind, "created": int(time.time()), "model": answer.model,
             "choices": [choice], "usage": answer.usage}
        )  # fmt: skip


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Answer(msgspec.Struct, kw_only=True):
    id: str
    model: str
    reply: Reply
    skipped: int
    tokens: list[str]
    finish_reason: str
    legacy: bool
    usage: dict[str, Any]
    pace_s: float
    first_s: float

    @property
    def kind(self) -> str:
        return "text_completion" if self.legacy else "chat.completion"

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {
            "id": self.id,
            "object": self.kind if self.legacy else self.kind + ".chunk",
            "created": 0,
            "model": self.model,
        }
        return b"data: " + msgspec.json.encode({**chunk, "choices": choices, **more}) + b"\n\n"

    def frame(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        said = {"text": delta.get("content", "")} if self.legacy else {"delta": delta}
        return self._chunk([{"index": 0, **said, "finish_reason": finish_reason}])

    def usage_frame(self) -> bytes:
        return self._chunk([], usage=self.usage)

    def delta_parts(self) -> tuple[bytes, bytes]:
        """What stands before and after the token in each of the answer's frames."""
        mark = "\N{SNOWMAN}"
        head, tail = self.frame({"content": mark}).split(msgspec.json.encode(mark))
        return head, tail

    def tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"index": i, "id": f"call_{i + 1}", "type": "function",
             "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()}}
            for i, call in enumerate(self.reply.tool_calls)
        ]  # fmt: skip


def _chunk_writer(request: web.Request) -> Callable[[bytes], Awaitable[None]]:
    """Write chunks (RFC 9112, 7.1) of a prepared response; a third of the cost of the library's own way."""

    async def write(data: bytes) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        while transport.get_write_buffer_size() > MAX_UNSENT_BYTES:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)

    return write


def _answer_tokens(reply: Reply) -> list[str]:
    if isinstance(reply.answer, list):
        return reply.answer
    if reply.answer is not None:
        return split_words(reply.answer)
    return [f"w{n} " for n in range(1, reply.tokens + 1)]


def _shared_prefix(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _json(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    from aiohttp import web

    return web.Response(
        body=msgspec.json.encode(data), status=status, headers=headers, content_type="application/json"
    )


def _refuse(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    kind = (
        "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    )
    return _json(
        {"error": {"message": message, "type": kind, "param": None, "code": None}},
        status=status,
        headers=headers,
    )


async def serve(script: Script, host: str, port: int) -> None:
    """Serve until cancelled."""
    engine = ScriptedEngine(script)
    await engine.start(host, port)
    try:
        await asyncio.Event().wait()
    finally:
        await engine.stop()
