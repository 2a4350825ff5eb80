"""What a client that goes away ends."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive


class ClientGone(Exception):
    """The client went away before it was answered."""


class UntilGone:
    """`async with UntilGone(receive):` cancels its block as soon as the client goes away, and raises ClientGone.

    The body of the request must have been read by then. It is `asyncio.timeout` with another cause: the
    block runs in the caller's own task, so that a request costs one more task and not three.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = asyncio.create_task(_wait_until_gone(self._receive))
        self._watcher.add_done_callback(self._end)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watcher.remove_done_callback(self._end)
        self._watcher.cancel()
        # Whoever else cancelled the task is obeyed.
        if self._gone and self._task.uncancel() == 0 and kind is not None:
            raise ClientGone from error

    def _end(self, watcher: asyncio.Task[None]) -> None:
        if not watcher.cancelled() and watcher.exception() is None:
            self._gone = True
            self._task.cancel()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
