"""Indexes of both kinds, empty."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from candide.domain.retrieval import PassageIndex
from candide.index.embedded import EmbeddedIndex
from candide.index.postgres import PostgresIndex

from .changes import DIMENSIONS

Opener = Callable[..., PassageIndex]


@pytest.fixture(params=["embedded", "postgres"])
async def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the same index, as often as one likes; with `model`, for the vectors of that one."""
    url = request.getfixturevalue("postgres_database") if request.param == "postgres" else ""
    async with contextlib.AsyncExitStack() as stack:

        def open_one(model: str = "") -> PassageIndex:
            index: PassageIndex = (
                PostgresIndex(url, DIMENSIONS, model)
                if url
                else EmbeddedIndex(tmp_path / "index", dimensions=DIMENSIONS, model=model)
            )
            stack.push_async_callback(index.close)
            return index

        yield open_one


@pytest.fixture
def index(open_index: Opener) -> PassageIndex:
    return open_index()
