"""A server with a scripted engine behind it, on a real port, for clients of any kind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from candide.engine.client import EngineClient
from candide.engine.routes import Routes
from candide.engine.scripted import Script, ScriptedEngine
from candide.server.failures import install_error_handlers
from candide.server.openai import build_router


@dataclass
class Place:
    """A running server; `url` ends in `/v1`, `engine` is the scripted engine behind it."""

    url: str
    engine: ScriptedEngine
    loop: asyncio.AbstractEventLoop
    clients: list[openai.OpenAI] = field(default_factory=list)

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def client(self, **options: Any) -> openai.OpenAI:
        client = openai.OpenAI(base_url=self.url, api_key="none", max_retries=0, timeout=30, **options)
        self.clients.append(client)
        return client


async def _serve(script: Script, ready: Future[Place], stop: asyncio.Event) -> None:
    async with ScriptedEngine(script) as engine:
        client = EngineClient("scripted", engine.url)
        routes = Routes([client])
        app = FastAPI(title="Candide")
        install_error_handlers(app)
        app.include_router(build_router(SimpleNamespace(routes=routes)))
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        ready.set_result(Place(f"http://127.0.0.1:{port}/v1", engine, asyncio.get_running_loop()))
        await stop.wait()
        server.should_exit = True
        await serving
        await routes.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Place]]:
    """Start a server over an engine that follows a script: `serve(Script(...))`."""
    with starter() as start:
        yield start


@pytest.fixture(scope="module")
def shared() -> Iterator[Place]:
    """One server for all tests of a module that do not mind what others said to it."""
    with starter() as start:
        yield start()


@contextlib.contextmanager
def starter() -> Iterator[Callable[..., Place]]:
    started: list[tuple[Place, asyncio.Event, threading.Thread]] = []

    def start(script: Script | None = None) -> Place:
        ready: Future[Place] = Future()
        stop = asyncio.Event()

        def run() -> None:
            try:
                asyncio.run(_serve(script or Script(), ready, stop))
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(error)
                raise

        thread = threading.Thread(target=run)
        thread.start()
        place = ready.result(20)
        started.append((place, stop, thread))
        return place

    yield start
    for place, stop, thread in started:
        for client in place.clients:
            client.close()
        place.loop.call_soon_threadsafe(stop.set)
        thread.join(20)
