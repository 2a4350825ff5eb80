"""Conversations: their flags, filters and settings, and ids that clients make."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from candide.domain.ids import new_id

if TYPE_CHECKING:
    from conftest import Here, HereStarter


async def make(here: Here, **body: Any) -> str:
    reply = await here.call("POST", "/api/conversations", body)
    assert reply.status == 201, reply.body
    return reply.json["id"]


async def patch(here: Here, chat: str, **changes: Any) -> Any:
    reply = await here.call("PATCH", f"/api/conversations/{chat}", changes)
    assert reply.status == 200, reply.body
    return reply.json


async def listed(here: Here, query: str = "") -> list[str]:
    reply = await here.call("GET", f"/api/conversations?{query}")
    assert reply.status == 200
    return [one["id"] for one in reply.json["data"]]


async def test_a_new_conversation_says_all_of_itself(here: Here) -> None:
    chat = await make(here, title="t", instructions="Be kind.", params={"temperature": 0.1})
    [summary] = (await here.call("GET", "/api/conversations")).json["data"]
    assert summary == {
        "id": chat, "title": "t", "current_leaf_id": None, "model": None, "system_prompt": None,
        "created_at": summary["created_at"], "updated_at": summary["created_at"],
        "pinned": False, "archived": False, "unread": False, "folder_id": None, "instructions": "Be kind.",
        "params": {"temperature": 0.1}, "search": None, "running": [], "deleted": False,
    }  # fmt: skip
    assert (await here.call("GET", f"/api/conversations/{chat}")).json == {**summary, "messages": []}


async def test_filters_choose_and_absent_ones_let_through(here: Here) -> None:
    plain, pinned, archived, deleted = [await make(here) for _ in range(4)]
    folder = (await here.call("POST", "/api/folders", {"name": "F"})).json["id"]
    assert (await patch(here, pinned, pinned=True, folder_id=folder))["folder_id"] == folder
    assert (await patch(here, archived, archived=True))["archived"]
    await here.call("DELETE", f"/api/conversations/{deleted}")
    assert await listed(here) == [pinned, plain]
    assert await listed(here, "archived=true") == [archived]
    assert await listed(here, "pinned=true") == [pinned]
    assert await listed(here, "pinned=false") == [plain]
    assert await listed(here, f"folder_id={folder}") == [pinned]
    assert await listed(here, "folder_id=") == [plain]
    assert await listed(here, "folder_id=folder_0") == []
    assert await listed(here, "deleted=true") == [deleted]
    [gone] = (await here.call("GET", "/api/conversations?deleted=true")).json["data"]
    assert gone["deleted"]


async def test_flags_and_settings_are_changed_one_by_one(here: Here) -> None:
    chat = await make(here, instructions="old", params={"seed": 1})
    assert (await patch(here, chat, unread=True))["unread"]
    changed = await patch(here, chat, params={"seed": 2}, instructions=None)
    assert (changed["params"], changed["instructions"], changed["unread"]) == ({"seed": 2}, None, True)
    assert (await patch(here, chat, params=None, unread=False))["params"] == {}


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"pinned": None}, 400, "pinned"),
        ({"archived": "maybe"}, 400, "archived"),
        ({"unread": None}, 400, "unread"),
        ({"folder_id": "folder_0"}, 404, "folder_id"),
        ({"params": {"temprature": 1}}, 400, "params.temprature"),
        ({"params": []}, 400, "params"),
        ({"deleted": True}, 400, "deleted"),
        ({"current_leaf_id": "msg_0"}, 404, None),
    ],
)
async def test_changes_that_make_no_sense_are_named(
    here: Here, changes: dict[str, Any], status: int, param: str | None
) -> None:
    chat = await make(here)
    before = (await here.call("GET", f"/api/conversations/{chat}")).json
    reply = await here.call("PATCH", f"/api/conversations/{chat}", changes)
    assert (reply.status, reply.error["param"]) == (status, param)
    assert (await here.call("GET", f"/api/conversations/{chat}")).json == before


async def test_an_id_that_the_client_made_makes_one_conversation(here: Here) -> None:
    mine = new_id("conv")
    made = await asyncio.gather(*(make(here, id=mine, title=f"n{n}") for n in range(6)))
    assert set(made) == {mine}
    [summary] = (await here.call("GET", "/api/conversations")).json["data"]
    turn = await here.ask("hello", mine)
    await here.events(turn["id"])
    # Late, it changes nothing.
    assert await make(here, id=mine, title="late") == mine
    assert (await here.call("GET", f"/api/conversations/{mine}")).json["title"] == summary["title"]


@pytest.mark.parametrize("made", ["", "conv_1", "msg_" + "0" * 26, "conv_" + "u" * 26, "conv_" + "0" * 27])
async def test_an_id_that_is_none_is_refused(here: Here, made: str) -> None:
    reply = await here.call("POST", "/api/conversations", {"id": made})
    assert (reply.status, reply.error["param"]) == (400, "id")


async def test_unfinished_turns_are_told_and_changes_meanwhile_are_kept(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=5, replies=[{"tokens": 5000}])
    turn = await here.ask("go")
    chat = turn["conversation_id"]
    assert (await here.call("GET", f"/api/conversations/{chat}")).json["running"] == [turn["id"]]
    changed = await patch(here, chat, title="mine", pinned=True, params={"seed": 3})
    assert changed["running"] == [turn["id"]]
    await here.call("POST", f"/api/turns/{turn['id']}/stop")
    await here.events(turn["id"])
    [after] = (await here.call("GET", "/api/conversations")).json["data"]
    assert (after["running"], after["title"], after["pinned"]) == ([], "mine", True)
    assert after["current_leaf_id"] == turn["answer_message_id"]


async def test_an_answer_is_unread_until_it_is_said_to_be_read(start_here: HereStarter) -> None:
    here = await start_here(replies=[{"match": "long", "tokens": 5000, "pace_ms": 5}, {"match": "bad", "status": 400}, {}])  # fmt: skip
    turn = await here.ask("hello")
    await here.events(turn["id"])
    chat = turn["conversation_id"]
    assert (await here.call("GET", f"/api/conversations/{chat}")).json["unread"]
    assert not (await patch(here, chat, unread=False))["unread"]
    # What the user stops was seen.
    turn = await here.ask("long", chat)
    await here.call("POST", f"/api/turns/{turn['id']}/stop")
    await here.events(turn["id"])
    assert not (await here.call("GET", f"/api/conversations/{chat}")).json["unread"]
    await here.events((await here.ask("bad", chat))["id"])
    assert (await here.call("GET", f"/api/conversations/{chat}")).json["unread"]
