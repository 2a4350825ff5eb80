"""A database is migrated after a backup, and says what is wrong with it and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from candide.errors import SettingsError, StoreError
from candide.store import database as database_module
from candide.store.conversations import ConversationStore
from candide.store.database import Database
from candide.store.migrations import HEAD
from candide.store.preferences import Preferences, PreferenceStore
from candide.store.schema import metadata

if TYPE_CHECKING:
    from conftest import Store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "candide.db"


def sqlite_url(file: Path) -> str:
    return f"sqlite:///{file}"


async def open_database(file: Path, backups: int = 5) -> Database:
    return await Database.open(sqlite_url(file), file.parent / "backups", backups)


async def make_database(file: Path) -> str:
    """A database with one conversation; its id."""
    database = await open_database(file)
    made = await ConversationStore(database).create(title="kept")
    await database.close()
    return made


def revision_of(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def titles_in(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT title FROM conversations")]


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Candide to come: it has one migration more; the file of that migration."""
    migrations = tmp_path / "migrations"
    shutil.copytree(database_module.MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    added = migrations / "versions" / "9000_colour.py"
    added.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '9000'\ndown_revision = {HEAD!r}\n"
        "def upgrade():\n    op.add_column('conversations', sa.Column('colour', sa.Text))\n"
    )
    monkeypatch.setattr(database_module, "MIGRATIONS", migrations)
    monkeypatch.setattr(database_module, "HEAD", "9000")
    return added


async def make_old(file: Path) -> None:
    """A database of today's revision, while the one to come is already patched in."""
    with pytest.MonkeyPatch.context() as then:
        then.setattr(database_module, "HEAD", HEAD)
        then.setattr(database_module, "MIGRATIONS", Path(database_module.__file__).parent / "migrations")
        await make_database(file)


def test_head_is_alembics_head() -> None:
    assert ScriptDirectory(str(database_module.MIGRATIONS)).get_current_head() == HEAD


async def test_the_migrations_make_the_tables_that_the_schema_describes(store: Store) -> None:
    def compare(connection: sa.Connection) -> list[object]:
        def is_ours(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
            return kind != "table" or not str(name).startswith("message_words")

        context = MigrationContext.configure(
            connection, opts={"include_object": is_ours, "compare_type": True}
        )
        return list(compare_metadata(context, metadata))

    async with store.database.read() as connection:
        assert await connection.run_sync(compare) == []


async def test_titles_and_failures_of_before_the_fourth_migration_are_known_after_it(
    url: str, tmp_path: Path
) -> None:
    def migrate(connection: sa.Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(database_module.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")

    old = Database(url, tmp_path)
    async with old.write() as connection:
        await connection.run_sync(migrate)
    async with old.write() as connection:
        for statement in (
            "INSERT INTO conversations (id, title, created_at, updated_at) VALUES ('conv_1', 'Été à Paris', 1, 1)",
            (
                "INSERT INTO messages (id, conversation_id, role, text, parts, reasoning, state, turn_id, created_at)"
                " VALUES ('msg_1', 'conv_1', 'assistant', '', '[]', '', 'failed', 'turn_1', 1)"
            ),
            (
                "INSERT INTO turns (id, conversation_id, user_message_id, answer_message_id, state, model, params,"
                " stop_requested, error, created_at) VALUES ('turn_1', 'conv_1', 'msg_0', 'msg_1', 'failed', '', '{}',"
                ' FALSE, \'{"code":"c","message":"m","hint":null}\', 1)'
            ),
        ):
            await connection.execute(sa.text(statement.replace(":", "\\:")))
    await old.close()
    database = await Database.open(url, tmp_path)
    conversations = ConversationStore(database)
    conversation, [message] = await conversations.load("conv_1")
    assert (conversation.params, conversation.pinned, conversation.folder_id) == ({}, False, None)
    assert (message.error, message.feedback) == ({"code": "c", "message": "m", "hint": None}, None)
    assert [found.conversation_id for found in await conversations.search("ete paris", 10)] == ["conv_1"]
    assert await PreferenceStore(database).get() == Preferences()
    await database.close()


async def test_two_processes_may_open_an_empty_database_at_once(url: str, tmp_path: Path) -> None:
    opened = await asyncio.gather(*(Database.open(url, tmp_path / "backups") for _ in range(3)))
    for database in opened:
        await database.close()
    assert opened[0].backups() == []


async def test_a_database_is_copied_aside_before_its_migration(file: Path, next_version: Path) -> None:
    await make_old(file)
    assert revision_of(file) == HEAD
    database = await open_database(file)
    [backup] = database.backups()
    await database.close()
    assert (revision_of(file), titles_in(file)) == ("9000", ["kept"])
    assert (revision_of(backup), titles_in(backup)) == (HEAD, ["kept"])
    assert HEAD in backup.name
    # Once migrated there is nothing to do.
    database = await open_database(file)
    assert database.backups() == [backup]
    await database.close()


async def test_a_migration_that_fails_changes_nothing(file: Path, next_version: Path) -> None:
    await make_old(file)
    next_version.write_text(next_version.read_text() + "    raise ValueError('no such colour')\n")
    with pytest.raises(ValueError, match="no such colour"):
        await open_database(file)
    assert (revision_of(file), titles_in(file)) == (HEAD, ["kept"])
    with contextlib.closing(sqlite3.connect(file)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(conversations)")]
    assert "colour" not in columns
    assert len(list((file.parent / "backups").glob("*.db"))) == 1


async def test_nothing_is_migrated_when_the_backup_cannot_be_made(file: Path, next_version: Path) -> None:
    await make_old(file)
    (file.parent / "backups").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="could not be copied") as refused:
        await open_database(file)
    assert "nothing was changed" in str(refused.value.hint)
    assert revision_of(file) == HEAD


@pytest.mark.parametrize(("keep", "left"), [(2, 2), (0, 1)])
async def test_the_oldest_backups_go(file: Path, next_version: Path, keep: int, left: int) -> None:
    await make_old(file)
    folder = file.parent / "backups"
    folder.mkdir()
    for day in range(1, 5):
        (folder / f"candide-2020010{day}-000000-0000.db").touch()
    database = await open_database(file, keep)
    kept = database.backups()
    await database.close()
    assert len(kept) == left
    assert HEAD in kept[-1].name
    assert list(folder.glob("*.part")) == []


async def test_a_database_of_a_newer_candide_is_left_alone(file: Path) -> None:
    await make_database(file)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="newer Candide") as refused:
        await open_database(file)
    assert str(file) in refused.value.message
    assert "update Candide" in str(refused.value.hint)
    assert titles_in(file) == ["kept"]


async def test_a_file_that_is_no_database_is_named_with_the_last_backup(file: Path) -> None:
    file.write_bytes(b"this is no database " * 1000)
    with pytest.raises(StoreError, match="is damaged") as without:
        await open_database(file)
    assert without.value.code == "database_damaged"
    assert str(file) in without.value.message
    assert "there is no backup" in str(without.value.hint)
    backup = file.parent / "backups" / "candide-20260101-000000-0001.db"
    backup.parent.mkdir()
    backup.touch()
    with pytest.raises(StoreError, match="is damaged") as damaged:
        await open_database(file)
    assert str(backup) in str(damaged.value.hint)
    assert file.read_bytes() == b"this is no database " * 1000


async def test_a_damaged_page_is_noticed_where_it_is_read(file: Path) -> None:
    await make_database(file)
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="is damaged"):
        database = await open_database(file)
        await ConversationStore(database).list(limit=10)


async def test_a_database_that_another_program_holds_is_said_to_be_locked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    database = await open_database(file)
    conversations = ConversationStore(database)
    with contextlib.closing(sqlite3.connect(file)) as program:
        program.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another program") as locked:
            await conversations.create()
        assert locked.value.code == "database_locked"
        assert await conversations.list(limit=10) == []
        program.rollback()
    await conversations.create()
    assert len(await conversations.list(limit=10)) == 1
    await database.close()


async def test_a_full_disk_is_named_and_loses_nothing(file: Path) -> None:
    database = await open_database(file)
    conversations = ConversationStore(database)
    kept = await conversations.create()
    async with database.write() as connection:
        pages = (await connection.execute(sa.text("PRAGMA page_count"))).scalar_one()
        await connection.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(StoreError, match="is full") as full:
        await conversations.create(system_prompt="x" * 100_000)
    assert full.value.code == "disk_full"
    assert [c.id for c in await conversations.list(limit=10)] == [kept]
    async with database.write() as connection:
        await connection.execute(sa.text("PRAGMA max_page_count = 1000000"))
    await conversations.create(system_prompt="x" * 100_000)
    await database.close()


@pytest.fixture
def unwritable() -> Iterator[Path]:
    """A folder that may be read and not written, even by root's tests."""
    folder = Path(tempfile.mkdtemp(prefix="candide-read-only-"))
    user = os.geteuid()
    yield folder
    if user == 0:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def give_up_rights(folder: Path) -> None:
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


async def test_a_home_that_cannot_be_written_is_named(unwritable: Path) -> None:
    give_up_rights(unwritable)
    for file in (unwritable / "candide.db", unwritable / "new" / "candide.db"):
        with pytest.raises(StoreError) as refused:
            await open_database(file)
        assert str(unwritable) in refused.value.message
        assert "CANDIDE_HOME" in str(refused.value.hint)


async def test_a_database_that_cannot_be_written_is_named(unwritable: Path) -> None:
    file = unwritable / "candide.db"
    await make_database(file)
    file.chmod(0o444)
    give_up_rights(unwritable)
    with pytest.raises(StoreError, match="cannot be written") as refused:
        database = await open_database(file)
        await ConversationStore(database).create()
    assert refused.value.code == "database_read_only"


@pytest.mark.parametrize("text", ["", "no url", "mysql://localhost/candide", "redis://localhost"])
def test_a_url_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="database"):
        Database(text, tmp_path)


async def test_a_write_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError):
        async with store.database.write() as connection:
            await connection.execute(
                sa.text(
                    "INSERT INTO conversations (id, title, created_at, updated_at) VALUES ('conv_1', '', 1.0, 1.0)"
                )
            )
            raise RuntimeError
    assert await store.conversations.list(limit=10) == []


@pytest.mark.parametrize("durable", [True, False])
async def test_a_write_that_is_cancelled_leaves_nothing_and_the_next_one_works(
    store: Store, durable: bool
) -> None:
    for delay_s in (0.0, 0.0005, 0.001, 0.002, 0.005):
        inside = asyncio.Event()

        async def write(inside: asyncio.Event = inside) -> None:
            async with store.database.write(durable=durable) as connection:
                await connection.execute(
                    sa.text(
                        "INSERT INTO conversations (id, title, created_at, updated_at) VALUES ('conv_1', '', 1.0, 1.0)"
                    )
                )
                inside.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(write())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(inside.wait(), delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.conversations.list(limit=10) == []
    await store.conversations.create()
    assert len(await store.conversations.list(limit=10)) == 1


@pytest.mark.parametrize("failing", [{0}, {1}, {2}, {0, 1}, {0, 1, 2}])
async def test_writes_of_the_same_step_fail_alone(store: Store, failing: set[int]) -> None:
    async def add(number: int) -> None:
        async with store.database.write() as connection:
            await connection.execute(sa.text("INSERT INTO notes VALUES (:number)"), {"number": number})
            if number in failing:
                raise RuntimeError(number)

    async with store.database.write() as connection:
        await connection.execute(sa.text("CREATE TABLE notes (number INTEGER)"))
    outcomes = await asyncio.gather(*(add(number) for number in range(3)), return_exceptions=True)
    assert {number for number, outcome in enumerate(outcomes) if outcome is not None} == failing
    async with store.database.read() as connection:
        rows = await connection.execute(sa.text("SELECT number FROM notes"))
        assert {row.number for row in rows} == {0, 1, 2} - failing
