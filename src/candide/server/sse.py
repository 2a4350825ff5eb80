"""Server-sent events (WHATWG HTML, 9.2) at little cost.

Whatever the source gives at once leaves in one write. A client that goes away ends the source at
once; one that stays while nothing happens gets a comment now and then, so that proxies keep the
connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PING = b": still here\n\n"


class EventStream(Response):
    """A response whose body is the bytes of `source`, which is closed at the end in any case."""

    media_type = "text/event-stream"

    def __init__(
        self,
        source: AsyncGenerator[bytes, None],
        *,
        headers: dict[str, str] | None = None,
        ping_s: float = 15.0,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._source = source
        self._ping_s = ping_s
        self._sent_at = 0.0
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streaming = asyncio.create_task(self._stream(send))
        watching = asyncio.create_task(self._watch(receive, send))
        try:
            await asyncio.wait({streaming, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            if not streaming.done():
                streaming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await streaming
            finally:
                await self._source.aclose()

    async def _stream(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._source:
            self._sent_at = loop.time()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive, send: Send) -> None:
        """Return when the client has gone; send a comment when nothing else was sent for long."""
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        gone = asyncio.ensure_future(_wait_until_gone(receive))
        try:
            while not gone.done():
                await asyncio.wait({gone}, timeout=self._ping_s)
                if not gone.done() and loop.time() - self._sent_at >= self._ping_s:
                    await send({"type": "http.response.body", "body": PING, "more_body": True})
        finally:
            gone.cancel()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
