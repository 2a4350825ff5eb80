"""Runs turns: each has one owner, and goes on until it has ended, whoever comes and goes.

The scheduler claims turns, renews their leases, takes over those whose owner has died, stops them
when asked, and turns whatever goes wrong into their last event. A turn belongs to the server: nothing
here knows of connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from candide.domain.turns import Turn, TurnEvent, TurnFailed, TurnFinished
from candide.errors import CandideError, StoreError
from candide.store.turn_log import LiveTurn, TurnLog
from candide.store.turns import Lease, TurnStore

STOP_POLL_S = 1.0
"""How often a stop that another process took is looked for."""

log = logging.getLogger(__name__)

RunTurn = Callable[[Turn, Sequence[TurnEvent]], AsyncGenerator[TurnEvent, None]]
"""`candide.turn.run_turn` with its collaborators."""


class OwnerLike(Protocol):
    id: str

    def is_dead(self, owner: str) -> bool: ...


class TurnScheduler:
    def __init__(
        self,
        turns: TurnStore,
        turn_log: TurnLog,
        run_turn: RunTurn,
        owner: OwnerLike,
        *,
        lease_s: float,
        after_answer: Callable[[Turn], Awaitable[None]] | None = None,
    ) -> None:
        self._turns = turns
        self._log = turn_log
        self._run_turn = run_turn
        self._owner = owner
        self._lease_s = lease_s
        self._after_answer = after_answer
        self._running: dict[str, asyncio.Task[None]] = {}
        self._claiming: set[str] = set()
        """Between the claim in the database and the entry in `_running`."""
        self._stopping: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._followups: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def running(self) -> int:
        """How many turns this process runs now."""
        return len(self._running)

    def start(self) -> None:
        """Begin to run turns, those that an earlier life left unfinished first."""
        self._look.set()
        self._keepers = [
            asyncio.create_task(self._look_for_turns(), name="turn take-over"),
            asyncio.create_task(self._keep_leases(), name="turn leases"),
            asyncio.create_task(self._find_stops(), name="turn stops"),
        ]

    async def close(self) -> None:
        """Give up what is running; whoever starts next goes on with it."""
        self._closing = True
        tasks = [*self._keepers, *self._running.values(), *self._followups]
        unfinished = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(StoreError):
            if unfinished:
                await self._turns.release(unfinished, self._owner.id)

    def make_lease(self) -> Lease:
        """A lease under which a turn can be accepted that is then submitted here."""
        return Lease(self._owner.id, time.time() + self._lease_s)

    async def submit(self, turn: Turn, lease: Lease | None = None, *, fresh: bool = True) -> None:
        """Run a turn that was accepted just now, under `lease` or none, unless it has to wait for an answer.

        One that is not `fresh` was accepted before, and goes on after its last event.
        """
        held = lease if turn.owner == self._owner.id else None
        if held is not None and time.time() < held.until:
            # Nobody else can have found it: a lease that holds keeps everyone away.
            if not self._closing:
                self._begin(turn, fresh=fresh)
            return
        try:
            await self._claim(turn, held)
        except StoreError as error:
            # The turn is on disk already, so it was accepted, and will be found there.
            log.warning("turn %s waits: %s", turn.id, error.message)

    async def stop(self, turn_id: str) -> Turn:
        """Stop a turn, wherever it runs; what it wrote is kept. Returns at once with its state."""
        turn = await self._turns.request_stop(turn_id)
        self._stop_here(turn_id)
        self._look.set()
        return turn

    async def _claim(self, turn: Turn, held: Lease | None) -> None:
        """Begin a turn, if it can be claimed and does not run here already."""
        if self._closing or turn.id in self._running or turn.id in self._claiming:
            return
        self._claiming.add(turn.id)
        try:
            if await self._turns.claim(turn.id, self._owner.id, self._lease_s, held):
                if self._closing:
                    await self._turns.release([turn.id], self._owner.id)
                else:
                    self._begin(turn)
        finally:
            self._claiming.discard(turn.id)

    def _begin(self, turn: Turn, *, fresh: bool = False) -> None:
        task = asyncio.create_task(self._run(turn, fresh), name=turn.id)
        self._running[turn.id] = task
        task.add_done_callback(lambda _: self._ended(turn.id, task))

    def _ended(self, turn_id: str, task: asyncio.Task[None]) -> None:
        # A turn that is continued may have begun again before its first task is quite over.
        if self._running.get(turn_id) is task:
            del self._running[turn_id]
        self._stopping.discard(task)
        self._look.set()

    async def _run(self, turn: Turn, fresh: bool) -> None:
        try:
            live, earlier = await self._log.open_turn(turn.id, fresh=turn if fresh else None)
        except StoreError as error:
            # It will be found again when its lease has run out.
            log.warning("turn %s waits: %s", turn.id, error.message)
            return
        try:
            last = await self._last_event(turn, live, earlier)
        except asyncio.CancelledError:
            self._log.abandon(live)
            raise
        if live.lost:
            return
        await self._log.end(live, last)
        if self._after_answer and not live.lost:
            followup = asyncio.create_task(self._follow_up(turn), name=f"after {turn.id}")
            self._followups.add(followup)
            followup.add_done_callback(self._followups.discard)

    async def _last_event(
        self, turn: Turn, live: LiveTurn, earlier: Sequence[TurnEvent]
    ) -> TurnFinished | TurnFailed:
        """Run the turn, logging what it emits, to the event that ends it."""
        stopped = TurnFinished(state="stopped", finish_reason="stopped")
        current = asyncio.current_task()
        assert current is not None
        if turn.stop_requested or current in self._stopping:
            return stopped
        try:
            async with aclosing(self._run_turn(turn, earlier)) as events:
                async for event in events:
                    if isinstance(event, (TurnFinished, TurnFailed)):
                        return event
                    if live.lost:
                        break
                    self._log.append(live, event)
        except asyncio.CancelledError:
            if current not in self._stopping:
                raise
            current.uncancel()
            return stopped
        except CandideError as error:
            return TurnFailed(code=error.code, message=error.message, hint=error.hint)
        except Exception:
            number = secrets.token_hex(4)
            log.exception("turn %s failed, error %s", turn.id, number)
            return TurnFailed(
                code="internal", message=f"Candide made a mistake (error {number})", hint="see the log"
            )
        return TurnFailed(code="internal", message="the turn ended without an answer")

    async def _follow_up(self, turn: Turn) -> None:
        assert self._after_answer is not None
        try:
            await self._after_answer(turn)
        except CandideError as error:
            log.info("after turn %s: %s", turn.id, error.message)
        except Exception:
            log.exception("after turn %s", turn.id)

    def _stop_here(self, turn_id: str) -> None:
        task = self._running.get(turn_id)
        if task is not None and task not in self._stopping:
            self._stopping.add(task)
            task.cancel()

    async def _look_for_turns(self) -> None:
        """Claim what nobody runs: turns that wait, and those of owners who have died."""
        while True:
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: until Python 3.12 it may swallow the cancellation that ends this task.
                async with asyncio.timeout(self._lease_s / 3):
                    await self._look.wait()
            self._look.clear()
            try:
                for turn, lease in await self._turns.list_unfinished(except_owner=self._owner.id):
                    if self._is_free(lease):
                        await self._claim(turn, lease)
            except StoreError as error:
                log.warning("looking for turns: %s", error.message)
                await asyncio.sleep(1)

    def _is_free(self, lease: Lease | None) -> bool:
        if lease is None or lease.owner == self._owner.id:
            return True
        return self._owner.is_dead(lease.owner) or time.time() > lease.until

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if self._running:
                with contextlib.suppress(StoreError):
                    await self._turns.renew(list(self._running), self._owner.id, self._lease_s)

    async def _find_stops(self) -> None:
        while True:
            await asyncio.sleep(STOP_POLL_S)
            if self._running:
                with contextlib.suppress(StoreError):
                    for turn_id in await self._turns.find_stop_requests(list(self._running)):
                        self._stop_here(turn_id)
