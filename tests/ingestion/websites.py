"""A website on this machine that gives what a test puts there, and keeps what it was asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Website:
    pages: dict[str, web.Response | Handler | tuple[str | bytes, str]] = field(default_factory=dict)
    """By path and query: a body with its media type, or what makes a response of a request."""
    requests: list[web.BaseRequest] = field(default_factory=list)
    address: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> Website:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self.port}"
        return self

    @property
    def port(self) -> int:
        assert self._runner is not None
        return self._runner.addresses[0][1]

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for, in their order."""
        return [request.path_qs for request in self.requests]

    def put(self, path: str, body: str | bytes, media_type: str = "text/html") -> None:
        self.pages[path] = (body, media_type)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        page = self.pages.get(request.path_qs)
        if page is None:
            return web.Response(status=404, text="there is no such page")
        if isinstance(page, tuple):
            body, media_type = page
            return web.Response(
                body=body.encode() if isinstance(body, str) else body, headers={"Content-Type": media_type}
            )
        if callable(page):
            return await page(request)
        # A response is sent once: this is another one like it.
        return web.Response(status=page.status, reason=page.reason, body=page.body, headers=page.headers)
