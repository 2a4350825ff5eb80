"""Indexes of both kinds, empty."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from candide.domain.retrieval import PassageIndex
from candide.index.embedded import EmbeddedIndex
from candide.index.postgres import PostgresIndex

from .changes import DIMENSIONS

Opener = Callable[[], PassageIndex]


@contextlib.asynccontextmanager
async def make_database(server: str) -> AsyncGenerator[str]:
    """The URL of an empty database of this server."""
    admin_url = sa.make_url(server).set(drivername="postgresql+asyncpg")
    name = f"candide_test_{secrets.token_hex(6)}"
    admin = create_async_engine(admin_url, isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield admin_url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    async with admin.connect() as connection:
        await connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    await admin.dispose()


@pytest.fixture(params=["embedded", "postgres"])
async def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the same index, as often as one likes."""
    server = request.getfixturevalue("postgres_server") if request.param == "postgres" else ""
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(make_database(server)) if server else ""

        def open_one() -> PassageIndex:
            index: PassageIndex = (
                PostgresIndex(url, DIMENSIONS)
                if url
                else EmbeddedIndex(tmp_path / "index", dimensions=DIMENSIONS)
            )
            stack.push_async_callback(index.close)
            return index

        yield open_one


@pytest.fixture
def index(open_index: Opener) -> PassageIndex:
    return open_index()
