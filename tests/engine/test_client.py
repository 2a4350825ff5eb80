"""Whatever a server does ends in an answer or in a named error: tried against one that lies at every layer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candide.engine.client import MAX_ERROR_BYTES, MAX_FRAME_BYTES, EngineClient
from candide.errors import (
    BadRequest,
    CandideError,
    ContextTooLong,
    EngineBroke,
    EngineError,
    EngineOverloaded,
    EngineUnavailable,
)

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def liar(answer: Answer, **options: Any) -> AsyncIterator[EngineClient]:
    """A client of a server that reads one request on each connection and then does what `answer` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A test that has seen enough leaves in the middle of what is being said.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = EngineClient("liar", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", **options)
    try:
        yield client
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


def say(status: str, body: bytes, kind: str = "application/json", *headers: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *headers]  # fmt: skip
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


def stream(*pieces: bytes, pause_s: float = 0.0, finish: bool = True) -> Answer:
    """An event stream in HTTP chunks of just these pieces; unfinished, it is cut."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(pause_s)
        if finish:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        else:
            writer.transport.abort()

    return answer


def frame(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


async def read(client: EngineClient) -> list[bytes]:
    opened = await client.open_chat({"messages": []})
    try:
        return [payload async for batch in opened for payload in batch]
    finally:
        await opened.aclose()
        await opened.aclose()


async def read_text(client: EngineClient) -> str:
    return "".join(json.loads(payload)["choices"][0]["delta"]["content"] for payload in await read(client))


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = EngineClient("gone", f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        with pytest.raises(EngineUnavailable, match="engine 'gone' cannot be reached") as refused:
            await read(client)
        assert "candide doctor" in str(refused.value.hint)
        assert not await client.ready()
        await client.close()


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        ("500 Oops", b'{"error": {"message": "CUDA out of memory"}}', EngineUnavailable, "CUDA out of memory"),
        ("502 Bad Gateway", b"<html><body>nginx</body></html>", EngineUnavailable, "nginx"),
        ("503 Busy", b"", EngineUnavailable, "status 503"),
        ("401 No", b'{"error": {"message": "wrong key"}}', EngineError, "refuses the key: wrong key"),
        ("400 No", b'{"error": {"message": "bad top_p", "param": "top_p"}}', BadRequest, "bad top_p"),
        ("422 No", b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', BadRequest, "field required"),
        ("400 No", b'{"error": "just words"}', BadRequest, "just words"),
        ("400 No", b'{"error": {"message": "x", "code": "context_length_exceeded"}}', ContextTooLong, "x"),
        ("400 No", b'{"message": "This model\'s maximum context length is 4096 tokens"}', ContextTooLong, "4096"),
        ("404 No", b'{"error": {"message": null}}', EngineUnavailable, "404"),
        ("400 No", b"\xff\xfe\x00", BadRequest, "\ufffd"),
        ("400 No", b"[" * 5000, BadRequest, r"\[\["),
    ],
)  # fmt: skip
async def test_each_status_becomes_a_named_error(status: str, body: bytes, error: type, said: str) -> None:
    async with liar(say(status, body)) as client:
        with pytest.raises(error, match=said) as opening:
            await client.open_chat({})
        assert type(opening.value) is error
        with pytest.raises(error):
            await client.post("/embeddings", {})


async def test_llamacpp_says_how_long_is_too_long() -> None:
    body = {"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}  # fmt: skip
    async with liar(say("400 Bad", json.dumps({"error": body}).encode())) as client:
        with pytest.raises(ContextTooLong) as too_long:
            await client.open_chat({})
    assert (too_long.value.prompt_tokens, too_long.value.context_tokens) == (5000, 4096)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
        ("nan", 1.0),
        ("inf", 1.0),
        ("-5", 1.0),
    ],
)
async def test_an_overload_says_when_to_come_back(header: str, seconds: float) -> None:
    async with liar(say("429 Slow", b"{}", "application/json", f"Retry-After: {header}")) as client:
        with pytest.raises(EngineOverloaded) as overloaded:
            await client.open_chat({})
    assert overloaded.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"<html>Sign in to the hotel's wifi</html>", "text/html", "without a stream"),
        (b'{"choices": []}', "application/json", "without a stream"),
        (b'{"error": {"message": "no GPU", "code": 500}}', "application/json", "no GPU"),
    ],
)
async def test_an_answer_that_is_no_stream_is_named(body: bytes, kind: str, said: str) -> None:
    async with liar(say("200 OK", body, kind)) as client:
        with pytest.raises(EngineError, match=said):
            await client.open_chat({})


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b'{"a": ', b"\xff", b"null", b"[" * 100_000])
async def test_a_reply_that_is_no_object_is_named(body: bytes) -> None:
    async with liar(say("200 OK", body)) as client:
        with pytest.raises(EngineBroke, match="not a JSON object"):
            await client.post("/chat/completions", {})


@pytest.mark.parametrize("body", [b"{}", b'{"data": 1}', b'{"data": [{}]}', b'{"data": ["x"]}'])
async def test_a_listing_that_lists_nothing_is_named(body: bytes) -> None:
    async with liar(say("200 OK", body)) as client:
        with pytest.raises(EngineUnavailable, match="does not list its models"):
            await client.models()


async def test_a_server_that_speaks_something_else_is_named() -> None:
    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()

    async with liar(speak) as client:
        with pytest.raises(EngineUnavailable, match="cannot be reached"):
            await client.open_chat({})


async def test_an_endless_error_is_not_read_to_its_end() -> None:
    written = 0

    async def rant(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\n\r\n")
        for _ in range(4000):
            writer.write(b"no " * 10_000)
            await writer.drain()
            written += 30_000

    async with liar(rant) as client:
        with pytest.raises(EngineUnavailable, match="no no no"):
            await client.open_chat({})
    # What the sockets' buffers hold comes on top.
    assert written < MAX_ERROR_BYTES + 20 * 2**20


async def test_a_whole_stream_is_read_to_its_end() -> None:
    async with liar(stream(frame("one "), frame("two") + frame("", "stop"), DONE)) as client:
        assert await read_text(client) == "one two"


@pytest.mark.parametrize(
    ("pieces", "finish"),
    [
        ([frame("one"), frame("two")], True),
        ([frame("one"), frame("two")], False),
        ([frame("one"), frame("two")[:20]], True),
        ([frame("one"), frame("", "stop"), b"data: {"], True),
        ([], True),
        ([], False),
    ],
)
async def test_a_stream_that_is_cut_is_no_answer(pieces: list[bytes], finish: bool) -> None:
    async with liar(stream(*pieces, finish=finish, pause_s=0.01)) as client:
        opened = await client.open_chat({})
        read: list[bytes] = []
        with pytest.raises(EngineBroke):
            async for batch in opened:
                read.extend(batch)
        await opened.aclose()
    assert read[: len(pieces)] == [p[6:-2] for p in pieces if p.endswith(b"\n\n")]


async def test_a_stream_that_ended_with_its_reason_needs_no_done() -> None:
    async with liar(stream(frame("one"), frame("", "stop"))) as client:
        assert await read_text(client) == "one"


async def test_a_stream_that_stalls_is_given_up() -> None:
    async def stall(writer: asyncio.StreamWriter) -> None:
        await stream(frame("one"), pause_s=30)(writer)

    async with liar(stall, timeout_s=0.2) as client:
        opened = await client.open_chat({})
        with pytest.raises(EngineBroke, match="broke off"):
            _ = [batch async for batch in opened]
        await opened.aclose()


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error": {"message": "the GPU fell off"}}\n\n',
        b'data: {"error":"the GPU fell off"}\n\n',
        b'error: {"message": "the GPU fell off"}\n\n',
    ],
)
async def test_an_error_frame_ends_the_stream_after_what_came_before(error: bytes) -> None:
    async with liar(stream(frame("one") + error + frame("two"), DONE)) as client:
        opened = await client.open_chat({})
        got: list[bytes] = []
        with pytest.raises(EngineBroke, match="the GPU fell off"):
            async for batch in opened:
                got.extend(batch)
        await opened.aclose()
    assert got == [frame("one")[6:-2]]


async def test_a_frame_that_says_it_has_no_error_is_none() -> None:
    payload = b'{"error": null, "choices": [{"delta": {"content": "fine"}}]}'
    async with liar(stream(b"data: " + payload + b"\n\n", DONE)) as client:
        assert await read(client) == [payload]


async def test_a_frame_without_end_is_refused() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        await stream(b"data: ", *[b"x" * 2**20] * (MAX_FRAME_BYTES // 2**20 + 8))(writer)

    async with liar(endless) as client:
        with pytest.raises(EngineBroke, match="a frame of over"):
            await read(client)


async def test_comments_other_fields_and_frames_of_many_lines_are_understood() -> None:
    body = b': ping\n\nevent: x\nid: 1\nretry: 5\ndata: {"choices":\ndata:[]}\n\n\n\n: bye\n\n'
    async with liar(stream(body, DONE)) as client:
        assert await read(client) == [b'{"choices": []}']


BODY = frame("naïve ") + b": a comment\n\n" + frame("東京 \U0001f600 ") + frame('"finish_reason": "stop" ') + frame("end", "stop") + DONE  # fmt: skip


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_a_stream_cut_at_every_byte_is_the_same_stream(newline: bytes) -> None:
    body = BODY.replace(b"\n", newline)
    async with liar(stream(*(body[n : n + 1] for n in range(len(body))))) as client:
        assert await read_text(client) == 'naïve 東京 \U0001f600 "finish_reason": "stop" end'


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(1, len(BODY) - 1), max_size=4), st.booleans())
def test_a_stream_cut_anywhere_is_the_same_stream(newline: bytes, cuts: list[int], slow: bool) -> None:
    async def exchange() -> str:
        body = BODY.replace(b"\n", newline)
        ends = [0, *sorted(set(cuts)), len(body)]
        pieces = [body[a:b] for a, b in zip(ends, ends[1:]) if a < b]  # noqa: B905, RUF007
        async with liar(stream(*pieces, pause_s=0.002 if slow else 0)) as client:
            return await read_text(client)

    assert asyncio.run(exchange()) == 'naïve 東京 \U0001f600 "finish_reason": "stop" end'


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_a_named_error_or_nothing(garbage: bytes, finish: bool) -> None:
    async def exchange() -> None:
        async with liar(stream(*([garbage] if garbage else []), finish=finish)) as client:
            with contextlib.suppress(CandideError):
                await read(client)

    asyncio.run(exchange())


async def test_closing_a_stream_hangs_up_on_the_engine() -> None:
    hung_up = asyncio.Event()

    async def talk(writer: asyncio.StreamWriter) -> None:
        try:
            await stream(*[frame("on and on ")] * 10_000, pause_s=0.005)(writer)
        finally:
            hung_up.set()

    async with liar(talk) as client:
        opened = await client.open_chat({})
        async for _ in opened:
            break
        await opened.aclose()
        await asyncio.wait_for(hung_up.wait(), 10)


async def test_the_key_is_sent() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await say("200 OK", b'{"data": []}')(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = EngineClient("e", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/", "sesame")
    assert await client.models() == []
    assert b"authorization: bearer sesame" in heads[0].lower()
    assert heads[0].startswith(b"GET /v1/models ")
    await client.close()
    server.close()
    await server.wait_closed()
