"""A client that goes away ends its block, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from starlette.types import Message

from candide.server.disconnect import ClientGone, UntilGone
from candide.server.sse import STOPPED, EventStream


def client(goes: asyncio.Event) -> Callable[[], Awaitable[Message]]:
    async def receive() -> Message:
        await goes.wait()
        return {"type": "http.disconnect"}

    return receive


async def test_the_block_ends_when_the_client_goes() -> None:
    goes = asyncio.Event()
    cleaned = False
    with pytest.raises(ClientGone):
        async with UntilGone(client(goes)):
            asyncio.get_running_loop().call_later(0.01, goes.set)
            try:
                await asyncio.sleep(10)
            finally:
                cleaned = True
    assert cleaned
    # The task itself goes on.
    await asyncio.sleep(0)


async def test_what_the_block_raises_while_it_is_ended_is_not_told_to_nobody() -> None:
    goes = asyncio.Event()
    with pytest.raises(ClientGone):
        async with UntilGone(client(goes)):
            goes.set()
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise ValueError from None


async def test_another_cancellation_is_obeyed() -> None:
    async def work() -> None:
        async with UntilGone(client(asyncio.Event())):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_at_once_is_a_cancellation() -> None:
    goes = asyncio.Event()

    async def work() -> None:
        async with UntilGone(client(goes)):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    goes.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_is_done_is_left_alone() -> None:
    goes = asyncio.Event()
    async with UntilGone(client(goes)):
        await asyncio.sleep(0)
    goes.set()
    await asyncio.sleep(0.01)


async def test_a_stream_that_the_servers_end_cuts_says_so() -> None:
    sent: list[Message] = []
    closed = False

    async def send(message: Message) -> None:
        sent.append(message)

    async def source() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            yield b"data: 1\n\n"
            await asyncio.sleep(10)
        finally:
            closed = True

    stream = EventStream(source())
    task = asyncio.create_task(stream({"type": "http"}, client(asyncio.Event()), send))
    while len(sent) < 2:
        await asyncio.sleep(0)
    task.cancel()
    await task
    assert closed
    assert (sent[-1]["body"], sent[-1]["more_body"]) == (STOPPED, False)
