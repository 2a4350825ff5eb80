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

from candide.server.disconnect import ClientGone, UntilGone

PING = b": still here\n\n"
STOPPED = b'data: {"error":{"message":"the server was stopped","type":"server_error","param":null,"code":"stopped"}}\n\n'


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
        self._quiet = True
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with contextlib.suppress(ClientGone):
                async with UntilGone(receive):
                    await self._stream(send)
        except asyncio.CancelledError:
            # The server ends, and gave the stream the time that it gives: it is said, not just broken off.
            await send({"type": "http.response.body", "body": STOPPED, "more_body": False})
        finally:
            await self._source.aclose()

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Most streams are over before the first ping: until then it costs no more than a timer.
        pinging: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._ping_s, lambda: pinging.append(loop.create_task(self._ping(send))))
        try:
            async for chunk in self._source:
                self._quiet = False
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            timer.cancel()
            for task in pinging:
                task.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _ping(self, send: Send) -> None:
        """Send a comment whenever nothing else was sent for long."""
        while True:
            if self._quiet:
                await send({"type": "http.response.body", "body": PING, "more_body": True})
            self._quiet = True
            await asyncio.sleep(self._ping_s)
