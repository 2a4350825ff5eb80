"""What has changed, told live to whoever listens in this process.

The stores announce what they have committed. Nothing is kept: who was not there reads afresh what it
shows. A listener that is slow hears of each thing once, however often it changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Literal, NamedTuple

Kind = Literal["conversation", "folders", "prompts", "preferences", "shares", "libraries", "jobs", "status"]


class Change(NamedTuple):
    kind: Kind
    conversation_id: str = ""
    """Of a change of the kind `conversation`."""


class Listener:
    def __init__(self) -> None:
        self.dismissed = False
        self._changes: dict[Change, None] = {}
        self._woken = asyncio.Event()

    async def next(self) -> list[Change]:
        """What has changed since the last call, as soon as there is any; empty when there will be no more."""
        await self._woken.wait()
        self._woken.clear()
        changes, self._changes = list(self._changes), {}
        return [] if self.dismissed else changes

    def tell(self, change: Change) -> None:
        # It moves to the end: the order is that of the last change of each thing.
        self._changes.pop(change, None)
        self._changes[change] = None
        self._woken.set()

    def dismiss(self) -> None:
        self.dismissed = True
        self._woken.set()


class Changes:
    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._dismissed = False

    def announce(self, kind: Kind) -> None:
        """Say that something of this kind has changed; call it after the commit."""
        self._tell(Change(kind))

    def announce_conversations(self, *conversation_ids: str) -> None:
        for conversation_id in conversation_ids:
            self._tell(Change("conversation", conversation_id))

    @contextlib.contextmanager
    def listen(self) -> Generator[Listener]:
        """Hear of what changes from now on."""
        listener = Listener()
        if self._dismissed:
            listener.dismiss()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def dismiss_listeners(self) -> None:
        """Let everyone go who listens: the process is about to end."""
        self._dismissed = True
        for listener in self._listeners:
            listener.dismiss()

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            listener.tell(change)
