"""`/api`: conversations, turns, their events, search and models; every refusal names what was wrong."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from candide.store import turn_log as turn_log_module

if TYPE_CHECKING:
    from conftest import Here, HereStarter

SURROGATE = b"\\ud800"


async def make(here: Here, **body: Any) -> str:
    reply = await here.call("POST", "/api/conversations", body)
    assert reply.status == 201
    return reply.json["id"]


async def test_the_contract_for_machines_holds(here: Here) -> None:
    assert (await here.call("GET", "/health")).json["status"] == "ok"
    assert (await here.call("GET", "/ready")).status == 200
    chat = await make(here)
    turn = await here.ask("hello there", chat)
    assert {"id", "state", "user_message_id", "answer_message_id"} <= set(turn)
    events = await here.events(turn["id"])
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    assert "".join(e["text"] for e in events if e["kind"] == "TextDelta") == "You said: hello there"
    assert events[-1]["kind"] == "TurnFinished"
    shown = (await here.call("GET", f"/api/conversations/{chat}")).json
    assert shown["current_leaf_id"] == turn["answer_message_id"]
    assert [(m["id"], m["parent_id"], m["role"], m["text"], m["state"]) for m in shown["messages"]] == [
        (turn["user_message_id"], None, "user", "hello there", "complete"),
        (
            turn["answer_message_id"],
            turn["user_message_id"],
            "assistant",
            "You said: hello there",
            "complete",
        ),
    ]
    assert (await here.call("GET", f"/api/turns/{turn['id']}")).json["state"] == "finished"
    assert (await here.call("POST", f"/api/turns/{turn['id']}/stop")).json["state"] == "finished"


async def test_events_are_replayed_after_the_last_one_seen(here: Here) -> None:
    turn = await here.ask("one two three")
    events = await here.events(turn["id"])
    for after in range(len(events) + 2):
        assert await here.events(turn["id"], after) == events[after:]


async def test_an_idempotency_key_makes_a_repeat_harmless(here: Here) -> None:
    chat = await make(here)
    path, headers = f"/api/conversations/{chat}/turns", {"Idempotency-Key": "k"}
    replies = await asyncio.gather(
        *(here.call("POST", path, {"text": "once"}, headers=headers) for _ in range(8))
    )
    assert {r.status for r in replies} == {202}
    assert len({r.json["id"] for r in replies}) == 1
    # No key is none.
    for _ in range(2):
        await here.call("POST", path, {"text": "more"}, headers={"Idempotency-Key": ""})
    assert len((await here.call("GET", f"/api/conversations/{chat}")).json["messages"]) == 6


async def test_conversations_are_listed_renamed_deleted_and_restored(here: Here) -> None:
    chats = [await make(here, title=f"n{n}") for n in range(5)]
    first = (await here.call("GET", "/api/conversations?limit=3")).json
    second = (await here.call("GET", f"/api/conversations?limit=3&before={first['next']}")).json
    assert [c["id"] for c in first["data"] + second["data"]] == chats[::-1]
    assert second["next"] is None
    # The end of a page may be deleted before the next one is asked for.
    assert (await here.call("DELETE", f"/api/conversations/{first['next']}")).status == 204
    assert (await here.call("GET", f"/api/conversations?limit=3&before={first['next']}")).json == second
    assert (await here.call("GET", f"/api/conversations/{first['next']}")).error["code"] == "not_found"
    assert (await here.call("POST", f"/api/conversations/{first['next']}/restore")).status == 204
    renamed = await here.call(
        "PATCH", f"/api/conversations/{chats[0]}", {"title": "new", "system_prompt": None}
    )
    assert (renamed.status, renamed.json["title"]) == (200, "new")
    assert (await here.call("PATCH", f"/api/conversations/{chats[0]}", {"title": None})).error[
        "param"
    ] == "title"
    assert (
        await here.call("PATCH", f"/api/conversations/{chats[0]}", {"current_leaf_id": "msg_0"})
    ).status == 404


async def test_branches_are_made_by_parent_and_by_question(here: Here) -> None:
    first = await here.ask("one")
    chat = first["conversation_id"]
    await here.events(first["id"])
    again = (await here.call("POST", f"/api/conversations/{chat}/turns", {"user_message_id": first["user_message_id"]})).json  # fmt: skip
    edited = await here.ask("one, edited", chat, parent_id=None)
    for turn in (again, edited):
        assert (await here.events(turn["id"]))[-1]["kind"] == "TurnFinished"
    parents = {m["id"]: m["parent_id"] for m in (await here.call("GET", f"/api/conversations/{chat}")).json["messages"]}  # fmt: skip
    assert parents[again["answer_message_id"]] == first["user_message_id"]
    assert parents[edited["user_message_id"]] is None
    picked = await here.call(
        "PATCH", f"/api/conversations/{chat}", {"current_leaf_id": first["answer_message_id"]}
    )
    assert picked.json["current_leaf_id"] == first["answer_message_id"]


async def test_search_finds_and_marks(here: Here) -> None:
    turn = await here.ask("Où est la bibliothèque ?")
    await here.events(turn["id"])
    found = (await here.call("GET", "/api/search", params={"q": "bibliotheque"})).json["data"]
    assert {f["message_id"] for f in found} == {turn["user_message_id"], turn["answer_message_id"]}
    for one in found:
        [[a, b]] = one["highlights"]
        assert one["snippet"][a:b] == "bibliothèque"
    for query in (
        "",
        "*",
        '"',
        "AND OR NOT",
        "a\"b'c",
        "NEAR(",
        "{}",
        "col:x",
        "-x",
        "^x",
        "\u202e",
        "%",
        "x" * 1000,
    ):
        assert (await here.call("GET", "/api/search", params={"q": query})).status == 200


async def test_models_are_listed(start_here: HereStarter) -> None:
    here = await start_here(models=["a", "b"])
    listed = (await here.call("GET", "/api/models")).json["data"]
    assert [(m["name"], m["default"]) for m in listed] == [("a", True), ("b", False)]


TURNS = "/api/conversations/CHAT/turns"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/api/conversations", b"{", 400, None),
        ("POST", "/api/conversations", b"\xff\xfe", 400, None),
        ("POST", "/api/conversations", b"[" * 100_000, 400, None),
        ("POST", "/api/conversations", b"[]", 400, None),
        ("POST", "/api/conversations", b'{"title": 1}', 400, "title"),
        ("POST", "/api/conversations", b'{"titel": "x"}', 400, "titel"),
        ("POST", "/api/conversations", b'{"title": "' + SURROGATE + b'"}', 400, "title"),
        ("POST", "/api/conversations", b'{"title": "\\u0000"}', 400, "title"),
        ("POST", "/api/conversations", b'{"title": "' + b"x" * 301 + b'"}', 400, "title"),
        ("POST", "/api/conversations", b'{"' + SURROGATE + b'": 1}', 400, None),
        ("POST", TURNS, b"", 400, None),
        ("POST", TURNS, b"{}", 400, "text"),
        ("POST", TURNS, b'{"text": " \\n"}', 400, "text"),
        ("POST", TURNS, b'{"text": null}', 400, "text"),
        ("POST", TURNS, b'{"text": ["x"]}', 400, "text"),
        ("POST", TURNS, b'{"text": "x' + SURROGATE + b'"}', 400, "text"),
        ("POST", TURNS, b'{"text": "x\\u0000"}', 400, "text"),
        ("POST", TURNS, b'{"text": "x", "user_message_id": "y"}', 400, "text"),
        ("POST", TURNS, b'{"text": "x", "parent_id": "msg_0"}', 404, "parent_id"),
        ("POST", TURNS, b'{"user_message_id": "msg_0"}', 404, "user_message_id"),
        ("POST", TURNS, b'{"text": "x", "parent_id": "\\u0000"}', 400, "parent_id"),
        ("POST", TURNS, b'{"text": "x", "params": {"temprature": 1}}', 400, "params.temprature"),
        ("POST", TURNS, b'{"text": "x", "params": {"' + SURROGATE + b'": 1}}', 400, "params." + "\ufffd" * 3),
        ("POST", TURNS, b'{"text": "x", "params": {"stop": "' + SURROGATE + b'"}}', 400, "params.stop"),
        ("POST", TURNS, b'{"text": "x", "params": {"temperature": NaN}}', 400, "params.temperature"),
        ("POST", TURNS, b'{"text": "x", "params": {"top_p": 1e999}}', 400, "params.top_p"),
        ("POST", TURNS, b'{"text": "x", "params": []}', 400, "params"),
        ("POST", "/api/conversations/conv_0/turns", b'{"text": "x"}', 404, None),
        ("POST", "/api/conversations/%00/turns", b'{"text": "x"}', 404, None),
        ("PATCH", "/api/conversations/conv_0", b"{}", 404, None),
        ("GET", "/api/conversations/conv_0", None, 404, None),
        ("GET", "/api/conversations/%ff%00", None, 404, None),
        ("GET", "/api/conversations?limit=0", None, 400, "limit"),
        ("GET", "/api/conversations?limit=x", None, 400, "limit"),
        ("GET", "/api/conversations?before=conv_0", None, 404, None),
        ("GET", "/api/conversations?before=%00", None, 400, "before"),
        ("GET", "/api/turns/turn_0", None, 404, None),
        ("GET", "/api/turns/turn_0/events", None, 404, None),
        ("POST", "/api/turns/turn_0/stop", None, 404, None),
        ("GET", "/api/search", None, 400, "q"),
        ("GET", "/api/search?q=a%00", None, 400, "q"),
        ("GET", "/api/search?q=a&limit=1000", None, 400, "limit"),
        ("GET", "/api/nothing", None, 404, None),
        ("PUT", "/api/conversations", b"{}", 405, None),
    ],
)
async def test_each_mistake_is_named(
    here: Here, method: str, path: str, body: bytes | None, status: int, param: str | None
) -> None:
    chat = await make(here)
    before = (await here.call("GET", f"/api/conversations/{chat}")).json
    headers = {"Content-Type": "application/json"} if body is not None else {}
    async with here.session.request(
        method, URL(here.url + path.replace("CHAT", chat), encoded=True), data=body, headers=headers
    ) as response:
        error = json.loads(await response.read())["error"]
        assert (response.status, error["param"]) == (status, param), error
    assert error["message"]
    assert "mistake" not in error["message"]
    assert (await here.call("GET", f"/api/conversations/{chat}")).json == before


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 40, "²"])
async def test_a_last_event_id_that_is_none_is_refused(here: Here, last: str) -> None:
    turn = await here.ask("x")
    reply = await here.call("GET", f"/api/turns/{turn['id']}/events", headers={"Last-Event-ID": last})
    assert (reply.status, reply.error["param"]) == (400, "Last-Event-ID")


bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["text", "params", "model", "parent_id", "user_message_id", "title", "temperature", "stop", "seed"]),
        inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies)
async def test_no_body_makes_the_server_stumble(here: Here, body: Any) -> None:
    chat = await make(here)
    for path in ("/api/conversations", f"/api/conversations/{chat}/turns"):
        reply = await here.call("POST", path, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})  # fmt: skip
        assert reply.status in (201, 202) or (400 <= reply.status < 500 and reply.error["message"]), (
            reply.body
        )


async def test_a_stopped_turn_closes_its_stream(start_here: HereStarter) -> None:
    here = await start_here(pace_ms=5, replies=[{"tokens": 5000}])
    turn = await here.ask("go")
    following = asyncio.create_task(here.events(turn["id"]))
    while not any(e["kind"] == "TextDelta" for e in await peek(here, turn["id"])):
        await asyncio.sleep(0.01)
    stopped = await here.call("POST", f"/api/turns/{turn['id']}/stop")
    assert stopped.status == 200
    events = await asyncio.wait_for(following, 10)
    assert (events[-1]["kind"], events[-1]["state"]) == ("TurnFinished", "stopped")
    chat = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json
    answer = chat["messages"][-1]
    assert answer["state"] == "stopped"
    assert answer["text"] == "".join(e["text"] for e in events if e["kind"] == "TextDelta")


async def peek(here: Here, turn: str) -> list[dict[str, Any]]:
    """The events that are there by now."""
    events = await here.services.turn_log.read(turn, 0)
    return [{"id": e.seq, "kind": type(e.event).__name__} for e in events]


async def test_clients_that_hang_up_and_come_back_miss_and_repeat_nothing(
    start_here: HereStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_log_module, "COMMIT_INTERVAL_S", 0.005)
    here = await start_here(pace_ms=1, replies=[{"tokens": 400}])
    turn = await here.ask("go")

    async def follow_in_pieces(size: int) -> bytes:
        """Hang up after some bytes each time, and come back with the last whole frame's number."""
        whole, last = b"", 0
        while b"event: TurnFinished" not in whole:
            async with here.session.get(
                f"{here.url}/api/turns/{turn['id']}/events", headers={"Last-Event-ID": str(last)}
            ) as response:
                got = b""
                while len(got) < size and (data := await response.content.readany()):
                    got += data
            frames = got[: got.rfind(b"\n\n") + 2] if b"\n\n" in got else b""
            whole += frames
            if frames:
                last = int(frames[frames.rfind(b"id: ") + 4 :].split(b"\n")[0])
        return whole

    streams = await asyncio.gather(*(follow_in_pieces(size) for size in (1, 150, 1000, 10**9)))
    assert len(set(streams)) == 1
    chat = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json
    text = "".join(json.loads(line[6:])["text"] for line in streams[0].decode().split("\n") if line.startswith('data: {"kind":"TextDelta"'))  # fmt: skip
    assert text == chat["messages"][-1]["text"] == "".join(f"w{n} " for n in range(1, 401))


async def test_a_model_that_does_not_exist_is_refused_and_nothing_kept(here: Here) -> None:
    reply = await here.call("POST", "/api/conversations", {"model": "nope"})
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert (await here.call("GET", "/api/conversations")).json["data"] == []
    chat = await make(here)
    reply = await here.call("POST", f"/api/conversations/{chat}/turns", {"text": "Hi", "model": "nope"})
    assert (reply.status, reply.error["param"]) == (404, "model")
    assert (await here.call("PATCH", f"/api/conversations/{chat}", {"model": "nope"})).status == 404
    seen = (await here.call("GET", f"/api/conversations/{chat}")).json
    assert (seen["messages"], seen["model"]) == ([], None)


async def test_a_turn_that_has_ended_names_the_model_that_answered(here: Here) -> None:
    turn = (await here.ask("Hi"))["id"]
    await here.events(turn)
    assert (await here.call("GET", f"/api/turns/{turn}")).json["model"] == "scripted"


async def test_the_first_page_says_what_to_do_and_fetches_nothing_from_elsewhere(here: Here) -> None:
    for path in ("/", "/docs"):
        reply = await here.call("GET", path)
        assert reply.status == 200
        assert b"://" not in reply.body.replace(here.url.encode(), b"").replace(b"window.location", b"")
    assert (await here.call("HEAD", "/health")).status == 200
