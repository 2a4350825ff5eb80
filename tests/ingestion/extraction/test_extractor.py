"""The process that reads: what a file does to it costs that file, and the next is read all the same."""

from __future__ import annotations

import asyncio
import io
import os
import zipfile
from pathlib import Path

import pytest

from candide.errors import UnreadableDocument
from candide.ingestion.extraction import Extractor

from ...processes import list_children
from .conftest import Packer, WordMaker

GOOD = b"# Trees\n\nOaks grow slowly, and they outlive whoever planted them."


async def refuse(extractor: Extractor, data: bytes | Path, name: str = "") -> UnreadableDocument:
    """The error that a file gives; a good file is read after it."""
    with pytest.raises(UnreadableDocument) as caught:
        await extractor.extract(data, name=name)
    document, media_type = await extractor.extract(GOOD, name="trees.md")
    assert (document.title, media_type) == ("Trees", "text/markdown")
    return caught.value


def workers() -> set[int]:
    return {child.pid for child in list_children("ingestion.extraction.worker")}


async def test_files_are_read_by_one_process_that_is_started_when_needed(
    extractor: Extractor, tmp_path: Path
) -> None:
    before = workers()
    path = tmp_path / "trees.md"
    path.write_bytes(GOOD)
    document, media_type = await extractor.extract(path)
    assert document.text.startswith("Trees\n\nOaks")
    assert document.language == "en"
    assert media_type == "text/markdown"
    first = workers() - before
    assert len(first) == 1
    await extractor.extract(GOOD)
    assert workers() - before == first
    await extractor.close()
    assert workers() == before


async def test_an_idle_process_is_ended() -> None:
    before = workers()
    extractor = Extractor(idle_s=0.05)
    try:
        await extractor.extract(GOOD)
        async with asyncio.timeout(20):
            while workers() - before:
                await asyncio.sleep(0.02)
        await extractor.extract(GOOD)
    finally:
        await extractor.close()


async def test_a_killed_process_costs_the_file_that_it_read(extractor: Extractor) -> None:
    before = workers()
    await extractor.extract(GOOD)
    (pid,) = workers() - before
    os.kill(pid, 9)
    await refuse(extractor, GOOD)


async def test_a_bomb_is_not_unpacked(extractor: Extractor, pack: Packer) -> None:
    zeros = bytes(2**20)
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as member,
    ):
        for _ in range(400):
            member.write(zeros)
    error = await refuse(extractor, file.getvalue(), "bomb.docx")
    assert "unpacks to more" in error.message


async def test_an_entity_that_grows_without_end_is_not_expanded(extractor: Extractor, pack: Packer) -> None:
    entities = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12))
    laughs = f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><x><body><p><r><t>&a11;</t></r></p></body></x>'
    await refuse(extractor, pack({"word/document.xml": laughs}), "laughs.docx")


async def test_an_entity_does_not_read_files(extractor: Extractor, pack: Packer, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of the house")
    document = f'<!DOCTYPE x [<!ENTITY s SYSTEM "file://{secret}">]><x><body><p><r><t>seen &s;</t></r></p></body></x>'
    found, _ = await extractor.extract(pack({"word/document.xml": document}), name="x.docx")
    assert found.text == "seen"


async def test_elements_within_elements_without_end_end(
    extractor: Extractor, word_document: WordMaker
) -> None:
    await refuse(extractor, b"<html><body>" + b"<div>" * 200_000 + b"the bottom", "deep.html")
    await refuse(extractor, word_document("<w:tbl><w:tr><w:tc>" * 100_000), "deep.docx")


async def test_what_takes_too_long_is_given_up(pack: Packer) -> None:
    extractor = Extractor(seconds=1)
    try:
        rows = ("<tr>" + "<td>cell</td>" * 40 + "</tr>") * 60_000
        page = f"<html><body><nav>x</nav><table>{rows}</table></body></html>".encode()
        error = await refuse(extractor, page, "page.html")
        assert "longer than 1 second" in error.message
    finally:
        await extractor.close()


async def test_what_takes_too_much_memory_is_given_up() -> None:
    extractor = Extractor(memory_bytes=700 * 2**20)
    try:
        error = await refuse(extractor, ("é" + "x\u0301 " * 40_000_000).encode(), "large.txt")
        assert "memory" in error.message
    finally:
        await extractor.close()


async def test_several_files_are_read_at_a_time() -> None:
    before = workers()
    extractor = Extractor(processes=2)
    try:
        found = await asyncio.gather(*(extractor.extract(f"# Title {n}\n\nText.".encode()) for n in range(8)))
        assert [document.text.split("\n")[0] for document, _ in found] == [f"# Title {n}" for n in range(8)]
        assert len(workers() - before) == 2
    finally:
        await extractor.close()


async def test_a_cancelled_read_leaves_nothing_behind(extractor: Extractor) -> None:
    before = workers()
    page = ("<html><body>" + "<p>text</p>" * 300_000).encode()
    task = asyncio.create_task(extractor.extract(page, name="page.html"))
    async with asyncio.timeout(30):
        while not workers() - before:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert workers() == before
    document, _ = await extractor.extract(GOOD)
    assert document.text


async def test_the_process_opens_no_socket_and_writes_no_file(tmp_path: Path) -> None:
    target = tmp_path / "written"
    program = f"""
import errno, socket, subprocess
from candide.ingestion.extraction.confinement import confine
held = confine(2**31)
assert "files" in held, held
try:
    with open({str(target)!r}, "wb", buffering=0) as file:
        file.write(b"x")
    print("written")
except OSError as error:
    print(errno.errorcode[error.errno])
if "calls" in held:
    for act in (lambda: socket.socket(), lambda: socket.socket(socket.AF_UNIX), lambda: subprocess.run(["/bin/true"])):
        try:
            act()
            print("done")
        except PermissionError:
            print("refused")
"""
    process = await asyncio.create_subprocess_exec(
        os.sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert out.decode().split() in (["EFBIG", "refused", "refused", "refused"], ["EFBIG"]), err.decode()


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "empty.txt", "empty"),
        (b" \n\t\r\n", "blank.pdf", "empty"),
        (bytes(5000), "zeros.bin", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "picture.pdf", "picture"),
        (b"\x7fELF" + bytes(range(256)), "program.html", "program"),
        (bytes(range(256)) * 40, "noise.docx", "no text"),
        (b"PK\x03\x04" + bytes(range(256)), "cut.docx", "broken ZIP"),
        (b"%PDF-1.7\n" + b"nonsense " * 50, "broken.pdf", "broken"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "EncryptedPackage".encode("utf-16-le"),
            "x.docx",
            "password",
        ),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "WordDocument".encode("utf-16-le"),
            "x.doc",
            "before 2007",
        ),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "Workbook".encode("utf-16-le"),
            "x.xls",
            "broken",
        ),
        (b"<html><body><script>1</script></body></html>", "page.html", "no text"),
        (b'{"cells": 3, "nbformat": 4}', "x.ipynb", "broken"),
    ],
)
async def test_a_file_that_cannot_be_read_says_why(data: bytes, name: str, said: str) -> None:
    from candide.ingestion.extraction.worker import Request, answer

    reply = answer(Request(name=name), data)
    assert reply.document is None
    assert said in reply.reason


async def test_a_missing_file_and_a_folder_say_why(extractor: Extractor, tmp_path: Path) -> None:
    assert "no such file" in (await refuse(extractor, tmp_path / "none.txt")).message
    assert "no such file" in (await refuse(extractor, tmp_path)).message


async def test_every_document_of_the_development_data_is_read_or_refused_with_a_reason(shared: Path) -> None:
    files = sorted(
        path for path in (shared / "documents").rglob("*") if path.is_file() and path.name != "LICENSE"
    )
    refused: dict[str, str] = {}
    extractor = Extractor(processes=2)

    async def read(path: Path) -> None:
        try:
            document, _ = await extractor.extract(path)
        except UnreadableDocument as error:
            refused[path.name] = error.message
            return
        assert document.text.strip()
        assert document.text.encode()
        assert all(
            document.text[section.start :].startswith(section.heading) for section in document.sections
        )
        assert all(0 <= start <= len(document.text) for start in document.pages)

    try:
        await asyncio.gather(*map(read, files))
    finally:
        await extractor.close()
    assert len(files) > 150
    assert refused == REFUSED


REFUSED = {
    "MEDRPT-2024-PAT-3847_medical_report_scan.md": "the file is empty",
    "libreoffice-writer-password.pdf": "the PDF is locked with a password",
    "MEDRPT-2024-PAT-3847_medical_report_scan.pdf": "the PDF has no text: its pages are pictures",
}
