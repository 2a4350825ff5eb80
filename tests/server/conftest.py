"""A server in this process, on a real port, over a real SQLite file and a scripted engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvicorn

from candide.compose import compose
from candide.engine.scripted import ScriptedEngine
from candide.server.app import create_app
from candide.server.services import Services
from candide.settings import load_settings

if TYPE_CHECKING:
    from conftest import EngineStarter


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error, in the shape that all errors have."""
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= set(error)
        assert set(self.json) == {"error"}
        return error


@dataclass
class Here:
    """The server that runs here."""

    port: int
    services: Services
    engine: ScriptedEngine
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        """Send a request; a body is sent as JSON, unless `data` is given."""
        if body is not None:
            more["json"] = body
        async with self.session.request(method, self.url + path, **more) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(self, text: str, conversation: str | None = None, **more: Any) -> Any:
        conversation = conversation or (await self.call("POST", "/api/conversations")).json["id"]
        reply = await self.call("POST", f"/api/conversations/{conversation}/turns", {"text": text, **more})
        assert reply.status == 202, reply.body
        return reply.json

    async def events(self, turn: str, after: int | None = None) -> list[dict[str, Any]]:
        """The turn's events to its end, each with its `id`."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        reply = await self.call("GET", f"/api/turns/{turn}/events", headers=headers)
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        return read_events(reply.body)


def read_events(body: bytes) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if line and not line.startswith(":"))
        if fields:
            data = json.loads(fields["data"])
            assert data["kind"] == fields["event"]
            events.append({"id": int(fields["id"]), **data})
    return events


HereStarter = Callable[..., Awaitable[Here]]


@pytest.fixture
async def start_here(
    tmp_path: Path, start_engine: EngineStarter, empty_database: Path
) -> AsyncIterator[HereStarter]:
    """Start the server here: `await start_here({"api_key": "k"}, replies=[...])`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(settings: dict[str, Any] | None = None, **script: Any) -> Here:
            engine = await start_engine(**script)
            (tmp_path / "home").mkdir(exist_ok=True)
            shutil.copy(empty_database, tmp_path / "home")
            flags = {
                "home": str(tmp_path / "home"),
                "engine_urls": engine.url,
                "titles": False,
                **(settings or {}),
            }
            services = await compose(load_settings(flags, {}))
            stack.push_async_callback(services.close)
            listener = socket.create_server(("127.0.0.1", 0))
            config = uvicorn.Config(
                create_app(services), http="httptools", lifespan="off", ws="none", log_config=None,
                access_log=False, timeout_graceful_shutdown=1,
            )  # fmt: skip
            server = uvicorn.Server(config)
            # Signals belong to pytest.
            server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
            serving = asyncio.create_task(server.serve(sockets=[listener]))

            async def stop() -> None:
                server.should_exit = True
                await serving
                listener.close()

            stack.push_async_callback(stop)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            while not server.started:
                await asyncio.sleep(0.005)
            return Here(listener.getsockname()[1], services, engine, session)

        yield start


@pytest.fixture
async def here(start_here: HereStarter) -> Here:
    return await start_here()
