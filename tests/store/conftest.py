"""A store of one's own for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from candide.domain.turns import Turn
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.files import FileStore
from candide.store.folders import FolderStore
from candide.store.messages import MessageStore
from candide.store.turn_log import TurnLog
from candide.store.turns import TurnStore


@dataclass
class Store:
    """One database with everything over it."""

    url: str
    folder: Path
    database: Database
    conversations: ConversationStore
    turns: TurnStore
    messages: MessageStore
    files: FileStore
    folders: FolderStore
    log: TurnLog

    @classmethod
    async def open(cls, url: str, folder: Path) -> Store:
        database = await Database.open(url, folder / "backups")
        log = TurnLog(database)
        log.start()
        return cls(
            url,
            folder,
            database,
            ConversationStore(database),
            TurnStore(database),
            MessageStore(database),
            FileStore(database),
            FolderStore(database),
            log,
        )

    async def again(self) -> Store:
        """The same database, as another process has it open."""
        return await Store.open(self.url, self.folder)

    async def close(self) -> None:
        await self.log.close()
        await self.database.close()

    async def ask(self, text: str = "hello", **more: Any) -> Turn:
        """Accept a question in a conversation of its own."""
        return await self.turns.accept(await self.conversations.create(), text=text, **more)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'candide.db'}"
    return request.getfixturevalue("postgres_database")


@pytest.fixture
async def store(url: str, tmp_path: Path, empty_database: Path) -> AsyncIterator[Store]:
    if url.startswith("sqlite"):
        shutil.copy(empty_database, tmp_path / "candide.db")
    store = await Store.open(url, tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def other(store: Store) -> AsyncIterator[Store]:
    """Another process's view of `store`."""
    other = await store.again()
    yield other
    await other.close()
