"""The server of a terminal that found none running: the same application, inside this process.

It listens on a free loopback port and leaves no address behind, so no one else comes to depend on
it; its log goes to `logs/cli.log`, never between the lines of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import logging.handlers
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn

from candide.errors import StoreError
from candide.server.services import Services
from candide.settings import Settings


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to the terminal: Ctrl-C stops an answer, not the server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class OwnServer:
    def __init__(self, settings: Settings, *, answers: bool = True) -> None:
        self._settings = settings
        self._answers = answers
        self.url = ""
        self.log_path: Path = settings.logs_dir / "cli.log"
        self._server: _QuietServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.services: Services
        """Once started."""

    async def start(self) -> None:
        """Return once requests are accepted; raises SetupError when the home or a setting forbids it."""
        from candide.compose import compose, prepare_home
        from candide.server.app import create_app
        from candide.server.run import configure

        prepare_home(self._settings)
        self._open_log()
        listener = socket.create_server(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.services = await compose(dataclasses.replace(self._settings, port=port), answers=self._answers)
        app = create_app(self.services)
        self._server = _QuietServer(configure(app, grace_s=1))
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=5)
            await self.services.close()

    def _open_log(self) -> None:
        try:
            handler = logging.handlers.RotatingFileHandler(self.log_path, maxBytes=4_000_000, backupCount=1)
        except OSError as error:
            raise StoreError(
                f"'{self.log_path}' cannot be written: {error.strerror}",
                hint="choose another home with --home or CANDIDE_HOME",
            ) from error
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        logging.basicConfig(level=self._settings.log_level.upper(), handlers=[handler], force=True)
