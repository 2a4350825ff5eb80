"""Files and the texts of documents, on both databases."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Store


async def test_a_document_is_given_back_whole_and_loaded_for_a_prompt_without_its_bytes(store: Store) -> None:
    document = await store.files.add("a.pdf", "application/pdf", b"%PDF", "Où ?")
    note = await store.files.add("n.txt", "text/plain", b"plain")
    whole = await store.files.get(document.id)
    assert (whole.file, whole.data, whole.text) == (document, b"%PDF", "Où ?")
    said = await store.files.load_said([document.id, note.id, "file_0"])
    assert {id_: (one.data, one.text) for id_, one in said.items()} == {
        document.id: (b"", "Où ?"),
        note.id: (b"plain", None),
    }


async def test_a_text_that_comes_later_is_kept_and_does_not_change(store: Store) -> None:
    file = await store.files.add("a.pdf", "application/pdf", b"%PDF")
    await store.files.keep_text(file.id, "")
    said = (await store.files.load_said([file.id]))[file.id]
    assert (said.data, said.text) == (b"%PDF", "")
    await asyncio.gather(*(store.files.keep_text(file.id, "first") for _ in range(3)))
    assert await store.files.add("a.pdf", "application/pdf", b"%PDF", "second") == file
    assert (await store.files.get(file.id)).text == "first"
