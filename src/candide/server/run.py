"""Runs the server in this process until it is told to stop.

It listens at once: `/health` answers while the rest is still being loaded and the database opened, and
every other request that comes by then waits for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import importlib
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, TextIO

import uvicorn

from candide.errors import SetupError
from candide.server.address import Address, leave_address, read_addresses

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from candide.compose import Watch
    from candide.server.services import Services
    from candide.settings import Settings

GRACE_S = 5
"""How long open connections may take at the end; turns go on at the next start anyway."""


class Server(uvicorn.Server):
    """A server that lets the process live after it: uvicorn's own raises the signal that stopped it
    again, which would end the process before the services are closed.
    """

    before_end: Callable[[], None] | None = None
    """Called when it has been told to stop, before it waits for the connections that are open."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.before_end is not None:
            self.before_end()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(number)


def serve(
    settings: Settings, *, watch: Watch | None = None, when_open: Callable[[str], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM. Raises SetupError when it cannot begin.

    Where `watch` is given, a model that is missing is fetched meanwhile, as it is told. `when_open` is told
    the address of the page once it can be looked at.
    """
    with _private_files():
        _serve(settings, watch, when_open)


@contextlib.contextmanager
def _private_files() -> Generator[None]:
    """Let others on the machine read nothing of what is made meanwhile.

    Databases, their logs, backups, and the logs of engines are made in many places, by libraries and
    child processes too, and the umask is what they all keep to. A server makes no file for anyone else;
    the other commands do, like exports, and keep the user's umask.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment: a bar that is drawn there makes room for the line."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _serve(settings: Settings, watch: Watch | None, when_open: Callable[[str], None] | None) -> None:
    logging.basicConfig(
        level=settings.log_level.upper(),
        handlers=[_StandardError()],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    running = read_addresses(settings.run_dir)
    listener = _listen(settings.host, settings.port, running)
    if running:
        print(
            f"another Candide runs on this home, at {running[0].url}, which the commands talk to; "
            "this one loads a model of its own",
            file=sys.stderr,
            flush=True,
        )
    with contextlib.closing(listener):
        run = _run(settings, listener, watch, when_open)
        try:
            import uvloop
        except ImportError:
            asyncio.run(run)
        else:
            uvloop.run(run)


async def _run(
    settings: Settings,
    listener: socket.socket,
    watch: Watch | None,
    when_open: Callable[[str], None] | None,
) -> None:
    front = _Front()
    server = Server(configure(front, GRACE_S))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    services = None
    try:
        services = await _load(settings, front, watch)
        server.before_end = services.dismiss_followers
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        with leave_address(settings.run_dir, _describe(settings, url, services)):
            print(f"Candide is at {url}\n{_next_steps(settings, url)}", file=sys.stderr, flush=True)
            if when_open is not None:
                when_open(url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"))
            await serving
    finally:
        server.should_exit = True
        front.give_up()
        await serving
        if services is not None:
            await services.close()


def _describe(settings: Settings, url: str, services: Services) -> Address:
    from candide.compose import uses_embedded

    return Address(
        url=url,
        pid=os.getpid(),
        api_key=settings.api_key,
        embedded=uses_embedded(settings),
        model=_default_file(services),
        engine_urls=settings.engine_urls,
    )


def _default_file(services: Services) -> str:
    path = services.embedded.find_file(services.routes.default) if services.embedded else None
    return str(path) if path else ""


def _next_steps(settings: Settings, url: str) -> str:
    home = f" --home {shlex.quote(str(settings.home))}" if settings.origins.get("home") == "flag" else ""
    return f"Chat in a terminal: candide{home}. OpenAI clients: {url}/v1. Every path: {url}/docs"


def configure(app: ASGIApp, grace_s: int) -> uvicorn.Config:
    """How the server speaks HTTP; open connections may take `grace_s` at its end."""
    return uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace_s,
        server_header=False,
        # Nothing here depends on the address of the caller, which a proxy would tell.
        proxy_headers=False,
    )


class _Front:
    """The application from the first moment on; passes on to the real one as soon as there is one."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._loaded = asyncio.Event()

    def open(self, app: ASGIApp) -> None:
        self._app = app
        self._loaded.set()

    def give_up(self) -> None:
        """Let the requests that wait go without an answer, when there will be none."""
        self._loaded.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None and scope["path"] == "/health":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"status":"ok"}'})
            return
        await self._loaded.wait()
        if self._app is not None:
            await self._app(scope, receive, send)


async def _load(settings: Settings, front: _Front, watch: Watch | None) -> Services:
    """Load what takes long, in a thread so that `/health` answers meanwhile; then open for all requests."""
    await asyncio.to_thread(importlib.import_module, "candide.server.app")
    compose = (await asyncio.to_thread(importlib.import_module, "candide.compose")).compose
    from candide.server.app import create_app

    services: Services = await compose(settings, watch=watch)
    try:
        front.open(create_app(services))
    except BaseException:
        await services.close()
        raise
    # What is alive now stays; looking through it again for every thousand new objects is for nothing.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    return services


def _listen(host: str, port: int, running: Sequence[Address]) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            if own := next((address for address in running if address.url.endswith(f":{port}")), None):
                raise SetupError(
                    f"Candide is already at {own.url}",
                    hint="candide chats with it; another one needs another --port",
                ) from None
            raise SetupError(
                f"port {port} of {host} is in use",
                hint="stop what listens there, or choose another with --port",
            ) from None
        raise SetupError(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --host or --port"
        ) from None
    listener.setblocking(False)
    return listener
