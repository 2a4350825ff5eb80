"""Books (EPUB 2 and 3): the chapters in the order of reading."""

from __future__ import annotations

from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.charsets import decode
from candide.ingestion.extraction.containers import Container, resolve
from candide.ingestion.extraction.draft import Draft
from candide.ingestion.extraction.html import read_fragment
from candide.ingestion.extraction.properties import find_properties
from candide.ingestion.extraction.trees import name_of


def read_book(data: bytes) -> Document:
    """The document of an .epub file; raises UnreadableDocument where there is none in it."""
    container = Container(data)
    entry = container.read_xml("META-INF/container.xml")
    path = (
        next((one.get("full-path", "") for one in entry.iter() if name_of(one) == "rootfile"), "")
        if entry is not None
        else ""
    )
    path = path or next((one for one in container.paths if one.endswith(".opf")), "")
    package = container.read_xml(path)
    if package is None:
        raise UnreadableDocument("it is broken: the book's table of contents is missing or cut off")
    items: dict[str, Any] = {one.get("id", ""): one for one in package.iter() if name_of(one) == "item"}
    locked = _find_locked(container)
    chapters = [
        resolve(path, items[one.get("idref", "")].get("href", ""))
        for one in package.iter()
        if name_of(one) == "itemref"
        and one.get("idref", "") in items
        # A table of contents says again what the headings say.
        and "nav" not in items[one.get("idref", "")].get("properties", "").split()
    ]
    if chapters and all(chapter in locked for chapter in chapters):
        raise UnreadableDocument("the book is locked by its seller (DRM)")
    draft = Draft()
    for chapter in chapters:
        if chapter in container and chapter not in locked:
            draft.end_block()
            read_fragment(decode(container.read(chapter)), draft)
    metadata = next((one for one in package if name_of(one) == "metadata"), None)
    return draft.document(**(find_properties(metadata) if metadata is not None else {}))


def _find_locked(container: Container) -> set[str]:
    """Members that are encrypted; fonts are in many books that can be read."""
    encryption = container.read_xml("META-INF/encryption.xml")
    if encryption is None:
        return set()
    return {resolve("", one.get("URI", "")) for one in encryption.iter() if name_of(one) == "CipherReference"}
