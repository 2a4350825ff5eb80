from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from candide.domain.sources import Document
from candide.ingestion.extraction import Extractor
from candide.ingestion.extraction.reader import read

SHARED = Path(__file__).parents[4] / "shared" / "dev-data"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


class Packer(Protocol):
    def __call__(self, members: dict[str, str | bytes], stored: str = "") -> bytes: ...


class Reader(Protocol):
    def __call__(
        self, data: bytes | str, name: str = "", media_type: str = "", url: str = ""
    ) -> Document: ...


@pytest.fixture
def pack() -> Packer:
    """Makes a ZIP container; the member `stored` comes first, without compression."""

    def make(members: dict[str, str | bytes], stored: str = "") -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(members, key=lambda path: path != stored):
                kind = zipfile.ZIP_STORED if path == stored else zipfile.ZIP_DEFLATED
                archive.writestr(path, members[path], compress_type=kind)
        return file.getvalue()

    return make


@pytest.fixture
def read_here() -> Reader:
    """Reads in this process: what a format's reader makes of a file."""

    def read_document(data: bytes | str, name: str = "", media_type: str = "", url: str = "") -> Document:
        data = data.encode() if isinstance(data, str) else data
        document, _ = read(data, name=name, media_type=media_type, url=url)
        for section in document.sections:
            assert document.text[section.start :].startswith(section.heading)
        assert document.pages == sorted(document.pages)
        return document

    return read_document


@pytest.fixture
async def extractor() -> AsyncIterator[Extractor]:
    one = Extractor()
    yield one
    await one.close()


@pytest.fixture
def shared() -> Path:
    if not SHARED.exists():
        pytest.skip("the data to develop on is not there")
    return SHARED


@pytest.fixture
def word_document(pack: Packer) -> WordMaker:
    def make(body: str, **parts: str) -> bytes:
        relations = "".join(
            f'<Relationship Id="{name}" Type="http://x/{name}" Target="{name}.xml"/>' for name in parts
        )
        return pack({
            "[Content_Types].xml": "<Types/>",
            "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
            "word/_rels/document.xml.rels": f"<Relationships>{relations}</Relationships>",
            **{f"word/{name}.xml": text for name, text in parts.items()},
        })  # fmt: skip

    return make


class WordMaker(Protocol):
    def __call__(self, body: str, **parts: str) -> bytes: ...
