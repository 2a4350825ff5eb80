"""One database: how it is opened, brought up to date, read and written.

SQLite in WAL mode by default, PostgreSQL by its URL. Every write is a transaction of its own. A
durable write has reached the disk when it returns; another one survives the death of the process,
but perhaps not that of the machine, and costs a tenth.

Before a migration an SQLite file is copied aside. Whatever the database complains about becomes a
StoreError that says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sqlite3
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from candide.errors import SettingsError, StoreError
from candide.store.migrations import HEAD

BUSY_TIMEOUT_MS = 10_000


class Database:
    """Open with `await Database.open(url, ...)`, end with `close`."""

    def __init__(self, url: str, backups_dir: Path, backups: int = 5) -> None:
        self.url = _read_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._backups_dir = backups_dir
        self._backups = backups
        self._readers = self._create_engine("DEFERRED", "NORMAL", pool_size=4)
        if self.is_sqlite:
            # One connection each and one writer at a time: SQLite's own waiting for a lock is a
            # sleep, ours is a queue.
            self._durable = self._create_engine("IMMEDIATE", "FULL", pool_size=1)
            self._quick = self._create_engine("IMMEDIATE", "NORMAL", pool_size=1)
        else:
            self._durable = self._quick = self._readers
        self._write_lock = asyncio.Lock() if self.is_sqlite else None

    @classmethod
    async def open(cls, url: str, backups_dir: Path, backups: int = 5) -> Database:
        """Open, creating or migrating as needed; raises StoreError."""
        database = cls(url, backups_dir, backups)
        try:
            await database._prepare()
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def file(self) -> Path | None:
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        with self._explained():
            async with self._readers.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self, *, durable: bool = True) -> AsyncGenerator[AsyncConnection]:
        """A transaction, committed at the end unless an exception leaves it."""
        engine = self._durable if durable else self._quick
        with self._explained():
            async with self._write_lock or contextlib.nullcontext(), engine.begin() as connection:
                if not (durable or self.is_sqlite):
                    await connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
                yield connection

    async def close(self) -> None:
        for engine in {self._readers, self._durable, self._quick}:
            await engine.dispose()

    def backups(self) -> list[Path]:
        """The backup copies, oldest first."""
        return sorted(self._backups_dir.glob("candide-*.db")) if self._backups_dir.is_dir() else []

    def _create_engine(self, begin: str, synchronous: str, pool_size: int) -> AsyncEngine:
        if not self.is_sqlite:
            return create_async_engine(self.url, pool_size=10, max_overflow=10, pool_pre_ping=True)
        engine = create_async_engine(
            self.url, pool_size=pool_size, max_overflow=0, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}
        )

        @event.listens_for(engine.sync_engine, "connect")
        def configure(connection: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            # Python's own transactions begin late and deferred; ours begin where `begin` says so.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute(f"PRAGMA synchronous = {synchronous}")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def begin_transaction(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.exec_driver_sql(f"BEGIN {begin}")

        return engine

    async def _prepare(self) -> None:
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"the folder '{self.file.parent}' cannot be made: {error.strerror}",
                    hint="choose another with CANDIDE_HOME",
                ) from error
        async with self.read() as connection:
            revision = await connection.run_sync(_read_revision)
        if revision == HEAD:
            return
        if revision is not None:
            self._check_not_newer(revision)
            await asyncio.to_thread(self._back_up, revision)
        async with self.write() as connection:
            await connection.run_sync(_migrate)

    def _check_not_newer(self, revision: str) -> None:
        if revision > HEAD:
            raise StoreError(
                f"the database {self.file or self.url.host} was made by a newer Candide (revision {revision})",
                hint="update Candide, or point CANDIDE_HOME at another folder",
            )

    def _back_up(self, revision: str) -> None:
        if self.file is None:
            return
        target = self._backups_dir / f"candide-{time.strftime('%Y%m%d-%H%M%S')}-{revision}.db"
        partial = target.with_suffix(".part")
        try:
            self._backups_dir.mkdir(parents=True, exist_ok=True)
            with (
                contextlib.closing(sqlite3.connect(self.file)) as source,
                contextlib.closing(sqlite3.connect(partial)) as copy,
            ):
                source.backup(copy)
            partial.replace(target)
        except (OSError, sqlite3.Error) as error:
            partial.unlink(missing_ok=True)
            raise StoreError(
                f"the database could not be copied to '{target}' before its migration: {error}",
                hint="make room or repair the folder; nothing was changed",
            ) from error
        # The one just made stays in any case.
        for old in self.backups()[: -max(1, self._backups)]:
            old.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except exc.IntegrityError:
            raise
        except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error, OSError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> StoreError:
        said = str(getattr(error, "orig", None) or error)
        where = str(self.file or self.url.render_as_string(hide_password=True))
        lower = said.lower()
        if "not a database" in lower or "malformed" in lower:
            last = self.backups()[-1:]
            kept = (
                f"the last backup is {last[0]}" if last else "there is no backup in " + str(self._backups_dir)
            )
            return StoreError(
                f"the database '{where}' is damaged: {said}",
                hint=f"move it aside; {kept}",
                code="database_damaged",
            )
        if "locked" in lower or "busy" in lower:
            return StoreError(
                f"the database '{where}' is locked by another program",
                hint="close it and try again",
                code="database_locked",
            )
        if "full" in lower or "no space" in lower:
            return StoreError(
                f"the disk of '{where}' is full",
                hint="make room; nothing that was saved is lost",
                code="disk_full",
            )
        if "readonly" in lower or "read-only" in lower or "unable to open" in lower:
            return StoreError(
                f"the database '{where}' cannot be written: {said}",
                hint="check the folder's rights, or choose another with CANDIDE_HOME",
                code="database_read_only",
            )
        return StoreError(f"the database '{where}' failed: {said}", hint="candide doctor")


_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}


def _read_url(text: str) -> sa.URL:
    """Read a database's URL, in which the driver need not stand."""
    try:
        url = sa.make_url(text)
    except exc.ArgumentError as error:
        raise SettingsError(
            f"database_url '{text}' is not a URL", hint="like postgresql://user:password@host/name"
        ) from error
    backend = url.drivername.partition("+")[0]
    if backend not in _DRIVERS:
        raise SettingsError(f"database_url: '{backend}' is not a database that Candide can use", hint="take sqlite or postgresql")  # fmt: skip
    if backend != "sqlite" and importlib.util.find_spec("asyncpg") is None:
        raise SettingsError("PostgreSQL needs the package asyncpg", hint="pip install 'candide[postgres]'")
    return url.set(drivername=_DRIVERS[backend])


def _read_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        # Two replicas may start at once; whoever comes second finds the work done.
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('candide migrations'))"))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
