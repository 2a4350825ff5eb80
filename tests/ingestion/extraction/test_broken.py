"""Files that were damaged at random are read, or refused with a reason."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from candide.errors import UnreadableDocument
from candide.ingestion.extraction import Extractor


def damage(data: bytes, chance: random.Random) -> bytes:
    match chance.randrange(4):
        case 0:
            return data[: chance.randrange(len(data))]
        case 1:
            start = chance.randrange(len(data))
            return data[:start] + chance.randbytes(50) + data[start + 50 :]
        case 2:
            changed = bytearray(data)
            for _ in range(20):
                changed[chance.randrange(len(data))] = chance.randrange(256)
            return bytes(changed)
        case _:
            start = chance.randrange(len(data))
            return data[:start] + data[start : start + 2000] * 3 + data[start:]


@pytest.mark.parametrize(
    "suffix", ["pdf", "docx", "pptx", "xlsx", "xls", "epub", "html", "eml", "msg", "csv"]
)
async def test_a_damaged_file_is_read_or_refused(suffix: str, shared: Path) -> None:
    chance = random.Random(suffix)
    files = sorted(
        path for path in (shared / "documents").rglob(f"*.{suffix}") if path.stat().st_size < 2**20
    )
    extractor = Extractor(seconds=20)
    reasons: list[str] = []
    try:
        for _ in range(6):
            path = chance.choice(files)
            try:
                await extractor.extract(damage(path.read_bytes(), chance), name=path.name)
            except UnreadableDocument as error:
                reasons.append(error.message)
        await extractor.extract(files[0])
    finally:
        await extractor.close()
    # A reason that a person understands, and none of our own mistakes.
    assert all(reasons)
    assert not [reason for reason in reasons if "AttributeError" in reason or "TypeError" in reason]
