"""llama.cpp's server, made to keep the promises of OpenAI's protocol where it does not by itself.

- A tool that must be called is called: the answer is constrained to be calls, nothing before them.
- Calls that the model writes as text, in a way that llama.cpp does not know, are calls all the same.
- A schema is followed or refused, and never silently ignored (`constraints.py`).
- What people write can never become a control token (`control_text.py`).
- A request's fault is a BadRequest, where llama.cpp says 500.

A request that needs none of this passes through untouched, and so does its answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from candide.domain.engines import ChatStream
from candide.engine.client import EngineClient
from candide.engine.constraints import calls_schema, check_schema, check_shape, close_objects, make_grammar
from candide.engine.control_text import ControlTexts, Escape, Mender
from candide.engine.tool_calls import CallFinder, CallReader, CallStart, Part
from candide.errors import BadRequest, EngineBroke, EngineUnavailable, UnsupportedContent

CHAT_PATH = "/chat/completions"
TEXT_PATH = "/completions"
MOST_CALLS = 8

TOOLS_INTRODUCTION = (
    "You may call these functions, given as JSON, one a line:\n{tools}\n"
    'To call one, write nothing but <tool_call>{{"name": "its name", "arguments": {{...}}}}</tool_call>'
)
"""For models whose chat template has no place for tools."""

_NO_MEDIA = re.compile(
    r"(image|audio|video) input is not supported|does not support (images|audio)", re.IGNORECASE
)
_CALLERS_FAULT = re.compile(
    r"jinja|template|grammar|unsupported|invalid|cannot|expected|failed to parse|must be", re.IGNORECASE
)


@dataclass(frozen=True)
class LlamaCppModel:
    """What must be known of a model to ask it well."""

    control_texts: ControlTexts
    template_has_tools: bool = True
    guidance: bool = False
    """Whether this llama.cpp was built with LLGuidance, which follows schemas safely and fast."""


class LlamaCppEngine:
    """An engine (`candide.domain.engines.Engine`) over the client of a llama.cpp server."""

    def __init__(self, client: EngineClient, model: LlamaCppModel) -> None:
        self.name = client.name
        self._client = client
        self._model = model

    async def models(self) -> list[str]:
        return await self._client.models()

    async def ready(self) -> bool:
        return await self._client.ready()

    async def close(self) -> None:
        await self._client.close()

    async def open_chat(self, body: Mapping[str, Any]) -> ChatStream:
        asked, rewriting = await prepare(body, self._model)
        try:
            stream = await self._client.open_chat(asked)
        except EngineUnavailable as error:
            raise _blame(error, body) from error
        return RewrittenStream(stream, rewriting) if rewriting.needed else stream

    async def open_stream(self, path: str, body: Mapping[str, Any]) -> ChatStream:
        if path == CHAT_PATH:
            return await self.open_chat(body)
        stream = await self._client.open_stream(path, body)
        return LegacyStream(stream, includes_usage(body)) if path == TEXT_PATH else stream

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path == TEXT_PATH:
            return rewrite_text(await self._client.post(path, body))
        if path != CHAT_PATH:
            return await self._client.post(path, body)
        asked, rewriting = await prepare(body, self._model)
        try:
            reply = await self._client.post(path, asked)
        except EngineUnavailable as error:
            raise _blame(error, body) from error
        return rewriting.rewrite_reply(reply) if rewriting.needed else reply


def _blame(error: EngineUnavailable, body: Mapping[str, Any]) -> Exception:
    """What llama.cpp calls its own failure and is the request's."""
    if _NO_MEDIA.search(error.message):
        return UnsupportedContent(
            f"this model takes text only: {_NO_MEDIA.search(error.message).group()}",  # pyright: ignore[reportOptionalMemberAccess]
            param=_find_media(body),
            hint="choose a model that sees, or leave it out",
        )
    if " answered 500: " in error.message and _CALLERS_FAULT.search(error.message):
        return BadRequest(error.message.partition(" answered 500: ")[2], param="messages")
    return error


def _find_media(body: Mapping[str, Any]) -> str:
    for number, message in enumerate(body["messages"]):
        content = message.get("content")
        for position, part in enumerate(cast("list[Any]", content) if isinstance(content, list) else []):
            if part.get("type") != "text":
                return f"messages[{number}].content[{position}]"
    return "messages"


@dataclass(frozen=True)
class Rewriting:
    """What an answer needs on its way out."""

    offered: tuple[str, ...] = ()
    """The tools whose calls are looked for."""
    forced: bool = False
    """The answer is calls and nothing else."""
    parallel: bool = True
    mended: ControlTexts | None = None

    @property
    def needed(self) -> bool:
        return bool(self.offered) or self.mended is not None

    def rewrite_reply(self, reply: dict[str, Any]) -> dict[str, Any]:
        for choice in cast("list[Any]", reply.get("choices") or []):
            message: Any = choice.get("message")
            if not isinstance(message, dict):
                raise EngineBroke("the engine's reply holds no message")
            answer = _Answer(self)
            rewritten = answer.feed(cast("dict[str, Any]", message), streamed=False) + answer.end()
            _merge(cast("dict[str, Any]", message), rewritten)
            choice["finish_reason"] = answer.finish_reason(choice.get("finish_reason"))
        return reply


async def prepare(body: Mapping[str, Any], model: LlamaCppModel) -> tuple[dict[str, Any], Rewriting]:
    """Say a request of OpenAI's protocol so that llama.cpp does what it asks. Raises BadRequest."""
    asked = dict(body)
    escape = Escape(model.control_texts)
    messages: list[Mapping[str, Any]] = asked.get("messages") or []
    asked["messages"] = [_prepare_message(message, escape) for message in messages]
    if "chat_template_kwargs" in asked:
        asked["chat_template_kwargs"] = escape.tree(asked["chat_template_kwargs"])
    tools: list[dict[str, Any]] = asked.pop("tools", None) or []
    choice = asked.pop("tool_choice", None) or "auto"
    parallel = asked.get("parallel_tool_calls") is not False
    if choice == "none":
        tools = []
    offered = tuple(str(tool["function"]["name"]) for tool in tools)
    tools = escape.tree(tools)
    forced = _forced_tools(tools, choice)
    if tools and model.template_has_tools:
        asked["tools"] = tools
    elif tools:
        asked["messages"] = _introduce_tools(asked["messages"], tools)
    if not model.template_has_tools:
        asked["messages"] = [_tell_calls(message) for message in asked["messages"]]
    schema, param, lenient = _answer_schema(asked)
    if forced:
        calls = calls_schema(
            [(str(tool["function"]["name"]), _parameters(tool)) for tool in forced],
            most=MOST_CALLS if parallel and choice == "required" else 1,
        )
        await _constrain(asked, calls, "tools", model, lenient=True)
    elif schema is not None:
        # Escaped too: what a constraint spells out, the model would write with the control token.
        closed = escape.tree(close_objects(schema))
        await _constrain(asked, closed, param, model, lenient=lenient)
    elif tools and model.template_has_tools:
        # llama.cpp makes a grammar of its own of their schemas, with repetitions written out.
        for number, tool in enumerate(tools):
            check_shape(_parameters(tool), f"tools[{number}].function.parameters", expands=True)
        asked["tool_choice"] = "auto"
    if escape.happened and asked.get("stop"):
        stops: list[str] = [asked["stop"]] if isinstance(asked["stop"], str) else asked["stop"]
        asked["stop"] = list(dict.fromkeys([*stops, *map(model.control_texts.escape, stops)]))
    rewriting = Rewriting(
        offered=offered,
        forced=bool(forced),
        parallel=parallel,
        mended=model.control_texts if escape.happened else None,
    )
    return asked, rewriting


def _forced_tools(tools: list[dict[str, Any]], choice: Any) -> list[dict[str, Any]]:
    """The tools of which one must be called; none when the model may choose."""
    if choice == "required":
        return tools
    if isinstance(choice, Mapping):
        name = cast("Mapping[str, Any]", choice)["function"]["name"]
        return [tool for tool in tools if tool["function"]["name"] == name]
    return []


def _parameters(tool: dict[str, Any]) -> dict[str, Any]:
    return tool["function"].get("parameters") or {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def _answer_schema(asked: dict[str, Any]) -> tuple[dict[str, Any] | None, str, bool]:
    """The schema that the answer is to follow, the parameter's name, and whether it is taken leniently."""
    wanted: dict[str, Any] = asked.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        described: dict[str, Any] = wanted["json_schema"]
        strict = described.get("strict") is True
        return described.get("schema") or {}, "response_format.json_schema.schema", not strict
    if wanted.get("type") == "json_object":
        return wanted.get("schema") or {"type": "object"}, "response_format.schema", True
    return None, "", False


async def _constrain(
    asked: dict[str, Any], schema: dict[str, Any], param: str, model: LlamaCppModel, *, lenient: bool
) -> None:
    """Let the answer be JSON of that schema and nothing else."""
    await check_schema(schema, param, lenient=lenient, expands=not model.guidance)
    asked.pop("response_format", None)
    if model.guidance:
        asked["grammar"] = make_grammar(schema, lenient=lenient)
    else:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    if "tools" in asked:
        # llama.cpp takes no constraint of ours while it looks for calls itself.
        asked["tool_choice"] = "none"
    # A constrained answer begins with its first token: there is no room for thoughts.
    asked["chat_template_kwargs"] = {"enable_thinking": False, **(asked.get("chat_template_kwargs") or {})}
    asked["reasoning_format"] = "none"


def _prepare_message(message: Mapping[str, Any], escape: Escape) -> dict[str, Any]:
    prepared = dict(message)
    content = prepared.get("content")
    if isinstance(content, str):
        prepared["content"] = escape.text(content)
    elif isinstance(content, list):
        prepared["content"] = _prepare_parts(cast("list[dict[str, Any]]", content), escape)
    for name in ("reasoning_content", "name", "tool_call_id"):
        if isinstance(prepared.get(name), str):
            prepared[name] = escape.text(prepared[name])
    if prepared.get("refusal") and not prepared.get("content"):
        prepared["content"] = escape.text(str(prepared["refusal"]))
    prepared.pop("refusal", None)
    if prepared.get("tool_calls"):
        prepared["tool_calls"] = [_prepare_call(call, escape) for call in prepared["tool_calls"]]
    return prepared


def _prepare_parts(parts: list[dict[str, Any]], escape: Escape) -> str | list[dict[str, Any]]:
    """Content parts with neighbouring texts joined: a control text must not form where two of them meet."""
    joined: list[dict[str, Any]] = []
    for part in parts:
        text = part.get("text") if part.get("type") == "text" else part.get("refusal")
        if text is None:
            joined.append(dict(part))
        elif joined and joined[-1].get("type") == "text":
            joined[-1]["text"] += "\n" + text
        else:
            joined.append({"type": "text", "text": text})
    for part in joined:
        if part["type"] == "text":
            part["text"] = escape.text(part["text"])
    if len(joined) == 1 and joined[0]["type"] == "text":
        return joined[0]["text"]
    return joined


def _prepare_call(call: Mapping[str, Any], escape: Escape) -> dict[str, Any]:
    function: dict[str, Any] = dict(call["function"])
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        # Templates show them parsed, and `\\u003c` would then be the `<` of a control text.
        try:
            value = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, RecursionError):
            function["arguments"] = escape.text(arguments)
        else:
            inner = Escape(escape.texts)
            escaped = inner.tree(value)
            if inner.happened:
                escape.happened = True
                function["arguments"] = msgspec.json.encode(escaped).decode()
    return {**call, "id": escape.text(str(call.get("id", ""))), "function": function}


def _introduce_tools(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Describe the tools in the system message, for a template that would leave them out."""
    lines = "\n".join(msgspec.json.encode(tool["function"]).decode() for tool in tools)
    introduction = TOOLS_INTRODUCTION.format(tools=lines)
    first = messages[0] if messages else {}
    if first.get("role") in ("system", "developer") and isinstance(first.get("content"), str):
        return [{**first, "content": f"{first['content']}\n\n{introduction}"}, *messages[1:]]
    return [{"role": "system", "content": introduction}, *messages]


def _tell_calls(message: dict[str, Any]) -> dict[str, Any]:
    """Earlier calls and their results in words, for a template that would leave them out."""
    if message.get("role") == "tool":
        return {"role": "user", "content": f"<tool_response>\n{_flat(message)}\n</tool_response>"}
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    if not calls:
        return message
    told = [
        '<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>'.format(
            call["function"]["name"], call["function"].get("arguments") or "{}"
        )
        for call in calls
    ]
    return {"role": "assistant", "content": "\n".join(filter(None, [_flat(message), *told]))}


def _flat(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in cast("list[dict[str, Any]]", content))


_THINKING_MARK = re.compile(r"^<think>\s*(?:</think>\s*)?")


class _Answer:
    """One choice of an answer on its way out: deltas, or a whole message, in; deltas out."""

    def __init__(self, rewriting: Rewriting) -> None:
        self._rewriting = rewriting
        texts = rewriting.mended
        self._content = Mender(texts) if texts else None
        self._reasoning = Mender(texts) if texts else None
        self._arguments: dict[int, Mender] = {}
        self._reader: CallReader | CallFinder | None = None
        if rewriting.forced:
            self._reader = CallReader()
        elif rewriting.offered:
            self._reader = CallFinder(rewriting.offered, parallel=rewriting.parallel)
        self._native = 0
        self._called = False

    def feed(self, delta: dict[str, Any], *, streamed: bool = True) -> list[dict[str, Any]]:
        """The deltas that one delta becomes; role and unknown members go with the first."""
        rest = {
            name: value
            for name, value in delta.items()
            if name not in ("content", "reasoning_content", "tool_calls") and value is not None
        }
        deltas: list[dict[str, Any]] = [rest] if rest else []
        reasoning = delta.get("reasoning_content")
        if isinstance(reasoning, str) and reasoning:
            deltas.append(
                {"reasoning_content": self._reasoning.feed(reasoning) if self._reasoning else reasoning}
            )
        content = delta.get("content")
        if isinstance(content, str) and content:
            deltas += self._feed_content(content)
        calls: list[dict[str, Any]] = delta.get("tool_calls") or []
        for number, call in enumerate(calls):
            deltas += self._pass_call(call, int(call.get("index", number)))
        return deltas

    def _feed_content(self, content: str) -> list[dict[str, Any]]:
        if self._content is not None:
            content = self._content.feed(content)
        if self._reader is None:
            return [{"content": content}] if content else []
        return self._write(self._reader.feed(content))

    def _pass_call(self, call: dict[str, Any], index: int) -> list[dict[str, Any]]:
        """A call that llama.cpp found itself."""
        if index and not self._rewriting.parallel:
            return []
        self._called = True
        function: dict[str, Any] = dict(call.get("function") or {})
        if self._rewriting.mended is not None and isinstance(function.get("arguments"), str):
            mender = self._arguments.setdefault(index, Mender(self._rewriting.mended))
            function["arguments"] = mender.feed(function["arguments"])
        return [{"tool_calls": [{**call, "index": index, "function": function}]}]

    def end(self) -> list[dict[str, Any]]:
        return self._write(self._reader.end()) if self._reader is not None else []

    def _write(self, parts: list[Part]) -> list[dict[str, Any]]:
        return [self._write_part(part) for part in parts]

    def _write_part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, str):
            return {"content": part}
        self._called = True
        if isinstance(part, CallStart):
            function = {"name": part.name, "arguments": ""}
            return {
                "tool_calls": [{"index": part.index, "id": part.id, "type": "function", "function": function}]
            }
        return {"tool_calls": [{"index": part.index, "function": {"arguments": part.text}}]}

    def finish_reason(self, said: str | None) -> str | None:
        return "tool_calls" if self._called and said == "stop" else said


def _merge(message: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
    """Make a whole message of its deltas, in place."""
    content: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        content.append(delta.get("content") or "")
        reasoning.append(delta.get("reasoning_content") or "")
        for piece in delta.get("tool_calls", ()):
            call = calls.setdefault(piece["index"], {"function": {"name": "", "arguments": ""}})
            call.update({name: value for name, value in piece.items() if name not in ("index", "function")})
            function: dict[str, Any] = piece.get("function") or {}
            call["function"]["name"] = function.get("name") or call["function"]["name"]
            call["function"]["arguments"] += function.get("arguments") or ""
    text = "".join(content)
    message["content"] = text if text.strip() or not calls else None
    if any(reasoning):
        message["reasoning_content"] = "".join(reasoning)
    if calls:
        message["tool_calls"] = [
            {"id": call.get("id"), "type": "function", "function": call["function"]}
            for _, call in sorted(calls.items())
        ]


class RewrittenStream:
    """A stream of llama.cpp's whose frames are rewritten; see `candide.domain.engines.ChatStream`."""

    def __init__(self, stream: ChatStream, rewriting: Rewriting) -> None:
        self.engine = stream.engine
        self._stream = stream
        self._rewriting = rewriting
        self._answers: dict[int, _Answer] = {}

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[list[bytes]]:
        async for batch in self._stream:
            rewritten = [frame for payload in batch for frame in self._rewrite(payload)]
            if rewritten:
                yield rewritten

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _rewrite(self, payload: bytes) -> list[bytes]:
        try:
            frame = msgspec.json.decode(payload, type=_Frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineBroke(f"engine '{self.engine}' sent a malformed frame: {error}") from error
        if not frame.choices:
            return [payload]
        head = {name: value for name, value in msgspec.json.decode(payload).items() if name != "choices"}
        frames: list[bytes] = []
        for choice in frame.choices:
            answer = self._answers.get(choice.index)
            if answer is None:
                answer = self._answers[choice.index] = _Answer(self._rewriting)
            deltas = answer.feed(choice.delta)
            last = choice.finish_reason is not None
            if last:
                deltas += answer.end()
            for number, delta in enumerate([*deltas, {}] if last else deltas):
                entry: dict[str, Any] = {"index": choice.index, "delta": delta, "finish_reason": None}
                if number == 0 and choice.logprobs is not None:
                    entry["logprobs"] = choice.logprobs
                if last and number == len(deltas):
                    entry["finish_reason"] = answer.finish_reason(choice.finish_reason)
                frames.append(msgspec.json.encode({**head, "choices": [entry]}))
        return frames


class _Choice(msgspec.Struct):
    delta: dict[str, Any] = {}
    index: int = 0
    finish_reason: str | None = None
    logprobs: Any = None


class _Frame(msgspec.Struct):
    choices: list[_Choice] = []


class LegacyStream:
    """A stream of `/completions`, in the shape that OpenAI gave it; see `candide.domain.engines.ChatStream`."""

    def __init__(self, stream: ChatStream, includes_usage: bool) -> None:
        self.engine = stream.engine
        self._stream = stream
        self._includes_usage = includes_usage

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[list[bytes]]:
        usage: dict[str, Any] | None = None
        async for batch in self._stream:
            frames: list[bytes] = []
            for payload in batch:
                if payload == b"null":  # how llama.cpp opens the answer to several prompts
                    continue
                try:
                    frame = rewrite_text(msgspec.json.decode(payload, type=dict[str, Any]))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise EngineBroke(f"engine '{self.engine}' sent a malformed frame: {error}") from error
                usage = frame.pop("usage", None) or usage
                if self._includes_usage and usage and not frame.get("choices"):
                    frame["usage"], usage = usage, None
                frames.append(msgspec.json.encode(frame))
            if frames:
                yield frames
        if self._includes_usage and usage:
            yield [msgspec.json.encode({"object": "text_completion", "choices": [], "usage": usage})]

    async def aclose(self) -> None:
        await self._stream.aclose()


def includes_usage(body: Mapping[str, Any]) -> bool:
    options: Mapping[str, Any] = body.get("stream_options") or {}
    return bool(options.get("include_usage"))


def rewrite_text(reply: dict[str, Any]) -> dict[str, Any]:
    """A reply of `/completions`, or a frame of it, whose probabilities have the shape of that path, in place."""
    if str(reply.get("id", "")).startswith("chatcmpl-"):
        reply["id"] = "cmpl-" + reply["id"].removeprefix("chatcmpl-")
    for choice in cast("list[dict[str, Any]]", reply.get("choices") or []):
        logged: dict[str, Any] = choice.get("logprobs") or {}
        entries: list[dict[str, Any]] | None = logged.get("content")
        if entries is None:
            continue
        offsets: list[int] = []
        offset = 0
        for entry in entries:
            offsets.append(offset)
            offset += len(entry["token"])
        choice["logprobs"] = {
            "tokens": [entry["token"] for entry in entries],
            "token_logprobs": [entry["logprob"] for entry in entries],
            "top_logprobs": [
                {top["token"]: top["logprob"] for top in entry.get("top_logprobs", ())} for entry in entries
            ],
            "text_offset": offsets,
        }
    return reply
