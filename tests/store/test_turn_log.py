"""What a client has seen can be replayed to it: no gap, no duplicate, whoever comes, goes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candide.domain.folding import WORD, fold
from candide.domain.turns import (
    EngineSwitched,
    ReasoningDelta,
    TextDelta,
    Turn,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    TurnStarted,
    decode_event,
    event_kind,
)
from candide.errors import NotFound, StoreError
from candide.store import database as database_module
from candide.store import turn_log as turn_log_module
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.turn_log import LiveTurn, LoggedEvent, TurnLog
from candide.store.turns import TurnStore

if TYPE_CHECKING:
    from conftest import Store

STARTED = TurnStarted(model="m", engine="e")
SWITCHED = EngineSwitched(reason="r", from_engine="e", to_engine="f")
FINISHED = TurnFinished(state="finished", finish_reason="stop", usage={"completion_tokens": 3})
STOPPED = TurnFinished(state="stopped", finish_reason="stopped")
FAILED = TurnFailed(code="engine_broke", message="no", hint="try again")


def parse(frames: bytes) -> list[tuple[int, TurnEvent]]:
    """Read SSE frames as a browser does, and check that `event:` names what `data:` holds."""
    parsed: list[tuple[int, TurnEvent]] = []
    for frame in frames.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        event = decode_event(fields["data"])
        assert fields["event"] == event_kind(event)
        parsed.append((int(fields["id"]), event))
    return parsed


class Client:
    """Follows a turn, goes away and comes back with what it saw last."""

    def __init__(self, log: TurnLog, turn_id: str) -> None:
        self._log, self._turn_id = log, turn_id
        self.seen: list[tuple[int, TurnEvent]] = []
        self._task: asyncio.Task[None] | None = None

    def come(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())

    async def go(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def stay(self) -> None:
        """Follow to the turn's end."""
        self.come()
        assert self._task is not None
        await asyncio.wait_for(self._task, 20)

    async def _follow(self) -> None:
        after = self.seen[-1][0] if self.seen else 0
        async with contextlib.aclosing(self._log.follow(self._turn_id, after)) as batches:  # pyright: ignore
            async for frames in batches:
                self.seen.extend(parse(b"".join(frames)))

    @property
    def text(self) -> str:
        return "".join(e.text for _, e in self.seen if isinstance(e, TextDelta))

    def assert_saw_all(self, logged: list[LoggedEvent]) -> None:
        assert [seq for seq, _ in self.seen] == list(range(1, len(logged) + 1))
        assert [event for _, event in self.seen] == [entry.event for entry in logged]


async def answer_of(store: Any, turn: Turn) -> Any:
    messages = (await store.conversations.load(turn.conversation_id))[1]
    return next(m for m in messages if m.id == turn.answer_message_id)


words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("text"), words),
        st.tuples(st.just("think"), words),
        st.tuples(st.just("switch"), st.just("")),
        st.tuples(st.just("commit"), st.just("")),
        st.tuples(st.just("breathe"), st.just("")),
        st.tuples(st.just("come"), st.integers(0, 3)),
        st.tuples(st.just("go"), st.integers(0, 3)),
        st.tuples(st.just("restart"), st.just("")),
        st.tuples(st.just("continue"), st.just("")),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, last=st.sampled_from([FINISHED, FAILED]))
def test_clients_that_come_and_go_see_every_event_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, Any]], last: Any
) -> None:
    monkeypatch.setattr(turn_log_module, "COMMIT_INTERVAL_S", 0.001)
    monkeypatch.setattr(turn_log_module, "POLL_S", 0.005)

    async def live_through() -> None:
        database = await Database.open(f"sqlite:///{tmp_path / 'candide.db'}", tmp_path)
        elsewhere = await Database.open(f"sqlite:///{tmp_path / 'candide.db'}", tmp_path)
        conversations, turns = ConversationStore(database), TurnStore(database)
        log, reader = TurnLog(database), TurnLog(elsewhere)
        log.start()
        turn = await turns.accept(await conversations.create(), text="q")
        live, earlier = await log.open_turn(turn.id)
        assert earlier == []
        # Two clients of this process, two of another replica.
        clients = [
            Client(log, turn.id),
            Client(log, turn.id),
            Client(reader, turn.id),
            Client(reader, turn.id),
        ]

        async def take_up() -> tuple[LiveTurn, str, str]:
            """Go on with the turn: what was not committed yet is written anew."""
            live, earlier = await log.open_turn(turn.id)
            thought = "".join(e.text for e in earlier if isinstance(e, ReasoningDelta))
            return live, "".join(e.text for e in earlier if isinstance(e, TextDelta)), thought

        text = reasoning = ""

        async def end(event: TurnFinished | TurnFailed) -> None:
            nonlocal live, text, reasoning
            await log.end(live, event)
            while live.lost:
                # A commit of the life before was still under way, and came first.
                live, text, reasoning = await take_up()
                await log.end(live, event)

        log.append(live, STARTED)
        for step, value in steps:
            if step == "text":
                log.append(live, TextDelta(text=value))
                text += value
            elif step == "think":
                log.append(live, ReasoningDelta(text=value))
                reasoning += value
            elif step == "switch":
                log.append(live, SWITCHED)
            elif step == "commit":
                await asyncio.sleep(0.004)
            elif step == "breathe":
                await asyncio.sleep(0)
            elif step == "come":
                clients[value].come()
            elif step == "go":
                await clients[value].go()
            elif step == "continue":
                await end(STOPPED)
                await turns.resume(turn.id)
                live, text, reasoning = await take_up()
                log.append(live, STARTED)
            else:
                log.abandon(live)
                live, text, reasoning = await take_up()
        await end(last)
        logged = await log.read(turn.id, 0)
        for client in clients:
            await client.stay()
            client.assert_saw_all(logged)
            assert client.text == text
        assert logged[-1].event == last
        stored = [m for m in (await conversations.load(turn.conversation_id))[1] if m.turn_id == turn.id]
        assert [(m.text, m.reasoning) for m in stored] == [(text, reasoning)]
        # In the index it stands once, however often it went on.
        async with database.read() as connection:
            found = await connection.execute(sa.text("SELECT count(*) FROM message_words WHERE message_id = :id"), {"id": turn.answer_message_id})  # fmt: skip
            assert found.scalar() == bool(WORD.search(fold(text)))
        await reader.close()
        await log.close()
        await elsewhere.close()
        await database.close()

    asyncio.run(live_through())


@given(
    st.lists(
        st.one_of(words.map(lambda t: TextDelta(text=t)), words.map(lambda t: ReasoningDelta(text=t)), st.just(SWITCHED)),
        max_size=20,
    )
)  # fmt: skip
def test_runs_of_text_become_one_event_and_the_order_stays(events: list[TurnEvent]) -> None:
    live = LiveTurn("turn_1", [])
    live.pending = list(events)
    merged = live.take_pending()
    assert live.pending == []

    def spell(them: list[TurnEvent]) -> list[tuple[str, str]]:
        return [(event_kind(e), char) for e in them for char in getattr(e, "text", "!")]

    assert spell(merged) == spell(events)
    assert all(type(a) is not type(b) or a == SWITCHED for a, b in zip(merged, merged[1:]))  # noqa: B905, RUF007


async def test_nothing_is_shown_before_it_is_on_disk(store: Store, other: Store) -> None:
    turn = await store.ask()
    live, _ = await store.log.open_turn(turn.id)
    store.log.append(live, STARTED)
    async for frames in store.log.follow(turn.id, 0):
        for seq, event in parse(b"".join(frames)):
            logged = await other.log.read(turn.id, seq - 1)
            assert logged[0] == LoggedEvent(seq, event)
            if isinstance(event, TurnStarted):
                store.log.append(live, TextDelta(text="some"))
            elif isinstance(event, TextDelta):
                ending = asyncio.create_task(store.log.end(live, FINISHED))
            else:
                # The end, the turn's state and the answer are one transaction.
                assert (await other.turns.get(turn.id)).state == "finished"
                answer = await answer_of(other, turn)
                assert (answer.text, answer.state, answer.usage, answer.model) == ("some", "complete", FINISHED.usage, "m")  # fmt: skip
                await ending


async def test_a_failed_turn_keeps_what_was_written(store: Store) -> None:
    turn = await store.ask()
    live, _ = await store.log.open_turn(turn.id)
    store.log.append(live, TextDelta(text="half an"))
    await store.log.end(live, FAILED)
    ended = await store.turns.get(turn.id)
    assert (ended.state, ended.error) == ("failed", {"code": "engine_broke", "message": "no", "hint": "try again"})  # fmt: skip
    answer = await answer_of(store, turn)
    assert (answer.text, answer.state) == ("half an", "failed")
    assert [found.message_id for found in await store.conversations.search("half", 5)] == [answer.id]


async def test_a_stopped_turn_keeps_what_was_written(store: Store) -> None:
    turn = await store.ask()
    live, _ = await store.log.open_turn(turn.id)
    store.log.append(live, TextDelta(text="half an"))
    await store.log.end(live, TurnFinished(state="stopped", finish_reason="stopped"))
    assert (await store.turns.get(turn.id)).state == "stopped"
    assert (await answer_of(store, turn)).state == "stopped"


async def test_an_owner_that_was_overtaken_cannot_write(store: Store, other: Store) -> None:
    turn = await store.ask()
    stale, _ = await store.log.open_turn(turn.id)
    store.log.append(stale, STARTED)
    store.log.append(stale, TextDelta(text="one "))
    client = Client(store.log, turn.id)
    client.come()
    while client.text != "one ":
        await asyncio.sleep(0.005)
    fresh, earlier = await other.log.open_turn(turn.id)
    assert earlier == [STARTED, TextDelta(text="one ")]
    other.log.append(fresh, TurnStarted(model="m", engine="e", continued=True))
    while len(await other.log.read(turn.id, 0)) < 3:
        await asyncio.sleep(0.005)
    store.log.append(stale, TextDelta(text="STALE"))
    await store.log.end(stale, FINISHED)
    assert stale.lost
    assert (await store.turns.get(turn.id)).state == "queued"
    other.log.append(fresh, TextDelta(text="two"))
    await other.log.end(fresh, FINISHED)
    await client.stay()
    client.assert_saw_all(await other.log.read(turn.id, 0))
    assert client.text == "one two"
    assert (await answer_of(store, turn)).text == "one two"


async def test_a_turn_that_was_overtaken_takes_no_other_turn_with_it(store: Store, other: Store) -> None:
    lost, kept = await store.ask(), await store.ask()
    stale, _ = await store.log.open_turn(lost.id)
    live, _ = await store.log.open_turn(kept.id)
    fresh, _ = await other.log.open_turn(lost.id)
    await other.log.end(fresh, FINISHED)
    for one in (stale, live):
        store.log.append(one, STARTED)
        store.log.append(one, TextDelta(text="text"))
    await store.log.end(live, FINISHED)
    await store.log.end(stale, FINISHED)
    assert stale.lost
    assert [e.event for e in await store.log.read(lost.id, 0)] == [FINISHED]
    assert [e.event for e in await store.log.read(kept.id, 0)] == [STARTED, TextDelta(text="text"), FINISHED]


async def test_what_cannot_be_saved_ends_its_own_turn_only(store: Store) -> None:
    bad, good = await store.ask(), await store.ask()
    broken, _ = await store.log.open_turn(bad.id)
    live, _ = await store.log.open_turn(good.id)
    store.log.append(broken, STARTED)
    store.log.append(broken, TextDelta(text="kept"))
    await asyncio.sleep(0.1)
    store.log.append(broken, TextDelta(text="half of a surrogate pair: \ud800"))
    store.log.append(live, TextDelta(text="text"))
    await asyncio.wait_for(store.log.end(live, FINISHED), 10)
    assert (await store.turns.get(good.id)).state == "finished"
    await asyncio.wait_for(store.log.end(broken, FINISHED), 10)
    ended = await store.turns.get(bad.id)
    assert ended.state == "failed"
    assert "mistake" in str(ended.error)
    assert (await answer_of(store, bad)).text == "kept"


@pytest.fixture
async def stubborn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """An SQLite store that waits only shortly for locks, and tries again soon."""
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.03)
    monkeypatch.setattr(turn_log_module, "RETRY_S", 0.03)

    class Simple:
        def __init__(self, database: Database) -> None:
            self.file = tmp_path / "candide.db"
            self.database = database
            self.conversations = ConversationStore(database)
            self.turns = TurnStore(database)
            self.log = TurnLog(database)

    store = Simple(await Database.open(f"sqlite:///{tmp_path / 'candide.db'}", tmp_path))
    store.log.start()
    yield store
    await store.log.close()
    await store.database.close()


async def write_while(store: Any, hindered: contextlib.AbstractAsyncContextManager[None]) -> None:
    """Two turns go on while nothing can be written: nothing is shown meanwhile, nothing is lost after."""
    turns = [await store.turns.accept(await store.conversations.create(), text="q") for _ in range(2)]
    lives = [(await store.log.open_turn(turn.id))[0] for turn in turns]
    clients = [Client(store.log, turn.id) for turn in turns]
    for live, client in zip(lives, clients, strict=True):
        store.log.append(live, STARTED)
        client.come()
    while not all(client.seen for client in clients):
        await asyncio.sleep(0.005)
    async with hindered:
        for n in range(10):
            for live in lives:
                store.log.append(live, TextDelta(text=f"{n} " + "x" * 4000))
            await asyncio.sleep(0.02)
        assert all(client.text == "" for client in clients)
    for live, client, turn in zip(lives, clients, turns, strict=True):
        await store.log.end(live, FINISHED)
        await client.stay()
        client.assert_saw_all(await store.log.read(turn.id, 0))
        assert client.text == "".join(f"{n} " + "x" * 4000 for n in range(10))
        assert (await answer_of(store, turn)).text == client.text


async def test_a_locked_database_shows_nothing_and_loses_nothing(stubborn: Any) -> None:
    @contextlib.asynccontextmanager
    async def locked() -> AsyncIterator[None]:
        with contextlib.closing(sqlite3.connect(stubborn.file)) as program:
            program.execute("BEGIN IMMEDIATE")
            yield
            program.rollback()

    await write_while(stubborn, locked())


async def test_a_full_disk_shows_nothing_and_loses_nothing(stubborn: Any) -> None:
    async def limit(pages: int) -> None:
        async with stubborn.database.write(durable=False) as connection:
            await connection.execute(sa.text(f"PRAGMA max_page_count = {pages}"))

    @contextlib.asynccontextmanager
    async def full() -> AsyncIterator[None]:
        await limit(1)  # SQLite raises it to what the file has already
        yield
        await limit(1_000_000)

    await write_while(stubborn, full())


async def test_an_overtaken_turn_on_a_locked_database_loses_nothing_of_the_others(
    stubborn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one-by-one saving after a collision may fail in its turn; what was not saved waits."""
    lost, kept = [await stubborn.turns.accept(await stubborn.conversations.create(), text="q") for _ in range(2)]  # fmt: skip
    live, _ = await stubborn.log.open_turn(kept.id)
    stale, _ = await stubborn.log.open_turn(lost.id)
    other = TurnLog(stubborn.database)
    other.start()
    fresh, _ = await other.open_turn(lost.id)
    await other.end(fresh, FINISHED)
    failures = 0
    save = TurnLog._save  # pyright: ignore[reportPrivateUsage]

    async def save_after_a_lock(self: TurnLog, batches: list[Any]) -> None:
        nonlocal failures
        if len(batches) == 1 and batches[0][0] is live and failures == 0:
            failures += 1
            raise StoreError("the database is locked by another program")
        await save(self, batches)

    monkeypatch.setattr(TurnLog, "_save", save_after_a_lock)
    stubborn.log.append(live, TextDelta(text="all of it"))
    stubborn.log.append(stale, TextDelta(text="STALE"))
    await asyncio.wait_for(stubborn.log.end(live, FINISHED), 10)
    assert failures == 1
    assert stale.lost
    assert [e.event for e in await stubborn.log.read(kept.id, 0)] == [TextDelta(text="all of it"), FINISHED]
    await other.close()


async def test_closing_commits_what_is_pending(store: Store, other: Store) -> None:
    turn = await store.ask()
    live, _ = await store.log.open_turn(turn.id)
    await asyncio.sleep(0.1)
    store.log.append(live, STARTED)
    store.log.append(live, TextDelta(text="written"))
    await store.log.close()
    assert [e.event for e in await other.log.read(turn.id, 0)] == [STARTED, TextDelta(text="written")]


async def test_following_a_turn_that_has_ended_replays_what_is_missing(store: Store) -> None:
    turn = await store.ask()
    live, _ = await store.log.open_turn(turn.id)
    store.log.append(live, TextDelta(text="a"))
    await store.log.end(live, FINISHED)
    for after, left in ((0, 2), (1, 1), (2, 0), (99, 0)):
        batches = [batch async for batch in store.log.follow(turn.id, after)]
        assert len([frame for batch in batches for frame in batch]) == left


async def test_following_goes_past_an_end_that_is_not_the_last(store: Store, other: Store) -> None:
    turn = await store.ask()
    live, _ = await store.log.open_turn(turn.id)
    store.log.append(live, TextDelta(text="a"))
    await store.log.end(live, STOPPED)
    await store.turns.resume(turn.id)
    # Nobody runs it yet: who follows waits, here and elsewhere.
    clients = [Client(log, turn.id) for log in (store.log, other.log)]
    for client in clients:
        client.come()
    while not all(len(client.seen) == 2 for client in clients):
        await asyncio.sleep(0.01)
    live, earlier = await store.log.open_turn(turn.id)
    assert earlier == [TextDelta(text="a"), STOPPED]
    store.log.append(live, TextDelta(text="b"))
    await store.log.end(live, FINISHED)
    for client in clients:
        await client.stay()
        client.assert_saw_all(await store.log.read(turn.id, 0))
        assert client.text == "ab"
    answer = await answer_of(store, turn)
    assert (answer.text, answer.state, answer.finish_reason) == ("ab", "complete", "stop")


async def test_an_end_tells_how_the_answer_came_about(store: Store) -> None:
    finished, failed = await store.ask(), await store.ask()
    live, _ = await store.log.open_turn(finished.id)
    for event in (STARTED, SWITCHED, TextDelta(text="a")):
        store.log.append(live, event)
    end = TurnFinished(state="finished", finish_reason="length", timings={"total_ms": 5.0})
    await store.log.end(live, end)
    answer = await answer_of(store, finished)
    assert (answer.engine, answer.model, answer.finish_reason, answer.timings, answer.error) == (
        "f", "m", "length", {"total_ms": 5.0}, None,
    )  # fmt: skip
    live, _ = await store.log.open_turn(failed.id)
    await store.log.end(live, FAILED)
    answer = await answer_of(store, failed)
    error = {"code": "engine_broke", "message": "no", "hint": "try again"}
    assert (answer.state, answer.error, answer.finish_reason) == ("failed", error, None)
    assert (await store.conversations.get(failed.conversation_id)).unread


async def test_following_what_does_not_exist_is_said(store: Store) -> None:
    with pytest.raises(NotFound, match="turn_0"):
        async for _ in store.log.follow("turn_0", 0):
            pass


async def test_a_turn_opened_twice_in_one_process_ends_for_both(store: Store) -> None:
    turn = await store.ask()
    first, _ = await store.log.open_turn(turn.id)
    second, _ = await store.log.open_turn(turn.id)
    async with asyncio.timeout(10):
        await asyncio.gather(*(store.log.end(live, FINISHED) for live in (first, second)))
    assert sorted([first.lost, second.lost]) == [False, True]


async def test_followers_are_let_go_before_the_process_ends(store: Store) -> None:
    here, elsewhere = await store.ask(), await store.ask()
    live, _ = await store.log.open_turn(here.id)
    store.log.append(live, STARTED)
    seen: dict[str, int] = {}

    async def follow(turn_id: str) -> None:
        seen[turn_id] = 0
        async for frames in store.log.follow(turn_id, 0):
            seen[turn_id] += len(frames)

    # One follows what this process runs, the other what nobody runs yet.
    following = [asyncio.create_task(follow(turn.id)) for turn in (here, elsewhere)]
    while seen.get(here.id) != 1:
        await asyncio.sleep(0.01)
    store.log.dismiss_followers()
    async with asyncio.timeout(5):
        await asyncio.gather(*following)
    assert seen == {here.id: 1, elsewhere.id: 0}
    store.log.abandon(live)
