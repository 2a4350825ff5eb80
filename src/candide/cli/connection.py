"""Where the terminal finds a server: the one that runs on this home, or its own.

`candide serve` leaves its address under the home. When a server answers there the terminal talks to
it, to the first where several do; when none does, the very same server is started inside this process, on
a free loopback port that is told to no one, and stopped at the end. What follows is one code path.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from candide.errors import EngineUnavailable
from candide.server.address import Address, read_addresses

if TYPE_CHECKING:
    from candide.cli.client import Client
    from candide.cli.own_server import OwnServer
    from candide.settings import Settings

RESTART_PATIENCE_S = 5.0
"""How long a server that went away is waited for before this process serves itself."""


async def find_running(run_dir: Path) -> Address | None:
    """The first server on this home that accepts requests."""
    for address in read_addresses(run_dir):
        if await answers(address):
            return address
    return None


async def answers(address: Address, timeout_s: float = 2.0) -> bool:
    """Whether a server accepts requests at the address."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{address.url}/health") as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False


async def _tell_of_download(address: Address) -> None:
    """Say why an answer will take its time, where the server is still fetching its model."""
    from candide.cli.output import print_note

    headers = {"Authorization": f"Bearer {address.api_key}"} if address.api_key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), headers=headers) as session,
            session.get(f"{address.url}/api/status") as response,
        ):
            status = msgspec.json.decode(await response.read(), type=_Status)
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError):
        return  # what is wrong with the server will be said where it is asked
    download = status.download
    if download is None or download.error:
        return
    share = f", {100 * download.received_bytes / download.total_bytes:.0f} %" if download.total_bytes else ""
    print_note(f"the model {download.model} is being fetched{share}; a question is answered once it is there")


class _Download(msgspec.Struct):
    model: str
    received_bytes: int
    total_bytes: int | None
    error: str | None


class _Status(msgspec.Struct):
    download: _Download | None


class Connection:
    """The server in use; finds one again after it was lost."""

    def __init__(self, settings: Settings, *, alone: bool, needs_model: bool) -> None:
        self._settings = settings
        self._alone = alone
        self._needs_model = needs_model
        self._address: Address | None = None
        self._own: OwnServer | None = None

    @property
    def address(self) -> Address:
        assert self._address is not None, "open the connection first"
        return self._address

    @property
    def is_own(self) -> bool:
        """Whether the server lives in this process."""
        return self._own is not None

    async def open(self) -> None:
        if not self._alone and (running := await self._find_running()) is not None:
            self._address = running
            if self._needs_model and running.embedded:
                await _tell_of_download(running)
        else:
            await self._serve_here()

    async def recover(self) -> None:
        """Return once a server answers: the same, the one started in its place, or one's own."""
        if self._own is not None:
            await asyncio.sleep(0.2)
            if not await answers(self.address):
                raise EngineUnavailable(
                    "the server inside this process no longer answers",
                    hint=f"its log is {self._own.log_path}",
                )
            return
        deadline = time.monotonic() + RESTART_PATIENCE_S
        while time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            if (running := await self._find_running()) is not None:
                self._address = running
                return
        await self._serve_here()

    async def close(self) -> None:
        if self._own is not None:
            own, self._own = self._own, None
            await own.stop()

    async def _find_running(self) -> Address | None:
        address = await find_running(self._settings.run_dir)
        if address is None:
            return None
        if not address.api_key and self._settings.api_key:
            return msgspec.structs.replace(address, api_key=self._settings.api_key)
        return address

    async def _serve_here(self) -> None:
        from candide.cli.own_server import OwnServer
        from candide.cli.weights import prepare_weights
        from candide.compose import prepare_home

        # First of all: what comes next would make the home readable for others.
        prepare_home(self._settings)
        settings = await prepare_weights(self._settings) if self._needs_model else self._settings
        own = OwnServer(
            dataclasses.replace(settings, host="127.0.0.1", api_key=""), answers=self._needs_model
        )
        await own.start()
        self._own, self._address = own, Address(own.url)


@asynccontextmanager
async def connect(
    settings: Settings, *, alone: bool = False, needs_model: bool = False
) -> AsyncGenerator[Client]:
    """A client of the running server, or of one's own.

    `alone` does not look for a running one. A server of one's own is given a model, fetched first if
    need be, only where the caller `needs_model`: reading old conversations must not download weights.
    """
    from candide.cli.client import Client

    connection = Connection(settings, alone=alone, needs_model=needs_model)
    client = Client(connection)
    try:
        await connection.open()
        yield client
    finally:
        await client.close()
        await connection.close()
