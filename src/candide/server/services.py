"""What the HTTP routes call: the services of one running Candide, as `compose.py` put them together."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from candide.engine.routes import Routes
from candide.scheduler import TurnScheduler
from candide.store.conversations import ConversationStore
from candide.store.responses import ResponseStore
from candide.store.turn_log import TurnLog
from candide.store.turns import TurnStore


@dataclass(kw_only=True)
class Access:
    """Who may call."""

    api_key: str = ""
    """Asked of every request when there is one."""
    allowed_hosts: frozenset[str] = frozenset()
    """Names beside localhost and IP addresses that a browser may use for this server."""
    max_body_bytes: int = 32 * 1024 * 1024


@dataclass(kw_only=True)
class Services:
    access: Access
    routes: Routes
    conversations: ConversationStore
    turns: TurnStore
    responses: ResponseStore
    turn_log: TurnLog
    scheduler: TurnScheduler
    running: AsyncExitStack
    """What runs by itself."""

    async def close(self) -> None:
        """Stop everything that runs; unfinished turns are given up for the next start."""
        await self.running.aclose()
