"""`candide mcp`: the libraries for an assistant that starts this command and talks to it over standard input and output.

It asks the running server over HTTP like every other command, or one of its own. Standard output carries the protocol
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from candide.cli.client import Client
from candide.cli.connection import connect
from candide.server.mcp import PASSAGES_A_SOURCE, FoundPassages, WholeSource, build_server

if TYPE_CHECKING:
    from candide.settings import Settings

MAX_PASSAGES = 100


async def serve_tools(settings: Settings) -> None:
    """Serve until standard input ends."""
    async with connect(settings) as client:
        await build_server(_RemoteReader(client)).run_stdio_async()


class _RemoteReader:
    """Finds and reads sources through the server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def find(self, query: str, library: str | None, limit: int) -> FoundPassages:
        wishes = {
            "limit": str(min(MAX_PASSAGES, limit * PASSAGES_A_SOURCE)),
            "per_source": str(PASSAGES_A_SOURCE),
        } | ({"library": library} if library is not None else {})
        return await self._client.find_passages(query, wishes)

    async def read(self, source_id: str) -> tuple[WholeSource, str]:
        return await self._client.source(source_id), await self._client.source_text(source_id)
