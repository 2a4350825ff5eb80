"""Watching: folders whose changes are taken over as they come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from candide.domain.sources import Target
from candide.errors import CandideError
from candide.ingestion import folders
from candide.store.sources import SourceStore

log = logging.getLogger(__name__)

PAUSE_S = 10.0
"""After a failure, until the folder is looked at again."""


class Watching:
    """Looks after the watched ones among the targets that it is given; `close` it at the end.

    `on_change` is called with a target when something in its folder is not as it was when it was read last, also when
    that was before this process.
    """

    def __init__(self, sources: SourceStore, on_change: Callable[[Target], Awaitable[None]]) -> None:
        self._sources = sources
        self._on_change = on_change
        self._tasks: dict[str, tuple[Target, asyncio.Task[None]]] = {}

    def set(self, targets: Sequence[Target]) -> None:
        """Watch these folders, those that are to be, and no others."""
        wanted = {target.id: target for target in targets if target.watched and target.kind == "folder"}
        for target_id, (target, task) in list(self._tasks.items()):
            new = wanted.get(target_id)
            if new is None or new.options != target.options:
                task.cancel()
                del self._tasks[target_id]
        for target_id, target in wanted.items():
            if target_id not in self._tasks:
                self._tasks[target_id] = target, asyncio.create_task(self._watch(target))

    async def close(self) -> None:
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _watch(self, target: Target) -> None:
        while True:
            try:
                known = await self._sources.find_of_target(target.id)
                stamps = {path: one.etag or "" for path, one in known.items()}
                async for _ in folders.watch(target.uri, target.options.patterns, known=stamps):
                    await self._on_change(target)
            except CandideError as error:
                log.warning("the folder '%s' is not watched: %s", target.uri, error.message)
            await asyncio.sleep(PAUSE_S)
