"""Files are taken in by what they are, reach the engine, and harm no reader."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from candide.server.api import files as files_module

if TYPE_CHECKING:
    from conftest import Here, HereStarter

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


async def add(here: Here, name: str, data: bytes, media_type: str = "application/octet-stream") -> Any:
    reply = await here.call(
        "POST", "/api/files", params={"name": name}, data=data, headers={"Content-Type": media_type}
    )
    assert reply.status == 201, reply.body
    return reply.json


@pytest.mark.parametrize(
    ("name", "data", "said", "kept"),
    [
        ("a.png", PNG, "image/png", "image/png"),
        ("a.txt", PNG, "text/plain", "image/png"),
        ("b.jpg", b"\xff\xd8\xff\xe0rest", "", "image/jpeg"),
        ("c.gif", b"GIF89a...", "image/gif", "image/gif"),
        ("d.webp", b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp", "image/webp"),
        ("n.md", "Où ça ?".encode(), "text/markdown; charset=utf-8", "text/markdown"),
        ("n.json", b"{}", "application/json", "application/json"),
        ("e.svg", SVG, "image/svg+xml", "text/plain"),
        ("f.html", b"<script>alert(1)</script>", "text/html", "text/html"),
        ("g.png", b"not an image", "image/png", "text/plain"),
    ],
)
async def test_a_file_is_what_it_holds(here: Here, name: str, data: bytes, said: str, kept: str) -> None:
    file = await add(here, name, data, said)
    assert file == {"id": file["id"], "name": name, "media_type": kept, "size": len(data)}
    reply = await here.call("GET", f"/api/files/{file['id']}")
    assert (reply.status, reply.body) == (200, data)
    # No browser runs it, whatever it is.
    is_image = kept.startswith("image/")
    assert reply.headers["Content-Type"].split(";")[0] == (kept if is_image else "text/plain")
    assert reply.headers["Content-Disposition"].startswith("inline" if is_image else "attachment")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert "immutable" in reply.headers["Cache-Control"]


async def test_the_same_file_is_kept_once(here: Here) -> None:
    first = await add(here, "n.txt", b"same")
    assert await add(here, "n.txt", b"same") == first
    others = [await add(here, "m.txt", b"same"), await add(here, "n.txt", b"other")]
    assert len({f["id"] for f in [first, *others]}) == 3


async def test_a_name_of_any_letters_comes_back(here: Here) -> None:
    name = 'quote" \\ newline\r\n ½ 漢字.png'
    file = await add(here, name, PNG)
    assert file["name"] == name
    disposition = (await here.call("GET", f"/api/files/{file['id']}")).headers["Content-Disposition"]
    assert disposition.startswith("inline; filename*=UTF-8''quote%22")


async def test_what_is_no_file_of_ours_is_refused(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(name: str, data: bytes) -> tuple[int, Any, str]:
        reply = await here.call("POST", "/api/files", params={"name": name}, data=data)
        return reply.status, reply.error["param"], reply.error["message"]

    for data in (
        b"%PDF-1.7 \xe2\xe3",
        b"PK\x03\x04\xff\xfe",
        b"text with a NUL \0",
        "latin é".encode("latin-1"),
    ):
        status, param, message = await refuse("x", data)
        assert (status, param) == (400, "body")
        assert "PNG, JPEG, GIF, WebP" in message
    assert await refuse("x", b"") == (400, "body", "the file 'x' is empty")
    assert (await refuse("", b"text"))[:2] == (400, "name")
    assert (await refuse("x" * 256, b"text"))[:2] == (400, "name")
    assert (await refuse("a\0", b"text"))[:2] == (400, "name")
    reply = await here.call("POST", "/api/files", data=b"text")
    assert (reply.status, reply.error["param"]) == (400, "name")
    monkeypatch.setattr(files_module, "MAX_FILE_BYTES", 1000)
    status, _, message = await refuse("big.txt", b"x" * 1001)
    assert status == 413
    assert "big.txt" in message
    assert (await here.call("GET", "/api/files/file_0")).status == 404


async def test_attachments_reach_the_engine_and_are_shown(start_here: HereStarter) -> None:
    here = await start_here({"titles": True})
    image = await add(here, "a.png", PNG)
    note = await add(here, "n.md", "\ufeff# Où ?".encode(), "text/markdown")
    ids = [note["id"], image["id"]]
    turn = await here.ask("What is this?", attachments=ids)
    await here.events(turn["id"])
    sent = here.engine.requests[0]["messages"][-1]["content"]
    assert sent == [
        {"type": "text", "text": "--- n.md ---\n# Où ?\n--- end of n.md ---\n\nWhat is this?"},
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()},
        },
    ]
    seen = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json["messages"][0]
    assert seen["text"] == "What is this?"
    assert seen["parts"] == [
        {"type": "file", "file": note},
        {"type": "image_url", "image_url": {"url": f"/api/files/{image['id']}"}, "file": image},
    ]
    # The next prompt begins with this one.
    await here.events((await here.ask("And?", turn["conversation_id"]))["id"])
    prompts = [r["messages"] for r in here.engine.requests]
    assert any(p[-3]["content"] == sent for p in prompts if len(p) >= 3)


async def test_files_need_no_words(here: Here) -> None:
    note = await add(here, "n.txt", b"hello")
    for words in ({}, {"text": ""}, {"text": None}):
        chat = (await here.call("POST", "/api/conversations")).json["id"]
        body = {"attachments": [note["id"]], **words}
        reply = await here.call("POST", f"/api/conversations/{chat}/turns", body)
        assert reply.status == 202, reply.body
        assert (await here.events(reply.json["id"]))[-1]["kind"] == "TurnFinished"
        assert (
            here.engine.requests[-1]["messages"][-1]["content"]
            == "--- n.txt ---\nhello\n--- end of n.txt ---"
        )


async def test_attachments_that_make_no_sense_are_named(here: Here) -> None:
    note = await add(here, "n.txt", b"hello")
    turn = await here.ask("x")
    await here.events(turn["id"])
    path = f"/api/conversations/{turn['conversation_id']}/turns"
    for body, status, param in (
        ({"text": "x", "attachments": [note["id"], "file_0"]}, 404, "attachments.1"),
        ({"text": "x", "attachments": ["\0"]}, 400, "attachments[0]"),
        ({"text": "x", "attachments": "file_0"}, 400, "attachments"),
        ({"text": "x", "attachments": ["f"] * 51}, 400, "attachments"),
        ({"user_message_id": turn["user_message_id"], "attachments": [note["id"]]}, 400, "attachments"),
        ({"attachments": []}, 400, "text"),
    ):
        reply = await here.call("POST", path, body)
        assert (reply.status, reply.error["param"]) == (status, param), body
    chat = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json
    assert len(chat["messages"]) == 2
