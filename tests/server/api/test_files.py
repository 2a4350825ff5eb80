"""Files are taken in by what they are, reach the engine, and harm no reader."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from candide.domain.ids import new_id
from candide.ingestion import attachments as attachments_module
from candide.server.api import files as files_module

if TYPE_CHECKING:
    from conftest import Here, HereStarter

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MAIL = (
    b"From: ada@example.org\r\nTo: bob@example.org\r\nSubject: Plums\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode(b"The plums are ripe on Monday.")
)


def make_pdf(words: str, trailer: str = "") -> bytes:
    """A PDF of one page."""
    content = f"BT /F 12 Tf 50 700 Td ({words}) Tj ET" if words else ""
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    data, offsets = "%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", list[int]()
    for number, text in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (
        f"{data}xref\n0 6\n0000000000 65535 f \n{table}trailer << /Size 6 /Root 1 0 R {trailer} >>\n"
        f"startxref\n{len(data)}\n%%EOF"
    ).encode("latin-1")


LOCKED_PDF = make_pdf(
    "Secret.",
    f"/Encrypt << /Filter /Standard /V 1 /R 2 /P -44 /O <{'41' * 32}> /U <{'42' * 32}> >> /ID [<{'00' * 16}> <{'00' * 16}>]",
)


def make_word(*paragraphs: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml", f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
        )
    return file.getvalue()


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
    cases: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({"text": "x", "attachments": [note["id"], "file_0"]}, 404, "attachments.1"),
        ({"text": "x", "attachments": ["\0"]}, 400, "attachments[0]"),
        ({"text": "x", "attachments": "file_0"}, 400, "attachments"),
        ({"text": "x", "attachments": ["f"] * 51}, 400, "attachments"),
        ({"user_message_id": turn["user_message_id"], "attachments": [note["id"]]}, 400, "attachments"),
        ({"attachments": []}, 400, "text"),
    )
    for body, status, param in cases:
        reply = await here.call("POST", path, body)
        assert (reply.status, reply.error["param"]) == (status, param), body
    chat = (await here.call("GET", f"/api/conversations/{turn['conversation_id']}")).json
    assert len(chat["messages"]) == 2


@pytest.mark.parametrize(
    ("name", "data", "said", "kept", "text"),
    [
        ("a.pdf", make_pdf("Oaks grow slowly."), "application/pdf", "application/pdf", "Oaks grow slowly."),
        ("a.docx", make_word("One.", "Two."), "", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "One.\n\nTwo."),
        ("a", make_pdf("Nameless."), "", "application/pdf", "Nameless."),
        ("a.txt", "latin é".encode("latin-1"), "text/plain", "text/plain", "latin é"),
        ("page.html", b"<html><body><h1>Garden</h1><p>Oaks.</p></body></html>", "text/html", "text/html", "Garden\n\nOaks."),
        ("mail.eml", MAIL, "message/rfc822", "message/rfc822", "The plums are ripe on Monday."),
    ],
)  # fmt: skip
async def test_a_model_is_given_the_text_of_a_document(
    here: Here, name: str, data: bytes, said: str, kept: str, text: str
) -> None:
    file = await add(here, name, data, said)
    assert file == {"id": file["id"], "name": name, "media_type": kept, "size": len(data)}
    turn = await here.ask("What does it say?", attachments=[file["id"]])
    assert (await here.events(turn["id"]))[-1]["kind"] == "TurnFinished"
    sent = here.engine.requests[-1]["messages"][-1]["content"]
    assert sent.startswith(f"--- {name} ---\n")
    assert sent.endswith(f"{text}\n--- end of {name} ---\n\nWhat does it say?")
    # What is given back is the document itself.
    reply = await here.call("GET", f"/api/files/{file['id']}")
    assert (reply.status, reply.body) == (200, data)
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("name", "data", "reason", "step"),
    [
        ("locked.pdf", LOCKED_PDF, "locked with a password", "save it without one"),
        ("scan.pdf", make_pdf(""), "its pages are pictures", "OCR"),
        ("cut.pdf", b"%PDF-1.7 \xe2\xe3", "broken", "print it to a new PDF"),
        ("cut.docx", make_word("One.")[:60], "broken ZIP archive", "Word"),
        ("empty.docx", make_word(""), "no text in it", "save it anew"),
        ("song.mp3", b"ID3\x04\0\0\0\0\0\0\xff\xfb", "a sound", "PDF"),
        ("photo.tiff", b"II*\0\x08\0\0\0\xff", "a picture", "PNG, JPEG, GIF, WebP"),
        ("x", b"text with a NUL \0", "no text", "text"),
    ],
)
async def test_a_document_that_cannot_be_read_is_refused_with_the_reason_and_the_next_step(
    here: Here, name: str, data: bytes, reason: str, step: str
) -> None:
    reply = await here.call("POST", "/api/files", params={"name": name}, data=data)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unsupported_file", "body")
    assert reply.error["message"].startswith(f"'{name}' cannot be read: ")
    assert reason in reply.error["message"]
    assert step in reply.error["hint"]


async def test_a_page_without_text_is_given_as_it_stands(here: Here) -> None:
    file = await add(here, "f.html", b"<script>grow()</script>", "text/html")
    await here.events((await here.ask("Why?", attachments=[file["id"]]))["id"])
    assert "<script>grow()</script>" in here.engine.requests[-1]["messages"][-1]["content"]


async def test_source_code_is_given_as_it_stands(here: Here) -> None:
    for name, data, said in (
        ("page.txt", b"<html><body><p>Oaks.</p></body></html>", "text/plain"),
        ("n.ipynb", b'{"cells": [], "nbformat": 4}', ""),
        ("t.csv", b"a,b\n1,2", "text/csv"),
    ):
        file = await add(here, name, data, said)
        await here.events((await here.ask("Why?", attachments=[file["id"]]))["id"])
        sent = here.engine.requests[-1]["messages"][-1]["content"]
        assert sent == f"--- {name} ---\n{data.decode()}\n--- end of {name} ---\n\nWhy?"


async def test_no_process_reads_documents_before_there_is_one(here: Here) -> None:
    before = set(psutil.Process().children(recursive=True))
    await add(here, "n.txt", b"hello")
    await add(here, "a.png", PNG)
    assert set(psutil.Process().children(recursive=True)) <= before
    await add(here, "a.pdf", make_pdf("Oaks."))
    (reader,) = set(psutil.Process().children(recursive=True)) - before
    assert "candide.ingestion.extraction.worker" in reader.cmdline()
    await here.services.attachments.close()
    assert not reader.is_running()


async def test_others_are_served_while_a_document_is_read(here: Here) -> None:
    before = set(psutil.Process().children(recursive=True))
    await add(here, "a.pdf", make_pdf("Oaks."))
    (reader,) = set(psutil.Process().children(recursive=True)) - before
    reader.suspend()
    # Whichever comes first waits for the process that sleeps; another is started for the second.
    uploads = [
        asyncio.create_task(add(here, f"{word}.pdf", make_pdf(word))) for word in ("Beeches", "Chestnuts")
    ]
    done, waiting = await asyncio.wait(uploads, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 1)
    assert (await here.call("GET", "/health")).status == 200
    reader.resume()
    assert {file["name"] for file in await asyncio.gather(*uploads)} == {"Beeches.pdf", "Chestnuts.pdf"}


async def test_a_document_that_the_model_cannot_hold_says_what_to_do(start_here: HereStarter) -> None:
    here = await start_here(context_tokens=50)
    file = await add(here, "long.pdf", make_pdf("oak " * 100))
    turn = await here.ask("What?", attachments=[file["id"]])
    failed = (await here.events(turn["id"]))[-1]
    assert (failed["kind"], failed["code"]) == ("TurnFailed", "context_length_exceeded")
    assert "'long.pdf'" in failed["message"]
    assert "add the file to a library and search" in failed["hint"]


async def test_a_document_of_more_text_than_is_taken_is_refused(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments_module, "MAX_TEXT_CHARACTERS", 10)
    reply = await here.call(
        "POST", "/api/files", params={"name": "a.pdf"}, data=make_pdf("Oaks grow slowly.")
    )
    assert reply.status == 413
    assert "library" in reply.error["hint"]


async def test_documents_that_were_imported_are_read_when_they_are_asked_about(
    start_here: HereStarter,
) -> None:
    here = await start_here()
    files = [
        await add(here, "a.pdf", make_pdf("Oaks.")),
        await add(here, "page.html", b"<p>Beeches.</p>", "text/html"),
    ]
    turn = await here.ask("What?", attachments=[file["id"] for file in files])
    await here.events(turn["id"])
    first = here.engine.requests[-1]["messages"][-1]["content"]
    path = f"/api/conversations/{turn['conversation_id']}"
    exported = (await here.call("GET", f"{path}/export", params={"format": "json"})).json
    # A document that no version here would have taken in.
    (tree,) = exported["conversations"]
    locked = {"id": new_id("file"), "name": "l.pdf", "media_type": "application/pdf", "size": len(LOCKED_PDF)}
    tree["files"].append({**locked, "data": base64.b64encode(LOCKED_PDF).decode()})
    tree["messages"][0]["parts"].append({"type": "file", "file": locked})
    there = await start_here({"home": str(Path(here.services.home).parent / "there")})
    reply = await there.call("POST", "/api/imports", params={"name": "e.json"}, data=json.dumps(exported))
    assert reply.status == 202, reply.body
    while (await there.call("GET", f"/api/imports/{reply.json['id']}")).json["state"] == "running":
        await asyncio.sleep(0.01)
    await there.events((await there.ask("And?", turn["conversation_id"]))["id"])
    unread = "(The file 'l.pdf' holds no text that can be read.)"
    assert there.engine.requests[-1]["messages"][-3]["content"] == first.replace(
        "\n\nWhat?", f"\n\n{unread}\n\nWhat?"
    )
    # Attached here, it is one that has its text already.
    await there.events((await there.ask("Again?", attachments=[files[0]["id"]]))["id"])
    assert "Oaks." in there.engine.requests[-1]["messages"][-1]["content"]
