"""Files go in and archives come out over HTTP, whatever dies in between."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest

from .conftest import Here, HereStarter

REPLIES = [{"answer": "One.", "reasoning": "hm", "times": 1}, {"answer": "Two."}]
PNG = b"\x89PNG\r\n\x1a\n picture"


def export(*names: str) -> bytes:
    """ChatGPT's export of conversations with one question each."""
    content = {"content_type": "text", "parts": ["hello"]}
    mapping = {"n": {"message": {"author": {"role": "user"}, "content": content, "create_time": 1.7e9}}}
    return json.dumps([{"id": name, "title": name, "mapping": mapping} for name in names]).encode()


async def finish(here: Here, reply: Any) -> Any:
    assert reply.status == 202, reply.body
    assert reply.json["state"] == "running"
    async with asyncio.timeout(60):
        while True:
            view = (await here.call("GET", f"/api/imports/{reply.json['id']}")).json
            if view["state"] != "running":
                return view
            await asyncio.sleep(0.1)


async def become_empty(folder: Path) -> None:
    async with asyncio.timeout(20):
        while list(folder.iterdir()):
            await asyncio.sleep(0.05)


async def upload(here: Here, data: bytes, name: str = "export.json", **more: Any) -> Any:
    return await here.call("POST", f"/api/imports?name={name}", data=io.BytesIO(data), **more)


async def titles(here: Here) -> list[str]:
    return [c["title"] for c in (await here.call("GET", "/api/conversations")).json["data"]]


async def test_a_file_is_imported_behind_the_answers(start_here: HereStarter, tmp_path: Path) -> None:
    here = await start_here({"max_body_mb": 1})
    # More than a body may be elsewhere.
    view = await finish(here, await upload(here, b" " * 3_000_000 + export("a", "b")))
    assert (view["state"], view["format"], view["added"], view["error"]) == ("finished", "chatgpt", 2, None)
    assert view["received_bytes"] == view["total_bytes"] == view["read_bytes"]
    assert sorted(await titles(here)) == ["a", "b"]
    assert [one["id"] for one in (await here.call("GET", "/api/imports")).json["data"]] == [view["id"]]
    await become_empty(tmp_path / "home" / "imports")


async def test_a_failure_is_in_the_report(start_here: HereStarter) -> None:
    here = await start_here()
    view = await finish(here, await upload(here, b"PK\x03\x04"))
    assert view["state"] == "failed"
    assert "not a ZIP" in view["error"]


async def test_an_upload_that_is_empty_too_large_or_has_no_name_is_refused(start_here: HereStarter) -> None:
    here = await start_here({"max_import_mb": 1})
    assert (await upload(here, b"")).status == 400
    assert (await upload(here, b"x" * 1_100_000)).status == 413
    assert (await here.call("POST", "/api/imports", data=b"[]")).status == 400
    assert (await here.call("GET", "/api/imports/nosuch")).status == 404
    assert (await here.call("GET", "/api/imports")).json == {"data": []}


async def test_an_upload_that_breaks_off_leaves_nothing(start_here: HereStarter, tmp_path: Path) -> None:
    here = await start_here()
    with socket.create_connection(("127.0.0.1", here.port)) as client:
        client.sendall(
            b"POST /api/imports?name=x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n[1, 2"
        )
        await asyncio.sleep(0.5)
    folder = tmp_path / "home" / "imports"
    await become_empty(folder)
    assert (await here.call("GET", "/api/imports")).json == {"data": []}


async def test_a_full_disk_is_told(start_here: HereStarter, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await start_here()

    async def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("candide.store.uploads._write", full)
    reply = await upload(here, export("a"))
    assert (reply.status, reply.error["code"]) == (503, "disk_full")


async def test_an_import_goes_on_when_its_process_or_the_server_dies(
    start_here: HereStarter, tmp_path: Path
) -> None:
    here = await start_here()
    # As it lies there after the death of a server.
    folder = tmp_path / "home" / "imports"
    folder.mkdir(exist_ok=True)
    (folder / "import_1.upload").write_bytes(export("a"))
    store = here.services.imports._store
    await store.create("import_1", "x.json", 10)
    await here.services.imports.resume()
    async with asyncio.timeout(60):
        while (await here.call("GET", "/api/imports/import_1")).json["state"] == "running":
            await asyncio.sleep(0.1)
    assert await titles(here) == ["a"]
    await become_empty(folder)


async def fill(here: Here) -> str:
    """A conversation with two branches, an image, and what else can be kept of one; its id."""
    folder = (await here.call("POST", "/api/folders", {"name": "Work", "instructions": "be kind"})).json["id"]
    made = {
        "title": "All of it",
        "folder_id": folder,
        "instructions": "be brief",
        "params": {"temperature": 0.5},
    }
    conversation = (await here.call("POST", "/api/conversations", made)).json["id"]
    file = (await here.call("POST", "/api/files?name=a.png", data=PNG)).json["id"]
    turn = await here.ask("hello", conversation, attachments=[file])
    await here.events(turn["id"])
    again = await here.call(
        "POST", f"/api/conversations/{conversation}/turns", {"user_message_id": turn["user_message_id"]}
    )
    await here.events(again.json["id"])
    await here.call(
        "PUT", f"/api/messages/{turn['answer_message_id']}/feedback", {"rating": "up", "reason": "kind"}
    )
    await here.call("PATCH", f"/api/conversations/{conversation}", {"pinned": True})
    return conversation


async def look(here: Here, conversation: str) -> Any:
    view = (await here.call("GET", f"/api/conversations/{conversation}")).json
    del view["folder_id"], view["unread"]
    for message in view["messages"]:
        del message["turn_id"]
    return view


@pytest.mark.parametrize("form", ["json", "chatgpt"])
@pytest.mark.parametrize("whole", [True, False], ids=["all", "one"])
async def test_what_is_exported_is_imported_without_loss(
    start_here: HereStarter, tmp_path: Path, form: str, whole: bool
) -> None:
    here = await start_here(replies=REPLIES)
    conversation = await fill(here)
    path = (
        f"/api/export?format={form}" if whole else f"/api/conversations/{conversation}/export?format={form}"
    )
    exported = await here.call("GET", path)
    assert exported.status == 200
    assert exported.headers["Content-Type"] == ("application/zip" if whole else "application/json")
    there = await start_here({"home": str(tmp_path / "there")})
    assert there.url != here.url
    view = await finish(there, await upload(there, exported.body))
    assert (view["added"], view["skipped"]) == (1, [])
    assert await look(there, conversation) == await look(here, conversation)
    [folder] = (await there.call("GET", "/api/folders")).json["data"]
    assert (folder["name"], folder["instructions"], folder["conversations"]) == ("Work", "be kind", 1)
    message = (await look(there, conversation))["messages"][0]
    assert (await there.call("GET", f"/api/files/{message['parts'][0]['file']['id']}")).body == PNG


async def test_pages_to_be_read_have_their_files_beside_them(start_here: HereStarter) -> None:
    here = await start_here(replies=REPLIES)
    conversation = await fill(here)
    exported = await here.call("GET", "/api/export?format=markdown")
    with zipfile.ZipFile(io.BytesIO(exported.body)) as archive:
        page, file = archive.namelist()
        text = archive.read(page).decode()
        assert archive.read(file) == PNG
    assert page.endswith(f"-All-of-it-{conversation[-6:]}.md")
    assert f"![a.png]({file})" in text
    assert "Two." in text
    one = await here.call("GET", f"/api/conversations/{conversation}/export?format=markdown")
    assert one.body.decode() == text


async def test_an_export_of_nothing_is_an_archive_all_the_same(start_here: HereStarter) -> None:
    here = await start_here()
    for form in ("json", "chatgpt", "markdown"):
        exported = await here.call("GET", f"/api/export?format={form}")
        with zipfile.ZipFile(io.BytesIO(exported.body)) as archive:
            assert archive.testzip() is None
    assert (await here.call("GET", "/api/export?format=odd")).status == 400
