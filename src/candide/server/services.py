"""What the HTTP routes call: the services of one running Candide, as `compose.py` put them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

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
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list[Callable[[], Awaitable[None]]])
    """Called in reverse order at the end."""

    async def close(self) -> None:
        """Stop everything that runs; unfinished turns are given up for the next start."""
        while self.closers:
            await self.closers.pop()()
