"""The log of turn events: saved first, then shown, in the same order to everyone.

Events of all running turns gather in memory and are committed together, every `COMMIT_INTERVAL_S`, or
at once when there is a turn's first text or its end among them; text that comes in between is one event. Only what
is committed has a sequence number, and only that can be followed: so whatever a client has seen can
be replayed to it, after any crash. The last event of a turn, its state and its answer's text are one
transaction.

A turn may have several ends: an answer that stopped can be continued, and its log goes on after its
last event. A stale owner, whose lease ran out unnoticed, cannot write: its sequence numbers are taken by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc

from candide.domain.grounding import Grounding
from candide.domain.messages import MessageState
from candide.domain.turns import (
    FINAL_STATES,
    CitationsChecked,
    EngineSwitched,
    ReasoningDelta,
    SourcesFound,
    TextDelta,
    Turn,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    TurnState,
    begin_grounding,
    decode_event,
    encode_event,
    event_kind,
    finish_grounding,
    join_text,
)
from candide.errors import NotFound, StoreError
from candide.store.changes import Changes
from candide.store.database import Connection, Database
from candide.store.schema import conversations, messages, turn_events, turns
from candide.store.words import index_messages

COMMIT_INTERVAL_S = 0.04
"""Six times as often as a checkpoint must be; one commit costs about a millisecond of processor time."""

POLL_S = 0.25
"""How often a turn that another process runs is looked at."""

RETRY_S = 0.5
"""Pause after a commit that failed (full disk, locked database); nothing is shown meanwhile, nothing lost."""

log = logging.getLogger(__name__)


class LoggedEvent(msgspec.Struct, frozen=True):
    seq: int
    event: TurnEvent

    def frame(self) -> bytes:
        """The event as one SSE frame (WHATWG HTML, 9.2)."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (
            self.seq,
            event_kind(self.event).encode(),
            encode_event(self.event),
        )


class Place(NamedTuple):
    """Where a turn's answer stands."""

    turn_id: str
    answer_message_id: str
    conversation_id: str


class LiveTurn:
    """A turn that this process runs: its committed events, what is pending, and who waits for more."""

    def __init__(self, turn_id: str, events: list[TurnEvent]) -> None:
        self.turn_id = turn_id
        self.place: Place | None = None
        """None while it need not be known and is not."""
        self.frames = [LoggedEvent(seq, event).frame() for seq, event in enumerate(events, 1)]
        self.pending: list[TurnEvent] = []
        self.text = join_text(events)
        self.reasoning = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
        self.model: str | None = None
        self.engine: str | None = None
        self.grounding: Grounding | None = None
        for event in events:
            self.note(event)
        self.ended = False
        self.lost = False
        """Another owner has taken the turn over; nothing more is written here."""
        self._waiters: list[asyncio.Future[None]] = []

    def note(self, event: TurnEvent) -> None:
        """Remember what is saved with the answer beside its text: who wrote it, and what it rests on."""
        if isinstance(event, TurnStarted):
            self.model, self.engine = event.model, event.engine
        elif isinstance(event, EngineSwitched):
            self.engine = event.to_engine
        elif isinstance(event, SourcesFound):
            self.grounding = begin_grounding(event)
        elif isinstance(event, CitationsChecked) and self.grounding is not None:
            self.grounding = finish_grounding(self.grounding, event)

    def take_pending(self) -> list[TurnEvent]:
        """What to commit next; runs of text become one event."""
        taken, self.pending = self.pending, []
        merged: list[TurnEvent] = []
        texts: list[str] = []
        for index, event in enumerate(taken):
            if not isinstance(event, (TextDelta, ReasoningDelta)):
                merged.append(event)
                continue
            texts.append(event.text)
            following = taken[index + 1] if index + 1 < len(taken) else None
            if type(following) is not type(event):
                merged.append(type(event)(text="".join(texts)))
                texts.clear()
        return merged

    async def wait(self) -> None:
        """Wait until more is committed or the turn ends."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class TurnLog:
    def __init__(self, database: Database, changes: Changes | None = None) -> None:
        self._database = database
        self._changes = changes or Changes()
        self._live: dict[str, LiveTurn] = {}
        self._dirty: dict[LiveTurn, None] = {}
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        self._opened = asyncio.Event()
        self._dismissed = False
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write(), name="turn log")

    async def close(self) -> None:
        """Commit what is pending, as far as the database lets us, and stop."""
        if self._writer is None:
            return
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer
        with contextlib.suppress(StoreError):
            await self._commit()
        for live in list(self._live.values()):
            self._forget(live)

    async def open_turn(self, turn_id: str, *, fresh: Turn | None = None) -> tuple[LiveTurn, list[TurnEvent]]:
        """Begin to write a turn's events, after those that it has; the events that it has.

        A turn that is given as `fresh` never ran and has none.
        """
        events = [] if fresh else [logged.event for logged in await self.read(turn_id, 0)]
        live = self._live[turn_id] = LiveTurn(turn_id, events)
        if fresh:
            live.place = Place(fresh.id, fresh.answer_message_id, fresh.conversation_id)
        self._opened.set()
        self._opened = asyncio.Event()
        return live, events

    def append(self, live: LiveTurn, event: TurnEvent) -> None:
        """Take an event; it is committed, and shown, within `COMMIT_INTERVAL_S`."""
        if isinstance(event, TextDelta):
            if not live.text:
                self._urgent.set()
            live.text += event.text
        elif isinstance(event, ReasoningDelta):
            live.reasoning += event.text
        elif isinstance(event, (TurnFinished, TurnFailed)):
            self._urgent.set()
        else:
            if isinstance(event, CitationsChecked) and event.text is not None:
                live.text = event.text
            live.note(event)
        live.pending.append(event)
        self._dirty[live] = None
        self._work.set()

    async def end(self, live: LiveTurn, event: TurnFinished | TurnFailed) -> None:
        """Take the turn's last event; returns when it, the turn's state and the answer are on disk."""
        self.append(live, event)
        while not (live.ended or live.lost):
            await live.wait()

    def abandon(self, live: LiveTurn) -> None:
        """Stop writing a turn without ending it: another owner goes on."""
        live.lost = True
        live.pending.clear()
        self._forget(live)

    def is_live(self, turn_id: str) -> bool:
        """Whether this process runs the turn now."""
        return turn_id in self._live

    async def read(self, turn_id: str, after: int) -> list[LoggedEvent]:
        """The committed events with a sequence number above `after`."""
        async with self._database.read() as connection:
            return await _fetch_events(connection, turn_id, after)

    async def follow(self, turn_id: str, after: int) -> AsyncIterator[list[bytes]]:
        """Replay the events above `after` as SSE frames, then go on as they come, until the turn's end.

        A slow reader gets larger batches; nothing piles up for it. Raises NotFound.
        """
        seq = after
        while not self._dismissed:
            live = self._live.get(turn_id)
            if live is None:
                opened = self._opened
                ended, logged = await self._read_on(turn_id, seq)
                if logged:
                    seq = logged[-1].seq
                    yield [entry.frame() for entry in logged]
                if ended:
                    return
                if logged:
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await opened.wait()
                continue
            while not self._dismissed:
                if len(live.frames) > seq:
                    frames = live.frames[seq:]
                    seq = len(live.frames)
                    yield frames
                elif live.ended and self._live.get(turn_id) is None:
                    return
                elif live.ended or live.lost:
                    break
                else:
                    await live.wait()

    def dismiss_followers(self) -> None:
        """Let everyone go who follows a turn: the process is about to end, and whoever comes back goes on."""
        self._dismissed = True
        self._opened.set()
        for live in self._live.values():
            live.wake()

    async def _read_on(self, turn_id: str, after: int) -> tuple[bool, list[LoggedEvent]]:
        """The events above `after`, and whether they are the last ones. Raises NotFound."""
        async with self._database.read() as connection:
            # The state first: were the events read first, the turn could end before its state is read.
            row = (await connection.execute(_FIND_STATE, {"turn": turn_id})).first()
            if row is None:
                raise NotFound(f"there is no turn '{turn_id}'")
            return row.state in FINAL_STATES, await _fetch_events(connection, turn_id, after)

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            try:
                await self._commit()
            except StoreError as error:
                log.warning("turn events wait: %s", error.message)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception:
                log.exception("turn events wait")
                await asyncio.sleep(RETRY_S)
                continue
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: until Python 3.12 it may swallow the cancellation that ends this task.
                async with asyncio.timeout(COMMIT_INTERVAL_S):
                    await self._urgent.wait()

    async def _commit(self) -> None:
        """Commit everything pending in one transaction, then show it."""
        self._work.clear()
        self._urgent.clear()
        dirty, self._dirty = self._dirty, {}
        batches = [(live, events) for live in dirty if not live.lost and (events := live.take_pending())]
        unsaved = batches
        try:
            if batches:
                await self._save(batches)
            unsaved = []
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - it is raised or logged below
            # One of the turns was taken over, or holds what cannot be saved; one by one it is found out which.
            while unsaved:
                await self._save_alone(*unsaved[0])
                unsaved = unsaved[1:]
        finally:
            for live, events in unsaved:
                live.pending[:0] = events
                self._dirty[live] = None
                self._work.set()

    async def _save_alone(self, live: LiveTurn, events: list[TurnEvent]) -> None:
        """Save one turn's events; what is not to be saved costs that turn only. Raises StoreError."""
        try:
            await self._save([(live, events)])
        except StoreError:
            raise
        except exc.IntegrityError:
            log.warning("turn %s was taken over by another owner", live.turn_id)
        except Exception:
            number = secrets.token_hex(4)
            log.exception("turn %s cannot be saved, error %s", live.turn_id, number)
            saved = LiveTurn(live.turn_id, [entry.event for entry in await self.read(live.turn_id, 0)])
            failed = TurnFailed(
                code="internal", message=f"Candide made a mistake (error {number})", hint="see the log"
            )
            await self._save([(saved, [failed])])
        else:
            return
        live.lost = True
        self._forget(live)

    async def _save(self, batches: list[tuple[LiveTurn, list[TurnEvent]]]) -> None:
        logged = [
            (live, [LoggedEvent(seq, event) for seq, event in enumerate(events, len(live.frames) + 1)])
            for live, events in batches
        ]
        ends = [
            (live, last)
            for live, entries in logged
            if isinstance(last := entries[-1].event, (TurnFinished, TurnFailed))
        ]
        rows = [
            {"turn_id": live.turn_id, "seq": entry.seq, "data": encode_event(entry.event).decode()}
            for live, entries in logged
            for entry in entries
        ]
        async with self._database.write(durable=bool(ends)) as connection:
            await connection.execute(_ADD_EVENTS, rows)
            ended = await _save_ends(connection, ends) if ends else []
        for live, entries in logged:
            live.frames.extend(entry.frame() for entry in entries)
        for live, _ in ends:
            live.ended = True
            self._forget(live)
        for live, _ in logged:
            live.wake()
        self._changes.announce_conversations(*ended)

    def _forget(self, live: LiveTurn) -> None:
        if self._live.get(live.turn_id) is live:
            del self._live[live.turn_id]
        live.wake()


# Made once: putting a statement together costs more than running it.
_ADD_EVENTS = turn_events.insert()
_FIND_EVENTS = (
    sa.select(turn_events.c.seq, turn_events.c.data)
    .where(turn_events.c.turn_id == sa.bindparam("turn"), turn_events.c.seq > sa.bindparam("after"))
    .order_by(turn_events.c.seq)
)
_FIND_STATE = sa.select(turns.c.state).where(turns.c.id == sa.bindparam("turn"))
_FIND_PLACE = sa.select(turns.c.id, turns.c.answer_message_id, turns.c.conversation_id).where(
    turns.c.id == sa.bindparam("turn")
)
_END_TURN = (
    turns.update()
    .where(turns.c.id == sa.bindparam("turn"))
    .values(
        state=sa.bindparam("turn_state"),
        error=sa.bindparam("turn_error"),
        finished_at=sa.bindparam("now"),
        model=sa.func.coalesce(sa.bindparam("answer_model", type_=sa.Text()), turns.c.model),
        owner=sa.null(),
        lease_until=sa.null(),
    )
)
_END_ANSWER = (
    messages.update()
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.id == sa.bindparam("answer"))
    .values(
        text=sa.bindparam("answer_text"),
        reasoning=sa.bindparam("answer_reasoning"),
        state=sa.bindparam("answer_state"),
        model=sa.bindparam("answer_model"),
        usage=sa.bindparam("answer_usage"),
        engine=sa.bindparam("answer_engine"),
        timings=sa.bindparam("answer_timings"),
        finish_reason=sa.bindparam("answer_finish_reason"),
        error=sa.bindparam("turn_error"),
        grounding=sa.bindparam("answer_grounding"),
    )
)
_TOUCH_CONVERSATION = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(
        updated_at=sa.bindparam("now"),
        unread=sa.or_(conversations.c.unread, sa.bindparam("is_news", type_=sa.Boolean())),
    )
)


async def _fetch_events(connection: Connection, turn_id: str, after: int) -> list[LoggedEvent]:
    rows = await connection.execute(_FIND_EVENTS, {"turn": turn_id, "after": after})
    return [LoggedEvent(row.seq, decode_event(row.data)) for row in rows]


async def _save_ends(
    connection: Connection, ends: list[tuple[LiveTurn, TurnFinished | TurnFailed]]
) -> list[str]:
    """Save how turns ended: their state, and their answers with the words in them; the conversations' ids."""
    rows: list[dict[str, Any]] = []
    for live, last in ends:
        if live.place is None:
            found = await connection.execute(_FIND_PLACE, {"turn": live.turn_id})
            live.place = Place(*found.one())
        rows.append(_describe_end(live, last, live.place))
    # Conversations first and in one order, as everywhere: nobody waits in a circle for locks.
    rows.sort(key=lambda row: row["conversation"])
    await connection.execute(_TOUCH_CONVERSATION, rows)
    await connection.execute(_END_TURN, rows)
    await connection.execute(_END_ANSWER, rows)
    await index_messages(
        connection, [(row["answer"], row["answer_text"]) for row in rows if row["answer_text"]]
    )
    return [row["conversation"] for row in rows]


def _describe_end(live: LiveTurn, last: TurnFinished | TurnFailed, place: Place) -> dict[str, Any]:
    if isinstance(last, TurnFinished):
        turn_state: TurnState = last.state
        answer_state: MessageState = "complete" if last.state == "finished" else "stopped"
        usage, error = last.usage or None, None
        timings, finish_reason = last.timings or None, last.finish_reason
    else:
        turn_state, answer_state, usage = "failed", "failed", None
        timings = finish_reason = None
        error = {"code": last.code, "message": last.message, "hint": last.hint}
    return {
        "turn": live.turn_id,
        "turn_state": turn_state,
        "turn_error": error,
        "now": time.time(),
        "answer": place.answer_message_id,
        "conversation": place.conversation_id,
        "answer_text": live.text,
        "answer_reasoning": live.reasoning,
        "answer_state": answer_state,
        "answer_model": live.model,
        "answer_usage": usage,
        "answer_engine": live.engine,
        "answer_timings": timings,
        "answer_finish_reason": finish_reason,
        "answer_grounding": None if live.grounding is None else msgspec.to_builtins(live.grounding),
        # Whoever stops an answer has seen it.
        "is_news": answer_state != "stopped",
    }
