"""Folders hold conversations, and go without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Here


async def test_a_folder_is_made_changed_deleted_and_restored(here: Here) -> None:
    made = await here.call("POST", "/api/folders", {"name": "Work"})
    assert made.status == 201
    folder = made.json
    assert folder == {
        "id": folder["id"], "name": "Work", "instructions": None, "created_at": folder["created_at"], "conversations": 0,
    }  # fmt: skip
    await here.call("POST", "/api/folders", {"name": "art", "instructions": "Draw."})
    chats: list[str] = [
        (await here.call("POST", "/api/conversations", {"folder_id": folder["id"]})).json["id"]
        for _ in range(3)
    ]
    await here.call("DELETE", f"/api/conversations/{chats[2]}")
    listed = (await here.call("GET", "/api/folders")).json["data"]
    assert [(f["name"], f["conversations"]) for f in listed] == [("art", 0), ("Work", 2)]
    changed = await here.call(
        "PATCH", f"/api/folders/{folder['id']}", {"name": "Job", "instructions": "Be brief."}
    )
    assert (changed.json["name"], changed.json["instructions"], changed.json["conversations"]) == (
        "Job",
        "Be brief.",
        2,
    )

    async def folders_of_chats() -> list[Any]:
        return [
            (await here.call("GET", f"/api/conversations/{chat}")).json["folder_id"] for chat in chats[:2]
        ]

    path = f"/api/folders/{folder['id']}"
    assert (await here.call("DELETE", path)).status == 204
    assert await folders_of_chats() == [None, None]
    assert [f["name"] for f in (await here.call("GET", "/api/folders")).json["data"]] == ["art"]
    assert (await here.call("DELETE", path)).status == 404
    assert (await here.call("PATCH", path, {"name": "x"})).status == 404
    assert (await here.call("POST", "/api/conversations", {"folder_id": folder["id"]})).error[
        "param"
    ] == "folder_id"
    # What was moved meanwhile stays where it was moved to.
    other = listed[0]["id"]
    await here.call("PATCH", f"/api/conversations/{chats[1]}", {"folder_id": other})
    assert (await here.call("POST", f"{path}/restore")).status == 204
    assert await folders_of_chats() == [folder["id"], other]
    assert (await here.call("POST", "/api/folders/folder_0/restore")).status == 404


async def test_a_folder_needs_a_name(here: Here) -> None:
    folder = (await here.call("POST", "/api/folders", {"name": "x"})).json["id"]
    for body in ({}, {"name": ""}, {"name": " "}, {"name": None}, {"name": "x" * 301}, {"name": "\0"}):
        reply = await here.call("POST", "/api/folders", body)
        assert (reply.status, reply.error["param"]) == (400, "name"), body
        if body:
            assert (await here.call("PATCH", f"/api/folders/{folder}", body)).error["param"] == "name"
