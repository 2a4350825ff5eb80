"""Turns are continued in the same message, and their settings come from wherever they were made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Here, HereStarter

ANSWER = "".join(f"w{n} " for n in range(1, 201))


async def answer_of(here: Here, turn: Any) -> Any:
    tree = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json["messages"]
    return next(m for m in tree if m["id"] == turn["answer_message_id"])


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(e["text"] for e in events if e["kind"] == "TextDelta")


async def stop_after(here: Here, turn: Any, word: str) -> None:
    while word not in text_of([{"kind": type(e.event).__name__, "text": getattr(e.event, "text", "")} for e in await here.services.turn_log.read(turn["id"], 0)]):  # fmt: skip
        await asyncio.sleep(0.005)
    await here.call("POST", f"/api/turns/{turn['id']}/stop")
    await here.events(turn["id"])


async def test_an_answer_tells_who_wrote_it_and_how(here: Here) -> None:
    turn = await here.ask("hello")
    end = (await here.events(turn["id"]))[-1]
    answer = await answer_of(here, turn)
    assert answer["engine"] == here.engine.url.partition("://")[2].rstrip("/")
    assert (answer["finish_reason"], answer["timings"], answer["error"]) == ("stop", end["timings"], None)
    assert answer["feedback"] is None


async def test_a_stopped_answer_is_continued_in_place(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=2, replies=[{"tokens": 200}])
    turn = await here.ask("go")
    await stop_after(here, turn, "w20 ")
    stopped = await answer_of(here, turn)
    assert (stopped["state"], stopped["finish_reason"]) == ("stopped", "stopped")
    found = (await here.call("GET", "/api/search", params={"q": "w5"})).json["data"]
    assert [f["message_id"] for f in found] == [turn["answer_message_id"]]

    reply = await here.call("POST", f"/api/turns/{turn['id']}/continue")
    assert (reply.status, reply.json["id"], reply.json["state"]) == (202, turn["id"], "running")
    events = await here.events(turn["id"])
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    assert [e["kind"] for e in events].count("TurnFinished") == 2
    assert [e.get("continued", False) for e in events if e["kind"] == "TurnStarted"] == [False, True]
    assert text_of(events) == ANSWER
    whole = await answer_of(here, turn)
    assert (whole["text"], whole["state"], whole["finish_reason"]) == (ANSWER, "complete", "stop")
    assert (
        len((await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json["messages"]) == 2
    )
    # It is in the index once, with its end.
    for word in ("w5", "w199", '"w20 w21"'):
        found = (await here.call("GET", "/api/search", params={"q": word})).json["data"]
        assert [f["message_id"] for f in found] == [turn["answer_message_id"]], word
    # Following from anywhere gives the rest, past the first end.
    for after in range(len(events) + 1):
        assert await here.events(turn["id"], after) == events[after:]
    again = await here.call("POST", f"/api/turns/{turn['id']}/continue")
    assert (again.status, again.error["code"]) == (409, "conflict")


async def test_an_answer_is_continued_again_and_again(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=2, replies=[{"tokens": 200}])
    turn = await here.ask("go")
    for word in ("w10 ", "w40 ", "w90 "):
        await stop_after(here, turn, word)
        assert (await here.call("POST", f"/api/turns/{turn['id']}/continue")).status == 202
    events = await here.events(turn["id"])
    assert text_of(events) == ANSWER == (await answer_of(here, turn))["text"]
    assert [e["kind"] for e in events].count("TurnStarted") == 4


async def test_two_who_continue_at_once_are_told_apart(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=2, replies=[{"tokens": 200}])
    turn = await here.ask("go")
    busy = await here.call("POST", f"/api/turns/{turn['id']}/continue")
    assert busy.status == 409
    await stop_after(here, turn, "w10 ")
    replies = await asyncio.gather(
        *(here.call("POST", f"/api/turns/{turn['id']}/continue") for _ in range(6))
    )
    assert sorted(r.status for r in replies) == [202] + [409] * 5
    assert text_of(await here.events(turn["id"])) == ANSWER


async def test_a_failed_answer_tells_why_and_is_continued(start_here: HereStarter) -> None:
    here = await start_here(
        replies=[
            {"match": "go", "status": 400, "message": "no such thing", "times": 1},
            {"answer": "Here it is."},
        ]
    )
    turn = await here.ask("go")
    assert (await here.events(turn["id"]))[-1]["kind"] == "TurnFailed"
    failed = await answer_of(here, turn)
    assert failed["state"] == "failed"
    assert "no such thing" in failed["error"]["message"]
    assert (await here.call("POST", f"/api/turns/{turn['id']}/continue")).json["error"] is None
    await here.events(turn["id"])
    answer = await answer_of(here, turn)
    assert (answer["state"], answer["text"], answer["error"]) == ("complete", "Here it is.", None)


async def test_an_answer_that_became_too_long_is_continued(start_here: HereStarter) -> None:
    here = await start_here(replies=[{"tokens": 200}])
    turn = await here.ask("go", params={"max_tokens": 50})
    await here.events(turn["id"])
    assert (await answer_of(here, turn))["finish_reason"] == "length"
    for _ in range(3):
        assert (await here.call("POST", f"/api/turns/{turn['id']}/continue")).status == 202
        await here.events(turn["id"])
    assert (await answer_of(here, turn))["text"] == ANSWER


async def test_what_cannot_be_continued_is_said(here: Here) -> None:
    assert (await here.call("POST", "/api/turns/turn_0/continue")).status == 404
    turn = await here.ask("hello")
    await here.events(turn["id"])
    reply = await here.call("POST", f"/api/turns/{turn['id']}/continue")
    assert (reply.status, reply.error["message"]) == (409, "the answer is complete")
    await here.call("DELETE", f"/api/conversations/{turn['conversation_id']}")
    assert (await here.call("POST", f"/api/turns/{turn['id']}/continue")).status == 404


async def test_settings_of_a_turn_are_merged_when_it_is_accepted(here: Here) -> None:
    await here.call(
        "PATCH", "/api/preferences", {"params": {"temperature": 0.1, "top_p": 0.2, "max_tokens": 5}}
    )
    chat = (await here.call("POST", "/api/conversations", {"params": {"top_p": 0.3, "seed": 4}})).json["id"]
    turn = await here.ask("one", chat, params={"seed": 5, "max_completion_tokens": 9, "temperature": None})
    # What is preferred afterwards comes too late.
    await here.call("PATCH", "/api/preferences", {"params": {"top_k": 1}})
    await here.events(turn["id"])
    sent = here.engine.requests[-1]
    assert {name: sent.get(name) for name in ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "top_k")} == {
        "temperature": None, "top_p": 0.3, "max_tokens": None, "max_completion_tokens": 9, "seed": 5, "top_k": None,
    }  # fmt: skip


async def test_the_settings_limit_an_answer_for_which_nobody_asked_another_length(
    start_here: HereStarter,
) -> None:
    here = await start_here({"answer_tokens": 16})

    async def ask(chat: str, **more: Any) -> tuple[int | None, int | None]:
        await here.events((await here.ask("hello", chat, **more))["id"])
        sent = here.engine.requests[-1]
        return sent.get("max_tokens"), sent.get("max_completion_tokens")

    chat = (await here.call("POST", "/api/conversations", {})).json["id"]
    assert await ask(chat) == (16, None)
    assert await ask(chat, params={"max_completion_tokens": 9}) == (None, 9)
    await here.call("PATCH", f"/api/conversations/{chat}", {"params": {"max_tokens": 200}})
    assert await ask(chat) == (200, None)


async def test_the_system_prompt_is_what_everyone_asked_for(start_here: HereStarter) -> None:
    here = await start_here({"system_prompt": "Base."})
    await here.call("PATCH", "/api/preferences", {"instructions": "Everywhere."})
    folder = (await here.call("POST", "/api/folders", {"name": "F", "instructions": "Folder."})).json["id"]
    body = {"folder_id": folder, "instructions": " Here.\n"}
    chat = (await here.call("POST", "/api/conversations", body)).json["id"]

    async def system() -> Any:
        await here.events((await here.ask("hello", chat))["id"])
        first = here.engine.requests[-1]["messages"][0]
        return first["content"] if first["role"] == "system" else None

    assert await system() == "Base.\n\nEverywhere.\n\nFolder.\n\nHere."
    await here.call("DELETE", f"/api/folders/{folder}")
    assert await system() == "Base.\n\nEverywhere.\n\nHere."
    await here.call("PATCH", f"/api/conversations/{chat}", {"system_prompt": "", "instructions": ""})
    assert await system() == "Everywhere."
    await here.call("PATCH", "/api/preferences", {"instructions": None})
    assert await system() is None
