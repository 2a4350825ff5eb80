"""One database: how it is opened, brought up to date, read and written.

SQLite in WAL mode by default, PostgreSQL by its URL. Every write is a transaction of its own. A
durable write has reached the disk when it returns; another one survives the death of the process,
but perhaps not that of the machine, and costs a tenth.

SQLite is called on the event loop's own thread: its statements here take microseconds, a change of
threads takes longer, and with a busy loop a hundred times longer, since each one waits for the
interpreter's lock. What does take long happens elsewhere: waiting for the disk and checkpoints in a
thread, one for all writes that wait for it; waiting for another program's lock on the loop.

Before a migration an SQLite file is copied aside. Whatever the database complains about becomes a
StoreError that says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event, exc

from candide.errors import SettingsError, StoreError
from candide.store.migrations import HEAD

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

MIGRATIONS = Path(__file__).parent / "migrations"

BUSY_TIMEOUT_S = 10.0
BUSY_PAUSE_S = 0.01
CHECKPOINT_BYTES = 8 * 2**20
"""Size of the write-ahead log above which it is copied into the database file."""

T = TypeVar("T")


class Connection(Protocol):
    """What the queries need of a connection, whichever database is behind it."""

    @property
    def dialect(self) -> sa.Dialect: ...

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]: ...

    async def run_sync(self, work: Callable[[sa.Connection], T]) -> T: ...


class Database:
    """Open with `await Database.open(url, ...)`, end with `close`."""

    def __init__(self, url: str, backups_dir: Path, backups: int = 5) -> None:
        self.url = _read_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._backups_dir = backups_dir
        self._backups = backups
        self._pool: _SqlitePool | _PostgresPool
        self._pool = _SqlitePool(self.url) if self.is_sqlite else _PostgresPool(self.url)

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
    async def read(self) -> AsyncGenerator[Connection]:
        with self._explained():
            async with self._pool.read() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self, *, durable: bool = True) -> AsyncGenerator[Connection]:
        """A transaction, committed at the end unless an exception leaves it."""
        with self._explained():
            async with self._pool.write(durable) as connection:
                yield connection

    async def close(self) -> None:
        await self._pool.close()

    def backups(self) -> list[Path]:
        """The backup copies, oldest first."""
        return sorted(self._backups_dir.glob("candide-*.db")) if self._backups_dir.is_dir() else []

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
            with contextlib.suppress(OSError):
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
        except (exc.DBAPIError, exc.TimeoutError, sqlite3.Error, OSError) as error:
            if _is_about_data(error):
                raise
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


class _SqlitePool:
    """Connections to an SQLite file: one that writes, some that read.

    Writes that come in the same step of the event loop are committed together, all but the first within a
    savepoint of their own: half of what a small transaction costs is its commit.
    """

    def __init__(self, url: sa.URL) -> None:
        self._writers = _create_sqlite_engine(url)
        self._readers = _create_sqlite_engine(url)
        self._writing = asyncio.Lock()
        self._group: _Group | None = None
        self._log = _WriteAheadLog(Path(url.database)) if url.database else None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        with self._readers.connect() as connection:
            await _begin(connection, "DEFERRED")
            yield _InlineConnection(connection)

    @contextlib.asynccontextmanager
    async def write(self, durable: bool) -> AsyncGenerator[Connection]:
        async with self._writing:
            group = self._group or await self._begin_group()
            try:
                with group.write():
                    yield _InlineConnection(group.connection)
            except BaseException:
                if group.writes == 0:
                    self._group = None
                    group.undo()
                raise
            finally:
                if group.due and self._group is group:
                    self._commit_group()
        await asyncio.shield(group.committed)
        if durable and self._log is not None:
            await self._log.reach_disk()

    async def _begin_group(self) -> _Group:
        connection = self._writers.connect()
        try:
            transaction = await _begin(connection, "IMMEDIATE")
        except BaseException:
            connection.close()
            raise
        loop = asyncio.get_running_loop()
        self._group = _Group(connection, transaction, loop.create_future())
        loop.call_soon(self._end_step)
        return self._group

    def _end_step(self) -> None:
        """The step in which the group began is over: commit it, or have its last writer do so."""
        if self._group is not None:
            self._group.due = True
            if not self._writing.locked():
                self._commit_group()

    def _commit_group(self) -> None:
        assert self._group is not None
        group, self._group = self._group, None
        try:
            group.transaction.commit()
        except exc.SQLAlchemyError as error:
            group.transaction.rollback()
            group.committed.set_exception(error)
            # Every writer may have been cancelled by now; then no one need hear of it.
            group.committed.exception()
        else:
            group.committed.set_result(None)
        finally:
            group.connection.close()

    async def close(self) -> None:
        async with self._writing:
            if self._group is not None:
                self._commit_group()
        if self._log is not None:
            await self._log.close()
        self._writers.dispose()
        self._readers.dispose()


@dataclass
class _Group:
    """Writes that are committed together."""

    connection: sa.Connection
    transaction: sa.RootTransaction
    committed: asyncio.Future[None]
    due: bool = False
    writes: int = 0
    """How many are in it, whole."""

    @contextlib.contextmanager
    def write(self) -> Generator[None]:
        """Make one write, which is undone alone when it fails; the first one is undone with the group."""
        raw = _raw(self.connection)
        # A savepoint copies every page aside that is changed after it.
        if self.writes:
            raw.execute("SAVEPOINT write")
        try:
            yield
        except BaseException:
            # A full disk may have ended the whole transaction already.
            if self.writes and raw.in_transaction:
                raw.execute("ROLLBACK TO write")
                raw.execute("RELEASE write")
            raise
        if self.writes:
            raw.execute("RELEASE write")
        self.writes += 1

    def undo(self) -> None:
        self.transaction.rollback()
        self.connection.close()


class _InlineConnection:
    """A connection whose statements run at once, on the thread of the caller."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> sa.Dialect:
        return self._connection.dialect

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        return self._connection.execute(statement, parameters)

    async def run_sync(self, work: Callable[[sa.Connection], T]) -> T:
        return work(self._connection)


async def _begin(connection: sa.Connection, mode: str) -> sa.RootTransaction:
    """Begin a transaction; wait for another program's without standing in the way of the loop.

    SQLAlchemy would do it at an event of its engine, but where one is listened for, every statement takes longer.
    """
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    transaction = connection.begin()
    try:
        while True:
            try:
                _raw(connection).execute(f"BEGIN {mode}")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up_at:
                    raise
                await asyncio.sleep(BUSY_PAUSE_S)
            else:
                return transaction
    except BaseException:
        transaction.rollback()
        raise


def _raw(connection: sa.Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)


def _create_sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=1, max_overflow=-1, connect_args={"timeout": 0})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # Python's own transactions begin late and deferred; ours begin in `_begin`.
        connection.isolation_level = None
        # The first to open a file in WAL mode, or to recover one, holds it for a moment.
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA busy_timeout = 0")
        # Commits reach the log; `_WriteAheadLog` sees to the disk and to checkpoints.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


class _WriteAheadLog:
    """Brings SQLite's log to the disk, once for all commits that wait, and keeps it short.

    A commit in WAL mode is durable as soon as the log is on the disk (sqlite.org/wal.html); SQLite's own
    `synchronous = FULL` would do the same once a commit, on the caller's thread.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = file.with_name(file.name + "-wal")
        self._next: asyncio.Task[None] | None = None
        self._current: asyncio.Task[None] | None = None

    async def reach_disk(self) -> None:
        """Return when everything committed before the call is on the disk; raises OSError."""
        if self._next is None:
            self._next = asyncio.create_task(self._flush(self._current))
        await asyncio.shield(self._next)

    async def _flush(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        # From here on a new commit may come too late for this flush, and waits for the next one.
        self._current, self._next = self._next, None
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        try:
            log = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # copied into the database and removed: it is on the disk
        try:
            os.fsync(log)
            size = os.fstat(log).st_size
        finally:
            os.close(log)
        if size > CHECKPOINT_BYTES:
            with contextlib.closing(sqlite3.connect(self._file, timeout=1)) as connection:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")

    async def close(self) -> None:
        for task in (self._current, self._next):
            if task is not None:
                await asyncio.wait({task})


class _PostgresPool:
    def __init__(self, url: sa.URL) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self._engine: AsyncEngine = create_async_engine(
            url, pool_size=10, max_overflow=10, pool_pre_ping=True
        )

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection]:
        async with self._engine.connect() as connection:
            yield cast("Connection", connection)

    @contextlib.asynccontextmanager
    async def write(self, durable: bool) -> AsyncGenerator[Connection]:
        async with self._engine.begin() as connection:
            if not durable:
                await connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
            yield cast("Connection", connection)

    async def close(self) -> None:
        await self._engine.dispose()


_DRIVERS = {
    "sqlite": "sqlite",
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


def _is_about_data(error: Exception) -> bool:
    """Whether a database complains of what it was told to write, and not of itself."""
    # PostgreSQL's classes 22, data exceptions, and 54, limits exceeded.
    sqlstate = str(getattr(getattr(error, "orig", None), "sqlstate", ""))
    return isinstance(error, (exc.IntegrityError, exc.DataError)) or sqlstate[:2] in ("22", "54")


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
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
