"""Fetches the weights that a server starts with, while it serves.

It works in a thread of its own, tells how far it is, and can be begun again after an error: what has come
is kept, and gone on with. Its thread holds up nobody: it ends with the process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from candide.domain.weights import Fetching
from candide.errors import CandideError, WeightsError
from candide.models.catalog import CatalogEntry
from candide.models.choice import Choice, prepare_model
from candide.models.machine import read_machine
from candide.models.progress import Progress, PullCancelled
from candide.models.sources import default_name, parse_target
from candide.models.weights import Weights, WeightsFolder

CLOSE_PATIENCE_S = 4.0

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Is told how far a pull is; see `candide.models.progress`."""

    def __call__(self, progress: Progress) -> None: ...

    def announce(self, choice: Choice) -> None:
        """A model was chosen for this machine."""
        ...


Watch = Callable[[], AbstractContextManager[Watcher | None]]
"""Makes a watcher for one try; it is entered and left in the thread that pulls."""


class Fetcher:
    """A `candide.domain.weights.WeightsFetcher` for the model `wanted`, the best for this machine if empty.

    `on_ready` is called on the event loop with the weights, before anyone who waits goes on, and `on_change`
    when it begins or ends.
    """

    def __init__(
        self,
        folder: WeightsFolder,
        wanted: str,
        *,
        on_ready: Callable[[Weights], None],
        on_change: Callable[[], None],
        watch: Watch = nullcontext,
    ) -> None:
        self._folder = folder
        self._wanted = wanted
        self._on_ready = on_ready
        self._on_change = on_change
        self._watch = watch
        self._name = _expected_name(folder, wanted)
        self._fetching: Fetching | None = Fetching(model=self._name)
        self._ended = asyncio.Event()
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def fetching(self) -> Fetching | None:
        return self._fetching

    def start(self) -> None:
        if self._fetching is None or (self._thread is not None and not self._ended.is_set()):
            return
        self._ended.clear()
        self._fetching = Fetching(model=self._name)
        self._thread = threading.Thread(
            target=self._fetch, args=(asyncio.get_running_loop(),), name="weights", daemon=True
        )
        self._thread.start()
        self._on_change()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._fetching is not None and (error := self._fetching.error) is not None:
            raise WeightsError(error.message, hint=error.hint, code=error.code)

    async def close(self) -> None:
        """End the fetching; what has come is kept."""
        self._cancelled.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, CLOSE_PATIENCE_S)

    # In the thread

    def _fetch(self, loop: asyncio.AbstractEventLoop) -> None:
        weights, error = None, None
        try:
            with self._watch() as watcher:
                weights = self._prepare(watcher)
        except PullCancelled:
            return
        except CandideError as failure:
            error = failure
        except Exception as failure:
            log.exception("the model could not be fetched")
            error = WeightsError(f"the model could not be fetched: {failure}", hint="see the server's log")
        try:
            loop.call_soon_threadsafe(self._end, weights, error)
        except RuntimeError:
            return  # the loop has ended

    def _prepare(self, watcher: Watcher | None) -> Weights:
        def tell(progress: Progress) -> None:
            if self._cancelled.is_set():
                raise PullCancelled
            model = self._fetching.model if self._fetching else ""
            self._fetching = Fetching(
                model=model,
                file=progress.source.rpartition("/")[2],
                received_bytes=progress.done,
                total_bytes=progress.total,
                bytes_per_s=progress.bytes_per_second,
                note=progress.note,
            )
            if watcher is not None:
                watcher(progress)

        def announce(choice: Choice) -> None:
            if self._cancelled.is_set():
                raise PullCancelled
            self._fetching = Fetching(model=choice.name)
            if watcher is not None:
                watcher.announce(choice)

        return prepare_model(
            self._folder, read_machine(), wanted=self._wanted, progress=tell, announce=announce
        )

    # On the loop again

    def _end(self, weights: Weights | None, error: CandideError | None) -> None:
        if self._cancelled.is_set():
            return
        if weights is not None:
            self._fetching = None
            self._on_ready(weights)
        elif error is not None:
            log.error("%s", error)
            model = self._fetching.model if self._fetching else self._name
            self._fetching = Fetching(model=model, error=error)
        self._ended.set()
        self._on_change()


def _expected_name(folder: WeightsFolder, wanted: str) -> str:
    """What the model will be called; empty while that is still to be chosen."""
    if not wanted:
        return ""
    try:
        target = parse_target(wanted, folder.catalog)
    except CandideError:
        return wanted  # fetching it will say what is wrong with it
    return target.name if isinstance(target, CatalogEntry) else default_name(target)
