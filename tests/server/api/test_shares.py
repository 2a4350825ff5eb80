"""A share shows a branch to whoever has its token, and nothing else, as long as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Here


async def ask(here: Here, text: str, chat: str | None = None, **more: Any) -> Any:
    turn = await here.ask(text, chat, **more)
    await here.events(turn["id"])
    return turn


async def share(here: Here, chat: str, **body: Any) -> Any:
    reply = await here.call("POST", f"/api/conversations/{chat}/shares", body)
    assert reply.status == 201, reply.body
    return reply.json


async def test_a_share_shows_its_branch_and_nothing_else(here: Here) -> None:
    one = await ask(here, "one")
    chat = one["conversation_id"]
    await here.call("PATCH", f"/api/conversations/{chat}", {"title": "T", "instructions": "secret"})
    await here.call("PUT", f"/api/messages/{one['answer_message_id']}/feedback", {"rating": "up"})
    two = await ask(here, "two", chat)
    made = await share(here, chat)
    assert made == {
        "token": made["token"], "conversation_id": chat, "leaf_id": two["answer_message_id"], "title": "T",
        "created_at": made["created_at"], "path": f"/share/{made['token']}",
    }  # fmt: skip
    assert len(made["token"]) >= 32
    # What comes later is not shared.
    await ask(here, "three", chat)
    await ask(here, "two, edited", chat, parent_id=one["answer_message_id"])
    shared = (await here.call("GET", f"/api/shared/{made['token']}")).json
    assert (shared["title"], shared["created_at"]) == ("T", made["created_at"])
    assert [m["text"] for m in shared["messages"]] == ["one", "You said: one", "two", "You said: two"]
    for message in shared["messages"]:
        assert [message[name] for name in ("engine", "turn_id", "usage", "timings", "error", "feedback")] == [
            None
        ] * 6
    assert "secret" not in str(shared)
    older = await share(here, chat, leaf_id=one["user_message_id"])
    assert [
        m["text"] for m in (await here.call("GET", f"/api/shared/{older['token']}")).json["messages"]
    ] == ["one"]
    assert (await here.call("GET", "/api/shares")).json["data"] == [older, made]


async def test_a_share_ends_at_once(here: Here) -> None:
    turn = await ask(here, "one")
    token = (await share(here, turn["conversation_id"]))["token"]
    assert (await here.call("DELETE", f"/api/shares/{token}")).status == 204
    for method, path in (("GET", "shared"), ("DELETE", "shares")):
        reply = await here.call(method, f"/api/{path}/{token}")
        assert reply.status == 404
        assert token not in reply.body.decode()
    assert (await here.call("GET", "/api/shares")).json["data"] == []


async def test_what_was_deleted_is_not_shared(here: Here) -> None:
    turn = await ask(here, "one")
    chat = turn["conversation_id"]
    token = (await share(here, chat))["token"]

    async def status() -> int:
        return (await here.call("GET", f"/api/shared/{token}")).status

    for path in (f"/api/conversations/{chat}", f"/api/messages/{turn['answer_message_id']}"):
        await here.call("DELETE", path)
        assert await status() == 404
        await here.call("POST", f"{path}/restore")
        assert await status() == 200
    await here.call("DELETE", f"/api/conversations/{chat}")
    assert (await here.call("GET", "/api/shares")).json["data"] == []
    assert (await here.call("POST", f"/api/conversations/{chat}/shares")).status == 404


async def test_files_are_shared_with_the_messages_that_hold_them(here: Here) -> None:
    async def add(name: str, data: bytes) -> Any:
        return (await here.call("POST", "/api/files", params={"name": name}, data=data)).json

    image, note = await add("a.gif", b"GIF89a..."), await add("n.txt", b"notes")
    private = await add("p.txt", b"private")
    turn = await ask(here, "see", attachments=[image["id"], note["id"]])
    token = (await share(here, turn["conversation_id"]))["token"]
    await ask(here, "and", turn["conversation_id"], attachments=[private["id"]])
    base = f"/api/shared/{token}"
    question = (await here.call("GET", base)).json["messages"][0]
    assert question["parts"] == [
        {"type": "image_url", "image_url": {"url": f"{base}/files/{image['id']}"}, "file": image},
        {"type": "file", "file": note},
    ]
    assert (await here.call("GET", question["parts"][0]["image_url"]["url"])).body == b"GIF89a..."
    reply = await here.call("GET", f"{base}/files/{note['id']}")
    assert (reply.body, reply.headers["Cache-Control"]) == (b"notes", "no-store")
    for missing in (private["id"], "file_0"):
        assert (await here.call("GET", f"{base}/files/{missing}")).status == 404
    await here.call("DELETE", f"/api/shares/{token}")
    assert (await here.call("GET", f"{base}/files/{image['id']}")).status == 404


async def test_what_cannot_be_shared_is_said(here: Here) -> None:
    empty = (await here.call("POST", "/api/conversations")).json["id"]
    stranger = await ask(here, "x")
    for chat, body, status, param in (
        ("conv_0", None, 404, None),
        (empty, None, 400, "leaf_id"),
        (empty, {"leaf_id": stranger["answer_message_id"]}, 400, "leaf_id"),
        (empty, {"leaf_id": "msg_0"}, 404, None),
    ):
        reply = await here.call("POST", f"/api/conversations/{chat}/shares", body)
        assert (reply.status, reply.error["param"]) == (status, param)


@pytest.mark.parametrize("token", ["x", "%00", "%ff", "a" * 500])
async def test_a_token_that_was_never_given_opens_nothing(here: Here, token: str) -> None:
    assert (await here.call("GET", f"/api/shared/{token}")).status == 404
