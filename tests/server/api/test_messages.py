"""Messages are deleted with what follows, brought back, and judged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Here, HereStarter


async def ask(here: Here, text: str, chat: str | None = None, **more: Any) -> Any:
    turn = await here.ask(text, chat, **more)
    await here.events(turn["id"])
    return turn


async def shown(here: Here, chat: str) -> tuple[str | None, set[str]]:
    """The current leaf and the ids of all messages."""
    seen = (await here.call("GET", f"/api/conversations/{chat}")).json
    return seen["current_leaf_id"], {m["id"] for m in seen["messages"]}


async def test_a_message_goes_with_what_follows_and_comes_back(here: Here) -> None:
    one = await ask(here, "one")
    chat = one["conversation_id"]
    two = await ask(here, "two", chat)
    three = await ask(here, "three", chat)
    whole = await shown(here, chat)
    assert (await here.call("DELETE", f"/api/messages/{two['user_message_id']}")).status == 204
    left = (one["answer_message_id"], {one["user_message_id"], one["answer_message_id"]})
    assert await shown(here, chat) == left
    assert (await here.call("GET", "/api/search", params={"q": "three"})).json["data"] == []
    # What went is not there: to be deleted again, answered, followed or picked.
    gone = three["answer_message_id"]
    assert (await here.call("DELETE", f"/api/messages/{gone}")).status == 404
    assert (await here.call("PATCH", f"/api/conversations/{chat}", {"current_leaf_id": gone})).status == 404
    path = f"/api/conversations/{chat}/turns"
    assert (await here.call("POST", path, {"user_message_id": three["user_message_id"]})).status == 404
    assert (await here.call("POST", path, {"text": "x", "parent_id": gone})).status == 404
    assert (await here.call("POST", f"/api/messages/{gone}/restore")).status == 404
    assert (await here.call("POST", f"/api/messages/{two['user_message_id']}/restore")).status == 204
    assert await shown(here, chat) == whole
    assert len((await here.call("GET", "/api/search", params={"q": "three"})).json["data"]) == 2
    # Once is enough.
    assert (await here.call("POST", f"/api/messages/{two['user_message_id']}/restore")).status == 204


async def test_the_leaf_moves_to_the_nearest_that_is_left(here: Here) -> None:
    one = await ask(here, "one")
    chat = one["conversation_id"]
    reply = await here.call("POST", f"/api/conversations/{chat}/turns", {"user_message_id": one["user_message_id"]})  # fmt: skip
    second = reply.json
    await here.events(second["id"])
    below = await ask(here, "below", chat, parent_id=one["answer_message_id"])
    await here.call("PATCH", f"/api/conversations/{chat}", {"current_leaf_id": second["answer_message_id"]})
    await here.call("DELETE", f"/api/messages/{second['answer_message_id']}")
    # The branch beside it, to its end.
    assert (await shown(here, chat))[0] == below["answer_message_id"]
    # Another branch than the current one may go without a move.
    await here.call("POST", f"/api/messages/{second['answer_message_id']}/restore")
    await here.call("DELETE", f"/api/messages/{one['answer_message_id']}")
    assert (await shown(here, chat))[0] == second["answer_message_id"]
    await here.call("DELETE", f"/api/messages/{second['answer_message_id']}")
    assert await shown(here, chat) == (one["user_message_id"], {one["user_message_id"]})
    await here.call("DELETE", f"/api/messages/{one['user_message_id']}")
    assert await shown(here, chat) == (None, set())
    await ask(here, "anew", chat)
    await here.call("POST", f"/api/messages/{one['user_message_id']}/restore")
    assert (await shown(here, chat))[0] == one["user_message_id"]


async def test_an_answer_that_is_being_written_is_stopped_and_kept(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=5, replies=[{"tokens": 5000}])
    first = await here.ask("go")
    chat = first["conversation_id"]
    waiting = await here.ask("and then?", chat)
    while not any(type(e.event).__name__ == "TextDelta" for e in await here.services.turn_log.read(first["id"], 0)):  # fmt: skip
        await asyncio.sleep(0.01)
    following = asyncio.create_task(here.events(first["id"]))
    assert (await here.call("DELETE", f"/api/messages/{first['answer_message_id']}")).status == 204
    events = await asyncio.wait_for(following, 10)
    assert (events[-1]["kind"], events[-1]["state"]) == ("TurnFinished", "stopped")
    assert (await here.events(waiting["id"]))[-1]["state"] == "stopped"
    seen = (await here.call("GET", f"/api/conversations/{chat}")).json
    assert (seen["running"], len(seen["messages"]), seen["unread"]) == ([], 1, False)
    while here.engine.active:
        await asyncio.sleep(0.01)
    # A deleted answer cannot be continued; one that is back can, from what it had.
    assert (await here.call("POST", f"/api/turns/{first['id']}/continue")).status == 404
    await here.call("POST", f"/api/messages/{first['answer_message_id']}/restore")
    answer = next(m for m in (await here.call("GET", f"/api/conversations/{chat}")).json["messages"] if m["id"] == first["answer_message_id"])  # fmt: skip
    assert answer["state"] == "stopped"
    assert answer["text"] == "".join(e["text"] for e in events if e["kind"] == "TextDelta")
    assert answer["text"].startswith("w1 ")


async def test_deleting_while_words_come_always_ends_the_turn(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=1, replies=[{"tokens": 60}])
    for pause in (0, 0.005, 0.02, 0.05, 0.06, 0.07, 0.08):
        turn = await here.ask("go")
        await asyncio.sleep(pause)
        assert (await here.call("DELETE", f"/api/messages/{turn['user_message_id']}")).status == 204
        last = (await asyncio.wait_for(here.events(turn["id"]), 10))[-1]
        assert last["kind"] == "TurnFinished"
        assert await shown(here, turn["conversation_id"]) == (None, set())


async def test_an_answer_is_judged(here: Here) -> None:
    turn = await ask(here, "hello")
    path = f"/api/messages/{turn['answer_message_id']}/feedback"

    async def feedback() -> Any:
        seen = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json
        return seen["messages"][-1]["feedback"]

    assert (await here.call("PUT", path, {"rating": "down", "reason": "too short"})).status == 204
    assert await feedback() == {"rating": "down", "reason": "too short"}
    assert (await here.call("PUT", path, {"rating": "up"})).status == 204
    assert await feedback() == {"rating": "up", "reason": ""}
    assert (await here.call("PUT", path, {"rating": None})).status == 204
    assert await feedback() is None
    for body in ({}, {"rating": "sideways"}, {"rating": "up", "reason": None}, {"rating": "up", "more": 1}):
        assert (await here.call("PUT", path, body)).status == 400
    question = await here.call("PUT", f"/api/messages/{turn['user_message_id']}/feedback", {"rating": "up"})
    assert (question.status, question.error["param"]) == (400, "rating")


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "msg_0"), ("POST", "msg_0/restore"), ("PUT", "msg_0/feedback")]
)
async def test_a_message_that_is_not_there_is_said(here: Here, method: str, path: str) -> None:
    body = {"rating": "up"} if method == "PUT" else None
    reply = await here.call(method, f"/api/messages/{path}", body)
    assert (reply.status, reply.error["code"]) == (404, "not_found")
