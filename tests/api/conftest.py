"""A server with a scripted engine behind it, on a real port, for clients of any kind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import uvicorn

from candide.compose import compose
from candide.engine.scripted import Script, ScriptedEngine
from candide.server.app import create_app
from candide.server.services import Services
from candide.settings import load_settings


@dataclass
class Place:
    """A running server; `url` ends in `/v1`, `engine` is the scripted engine behind it."""

    url: str
    engine: ScriptedEngine
    services: Services
    loop: asyncio.AbstractEventLoop
    clients: list[openai.OpenAI] = field(default_factory=list)

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def client(self, **options: Any) -> openai.OpenAI:
        client = openai.OpenAI(base_url=self.url, api_key="none", max_retries=0, timeout=30, **options)
        self.clients.append(client)
        return client


async def _serve(
    script: Script, home: Path, ready: Future[Place], stop: asyncio.Event, settings: dict[str, Any]
) -> None:
    async with ScriptedEngine(script) as engine:
        flags = {"home": home, "engine_urls": (engine.url,), "embedded": False, "titles": False, **settings}
        services = await compose(load_settings(flags, {}))
        app = create_app(services)
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        place = Place(f"http://127.0.0.1:{port}/v1", engine, services, asyncio.get_running_loop())
        ready.set_result(place)
        await stop.wait()
        server.should_exit = True
        await serving
        await services.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Start a server over an engine that follows a script: `serve(Script(...))`."""
    with starter(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for all tests of a module that do not mind what others said to it."""
    with starter(tmp_path_factory.mktemp("home")) as start:
        yield start()


@contextlib.contextmanager
def starter(home: Path, **settings: Any) -> Iterator[Callable[..., Place]]:
    started: list[tuple[Place, asyncio.Event, threading.Thread]] = []

    def start(script: Script | None = None) -> Place:
        ready: Future[Place] = Future()
        stop = asyncio.Event()

        def run() -> None:
            try:
                asyncio.run(_serve(script or Script(), home, ready, stop, settings))
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(error)
                raise

        thread = threading.Thread(target=run)
        thread.start()
        place = ready.result(100)
        started.append((place, stop, thread))
        return place

    yield start
    for place, stop, thread in started:
        for client in place.clients:
            client.close()
        place.loop.call_soon_threadsafe(stop.set)
        thread.join(20)


@dataclass(frozen=True)
class RealServer:
    """`candide serve` in a process of its own, over a real model."""

    url: str
    model: str


ServeWeights = Callable[[Path], contextlib.AbstractContextManager[RealServer]]


@contextlib.contextmanager
def run_candide(weights: Path, home: Path, port: int) -> Iterator[RealServer]:
    command = [sys.executable, "-m", "candide", "serve", "--model", str(weights), "--port", str(port)]
    command += ["--context-tokens", "4096"]
    environ = {**os.environ, "CANDIDE_HOME": str(home)}
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    try:
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None and not _is_ready(url):
            time.sleep(0.1)
        assert process.poll() is None, (home / "serve.log").read_text()
        yield RealServer(f"{url}/v1", weights.stem.lower())
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="session")
def serve_weights(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> ServeWeights:
    """Start `candide serve` over a model's file: `with serve_weights(path) as server:`."""
    return lambda weights: run_candide(weights, tmp_path_factory.mktemp(weights.stem), free_port())


@pytest.fixture(scope="session")
def smol_server(smol_path: Path, serve_weights: ServeWeights) -> Iterator[RealServer]:
    with serve_weights(smol_path) as server:
        yield server


@pytest.fixture(scope="session")
def qwen_server(qwen_path: Path, serve_weights: ServeWeights) -> Iterator[RealServer]:
    with serve_weights(qwen_path) as server:
        yield server
